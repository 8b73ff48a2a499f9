/* What this CPU can do, capped by CM3_CPU. */
#include "base/cpu.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#ifdef CM3_X86
#include <cpuid.h>
#ifdef __linux__
#include <sys/syscall.h>
#include <unistd.h>
#endif
#endif

#include "base/state.h"

static const cm3_cpu_level levels[] = {CM3_CPU_C, CM3_CPU_AVX2, CM3_CPU_AVX512, CM3_CPU_AVX512_BF16, CM3_CPU_AMX};
#define LEVELS (sizeof levels / sizeof *levels)

static pthread_once_t once = PTHREAD_ONCE_INIT;
static cm3_cpu_level detected;
static char unknown[64]; /**< CM3_CPU, where it names no level */

const char *cm3_cpu_name(cm3_cpu_level level) {
    switch (level) {
    case CM3_CPU_C:
        return "c";
    case CM3_CPU_AVX2:
        return "avx2";
    case CM3_CPU_AVX512:
        return "avx512";
    case CM3_CPU_AVX512_BF16:
        return "avx512_bf16";
    case CM3_CPU_AMX:
        return "amx";
    }
    return "unknown";
}

#ifdef CM3_X86
/* F16C has no name in clang 14's __builtin_cpu_supports(). */
static bool has_f16c(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & (1u << 29)) != 0;
}

/* Linux gives the tiles' 8 KiB of registers only to who asks; oneDNN asks for the same. */
static bool has_amx(void) {
#ifdef __linux__
    enum { ASK = 0x1023, TILE_DATA = 18, BF16 = 1 << 22, TILE = 1 << 24 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & (BF16 | TILE)) != (BF16 | TILE)) return false;
    return syscall(SYS_arch_prctl, ASK, TILE_DATA) == 0;
#else
    return false;
#endif
}

/** Up to `most`: AMX is not asked for where it will not be used, for the system's answer changes the process. */
static cm3_cpu_level machine_level(cm3_cpu_level most) {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") || !has_f16c()) return CM3_CPU_C;
    if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
        !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
        return CM3_CPU_AVX2;
    }
    if (!__builtin_cpu_supports("avx512bf16") || !__builtin_cpu_supports("avx512vnni")) return CM3_CPU_AVX512;
    return most >= CM3_CPU_AMX && has_amx() ? CM3_CPU_AMX : CM3_CPU_AVX512_BF16;
}
#else
static cm3_cpu_level machine_level(cm3_cpu_level most) {
    (void)most;
    return CM3_CPU_C;
}
#endif

static void detect(void) {
    const char *cap = getenv("CM3_CPU");
    cm3_cpu_level most = CM3_CPU_AMX;
    bool known = cap == NULL || *cap == '\0';
    for (size_t i = 0; i < LEVELS && !known; ++i) {
        known = strcmp(cap, cm3_cpu_name(levels[i])) == 0;
        if (known) most = levels[i];
    }
    if (!known) strncpy(unknown, cap, sizeof unknown - 1);
    detected = machine_level(most);
    if (detected > most) detected = most;
}

cm3_cpu_level cm3_cpu_detect(void) {
    pthread_once(&once, detect);
    return detected;
}

const char *cm3_cpu_unknown(void) {
    pthread_once(&once, detect);
    return unknown[0] != '\0' ? unknown : NULL;
}
