/* Products of one vector of integers with rows from here and there, portable. */
#include "nn/ref/ref.h"

#include "nn/ref/simd.h"

static void gathered_i8(int32_t *y, const int8_t *x, const int8_t *w, int64_t k, const uint32_t *rows, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        const int8_t *row = w + (int64_t)rows[i] * k;
        int32_t sum = 0;
#pragma omp simd reduction(+ : sum)
        for (int64_t j = 0; j < k; j++) sum += x[j] * row[j];
        y[i] = sum;
    }
}

void cm3_ref_gathered(cm3_kernels *kernels) {
    kernels->gathered_i8 = gathered_i8;
}
