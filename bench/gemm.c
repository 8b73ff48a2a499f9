/*
 * Peaks of matrix products: of the cores themselves, in registers, and of every implementation of a whole product that
 * the library can use.
 */
#include <string.h>

#include "base/status.h"
#include "models.h"
#include "nn/onednn/onednn.h"
#include "nn/ops.h"
#include "reader.h"

/* --- in registers ---------------------------------------------------------------------------------------------- */

typedef struct registers {
    const char *name, *type;
    bench_flop_fn multiply;
    cm3_cpu_level level;
    double flops; /**< of one round */
} registers;

#ifdef CM3_X86
static const registers peaks[] = {
    {"avx2", "f32", bench_flop_avx2, CM3_CPU_AVX2, BENCH_FLOP_AVX2},
    {"avx512", "f32", bench_flop_avx512, CM3_CPU_AVX512, BENCH_FLOP_AVX512},
    {"avx512_bf16", "bf16", bench_flop_bf16, CM3_CPU_AVX512_BF16, BENCH_FLOP_BF16},
};

#define FLOP_ROUNDS ((int64_t)1 << 18)
#define BENCH_TEAM 64

typedef struct multiplying {
    const registers *by;
    cm3_team *team;
    volatile float sums[BENCH_TEAM];
} multiplying;

static void multiply_part(void *arg, int64_t begin, int64_t end, int member) {
    multiplying *m = arg;
    m->sums[member] = m->by->multiply((end - begin) * FLOP_ROUNDS);
}

static cm3_status multiply_all(void *arg) {
    multiplying *m = arg;
    cm3_parallel_for(m->team, cm3_team_size(m->team), 1, multiply_part, m);
    return CM3_OK;
}

static cm3_status measure_registers(bench_run *run) {
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        if (peaks[i].level > cm3_context_cpu(run->context)) continue;
        multiplying m = {.by = &peaks[i], .team = cm3_context_team(run->context)};
        bench_samples seconds;
        CM3_TRY(bench_rounds(&run->options, multiply_all, &m, &seconds));
        bench_samples rates = bench_rates(&seconds, peaks[i].flops * (double)FLOP_ROUNDS * run->threads / 1e9);
        bench_report_begin(run->report, "limits", "registers");
        bench_report_text(run->report, "compute", peaks[i].type);
        bench_report_text(run->report, "by", peaks[i].name);
        bench_report_integer(run->report, "threads", run->threads);
        bench_report_samples(run->report, "gflops", "GFLOP/s", &rates);
        CM3_TRY(bench_done(run));
    }
    return CM3_OK;
}

#define NOW_ROUNDS 3

cm3_status bench_multiply_now(bench_run *run, bool alone, double *f32, double *bf16) {
    *f32 = *bf16 = 0;
    for (size_t i = 0; i < sizeof peaks / sizeof *peaks; i++) {
        if (peaks[i].level > cm3_context_cpu(run->context)) continue;
        multiplying m = {.by = &peaks[i], .team = alone ? NULL : cm3_context_team(run->context)};
        bench_samples rates = {.count = 0};
        while (rates.count < NOW_ROUNDS) {
            const double start = bench_seconds(alone);
            CM3_TRY(multiply_all(&m));
            const double flops = peaks[i].flops * (double)FLOP_ROUNDS * cm3_team_size(m.team);
            rates.values[rates.count++] = flops / 1e9 / (bench_seconds(alone) - start);
        }
        double *best = !strcmp(peaks[i].type, "bf16") ? bf16 : f32;
        if (bench_median(&rates) > *best) *best = bench_median(&rates);
    }
    return CM3_OK;
}
#else
static cm3_status measure_registers(bench_run *run) {
    (void)run;
    return CM3_OK;
}

cm3_status bench_multiply_now(bench_run *run, bool alone, double *f32, double *bf16) {
    (void)run;
    (void)alone;
    *f32 = *bf16 = 0;
    return CM3_OK;
}
#endif

/* --- whole products -------------------------------------------------------------------------------------------- */

typedef struct product {
    cm3_graph *graph;
    int64_t m, n, k;
    cm3_tensor x, w; /**< x [m, k]; w [n, k] as a layer's, or [k, n] */
    float *y;
    cm3_dtype dtype;
    bool transposed;
} product;

/** As a layer does it: rounding of x where it is needed, threads and all. */
static cm3_status by_linear(void *arg) {
    product *p = arg;
    cm3_graph_reset(p->graph);
    cm3_nn_linear(p->graph, &p->x, &p->w, NULL);
    return cm3_graph_status(p->graph);
}

static cm3_status by_onednn(void *arg) {
    product *p = arg;
    const cm3_dnn_matmul_args args = {.batch = 1,
                                      .m = p->m,
                                      .n = p->n,
                                      .k = p->k,
                                      .ab_dtype = p->dtype,
                                      .c_dtype = CM3_F32,
                                      .trans_b = p->transposed,
                                      .a = p->x.data,
                                      .b = p->w.data,
                                      .c = p->y,
                                      .lda = p->k,
                                      .ldb = p->transposed ? p->k : p->n,
                                      .ldc = p->n};
    return cm3_dnn_matmul(p->graph->dnn, &args);
}

static void gemm_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const product *p = arg;
    const float *x = cm3_f32(&p->x) + begin * p->k;
    p->graph->kernels->gemm_f32(p->y + begin * p->n, p->n, x, p->k, 1, p->w.data, p->transposed ? 1 : p->n,
                                p->transposed ? p->k : 1, end - begin, p->n, p->k, false);
}

static cm3_status by_kernel(void *arg) {
    product *p = arg;
    cm3_parallel_for(p->graph->team, p->m, 8, gemm_rows, p);
    return CM3_OK;
}

typedef struct way {
    const char *name;
    bench_fn multiply;
    cm3_dtype dtype;
    bool transposed, onednn;
} way;

static const way ways[] = {
    {"layer", by_linear, CM3_F32, true, false},       {"layer", by_linear, CM3_BF16, true, false},
    {"oneDNN nt", by_onednn, CM3_F32, true, true},    {"oneDNN nt", by_onednn, CM3_BF16, true, true},
    {"oneDNN nn", by_onednn, CM3_F32, false, true},   {"oneDNN nn", by_onednn, CM3_BF16, false, true},
    {"gemm_f32 nt", by_kernel, CM3_F32, true, false}, {"gemm_f32 nn", by_kernel, CM3_F32, false, false},
};

static const int64_t shapes[][3] = {{2048, 2048, 2048}, {1024, 4096, 1024}, {1024, 1536, 6144}};

#define LARGEST ((size_t)1536 * 6144) /* numbers; no operand has more */

static cm3_status measure_product(bench_run *run, const way *by, const int64_t shape[3], product *p) {
    p->m = shape[0], p->n = shape[1], p->k = shape[2], p->dtype = by->dtype, p->transposed = by->transposed;
    /* A layer's rows are f32 and rounded on the way. */
    cm3_dtype rows = by->multiply == by_linear ? CM3_F32 : by->dtype;
    p->x = cm3_tensor_over(p->x.data, rows, 2, (const int64_t[]){p->m, p->k});
    p->w = cm3_tensor_over(p->w.data, by->dtype, 2, (const int64_t[]){p->n, p->k});
    uint32_t seed = 1;
    bench_fill(p->x.data, rows, (size_t)p->x.count, 0.5f, &seed);
    bench_fill(p->w.data, by->dtype, (size_t)p->w.count, 0.5f, &seed);
    bench_samples seconds;
    cm3_status status = bench_rounds(&run->options, by->multiply, p, &seconds);
    if (status == CM3_ERROR_UNSUPPORTED && by->onednn) return CM3_OK; /* it has none for this type here */
    CM3_TRY(status);
    bench_samples rates = bench_rates(&seconds, 2.0 * (double)p->m * (double)p->n * (double)p->k / 1e9);
    bench_raise(by->dtype == CM3_BF16 ? &run->bounds.gemm_bf16 : &run->bounds.gemm_f32, &rates);
    bench_report_begin(run->report, "limits", "gemm");
    bench_report_text(run->report, "compute", by->dtype == CM3_BF16 ? "bf16" : "f32");
    bench_report_text(run->report, "by", by->name);
    bench_report_integer(run->report, "m", p->m);
    bench_report_integer(run->report, "n", p->n);
    bench_report_integer(run->report, "k", p->k);
    bench_report_integer(run->report, "threads", run->threads);
    bench_report_samples(run->report, "gflops", "GFLOP/s", &rates);
    return bench_done(run);
}

static cm3_status measure_products(bench_run *run, product *p) {
    size_t count = run->options.quick ? 1 : sizeof shapes / sizeof *shapes;
    cm3_graph *graphs[2] = {NULL, NULL};
    cm3_status status = CM3_OK;
    for (int i = 0; i < 2 && status == CM3_OK; i++) {
        const cm3_graph_options options = {.compute = i ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32};
        status = cm3_graph_create(run->context, &options, &graphs[i]);
    }
    for (size_t i = 0; i < sizeof ways / sizeof *ways && status == CM3_OK; i++) {
        p->graph = graphs[ways[i].dtype == CM3_BF16];
        if (ways[i].onednn && !p->graph->dnn) continue;
        for (size_t j = 0; j < count && status == CM3_OK; j++) status = measure_product(run, &ways[i], shapes[j], p);
    }
    cm3_graph_destroy(graphs[0]);
    cm3_graph_destroy(graphs[1]);
    return status;
}

static cm3_status report_peak(bench_run *run, const char *compute, const bench_samples *peak) {
    bench_report_begin(run->report, "limits", "gemm_peak");
    bench_report_text(run->report, "compute", compute);
    bench_report_integer(run->report, "threads", run->threads);
    bench_report_samples(run->report, "gflops", "GFLOP/s", peak);
    return bench_done(run);
}

cm3_status bench_gemm(bench_run *run) {
    CM3_TRY(measure_registers(run));
    float *memory = cm3_alloc(run->context, 3 * LARGEST * sizeof *memory);
    if (!memory) return cm3_fail_memory(run->context, 3 * LARGEST * sizeof *memory, "limits");
    product p = {.x = {.data = memory}, .w = {.data = memory + LARGEST}, .y = memory + 2 * LARGEST};
    cm3_status status = measure_products(run, &p);
    cm3_free(run->context, memory);
    CM3_TRY(status);
    CM3_TRY(report_peak(run, "f32", &run->bounds.gemm_f32));
    return report_peak(run, "bf16", &run->bounds.gemm_bf16);
}
