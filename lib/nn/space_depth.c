/* Squares of pixels as channels, and back: the same values in another order, which is its own gradient turned round. */
#include "nn/ops.h"
#include "nn/parallel_rows.h"

typedef struct cm3_shuffle {
    cm3_tensor *x, *y;
    int64_t images, rows, columns, block, channels; /**< rows and columns of squares; channels of a pixel */
    bool gather;                                    /**< from pixels to squares */
} cm3_shuffle;

/** One direction of it: rows of squares are parted among the team. */
typedef struct cm3_shuffle_move {
    const cm3_shuffle *s;
    bool gather, accumulate;
    float *to;
    const float *from;
} cm3_shuffle_move;

/** Moves runs of block * channels values between the two orders. */
static void move_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_shuffle_move *m = arg;
    const cm3_shuffle *s = m->s;
    int64_t run = s->block * s->channels;
    for (int64_t row = begin; row < end; row++) {
        for (int64_t column = 0; column < s->columns; column++) {
            for (int64_t line = 0; line < s->block; line++) {
                int64_t pixels = ((row * s->block + line) * s->columns + column) * run;
                int64_t square = ((row * s->columns + column) * s->block + line) * run;
                const float *source = m->from + (m->gather ? pixels : square);
                float *target = m->to + (m->gather ? square : pixels);
                for (int64_t i = 0; i < run; i++) target[i] = m->accumulate ? target[i] + source[i] : source[i];
            }
        }
    }
}

/** Added to what is there where `accumulate`. */
static void shuffle(cm3_graph *graph, const cm3_shuffle *s, bool gather, float *to, const float *from,
                    bool accumulate) {
    cm3_shuffle_move move = {s, gather, accumulate, to, from};
    cm3_graph_for(graph, s->images * s->rows, cm3_row_grain(s->columns * s->block * s->block * s->channels), move_rows,
                  &move);
}

static void shuffle_backward(cm3_graph *graph, void *saved) {
    const cm3_shuffle *s = saved;
    bool accumulate;
    float *dx = s->y->grad ? cm3_graph_grad(graph, s->x, &accumulate) : NULL;
    if (dx) shuffle(graph, s, !s->gather, dx, s->y->grad, accumulate);
}

static cm3_tensor *run(cm3_graph *graph, cm3_shuffle s, const int64_t *shape) {
    s.y = cm3_graph_tensor(graph, CM3_F32, 4, shape);
    if (!s.y) return NULL;
    shuffle(graph, &s, s.gather, cm3_f32(s.y), cm3_f32(s.x), false);
    const cm3_tensor *inputs[] = {s.x};
    cm3_shuffle *saved = cm3_graph_record(graph, s.y, inputs, 1, shuffle_backward, sizeof *saved);
    if (saved) *saved = s;
    return graph->status == CM3_OK ? s.y : NULL;
}

cm3_tensor *cm3_nn_space_to_depth(cm3_graph *graph, cm3_tensor *x, int64_t block) {
    if (!x || block == 1 || !cm3_graph_alive(graph)) return x;
    if (x->shape[1] % block || x->shape[2] % block) {
        return cm3_graph_fail(graph, CM3_ERROR_INVALID_ARGUMENT, "a picture of %lld x %lld is no multiple of %lld",
                              (long long)x->shape[2], (long long)x->shape[1], (long long)block);
    }
    cm3_shuffle s = {.x = x,
                     .images = x->shape[0],
                     .rows = x->shape[1] / block,
                     .columns = x->shape[2] / block,
                     .block = block,
                     .channels = x->shape[3],
                     .gather = true};
    return run(graph, s, (const int64_t[]){s.images, s.rows, s.columns, block * block * s.channels});
}

cm3_tensor *cm3_nn_depth_to_space(cm3_graph *graph, cm3_tensor *x, int64_t block) {
    if (!x || block == 1 || !cm3_graph_alive(graph)) return x;
    if (x->shape[3] % (block * block))
        return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "depth to space: shapes do not fit");
    cm3_shuffle s = {.x = x,
                     .images = x->shape[0],
                     .rows = x->shape[1],
                     .columns = x->shape[2],
                     .block = block,
                     .channels = x->shape[3] / (block * block)};
    return run(graph, s, (const int64_t[]){s.images, s.rows * block, s.columns * block, s.channels});
}
