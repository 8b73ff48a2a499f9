/* A few rows times a matrix of integers for AVX2: products of bytes are summed in pairs of 16 bits first. */
#include "nn/x86/vector_avx2.h"

#define QUANT_BYTES 32
#define QUANT_OFFSET 0
#define QUANT_TILE(rows) ((rows) == 1 ? 2 : 1)

typedef __m256i bytes;
typedef __m256i lanes;
typedef __m256i lane_numbers;

VEC_INLINE bytes quant_load(const void *at) {
    return _mm256_loadu_si256(at);
}
VEC_INLINE bytes quant_part(const void *at, int64_t n) {
    uint8_t values[32] = {0};
    memcpy(values, at, (size_t)n);
    return _mm256_loadu_si256((const void *)values);
}
VEC_INLINE bytes quant_low(bytes w) {
    return _mm256_and_si256(w, _mm256_set1_epi8(15));
}
VEC_INLINE bytes quant_high(bytes w) {
    return _mm256_and_si256(_mm256_srli_epi16(w, 4), _mm256_set1_epi8(15));
}
/* Four products of at most 15 * 127 each stay within 16 bits. */
VEC_INLINE lanes quant_nibbles(bytes low, bytes high, bytes even, bytes odd) {
    __m256i pairs = _mm256_add_epi16(_mm256_maddubs_epi16(low, even), _mm256_maddubs_epi16(high, odd));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
/* The signs go to x; two products of at most 128 * 127 each stay within 16 bits. */
VEC_INLINE lanes quant_bytes(bytes w, bytes x) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
}
VEC_INLINE vec quant_float(lanes sum) {
    return _mm256_cvtepi32_ps(sum);
}
/** Which block of a group each lane belongs to, the first being lane `lane` of it. */
VEC_INLINE lane_numbers quant_numbers(int lane, int shift) {
    __m256i own = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_srl_epi32(_mm256_add_epi32(own, _mm256_set1_epi32(lane)), _mm_cvtsi32_si128(shift));
}
VEC_INLINE vec quant_spread(vec scales, lane_numbers numbers) {
    return _mm256_permutevar8x32_ps(scales, numbers);
}
VEC_INLINE vec quant_half(const uint16_t *at) {
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)at));
}
VEC_INLINE vec quant_half_part(const uint16_t *at, int64_t n) {
    uint16_t values[VEC_WIDTH] = {0};
    memcpy(values, at, (size_t)n * sizeof *values);
    return quant_half(values);
}

#include "nn/x86/few_quantised.inc"

void cm3_avx2_few_quantised(cm3_kernels *kernels) {
    kernels->few_rows_quantised = few_rows_quantised;
}
