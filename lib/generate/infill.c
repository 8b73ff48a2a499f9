/* Filling in. */
#include "generate/infill.h"

#include <string.h>

#include "base/status.h"

/** The prompt, or, without its texts, what guidance's other stream knows. */
static cm3_status write_prompt(cm3_request *request, const cm3_encoder *encoder, cm3_ids *ids) {
    const cm3_special_tokens *special = encoder->special;
    encoder->holes->count = 0;
    CM3_TRY(cm3_prompt_tokens(encoder, request->prompt, (cm3_prompt_form){.image_follows = false}, ids));
    if (!encoder->holes->count) {
        return cm3_fail(request->context, CM3_ERROR_INVALID_ARGUMENT,
                        "there is nothing to fill in: no mask, and no box that touches its picture");
    }
    return cm3_ids_push(request->context, ids, special->sentinels[0]);
}

cm3_status cm3_infill_prompt(cm3_request *request, cm3_encoder *encoder) {
    const cm3_holes *holes = &request->holes;
    encoder->holes = &request->holes;
    CM3_TRY(write_prompt(request, encoder, &request->prompt_ids));
    bool texts;
    cm3_infill_tokens(holes, 0, &texts);
    if (texts || request->options.guidance_scale == 1) return CM3_OK;
    encoder->without_text = true;
    return write_prompt(request, encoder, &request->unconditional_ids);
}

int64_t cm3_infill_tokens(const cm3_holes *holes, int32_t first, bool *texts) {
    int64_t tokens = 0;
    *texts = false;
    for (int32_t i = first; i < holes->count; i++) {
        bool text = holes->holes[i].cell < 0;
        *texts = *texts || text;
        if (!text) tokens += holes->holes[i].count + 2;
    }
    return tokens;
}

cm3_status cm3_infill_lead(const cm3_request *request, int32_t *lead) {
    const cm3_holes *holes = &request->holes;
    *lead = 0;
    if (!holes->codes) return CM3_OK;
    int32_t count = cm3_vq_tokens(request->model->tokenizer->vq);
    while (*lead < count && !holes->hidden[*lead]) ++*lead;
    if (*lead < count) return CM3_OK;
    return cm3_fail(request->context, CM3_ERROR_INVALID_ARGUMENT,
                    "there is nothing to fill in: no box touches its picture");
}

int32_t cm3_infill_known(const cm3_request *request, int32_t place) {
    const cm3_holes *holes = &request->holes;
    if (!holes->in_place || !holes->codes || holes->hidden[place]) return -1;
    return request->model->tokenizer->special.image[holes->codes[place]];
}

cm3_status cm3_infill_rest(cm3_request *request, cm3_candidate *candidate) {
    const cm3_holes *holes = &request->holes;
    int32_t count = cm3_vq_tokens(request->model->tokenizer->vq), from = (int32_t)candidate->codes.count;
    if (!holes->in_place || !holes->codes) return CM3_OK;
    for (int32_t i = from; i < count; i++) {
        if (holes->hidden[i]) return CM3_OK;
    }
    for (int32_t i = from; i < count; i++) {
        CM3_TRY(cm3_ids_push(request->context, &candidate->codes, holes->codes[i]));
    }
    return CM3_OK;
}

/** At hole candidate->hole: its tokens are due. */
static void open_hole(const cm3_request *request, cm3_candidate *candidate) {
    const cm3_hole *hole = &request->holes.holes[candidate->hole];
    candidate->in_image = hole->cell >= 0;
    candidate->left = hole->count;
    candidate->forced = -1;
}

cm3_status cm3_infill_begin(cm3_request *request, cm3_candidate *candidate) {
    const cm3_holes *holes = &request->holes;
    open_hole(request, candidate);
    if (!holes->codes) return CM3_OK;
    int32_t count = cm3_vq_tokens(request->model->tokenizer->vq);
    for (int32_t i = 0; i < count; i++) CM3_TRY(cm3_ids_push(request->context, &candidate->codes, holes->codes[i]));
    return CM3_OK;
}

/** The hole is full: the next one's sentinel is due, or all is done. */
static void close_hole(const cm3_request *request, cm3_candidate *candidate, bool *through) {
    const cm3_special_tokens *special = &request->model->tokenizer->special;
    candidate->in_image = false;
    *through = ++candidate->hole == request->holes.count;
    candidate->forced = *through ? -1 : special->sentinels[candidate->hole];
}

void cm3_infill_take(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary, int32_t token,
                     bool *text, bool *through) {
    const cm3_special_tokens *special = &request->model->tokenizer->special;
    *text = *through = false;
    if (candidate->forced >= 0 && candidate->forced == special->end_span) {
        close_hole(request, candidate, through);
    } else if (candidate->forced >= 0) {
        open_hole(request, candidate);
    } else if (candidate->in_image) {
        const cm3_hole *hole = &request->holes.holes[candidate->hole];
        candidate->codes.ids[hole->cell + hole->count - candidate->left] = special->image_code[token];
        if (--candidate->left) return;
        candidate->in_image = false;
        candidate->forced = special->end_span;
        if (special->end_span < 0) close_hole(request, candidate, through);
    } else if (vocabulary->kind[token] == 3) {
        close_hole(request, candidate, through);
    } else {
        *text = true;
    }
}

/** The square that the tokenizer sees of a picture. */
static void seen_square(const cm3_image_view *view, int32_t *x, int32_t *y, int32_t *side) {
    *side = view->width < view->height ? view->width : view->height;
    *x = (view->width - *side) / 2;
    *y = (view->height - *side) / 2;
}

/** One token's square, from a picture of the square's size to its place. */
static void lay_cell(const cm3_image_view *from, cm3_image_view *to, int32_t x, int32_t y, int32_t cell, int32_t grid) {
    int64_t side = from->width, column = cell % grid, row = cell / grid;
    int64_t left = column * side / grid, right = (column + 1) * side / grid;
    int64_t top = row * side / grid, bottom = (row + 1) * side / grid;
    for (int64_t i = top; i < bottom; i++) {
        memcpy(to->pixels + (size_t)(y + i) * to->stride + (size_t)(x + left) * 3,
               from->pixels + (size_t)i * from->stride + (size_t)left * 3, (size_t)(right - left) * 3);
    }
}

cm3_status cm3_infill_compose(const cm3_request *request, const cm3_image *made, cm3_image **image) {
    const cm3_holes *holes = &request->holes;
    cm3_image_view whole, part, to;
    cm3_image *scaled = NULL;
    int32_t x, y, side, grid = cm3_vq_grid(request->model->tokenizer->vq);
    CM3_TRY(cm3_image_get_view(holes->image, &whole));
    CM3_TRY(cm3_image_get_view(made, &part));
    seen_square(&whole, &x, &y, &side);
    CM3_TRY(cm3_image_from_pixels(request->context, whole.pixels, whole.width, whole.height, whole.stride, image));
    cm3_status status = side == part.width ? CM3_OK : cm3_image_resize(made, side, side, CM3_FILTER_BICUBIC, &scaled);
    if (status == CM3_OK) status = cm3_image_get_view(scaled ? scaled : made, &part);
    if (status == CM3_OK) status = cm3_image_get_view(*image, &to);
    for (int32_t i = 0; i < grid * grid && status == CM3_OK; i++) {
        if (holes->hidden[i]) lay_cell(&part, &to, x, y, i, grid);
    }
    cm3_image_destroy(scaled);
    if (status != CM3_OK) {
        cm3_image_destroy(*image);
        *image = NULL;
    }
    return status;
}
