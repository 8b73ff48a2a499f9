/* The command `selftest`: the drawing against another program's, the rules of the world, and the reader against both.
 */
#include "caption.h"
#include "emblem.h"
#include "quiz.h"

#include <getopt.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

typedef struct selftest {
    toy_studio studio;
    const char *fixtures;
    long count; /* of scenes of each kind that are read back; a quarter as many are asked in each quiz */
    int failures;
} selftest;

__attribute__((format(printf, 3, 4))) static void check(selftest *t, bool ok, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    printf("%s  ", ok ? "ok  " : "FAIL");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    t->failures += !ok;
}

/* --- the drawing --- */

static cm3_image *load_fixture(selftest *t, const char *name, int width, int height, cm3_image_view *view) {
    size_t size = strlen(t->fixtures) + strlen(name) + 2;
    char *path = malloc(size);
    cm3_image *image = NULL;
    bool ok = path != NULL;
    if (ok) {
        snprintf(path, size, "%s/%s", t->fixtures, name);
        ok = cm3_image_load(t->studio.context, path, &image) == CM3_OK && cm3_image_get_view(image, view) == CM3_OK &&
             view->width == width && view->height == height;
    }
    if (!ok) {
        check(t, false, "%s/%s: not there, or not %d x %d: %s", t->fixtures, name, width, height,
              cm3_context_message(t->studio.context));
        cm3_image_destroy(image);
        image = NULL;
    }
    free(path);
    return image;
}

static void check_shapes(selftest *t) {
    enum { WINDOW = 40 };
    cm3_image_view view;
    cm3_image *image = load_fixture(t, "shapes.png", TOY_SHAPES * WINDOW, TOY_SIZES * WINDOW, &view);
    for (int shape = 0; image && shape < TOY_SHAPES; shape++) {
        for (int size = 0; size < TOY_SIZES; size++) {
            float mask[WINDOW * WINDOW];
            double cx = WINDOW / 2 + 0.1 * ((7 * shape + 3 * size) % 10) - 0.45;
            double cy = WINDOW / 2 + 0.1 * ((3 * shape + 5 * size) % 10) - 0.45;
            toy_coverage(shape, cx, cy, toy_radii[size] * 96, 0, 0, WINDOW, WINDOW, mask);
            double greatest = 0, sum = 0;
            for (int i = 0; i < WINDOW * WINDOW; i++) {
                size_t y = (size_t)(size * WINDOW + i / WINDOW), x = (size_t)(shape * WINDOW + i % WINDOW);
                double d = fabs(mask[i] - view.pixels[y * view.stride + 3 * x] / 255.0);
                greatest = fmax(greatest, d);
                sum += d;
            }
            check(t, greatest < 0.04 && sum < 2.0, "%s %s: a pixel's cover differs by %.3f at most, %.2f pixels in all",
                  toy_size_names[size], toy_shape_names[shape], greatest, sum);
        }
    }
    cm3_image_destroy(image);
}

static void check_emblem_pictures(selftest *t) {
    enum { SIDE = 96, RED = 0, YELLOW = 2, BLUE = 4 };
    static const toy_emblem emblems[TOY_PARTINGS] = {{TOY_PER_PALE, RED, BLUE, TOY_STAR, TOY_BLACK},
                                                     {TOY_PER_FESS, YELLOW, TOY_BLACK, TOY_HEART, TOY_WHITE},
                                                     {TOY_QUARTERLY, BLUE, YELLOW, TOY_RING, RED},
                                                     {TOY_BEND, TOY_BLACK, RED, TOY_CROSS, YELLOW},
                                                     {TOY_BORDERED, BLUE, TOY_WHITE, TOY_DIAMOND, TOY_BLACK}};
    static uint8_t pixels[SIDE * SIDE * 3];
    cm3_image_view view;
    cm3_image *image = load_fixture(t, "emblems.png", TOY_PARTINGS * SIDE, SIDE, &view);
    for (int i = 0; image && i < TOY_PARTINGS; i++) {
        toy_picture picture = {SIDE, pixels};
        toy_paint_emblem(&picture, &emblems[i]);
        int greatest = 0;
        for (int j = 0; j < SIDE * SIDE * 3; j++) {
            size_t y = (size_t)(j / (3 * SIDE)), x = (size_t)(3 * SIDE * i + j % (3 * SIDE));
            int d = abs(pixels[j] - view.pixels[y * view.stride + x]);
            greatest = d > greatest ? d : greatest;
        }
        /* Where a charge lies on a line of parting, three colours share a pixel, which blending in turn only nears. */
        check(t, greatest <= 12, "emblem %s: a channel differs by %d at most", toy_parting_names[i], greatest);
    }
    cm3_image_destroy(image);
}

static int differing(const uint8_t *pixels, const toy_rgb *table, int count) {
    int differ = 0;
    for (int i = 0; i < count; i++) {
        differ += pixels[3 * i] != table[i].r || pixels[3 * i + 1] != table[i].g || pixels[3 * i + 2] != table[i].b;
    }
    return differ;
}

static void check_palette(selftest *t) {
    cm3_image_view view;
    cm3_image *image = load_fixture(t, "palette.png", TOY_COLOURS + TOY_BACKGROUNDS + TOY_SHAPES, 1, &view);
    if (!image) return;
    int colours = differing(view.pixels, toy_colours, TOY_COLOURS);
    int backgrounds = differing(view.pixels + (size_t)3 * TOY_COLOURS, toy_backgrounds, TOY_BACKGROUNDS);
    int classes = differing(view.pixels + (size_t)3 * (TOY_COLOURS + TOY_BACKGROUNDS), toy_class_colours, TOY_SHAPES);
    check(t, colours + backgrounds + classes == 0, "wrong colours: %d of objects, %d of backgrounds, %d of classes",
          colours, backgrounds, classes);
    cm3_image_destroy(image);
}

/* --- the world's rules --- */

static void check_caption(selftest *t, const toy_scene *scene, const char *expected) {
    char text[TOY_CAPTION_SIZE];
    toy_caption(scene, text);
    check(t, strcmp(text, expected) == 0, "caption: %s", text);
}

static void check_captions(selftest *t) {
    enum { RED = 0, ORANGE = 1, GREEN = 3, BLUE = 4, SAND = 2 };
    toy_scene scene = {.kind = TOY_PLACED, .background = SAND, .count = 2};
    scene.objects[0] = (toy_object){.shape = TOY_CIRCLE, .colour = RED, .size = TOY_LARGE, .cell = 0};
    scene.objects[1] = (toy_object){.shape = TOY_STAR, .colour = BLUE, .size = TOY_SMALL, .cell = 4};
    check_caption(t, &scene,
                  "a large red circle at the top left and a small blue star in the center on a sand background");
    scene.count = 3;
    scene.objects[2] = (toy_object){.shape = TOY_RING, .colour = ORANGE, .size = TOY_SMALL, .cell = 5};
    check_caption(t, &scene,
                  "a large red circle at the top left, a small blue star in the center and a small orange ring on the "
                  "right on a sand background");
    scene = (toy_scene){.kind = TOY_RELATED, .count = 2, .background = TOY_GREY, .relation = TOY_LEFT};
    scene.objects[0] = (toy_object){.shape = TOY_CIRCLE, .colour = RED};
    scene.objects[1] = (toy_object){.shape = TOY_STAR, .colour = ORANGE, .cell = 4};
    check_caption(t, &scene, "a red circle to the left of an orange star on a grey background");
    scene = (toy_scene){.kind = TOY_COUNTED, .count = 3, .background = TOY_NIGHT};
    scene.objects[0] = (toy_object){.shape = TOY_HEART, .colour = GREEN};
    check_caption(t, &scene, "three small green hearts on a night background");
    scene.objects[0].shape = TOY_CROSS;
    check_caption(t, &scene, "three small green crosses on a night background");
}

static void check_emblems(selftest *t) {
    static char names[TOY_EMBLEM_NAMES][TOY_NAME_SIZE];
    int training = 0, alike = 0, whites = 0, repeats = 0;
    bool known = false;
    for (int i = 0; i < TOY_EMBLEM_NAMES; i++) {
        toy_emblem_name(i, names[i]);
        training += toy_name_in_training(names[i]);
        known = known || strcmp(names[i], "Kelmor") == 0;
        for (int j = 0; j < i; j++) alike += strcmp(names[i], names[j]) == 0;
        toy_emblem e = toy_emblem_of(1, names[i]);
        whites += e.first == TOY_WHITE || (e.second == TOY_WHITE && e.parting != TOY_BORDERED);
        repeats += e.first == e.second || e.first == e.charge_colour || e.second == e.charge_colour;
    }
    double share = (double)training / TOY_EMBLEM_NAMES;
    check(t, alike == 0 && known, "%d emblem names, %d alike", TOY_EMBLEM_NAMES, alike);
    check(t, share > 0.77 && share < 0.83, "emblem names that training may see: %.3f", share);
    check(t, whites == 0 && repeats == 0, "emblems with white at the edge: %d, with a colour twice: %d", whites,
          repeats);
}

static void check_splits(selftest *t) {
    int reserved = 0;
    for (int i = 0; i < TOY_SHAPES * TOY_COLOURS * TOY_SIZES; i++) {
        toy_object o = {.shape = i % TOY_SHAPES, .colour = i / TOY_SHAPES % TOY_COLOURS};
        o.size = i / (TOY_SHAPES * TOY_COLOURS);
        reserved += toy_reserved(&o);
    }
    check(t, reserved * 50 >= 144, "(size, colour, shape) triples that training never sees: %d of 144", reserved);
    for (int kind = 0; kind < TOY_KINDS; kind++) {
        int wrong = 0, without = 0, forbidden = 0, crowded = 0, other = 0;
        for (int i = 0; i < 2000; i++) {
            toy_random random = toy_random_make(1, 77, (uint64_t)i);
            toy_split split = i % 10 == 0                          ? TOY_HELD_OUT
                              : i % 10 == 1 && kind != TOY_RELATED ? TOY_COMPOSITIONAL
                                                                   : TOY_TRAIN;
            toy_scene scene = toy_draw_scene(&random, (toy_kind)kind, 0, split);
            wrong +=
                toy_in_split(&scene, TOY_TRAIN) + toy_in_split(&scene, TOY_HELD_OUT) != (split != TOY_COMPOSITIONAL);
            bool has = false;
            for (int j = 0; j < scene.count; j++) {
                has = has || toy_reserved(&scene.objects[j]);
                forbidden += !toy_may_stand(scene.objects[j].colour, scene.background);
                for (int k = 0; k < j; k++) crowded += scene.objects[k].cell == scene.objects[j].cell;
            }
            without += has != (split == TOY_COMPOSITIONAL);
            int asked = 1 + i % TOY_MAX_OBJECTS;
            if (kind == TOY_PLACED) other += toy_draw_scene(&random, TOY_PLACED, asked, split).count != asked;
        }
        check(t, wrong == 0 && without == 0, "%s: %d of 2000 scenes in the wrong split, %d with the wrong triples",
              toy_kind_names[kind], wrong, without);
        check(t, forbidden == 0 && crowded == 0 && other == 0,
              "%s: %d forbidden colours, %d shared cells, %d with another number of things than asked for",
              toy_kind_names[kind], forbidden, crowded, other);
    }
}

/* --- the reader --- */

/* Draws, encodes as JPEG, decodes, reads. `blur`: softens the picture first, as a tokenizer of images may. */
static bool read_back(selftest *t, const toy_scene *scene, toy_picture *picture, bool blur, toy_reading *reading) {
    toy_draw_picture(picture, scene);
    int side = picture->side;
    cm3_image *image = NULL, *small = NULL, *decoded = NULL;
    uint8_t *jpeg = NULL;
    size_t size = 0;
    bool ok = toy_to_image(&t->studio, picture, &image);
    if (ok && blur) {
        ok = cm3_image_resize(image, side * 2 / 3, side * 2 / 3, CM3_FILTER_BICUBIC, &small) == CM3_OK;
        cm3_image_destroy(image);
        image = NULL;
        ok = ok && cm3_image_resize(small, side, side, CM3_FILTER_BICUBIC, &image) == CM3_OK;
    }
    ok = ok && cm3_image_encode(image, CM3_IMAGE_JPEG, NULL, &jpeg, &size) == CM3_OK;
    ok = ok && cm3_image_load_memory(t->studio.context, jpeg, size, &decoded) == CM3_OK;
    ok = ok && toy_studio_read(&t->studio, decoded, "a scene", reading);
    cm3_buffer_free(t->studio.context, jpeg, size);
    cm3_image_destroy(small);
    cm3_image_destroy(image);
    cm3_image_destroy(decoded);
    return ok;
}

/* Changes one thing that the caption says. */
static void alter(toy_random *random, toy_scene *scene) {
    int which = toy_random_below(random, scene->count);
    toy_object *o = &scene->objects[which];
    int choice = toy_random_below(random, 5);
    if (choice == 0)
        scene->background = (scene->background + 1 + toy_random_below(random, 4)) % TOY_BACKGROUNDS;
    else if (choice == 1)
        o->colour = (o->colour + 1 + toy_random_below(random, 8)) % TOY_COLOURS;
    else if (choice == 2)
        o->shape = (o->shape + 1 + toy_random_below(random, 7)) % TOY_SHAPES;
    else if (scene->kind == TOY_RELATED)
        scene->relation = toy_relation_inverse(scene->relation);
    else if (choice == 3)
        o->size = 1 - o->size;
    else if (scene->count > 2)
        scene->count--;
    else if (scene->kind == TOY_PLACED)
        o->cell = (o->cell + 1 + toy_random_below(random, 8)) % TOY_CELLS;
    else
        scene->objects[scene->count++] = *o;
    /* Every object of a counted caption is alike, so that a change of one is a change of all. */
    for (int i = 0; scene->kind == TOY_COUNTED && i < scene->count; i++) scene->objects[i] = *o;
}

static void check_reader(selftest *t, toy_kind kind, int side, bool blur) {
    const int count = (int)t->count;
    toy_scene last = {.kind = kind};
    int right = 0, shuffled = 0, altered = 0;
    toy_picture picture = {side, malloc((size_t)side * (size_t)side * 3)};
    if (!picture.pixels) {
        check(t, false, "out of memory");
        return;
    }
    for (int i = 0; i < count; i++) {
        toy_random random = toy_random_make(2, 78, (uint64_t)i);
        toy_scene scene = toy_draw_scene(&random, kind, 0, TOY_ANY);
        toy_reading reading;
        toy_score score;
        if (!read_back(t, &scene, &picture, blur, &reading)) break;
        toy_judge(&scene, &reading, &score);
        right += toy_all_right(&score);
        if (i > 0) {
            toy_judge(&last, &reading, &score);
            shuffled += toy_all_right(&score);
        }
        last = scene;
        alter(&random, &scene);
        toy_judge(&scene, &reading, &score);
        altered += toy_all_right(&score);
    }
    free(picture.pixels);
    check(t, right >= (blur ? 0.98 : 0.99) * count && shuffled <= 0.05 * count && altered <= 0.005 * count,
          "%s at %d%s: %d of %d right; of other captions %d, of captions with one mistake %d", toy_kind_names[kind],
          side, blur ? ", blurred" : "", right, count, shuffled, altered);
}

/* --- quizzes --- */

/* The figures that the right answers get, and the next request's. */
static void check_marks(selftest *t, const char *directory, const toy_quiz_plan *plan, bool shuffled) {
    char requests[PATH_SIZE], answers[PATH_SIZE];
    snprintf(requests, sizeof requests, "%s/requests.jsonl", directory);
    snprintf(answers, sizeof answers, "%s/wanted%s", directory, toy_quiz_of_texts(plan->quiz) ? ".jsonl" : "");
    toy_marking marking = {.requests = requests, .answers = answers, .shuffled = shuffled};
    toy_marks marks;
    if (!toy_mark(&t->studio, &marking, &marks)) {
        check(t, false, "%s: marking failed", toy_quiz_names[plan->quiz]);
        return;
    }
    int figures = 0;
    const bool emblem = plan->quiz >= TOY_QUIZ_EMBLEM && plan->quiz <= TOY_QUIZ_EMBLEM_NEW;
    for (int i = 0; i < TOY_FIGURES && *marks.figures[i].name; i++, figures++) {
        if (shuffled && emblem && i) continue; /* one parting in five is another's, too */
        double value = marks.figures[i].sum / (double)marks.figures[i].count;
        check(t, shuffled ? value <= 0.05 : value >= 0.99, "%s at %d%s: %s is %.4f", toy_quiz_names[plan->quiz],
              plan->side, shuffled ? ", shuffled" : "", marks.figures[i].name, value);
    }
    check(t, figures > 0 && marks.requests == plan->count, "%s: %d figures of %ld requests", toy_quiz_names[plan->quiz],
          figures, marks.requests);
}

static void check_quizzes(selftest *t, int side) {
    char directory[] = "/tmp/toybox-quiz-XXXXXX";
    if (!mkdtemp(directory)) {
        check(t, false, "no folder could be made in /tmp");
        return;
    }
    for (int quiz = 0; quiz < TOY_QUIZZES; quiz++) {
        toy_quiz_plan plan = {
            .quiz = (toy_quiz)quiz, .count = t->count / 4, .seed = 5, .side = side, .directory = directory};
        check(t, toy_make_quiz(&t->studio, &plan), "%s: a quiz was made", toy_quiz_names[quiz]);
        check_marks(t, directory, &plan, false);
        check_marks(t, directory, &plan, true);
    }
    char path[PATH_SIZE];
    toy_quiz_plan jpegs = {
        .quiz = TOY_QUIZ_CAPTION, .count = 1, .seed = 5, .side = side, .jpeg = 92, .directory = directory};
    bool made = toy_make_quiz(&t->studio, &jpegs);
    snprintf(path, sizeof path, "%s/given/0000.jpg", directory);
    check(t, made && unlink(path) == 0, "what is given can be JPEG");
    /* Only what the quizzes put there. */
    static const char *const folders[] = {"given", "wanted", "truth", ""};
    for (size_t i = 0; i < 3; i++) {
        for (int number = 0; number < (int)t->count / 4; number++) {
            snprintf(path, sizeof path, "%s/%s/%04d.png", directory, folders[i], number);
            unlink(path);
        }
    }
    snprintf(path, sizeof path, "%s/requests.jsonl", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/wanted.jsonl", directory);
    unlink(path);
    snprintf(path, sizeof path, "%s/records.jsonl", directory);
    unlink(path);
    for (size_t i = 0; i < 4; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, folders[i]);
        rmdir(path);
    }
}

/* Every caption is read as the scene it was made from, and with a word less as none. */
static void check_parsing(selftest *t) {
    int right = 0, wrong = 0;
    for (int i = 0; i < 300; i++) {
        toy_random random = toy_random_make(8, 80, (uint64_t)i);
        toy_scene scene = toy_draw_scene(&random, TOY_PLACED, 0, TOY_ANY), parsed;
        char text[TOY_CAPTION_SIZE], shorter[TOY_CAPTION_SIZE] = "";
        toy_caption(&scene, text);
        bool same = toy_parse_placed(text, &parsed) && parsed.count == scene.count;
        same = same && parsed.background == scene.background;
        for (int k = 0; k < scene.count && same; k++) {
            const toy_object *a = &scene.objects[k], *b = &parsed.objects[k];
            same = a->cell == b->cell && a->shape == b->shape && a->colour == b->colour && a->size == b->size;
        }
        right += same;
        int words = 0, taken = 0;
        for (const char *c = text; *c; c++) words += *c == ' ';
        int left_out = toy_random_below(&random, words);
        for (char *word = strtok(text, " "); word; word = strtok(NULL, " "), taken++) {
            size_t length = strlen(shorter);
            if (taken != left_out) {
                snprintf(shorter + length, sizeof shorter - length, "%s%s", length ? " " : "", word);
            }
        }
        /* "at the top" is a place, too. */
        wrong +=
            toy_parse_placed(shorter, &parsed) && !strstr(shorter, "at the top") && !strstr(shorter, "at the bottom");
    }
    check(t, right == 300 && wrong == 0, "captions: %d of 300 read back, %d read with a word missing", right, wrong);
}

int toy_command_selftest(int argc, char **argv) {
    static const struct option options[] = {
        {"fixtures", required_argument, NULL, 'f'}, {"count", required_argument, NULL, 'c'}, {NULL, 0, NULL, 0}};
    selftest t = {.fixtures = TOYBOX_FIXTURES, .count = 400};
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'f')
            t.fixtures = optarg;
        else if (option != 'c' || !toy_parse_long(optarg, 80, 400, &t.count))
            return toy_complain("selftest: see --help"), 2;
    }
    if (optind != argc) return toy_complain("selftest: %s is too much; see --help", argv[optind]), 2;
    if (!toy_studio_open(&t.studio)) return 1;
    check_palette(&t);
    check_shapes(&t);
    check_emblem_pictures(&t);
    check_captions(&t);
    check_emblems(&t);
    check_splits(&t);
    for (int kind = 0; kind < TOY_KINDS; kind++) {
        check_reader(&t, (toy_kind)kind, 96, false);
        check_reader(&t, (toy_kind)kind, 128, false);
        check_reader(&t, (toy_kind)kind, 96, true);
    }
    check_parsing(&t);
    check_quizzes(&t, 96);
    check_quizzes(&t, 128);
    toy_studio_close(&t.studio);
    if (t.failures)
        printf("%d checks failed\n", t.failures);
    else
        printf("all checks passed\n");
    return t.failures ? 1 : 0;
}
