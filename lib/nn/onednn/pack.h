/* Weights of convolutions into the layout that oneDNN's kernels want, by ourselves. */
#ifndef CM3_NN_ONEDNN_PACK_H
#define CM3_NN_ONEDNN_PACK_H

#include "base/context.h"
#include "nn/onednn/onednn.h"
#include "nn/onednn/version.h"

/** The side of the blocks of f32 in which `wanted` has the weights of that convolution, 8 or 16: cm3_dnn_pack() makes
 * it. 0: another layout. */
int32_t cm3_dnn_block(cm3_md_ref wanted, const cm3_conv_shape *shape);

/** weights OIHW, f32 or bf16, as f32 [cout / block][cin / block][kh][kw][block of cin][block of cout]. */
void cm3_dnn_pack(cm3_team *team, const cm3_conv_shape *shape, const void *weights, cm3_dtype dtype, int32_t block,
                  float *packed);

#endif
