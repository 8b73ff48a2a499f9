/* AVX-512 with bf16: products of pairs. */
#include <immintrin.h>

#include "reader.h"

float bench_flop_bf16(int64_t rounds) {
    __m512 sums[12];
    __m512bh a = (__m512bh)_mm512_set1_epi16(0x3c00), b = (__m512bh)_mm512_set1_epi16(0x3b80);
    for (int j = 0; j < 12; j++) sums[j] = _mm512_set1_ps((float)j);
    for (int64_t i = 0; i < rounds; i++) {
        for (int j = 0; j < 12; j++) sums[j] = _mm512_dpbf16_ps(sums[j], a, b);
    }
    for (int j = 1; j < 12; j++) sums[0] = _mm512_add_ps(sums[0], sums[j]);
    return _mm512_reduce_add_ps(sums[0]);
}
