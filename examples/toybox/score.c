/* The commands `score`, `read` and `sheet`: pictures in, verdicts out. */
#include "scene_json.h"
#include "studio.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *name_of(const char *const *names, int number) {
    return number < 0 ? "unknown" : names[number];
}

static json_t *reading_to_json(const toy_reading *reading) {
    json_t *objects = json_array();
    for (int i = 0; i < reading->count; i++) {
        const toy_object *o = &reading->objects[i];
        json_array_append_new(objects, json_pack("{s:s, s:s, s:s, s:s, s:f, s:f, s:f}", "shape",
                                                 name_of(toy_shape_names, o->shape), "colour",
                                                 name_of(toy_colour_names, o->colour), "size",
                                                 name_of(toy_size_names, o->size), "cell", toy_cell_names[o->cell],
                                                 "dx", o->dx, "dy", o->dy, "misfit", reading->misfit[i]));
    }
    return json_pack("{s:s, s:o, s:b}", "background", name_of(toy_background_names, reading->background), "objects",
                     objects, "stray", (int)reading->stray);
}

static bool print_json(json_t *json, FILE *file, size_t flags) {
    bool ok = json && json_dumpf(json, file, flags | JSON_REAL_PRECISION(5)) == 0 && fputc('\n', file) != EOF;
    json_decref(json);
    return ok || toy_complain("writing: %s", strerror(errno));
}

/* --- score --- */

typedef struct tally {
    int pictures[TOY_KINDS];
    toy_score scores[TOY_KINDS];
} tally;

static void print_table(const tally *t) {
    printf("%-10s %8s", "kind", "pictures");
    for (int a = 0; a < TOY_ATTRIBUTES; a++) printf(" %10s", toy_attribute_names[a]);
    putchar('\n');
    for (int k = 0; k < TOY_KINDS; k++) {
        if (t->pictures[k] == 0) continue;
        printf("%-10s %8d", toy_kind_names[k], t->pictures[k]);
        for (int a = 0; a < TOY_ATTRIBUTES; a++) {
            int asked = t->scores[k].asked[a];
            if (asked == 0)
                printf(" %10s", "-");
            else
                printf(" %10.4f", (double)t->scores[k].right[a] / asked);
        }
        putchar('\n');
    }
}

static json_t *tally_to_json(const tally *t) {
    json_t *json = json_object();
    for (int k = 0; k < TOY_KINDS; k++) {
        if (t->pictures[k] == 0) continue;
        json_t *row = json_pack("{s:i}", "pictures", t->pictures[k]);
        for (int a = 0; a < TOY_ATTRIBUTES; a++) {
            int asked = t->scores[k].asked[a];
            if (asked > 0)
                json_object_set_new(row, toy_attribute_names[a], json_real((double)t->scores[k].right[a] / asked));
        }
        json_object_set_new(json, toy_kind_names[k], row);
    }
    return json;
}

static bool write_failure(FILE *file, size_t number, const toy_prompt *prompt, const toy_reading *found,
                          const toy_score *score) {
    json_t *wrong = json_array();
    for (int a = 0; a < TOY_ATTRIBUTES; a++) {
        if (score->right[a] < score->asked[a]) json_array_append_new(wrong, json_string(toy_attribute_names[a]));
    }
    return print_json(json_pack("{s:i, s:s, s:o, s:o}", "number", (int)number, "text", prompt->text, "wrong", wrong,
                                "found", reading_to_json(found)),
                      file, JSON_COMPACT);
}

static bool judge_numbered(toy_studio *studio, const char *directory, size_t number, const toy_prompt *prompt,
                           toy_reading *found, toy_score *score) {
    cm3_image *image;
    char name[32];
    snprintf(name, sizeof name, "picture %04zu", number);
    bool ok = toy_load_numbered(studio, directory, number, &image) && toy_studio_read(studio, image, name, found);
    cm3_image_destroy(image);
    if (ok) toy_judge(&prompt->scene, found, score);
    return ok;
}

static bool score_all(toy_studio *studio, const toy_prompt *prompts, size_t count, const char *directory,
                      FILE *failures, tally *t) {
    for (size_t i = 0; i < count; i++) {
        toy_reading found;
        toy_score score;
        if (!judge_numbered(studio, directory, i, &prompts[i], &found, &score)) return false;
        t->pictures[prompts[i].scene.kind]++;
        toy_add_score(&t->scores[prompts[i].scene.kind], &score);
        if (failures && !toy_all_right(&score) && !write_failure(failures, i, &prompts[i], &found, &score))
            return false;
    }
    return true;
}

int toy_command_score(int argc, char **argv) {
    static const struct option options[] = {
        {"json", no_argument, NULL, 'j'}, {"failures", required_argument, NULL, 'f'}, {NULL, 0, NULL, 0}};
    bool as_json = false;
    const char *failures_path = NULL;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'j')
            as_json = true;
        else if (option == 'f')
            failures_path = optarg;
        else
            return 2;
    }
    if (argc - optind != 2) return toy_complain("score: expected PROMPTS.jsonl and DIRECTORY; see --help"), 2;
    toy_prompt *prompts;
    size_t count;
    toy_studio studio;
    if (!toy_load_prompts(argv[optind], &prompts, &count)) return 1;
    FILE *failures = failures_path ? fopen(failures_path, "w") : NULL;
    tally t = {{0}, {{{0}, {0}}}};
    bool ok = !failures_path || failures || toy_complain("%s: %s", failures_path, strerror(errno));
    ok = toy_studio_open(&studio) && ok;
    ok = ok && score_all(&studio, prompts, count, argv[optind + 1], failures, &t);
    if (failures && fclose(failures) != 0) ok = toy_complain("%s: %s", failures_path, strerror(errno));
    if (ok && as_json)
        ok = print_json(tally_to_json(&t), stdout, JSON_INDENT(2));
    else if (ok)
        print_table(&t);
    toy_studio_close(&studio);
    free(prompts);
    return ok ? 0 : 1;
}

/* --- read --- */

int toy_command_read(int argc, char **argv) {
    if (argc < 2) return toy_complain("read: expected pictures; see --help"), 2;
    toy_studio studio;
    bool ok = toy_studio_open(&studio);
    for (int i = 1; i < argc && ok; i++) {
        cm3_image *image;
        toy_reading reading;
        if (cm3_image_load(studio.context, argv[i], &image) != CM3_OK) {
            ok = toy_complain("%s: %s", argv[i], cm3_context_message(studio.context));
        } else {
            ok = toy_studio_read(&studio, image, argv[i], &reading);
            ok = ok && print_json(reading_to_json(&reading), stdout, JSON_COMPACT);
        }
        cm3_image_destroy(image);
    }
    toy_studio_close(&studio);
    return ok ? 0 : 1;
}

/* --- sheet --- */

enum { GAP = 2 };

static bool make_sheet(toy_studio *studio, const toy_prompt *prompts, size_t count, const char *directory, int columns,
                       const char *path) {
    cm3_image **framed = calloc(count, sizeof(cm3_image *));
    bool ok = framed || toy_complain("out of memory");
    for (size_t i = 0; i < count && ok; i++) {
        cm3_image *image;
        toy_reading found;
        toy_score score;
        ok = toy_load_numbered(studio, directory, i, &image) && toy_studio_read(studio, image, "a picture", &found);
        if (ok) toy_judge(&prompts[i].scene, &found, &score);
        ok = ok && toy_frame(studio, image, toy_all_right(&score), &framed[i]);
        cm3_image_destroy(image);
    }
    cm3_image *sheet = NULL;
    if (ok && (cm3_image_contact_sheet(studio->context, (const cm3_image *const *)framed, count, columns, GAP,
                                       &sheet) != CM3_OK ||
               cm3_image_save(sheet, path, NULL) != CM3_OK))
        ok = toy_complain("%s: %s", path, cm3_context_message(studio->context));
    cm3_image_destroy(sheet);
    for (size_t i = 0; framed && i < count; i++) cm3_image_destroy(framed[i]);
    free(framed);
    return ok;
}

int toy_command_sheet(int argc, char **argv) {
    static const struct option options[] = {{"columns", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
    long columns = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option != 'c') return 2;
        char *end;
        columns = strtol(optarg, &end, 10);
        if (end == optarg || *end || columns < 0 || columns > 1000)
            return toy_complain("sheet: --columns: expected 0 to 1000, found %s", optarg), 2;
    }
    if (argc - optind != 3) return toy_complain("sheet: expected PROMPTS.jsonl, DIRECTORY and OUT.png; see --help"), 2;
    toy_prompt *prompts;
    size_t count;
    toy_studio studio;
    if (!toy_load_prompts(argv[optind], &prompts, &count)) return 1;
    bool ok = toy_studio_open(&studio);
    ok = ok && make_sheet(&studio, prompts, count, argv[optind + 1], (int)columns, argv[optind + 2]);
    toy_studio_close(&studio);
    free(prompts);
    return ok ? 0 : 1;
}
