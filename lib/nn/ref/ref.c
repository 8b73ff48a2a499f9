/* The portable table as a whole: every slot is filled. */
#include "nn/ref/ref.h"

#include "nn/ref/maps.h"

void cm3_kernels_ref(cm3_kernels *kernels) {
    cm3_ref_rows(kernels);
    cm3_ref_few_rows(kernels);
    cm3_ref_few_quantised(kernels);
    cm3_ref_fixed(kernels);
    cm3_ref_tiles(kernels);
    cm3_ref_gathered(kernels);
    cm3_ref_gemm(kernels);
    cm3_ref_attention(kernels);
    cm3_ref_maps(kernels);
}
