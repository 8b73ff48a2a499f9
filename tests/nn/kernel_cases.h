/*
 * What the tests of kernels share: every level of this machine in turn, random numbers, and comparison with values
 * computed in double. Buffers are allocated to the element, so that the address sanitizer sees a step beyond.
 */
#ifndef CM3_TESTS_NN_KERNEL_CASES_H
#define CM3_TESTS_NN_KERNEL_CASES_H

#include <check.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "nn/kernels.h"

#define KERNEL_LEVELS 5

/** The kernels of level i of KERNEL_LEVELS, NULL where this machine has them not. Tests run as loops over i. */
static inline const cm3_kernels *level_kernels(int i) {
    static const cm3_cpu_level levels[KERNEL_LEVELS] = {CM3_CPU_C, CM3_CPU_AVX2, CM3_CPU_AVX512, CM3_CPU_AVX512_BF16,
                                                        CM3_CPU_AMX};
    return levels[i] <= cm3_cpu_detect() ? cm3_kernels_get(levels[i]) : NULL;
}

typedef struct numbers_state {
    uint32_t state;
} numbers_state;

static inline uint32_t next_bits(numbers_state *numbers) {
    numbers->state = numbers->state * 1664525u + 1013904223u;
    uint32_t bits = numbers->state ^ (numbers->state >> 15);
    return bits * 2246822519u ^ bits >> 13;
}

/** Between -range and range. */
static inline float next_number(numbers_state *numbers, float range) {
    return ((float)(next_bits(numbers) >> 8) / 8388608.0f - 1.0f) * range;
}

static inline int64_t next_below(numbers_state *numbers, int64_t n) {
    return (int64_t)(next_bits(numbers) >> 4) % n;
}

/** A size: small and odd ones most often. */
static inline int64_t next_size(numbers_state *numbers) {
    static const int64_t sizes[] = {1,  2,  3,  4,  5,  7,  8,   9,   15,  16,  17, 31,
                                    32, 33, 48, 63, 64, 65, 100, 127, 128, 130, 257};
    return sizes[next_below(numbers, (int64_t)(sizeof sizes / sizeof *sizes))];
}

static inline void *block(size_t size) {
    void *memory = malloc(size ? size : 1);
    ck_assert_ptr_nonnull(memory);
    return memory;
}

static inline float *some(numbers_state *numbers, int64_t count, float range) {
    float *values = block((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = next_number(numbers, range);
    return values;
}

static inline float *copy_of(const float *from, int64_t count) {
    float *values = block((size_t)count * sizeof *values);
    memcpy(values, from, (size_t)count * sizeof *values);
    return values;
}

static inline uint16_t *rounded(const float *from, int64_t count) {
    uint16_t *values = block((size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++) values[i] = cm3_f32_to_bf16(from[i]);
    return values;
}

/** Fails unless |value - expected| <= tolerance max(1, |expected|). */
static inline void expect(const cm3_kernels *kernels, const char *what, int64_t place, double value, double expected,
                          double tolerance) {
    double scale = fabs(expected) > 1.0 ? fabs(expected) : 1.0;
    if (value == expected || fabs(value - expected) <= tolerance * scale) return;
    ck_abort_msg("%s (%s) at %lld: %.9g, expected %.9g", what, kernels->name, (long long)place, value, expected);
}

#endif
