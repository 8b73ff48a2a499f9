/* What AVX-512 overrides. */
#include "nn/x86/x86.h"

void cm3_kernels_avx512(cm3_kernels *kernels) {
    cm3_avx512_rows(kernels);
    cm3_avx512_few_rows(kernels);
    cm3_avx512_gemm(kernels);
    cm3_avx512_attention(kernels);
    cm3_avx512_maps(kernels);
}
