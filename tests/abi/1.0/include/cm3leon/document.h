/**
 * @file
 * Documents: what is given to a model and what comes back, as segments of text, image, break and mask.
 */
#ifndef CM3LEON_DOCUMENT_H
#define CM3LEON_DOCUMENT_H

#include "cm3leon/image.h"

#ifdef __cplusplus
extern "C" {
#endif

/** A list of segments. One thread at a time. */
typedef struct cm3_document cm3_document;

/** What a segment is. */
typedef enum cm3_segment_kind {
    CM3_SEGMENT_TEXT = 1,
    CM3_SEGMENT_IMAGE = 2, /**< pixels, or codes, or both */
    CM3_SEGMENT_BREAK = 3,
    CM3_SEGMENT_MASK = 4, /**< stands for something to be filled in; written as sentinel `mask` */
    CM3_SEGMENT_IDS = 5   /**< token ids as they are; `codes` holds them */
} cm3_segment_kind;

/** One segment; pointers belong to the document and stay valid until it is changed or destroyed. */
typedef struct cm3_segment {
    size_t struct_size;     /**< set by the caller */
    cm3_segment_kind kind;  /**< which of the fields below are set */
    const char *text;       /**< TEXT: UTF-8, NUL-terminated; else NULL */
    size_t text_size;       /**< bytes without the NUL */
    const cm3_image *image; /**< IMAGE: pixels where known, else NULL */
    const int32_t *codes;   /**< IMAGE: codes where known, else NULL. IDS: the ids */
    size_t code_count;      /**< how many codes or ids */
    int32_t mask;           /**< MASK: number of the sentinel */
} cm3_segment;

/** An empty document. Errors: INVALID_ARGUMENT, NO_MEMORY. *document is NULL on failure. */
CM3_API cm3_status cm3_document_create(cm3_context *context, cm3_document **document);
/** NULL is allowed. */
CM3_API void cm3_document_destroy(cm3_document *document);

/** Appends UTF-8 text (`size` SIZE_MAX: NUL-terminated), copied. Errors: UTF8, INVALID_ARGUMENT, NO_MEMORY. */
CM3_API cm3_status cm3_document_add_text(cm3_document *document, const char *text, size_t size);

/** Appends a picture; the document takes a hold of its own. */
CM3_API cm3_status cm3_document_add_image(cm3_document *document, cm3_image *image);

/** A rectangle of a picture in fractions of its sides, x to the right, y down. */
typedef struct cm3_box {
    float x;      /**< of the left edge, 0..1 */
    float y;      /**< of the upper edge, 0..1 */
    float width;  /**< of the picture's width */
    float height; /**< of the picture's height */
} cm3_box;

/**
 * Appends a picture with holes: what the boxes touch, by tokens of the model's image tokenizer, is to be filled in by
 * CM3_MODALITY_INFILL or CM3_MODALITY_IMAGE. The boxes, clipped to the picture, are copied; one that touches nothing is
 * no error here. Errors: INVALID_ARGUMENT (no boxes; a number that is not finite; a negative side), NO_MEMORY.
 */
CM3_API cm3_status cm3_document_add_image_holes(cm3_document *document, cm3_image *image, const cm3_box *boxes,
                                                size_t box_count);

/** Appends a picture by its codes, copied. */
CM3_API cm3_status cm3_document_add_codes(cm3_document *document, const int32_t *codes, size_t count);

/** Appends a break. Errors: INVALID_ARGUMENT, NO_MEMORY. */
CM3_API cm3_status cm3_document_add_break(cm3_document *document);

/** Appends mask `number` (0..sentinels-1). */
CM3_API cm3_status cm3_document_add_mask(cm3_document *document, int32_t number);

/**
 * Appends token ids, copied. A prompt of nothing but one such segment is taken as it is: nothing is put before or
 * behind it. Errors: INVALID_ARGUMENT, NO_MEMORY; an id outside the vocabulary is found when the prompt is read.
 */
CM3_API cm3_status cm3_document_add_ids(cm3_document *document, const int32_t *ids, size_t count);

/**
 * Appends a text in which each `<image>` stands for the next of the pictures, as Hugging Face's processor of Chameleon
 * has it: text and pictures as segments in that order. INVALID_ARGUMENT where there are not as many of the one as of
 * the other; then nothing was appended.
 */
CM3_API cm3_status cm3_document_add_prompt(cm3_document *document, const char *text, cm3_image *const *images,
                                           size_t image_count);

/**
 * Appends a document that was looked up for the prompt: its text, a break, its picture and a break (Yu et al. 2023,
 * figure 9), of which text or picture may be missing; of a picture either pixels or codes. Guidance's unconditional
 * stream keeps it. Errors: INVALID_ARGUMENT (nothing is given; something that was not looked up stands before it),
 * UTF8, NO_MEMORY; then nothing was appended.
 */
CM3_API cm3_status cm3_document_add_retrieved(cm3_document *document, const char *text, cm3_image *image,
                                              const int32_t *codes, size_t code_count);

/** Appends another's segments: text, codes, boxes and ids copied, pictures held. Errors: NO_MEMORY; then nothing was
 * appended. */
CM3_API cm3_status cm3_document_append(cm3_document *document, const cm3_document *other);

/** How many segments there are. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_document_count(const cm3_document *document, size_t *count);

/** Segment `index` of count. Set segment->struct_size first. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_document_get(const cm3_document *document, size_t index, cm3_segment *segment);

#ifdef __cplusplus
}
#endif

#endif
