/* What AVX-512 with BF16 overrides. */
#include "nn/x86/x86.h"

void cm3_kernels_avx512_bf16(cm3_kernels *kernels) {
    cm3_avx512_bf16_few_rows(kernels);
    cm3_avx512_bf16_few_quantised(kernels);
    cm3_avx512_bf16_gathered(kernels);
    cm3_avx512_bf16_many_quantised(kernels);
    cm3_avx512_bf16_convert(kernels);
    cm3_avx512_bf16_maps(kernels);
}
