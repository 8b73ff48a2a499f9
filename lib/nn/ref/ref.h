/*
 * The parts of the portable table. The row-wise kernels are written once in *.inc, so that each instruction set can
 * compile them for itself; products and attention have hand-written counterparts in x86/.
 */
#ifndef CM3_NN_REF_REF_H
#define CM3_NN_REF_REF_H

#include "nn/kernels.h"

/* Each fills its slots. */
void cm3_ref_rows(cm3_kernels *kernels);
void cm3_ref_few_rows(cm3_kernels *kernels);
void cm3_ref_few_quantised(cm3_kernels *kernels);
void cm3_ref_fixed(cm3_kernels *kernels);
void cm3_ref_tiles(cm3_kernels *kernels);
void cm3_ref_gathered(cm3_kernels *kernels);
void cm3_ref_gemm(cm3_kernels *kernels);
void cm3_ref_attention(cm3_kernels *kernels);

#endif
