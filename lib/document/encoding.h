/* Documents as tokens. */
#ifndef CM3_DOCUMENT_ENCODING_H
#define CM3_DOCUMENT_ENCODING_H

#include "cm3leon/document.h"
#include "image/vq.h"
#include "text/bpe.h"
#include "text/special.h"

/** What tokens a document is written with. */
typedef struct cm3_encoder {
    cm3_context *context;
    const cm3_bpe *bpe;
    const cm3_special_tokens *special;
    const cm3_vq *vq;      /**< NULL: images must come as codes */
    uint32_t encode_flags; /**< cm3_encode_flags, for texts */
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

/**
 * The document's segments as ids, appended: text by BPE, images as begin_image? codes end_image? as the family writes
 * them (in the CM3Leon family a picture stands bare between breaks), break, sentinels. No eod. An image given as pixels
 * is encoded on the compute thread.
 */
cm3_status cm3_document_tokens(const cm3_encoder *encoder, const cm3_document *document, cm3_ids *ids);

/**
 * The prompt of a request for an image (CM3Leon section 2.2 and `paper.md` section 4): eod, the document, break.
 * Without segments of text the caption is sentinel 0.
 */
cm3_status cm3_prompt_tokens(const cm3_encoder *encoder, const cm3_document *document, bool image_follows,
                             cm3_ids *ids);

/** The unconditional stream's prompt: eod, sentinel 0, break. */
#define CM3_UNCONDITIONAL_TOKENS 3
cm3_status cm3_unconditional_tokens(const cm3_encoder *encoder, cm3_ids *ids);

/** A training document: eod, caption (or sentinel 0 where `drop_caption`), break, codes, and the closing eod. */
cm3_status cm3_training_tokens(const cm3_encoder *encoder, const char *text, size_t text_size, const int32_t *codes,
                               size_t code_count, bool drop_caption, cm3_ids *ids);

#endif
