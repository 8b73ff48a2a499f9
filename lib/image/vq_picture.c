/* Whole pictures through the image tokenizer: the work is handed to the compute thread. */
#include <string.h>

#include "base/status.h"
#include "image/preprocess.h"
#include "image/vq_layers.h"

typedef struct cm3_picture_call {
    const cm3_vq *vq;
    const cm3_image *image;
    const cm3_hf_preprocessing *preprocessing; /**< NULL: Meta's */
    cm3_vq_choice choice;
    int32_t *codes;
    int32_t rows;            /**< of tokens that are there */
    int32_t known;           /**< rows of them that `before` shows already */
    const cm3_image *before; /**< NULL: none */
    cm3_compute compute;
    cm3_image *result;
} cm3_picture_call;

static cm3_status preprocess(const cm3_picture_call *call, int32_t side, float *pixels) {
    const cm3_hf_preprocessing *hf = call->preprocessing;
    cm3_context *context = call->vq->context;
    if (!hf) return cm3_preprocess(context, call->image, CM3_PREPROCESS_META, side, pixels);
    if (hf->crop_width != side || hf->crop_height != side) {
        return cm3_fail(context, CM3_ERROR_FORMAT,
                        "preprocessing makes pictures of %d x %d; the tokenizer reads %d x %d", hf->crop_width,
                        hf->crop_height, side, side);
    }
    return cm3_preprocess_hf(context, call->image, hf, pixels);
}

static cm3_status encode(cm3_graph *graph, cm3_picture_call *call) {
    int64_t side = call->vq->config.resolution;
    cm3_tensor *x = cm3_graph_tensor(graph, CM3_F32, 4, (const int64_t[]){1, side, side, 3});
    if (!x) return cm3_graph_status(graph);
    if (!graph->idle) CM3_TRY(preprocess(call, (int32_t)side, cm3_f32(x)));
    cm3_tensor *z = cm3_vq_encode(graph, call->vq, x);
    if (!z) return cm3_graph_status(graph);
    return cm3_vq_quantise(graph, call->vq, cm3_f32(z), z->shape[1] * z->shape[2], call->choice, call->codes, NULL);
}

/** The first row of tokens that is decoded. */
static int32_t first_row(const cm3_picture_call *call) {
    return call->known > CM3_VQ_MARGIN ? call->known - CM3_VQ_MARGIN : 0;
}

/** Rows of the codebook for the rows of tokens that are decoded. */
static cm3_tensor *look_up(cm3_graph *graph, const cm3_picture_call *call) {
    int32_t grid = cm3_vq_grid(call->vq), first = first_row(call), count = call->rows - first;
    const int32_t *codes = call->codes ? call->codes + (size_t)first * grid : NULL;
    cm3_tensor *rows = cm3_nn_embedding(graph, call->vq->layers->codebook, codes, (int64_t)count * grid);
    if (!rows) return NULL;
    return cm3_nn_reshape(graph, rows, 4, (const int64_t[]){1, count, grid, call->vq->config.embed_dim});
}

static cm3_status decode(cm3_graph *graph, cm3_picture_call *call) {
    cm3_tensor *y = cm3_vq_decode(graph, call->vq, look_up(graph, call));
    if (!y || cm3_graph_status(graph) != CM3_OK) return cm3_graph_status(graph);
    int32_t side = call->vq->config.resolution, cell = cm3_vq_cell(call->vq);
    CM3_TRY(cm3_image_create(call->vq->context, side, side, &call->result));
    cm3_image_view view, before;
    cm3_image_get_view(call->result, &view);
    const int64_t known = (int64_t)call->known * cell, top = (int64_t)first_row(call) * cell, width = y->shape[2] * 3;
    if (known) cm3_image_get_view(call->before, &before);
    for (int64_t row = 0; row < known; row++) {
        memcpy(view.pixels + (size_t)row * view.stride, before.pixels + (size_t)row * before.stride, (size_t)width);
    }
    for (int64_t row = known; row < top + y->shape[1]; row++) {
        cm3_postprocess(cm3_f32(y) + (row - top) * width, width, view.pixels + (size_t)row * view.stride);
    }
    return CM3_OK;
}

static cm3_status run(cm3_picture_call *call, cm3_status (*work)(cm3_graph *graph, cm3_picture_call *call)) {
    cm3_graph *graph = NULL;
    CM3_TRY(cm3_graph_create(call->vq->context, &(cm3_graph_options){.compute = call->compute}, &graph));
    cm3_status status = work(graph, call);
    cm3_graph_destroy(graph);
    return status;
}

static cm3_status run_encode(void *arg) {
    return run(arg, encode);
}

static cm3_status run_decode(void *arg) {
    return run(arg, decode);
}

cm3_status cm3_vq_encode_image(const cm3_vq *vq, const cm3_image *image, const cm3_hf_preprocessing *preprocessing,
                               cm3_vq_choice choice, int32_t *codes) {
    cm3_picture_call call = {.vq = vq,
                             .image = image,
                             .preprocessing = preprocessing,
                             .choice = choice,
                             .codes = codes,
                             .compute = CM3_COMPUTE_F32};
    return cm3_context_run(vq->context, run_encode, &call);
}

cm3_status cm3_vq_decode_rows(const cm3_vq *vq, const int32_t *codes, int32_t rows, cm3_compute compute,
                              cm3_image **image) {
    cm3_picture_call call = {.vq = vq, .codes = (int32_t *)(uintptr_t)codes, .rows = rows, .compute = compute};
    cm3_status status = cm3_context_run(vq->context, run_decode, &call);
    *image = call.result;
    return status;
}

cm3_status cm3_vq_decode_rows_in(cm3_graph *graph, const cm3_vq *vq, const int32_t *codes, int32_t rows, int32_t known,
                                 const cm3_image *before, cm3_image **image) {
    cm3_picture_call call = {
        .vq = vq, .codes = (int32_t *)(uintptr_t)codes, .rows = rows, .known = before ? known : 0, .before = before};
    cm3_graph_begin(graph);
    cm3_status status = decode(graph, &call);
    *image = call.result;
    return status;
}

cm3_status cm3_vq_measure_decode(const cm3_vq *vq, cm3_graph *measuring) {
    return cm3_vq_measure_rows(vq, cm3_vq_grid(vq), measuring);
}

cm3_status cm3_vq_measure_rows(const cm3_vq *vq, int32_t rows, cm3_graph *measuring) {
    const cm3_picture_call call = {.vq = vq, .rows = rows};
    cm3_vq_decode(measuring, vq, look_up(measuring, &call));
    return cm3_graph_status(measuring);
}

cm3_status cm3_vq_measure_encode(const cm3_vq *vq, cm3_graph *measuring) {
    cm3_picture_call call = {.vq = vq};
    return encode(measuring, &call);
}

cm3_status cm3_vq_decode_image(const cm3_vq *vq, const int32_t *codes, cm3_compute compute, cm3_image **image) {
    return cm3_vq_decode_rows(vq, codes, cm3_vq_grid(vq), compute, image);
}
