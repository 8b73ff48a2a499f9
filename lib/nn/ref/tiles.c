/* Products of many vectors in bf16, portable: as AMX has them, in pairs of columns. */
#include <string.h>

#include "nn/ref/ref.h"

/** Where number i of a row stands behind the row's group of 16. */
static int64_t place_of(int64_t row, int64_t i) {
    return i / CM3_TILE_DEPTH * CM3_TILE_ROWS * CM3_TILE_DEPTH + i % CM3_TILE_DEPTH / 2 * CM3_TILE_DEPTH + 2 * row +
           i % 2;
}

static void pack_tiles(uint16_t *to, const float *from, int64_t rows, int64_t k) {
    memset(to, 0, (size_t)cm3_tiled_size(rows, k) * sizeof *to);
    for (int64_t r = 0; r < rows; r++) {
        uint16_t *group = to + cm3_tiled_size(r / CM3_TILE_ROWS * CM3_TILE_ROWS, k);
        for (int64_t i = 0; i < k; i++) group[place_of(r % CM3_TILE_ROWS, i)] = cm3_f32_to_bf16(from[r * k + i]);
    }
}

static void tile_products(float *y, int64_t ldy, const uint16_t *x, int64_t rows, const uint16_t *w, int64_t k,
                          int64_t n, uint16_t *scratch) {
    (void)scratch;
    for (int64_t r = 0; r < rows; r++) {
        const uint16_t *group = x + cm3_tiled_size(r / CM3_TILE_ROWS * CM3_TILE_ROWS, k);
        for (int64_t j = 0; j < n; j++) {
            float sum = 0;
            for (int64_t i = 0; i < k; i++) {
                sum += cm3_bf16_to_f32(group[place_of(r % CM3_TILE_ROWS, i)]) * cm3_bf16_to_f32(w[j * k + i]);
            }
            y[r * ldy + j] = sum;
        }
    }
}

void cm3_ref_tiles(cm3_kernels *kernels) {
    kernels->pack_tiles = pack_tiles;
    kernels->tile_products = tile_products;
}
