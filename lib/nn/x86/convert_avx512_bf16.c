/*
 * f32 to bf16 by the CPU's own conversion: to nearest even, as everywhere, but subnormal numbers become 0 of their
 * sign.
 */
#include <immintrin.h>

#include "nn/x86/x86.h"

static void f32_to_bf16(uint16_t *to, const float *from, int64_t count) {
    int64_t i = 0;
    for (; i + 32 <= count; i += 32) {
        __m512 low = _mm512_loadu_ps(from + i), high = _mm512_loadu_ps(from + i + 16);
        _mm512_storeu_si512(to + i, (__m512i)_mm512_cvtne2ps_pbh(high, low));
    }
    for (; i < count; i += 16) {
        __mmask16 mask = count - i >= 16 ? 0xffff : (__mmask16)((1u << (count - i)) - 1);
        __m256bh rounded = _mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask, from + i));
        _mm256_mask_storeu_epi16(to + i, mask, (__m256i)rounded);
    }
}

void cm3_avx512_bf16_convert(cm3_kernels *kernels) {
    kernels->f32_to_bf16 = f32_to_bf16;
}
