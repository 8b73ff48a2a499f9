/* JSON access with messages that name the file and the key. */
#include "files/json.h"

#include <string.h>

#define MAX_DEPTH 64

/* Nesting is counted before jansson sees the bytes: it recurses, and its own limit is for deeper stacks than a host's.
 */
static bool too_deep(const char *text, size_t size, size_t *at) {
    size_t depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < size; ++i) {
        char c = text[i];
        if (in_string) {
            if (c == '\\') ++i;
            if (c == '"') in_string = false;
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            *at = i;
            if (++depth > MAX_DEPTH) return true;
        } else if ((c == '}' || c == ']') && depth > 0) {
            --depth;
        }
    }
    return false;
}

cm3_status cm3_json_parse(cm3_context *context, const char *name, const void *data, size_t size, json_t **value) {
    *value = NULL;
    size_t at;
    if (too_deep(data, size, &at)) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: JSON nested deeper than %d at byte %zu", name, MAX_DEPTH, at);
    }
    json_error_t error;
    *value = json_loadb(data, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (*value != NULL) return CM3_OK;
    if (json_error_code(&error) == json_error_out_of_memory) return cm3_fail_memory(context, size, name);
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: JSON, line %d, column %d: %s", name, error.line, error.column,
                    error.text);
}

static const char *type_name(const json_t *value) {
    static const char *const names[] = {"an object", "an array", "a string", "an integer",
                                        "a real",    "true",     "false",    "null"};
    return names[json_typeof(value)];
}

static cm3_status fail_type(const cm3_json_object *object, const char *key, const char *expected, const json_t *found) {
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %s: expected %s, found %s", object->where, key, expected,
                    type_name(found));
}

/* The value of a key, NULL where it is absent or null. */
static cm3_status get(const cm3_json_object *object, const char *key, json_t **value) {
    *value = NULL;
    if (object->value == NULL) return CM3_OK;
    if (!json_is_object(object->value)) {
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: expected an object, found %s", object->where,
                        type_name(object->value));
    }
    json_t *found = json_object_get(object->value, key);
    if (!json_is_null(found)) *value = found;
    return CM3_OK;
}

static cm3_status check_int(const cm3_json_object *object, const char *key, const json_t *value, int64_t minimum,
                            int64_t maximum) {
    if (!json_is_integer(value)) return fail_type(object, key, "an integer", value);
    int64_t found = json_integer_value(value);
    if (found >= minimum && found <= maximum) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %s: expected %lld to %lld, found %lld", object->where, key,
                    (long long)minimum, (long long)maximum, (long long)found);
}

cm3_status cm3_json_int(const cm3_json_object *object, const char *key, int64_t minimum, int64_t maximum,
                        int64_t *out) {
    json_t *value;
    CM3_TRY(get(object, key, &value));
    if (value == NULL) return CM3_OK;
    CM3_TRY(check_int(object, key, value, minimum, maximum));
    *out = json_integer_value(value);
    return CM3_OK;
}

cm3_status cm3_json_int32(const cm3_json_object *object, const char *key, int32_t minimum, int32_t maximum,
                          int32_t *out) {
    int64_t wide = *out;
    CM3_TRY(cm3_json_int(object, key, minimum, maximum, &wide));
    *out = (int32_t)wide;
    return CM3_OK;
}

cm3_status cm3_json_float(const cm3_json_object *object, const char *key, double minimum, double maximum, float *out) {
    json_t *value;
    CM3_TRY(get(object, key, &value));
    if (value == NULL) return CM3_OK;
    if (!json_is_number(value)) return fail_type(object, key, "a number", value);
    double found = json_number_value(value);
    if (!(found >= minimum && found <= maximum)) {
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %s: expected %g to %g, found %g", object->where, key,
                        minimum, maximum, found);
    }
    *out = (float)found;
    return CM3_OK;
}

cm3_status cm3_json_bool(const cm3_json_object *object, const char *key, bool *out) {
    json_t *value;
    CM3_TRY(get(object, key, &value));
    if (value == NULL) return CM3_OK;
    if (!json_is_boolean(value)) return fail_type(object, key, "true or false", value);
    *out = json_is_true(value);
    return CM3_OK;
}

cm3_status cm3_json_string(const cm3_json_object *object, const char *key, const char **out) {
    json_t *value;
    CM3_TRY(get(object, key, &value));
    if (value == NULL) return CM3_OK;
    if (!json_is_string(value)) return fail_type(object, key, "a string", value);
    *out = json_string_value(value);
    return CM3_OK;
}

cm3_status cm3_json_ints(const cm3_json_object *object, const char *key, int64_t minimum, int64_t maximum, int32_t *out,
                         size_t capacity, size_t *count) {
    json_t *value;
    CM3_TRY(get(object, key, &value));
    if (value == NULL) return CM3_OK;
    if (!json_is_array(value)) return fail_type(object, key, "an array of integers", value);
    size_t found = json_array_size(value);
    if (found > capacity) {
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %s: expected at most %zu integers, found %zu",
                        object->where, key, capacity, found);
    }
    if (minimum < INT32_MIN) minimum = INT32_MIN;
    if (maximum > INT32_MAX) maximum = INT32_MAX;
    for (size_t i = 0; i < found; ++i) {
        CM3_TRY(check_int(object, key, json_array_get(value, i), minimum, maximum));
    }
    for (size_t i = 0; i < found; ++i) out[i] = (int32_t)json_integer_value(json_array_get(value, i));
    *count = found;
    return CM3_OK;
}

cm3_status cm3_json_child(const cm3_json_object *object, const char *key, const char *where, cm3_json_object *out) {
    json_t *value;
    CM3_TRY(get(object, key, &value));
    if (value != NULL && !json_is_object(value)) return fail_type(object, key, "an object", value);
    out->context = object->context;
    out->where = where;
    out->value = value;
    return CM3_OK;
}
