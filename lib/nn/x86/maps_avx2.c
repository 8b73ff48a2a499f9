/* Feature maps for AVX2. */
#include "nn/x86/vector_avx2.h"
#include "nn/x86/x86.h"

VEC_INLINE vec vec_div(vec a, vec b) {
    return _mm256_div_ps(a, b);
}

VEC_INLINE void vec_narrow(uint16_t *to, vec value) {
    __m256i bits = _mm256_castps_si256(value);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(value, value, _CMP_UNORD_Q));
    rounded = _mm256_blendv_epi8(rounded, _mm256_or_si256(bits, _mm256_set1_epi32(0x400000)), nan);
    rounded = _mm256_srli_epi32(rounded, 16);
    rounded = _mm256_permute4x64_epi64(_mm256_packus_epi32(rounded, rounded), 0x08);
    _mm_storeu_si128((void *)to, _mm256_castsi256_si128(rounded));
}

#define MAPS_INSTALL cm3_avx2_maps
#include "nn/x86/maps.inc"
