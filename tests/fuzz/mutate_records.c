/* Changes to data files: lines stay JSON, headers of tar members keep their sums right. */
#include <stdio.h>

#include "mutate.h"

#define BLOCK 512
#define SUM_AT 148
#define SUM_SIZE 8
#define MAGIC_AT 257

static size_t mutate_line(uint8_t *data, size_t size, size_t room, unsigned *state) {
    size_t begin = fuzz_below(state, (unsigned)size);
    while (begin > 0 && data[begin - 1] != '\n') --begin;
    const uint8_t *newline = memchr(data + begin, '\n', size - begin);
    size_t end = newline != NULL ? (size_t)(newline - data) : size;
    return fuzz_mutate_part(data, size, room, begin, &end, true, state);
}

static void mend_sums(uint8_t *data, size_t size) {
    for (size_t at = 0; at + BLOCK <= size; at += BLOCK) {
        if (memcmp(data + at + MAGIC_AT, "ustar", 5) != 0) continue;
        unsigned sum = 0;
        memset(data + at + SUM_AT, ' ', SUM_SIZE);
        for (size_t i = 0; i < BLOCK; ++i) sum += data[at + i];
        snprintf((char *)data + at + SUM_AT, SUM_SIZE, "%06o", sum);
    }
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    unsigned state = seed;
    if (size > 0 && data[0] == '{' && fuzz_below(&state, 4) != 0) return mutate_line(data, size, room, &state);
    size_t end = size;
    if (size >= BLOCK && fuzz_below(&state, 2) == 0) {
        /* Within one block, so that what follows stays where members begin. */
        size_t begin = fuzz_below(&state, (unsigned)(size / BLOCK)) * BLOCK;
        LLVMFuzzerMutate(data + begin, BLOCK, BLOCK);
    } else {
        size = fuzz_mutate_part(data, size, room, 0, &end, false, &state);
    }
    if (fuzz_below(&state, 16) != 0) mend_sums(data, size);
    return size;
}
