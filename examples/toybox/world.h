/* The toybox world: its colours, shapes and places, how scenes are drawn at random, and which of them are held out. */
#ifndef TOYBOX_WORLD_H
#define TOYBOX_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { TOY_COLOURS = 9, TOY_BACKGROUNDS = 5, TOY_SHAPES = 8, TOY_SIZES = 2, TOY_CELLS = 9, TOY_MAX_OBJECTS = 4 };
enum { TOY_SMALL, TOY_LARGE };
enum { TOY_BLACK = 7, TOY_WHITE = 8 };
enum { TOY_GREY = 0, TOY_NIGHT = 4 };
enum { TOY_CIRCLE, TOY_RING, TOY_SQUARE, TOY_TRIANGLE, TOY_DIAMOND, TOY_STAR, TOY_HEART, TOY_CROSS };

/** An object's centre is its cell's centre, moved by at most this on each axis. */
#define TOY_JITTER 0.006

typedef struct toy_rgb {
    uint8_t r, g, b;
} toy_rgb;

extern const char *const toy_colour_names[TOY_COLOURS];
extern const toy_rgb toy_colours[TOY_COLOURS];
extern const char *const toy_background_names[TOY_BACKGROUNDS];
extern const toy_rgb toy_backgrounds[TOY_BACKGROUNDS];
extern const char *const toy_shape_names[TOY_SHAPES];
/** What a segmentation shows of each shape. */
extern const toy_rgb toy_class_colours[TOY_SHAPES];
extern const char *const toy_size_names[TOY_SIZES];
/** Radii as fractions of the picture's side. */
extern const double toy_radii[TOY_SIZES];
/** "top left" and "at the top left" for each cell, in reading order. */
extern const char *const toy_cell_names[TOY_CELLS];
extern const char *const toy_cell_phrases[TOY_CELLS];

/** The number of `name` in a table of `count` names, or -1. */
int toy_find(const char *const *names, int count, const char *name);

typedef struct toy_object {
    int shape;
    int colour;
    int size;
    int cell;      /**< 0..8 in reading order */
    double dx, dy; /**< from the cell's centre */
} toy_object;

typedef enum toy_kind { TOY_PLACED, TOY_RELATED, TOY_COUNTED } toy_kind;
enum { TOY_KINDS = 3 };
extern const char *const toy_kind_names[TOY_KINDS];

typedef enum toy_relation { TOY_LEFT, TOY_RIGHT, TOY_ABOVE, TOY_BELOW } toy_relation;
enum { TOY_RELATIONS = 4 };
/** "left" and "to the left of". */
extern const char *const toy_relation_names[TOY_RELATIONS];
extern const char *const toy_relation_phrases[TOY_RELATIONS];

/**
 * A scene and what its caption speaks of. Placed and counted objects stand in reading order; in a related scene
 * objects[0] stands in `relation` to objects[1].
 */
typedef struct toy_scene {
    toy_kind kind;
    int background;
    int count;
    toy_relation relation;
    toy_object objects[TOY_MAX_OBJECTS];
} toy_scene;

/** The centre of an object, as fractions of the side. */
void toy_centre(const toy_object *object, double *x, double *y);

/** Black on night and white on grey never meet. */
bool toy_may_stand(int colour, int background);

/** Whether `a` stands in `relation` to `b`: their centres differ by at least one cell on that axis. */
bool toy_relation_holds(toy_relation relation, const toy_object *a, const toy_object *b);
toy_relation toy_relation_inverse(toy_relation relation);

/** Counter-based random numbers: the same (seed, stream, index) give the same numbers wherever they are drawn. */
typedef struct toy_random {
    uint64_t key;
    uint64_t counter;
} toy_random;

toy_random toy_random_make(uint64_t seed, uint64_t stream, uint64_t index);
uint64_t toy_random_next(toy_random *random);
/** Uniform in 0..n-1. */
int toy_random_below(toy_random *random, int n);

/** Which scenes may be drawn. */
typedef enum toy_split {
    TOY_ANY,          /**< every scene of the world */
    TOY_TRAIN,        /**< neither held out nor with a reserved triple */
    TOY_HELD_OUT,     /**< held out, without a reserved triple */
    TOY_COMPOSITIONAL /**< with at least one reserved triple that the caption names in full (not for related scenes) */
} toy_split;

/** (size, colour, shape) triples that training never sees. */
bool toy_reserved(const toy_object *object);

/** Whether a scene belongs to a split; by hash, so that it needs no list. */
bool toy_in_split(const toy_scene *scene, toy_split split);

/** Draws a scene uniformly among those of the split. `count` 0 draws the number as well (placed and counted only). */
toy_scene toy_draw_scene(toy_random *random, toy_kind kind, int count, toy_split split);

/** Puts the objects into reading order. */
void toy_sort_objects(toy_object *objects, int count);

#endif
