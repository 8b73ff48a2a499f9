/*
 * A 3 x 3 convolution of a map in which each pixel stands 2 x 2 times. Each of a pixel's four results sees but 2 x 2
 * pixels of the small map, by sums of the weights: four convolutions of 4 products each in place of 36, and the large
 * map is never made. (Shi et al. 2016 convolve the small map, too, with weights that were learned for it.)
 */
#include "nn/conv.h"
#include "nn/parallel_rows.h"

typedef struct cm3_doubled {
    const float *w; /**< [cout, cin, 3, 3] */
    float *sums;    /**< [2, 2] of [cout, cin, 2, 2] */
    int64_t kernels;
    const float *small; /**< [rows, width, cout], a quarter of the results */
    float *y;           /**< [2 rows, 2 width, cout] */
    int64_t width, cout, below, right;
} cm3_doubled;

/** The three weights of a row or column, `step` apart, as the two of results that lie first or second in their pixel.
 */
static void fold(const float *three, int64_t step, int64_t second, float *two) {
    two[0] = second ? three[0] + three[step] : three[0];
    two[1] = second ? three[2 * step] : three[step] + three[2 * step];
}

static void sum_kernels(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_doubled *d = arg;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t below = 0; below < 2; below++) {
            float rows[2 * 3]; /* [2, 3] */
            for (int64_t column = 0; column < 3; column++) {
                float two[2];
                fold(d->w + i * 9 + column, 3, below, two);
                rows[column] = two[0];
                rows[3 + column] = two[1];
            }
            for (int64_t right = 0; right < 2; right++) {
                float *to = d->sums + ((below * 2 + right) * d->kernels + i) * 4;
                fold(rows, 1, right, to);
                fold(rows + 3, 1, right, to + 2);
            }
        }
    }
}

static void lay_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_doubled *d = arg;
    for (int64_t row = begin; row < end; row++) {
        const float *from = d->small + row * d->width * d->cout;
        float *to = d->y + ((2 * row + d->below) * 2 * d->width + d->right) * d->cout;
        for (int64_t i = 0; i < d->width; i++) {
            memcpy(to + 2 * i * d->cout, from + i * d->cout, (size_t)d->cout * sizeof *to);
        }
    }
}

bool cm3_conv_doubled(cm3_graph *graph, const cm3_conv_shape *large, const float *x, const float *w, const float *bias,
                      float *y) {
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_conv_shape shape = *large;
    shape.h /= 2, shape.w /= 2, shape.kh = shape.kw = 2;
    const int64_t rows = shape.n * shape.h;
    cm3_doubled d = {.w = w, .kernels = shape.cout * shape.cin, .y = y, .width = shape.w, .cout = shape.cout};
    d.sums = cm3_graph_scratch(graph, (size_t)d.kernels * 16 * sizeof(float));
    float *small = cm3_graph_scratch(graph, (size_t)(rows * d.width * d.cout) * sizeof(float));
    bool good = graph->status == CM3_OK;
    if (good) cm3_graph_for(graph, d.kernels, 512, sum_kernels, &d);
    d.small = small;
    for (int i = 0; i < 4 && good; i++) {
        d.below = i / 2, d.right = i % 2;
        shape.pad_top = 1 - d.below, shape.pad_bottom = d.below;
        shape.pad_left = 1 - d.right, shape.pad_right = d.right;
        good = cm3_conv_forward(graph, &shape, CM3_F32, x, d.sums + (size_t)i * 4 * (size_t)d.kernels, CM3_F32, bias,
                                NULL, small, CM3_F32);
        if (good) cm3_graph_for(graph, rows, cm3_row_grain(d.width * d.cout), lay_rows, &d);
    }
    cm3_graph_rewind(graph, mark);
    return good;
}
