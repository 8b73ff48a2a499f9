/**
 * @file
 * Models: loading, description, and the plain forward pass.
 */
#ifndef CM3LEON_MODEL_H
#define CM3LEON_MODEL_H

#include "cm3leon/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/** Immutable weights and what belongs to them. Reference-counted; any thread may use it, several at once. */
typedef struct cm3_model cm3_model;

/** Where weights lie. */
typedef enum cm3_load_mode {
    CM3_LOAD_MAP = 1, /**< map the file and read weights where they lie */
    CM3_LOAD_HUGE = 2 /**< copy the weights into huge pages, counted as memory */
} cm3_load_mode;

/** How a model is loaded. */
typedef struct cm3_load_options {
    size_t struct_size;  /**< sizeof of this struct */
    cm3_load_mode mode;  /**< default CM3_LOAD_MAP */
    int verify_checksum; /**< not 0: compare the data with the file's XXH3 sum first; folders have none. Default 0 */
    int check_weights;   /**< not 0: refuse NaN and infinity in weights. Default 1 */
    /** With a folder: a VQGAN in taming's names, safetensors or as PyTorch saves it (.ckpt), from which comes what the
     * folder lacks of the image tokenizer, as Hugging Face's Chameleon lacks the decoder; its shape is told by a yaml
     * of its name beside it, or vqgan.yaml, or the model's own configuration. Default NULL */
    const char *vqgan;
    /** A safetensors file whose `lm_head.weight` is laid over the model's: the whole head, or rows of it that the ids
     * in its `rows` name, as fine-tunings publish them that trained nothing else. Default NULL */
    const char *head_rows;
    /** Above 0: a bound on what loading takes through the context's allocator, at any moment, in bytes. Where it would
     * take more it fails with NO_MEMORY; from a path, before anything is copied or made, and from memory or I/O, at the
     * first block that does not fit. Default 0: none */
    uint64_t max_bytes;
} cm3_load_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_load_options_init(cm3_load_options *options);

/**
 * Loads a `.cm3` file, or a folder as others publish them: Hugging Face's of Chameleon or CLIP (config.json,
 * model.safetensors or shards with their index, tokenizer.json where there is one), or Meta's of Chameleon (params.json
 * and consolidated*.pth beside a tokenizer's folder; the root where it holds one model), which Anole is too. `options`
 * may be NULL. With CM3_LOAD_MAP the files must not be changed while the model lives: weights that are overwritten
 * change with it, and where it is cut off the system ends the process with SIGBUS at the next touch of what is gone.
 * Replacing it by another of its name (as cm3_trainer_export() and cp --remove-destination do) is safe. CM3_LOAD_HUGE
 * reads it once. Errors: NOT_FOUND, IO, FORMAT, VERSION, TRUNCATED, CHECKSUM, UNSUPPORTED, NO_MEMORY. *model is NULL on
 * failure.
 */
CM3_API cm3_status cm3_model_load(cm3_context *context, const char *path, const cm3_load_options *options,
                                  cm3_model **model);

/** The same from memory, which must stay valid and unchanged until the last hold on the model is given up. */
CM3_API cm3_status cm3_model_load_memory(cm3_context *context, const void *data, size_t size,
                                         const cm3_load_options *options, cm3_model **model);

/** The same through an I/O vtable; everything is read before the call returns. */
CM3_API cm3_status cm3_model_load_io(cm3_context *context, const cm3_io *io, const cm3_load_options *options,
                                     cm3_model **model);

/** What matrices of a language model or an encoder become when it is converted. */
typedef enum cm3_weight_type {
    CM3_WEIGHTS_AUTO = 0, /**< embeddings and head: Q8 where the others become Q4, else as these */
    CM3_WEIGHTS_KEEP = 1, /**< as they are */
    CM3_WEIGHTS_F32 = 2,
    CM3_WEIGHTS_BF16 = 3,
    CM3_WEIGHTS_Q8 = 4, /**< 8 bits and an f16 scale a block */
    CM3_WEIGHTS_Q4 = 5  /**< 4 bits, an f16 scale and an f16 offset a block, fitted by weighted least squares */
} cm3_weight_type;

/** How a model is converted. */
typedef struct cm3_convert_options {
    size_t struct_size;         /**< sizeof of this struct */
    cm3_weight_type weights;    /**< of matrices; default CM3_WEIGHTS_KEEP */
    cm3_weight_type embeddings; /**< of the tables of tokens and positions; default CM3_WEIGHTS_AUTO */
    cm3_weight_type head;       /**< of an untied output head; default CM3_WEIGHTS_AUTO */
    int32_t block;              /**< of Q8 and Q4: 32 or 64 weights of a row share a scale. Default 64 */
    const char *vqgan;          /**< as in cm3_load_options. Default NULL */
    const char *head_rows;      /**< likewise */
    /** NULL, or called on the caller's thread with elements done and in all; not 0 stops: CANCELLED. */
    int (*on_progress)(void *user, uint64_t done, uint64_t total);
    void *user; /**< handed to on_progress */
    /** A model whose encoder is put in, in place of what there is of one; it must have been made for the same
     * tokenizer. Default NULL */
    const char *encoder;
} cm3_convert_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_convert_options_init(cm3_convert_options *options);

/**
 * Makes a `.cm3` file of anything that cm3_model_load() loads. Vectors, the image tokenizer (one bit may turn a
 * code) and the encoder's first layer stay as they are, as do matrices of which no block of 32 divides a row. Weights
 * are read, made and written piece by piece: some tens of MB are held at once, whatever the size. A regular file is
 * replaced when all of it is written, and not at all where something fails; it carries the checksum that
 * verify_checksum asks for. `options` may be NULL. Errors: as of cm3_model_load(); FORMAT where a weight is NaN,
 * infinite or, with Q8 and Q4, beyond 60000; NO_SPACE, CANCELLED.
 */
CM3_API cm3_status cm3_model_convert(cm3_context *context, const char *path, const char *to,
                                     const cm3_convert_options *options);

/** Another hold on the same model, to be destroyed as well. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_model_retain(cm3_model *model);
/** Gives up a hold; the model ends with the last. NULL is allowed. */
CM3_API void cm3_model_destroy(cm3_model *model);

/** Parts of a `.cm3` file. */
typedef enum cm3_model_parts {
    CM3_PART_LM = 1,
    CM3_PART_VQ = 2,
    CM3_PART_TOKENIZER = 4,
    CM3_PART_ENCODER = 8 /**< of texts or pictures, or both: CLIP */
} cm3_model_parts;

/** What a model is. */
typedef struct cm3_model_info {
    size_t struct_size;          /**< set by the caller */
    uint32_t parts;              /**< cm3_model_parts present, or-ed */
    int32_t vocab_size;          /**< ids are 0..vocab_size-1 */
    int32_t hidden_size;         /**< numbers of a hidden state */
    int32_t layers;              /**< of the transformer */
    int32_t heads;               /**< of attention */
    int32_t kv_heads;            /**< of keys and values; heads where none are shared */
    int32_t ffn_size;            /**< numbers within a feed-forward block */
    int32_t context_length;      /**< the most tokens a document may have, prompt and answer together */
    uint64_t lm_parameters;      /**< weights of the language model */
    uint64_t vq_parameters;      /**< weights of the image tokenizer */
    uint64_t weight_bytes;       /**< as stored */
    int32_t embedding_size;      /**< of the encoder's vectors; 0: there is none */
    uint64_t encoder_parameters; /**< weights of the encoder */
} cm3_model_info;

/** What it is. Set info->struct_size first. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_model_get_info(const cm3_model *model, cm3_model_info *info);

/** The configuration as JSON, valid as long as the model. */
CM3_API cm3_status cm3_model_config_json(const cm3_model *model, const char **json);

/** The model's tokenizer; a new hold, to be destroyed by the caller. */
CM3_API cm3_status cm3_model_tokenizer(const cm3_model *model, cm3_tokenizer **tokenizer);

/** Types of the operands of products; sums are always f32. */
typedef enum cm3_compute { CM3_COMPUTE_AUTO = 0, CM3_COMPUTE_F32 = 1, CM3_COMPUTE_BF16 = 2 } cm3_compute;

/**
 * The plain forward pass: logits [count, vocab_size], row-major f32, of every position of `ids`, computed on the
 * engine thread, which the call waits for. `compute` AUTO means F32 here.
 * Errors: INVALID_ARGUMENT (an id out of range), TOO_LONG, UNSUPPORTED (no language model), NO_MEMORY.
 */
CM3_API cm3_status cm3_model_logits(const cm3_model *model, const int32_t *ids, size_t count, cm3_compute compute,
                                    float *logits);

/**
 * The same pass's hidden states instead: [layers + 2, count, hidden_size], row-major f32: the embeddings, what each
 * layer leaves, and that behind the final norm. Errors as of cm3_model_logits().
 */
CM3_API cm3_status cm3_model_hidden(const cm3_model *model, const int32_t *ids, size_t count, cm3_compute compute,
                                    float *hidden);

/**
 * Texts (UTF-8, NUL-terminated) or pictures to the encoder's vectors: `vectors` [count, embedding_size], row-major f32,
 * of unit length where `normalize` is not 0 (CLIP's projections as they are else). Text that spells a special token is
 * that token, as Hugging Face's tokenizer has it, and what is longer than the encoder's context is cut, its last token
 * kept. Computed in f32 on the engine thread, which the call waits for. Errors: INVALID_ARGUMENT, UTF8, UNSUPPORTED (no
 * such tower, no tokenizer), NO_MEMORY; `vectors` is not to be used then.
 */
CM3_API cm3_status cm3_model_embed_texts(const cm3_model *model, const char *const *texts, size_t count, int normalize,
                                         float *vectors);
/** The same of pictures. */
CM3_API cm3_status cm3_model_embed_images(const cm3_model *model, cm3_image *const *images, size_t count, int normalize,
                                          float *vectors);

#ifdef __cplusplus
}
#endif

#endif
