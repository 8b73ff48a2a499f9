/* The engine's functions that the add-on asks for, and what runs it: host.h. */
#include "host.h"
#include "values.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define METHODS 32

typedef struct host_method {
    char name[64];
    gde_method_info info;
} host_method;

static struct {
    char name[64], parent[64];
    gde_class_info info;
    host_method methods[METHODS];
    size_t method_count;
} registered;

struct host_object {
    char class_name[64], native_name[64];
    void *instance;
};

static char error_text[256];
static const char *missing;
static gde_initialization library;
static char library_token;

static void copy_name(char to[64], const void *name) {
    host_string *string = *(host_string *const *)name;
    host_expect(string->size < 64, "a long name");
    memcpy(to, string->text, string->size + 1);
}

/* --- what the add-on asks for ----------------------------------------------------------------------------------- */

static void print_error_with_message(const char *description, const char *message, const char *function,
                                     const char *file, int32_t line, uint8_t notify) {
    (void)description, (void)function, (void)file, (void)line, (void)notify;
    snprintf(error_text, sizeof error_text, "%s", message);
}

static void variant_new_nil(void *variant) {
    host_expect(1, "variant_new_nil");
    *(host_variant *)variant = host_nil();
}

static void variant_destroy(void *variant) {
    host_drop(variant);
}

static gde_type variant_get_type(const void *variant) {
    host_check(variant);
    return ((const host_variant *)variant)->type;
}

static void variant_call(void *variant, const void *method, const void *const *arguments, int64_t count, void *result,
                         gde_call_error *error) {
    host_variant *self = variant;
    char name[64];
    host_check(self);
    copy_name(name, method);
    host_expect(self->type == GDE_PACKED_BYTE_ARRAY && !strcmp(name, "resize") && count == 1, "variant_call");
    const host_variant *size = arguments[0];
    host_check(size);
    host_expect(size->type == GDE_INT && size->as.integer >= 0, "a size that is none");
    host_bytes_resize(self->as.bytes, (size_t)size->as.integer); // of all that share it, as in the engine
    *(host_variant *)result = host_int(0);
    error->error = GDE_CALL_OK;
}

static void variant_construct(gde_type type, void *variant, const void *const *arguments, int32_t count,
                              gde_call_error *error) {
    host_variant *made = variant;
    error->error = GDE_CALL_OK;
    if (type == GDE_STRING && count == 1) {
        *made = host_copy(arguments[0]);
        host_expect(made->type == GDE_STRING_NAME, "a String of something else than a StringName");
        made->type = GDE_STRING;
        return;
    }
    host_expect(count == 0 && (type == GDE_DICTIONARY || type == GDE_PACKED_BYTE_ARRAY), "variant_construct");
    *made = type == GDE_DICTIONARY ? host_dictionary_new() : host_bytes_new();
}

static host_dictionary *dictionary_of(const void *variant) {
    host_check(variant);
    host_expect(((const host_variant *)variant)->type == GDE_DICTIONARY, "what is no dictionary");
    return ((const host_variant *)variant)->as.dictionary;
}

static void variant_set_keyed(void *variant, const void *key, const void *value, uint8_t *valid) {
    host_set(dictionary_of(variant), host_copy(key), host_copy(value));
    *valid = 1;
}

static void variant_get_keyed(const void *variant, const void *key, void *value, uint8_t *valid) {
    host_variant *found = host_find(dictionary_of(variant), key);
    *valid = found != NULL;
    *(host_variant *)value = found ? host_copy(found) : host_nil();
}

/* Iterators are keys in the engine, and numbers here. */
static uint8_t variant_iter_init(const void *variant, void *iterator, uint8_t *valid) {
    *(host_variant *)iterator = host_int(0);
    *valid = 1;
    return dictionary_of(variant)->count > 0;
}

static uint8_t variant_iter_next(const void *variant, void *iterator, uint8_t *valid) {
    host_check(iterator);
    *valid = 1;
    return (size_t)++((host_variant *)iterator)->as.integer < dictionary_of(variant)->count;
}

static void variant_iter_get(const void *variant, void *iterator, void *value, uint8_t *valid) {
    host_check(iterator);
    *(host_variant *)value = host_copy(&dictionary_of(variant)->keys[((host_variant *)iterator)->as.integer]);
    *valid = 1;
}

static void from_bool(void *variant, void *value) {
    *(host_variant *)variant = host_bool(*(uint8_t *)value);
}
static void from_int(void *variant, void *value) {
    *(host_variant *)variant = host_int(*(int64_t *)value);
}
static void from_float(void *variant, void *value) {
    *(host_variant *)variant = host_float(*(double *)value);
}
static void from_string(void *variant, void *value) {
    *(host_variant *)variant = host_string_of_held(host_string_hold(*(host_string **)value));
}
static void from_bytes(void *variant, void *value) {
    host_bytes *bytes = *(host_bytes **)value;
    bytes->references++;
    *(host_variant *)variant = host_bytes_of_held(bytes);
}

static gde_from_type get_variant_from_type_constructor(gde_type type) {
    switch (type) {
    case GDE_BOOL:
        return from_bool;
    case GDE_INT:
        return from_int;
    case GDE_FLOAT:
        return from_float;
    case GDE_STRING:
        return from_string;
    case GDE_PACKED_BYTE_ARRAY:
        return from_bytes;
    default:
        host_expect(0, "get_variant_from_type_constructor");
        return NULL;
    }
}

static const host_variant *typed(const void *variant, gde_type type) {
    host_check(variant);
    host_expect(((const host_variant *)variant)->type == type, "a Variant of another type");
    return variant;
}
static void to_bool(void *value, void *variant) {
    *(uint8_t *)value = typed(variant, GDE_BOOL)->as.integer != 0;
}
static void to_int(void *value, void *variant) {
    *(int64_t *)value = typed(variant, GDE_INT)->as.integer;
}
static void to_float(void *value, void *variant) {
    *(double *)value = typed(variant, GDE_FLOAT)->as.number;
}
static void to_string(void *value, void *variant) {
    *(host_string **)value = host_string_hold(typed(variant, GDE_STRING)->as.string);
}
static void to_bytes(void *value, void *variant) {
    host_bytes *bytes = typed(variant, GDE_PACKED_BYTE_ARRAY)->as.bytes;
    bytes->references++;
    *(host_bytes **)value = bytes;
}

static gde_to_type get_variant_to_type_constructor(gde_type type) {
    switch (type) {
    case GDE_BOOL:
        return to_bool;
    case GDE_INT:
        return to_int;
    case GDE_FLOAT:
        return to_float;
    case GDE_STRING:
        return to_string;
    case GDE_PACKED_BYTE_ARRAY:
        return to_bytes;
    default:
        host_expect(0, "get_variant_to_type_constructor");
        return NULL;
    }
}

static void name_of_string(void *made, const void *const *arguments) {
    *(host_string **)made = host_string_hold(*(host_string *const *)arguments[0]);
}

static gde_constructor variant_get_ptr_constructor(gde_type type, int32_t index) {
    host_expect(type == GDE_STRING_NAME && index == 2, "variant_get_ptr_constructor");
    return name_of_string;
}

static void destroy_string(void *value) {
    host_string_drop(*(host_string **)value);
    *(host_string **)value = NULL;
}
static void destroy_bytes(void *value) {
    host_variant held = host_bytes_of_held(*(host_bytes **)value);
    host_drop(&held);
    *(host_bytes **)value = NULL;
}

static gde_destructor variant_get_ptr_destructor(gde_type type) {
    host_expect(type == GDE_STRING || type == GDE_STRING_NAME || type == GDE_PACKED_BYTE_ARRAY,
                "variant_get_ptr_destructor");
    return type == GDE_PACKED_BYTE_ARRAY ? destroy_bytes : destroy_string;
}

static void string_new_with_utf8_chars_and_len(void *string, const char *text, int64_t size) {
    host_expect(1, "string_new_with_utf8_chars_and_len");
    *(host_string **)string = host_string_make(text, (size_t)size);
}

static int64_t string_to_utf8_chars(const void *string, char *text, int64_t room) {
    host_string *from = *(host_string *const *)string;
    int64_t size = (int64_t)from->size;
    if (text) memcpy(text, from->text, (size_t)(size < room ? size : room));
    return size;
}

static uint8_t *packed_byte_array_operator_index(void *bytes, int64_t index) {
    host_bytes *own = host_bytes_own(bytes);
    host_expect(index >= 0 && (size_t)index < own->size, "an index outside of the array");
    return own->data + index;
}

static void *classdb_construct_object(const void *class_name) {
    host_object *made = calloc(1, sizeof *made);
    if (!made) abort();
    copy_name(made->native_name, class_name);
    host_expect(!strcmp(made->native_name, registered.parent), "an object that is not of the class's parent");
    host_count(1);
    return made;
}

static void object_set_instance(void *object, const void *class_name, void *instance) {
    host_object *made = object;
    copy_name(made->class_name, class_name);
    host_expect(!strcmp(made->class_name, registered.name) && instance, "an instance of an unknown class");
    made->instance = instance;
}

static void classdb_register_extension_class(void *token, const void *class_name, const void *parent,
                                             const gde_class_info *info) {
    host_expect(token == &library_token && !registered.name[0], "a class registered twice, or by another library");
    copy_name(registered.name, class_name);
    copy_name(registered.parent, parent);
    registered.info = *info;
    host_expect(info->create_instance && info->free_instance, "a class that cannot be made or freed");
}

static void check_property(const gde_property_info *info, char name[64]) {
    char other[64];
    host_expect(info->name && info->class_name && info->hint_string, "a property without its strings");
    copy_name(name, info->name);
    copy_name(other, info->class_name);
    host_expect(info->type == GDE_NIL && (info->usage & GDE_USAGE_NIL_IS_VARIANT), "a property that is no Variant");
}

static void classdb_register_extension_class_method(void *token, const void *class_name, const gde_method_info *info) {
    char name[64];
    copy_name(name, class_name);
    host_expect(token == &library_token && !strcmp(name, registered.name), "a method of an unknown class");
    host_expect(registered.method_count < METHODS && info->call && info->ptrcall, "a method without its function");
    host_method *method = &registered.methods[registered.method_count++];
    copy_name(method->name, info->name);
    method->info = *info;
    host_expect(info->has_return_value && info->default_count <= info->argument_count, "a method's numbers");
    check_property(info->return_value, name);
    for (uint32_t i = 0; i < info->argument_count; i++) {
        check_property(&info->arguments[i], name);
        host_expect(name[0] && info->arguments_metadata[i] == 0, "an argument without a name");
    }
    for (uint32_t i = 0; i < info->default_count; i++) host_check(info->defaults[i]);
}

static void classdb_unregister_extension_class(void *token, const void *class_name) {
    char name[64];
    copy_name(name, class_name);
    host_expect(token == &library_token && !strcmp(name, registered.name), "a class that is not there");
    memset(&registered, 0, sizeof registered);
}

static gde_function get_proc_address(const char *name) {
    if (missing && !strcmp(name, missing)) return NULL;
#define LOOK_UP(result, function, arguments)                                                                           \
    if (!strcmp(name, #function)) return (gde_function)function;
    GDE_FUNCTIONS(LOOK_UP)
#undef LOOK_UP
    return NULL;
}

/* --- what a script and the engine do ---------------------------------------------------------------------------- */

int host_load(const char *path, const char *entry, const char *without) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!module) {
        snprintf(error_text, sizeof error_text, "%s", dlerror());
        return 0;
    }
    uint8_t (*function)(gde_get_proc_address, void *, gde_initialization *);
    *(void **)&function = dlsym(module, entry);
    missing = without;
    error_text[0] = '\0';
    memset(&library, 0, sizeof library);
    return function && function(get_proc_address, &library_token, &library);
}

void host_initialize(void) {
    for (int level = GDE_LEVEL_CORE; level <= GDE_LEVEL_EDITOR; level++) {
        if (level >= (int)library.minimum_level) library.initialize(library.user, level);
    }
}

void host_deinitialize(void) {
    for (int level = GDE_LEVEL_EDITOR; level >= (int)library.minimum_level; level--)
        library.deinitialize(library.user, level);
}

const char *host_error(void) {
    return error_text;
}

host_object *host_new(const char *class_name) {
    if (strcmp(class_name, registered.name)) return NULL;
    return registered.info.create_instance(registered.info.class_user);
}

void host_delete(host_object *object) {
    registered.info.free_instance(registered.info.class_user, object->instance);
    free(object);
    host_count(-1);
}

size_t host_method_count(const char *class_name) {
    return strcmp(class_name, registered.name) ? 0 : registered.method_count;
}

static const host_method *find_method(const char *name) {
    for (size_t i = 0; i < registered.method_count; i++) {
        if (!strcmp(registered.methods[i].name, name)) return &registered.methods[i];
    }
    host_expect(0, name);
    return NULL;
}

host_variant host_call(host_object *object, const char *name, const host_variant *arguments, int count,
                       gde_call_error *error) {
    const host_method *method = find_method(name);
    const void *given[8];
    host_variant result = host_nil();
    gde_call_error ignored;
    for (int i = 0; i < count; i++) given[i] = &arguments[i];
    method->info.call(method->info.method_user, object->instance, given, count, &result, error ? error : &ignored);
    host_check(&result);
    return result;
}

host_variant host_ptrcall(host_object *object, const char *name, const host_variant *arguments) {
    const host_method *method = find_method(name);
    const void *given[8];
    host_variant result = host_text("what the script's variable held before");
    for (uint32_t i = 0; i < method->info.argument_count; i++) given[i] = &arguments[i];
    method->info.ptrcall(method->info.method_user, object->instance, given, &result);
    host_check(&result);
    return result;
}
