/* Changes to a tokenizer.json and the text behind it. */
#include "mutate.h"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    unsigned state = seed;
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    size_t end = nul != NULL ? (size_t)(nul - data) : size, all = size;
    if (nul == NULL || fuzz_below(&state, 4) != 0) {
        return fuzz_mutate_part(data, size, room, 0, &end, true, &state);
    }
    return fuzz_mutate_part(data, size, room, end + 1, &all, false, &state);
}
