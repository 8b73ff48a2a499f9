/* Changes to configurations: behind the byte that tells the kind, JSON stays JSON. */
#include "mutate.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    unsigned state = seed;
    if (size < 2 || data[0] == 'y' || fuzz_below(&state, 8) == 0) return LLVMFuzzerMutate(data, size, room);
    size_t end = size;
    return fuzz_mutate_part(data, size, room, 1, &end, true, &state);
}
