/*
 * Products of many vectors by AMX: tiles of 16 rows and 16 columns, of which an instruction multiplies 32 numbers deep.
 * Two by two of them are summed at a time, so that each tile that is fetched is multiplied twice; the matrix is read
 * where it lies, what is multiplied with it was packed in pairs before.
 */
#include <stdbool.h>
#include <string.h>

#include "nn/x86/vector_avx512.h"
#include "nn/x86/x86.h"

#define TILE CM3_TILE_ROWS
#define DEPTH CM3_TILE_DEPTH
#define TILE_NUMBERS (TILE * DEPTH) /* of bf16: 1 KiB */
#define LINE 64

/** Whole tiles, all eight. The CPU wants to be told once a thread, and told when they are no longer needed. */
static void begin_tiles(void) {
    struct {
        uint8_t palette, start_row, reserved[14];
        uint16_t column_bytes[16];
        uint8_t rows[16];
    } config = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        config.column_bytes[i] = DEPTH * sizeof(uint16_t);
        config.rows[i] = TILE;
    }
    _tile_loadconfig(&config);
}

static void pack_tiles(uint16_t *to, const float *from, int64_t rows, int64_t k) {
    const int64_t steps = (k + DEPTH - 1) / DEPTH;
    for (int64_t first = 0; first < rows; first += TILE) {
        for (int64_t step = 0; step < steps; step++, to += TILE_NUMBERS) {
            const int64_t left = k - step * DEPTH, deep = left < DEPTH ? left : DEPTH;
            const __mmask16 low = deep >= 16 ? 0xffff : (__mmask16)((1u << deep) - 1);
            const __mmask16 high = deep <= 16 ? 0 : (__mmask16)((1u << (deep - 16)) - 1);
            vec pairs[TILE]; /* of each row, which are to become columns */
            for (int64_t r = 0; r < TILE; r++) {
                const float *at = from + (first + r) * k + step * DEPTH;
                const bool there = first + r < rows;
                const vec a = _mm512_maskz_loadu_ps(there ? low : 0, at);
                const vec b = _mm512_maskz_loadu_ps(there ? high : 0, at + 16);
                pairs[r] = _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(b, a));
            }
            vec_transpose(pairs);
            for (int64_t p = 0; p < TILE; p++) vec_store((float *)(void *)(to + p * DEPTH), pairs[p]);
        }
    }
}

/** Sums [16 of the matrix][16] as rows of y; `rows` and `n` of them are wanted. */
static void put_sums(float *y, int64_t ldy, const float *sums, int64_t rows, int64_t n) {
    vec r[TILE];
    for (int i = 0; i < TILE; i++) r[i] = vec_load(sums + i * TILE);
    vec_transpose(r);
    for (int64_t i = 0; i < TILE && i < rows; i++) {
        if (n >= TILE)
            vec_store(y + i * ldy, r[i]);
        else
            vec_store_part(y + i * ldy, r[i], n);
    }
}

/** Rows of the matrix that are multiplied together: 16 behind each other, `stride` bytes apart. */
typedef struct tile_rows {
    const uint16_t *at[2];
    int64_t stride;
} tile_rows;

/** 16 or 32 of the matrix with 32 packed rows: sums [2][2][16][16], first by which of the matrix. */
static void multiply(float *sums, const tile_rows *w, bool two, const uint16_t *x, const uint16_t *x2, int64_t steps,
                     const char *ahead) {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    for (int64_t step = 0; step < steps; step++) {
        /* A step's part of the rows that come next: as many lines as it reads. */
        for (int line = 0; line < 2 * TILE; line++, ahead += LINE) _mm_prefetch(ahead, _MM_HINT_T0);
        _tile_loadd(4, w->at[0] + step * DEPTH, w->stride);
        _tile_loadd(6, x + step * TILE_NUMBERS, DEPTH * sizeof *x);
        _tile_loadd(7, x2 + step * TILE_NUMBERS, DEPTH * sizeof *x);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (!two) continue;
        _tile_loadd(5, w->at[1] + step * DEPTH, w->stride);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
    const int64_t stride = TILE * sizeof *sums;
    _tile_stored(0, sums, stride);
    _tile_stored(1, sums + TILE * TILE, stride);
    _tile_stored(2, sums + 2 * TILE * TILE, stride);
    _tile_stored(3, sums + 3 * TILE * TILE, stride);
}

/** Up to 16 rows of the matrix, brought up to whole tiles. */
static tile_rows padded(uint16_t *scratch, const uint16_t *w, int64_t rows, int64_t k) {
    const int64_t width = (k + DEPTH - 1) / DEPTH * DEPTH;
    for (int64_t r = 0; r < TILE; r++) {
        const int64_t some = r < rows ? k : 0;
        memcpy(scratch + r * width, w + r * k, (size_t)some * sizeof *w);
        memset(scratch + r * width + some, 0, (size_t)(width - some) * sizeof *w);
    }
    return (tile_rows){{scratch, scratch}, width * (int64_t)sizeof *w};
}

static void tile_products(float *y, int64_t ldy, const uint16_t *x, int64_t rows, const uint16_t *w, int64_t k,
                          int64_t n, uint16_t *scratch) {
    const int64_t steps = (k + DEPTH - 1) / DEPTH, group = steps * TILE_NUMBERS;
    float sums[4 * TILE * TILE] __attribute__((aligned(64)));
    begin_tiles();
    for (int64_t j = 0; j < n;) {
        const int64_t left = n - j;
        const bool two = left >= 2 * TILE && k % DEPTH == 0;
        const int64_t some = two ? 2 * TILE : left < TILE ? left : TILE;
        tile_rows block = {{w + j * k, w + (j + TILE) * k}, k * (int64_t)sizeof *w};
        if (some < TILE || k % DEPTH) block = padded(scratch, w + j * k, some, k);
        const char *ahead = (const char *)(w + (j + some) * k);
        for (int64_t r = 0; r < rows; r += 2 * TILE) {
            const uint16_t *first = x + r / TILE * group, *second = r + TILE < rows ? first + group : first;
            multiply(sums, &block, two, first, second, steps, ahead);
            for (int i = 0; i < (two ? 4 : 2); i++) {
                const int64_t row = r + i % 2 * TILE, column = j + i / 2 * TILE;
                if (row < rows) {
                    put_sums(y + row * ldy + column, ldy, sums + i * TILE * TILE, rows - row, j + some - column);
                }
            }
        }
        j += some;
    }
    _tile_release();
}

void cm3_amx_tiles(cm3_kernels *kernels) {
    kernels->pack_tiles = pack_tiles;
    kernels->tile_products = tile_products;
}
