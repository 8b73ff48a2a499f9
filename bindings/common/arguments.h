/* The arguments of one call, while an engine's values are turned into plain ones. */
#ifndef CM3_BINDINGS_ARGUMENTS_H
#define CM3_BINDINGS_ARGUMENTS_H

#include "value.h"

/** More entries than there are options: one of so many is unknown, and will be refused. */
#define CM3_ARGUMENT_ENTRIES 32

typedef struct cm3_arguments {
    cm3_value values[2];
    cm3_entry entries[CM3_ARGUMENT_ENTRIES];
    size_t entry_count;
    char *texts[2 + 2 * CM3_ARGUMENT_ENTRIES];
    size_t text_count;
} cm3_arguments;

/** Makes `value` a text of `size` bytes and returns room for them, the NUL being there; NULL without memory. */
char *cm3_arguments_text(cm3_arguments *arguments, cm3_value *value, size_t size);

/** Room for one entry of the dictionary among the arguments, which is counted; NULL where it has too many. */
cm3_entry *cm3_arguments_entry(cm3_arguments *arguments, cm3_value *dictionary);

void cm3_arguments_clear(cm3_arguments *arguments);

#endif
