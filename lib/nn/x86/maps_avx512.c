/* Feature maps for AVX-512. */
#include "nn/x86/vector_avx512.h"
#include "nn/x86/x86.h"

VEC_INLINE vec vec_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}

VEC_INLINE void vec_narrow(uint16_t *to, vec value) {
    __m512i bits = _mm512_castps_si512(value);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i rounded = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
    rounded = _mm512_mask_or_epi32(rounded, nan, bits, _mm512_set1_epi32(0x400000));
    _mm256_storeu_si256((void *)to, _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16)));
}

#define MAPS_INSTALL cm3_avx512_maps
#include "nn/x86/maps.inc"
