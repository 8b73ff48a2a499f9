/* Scenes and emblems as JSON, as they stand beside pictures and in lists of prompts. */
#ifndef TOYBOX_SCENE_JSON_H
#define TOYBOX_SCENE_JSON_H

#include "emblem.h"
#include "world.h"

#include <jansson.h>

/** {"background", "objects": [{"shape", "colour", "size", "cell", "dx", "dy"}], "relation" (related only)}, or NULL. */
json_t *toy_scene_to_json(const toy_scene *scene);

/** What a caption demands: without places where it names none, without sizes for related scenes. NULL: no memory. */
json_t *toy_demand_to_json(const toy_scene *scene);

/** Reads what toy_demand_to_json() wrote (missing keys become 0). False, with a reason, if it is anything else. */
bool toy_demand_from_json(const json_t *json, toy_kind kind, toy_scene *scene, const char **reason);

/** {"name", "parting", "colours": [first, second], "charge", "charge_colour"}, or NULL. */
json_t *toy_emblem_to_json(const char *name, const toy_emblem *emblem);
/** Reads what that wrote, without the name. False if it is anything else. */
bool toy_emblem_from_json(const json_t *json, toy_emblem *emblem);

#endif
