/* What Godot 3 calls when it loads the add-on's library: the class Cm3leonPlayer, a Reference. All of it happens on the
 * thread that calls a method; the engine is called on no other. */
#include "engine.h"

#define ENTRY __attribute__((visibility("default")))

const godot_gdnative_core_api_struct *cm3_godot;
static const godot_gdnative_ext_nativescript_api_struct *nativescript;

/* What the engine looks up by name. */
ENTRY void godot_gdnative_init(godot_gdnative_init_options *options);
ENTRY void godot_gdnative_terminate(godot_gdnative_terminate_options *options);
ENTRY void godot_nativescript_init(void *handle);

static GDCALLINGCONV void *create(godot_object *object, void *user) {
    (void)object, (void)user;
    return cm3_player_create();
}

static GDCALLINGCONV void destroy(godot_object *object, void *user, void *player) {
    (void)object, (void)user;
    cm3_player_destroy(player);
}

static GDCALLINGCONV godot_variant call(godot_object *object, void *user, void *player, int count,
                                        godot_variant **given) {
    (void)object;
    const cm3_method *method = user;
    cm3_arguments arguments = {0};
    cm3_answer answer = {0};
    for (int i = 0; i < count && i < method->arguments; i++) {
        cm3_godot_read(&arguments, given[i], &arguments.values[i]);
    }
    if (player) method->call(player, arguments.values, &answer);
    cm3_arguments_clear(&arguments);
    return cm3_godot_write(&answer.value);
}

void godot_gdnative_init(godot_gdnative_init_options *options) {
    cm3_godot = options->api_struct;
    for (unsigned i = 0; i < cm3_godot->num_extensions; i++) {
        if (cm3_godot->extensions[i]->type == GDNATIVE_EXT_NATIVESCRIPT)
            nativescript = (const godot_gdnative_ext_nativescript_api_struct *)cm3_godot->extensions[i];
    }
}

void godot_gdnative_terminate(godot_gdnative_terminate_options *options) {
    (void)options;
    cm3_godot = NULL;
    nativescript = NULL;
}

void godot_nativescript_init(void *handle) {
    if (!nativescript) return;
    godot_instance_create_func make = {.create_func = create};
    godot_instance_destroy_func unmake = {.destroy_func = destroy};
    nativescript->godot_nativescript_register_class(handle, CM3_CLASS_NAME, "Reference", make, unmake);
    for (int i = 0; i < CM3_METHOD_COUNT; i++) {
        godot_method_attributes attributes = {.rpc_type = GODOT_METHOD_RPC_MODE_DISABLED};
        godot_instance_method method = {.method = call, .method_data = (void *)&cm3_methods[i]};
        nativescript->godot_nativescript_register_method(handle, CM3_CLASS_NAME, cm3_methods[i].name, attributes,
                                                         method);
    }
}
