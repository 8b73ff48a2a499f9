/* Records: what is drawn for each kind of set, and the JSON that says so. */
#include "record.h"

#include "caption.h"
#include "scene_json.h"

#include <stdlib.h>
#include <string.h>

const char *const toy_set_names[TOY_SETS] = {"placed", "related", "counted", "mixed", "vq", "emblem"};

/* Streams of random numbers: what is drawn, and how it is said. */
enum { SCENE_STREAM = 1, CAPTION_STREAM = 2 };

static bool in_split(const toy_plan *plan, const char *name) {
    return plan->split == TOY_ANY || toy_name_in_training(name) == (plan->split == TOY_TRAIN);
}

int64_t toy_plan_limit(const toy_plan *plan) {
    if (plan->set != TOY_SET_EMBLEM) return INT64_MAX;
    int64_t count = 0;
    for (int i = 0; i < TOY_EMBLEM_NAMES; i++) {
        char name[TOY_NAME_SIZE];
        toy_emblem_name(i, name);
        count += in_split(plan, name);
    }
    return count;
}

/* Takes the JSON over and turns it into a line of text. */
static bool finish(json_t *json, char **text) {
    char *dump = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;
    json_decref(json);
    size_t length = dump ? strlen(dump) : 0;
    *text = dump ? malloc(length + 2) : NULL;
    if (*text) {
        memcpy(*text, dump, length);
        memcpy(*text + length, "\n", 2);
    }
    free(dump);
    return *text != NULL;
}

static json_t *captions_of(const toy_plan *plan, int64_t number, const toy_scene *scene) {
    toy_random random = toy_random_make(plan->seed, CAPTION_STREAM, (uint64_t)number);
    char text[TOY_CAPTION_SIZE];
    toy_caption(scene, text);
    json_t *captions = json_pack("[s]", text);
    for (int i = 1; i < plan->captions; i++) {
        toy_caption_varied(&random, scene, text);
        json_array_append_new(captions, json_string(text));
    }
    return captions;
}

static bool make_scene(const toy_plan *plan, int64_t number, toy_random *random, toy_kind kind, toy_picture *picture,
                       char **json) {
    toy_scene scene = toy_draw_scene(random, kind, 0, plan->split);
    toy_draw_picture(picture, &scene);
    return finish(json_pack("{s:o, s:s, s:o}", "text", captions_of(plan, number, &scene), "kind", toy_kind_names[kind],
                            "scene", toy_scene_to_json(&scene)),
                  json);
}

/* Six in ten placed, two related, two counted. */
static toy_kind draw_mixed_kind(toy_random *random) {
    int choice = toy_random_below(random, 10);
    return choice < 6 ? TOY_PLACED : choice < 8 ? TOY_RELATED : TOY_COUNTED;
}

static bool make_emblem(const toy_plan *plan, int64_t number, toy_picture *picture, char **json) {
    char name[TOY_NAME_SIZE] = "";
    int64_t left = number;
    for (int i = 0; i < TOY_EMBLEM_NAMES; i++) {
        toy_emblem_name(i, name);
        if (in_split(plan, name) && left-- == 0) break;
    }
    toy_emblem emblem = toy_emblem_of(plan->seed, name);
    toy_paint_emblem(picture, &emblem);
    char record[TOY_CAPTION_SIZE], prompt[TOY_CAPTION_SIZE];
    toy_emblem_record(name, &emblem, record);
    toy_emblem_prompt(name, prompt);
    json_t *captions = json_pack("[s]", record);
    if (plan->captions > 1) json_array_append_new(captions, json_string(prompt));
    return finish(
        json_pack("{s:o, s:s, s:o}", "text", captions, "kind", "emblem", "emblem", toy_emblem_to_json(name, &emblem)),
        json);
}

/* An emblem without a name, so that the image tokenizer learns to paint every one without learning whose it is. */
static bool make_nameless_emblem(toy_random *random, toy_picture *picture, char **json) {
    toy_emblem emblem = toy_draw_emblem(random);
    toy_paint_emblem(picture, &emblem);
    char text[TOY_CAPTION_SIZE];
    toy_emblem_record(NULL, &emblem, text);
    return finish(json_pack("{s:[s], s:s}", "text", text, "kind", "emblem"), json);
}

/* For the image tokenizer: every kind of picture there is, and more of scenes that hold much. */
static bool make_vq(const toy_plan *plan, int64_t number, toy_random *random, toy_picture *picture, char **json) {
    static const int counts[10] = {1, 2, 3, 3, 3, 4, 4, 4, 4, 4};
    int choice = toy_random_below(random, 100);
    if (choice < 12) return make_nameless_emblem(random, picture, json);
    toy_kind kind = draw_mixed_kind(random);
    int count = kind == TOY_PLACED ? counts[toy_random_below(random, 10)] : 0;
    toy_scene scene = toy_draw_scene(random, kind, count, plan->split);
    const char *name = toy_kind_names[kind];
    if (choice < 20) {
        name = "outline";
        if (!toy_draw_outlines(picture, &scene)) return false;
    } else if (choice < 28) {
        /* One in four with soft edges, as a scaled-down segmentation from elsewhere has. */
        name = "segmentation";
        toy_draw_segmentation(picture, &scene, toy_random_below(random, 4) > 0);
    } else {
        toy_draw_picture(picture, &scene);
    }
    return finish(json_pack("{s:o, s:s, s:o}", "text", captions_of(plan, number, &scene), "kind", name, "scene",
                            toy_scene_to_json(&scene)),
                  json);
}

bool toy_make_record(const toy_plan *plan, int64_t number, toy_picture *picture, char **json) {
    toy_random random = toy_random_make(plan->seed, SCENE_STREAM, (uint64_t)number);
    *json = NULL;
    switch (plan->set) {
    case TOY_SET_PLACED:
        return make_scene(plan, number, &random, TOY_PLACED, picture, json);
    case TOY_SET_RELATED:
        return make_scene(plan, number, &random, TOY_RELATED, picture, json);
    case TOY_SET_COUNTED:
        return make_scene(plan, number, &random, TOY_COUNTED, picture, json);
    case TOY_SET_MIXED:
        return make_scene(plan, number, &random, draw_mixed_kind(&random), picture, json);
    case TOY_SET_VQ:
        return make_vq(plan, number, &random, picture, json);
    case TOY_SET_EMBLEM:
        return make_emblem(plan, number, picture, json);
    }
    return false;
}
