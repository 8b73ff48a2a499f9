/* cm3 embed: texts or pictures to vectors. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 embed -m MODEL (--texts FILE.jsonl | --images FILE) -o OUT.npy [OPTION]...\n"
    "\n"
    "Writes a vector a line, float32, of length 1, for NumPy.\n"
    "\n"
    "  -m, --model MODEL   CLIP: a folder in Hugging Face's layout, or a .cm3 file with an encoder\n"
    "      --texts FILE    a line a text, a JSON string or {\"text\": ...}; - is standard input\n"
    "      --images FILE   a line a picture's path (.jpg or .png), taken from the folder of FILE where it is not "
    "there\n"
    "  -o, --output FILE   [lines, size of a vector]\n"
    "      --raw           projections as they are, not brought to length 1\n"
    "      --threads N     (one a core)\n"
    "  -q, --quiet         no progress\n";

#define TOGETHER 64 /* so many at a time, between two looks at progress and signals */

typedef struct cm3_embed_arguments {
    const char *model, *texts, *images, *output;
    int64_t threads;
    bool raw, quiet;
} cm3_embed_arguments;

typedef struct cm3_embed_job {
    const cm3_embed_arguments *arguments;
    cm3_context *context;
    cm3_model *model;
    char **lines;
    size_t count, size;
    float *vectors;
} cm3_embed_job;

/** Lines of a file as they are, without empty ones at its end. NULL after saying why. */
static char **read_paths(const char *path, size_t *count) {
    FILE *file = strcmp(path, "-") ? fopen(path, "r") : stdin;
    char **lines = NULL, *line = NULL;
    size_t capacity = 0, size = 0;
    bool good = file != NULL;
    *count = 0;
    for (ssize_t length; good && (length = getline(&line, &size, file)) >= 0;) {
        while (length > 0 && (line[length - 1] == '\n' || line[length - 1] == '\r')) line[--length] = 0;
        if (*count == capacity) {
            char **grown = realloc(lines, (capacity = 2 * capacity + 16) * sizeof *lines);
            good = grown != NULL;
            if (grown) lines = grown;
        }
        if (good) good = (lines[*count] = strdup(line)) != NULL;
        *count += good;
    }
    while (good && *count && !lines[*count - 1][0]) free(lines[--*count]);
    if (file && file != stdin) fclose(file);
    free(line);
    if (good && *count) return lines;
    cm3_say(!file  ? "%s: the file could not be opened"
            : good ? "%s: there are no lines in it"
                   : "%s: out of memory",
            path);
    cm3_lines_free(lines, *count);
    return NULL;
}

/** A picture by its line: as it is, or from the list's folder. */
static cm3_status load_image(const cm3_embed_job *job, const char *line, cm3_image **image) {
    const char *list = job->arguments->images, *slash = strrchr(list, '/');
    char path[4096];
    cm3_status status = cm3_image_load(job->context, line, image);
    if (status != CM3_ERROR_NOT_FOUND || line[0] == '/' || !slash) return status;
    int length = snprintf(path, sizeof path, "%.*s/%s", (int)(slash - list), list, line);
    return length < (int)sizeof path ? cm3_image_load(job->context, path, image) : status;
}

static cm3_status embed_images(const cm3_embed_job *job, size_t from, size_t count) {
    cm3_image *images[TOGETHER] = {NULL};
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        status = load_image(job, job->lines[from + i], &images[i]);
        if (status != CM3_OK) cm3_say("%s: line %zu:", job->arguments->images, from + i + 1);
    }
    if (status == CM3_OK) {
        status =
            cm3_model_embed_images(job->model, images, count, !job->arguments->raw, job->vectors + from * job->size);
    }
    for (size_t i = 0; i < count; i++) cm3_image_destroy(images[i]);
    return status;
}

static cm3_status embed_texts(const cm3_embed_job *job, size_t from, size_t count) {
    return cm3_model_embed_texts(job->model, (const char *const *)job->lines + from, count, !job->arguments->raw,
                                 job->vectors + from * job->size);
}

static int run(cm3_embed_job *job) {
    const cm3_embed_arguments *a = job->arguments;
    cm3_model_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_open_model(job->context, a->model, NULL, &job->model);
    if (status == CM3_OK) status = cm3_model_get_info(job->model, &info);
    if (status != CM3_OK) return cm3_failed(job->context, status);
    job->size = (size_t)info.embedding_size;
    if (!job->size) {
        cm3_say("%s: there is no encoder in it", a->model);
        return CM3_EXIT_FAILED;
    }
    job->vectors = calloc(job->count, job->size * sizeof *job->vectors);
    if (!job->vectors) {
        cm3_say("out of memory");
        return CM3_EXIT_FAILED;
    }
    cm3_progress progress;
    cm3_progress_begin(&progress, "embedding", a->quiet || job->count <= TOGETHER);
    for (size_t i = 0; i < job->count && status == CM3_OK && !cm3_interrupted(); i += TOGETHER) {
        size_t count = job->count - i < TOGETHER ? job->count - i : TOGETHER;
        status = a->texts ? embed_texts(job, i, count) : embed_images(job, i, count);
        if (status == CM3_OK) cm3_progress_show(&progress, i + count, job->count, NULL);
    }
    cm3_progress_end(&progress);
    if (status != CM3_OK) return cm3_failed(job->context, status);
    if (cm3_interrupted()) return cm3_ended_early();
    const size_t shape[] = {job->count, job->size};
    return cm3_write_npy(a->output, job->vectors, 2, shape) ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
}

int cm3_command_embed(int argc, char **argv) {
    cm3_embed_arguments a = {.threads = -1};
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},   {"--texts", NULL, CM3_OPTION_TEXT, &a.texts, 0, 0},
        {"--images", NULL, CM3_OPTION_TEXT, &a.images, 0, 0}, {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
        {"--raw", NULL, CM3_OPTION_FLAG, &a.raw, 0, 0},       {"--threads", NULL, CM3_OPTION_INT, &a.threads, 1, 64},
        {"--quiet", "-q", CM3_OPTION_FLAG, &a.quiet, 0, 0},   {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    if (cm3_wants_help(argc, argv, options)) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    if (!cm3_options_parse(argc, argv, options, NULL)) return CM3_EXIT_USAGE;
    if (!a.model || !a.output || !a.texts == !a.images) {
        cm3_say("-m MODEL, one of --texts and --images, and -o FILE are wanted; 'cm3 embed --help' tells more");
        return CM3_EXIT_USAGE;
    }
    cm3_embed_job job = {.arguments = &a};
    job.lines = a.texts ? cm3_lines_read(a.texts, NULL, NULL, &job.count) : read_paths(a.images, &job.count);
    if (!job.lines) return cm3_ended_early();
    job.context = cm3_open_context(a.threads);
    int code = job.context ? run(&job) : CM3_EXIT_FAILED;
    free(job.vectors);
    cm3_model_destroy(job.model);
    cm3_context_destroy(job.context);
    cm3_lines_free(job.lines, job.count);
    return code;
}
