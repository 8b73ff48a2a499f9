/* A few rows times a matrix for AVX-512; bf16 is widened. */
#include <stdbool.h>

#include "nn/x86/vector_avx512.h"

#define FEW_STEP VEC_WIDTH
#define FEW_FETCH_ALONE 0
#define FEW_MOST 8
#define FEW_TILE(rows) ((rows) <= 6 ? 4 : 3)
#include "nn/x86/few_rows_wide.h"

#include "nn/x86/few_rows.inc"

FEW_SLOT(few_rows_f32, float, float, FEW_F32)
FEW_SLOT(few_rows_bf16, uint16_t, uint16_t, FEW_BF16)
FEW_SLOT(few_rows_mixed, float, uint16_t, FEW_MIXED)

void cm3_avx512_few_rows(cm3_kernels *kernels) {
    kernels->few_rows_f32 = few_rows_f32;
    kernels->few_rows_bf16 = few_rows_bf16;
    kernels->few_rows_mixed = few_rows_mixed;
}
