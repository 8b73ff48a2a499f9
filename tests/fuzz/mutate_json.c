/* Changes to JSON. */
#include <jansson.h>
#include <stdlib.h>

#include "mutate.h"

/** A value and the array or object that holds it. */
typedef struct fuzz_place {
    json_t *holder; /**< NULL: the value is the whole */
    char key[256];  /**< in an object */
    size_t index;   /**< in an array */
    json_t *value;
} fuzz_place;

/* Values that any key may be given. */
static json_t *some_value(unsigned *state) {
    static const char *const texts[] = {
        "0",    "1",    "-1",   "2",     "16", "255", "65536", "2147483647", "-1.5",  "1e300", "4294967296",
        "\"\"", "null", "true", "false", "[]", "{}",  "[0,0]", "[[]]",       "\"a\"", "\" \"", "9223372036854775807"};
    json_error_t error;
    return json_loads(texts[fuzz_below(state, sizeof texts / sizeof *texts)], JSON_DECODE_ANY, &error);
}

/* The values in the order in which they are written; counts down to the wanted one. */
static bool find(json_t *value, fuzz_place *place, size_t *left) {
    if ((*left)-- == 0) {
        place->value = value;
        return true;
    }
    const char *key;
    json_t *item;
    size_t index;
    json_object_foreach(value, key, item) {
        strncpy(place->key, key, sizeof place->key - 1);
        place->holder = value;
        if (find(item, place, left)) return true;
    }
    json_array_foreach(value, index, item) {
        place->index = index;
        place->holder = value;
        if (find(item, place, left)) return true;
    }
    return false;
}

static size_t count_values(const json_t *value) {
    size_t count = 1, index;
    const char *key;
    json_t *item;
    json_object_foreach((json_t *)(uintptr_t)value, key, item) count += count_values(item);
    json_array_foreach(value, index, item) count += count_values(item);
    return count;
}

/* Small things are chosen as often as the many tokens of a vocabulary: go down from the top, or take any. */
static fuzz_place choose(json_t *root, unsigned *state) {
    fuzz_place place = {.value = root};
    if (fuzz_below(state, 2) == 0) {
        size_t left = fuzz_below(state, (unsigned)count_values(root));
        find(root, &place, &left);
        return place;
    }
    while (json_object_size(place.value) + json_array_size(place.value) > 0 && fuzz_below(state, 5) != 0) {
        json_t *holder = place.value;
        size_t left = 0, number = fuzz_below(state, (unsigned)(json_object_size(holder) + json_array_size(holder)));
        const char *key;
        json_t *item;
        place.holder = holder;
        place.index = number;
        place.value = json_array_get(holder, number);
        json_object_foreach(holder, key, item) {
            if (left++ != number) continue;
            strncpy(place.key, key, sizeof place.key - 1);
            place.value = item;
        }
    }
    return place;
}

/* Takes `value` over. */
static void put(const fuzz_place *place, json_t *value) {
    if (json_is_object(place->holder)) {
        json_object_set_new(place->holder, place->key, value);
    } else if (json_is_array(place->holder)) {
        json_array_set_new(place->holder, place->index, value);
    } else {
        json_decref(value);
    }
}

static json_t *change_number(const json_t *value, unsigned *state) {
    json_int_t number = json_integer_value(value);
    uint64_t bits = (uint64_t)number;
    switch (fuzz_below(state, 6)) {
    case 0:
        return json_integer((json_int_t)(bits + 1));
    case 1:
        return json_integer((json_int_t)(bits - 1));
    case 2:
        return json_integer((json_int_t)(bits * 2));
    case 3:
        return json_integer(number / 2);
    case 4:
        return json_integer((json_int_t)(bits ^ (uint64_t)1 << fuzz_below(state, 64)));
    default:
        return json_integer((json_int_t)fuzz_below(state, 1000));
    }
}

/* NULL where it is no UTF-8 any more. */
static json_t *change_string(const json_t *value, unsigned *state) {
    size_t size = json_string_length(value), room = 2 * size + 64;
    uint8_t *bytes = malloc(room);
    if (bytes == NULL) return NULL;
    memcpy(bytes, json_string_value(value), size);
    bool inner = size > 0 && bytes[0] == '{' && bytes[size - 1] == '}';
    size = inner ? fuzz_mutate_json(bytes, size, room, state) : LLVMFuzzerMutate(bytes, size, room < 128 ? room : 128);
    json_t *changed = json_stringn((const char *)bytes, size);
    free(bytes);
    return changed;
}

static json_t *change_value(json_t *root, const fuzz_place *place, unsigned *state) {
    unsigned way = fuzz_below(state, 8);
    if (way < 2) return some_value(state);
    if (way == 2) {
        const fuzz_place other = choose(root, state);
        return json_deep_copy(other.value);
    }
    if (json_is_integer(place->value)) return change_number(place->value, state);
    if (json_is_string(place->value)) return change_string(place->value, state);
    if (json_is_boolean(place->value)) return json_boolean(!json_is_true(place->value));
    return some_value(state);
}

static void change(json_t *root, unsigned *state) {
    fuzz_place place = choose(root, state);
    unsigned way = fuzz_below(state, 10);
    if (way == 0 && json_is_object(place.holder)) {
        json_object_del(place.holder, place.key);
    } else if (way == 0 && json_is_array(place.holder)) {
        json_array_remove(place.holder, place.index);
    } else if (way == 1 && json_is_array(place.holder)) {
        json_array_insert_new(place.holder, place.index, json_deep_copy(place.value));
    } else if (way == 1 && json_is_object(place.holder)) {
        char key[256];
        snprintf(key, sizeof key, "%.200s%u", place.key, fuzz_below(state, 10));
        json_object_set_new(place.holder, key, json_deep_copy(place.value));
    } else {
        json_t *value = change_value(root, &place, state);
        if (value != NULL) put(&place, value);
    }
}

size_t fuzz_mutate_json(uint8_t *text, size_t size, size_t room, unsigned *state) {
    if (fuzz_below(state, 8) == 0) return LLVMFuzzerMutate(text, size, room);
    json_error_t error;
    json_t *root = json_loadb((const char *)text, size, JSON_DECODE_ANY, &error);
    if (root == NULL) return LLVMFuzzerMutate(text, size, room);
    for (unsigned i = 1 + fuzz_below(state, 3); i > 0; --i) change(root, state);
    size_t wanted = json_dumpb(root, NULL, 0, JSON_COMPACT | JSON_ENCODE_ANY);
    if (wanted > 0 && wanted <= room) {
        size = json_dumpb(root, (char *)text, room, JSON_COMPACT | JSON_ENCODE_ANY);
        json_decref(root);
        return size;
    }
    json_decref(root);
    return LLVMFuzzerMutate(text, size, room);
}

size_t fuzz_mutate_part(uint8_t *data, size_t size, size_t room, size_t begin, size_t *end, bool json,
                        unsigned *state) {
    size_t tail = size - *end, part = *end - begin, part_room = room - begin - tail;
    uint8_t *rest = malloc(tail + 1);
    if (rest == NULL) return size;
    memcpy(rest, data + *end, tail);
    part =
        json ? fuzz_mutate_json(data + begin, part, part_room, state) : LLVMFuzzerMutate(data + begin, part, part_room);
    *end = begin + part;
    memcpy(data + *end, rest, tail);
    free(rest);
    return *end + tail;
}
