/* Questions, edits, boxes and gaps. */
#include "tasks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

const char *const toy_question_names[TOY_QUESTIONS] = {"colour", "number", "shape", "presence"};
const char *const toy_edit_names[TOY_EDITS] = {"recolour", "remove", "add", "background", "reshape"};

void toy_caption_placed(const toy_scene *scene, char *text) {
    toy_scene said = *scene;
    said.kind = TOY_PLACED;
    toy_sort_objects(said.objects, said.count);
    toy_caption(&said, text);
}

static const char *article(const char *word) {
    return strchr("aeiou", word[0]) ? "an" : "a";
}

/** One of so many wordings, each a pattern with up to two %s. */
static void say(toy_random *random, const char *const *wordings, int count, bool varied, const char *one,
                const char *two, char *text) {
    /* The canonical one half of the time: it is what must be understood. */
    int choice = varied && toy_random_below(random, 2) ? toy_random_below(random, count) : 0;
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(text, TOY_CAPTION_SIZE, wordings[choice], one, two);
#pragma GCC diagnostic pop
}
#define SAY(wordings, one, two, text)                                                                                  \
    say(random, wordings, (int)(sizeof(wordings) / sizeof *(wordings)), varied, one, two, text)

static int count_of_shape(const toy_scene *scene, int shape) {
    int count = 0;
    for (int i = 0; i < scene->count; i++) count += scene->objects[i].shape == shape;
    return count;
}

/** An object that alone has its shape, or -1. */
static int draw_single(toy_random *random, const toy_scene *scene) {
    int singles[TOY_MAX_OBJECTS], count = 0;
    for (int i = 0; i < scene->count; i++) {
        if (count_of_shape(scene, scene->objects[i].shape) == 1) singles[count++] = i;
    }
    return count ? singles[toy_random_below(random, count)] : -1;
}

static int object_in_cell(const toy_scene *scene, int cell) {
    for (int i = 0; i < scene->count; i++) {
        if (scene->objects[i].cell == cell) return i;
    }
    return -1;
}

/* --- questions --- */

static bool ask_colour(toy_random *random, const toy_scene *scene, bool varied, char *question, char *answer) {
    static const char *const wordings[] = {"what colour is the %s?", "what color is the %s?",
                                           "which colour does the %s have?", "what is the colour of the %s?"};
    int i = draw_single(random, scene);
    if (i < 0) return false;
    SAY(wordings, toy_shape_names[scene->objects[i].shape], "", question);
    snprintf(answer, TOY_CAPTION_SIZE, "%s", toy_colour_names[scene->objects[i].colour]);
    return true;
}

static bool ask_number(toy_random *random, const toy_scene *scene, bool varied, char *question, char *answer) {
    static const char *const wordings[] = {"how many objects are there?", "how many shapes are there?",
                                           "how many things are in the picture?", "count the objects"};
    static const char *const numbers[] = {"none", "one", "two", "three", "four"};
    SAY(wordings, "", "", question);
    snprintf(answer, TOY_CAPTION_SIZE, "%s", numbers[scene->count]);
    return true;
}

static bool ask_shape(toy_random *random, const toy_scene *scene, bool varied, char *question, char *answer) {
    static const char *const wordings[] = {"what shape is %s?", "which shape is %s?", "what is %s?"};
    bool empty = toy_random_below(random, 2) && scene->count < TOY_CELLS;
    int cell;
    do cell = toy_random_below(random, TOY_CELLS);
    while ((object_in_cell(scene, cell) < 0) != empty);
    SAY(wordings, toy_cell_phrases[cell], "", question);
    snprintf(answer, TOY_CAPTION_SIZE, "%s",
             empty ? "none" : toy_shape_names[scene->objects[object_in_cell(scene, cell)].shape]);
    return true;
}

static bool is_present(const toy_scene *scene, int colour, int shape) {
    for (int i = 0; i < scene->count; i++) {
        if (scene->objects[i].colour == colour && scene->objects[i].shape == shape) return true;
    }
    return false;
}

/** What is not there: mostly with one of the two properties of an object that is. */
static void draw_absent(toy_random *random, const toy_scene *scene, int *colour, int *shape) {
    do {
        const toy_object *o = &scene->objects[toy_random_below(random, scene->count)];
        int kept = toy_random_below(random, 3);
        *colour = kept == 0 ? o->colour : toy_random_below(random, TOY_COLOURS);
        *shape = kept == 1 ? o->shape : toy_random_below(random, TOY_SHAPES);
    } while (is_present(scene, *colour, *shape));
}

static bool ask_presence(toy_random *random, const toy_scene *scene, bool varied, char *question, char *answer) {
    static const char *const wordings[] = {"is there %s %s?", "do you see %s %s?", "can you find %s %s?",
                                           "does the picture show %s %s?"};
    const toy_object *o = &scene->objects[toy_random_below(random, scene->count)];
    int colour = o->colour, shape = o->shape;
    bool present = toy_random_below(random, 2);
    if (!present) draw_absent(random, scene, &colour, &shape);
    char what[64];
    snprintf(what, sizeof what, "%s %s", toy_colour_names[colour], toy_shape_names[shape]);
    SAY(wordings, article(what), what, question);
    snprintf(answer, TOY_CAPTION_SIZE, "%s", present ? "yes" : "no");
    return true;
}

bool toy_ask(toy_random *random, const toy_scene *scene, toy_question kind, bool varied, char *question, char *answer) {
    switch (kind) {
    case TOY_ASK_COLOUR:
        return ask_colour(random, scene, varied, question, answer);
    case TOY_ASK_NUMBER:
        return ask_number(random, scene, varied, question, answer);
    case TOY_ASK_SHAPE:
        return ask_shape(random, scene, varied, question, answer);
    case TOY_ASK_PRESENCE:
        return ask_presence(random, scene, varied, question, answer);
    }
    return false;
}

/* --- edits --- */

static bool recolour(toy_random *random, toy_scene *scene, bool varied, char *text) {
    static const char *const wordings[] = {"make the %s %s", "paint the %s %s", "change the %s to %s",
                                           "the %s should be %s", "change the colour of the %s to %s"};
    int i = draw_single(random, scene);
    if (i < 0) return false;
    toy_object *o = &scene->objects[i];
    int old = o->colour;
    do o->colour = toy_random_below(random, TOY_COLOURS);
    while (o->colour == old || !toy_may_stand(o->colour, scene->background));
    SAY(wordings, toy_shape_names[o->shape], toy_colour_names[o->colour], text);
    return true;
}

static bool take_away(toy_random *random, toy_scene *scene, bool varied, char *text) {
    static const char *const wordings[] = {"remove the %s", "delete the %s", "take away the %s", "erase the %s"};
    int i = draw_single(random, scene);
    if (i < 0 || scene->count < 2) return false;
    SAY(wordings, toy_shape_names[scene->objects[i].shape], "", text);
    scene->objects[i] = scene->objects[--scene->count];
    return true;
}

static bool put_in(toy_random *random, toy_scene *scene, bool varied, char *text) {
    static const char *const wordings[] = {"add a %s %s", "put a %s %s", "draw a %s %s", "insert a %s %s"};
    if (scene->count == TOY_MAX_OBJECTS) return false;
    toy_object o = {.shape = toy_random_below(random, TOY_SHAPES), .size = toy_random_below(random, TOY_SIZES)};
    do o.colour = toy_random_below(random, TOY_COLOURS);
    while (!toy_may_stand(o.colour, scene->background));
    do o.cell = toy_random_below(random, TOY_CELLS);
    while (object_in_cell(scene, o.cell) >= 0);
    char what[96];
    snprintf(what, sizeof what, "%s %s %s", toy_colour_names[o.colour], toy_shape_names[o.shape],
             toy_cell_phrases[o.cell]);
    SAY(wordings, toy_size_names[o.size], what, text);
    scene->objects[scene->count++] = o;
    return true;
}

static bool reground(toy_random *random, toy_scene *scene, bool varied, char *text) {
    static const char *const wordings[] = {"change the background to %s", "make the background %s",
                                           "use a %s background", "put it on a %s background"};
    int old = scene->background, others[TOY_BACKGROUNDS], count = 0;
    for (int b = 0; b < TOY_BACKGROUNDS; b++) {
        bool fits = b != old;
        for (int i = 0; i < scene->count; i++) fits = fits && toy_may_stand(scene->objects[i].colour, b);
        if (fits) others[count++] = b;
    }
    if (!count) return false;
    scene->background = others[toy_random_below(random, count)];
    SAY(wordings, toy_background_names[scene->background], "", text);
    return true;
}

static bool reshape(toy_random *random, toy_scene *scene, bool varied, char *text) {
    static const char *const wordings[] = {"turn the %s into a %s", "replace the %s with a %s",
                                           "change the %s into a %s", "make the %s a %s"};
    int i = draw_single(random, scene);
    if (i < 0) return false;
    toy_object *o = &scene->objects[i];
    int old = o->shape;
    do o->shape = toy_random_below(random, TOY_SHAPES);
    while (o->shape == old);
    SAY(wordings, toy_shape_names[old], toy_shape_names[o->shape], text);
    return true;
}

bool toy_draw_edit(toy_random *random, const toy_scene *scene, toy_edit kind, bool varied, toy_scene *after,
                   char *instruction) {
    static bool (*const edits[TOY_EDITS])(toy_random *, toy_scene *, bool, char *) = {recolour, take_away, put_in,
                                                                                      reground, reshape};
    enum { TRIES = 20 };
    for (int tries = 0; tries < TRIES; tries++) {
        *after = *scene;
        if (!edits[kind](random, after, varied, instruction)) return false;
        toy_sort_objects(after->objects, after->count);
        after->kind = TOY_PLACED;
        bool reserved = false;
        for (int i = 0; i < after->count; i++) reserved = reserved || toy_reserved(&after->objects[i]);
        if (!reserved) return true;
    }
    return false;
}

/* --- boxes --- */

void toy_extent(int shape, double x, double y, double r, double extent[4]) {
    /* left, top, right, bottom of each outline, in radii */
    static const double reach[TOY_SHAPES][4] = {
        [TOY_CIRCLE] = {-1, -1, 1, 1},
        [TOY_RING] = {-1, -1, 1, 1},
        [TOY_SQUARE] = {-0.85, -0.85, 0.85, 0.85},
        [TOY_TRIANGLE] = {-1, -1, 1, 0.8},
        [TOY_DIAMOND] = {-0.7, -1, 0.7, 1},
        [TOY_STAR] = {-0.9510565, -1, 0.9510565, 0.8090170},
        [TOY_HEART] = {-0.95, -0.85, 0.95, 0.95},
        [TOY_CROSS] = {-1, -1, 1, 1},
    };
    for (int i = 0; i < 4; i++) extent[i] = (i % 2 ? y : x) + r * reach[shape][i];
}

void toy_box(int shape, double x, double y, double r, int box[4]) {
    double extent[4];
    toy_extent(shape, x, y, r, extent);
    for (int i = 0; i < 4; i++) {
        long value = lround(100 * extent[i]);
        box[i] = value < 0 ? 0 : value > 99 ? 99 : (int)value;
    }
}

int toy_things(const toy_scene *scene, toy_thing things[TOY_MAX_OBJECTS]) {
    for (int i = 0; i < scene->count; i++) {
        const toy_object *o = &scene->objects[i];
        things[i] = (toy_thing){.shape = o->shape, .colour = o->colour, .r = toy_radii[o->size]};
        toy_centre(o, &things[i].x, &things[i].y);
    }
    return scene->count;
}

static double uniform(toy_random *random) {
    return (double)(toy_random_next(random) >> 11) * 0x1p-53;
}

static bool is_free(const toy_thing *things, int count, const toy_thing *thing) {
    for (int i = 0; i < count; i++) {
        double distance = hypot(things[i].x - thing->x, things[i].y - thing->y);
        if (distance < 1.1 * (things[i].r + thing->r) + 0.02) return false;
    }
    return true;
}

int toy_draw_things(toy_random *random, toy_thing things[TOY_MAX_OBJECTS], int *background) {
    enum { TRIES = 200 };
    int wanted = 1 + toy_random_below(random, TOY_MAX_OBJECTS), count = 0;
    *background = toy_random_below(random, TOY_BACKGROUNDS);
    for (int tries = 0; tries < TRIES && count < wanted; tries++) {
        toy_thing t = {.shape = toy_random_below(random, TOY_SHAPES), .colour = toy_random_below(random, TOY_COLOURS)};
        t.r = 0.08 + 0.09 * uniform(random);
        t.x = t.r + (1 - 2 * t.r) * uniform(random);
        t.y = t.r + (1 - 2 * t.r) * uniform(random);
        if (toy_may_stand(t.colour, *background) && is_free(things, count, &t)) things[count++] = t;
    }
    return count;
}

void toy_paint_things(toy_picture *picture, const toy_thing *things, int count, int background) {
    toy_fill(picture, toy_backgrounds[background]);
    for (int i = 0; i < count; i++) {
        toy_draw_shape(picture, things[i].shape, things[i].x, things[i].y, things[i].r, toy_colours[things[i].colour],
                       false);
    }
}

void toy_boxes(const toy_thing *things, int count, int background, char *text) {
    size_t used = 0;
    text[0] = '\0';
    for (int i = 0; i < count && used < TOY_CAPTION_SIZE; i++) {
        const char *colour = toy_colour_names[things[i].colour];
        int box[4];
        toy_box(things[i].shape, things[i].x, things[i].y, things[i].r, box);
        used +=
            (size_t)snprintf(text + used, TOY_CAPTION_SIZE - used, "%s%s %s %s in box %02d %02d %02d %02d",
                             i == 0           ? ""
                             : i == count - 1 ? " and "
                                              : ", ",
                             article(colour), colour, toy_shape_names[things[i].shape], box[0], box[1], box[2], box[3]);
    }
    if (used < TOY_CAPTION_SIZE) {
        snprintf(text + used, TOY_CAPTION_SIZE - used, " on a %s background", toy_background_names[background]);
    }
}

/* --- gaps --- */

void toy_gap(toy_random *random, const char *caption, char *before, char *span, char *after) {
    int places[128], words = 0, length = (int)strlen(caption); /* where words begin, their space included */
    for (int i = 0; i < length && words < 127; i++) {
        if (i == 0 || caption[i] == ' ') places[words++] = i;
    }
    places[words] = length;
    int longest = words < 6 ? words - 1 : 5, taken = 1 + toy_random_below(random, longest > 0 ? longest : 1);
    int first = toy_random_below(random, words - taken + 1), from = places[first], to = places[first + taken];
    snprintf(before, TOY_CAPTION_SIZE, "%.*s", from, caption);
    snprintf(span, TOY_CAPTION_SIZE, "%.*s", to - from, caption + from);
    snprintf(after, TOY_CAPTION_SIZE, "%s", caption + to);
}
