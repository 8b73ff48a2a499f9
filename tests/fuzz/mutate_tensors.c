/* Changes to safetensors files: the header stays JSON, and its length right. */
#include "mutate.h"

#define PREFIX 8

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    unsigned state = seed, way = fuzz_below(&state, 10);
    uint64_t length = 0;
    for (size_t i = PREFIX; i > 0 && size >= PREFIX; --i) length = length << 8 | data[i - 1];
    if (way == 0 || size < PREFIX || length > size - PREFIX) return LLVMFuzzerMutate(data, size, room);
    size_t end = PREFIX + (size_t)length;
    if (way == 1) {
        size_t all = size;
        return fuzz_mutate_part(data, size, room, end, &all, false, &state);
    }
    size = fuzz_mutate_part(data, size, room, PREFIX, &end, true, &state);
    for (int i = 0; i < PREFIX; ++i) data[i] = (uint8_t)((uint64_t)(end - PREFIX) >> (8 * i));
    return size;
}
