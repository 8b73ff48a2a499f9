/* The matrix product for AVX-512: tiles of 12 x 32. */
#include "nn/x86/vector_avx512.h"
#include "nn/x86/x86.h"

#define CM3_MR 12
#define CM3_NR 32
#define CM3_KC 256
#define CM3_NC 256
#define CM3_GEMM gemm_f32

#include "nn/x86/gemm_tile.h"

#include "nn/ref/gemm.inc"

void cm3_avx512_gemm(cm3_kernels *kernels) {
    kernels->gemm_f32 = gemm_f32;
}
