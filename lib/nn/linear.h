/* Matrix products among themselves: what linear.c, linear_few.c and matmul.c share. */
#ifndef CM3_NN_LINEAR_H
#define CM3_NN_LINEAR_H

#include "nn/ops.h"

/** Operands of one product, c (+)= op(a) op(b), in the types at hand. */
typedef struct cm3_product {
    int64_t batch; /**< so many of it, each behind the other */
    int64_t m, n, k;
    bool trans_a, trans_b, accumulate;
    cm3_dtype dtype; /**< of a and b */
    const void *a, *b;
    float *c;
    int64_t ldc;       /**< from a row of c to the next; 0: n. Only with a batch of one */
    const float *bias; /**< [n] or NULL; only with a batch of one and trans_a = false */
} cm3_product;

/** By oneDNN, or, where it has nothing, by the portable product. */
void cm3_nn_product(cm3_graph *graph, const cm3_product *product);

/** f32 values of bf16 data, in the arena. */
const float *cm3_nn_widen(cm3_graph *graph, const void *data, int64_t count);

/** Rows of x [rows, k] as a matrix of integers wants them, in the arena. False where there is no memory. */
bool cm3_nn_quantise_rows(cm3_graph *graph, const cm3_tensor *w, const float *x, int64_t rows, cm3_quantised_rows *to);

/** One product c (+)= a w^T of f32 rows with a matrix of integers, in p->dtype; changes p. False where it failed. */
bool cm3_nn_quantised_product(cm3_graph *graph, cm3_product *p, const cm3_tensor *w);

/** What is done with the products of a stage, column by column. */
typedef enum cm3_few_end {
    CM3_FEW_PLAIN,    /**< nothing: each part keeps its own */
    CM3_FEW_SWIGLU,   /**< two parts of the same size: swish(first) * second, in the first's place */
    CM3_FEW_ACTIVATE, /**< one part: its activation */
    CM3_FEW_ADD       /**< one part: added to the residual */
} cm3_few_end;

#define CM3_FEW_PARTS 3

/** Products of the same few rows with up to three matrices, and what follows, in one pass of the team. */
typedef struct cm3_few_stage {
    const cm3_tensor *x; /**< [rows, k] */
    int64_t rows;
    cm3_linear_weights parts[CM3_FEW_PARTS];
    float *y[CM3_FEW_PARTS]; /**< [rows, n] each */
    int count;
    cm3_few_end end;
    cm3_activation activation;
    float *residual; /**< CM3_FEW_ADD: [rows, n] */
} cm3_few_stage;

void cm3_nn_few(cm3_graph *graph, const cm3_few_stage *stage);

#endif
