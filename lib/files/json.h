/* JSON access with messages that name the file and the key. */
#ifndef CM3_FILES_JSON_H
#define CM3_FILES_JSON_H

#include <jansson.h>

#include "base/context.h"

/**
 * Parses `size` bytes; refuses duplicate keys, nesting above 64, text after the value. `name` (the file) goes into
 * messages. Errors: FORMAT with line and column, NO_MEMORY. The value is released by json_decref().
 */
cm3_status cm3_json_parse(cm3_context *context, const char *name, const void *data, size_t size, json_t **value);

/** A parsed object and what messages say of it: "toybox.cm3: config". */
typedef struct cm3_json_object {
    cm3_context *context;
    const char *where;
    json_t *value;
} cm3_json_object;

/** Each gets `key` of the object; absent or null: the default stays in *out and CM3_OK. Wrong type or range: FORMAT. */
cm3_status cm3_json_int(const cm3_json_object *object, const char *key, int64_t minimum, int64_t maximum, int64_t *out);
cm3_status cm3_json_int32(const cm3_json_object *object, const char *key, int32_t minimum, int32_t maximum,
                          int32_t *out);
cm3_status cm3_json_float(const cm3_json_object *object, const char *key, double minimum, double maximum, float *out);
cm3_status cm3_json_bool(const cm3_json_object *object, const char *key, bool *out);
/** Borrowed, valid as long as the object; *out stays where absent. */
cm3_status cm3_json_string(const cm3_json_object *object, const char *key, const char **out);
/** Ints into a caller's array; *count is set; absent: *count stays. */
cm3_status cm3_json_ints(const cm3_json_object *object, const char *key, int64_t minimum, int64_t maximum, int32_t *out,
                         size_t capacity, size_t *count);
/** A child object; out->value is NULL where absent. `where` must outlive it. */
cm3_status cm3_json_child(const cm3_json_object *object, const char *key, const char *where, cm3_json_object *out);

#endif
