/* Loops that only read, or only multiply: what memory and the cores can give at most. One an instruction set. */
#ifndef BENCH_READER_H
#define BENCH_READER_H

#include <stddef.h>
#include <stdint.h>

/** Reads `size` bytes, a multiple of 1024, from an address that is a multiple of 64. Its result keeps the loads. */
typedef uint64_t (*bench_read_fn)(const void *data, size_t size);

uint64_t bench_read_c(const void *data, size_t size);
uint64_t bench_read_avx2(const void *data, size_t size);
uint64_t bench_read_avx512(const void *data, size_t size);

/** `rounds` rounds of multiplications with addition, in registers. Its result keeps them. */
typedef float (*bench_flop_fn)(int64_t rounds);

/** Flops of one round of each. */
#define BENCH_FLOP_AVX2 (12 * 8 * 2)
#define BENCH_FLOP_AVX512 (12 * 16 * 2)
#define BENCH_FLOP_BF16 (12 * 32 * 2)

float bench_flop_avx2(int64_t rounds);
float bench_flop_avx512(int64_t rounds);
float bench_flop_bf16(int64_t rounds);

#endif
