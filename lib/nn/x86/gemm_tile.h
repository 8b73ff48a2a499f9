/* The micro-kernel of ref/gemm.inc in vectors, two to a row of the tile. Needs the vectors and CM3_MR, CM3_NR before.
 */
#ifndef CM3_NN_X86_GEMM_TILE_H
#define CM3_NN_X86_GEMM_TILE_H

#include <stdbool.h>

static void tile(float *c, int64_t ldc, const float *a, const float *b, int64_t k, bool accumulate) {
    vec sums[CM3_MR][2];
    VEC_UNROLL
    for (int i = 0; i < CM3_MR; i++) sums[i][0] = sums[i][1] = vec_zero();
    for (int64_t p = 0; p < k; p++, a += CM3_MR, b += CM3_NR) {
        vec left = vec_load(b), right = vec_load(b + VEC_WIDTH);
        VEC_UNROLL
        for (int i = 0; i < CM3_MR; i++) {
            vec value = vec_all(a[i]);
            sums[i][0] = vec_fma(value, left, sums[i][0]);
            sums[i][1] = vec_fma(value, right, sums[i][1]);
        }
    }
    VEC_UNROLL
    for (int i = 0; i < CM3_MR; i++) {
        float *to = c + i * ldc;
        vec_store(to, accumulate ? vec_add(vec_load(to), sums[i][0]) : sums[i][0]);
        vec_store(to + VEC_WIDTH, accumulate ? vec_add(vec_load(to + VEC_WIDTH), sums[i][1]) : sums[i][1]);
    }
}

#endif
