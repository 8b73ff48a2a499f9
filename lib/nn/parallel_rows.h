/* Row-wise work on the team: how operations hand ranges of rows to kernels. */
#ifndef CM3_NN_PARALLEL_ROWS_H
#define CM3_NN_PARALLEL_ROWS_H

#include "nn/graph.h"

/** Rows of `n` elements so that a member gets at least about 16 thousand elements: below that a hand-over costs more.
 */
static inline int64_t cm3_row_grain(int64_t n) {
    return n > 16384 ? 1 : 16384 / (n > 0 ? n : 1);
}

#endif
