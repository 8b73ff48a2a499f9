/* AdamW over a list of parameters, clipping by the global norm, schedules, and the running average of weights. */
#ifndef CM3_TRAIN_OPTIMIZER_H
#define CM3_TRAIN_OPTIMIZER_H

#include "cm3leon/train.h"
#include "nn/graph.h"

typedef struct cm3_optimized {
    const char *name;   /**< not owned */
    cm3_tensor *tensor; /**< f32; its grad and bf16 are made here */
    bool decay;
    float *m, *v, *average; /**< average: NULL where there is none */
} cm3_optimized;

typedef struct cm3_optimizer {
    cm3_context *context;
    const cm3_train_options *options; /**< not owned */
    cm3_optimized *parameters;
    size_t count, capacity;
    int64_t step; /**< steps done */
} cm3_optimizer;

void cm3_optimizer_init(cm3_context *context, const cm3_train_options *options, cm3_optimizer *optimizer);
/** Adds a parameter: gradient, moments, bf16 shadow (where `shadow`), average. The tensor wants gradients from now on.
 */
cm3_status cm3_optimizer_add(cm3_optimizer *optimizer, const char *name, cm3_tensor *tensor, bool decay, bool shadow);
/** Gives back all that add() made; the tensors stay. */
void cm3_optimizer_clear(cm3_optimizer *optimizer);
/** Rounds all masters into their shadows: after a checkpoint was read. */
void cm3_optimizer_refresh(cm3_optimizer *optimizer, const cm3_kernels *kernels);

/** The learning rate of step `step` (0 is the first). */
double cm3_learning_rate(const cm3_train_options *options, int64_t step);

/**
 * One step: gradients times 1/accumulation, clipped, applied, zeroed. *norm is the global norm before clipping; FORMAT
 * with the step's number where it is not finite, and nothing is changed then. On the compute thread.
 */
cm3_status cm3_optimizer_step(cm3_optimizer *optimizer, cm3_graph *graph, double *norm);

/** Exchanges weights and averages, so that the averages are validated or exported; a second call brings the weights
 * back. */
void cm3_optimizer_swap_average(cm3_optimizer *optimizer, const cm3_kernels *kernels);

#endif
