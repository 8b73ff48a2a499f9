/* What all trainers share: options, data, the optimiser, the background loader, the checkpoint. */
#ifndef CM3_TRAIN_TRAINER_H
#define CM3_TRAIN_TRAINER_H

#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/prefetch.h"

/** What a kind of trainer brings. All but export_to are called on the compute thread. */
typedef struct cm3_trainer_kind {
    const char *name; /**< "vq", "lm" */
    /** Forward and backward of one micro-step; adds to gradients and to the report's terms. */
    cm3_status (*micro_step)(cm3_trainer *trainer, const void *batch, cm3_train_report *report);
    /** After the optimiser's step. May be NULL. */
    cm3_status (*after_step)(cm3_trainer *trainer);
    /** The loss of one batch without learning: adds to the report's terms. */
    cm3_status (*measure)(cm3_trainer *trainer, const void *batch, cm3_train_report *report);
    cm3_status (*export_to)(const cm3_trainer *trainer, const char *path, cm3_dtype dtype);
    void (*destroy)(cm3_trainer *trainer);
    /** Builds batch after batch from a dataset: see prefetch.h. */
    cm3_batch_maker maker;
} cm3_trainer_kind;

struct cm3_trainer {
    cm3_context *context;
    const cm3_trainer_kind *kind;
    cm3_train_options options; /**< strings are owned copies where kept */
    char *run_dir, *checkpoint_path, *settings;
    cm3_dataset *data, *validation;
    cm3_graph *graph;
    cm3_optimizer optimizer;
    cm3_prefetch *prefetch;
    size_t batch_bytes; /**< of one batch as the maker fills it; set by the kind */
    uint64_t position;  /**< in the stream of samples: where the next batch begins */
    uint64_t samples, tokens;
    atomic_int cancelled;
    bool failed;
    cm3_extra_state extra[4];
    size_t extra_count;
    uint64_t *numbers[4];
    size_t number_count;
    cm3_optimizer *second; /**< the discriminator's, or NULL */
    void *part;            /**< the kind's own */
};

/** Fills the common parts; on failure the caller destroys it. */
cm3_status cm3_trainer_init(cm3_context *context, const cm3_train_options *options, const cm3_trainer_kind *kind,
                            cm3_trainer **trainer);
/** The common settings as a JSON object, for `settings`. */
json_t *cm3_trainer_settings(const cm3_trainer *trainer);
/** Reads a checkpoint where one is to be resumed, and starts the loader. The last thing a kind's create does. */
cm3_status cm3_trainer_begin(cm3_trainer *trainer);

#endif
