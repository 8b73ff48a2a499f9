/*
 * Changes to inputs that keep what would otherwise be refused at once: JSON stays JSON, lengths and sums stay right.
 * Only for libFuzzer, which calls LLVMFuzzerCustomMutator() in place of its own; one file a format.
 */
#ifndef FUZZ_MUTATE_H
#define FUZZ_MUTATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** libFuzzer's own changes of bytes: the new size, at most `room`. */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t room);
/** What it calls. */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed);

/** Numbers from 0 to below n; the state is the caller's. */
static inline unsigned fuzz_below(unsigned *state, unsigned n) {
    *state = *state * 1664525u + 1013904223u;
    return (*state >> 8) % n;
}

/** Changes one value of a JSON text, also of one that stands in a string of it; bytes where it is none. */
size_t fuzz_mutate_json(uint8_t *text, size_t size, size_t room, unsigned *state);

/**
 * Changes bytes [begin, end) of `data` by `mutate`, and moves what follows. The new size of the whole; *end is set.
 */
size_t fuzz_mutate_part(uint8_t *data, size_t size, size_t room, size_t begin, size_t *end, bool json, unsigned *state);

#endif
