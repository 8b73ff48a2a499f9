/* The command `mark`: answers to a quiz, one rule for each task. */
#include "quiz.h"

#include "caption.h"
#include "read_emblem.h"
#include "scene_json.h"
#include "things.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_SIZE = 4096 };

typedef struct marker {
    toy_studio *studio;
    const toy_marking *marking;
    toy_marks *marks;
    char directory[PATH_SIZE]; /* of the requests */
    json_t **requests;
    size_t count;
    char **texts;                              /* answers by number, where they are texts; NULL where there is none */
    long overlap[TOY_SHAPES], all[TOY_SHAPES]; /* pixels of a class, in both and in either */
    bool right;                                /* the answer at hand */
} marker;

/* --- what is found ---------------------------------------------------------------------------------------------- */

static void add(marker *m, const char *name, double value) {
    for (int i = 0; i < TOY_FIGURES; i++) {
        char *own = m->marks->figures[i].name;
        if (*own && strcmp(own, name) != 0) continue;
        snprintf(own, sizeof m->marks->figures[i].name, "%s", name);
        m->marks->figures[i].sum += value;
        m->marks->figures[i].count++;
        return;
    }
}

/* What decides whether the answer is right. */
static void decide(marker *m, const char *name, bool right) {
    add(m, name, right);
    m->right = m->right && right;
}

static const json_t *wanted(const json_t *request, const char *key) {
    return json_object_get(json_object_get(request, "wanted"), key);
}

static bool wanted_scene(const json_t *request, const char *key, toy_scene *scene) {
    const char *reason;
    return toy_demand_from_json(wanted(request, key), TOY_PLACED, scene, &reason) ||
           toy_complain("\"wanted\": \"%s\": %s", key, reason);
}

static const toy_object *object_in(const toy_object *objects, int count, int cell) {
    for (int i = 0; i < count; i++) {
        if (objects[i].cell == cell) return &objects[i];
    }
    return NULL;
}

static bool same(const toy_object *a, const toy_object *b) {
    return a && b && a->shape == b->shape && a->colour == b->colour && a->size == b->size;
}

static bool same_scene(const toy_scene *scene, const toy_reading *found) {
    toy_score score;
    toy_judge(scene, found, &score);
    return toy_all_right(&score);
}

/* --- texts ------------------------------------------------------------------------------------------------------ */

static bool mark_caption(marker *m, const json_t *request, const char *text) {
    toy_scene right, said;
    if (!wanted_scene(request, "scene", &right)) return false;
    bool ok = toy_parse_placed(text, &said) && said.count == right.count && said.background == right.background;
    for (int i = 0; i < right.count && ok; i++) {
        ok = same(&right.objects[i], object_in(said.objects, said.count, right.objects[i].cell));
    }
    decide(m, "caption", ok);
    return true;
}

static bool mark_text(marker *m, const json_t *request, const char *text) {
    const char *right = json_string_value(wanted(request, "text")), *kind = json_string_value(wanted(request, "kind"));
    if (!right) return toy_complain("a request wants no \"text\"");
    decide(m, kind ? kind : "span", strcmp(right, text) == 0);
    return true;
}

/* --- pictures --------------------------------------------------------------------------------------------------- */

static bool mark_edit(marker *m, const json_t *request, const cm3_image *image) {
    toy_scene before, after;
    toy_reading found;
    if (!wanted_scene(request, "before", &before) || !wanted_scene(request, "scene", &after)) return false;
    if (!toy_studio_read(m->studio, image, "an edited picture", &found)) return false;
    decide(m, "scene", same_scene(&after, &found));
    for (int i = 0; i < after.count; i++) {
        const toy_object *o = &after.objects[i];
        if (!same(o, object_in(before.objects, before.count, o->cell))) continue;
        add(m, "unchanged", same(o, object_in(found.objects, found.count, o->cell)));
    }
    const char *kind = json_string_value(wanted(request, "kind"));
    if (kind) add(m, kind, m->right);
    return true;
}

/* The class of a pixel of a segmentation: -1 is the background. */
static int class_of(const uint8_t *p) {
    long least = (long)p[0] * p[0] + (long)p[1] * p[1] + (long)p[2] * p[2];
    int best = -1;
    for (int i = 0; i < TOY_SHAPES; i++) {
        toy_rgb c = toy_class_colours[i];
        long d =
            (long)(p[0] - c.r) * (p[0] - c.r) + (long)(p[1] - c.g) * (p[1] - c.g) + (long)(p[2] - c.b) * (p[2] - c.b);
        if (d >= least) continue;
        least = d;
        best = i;
    }
    return best;
}

static void count_pixel(marker *m, int right, int found) {
    if (right >= 0) m->all[right]++;
    if (found >= 0 && found != right) m->all[found]++;
    if (right >= 0 && found == right) m->overlap[right]++;
}

/* The right segmentation of a request, as large as the answer. */
static bool load_truth(marker *m, size_t number, int32_t side, cm3_image **truth) {
    char path[PATH_SIZE + 32];
    cm3_image *whole = NULL;
    snprintf(path, sizeof path, "%s/truth", m->directory);
    bool ok = toy_load_numbered(m->studio, path, number, &whole);
    if (ok && cm3_image_resize(whole, side, side, CM3_FILTER_BICUBIC, truth) != CM3_OK)
        ok = toy_complain("%s", cm3_context_message(m->studio->context));
    cm3_image_destroy(whole);
    return ok;
}

static bool square(marker *m, const cm3_image *image, cm3_image_view *view) {
    return (cm3_image_get_view(image, view) == CM3_OK && view->width == view->height) ||
           toy_complain("%s: a picture is not square", m->marking->answers);
}

/* `found`: what class each pixel of the answer is of; read from the answer where NULL. */
static bool compare_classes(marker *m, size_t number, const cm3_image_view *view, const signed char *found) {
    cm3_image *truth = NULL;
    cm3_image_view right;
    bool ok = load_truth(m, number, view->width, &truth) && cm3_image_get_view(truth, &right) == CM3_OK;
    for (int32_t y = 0; ok && y < view->height; y++) {
        const uint8_t *p = view->pixels + (size_t)y * view->stride, *q = right.pixels + (size_t)y * right.stride;
        for (int32_t x = 0; x < view->width; x++) {
            count_pixel(m, class_of(q + 3 * x), found ? found[y * view->width + x] : class_of(p + 3 * x));
        }
    }
    cm3_image_destroy(truth);
    return ok;
}

static void total(const marker *m, long *overlap, long *all) {
    *overlap = *all = 0;
    for (int i = 0; i < TOY_SHAPES; i++) {
        *overlap += m->overlap[i];
        *all += m->all[i];
    }
}

static bool mark_segmentation(marker *m, size_t number, const cm3_image *image) {
    cm3_image_view view;
    long overlap, all, overlap_now, all_now;
    total(m, &overlap, &all);
    if (!square(m, image, &view) || !compare_classes(m, number, &view, NULL)) return false;
    total(m, &overlap_now, &all_now);
    m->right = (double)(overlap_now - overlap) > 0.8 * (double)(all_now - all);
    return true;
}

/* The class of each pixel of a scene: the shape read in its cell, where more than half of it is the object's colour. */
static signed char *classes_of(const cm3_image_view *view, const toy_reading *found) {
    size_t side = (size_t)view->width;
    signed char *classes = malloc(side * side);
    if (!classes) return NULL;
    memset(classes, -1, side * side);
    for (size_t i = 0; i < side * side && found->background >= 0; i++) {
        size_t x = i % side, y = i / side;
        const toy_object *o = object_in(found->objects, found->count, (int)(3 * y / side * 3 + 3 * x / side));
        if (!o || o->shape < 0 || o->colour < 0) continue;
        const uint8_t *p = view->pixels + y * view->stride + 3 * x;
        toy_rgb b = toy_backgrounds[found->background], c = toy_colours[o->colour];
        int line[3] = {c.r - b.r, c.g - b.g, c.b - b.b};
        long along = (long)(p[0] - b.r) * line[0] + (long)(p[1] - b.g) * line[1] + (long)(p[2] - b.b) * line[2];
        long length = (long)line[0] * line[0] + (long)line[1] * line[1] + (long)line[2] * line[2];
        if (2 * along > length) classes[i] = (signed char)o->shape;
    }
    return classes;
}

static bool mark_layout(marker *m, const json_t *request, size_t number, const cm3_image *image) {
    toy_scene scene;
    toy_reading found;
    cm3_image_view view;
    if (!wanted_scene(request, "scene", &scene) || !square(m, image, &view) ||
        !toy_studio_read(m->studio, image, "a picture", &found))
        return false;
    signed char *classes = classes_of(&view, &found);
    bool ok = classes ? compare_classes(m, number, &view, classes) : toy_complain("out of memory");
    free(classes);
    for (int i = 0; i < scene.count; i++) {
        const toy_object *o = object_in(found.objects, found.count, scene.objects[i].cell);
        add(m, "colours", o && o->colour == scene.objects[i].colour);
    }
    decide(m, "scene", same_scene(&scene, &found));
    return ok;
}

static double iou(const double a[4], const double b[4]) {
    double overlap = 1, first = 1, second = 1;
    for (int i = 0; i < 2; i++) {
        double common = fmin(a[2 + i], b[2 + i]) - fmax(a[i], b[i]);
        overlap *= common > 0 ? common : 0;
        first *= a[2 + i] - a[i];
        second *= b[2 + i] - b[i];
    }
    return overlap / (first + second - overlap);
}

/* Each thing that was asked for against the one drawn in its colour that overlaps it most. */
static bool mark_boxes(marker *m, const json_t *request, const cm3_image *image) {
    toy_thing things[TOY_MAX_THINGS];
    cm3_image_view view;
    int background;
    if (!square(m, image, &view)) return false;
    int count = toy_read_things(view.pixels, view.stride, view.width, things, &background);
    if (count < 0) return toy_complain("out of memory");
    const json_t *list = wanted(request, "things"), *thing;
    const char *ground = json_string_value(wanted(request, "background"));
    bool all = background >= 0 && ground && strcmp(ground, toy_background_names[background]) == 0 &&
               (size_t)count == json_array_size(list);
    size_t index;
    json_array_foreach((json_t *)(uintptr_t)list, index, thing) {
        double box[4], extent[4], best = 0;
        const char *shape = json_string_value(json_object_get(thing, "shape")),
                   *colour = json_string_value(json_object_get(thing, "colour"));
        int drawn = -1;
        if (!shape || !colour) return toy_complain("a thing that is wanted lacks its shape or colour");
        for (size_t i = 0; i < 4; i++) box[i] = json_number_value(json_array_get(json_object_get(thing, "box"), i));
        for (int i = 0; i < count; i++) {
            if (things[i].colour < 0 || strcmp(toy_colour_names[things[i].colour], colour) != 0) continue;
            toy_extent(things[i].shape < 0 ? 0 : things[i].shape, things[i].x, things[i].y, things[i].r, extent);
            double now = iou(box, extent);
            if (now <= best) continue;
            best = now;
            drawn = i;
        }
        bool right = drawn >= 0 && things[drawn].shape >= 0 && strcmp(toy_shape_names[things[drawn].shape], shape) == 0;
        add(m, "iou", best);
        add(m, "shape", right);
        all = all && right && best > 0.5;
    }
    decide(m, "scene", all);
    return true;
}

/* Whether all that lies further than a tenth of the side from the box is as it was, byte for byte. */
static bool kept(const cm3_image_view *a, const cm3_image_view *b, const double box[4]) {
    double side = a->width, margin = 0.1 * side;
    for (int32_t y = 0; y < a->height; y++) {
        for (int32_t x = 0; x < a->width; x++) {
            bool near = x + 1 > box[0] * side - margin && x < (box[0] + box[2]) * side + margin &&
                        y + 1 > box[1] * side - margin && y < (box[1] + box[3]) * side + margin;
            const uint8_t *p = a->pixels + (size_t)y * a->stride + 3 * (size_t)x,
                          *q = b->pixels + (size_t)y * b->stride + 3 * (size_t)x;
            if (!near && memcmp(p, q, 3) != 0) return false;
        }
    }
    return true;
}

static bool mark_infill(marker *m, const json_t *request, size_t number, const cm3_image *image) {
    toy_scene scene;
    toy_reading found;
    double box[4];
    bool objects = true;
    for (size_t i = 0; i < 4; i++) box[i] = json_number_value(json_array_get(json_object_get(request, "box"), i));
    if (!wanted_scene(request, "scene", &scene) || !toy_studio_read(m->studio, image, "a picture", &found))
        return false;
    for (int i = 0; i < scene.count; i++) {
        const toy_object *o = &scene.objects[i];
        double x, y;
        toy_centre(o, &x, &y);
        if (x < box[0] || x > box[0] + box[2] || y < box[1] || y > box[1] + box[3]) continue;
        bool right = same(o, object_in(found.objects, found.count, o->cell));
        add(m, "objects", right);
        objects = objects && right;
    }
    decide(m, "masked", objects);
    add(m, "scene", same_scene(&scene, &found));
    char path[PATH_SIZE + 32];
    cm3_image *before = NULL;
    cm3_image_view a, b;
    snprintf(path, sizeof path, "%s/given", m->directory);
    bool ok = toy_load_numbered(m->studio, path, number, &before) && cm3_image_get_view(before, &a) == CM3_OK &&
              cm3_image_get_view(image, &b) == CM3_OK;
    if (ok) add(m, "kept", a.width == b.width && a.height == b.height && kept(&a, &b, box));
    cm3_image_destroy(before);
    return ok;
}

static bool mark_emblem(marker *m, const json_t *request, const cm3_image *image) {
    toy_emblem right, found;
    cm3_image_view view;
    if (!toy_emblem_from_json(wanted(request, "emblem"), &right)) return toy_complain("a request wants no emblem");
    if (!square(m, image, &view)) return false;
    if (!toy_read_emblem(view.pixels, view.stride, view.width, &found)) return toy_complain("out of memory");
    const bool parting = found.parting == right.parting;
    const bool colours = found.first == right.first && found.second == right.second;
    const bool charge = found.charge == right.charge, its_colour = found.charge_colour == right.charge_colour;
    decide(m, "emblem", parting && colours && charge && its_colour);
    add(m, "parting", parting);
    add(m, "colours", colours);
    add(m, "charge", charge);
    add(m, "charge colour", its_colour);
    return true;
}

static bool mark_picture(marker *m, size_t number, const cm3_image *image) {
    const json_t *request = m->requests[number];
    switch (m->marks->quiz) {
    case TOY_QUIZ_EDIT:
        return mark_edit(m, request, image);
    case TOY_QUIZ_SEGMENT:
        return mark_segmentation(m, number, image);
    case TOY_QUIZ_LAYOUT:
    case TOY_QUIZ_OUTLINE:
        return mark_layout(m, request, number, image);
    case TOY_QUIZ_BOXES:
        return mark_boxes(m, request, image);
    case TOY_QUIZ_INFILL:
        return mark_infill(m, request, number, image);
    case TOY_QUIZ_EMBLEM:
    case TOY_QUIZ_EMBLEM_SEEN:
    case TOY_QUIZ_EMBLEM_NEW:
        return mark_emblem(m, request, image);
    default:
        return toy_complain("a task of texts was answered by pictures");
    }
}

/* --- requests and answers --------------------------------------------------------------------------------------- */

typedef bool line_reader(marker *m, json_t *line);

/* Each line of a file; the reader takes the JSON over. */
static bool read_lines(marker *m, const char *path, line_reader *reader) {
    FILE *file = fopen(path, "r");
    if (!file) return toy_complain("%s: %s", path, strerror(errno));
    char *line = NULL;
    size_t size = 0, number = 0;
    bool ok = true;
    for (ssize_t length; ok && (length = getline(&line, &size, file)) >= 0;) {
        json_error_t error;
        json_t *json = json_loadb(line, (size_t)length, 0, &error);
        number++;
        ok = json && reader(m, json);
        if (!json) toy_complain("%s, line %zu: not JSON: %s", path, number, error.text);
    }
    free(line);
    fclose(file);
    return ok;
}

static bool take_request(marker *m, json_t *line) {
    const char *name = json_string_value(json_object_get(line, "task"));
    int quiz = name ? toy_find(toy_quiz_names, TOY_QUIZZES, name) : -1;
    json_t **more = realloc(m->requests, (m->count + 1) * sizeof *more);
    if (more) m->requests = more;
    if (more && quiz >= 0 && (!m->count || m->marks->quiz == (toy_quiz)quiz)) {
        m->marks->quiz = (toy_quiz)quiz;
        m->requests[m->count++] = line;
        return true;
    }
    json_decref(line);
    return toy_complain(more ? "request %zu is of no task, or of another than the first" : "out of memory", m->count);
}

/* A text, or of what was found the first. */
static bool take_answer(marker *m, json_t *line) {
    json_int_t index = json_integer_value(json_object_get(line, "index"));
    const json_t *hits = json_object_get(line, "hits");
    const char *text =
        json_string_value(hits ? json_object_get(json_array_get(hits, 0), "key") : json_object_get(line, "text"));
    bool fits = text && index >= 0 && (size_t)index < m->count;
    if (fits && !m->texts[index]) m->texts[index] = strdup(text);
    json_decref(line);
    return fits || toy_complain("%s: an answer without \"text\", or to no request", m->marking->answers);
}

/* Given and made side by side, in a frame that tells right from wrong. */
static bool add_pair(marker *m, size_t number, const cm3_image *made, cm3_image **pair) {
    char path[PATH_SIZE + 32];
    cm3_image *before = NULL, *both[2] = {NULL, NULL};
    const char *folder = m->marks->quiz == TOY_QUIZ_BOXES || m->marks->quiz >= TOY_QUIZ_EMBLEM ? "wanted" : "given";
    cm3_image_view view;
    snprintf(path, sizeof path, "%s/%s", m->directory, folder);
    if (!toy_load_numbered(m->studio, path, number, &before)) return false;
    const cm3_image *pictures[] = {before, made};
    bool ok = true;
    for (int i = 0; i < 2 && ok; i++) ok = toy_frame(m->studio, pictures[i], m->right, &both[i]);
    ok = ok && cm3_image_get_view(made, &view) == CM3_OK &&
         cm3_image_contact_sheet(m->studio->context, (const cm3_image *const *)both, 2, 2, 0, pair) == CM3_OK;
    for (int i = 0; i < 2; i++) cm3_image_destroy(both[i]);
    cm3_image_destroy(before);
    return ok || toy_complain("%s", cm3_context_message(m->studio->context));
}

static bool tell_failure(marker *m, FILE *failures, size_t number, const char *text) {
    if (!failures || m->right) return true;
    json_t *line = json_pack("{s:i, s:O}", "number", (int)number, "request", m->requests[number]);
    if (text) json_object_set_new(line, "answer", json_string(text));
    bool ok =
        line && json_dumpf(line, failures, JSON_COMPACT | JSON_REAL_PRECISION(5)) == 0 && fputc('\n', failures) != EOF;
    json_decref(line);
    return ok || toy_complain("%s: %s", m->marking->failures, strerror(errno));
}

static bool mark_one(marker *m, size_t number, FILE *failures, cm3_image **pair) {
    size_t answer = m->marking->shuffled ? (number + 1) % m->count : number;
    m->right = true;
    if (toy_quiz_of_texts(m->marks->quiz)) {
        const char *text = m->texts[answer] ? m->texts[answer] : "";
        bool caption = m->marks->quiz == TOY_QUIZ_CAPTION;
        return (caption ? mark_caption : mark_text)(m, m->requests[number], text) &&
               tell_failure(m, failures, number, text);
    }
    cm3_image *image = NULL;
    bool ok = toy_load_numbered(m->studio, m->marking->answers, answer, &image) && mark_picture(m, number, image) &&
              tell_failure(m, failures, number, NULL);
    if (ok && pair) ok = add_pair(m, number, image, pair);
    cm3_image_destroy(image);
    return ok;
}

static bool save_sheet(marker *m, cm3_image *const *pairs, size_t count) {
    cm3_image *sheet = NULL;
    bool ok =
        cm3_image_contact_sheet(m->studio->context, (const cm3_image *const *)pairs, count, 4, 4, &sheet) == CM3_OK &&
        cm3_image_save(sheet, m->marking->sheet, NULL) == CM3_OK;
    if (!ok) toy_complain("%s: %s", m->marking->sheet, cm3_context_message(m->studio->context));
    cm3_image_destroy(sheet);
    return ok;
}

static bool mark_all(marker *m, FILE *failures) {
    bool texts = toy_quiz_of_texts(m->marks->quiz);
    size_t shown = m->marking->sheet && !texts ? (size_t)m->marking->sheet_count : 0;
    if (shown > m->count) shown = m->count;
    cm3_image **pairs = calloc(shown + 1, sizeof(cm3_image *));
    bool ok = pairs || toy_complain("out of memory");
    for (size_t i = 0; i < m->count && ok; i++) ok = mark_one(m, i, failures, i < shown ? &pairs[i] : NULL);
    if (ok && shown) ok = save_sheet(m, pairs, shown);
    for (size_t i = 0; pairs && i < shown; i++) cm3_image_destroy(pairs[i]);
    free(pairs);
    return ok;
}

/* The mean over the classes that are there at all. */
static void add_class_iou(marker *m) {
    for (int i = 0; i < TOY_SHAPES; i++) {
        if (m->all[i]) add(m, "iou", (double)m->overlap[i] / (double)m->all[i]);
    }
}

bool toy_mark(toy_studio *studio, const toy_marking *marking, toy_marks *marks) {
    *marks = (toy_marks){.requests = 0};
    marker m = {.studio = studio, .marking = marking, .marks = marks};
    const char *slash = strrchr(marking->requests, '/');
    snprintf(m.directory, sizeof m.directory, "%.*s", slash ? (int)(slash - marking->requests) : 1,
             slash ? marking->requests : ".");
    bool ok = read_lines(&m, marking->requests, take_request);
    if (ok && !m.count) ok = toy_complain("%s: no requests", marking->requests);
    if (ok && toy_quiz_of_texts(marks->quiz)) {
        m.texts = calloc(m.count, sizeof(char *));
        ok = m.texts ? read_lines(&m, marking->answers, take_answer) : toy_complain("out of memory");
    }
    FILE *failures = ok && marking->failures ? fopen(marking->failures, "w") : NULL;
    if (ok && marking->failures && !failures) ok = toy_complain("%s: %s", marking->failures, strerror(errno));
    ok = ok && mark_all(&m, failures);
    if (failures && fclose(failures) != 0) ok = toy_complain("%s: %s", marking->failures, strerror(errno));
    if (ok) add_class_iou(&m);
    marks->requests = (long)m.count;
    for (size_t i = 0; i < m.count; i++) {
        json_decref(m.requests[i]);
        if (m.texts) free(m.texts[i]);
    }
    free(m.requests);
    free(m.texts);
    return ok;
}

/* --- the command ------------------------------------------------------------------------------------------------ */

static void print_marks(const toy_marks *marks, bool as_json) {
    printf(as_json ? "{\"task\": \"%s\", \"requests\": %ld" : "%-12s %5ld requests", toy_quiz_names[marks->quiz],
           marks->requests);
    for (int i = 0; i < TOY_FIGURES && *marks->figures[i].name; i++) {
        double value = marks->figures[i].sum / (double)marks->figures[i].count;
        printf(as_json ? ", \"%s\": %.4f" : "  %s %.4f", marks->figures[i].name, value);
    }
    puts(as_json ? "}" : "");
}

int toy_command_mark(int argc, char **argv) {
    static const struct option options[] = {{"json", no_argument, NULL, 'j'},
                                            {"shuffled", no_argument, NULL, 's'},
                                            {"failures", required_argument, NULL, 'f'},
                                            {"sheet", required_argument, NULL, 'p'},
                                            {NULL, 0, NULL, 0}};
    toy_marking marking = {.sheet_count = 24};
    bool as_json = false;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == '?') return 2;
        if (option == 'j') as_json = true;
        if (option == 's') marking.shuffled = true;
        if (option == 'f') marking.failures = optarg;
        if (option == 'p') marking.sheet = optarg;
    }
    if (optind + 2 != argc) return toy_complain("mark: expected REQUESTS.jsonl and ANSWERS; see --help"), 2;
    marking.requests = argv[optind];
    marking.answers = argv[optind + 1];
    if (strlen(marking.requests) > PATH_SIZE - 64) return toy_complain("mark: the path is too long"), 2;
    toy_studio studio;
    toy_marks marks;
    bool ok = toy_studio_open(&studio) && toy_mark(&studio, &marking, &marks);
    toy_studio_close(&studio);
    if (ok) print_marks(&marks, as_json);
    return ok ? 0 : 1;
}
