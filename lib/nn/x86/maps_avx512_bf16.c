/* Feature maps for AVX-512 with the CPU's own rounding to bf16. */
#include "nn/x86/vector_avx512.h"
#include "nn/x86/x86.h"

VEC_INLINE vec vec_div(vec a, vec b) {
    return _mm512_div_ps(a, b);
}

VEC_INLINE void vec_narrow(uint16_t *to, vec value) {
    _mm256_storeu_si256((void *)to, (__m256i)_mm512_cvtneps_pbh(value));
}

#define MAPS_INSTALL cm3_avx512_bf16_maps
#include "nn/x86/maps.inc"
