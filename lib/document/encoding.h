/* Documents as tokens. */
#ifndef CM3_DOCUMENT_ENCODING_H
#define CM3_DOCUMENT_ENCODING_H

#include "cm3leon/document.h"
#include "image/vq.h"
#include "text/bpe.h"
#include "text/special.h"

#define CM3_MAX_HOLES 64

/** What is to be filled in, in the order of its sentinels. */
typedef struct cm3_hole {
    int32_t cell;  /**< of a picture: the first of its tokens; -1: a text */
    int32_t count; /**< tokens of a picture's */
} cm3_hole;

typedef struct cm3_holes {
    cm3_hole holes[CM3_MAX_HOLES];
    int32_t count;
    int32_t *codes;   /**< [codes of a picture]: all of the picture that has holes; owned (cm3_alloc). NULL: none has */
    uint8_t *hidden;  /**< [codes of a picture]: 1: in a box; owned (cm3_alloc), with codes */
    cm3_image *image; /**< it; borrowed from the document */
    bool in_place;    /**< sentinel 0 stands for each token of a box, and the picture is drawn once more behind */
} cm3_holes;

/** What tokens a document is written with. */
typedef struct cm3_encoder {
    cm3_context *context;
    const cm3_bpe *bpe;
    const cm3_special_tokens *special;
    const cm3_vq *vq;                          /**< NULL: images must come as codes */
    const cm3_hf_preprocessing *preprocessing; /**< NULL: pixels as Meta has them */
    uint32_t encode_flags;                     /**< cm3_encode_flags, for texts */
    cm3_holes *holes;    /**< NULL: documents have none. Filled in; codes that are there already are the picture's */
    bool without_text;   /**< segments of text are left out */
    bool only_retrieved; /**< and all that was not looked up for the prompt */
} cm3_encoder;

/** A growing list of ids. */
typedef struct cm3_ids {
    int32_t *ids;
    size_t count, capacity;
} cm3_ids;
void cm3_ids_clear(cm3_context *context, cm3_ids *ids);
/** Room for `count` ids in all. */
cm3_status cm3_ids_reserve(cm3_context *context, cm3_ids *ids, size_t count);
cm3_status cm3_ids_push(cm3_context *context, cm3_ids *ids, int32_t id);

/** Single elements, appended. Errors: UNSUPPORTED without such a token; INVALID_ARGUMENT for codes that do not fit. */
cm3_status cm3_push_break(const cm3_encoder *encoder, cm3_ids *ids);
cm3_status cm3_push_codes(const cm3_encoder *encoder, const int32_t *codes, size_t count, cm3_ids *ids);

/**
 * The document's segments as ids, appended: text by BPE, images as begin_image? codes end_image? as the family writes
 * them (in the CM3Leon family a picture stands bare between breaks), break, sentinels. No eod. An image given as pixels
 * is encoded on the compute thread.
 */
cm3_status cm3_document_tokens(const cm3_encoder *encoder, const cm3_document *document, cm3_ids *ids);

/**
 * The prompt of a request. CM3Leon: eod, the document and, where an image follows, break (section 2.2 and `paper.md`
 * section 4); without segments of text the caption is sentinel 0. Chameleon: bos, the document, `end_turn` where asked
 * for, begin_image where an image follows. A document of ids is taken as it is.
 */
typedef struct cm3_prompt_form {
    bool image_follows, end_turn;
} cm3_prompt_form;
cm3_status cm3_prompt_tokens(const cm3_encoder *encoder, const cm3_document *document, cm3_prompt_form form,
                             cm3_ids *ids);

/** The unconditional stream's prompt: eod, sentinel 0, break; Chameleon's: bos, begin_image. Where the prompt begins
 * with documents that were looked up they are kept: eod, the documents, each with its breaks. */
int64_t cm3_unconditional_count(const cm3_special_tokens *special);
cm3_status cm3_unconditional_tokens(const cm3_encoder *encoder, const cm3_document *prompt, cm3_ids *ids);

/** What guidance by pictures knows of a text (Chameleon's inference code): image codes, bos, begin_image, end_image. */
bool cm3_is_of_pictures(const cm3_special_tokens *special, int32_t id);

/** A training document: eod, caption (or sentinel 0 where `drop_caption`), break, codes, and the closing eod. */
cm3_status cm3_training_tokens(const cm3_encoder *encoder, const char *text, size_t text_size, const int32_t *codes,
                               size_t code_count, bool drop_caption, cm3_ids *ids);

/** Whether an id is one of the masks'. */
static inline bool cm3_is_sentinel(const cm3_special_tokens *special, int32_t id) {
    for (int32_t i = 0; i < special->sentinel_count; i++) {
        if (special->sentinels[i] == id) return true;
    }
    return false;
}

#endif
