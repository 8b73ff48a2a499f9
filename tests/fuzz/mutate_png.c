/* Changes to PNG files: the chunks' sums stay right. */
#include "mutate.h"

static uint32_t read_number(const uint8_t *bytes) {
    return (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | bytes[3];
}

static uint32_t sum(const uint8_t *data, size_t size) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < size; ++i) {
        crc ^= data[i];
        for (int bit = 0; bit < 8; ++bit) crc = crc & 1 ? crc >> 1 ^ 0xedb88320u : crc >> 1;
    }
    return ~crc;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t room, unsigned seed) {
    unsigned state = seed;
    size = LLVMFuzzerMutate(data, size, room);
    if (fuzz_below(&state, 16) == 0) return size;
    for (size_t at = 8; at + 12 <= size;) {
        size_t length = read_number(data + at);
        if (length > size - at - 12) break;
        uint32_t crc = sum(data + at + 4, length + 4);
        for (int i = 0; i < 4; ++i) data[at + 8 + length + (size_t)i] = (uint8_t)(crc >> (24 - 8 * i));
        at += 12 + length;
    }
    return size;
}
