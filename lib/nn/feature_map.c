/* Feature maps twice as large or half as large. */
#include "nn/conv.h"
#include "nn/parallel_rows.h"

typedef struct cm3_map_pass {
    const cm3_kernels *kernels;
    int64_t w, c; /**< of the smaller map */
    float *small;
    void *large;
    cm3_dtype dtype; /**< of the large map */
    float factor;
    bool accumulate;
} cm3_map_pass;

static cm3_map_pass make_pass(cm3_graph *graph, const int64_t *small_shape, const float *small, const void *large,
                              cm3_dtype dtype) {
    return (cm3_map_pass){.kernels = graph->kernels,
                          .w = small_shape[2],
                          .c = small_shape[3],
                          .small = (float *)small,
                          .large = (void *)large,
                          .dtype = dtype};
}

static void run_pass(cm3_graph *graph, const int64_t *small_shape, cm3_map_pass *pass, cm3_range_fn rows) {
    cm3_graph_for(graph, small_shape[0] * small_shape[1], cm3_row_grain(4 * pass->w * pass->c), rows, pass);
}

/** A row of small pixels as the first of two equal rows of the large map. */
static void spread_row(const cm3_map_pass *m, const float *from, char *to) {
    size_t pixel = (size_t)m->c * cm3_dtype_size(m->dtype);
    for (int64_t i = 0; i < m->w; i++, to += 2 * pixel) {
        if (m->dtype == CM3_BF16) {
            m->kernels->f32_to_bf16((uint16_t *)to, from + i * m->c, m->c);
        } else {
            memcpy(to, from + i * m->c, pixel);
        }
        memcpy(to + pixel, to, pixel);
    }
}

static void spread_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_map_pass *m = arg;
    size_t line = 2 * (size_t)(m->w * m->c) * cm3_dtype_size(m->dtype);
    for (int64_t row = begin; row < end; row++) {
        char *to = (char *)m->large + (size_t)row * 2 * line;
        spread_row(m, m->small + row * m->w * m->c, to);
        memcpy(to + line, to, line);
    }
}

/** From rows of the large map in f32. */
static void gather_row(const cm3_map_pass *m, float *small, const float *large, const float *below) {
    for (int64_t i = 0; i < m->w; i++, large += 2 * m->c, below += 2 * m->c, small += m->c) {
        for (int64_t k = 0; k < m->c; k++) {
            float sum = m->factor * (large[k] + large[m->c + k] + below[k] + below[m->c + k]);
            small[k] = m->accumulate ? small[k] + sum : sum;
        }
    }
}

#define CM3_WIDE_CHUNK 1024

/** From rows of the large map in bf16, widened in pieces. */
static void gather_row_bf16(const cm3_map_pass *m, float *small, const uint16_t *large) {
    float upper[CM3_WIDE_CHUNK], lower[CM3_WIDE_CHUNK];
    int64_t pixels = CM3_WIDE_CHUNK / (2 * m->c);
    cm3_map_pass part = *m;
    for (int64_t first = 0; first < m->w; first += part.w) {
        part.w = m->w - first < pixels ? m->w - first : pixels;
        m->kernels->bf16_to_f32(upper, large + first * 2 * m->c, 2 * part.w * m->c);
        m->kernels->bf16_to_f32(lower, large + (m->w + first) * 2 * m->c, 2 * part.w * m->c);
        gather_row(&part, small + first * m->c, upper, lower);
    }
}

/** The same pixel by pixel and channel by channel, for maps of very many channels. */
static void gather_row_slowly(const cm3_map_pass *m, float *small, const uint16_t *large) {
    for (int64_t i = 0; i < m->w * m->c; i++) {
        int64_t at = (i / m->c * 2) * m->c + i % m->c, below = at + 2 * m->w * m->c;
        float sum = cm3_bf16_to_f32(large[at]) + cm3_bf16_to_f32(large[at + m->c]) + cm3_bf16_to_f32(large[below]) +
                    cm3_bf16_to_f32(large[below + m->c]);
        small[i] = m->accumulate ? small[i] + m->factor * sum : m->factor * sum;
    }
}

static void gather_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_map_pass *m = arg;
    int64_t line = 2 * m->w * m->c;
    for (int64_t row = begin; row < end; row++) {
        float *small = m->small + row * m->w * m->c;
        if (m->dtype == CM3_F32) {
            const float *large = (const float *)m->large + row * 2 * line;
            gather_row(m, small, large, large + line);
        } else if (2 * m->c <= CM3_WIDE_CHUNK) {
            gather_row_bf16(m, small, (const uint16_t *)m->large + row * 2 * line);
        } else {
            gather_row_slowly(m, small, (const uint16_t *)m->large + row * 2 * line);
        }
    }
}

void cm3_map_spread(cm3_graph *graph, const cm3_tensor *x, void *large, cm3_dtype dtype) {
    cm3_map_pass pass = make_pass(graph, x->shape, x->data, large, dtype);
    run_pass(graph, x->shape, &pass, spread_rows);
}

void cm3_map_gather(cm3_graph *graph, const int64_t *small_shape, float *small, bool accumulate, const void *large,
                    cm3_dtype dtype, float factor) {
    cm3_map_pass pass = make_pass(graph, small_shape, small, large, dtype);
    pass.factor = factor;
    pass.accumulate = accumulate;
    run_pass(graph, small_shape, &pass, gather_rows);
}

/* --- operations ----------------------------------------------------------------------------------------------------
 */

typedef struct cm3_map_saved {
    cm3_tensor *x, *y;
} cm3_map_saved;

static cm3_tensor *record(cm3_graph *graph, cm3_tensor *x, cm3_tensor *y, cm3_backward_fn backward) {
    const cm3_tensor *inputs[] = {x};
    cm3_map_saved *saved = cm3_graph_record(graph, y, inputs, 1, backward, sizeof *saved);
    if (saved) *saved = (cm3_map_saved){x, y};
    return graph->status == CM3_OK ? y : NULL;
}

static void upsample_backward(cm3_graph *graph, void *saved) {
    cm3_map_saved *s = saved;
    bool accumulate;
    float *dx = s->y->grad ? cm3_graph_grad(graph, s->x, &accumulate) : NULL;
    if (dx) cm3_map_gather(graph, s->x->shape, dx, accumulate, s->y->grad, CM3_F32, 1);
}

cm3_tensor *cm3_nn_upsample(cm3_graph *graph, cm3_tensor *x) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    const int64_t shape[] = {x->shape[0], 2 * x->shape[1], 2 * x->shape[2], x->shape[3]};
    cm3_tensor *y = cm3_graph_tensor(graph, CM3_F32, 4, shape);
    if (!y) return NULL;
    cm3_map_spread(graph, x, y->data, CM3_F32);
    return record(graph, x, y, upsample_backward);
}

static void spread_mean_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_map_pass *m = arg;
    for (int64_t i = begin * 4 * m->w * m->c; i < end * 4 * m->w * m->c; i++) {
        int64_t row = i / (4 * m->w * m->c), within = i % (2 * m->w * m->c);
        float part = 0.25f * m->small[(row * m->w + within / (2 * m->c)) * m->c + within % m->c];
        float *to = (float *)m->large + i;
        *to = m->accumulate ? *to + part : part;
    }
}

static void downsample_backward(cm3_graph *graph, void *saved) {
    cm3_map_saved *s = saved;
    bool accumulate;
    float *dx = s->y->grad ? cm3_graph_grad(graph, s->x, &accumulate) : NULL;
    if (!dx) return;
    cm3_map_pass pass = make_pass(graph, s->y->shape, s->y->grad, dx, CM3_F32);
    pass.accumulate = accumulate;
    run_pass(graph, s->y->shape, &pass, spread_mean_rows);
}

cm3_tensor *cm3_nn_downsample(cm3_graph *graph, cm3_tensor *x) {
    if (!x || !cm3_graph_alive(graph)) return NULL;
    if (x->shape[1] % 2 || x->shape[2] % 2) return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "downsample: odd size");
    const int64_t shape[] = {x->shape[0], x->shape[1] / 2, x->shape[2] / 2, x->shape[3]};
    cm3_tensor *y = cm3_graph_tensor(graph, CM3_F32, 4, shape);
    if (!y) return NULL;
    cm3_map_gather(graph, shape, cm3_f32(y), false, x->data, CM3_F32, 0.25f);
    return record(graph, x, y, downsample_backward);
}
