/* Counter-based random numbers: a pure function of key and counter, the same on every machine and thread count. */
#ifndef CM3_BASE_RANDOM_H
#define CM3_BASE_RANDOM_H

#include <stdint.h>

/** Philox 4x32-10 (Salmon et al. 2011): four words from a 64-bit key and a 128-bit counter. */
void cm3_philox(uint64_t key, uint64_t counter_low, uint64_t counter_high, uint32_t out[4]);

/** A stream of numbers: state is (key, stream, position) and nothing else, so that it can be saved and gone on with. */
typedef struct cm3_random {
    uint64_t key, stream, position;
} cm3_random;

static inline cm3_random cm3_random_make(uint64_t key, uint64_t stream) {
    cm3_random random = {key, stream, 0};
    return random;
}

uint64_t cm3_random_u64(cm3_random *random);
/** Uniform in [0, 1), 53 bits. */
double cm3_random_uniform(cm3_random *random);
/** Uniform in 0..n-1, n >= 1, without bias. */
uint64_t cm3_random_below(cm3_random *random, uint64_t n);
/** Standard normal (Box-Muller, one of the pair). */
double cm3_random_normal(cm3_random *random);

/** 64 bits from the system's entropy, never 0; falls back to clock and address where it is out of reach. */
uint64_t cm3_random_seed(void);

#endif
