/* Packing. */
#include "train/packing.h"

size_t cm3_packed_bytes(int64_t rows) {
    return (sizeof(cm3_packed) + 63) / 64 * 64 + (size_t)rows * (4 * sizeof(int32_t) + sizeof(float));
}

void cm3_packed_lay(cm3_packed *packed, int64_t rows) {
    int32_t *place = (int32_t *)((char *)packed + (sizeof *packed + 63) / 64 * 64);
    *packed = (cm3_packed){.rows = rows,
                           .ids = place,
                           .positions = place + rows,
                           .first = place + 2 * rows,
                           .targets = place + 3 * rows,
                           .weights = (float *)(place + 4 * rows)};
}

void cm3_packer_begin(cm3_packer *packer, cm3_packed *packed, int64_t size, bool whole_block, int32_t pad) {
    *packer = (cm3_packer){.packed = packed, .size = size, .longest = size, .whole_block = whole_block};
    packed->documents = packed->tokens = 0;
    for (int64_t i = 0; packed->ids && i < packed->rows; i++) {
        packed->ids[i] = pad;
        packed->positions[i] = 0;
        packed->first[i] = (int32_t)i;
        packed->targets[i] = -1;
        packed->weights[i] = 0;
    }
}

bool cm3_packer_add(cm3_packer *packer, const int32_t *ids, const float *weights, int64_t count) {
    cm3_packed *packed = packer->packed;
    if (count > packer->longest) count = packer->longest;
    if (packer->used + count > packer->size) {
        if ((packer->block + 2) * packer->size > packed->rows) return false;
        packer->block++;
        packer->used = 0;
    }
    int64_t block = packer->block * packer->size, begin = block + packer->used;
    int64_t origin = packer->whole_block ? block : begin;
    for (int64_t i = 0; packed->ids && i < count; i++) {
        int64_t row = begin + i;
        packed->ids[row] = ids[i];
        packed->positions[row] = (int32_t)(row - origin);
        packed->first[row] = (int32_t)origin;
        packed->targets[row] = i + 1 < count ? ids[i + 1] : -1;
        if (i + 1 < count) packed->weights[row] = weights ? weights[i + 1] : 1;
    }
    packer->used += count;
    packed->documents++;
    packed->tokens += (uint64_t)count;
    return true;
}
