/*
 * As much of Godot 4 as the add-on meets, for its test: values that are counted and marked, so that one that is used
 * unmade, twice or on a foreign thread is seen at once; classes with methods; objects. What it cannot show is that the
 * real engine means the same by the same names.
 */
#ifndef CM3_TEST_GODOT4_HOST_H
#define CM3_TEST_GODOT4_HOST_H

#include "../../../bindings/godot4/src/gdextension.h"
#include <stddef.h>

/** The engine's Variant. */
typedef struct host_variant {
    uint32_t type, mark;
    union {
        int64_t integer;
        double number;
        struct host_string *string; /**< also of a StringName */
        struct host_bytes *bytes;
        struct host_dictionary *dictionary;
    } as;
} host_variant;

/** Loads the library and runs its entry symbol; `without` (may be NULL) is a function that this engine lacks. Not 0:
 * it said yes. */
int host_load(const char *path, const char *entry, const char *without);
void host_initialize(void);
/** Down through the levels again. */
void host_deinitialize(void);

/** What the library printed last; "" without any. */
const char *host_error(void);

/** Strings, arrays, dictionaries and Variants that hold something, the objects too; all of them should be given back.
 */
size_t host_live(void);

typedef struct host_object host_object;
host_object *host_new(const char *class_name);
void host_delete(host_object *object);

/** What a script's call does; ptrcall is the typed one's way. The result is the caller's to drop. */
host_variant host_call(host_object *object, const char *method, const host_variant *arguments, int count,
                       gde_call_error *error);
host_variant host_ptrcall(host_object *object, const char *method, const host_variant *arguments);
size_t host_method_count(const char *class_name);

host_variant host_nil(void);
host_variant host_bool(int value);
host_variant host_int(int64_t value);
host_variant host_float(double value);
host_variant host_text(const char *text);
host_variant host_name(const char *text);
host_variant host_dictionary_new(void);
/** Puts a value in, which is the dictionary's then. */
void host_put(host_variant *dictionary, const char *key, host_variant value);
void host_put_name(host_variant *dictionary, const char *key, host_variant value);
void host_drop(host_variant *variant);

/** Of a dictionary; NULL: there is no such key. It stays the dictionary's. */
const host_variant *host_get(const host_variant *dictionary, const char *key);
const char *host_text_of(const host_variant *variant);
const uint8_t *host_bytes_of(const host_variant *variant, size_t *size);

#endif
