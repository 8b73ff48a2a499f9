/* What all trainers share: options, data, the optimiser, the background loader, the checkpoint. */
#ifndef CM3_TRAIN_TRAINER_H
#define CM3_TRAIN_TRAINER_H

#include "train/buckets.h"
#include "train/checkpoint.h"
#include "train/dataset.h"
#include "train/prefetch.h"

/** What a kind of trainer brings. All but export_to are called on the compute thread. */
typedef struct cm3_trainer_kind {
    const char *name; /**< "vq", "lm", "encoder" */
    /** Not false: a batch is computed by all ranks, each a share of it, and the first rank alone adds to the report;
     * else whole micro-steps are shared out. */
    bool splits_batches;
    /** Before the step's first batch. May be NULL. */
    void (*begin_step)(cm3_trainer *trainer);
    /**
     * Forward and backward of one micro-step; adds to gradients and to the report's terms. Where trainer->last_micro is
     * set, it calls cm3_buckets_watch() before its last pass.
     */
    cm3_status (*micro_step)(cm3_trainer *trainer, const void *batch, cm3_train_report *report);
    /** All ranks have done their micro-steps, and nothing went wrong: what is gathered beside gradients. May be NULL.
     * Errors: only those of the ranks. */
    cm3_status (*before_update)(cm3_trainer *trainer, cm3_train_report *report);
    /** The step is left out: undoes what its micro-steps did beside gradients. May be NULL. */
    void (*left_out)(cm3_trainer *trainer);
    /** The loss of one batch without learning: adds to the report's terms. */
    cm3_status (*measure)(cm3_trainer *trainer, const void *batch, cm3_train_report *report);
    cm3_status (*export_to)(const cm3_trainer *trainer, const char *path, cm3_dtype dtype);
    /** The optimisers hold all values that are learned: gives back the memory where they lay (see
     * cm3_optimizer_take_over()). */
    cm3_status (*moved_out)(cm3_trainer *trainer);
    void (*destroy)(cm3_trainer *trainer);
    /** Builds batch after batch from a dataset: see prefetch.h. */
    cm3_batch_maker maker;
} cm3_trainer_kind;

struct cm3_trainer {
    cm3_context *context;
    const cm3_trainer_kind *kind;
    cm3_train_options options; /**< strings are owned copies where kept */
    cm3_ranks ranks;
    cm3_buckets *buckets; /**< NULL: alone */
    char *checkpoint_path, *settings;
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
    cm3_optimizer *second; /**< the discriminator's, or NULL */
    void *part;            /**< the kind's own */
    /* of the step that is being made */
    bool second_learns; /**< set by begin_step */
    bool last_micro;    /**< the micro-step is the rank's last */
    int32_t micro;      /**< which of the step's, over all ranks */
    int32_t points;     /**< of agreement before gradients are summed up, yet to come; set by begin_step */
    int32_t skipped;    /**< steps left out in a row */
};

/**
 * Fills the common parts, where the kind's own options are in order (`own`); on failure *trainer may be there all the
 * same, for cm3_trainer_finish().
 */
cm3_status cm3_trainer_init(cm3_context *context, const cm3_train_options *options, cm3_status own,
                            const cm3_trainer_kind *kind, cm3_trainer **trainer);
/** The common settings as a JSON object, for `settings`. */
json_t *cm3_trainer_settings(const cm3_trainer *trainer);
/** A tokenizer from tokenizer.json, or out of a .cm3 file. */
cm3_status cm3_trainer_load_tokenizer(cm3_context *context, const char *path, cm3_tokenizer **tokenizer);
/**
 * The last thing a kind's create does, however it fared: agrees with the other ranks, reads a checkpoint where one is
 * to be resumed, and starts the loader. On failure `made` (NULL is allowed) is destroyed.
 */
cm3_status cm3_trainer_finish(cm3_trainer *made, cm3_status status, cm3_trainer **trainer);

/** Which of a step's micro-steps are this rank's. */
cm3_share cm3_trainer_share(const cm3_trainer *trainer);
/** A point of agreement in a micro-step. */
cm3_status cm3_trainer_agree(cm3_trainer *trainer, cm3_status own);

/** One step, on the compute thread: `report` gets its terms. */
cm3_status cm3_trainer_compute_step(cm3_trainer *trainer, cm3_train_report *report);
/** The loss over the validation data, on the compute thread. */
cm3_status cm3_trainer_compute_validation(cm3_trainer *trainer, cm3_train_report *report);

#endif
