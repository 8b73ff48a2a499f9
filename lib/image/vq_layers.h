/* Which parameter of the image tokenizer is what: the network as its forward pass walks it. */
#ifndef CM3_IMAGE_VQ_LAYERS_H
#define CM3_IMAGE_VQ_LAYERS_H

#include "image/vq.h"

/** Weight and bias of a convolution, or gamma and beta of a norm. */
typedef struct cm3_vq_pair {
    cm3_tensor *weight, *bias;
} cm3_vq_pair;

typedef struct cm3_vq_block {
    cm3_vq_pair norm1, conv1, norm2, conv2, shortcut; /**< shortcut.weight NULL where channels stay */
} cm3_vq_block;

typedef struct cm3_vq_attention {
    cm3_vq_pair norm, q, k, v, out; /**< norm.weight NULL: there is none */
} cm3_vq_attention;

#define CM3_VQ_MAX_BLOCKS 65

typedef struct cm3_vq_level {
    cm3_vq_block blocks[CM3_VQ_MAX_BLOCKS];
    cm3_vq_attention attention[CM3_VQ_MAX_BLOCKS];
    int32_t block_count;
    cm3_vq_pair resample; /**< convolution of the down- or upsampling; weight NULL at the end level */
} cm3_vq_level;

typedef struct cm3_vq_half {
    cm3_vq_pair conv_in, norm_out, conv_out;
    cm3_vq_level levels[CM3_VQ_MAX_LEVELS]; /**< by encoder level in both halves */
    cm3_vq_block mid1, mid2;
    cm3_vq_attention mid_attention;
    bool local; /**< blocks of 1 x 1 convolutions, normalised position by position */
} cm3_vq_half;

typedef struct cm3_vq_layers {
    cm3_vq_half encoder, decoder;
    cm3_vq_pair quant_conv, post_quant_conv;
    cm3_tensor *codebook;
    cm3_tensor *cost; /**< [num_embeddings] added to squared distances; its data NULL: nothing is */
} cm3_vq_layers;

#endif
