/* cm3 generate: sentences to pictures. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "generate.h"

static const char help_text[] =
    "Usage: cm3 generate -m MODEL TEXT [-o FILE] [OPTION]...\n"
    "       cm3 generate -m MODEL --batch FILE.jsonl --out-dir DIR [OPTION]...\n"
    "       cm3 generate -m MODEL --ids FILE.json [OPTION]...\n"
    "\n"
    "Draws a picture of a sentence, or writes what follows it. Without -o a picture's file is cm3-SEED.jpg; text goes "
    "to\n"
    "standard output.\n"
    "\n"
    "  -m, --model MODEL     the model, a .cm3 file or a folder that other tools made; without it that of the "
    "variable\n"
    "                        CM3_MODEL\n"
    "      --vqgan FILE      an image decoder for a folder that holds none\n"
    "      --head-rows FILE  rows of the output head (.safetensors), laid over the model's\n"
    "  -p, --prompt TEXT     the sentence, as TEXT alone is; each <image> in it stands for a picture of --image\n"
    "      --image FILE...   pictures of the prompt\n"
    "      --layout FILE     a picture of where things are, for models of the demo's tasks: a segmentation, or an "
    "outline\n"
    "                        (thin lines without colour)\n"
    "      --modality WHAT   image, text, or interleaved: text with pictures where the model begins one (image)\n"
    "      --chat            the prompt is a turn of a talk: its end is told to the model (Chameleon)\n"
    "  -o, --output FILE     .jpg, .jpeg or .png; of several pictures FILE-0, FILE-1 ...\n"
    "  -n, --count N         answers to the sentence, 1 to 64 (1)\n"
    "  --best N              keep the N best of them: the likeliest, or by --encoder; the best first\n"
    "  --encoder MODEL       a text-image encoder (CLIP) that judges which pictures fit the sentence best\n"
    "  --beams N             of text: beam search of that width in place of sampling (off)\n"
    "  --seed N              the same seed draws the same; without it one is picked and told\n"
    "  --batch FILE          a line a sentence, a JSON string or {\"text\": ..., \"layout\": path beside FILE}; - is\n"
    "                        standard input\n"
    "  --prompts FILE        the same as --batch\n"
    "  --out-dir DIR         of a batch's pictures: 0000.jpg, 0001.jpg ...; line i is drawn with seed SEED + i\n"
    "  --ids FILE            a prompt of token ids\n"
    "  --parallel N          sentences of a batch that are drawn together (8)\n"
    "  --bank FILE           a memory bank (cm3 bank --help) in which documents like the sentence are looked up "
    "first;\n"
    "                        or postgresql://...\n"
    "  --retrieve K          of them, as many as the context leaves room for (2)\n"
    "  --show-retrieved      says what was found\n"
    "  --guidance S          how closely the sentence is followed; 1 is off (1.5; Chameleon 3)\n"
    "  --guidance-scale S    the same as --guidance\n"
    "  --image-guidance S    how closely pictures of the prompt are (Chameleon, and layouts; 1.2)\n"
    "  --contrast ALPHA      contrastive decoding in place of guidance: tokens at least ALPHA times as probable as "
    "the\n"
    "                        K-th\n"
    "  --contrast-k K        (1)\n"
    "  --contrast-last N     of -n answers the last N only (all)\n"
    "  --temperature T       0 takes the likeliest token (0.3; Chameleon 0.7)\n"
    "  --greedy              the same as --temperature 0\n"
    "  --top-p P             keep the likeliest tokens that make up P (0.9)\n"
    "  --top-k K             keep the K likeliest tokens; 0 is off (0)\n"
    "  --repetition P        penalty of what was said before, 1 is off (1; Chameleon's text 1.2)\n"
    "  --n-tokens N          of text: at most so many (what the context leaves). With --ids: exactly so many\n"
    "  --min-tokens N        of text: at least so many (0)\n"
    "  --stop ID...          tokens that end a text, beside the model's own\n"
    "  --compute f32|bf16    of matrix products (bf16 where the CPU has it; f32 with --ids)\n"
    "  --kv f32|bf16|int8    of cached keys and values (that of --compute)\n"
    "  --threads N           (one a core)\n"
    "  --preview DIR         writes DIR/preview-000.png ... as rows of the picture are finished (of a batch: "
    "0000-preview-000.png)\n"
    "  --sheet FILE          all pictures on one sheet as well\n"
    "  --quality Q           of JPEG files (95)\n"
    "  --timings             says where the time went, and how much memory it took\n"
    "  --json                results as JSON lines on standard output\n"
    "  -q, --quiet           no progress\n"
    "\n"
    "The ids of --ids are taken as they are; printed are the ids that follow, with --json as\n"
    "{\"tokens\": [...]}. Without --modality only image codes are barred, as Hugging Face bars them; guidance and "
    "penalties\n"
    "are off unless asked for. An option that has no use in what is asked for is refused.\n";

/** One sentence on its way. */
typedef struct cm3_job {
    cm3_request *request;
    size_t line;
    uint64_t done, total;
    int previews;
    double looked_up; /**< seconds */
} cm3_job;

typedef struct cm3_generation {
    const cm3_generate_arguments *arguments;
    cm3_context *context;
    cm3_model *model, *encoder;
    cm3_generate_options options;
    char **lines, **layouts; /**< layouts: NULL, or a path for each line, NULL where it has none */
    cm3_tasks *tasks;        /**< where there are layouts */
    cm3_lookup *lookup;      /**< NULL: nothing is looked up */
    size_t count;
    cm3_progress progress;
    cm3_job *jobs;
    size_t job_count;
    size_t finished;
    cm3_image *images[64]; /**< of the prompt */
    int32_t stops[4096];
    cm3_image **sheet;
    size_t sheet_count;
    size_t failed; /**< texts that could not be drawn */
    bool stopped;  /**< a preview could not be written: no more of them */
} cm3_generation;

static int save_image(cm3_generation *g, const cm3_image *image, const char *path) {
    cm3_image_save_options options;
    cm3_image_save_options_init(&options);
    options.jpeg_quality = (int32_t)g->arguments->quality;
    cm3_status status = cm3_image_save(image, path, &options);
    return status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(g->context, status);
}

/** Where picture `number` of line `line` goes: DIR/0007.jpg, DIR/0007-2.jpg, FILE.jpg, FILE-2.jpg, cm3-SEED.jpg.
 */
static void output_path(const cm3_generation *g, size_t line, int32_t number, uint64_t seed, char *path, size_t size) {
    const cm3_generate_arguments *a = g->arguments;
    char stem[4000], ending[16] = ".jpg", part[16] = "";
    if (a->batch) {
        snprintf(stem, sizeof stem, "%s/%04zu", a->out_dir, line);
    } else if (a->output) {
        const char *dot = strrchr(a->output, '.');
        size_t length = dot && !strchr(dot, '/') ? (size_t)(dot - a->output) : strlen(a->output);
        snprintf(stem, sizeof stem, "%.*s", (int)(length < sizeof stem ? length : sizeof stem - 1), a->output);
        snprintf(ending, sizeof ending, "%s", a->output + length);
    } else {
        snprintf(stem, sizeof stem, "cm3-%llu", (unsigned long long)seed);
    }
    bool several =
        (a->best ? a->best : a->count) > 1 || (g->options.modality == CM3_MODALITY_INTERLEAVED && number > 0);
    if (several) snprintf(part, sizeof part, "-%d", number);
    snprintf(path, size, "%s%s%s", stem, part, ending);
}

/** Says where a finished picture is. */
static void tell(const cm3_generation *g, const cm3_job *job, const char *path, uint64_t seed) {
    if (!g->arguments->json) {
        if (!g->arguments->batch) printf("%s\n", path);
        return;
    }
    printf("{\"line\": %zu, \"seed\": %llu, \"file\": ", job->line, (unsigned long long)seed);
    cm3_print_json(path);
    printf("}\n");
}

/** Text that was made, to standard output. */
static void tell_text(const cm3_generation *g, const cm3_job *job, const char *text, uint64_t seed) {
    if (!g->arguments->json) {
        printf("%s\n", text);
        return;
    }
    printf("{\"line\": %zu, \"seed\": %llu, \"text\": ", job->line, (unsigned long long)seed);
    cm3_print_json(text);
    printf("}\n");
}

/** Writes the pictures of a finished request, and its texts. */
static int collect(cm3_generation *g, cm3_job *job) {
    cm3_document *result = NULL;
    uint64_t seed = 0;
    size_t count = 0;
    cm3_status status = cm3_request_result(job->request, &result);
    if (status != CM3_OK) return cm3_failed(g->context, status);
    cm3_request_seed(job->request, &seed);
    cm3_document_count(result, &count);
    int32_t number = 0;
    int code = CM3_EXIT_DONE;
    for (size_t i = 0; i < count && code == CM3_EXIT_DONE; i++) {
        cm3_segment segment = {.struct_size = sizeof segment};
        cm3_document_get(result, i, &segment);
        if (segment.kind == CM3_SEGMENT_TEXT) tell_text(g, job, segment.text, seed);
        if (segment.kind != CM3_SEGMENT_IMAGE || !segment.image) continue;
        char path[4096];
        output_path(g, job->line, number++, seed, path, sizeof path);
        code = save_image(g, segment.image, path);
        if (code == CM3_EXIT_DONE) tell(g, job, path, seed);
        bool fits = number <= g->arguments->count; /* pictures between texts may be more */
        if (g->sheet && fits && cm3_image_retain((cm3_image *)(uintptr_t)segment.image) == CM3_OK) {
            g->sheet[job->line * (size_t)g->arguments->count + (size_t)number - 1] =
                (cm3_image *)(uintptr_t)segment.image;
        }
    }
    cm3_document_destroy(result);
    return code;
}

static int on_event(void *user, const cm3_event *event) {
    void **both = user;
    cm3_generation *g = both[0];
    cm3_job *job = both[1];
    if (event->kind == CM3_EVENT_PROGRESS) {
        job->done = event->done;
        job->total = event->total;
    }
    if (event->kind == CM3_EVENT_IMAGE_ROWS && event->candidate == 0 && g->arguments->preview) {
        char path[4096];
        char line[32] = "";
        if (g->arguments->batch) snprintf(line, sizeof line, "%04zu-", job->line);
        snprintf(path, sizeof path, "%s/%spreview-%03d.png", g->arguments->preview, line, job->previews++);
        g->stopped = save_image(g, event->image, path) != CM3_EXIT_DONE;
        if (g->stopped) return 1;
    }
    return cm3_interrupted();
}

static void show_progress(cm3_generation *g) {
    uint64_t done = 0, each = 1;
    for (size_t i = 0; i < g->job_count; i++) {
        if (g->jobs[i].total) each = g->jobs[i].total;
    }
    for (size_t i = 0; i < g->job_count; i++) done += g->jobs[i].request ? g->jobs[i].done : 0;
    char note[48];
    snprintf(note, sizeof note, g->count > 1 ? "%zu of %zu pictures" : "tokens", g->finished, g->count);
    cm3_progress_show(&g->progress, done + each * g->finished, each * g->count, note);
}

/** A prompt of a sentence and a layout, and what guidance's third stream knows: the layout alone. */
static cm3_status prompt_of_layout(const cm3_generation *g, const char *path, const char *text, cm3_document **prompt,
                                   cm3_document **pictures) {
    cm3_image *layout = NULL;
    cm3_status status = cm3_image_load(g->context, path, &layout);
    if (status != CM3_OK) return status;
    cm3_task_value values[] = {{.image = layout}, {.name = "caption", .text = text}};
    const char *task = cm3_layout_task(layout, &values[0].name);
    status = cm3_task_document(g->tasks, task, values, 2, prompt, NULL);
    if (status == CM3_OK) status = cm3_task_picture_prompt(g->tasks, task, values, 2, pictures);
    cm3_image_destroy(layout);
    return status;
}

static cm3_status prompt_of_text(const cm3_generation *g, const char *text, cm3_document **prompt, double *looked_up) {
    cm3_status status = cm3_document_create(g->context, prompt);
    if (status == CM3_OK) status = cm3_lookup_add(g->lookup, text, NULL, *prompt, looked_up);
    if (status != CM3_OK) return status;
    if (!g->arguments->images.count) return cm3_document_add_text(*prompt, text, SIZE_MAX);
    return cm3_document_add_prompt(*prompt, text, g->images, g->arguments->images.count);
}

static cm3_status start(cm3_generation *g, cm3_job *job, size_t line) {
    cm3_document *prompt = NULL, *pictures = NULL;
    const char *layout = g->layouts ? g->layouts[line] : NULL;
    cm3_generate_options options = g->options;
    options.seed += line;
    if (!options.seed) options.seed = 1; /* 0 would mean: pick one */
    *job = (cm3_job){.line = line};
    cm3_status status = layout ? prompt_of_layout(g, layout, g->lines[line], &prompt, &pictures)
                               : prompt_of_text(g, g->lines[line], &prompt, &job->looked_up);
    options.picture_prompt = pictures;
    if (status == CM3_OK) status = cm3_request_start(g->model, prompt, &options, &job->request);
    cm3_document_destroy(prompt);
    cm3_document_destroy(pictures);
    return status;
}

static void print_timings(const cm3_generation *g, const cm3_job *job) {
    cm3_timings t = {.struct_size = sizeof t};
    cm3_memory_stats memory = {.struct_size = sizeof memory};
    if (cm3_request_timings(job->request, &t) != CM3_OK || cm3_context_memory(g->context, &memory) != CM3_OK) return;
    if (g->lookup) fprintf(stderr, "looked up %.1f ms, ", job->looked_up * 1e3);
    fprintf(stderr,
            "queued %.1f ms, tokenize %.1f ms, prefill %.1f ms (%llu tokens), decode %.1f ms (%llu tokens), sampling "
            "%.1f ms, image %.1f ms, total %.1f ms; memory %.1f MB, at most %.1f MB\n",
            t.queued * 1e3, t.tokenize * 1e3, t.prefill * 1e3, (unsigned long long)t.prompt_tokens, t.decode * 1e3,
            (unsigned long long)t.new_tokens, t.sampling * 1e3, t.image_decode * 1e3, t.total * 1e3,
            (double)memory.live_bytes / 1e6, (double)memory.peak_bytes / 1e6);
}

/** Says that a text could not be drawn, and why; the others are. */
static void complain(cm3_generation *g, const cm3_job *job, const char *why) {
    cm3_progress_end(&g->progress);
    if (g->arguments->batch) {
        cm3_say("%s: text %zu: %s", g->arguments->batch, job->line + 1, why);
    } else {
        cm3_say("%s", why);
    }
    g->failed++;
}

/** Gives a job its next events, and takes its pictures when it is through. Not DONE: nothing more is to be drawn. */
static int attend(cm3_generation *g, cm3_job *job) {
    int done = 0, code = CM3_EXIT_DONE;
    void *both[] = {g, job};
    cm3_status status = cm3_request_poll(job->request, 5000, on_event, both, &done);
    if (!done) return CM3_EXIT_DONE;
    if (g->stopped || (status != CM3_OK && cm3_interrupted())) return cm3_ended_early();
    if (status != CM3_OK) {
        complain(g, job, cm3_request_message(job->request));
    } else {
        if (!g->arguments->json && !g->arguments->batch) cm3_progress_end(&g->progress);
        code = collect(g, job);
        if (g->arguments->timings) print_timings(g, job);
    }
    cm3_request_destroy(job->request);
    job->request = NULL;
    job->done = 0;
    g->finished++;
    return code;
}

/** Runs all lines, `parallel` of them at a time. */
static int run_all(cm3_generation *g) {
    size_t next = 0;
    int code = CM3_EXIT_DONE;
    while (code == CM3_EXIT_DONE && g->finished < g->count) {
        for (size_t i = 0; i < g->job_count && code == CM3_EXIT_DONE; i++) {
            cm3_job *job = &g->jobs[i];
            if (!job->request && next < g->count && start(g, job, next++) != CM3_OK) {
                complain(g, job, cm3_context_message(g->context));
                g->finished++;
            }
            if (job->request) code = attend(g, job);
        }
        if (code == CM3_EXIT_DONE) show_progress(g);
    }
    cm3_progress_end(&g->progress);
    for (size_t i = 0; i < g->job_count; i++) cm3_request_destroy(g->jobs[i].request);
    return code == CM3_EXIT_DONE && g->failed ? CM3_EXIT_FAILED : code;
}

static int write_sheet(cm3_generation *g) {
    cm3_image *sheet = NULL;
    size_t count = 0; /* of those that could be drawn */
    for (size_t i = 0; i < g->sheet_count; i++) {
        cm3_image *image = g->sheet[i];
        g->sheet[i] = NULL;
        if (image) g->sheet[count++] = image;
    }
    if (!count) return CM3_EXIT_FAILED;
    cm3_status status = cm3_image_contact_sheet(g->context, (const cm3_image *const *)g->sheet, count, 0, 4, &sheet);
    int code = status == CM3_OK ? save_image(g, sheet, g->arguments->sheet) : cm3_failed(g->context, status);
    cm3_image_destroy(sheet);
    return code;
}

static int generate(cm3_generation *g) {
    const cm3_generate_arguments *a = g->arguments;
    cm3_status status = cm3_open_model_with(g->context, a->model, a->vqgan, a->head_rows, &g->model);
    for (size_t i = 0; i < a->images.count && status == CM3_OK; i++) {
        status = cm3_image_load(g->context, a->images.items[i], &g->images[i]);
    }
    if (a->encoder && status == CM3_OK) status = cm3_open_model(g->context, a->encoder, NULL, &g->encoder);
    if (g->layouts && status == CM3_OK) status = cm3_tasks_load(g->context, NULL, &g->tasks);
    if (status == CM3_OK) {
        status = cm3_lookup_open(g->context, g->model, cm3_base_name(a->model), &a->lookup, &g->lookup);
    }
    if (status != CM3_OK) return cm3_failed(g->context, status);
    uint64_t seed = g->options.seed;
    if (!cm3_generate_read_options(g->model, a, &g->options, g->stops)) return CM3_EXIT_USAGE;
    g->options.seed = seed;
    g->options.encoder = g->encoder;
    if (a->ids) return cm3_generate_from_ids(g->context, g->model, a, &g->options);
    g->job_count = a->batch ? (size_t)a->parallel : 1;
    g->jobs = calloc(g->job_count, sizeof *g->jobs);
    g->sheet_count = g->count * (size_t)a->count;
    if (a->sheet) g->sheet = calloc(g->sheet_count, sizeof *g->sheet);
    if (!g->jobs || (a->sheet && !g->sheet)) {
        cm3_say("out of memory");
        return CM3_EXIT_FAILED;
    }
    cm3_progress_begin(&g->progress, "drawing", a->quiet);
    int code = run_all(g);
    if (code != CM3_EXIT_INTERRUPTED && a->sheet && write_sheet(g) != CM3_EXIT_DONE) code = CM3_EXIT_FAILED;
    for (size_t i = 0; g->sheet && i < g->sheet_count; i++) cm3_image_destroy(g->sheet[i]);
    free(g->sheet);
    free(g->jobs);
    return code;
}

/** Room for what is put behind a path: "/0000-63.jpg", "/preview-000.png". */
static bool too_long(const char *path) {
    return path && strlen(path) > 3900;
}

/** A word that is no option is the sentence. More of them are, as a rule, one that lost its quotes. */
static bool take_words(cm3_generate_arguments *a) {
    const size_t most = a->prompt ? 0 : 1;
    if (a->words.count > most) {
        cm3_say(
            "'%s' is one word too many: a sentence goes in quotes, \"a red circle\"; 'cm3 generate --help' tells more",
            a->words.items[most]);
        return false;
    }
    if (a->words.count) a->prompt = a->words.items[0];
    return true;
}

static bool check(const cm3_generate_arguments *a) {
    const char *missing = !a->model                                 ? "-m MODEL is missing"
                          : !a->prompt && !a->batch && !a->ids      ? "TEXT is missing (or --batch FILE, or --ids FILE)"
                          : !!a->prompt + !!a->batch + !!a->ids > 1 ? "TEXT (-p), --batch and --ids exclude each other"
                          : a->images.count > 64                    ? "at most 64 pictures can be in a prompt"
                          : a->lookup.bank && a->layout             ? "--bank goes without --layout"
                          : a->layout && (a->images.count || a->modality)
                              ? "--layout goes without --image and --modality"
                          : a->best > a->count ? "--best is of the answers that -n asks for"
                          : a->batch && !a->out_dir && cm3_generate_draws(a) ? "--batch wants --out-dir DIR"
                          : a->batch && a->output                            ? "--batch wants --out-dir, not -o"
                          : too_long(a->output)                              ? "-o FILE is too long"
                          : too_long(a->out_dir)                             ? "--out-dir DIR is too long"
                          : too_long(a->preview)                             ? "--preview DIR is too long"
                          : a->output && !cm3_is_picture(a->output)          ? "-o FILE must end in .jpg, .jpeg or .png"
                          : a->sheet && !cm3_is_picture(a->sheet) ? "--sheet FILE must end in .jpg, .jpeg or .png"
                                                                  : NULL;
    if (missing) cm3_say("%s; 'cm3 generate --help' tells more", missing);
    return !missing;
}

/** Without --seed: one is picked for the whole call, and told, so that each of its pictures can be drawn again. */
static bool pick_seed(const cm3_generate_arguments *a, uint64_t *seed) {
    if (*seed) return true;
    uint32_t picked = 0;
    while (!picked) {
        if (getrandom(&picked, sizeof picked, 0) == (ssize_t)sizeof picked) continue;
        cm3_say("no random seed could be had: %s", strerror(errno));
        return false;
    }
    *seed = picked;
    if (!a->quiet) cm3_say("seed %llu", (unsigned long long)*seed);
    return true;
}

/** Reads, loads and draws. */
static int run(const cm3_generate_arguments *a) {
    cm3_generation *g = calloc(1, sizeof *g);
    char *single[] = {(char *)(uintptr_t)a->prompt}, *layout[] = {(char *)(uintptr_t)a->layout};
    if (!g) {
        cm3_say("out of memory");
        return CM3_EXIT_FAILED;
    }
    g->arguments = a;
    g->count = 1;
    g->options.seed = a->seed;
    if (a->layout) g->layouts = layout;
    g->lines = a->batch ? cm3_lines_read(a->batch, "layout", &g->layouts, &g->count) : single;
    int code = g->lines ? CM3_EXIT_DONE : cm3_ended_early();
    if (code == CM3_EXIT_DONE && !a->ids && !pick_seed(a, &g->options.seed)) code = CM3_EXIT_FAILED;
    if (code == CM3_EXIT_DONE) {
        g->context = cm3_open_context(a->threads);
        code = g->context ? generate(g) : CM3_EXIT_FAILED;
    }
    for (size_t i = 0; i < a->images.count; i++) cm3_image_destroy(g->images[i]);
    cm3_tasks_destroy(g->tasks);
    cm3_lookup_close(g->lookup);
    cm3_model_destroy(g->encoder);
    cm3_model_destroy(g->model);
    cm3_context_destroy(g->context);
    if (a->batch) cm3_lines_free(g->lines, g->count);
    if (a->batch) cm3_lines_free(g->layouts, g->count);
    free(g);
    return code;
}

int cm3_command_generate(int argc, char **argv) {
    static cm3_generate_arguments a = {.count = 1,
                                       .threads = -1,
                                       .parallel = 8,
                                       .quality = 95,
                                       .guidance = -1,
                                       .image_guidance = -1,
                                       .contrast_k = 1,
                                       .lookup = {.retrieve = 2},
                                       .temperature = -1,
                                       .top_p = -1,
                                       .repetition = -1};
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},
        {"--vqgan", NULL, CM3_OPTION_TEXT, &a.vqgan, 0, 0},
        {"--head-rows", NULL, CM3_OPTION_TEXT, &a.head_rows, 0, 0},
        {"--prompt", "-p", CM3_OPTION_TEXT, &a.prompt, 0, 0},
        {"--image", NULL, CM3_OPTION_LIST, &a.images, 0, 0},
        {"--layout", NULL, CM3_OPTION_TEXT, &a.layout, 0, 0},
        {"--modality", NULL, CM3_OPTION_TEXT, &a.modality, 0, 0},
        {"--chat", NULL, CM3_OPTION_FLAG, &a.chat, 0, 0},
        {"--ids", NULL, CM3_OPTION_TEXT, &a.ids, 0, 0},
        {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
        {"--count", "-n", CM3_OPTION_INT, &a.count, 1, 64},
        {"--best", NULL, CM3_OPTION_INT, &a.best, 1, 64},
        {"--encoder", NULL, CM3_OPTION_TEXT, &a.encoder, 0, 0},
        {"--beams", NULL, CM3_OPTION_INT, &a.beams, 1, 64},
        {"--seed", NULL, CM3_OPTION_SEED, &a.seed, 0, 0},
        {"--batch", NULL, CM3_OPTION_TEXT, &a.batch, 0, 0},
        {"--prompts", NULL, CM3_OPTION_TEXT, &a.batch, 0, 0},
        {"--out-dir", NULL, CM3_OPTION_TEXT, &a.out_dir, 0, 0},
        {"--parallel", NULL, CM3_OPTION_INT, &a.parallel, 1, 64},
        {"--bank", NULL, CM3_OPTION_TEXT, &a.lookup.bank, 0, 0},
        {"--retrieve", NULL, CM3_OPTION_INT, &a.lookup.retrieve, 0, 1000},
        {"--show-retrieved", NULL, CM3_OPTION_FLAG, &a.lookup.show, 0, 0},
        {"--guidance", NULL, CM3_OPTION_NUMBER, &a.guidance, 0, 100},
        {"--guidance-scale", NULL, CM3_OPTION_NUMBER, &a.guidance, 0, 100},
        {"--image-guidance", NULL, CM3_OPTION_NUMBER, &a.image_guidance, 0, 100},
        {"--contrast", NULL, CM3_OPTION_NUMBER, &a.contrast, 0, 1},
        {"--contrast-k", NULL, CM3_OPTION_INT, &a.contrast_k, 1, INT32_MAX},
        {"--contrast-last", NULL, CM3_OPTION_INT, &a.contrast_last, 0, 64},
        {"--temperature", NULL, CM3_OPTION_NUMBER, &a.temperature, 0, 100},
        {"--greedy", NULL, CM3_OPTION_FLAG, &a.greedy, 0, 0},
        {"--top-p", NULL, CM3_OPTION_NUMBER, &a.top_p, 1e-6, 1},
        {"--top-k", NULL, CM3_OPTION_INT, &a.top_k, 0, 1 << 24},
        {"--repetition", NULL, CM3_OPTION_NUMBER, &a.repetition, 1e-6, 1e6},
        {"--n-tokens", NULL, CM3_OPTION_INT, &a.n_tokens, 1, 1 << 24},
        {"--min-tokens", NULL, CM3_OPTION_INT, &a.min_tokens, 0, 1 << 24},
        {"--stop", NULL, CM3_OPTION_LIST, &a.stops, 0, 0},
        {"--compute", NULL, CM3_OPTION_TEXT, &a.compute, 0, 0},
        {"--kv", NULL, CM3_OPTION_TEXT, &a.kv, 0, 0},
        {"--threads", NULL, CM3_OPTION_INT, &a.threads, 1, 64},
        {"--preview", NULL, CM3_OPTION_TEXT, &a.preview, 0, 0},
        {"--sheet", NULL, CM3_OPTION_TEXT, &a.sheet, 0, 0},
        {"--quality", NULL, CM3_OPTION_INT, &a.quality, 1, 100},
        {"--timings", NULL, CM3_OPTION_FLAG, &a.timings, 0, 0},
        {"--json", NULL, CM3_OPTION_FLAG, &a.json, 0, 0},
        {"--quiet", "-q", CM3_OPTION_FLAG, &a.quiet, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    if (cm3_wants_help(argc, argv, options)) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    if (!cm3_options_parse(argc, argv, options, &a.words) || !take_words(&a)) return CM3_EXIT_USAGE;
    a.model = cm3_model_asked_for(a.model);
    if (!check(&a) || !cm3_generate_fits(&a, argc, argv, options)) return CM3_EXIT_USAGE;
    if ((a.out_dir && !cm3_make_dir(a.out_dir)) || (a.preview && !cm3_make_dir(a.preview))) return CM3_EXIT_FAILED;
    return run(&a);
}
