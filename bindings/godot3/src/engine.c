/* See engine.h. */
#include "engine.h"
#include <string.h>

static void read_text(cm3_arguments *arguments, const godot_variant *from, cm3_value *value) {
    godot_string string = cm3_godot->godot_variant_as_string(from);
    godot_char_string utf8 = cm3_godot->godot_string_utf8(&string);
    size_t size = (size_t)cm3_godot->godot_char_string_length(&utf8);
    char *text = cm3_arguments_text(arguments, value, size);
    if (text) memcpy(text, cm3_godot->godot_char_string_get_data(&utf8), size);
    cm3_godot->godot_char_string_destroy(&utf8);
    cm3_godot->godot_string_destroy(&string);
}

static void read_dictionary(cm3_arguments *arguments, const godot_variant *from, cm3_value *value) {
    godot_dictionary dictionary = cm3_godot->godot_variant_as_dictionary(from);
    *value = (cm3_value){.kind = CM3_VALUE_DICTIONARY};
    const godot_variant *key = NULL;
    while ((key = cm3_godot->godot_dictionary_next(&dictionary, key))) {
        cm3_entry *entry = cm3_arguments_entry(arguments, value);
        if (!entry) break;
        cm3_value name;
        read_text(arguments, key, &name);
        if (name.text) entry->key = name.text;
        const godot_variant *content = cm3_godot->godot_dictionary_operator_index_const(&dictionary, key);
        // No option has a dictionary of its own.
        if (cm3_godot->godot_variant_get_type(content) == GODOT_VARIANT_TYPE_DICTIONARY) {
            entry->value.kind = CM3_VALUE_OTHER;
        } else {
            cm3_godot_read(arguments, content, &entry->value);
        }
    }
    cm3_godot->godot_dictionary_destroy(&dictionary);
}

void cm3_godot_read(cm3_arguments *arguments, const godot_variant *from, cm3_value *value) {
    *value = (cm3_value){.kind = CM3_VALUE_OTHER};
    switch (cm3_godot->godot_variant_get_type(from)) {
    case GODOT_VARIANT_TYPE_NIL:
        value->kind = CM3_VALUE_NIL;
        break;
    case GODOT_VARIANT_TYPE_BOOL:
        value->kind = CM3_VALUE_BOOL;
        value->integer = cm3_godot->godot_variant_as_bool(from);
        break;
    case GODOT_VARIANT_TYPE_INT:
        value->kind = CM3_VALUE_INT;
        value->integer = cm3_godot->godot_variant_as_int(from);
        break;
    case GODOT_VARIANT_TYPE_REAL:
        value->kind = CM3_VALUE_FLOAT;
        value->number = cm3_godot->godot_variant_as_real(from);
        break;
    case GODOT_VARIANT_TYPE_STRING:
        read_text(arguments, from, value);
        break;
    case GODOT_VARIANT_TYPE_DICTIONARY:
        read_dictionary(arguments, from, value);
        break;
    default:
        break;
    }
}

static godot_variant of_text(const char *text, size_t size) {
    godot_variant variant;
    godot_string string = cm3_godot->godot_string_chars_to_utf8_with_len(text, (godot_int)size);
    cm3_godot->godot_variant_new_string(&variant, &string);
    cm3_godot->godot_string_destroy(&string);
    return variant;
}

static godot_variant of_bytes(const uint8_t *bytes, size_t size) {
    godot_variant variant;
    godot_pool_byte_array array;
    cm3_godot->godot_pool_byte_array_new(&array);
    cm3_godot->godot_pool_byte_array_resize(&array, (godot_int)size);
    if (size) {
        godot_pool_byte_array_write_access *access = cm3_godot->godot_pool_byte_array_write(&array);
        memcpy(cm3_godot->godot_pool_byte_array_write_access_ptr(access), bytes, size);
        cm3_godot->godot_pool_byte_array_write_access_destroy(access);
    }
    cm3_godot->godot_variant_new_pool_byte_array(&variant, &array);
    cm3_godot->godot_pool_byte_array_destroy(&array);
    return variant;
}

static godot_variant of_dictionary(const cm3_value *value) {
    godot_variant variant;
    godot_dictionary dictionary;
    cm3_godot->godot_dictionary_new(&dictionary);
    for (size_t i = 0; i < value->count; i++) {
        godot_variant key = of_text(value->entries[i].key, strlen(value->entries[i].key));
        godot_variant content = cm3_godot_write(&value->entries[i].value);
        cm3_godot->godot_dictionary_set(&dictionary, &key, &content);
        cm3_godot->godot_variant_destroy(&content);
        cm3_godot->godot_variant_destroy(&key);
    }
    cm3_godot->godot_variant_new_dictionary(&variant, &dictionary);
    cm3_godot->godot_dictionary_destroy(&dictionary);
    return variant;
}

godot_variant cm3_godot_write(const cm3_value *value) {
    godot_variant variant;
    switch (value->kind) {
    case CM3_VALUE_BOOL:
        cm3_godot->godot_variant_new_bool(&variant, value->integer != 0);
        break;
    case CM3_VALUE_INT:
        cm3_godot->godot_variant_new_int(&variant, value->integer);
        break;
    case CM3_VALUE_FLOAT:
        cm3_godot->godot_variant_new_real(&variant, value->number);
        break;
    case CM3_VALUE_TEXT:
        return of_text(value->text, value->size);
    case CM3_VALUE_BYTES:
        return of_bytes(value->bytes, value->size);
    case CM3_VALUE_DICTIONARY:
        return of_dictionary(value);
    default:
        cm3_godot->godot_variant_new_nil(&variant);
        break;
    }
    return variant;
}
