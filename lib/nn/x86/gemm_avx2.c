/* The matrix product for AVX2: tiles of 4 x 16. */
#include "nn/x86/vector_avx2.h"
#include "nn/x86/x86.h"

#define CM3_MR 4
#define CM3_NR 16
#define CM3_KC 256
#define CM3_NC 256
#define CM3_GEMM gemm_f32

#include "nn/x86/gemm_tile.h"

#include "nn/ref/gemm.inc"

void cm3_avx2_gemm(cm3_kernels *kernels) {
    kernels->gemm_f32 = gemm_f32;
}
