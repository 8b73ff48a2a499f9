/* A loaded model: what a cm3_model and a cm3_tokenizer hold. */
#ifndef CM3_MODEL_MODEL_H
#define CM3_MODEL_MODEL_H

#include <pthread.h>
#include <stdatomic.h>

#include "image/preprocess.h"
#include "image/vq.h"
#include "model/clip.h"
#include "model/lm.h"
#include "text/bpe.h"
#include "text/special.h"

struct cm3_tokenizer {
    cm3_context *context;
    atomic_int references;
    cm3_bpe *bpe;                       /**< NULL: images only */
    cm3_vq *vq;                         /**< NULL: text only */
    cm3_hf_preprocessing preprocessing; /**< of CM3_PREPROCESSING_HF; shortest_edge 0: the defaults */
    cm3_special_tokens special;         /**< roles; eod and the like -1 where the file names none */
    cm3_weights *weights;               /**< held for vq; NULL where there is none */
};

struct cm3_model {
    cm3_context *context;
    atomic_int references;
    cm3_weights *weights;
    char *config_json;
    cm3_lm *lm;               /**< NULL: the file holds no language model */
    cm3_clip *clip;           /**< NULL: no encoder */
    cm3_tokenizer *tokenizer; /**< NULL: the file holds none */
    uint32_t parts;
    uint64_t held_bytes; /**< taken by loading, and kept, of the context's memory */
    /** The engine that serves requests of this model; lib/generate makes it on first use and takes it down here. */
    pthread_mutex_t engine_lock;
    void *engine;
    void (*engine_destroy)(void *engine);
};

void cm3_tokenizer_retain(cm3_tokenizer *tokenizer);
/** A text-only tokenizer over `bpe`, which it takes over, also on failure; its special tokens are the caller's to fill.
 */
cm3_status cm3_tokenizer_create(cm3_context *context, cm3_bpe *bpe, cm3_tokenizer **tokenizer);

/** cm3_tokenizer_encode_image_as() of a tokenizer that has a part for images, by either choice of codes; `codes` has
 * room for a picture. */
cm3_status cm3_tokenizer_codes(const cm3_tokenizer *tokenizer, const cm3_image *image, cm3_preprocessing preprocessing,
                               cm3_vq_choice choice, int32_t *codes);

/**
 * The model at `path` as far as its shape goes, for estimates: nothing is copied or made, weights are not checked, and
 * what lies in files is only mapped. `held_bytes` is what loading with these options would keep. Not to be computed
 * with. Errors as of cm3_model_load(); NO_MEMORY where `max_bytes` is too little.
 */
cm3_status cm3_model_outline(cm3_context *context, const char *path, const cm3_load_options *options,
                             cm3_model **model);

/** What goes into a `.cm3` file; any part may be NULL. */
typedef struct cm3_model_content {
    const cm3_lm *lm;
    const cm3_vq *vq;
    const cm3_clip *clip;
    const cm3_bpe *bpe;
    const cm3_special_tokens *special; /**< with bpe */
    cm3_dtype lm_dtype, vq_dtype,
        clip_dtype; /**< of matrices and convolutions in the file: F32 or BF16; vectors are F32 */
} cm3_model_content;

/** Writes it atomically: `lm.` and `vq.` tensors, config, tokenizer, checksum (design.md, Files). */
cm3_status cm3_model_write(cm3_context *context, const char *path, const cm3_model_content *content);

/** What each code of an image tokenizer costs: see CM3_VQ_COST. */
typedef struct cm3_code_costs {
    const float *values;
    int64_t count;
} cm3_code_costs;

/** The model once more with other costs, all else as it is: as cm3_model_convert() does it, with its errors, and
 * INVALID_ARGUMENT where the tokenizer has another number of codes. */
cm3_status cm3_model_set_costs(cm3_context *context, const char *path, const char *to, const cm3_code_costs *costs);

/** Version of the format that is written, and the only one that is read. */
#define CM3_FILE_VERSION "1"

#endif
