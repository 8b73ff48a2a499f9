/* What AMX overrides. */
#include "nn/x86/x86.h"

void cm3_kernels_amx(cm3_kernels *kernels) {
    cm3_amx_tiles(kernels);
}
