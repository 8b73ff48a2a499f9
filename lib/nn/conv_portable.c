/*
 * Convolutions where oneDNN has none: products over unfolded patches. A row of the output at a time, so that the
 * patches stay in cache.
 */
#include "nn/conv.h"

typedef struct cm3_patches {
    cm3_graph *graph;
    cm3_conv_shape shape;
    int64_t out_h, out_w;
    const float *x, *dy, *bias;
    float *y, *dx;
    float *columns;  /**< a member's unfolded patches, [out_w, patch] */
    float *w_matrix; /**< [cout, kh * kw * cin] */
    float *partial;  /**< a member's gradient of w_matrix and bias */
} cm3_patches;

static int64_t patch_size(const cm3_conv_shape *s) {
    return s->kh * s->kw * s->cin;
}

/** The weights as [cout][kh][kw][cin], so that a patch of NHWC pixels is one run of memory a kernel row. */
static float *to_matrix(cm3_graph *graph, const cm3_conv_shape *s, const float *oihw) {
    float *matrix = cm3_graph_scratch(graph, (size_t)(s->cout * patch_size(s)) * sizeof(float));
    if (!matrix || graph->idle) return matrix;
    for (int64_t o = 0; o < s->cout; o++) {
        for (int64_t i = 0; i < s->cin; i++) {
            for (int64_t p = 0; p < s->kh * s->kw; p++) {
                matrix[(o * s->kh * s->kw + p) * s->cin + i] = oihw[(o * s->cin + i) * s->kh * s->kw + p];
            }
        }
    }
    return matrix;
}

/** Unfolds the patches of output row `row` of image `n`: [out_w, kh * kw * cin], zeros outside the picture. */
static void unfold(const cm3_patches *c, const float *x, int64_t n, int64_t row, float *columns) {
    const cm3_conv_shape *s = &c->shape;
    size_t run = (size_t)s->cin * sizeof(float);
    for (int64_t column = 0; column < c->out_w; column++) {
        for (int64_t p = 0; p < s->kh * s->kw; p++) {
            int64_t y = row * s->stride - s->pad_top + p / s->kw, z = column * s->stride - s->pad_left + p % s->kw;
            float *to = columns + (column * s->kh * s->kw + p) * s->cin;
            if (y < 0 || y >= s->h || z < 0 || z >= s->w) {
                memset(to, 0, run);
            } else {
                memcpy(to, x + ((n * s->h + y) * s->w + z) * s->cin, run);
            }
        }
    }
}

static void forward_rows(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_patches *c = arg;
    const cm3_kernels *kernels = c->graph->kernels;
    int64_t patch = patch_size(&c->shape), cout = c->shape.cout;
    float *columns = c->columns + member * c->out_w * patch;
    for (int64_t item = begin; item < end; item++) {
        float *y = c->y + item * c->out_w * cout;
        unfold(c, c->x, item / c->out_h, item % c->out_h, columns);
        kernels->gemm_f32(y, cout, columns, patch, 1, c->w_matrix, 1, patch, c->out_w, cout, patch, false);
        for (int64_t i = 0; c->bias && i < c->out_w; i++) kernels->add(y + i * cout, y + i * cout, c->bias, cout);
    }
}

/** Whole images, so that no two members add to the same pixels. */
static void backward_data_images(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_patches *c = arg;
    const cm3_conv_shape *s = &c->shape;
    int64_t patch = patch_size(s);
    float *columns = c->columns + member * c->out_w * patch;
    for (int64_t item = begin * c->out_h; item < end * c->out_h; item++) {
        c->graph->kernels->gemm_f32(columns, patch, c->dy + item * c->out_w * s->cout, s->cout, 1, c->w_matrix, patch,
                                    1, c->out_w, patch, s->cout, false);
        int64_t n = item / c->out_h, row = item % c->out_h;
        for (int64_t column = 0; column < c->out_w; column++) {
            for (int64_t p = 0; p < s->kh * s->kw; p++) {
                int64_t y = row * s->stride - s->pad_top + p / s->kw, z = column * s->stride - s->pad_left + p % s->kw;
                if (y < 0 || y >= s->h || z < 0 || z >= s->w) continue;
                float *to = c->dx + ((n * s->h + y) * s->w + z) * s->cin;
                c->graph->kernels->add(to, to, columns + (column * s->kh * s->kw + p) * s->cin, s->cin);
            }
        }
    }
}

static void backward_weights_rows(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_patches *c = arg;
    int64_t patch = patch_size(&c->shape), cout = c->shape.cout;
    float *columns = c->columns + member * c->out_w * patch, *dw = c->partial + member * cout * (patch + 1);
    for (int64_t item = begin; item < end; item++) {
        const float *dy = c->dy + item * c->out_w * cout;
        unfold(c, c->x, item / c->out_h, item % c->out_h, columns);
        c->graph->kernels->gemm_f32(dw, patch, dy, 1, cout, columns, patch, 1, cout, patch, c->out_w, true);
        float *dbias = dw + cout * patch;
        for (int64_t i = 0; i < c->out_w; i++) c->graph->kernels->add(dbias, dbias, dy + i * cout, cout);
    }
}

static bool prepare(cm3_patches *c, cm3_graph *graph, const cm3_conv_shape *shape) {
    size_t members = (size_t)cm3_team_size(graph->team);
    c->graph = graph;
    c->shape = *shape;
    c->out_h = cm3_conv_out_h(shape);
    c->out_w = cm3_conv_out_w(shape);
    c->columns = cm3_graph_scratch(graph, members * (size_t)(c->out_w * patch_size(shape)) * sizeof(float));
    return graph->status == CM3_OK;
}

void cm3_conv_portable_forward(cm3_graph *graph, const cm3_conv_shape *shape, const float *x, const float *w,
                               const float *bias, float *y) {
    cm3_patches c = {.x = x, .bias = bias, .y = y, .w_matrix = to_matrix(graph, shape, w)};
    if (prepare(&c, graph, shape)) cm3_graph_for(graph, shape->n * c.out_h, 1, forward_rows, &c);
}

void cm3_conv_portable_data(cm3_graph *graph, const cm3_conv_shape *shape, const float *dy, const float *w, float *dx) {
    cm3_patches c = {.dy = dy, .dx = dx, .w_matrix = to_matrix(graph, shape, w)};
    memset(dx, 0, (size_t)(shape->n * shape->h * shape->w * shape->cin) * sizeof(float));
    if (prepare(&c, graph, shape)) cm3_graph_for(graph, shape->n, 1, backward_data_images, &c);
}

void cm3_conv_portable_weights(cm3_graph *graph, const cm3_conv_shape *shape, const float *x, const float *dy,
                               float *dw, float *dbias) {
    int members = cm3_team_size(graph->team);
    int64_t patch = patch_size(shape), block = shape->cout * (patch + 1);
    size_t bytes = (size_t)(members * block) * sizeof(float);
    cm3_patches c = {.x = x, .dy = dy, .partial = cm3_graph_scratch(graph, bytes)};
    if (!c.partial || !prepare(&c, graph, shape)) return;
    memset(c.partial, 0, bytes);
    cm3_graph_for(graph, shape->n * c.out_h, 1, backward_weights_rows, &c);
    for (int m = 1; m < members; m++) graph->kernels->add(c.partial, c.partial, c.partial + m * block, block);
    int64_t taps = shape->kh * shape->kw;
    for (int64_t i = 0; i < shape->cout * patch; i++) {
        int64_t p = i % taps, k = i / taps % shape->cin, o = i / patch;
        dw[i] = c.partial[(o * taps + p) * shape->cin + k];
    }
    if (dbias) memcpy(dbias, c.partial + shape->cout * patch, (size_t)shape->cout * sizeof(float));
}
