/* The command `prompts`: held-out captions, what they demand, and on request the scenes they were made from. */
#include "caption.h"
#include "scene_json.h"
#include "studio.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

typedef struct options {
    toy_kind kind;
    long count;
    uint64_t seed;
    toy_split split;
    const char *pictures;
    long side, objects;
} options;

/* Streams of random numbers apart from the renderer's, so that no seed of one is a seed of the other. */
enum { PROMPT_STREAM = 0x70726F };

/* Placed objects are named in any order. */
static void shuffle(toy_random *random, toy_scene *scene) {
    for (int i = scene->count - 1; i > 0 && scene->kind == TOY_PLACED; i--) {
        int j = toy_random_below(random, i + 1);
        toy_object object = scene->objects[i];
        scene->objects[i] = scene->objects[j];
        scene->objects[j] = object;
    }
}

static bool save_picture(toy_studio *studio, const options *o, const toy_scene *scene, long number) {
    size_t side = (size_t)o->side, size = strlen(o->pictures) + 40;
    toy_picture picture = {.side = (int)o->side, .pixels = malloc(3 * side * side)};
    char *path = malloc(size);
    bool ok = (picture.pixels && path) || toy_complain("out of memory");
    if (ok) {
        snprintf(path, size, "%s/%04ld.png", o->pictures, number);
        toy_draw_picture(&picture, scene);
        ok = toy_save_picture(studio, &picture, path, 0);
    }
    free(picture.pixels);
    free(path);
    return ok;
}

static bool print_prompt(const toy_scene *scene) {
    char text[TOY_CAPTION_SIZE];
    toy_caption(scene, text);
    json_t *json = json_pack("{s:s, s:s, s:o}", "text", text, "kind", toy_kind_names[scene->kind], "scene",
                             toy_demand_to_json(scene));
    bool ok = json && json_dumpf(json, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF;
    json_decref(json);
    return ok || toy_complain("writing: %s", strerror(errno));
}

static bool parse_seed(const char *text, uint64_t *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-';
}

/* Takes one option; false if its value is wrong. */
static bool take_option(int option, options *o) {
    int kind;
    switch (option) {
    case 'k':
        kind = toy_find(toy_kind_names, TOY_KINDS, optarg);
        o->kind = (toy_kind)kind;
        return kind >= 0;
    case 'n':
        return toy_parse_long(optarg, 1, 1000000, &o->count);
    case 's':
        return parse_seed(optarg, &o->seed);
    case 'c':
        o->split = TOY_COMPOSITIONAL;
        return true;
    case 'p':
        o->pictures = optarg;
        return true;
    case 'o':
        return toy_parse_long(optarg, 1, TOY_MAX_OBJECTS, &o->objects);
    case 'd':
        return toy_parse_long(optarg, 96, 4096, &o->side);
    default:
        return false;
    }
}

static bool parse(int argc, char **argv, options *o) {
    static const struct option long_options[] = {
        {"kind", required_argument, NULL, 'k'},     {"count", required_argument, NULL, 'n'},
        {"seed", required_argument, NULL, 's'},     {"compositional", no_argument, NULL, 'c'},
        {"pictures", required_argument, NULL, 'p'}, {"side", required_argument, NULL, 'd'},
        {"objects", required_argument, NULL, 'o'},  {NULL, 0, NULL, 0}};
    bool kind_given = false;
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == '?') return false;
        if (!take_option(option, o))
            return toy_complain("prompts: --%s: %s is not among its values; see --help", long_options[index].name,
                                optarg);
        kind_given = kind_given || option == 'k';
    }
    if (optind != argc) return toy_complain("prompts: %s is too much; see --help", argv[optind]);
    if (!kind_given) return toy_complain("prompts: --kind is needed; see --help");
    if (o->objects && o->kind != TOY_PLACED) return toy_complain("prompts: --objects is for placed scenes");
    if (o->split == TOY_COMPOSITIONAL && o->kind == TOY_RELATED)
        return toy_complain("prompts: a related caption names no sizes, so no reserved triple: no --compositional");
    return true;
}

int toy_command_prompts(int argc, char **argv) {
    options o = {.count = 100, .seed = 1, .split = TOY_HELD_OUT, .side = 96};
    if (!parse(argc, argv, &o)) return 2;
    if (o.pictures && mkdir(o.pictures, 0777) != 0 && errno != EEXIST)
        return toy_complain("%s: %s", o.pictures, strerror(errno)), 1;
    toy_studio studio;
    bool ok = toy_studio_open(&studio);
    for (long i = 0; i < o.count && ok; i++) {
        toy_random random = toy_random_make(o.seed, PROMPT_STREAM, (uint64_t)i);
        toy_scene scene = toy_draw_scene(&random, o.kind, (int)o.objects, o.split);
        shuffle(&random, &scene);
        ok = print_prompt(&scene) && (!o.pictures || save_picture(&studio, &o, &scene, i));
    }
    if (ok && fflush(stdout) != 0) ok = toy_complain("writing: %s", strerror(errno));
    toy_studio_close(&studio);
    return ok ? 0 : 1;
}
