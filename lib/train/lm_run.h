/* A language model's training run: what its parts share. */
#ifndef CM3_TRAIN_LM_RUN_H
#define CM3_TRAIN_LM_RUN_H

#include "document/task.h"
#include "model/model.h"
#include "train/mixture.h"
#include "train/trainer.h"

#define CM3_MAX_CODES 16384

/** What a thread that makes batches works with. */
typedef struct cm3_lm_scratch {
    cm3_ids document, unit; /**< unit: what attention sees as one */
    float *weights;         /**< of learning each of the unit's ids */
    size_t weight_capacity;
    int32_t codes[CM3_MAX_CODES];
} cm3_lm_scratch;

typedef struct cm3_lm_run {
    cm3_train_lm_options options;
    cm3_tokenizer *tokenizer; /**< text, and the roles */
    cm3_model *image_model;   /**< holds the image tokenizer; NULL: text only */
    uint64_t codebook;        /**< the image tokenizer's fingerprint */
    cm3_tasks *tasks;
    cm3_mixture *mixtures[2]; /**< of training and validation data; NULL: documents of caption and picture */
    cm3_lm *lm;
    float *losses;             /**< [rows] of the last batch */
    cm3_lm_scratch scratch[2]; /**< of the loader's thread, and of validation beside it */
} cm3_lm_run;

static inline cm3_lm_run *cm3_lm_run_of(const cm3_trainer *trainer) {
    return trainer->part;
}

static inline const cm3_vq *cm3_lm_run_vq(const cm3_lm_run *run) {
    return run->image_model && run->image_model->tokenizer ? run->image_model->tokenizer->vq : NULL;
}

/**
 * What attention sees as one, from the data's `position` on, in scratch->unit, its spans moved where the run says so;
 * *documents: how many it is made of. *weights: NULL (1), or of learning each id.
 */
cm3_status cm3_lm_make_unit(cm3_trainer *trainer, cm3_dataset *dataset, uint64_t position, cm3_lm_scratch *scratch,
                            const float **weights, uint64_t *documents);

/** Every example must bring what its task's template names. FORMAT with the record and the name. */
cm3_status cm3_lm_check_mixture(cm3_trainer *trainer, const cm3_mixture *mixture);

#endif
