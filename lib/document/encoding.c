/* Documents as tokens, in the order that the model was trained on. */
#include "document/encoding.h"

#include "base/status.h"
#include "document/hidden.h"

void cm3_ids_clear(cm3_context *context, cm3_ids *ids) {
    cm3_free(context, ids->ids);
    *ids = (cm3_ids){0};
}

cm3_status cm3_ids_reserve(cm3_context *context, cm3_ids *ids, size_t count) {
    return cm3_grow(context, &ids->ids, &ids->capacity, count, sizeof *ids->ids, "tokens");
}

cm3_status cm3_ids_push(cm3_context *context, cm3_ids *ids, int32_t id) {
    CM3_TRY(cm3_grow(context, &ids->ids, &ids->capacity, ids->count + 1, sizeof *ids->ids, "tokens"));
    ids->ids[ids->count++] = id;
    return CM3_OK;
}

/** A token that must exist: which role is missing goes into the message. */
static cm3_status push_role(const cm3_encoder *encoder, cm3_ids *ids, int32_t id, const char *role) {
    if (id < 0) return cm3_fail(encoder->context, CM3_ERROR_UNSUPPORTED, "the tokenizer has no token for '%s'", role);
    return cm3_ids_push(encoder->context, ids, id);
}

cm3_status cm3_push_break(const cm3_encoder *encoder, cm3_ids *ids) {
    return push_role(encoder, ids, encoder->special->break_, "break");
}

/** Codes of part of a picture, or of all of it. */
static cm3_status push_some_codes(const cm3_encoder *encoder, const int32_t *codes, size_t count, cm3_ids *ids) {
    const cm3_special_tokens *special = encoder->special;
    for (size_t i = 0; i < count; i++) {
        if (codes[i] < 0 || codes[i] >= special->image_count) {
            return cm3_fail(encoder->context, CM3_ERROR_INVALID_ARGUMENT, "image code %zu is %d, not in 0..%d", i,
                            codes[i], special->image_count - 1);
        }
        CM3_TRY(cm3_ids_push(encoder->context, ids, special->image[codes[i]]));
    }
    return CM3_OK;
}

cm3_status cm3_push_codes(const cm3_encoder *encoder, const int32_t *codes, size_t count, cm3_ids *ids) {
    if (encoder->vq && count != (size_t)cm3_vq_tokens(encoder->vq)) {
        return cm3_fail(encoder->context, CM3_ERROR_INVALID_ARGUMENT, "an image has %zu codes; this model's have %d",
                        count, (int)cm3_vq_tokens(encoder->vq));
    }
    return push_some_codes(encoder, codes, count, ids);
}

static cm3_status push_pixels(const cm3_encoder *encoder, const cm3_image *image, cm3_vq_choice choice, cm3_ids *ids) {
    if (!encoder->vq) {
        return cm3_fail(encoder->context, CM3_ERROR_UNSUPPORTED,
                        "the model has no image tokenizer to read pictures with");
    }
    size_t count = (size_t)cm3_vq_tokens(encoder->vq);
    int32_t *codes = cm3_calloc(encoder->context, count, sizeof *codes);
    if (!codes) return cm3_fail_memory(encoder->context, count * sizeof *codes, "image codes");
    cm3_status status = cm3_vq_encode_image(encoder->vq, image, encoder->preprocessing, choice, codes);
    if (status == CM3_OK) status = cm3_push_codes(encoder, codes, count, ids);
    cm3_free(encoder->context, codes);
    return status;
}

static cm3_status add_hole(const cm3_encoder *encoder, cm3_hole hole, cm3_ids *ids) {
    cm3_holes *holes = encoder->holes;
    if (holes->count == CM3_MAX_HOLES || holes->count >= encoder->special->sentinel_count) {
        return cm3_fail(encoder->context, CM3_ERROR_UNSUPPORTED, "more than %d holes: the model has %d sentinels",
                        holes->count, encoder->special->sentinel_count);
    }
    holes->holes[holes->count] = hole;
    return cm3_ids_push(encoder->context, ids, encoder->special->sentinels[holes->count++]);
}

/** The picture's codes, where they are not known from an earlier pass. */
static cm3_status read_codes(const cm3_encoder *encoder, const cm3_segment_data *segment) {
    cm3_holes *holes = encoder->holes;
    if (holes->codes && holes->image == segment->image) return CM3_OK;
    if (holes->codes) return cm3_fail(encoder->context, CM3_ERROR_UNSUPPORTED, "two pictures with holes");
    int32_t count = cm3_vq_tokens(encoder->vq);
    holes->codes = cm3_calloc(encoder->context, (size_t)count, sizeof *holes->codes);
    if (holes->codes) holes->hidden = cm3_calloc(encoder->context, (size_t)count, 1);
    if (!holes->hidden) return cm3_fail_memory(encoder->context, (size_t)count * sizeof *holes->codes, "image codes");
    holes->image = segment->image;
    int32_t grid = cm3_vq_grid(encoder->vq);
    for (int32_t i = 0; i < count; i++) holes->hidden[i] = cm3_is_hidden(segment, i % grid, i / grid, grid);
    cm3_image *known = NULL;
    CM3_TRY(cm3_paint_over(encoder->context, segment, &known));
    cm3_status status = cm3_vq_encode_image(encoder->vq, known, encoder->preprocessing, CM3_VQ_USUAL, holes->codes);
    cm3_image_destroy(known);
    return status;
}

static cm3_status push_sentinel(const cm3_encoder *encoder, int32_t number, cm3_ids *ids) {
    if (number >= encoder->special->sentinel_count) {
        return cm3_fail(encoder->context, CM3_ERROR_INVALID_ARGUMENT, "mask %d: the model has %d sentinels", number,
                        encoder->special->sentinel_count);
    }
    return cm3_ids_push(encoder->context, ids, encoder->special->sentinels[number]);
}

/** A picture's tokens, each run of hidden ones in a row a sentinel, or each hidden one sentinel 0. */
static cm3_status push_holes(const cm3_encoder *encoder, const cm3_segment_data *segment, cm3_ids *ids) {
    if (!encoder->holes) {
        return cm3_fail(encoder->context, CM3_ERROR_INVALID_ARGUMENT,
                        "a picture with holes is for CM3_MODALITY_INFILL and CM3_MODALITY_IMAGE alone");
    }
    if (!encoder->vq) {
        return cm3_fail(encoder->context, CM3_ERROR_UNSUPPORTED,
                        "the model has no image tokenizer to read pictures with");
    }
    CM3_TRY(read_codes(encoder, segment));
    const cm3_holes *holes = encoder->holes;
    const int32_t grid = cm3_vq_grid(encoder->vq), count = cm3_vq_tokens(encoder->vq);
    for (int32_t i = 0; i < count;) {
        int32_t first = i;
        while (i < count && i / grid == first / grid && holes->hidden[i]) i++;
        for (int32_t k = first; k < i && holes->in_place; k++) CM3_TRY(push_sentinel(encoder, 0, ids));
        if (i > first && !holes->in_place) CM3_TRY(add_hole(encoder, (cm3_hole){first, i - first}, ids));
        if (i == first) CM3_TRY(push_some_codes(encoder, holes->codes + i++, 1, ids));
    }
    return CM3_OK;
}

static cm3_status push_image(const cm3_encoder *encoder, const cm3_segment_data *segment, cm3_ids *ids) {
    const cm3_special_tokens *special = encoder->special;
    /* Where breaks part text and image, the picture stands bare between them; else it brings its own brackets. */
    bool brackets = special->begin_image >= 0 && special->begin_image != special->break_;
    if (brackets) CM3_TRY(cm3_ids_push(encoder->context, ids, special->begin_image));
    if (segment->boxes) {
        CM3_TRY(push_holes(encoder, segment, ids));
    } else if (segment->codes) {
        CM3_TRY(cm3_push_codes(encoder, segment->codes, segment->code_count, ids));
    } else {
        CM3_TRY(push_pixels(encoder, segment->image, segment->retrieved ? CM3_VQ_NEAREST : CM3_VQ_USUAL, ids));
    }
    if (brackets && special->end_image >= 0) CM3_TRY(cm3_ids_push(encoder->context, ids, special->end_image));
    return CM3_OK;
}

/** A mask: where holes are filled in, the next one. */
static cm3_status push_mask(const cm3_encoder *encoder, int32_t number, cm3_ids *ids) {
    if (!encoder->holes || encoder->holes->in_place) return push_sentinel(encoder, number, ids);
    if (number == encoder->holes->count) return add_hole(encoder, (cm3_hole){-1, 0}, ids);
    return cm3_fail(encoder->context, CM3_ERROR_INVALID_ARGUMENT,
                    "mask %d is where mask %d should be: they are counted as "
                    "they stand, holes of pictures too",
                    number, encoder->holes->count);
}

static cm3_status push_ids(const cm3_encoder *encoder, const cm3_segment_data *segment, cm3_ids *ids) {
    for (size_t i = 0; i < segment->code_count; i++) {
        int32_t id = segment->codes[i];
        if (id < 0 || id >= encoder->special->vocab_size) {
            return cm3_fail(encoder->context, CM3_ERROR_INVALID_ARGUMENT, "id %zu of the prompt is %d, not in 0..%d", i,
                            id, encoder->special->vocab_size - 1);
        }
        CM3_TRY(cm3_ids_push(encoder->context, ids, id));
    }
    return CM3_OK;
}

cm3_status cm3_document_tokens(const cm3_encoder *encoder, const cm3_document *document, cm3_ids *ids) {
    for (size_t i = 0; i < document->count; i++) {
        const cm3_segment_data *segment = &document->segments[i];
        if (encoder->only_retrieved && !segment->retrieved) continue;
        switch (segment->kind) {
        case CM3_SEGMENT_TEXT:
            if (encoder->without_text) break;
            CM3_TRY(cm3_bpe_encode(encoder->bpe, segment->text, segment->text_size, encoder->encode_flags, &ids->ids,
                                   &ids->count, &ids->capacity));
            break;
        case CM3_SEGMENT_IMAGE:
            CM3_TRY(push_image(encoder, segment, ids));
            break;
        case CM3_SEGMENT_BREAK:
            /* Where pictures bring brackets of their own, what was looked up needs nothing between. */
            if (segment->retrieved && encoder->special->break_ < 0) break;
            CM3_TRY(cm3_push_break(encoder, ids));
            break;
        case CM3_SEGMENT_MASK:
            CM3_TRY(push_mask(encoder, segment->mask, ids));
            break;
        case CM3_SEGMENT_IDS:
            CM3_TRY(push_ids(encoder, segment, ids));
            break;
        }
    }
    return CM3_OK;
}

/** What opens an image in this family: its own token, or the break. */
static int32_t image_opener(const cm3_special_tokens *special) {
    return special->begin_image >= 0 ? special->begin_image : special->break_;
}

static cm3_status chameleon_prompt(const cm3_encoder *encoder, const cm3_document *document, cm3_prompt_form form,
                                   cm3_ids *ids) {
    const cm3_special_tokens *special = encoder->special;
    CM3_TRY(cm3_ids_push(encoder->context, ids, special->bos));
    CM3_TRY(cm3_document_tokens(encoder, document, ids));
    if (form.end_turn) CM3_TRY(push_role(encoder, ids, special->end_turn, "end of turn"));
    return form.image_follows ? push_role(encoder, ids, special->begin_image, "begin image") : CM3_OK;
}

cm3_status cm3_prompt_tokens(const cm3_encoder *encoder, const cm3_document *document, cm3_prompt_form form,
                             cm3_ids *ids) {
    bool spelled = document->count == 1 && document->segments[0].kind == CM3_SEGMENT_IDS;
    if (spelled) return cm3_document_tokens(encoder, document, ids);
    if (encoder->special->bos >= 0) return chameleon_prompt(encoder, document, form, ids);
    CM3_TRY(push_role(encoder, ids, encoder->special->eod, "eod"));
    size_t before = ids->count;
    CM3_TRY(cm3_document_tokens(encoder, document, ids));
    if (!form.image_follows) return CM3_OK;
    if (ids->count == before) CM3_TRY(push_sentinel(encoder, 0, ids));
    /* A document that ends with the break has opened it. */
    if (ids->ids[ids->count - 1] == image_opener(encoder->special)) return CM3_OK;
    return push_role(encoder, ids, image_opener(encoder->special), "break");
}

bool cm3_is_of_pictures(const cm3_special_tokens *special, int32_t id) {
    return special->image_code[id] >= 0 || id == special->bos || id == special->begin_image || id == special->end_image;
}

int64_t cm3_unconditional_count(const cm3_special_tokens *special) {
    return special->bos >= 0 ? 2 : 3;
}

cm3_status cm3_unconditional_tokens(const cm3_encoder *encoder, const cm3_document *prompt, cm3_ids *ids) {
    if (cm3_document_is_augmented(prompt)) {
        cm3_encoder kept = *encoder;
        kept.only_retrieved = true;
        return cm3_prompt_tokens(&kept, prompt, (cm3_prompt_form){.image_follows = true}, ids);
    }
    if (encoder->special->bos >= 0) {
        CM3_TRY(cm3_ids_push(encoder->context, ids, encoder->special->bos));
        return push_role(encoder, ids, encoder->special->begin_image, "begin image");
    }
    CM3_TRY(push_role(encoder, ids, encoder->special->eod, "eod"));
    CM3_TRY(push_sentinel(encoder, 0, ids));
    return push_role(encoder, ids, image_opener(encoder->special), "break");
}

cm3_status cm3_training_tokens(const cm3_encoder *encoder, const char *text, size_t text_size, const int32_t *codes,
                               size_t code_count, bool drop_caption, cm3_ids *ids) {
    CM3_TRY(push_role(encoder, ids, encoder->special->eod, "eod"));
    if (drop_caption) {
        CM3_TRY(push_sentinel(encoder, 0, ids));
    } else {
        CM3_TRY(cm3_bpe_encode(encoder->bpe, text, text_size, encoder->encode_flags, &ids->ids, &ids->count,
                               &ids->capacity));
    }
    if (code_count) {
        CM3_TRY(push_role(encoder, ids, image_opener(encoder->special), "break"));
        CM3_TRY(cm3_push_codes(encoder, codes, code_count, ids));
    }
    return push_role(encoder, ids, encoder->special->eod, "eod");
}
