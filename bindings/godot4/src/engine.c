/* See engine.h. */
#include "engine.h"
#include <stdio.h>
#include <string.h>

gde_functions cm3_godot;

/** As data pointers and function pointers of one size, which every engine's loader takes for granted. */
static int find(gde_get_proc_address get_proc_address, const char *name, void *member) {
    gde_function found = get_proc_address(name);
    memcpy(member, &found, sizeof found);
    if (found) return 1;
    char message[128];
    snprintf(message, sizeof message, "CM3Leon's add-on needs Godot 4.1 or later: this one has no %s()", name);
    if (cm3_godot.print_error_with_message)
        cm3_godot.print_error_with_message(message, message, __func__, __FILE__, __LINE__, 1);
    return 0;
}

int cm3_godot_find(gde_get_proc_address get_proc_address) {
#define FIND(result, name, arguments)                                                                                  \
    if (!find(get_proc_address, #name, &cm3_godot.name)) return 0;
    GDE_FUNCTIONS(FIND)
#undef FIND
    return 1;
}

gde_string cm3_godot_string(const char *text, size_t size) {
    gde_string string;
    cm3_godot.string_new_with_utf8_chars_and_len(&string, text, (int64_t)size);
    return string;
}

gde_string_name cm3_godot_name(const char *text) {
    gde_string string = cm3_godot_string(text, strlen(text));
    gde_string_name name;
    const void *from = &string;
    cm3_godot.variant_get_ptr_constructor(GDE_STRING_NAME, 2)(&name, &from); // the one of a String
    cm3_godot_drop(GDE_STRING, &string);
    return name;
}

void cm3_godot_drop(gde_type type, void *value) {
    cm3_godot.variant_get_ptr_destructor(type)(value);
}

/* --- reading --------------------------------------------------------------------------------------------------- */

static void read_string(cm3_arguments *arguments, const void *variant, cm3_value *value) {
    gde_string string;
    cm3_godot.get_variant_to_type_constructor(GDE_STRING)(&string, (void *)variant);
    int64_t size = cm3_godot.string_to_utf8_chars(&string, NULL, 0);
    char *text = cm3_arguments_text(arguments, value, (size_t)size);
    if (text) cm3_godot.string_to_utf8_chars(&string, text, size);
    cm3_godot_drop(GDE_STRING, &string);
}

/** A StringName is a text as well: &"modality". */
static void read_name(cm3_arguments *arguments, const void *variant, cm3_value *value) {
    gde_variant string;
    gde_call_error error = {0};
    cm3_godot.variant_construct(GDE_STRING, &string, &variant, 1, &error);
    if (error.error == GDE_CALL_OK) read_string(arguments, &string, value);
    cm3_godot.variant_destroy(&string);
}

static void read_entry(cm3_arguments *arguments, const void *variant, const void *key, cm3_entry *entry) {
    cm3_value name;
    cm3_godot_read(arguments, key, &name);
    if (name.text) entry->key = name.text;
    gde_variant content;
    uint8_t valid = 0;
    cm3_godot.variant_get_keyed(variant, key, &content, &valid);
    entry->value.kind = CM3_VALUE_OTHER;
    // No option has a dictionary of its own.
    if (valid && cm3_godot.variant_get_type(&content) != GDE_DICTIONARY)
        cm3_godot_read(arguments, &content, &entry->value);
    cm3_godot.variant_destroy(&content);
}

static void read_dictionary(cm3_arguments *arguments, const void *variant, cm3_value *value) {
    gde_variant iterator;
    uint8_t valid = 0;
    *value = (cm3_value){.kind = CM3_VALUE_DICTIONARY};
    uint8_t more = cm3_godot.variant_iter_init(variant, &iterator, &valid);
    while (more && valid) {
        cm3_entry *entry = cm3_arguments_entry(arguments, value);
        if (!entry) break;
        gde_variant key;
        cm3_godot.variant_iter_get(variant, &iterator, &key, &valid);
        // A key that is a dictionary would be read without end, and is no option's name.
        if (valid && cm3_godot.variant_get_type(&key) != GDE_DICTIONARY) read_entry(arguments, variant, &key, entry);
        cm3_godot.variant_destroy(&key);
        more = cm3_godot.variant_iter_next(variant, &iterator, &valid);
    }
    cm3_godot.variant_destroy(&iterator);
}

void cm3_godot_read(cm3_arguments *arguments, const void *variant, cm3_value *value) {
    gde_type type = cm3_godot.variant_get_type(variant);
    *value = (cm3_value){.kind = CM3_VALUE_OTHER};
    uint8_t flag = 0;
    switch (type) {
    case GDE_NIL:
        value->kind = CM3_VALUE_NIL;
        break;
    case GDE_BOOL:
        value->kind = CM3_VALUE_BOOL;
        cm3_godot.get_variant_to_type_constructor(type)(&flag, (void *)variant);
        value->integer = flag;
        break;
    case GDE_INT:
        value->kind = CM3_VALUE_INT;
        cm3_godot.get_variant_to_type_constructor(type)(&value->integer, (void *)variant);
        break;
    case GDE_FLOAT:
        value->kind = CM3_VALUE_FLOAT;
        cm3_godot.get_variant_to_type_constructor(type)(&value->number, (void *)variant);
        break;
    case GDE_STRING:
        read_string(arguments, variant, value);
        break;
    case GDE_STRING_NAME:
        read_name(arguments, variant, value);
        break;
    case GDE_DICTIONARY:
        read_dictionary(arguments, variant, value);
        break;
    default:
        break;
    }
}

/* --- writing --------------------------------------------------------------------------------------------------- */

static void write_type(gde_type type, void *value, void *variant) {
    cm3_godot.get_variant_from_type_constructor(type)(variant, value);
}

static void write_text(const char *text, size_t size, void *variant) {
    gde_string string = cm3_godot_string(text, size);
    write_type(GDE_STRING, &string, variant);
    cm3_godot_drop(GDE_STRING, &string);
}

/** Filled while nobody else holds it: the engine copies arrays that are written to and shared. */
static void write_bytes(const uint8_t *bytes, size_t size, void *variant) {
    gde_variant made, count, result;
    gde_bytes array;
    gde_call_error error = {0};
    int64_t wanted = (int64_t)size;
    const void *argument = &count;
    gde_string_name resize = cm3_godot_name("resize");
    cm3_godot.variant_construct(GDE_PACKED_BYTE_ARRAY, &made, NULL, 0, &error);
    write_type(GDE_INT, &wanted, &count);
    cm3_godot.variant_call(&made, &resize, &argument, 1, &result, &error);
    cm3_godot.get_variant_to_type_constructor(GDE_PACKED_BYTE_ARRAY)(&array, &made);
    cm3_godot.variant_destroy(&result);
    cm3_godot.variant_destroy(&made);
    cm3_godot_drop(GDE_STRING_NAME, &resize);
    uint8_t *place = size && error.error == GDE_CALL_OK ? cm3_godot.packed_byte_array_operator_index(&array, 0) : NULL;
    if (place) memcpy(place, bytes, size);
    write_type(GDE_PACKED_BYTE_ARRAY, &array, variant);
    cm3_godot_drop(GDE_PACKED_BYTE_ARRAY, &array);
}

static void write_dictionary(const cm3_value *value, void *variant) {
    gde_call_error error = {0};
    cm3_godot.variant_construct(GDE_DICTIONARY, variant, NULL, 0, &error);
    for (size_t i = 0; i < value->count; i++) {
        gde_variant key, content;
        uint8_t valid = 0;
        write_text(value->entries[i].key, strlen(value->entries[i].key), &key);
        cm3_godot_write(&value->entries[i].value, &content);
        cm3_godot.variant_set_keyed(variant, &key, &content, &valid);
        cm3_godot.variant_destroy(&content);
        cm3_godot.variant_destroy(&key);
    }
}

void cm3_godot_write(const cm3_value *value, void *variant) {
    uint8_t flag = value->integer != 0;
    switch (value->kind) {
    case CM3_VALUE_BOOL:
        write_type(GDE_BOOL, &flag, variant);
        break;
    case CM3_VALUE_INT:
        write_type(GDE_INT, &(int64_t){value->integer}, variant);
        break;
    case CM3_VALUE_FLOAT:
        write_type(GDE_FLOAT, &(double){value->number}, variant);
        break;
    case CM3_VALUE_TEXT:
        write_text(value->text, value->size, variant);
        break;
    case CM3_VALUE_BYTES:
        write_bytes(value->bytes, value->size, variant);
        break;
    case CM3_VALUE_DICTIONARY:
        write_dictionary(value, variant);
        break;
    default:
        cm3_godot.variant_new_nil(variant);
        break;
    }
}
