/* Training: tokenizers and language models, from shards of records to `.cm3` files. */
#ifndef CM3LEON_TRAIN_H
#define CM3LEON_TRAIN_H

#include "cm3leon/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Data are tar shards in WebDataset form (key.png or key.jpg, key.json or key.txt; the JSON holds "text": a caption or
 * a list of captions, and may hold "codes": the picture's codes) or JSON-lines files that name the pictures. All
 * records are read into memory, as they lie in the files, when a trainer is made; a record that does not fit is refused
 * by name. The image tokenizer learns from pictures; the language model from captions and codes
 * (cm3_train_encode_shards() makes them).
 */

/** Progress of a long call: `done` of `total` (0: unknown). Anything but 0 stops it with CM3_ERROR_CANCELLED. */
typedef int (*cm3_progress_fn)(void *user, uint64_t done, uint64_t total);

/* --- the text tokenizer ------------------------------------------------------------------------------------------- */

typedef struct cm3_train_bpe_options {
    size_t struct_size;
    const char *const *data; /**< paths of shards, .jsonl or .txt files (a text a line) */
    size_t data_count;
    int32_t vocab_size;    /**< of text: bytes and merges; default 1024, at least 256 */
    int32_t image_codes;   /**< names reserved for image codes; default 0 */
    int32_t sentinels;     /**< 16..512; default 16 */
    int32_t min_frequency; /**< of a pair to be merged; default 2 */
    cm3_progress_fn progress;
    void *user;
} cm3_train_bpe_options;

CM3_API void cm3_train_bpe_options_init(cm3_train_bpe_options *options);

/**
 * Learns a byte-level BPE from all captions. Ids: <pad>, </s> (end of document), <racm3:break>, <eoss> (end of span),
 * sentinels, image codes, then bytes and merges. *tokenizer is the caller's. Errors: INVALID_ARGUMENT, NOT_FOUND, IO,
 * FORMAT, NO_MEMORY, CANCELLED.
 */
CM3_API cm3_status cm3_train_bpe(cm3_context *context, const cm3_train_bpe_options *options, cm3_tokenizer **tokenizer);

/* --- trainers ----------------------------------------------------------------------------------------------------- */

/**
 * A training run. Its state lives in a directory and is written there as a whole by cm3_trainer_checkpoint(): killed at
 * any moment and made again, it goes on from there as if nothing had happened, to the last bit on the same number of
 * threads. Used by one thread at a time; computing happens on the context's compute thread.
 */
typedef struct cm3_trainer cm3_trainer;

typedef enum cm3_schedule { CM3_SCHEDULE_COSINE = 1, CM3_SCHEDULE_LINEAR = 2, CM3_SCHEDULE_CONSTANT = 3 } cm3_schedule;

/** What every run has. */
typedef struct cm3_train_options {
    size_t struct_size;
    const char *run_dir;     /**< made if it is not there; holds the checkpoint */
    int resume;              /**< not 0 (default): go on from a checkpoint found there; 0: begin anew */
    const char *const *data; /**< paths of shards */
    size_t data_count;
    const char *const *validation; /**< paths of held-out shards; may be none */
    size_t validation_count;
    uint64_t seed;         /**< default 1 */
    cm3_compute compute;   /**< of products; masters, sums and norms are f32. Default AUTO: bf16 where the CPU has it */
    int32_t batch_size;    /**< pictures, or blocks, a micro-step */
    int32_t accumulation;  /**< micro-steps an optimiser step; default 1 */
    int64_t steps;         /**< optimiser steps of the whole run */
    int64_t warmup;        /**< steps of linear warm-up */
    float lr;              /**< peak */
    float min_lr_ratio;    /**< lr at the end, as a share of the peak */
    cm3_schedule schedule; /**< default COSINE */
    float beta1, beta2, epsilon; /**< AdamW; defaults 0.9, 0.95, 1e-8 */
    float weight_decay;          /**< decoupled, of matrices and convolutions only */
    float clip_norm;             /**< of all gradients together; 0: off; default 1 */
    float weight_average;  /**< decay of a running average of the weights, which is then what is validated and exported;
                              0 (default): off */
    uint64_t memory_limit; /**< bytes that the records of data, and of validation, may take in memory; above it,
                              NO_MEMORY that says so. 0 (default): no limit */
} cm3_train_options;

/** The image tokenizer's own. */
typedef struct cm3_train_vq_options {
    size_t struct_size;
    const char *config_json;    /**< vq_config in Hugging Face's spelling, with norm_groups, patch_size and
                                     local_encoder (docs/architecture.md) */
    float l1_weight, l2_weight; /**< of reconstruction; defaults 1, 1 */
    float commitment;           /**< beta; default 0.25 */
    int learned_codebook; /**< 0 (default): running averages (EMA); else by gradient (van den Oord et al. 2017, eq. 3)
                           */
    float codebook_decay; /**< EMA; default 0.99 */
    float revival_threshold;  /**< an entry used less than this, on average a batch, is set to a vector of the batch;
                                 default 0.05 */
    int64_t quantise_from;    /**< step at which the codebook is laid over the latents; before, they pass as they are.
                                 Default 200 */
    float adversarial_weight; /**< of the patch discriminator, times the adaptive weight; 0 (default): none */
    int64_t adversarial_from; /**< step at which it begins to count */
} cm3_train_vq_options;

typedef enum cm3_attend { CM3_ATTEND_DOCUMENT = 1, CM3_ATTEND_BLOCK = 2 } cm3_attend;

/**
 * The CM3 objective: spans of what attention sees as one (a document, or with CM3_ATTEND_BLOCK a block) move behind it,
 * so that the model learns to fill them in. Never across a break; sentinels are not learned.
 */
typedef enum cm3_masking {
    CM3_MASKING_NONE = 0, /**< left to right only */
    CM3_MASKING_CODE = 1, /**< as the published code has it: Poisson(1) spans, so often none; each ends with <eoss> */
    CM3_MASKING_PAPER = 2 /**< as the paper has it (Aghajanyan et al. 2022, section 2): 1..16 spans without an end */
} cm3_masking;

/** The language model's own. */
typedef struct cm3_train_lm_options {
    size_t struct_size;
    const char *config_json; /**< the `lm` object of a .cm3 file's config; may be {"preset": name, ...}; vocab_size is
                                set by the tokenizer. NULL: that of `init` */
    const char *tokenizer;   /**< path of tokenizer.json; NULL: that of `init` */
    const char *image_tokenizer; /**< path of a .cm3 file with one; goes into the exported model. NULL: that of `init`;
                                    without one, text only */
    const char *init;            /**< path of a .cm3 file whose weights to begin with; NULL: fresh ones */
    int32_t block_size;          /**< tokens a block; documents are packed whole, the rest is padding without loss */
    float caption_dropout;       /**< share of captions replaced by sentinel 0 (guidance needs it); default 0.1 */
    cm3_attend attend;           /**< DOCUMENT (default): attention and positions begin anew with each document */
    cm3_masking masking;         /**< default CM3_MASKING_CODE */
    /**
     * NULL (default): documents of a record's caption and picture. Else instruction tuning (CM3Leon section 4): a JSON
     * object {TASK: weight} of the tasks to learn from the records' "examples"; {}: all that the data hold, with weight
     * 1. A pass over the data shares its items out by weight, an example coming at most 3 and at least 0.3 times.
     */
    const char *mixture;
    const char *tasks; /**< path of the tasks' templates (cm3_tasks_load()); NULL: the library's own */
    int answers_only;  /**< with a mixture: not 0: only answers are learned; 0 (default): all of a document */
    float text_weight; /**< of learning a token of text beside an image code's 1; 0 < w <= 1000; default 1 */
} cm3_train_lm_options;

/** The two-tower encoder's own: texts and pictures to vectors of one space, so that one finds the other. */
typedef struct cm3_train_encoder_options {
    size_t struct_size;
    const char *config_json; /**< of CLIP in Hugging Face's spelling: text_config, vision_config, projection_dim; the
                                vocabulary's size and end are set by the tokenizer */
    const char *tokenizer;   /**< path of tokenizer.json, or of a .cm3 file that holds one */
    int32_t chunk;           /**< pairs that are computed at once; the loss sees all of a batch (gradient caching,
                                Gao et al. 2021). Default 32 */
    float initial_scale;     /**< of inner products before the softmax; learned, at most 100. Default 14.29 */
    float query_weight;      /**< of telling texts apart by a query, beside pictures' 1; default 1 */
} cm3_train_encoder_options;

CM3_API void cm3_train_options_init(cm3_train_options *options);
CM3_API void cm3_train_encoder_options_init(cm3_train_encoder_options *options);
CM3_API void cm3_train_vq_options_init(cm3_train_vq_options *options);
CM3_API void cm3_train_lm_options_init(cm3_train_lm_options *options);

/** Errors: INVALID_ARGUMENT (also a checkpoint of other settings, which are named), NOT_FOUND, IO, FORMAT, NO_MEMORY.
 */
CM3_API cm3_status cm3_trainer_create_vq(cm3_context *context, const cm3_train_options *options,
                                         const cm3_train_vq_options *vq, cm3_trainer **trainer);
CM3_API cm3_status cm3_trainer_create_lm(cm3_context *context, const cm3_train_options *options,
                                         const cm3_train_lm_options *lm, cm3_trainer **trainer);

/**
 * Learns by the symmetric contrastive loss (Radford et al. 2021, figure 3) over the pairs of a batch, each record's
 * picture and one of its texts, and as well over pairs of that text and a query for it: one of the record's "query", or
 * else another of its texts. Records are pictures (not codes) with texts; what is exported is a `.cm3` file with the
 * encoder and the tokenizer. Errors: as of the others.
 */
CM3_API cm3_status cm3_trainer_create_encoder(cm3_context *context, const cm3_train_options *options,
                                              const cm3_train_encoder_options *encoder, cm3_trainer **trainer);

typedef struct cm3_train_report {
    size_t struct_size;                                    /**< set by the caller */
    int64_t step;                                          /**< steps done, this one included */
    int64_t steps;                                         /**< of the whole run */
    double loss;                                           /**< what is minimised */
    double l1, l2, commitment, adversarial, discriminator; /**< VQ: its terms */
    double text_loss, image_loss;                          /**< LM: means over text and over image tokens */
    double code_usage;                                     /**< VQ: share of codebook entries used in this batch */
    double lr, grad_norm;
    uint64_t samples;    /**< pictures or documents seen in the run */
    uint64_t tokens;     /**< LM: tokens seen, padding not counted */
    double seconds;      /**< of this step */
    double rate;         /**< pictures or tokens a second, in this step */
    double recall;       /**< encoder: share of the batch's texts that find their own picture first */
    double query_recall; /**< encoder: share of its queries that find their own text first */
    double scale;        /**< encoder: of inner products */
} cm3_train_report;

/**
 * One optimiser step. `report` may be NULL. Errors: NO_MEMORY, CANCELLED, those of a picture that cannot be read, and
 * FORMAT where a loss or gradient is not finite. A step that failed has done half of something: every further one, and
 * a checkpoint, give BUSY, and the run goes on from its last checkpoint, which stays good, with a new trainer.
 */
CM3_API cm3_status cm3_trainer_step(cm3_trainer *trainer, cm3_train_report *report);

/**
 * The loss over the validation data, a mean of its batches' losses, with the running average of the weights where there
 * is one; step, steps, loss and its terms are filled. Changes nothing. Errors: NOT_FOUND without such data, NO_MEMORY,
 * CANCELLED.
 */
CM3_API cm3_status cm3_trainer_validate(cm3_trainer *trainer, cm3_train_report *report);

/** Steps done, and of the whole run. */
CM3_API cm3_status cm3_trainer_progress(const cm3_trainer *trainer, int64_t *step, int64_t *steps);

/**
 * Writes the run's whole state to checkpoint.safetensors in its directory, atomically: at any moment the file is the
 * old one or the new one. Errors: IO, NO_SPACE, NO_MEMORY, BUSY after a step that failed.
 */
CM3_API cm3_status cm3_trainer_checkpoint(const cm3_trainer *trainer);

/**
 * Writes the model as it is now, the running average of the weights where there is one: a `.cm3` file with bf16
 * matrices and convolutions (AUTO, BF16), or all in F32. The file is replaced as a whole or not at all. Errors:
 * INVALID_ARGUMENT, IO, NO_SPACE, NO_MEMORY.
 */
CM3_API cm3_status cm3_trainer_export(const cm3_trainer *trainer, const char *path, cm3_compute weights);

/**
 * Makes the running call of step or validate, or the next one where none runs, end with CANCELLED soon; see
 * cm3_trainer_step() for what is left then. To end between two steps, stop calling. Any thread, signal handlers
 * included.
 */
CM3_API void cm3_trainer_cancel(cm3_trainer *trainer);

/** NULL is allowed. */
CM3_API void cm3_trainer_destroy(cm3_trainer *trainer);

/* --- pictures to codes, once ---------------------------------------------------------------------------------------
 */

/**
 * Reads shards and writes one shard each of the same name into `out_dir` whose records hold "codes" in their JSON in
 * place of the picture, so that language-model training need not encode them again; all else of the JSON stays.
 * "codebook" tells which image tokenizer made them: language-model training with another one is refused. A shard is
 * written whole or not at all, and one that is there already is left: a call that was stopped goes on where it was.
 * Errors: INVALID_ARGUMENT (also two shards of one name, or a shard that lies in `out_dir`), NOT_FOUND, IO, NO_SPACE,
 * FORMAT, NO_MEMORY, CANCELLED.
 */
CM3_API cm3_status cm3_train_encode_shards(cm3_context *context, const char *image_tokenizer, const char *const *data,
                                           size_t data_count, const char *out_dir, cm3_progress_fn progress,
                                           void *user);

#ifdef __cplusplus
}
#endif

#endif
