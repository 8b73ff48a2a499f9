/* What this CPU can do, and what it may do: CM3_CPU caps it. */
#ifndef CM3_BASE_CPU_H
#define CM3_BASE_CPU_H

/** Levels imply the lower ones. */
typedef enum cm3_cpu_level {
    CM3_CPU_C = 0,            /**< portable C */
    CM3_CPU_AVX2 = 10,        /**< AVX2, FMA, F16C */
    CM3_CPU_AVX512 = 20,      /**< AVX-512 F, BW, DQ, VL */
    CM3_CPU_AVX512_BF16 = 30, /**< and BF16 and VNNI */
    CM3_CPU_AMX = 40 /**< and AMX with BF16, which the system was asked for: the process' signal frames grow by it */
} cm3_cpu_level;

/** The highest level of this machine, capped by the environment's CM3_CPU (c, avx2, avx512, avx512_bf16, amx). Read
 * once. */
cm3_cpu_level cm3_cpu_detect(void);

/** "c", "avx2", "avx512", "avx512_bf16", "amx"; static. */
const char *cm3_cpu_name(cm3_cpu_level level);

#endif
