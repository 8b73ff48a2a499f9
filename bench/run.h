/* A run of the benchmarks, and its sections. Sections run on the compute thread. */
#ifndef BENCH_RUN_H
#define BENCH_RUN_H

#include "base/context.h"
#include "report.h"

/** What this machine can do, measured in this run; no rounds: not measured yet. */
typedef struct bench_bounds {
    bench_samples read;                /**< GB/s, all threads */
    bench_samples gemm_f32, gemm_bf16; /**< GFLOP/s */
} bench_bounds;

typedef struct bench_run {
    bench_options options;
    cm3_context *context;
    int threads;
    bench_report *report;
    bench_bounds bounds;
} bench_run;

/** Prints the result at hand. */
cm3_status bench_done(bench_run *run);

/** Measures once in a run; later calls do nothing. */
cm3_status bench_limits(bench_run *run);
cm3_status bench_kernels(bench_run *run);
cm3_status bench_lm(bench_run *run);
cm3_status bench_vq(bench_run *run);
cm3_status bench_train(bench_run *run);
cm3_status bench_loss(bench_run *run);
cm3_status bench_start(bench_run *run);
cm3_status bench_loop(bench_run *run);
cm3_status bench_bank(bench_run *run);
cm3_status bench_bank_graph(bench_run *run);

/** How fast all threads together read memory at this moment: the best of all readers, medians of a few times. What a
 * machine shares with others changes from minute to minute. */
cm3_status bench_read_now(bench_run *run, double *gb_per_second);
/** The same; `alone`: by one thread, of the time that it computes. */
cm3_status bench_read_by(bench_run *run, bool alone, double *gb_per_second);
/** How much the cores multiply in registers at this moment, all or (in the same way) one, GFLOP/s; 0 where nobody
 * knows. */
cm3_status bench_multiply_now(bench_run *run, bool alone, double *f32, double *bf16);

/** Parts of the limits. */
cm3_status bench_bandwidth(bench_run *run);
cm3_status bench_gemm(bench_run *run);

#endif
