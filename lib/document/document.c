/* Documents: a list of segments. */
#include <math.h>
#include <string.h>

#include "base/options.h"
#include "document/segments.h"
#include "text/bpe.h"

static void clear_segment(cm3_context *context, cm3_segment_data *segment) {
    cm3_free(context, segment->text);
    cm3_free(context, segment->codes);
    cm3_free(context, segment->boxes);
    cm3_image_destroy(segment->image);
}

cm3_status cm3_document_create(cm3_context *context, cm3_document **document) {
    if (document) *document = NULL;
    if (!context || !document)
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_create: an argument is NULL");
    cm3_document *d = cm3_calloc(context, 1, sizeof *d);
    if (!d) return cm3_fail_memory(context, sizeof *d, "document");
    d->context = context;
    cm3_context_retain(context);
    *document = d;
    return CM3_OK;
}

void cm3_document_destroy(cm3_document *document) {
    if (!document) return;
    cm3_context *context = document->context;
    for (size_t i = 0; i < document->count; i++) clear_segment(context, &document->segments[i]);
    cm3_free(context, document->segments);
    cm3_free(context, document);
    cm3_context_release(context);
}

/** Takes over what `segment` holds, also on failure. */
static cm3_status push(cm3_document *document, cm3_segment_data *segment) {
    cm3_status status = cm3_grow(document->context, &document->segments, &document->capacity, document->count + 1,
                                 sizeof *document->segments, "document");
    if (status != CM3_OK) {
        clear_segment(document->context, segment);
        return status;
    }
    document->segments[document->count++] = *segment;
    return CM3_OK;
}

/** Takes back what was appended since. */
static void cut(cm3_document *document, size_t count) {
    while (document->count > count) clear_segment(document->context, &document->segments[--document->count]);
}

cm3_status cm3_document_add_text(cm3_document *document, const char *text, size_t size) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = document->context;
    if (!text) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_text: text is NULL");
    if (size == SIZE_MAX) size = strlen(text);
    CM3_TRY(cm3_utf8_check(context, "text of a document", text, size));
    cm3_segment_data segment = {.kind = CM3_SEGMENT_TEXT, .text = cm3_strndup(context, text, size), .text_size = size};
    if (!segment.text) return cm3_fail_memory(context, size, "text of a document");
    return push(document, &segment);
}

cm3_status cm3_document_add_picture(cm3_document *document, cm3_image *image, const int32_t *codes, size_t code_count) {
    cm3_context *context = document->context;
    cm3_segment_data segment = {.kind = CM3_SEGMENT_IMAGE};
    if (codes) {
        segment.codes = cm3_calloc(context, code_count, sizeof *codes);
        if (!segment.codes) return cm3_fail_memory(context, code_count * sizeof *codes, "codes of a document");
        memcpy(segment.codes, codes, code_count * sizeof *codes);
        segment.code_count = code_count;
    }
    if (image) {
        cm3_status status = cm3_image_retain(image);
        if (status != CM3_OK) {
            cm3_free(context, segment.codes);
            return status;
        }
        segment.image = image;
    }
    return push(document, &segment);
}

cm3_status cm3_document_add_image(cm3_document *document, cm3_image *image) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    if (!image) return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_image: image is NULL");
    return cm3_document_add_picture(document, image, NULL, 0);
}

cm3_status cm3_document_add_image_holes(cm3_document *document, cm3_image *image, const cm3_box *boxes,
                                        size_t box_count) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = document->context;
    if (!image || !boxes || !box_count) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_image_holes: there is no %s",
                        image ? "box" : "image");
    }
    for (size_t i = 0; i < box_count; i++) {
        const cm3_box *b = &boxes[i];
        bool finite = isfinite(b->x) && isfinite(b->y) && isfinite(b->width) && isfinite(b->height);
        if (finite && b->width >= 0 && b->height >= 0) continue;
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "box %zu is (%g, %g), %g x %g: finite numbers are expected, and no negative sides", i,
                        (double)b->x, (double)b->y, (double)b->width, (double)b->height);
    }
    cm3_box *own = cm3_calloc(context, box_count, sizeof *own);
    if (!own) return cm3_fail_memory(context, box_count * sizeof *own, "boxes of a document");
    memcpy(own, boxes, box_count * sizeof *own);
    cm3_status status = cm3_document_add_picture(document, image, NULL, 0);
    if (status != CM3_OK) {
        cm3_free(context, own);
        return status;
    }
    document->segments[document->count - 1].boxes = own;
    document->segments[document->count - 1].box_count = box_count;
    return CM3_OK;
}

cm3_status cm3_document_add_codes(cm3_document *document, const int32_t *codes, size_t count) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    if (!codes || !count) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_codes: there are no codes");
    }
    return cm3_document_add_picture(document, NULL, codes, count);
}

cm3_status cm3_document_add_break(cm3_document *document) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    return push(document, &(cm3_segment_data){.kind = CM3_SEGMENT_BREAK});
}

cm3_status cm3_document_add_mask(cm3_document *document, int32_t number) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    if (number < 0) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_mask: mask %d is below 0",
                        number);
    }
    return push(document, &(cm3_segment_data){.kind = CM3_SEGMENT_MASK, .mask = number});
}

cm3_status cm3_document_add_ids(cm3_document *document, const int32_t *ids, size_t count) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = document->context;
    if (!ids || !count) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_ids: there are no ids");
    cm3_segment_data segment = {.kind = CM3_SEGMENT_IDS, .codes = cm3_calloc(context, count, sizeof *ids)};
    if (!segment.codes) return cm3_fail_memory(context, count * sizeof *ids, "ids of a document");
    memcpy(segment.codes, ids, count * sizeof *ids);
    segment.code_count = count;
    return push(document, &segment);
}

#define PLACEHOLDER "<image>"

/** The text's parts and the pictures between them. */
static cm3_status add_parts(cm3_document *document, const char *text, cm3_image *const *images) {
    const char *place;
    for (size_t i = 0; (place = strstr(text, PLACEHOLDER)); i++) {
        if (place != text) CM3_TRY(cm3_document_add_text(document, text, (size_t)(place - text)));
        CM3_TRY(cm3_document_add_image(document, images[i]));
        text = place + strlen(PLACEHOLDER);
    }
    return *text ? cm3_document_add_text(document, text, SIZE_MAX) : CM3_OK;
}

cm3_status cm3_document_add_prompt(cm3_document *document, const char *text, cm3_image *const *images,
                                   size_t image_count) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    if (!text || (!images && image_count)) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_add_prompt: an argument is NULL");
    }
    size_t places = 0, before = document->count;
    for (const char *place = text; (place = strstr(place, PLACEHOLDER)); place += strlen(PLACEHOLDER)) places++;
    if (places != image_count) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT,
                        "the text has " PLACEHOLDER " %zu times; there are %zu pictures", places, image_count);
    }
    cm3_status status = add_parts(document, text, images);
    if (status != CM3_OK) cut(document, before);
    return status;
}

bool cm3_document_is_augmented(const cm3_document *document) {
    return document->count && document->segments[0].retrieved;
}

cm3_status cm3_document_add_retrieved(cm3_document *document, const char *text, cm3_image *image, const int32_t *codes,
                                      size_t code_count) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    const size_t before = document->count;
    const bool pictured = image || (codes && code_count);
    if ((!text && !pictured) || (image && codes)) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_document_add_retrieved: a text, and a picture or codes, or one of them, is expected");
    }
    if (before && !document->segments[before - 1].retrieved) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_document_add_retrieved: what is looked up stands before all else");
    }
    cm3_status status = CM3_OK;
    if (text) {
        status = cm3_document_add_text(document, text, SIZE_MAX);
        if (status == CM3_OK) status = cm3_document_add_break(document);
    }
    if (status == CM3_OK && pictured) {
        status = cm3_document_add_picture(document, image, codes, code_count);
        if (status == CM3_OK) status = cm3_document_add_break(document);
    }
    if (status != CM3_OK) cut(document, before);
    for (size_t i = before; i < document->count; i++) document->segments[i].retrieved = true;
    return status;
}

static cm3_status append_segment(cm3_document *document, const cm3_segment_data *s) {
    switch (s->kind) {
    case CM3_SEGMENT_TEXT:
        return cm3_document_add_text(document, s->text, s->text_size);
    case CM3_SEGMENT_IMAGE:
        return s->boxes ? cm3_document_add_image_holes(document, s->image, s->boxes, s->box_count)
                        : cm3_document_add_picture(document, s->image, s->codes, s->code_count);
    case CM3_SEGMENT_BREAK:
        return cm3_document_add_break(document);
    case CM3_SEGMENT_MASK:
        return cm3_document_add_mask(document, s->mask);
    case CM3_SEGMENT_IDS:
        return cm3_document_add_ids(document, s->codes, s->code_count);
    }
    return CM3_ERROR_INTERNAL;
}

cm3_status cm3_document_append(cm3_document *document, const cm3_document *other) {
    if (!document || !other) return CM3_ERROR_INVALID_ARGUMENT;
    const size_t before = document->count, count = other->count;
    for (size_t i = 0; i < count; i++) {
        const cm3_segment_data segment = other->segments[i];
        cm3_status status = append_segment(document, &segment);
        if (status != CM3_OK) {
            cut(document, before);
            return status;
        }
        document->segments[document->count - 1].retrieved = segment.retrieved;
    }
    return CM3_OK;
}

cm3_status cm3_document_copy(const cm3_document *document, cm3_document **copy) {
    CM3_TRY(cm3_document_create(document->context, copy));
    cm3_status status = cm3_document_append(*copy, document);
    if (status == CM3_OK) return CM3_OK;
    cm3_document_destroy(*copy);
    *copy = NULL;
    return status;
}

cm3_status cm3_document_count(const cm3_document *document, size_t *count) {
    if (count) *count = 0;
    if (!document || !count) return CM3_ERROR_INVALID_ARGUMENT;
    *count = document->count;
    return CM3_OK;
}

cm3_status cm3_document_get(const cm3_document *document, size_t index, cm3_segment *segment) {
    if (!document) return CM3_ERROR_INVALID_ARGUMENT;
    if (index >= document->count) {
        return cm3_fail(document->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_document_get: segment %zu of %zu", index,
                        document->count);
    }
    const cm3_segment_data *s = &document->segments[index];
    cm3_segment full = {.kind = s->kind,
                        .text = s->text,
                        .text_size = s->text_size,
                        .image = s->image,
                        .codes = s->codes,
                        .code_count = s->code_count,
                        .mask = s->mask};
    return cm3_options_write(document->context, segment, &full, sizeof full, "cm3_segment");
}
