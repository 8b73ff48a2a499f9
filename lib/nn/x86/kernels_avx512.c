/* What AVX-512 overrides. */
#include "nn/x86/x86.h"

void cm3_kernels_avx512(cm3_kernels *kernels) {
    /* Vectors of 16 floats do as many products as AVX2's integers, without packing. */
    kernels->fix_rows = NULL;
    kernels->fixed_products = NULL;
    cm3_avx512_rows(kernels);
    cm3_avx512_few_rows(kernels);
    cm3_avx512_gemm(kernels);
    cm3_avx512_attention(kernels);
    cm3_avx512_maps(kernels);
}
