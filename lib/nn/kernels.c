/* The kernel tables: one a level, each built once from the portable one and the overrides of all levels up to its own.
 */
#include "nn/kernels.h"

#include <pthread.h>

static pthread_once_t once = PTHREAD_ONCE_INIT;
static cm3_kernels portable;
#ifdef CM3_X86
static cm3_kernels avx2, avx512, avx512_bf16;
#endif

static void build(void) {
    cm3_kernels_ref(&portable);
    portable.name = cm3_cpu_name(CM3_CPU_C);
#ifdef CM3_X86
    avx2 = portable;
    cm3_kernels_avx2(&avx2);
    avx2.name = cm3_cpu_name(CM3_CPU_AVX2);
    avx512 = avx2;
    cm3_kernels_avx512(&avx512);
    avx512.name = cm3_cpu_name(CM3_CPU_AVX512);
    avx512_bf16 = avx512;
    cm3_kernels_avx512_bf16(&avx512_bf16);
    avx512_bf16.name = cm3_cpu_name(CM3_CPU_AVX512_BF16);
#endif
}

const cm3_kernels *cm3_kernels_get(cm3_cpu_level level) {
    pthread_once(&once, build);
#ifdef CM3_X86
    if (level >= CM3_CPU_AVX512_BF16) return &avx512_bf16;
    if (level >= CM3_CPU_AVX512) return &avx512;
    if (level >= CM3_CPU_AVX2) return &avx2;
#endif
    (void)level;
    return &portable;
}
