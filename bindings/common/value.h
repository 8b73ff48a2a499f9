/* Values as they pass between an engine's scripts and the add-on: what every engine has under some name. */
#ifndef CM3_BINDINGS_VALUE_H
#define CM3_BINDINGS_VALUE_H

#include <stddef.h>
#include <stdint.h>

typedef enum cm3_value_kind {
    CM3_VALUE_NIL = 0,
    CM3_VALUE_BOOL,
    CM3_VALUE_INT,
    CM3_VALUE_FLOAT,
    CM3_VALUE_TEXT,
    CM3_VALUE_BYTES,
    CM3_VALUE_DICTIONARY,
    CM3_VALUE_OTHER /**< something of the engine's that is no use here */
} cm3_value_kind;

typedef struct cm3_entry cm3_entry;

/** Points to memory of whoever made it. */
typedef struct cm3_value {
    cm3_value_kind kind;
    int64_t integer;          /**< BOOL, INT */
    double number;            /**< FLOAT */
    const char *text;         /**< TEXT: UTF-8, NUL-terminated */
    const uint8_t *bytes;     /**< BYTES */
    size_t size;              /**< TEXT: bytes without the NUL; BYTES */
    const cm3_entry *entries; /**< DICTIONARY: its keys are texts */
    size_t count;
} cm3_value;

struct cm3_entry {
    const char *key;
    cm3_value value;
};

#endif
