/* Vectors of 16 floats under the names that attention.inc, few_rows.inc and gemm_*.c are written in. Only for
 * *_avx512*.c. */
#ifndef CM3_NN_X86_VECTOR_AVX512_H
#define CM3_NN_X86_VECTOR_AVX512_H

#include <immintrin.h>
#include <math.h>
#include <stdint.h>

#define VEC_WIDTH 16
#define VEC_INLINE static inline __attribute__((always_inline, unused))
/* Loops over registers must be unrolled early, or their arrays stay in memory. */
#ifdef __clang__
#define VEC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define VEC_UNROLL _Pragma("GCC unroll 32")
#endif

typedef __m512 vec;

VEC_INLINE vec vec_zero(void) {
    return _mm512_setzero_ps();
}
VEC_INLINE vec vec_all(float value) {
    return _mm512_set1_ps(value);
}
VEC_INLINE vec vec_load(const float *from) {
    return _mm512_loadu_ps(from);
}
VEC_INLINE void vec_store(float *to, vec value) {
    _mm512_storeu_ps(to, value);
}
VEC_INLINE vec vec_wide(const uint16_t *from) {
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
/* The first n elements, 0 < n < VEC_WIDTH; the rest is 0. */
VEC_INLINE vec vec_load_part(const float *from, int64_t n) {
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), from);
}
/* The first n elements, 0 < n < VEC_WIDTH; what lies behind stays as it is. */
VEC_INLINE void vec_store_part(float *to, vec value, int64_t n) {
    _mm512_mask_storeu_ps(to, (__mmask16)((1u << n) - 1), value);
}
VEC_INLINE vec vec_wide_part(const uint16_t *from, int64_t n) {
    __m512i bits = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), from));
    return _mm512_castsi512_ps(_mm512_slli_epi32(bits, 16));
}
/* Bytes with a sign. */
VEC_INLINE vec vec_bytes(const int8_t *from) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)from)));
}
VEC_INLINE vec vec_bytes_part(const int8_t *from, int64_t n) {
    return _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(_mm_maskz_loadu_epi8((__mmask16)((1u << n) - 1), from)));
}
VEC_INLINE vec vec_add(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
VEC_INLINE vec vec_sub(vec a, vec b) {
    return _mm512_sub_ps(a, b);
}
VEC_INLINE vec vec_mul(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
VEC_INLINE vec vec_max(vec a, vec b) {
    return _mm512_max_ps(a, b);
}
/* a b + c */
VEC_INLINE vec vec_fma(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}

/** `value` in the lanes where first <= j <= last, -infinity elsewhere. */
VEC_INLINE vec vec_limit(vec value, int32_t j, const int32_t *first, const int32_t *last) {
    __m512i key = _mm512_set1_epi32(j);
    __mmask16 seen = _mm512_cmple_epi32_mask(_mm512_loadu_si512(first), key);
    seen = _mm512_mask_cmple_epi32_mask(seen, key, _mm512_loadu_si512(last));
    return _mm512_mask_blend_ps(seen, _mm512_set1_ps(-INFINITY), value);
}

/** 0 in the lanes where the value is -infinity. */
VEC_INLINE vec vec_finite(vec value) {
    __mmask16 good = _mm512_cmp_ps_mask(value, _mm512_set1_ps(-INFINITY), _CMP_NEQ_UQ);
    return _mm512_maskz_mov_ps(good, value);
}

/** As cm3_exp(). */
VEC_INLINE vec vec_exp(vec x) {
    __mmask16 good = _mm512_cmp_ps_mask(x, _mm512_set1_ps(-87.33f), _CMP_NLT_UQ);
    vec t = _mm512_min_ps(_mm512_set1_ps(89.0f), _mm512_max_ps(_mm512_set1_ps(-87.33f), x)); /* NaN stays */
    vec n = _mm512_roundscale_ps(_mm512_mul_ps(t, _mm512_set1_ps(1.44269504f)), 8);
    vec r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), t);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    vec q = _mm512_set1_ps(0.0013814599f);
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.008368717f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.04166839f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.16666521f));
    q = _mm512_fmadd_ps(q, r, _mm512_set1_ps(0.49999994f));
    vec e = _mm512_add_ps(_mm512_fmadd_ps(_mm512_mul_ps(q, r), r, r), _mm512_set1_ps(1.0f));
    return _mm512_maskz_scalef_ps(good, e, n);
}

VEC_INLINE float vec_sum(vec a) {
    return _mm512_reduce_add_ps(a);
}
VEC_INLINE float vec_highest(vec a) {
    return _mm512_reduce_max_ps(a);
}

/** The sums of four vectors. */
VEC_INLINE __m128 vec_sum4(vec a, vec b, vec c, vec d) {
    /* [a0 a1 b0 b1] + [a2 a3 b2 b3] of quarters, twice; then pairs inside the quarters */
    vec ab = _mm512_add_ps(_mm512_shuffle_f32x4(a, b, 0x44), _mm512_shuffle_f32x4(a, b, 0xee));
    vec cd = _mm512_add_ps(_mm512_shuffle_f32x4(c, d, 0x44), _mm512_shuffle_f32x4(c, d, 0xee));
    vec all = _mm512_add_ps(_mm512_shuffle_f32x4(ab, cd, 0x88), _mm512_shuffle_f32x4(ab, cd, 0xdd));
    all = _mm512_add_ps(all, _mm512_permute_ps(all, 0x4e));
    all = _mm512_add_ps(all, _mm512_permute_ps(all, 0xb1));
    __m512i firsts = _mm512_setr_epi32(0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12, 0, 4, 8, 12);
    return _mm512_castps512_ps128(_mm512_permutexvar_ps(firsts, all));
}

/** Rows become columns. */
VEC_INLINE void vec_transpose(vec r[VEC_WIDTH]) {
    vec t[VEC_WIDTH];
    VEC_UNROLL
    for (int i = 0; i < 16; i += 4) { /* 4 x 4 inside the quarters */
        vec a = _mm512_unpacklo_ps(r[i], r[i + 1]), b = _mm512_unpackhi_ps(r[i], r[i + 1]);
        vec c = _mm512_unpacklo_ps(r[i + 2], r[i + 3]), d = _mm512_unpackhi_ps(r[i + 2], r[i + 3]);
        t[i] = _mm512_shuffle_ps(a, c, 0x44);
        t[i + 1] = _mm512_shuffle_ps(a, c, 0xee);
        t[i + 2] = _mm512_shuffle_ps(b, d, 0x44);
        t[i + 3] = _mm512_shuffle_ps(b, d, 0xee);
    }
    VEC_UNROLL
    for (int i = 0; i < 4; i++) { /* 4 x 4 of quarters */
        vec a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xdd);
        vec c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88), d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xdd);
        r[i] = _mm512_shuffle_f32x4(a, c, 0x88);
        r[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(a, c, 0xdd);
        r[i + 12] = _mm512_shuffle_f32x4(b, d, 0xdd);
    }
}

#endif
