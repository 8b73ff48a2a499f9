/* An encoder's training run: what its parts share. */
#ifndef CM3_TRAIN_ENCODER_RUN_H
#define CM3_TRAIN_ENCODER_RUN_H

#include "model/model.h"
#include "train/trainer.h"

typedef struct cm3_encoder_run {
    cm3_train_encoder_options options;
    cm3_tokenizer *tokenizer;
    cm3_clip *clip;
    cm3_tensor log_scale;
    float log_scale_value;
    int32_t *ids[2]; /**< the loader's scratch, of data and of validation */
    size_t id_capacity[2];
    int64_t room;               /**< pairs that a list of vectors has room for: the batch, or as many for each rank */
    float *vectors, *gradients; /**< [3, room, d]: pictures, texts, queries */
} cm3_encoder_run;

static inline cm3_encoder_run *cm3_encoder_run_of(const cm3_trainer *trainer) {
    return trainer->part;
}

/** Pairs of the batch. */
typedef struct cm3_pair_range {
    int64_t begin, end;
} cm3_pair_range;

/** Chunks of a batch. */
int64_t cm3_encoder_chunks(const cm3_trainer *trainer);
/** Whole chunks are a rank's; each goes through its towers the same way whoever's it is. */
cm3_pair_range cm3_encoder_own_pairs(const cm3_trainer *trainer);

/** A batch: for each pair a picture's values, then the lengths of both texts, then their ids in equal rooms. */
typedef struct cm3_pair_batch {
    float *pixels;
    int32_t *lengths; /**< [2, batch]; 0 of a query: there is none */
    int32_t *ids;     /**< [2, batch, max_positions] */
} cm3_pair_batch;

size_t cm3_encoder_batch_bytes(const cm3_trainer *trainer);
/** Where its parts lie in memory of that size. */
cm3_pair_batch cm3_encoder_batch_parts(const cm3_trainer *trainer, void *memory);
/** Floats of a picture. */
size_t cm3_encoder_picture_values(const cm3_encoder_run *run);

/** See prefetch.h. Of another rank's pairs no more is made than whether there is a query. */
cm3_status cm3_encoder_make_batch(void *trainer, cm3_dataset *dataset, uint64_t *position, void *memory);

#endif
