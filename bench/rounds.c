/* Measured rounds. */
#include "rounds.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/status.h"

double bench_seconds(bool computed) {
    struct timespec now;
    clock_gettime(computed ? CLOCK_PROCESS_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

cm3_status bench_rounds(const bench_options *options, bench_fn fn, void *arg, bench_samples *seconds) {
    seconds->count = 0;
    CM3_TRY(fn(arg));
    while (seconds->count < options->rounds) {
        uint64_t start = cm3_clock_ns();
        double passed;
        int runs = 0;
        do {
            CM3_TRY(fn(arg));
            runs++;
            passed = cm3_clock_since(start);
        } while (passed < options->seconds);
        seconds->values[seconds->count++] = passed / runs;
    }
    return CM3_OK;
}

bench_samples bench_rates(const bench_samples *seconds, double amount) {
    bench_samples rates = {.count = seconds->count};
    for (int i = 0; i < rates.count; i++) rates.values[i] = amount / seconds->values[i];
    return rates;
}

bench_samples bench_times(const bench_samples *seconds, double factor) {
    bench_samples times = {.count = seconds->count};
    for (int i = 0; i < times.count; i++) times.values[i] = factor * seconds->values[i];
    return times;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double bench_quantile(const bench_samples *samples, double part) {
    if (samples->count == 0) return 0;
    bench_samples sorted = *samples;
    qsort(sorted.values, (size_t)sorted.count, sizeof *sorted.values, by_value);
    double place = part * (sorted.count - 1);
    int below = (int)place;
    if (below + 1 >= sorted.count) return sorted.values[sorted.count - 1];
    return sorted.values[below] + (place - below) * (sorted.values[below + 1] - sorted.values[below]);
}

double bench_median(const bench_samples *samples) {
    return bench_quantile(samples, 0.5);
}

void bench_raise(bench_samples *best, const bench_samples *samples) {
    if (bench_median(samples) > bench_median(best)) *best = *samples;
}

double bench_spread(const bench_samples *samples) {
    double median = bench_median(samples);
    return median > 0 ? (bench_quantile(samples, 0.9) - bench_quantile(samples, 0.1)) / median : 0;
}
