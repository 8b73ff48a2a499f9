/* What AVX2 overrides. */
#include "nn/x86/x86.h"

void cm3_kernels_avx2(cm3_kernels *kernels) {
    cm3_avx2_rows(kernels);
    cm3_avx2_few_rows(kernels);
    cm3_avx2_few_quantised(kernels);
    cm3_avx2_fixed(kernels);
    kernels->pack_tiles = NULL;
    kernels->tile_products = NULL;
    cm3_avx2_gathered(kernels);
    cm3_avx2_gemm(kernels);
    cm3_avx2_attention(kernels);
    cm3_avx2_maps(kernels);
}
