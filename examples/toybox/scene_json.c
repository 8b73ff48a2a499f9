/* Scenes and emblems as JSON. */
#include "scene_json.h"

#include <string.h>

static json_t *object_to_json(const toy_object *o, bool size, bool cell, bool jitter) {
    json_t *json = json_pack("{s:s, s:s}", "shape", toy_shape_names[o->shape], "colour", toy_colour_names[o->colour]);
    if (size) json_object_set_new(json, "size", json_string(toy_size_names[o->size]));
    if (cell) json_object_set_new(json, "cell", json_string(toy_cell_names[o->cell]));
    if (jitter) {
        json_object_set_new(json, "dx", json_real(o->dx));
        json_object_set_new(json, "dy", json_real(o->dy));
    }
    return json;
}

static json_t *pack(const toy_scene *scene, bool size, bool cell, bool jitter) {
    json_t *objects = json_array();
    for (int i = 0; i < scene->count; i++) {
        json_array_append_new(objects, object_to_json(&scene->objects[i], size, cell, jitter));
    }
    json_t *json = json_pack("{s:s, s:o}", "background", toy_background_names[scene->background], "objects", objects);
    if (scene->kind == TOY_RELATED)
        json_object_set_new(json, "relation", json_string(toy_relation_names[scene->relation]));
    return json;
}

json_t *toy_scene_to_json(const toy_scene *scene) {
    return pack(scene, true, true, true);
}

json_t *toy_demand_to_json(const toy_scene *scene) {
    return pack(scene, scene->kind != TOY_RELATED, scene->kind == TOY_PLACED, false);
}

/* The number of the name under `key`. An optional key may be missing and is 0 then. */
static bool read_name(const json_t *json, const char *key, const char *const *names, int count, bool needed, int *out) {
    const json_t *value = json_object_get(json, key);
    *out = 0;
    if (!value) return !needed;
    const char *text = json_string_value(value);
    *out = text ? toy_find(names, count, text) : -1;
    return *out >= 0;
}

static bool read_object(const json_t *json, toy_kind kind, toy_object *o) {
    *o = (toy_object){0};
    return read_name(json, "shape", toy_shape_names, TOY_SHAPES, true, &o->shape) &&
           read_name(json, "colour", toy_colour_names, TOY_COLOURS, true, &o->colour) &&
           read_name(json, "size", toy_size_names, TOY_SIZES, kind != TOY_RELATED, &o->size) &&
           read_name(json, "cell", toy_cell_names, TOY_CELLS, kind == TOY_PLACED, &o->cell);
}

bool toy_demand_from_json(const json_t *json, toy_kind kind, toy_scene *scene, const char **reason) {
    *scene = (toy_scene){.kind = kind};
    int relation;
    *reason = "\"background\" is none of the five";
    if (!read_name(json, "background", toy_background_names, TOY_BACKGROUNDS, true, &scene->background)) return false;
    *reason = "\"relation\" is none of left, right, above, below";
    if (!read_name(json, "relation", toy_relation_names, TOY_RELATIONS, kind == TOY_RELATED, &relation)) return false;
    scene->relation = (toy_relation)relation;
    const json_t *objects = json_object_get(json, "objects");
    size_t count = json_array_size(objects);
    *reason = "\"objects\" has not one to four elements (two for related, two to four for counted)";
    if (count < (kind == TOY_PLACED ? 1 : 2) || count > (kind == TOY_RELATED ? 2 : TOY_MAX_OBJECTS)) return false;
    scene->count = (int)count;
    *reason = "an object's shape, colour, size or cell is missing or unknown";
    for (size_t i = 0; i < count; i++) {
        if (!read_object(json_array_get(objects, i), kind, &scene->objects[i])) return false;
    }
    return true;
}

json_t *toy_emblem_to_json(const char *name, const toy_emblem *e) {
    return json_pack("{s:s, s:s, s:[s, s], s:s, s:s}", "name", name, "parting", toy_parting_names[e->parting],
                     "colours", toy_colour_names[e->first], toy_colour_names[e->second], "charge",
                     toy_shape_names[e->charge], "charge_colour", toy_colour_names[e->charge_colour]);
}

static bool read_word(const json_t *word, const char *const *names, int count, int *out) {
    const char *text = json_string_value(word);
    *out = text ? toy_find(names, count, text) : -1;
    return *out >= 0;
}

bool toy_emblem_from_json(const json_t *json, toy_emblem *e) {
    const json_t *colours = json_object_get(json, "colours");
    return read_word(json_object_get(json, "parting"), toy_parting_names, TOY_PARTINGS, &e->parting) &&
           read_word(json_array_get(colours, 0), toy_colour_names, TOY_COLOURS, &e->first) &&
           read_word(json_array_get(colours, 1), toy_colour_names, TOY_COLOURS, &e->second) &&
           read_word(json_object_get(json, "charge"), toy_shape_names, TOY_SHAPES, &e->charge) &&
           read_word(json_object_get(json, "charge_colour"), toy_colour_names, TOY_COLOURS, &e->charge_colour);
}
