/* Attention for AVX2. */
#include "nn/x86/vector_avx2.h"

#define ATT_LINES 4
#define ATT_INSTALL cm3_avx2_attention
#include "nn/x86/attention.inc"
