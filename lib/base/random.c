/* Counter-based random numbers: Philox 4x32-10 (Salmon et al. 2011). */
#include "base/random.h"

#include <errno.h>
#include <math.h>
#include <sys/random.h>
#include <unistd.h>

#include "base/clock.h"

#define ROUNDS 10
#define MULTIPLIER_0 0xd2511f53u
#define MULTIPLIER_1 0xcd9e8d57u
#define WEYL_0 0x9e3779b9u
#define WEYL_1 0xbb67ae85u

void cm3_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high, uint32_t out[4]) {
    uint32_t key_0 = (uint32_t)key, key_1 = (uint32_t)(key >> 32);
    uint32_t c0 = (uint32_t)counter_low, c1 = (uint32_t)(counter_low >> 32);
    uint32_t c2 = (uint32_t)counter_high, c3 = (uint32_t)(counter_high >> 32);
    for (int round = 0; round < ROUNDS; ++round) {
        uint64_t product_0 = (uint64_t)MULTIPLIER_0 * c0, product_1 = (uint64_t)MULTIPLIER_1 * c2;
        c0 = (uint32_t)(product_1 >> 32) ^ c1 ^ key_0;
        c1 = (uint32_t)product_1;
        c2 = (uint32_t)(product_0 >> 32) ^ c3 ^ key_1;
        c3 = (uint32_t)product_0;
        key_0 += WEYL_0;
        key_1 += WEYL_1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* One block a position: two 64-bit words. */
static void next_pair(cm3_random *random, uint64_t *a, uint64_t *b) {
    uint32_t words[4];
    cm3_philox(random->key, random->position++, random->stream, words);
    *a = words[0] | (uint64_t)words[1] << 32;
    *b = words[2] | (uint64_t)words[3] << 32;
}

uint64_t cm3_random_u64(cm3_random *random) {
    uint64_t a, b;
    next_pair(random, &a, &b);
    return a;
}

double cm3_random_uniform(cm3_random *random) {
    return (double)(cm3_random_u64(random) >> 11) * 0x1p-53;
}

uint64_t cm3_random_below(cm3_random *random, uint64_t n) {
    if (n <= 1) return 0;
    /* The highest multiple of n that 64 bits hold: what lies above is thrown again. */
    uint64_t excess = (UINT64_MAX % n + 1) % n;
    uint64_t value;
    do {
        value = cm3_random_u64(random);
    } while (value > UINT64_MAX - excess);
    return value % n;
}

double cm3_random_normal(cm3_random *random) {
    uint64_t a, b;
    next_pair(random, &a, &b);
    double radius = (double)((a >> 11) + 1) * 0x1p-53; /* in (0, 1] */
    double turn = (double)(b >> 11) * 0x1p-53;
    return sqrt(-2.0 * log(radius)) * cos(6.283185307179586476925287 * turn);
}

uint64_t cm3_random_seed(void) {
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == (ssize_t)sizeof seed && seed != 0) return seed;
    uint32_t words[4];
    cm3_philox(cm3_clock_ns(), (uint64_t)(uintptr_t)&seed, (uint64_t)getpid(), words);
    seed = words[0] | (uint64_t)words[1] << 32;
    return seed != 0 ? seed : 1;
}
