/* Graphs of the memory bank: how long building takes, and how fast and how well they find. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cm3leon/bank.h"
#include "run.h"
#include "vector_data.h"

#define K 10
#define QUERIES 1000
#define TOGETHER 4096 /* records that are added at once */
#define SEED 7

static const int32_t efs[] = {16, 24, 32, 48, 64, 96, 128, 256};
#define EFS ((int)(sizeof efs / sizeof *efs))

/** A bank, queries, and what is nearest to them. */
typedef struct graph_bench {
    bench_run *run;
    cm3_context *one; /**< of one thread */
    cm3_bank *bank;
    int64_t vectors, dimension;
    float *queries;
    cm3_hit *exact, *hits;
    cm3_search_options options;
    size_t together; /**< queries of a call */
} graph_bench;

static cm3_status fill(graph_bench *b, cm3_bank *bank) {
    cm3_context *context = b->run->context;
    bench_vector_data data;
    cm3_status status = bench_vector_data_make(context, b->dimension, SEED, &data);
    float *vectors = cm3_calloc(context, TOGETHER, (size_t)b->dimension * sizeof *vectors);
    cm3_bank_record *records = cm3_calloc(context, TOGETHER, sizeof *records);
    char(*texts)[24] = cm3_calloc(context, TOGETHER, sizeof *texts);
    if (status == CM3_OK && (!vectors || !records || !texts)) status = CM3_ERROR_NO_MEMORY;
    cm3_bank_add_options options;
    cm3_bank_add_options_init(&options);
    options.sync = 0;
    for (int64_t at = 0; at < b->vectors && status == CM3_OK; at += TOGETHER) {
        const int64_t count = b->vectors - at < TOGETHER ? b->vectors - at : TOGETHER;
        bench_vectors(&data, (uint64_t)at, count, vectors);
        for (int64_t i = 0; i < count; i++) {
            snprintf(texts[i], sizeof texts[i], "%lld", (long long)(at + i));
            records[i] = (cm3_bank_record){
                .struct_size = sizeof *records, .text = texts[i], .vector = vectors + i * b->dimension};
        }
        status = cm3_bank_add(bank, records, (size_t)count, &options, NULL);
    }
    if (status == CM3_OK) bench_vectors(&data, BENCH_QUERIES_FROM, QUERIES, b->queries);
    cm3_free(context, vectors);
    cm3_free(context, records);
    cm3_free(context, texts);
    bench_vector_data_clear(context, &data);
    return status;
}

static cm3_status search_all(void *arg) {
    graph_bench *b = arg;
    for (size_t q = 0; q < QUERIES; q += b->together) {
        const size_t count = QUERIES - q < b->together ? QUERIES - q : b->together;
        CM3_TRY(cm3_bank_search(b->bank, b->queries + (int64_t)q * b->dimension, count, &b->options, b->hits + q * K,
                                NULL));
    }
    return CM3_OK;
}

static double recall(const graph_bench *b) {
    int found = 0;
    for (int q = 0; q < QUERIES; q++) {
        for (int i = 0; i < K; i++) {
            for (int j = 0; j < K; j++) found += b->hits[q * K + j].id == b->exact[q * K + i].id;
        }
    }
    return (double)found / (QUERIES * K);
}

static cm3_status build(graph_bench *b, const char *path) {
    cm3_bank *bank;
    CM3_TRY(cm3_bank_open(b->run->context, path, CM3_BANK_WRITE, &bank));
    cm3_bank_info before = {.struct_size = sizeof before}, after = before;
    cm3_bank_get_info(bank, &before);
    cm3_index_options options;
    cm3_index_options_init(&options);
    if (b->run->options.m) options.m = b->run->options.m;
    if (b->run->options.ef_construction) options.ef_construction = b->run->options.ef_construction;
    const uint64_t start = cm3_clock_ns();
    cm3_status status = cm3_bank_index(bank, &options);
    const double seconds = cm3_clock_since(start);
    if (status == CM3_OK) status = cm3_bank_get_info(bank, &after);
    cm3_bank_destroy(bank);
    CM3_TRY(status);
    if (after.indexed != after.end) {
        return cm3_fail(b->run->context, CM3_ERROR_INVALID_ARGUMENT, "%lld vectors: a graph wants more",
                        (long long)b->vectors);
    }
    bench_report *report = b->run->report;
    bench_report_begin(report, "hnsw", "build");
    bench_report_integer(report, "vectors", b->vectors);
    bench_report_integer(report, "dimension", b->dimension);
    bench_report_integer(report, "m", options.m);
    bench_report_integer(report, "ef_construction", options.ef_construction);
    bench_report_integer(report, "threads", b->run->threads);
    bench_report_number(report, "vectors_per_second", "vectors/s", (double)b->vectors / seconds);
    bench_report_number(report, "seconds", "s", seconds);
    bench_report_number(report, "bytes_per_vector", "bytes each",
                        (double)(after.bytes - before.bytes) / (double)b->vectors);
    return bench_done(b->run);
}

static cm3_status measure(graph_bench *b, const char *way) {
    bench_samples seconds;
    CM3_TRY(bench_rounds(&b->run->options, search_all, b, &seconds));
    const bench_samples rates = bench_rates(&seconds, QUERIES);
    bench_report *report = b->run->report;
    bench_report_begin(report, "hnsw", "search");
    bench_report_text(report, "way", way);
    bench_report_integer(report, "vectors", b->vectors);
    bench_report_integer(report, "dimension", b->dimension);
    bench_report_integer(report, "ef", b->options.ef);
    bench_report_integer(report, "together", (int64_t)b->together);
    bench_report_integer(report, "threads", 1);
    bench_report_samples(report, "queries_per_second", "queries/s", &rates);
    bench_report_number(report, "recall_at_10", "recall@10", recall(b));
    return bench_done(b->run);
}

/** With one thread: what is exact, then through the graph. */
static cm3_status search(graph_bench *b, const char *path) {
    cm3_context_options one;
    cm3_context_options_init(&one);
    one.threads = 1;
    CM3_TRY(cm3_context_create(&one, &b->one));
    cm3_status status = cm3_bank_open(b->one, path, CM3_BANK_READ, &b->bank);
    if (status != CM3_OK) return cm3_fail(b->run->context, status, "%s", cm3_context_message(b->one));
    cm3_search_options_init(&b->options);
    b->options.k = K;
    b->options.way = CM3_SEARCH_EXACT;
    b->together = QUERIES;
    CM3_TRY(search_all(b));
    memcpy(b->exact, b->hits, QUERIES * K * sizeof *b->hits);
    b->options.way = CM3_SEARCH_GRAPH;
    for (b->together = 1; b->together <= 32; b->together += 31) {
        for (int i = 0; i < EFS; i++) {
            b->options.ef = efs[i];
            CM3_TRY(measure(b, "graph"));
        }
    }
    return CM3_OK;
}

static cm3_status run_all(graph_bench *b, const char *path) {
    cm3_context *context = b->run->context;
    b->queries = cm3_calloc(context, QUERIES, (size_t)b->dimension * sizeof *b->queries);
    b->exact = cm3_calloc(context, QUERIES * K, sizeof *b->exact);
    b->hits = cm3_calloc(context, QUERIES * K, sizeof *b->hits);
    if (!b->queries || !b->exact || !b->hits) return cm3_fail_memory(context, QUERIES * K * sizeof *b->hits, "hnsw");
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.dimension = (int32_t)b->dimension;
    cm3_bank *bank;
    CM3_TRY(cm3_bank_create(context, path, &options, &bank));
    cm3_status status = fill(b, bank);
    cm3_bank_destroy(bank);
    if (status == CM3_OK) status = build(b, path);
    if (status == CM3_OK) status = search(b, path);
    return status;
}

cm3_status bench_bank_graph(bench_run *run) {
    const bench_options *o = &run->options;
    if (!o->section_count) return CM3_OK; /* a run of everything */
    graph_bench b = {.run = run,
                     .vectors = o->vectors ? o->vectors
                                : o->quick ? 20000
                                           : 1000000,
                     .dimension = o->dimension ? o->dimension : 512};
    const char *temporary = getenv("TMPDIR");
    char path[4096];
    snprintf(path, sizeof path, "%.4000s/cm3-bench-hnsw-%ld.bank", temporary && *temporary ? temporary : "/tmp",
             (long)getpid());
    cm3_status status = run_all(&b, path);
    if (status != CM3_OK && b.one && *cm3_context_message(b.one)) {
        cm3_fail(run->context, status, "%s", cm3_context_message(b.one));
    }
    cm3_bank_destroy(b.bank);
    cm3_context_destroy(b.one);
    unlink(path);
    cm3_free(run->context, b.queries);
    cm3_free(run->context, b.exact);
    cm3_free(run->context, b.hits);
    return status;
}
