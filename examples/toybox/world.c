/* The toybox world: tables, random scenes, and the line between training and held-out scenes. */
#include "world.h"

#include <stdio.h>
#include <string.h>
#include <xxhash.h>

const char *const toy_colour_names[TOY_COLOURS] = {"red",    "orange", "yellow", "green", "blue",
                                                   "purple", "pink",   "black",  "white"};
const toy_rgb toy_colours[TOY_COLOURS] = {{0xE0, 0x31, 0x31}, {0xF0, 0x8C, 0x00}, {0xFF, 0xD4, 0x3B},
                                          {0x2F, 0x9E, 0x44}, {0x19, 0x71, 0xC2}, {0x9C, 0x36, 0xB5},
                                          {0xF7, 0x83, 0xAC}, {0x1A, 0x1A, 0x1A}, {0xFF, 0xFF, 0xFF}};
const char *const toy_background_names[TOY_BACKGROUNDS] = {"grey", "sky", "sand", "grass", "night"};
const toy_rgb toy_backgrounds[TOY_BACKGROUNDS] = {
    {0xCE, 0xD4, 0xDA}, {0xA5, 0xD8, 0xFF}, {0xE9, 0xD8, 0xA6}, {0x9B, 0xE2, 0x9B}, {0x1B, 0x2A, 0x6B}};
const char *const toy_shape_names[TOY_SHAPES] = {"circle",  "ring", "square", "triangle",
                                                 "diamond", "star", "heart",  "cross"};
const toy_rgb toy_class_colours[TOY_SHAPES] = {{0xFF, 0x00, 0x00}, {0xFF, 0x80, 0x00}, {0x00, 0xFF, 0x00},
                                               {0x00, 0x00, 0xFF}, {0x00, 0xFF, 0xFF}, {0xFF, 0xFF, 0x00},
                                               {0xFF, 0x00, 0xFF}, {0xFF, 0xFF, 0xFF}};
const char *const toy_size_names[TOY_SIZES] = {"small", "large"};
const double toy_radii[TOY_SIZES] = {0.095, 0.150};
const char *const toy_cell_names[TOY_CELLS] = {"top left", "top",         "top right", "left",        "center",
                                               "right",    "bottom left", "bottom",    "bottom right"};
const char *const toy_cell_phrases[TOY_CELLS] = {"at the top left",    "at the top",    "at the top right",
                                                 "on the left",        "in the center", "on the right",
                                                 "at the bottom left", "at the bottom", "at the bottom right"};
const char *const toy_kind_names[TOY_KINDS] = {"placed", "related", "counted"};
const char *const toy_relation_names[TOY_RELATIONS] = {"left", "right", "above", "below"};
const char *const toy_relation_phrases[TOY_RELATIONS] = {"to the left of", "to the right of", "above", "below"};

static const struct {
    int size, colour, shape;
} reserved_triples[] = {
    {TOY_LARGE, 5, TOY_STAR},    /* large purple star */
    {TOY_SMALL, 1, TOY_HEART},   /* small orange heart */
    {TOY_LARGE, 6, TOY_CROSS},   /* large pink cross */
    {TOY_SMALL, 4, TOY_DIAMOND}, /* small blue diamond */
};
enum { RESERVED = sizeof reserved_triples / sizeof reserved_triples[0] };

/* One scene in so many is held out; counted captions are few, so more of them are. */
static const uint64_t scene_modulus = 50;
static const uint64_t caption_modulus[TOY_KINDS] = {50, 50, 20};

int toy_find(const char *const *names, int count, const char *name) {
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], name) == 0) return i;
    }
    return -1;
}

void toy_centre(const toy_object *object, double *x, double *y) {
    *x = (object->cell % 3 + 0.5) / 3.0 + object->dx;
    *y = (object->cell / 3 + 0.5) / 3.0 + object->dy;
}

bool toy_may_stand(int colour, int background) {
    return !(colour == TOY_BLACK && background == TOY_NIGHT) && !(colour == TOY_WHITE && background == TOY_GREY);
}

bool toy_relation_holds(toy_relation relation, const toy_object *a, const toy_object *b) {
    int dx = b->cell % 3 - a->cell % 3;
    int dy = b->cell / 3 - a->cell / 3;
    switch (relation) {
    case TOY_LEFT:
        return dx >= 1;
    case TOY_RIGHT:
        return dx <= -1;
    case TOY_ABOVE:
        return dy >= 1;
    case TOY_BELOW:
        return dy <= -1;
    }
    return false;
}

toy_relation toy_relation_inverse(toy_relation relation) {
    static const toy_relation inverse[TOY_RELATIONS] = {TOY_RIGHT, TOY_LEFT, TOY_BELOW, TOY_ABOVE};
    return inverse[relation];
}

/* --- random numbers: the finaliser of SplitMix64 over a key and a counter --- */

static uint64_t mix(uint64_t x) {
    x += 0x9E3779B97F4A7C15u;
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
    return x ^ (x >> 31);
}

toy_random toy_random_make(uint64_t seed, uint64_t stream, uint64_t index) {
    return (toy_random){.key = mix(mix(mix(seed) ^ stream) ^ index), .counter = 0};
}

uint64_t toy_random_next(toy_random *random) {
    return mix(random->key ^ mix(random->counter++));
}

int toy_random_below(toy_random *random, int n) {
    return (int)(((toy_random_next(random) >> 32) * (uint64_t)n) >> 32);
}

/* --- splits --- */

bool toy_reserved(const toy_object *object) {
    for (int i = 0; i < RESERVED; i++) {
        if (object->size == reserved_triples[i].size && object->colour == reserved_triples[i].colour &&
            object->shape == reserved_triples[i].shape)
            return true;
    }
    return false;
}

void toy_sort_objects(toy_object *objects, int count) {
    for (int i = 1; i < count; i++) {
        toy_object object = objects[i];
        int j = i;
        for (; j > 0 && objects[j - 1].cell > object.cell; j--) objects[j] = objects[j - 1];
        objects[j] = object;
    }
}

/* The scene without its jitter, objects in reading order. */
static uint64_t scene_hash(const toy_scene *scene) {
    toy_object objects[TOY_MAX_OBJECTS];
    memcpy(objects, scene->objects, sizeof objects);
    toy_sort_objects(objects, scene->count);
    char text[256];
    int length = snprintf(text, sizeof text, "%s", toy_background_names[scene->background]);
    for (int i = 0; i < scene->count; i++) {
        const toy_object *o = &objects[i];
        length += snprintf(text + length, sizeof text - (size_t)length, "|%s %s %s %s", toy_size_names[o->size],
                           toy_colour_names[o->colour], toy_shape_names[o->shape], toy_cell_names[o->cell]);
    }
    return XXH64(text, (size_t)length, 0);
}

/* What the caption says, in one form for all of its wordings. */
static uint64_t caption_hash(const toy_scene *scene) {
    if (scene->kind == TOY_PLACED) return scene_hash(scene);
    const toy_object *a = &scene->objects[0];
    const toy_object *b = &scene->objects[1];
    const char *background = toy_background_names[scene->background];
    char text[128];
    int length;
    if (scene->kind == TOY_COUNTED) {
        length = snprintf(text, sizeof text, "%s|%d %s %s %s", background, scene->count, toy_size_names[a->size],
                          toy_colour_names[a->colour], toy_shape_names[a->shape]);
    } else {
        toy_relation relation = scene->relation;
        if (relation == TOY_RIGHT || relation == TOY_BELOW) {
            const toy_object *swap = a;
            a = b;
            b = swap;
            relation = toy_relation_inverse(relation);
        }
        length = snprintf(text, sizeof text, "%s|%s %s %s %s %s", background, toy_colour_names[a->colour],
                          toy_shape_names[a->shape], toy_relation_names[relation], toy_colour_names[b->colour],
                          toy_shape_names[b->shape]);
    }
    return XXH64(text, (size_t)length, 0);
}

/* A training caption of a related scene may name any relation that holds, so none of those may be held out. */
static bool caption_held_out(const toy_scene *scene, bool any_relation) {
    if (scene->kind != TOY_RELATED || !any_relation) return caption_hash(scene) % caption_modulus[scene->kind] == 0;
    toy_scene said = *scene;
    for (int i = 0; i < TOY_RELATIONS; i++) {
        said.relation = (toy_relation)i;
        if (toy_relation_holds(said.relation, &said.objects[0], &said.objects[1]) &&
            caption_hash(&said) % caption_modulus[TOY_RELATED] == 0)
            return true;
    }
    return false;
}

bool toy_in_split(const toy_scene *scene, toy_split split) {
    if (split == TOY_ANY) return true;
    bool reserved = false;
    for (int i = 0; i < scene->count; i++) reserved = reserved || toy_reserved(&scene->objects[i]);
    if (split == TOY_COMPOSITIONAL) return reserved && scene->kind != TOY_RELATED;
    bool scene_out = scene_hash(scene) % scene_modulus == 0;
    if (split == TOY_TRAIN) return !reserved && !scene_out && !caption_held_out(scene, true);
    return !reserved && scene_out && caption_held_out(scene, false);
}

/* --- random scenes --- */

static double draw_jitter(toy_random *random) {
    /* In steps of 1e-5, so that the numbers in the JSON beside a picture are exact. */
    return (toy_random_below(random, 1201) - 600) / 100000.0;
}

static toy_object draw_object(toy_random *random, int background) {
    toy_object object = {.shape = toy_random_below(random, TOY_SHAPES), .size = toy_random_below(random, TOY_SIZES)};
    do object.colour = toy_random_below(random, TOY_COLOURS);
    while (!toy_may_stand(object.colour, background));
    return object;
}

static void draw_places(toy_random *random, toy_scene *scene) {
    int cells[TOY_CELLS] = {0, 1, 2, 3, 4, 5, 6, 7, 8};
    for (int i = 0; i < scene->count; i++) {
        int j = i + toy_random_below(random, TOY_CELLS - i);
        int cell = cells[j];
        cells[j] = cells[i];
        cells[i] = cell;
        scene->objects[i].cell = cell;
        scene->objects[i].dx = draw_jitter(random);
        scene->objects[i].dy = draw_jitter(random);
    }
}

/* Gives one object (of a counted scene: every object) a reserved triple. */
static void put_reserved(toy_random *random, toy_scene *scene) {
    int which = toy_random_below(random, RESERVED);
    int first = toy_random_below(random, scene->count);
    for (int i = 0; i < scene->count; i++) {
        if (scene->kind != TOY_COUNTED && i != first) continue;
        scene->objects[i].size = reserved_triples[which].size;
        scene->objects[i].colour = reserved_triples[which].colour;
        scene->objects[i].shape = reserved_triples[which].shape;
    }
}

static toy_scene draw_candidate(toy_random *random, toy_kind kind, int count) {
    toy_scene scene = {.kind = kind, .background = toy_random_below(random, TOY_BACKGROUNDS)};
    scene.relation = (toy_relation)toy_random_below(random, TOY_RELATIONS);
    if (kind == TOY_RELATED)
        scene.count = 2;
    else if (count > 0)
        scene.count = count;
    else if (kind == TOY_COUNTED)
        scene.count = 2 + toy_random_below(random, 3);
    else
        scene.count = 1 + toy_random_below(random, TOY_MAX_OBJECTS);
    for (int i = 0; i < scene.count; i++) {
        if (kind == TOY_COUNTED && i > 0)
            scene.objects[i] = scene.objects[0];
        else
            scene.objects[i] = draw_object(random, scene.background);
    }
    do draw_places(random, &scene);
    while (kind == TOY_RELATED && !toy_relation_holds(scene.relation, &scene.objects[0], &scene.objects[1]));
    return scene;
}

toy_scene toy_draw_scene(toy_random *random, toy_kind kind, int count, toy_split split) {
    toy_scene scene;
    do {
        scene = draw_candidate(random, kind, count);
        if (split == TOY_COMPOSITIONAL) put_reserved(random, &scene);
        if (kind != TOY_RELATED) toy_sort_objects(scene.objects, scene.count);
    } while (!toy_in_split(&scene, split));
    return scene;
}
