/* Products of one vector of integers with rows from here and there, for AVX2. */
#include "nn/x86/vector_avx2.h"

#define GATHER_BYTES 32

typedef __m256i bytes;
typedef __m256i lanes;

VEC_INLINE lanes gather_zero(void) {
    return _mm256_setzero_si256();
}
VEC_INLINE bytes gather_load(const int8_t *at) {
    return _mm256_loadu_si256((const void *)at);
}
VEC_INLINE bytes gather_part(const int8_t *at, int64_t n) {
    int8_t values[32] = {0};
    memcpy(values, at, (size_t)n);
    return gather_load(values);
}
/* The signs go to w; two products of at most 127 * 127 each stay within 16 bits. */
VEC_INLINE lanes gather_add(lanes sum, bytes x, bytes w) {
    __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(w, x));
    return _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
VEC_INLINE int32_t gather_sum(lanes sum) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1)));
}
VEC_INLINE int32_t gather_offset(const int8_t *x, int64_t k) {
    (void)x, (void)k;
    return 0;
}

#include "nn/x86/gathered.inc"

void cm3_avx2_gathered(cm3_kernels *kernels) {
    kernels->gathered_i8 = gathered_i8;
}
