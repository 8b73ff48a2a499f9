/* Documents packed whole into blocks: the rows of one training step. */
#ifndef CM3_TRAIN_PACKING_H
#define CM3_TRAIN_PACKING_H

#include "base/context.h"

/** `blocks` blocks of `size` rows. */
typedef struct cm3_packed {
    int64_t rows;                               /**< blocks * size */
    int32_t *ids, *positions, *first, *targets; /**< [rows]; targets -1: none. ids NULL: only counts are kept */
    float *weights;                             /**< [rows] */
    uint64_t documents, tokens;                 /**< padding not counted */
} cm3_packed;

/** Bytes of a batch in one piece of memory. */
size_t cm3_packed_bytes(int64_t rows);
/** Lays the arrays behind the header in memory of cm3_packed_bytes(). */
void cm3_packed_lay(cm3_packed *packed, int64_t rows);

/** Where the next document of a block goes. */
typedef struct cm3_packer {
    cm3_packed *packed;
    int64_t size, block, used; /**< rows used of the current block */
    int64_t longest;           /**< what a document is cut to; the block's size where a caller sets nothing less */
    bool whole_block;          /**< attention and positions run through the block */
} cm3_packer;

/** Begins a batch: all rows are padding. */
void cm3_packer_begin(cm3_packer *packer, cm3_packed *packed, int64_t size, bool whole_block, int32_t pad);

/**
 * Adds a document, cut to `longest`; weights: NULL (1), or [count], of learning each of its ids. False, and nothing is
 * added, where neither this block nor a further one has room: the batch is full.
 */
bool cm3_packer_add(cm3_packer *packer, const int32_t *ids, const float *weights, int64_t count);

#endif
