/* What Godot 4 calls when it loads the add-on's library: the class Cm3leonPlayer, a RefCounted. All of it happens on
 * the thread that calls a method; the engine is called on no other. */
#include "engine.h"

#define ENTRY __attribute__((visibility("default")))

static void *this_library;

/** The entry_symbol of cm3leon.gdextension. */
ENTRY uint8_t cm3_godot4_init(gde_get_proc_address get_proc_address, void *library, gde_initialization *initialization);

static void *create(void *class_user) {
    (void)class_user;
    cm3_player *player = cm3_player_create();
    if (!player) return NULL;
    gde_string_name parent = cm3_godot_name("RefCounted"), name = cm3_godot_name(CM3_CLASS_NAME);
    void *object = cm3_godot.classdb_construct_object(&parent);
    cm3_godot.object_set_instance(object, &name, player);
    cm3_godot_drop(GDE_STRING_NAME, &name);
    cm3_godot_drop(GDE_STRING_NAME, &parent);
    return object;
}

static void destroy(void *class_user, void *player) {
    (void)class_user;
    cm3_player_destroy(player);
}

/** `result` is a Variant that is there already: nil, or (ptrcall) whatever the script had in it. */
static void call_with(const cm3_method *method, void *player, const void *const *given, int64_t count, void *result) {
    cm3_arguments arguments = {0};
    cm3_answer answer = {0};
    for (int64_t i = 0; i < count; i++) cm3_godot_read(&arguments, given[i], &arguments.values[i]);
    method->call(player, arguments.values, &answer);
    cm3_arguments_clear(&arguments);
    cm3_godot.variant_destroy(result);
    cm3_godot_write(&answer.value, result);
}

static void call(void *user, void *player, const void *const *given, int64_t count, void *result,
                 gde_call_error *error) {
    const cm3_method *method = user;
    if (count > method->arguments) {
        *error = (gde_call_error){.error = GDE_CALL_TOO_MANY_ARGUMENTS, .expected = method->arguments};
        return;
    }
    error->error = GDE_CALL_OK;
    call_with(method, player, given, count, result);
}

/** The short way from typed scripts: since all arguments and the result are Variants, it is the same. */
static void ptrcall(void *user, void *player, const void *const *given, void *result) {
    const cm3_method *method = user;
    call_with(method, player, given, method->arguments, result);
}

static void register_method(const cm3_method *method, const gde_string_name *class_name) {
    gde_string_name name = cm3_godot_name(method->name), no_class = cm3_godot_name(""), names[2];
    gde_string no_hint = cm3_godot_string("", 0);
    gde_property_info any = {.type = GDE_NIL,
                             .name = &no_class,
                             .class_name = &no_class,
                             .hint_string = &no_hint,
                             .usage = GDE_USAGE_DEFAULT | GDE_USAGE_NIL_IS_VARIANT};
    gde_property_info arguments[2] = {any, any};
    int32_t metadata[2] = {0, 0};
    gde_variant nil;
    void *defaults[2] = {&nil, &nil};
    cm3_godot.variant_new_nil(&nil);
    for (int i = 0; i < method->arguments; i++) {
        names[i] = cm3_godot_name(method->argument_names[i]);
        arguments[i].name = &names[i];
    }
    gde_method_info info = {.name = &name,
                            .method_user = (void *)method,
                            .call = call,
                            .ptrcall = ptrcall,
                            .flags = GDE_METHOD_NORMAL,
                            .has_return_value = 1,
                            .return_value = &any,
                            .argument_count = (uint32_t)method->arguments,
                            .arguments = arguments,
                            .arguments_metadata = metadata,
                            .default_count = (uint32_t)method->arguments,
                            .defaults = defaults};
    cm3_godot.classdb_register_extension_class_method(this_library, class_name, &info);
    for (int i = 0; i < method->arguments; i++) cm3_godot_drop(GDE_STRING_NAME, &names[i]);
    cm3_godot.variant_destroy(&nil);
    cm3_godot_drop(GDE_STRING, &no_hint);
    cm3_godot_drop(GDE_STRING_NAME, &no_class);
    cm3_godot_drop(GDE_STRING_NAME, &name);
}

static void initialize(void *user, gde_level level) {
    (void)user;
    if (level != GDE_LEVEL_SCENE) return;
    gde_string_name name = cm3_godot_name(CM3_CLASS_NAME), parent = cm3_godot_name("RefCounted");
    gde_class_info info = {.create_instance = create, .free_instance = destroy};
    cm3_godot.classdb_register_extension_class(this_library, &name, &parent, &info);
    for (int i = 0; i < CM3_METHOD_COUNT; i++) register_method(&cm3_methods[i], &name);
    cm3_godot_drop(GDE_STRING_NAME, &parent);
    cm3_godot_drop(GDE_STRING_NAME, &name);
}

static void deinitialize(void *user, gde_level level) {
    (void)user;
    if (level != GDE_LEVEL_SCENE) return;
    gde_string_name name = cm3_godot_name(CM3_CLASS_NAME);
    cm3_godot.classdb_unregister_extension_class(this_library, &name);
    cm3_godot_drop(GDE_STRING_NAME, &name);
}

uint8_t cm3_godot4_init(gde_get_proc_address get_proc_address, void *library, gde_initialization *initialization) {
    if (!cm3_godot_find(get_proc_address)) return 0;
    this_library = library;
    *initialization =
        (gde_initialization){.minimum_level = GDE_LEVEL_SCENE, .initialize = initialize, .deinitialize = deinitialize};
    return 1;
}
