/* AVX2: reading, and multiplying with addition. */
#include <immintrin.h>

#include "reader.h"

uint64_t bench_read_avx2(const void *data, size_t size) {
    const __m256i *values = data;
    __m256i sums[8];
    for (int j = 0; j < 8; j++) sums[j] = _mm256_setzero_si256();
    for (size_t i = 0; i < size / sizeof *values; i += 8) {
        for (int j = 0; j < 8; j++) sums[j] = _mm256_add_epi64(sums[j], _mm256_load_si256(values + i + j));
    }
    for (int j = 1; j < 8; j++) sums[0] = _mm256_add_epi64(sums[0], sums[j]);
    uint64_t parts[4];
    _mm256_storeu_si256((__m256i *)parts, sums[0]);
    return parts[0] + parts[1] + parts[2] + parts[3];
}

float bench_flop_avx2(int64_t rounds) {
    __m256 sums[12], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
    for (int j = 0; j < 12; j++) sums[j] = _mm256_set1_ps((float)j);
    for (int64_t i = 0; i < rounds; i++) {
        for (int j = 0; j < 12; j++) sums[j] = _mm256_fmadd_ps(sums[j], a, b);
    }
    for (int j = 1; j < 12; j++) sums[0] = _mm256_add_ps(sums[0], sums[j]);
    return _mm256_cvtss_f32(sums[0]);
}
