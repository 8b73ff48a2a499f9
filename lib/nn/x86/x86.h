/* The parts of the tables for x86: each fills its slots. Their files' endings name the instruction set they are built
 * for. */
#ifndef CM3_NN_X86_X86_H
#define CM3_NN_X86_X86_H

#include "nn/kernels.h"

void cm3_avx2_rows(cm3_kernels *kernels);
void cm3_avx2_few_rows(cm3_kernels *kernels);
void cm3_avx2_few_quantised(cm3_kernels *kernels);
void cm3_avx2_fixed(cm3_kernels *kernels);
void cm3_avx2_gathered(cm3_kernels *kernels);
void cm3_avx2_gemm(cm3_kernels *kernels);
void cm3_avx2_attention(cm3_kernels *kernels);
void cm3_avx2_maps(cm3_kernels *kernels);

void cm3_avx512_rows(cm3_kernels *kernels);
void cm3_avx512_few_rows(cm3_kernels *kernels);
void cm3_avx512_gemm(cm3_kernels *kernels);
void cm3_avx512_attention(cm3_kernels *kernels);
void cm3_avx512_maps(cm3_kernels *kernels);

void cm3_avx512_bf16_few_rows(cm3_kernels *kernels);
void cm3_avx512_bf16_few_quantised(cm3_kernels *kernels);
void cm3_avx512_bf16_gathered(cm3_kernels *kernels);
void cm3_avx512_bf16_many_quantised(cm3_kernels *kernels);
void cm3_avx512_bf16_convert(cm3_kernels *kernels);
void cm3_avx512_bf16_maps(cm3_kernels *kernels);

void cm3_amx_tiles(cm3_kernels *kernels);

#endif
