/*
 * The parts of the portable table. The row-wise kernels are written once in *.inc, so that each instruction set can
 * compile them for itself; products and attention have hand-written counterparts in x86/, which fall back on these.
 */
#ifndef CM3_NN_REF_REF_H
#define CM3_NN_REF_REF_H

#include "nn/kernels.h"

/* Each fills its slots. */
void cm3_ref_rows(cm3_kernels *kernels);
void cm3_ref_few_rows(cm3_kernels *kernels);
void cm3_ref_gemm(cm3_kernels *kernels);
void cm3_ref_attention_slots(cm3_kernels *kernels);

/* Any head_dim, any limits. scratch: cm3_ref_attention_scratch() bytes; keys: one more than the highest last[]. */
void cm3_ref_attention(const cm3_attention_args *args, void *scratch);
void cm3_ref_attention_backward(const cm3_attention_args *args, const cm3_attention_grads *grads, void *scratch);
int64_t cm3_ref_attention_scratch(int64_t rows, int64_t keys, int64_t head_dim);

#endif
