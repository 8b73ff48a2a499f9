/* Decoding and prefill of the language models, by preset, way of loading, number of sequences and depth. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/status.h"
#include "forward.h"
#include "models.h"

/* A round of decoding goes over so many positions again and again, so that a depth stays what it says. */
#define WINDOW 32

/** A model as it was loaded, and the memory it was loaded from. */
typedef struct loaded {
    cm3_model *model;
    void *memory;
} loaded;

/** What is measured: one model, one depth, so many sequences. */
typedef struct decoding {
    bench_forward *forward;
    int64_t depth, steps, positions; /**< positions that all steps attended, of one sequence */
} decoding;

typedef struct prefilling {
    bench_forward *forward;
    int64_t rows;
} prefilling;

static cm3_status read_file(cm3_context *context, const char *path, void **memory, size_t *size) {
    struct stat info;
    FILE *file = fopen(path, "rb");
    *memory = NULL;
    if (file && fstat(fileno(file), &info) == 0) {
        *size = (size_t)info.st_size;
        *memory = aligned_alloc(4096, (*size + 4095) / 4096 * 4096);
    }
    bool whole = *memory && fread(*memory, 1, *size, file) == *size;
    if (file) fclose(file);
    if (whole) return CM3_OK;
    free(*memory);
    *memory = NULL;
    return cm3_fail(context, CM3_ERROR_IO, "%s: cannot be read into memory", path);
}

static cm3_status load(cm3_context *context, const char *path, bench_load way, loaded *l) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.mode = way == BENCH_HUGE ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
    *l = (loaded){NULL, NULL};
    if (way != BENCH_MEMORY) return cm3_model_load(context, path, &options, &l->model);
    size_t size = 0;
    CM3_TRY(read_file(context, path, &l->memory, &size));
    return cm3_model_load_memory(context, l->memory, size, &options, &l->model);
}

static void unload(loaded *l) {
    cm3_model_destroy(l->model);
    free(l->memory);
}

/** Bytes of weights that a step reads: everything once; of tables that are only looked up, a row a sequence. */
static double weight_bytes(const cm3_lm *lm, int64_t sequences) {
    double bytes = 0;
    for (size_t i = 0; i < lm->parameter_count; i++) {
        const cm3_tensor *t = lm->parameters[i].tensor;
        bool looked_up = t == lm->positions || (t == lm->embed && lm->head != lm->embed);
        bytes += (double)cm3_tensor_bytes(t) * (looked_up ? (double)sequences / (double)t->shape[0] : 1.0);
    }
    return bytes;
}

/** Multiplications and additions of so many rows behind `depth` positions, logits of one. */
static double prefill_flops(const cm3_lm *lm, int64_t rows, int64_t depth) {
    double matrices = 0, pairs = (double)rows * (double)depth + (double)rows * (double)(rows + 1) / 2;
    for (size_t i = 0; i < lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &lm->parameters[i];
        bool layer = p->decay && p->tensor != lm->embed && p->tensor != lm->head && p->tensor != lm->positions;
        if (layer) matrices += (double)p->tensor->count;
    }
    return 2 * matrices * (double)rows + 2 * (double)lm->head->count +
           4 * pairs * lm->config.heads * lm->config.head_dim * lm->config.layers;
}

static void begin(bench_run *run, const char *name, const char *preset, bench_load way) {
    bench_report_begin(run->report, "lm", name);
    bench_report_text(run->report, "preset", preset);
    bench_report_text(run->report, "compute", bench_compute_name(run->options.compute));
    bench_report_text(run->report, "weights", bench_weights_name(run->options.weights));
    bench_report_text(run->report, "kv", bench_kv_name(run->options.kv));
    bench_report_text(run->report, "load", bench_load_name(way));
    bench_report_integer(run->report, "threads", run->threads);
}

static cm3_status decode_step(void *arg) {
    decoding *d = arg;
    int64_t at = d->steps % WINDOW;
    if (at == 0) bench_forward_set_depth(d->forward, d->depth);
    d->steps++;
    d->positions += d->depth + at + 1;
    return bench_forward_decode(d->forward);
}

/** Rounds, each beside the bandwidth that there is at that moment. */
static cm3_status decode_rounds(bench_run *run, decoding *d, bench_samples *seconds, bench_samples *bandwidth) {
    bench_options one = run->options;
    one.rounds = 1;
    seconds->count = bandwidth->count = 0;
    for (int i = 0; i < run->options.rounds; i++) {
        bench_samples round;
        CM3_TRY(bench_read_now(run, &bandwidth->values[bandwidth->count++]));
        CM3_TRY(bench_rounds(&one, decode_step, d, &round));
        seconds->values[seconds->count++] = round.values[0];
    }
    return CM3_OK;
}

static cm3_status measure_decode(bench_run *run, const cm3_lm *lm, const char *preset, bench_load way, int64_t depth,
                                 int64_t sequences) {
    decoding d = {.depth = depth};
    bench_samples seconds, bandwidth;
    CM3_TRY(bench_forward_create(run->context, lm, run->options.compute, run->options.kv, sequences, depth + WINDOW,
                                 &d.forward));
    cm3_status status = decode_rounds(run, &d, &seconds, &bandwidth);
    double weights = weight_bytes(lm, sequences), each = (double)bench_forward_position_bytes(d.forward);
    bench_forward_destroy(d.forward);
    CM3_TRY(status);
    double cache = each * (double)sequences * (double)d.positions / (double)d.steps;
    bench_samples total = bench_rates(&seconds, (double)sequences), one = bench_rates(&seconds, 1);
    bench_samples milliseconds = bench_times(&seconds, 1e3), read = bench_rates(&seconds, weights / 1e9);
    bench_samples all = bench_rates(&seconds, (weights + cache) / 1e9), share = read, all_share = all;
    for (int i = 0; i < seconds.count; i++) {
        share.values[i] /= bandwidth.values[i];
        all_share.values[i] /= bandwidth.values[i];
    }
    begin(run, "decode", preset, way);
    bench_report_integer(run->report, "sequences", sequences);
    bench_report_integer(run->report, "depth", depth);
    bench_report_samples(run->report, "tokens_per_second", "tok/s", &total);
    bench_report_number(run->report, "tokens_per_second_each", "tok/s each", bench_median(&one));
    bench_report_number(run->report, "ms_per_step", "ms/step", bench_median(&milliseconds));
    bench_report_number(run->report, "weight_megabytes", "MB weights", weights / 1e6);
    bench_report_number(run->report, "weights_gb_per_second", "GB/s weights", bench_median(&read));
    bench_report_samples(run->report, "of_read_bandwidth", "of bandwidth", &share);
    bench_report_number(run->report, "all_gb_per_second", "GB/s with KV", bench_median(&all));
    bench_report_number(run->report, "all_of_read_bandwidth", "of bandwidth with KV", bench_median(&all_share));
    return bench_done(run);
}

static cm3_status prefill_once(void *arg) {
    prefilling *p = arg;
    return bench_forward_prefill(p->forward, p->rows);
}

static cm3_status measure_prefill(bench_run *run, const cm3_lm *lm, const char *preset, bench_load way, int64_t depth) {
    prefilling p = {.rows = run->options.rows};
    bench_samples seconds;
    if (p.rows > lm->config.max_positions - depth) p.rows = lm->config.max_positions - depth;
    CM3_TRY(
        bench_forward_create(run->context, lm, run->options.compute, run->options.kv, 1, depth + p.rows, &p.forward));
    bench_forward_set_depth(p.forward, depth);
    cm3_status status = bench_rounds(&run->options, prefill_once, &p, &seconds);
    bench_forward_destroy(p.forward);
    CM3_TRY(status);
    bool bf16 = run->options.compute == CM3_COMPUTE_BF16;
    double flops = prefill_flops(lm, p.rows, depth);
    double peak = 1e9 * bench_median(bf16 ? &run->bounds.gemm_bf16 : &run->bounds.gemm_f32);
    bench_samples tokens = bench_rates(&seconds, (double)p.rows), milliseconds = bench_times(&seconds, 1e3);
    bench_samples rates = bench_rates(&seconds, flops / 1e9), share = bench_rates(&seconds, flops / peak);
    begin(run, "prefill", preset, way);
    bench_report_integer(run->report, "rows", p.rows);
    bench_report_integer(run->report, "depth", depth);
    bench_report_samples(run->report, "tokens_per_second", "tok/s", &tokens);
    bench_report_number(run->report, "ms", "ms", bench_median(&milliseconds));
    bench_report_number(run->report, "gflops", "GFLOP/s", bench_median(&rates));
    bench_report_number(run->report, "of_gemm_peak", "of gemm peak", bench_median(&share));
    return bench_done(run);
}

static cm3_status measure_model(bench_run *run, const cm3_lm *lm, const char *preset, bench_load way) {
    const bench_options *o = &run->options;
    for (int i = 0; i < o->depth_count; i++) {
        CM3_TRY(measure_prefill(run, lm, preset, way, o->depths[i]));
    }
    for (int i = 0; i < o->sequence_count; i++) {
        for (int j = 0; j < o->depth_count; j++) {
            CM3_TRY(measure_decode(run, lm, preset, way, o->depths[j], o->sequences[i]));
        }
    }
    return CM3_OK;
}

static cm3_status check_depths(bench_run *run, const char *preset) {
    cm3_lm_config config;
    CM3_TRY(bench_lm_config(run->context, preset, &config));
    for (int i = 0; i < run->options.depth_count; i++) {
        int64_t depth = run->options.depths[i];
        if (depth + WINDOW <= config.max_positions) continue;
        return cm3_fail(run->context, CM3_ERROR_INVALID_ARGUMENT,
                        "depth %lld and %d positions more are outside the context of %s, %d", (long long)depth, WINDOW,
                        preset, config.max_positions);
    }
    return CM3_OK;
}

cm3_status bench_lm(bench_run *run) {
    const bench_options *o = &run->options;
    for (int i = 0; i < o->preset_count; i++) CM3_TRY(check_depths(run, o->presets[i]));
    CM3_TRY(bench_limits(run));
    for (int i = 0; i < o->preset_count; i++) {
        char path[PATH_MAX];
        CM3_TRY(bench_lm_file(run, o->presets[i], o->weights, path, sizeof path));
        for (int j = 0; j < o->load_count; j++) {
            loaded l;
            cm3_status status = load(run->context, path, o->loads[j], &l);
            if (status == CM3_OK) status = measure_model(run, l.model->lm, o->presets[i], o->loads[j]);
            unload(&l);
            CM3_TRY(status);
        }
    }
    return CM3_OK;
}
