/*
 * AdamW over a list of parameters, clipping by the global norm, schedules, and the running average of weights.
 *
 * Gradients, moments and averages lie in flat arrays, one place a parameter in all of them, in the order in which the
 * way back finishes gradients: the last parameter first. With several ranks the arrays have equal slices, one a rank
 * (ZeRO, stage 1; Rajbhandari et al. 2020): of moments and averages a rank holds its own slice alone, applies AdamW to
 * the parameters that lie in it, and gathers the others' new weights. Where products are of bf16 it holds of the f32
 * values that nothing but AdamW reads its own slice, too: what is gathered of those matrices are their bf16 copies.
 */
#ifndef CM3_TRAIN_OPTIMIZER_H
#define CM3_TRAIN_OPTIMIZER_H

#include "nn/graph.h"
#include "train/comm.h"

/** How the network reads a parameter where its products are of bf16; in f32 all are read in f32. */
typedef enum cm3_reading {
    CM3_READ_F32,  /**< norms, biases, tables */
    CM3_READ_BF16, /**< its bf16 copy alone: matrices and convolutions */
    CM3_READ_BOTH  /**< a table that is a matrix, too */
} cm3_reading;

typedef struct cm3_optimized {
    const char *name;   /**< not owned */
    cm3_tensor *tensor; /**< f32; its grad and bf16 are made here */
    bool decay;
    cm3_reading reading;
    int64_t at; /**< place in the flat arrays; a multiple of 16 */
    /** Its f32 values, where cm3_optimizer_take_over() made them the optimiser's; else NULL. */
    float *own;
    bool apart; /**< `own` is what lies in this rank's slice, and tensor->data is NULL */
} cm3_optimized;

/** The arrays of which each rank holds its slice; weights are no flat array, but parts of those that are apart. */
typedef enum cm3_moment {
    CM3_MOMENT_M = 0,
    CM3_MOMENT_V = 1,
    CM3_MOMENT_AVERAGE = 2,
    CM3_MOMENT_WEIGHT = 3
} cm3_moment;

typedef struct cm3_optimizer {
    cm3_context *context;
    const cm3_train_options *options; /**< not owned */
    cm3_ranks *ranks;                 /**< not owned; NULL: alone */
    cm3_optimized *parameters;
    size_t count, capacity;
    int64_t total;        /**< of the flat arrays: `slice` times the number of ranks */
    int64_t slice, begin; /**< elements a rank, a multiple of 16; where one's own slice begins */
    float *gradients;     /**< [total] */
    float *moments[3];    /**< [slice]; the average NULL where there is none */
    float *pieces;        /**< with several ranks: [ranks, piece], what is under way between them */
    int64_t piece;
    int64_t step; /**< steps done */
    bool apart;   /**< some parameters are */
} cm3_optimizer;

void cm3_optimizer_init(cm3_context *context, const cm3_train_options *options, cm3_optimizer *optimizer);
/** Adds a parameter. The tensor wants gradients from now on. */
cm3_status cm3_optimizer_add(cm3_optimizer *optimizer, const char *name, cm3_tensor *tensor, bool decay,
                             cm3_reading reading);
/** Behind the last parameter: gives all of them gradients, moments, averages, bf16 copies where they are read. `ranks`:
 * NULL, or of the run. */
cm3_status cm3_optimizer_lay(cm3_optimizer *optimizer, cm3_ranks *ranks);
/** Whether there are values that need not be whole on each rank: several ranks, and products of bf16. */
bool cm3_optimizer_can_part(const cm3_optimizer *optimizer);
/**
 * Where cm3_optimizer_can_part() says so: copies all f32 values, of those that are read in bf16 alone this rank's
 * slice, whose tensors lose their data. Afterwards the memory where they lay before may be given back, on failure not.
 * bf16 copies are made by cm3_optimizer_refresh().
 */
cm3_status cm3_optimizer_take_over(cm3_optimizer *optimizer);
/** Gives back all that was made here; the tensors stay. */
void cm3_optimizer_clear(cm3_optimizer *optimizer);
/** All bf16 copies from f32 values: after a checkpoint was read. Called by all ranks. Errors: theirs. */
cm3_status cm3_optimizer_refresh(cm3_optimizer *optimizer, const cm3_kernels *kernels);

/** The learning rate of step `step` (0 is the first). */
double cm3_learning_rate(const cm3_train_options *options, int64_t step);

/** This rank's part of the gradients' sum of squares, before they are divided by the micro-steps: alone, all of it. */
double cm3_optimizer_squares(const cm3_optimizer *optimizer, const cm3_kernels *kernels);
/** The norm that all ranks' parts give. */
double cm3_optimizer_norm(const cm3_optimizer *optimizer, double squares);
/**
 * One step: gradients times 1/accumulation, clipped by their norm, applied, zeroed; with several ranks new weights are
 * gathered. Errors: only theirs. On the compute thread.
 */
cm3_status cm3_optimizer_apply(cm3_optimizer *optimizer, cm3_graph *graph, double norm);
/** A step that is left out: counted, its gradients zeroed. */
void cm3_optimizer_skip(cm3_optimizer *optimizer, cm3_graph *graph);
/** All of it for one process; FORMAT with the step's number where the norm is not finite, and nothing is changed then.
 */
cm3_status cm3_optimizer_step(cm3_optimizer *optimizer, cm3_graph *graph, double *norm);

/**
 * Exchanges weights and averages, so that the averages are validated or exported; a second call brings the weights
 * back. Called by all ranks. Errors: theirs.
 */
cm3_status cm3_optimizer_swap_average(cm3_optimizer *optimizer, const cm3_kernels *kernels);

/**
 * Whole f32 values for an export: what lies apart is gathered where the gradients are, which are nothing between two
 * steps. Called by all ranks. Errors: theirs. cm3_optimizer_part_again() ends it, however it went.
 */
cm3_status cm3_optimizer_bring_together(cm3_optimizer *optimizer);
void cm3_optimizer_part_again(cm3_optimizer *optimizer);

/** What this rank holds, in bytes: moments and averages; all f32 values of parameters. */
typedef struct cm3_optimizer_memory {
    uint64_t moments, weights;
} cm3_optimizer_memory;

cm3_optimizer_memory cm3_optimizer_bytes(const cm3_optimizer *optimizer);

#endif
