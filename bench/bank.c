/*
 * The memory bank: appending, opening, exact search. Records have texts of 200 bytes and vectors as an encoder makes
 * them (vector_data.h); a search is set against what memory gives and the cores multiply at that moment.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cm3leon/bank.h"
#include "models.h"
#include "vector_data.h"

#define SEED 1
#define BATCH 1000 /* records appended by one call */
#define TEXT 200   /* bytes */
#define QUERIES 1024
#define MOST_TOGETHER 32
#define K 10

static const struct {
    cm3_vector_type type;
    const char *name;
    size_t bytes; /**< of 32 numbers, scales included */
} types[] = {{CM3_VECTORS_BF16, "bf16", 64}, {CM3_VECTORS_F32, "f32", 128}, {CM3_VECTORS_INT8, "int8", 34}};
#define TYPES (sizeof types / sizeof *types)

typedef struct bank_bench {
    bench_run *run;
    int64_t count, dimension;
    bench_vector_data data;
    float *vectors; /**< [BATCH, dimension] */
    float *queries; /**< [QUERIES, dimension] */
    char (*texts)[TEXT + 1];
    cm3_bank_record *records; /**< [BATCH] */
} bank_bench;

/* --- records -------------------------------------------------------------------------------------------------------
 */

typedef struct making {
    const bench_vector_data *data;
    cm3_team *team;
    uint64_t first;
    int64_t count;
    float *to;
} making;

static void make_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const making *m = arg;
    bench_vectors(m->data, m->first + (uint64_t)begin, end - begin, m->to + begin * m->data->dimension);
}

static cm3_status make_all(void *arg) {
    making *m = arg;
    cm3_parallel_for(m->team, m->count, 16, make_range, m);
    return CM3_OK;
}

/** Vectors number first.., made by all threads. */
static cm3_status make_vectors(const bank_bench *b, uint64_t first, int64_t count, float *to) {
    making m = {&b->data, cm3_context_team(b->run->context), first, count, to};
    return cm3_context_run(b->run->context, make_all, &m);
}

static void make_text(uint64_t number, char *text) {
    static const char words[] = "a large red circle at the top left and a small blue star in the center on sand, ";
    const int length = snprintf(text, TEXT + 1, "record %llu: ", (unsigned long long)number);
    for (int i = length; i < TEXT; i++) text[i] = words[(size_t)(i - length) % (sizeof words - 1)];
    text[TEXT] = '\0';
}

/** Records first.. into b->records. */
static cm3_status make_batch(const bank_bench *b, int64_t first, int64_t count) {
    CM3_TRY(make_vectors(b, (uint64_t)first, count, b->vectors));
    for (int64_t i = 0; i < count; i++) {
        make_text((uint64_t)(first + i), b->texts[i]);
        b->records[i] = (cm3_bank_record){
            .struct_size = sizeof *b->records, .text = b->texts[i], .vector = b->vectors + i * b->dimension};
    }
    return CM3_OK;
}

/* --- banks ---------------------------------------------------------------------------------------------------------
 */

/** Appends all; the rates of as many stretches as there are rounds. */
static cm3_status append_all(const bank_bench *b, cm3_bank *bank, bool sync, bench_samples *rates) {
    cm3_bank_add_options options;
    cm3_bank_add_options_init(&options);
    options.sync = sync;
    const int64_t batches = (b->count + BATCH - 1) / BATCH;
    const int64_t rounds = batches < b->run->options.rounds ? batches : b->run->options.rounds;
    double seconds = 0;
    int64_t records = 0;
    rates->count = 0;
    for (int64_t i = 0; i < batches; i++) {
        const int64_t left = b->count - i * BATCH, count = left < BATCH ? left : BATCH;
        CM3_TRY(make_batch(b, i * BATCH, count));
        const uint64_t start = cm3_clock_ns();
        CM3_TRY(cm3_bank_add(bank, b->records, (size_t)count, &options, NULL));
        seconds += cm3_clock_since(start);
        records += count;
        if ((i + 1) * rounds / batches == i * rounds / batches) continue;
        rates->values[rates->count++] = (double)records / seconds;
        seconds = 0;
        records = 0;
    }
    return CM3_OK;
}

static cm3_status bank_path(const bank_bench *b, const char *type, char *path, size_t size) {
    char name[64];
    snprintf(name, sizeof name, "bank-%s-%lldx%lld.bank", type, (long long)b->count, (long long)b->dimension);
    return bench_file_path(b->run, name, path, size);
}

/** A bank of all vectors at `path`, made anew. */
static cm3_status make_bank(const bank_bench *b, cm3_vector_type type, const char *path, bool sync,
                            bench_samples *rates) {
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.vectors = type;
    options.dimension = (int32_t)b->dimension;
    cm3_bank *bank;
    unlink(path);
    CM3_TRY(cm3_bank_create(b->run->context, path, &options, &bank));
    cm3_status status = append_all(b, bank, sync, rates);
    cm3_bank_destroy(bank);
    if (status != CM3_OK) unlink(path);
    return status;
}

/** Whether an earlier run has made it, to its end. */
static bool is_made(const bank_bench *b, const char *path) {
    cm3_bank *bank;
    cm3_bank_info info = {.struct_size = sizeof info};
    if (access(path, R_OK) != 0 || cm3_bank_open(b->run->context, path, CM3_BANK_READ, &bank) != CM3_OK) return false;
    const bool whole = cm3_bank_get_info(bank, &info) == CM3_OK && info.records == (uint64_t)b->count;
    cm3_bank_destroy(bank);
    return whole;
}

static void begin(const bank_bench *b, const char *name, const char *type) {
    bench_report_begin(b->run->report, "bank", name);
    bench_report_text(b->run->report, "type", type);
    bench_report_integer(b->run->report, "vectors", b->count);
    bench_report_integer(b->run->report, "dimension", b->dimension);
}

static cm3_status measure_append(const bank_bench *b, const char *path) {
    bench_samples rates;
    CM3_TRY(make_bank(b, CM3_VECTORS_BF16, path, true, &rates));
    begin(b, "append", "bf16");
    bench_report_integer(b->run->report, "batch", BATCH);
    bench_report_samples(b->run->report, "records_per_second", "records/s", &rates);
    return bench_done(b->run);
}

typedef struct opening {
    cm3_context *context;
    const char *path;
} opening;

static cm3_status open_once(void *arg) {
    const opening *o = arg;
    cm3_bank *bank;
    CM3_TRY(cm3_bank_open(o->context, o->path, CM3_BANK_READ, &bank));
    cm3_bank_destroy(bank);
    return CM3_OK;
}

static cm3_status measure_open(const bank_bench *b, const char *type, const char *path) {
    opening o = {b->run->context, path};
    bench_samples seconds;
    CM3_TRY(bench_rounds(&b->run->options, open_once, &o, &seconds));
    const bench_samples milliseconds = bench_times(&seconds, 1e3);
    begin(b, "open", type);
    bench_report_samples(b->run->report, "ms", "ms", &milliseconds);
    return bench_done(b->run);
}

/* --- search --------------------------------------------------------------------------------------------------------
 */

typedef struct searching {
    const bank_bench *b;
    cm3_bank *bank;
    size_t together, next; /**< queries of a call; the first of the next */
    bool alone;
    double bandwidth, peak_f32, peak_bf16; /**< of this moment */
} searching;

static cm3_status search_once(void *arg) {
    searching *s = arg;
    cm3_hit hits[MOST_TOGETHER * K];
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = K;
    const float *queries = s->b->queries + (int64_t)s->next * s->b->dimension;
    s->next = (s->next + s->together) % QUERIES;
    return cm3_bank_search(s->bank, queries, s->together, &options, hits, NULL);
}

static cm3_status look_at_machine(void *arg) {
    searching *s = arg;
    CM3_TRY(bench_read_by(s->b->run, s->alone, &s->bandwidth));
    return bench_multiply_now(s->b->run, s->alone, &s->peak_f32, &s->peak_bf16);
}

/** Seconds of a call: by one thread those that it computes. */
static cm3_status search_round(searching *s, double *seconds) {
    const double least = s->b->run->options.seconds, start = bench_seconds(s->alone);
    const uint64_t passed = cm3_clock_ns();
    int runs = 0;
    do {
        CM3_TRY(search_once(s));
        runs++;
    } while (cm3_clock_since(passed) < least);
    *seconds = (bench_seconds(s->alone) - start) / runs;
    return CM3_OK;
}

static cm3_status measure_search(const bank_bench *b, size_t type, cm3_bank *bank, size_t together, int threads) {
    bench_run *run = b->run;
    searching s = {.b = b, .bank = bank, .together = together, .alone = threads == 1};
    bench_samples queries = {.count = 0}, read = queries, share = queries, flops = queries, f32 = queries;
    bench_samples bf16 = queries;
    const double bytes = (double)b->count * (double)b->dimension * (double)types[type].bytes / 32 / 1e9;
    const double work = 2.0 * (double)b->count * (double)b->dimension * (double)together / 1e9;
    CM3_TRY(search_once(&s)); /* warm */
    for (int i = 0; i < run->options.rounds; i++) {
        double seconds;
        CM3_TRY(cm3_context_run(run->context, look_at_machine, &s));
        CM3_TRY(search_round(&s, &seconds));
        queries.values[queries.count++] = (double)together / seconds;
        read.values[read.count++] = bytes / seconds;
        share.values[share.count++] = bytes / seconds / s.bandwidth;
        flops.values[flops.count++] = work / seconds;
        if (s.peak_f32 > 0) f32.values[f32.count++] = work / seconds / s.peak_f32;
        if (s.peak_bf16 > 0) bf16.values[bf16.count++] = work / seconds / s.peak_bf16;
    }
    begin(b, "search", types[type].name);
    bench_report_integer(run->report, "queries", (int64_t)together);
    bench_report_integer(run->report, "threads", threads);
    bench_report_samples(run->report, "queries_per_second", "queries/s", &queries);
    bench_report_samples(run->report, "gb_per_second", "GB/s", &read);
    bench_report_samples(run->report, "of_bandwidth", "of bandwidth", &share);
    bench_report_samples(run->report, "gflops", "GFLOP/s", &flops);
    if (f32.count) bench_report_samples(run->report, "of_f32_peak", "of f32 peak", &f32);
    if (bf16.count) bench_report_samples(run->report, "of_bf16_peak", "of bf16 peak", &bf16);
    return bench_done(run);
}

/** By a context of so many threads. */
static cm3_status measure_threads(const bank_bench *b, size_t type, const char *path, int threads) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    cm3_context *context;
    cm3_bank *bank;
    if (cm3_context_create(&options, &context) != CM3_OK) return cm3_fail_memory(b->run->context, 0, "threads");
    cm3_status status = cm3_bank_open(context, path, CM3_BANK_READ, &bank);
    for (size_t together = 1; status == CM3_OK && together <= MOST_TOGETHER; together *= MOST_TOGETHER) {
        status = measure_search(b, type, bank, together, threads);
    }
    if (status != CM3_OK) {
        char message[512];
        snprintf(message, sizeof message, "%s", cm3_context_message(context));
        if (*message) cm3_fail(b->run->context, status, "%s", message);
    }
    cm3_bank_destroy(bank);
    cm3_context_destroy(context);
    return status;
}

static cm3_status measure_type(const bank_bench *b, size_t type) {
    char path[4200];
    CM3_TRY(bank_path(b, types[type].name, path, sizeof path));
    bench_samples rates;
    if (types[type].type == CM3_VECTORS_INT8 && b->dimension % 32) return CM3_OK;
    if (types[type].type == CM3_VECTORS_BF16) {
        CM3_TRY(measure_append(b, path));
    } else if (!is_made(b, path)) {
        CM3_TRY(make_bank(b, types[type].type, path, false, &rates));
    }
    CM3_TRY(measure_open(b, types[type].name, path));
    CM3_TRY(measure_threads(b, type, path, 1));
    return b->run->threads > 1 ? measure_threads(b, type, path, b->run->threads) : CM3_OK;
}

/* --- the same vectors for others ------------------------------------------------------------------------------------
 */

/** A file of NumPy's, f32 [rows, dimension]. */
static cm3_status write_npy(const bank_bench *b, const char *name, uint64_t first, int64_t rows) {
    char path[4200], head[129], shape[118];
    cm3_status status = CM3_OK;
    if (snprintf(path, sizeof path, "%s/%s", b->run->options.npy, name) >= (int)sizeof path) {
        return cm3_fail(b->run->context, CM3_ERROR_INVALID_ARGUMENT, "--npy: the path is too long");
    }
    FILE *file = fopen(path, "wb");
    if (!file) return cm3_fail(b->run->context, CM3_ERROR_IO, "%s: cannot be written", path);
    snprintf(shape, sizeof shape, "{'descr': '<f4', 'fortran_order': False, 'shape': (%lld, %lld), }", (long long)rows,
             (long long)b->dimension);
    /* Version 1.0: the length of what follows in two bytes; in all 128. */
    snprintf(head, sizeof head, "%cNUMPY%c%c%c%c%-117s\n", 0x93, 1, '0', 118, '0', shape);
    head[7] = head[9] = 0;
    bool written = fwrite(head, 1, 128, file) == 128;
    for (int64_t at = 0; at < rows && written && status == CM3_OK; at += BATCH) {
        const int64_t count = rows - at < BATCH ? rows - at : BATCH;
        status = make_vectors(b, first + (uint64_t)at, count, b->vectors);
        const size_t numbers = (size_t)(count * b->dimension);
        written = status != CM3_OK || fwrite(b->vectors, sizeof(float), numbers, file) == numbers;
    }
    if (fclose(file) != 0 || !written) return cm3_fail(b->run->context, CM3_ERROR_IO, "%s: cannot be written", path);
    return status;
}

/* --- all of it -----------------------------------------------------------------------------------------------------
 */

static cm3_status create(bank_bench *b) {
    cm3_context *context = b->run->context;
    CM3_TRY(bench_vector_data_make(context, b->dimension, SEED, &b->data));
    b->vectors = cm3_calloc(context, BATCH, (size_t)b->dimension * sizeof *b->vectors);
    b->queries = cm3_calloc(context, QUERIES, (size_t)b->dimension * sizeof *b->queries);
    b->texts = cm3_calloc(context, BATCH, sizeof *b->texts);
    b->records = cm3_calloc(context, BATCH, sizeof *b->records);
    if (!b->vectors || !b->queries || !b->texts || !b->records) return cm3_fail_memory(context, 0, "bank");
    return make_vectors(b, BENCH_QUERIES_FROM, QUERIES, b->queries);
}

static void destroy(bank_bench *b) {
    cm3_context *context = b->run->context;
    bench_vector_data_clear(context, &b->data);
    cm3_free(context, b->vectors);
    cm3_free(context, b->queries);
    cm3_free(context, b->texts);
    cm3_free(context, b->records);
}

cm3_status bench_bank(bench_run *run) {
    if (!run->options.section_count) return CM3_OK; /* asked for by name */
    bank_bench b = {.run = run, .count = run->options.vectors, .dimension = run->options.dimension};
    if (!b.count) b.count = run->options.quick ? 20000 : 1000000;
    if (!b.dimension) b.dimension = 512;
    cm3_status status = create(&b);
    if (run->options.npy) {
        if (status == CM3_OK) status = write_npy(&b, "vectors.npy", 0, b.count);
        if (status == CM3_OK) status = write_npy(&b, "queries.npy", BENCH_QUERIES_FROM, QUERIES);
    } else {
        for (size_t i = 0; i < TYPES && status == CM3_OK; i++) status = measure_type(&b, i);
    }
    destroy(&b);
    return status;
}
