/* The symmetric contrastive loss of two lists of vectors, and its gradient. */
#ifndef CM3_TRAIN_CONTRASTIVE_H
#define CM3_TRAIN_CONTRASTIVE_H

#include "nn/graph.h"

/** Vectors a and b [count, d]: row i of one belongs to row i of the other. */
typedef struct cm3_contrastive {
    const float *a, *b;
    int64_t count, d;
    float scale; /**< of inner products of the vectors brought to length 1 */
} cm3_contrastive;

typedef struct cm3_contrastive_result {
    double loss;   /**< mean of the cross entropies of rows and of columns (Radford et al. 2021, figure 3) */
    double recall; /**< share of rows of a whose own row of b scores best */
    double dscale; /**< gradient of the scale's logarithm */
} cm3_contrastive_result;

/**
 * The loss; where da is not NULL, `weight` times its gradient is added to da and db [count, d], and dscale is that of
 * the scale's logarithm. Runs on the graph's kernels; takes memory of its arena. Errors: NO_MEMORY.
 */
cm3_status cm3_contrastive_loss(cm3_graph *graph, const cm3_contrastive *pairs, float weight, float *da, float *db,
                                cm3_contrastive_result *result);

/** Rows of x [count, d] brought to length 1, and what they were divided by [count]. A row of zeros stays. */
void cm3_unit_rows(const float *x, int64_t count, int64_t d, float *unit, float *lengths);
/** dx += weight * (du - u (u . du)) / length: the way back through the division. */
void cm3_unit_rows_back(const float *du, const float *unit, const float *lengths, int64_t count, int64_t d,
                        float weight, float *dx);

#endif
