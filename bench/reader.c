/* The portable reader: what a compiler makes of plain C. */
#include "reader.h"

uint64_t bench_read_c(const void *data, size_t size) {
    const uint64_t *values = data;
    uint64_t sums[16] = {0}, all = 0;
    for (size_t i = 0; i < size / sizeof *values; i += 16) {
        for (int j = 0; j < 16; j++) sums[j] += values[i + (size_t)j];
    }
    for (int j = 0; j < 16; j++) all += sums[j];
    return all;
}
