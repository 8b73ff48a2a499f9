/* Vectors of 8 floats under the names that attention.inc, few_rows.inc and gemm_*.c are written in. Only for *_avx2.c.
 */
#ifndef CM3_NN_X86_VECTOR_AVX2_H
#define CM3_NN_X86_VECTOR_AVX2_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

#define VEC_WIDTH 8
#define VEC_INLINE static inline __attribute__((always_inline, unused))
/* Loops over registers must be unrolled early, or their arrays stay in memory. */
#ifdef __clang__
#define VEC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VEC_UNROLL _Pragma("GCC unroll 32")
#endif

typedef __m256 vec;

VEC_INLINE vec vec_zero(void) {
    return _mm256_setzero_ps();
}
VEC_INLINE vec vec_all(float value) {
    return _mm256_set1_ps(value);
}
VEC_INLINE vec vec_load(const float *from) {
    return _mm256_loadu_ps(from);
}
VEC_INLINE void vec_store(float *to, vec value) {
    _mm256_storeu_ps(to, value);
}
VEC_INLINE vec vec_wide(const uint16_t *from) {
    __m256i bits = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)from));
    return _mm256_castsi256_ps(_mm256_slli_epi32(bits, 16));
}
/* The first n elements, 0 < n < VEC_WIDTH; the rest is 0. */
VEC_INLINE vec vec_load_part(const float *from, int64_t n) {
    __m256i numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_maskload_ps(from, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), numbers));
}
/* The first n elements, 0 < n < VEC_WIDTH; what lies behind stays as it is. */
VEC_INLINE void vec_store_part(float *to, vec value, int64_t n) {
    __m256i numbers = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    _mm256_maskstore_ps(to, _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), numbers), value);
}
VEC_INLINE vec vec_wide_part(const uint16_t *from, int64_t n) {
    uint16_t values[VEC_WIDTH] = {0};
    memcpy(values, from, (size_t)n * sizeof *values);
    return vec_wide(values);
}
/* Bytes with a sign. */
VEC_INLINE vec vec_bytes(const int8_t *from) {
    return _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)from)));
}
VEC_INLINE vec vec_bytes_part(const int8_t *from, int64_t n) {
    int8_t values[VEC_WIDTH] = {0};
    memcpy(values, from, (size_t)n);
    return vec_bytes(values);
}
VEC_INLINE vec vec_add(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
VEC_INLINE vec vec_sub(vec a, vec b) {
    return _mm256_sub_ps(a, b);
}
VEC_INLINE vec vec_mul(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
VEC_INLINE vec vec_max(vec a, vec b) {
    return _mm256_max_ps(a, b);
}
/* a b + c */
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}

/** `value` in the lanes where first <= j <= last, -infinity elsewhere. */
VEC_INLINE vec vec_limit(vec value, int32_t j, const int32_t *first, const int32_t *last) {
    __m256i key = _mm256_set1_epi32(j);
    __m256i early = _mm256_cmpgt_epi32(_mm256_loadu_si256((const void *)first), key);
    __m256i late = _mm256_cmpgt_epi32(key, _mm256_loadu_si256((const void *)last));
    return _mm256_blendv_ps(value, _mm256_set1_ps(-INFINITY), _mm256_castsi256_ps(_mm256_or_si256(early, late)));
}

/** 0 in the lanes where the value is -infinity. */
VEC_INLINE vec vec_finite(vec value) {
    return _mm256_and_ps(value, _mm256_cmp_ps(value, _mm256_set1_ps(-INFINITY), _CMP_NEQ_UQ));
}

/** As cm3_exp(). */
VEC_INLINE vec vec_exp(vec x) {
    vec good = _mm256_cmp_ps(x, _mm256_set1_ps(-87.33f), _CMP_NLT_UQ);
    vec t = _mm256_min_ps(_mm256_set1_ps(88.8f), _mm256_max_ps(_mm256_set1_ps(-87.33f), x)); /* NaN stays */
    vec shift = _mm256_set1_ps(12582912.0f);
    vec shifted = _mm256_fmadd_ps(t, _mm256_set1_ps(1.44269504f), shift);
    vec n = _mm256_sub_ps(shifted, shift);
    vec r = _mm256_fnmadd_ps(n, _mm256_set1_ps(0.693359375f), t);
    r = _mm256_fmadd_ps(n, _mm256_set1_ps(2.12194440e-4f), r);
    vec q = _mm256_set1_ps(0.0013814599f);
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.008368717f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.04166839f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.16666521f));
    q = _mm256_fmadd_ps(q, r, _mm256_set1_ps(0.49999994f));
    vec e = _mm256_add_ps(_mm256_fmadd_ps(_mm256_mul_ps(q, r), r, r), _mm256_set1_ps(1.0f));
    __m256i power = _mm256_slli_epi32(_mm256_castps_si256(shifted), 23);
    power = _mm256_add_epi32(power, _mm256_set1_epi32(0x3f800000));
    return _mm256_and_ps(good, _mm256_mul_ps(e, _mm256_castsi256_ps(power)));
}

VEC_INLINE float vec_sum(vec a) {
    __m128 half = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_add_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_add_ss(half, _mm_movehdup_ps(half)));
}
VEC_INLINE float vec_highest(vec a) {
    __m128 half = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    half = _mm_max_ps(half, _mm_movehl_ps(half, half));
    return _mm_cvtss_f32(_mm_max_ss(half, _mm_movehdup_ps(half)));
}

/** The sums of four vectors. */
VEC_INLINE __m128 vec_sum4(vec a, vec b, vec c, vec d) {
    vec all = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
    return _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
}

/** Rows become columns. */
VEC_INLINE void vec_transpose(vec r[VEC_WIDTH]) {
    vec t[VEC_WIDTH];
    VEC_UNROLL
    for (int i = 0; i < 8; i += 4) { /* 4 x 4 inside the halves */
        vec a = _mm256_unpacklo_ps(r[i], r[i + 1]), b = _mm256_unpackhi_ps(r[i], r[i + 1]);
        vec c = _mm256_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm256_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm256_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm256_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm256_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm256_shuffle_ps(b, d, 0xee);
    }
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        r[i] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x20);
        r[i + 4] = _mm256_permute2f128_ps(t[i], t[i + 4], 0x31);
    }
}

#endif
