/*
 * A few rows of bf16 times a matrix of bf16 by the CPU's own products of pairs. They take subnormal numbers as 0 and
 * round once a pair.
 */
#include <stdbool.h>

#include "nn/x86/vector_avx512.h"

#define FEW_STEP (2 * VEC_WIDTH)
#define FEW_FETCH_ALONE 0
#define FEW_MOST 8
#define FEW_TILE(rows) ((rows) <= 6 ? 4 : 3)

typedef __m512i few_raw;

VEC_INLINE few_raw few_vector(const void *values, int64_t at, bool bf16) {
    (void)bf16;
    return _mm512_loadu_si512((const uint16_t *)values + at);
}

VEC_INLINE few_raw few_part(const void *values, int64_t at, bool bf16, int64_t n) {
    (void)bf16;
    return _mm512_maskz_loadu_epi16((__mmask32)((1ull << n) - 1), (const uint16_t *)values + at);
}

VEC_INLINE vec few_dot(few_raw a, few_raw b, vec sum) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
}

#include "nn/x86/few_rows.inc"

FEW_SLOT(few_rows_bf16, uint16_t, uint16_t, FEW_BF16)

void cm3_avx512_bf16_few_rows(cm3_kernels *kernels) {
    kernels->few_rows_bf16 = few_rows_bf16;
}
