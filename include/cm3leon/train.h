/**
 * @file
 * Training: tokenizers and language models, from shards of records to `.cm3` files.
 */
#ifndef CM3LEON_TRAIN_H
#define CM3LEON_TRAIN_H

#include "cm3leon/model.h"
#include "cm3leon/retriever.h"

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

/** How a text tokenizer is learned. */
typedef struct cm3_train_bpe_options {
    size_t struct_size;       /**< sizeof of this struct */
    const char *const *data;  /**< paths of shards, .jsonl or .txt files (a text a line) */
    size_t data_count;        /**< how many */
    int32_t vocab_size;       /**< of text: bytes and merges; default 1024, at least 256 */
    int32_t image_codes;      /**< names reserved for image codes; default 0 */
    int32_t sentinels;        /**< 16..512; default 16 */
    int32_t min_frequency;    /**< of a pair to be merged; default 2 */
    cm3_progress_fn progress; /**< told records done; NULL (default): nobody */
    void *user;               /**< handed to the function above */
} cm3_train_bpe_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_train_bpe_options_init(cm3_train_bpe_options *options);

/**
 * Learns a byte-level BPE from all captions. Ids: `<pad>`, `</s>` (end of document), `<racm3:break>`, `<eoss>` (end of
 * span), sentinels, image codes, then bytes and merges. *tokenizer is the caller's. Errors: INVALID_ARGUMENT,
 * NOT_FOUND, IO, FORMAT, NO_MEMORY, CANCELLED.
 */
CM3_API cm3_status cm3_train_bpe(cm3_context *context, const cm3_train_bpe_options *options, cm3_tokenizer **tokenizer);

/* --- many processes ----------------------------------------------------------------------------------------------- */

/** What an all-reduce sums or compares. */
typedef enum cm3_comm_type { CM3_COMM_F32 = 1, CM3_COMM_F64 = 2, CM3_COMM_U64 = 3 } cm3_comm_type;

/** How an all-reduce brings values together. */
typedef enum cm3_comm_op { CM3_COMM_SUM = 1, CM3_COMM_MIN = 2, CM3_COMM_MAX = 3 } cm3_comm_op;

/**
 * How the processes of a run that learn together (its ranks) reach each other: given by the host, e.g. on MPI
 * (`cm3-mpi` of this project) or NCCL, after whose calls it is shaped. The library links none of them. All functions
 * block, are called by every rank in the same order, and by one thread at a time: the library's communication thread
 * while gradients are computed, or else the thread that computes, or the caller's during create, checkpoint and export.
 * Sums must be the same bits on all ranks. They return CM3_OK, or an error (CM3_ERROR_IO where a peer is gone or silent
 * for too long), upon which the run stops with it; where messages are to be told, the host's own.
 */
typedef struct cm3_comm {
    size_t struct_size; /**< sizeof of this struct */
    void *user;         /**< handed to the functions */
    int32_t rank;       /**< 0..size-1 */
    int32_t size;       /**< at least 1 */
    /** In place, over all ranks: values[i] becomes the sum (or least, or greatest) of all ranks' values[i]. */
    cm3_status (*all_reduce)(void *user, void *values, size_t count, cm3_comm_type type, cm3_comm_op op);
    /** In place: `data` has size slices of slice_bytes; this rank's is filled, all others are filled by theirs. */
    cm3_status (*all_gather)(void *user, void *data, size_t slice_bytes);
    /** `data` of rank `root` becomes everybody's. */
    cm3_status (*broadcast)(void *user, void *data, size_t bytes, int32_t root);
    /** Returns when all ranks have come here. Asked for like the others, but not called by this version of the library,
     * whose ranks meet in sums. */
    cm3_status (*barrier)(void *user);
    /** Something went wrong here that the others do not know of: makes their calls fail, or ends them. Does not have to
     * return. `why` is a message for people. NULL: nothing is done. */
    void (*abort)(void *user, const char *why);
} cm3_comm;

/* --- trainers ----------------------------------------------------------------------------------------------------- */

/**
 * A training run. Its state lives in a directory and is written there as a whole by cm3_trainer_checkpoint(): killed at
 * any moment and made again, it goes on from there as if nothing had happened, to the last bit on the same number of
 * threads and processes. Used by one thread at a time; computing happens on the context's compute thread.
 *
 * With a cm3_comm of several ranks all of them make the same calls in the same order: create, step, validate,
 * checkpoint, export. Rank 0 alone reads and writes the directory and exported files. What goes wrong on one rank, and
 * cm3_trainer_cancel() there, ends the call on all with the same status and message ("rank 1: ..."). That all have the
 * same data, settings, weights and version is compared when they are made: INVALID_ARGUMENT on all, naming the rank,
 * what differs, and both values. Where a rank is gone, calls end with the comm's status, and its abort is called.
 */
typedef struct cm3_trainer cm3_trainer;

/** How the learning rate goes down. */
typedef enum cm3_schedule { CM3_SCHEDULE_COSINE = 1, CM3_SCHEDULE_LINEAR = 2, CM3_SCHEDULE_CONSTANT = 3 } cm3_schedule;

/** What every run has. */
typedef struct cm3_train_options {
    size_t struct_size;            /**< sizeof of this struct */
    const char *run_dir;           /**< made if it is not there; holds the checkpoint */
    int resume;                    /**< not 0 (default): go on from a checkpoint found there; 0: begin anew */
    const char *const *data;       /**< paths of shards */
    size_t data_count;             /**< how many */
    const char *const *validation; /**< paths of held-out shards; may be none */
    size_t validation_count;       /**< how many */
    uint64_t seed;                 /**< default 1 */
    cm3_compute compute;   /**< of products; masters, sums and norms are f32. Default AUTO: bf16 where the CPU has it */
    int32_t batch_size;    /**< pictures, or blocks, a micro-step */
    int32_t accumulation;  /**< micro-steps an optimiser step; default 1 */
    int64_t steps;         /**< optimiser steps of the whole run */
    int64_t warmup;        /**< steps of linear warm-up */
    float lr;              /**< peak */
    float min_lr_ratio;    /**< lr at the end, as a share of the peak */
    cm3_schedule schedule; /**< default COSINE */
    float beta1;           /**< AdamW; default 0.9 */
    float beta2;           /**< default 0.95 */
    float epsilon;         /**< default 1e-8 */
    float weight_decay;    /**< decoupled, of matrices and convolutions only */
    float clip_norm;       /**< of all gradients together; 0: off; default 1 */
    float weight_average;  /**< decay of a running average of the weights, which is then what is validated and exported;
                              0 (default): off */
    uint64_t memory_limit; /**< bytes that the records of data, and of validation, may take in memory; above it,
                              NO_MEMORY that says so. 0 (default): no limit */
    /**
     * The processes that learn together; read (not owned) until destroy. They share out a step's micro-steps: `size`
     * must divide accumulation (of the encoder: the chunks of a batch, whose pairs are told from each other all the
     * same). So all other options, and checkpoints, are the same for any number of processes. NULL (default): this
     * process alone
     */
    const cm3_comm *comm;
    int32_t skip_steps; /**< a step whose loss or gradients are not finite, on any rank, is left out by all, so many
                           times in a row at most; then, or with 0 (default) at once, FORMAT */
} cm3_train_options;

/** The image tokenizer's own. */
typedef struct cm3_train_vq_options {
    size_t struct_size;      /**< sizeof of this struct */
    const char *config_json; /**< vq_config in Hugging Face's spelling, with norm_groups, patch_size and
                                  local_encoder (docs/architecture.md) */
    float l1_weight;         /**< of reconstruction; default 1 */
    float l2_weight;         /**< of reconstruction; default 1 */
    float commitment;        /**< beta; default 0.25 */
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

/** What attention sees as one. */
typedef enum cm3_attend { CM3_ATTEND_DOCUMENT = 1, CM3_ATTEND_BLOCK = 2 } cm3_attend;

/**
 * The CM3 objective: spans of what attention sees as one (a document, or with CM3_ATTEND_BLOCK a block) move behind it,
 * so that the model learns to fill them in. Never across a break; sentinels are not learned.
 */
typedef enum cm3_masking {
    CM3_MASKING_NONE = 0, /**< left to right only */
    CM3_MASKING_CODE = 1, /**< as the published code has it: Poisson(1) spans, so often none; each ends with `<eoss>` */
    CM3_MASKING_PAPER = 2 /**< as the paper has it (Aghajanyan et al. 2022, section 2): 1..16 spans without an end */
} cm3_masking;

/** The language model's own. */
typedef struct cm3_train_lm_options {
    size_t struct_size;      /**< sizeof of this struct */
    const char *config_json; /**< the `lm` object of a .cm3 file's config; may be {"preset": name, ...}; vocab_size is
                                set by the tokenizer. NULL: that of `init` */
    const char *tokenizer;   /**< path of tokenizer.json, or of a .cm3 file that holds one; NULL: that of `init` */
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
    /** Path of a memory bank: records with "neighbours" (cm3_train_find_neighbours()) are learned behind 0 to
     * most_retrieved of them, and where they have a "query" by that in place of their text. NULL (default): without */
    const char *bank;
    int32_t most_retrieved; /**< 1..16; default 2. How many is drawn uniformly each time (Yasunaga et al. 2022, 3.3) */
    float retrieved_weight; /**< of learning tokens of the retrieved documents, beside the record's own 1 (CM3Leon: 1,
                               the default; RA-CM3: 0.1); where only answers are learned it is 0. 0..1; below 1 spans of
                               them are not masked, and attend must be DOCUMENT */
} cm3_train_lm_options;

/** The two-tower encoder's own: texts and pictures to vectors of one space, so that one finds the other. */
typedef struct cm3_train_encoder_options {
    size_t struct_size;      /**< sizeof of this struct */
    const char *config_json; /**< of CLIP in Hugging Face's spelling: text_config, vision_config, projection_dim; the
                                vocabulary's size and end are set by the tokenizer */
    const char *tokenizer;   /**< path of tokenizer.json, or of a .cm3 file that holds one */
    int32_t chunk;           /**< pairs that are computed at once; the loss sees all of a batch (gradient caching,
                                Gao et al. 2021). Default 32 */
    float initial_scale;     /**< of inner products before the softmax; learned, at most 100. Default 14.29 */
    float query_weight;      /**< of telling texts apart by a query, beside pictures' 1; default 1 */
    /** So many records that lie behind each other in the data come behind each other into batches, 1..65536: where
     * these are alike, a batch has what is hard to tell apart. Default 1 */
    int32_t together;
    /** A .cm3 file whose encoder (f32 or bf16) is trained on; config_json is left out then, and tokenizer may be.
     * Default NULL */
    const char *init;
    /** Not 0: queries are compared with documents as a bank keeps them, the mean of text's and picture's unit vectors
     * (cm3_retriever_embed()), instead of with texts alone. Default 0 */
    int query_documents;
} cm3_train_encoder_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_train_options_init(cm3_train_options *options);
/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_train_encoder_options_init(cm3_train_encoder_options *options);
/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_train_vq_options_init(cm3_train_vq_options *options);
/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_train_lm_options_init(cm3_train_lm_options *options);

/** Errors: INVALID_ARGUMENT (also a checkpoint of other settings, which are named), NOT_FOUND, IO, FORMAT, NO_MEMORY,
 * those of the comm.
 */
CM3_API cm3_status cm3_trainer_create_vq(cm3_context *context, const cm3_train_options *options,
                                         const cm3_train_vq_options *vq, cm3_trainer **trainer);
/** Errors: as of cm3_trainer_create_vq(). */
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

/** What a step, or validation, tells. */
typedef struct cm3_train_report {
    size_t struct_size;    /**< set by the caller */
    int64_t step;          /**< steps done, this one included */
    int64_t steps;         /**< of the whole run */
    double loss;           /**< what is minimised */
    double l1;             /**< VQ: mean distance of pixels */
    double l2;             /**< VQ: mean square of it */
    double commitment;     /**< VQ: of latents to their codes */
    double adversarial;    /**< VQ: what the discriminator holds against the pictures */
    double discriminator;  /**< VQ: its own loss */
    double text_loss;      /**< LM: mean over text tokens */
    double image_loss;     /**< LM: mean over image tokens */
    double code_usage;     /**< VQ: share of codebook entries used in this batch */
    double lr;             /**< learning rate of the step */
    double grad_norm;      /**< of all gradients together, before clipping */
    uint64_t samples;      /**< pictures or documents seen in the run */
    uint64_t tokens;       /**< LM: tokens seen, padding not counted */
    double seconds;        /**< of this step */
    double rate;           /**< pictures or tokens a second, in this step */
    double recall;         /**< encoder: share of the batch's texts that find their own picture first */
    double query_recall;   /**< encoder: share of its queries that find their own text first */
    double scale;          /**< encoder: of inner products */
    double comm_seconds;   /**< of this step, spent waiting for other processes: what the backward pass did not hide */
    double reduce_seconds; /**< of this step, in all-reduces of gradients, hidden behind the backward pass or not */
    int64_t skipped;       /**< steps left out in a row, up to this one; 0: this one was learned */
} cm3_train_report;

/**
 * One optimiser step; of several ranks the report's losses, samples and tokens are all ranks'. `report` may be NULL.
 * Errors: NO_MEMORY, CANCELLED, those of a picture that cannot be read, those of the comm, and FORMAT where a loss or
 * gradient is not finite (see skip_steps: a step that is left out counts, and its loss is reported as it is). A step
 * that failed has done half of something: every further one, and a checkpoint, give BUSY, and the run goes on from its
 * last checkpoint, which stays good, with a new trainer.
 */
CM3_API cm3_status cm3_trainer_step(cm3_trainer *trainer, cm3_train_report *report);

/**
 * The loss over the validation data, a mean of its batches' losses, with the running average of the weights where there
 * is one; step, steps, loss and its terms are filled. Changes nothing. Errors: NOT_FOUND without such data, NO_MEMORY,
 * CANCELLED, those of a picture that cannot be read, those of the comm, BUSY after a step that failed.
 */
CM3_API cm3_status cm3_trainer_validate(cm3_trainer *trainer, cm3_train_report *report);

/** Steps done, and of the whole run. */
CM3_API cm3_status cm3_trainer_progress(const cm3_trainer *trainer, int64_t *step, int64_t *steps);

/**
 * Writes the run's whole state to checkpoint.safetensors in its directory, atomically: at any moment the file is the
 * old one or the new one. It does not depend on the number of ranks: what two wrote one or four go on from. Errors: IO,
 * NO_SPACE, NO_MEMORY, those of the comm, BUSY after a step that failed.
 */
CM3_API cm3_status cm3_trainer_checkpoint(const cm3_trainer *trainer);

/**
 * Writes the model as it is now, the running average of the weights where there is one: a `.cm3` file with bf16
 * matrices and convolutions (AUTO, BF16), or all in F32. The file is replaced as a whole or not at all. Errors:
 * INVALID_ARGUMENT, IO, NO_SPACE, NO_MEMORY, those of the comm, BUSY after a step that failed.
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

/* --- neighbours, once ----------------------------------------------------------------------------------------------
 */

/** How neighbours are chosen. */
typedef struct cm3_train_neighbour_options {
    size_t struct_size; /**< set by the caller, or the init function */
    int32_t by_text;  /**< neighbours that are found by the record's query, or else its first text: 0..16, default 2 */
    int32_t by_image; /**< and by its picture: 0..16, default 2 */
    float most_alike; /**< as of cm3_retrieve_options; default 0.9 */
    /** Likewise; default 0.9: what is nearer to the query would give the answer away (Yu et al. 2023, section 2.1) */
    float most_score;
    float query_dropout; /**< share of words that the query is asked without: 0..1, default 0.2 */
    uint64_t seed;       /**< of those; default 1 */
    /** not 0: the record itself, text and picture alike, may be among its neighbours, as what is to be looked up is.
     * Default 0 */
    int keep_own;
    /** Above 0: the bank's record of the record's own key, where there is one, is a neighbour whatever was found: the
     * first with this probability, else the second. 0..1, default 0 */
    float own_first;
} cm3_train_neighbour_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_train_neighbour_options_init(cm3_train_neighbour_options *options);

/**
 * Reads shards and writes one shard each of the same name into `out_dir` whose records name their nearest neighbours in
 * the retriever's bank: "neighbours": {"bank": its identity, "ids": [...]}, by score; all else of them stays, pictures
 * excepted, which records have as codes. As with cm3_train_encode_shards(), shards that are there already are left.
 * Errors: INVALID_ARGUMENT (also a retriever over no bank), NOT_FOUND, IO, NO_SPACE, FORMAT (also codes that another
 * image tokenizer made), NO_MEMORY, CANCELLED, those of cm3_retriever_search().
 */
CM3_API cm3_status cm3_train_find_neighbours(const cm3_retriever *retriever, const char *const *data, size_t data_count,
                                             const char *out_dir, const cm3_train_neighbour_options *options,
                                             cm3_progress_fn progress, void *user);

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

/**
 * Counts the codes of shards that cm3_train_encode_shards() wrote, and writes the model once more, whose image
 * tokenizer from then on takes a code only where it is nearer than a more usual one by what it costs: `weight` log(most
 * / count), added to the squared distance (entropy-constrained quantisation, Chou, Lookabaugh and Gray 1989). A
 * codebook often has several codes for all but the same patch, one for clean pictures and others that a JPEG or a drawn
 * picture gets; the language model knows the first. Pictures that a retriever keeps have the nearest codes all the
 * same: what is looked up is copied, rare patches with it. Too large a weight takes codes away that are needed: compare
 * pictures decoded from codes. 0 (allowed up to 1e6) undoes it. The codebook, codes and pictures decoded from them stay
 * as they are; `out` may be the model itself. Errors: INVALID_ARGUMENT, NOT_FOUND (also where no record has codes),
 * FORMAT (also codes that another image tokenizer made), IO, NO_SPACE, NO_MEMORY, CANCELLED.
 */
CM3_API cm3_status cm3_train_code_costs(cm3_context *context, const char *image_tokenizer, const char *const *data,
                                        size_t data_count, float weight, const char *out, cm3_progress_fn progress,
                                        void *user);

#ifdef __cplusplus
}
#endif

#endif
