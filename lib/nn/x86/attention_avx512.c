/* Attention for AVX-512. */
#include "nn/x86/vector_avx512.h"

#define ATT_LINES 8
#define ATT_INSTALL cm3_avx512_attention
#include "nn/x86/attention.inc"
