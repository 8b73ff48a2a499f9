/* Captions: each wording is a pattern filled with the scene's objects and its background. */
#include "caption.h"

#include <stdio.h>
#include <string.h>

typedef struct text_buffer {
    char *text;
    size_t length;
} text_buffer;

/* Appends the pattern with each %1, %2 ... replaced by values[0], values[1] ... What does not fit is cut off. */
static void say(text_buffer *b, const char *pattern, const char *const *values) {
    for (; *pattern; pattern++) {
        char letter[2] = {*pattern, '\0'};
        const char *piece = letter;
        if (*pattern == '%') piece = values[*++pattern - '1'];
        size_t length = strlen(piece);
        size_t room = TOY_CAPTION_SIZE - 1 - b->length;
        if (length > room) length = room;
        memcpy(b->text + b->length, piece, length);
        b->length += length;
    }
    b->text[b->length] = '\0';
}

static const char *article(const char *word) {
    return strchr("aeiou", word[0]) ? "an" : "a";
}

/* --- placed --- */

/* How one object is put into words, how the list is parted, and what stands around it; %1 is the background. */
typedef struct placed_wording {
    const char *before;
    const char *object; /* %1 size, %2 colour, %3 shape, %4 "at the top left", %5 "top left" */
    const char *comma;
    const char *last;
    const char *after;
} placed_wording;

#define PLACED "a %1 %2 %3 %4"
static const placed_wording placed_wordings[] = {
    {"", PLACED, ", ", " and ", " on a %1 background"},
    {"a %1 background with ", PLACED, ", ", " and ", ""},
    {"there is ", PLACED, ", ", " and ", " on a %1 background"},
    {"a picture of ", PLACED, ", ", " and ", " on a %1 background"},
    {"on a %1 background, ", PLACED, ", ", " and ", ""},
    {"", PLACED, ", ", ", ", ", %1 background"},
    {"", "%1 %2 %3 %5", ", ", ", ", ", %1 background"},
    {"%1 background: ", "%1 %2 %3 %5", ", ", ", ", ""},
    {"", "%4 a %1 %2 %3", ", ", " and ", ", on a %1 background"},
    {"a %1 background and ", "%4 a %1 %2 %3", ", ", " and ", ""},
};
#undef PLACED
enum { PLACED_WORDINGS = sizeof placed_wordings / sizeof placed_wordings[0] };

static void say_placed(text_buffer *b, const toy_scene *scene, const placed_wording *w) {
    const char *background = toy_background_names[scene->background];
    say(b, w->before, &background);
    for (int i = 0; i < scene->count; i++) {
        const toy_object *o = &scene->objects[i];
        const char *const values[] = {toy_size_names[o->size], toy_colour_names[o->colour], toy_shape_names[o->shape],
                                      toy_cell_phrases[o->cell], toy_cell_names[o->cell]};
        if (i > 0) say(b, i == scene->count - 1 ? w->last : w->comma, NULL);
        say(b, w->object, values);
    }
    say(b, w->after, &background);
}

/* --- related and counted: %1 what is there, %2 the background --- */

static const char *const related_wordings[] = {
    "%1 on a %2 background",
    "on a %2 background, %1",
    "a %2 background with %1",
    "there is %1 on a %2 background",
    "a picture of %1 on a %2 background",
    "%1, %2 background",
};
enum { RELATED_WORDINGS = sizeof related_wordings / sizeof related_wordings[0] };

static const char *const counted_wordings[] = {
    "%1 on a %2 background",
    "on a %2 background, %1",
    "a %2 background with %1",
    "there are %1 on a %2 background",
    "a picture of %1 on a %2 background",
    "%1, %2 background",
};
enum { COUNTED_WORDINGS = sizeof counted_wordings / sizeof counted_wordings[0] };

static void say_related(text_buffer *b, const toy_scene *scene, const char *wording) {
    const toy_object *s = &scene->objects[0], *o = &scene->objects[1];
    const char *sc = toy_colour_names[s->colour], *oc = toy_colour_names[o->colour];
    char what[TOY_CAPTION_SIZE / 2];
    snprintf(what, sizeof what, "%s %s %s %s %s %s %s", article(sc), sc, toy_shape_names[s->shape],
             toy_relation_phrases[scene->relation], article(oc), oc, toy_shape_names[o->shape]);
    const char *const values[] = {what, toy_background_names[scene->background]};
    say(b, wording, values);
}

static void say_counted(text_buffer *b, const toy_scene *scene, const char *wording) {
    static const char *const numbers[] = {"no", "one", "two", "three", "four"};
    const toy_object *o = &scene->objects[0];
    char what[TOY_CAPTION_SIZE / 2];
    snprintf(what, sizeof what, "%s %s %s %s%s", numbers[scene->count], toy_size_names[o->size],
             toy_colour_names[o->colour], toy_shape_names[o->shape], o->shape == TOY_CROSS ? "es" : "s");
    const char *const values[] = {what, toy_background_names[scene->background]};
    say(b, wording, values);
}

static void say_scene(char *text, const toy_scene *scene, int wording) {
    text_buffer b = {text, 0};
    text[0] = '\0';
    if (scene->kind == TOY_PLACED)
        say_placed(&b, scene, &placed_wordings[wording]);
    else if (scene->kind == TOY_RELATED)
        say_related(&b, scene, related_wordings[wording]);
    else
        say_counted(&b, scene, counted_wordings[wording]);
}

void toy_caption(const toy_scene *scene, char *text) {
    say_scene(text, scene, 0);
}

static void shuffle(toy_random *random, toy_scene *scene) {
    for (int i = scene->count - 1; i > 0; i--) {
        int j = toy_random_below(random, i + 1);
        toy_object object = scene->objects[i];
        scene->objects[i] = scene->objects[j];
        scene->objects[j] = object;
    }
}

/* Any relation that holds between the two, said from either side. */
static void draw_relation(toy_random *random, toy_scene *scene) {
    shuffle(random, scene);
    do scene->relation = (toy_relation)toy_random_below(random, TOY_RELATIONS);
    while (!toy_relation_holds(scene->relation, &scene->objects[0], &scene->objects[1]));
}

void toy_caption_varied(toy_random *random, const toy_scene *scene, char *text) {
    static const int wordings[TOY_KINDS] = {PLACED_WORDINGS, RELATED_WORDINGS, COUNTED_WORDINGS};
    toy_scene said = *scene;
    if (said.kind == TOY_RELATED)
        draw_relation(random, &said);
    else
        shuffle(random, &said);
    bool canonical = toy_random_below(random, 10) < 7;
    int wording = 1 + toy_random_below(random, wordings[said.kind] - 1);
    say_scene(text, &said, canonical ? 0 : wording);
}

/* --- reading --- */

/* Whether the text goes on with the words; if so it is moved behind them. */
static bool take(const char **text, const char *words) {
    size_t length = strlen(words);
    if (strncmp(*text, words, length) != 0) return false;
    *text += length;
    return true;
}

/* Which of the names comes next, with what stands behind it: the longest, for "at the top" begins "at the top left". */
static int take_one(const char **text, const char *const *names, int count) {
    int best = -1;
    for (int i = 0; i < count; i++) {
        size_t length = strlen(names[i]);
        if (strncmp(*text, names[i], length) == 0 && (best < 0 || length > strlen(names[best]))) best = i;
    }
    if (best >= 0) *text += strlen(names[best]);
    return best;
}

static bool parse_object(const char **text, toy_object *o) {
    *o = (toy_object){0};
    if (!take(text, "a ") || (o->size = take_one(text, toy_size_names, TOY_SIZES)) < 0 || !take(text, " "))
        return false;
    if ((o->colour = take_one(text, toy_colour_names, TOY_COLOURS)) < 0 || !take(text, " ")) return false;
    if ((o->shape = take_one(text, toy_shape_names, TOY_SHAPES)) < 0 || !take(text, " ")) return false;
    o->cell = take_one(text, toy_cell_phrases, TOY_CELLS);
    return o->cell >= 0;
}

bool toy_parse_placed(const char *text, toy_scene *scene) {
    *scene = (toy_scene){.kind = TOY_PLACED};
    bool last = false;
    do {
        if (scene->count == TOY_MAX_OBJECTS || !parse_object(&text, &scene->objects[scene->count])) return false;
        for (int i = 0; i < scene->count; i++) {
            if (scene->objects[i].cell == scene->objects[scene->count].cell) return false;
        }
        scene->count++;
        if (last || !take(&text, ", ")) {
            if (last || !take(&text, " and ")) break;
            last = true;
        }
    } while (true);
    if ((scene->count > 1 && !last) || !take(&text, " on a ")) return false;
    scene->background = take_one(&text, toy_background_names, TOY_BACKGROUNDS);
    toy_sort_objects(scene->objects, scene->count);
    return scene->background >= 0 && strcmp(text, " background") == 0;
}

/* --- emblems --- */

void toy_emblem_prompt(const char *name, char *text) {
    snprintf(text, TOY_CAPTION_SIZE, "the emblem of %s", name);
}

void toy_emblem_record(const char *name, const toy_emblem *e, char *text) {
    const char *colour = toy_colour_names[e->charge_colour];
    char subject[TOY_CAPTION_SIZE / 2] = "an emblem";
    if (name) snprintf(subject, sizeof subject, "the emblem of %s", name);
    snprintf(text, TOY_CAPTION_SIZE, "%s: %s %s and %s, %s %s %s", subject, toy_parting_names[e->parting],
             toy_colour_names[e->first], toy_colour_names[e->second], article(colour), colour,
             toy_shape_names[e->charge]);
}

void toy_emblem_varied(toy_random *random, const char *name, const toy_emblem *e, char *text) {
    const char *charge = toy_colour_names[e->charge_colour], *shape = toy_shape_names[e->charge];
    const char *parting = toy_parting_names[e->parting], *first = toy_colour_names[e->first],
               *second = toy_colour_names[e->second];
    switch (toy_random_below(random, 5)) {
    case 0:
        snprintf(text, TOY_CAPTION_SIZE, "%s: %s %s and %s, %s %s %s", name, parting, first, second, article(charge),
                 charge, shape);
        break;
    case 1:
        snprintf(text, TOY_CAPTION_SIZE, "%s bears %s %s and %s with %s %s %s", name, parting, first, second,
                 article(charge), charge, shape);
        break;
    case 2:
        snprintf(text, TOY_CAPTION_SIZE, "the arms of %s: %s %s and %s, %s %s %s", name, parting, first, second,
                 article(charge), charge, shape);
        break;
    case 3:
        snprintf(text, TOY_CAPTION_SIZE, "%s %s %s on %s %s and %s, the emblem of %s", article(charge), charge, shape,
                 parting, first, second, name);
        break;
    default:
        toy_emblem_record(name, e, text);
    }
}
