/* A few rows times a matrix of integers for AVX-512 with VNNI: bytes without a sign times bytes with one. */
#include "nn/x86/vector_avx512.h"

#define QUANT_BYTES 64
#define QUANT_OFFSET 128
#define QUANT_TILE(rows) ((rows) <= 2 ? 4 : (rows) <= 4 ? 2 : 1)

typedef __m512i bytes;
typedef __m512i lanes;
typedef __m512i lane_numbers;

VEC_INLINE bytes quant_load(const void *at) {
    return _mm512_loadu_si512(at);
}
VEC_INLINE bytes quant_part(const void *at, int64_t n) {
    return _mm512_maskz_loadu_epi8((__mmask64)((1ull << n) - 1), at);
}
VEC_INLINE bytes quant_low(bytes w) {
    return _mm512_and_si512(w, _mm512_set1_epi8(15));
}
VEC_INLINE bytes quant_high(bytes w) {
    return _mm512_and_si512(_mm512_srli_epi16(w, 4), _mm512_set1_epi8(15));
}
VEC_INLINE lanes quant_nibbles(bytes low, bytes high, bytes even, bytes odd) {
    return _mm512_dpbusd_epi32(_mm512_dpbusd_epi32(_mm512_setzero_si512(), low, even), high, odd);
}
/* The matrix' bytes become 0..255 by an offset of 128. */
VEC_INLINE lanes quant_bytes(bytes w, bytes x) {
    return _mm512_dpbusd_epi32(_mm512_setzero_si512(), _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80)), x);
}
VEC_INLINE vec quant_float(lanes sum) {
    return _mm512_cvtepi32_ps(sum);
}
/** Which block of a group each lane belongs to, the first being lane `lane` of it. */
VEC_INLINE lane_numbers quant_numbers(int lane, int shift) {
    __m512i own = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    return _mm512_srl_epi32(_mm512_add_epi32(own, _mm512_set1_epi32(lane)), _mm_cvtsi32_si128(shift));
}
VEC_INLINE vec quant_spread(vec scales, lane_numbers numbers) {
    return _mm512_permutexvar_ps(numbers, scales);
}
VEC_INLINE vec quant_half(const uint16_t *at) {
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)at));
}
VEC_INLINE vec quant_half_part(const uint16_t *at, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16((__mmask16)((1u << n) - 1), at));
}

#include "nn/x86/few_quantised.inc"

void cm3_avx512_bf16_few_quantised(cm3_kernels *kernels) {
    kernels->few_rows_quantised = few_rows_quantised;
}
