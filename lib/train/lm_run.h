/* A language model's training run: what its parts share. */
#ifndef CM3_TRAIN_LM_RUN_H
#define CM3_TRAIN_LM_RUN_H

#include "document/task.h"
#include "model/model.h"
#include "retrieve/bank.h"
#include "train/mixture.h"
#include "train/trainer.h"

#define CM3_MAX_CODES 16384
#define CM3_MOST_RETRIEVED 16

/** What a thread that makes batches works with. */
typedef struct cm3_lm_scratch {
    cm3_ids document, unit; /**< unit: what attention sees as one */
    float *weights;         /**< of learning each of the unit's ids */
    size_t weight_capacity;
    int32_t codes[CM3_MAX_CODES];
    int64_t retrieved; /**< tokens behind the unit's first that were looked up; of a unit of one document */
} cm3_lm_scratch;

typedef struct cm3_lm_run {
    cm3_train_lm_options options;
    cm3_tokenizer *tokenizer; /**< text, and the roles */
    cm3_model *image_model;   /**< holds the image tokenizer; NULL: text only */
    uint64_t codebook;        /**< the image tokenizer's fingerprint */
    cm3_bank *bank;           /**< NULL: nothing is looked up */
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

/**
 * Puts some of a sample's neighbours behind the first token of `ids`, as many as fit `room` tokens with it; where the
 * caption was dropped, in its place. *added: by how many tokens the rest moved; *retrieved: how many were looked up.
 */
cm3_status cm3_lm_add_neighbours(cm3_trainer *trainer, const cm3_sample *sample, cm3_random *random, bool validating,
                                 cm3_ids *ids, int64_t *added, int64_t *retrieved);

/** Neighbours must be of the run's bank. FORMAT with the record. */
cm3_status cm3_lm_check_neighbours(const cm3_trainer *trainer, const cm3_dataset *dataset);

/** Every example must bring what its task's template names. FORMAT with the record and the name. */
cm3_status cm3_lm_check_mixture(cm3_trainer *trainer, const cm3_mixture *mixture);

#endif
