/* Records: what is drawn for each kind of set, and the JSON that says so. */
#include "record.h"

#include "scene_json.h"
#include "tasks.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const char *const toy_set_names[TOY_SETS] = {"placed", "related", "counted", "mixed",
                                             "vq",     "emblem",  "tasks",   "lookup"};

/* Streams of random numbers: what is drawn, and how it is said. */
enum { SCENE_STREAM = 1, CAPTION_STREAM = 2, FAMILY_STREAM = 3 };

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
    toy_scene scene = toy_draw_scene(random, kind, plan->objects, plan->split);
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

static bool make_emblem(const toy_plan *plan, int64_t number, char *name, toy_picture *picture, char **json) {
    int64_t left = number;
    for (int i = 0; i < TOY_EMBLEM_NAMES; i++) {
        /* Names that share their end, instead of their beginning, lie behind each other in families. */
        toy_emblem_name(plan->families ? i % TOY_SYLLABLES * TOY_SYLLABLES + i / TOY_SYLLABLES : i, name);
        if (in_split(plan, name) && left-- == 0) break;
    }
    toy_emblem emblem = toy_emblem_of(plan->seed, name);
    toy_paint_emblem(picture, &emblem);
    char record[TOY_CAPTION_SIZE], prompt[TOY_CAPTION_SIZE];
    toy_random random = toy_random_make(plan->seed, CAPTION_STREAM, (uint64_t)number);
    if (plan->reworded && toy_random_below(&random, 2))
        toy_emblem_varied(&random, name, &emblem, record);
    else
        toy_emblem_record(name, &emblem, record);
    toy_emblem_prompt(name, prompt);
    json_t *captions = json_pack("[s]", record);
    if (plan->captions > 1) json_array_append_new(captions, json_string(prompt));
    return finish(json_pack("{s:o, s:s, s:s, s:o}", "text", captions, "query", prompt, "kind", "emblem", "emblem",
                            toy_emblem_to_json(name, &emblem)),
                  json);
}

/* Names nobody has heard before, so that nothing can be learned of them but to look. Reworded: the same emblems of the
 * same names, the first text in another wording half of the time. */
static bool make_lookup(const toy_plan *plan, int64_t number, toy_random *random, char *name, toy_picture *picture,
                        char **json) {
    char text[TOY_CAPTION_SIZE], prompt[TOY_CAPTION_SIZE];
    toy_invent_name(random, name);
    if (plan->families) {
        toy_family_name(toy_random_make(plan->seed, FAMILY_STREAM, (uint64_t)(number / TOY_FAMILY)),
                        (int)(number % TOY_FAMILY), name);
    }
    while (!in_split(plan, name)) toy_invent_name(random, name);
    toy_emblem emblem = toy_draw_emblem(random);
    toy_paint_emblem(picture, &emblem);
    toy_emblem_prompt(name, prompt);
    if (plan->reworded && toy_random_below(random, 2))
        toy_emblem_varied(random, name, &emblem, text);
    else
        toy_emblem_record(name, &emblem, text);
    json_t *captions = json_pack("[s]", text);
    for (int i = 1; i < plan->captions; i++) {
        toy_emblem_varied(random, name, &emblem, text);
        json_array_append_new(captions, json_string(text));
    }
    return finish(json_pack("{s:o, s:s, s:s, s:o}", "text", captions, "query", prompt, "kind", "emblem", "emblem",
                            toy_emblem_to_json(name, &emblem)),
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

/* --- tasks --- */

static bool add_example(json_t *examples, json_t *example) {
    return example && json_array_append_new(examples, example) == 0;
}

/** Six questions and their answers, one of them the caption half of the time. */
static bool add_talk(json_t *examples, toy_random *random, const toy_scene *scene) {
    static const char *const describe[] = {"describe the picture", "describe the given picture",
                                           "what does the picture show?"};
    enum { QUESTIONS = 6 };
    json_t *example = json_pack("{s:s}", "task", "talk");
    int caption = toy_random_below(random, 2 * QUESTIONS);
    bool ok = example != NULL;
    for (int i = 0; i < QUESTIONS && ok; i++) {
        char question[TOY_CAPTION_SIZE], answer[TOY_CAPTION_SIZE], name[32], number[12] = "";
        toy_question kind;
        do kind = (toy_question)toy_random_below(random, TOY_QUESTIONS);
        while (!toy_ask(random, scene, kind, true, question, answer));
        if (i == caption) {
            snprintf(question, sizeof question, "%s", describe[toy_random_below(random, 3)]);
            toy_caption_placed(scene, answer);
        }
        if (i) snprintf(number, sizeof number, "%d", i + 1);
        snprintf(name, sizeof name, "question%s", number);
        ok = json_object_set_new(example, name, json_string(question)) == 0;
        snprintf(name, sizeof name, "answer%s", number);
        ok = ok && json_object_set_new(example, name, json_string(answer)) == 0;
    }
    return ok && add_example(examples, example);
}

/**
 * What every scene can be asked for: its caption, questions, a gap in a caption to be filled, a hole in itself.
 * Not to be drawn from words: nearly all of these scenes are placed, and the other sets have enough of those.
 */
static bool add_common(json_t *examples, toy_random *random, const toy_scene *scene) {
    char caption[TOY_CAPTION_SIZE], question[TOY_CAPTION_SIZE], answer[TOY_CAPTION_SIZE], after[TOY_CAPTION_SIZE];
    toy_caption_placed(scene, caption);
    bool ok = add_example(examples, json_pack("{s:s, s:s}", "task", "caption", "caption", caption));
    toy_question kind;
    do kind = (toy_question)toy_random_below(random, TOY_QUESTIONS);
    while (!toy_ask(random, scene, kind, true, question, answer));
    ok = ok &&
         add_example(examples, json_pack("{s:s, s:s, s:s}", "task", "ask", "question", question, "answer", answer));
    ok = ok && add_talk(examples, random, scene);
    if (toy_random_below(random, 2)) toy_caption(scene, caption);
    toy_gap(random, caption, question, answer, after);
    ok = ok && add_example(examples, json_pack("{s:s, s:s, s:s, s:s}", "task", "infill-text", "before", question,
                                               "span", answer, "after", after));
    return ok && add_example(examples, json_pack("{s:s}", "task", "infill-image"));
}

/** A scene and what an instruction makes of it, which is the record's picture. */
static bool add_edit(const toy_plan *plan, toy_random *random, toy_scene *scene, toy_record *record, json_t *examples) {
    char instruction[TOY_CAPTION_SIZE];
    toy_scene after;
    toy_edit kind;
    do kind = (toy_edit)toy_random_below(random, TOY_EDITS);
    while (!toy_draw_edit(random, scene, kind, true, &after, instruction) ||
           (plan->split == TOY_TRAIN && !toy_in_split(&after, TOY_TRAIN)));
    toy_draw_picture(&record->second, scene);
    record->second_name = "source";
    *scene = after;
    toy_draw_picture(&record->picture, scene);
    char caption[TOY_CAPTION_SIZE];
    toy_caption_placed(scene, caption);
    return add_example(examples, json_pack("{s:s, s:s, s:s, s:s}", "task", "edit", "instruction", instruction, "edit",
                                           toy_edit_names[kind], "caption", caption));
}

static bool add_structure(toy_random *random, const toy_scene *scene, toy_record *record, json_t *examples) {
    toy_draw_picture(&record->picture, scene);
    if (toy_random_below(random, 5) < 2) {
        record->second_name = "outline";
        return toy_draw_outlines(&record->second, scene) &&
               add_example(examples, json_pack("{s:s}", "task", "outline"));
    }
    record->second_name = "segmentation";
    toy_draw_segmentation(&record->second, scene, true);
    char caption[TOY_CAPTION_SIZE];
    toy_caption_placed(scene, caption);
    return add_example(examples, json_pack("{s:s, s:s}", "task", "segment", "caption", caption)) &&
           add_example(examples, json_pack("{s:s}", "task", "layout"));
}

/** Things in boxes: a scene's, or, so that a box means its numbers and not one of nine places, anywhere. */
static bool make_boxes(toy_random *random, const toy_plan *plan, toy_record *record) {
    toy_thing things[TOY_MAX_OBJECTS];
    int background, count;
    if (toy_random_below(random, 2)) {
        count = toy_draw_things(random, things, &background);
    } else {
        toy_scene scene = toy_draw_scene(random, TOY_PLACED, 0, plan->split);
        background = scene.background;
        count = toy_things(&scene, things);
    }
    for (int i = count - 1; i > 0; i--) {
        int j = toy_random_below(random, i + 1);
        toy_thing t = things[i];
        things[i] = things[j];
        things[j] = t;
    }
    char text[TOY_CAPTION_SIZE];
    toy_boxes(things, count, background, text);
    toy_paint_things(&record->picture, things, count, background);
    return finish(json_pack("{s:[s], s:s, s:[{s:s}]}", "text", text, "kind", "boxes", "examples", "task", "boxes"),
                  &record->json);
}

static bool make_tasks(const toy_plan *plan, int64_t number, toy_random *random, toy_record *record) {
    int choice = toy_random_below(random, 100);
    if (choice < 20) return make_boxes(random, plan, record);
    bool edits = choice < 65;
    toy_scene scene = toy_draw_scene(random, edits ? TOY_PLACED : draw_mixed_kind(random), 0, plan->split);
    json_t *examples = json_array();
    bool ok = examples && (edits ? add_edit(plan, random, &scene, record, examples)
                                 : add_structure(random, &scene, record, examples));
    if (!ok || !add_common(examples, random, &scene)) {
        json_decref(examples);
        return false;
    }
    return finish(json_pack("{s:o, s:s, s:o, s:o}", "text", captions_of(plan, number, &scene), "kind",
                            toy_kind_names[scene.kind], "scene", toy_scene_to_json(&scene), "examples", examples),
                  &record->json);
}

bool toy_make_record(const toy_plan *plan, int64_t number, toy_record *record) {
    toy_random random = toy_random_make(plan->seed, SCENE_STREAM, (uint64_t)number);
    toy_picture *picture = &record->picture;
    char **json = &record->json;
    record->second_name = NULL;
    record->key[0] = '\0';
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
        return make_emblem(plan, number, record->key, picture, json);
    case TOY_SET_LOOKUP:
        return make_lookup(plan, number, &random, record->key, picture, json);
    case TOY_SET_TASKS:
        return make_tasks(plan, number, &random, record);
    }
    return false;
}
