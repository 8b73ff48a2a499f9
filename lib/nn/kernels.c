/* The kernel tables: one a level, each built once from the portable one and the overrides of all levels up to its own.
 * What fills in a level's overrides is compiled for that level, too: above what this CPU can do nothing is called, and
 * the tables there are those of the best level that it has. */
#include "nn/kernels.h"

#include <pthread.h>

#include "base/cpu.h"

static pthread_once_t once = PTHREAD_ONCE_INIT;
static cm3_kernels portable;
#ifdef CM3_X86
static cm3_kernels avx2, avx512, avx512_bf16, amx;
#endif

#ifdef CM3_X86
static void override(cm3_kernels *kernels, void (*fill)(cm3_kernels *kernels), cm3_cpu_level level) {
    fill(kernels);
    kernels->name = cm3_cpu_name(level);
}
#endif

static void build(void) {
    cm3_kernels_ref(&portable);
    portable.name = cm3_cpu_name(CM3_CPU_C);
#ifdef CM3_X86
    const cm3_cpu_level most = cm3_cpu_detect();
    avx2 = portable;
    if (most >= CM3_CPU_AVX2) override(&avx2, cm3_kernels_avx2, CM3_CPU_AVX2);
    avx512 = avx2;
    if (most >= CM3_CPU_AVX512) override(&avx512, cm3_kernels_avx512, CM3_CPU_AVX512);
    avx512_bf16 = avx512;
    if (most >= CM3_CPU_AVX512_BF16) override(&avx512_bf16, cm3_kernels_avx512_bf16, CM3_CPU_AVX512_BF16);
    amx = avx512_bf16;
    if (most >= CM3_CPU_AMX) override(&amx, cm3_kernels_amx, CM3_CPU_AMX);
#endif
}

const cm3_kernels *cm3_kernels_get(cm3_cpu_level level) {
    pthread_once(&once, build);
#ifdef CM3_X86
    if (level >= CM3_CPU_AMX) return &amx;
    if (level >= CM3_CPU_AVX512_BF16) return &avx512_bf16;
    if (level >= CM3_CPU_AVX512) return &avx512;
    if (level >= CM3_CPU_AVX2) return &avx2;
#endif
    (void)level;
    return &portable;
}
