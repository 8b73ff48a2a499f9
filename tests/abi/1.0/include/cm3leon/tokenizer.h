/**
 * @file
 * Tokenizers: byte-level BPE for text, a VQGAN for images, and the special tokens by role.
 */
#ifndef CM3LEON_TOKENIZER_H
#define CM3LEON_TOKENIZER_H

#include "cm3leon/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Text and image tokenizer in one vocabulary. Comes with a model (cm3_model_tokenizer()) or from a tokenizer.json
 * alone, then without images. Immutable: any thread may use it, several at once.
 */
typedef struct cm3_tokenizer cm3_tokenizer;

/** Special tokens by role, since their names mean different things in the two families. */
typedef enum cm3_token_role {
    CM3_TOKEN_EOD = 1, /**< begins and ends a document; Chameleon's only ends it */
    CM3_TOKEN_PAD = 2,
    CM3_TOKEN_BREAK = 3,       /**< between a text and an image and between documents (CM3Leon; Chameleon has none) */
    CM3_TOKEN_BEGIN_IMAGE = 4, /**< the same token as BREAK in the CM3Leon family */
    CM3_TOKEN_END_IMAGE = 5,   /**< may be absent */
    CM3_TOKEN_END_SPAN = 6,    /**< closes an infilled span */
    CM3_TOKEN_SENTINEL = 7,    /**< index 0.. : mask i */
    CM3_TOKEN_IMAGE = 8,       /**< index 0..codes-1 : image code */
    CM3_TOKEN_BOS = 9,         /**< begins a prompt (Chameleon; EOD does in the CM3Leon family) */
    CM3_TOKEN_END_TURN = 10    /**< ends a turn of a talk (Chameleon) */
} cm3_token_role;

/** Reads a Hugging Face tokenizer.json. Errors: NOT_FOUND, IO, FORMAT, UNSUPPORTED, NO_MEMORY. */
CM3_API cm3_status cm3_tokenizer_load(cm3_context *context, const char *path, cm3_tokenizer **tokenizer);

/** Writes the text tokenizer as tokenizer.json, atomically. */
CM3_API cm3_status cm3_tokenizer_save(const cm3_tokenizer *tokenizer, const char *path);

/** Gives up the hold. NULL is allowed. */
CM3_API void cm3_tokenizer_destroy(cm3_tokenizer *tokenizer);

/** How text becomes ids; to be or-ed. */
typedef enum cm3_encode_flags {
    CM3_ENCODE_PLAIN = 0,
    CM3_ENCODE_SPECIAL = 1,  /**< text that spells a special token becomes that token */
    CM3_ENCODE_TEMPLATE = 2, /**< add what the file's post-processor adds (such as a leading `<s>`) */
    CM3_ENCODE_LENGTH = 4    /**< shorten and pad as the file's "truncation" and "padding" say, if it has them */
} cm3_encode_flags;

/**
 * Text (UTF-8, `size` bytes; SIZE_MAX: NUL-terminated) to ids. Writes at most `capacity` ids and always the whole
 * number to *count, so that a call with capacity 0 (ids may be NULL then) asks for the size. Errors: UTF8,
 * INVALID_ARGUMENT, UNSUPPORTED (a component of the file costs or makes too much), NO_MEMORY.
 */
CM3_API cm3_status cm3_tokenizer_encode(const cm3_tokenizer *tokenizer, const char *text, size_t size, uint32_t flags,
                                        int32_t *ids, size_t capacity, size_t *count);

/**
 * Ids to text. Bytes that form no code point become U+FFFD. Writes at most `capacity` bytes (a NUL is added where there
 * is room) and the whole length without NUL to *size. `skip_special` leaves special tokens out. Errors:
 * INVALID_ARGUMENT (unknown ids), UNSUPPORTED as for cm3_tokenizer_encode(), NO_MEMORY.
 */
CM3_API cm3_status cm3_tokenizer_decode(const cm3_tokenizer *tokenizer, const int32_t *ids, size_t count,
                                        int skip_special, char *text, size_t capacity, size_t *size);

/** What a tokenizer holds. */
typedef struct cm3_tokenizer_info {
    size_t struct_size;       /**< set by the caller */
    int32_t vocab_size;       /**< ids are 0..vocab_size-1 */
    int32_t sentinels;        /**< number of sentinels */
    int32_t image_codes;      /**< codebook size; 0: no images */
    int32_t image_resolution; /**< side of the pictures it reads and draws, pixels */
    int32_t image_tokens;     /**< tokens of one picture, row-major */
} cm3_tokenizer_info;

/** What it holds. Set info->struct_size first. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_tokenizer_get_info(const cm3_tokenizer *tokenizer, cm3_tokenizer_info *info);

/** The id of a special token; `index` counts sentinels and image codes, else 0. NOT_FOUND where there is none. */
CM3_API cm3_status cm3_tokenizer_special(const cm3_tokenizer *tokenizer, cm3_token_role role, int32_t index,
                                         int32_t *id);

/**
 * A picture to its codes, 0..image_codes-1, row-major; `capacity` must be at least image_tokens. The picture is resized
 * (short side to image_resolution, Lanczos) and centre-cropped where its size differs, as the model's source does it:
 * as Hugging Face in its folders, as Meta elsewhere. Each patch gets the nearest code, or, where the tokenizer has
 * costs of codes (cm3_train_code_costs()), the one nearest with what it costs. UNSUPPORTED without an image tokenizer.
 */
CM3_API cm3_status cm3_tokenizer_encode_image(const cm3_tokenizer *tokenizer, const cm3_image *image, int32_t *codes,
                                              size_t capacity, size_t *count);

/** How pixels become numbers; the two differ, and so do some codes. */
typedef enum cm3_preprocessing {
    CM3_PREPROCESSING_AUTO = 0, /**< HF for a folder of Hugging Face's layout and a .cm3 file made of one, else META */
    CM3_PREPROCESSING_META = 1, /**< Chameleon's own code: 2 u8 / 255 - 1 */
    CM3_PREPROCESSING_HF = 2 /**< Hugging Face's image processor, as the folder's preprocessor_config.json says; without
                                  one with Chameleon's values: 0.0078 u8 - 1 */
} cm3_preprocessing;

/** cm3_tokenizer_encode_image() is this with CM3_PREPROCESSING_AUTO. */
CM3_API cm3_status cm3_tokenizer_encode_image_as(const cm3_tokenizer *tokenizer, const cm3_image *image,
                                                 cm3_preprocessing preprocessing, int32_t *codes, size_t capacity,
                                                 size_t *count);

/** Codes (exactly image_tokens of them) to a picture. INVALID_ARGUMENT for a code out of range. */
CM3_API cm3_status cm3_tokenizer_decode_image(const cm3_tokenizer *tokenizer, const int32_t *codes, size_t count,
                                              cm3_image **image);

#ifdef __cplusplus
}
#endif

#endif
