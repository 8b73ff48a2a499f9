/* AVX-512: reading, and multiplying with addition. */
#include <immintrin.h>

#include "reader.h"

uint64_t bench_read_avx512(const void *data, size_t size) {
    const __m512i *values = data;
    __m512i sums[8];
    for (int j = 0; j < 8; j++) sums[j] = _mm512_setzero_si512();
    for (size_t i = 0; i < size / sizeof *values; i += 8) {
        for (int j = 0; j < 8; j++) sums[j] = _mm512_add_epi64(sums[j], _mm512_load_si512(values + i + j));
    }
    for (int j = 1; j < 8; j++) sums[0] = _mm512_add_epi64(sums[0], sums[j]);
    return (uint64_t)_mm512_reduce_add_epi64(sums[0]);
}

float bench_flop_avx512(int64_t rounds) {
    __m512 sums[12], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
    for (int j = 0; j < 12; j++) sums[j] = _mm512_set1_ps((float)j);
    for (int64_t i = 0; i < rounds; i++) {
        for (int j = 0; j < 12; j++) sums[j] = _mm512_fmadd_ps(sums[j], a, b);
    }
    for (int j = 1; j < 12; j++) sums[0] = _mm512_add_ps(sums[0], sums[j]);
    return _mm512_reduce_add_ps(sums[0]);
}
