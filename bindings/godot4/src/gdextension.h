/*
 * The part of Godot 4's extension interface (4.1 and later) that the add-on uses, declared anew: the engine hands its
 * functions out by name, so nobody needs its header. Pointers to the engine's values are void pointers, as there; room
 * for one that is to be made is of the types below.
 */
#ifndef CM3_GODOT4_GDEXTENSION_H
#define CM3_GODOT4_GDEXTENSION_H

#include <stdint.h>

typedef enum gde_type {
    GDE_NIL = 0,
    GDE_BOOL = 1,
    GDE_INT = 2,
    GDE_FLOAT = 3,
    GDE_STRING = 4,
    GDE_STRING_NAME = 21,
    GDE_DICTIONARY = 27,
    GDE_PACKED_BYTE_ARRAY = 29
} gde_type;

/* A Variant has 24 bytes, 40 where the engine was built for doubles. */
typedef struct gde_variant {
    uint64_t words[5];
} gde_variant;
typedef struct gde_string {
    uint64_t words[1];
} gde_string;
typedef struct gde_string_name {
    uint64_t words[1];
} gde_string_name;
typedef struct gde_bytes {
    uint64_t words[2];
} gde_bytes;

typedef enum gde_call_status { GDE_CALL_OK = 0, GDE_CALL_TOO_MANY_ARGUMENTS = 3 } gde_call_status;

typedef struct gde_call_error {
    gde_call_status error;
    int32_t argument;
    int32_t expected;
} gde_call_error;

typedef void (*gde_function)(void);
typedef gde_function (*gde_get_proc_address)(const char *name);
typedef void (*gde_constructor)(void *made, const void *const *arguments);
typedef void (*gde_destructor)(void *value);
typedef void (*gde_from_type)(void *variant, void *value);
typedef void (*gde_to_type)(void *value, void *variant);

/* Order and meaning of the members are the engine's; what the add-on leaves out is a plain function pointer. */
typedef struct gde_class_info {
    uint8_t is_virtual, is_abstract;
    gde_function set, get, get_property_list, free_property_list, property_can_revert, property_get_revert;
    gde_function notification, to_string, reference, unreference;
    void *(*create_instance)(void *class_user);
    void (*free_instance)(void *class_user, void *instance);
    gde_function get_virtual, get_rid;
    void *class_user;
} gde_class_info;

#define GDE_USAGE_DEFAULT 6u
#define GDE_USAGE_NIL_IS_VARIANT (1u << 17)

typedef struct gde_property_info {
    gde_type type;
    void *name, *class_name; /**< StringName */
    uint32_t hint;
    void *hint_string; /**< String */
    uint32_t usage;
} gde_property_info;

#define GDE_METHOD_NORMAL 1u

typedef struct gde_method_info {
    void *name; /**< StringName */
    void *method_user;
    void (*call)(void *method_user, void *instance, const void *const *arguments, int64_t count, void *result,
                 gde_call_error *error);
    void (*ptrcall)(void *method_user, void *instance, const void *const *arguments, void *result);
    uint32_t flags;
    uint8_t has_return_value;
    gde_property_info *return_value;
    int32_t return_metadata;
    uint32_t argument_count;
    gde_property_info *arguments;
    int32_t *arguments_metadata;
    uint32_t default_count;
    void **defaults; /**< Variants */
} gde_method_info;

typedef enum gde_level {
    GDE_LEVEL_CORE = 0,
    GDE_LEVEL_SERVERS = 1,
    GDE_LEVEL_SCENE = 2,
    GDE_LEVEL_EDITOR = 3
} gde_level;

typedef struct gde_initialization {
    gde_level minimum_level;
    void *user;
    void (*initialize)(void *user, gde_level level);
    void (*deinitialize)(void *user, gde_level level);
} gde_initialization;

/* The engine's functions that are used: result, name, arguments. Those of 4.1, which later ones keep. */
#define GDE_FUNCTIONS(F)                                                                                               \
    F(void, print_error_with_message,                                                                                  \
      (const char *description, const char *message, const char *function, const char *file, int32_t line,             \
       uint8_t notify))                                                                                                \
    F(void, variant_new_nil, (void *variant))                                                                          \
    F(void, variant_destroy, (void *variant))                                                                          \
    F(gde_type, variant_get_type, (const void *variant))                                                               \
    F(void, variant_call,                                                                                              \
      (void *variant, const void *method, const void *const *arguments, int64_t count, void *result,                   \
       gde_call_error *error))                                                                                         \
    F(void, variant_construct,                                                                                         \
      (gde_type type, void *variant, const void *const *arguments, int32_t count, gde_call_error *error))              \
    F(void, variant_set_keyed, (void *variant, const void *key, const void *value, uint8_t *valid))                    \
    F(void, variant_get_keyed, (const void *variant, const void *key, void *value, uint8_t *valid))                    \
    F(uint8_t, variant_iter_init, (const void *variant, void *iterator, uint8_t *valid))                               \
    F(uint8_t, variant_iter_next, (const void *variant, void *iterator, uint8_t *valid))                               \
    F(void, variant_iter_get, (const void *variant, void *iterator, void *value, uint8_t *valid))                      \
    F(gde_from_type, get_variant_from_type_constructor, (gde_type type))                                               \
    F(gde_to_type, get_variant_to_type_constructor, (gde_type type))                                                   \
    F(gde_constructor, variant_get_ptr_constructor, (gde_type type, int32_t index))                                    \
    F(gde_destructor, variant_get_ptr_destructor, (gde_type type))                                                     \
    F(void, string_new_with_utf8_chars_and_len, (void *string, const char *text, int64_t size))                        \
    F(int64_t, string_to_utf8_chars, (const void *string, char *text, int64_t room))                                   \
    F(uint8_t *, packed_byte_array_operator_index, (void *bytes, int64_t index))                                       \
    F(void *, classdb_construct_object, (const void *class_name))                                                      \
    F(void, object_set_instance, (void *object, const void *class_name, void *instance))                               \
    F(void, classdb_register_extension_class,                                                                          \
      (void *library, const void *class_name, const void *parent, const gde_class_info *info))                         \
    F(void, classdb_register_extension_class_method,                                                                   \
      (void *library, const void *class_name, const gde_method_info *info))                                            \
    F(void, classdb_unregister_extension_class, (void *library, const void *class_name))

#define GDE_MEMBER(result, name, arguments) result(*name) arguments;
typedef struct gde_functions {
    GDE_FUNCTIONS(GDE_MEMBER)
} gde_functions;
#undef GDE_MEMBER

#endif
