/* The row-wise kernels, compiled for AVX512. */
#define CM3_ROWS_INSTALL cm3_avx512_rows
#include "nn/x86/x86.h"

#include "nn/ref/rows.inc"
