/* The portable matrix product: tiles of 4 x 8 in vectors of four, which every machine of today has. */
#include "nn/ref/ref.h"

#include <string.h>

#define CM3_MR 4
#define CM3_NR 8
#define CM3_KC 256
#define CM3_NC 128
#define CM3_GEMM gemm_f32

typedef float cm3_four __attribute__((vector_size(16)));

static inline cm3_four load_four(const float *from) {
    cm3_four value;
    memcpy(&value, from, sizeof value);
    return value;
}

static inline void store_four(float *to, cm3_four value, bool accumulate) {
    if (accumulate) value += load_four(to);
    memcpy(to, &value, sizeof value);
}

static void tile(float *c, int64_t ldc, const float *a, const float *b, int64_t k, bool accumulate) {
    cm3_four c00 = {0}, c01 = {0}, c10 = {0}, c11 = {0}, c20 = {0}, c21 = {0}, c30 = {0}, c31 = {0};
    for (int64_t p = 0; p < k; p++, a += CM3_MR, b += CM3_NR) {
        cm3_four b0 = load_four(b), b1 = load_four(b + 4);
        c00 += a[0] * b0;
        c01 += a[0] * b1;
        c10 += a[1] * b0;
        c11 += a[1] * b1;
        c20 += a[2] * b0;
        c21 += a[2] * b1;
        c30 += a[3] * b0;
        c31 += a[3] * b1;
    }
    store_four(c, c00, accumulate);
    store_four(c + 4, c01, accumulate);
    store_four(c + ldc, c10, accumulate);
    store_four(c + ldc + 4, c11, accumulate);
    store_four(c + 2 * ldc, c20, accumulate);
    store_four(c + 2 * ldc + 4, c21, accumulate);
    store_four(c + 3 * ldc, c30, accumulate);
    store_four(c + 3 * ldc + 4, c31, accumulate);
}

#include "nn/ref/gemm.inc"

void cm3_ref_gemm(cm3_kernels *kernels) {
    kernels->gemm_f32 = gemm_f32;
}
