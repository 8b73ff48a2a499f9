/* Godot 3 as the add-on sees it: its table of functions, and its values turned into plain ones and back. */
#ifndef CM3_GODOT3_ENGINE_H
#define CM3_GODOT3_ENGINE_H

#include "../../common/arguments.h"
#include "../../common/methods.h"
#include <gdnative_api_struct.gen.h>

/** Set while the library is loaded. */
extern const godot_gdnative_core_api_struct *cm3_godot;

/** Fills a value of `arguments`; what it points to lives as long as these. */
void cm3_godot_read(cm3_arguments *arguments, const godot_variant *from, cm3_value *value);

/** The engine's own of a value, the caller's to destroy. */
godot_variant cm3_godot_write(const cm3_value *value);

#endif
