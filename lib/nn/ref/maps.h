/* The portable kernels of feature maps for a range of channels: what vectors of any width leave over. */
#ifndef CM3_NN_REF_MAPS_H
#define CM3_NN_REF_MAPS_H

#include "nn/kernels.h"

void cm3_ref_map_sums(const cm3_map_args *args, int64_t first, int64_t last);
void cm3_ref_map_affine(const cm3_map_args *args, int64_t first, int64_t last);
void cm3_ref_map_affine_sums(const cm3_map_args *args, int64_t first, int64_t last);
void cm3_ref_map_affine_backward(const cm3_map_args *args, int64_t first, int64_t last);

void cm3_ref_maps(cm3_kernels *kernels);

#endif
