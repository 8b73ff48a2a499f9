/* The inside of a document. */
#ifndef CM3_DOCUMENT_SEGMENTS_H
#define CM3_DOCUMENT_SEGMENTS_H

#include "base/context.h"
#include "cm3leon/document.h"

typedef struct cm3_segment_data {
    cm3_segment_kind kind;
    char *text;
    size_t text_size;
    cm3_image *image;
    int32_t *codes;
    size_t code_count;
    int32_t mask;
    cm3_box *boxes; /**< of a picture with holes */
    size_t box_count;
    bool retrieved; /**< of a document that was looked up for the prompt */
} cm3_segment_data;

struct cm3_document {
    cm3_context *context;
    cm3_segment_data *segments;
    size_t count, capacity;
};

/** Appends a picture by both pixels (a hold is taken; may be NULL) and codes (copied; may be NULL). */
cm3_status cm3_document_add_picture(cm3_document *document, cm3_image *image, const int32_t *codes, size_t code_count);

/** Whether the document begins with documents that were looked up. */
bool cm3_document_is_augmented(const cm3_document *document);

/** Another document with the same segments. */
cm3_status cm3_document_copy(const cm3_document *document, cm3_document **copy);

#endif
