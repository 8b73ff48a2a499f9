/* Measured rounds: what is run over and over, how long it took, and what is made of the times. */
#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include "options.h"

/** One value a round. */
typedef struct bench_samples {
    double values[BENCH_ROUNDS];
    int count;
} bench_samples;

typedef cm3_status (*bench_fn)(void *arg);

/** Seconds: those that pass, or (`computed`) those that this process computes, in which what else the machine does
 * counts little. */
double bench_seconds(bool computed);

/** Runs `fn` once to warm it, then in rounds of at least options->seconds; seconds a run of each round. */
cm3_status bench_rounds(const bench_options *options, bench_fn fn, void *arg, bench_samples *seconds);

/** The same rounds as amount per second, and as another unit of time. */
bench_samples bench_rates(const bench_samples *seconds, double amount);
bench_samples bench_times(const bench_samples *seconds, double factor);

/** 0.5: the median; between two values, the straight line. */
double bench_quantile(const bench_samples *samples, double part);
double bench_median(const bench_samples *samples);
/** Takes `samples` where their median is the greater one. */
void bench_raise(bench_samples *best, const bench_samples *samples);
/** (p90 - p10) / median. */
double bench_spread(const bench_samples *samples);

#endif
