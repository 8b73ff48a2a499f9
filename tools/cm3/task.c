/* cm3 caption, ask, edit, segment, infill, infill-text: a picture, perhaps a text, and what the model makes of them. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

/** A command: its task and the names of the task's values. */
typedef struct task_kind {
    const char *command, *task, *image, *text; /**< text: NULL where there is none */
    bool draws;
    const char *usage, *about;
} task_kind;

static const task_kind kinds[] = {
    {"caption", "caption", "image", NULL, false, "cm3 caption -m MODEL IMAGE", "says what a picture shows"},
    {"ask", "ask", "image", "question", false, "cm3 ask -m MODEL IMAGE QUESTION", "answers a question about a picture"},
    {"edit", "edit", "source", "instruction", true, "cm3 edit -m MODEL IMAGE INSTRUCTION -o OUT",
     "changes a picture as it is told"},
    {"segment", "segment", "image", NULL, true, "cm3 segment -m MODEL IMAGE -o OUT.png",
     "draws each object in the colour of its class"},
    {"infill", "infill-image", "image", "caption", true, "cm3 infill -m MODEL IMAGE [CAPTION] --box X,Y,W,H -o OUT",
     "draws anew what a box of a picture hides; all else stays as it is"},
    {"infill-text", "infill-text", "image", "text", false,
     "cm3 infill-text -m MODEL IMAGE \"a large [mask] at the top\"",
     "finds the words that are missing in a picture's caption"},
};

#define MASK "[mask]"

static const char options_text[] =
    "\n"
    "  -m, --model MODEL    a .cm3 file or a folder; without it that of the variable CM3_MODEL\n"
    "  -o, --output FILE    of pictures: .jpg, .jpeg or .png; of several FILE-0, FILE-1 ...\n"
    "  -n, --count N        answers, 1 to 64 (1)\n"
    "  --seed N             (1)\n"
    "  --best N             keep the N likeliest of them, the likeliest first\n"
    "  --beams N            of texts: beam search of that width (off)\n"
    "  --temperature T      0 takes the likeliest (of one text 0, else 0.3)\n"
    "  --guidance S         of pictures: how closely they follow the text, or what else is given (1.5)\n"
    "  --image-guidance S   of edits: how closely they follow the picture (1.5)\n"
    "  --box X,Y,W,H...     of infill: in fractions of the picture's sides, from its top left corner\n"
    "  -p, --prompt TEXT    the text, instead of behind the picture\n"
    "  --batch FILE         a line a request: {\"image\": path, \"text\": ..., \"box\": [x, y, w, h]}; paths relative "
    "to the\n"
    "                       file\n"
    "  --prompts FILE       the same as --batch\n"
    "  --out-dir DIR        for --batch of pictures: 0000.png, 0001.png ...; line i is drawn with seed SEED + i\n"
    "  --bank FILE          of caption: pictures like this one, with their texts, are looked up there\n"
    "  --retrieve K         so many (2)\n"
    "  --show-retrieved     say which\n"
    "  --tasks FILE         templates of documents (the library's own)\n"
    "  --threads N          (one a core)\n"
    "  --json               results as JSON lines\n"
    "  -q, --quiet          no progress\n"
    "\n"
    "An option that a command has no use for is refused.\n";

typedef struct task_arguments {
    const char *model, *output, *batch, *out_dir, *tasks, *prompt;
    cm3_list words, boxes;
    uint64_t seed;
    int64_t count, best, beams, threads;
    double temperature, guidance, image_guidance;
    cm3_lookup_arguments lookup;
    bool json, quiet;
} task_arguments;

#define MOST_SAID 6 /* texts that a model says before it draws */

/** What is asked for: a line of a batch, or the command's words. Freed by clear_query(). */
typedef struct task_query {
    char *image, *text;
    cm3_box boxes[16];
    size_t box_count;
    cm3_task_value said[MOST_SAID]; /**< what the model says it will draw; texts are the query's */
    size_t said_count;
} task_query;

typedef struct task_run {
    const task_kind *kind;
    const task_arguments *arguments;
    cm3_context *context;
    cm3_model *model;
    cm3_tasks *tasks;
    cm3_lookup *lookup; /**< NULL: nothing is looked up */
    task_query *queries;
    size_t count, failed;
} task_run;

static void clear_queries(task_run *run) {
    for (size_t i = 0; i < run->count; i++) {
        task_query *query = &run->queries[i];
        free(query->image);
        free(query->text);
        for (size_t k = 0; k < query->said_count; k++) free((char *)(uintptr_t)query->said[k].text);
    }
    free(run->queries);
}

/* --- what is asked -------------------------------------------------------------------------------------------------
 */

static bool is_infill(const task_run *run) {
    return !strcmp(run->kind->task, "infill-image");
}

/** A caption is not wanted where a picture is filled in. */
static bool wants_text(const task_run *run) {
    return run->kind->text && !is_infill(run);
}

/** "box": four numbers. */
static bool read_json_box(const json_t *list, task_query *query) {
    cm3_box *box = &query->boxes[0];
    float *const parts[] = {&box->x, &box->y, &box->width, &box->height};
    if (json_array_size(list) != 4) return false;
    for (size_t i = 0; i < 4; i++) {
        if (!json_is_number(json_array_get(list, i))) return false;
        *parts[i] = (float)json_number_value(json_array_get(list, i));
    }
    query->box_count = 1;
    return true;
}

/** One line of a batch. False after saying what is wrong. */
static bool read_query(const task_run *run, size_t number, const char *line, size_t size, task_query *query) {
    const char *file = run->arguments->batch;
    json_error_t error;
    json_t *json = json_loadb(line, size, 0, &error);
    if (!json) {
        cm3_say("%s:%zu:%d: %s", file, number, error.column, error.text);
        return false;
    }
    const char *image = json_string_value(json_object_get(json, "image")),
               *text = json_string_value(json_object_get(json, "text"));
    bool boxed = !is_infill(run) || read_json_box(json_object_get(json, "box"), query);
    bool fits = image && (text || !wants_text(run)) && boxed;
    if (!fits) {
        cm3_say("%s:%zu: an object with \"image\"%s%s is wanted", file, number, wants_text(run) ? " and \"text\"" : "",
                is_infill(run) ? " and \"box\": [x, y, w, h]" : "");
    }
    if (fits) {
        query->image = cm3_path_beside(file, image);
        query->text = strdup(text ? text : "");
        fits = query->image && query->text;
    }
    json_decref(json);
    return fits;
}

static bool read_batch(task_run *run) {
    const char *path = run->arguments->batch;
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t size;
    bool good = file != NULL;
    if (!file) cm3_say("%s: the file cannot be read: %s", path, strerror(errno));
    while (good && (size = getline(&line, &capacity, file)) >= 0) {
        number++;
        if (strspn(line, " \t\r\n") == (size_t)size) continue;
        task_query *grown = realloc(run->queries, (run->count + 1) * sizeof *grown);
        good = grown != NULL;
        if (!grown) break;
        run->queries = grown;
        grown[run->count] = (task_query){.image = NULL};
        good = read_query(run, number, line, (size_t)size, &grown[run->count++]);
    }
    free(line);
    if (file && file != stdin) fclose(file);
    if (good && !run->count) cm3_say("%s: there are no requests in it", path);
    return good && run->count;
}

static bool read_boxes(const task_run *run, task_query *query) {
    const cm3_list *list = &run->arguments->boxes;
    for (size_t i = 0; i < list->count; i++) {
        cm3_box *box = &query->boxes[i];
        char more;
        if (sscanf(list->items[i], "%f,%f,%f,%f%c", &box->x, &box->y, &box->width, &box->height, &more) != 4) {
            cm3_say("--box: '%s' is not X,Y,W,H", list->items[i]);
            return false;
        }
    }
    query->box_count = list->count;
    return true;
}

static bool read_words(task_run *run) {
    const cm3_list *words = &run->arguments->words;
    run->queries = calloc(1, sizeof *run->queries);
    if (!run->queries) return false;
    run->count = 1;
    run->queries[0].image = strdup(words->items[0]);
    const char *prompt = run->arguments->prompt;
    run->queries[0].text = strdup(prompt ? prompt : words->count > 1 ? words->items[1] : "");
    return run->queries[0].image && run->queries[0].text && read_boxes(run, &run->queries[0]);
}

/* --- answers -------------------------------------------------------------------------------------------------------
 */

/** The parts of a text around its mask. False: it has not just one. */
static bool part_at_mask(const char *text, char **before, const char **after) {
    const char *place = strstr(text, MASK);
    if (!place || strstr(place + strlen(MASK), MASK)) return false;
    /* The space before the mask belongs to the span, as words have theirs in front. */
    size_t length = (size_t)(place - text);
    while (length && text[length - 1] == ' ') length--;
    *before = strndup(text, length);
    *after = place + strlen(MASK);
    return *before != NULL;
}

/** The task's document, and, of a picture that is drawn, what guidance's third stream knows. */
static cm3_status build(const task_run *run, const task_query *query, cm3_image *image, cm3_document **document,
                        cm3_document **pictures, cm3_task_form *form) {
    enum { GIVEN = 4 };
    cm3_task_value values[GIVEN + MOST_SAID] = {{.name = run->kind->image,
                                                 .image = image,
                                                 .boxes = query->box_count ? query->boxes : NULL,
                                                 .box_count = query->box_count},
                                                {.name = run->kind->text ? run->kind->text : "", .text = query->text},
                                                {.name = "before"},
                                                {.name = "after"}};
    const size_t count = GIVEN + query->said_count;
    memcpy(values + GIVEN, query->said, query->said_count * sizeof *values);
    char *before = NULL;
    if (!strcmp(run->kind->task, "infill-text")) {
        if (!part_at_mask(query->text, &before, &values[3].text)) {
            cm3_say("'%s' holds " MASK " not just once", query->text);
            return CM3_ERROR_INVALID_ARGUMENT;
        }
        values[2].text = before;
    }
    /* Without a caption there is only what the picture itself tells. */
    bool alone = is_infill(run) && !*query->text;
    cm3_status status = alone ? CM3_OK : cm3_task_document(run->tasks, run->kind->task, values, count, document, form);
    if (status == CM3_OK && run->kind->draws && run->kind->text && form->answer == CM3_SEGMENT_IMAGE) {
        status = cm3_task_picture_prompt(run->tasks, run->kind->task, values, count, alone ? document : pictures);
    }
    if (status != CM3_OK) cm3_failed(run->context, status);
    free(before);
    return status;
}

static const char *skip_spaces(const char *text) {
    return text + strspn(text, " ");
}

/** A text that was made. */
static void tell_text(const task_run *run, size_t index, const task_query *query, const char *text) {
    bool infill = !strcmp(run->kind->task, "infill-text");
    if (!run->arguments->json && !run->arguments->batch) {
        printf("%s\n", skip_spaces(text));
        return;
    }
    printf("{\"index\": %zu, \"text\": ", index);
    cm3_print_json(skip_spaces(text));
    if (infill) {
        char *before, *caption = NULL;
        const char *after;
        if (part_at_mask(query->text, &before, &after)) {
            size_t size = strlen(before) + strlen(text) + strlen(after) + 1;
            caption = malloc(size);
            if (caption) snprintf(caption, size, "%s%s%s", before, text, after);
            free(before);
        }
        printf(", \"caption\": ");
        cm3_print_json(caption ? skip_spaces(caption) : "");
        free(caption);
    }
    printf("}\n");
}

/** DIR/0007.png, DIR/0007-2.png, FILE.png, FILE-2.png. */
static void output_path(const task_run *run, size_t index, int32_t number, char *path, size_t size) {
    const task_arguments *a = run->arguments;
    char part[16] = "";
    if ((a->best ? a->best : a->count) > 1) snprintf(part, sizeof part, "-%d", number);
    if (a->batch) {
        snprintf(path, size, "%s/%04zu%s.png", a->out_dir, index, part);
        return;
    }
    const char *dot = strrchr(a->output, '.');
    snprintf(path, size, "%.*s%s%s", (int)(dot - a->output), a->output, part, dot);
}

static cm3_status tell_picture(const task_run *run, size_t index, const task_query *query, int32_t number,
                               const cm3_image *image) {
    char path[4096];
    output_path(run, index, number, path, sizeof path);
    cm3_status status = cm3_image_save(image, path, NULL);
    if (status != CM3_OK) return status;
    if (run->arguments->json) {
        printf("{\"index\": %zu, \"file\": ", index);
        cm3_print_json(path);
        for (size_t i = 0; i < query->said_count; i++) {
            printf(", ");
            cm3_print_json(query->said[i].name);
            printf(": ");
            cm3_print_json(query->said[i].text);
        }
        printf("}\n");
    } else if (!run->arguments->batch) {
        printf("%s\n", path);
    }
    return CM3_OK;
}

/** What a request made: an answer for each candidate, parted by breaks; an empty text is one, too. */
static cm3_status tell_result(const task_run *run, size_t index, const task_query *query, const cm3_document *result) {
    size_t count = 0;
    int32_t number = 0;
    const char *text = "";
    cm3_document_count(result, &count);
    for (size_t i = 0; i <= count; i++) {
        cm3_segment segment = {.struct_size = sizeof segment, .kind = CM3_SEGMENT_BREAK};
        if (i < count) cm3_document_get(result, i, &segment);
        if (segment.kind == CM3_SEGMENT_TEXT) text = segment.text;
        if (segment.kind == CM3_SEGMENT_IMAGE && segment.image) {
            cm3_status status = tell_picture(run, index, query, number++, segment.image);
            if (status != CM3_OK) return status;
        }
        if (segment.kind != CM3_SEGMENT_BREAK || run->kind->draws) continue;
        tell_text(run, index, query, text);
        text = "";
    }
    return CM3_OK;
}

static int on_event(void *user, const cm3_event *event) {
    (void)user;
    (void)event;
    return cm3_interrupted();
}

static cm3_generate_options options_of(const task_run *run, size_t index, const task_query *query) {
    const task_arguments *a = run->arguments;
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = run->kind->draws ? CM3_MODALITY_IMAGE : CM3_MODALITY_TEXT;
    if (is_infill(run) && !*query->text) options.guidance_scale = 1; /* there is no caption to be followed */
    options.candidates = (int32_t)a->count;
    options.best = (int32_t)a->best;
    options.beams = (int32_t)a->beams;
    options.seed = a->seed + index ? a->seed + index : 1;
    if (a->guidance >= 0) options.guidance_scale = (float)a->guidance;
    options.image_guidance_scale = 1.5f;
    if (a->image_guidance >= 0) options.image_guidance_scale = (float)a->image_guidance;
    if (!run->kind->draws && a->count == 1) options.temperature = 0;
    if (a->temperature >= 0) options.temperature = (float)a->temperature;
    return options;
}

/** The likeliest text for a prompt, which becomes the value `name`: at most a quarter of the context, for the picture
 * that follows wants room, whatever the model is shown. */
static cm3_status say(const task_run *run, size_t index, const cm3_document *prompt, const char *name,
                      task_query *query) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = CM3_MODALITY_TEXT;
    options.temperature = 0;
    options.seed = run->arguments->seed + index ? run->arguments->seed + index : 1;
    cm3_model_info info = {.struct_size = sizeof info};
    cm3_document *result = NULL;
    cm3_status status = cm3_model_get_info(run->model, &info);
    options.max_tokens = info.context_length / 4;
    if (status == CM3_OK) status = cm3_generate(run->model, prompt, &options, on_event, NULL, &result);
    cm3_segment segment = {.struct_size = sizeof segment, .kind = CM3_SEGMENT_BREAK};
    if (status == CM3_OK) cm3_document_get(result, 0, &segment);
    char *text = strdup(segment.kind == CM3_SEGMENT_TEXT ? segment.text : "");
    if (status == CM3_OK && !text) status = CM3_ERROR_NO_MEMORY;
    if (status == CM3_OK) {
        query->said[query->said_count++] = (cm3_task_value){.name = name, .text = text};
    } else {
        free(text);
    }
    cm3_document_destroy(result);
    return status;
}

/** The prompt of what is wanted, after the model has said what of it is to be said first. Messages are told. */
static cm3_status prepare(const task_run *run, size_t index, task_query *query, cm3_image *image,
                          cm3_document **document, cm3_document **pictures) {
    cm3_task_form form = {.struct_size = sizeof form, .answer = CM3_SEGMENT_IMAGE};
    cm3_status status = build(run, query, image, document, pictures, &form);
    while (status == CM3_OK && run->kind->draws && form.answer == CM3_SEGMENT_TEXT) {
        if (!form.text_name || query->said_count == MOST_SAID) {
            cm3_say("the task '%s' wants a text before its picture that is not one value alone", run->kind->task);
            return CM3_ERROR_UNSUPPORTED;
        }
        status = say(run, index, *document, form.text_name, query);
        if (status != CM3_OK && !cm3_interrupted()) cm3_failed(run->context, status);
        cm3_document_destroy(*document);
        *document = NULL;
        if (status == CM3_OK) status = build(run, query, image, document, pictures, &form);
    }
    return status;
}

/** Puts what is looked up by the picture before the prompt. */
static cm3_status look_up(const task_run *run, cm3_image *image, cm3_document **document) {
    cm3_document *whole = NULL;
    if (!run->lookup) return CM3_OK;
    cm3_status status = cm3_document_create(run->context, &whole);
    if (status == CM3_OK) status = cm3_lookup_add(run->lookup, NULL, image, whole, NULL);
    if (status == CM3_OK) status = cm3_document_append(whole, *document);
    if (status == CM3_OK) {
        cm3_document_destroy(*document);
        *document = whole;
        return CM3_OK;
    }
    cm3_document_destroy(whole);
    cm3_failed(run->context, status);
    return status;
}

static cm3_status answer(const task_run *run, size_t index, task_query *query) {
    cm3_image *image = NULL;
    cm3_document *document = NULL, *pictures = NULL, *result = NULL;
    cm3_generate_options options = options_of(run, index, query);
    cm3_status status = cm3_image_load(run->context, query->image, &image);
    if (status != CM3_OK) cm3_failed(run->context, status);
    if (status == CM3_OK) status = prepare(run, index, query, image, &document, &pictures);
    if (status == CM3_OK) status = look_up(run, image, &document);
    if (status == CM3_OK) {
        options.picture_prompt = pictures;
        status = cm3_generate(run->model, document, &options, on_event, NULL, &result);
        if (status == CM3_OK) status = tell_result(run, index, query, result);
        if (status != CM3_OK && !cm3_interrupted()) cm3_failed(run->context, status);
    }
    cm3_document_destroy(result);
    cm3_document_destroy(document);
    cm3_document_destroy(pictures);
    cm3_image_destroy(image);
    return status;
}

static int answer_all(task_run *run) {
    const task_arguments *a = run->arguments;
    cm3_progress progress;
    cm3_progress_begin(&progress, run->kind->command, a->quiet || !a->batch);
    for (size_t i = 0; i < run->count && !cm3_interrupted(); i++) {
        cm3_status status = answer(run, i, &run->queries[i]);
        if (status != CM3_OK && a->batch && !cm3_interrupted()) cm3_say("%s: request %zu failed", a->batch, i + 1);
        run->failed += status != CM3_OK;
        cm3_progress_show(&progress, i + 1, run->count, NULL);
    }
    cm3_progress_end(&progress);
    if (cm3_interrupted()) return cm3_ended_early();
    return run->failed ? CM3_EXIT_FAILED : CM3_EXIT_DONE;
}

/* --- the command line ----------------------------------------------------------------------------------------------
 */

static int run_task(const task_kind *kind, const task_arguments *a) {
    task_run run = {.kind = kind, .arguments = a};
    int code = CM3_EXIT_FAILED;
    bool ready = !a->batch || !kind->draws || cm3_make_dir(a->out_dir);
    if (ready && (a->batch ? read_batch(&run) : read_words(&run))) run.context = cm3_open_context(a->threads);
    if (run.context) {
        cm3_status status = cm3_open_model(run.context, a->model, NULL, &run.model);
        if (status == CM3_OK) status = cm3_tasks_load(run.context, a->tasks, &run.tasks);
        if (status == CM3_OK)
            status = cm3_lookup_open(run.context, run.model, cm3_base_name(a->model), &a->lookup, &run.lookup);
        code = status == CM3_OK ? answer_all(&run) : cm3_failed(run.context, status);
    }
    cm3_lookup_close(run.lookup);
    cm3_tasks_destroy(run.tasks);
    cm3_model_destroy(run.model);
    cm3_context_destroy(run.context);
    clear_queries(&run);
    return code;
}

#define DRAWING "edit segment infill"
#define WRITING "caption ask infill-text"

static const cm3_option_use uses[] = {
    {"--output", DRAWING},
    {"--out-dir", DRAWING},
    {"--out-dir", "--batch"},
    {"--prompt", "ask edit infill infill-text"},
    {"--box", "infill"},
    {"--bank", "caption"},
    {"--retrieve", "caption"},
    {"--retrieve", "--bank"},
    {"--show-retrieved", "caption"},
    {"--show-retrieved", "--bank"},
    {"--beams", WRITING},
    {"--temperature", "sampling"},
    {"--guidance", DRAWING},
    {"--image-guidance", DRAWING}, /* of segment as well: Chameleon follows the pictures before, unasked */
    {NULL, NULL},
};

/** Whether each option has a use in this task. */
static bool fits(const task_kind *kind, const task_arguments *a, int argc, char **argv, const cm3_option *options) {
    char call[32], parts[64];
    snprintf(call, sizeof call, "cm3 %s", kind->command);
    snprintf(parts, sizeof parts, "%s%s%s%s", kind->command, a->batch ? " --batch" : "",
             a->lookup.bank ? " --bank" : "", a->beams < 2 ? " sampling" : "");
    return cm3_options_fit(argc, argv, options, uses, call, parts);
}

static bool check(const task_kind *kind, const task_arguments *a) {
    size_t words = 1 + (kind->text && !a->prompt);
    bool infill = !strcmp(kind->command, "infill");
    if (infill) words = a->words.count == 2 && !a->prompt ? 2 : 1; /* a caption may be left out */
    const char *wrong = !a->model                    ? "-m MODEL is missing"
                        : a->batch && a->words.count ? "--batch takes no picture beside it"
                        : !a->batch && a->words.count != words
                            ? "a picture is wanted, and its text where one belongs to it"
                        : a->prompt && a->batch                   ? "-p goes with one picture"
                        : infill && !a->batch && !a->boxes.count  ? "--box X,Y,W,H is missing"
                        : a->boxes.count && a->batch              ? "--box goes with one picture"
                        : a->boxes.count > 16                     ? "at most 16 boxes"
                        : a->best > a->count                      ? "--best is of the answers that -n asks for"
                        : kind->draws && a->batch && !a->out_dir  ? "--batch wants --out-dir DIR"
                        : kind->draws && !a->batch && !a->output  ? "-o FILE is missing"
                        : a->output && !cm3_is_picture(a->output) ? "-o FILE must end in .jpg, .jpeg or .png"
                        : a->output && a->batch                   ? "--batch wants --out-dir, not -o"
                        : a->output && strlen(a->output) > 3900   ? "-o FILE is too long"
                        : a->out_dir && strlen(a->out_dir) > 3900 ? "--out-dir DIR is too long"
                                                                  : NULL;
    if (wrong) cm3_say("%s; 'cm3 %s --help' tells more", wrong, kind->command);
    return !wrong;
}

static int command(const char *name, int argc, char **argv) {
    const task_kind *kind = kinds;
    while (strcmp(kind->command, name) != 0) kind++;
    task_arguments a = {.count = 1,
                        .seed = 1,
                        .threads = -1,
                        .temperature = -1,
                        .guidance = -1,
                        .image_guidance = -1,
                        .lookup = {.retrieve = 2}};
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},
        {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
        {"--batch", NULL, CM3_OPTION_TEXT, &a.batch, 0, 0},
        {"--prompts", NULL, CM3_OPTION_TEXT, &a.batch, 0, 0},
        {"--out-dir", NULL, CM3_OPTION_TEXT, &a.out_dir, 0, 0},
        {"--tasks", NULL, CM3_OPTION_TEXT, &a.tasks, 0, 0},
        {"--prompt", "-p", CM3_OPTION_TEXT, &a.prompt, 0, 0},
        {"--box", NULL, CM3_OPTION_LIST, &a.boxes, 0, 0},
        {"--bank", NULL, CM3_OPTION_TEXT, &a.lookup.bank, 0, 0},
        {"--retrieve", NULL, CM3_OPTION_INT, &a.lookup.retrieve, 0, 1000},
        {"--show-retrieved", NULL, CM3_OPTION_FLAG, &a.lookup.show, 0, 0},
        {"--count", "-n", CM3_OPTION_INT, &a.count, 1, 64},
        {"--best", NULL, CM3_OPTION_INT, &a.best, 1, 64},
        {"--beams", NULL, CM3_OPTION_INT, &a.beams, 1, 64},
        {"--seed", NULL, CM3_OPTION_SEED, &a.seed, 0, 0},
        {"--temperature", NULL, CM3_OPTION_NUMBER, &a.temperature, 0, 100},
        {"--guidance", NULL, CM3_OPTION_NUMBER, &a.guidance, 0, 100},
        {"--image-guidance", NULL, CM3_OPTION_NUMBER, &a.image_guidance, 0, 100},
        {"--threads", NULL, CM3_OPTION_INT, &a.threads, 1, 64},
        {"--json", NULL, CM3_OPTION_FLAG, &a.json, 0, 0},
        {"--quiet", "-q", CM3_OPTION_FLAG, &a.quiet, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    if (cm3_wants_help(argc, argv, options)) {
        printf("Usage: %s\n       cm3 %s -m MODEL --batch FILE%s\n\nThe command %s.\n%s", kind->usage, name,
               kind->draws ? " --out-dir DIR" : "", kind->about, options_text);
        return CM3_EXIT_DONE;
    }
    if (!cm3_options_parse(argc, argv, options, &a.words)) return CM3_EXIT_USAGE;
    a.model = cm3_model_asked_for(a.model);
    if (!fits(kind, &a, argc, argv, options) || !check(kind, &a)) return CM3_EXIT_USAGE;
    return run_task(kind, &a);
}

int cm3_command_caption(int argc, char **argv) {
    return command("caption", argc, argv);
}
int cm3_command_ask(int argc, char **argv) {
    return command("ask", argc, argv);
}
int cm3_command_edit(int argc, char **argv) {
    return command("edit", argc, argv);
}
int cm3_command_segment(int argc, char **argv) {
    return command("segment", argc, argv);
}
int cm3_command_infill(int argc, char **argv) {
    return command("infill", argc, argv);
}
int cm3_command_infill_text(int argc, char **argv) {
    return command("infill-text", argc, argv);
}
