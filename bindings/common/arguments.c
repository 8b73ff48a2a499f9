/* See arguments.h. */
#include "arguments.h"
#include <stdlib.h>

char *cm3_arguments_text(cm3_arguments *arguments, cm3_value *value, size_t size) {
    value->kind = CM3_VALUE_OTHER;
    if (arguments->text_count == sizeof arguments->texts / sizeof *arguments->texts) return NULL;
    char *text = malloc(size + 1);
    if (!text) return NULL;
    arguments->texts[arguments->text_count++] = text;
    text[size] = '\0';
    *value = (cm3_value){.kind = CM3_VALUE_TEXT, .text = text, .size = size};
    return text;
}

cm3_entry *cm3_arguments_entry(cm3_arguments *arguments, cm3_value *dictionary) {
    dictionary->entries = arguments->entries;
    if (arguments->entry_count == CM3_ARGUMENT_ENTRIES) return NULL;
    cm3_entry *entry = &arguments->entries[arguments->entry_count++];
    dictionary->count = arguments->entry_count;
    *entry = (cm3_entry){.key = ""};
    return entry;
}

void cm3_arguments_clear(cm3_arguments *arguments) {
    for (size_t i = 0; i < arguments->text_count; i++) free(arguments->texts[i]);
    arguments->text_count = arguments->entry_count = 0;
}
