/* The host's values: host.h. */
#include "values.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ALIVE 0xA11FEu
#define DEAD 0xDEADu

static size_t live;
static pthread_t main_thread;

size_t host_live(void) {
    return live;
}

void host_count(int more) {
    live += (size_t)more;
}

void host_expect(int right, const char *what) {
    if (!main_thread) main_thread = pthread_self();
    if (right && pthread_equal(main_thread, pthread_self())) return;
    fprintf(stderr, "the add-on misused the engine: %s%s\n", what, right ? ", on a thread of its own" : "");
    abort();
}

static void *make(size_t size) {
    void *made = calloc(1, size);
    if (!made) abort();
    host_count(1);
    return made;
}

/* --- what values share ------------------------------------------------------------------------------------------ */

host_string *host_string_make(const char *text, size_t size) {
    host_string *made = make(sizeof *made + size + 1);
    made->references = 1;
    made->size = size;
    memcpy(made->text, text, size);
    return made;
}

host_string *host_string_hold(host_string *string) {
    host_expect(string && string->references > 0, "a string that is none");
    string->references++;
    return string;
}

void host_string_drop(host_string *string) {
    host_expect(string && string->references > 0, "a string given back twice");
    if (--string->references) return;
    free(string);
    host_count(-1);
}

static void drop_bytes(host_bytes *bytes) {
    host_expect(bytes && bytes->references > 0, "an array given back twice");
    if (--bytes->references) return;
    free(bytes->data);
    free(bytes);
    host_count(-1);
}

static void drop_dictionary(host_dictionary *dictionary) {
    host_expect(dictionary->references > 0, "a dictionary given back twice");
    if (--dictionary->references) return;
    for (size_t i = 0; i < dictionary->count; i++) {
        host_drop(&dictionary->keys[i]);
        host_drop(&dictionary->values[i]);
    }
    free(dictionary);
    host_count(-1);
}

host_bytes *host_bytes_own(host_bytes **place) {
    host_bytes *shared = *place;
    if (shared->references == 1) return shared;
    host_bytes *copy = make(sizeof *copy);
    copy->references = 1;
    copy->size = shared->size;
    copy->data = shared->size ? malloc(shared->size) : NULL;
    if (shared->size) memcpy(copy->data, shared->data, shared->size);
    shared->references--;
    return *place = copy;
}

void host_bytes_resize(host_bytes *bytes, size_t size) {
    bytes->data = realloc(bytes->data, size ? size : 1);
    if (!bytes->data) abort();
    if (size > bytes->size) memset(bytes->data + bytes->size, 0xEE, size - bytes->size);
    bytes->size = size;
}

/* --- Variants --------------------------------------------------------------------------------------------------- */

static host_variant of(gde_type type) {
    return (host_variant){.type = type, .mark = ALIVE};
}

void host_check(const host_variant *variant) {
    host_expect(variant && variant->mark == ALIVE, "a Variant that was not made, or is gone");
}

host_variant host_copy(const host_variant *from) {
    host_check(from);
    switch (from->type) {
    case GDE_STRING:
    case GDE_STRING_NAME:
        host_string_hold(from->as.string);
        break;
    case GDE_PACKED_BYTE_ARRAY:
        from->as.bytes->references++;
        break;
    case GDE_DICTIONARY:
        from->as.dictionary->references++;
        break;
    default:
        break;
    }
    return *from;
}

void host_drop(host_variant *variant) {
    host_check(variant);
    switch (variant->type) {
    case GDE_STRING:
    case GDE_STRING_NAME:
        host_string_drop(variant->as.string);
        break;
    case GDE_PACKED_BYTE_ARRAY:
        drop_bytes(variant->as.bytes);
        break;
    case GDE_DICTIONARY:
        drop_dictionary(variant->as.dictionary);
        break;
    default:
        break;
    }
    variant->mark = DEAD;
}

host_variant host_nil(void) {
    return of(GDE_NIL);
}

host_variant host_bool(int value) {
    host_variant made = of(GDE_BOOL);
    made.as.integer = value;
    return made;
}

host_variant host_int(int64_t value) {
    host_variant made = of(GDE_INT);
    made.as.integer = value;
    return made;
}

host_variant host_float(double value) {
    host_variant made = of(GDE_FLOAT);
    made.as.number = value;
    return made;
}

host_variant host_string_of_held(host_string *string) {
    host_variant made = of(GDE_STRING);
    made.as.string = string;
    return made;
}

host_variant host_bytes_of_held(host_bytes *bytes) {
    host_variant made = of(GDE_PACKED_BYTE_ARRAY);
    made.as.bytes = bytes;
    return made;
}

host_variant host_text(const char *text) {
    return host_string_of_held(host_string_make(text, strlen(text)));
}

host_variant host_name(const char *text) {
    host_variant made = host_text(text);
    made.type = GDE_STRING_NAME;
    return made;
}

host_variant host_bytes_new(void) {
    host_bytes *bytes = make(sizeof *bytes);
    bytes->references = 1;
    return host_bytes_of_held(bytes);
}

host_variant host_dictionary_new(void) {
    host_variant made = of(GDE_DICTIONARY);
    made.as.dictionary = make(sizeof *made.as.dictionary);
    made.as.dictionary->references = 1;
    return made;
}

/* --- dictionaries ----------------------------------------------------------------------------------------------- */

static int same(const host_variant *a, const host_variant *b) {
    int texts = (a->type == GDE_STRING || a->type == GDE_STRING_NAME) && a->type == b->type;
    return texts ? !strcmp(a->as.string->text, b->as.string->text)
                 : a->type == b->type && a->type == GDE_INT && a->as.integer == b->as.integer;
}

host_variant *host_find(host_dictionary *dictionary, const host_variant *key) {
    for (size_t i = 0; i < dictionary->count; i++) {
        if (same(&dictionary->keys[i], key)) return &dictionary->values[i];
    }
    return NULL;
}

void host_set(host_dictionary *dictionary, host_variant key, host_variant value) {
    host_variant *found = host_find(dictionary, &key);
    if (found) {
        host_drop(found);
        host_drop(&key);
        *found = value;
        return;
    }
    host_expect(dictionary->count < HOST_ENTRIES, "a dictionary of more entries than a test has");
    dictionary->keys[dictionary->count] = key;
    dictionary->values[dictionary->count++] = value;
}

void host_put(host_variant *dictionary, const char *key, host_variant value) {
    host_set(dictionary->as.dictionary, host_text(key), value);
}

void host_put_name(host_variant *dictionary, const char *key, host_variant value) {
    host_set(dictionary->as.dictionary, host_name(key), value);
}

const host_variant *host_get(const host_variant *dictionary, const char *key) {
    if (dictionary->type != GDE_DICTIONARY) return NULL;
    for (size_t i = 0; i < dictionary->as.dictionary->count; i++) {
        const host_variant *found = &dictionary->as.dictionary->keys[i];
        if (found->type == GDE_STRING && !strcmp(found->as.string->text, key))
            return &dictionary->as.dictionary->values[i];
    }
    return NULL;
}

const char *host_text_of(const host_variant *variant) {
    return variant && variant->type == GDE_STRING ? variant->as.string->text : "";
}

const uint8_t *host_bytes_of(const host_variant *variant, size_t *size) {
    if (!variant || variant->type != GDE_PACKED_BYTE_ARRAY) return NULL;
    *size = variant->as.bytes->size;
    return variant->as.bytes->data;
}
