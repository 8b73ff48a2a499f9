/* Godot 4 as the add-on sees it: its functions, and its values turned into plain ones and back. */
#ifndef CM3_GODOT4_ENGINE_H
#define CM3_GODOT4_ENGINE_H

#include "../../common/arguments.h"
#include "../../common/methods.h"
#include "gdextension.h"

extern gde_functions cm3_godot;

/** Looks all functions up. 0 where the engine lacks one, whose name is printed by its own means where it can. */
int cm3_godot_find(gde_get_proc_address get_proc_address);

/** The engine's strings of a text, to be given back by cm3_godot_drop(). */
gde_string cm3_godot_string(const char *text, size_t size);
gde_string_name cm3_godot_name(const char *text);
void cm3_godot_drop(gde_type type, void *value);

/** Fills a value of `arguments`; what it points to lives as long as these. */
void cm3_godot_read(cm3_arguments *arguments, const void *variant, cm3_value *value);

/** Makes a Variant of a value. */
void cm3_godot_write(const cm3_value *value, void *variant);

#endif
