/* Mixtures: the examples of a dataset by task, and how often each is seen. */
#ifndef CM3_TRAIN_MIXTURE_H
#define CM3_TRAIN_MIXTURE_H

#include "document/task.h"
#include "train/dataset.h"

/* How far a mixture may go from its data: an example comes at most and at least so often in a pass (Yu et al. 2023,
 * appendix E.1: thresholds of up- and down-sampling). */
#define CM3_MOST_REPEATED 3.0
#define CM3_LEAST_REPEATED 0.3

/** One thing to learn. */
typedef struct cm3_item {
    const cm3_task *task;
    const cm3_sample *sample;
    const cm3_example *example; /**< NULL: nothing but the sample's caption and picture */
} cm3_item;

typedef struct cm3_mixture_task {
    const cm3_task *task;
    double weight;
    uint32_t first, count; /**< items */
    double repeated;       /**< of each, in a pass */
    uint32_t in_pass;
} cm3_mixture_task;

typedef struct cm3_mixture_entry {
    uint32_t sample, example;
} cm3_mixture_entry;

typedef struct cm3_mixture {
    const cm3_dataset *dataset;
    uint64_t seed;
    cm3_mixture_task *tasks;
    size_t task_count;
    cm3_mixture_entry *entries; /**< by task */
    uint32_t entry_count;
    uint32_t *order, *pool; /**< of one pass at a time */
    size_t size;            /**< items of a pass */
    uint64_t pass;          /**< of `order`; UINT64_MAX before the first */
} cm3_mixture;

/**
 * All examples whose task has a weight; records without examples are examples of `generate`. A pass has as many items
 * as there are examples, shared out by weight, each task's at most CM3_MOST_REPEATED and at least CM3_LEAST_REPEATED
 * times what it has. `weights`: a JSON object {TASK: weight}; NULL or empty: every task in the data with 1. `once`:
 * each example just once (validation). Errors: FORMAT (a task without a template, or a weight that is no number above
 * 0), NOT_FOUND (a task with a weight and without examples).
 */
cm3_status cm3_mixture_create(const cm3_dataset *dataset, const cm3_tasks *tasks, const char *weights, bool once,
                              cm3_mixture **mixture);
void cm3_mixture_destroy(cm3_mixture *mixture);

/** The example that is entry `number`. */
cm3_item cm3_mixture_item(const cm3_mixture *mixture, uint32_t number);

/** The item at `position` of the endless stream of passes: a pure function of (seed, position). One thread at a time.
 */
cm3_item cm3_mixture_at(cm3_mixture *mixture, uint64_t position);

#endif
