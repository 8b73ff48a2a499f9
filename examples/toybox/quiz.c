/* The command `quiz`: requests of a task on held-out scenes, and what is wanted. */
#include "quiz.h"

#include "scene_json.h"
#include "tasks.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

const char *const toy_quiz_names[TOY_QUIZZES] = {"caption",     "ask",        "edit",   "segment",     "layout",
                                                 "outline",     "boxes",      "infill", "infill-text", "emblem",
                                                 "emblem-seen", "emblem-new", "recall"};

/* A stream of random numbers apart from the renderer's. */
enum { QUIZ_STREAM = 0x7175697A, PATH_SIZE = 4096 };

typedef struct maker {
    toy_studio *studio;
    const toy_quiz_plan *plan;
    toy_picture picture;
    FILE *texts;   /* wanted.jsonl */
    FILE *records; /* records.jsonl */
    long number;
    uint64_t *told; /* of recall: sums of its texts, for two pictures of the same words cannot be told apart by them */
} maker;

bool toy_quiz_of_texts(toy_quiz quiz) {
    return quiz == TOY_QUIZ_CAPTION || quiz == TOY_QUIZ_ASK || quiz == TOY_QUIZ_INFILL_TEXT || quiz == TOY_QUIZ_RECALL;
}

static bool looks_up(toy_quiz quiz) {
    return quiz >= TOY_QUIZ_EMBLEM;
}

/** What is given may be a JPEG, as pictures from elsewhere are. */
static const char *ending(const maker *m, const char *folder) {
    return m->plan->jpeg && strcmp(folder, "given") == 0 ? "jpg" : "png";
}

static bool save(const maker *m, const char *folder) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s/%04ld.%s", m->plan->directory, folder, m->number, ending(m, folder));
    return toy_save_picture(m->studio, &m->picture, path, m->plan->jpeg);
}

static bool save_scene(maker *m, const toy_scene *scene, const char *folder) {
    toy_draw_picture(&m->picture, scene);
    return save(m, folder);
}

static bool save_text(const maker *m, const char *text) {
    json_t *json = json_pack("{s:i, s:s}", "index", (int)m->number, "text", text);
    bool ok = json && json_dumpf(json, m->texts, JSON_COMPACT) == 0 && fputc('\n', m->texts) != EOF;
    json_decref(json);
    return ok || toy_complain("%s/wanted.jsonl: %s", m->plan->directory, strerror(errno));
}

/* "given/0007.png", or .jpg */
static const char *given(const maker *m, char name[32]) {
    snprintf(name, 32, "given/%04ld.%s", m->number, ending(m, "given"));
    return name;
}

static json_t *make_caption(maker *m, toy_random *random, toy_scene *scene) {
    char name[32], text[TOY_CAPTION_SIZE];
    (void)random;
    toy_caption_placed(scene, text);
    if (!save_scene(m, scene, "given") || !save_text(m, text)) return NULL;
    return json_pack("{s:s, s:{s:o}}", "image", given(m, name), "wanted", "scene", toy_demand_to_json(scene));
}

/* The kinds take turns, so that the next request's answer is one of another kind. */
static json_t *make_ask(maker *m, toy_random *random, toy_scene *scene) {
    char name[32], question[TOY_CAPTION_SIZE], answer[TOY_CAPTION_SIZE];
    toy_question kind = (toy_question)(m->number % TOY_QUESTIONS);
    while (!toy_ask(random, scene, kind, false, question, answer)) {
        *scene = toy_draw_scene(random, TOY_PLACED, 0, TOY_HELD_OUT);
    }
    if (!save_scene(m, scene, "given") || !save_text(m, answer)) return NULL;
    return json_pack("{s:s, s:s, s:{s:s, s:s}}", "image", given(m, name), "text", question, "wanted", "kind",
                     toy_question_names[kind], "text", answer);
}

static json_t *make_edit(maker *m, toy_random *random, toy_scene *scene) {
    char name[32], instruction[TOY_CAPTION_SIZE];
    toy_edit kind = (toy_edit)(m->number % TOY_EDITS);
    toy_scene after;
    while (!toy_draw_edit(random, scene, kind, false, &after, instruction)) {
        *scene = toy_draw_scene(random, TOY_PLACED, 0, TOY_HELD_OUT);
    }
    if (!save_scene(m, scene, "given") || !save_scene(m, &after, "wanted")) return NULL;
    return json_pack("{s:s, s:s, s:{s:s, s:o, s:o}}", "image", given(m, name), "text", instruction, "wanted", "kind",
                     toy_edit_names[kind], "before", toy_demand_to_json(scene), "scene", toy_demand_to_json(&after));
}

static bool save_segmentation(maker *m, const toy_scene *scene, const char *folder) {
    toy_draw_segmentation(&m->picture, scene, true);
    return save(m, folder);
}

static json_t *make_segment(maker *m, toy_random *random, toy_scene *scene) {
    char name[32];
    (void)random;
    if (!save_scene(m, scene, "given") || !save_segmentation(m, scene, "wanted") ||
        !save_segmentation(m, scene, "truth"))
        return NULL;
    return json_pack("{s:s, s:{}}", "image", given(m, name), "wanted");
}

static json_t *make_layout(maker *m, toy_random *random, toy_scene *scene) {
    char name[32], text[TOY_CAPTION_SIZE];
    (void)random;
    toy_caption_placed(scene, text);
    bool ok = save_scene(m, scene, "wanted") && save_segmentation(m, scene, "truth");
    if (ok && m->plan->quiz == TOY_QUIZ_OUTLINE) {
        ok = (toy_draw_outlines(&m->picture, scene) || toy_complain("out of memory")) && save(m, "given");
    } else if (ok) {
        ok = save_segmentation(m, scene, "given");
    }
    if (!ok) return NULL;
    return json_pack("{s:s, s:s, s:{s:o}}", "layout", given(m, name), "text", text, "wanted", "scene",
                     toy_demand_to_json(scene));
}

/* Half of them scenes of the grid, half of things anywhere. */
static json_t *make_boxes(maker *m, toy_random *random, toy_scene *scene) {
    char text[TOY_CAPTION_SIZE];
    toy_thing things[TOY_MAX_OBJECTS];
    int background = scene->background;
    int count = m->number % 2 ? toy_draw_things(random, things, &background) : toy_things(scene, things);
    toy_boxes(things, count, background, text);
    toy_paint_things(&m->picture, things, count, background);
    if (!save(m, "wanted")) return NULL;
    json_t *list = json_array();
    for (int i = 0; i < count; i++) {
        double e[4];
        toy_extent(things[i].shape, things[i].x, things[i].y, things[i].r, e);
        json_array_append_new(list,
                              json_pack("{s:s, s:s, s:[f, f, f, f]}", "shape", toy_shape_names[things[i].shape],
                                        "colour", toy_colour_names[things[i].colour], "box", e[0], e[1], e[2], e[3]));
    }
    return json_pack("{s:s, s:{s:s, s:o}}", "text", text, "wanted", "background", toy_background_names[background],
                     "things", list);
}

/* Half of them one or more places of the grid, at least one with an object; half just an object, with a margin. */
static void draw_box(toy_random *random, const toy_scene *scene, bool places, double box[4]) {
    const toy_object *o = &scene->objects[toy_random_below(random, scene->count)];
    double x, y, r = toy_radii[o->size] + 0.02;
    toy_centre(o, &x, &y);
    if (!places) {
        box[0] = x - r < 0 ? 0 : x - r;
        box[1] = y - r < 0 ? 0 : y - r;
        box[2] = (x + r > 1 ? 1 : x + r) - box[0];
        box[3] = (y + r > 1 ? 1 : y + r) - box[1];
        return;
    }
    for (int axis = 0; axis < 2; axis++) {
        int cell = axis ? o->cell / 3 : o->cell % 3, last = cell;
        if (toy_random_below(random, 2)) cell -= cell > 0;
        if (toy_random_below(random, 2) && last - cell < 1) last += last < 2;
        box[axis] = cell / 3.0;
        box[2 + axis] = (last + 1 - cell) / 3.0;
    }
}

static json_t *make_infill(maker *m, toy_random *random, toy_scene *scene) {
    static const uint8_t hole = 0x80;
    char name[32], text[TOY_CAPTION_SIZE];
    double box[4];
    int side = m->plan->side;
    toy_caption_placed(scene, text);
    draw_box(random, scene, m->number % 2, box);
    if (!save_scene(m, scene, "wanted")) return NULL;
    for (int y = (int)(box[1] * side); y < side && y < (box[1] + box[3]) * side; y++) {
        for (int x = (int)(box[0] * side); x < side && x < (box[0] + box[2]) * side; x++) {
            memset(m->picture.pixels + 3 * ((size_t)y * (size_t)side + (size_t)x), hole, 3);
        }
    }
    if (!save(m, "given")) return NULL;
    return json_pack("{s:s, s:s, s:[f, f, f, f], s:{s:o}}", "image", given(m, name), "text", text, "box", box[0],
                     box[1], box[2], box[3], "wanted", "scene", toy_demand_to_json(scene));
}

static json_t *make_infill_text(maker *m, toy_random *random, toy_scene *scene) {
    char name[32], caption[TOY_CAPTION_SIZE], before[TOY_CAPTION_SIZE], span[TOY_CAPTION_SIZE], after[TOY_CAPTION_SIZE],
        text[3 * TOY_CAPTION_SIZE];
    toy_caption_placed(scene, caption);
    toy_gap(random, caption, before, span, after);
    bool spaced = span[0] == ' ';
    snprintf(text, sizeof text, "%s%s[mask]%s", before, spaced ? " " : "", after);
    if (!save_scene(m, scene, "given") || !save_text(m, span + spaced)) return NULL;
    return json_pack("{s:s, s:s, s:{s:s}}", "image", given(m, name), "text", text, "wanted", "text", span + spaced);
}

static bool save_record(const maker *m, json_t *record) {
    bool ok = record && json_dumpf(record, m->records, JSON_COMPACT) == 0 && fputc('\n', m->records) != EOF;
    json_decref(record);
    return ok || toy_complain("%s/records.jsonl: %s", m->plan->directory, strerror(errno));
}

/* Name number `index` of those on the list that training saw, or of the others; round and round. */
static void listed_name(uint64_t index, bool seen, char name[TOY_NAME_SIZE]) {
    int count = 0;
    for (int i = 0; i < TOY_EMBLEM_NAMES; i++) {
        toy_emblem_name(i, name);
        count += toy_name_in_training(name) == seen;
    }
    int left = (int)(index % (uint64_t)count);
    for (int i = 0; i < TOY_EMBLEM_NAMES; i++) {
        toy_emblem_name(i, name);
        if (toy_name_in_training(name) == seen && left-- == 0) return;
    }
}

static json_t *make_emblem(maker *m, toy_random *random, toy_scene *scene) {
    /* A step that shares no factor with how many names there are: none comes twice before all have come. */
    enum { STEP = 997 };
    char name[TOY_NAME_SIZE], record[TOY_CAPTION_SIZE], prompt[TOY_CAPTION_SIZE], picture[32];
    toy_emblem emblem;
    (void)scene;
    if (m->plan->quiz == TOY_QUIZ_EMBLEM_NEW) {
        toy_invent_name(random, name);
        emblem = toy_draw_emblem(random);
    } else {
        listed_name((uint64_t)m->number * STEP + m->plan->seed, m->plan->quiz == TOY_QUIZ_EMBLEM_SEEN, name);
        emblem = toy_emblem_of(TOY_WORLD, name);
    }
    toy_emblem_record(name, &emblem, record);
    toy_emblem_prompt(name, prompt);
    toy_paint_emblem(&m->picture, &emblem);
    snprintf(picture, sizeof picture, "wanted/%04ld.png", m->number);
    if (!save(m, "wanted") ||
        !save_record(m, json_pack("{s:s, s:s, s:s}", "key", name, "text", record, "image", picture)))
        return NULL;
    return json_pack("{s:s, s:{s:o}}", "text", prompt, "wanted", "emblem", toy_emblem_to_json(name, &emblem));
}

/* Whether no request before is in these words. */
static bool is_new(maker *m, const char *text) {
    m->told[m->number] = XXH3_64bits(text, strlen(text));
    for (long i = 0; i < m->number; i++) {
        if (m->told[i] == m->told[m->number]) return false;
    }
    return true;
}

static json_t *make_recall(maker *m, toy_random *random, toy_scene *scene) {
    char name[32], key[16], text[TOY_CAPTION_SIZE];
    toy_caption_placed(scene, text);
    while (!is_new(m, text)) {
        *scene = toy_draw_scene(random, TOY_PLACED, 0, TOY_HELD_OUT);
        toy_caption_placed(scene, text);
    }
    snprintf(key, sizeof key, "%04ld", m->number);
    if (!save_scene(m, scene, "given") || !save_text(m, key) ||
        !save_record(m, json_pack("{s:s, s:s}", "key", key, "image", given(m, name))))
        return NULL;
    return json_pack("{s:s, s:{s:s, s:s}}", "text", text, "wanted", "kind", "recall", "text", key);
}

static bool make_request(maker *m, FILE *requests) {
    static json_t *(*const makers[TOY_QUIZZES])(maker *, toy_random *, toy_scene *) = {
        make_caption, make_ask,         make_edit,   make_segment, make_layout, make_layout, make_boxes,
        make_infill,  make_infill_text, make_emblem, make_emblem,  make_emblem, make_recall};
    toy_random random = toy_random_make(m->plan->seed, QUIZ_STREAM + (uint64_t)m->plan->quiz, (uint64_t)m->number);
    toy_scene scene = toy_draw_scene(&random, TOY_PLACED, 0, TOY_HELD_OUT);
    json_t *json = makers[m->plan->quiz](m, &random, &scene);
    if (!json) return false;
    bool ok = json_object_set_new(json, "task", json_string(toy_quiz_names[m->plan->quiz])) == 0 &&
              json_dumpf(json, requests, JSON_COMPACT | JSON_REAL_PRECISION(7)) == 0 && fputc('\n', requests) != EOF;
    json_decref(json);
    return ok || toy_complain("%s/requests.jsonl: %s", m->plan->directory, strerror(errno));
}

static bool make_folder(const char *directory, const char *name) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s%s%s", directory, *name ? "/" : "", name);
    return mkdir(path, 0777) == 0 || errno == EEXIST || toy_complain("%s: %s", path, strerror(errno));
}

static FILE *open_file(const char *directory, const char *name) {
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    FILE *file = fopen(path, "w");
    if (!file) toy_complain("%s: %s", path, strerror(errno));
    return file;
}

bool toy_make_quiz(toy_studio *studio, const toy_quiz_plan *plan) {
    static const char *const folders[] = {"", "given", "wanted", "truth"};
    size_t side = (size_t)plan->side;
    bool texts = toy_quiz_of_texts(plan->quiz), ok = true;
    maker m = {.studio = studio,
               .plan = plan,
               .picture = {plan->side, malloc(3 * side * side)},
               .told = malloc((size_t)plan->count * sizeof *m.told)};
    for (size_t i = 0; i < 4 && ok; i++) ok = (texts && i > 1) || make_folder(plan->directory, folders[i]);
    FILE *requests = ok ? open_file(plan->directory, "requests.jsonl") : NULL;
    if (texts && requests) m.texts = open_file(plan->directory, "wanted.jsonl");
    if (requests && looks_up(plan->quiz)) m.records = open_file(plan->directory, "records.jsonl");
    if (!m.picture.pixels || !m.told) toy_complain("out of memory");
    ok = m.picture.pixels && m.told && requests && (m.texts || !texts) && (m.records || !looks_up(plan->quiz));
    for (m.number = 0; m.number < plan->count && ok; m.number++) ok = make_request(&m, requests);
    if (requests && fclose(requests) != 0) ok = toy_complain("%s/requests.jsonl: %s", plan->directory, strerror(errno));
    if (m.texts && fclose(m.texts) != 0) ok = toy_complain("%s/wanted.jsonl: %s", plan->directory, strerror(errno));
    if (m.records && fclose(m.records) != 0)
        ok = toy_complain("%s/records.jsonl: %s", plan->directory, strerror(errno));
    free(m.picture.pixels);
    free(m.told);
    return ok;
}

static bool take_option(int option, toy_quiz_plan *plan) {
    int quiz;
    long number = 0;
    bool ok = false;
    switch (option) {
    case 't':
        quiz = toy_find(toy_quiz_names, TOY_QUIZZES, optarg);
        plan->quiz = (toy_quiz)quiz;
        return quiz >= 0;
    case 'n':
        return toy_parse_long(optarg, 1, 10000, &plan->count);
    case 's':
        ok = toy_parse_long(optarg, 0, 0x7fffffff, &number);
        plan->seed = (uint64_t)number;
        return ok;
    case 'j':
        ok = toy_parse_long(optarg, 1, 100, &number);
        plan->jpeg = (int)number;
        return ok;
    case 'd':
        ok = toy_parse_long(optarg, 96, 4096, &number);
        plan->side = (int)number;
        return ok;
    default:
        return false;
    }
}

int toy_command_quiz(int argc, char **argv) {
    static const struct option options[] = {
        {"task", required_argument, NULL, 't'}, {"count", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'}, {"side", required_argument, NULL, 'd'},
        {"jpeg", required_argument, NULL, 'j'}, {NULL, 0, NULL, 0}};
    toy_quiz_plan plan = {.count = 300, .seed = 77, .side = 96};
    bool task_given = false;
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        if (option == '?') return 2;
        if (!take_option(option, &plan))
            return toy_complain("quiz: --%s: %s is not among its values; see --help", options[index].name, optarg), 2;
        task_given = task_given || option == 't';
    }
    if (optind + 1 != argc || !task_given) return toy_complain("quiz: --task and one DIR are needed; see --help"), 2;
    plan.directory = argv[optind];
    if (strlen(plan.directory) > PATH_SIZE - 64) return toy_complain("quiz: DIR is too long"), 2;
    toy_studio studio;
    bool ok = toy_studio_open(&studio) && toy_make_quiz(&studio, &plan);
    toy_studio_close(&studio);
    return ok ? 0 : 1;
}
