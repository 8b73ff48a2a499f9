/* Products of one vector of integers with rows from here and there, for AVX-512 with VNNI. */
#include "nn/x86/vector_avx512.h"

#define GATHER_BYTES 64

typedef __m512i bytes;
typedef __m512i lanes;

VEC_INLINE lanes gather_zero(void) {
    return _mm512_setzero_si512();
}
VEC_INLINE bytes gather_load(const int8_t *at) {
    return _mm512_loadu_si512((const void *)at);
}
VEC_INLINE bytes gather_part(const int8_t *at, int64_t n) {
    return _mm512_maskz_loadu_epi8((__mmask64)((1ull << n) - 1), at);
}
/* The bytes of w become 0..255 by an offset of 128: each sum has 128 times that of x too much. */
VEC_INLINE lanes gather_add(lanes sum, bytes x, bytes w) {
    return _mm512_dpbusd_epi32(sum, _mm512_xor_si512(w, _mm512_set1_epi8((char)0x80)), x);
}
VEC_INLINE int32_t gather_sum(lanes sum) {
    return _mm512_reduce_add_epi32(sum);
}
VEC_INLINE int32_t gather_offset(const int8_t *x, int64_t k) {
    const __m512i most = _mm512_set1_epi8((char)0x80);
    lanes sum = gather_zero();
    for (int64_t j = 0; j < k; j += GATHER_BYTES) {
        const bytes a = k - j < GATHER_BYTES ? gather_part(x + j, k - j) : gather_load(x + j);
        sum = _mm512_dpbusd_epi32(sum, most, a);
    }
    return gather_sum(sum);
}

#include "nn/x86/gathered.inc"

void cm3_avx512_bf16_gathered(cm3_kernels *kernels) {
    kernels->gathered_i8 = gathered_i8;
}
