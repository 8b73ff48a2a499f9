/*
 * The library in a game's loop: frames that are missed while a picture is drawn beside them, how long a poll takes that
 * computes itself, how soon a cancel is answered, and what previews cost.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/status.h"
#include "cm3leon/request.h"
#include "models.h"
#include "text/special_names.h"

#define PROMPT "a large red circle at the top left and a small blue star in the center on a sand background"
#define FRAME_NS (1000000000u / 60)
#define DRAWING_NS 4000000u /* of a frame the host itself computes so long */
#define BUDGET_US 4000
#define BUCKETS 17 /* milliseconds 0-1, 1-2, ... and the rest */

/** A host: a context and what it draws with. */
typedef struct loop_host {
    cm3_context *context;
    cm3_model *model;
    cm3_document *prompt;
} loop_host;

static cm3_status open_host(bench_run *run, loop_host *host, int threads) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    *host = (loop_host){0};
    CM3_TRY(cm3_context_create(&options, &host->context));
    CM3_TRY(cm3_model_load(host->context, run->options.model, NULL, &host->model));
    CM3_TRY(cm3_document_create(host->context, &host->prompt));
    return cm3_document_add_text(host->prompt, PROMPT, SIZE_MAX);
}

/** Ends it; its failure becomes the run's. */
static cm3_status close_host(bench_run *run, loop_host *host, cm3_status status) {
    if (status != CM3_OK && host->context) {
        status = cm3_fail(run->context, status, "%s", cm3_context_message(host->context));
    }
    cm3_document_destroy(host->prompt);
    cm3_model_destroy(host->model);
    cm3_context_destroy(host->context);
    return status;
}

static cm3_generate_options options_of(uint64_t seed) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = seed;
    return options;
}

/* --- times, however many ------------------------------------------------------------------------------------------ */

typedef struct times {
    double *values; /**< milliseconds */
    size_t count, capacity;
} times;

static cm3_status add_time(bench_run *run, times *t, double ms) {
    CM3_TRY(cm3_grow(run->context, &t->values, &t->capacity, t->count + 1, sizeof *t->values, "times"));
    t->values[t->count++] = ms;
    return CM3_OK;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double quantile(const times *t, double part) {
    return t->count ? t->values[(size_t)(part * (double)(t->count - 1) + 0.5)] : 0;
}

/** Percentiles, the worst, and how many fell into which millisecond. Frees the times. */
static void report_times(bench_run *run, times *t) {
    char histogram[BUCKETS * 16] = "";
    size_t buckets[BUCKETS] = {0}, used = 0;
    qsort(t->values, t->count, sizeof *t->values, compare);
    for (size_t i = 0; i < t->count; i++) buckets[t->values[i] < BUCKETS - 1 ? (size_t)t->values[i] : BUCKETS - 1]++;
    for (size_t i = 0; i < BUCKETS; i++) {
        if (!buckets[i]) continue;
        used += (size_t)snprintf(histogram + used, sizeof histogram - used, "%s%zu%s:%zu", used ? " " : "", i,
                                 i == BUCKETS - 1 ? "+" : "", buckets[i]);
    }
    bench_report_text(run->report, "histogram_ms", histogram);
    const struct {
        const char *key;
        double part;
    } quantiles[] = {{"p99_ms", 0.99}, {"p50_ms", 0.5}, {"worst_ms", 1}};
    for (size_t i = 0; i < 3 && t->count; i++) {
        bench_report_number(run->report, quantiles[i].key, "ms", quantile(t, quantiles[i].part));
    }
    cm3_free(run->context, t->values);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static void sleep_until(uint64_t ns) {
    struct timespec at = {(time_t)(ns / 1000000000u), (long)(ns % 1000000000u)};
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
}

/** The host's own work of a frame. */
static void draw_frame(void) {
    uint64_t start = cm3_clock_ns();
    while (cm3_clock_ns() - start < DRAWING_NS) {
    }
}

/** Frames of one picture; `missed` are those that were not ready when their time was over. */
static cm3_status watch_picture(bench_run *run, loop_host *host, uint64_t seed, times *polls, size_t *frames,
                                size_t *missed) {
    cm3_generate_options options = options_of(seed);
    cm3_request *request;
    CM3_TRY(cm3_request_start(host->model, host->prompt, &options, &request));
    cm3_status status = CM3_OK;
    uint64_t due = cm3_clock_ns();
    for (int done = 0; !done && status == CM3_OK; ++*frames) {
        sleep_until(due);
        due += FRAME_NS;
        draw_frame();
        uint64_t start = cm3_clock_ns();
        status = cm3_request_poll(request, 0, NULL, NULL, &done);
        uint64_t now = cm3_clock_ns();
        if (status == CM3_OK) status = add_time(run, polls, (double)(now - start) * 1e-6);
        if (now <= due) continue;
        ++*missed;
        due = now; /* the next one begins late */
    }
    cm3_request_destroy(request);
    return status;
}

/** A host that draws 60 frames a second and polls with budget 0, while one thread of the library draws pictures. */
static cm3_status measure_frames(bench_run *run) {
    loop_host host;
    times polls = {0};
    size_t frames = 0, missed = 0;
    cm3_status status = open_host(run, &host, 1);
    int pictures = run->options.quick ? 2 : 10 * run->options.rounds;
    for (int i = 0; i < pictures && status == CM3_OK; i++) {
        status = watch_picture(run, &host, (uint64_t)i + 1, &polls, &frames, &missed);
    }
    CM3_TRY(close_host(run, &host, status));
    bench_report_begin(run->report, "loop", "frames");
    bench_report_integer(run->report, "pictures", pictures);
    bench_report_integer(run->report, "frames", (int64_t)frames);
    bench_report_integer(run->report, "missed", (int64_t)missed);
    bench_report_number(run->report, "kept", "% of frames", 100.0 * (double)(frames - missed) / (double)frames);
    report_times(run, &polls);
    return bench_done(run);
}

/* --- polls that compute ------------------------------------------------------------------------------------------- */

/** `computed`: the same in time of this process, in which what else the machine does counts little. */
static cm3_status poll_picture(bench_run *run, loop_host *host, uint64_t seed, times *polls, times *computed) {
    cm3_generate_options options = options_of(seed);
    cm3_request *request;
    CM3_TRY(cm3_request_start(host->model, host->prompt, &options, &request));
    cm3_status status = CM3_OK;
    for (int done = 0; !done && status == CM3_OK;) {
        uint64_t start = cm3_clock_ns();
        double before = bench_seconds(true);
        status = cm3_request_poll(request, BUDGET_US, NULL, NULL, &done);
        double ms = (double)(cm3_clock_ns() - start) * 1e-6, cpu_ms = (bench_seconds(true) - before) * 1e3;
        if (status == CM3_OK) status = add_time(run, polls, ms);
        if (status == CM3_OK) status = add_time(run, computed, cpu_ms);
    }
    cm3_request_destroy(request);
    return status;
}

/** threads = 0: the polls of whole pictures, the first one of a model among them. */
static cm3_status measure_polls(bench_run *run) {
    loop_host host;
    times polls = {0}, computed = {0};
    cm3_status status = open_host(run, &host, 0);
    int pictures = run->options.quick ? 2 : 4 * run->options.rounds;
    for (int i = 0; i < pictures && status == CM3_OK; i++) {
        status = poll_picture(run, &host, (uint64_t)i + 1, &polls, &computed);
    }
    CM3_TRY(close_host(run, &host, status));
    qsort(computed.values, computed.count, sizeof *computed.values, compare);
    bench_report_begin(run->report, "loop", "poll");
    bench_report_integer(run->report, "budget_us", BUDGET_US);
    bench_report_integer(run->report, "pictures", pictures);
    bench_report_integer(run->report, "polls", (int64_t)polls.count);
    report_times(run, &polls);
    bench_report_number(run->report, "computed_p99_ms", "ms", quantile(&computed, 0.99));
    bench_report_number(run->report, "computed_worst_ms", "ms", quantile(&computed, 1));
    cm3_free(run->context, computed.values);
    return bench_done(run);
}

/* --- cancelling --------------------------------------------------------------------------------------------------- */

/**
 * The demo's tokenizer before a language model of random weights: enough to draw with. Both models are loaded for this
 * alone.
 */
static cm3_status lend_tokenizer(cm3_model *to, cm3_model *from) {
    cm3_tokenizer *tokenizer = from->tokenizer;
    cm3_special_clear(from->context, &tokenizer->special);
    CM3_TRY(cm3_special_from_names(from->context, tokenizer->bpe, to->lm->config.vocab_size, &tokenizer->special));
    cm3_tokenizer_retain(tokenizer);
    cm3_tokenizer_destroy(to->tokenizer);
    to->tokenizer = tokenizer;
    return CM3_OK;
}

static cm3_status cancel_once(bench_run *run, loop_host *host, unsigned delay_ms, times *answers) {
    cm3_generate_options options = options_of(delay_ms + 1);
    cm3_request *request;
    options.candidates = 4;
    CM3_TRY(cm3_request_start(host->model, host->prompt, &options, &request));
    sleep_until(cm3_clock_ns() + delay_ms * UINT64_C(1000000));
    uint64_t start = cm3_clock_ns();
    cm3_request_cancel(request);
    cm3_status status = cm3_request_wait(request, NULL, NULL);
    double ms = (double)(cm3_clock_ns() - start) * 1e-6;
    cm3_request_destroy(request);
    if (status == CM3_OK) return CM3_OK; /* it was through before */
    return status == CM3_ERROR_CANCELLED ? add_time(run, answers, ms) : status;
}

/** From cancel to the end, at moments of reading a long prompt, of drawing four candidates, and of decoding them. */
static cm3_status measure_cancel(bench_run *run, const char *preset) {
    loop_host host;
    cm3_model *random = NULL;
    times answers = {0};
    char path[4096];
    CM3_TRY(bench_lm_file(run, preset, CM3_BF16, path, sizeof path));
    cm3_status status = open_host(run, &host, run->threads);
    if (status == CM3_OK) status = cm3_model_load(host.context, path, NULL, &random);
    if (status == CM3_OK) status = lend_tokenizer(random, host.model);
    if (status == CM3_OK) {
        cm3_model_destroy(host.model);
        host.model = random;
        random = NULL;
    }
    for (int i = 0; i < 30 && status == CM3_OK; i++) status = cm3_document_add_text(host.prompt, ", " PROMPT, SIZE_MAX);
    unsigned step = run->options.quick ? 400 : 2000 / (unsigned)(4 * run->options.rounds);
    for (unsigned delay = 0; delay < 2000 && status == CM3_OK; delay += step) {
        status = cancel_once(run, &host, delay, &answers);
    }
    cm3_model_destroy(random);
    CM3_TRY(close_host(run, &host, status));
    bench_report_begin(run->report, "loop", "cancel");
    bench_report_text(run->report, "preset", preset);
    bench_report_integer(run->report, "threads", run->threads);
    bench_report_integer(run->report, "cancels", (int64_t)answers.count);
    report_times(run, &answers);
    return bench_done(run);
}

/* --- previews ----------------------------------------------------------------------------------------------------- */

typedef struct preview_run {
    loop_host host;
    int32_t every;
    uint64_t seed;
} preview_run;

static cm3_status draw_with_previews(void *arg) {
    preview_run *p = arg;
    cm3_generate_options options = options_of(++p->seed);
    options.preview_rows = p->every;
    return cm3_generate(p->host.model, p->host.prompt, &options, NULL, NULL, NULL);
}

/** The time of a picture with a preview about every 32 tokens, against that of one without, in turns. */
static cm3_status measure_previews(bench_run *run) {
    preview_run p = {.every = 0};
    bench_samples seconds[2] = {{.count = 0}, {.count = 0}}, parts = {.count = 0}; /**< of each round by itself */
    cm3_status status = open_host(run, &p.host, run->threads);
    cm3_tokenizer *tokenizer = NULL;
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    if (status == CM3_OK) status = cm3_model_tokenizer(p.host.model, &tokenizer);
    if (status == CM3_OK) status = cm3_tokenizer_get_info(tokenizer, &info);
    cm3_tokenizer_destroy(tokenizer);
    int32_t side = 1;
    while (side * side < info.image_tokens) side++;
    int32_t every = (32 + side / 2) / side; /* whole rows: the nearest */
    if (every < 1) every = 1;
    for (int round = -1; round < run->options.rounds && status == CM3_OK; round++) {
        for (int with = 0; with < 2 && status == CM3_OK; with++) {
            p.every = with ? every : 0;
            p.seed = (uint64_t)(round + 1) * 100;
            int pictures = run->options.quick ? 1 : 4;
            uint64_t start = cm3_clock_ns();
            for (int i = 0; i < pictures && status == CM3_OK; i++) status = draw_with_previews(&p);
            if (round >= 0) seconds[with].values[seconds[with].count++] = cm3_clock_since(start) / pictures;
        }
        if (round >= 0) parts.values[parts.count++] = seconds[1].values[round] / seconds[0].values[round];
    }
    CM3_TRY(close_host(run, &p.host, status));
    bench_report_begin(run->report, "loop", "previews");
    bench_report_integer(run->report, "every_tokens", every * side);
    bench_report_integer(run->report, "threads", run->threads);
    parts = bench_times(&parts, 100);
    bench_report_samples(run->report, "slower", "% of a picture", &parts);
    bench_samples without = bench_times(&seconds[0], 1e3), with = bench_times(&seconds[1], 1e3);
    bench_report_samples(run->report, "without_ms", "ms", &without);
    bench_report_samples(run->report, "with_ms", "ms", &with);
    return bench_done(run);
}

cm3_status bench_loop(bench_run *run) {
    CM3_TRY(measure_frames(run));
    CM3_TRY(measure_polls(run));
    CM3_TRY(measure_previews(run));
    return measure_cancel(run, run->options.quick ? run->options.presets[0] : "cm3leon-350m");
}
