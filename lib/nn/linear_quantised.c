/*
 * Many rows times matrices of integers: by the level's own product of integers, or, where it has none or floats are
 * wanted, through floats, a panel at a time.
 */
#include "nn/linear.h"

typedef struct quantise_call {
    const cm3_kernels *kernels;
    const cm3_quantised_rows *to;
    const float *x;
} quantise_call;

static void quantise_blocks(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const quantise_call *call = arg;
    call->kernels->quantise_rows(call->to, call->x, begin, end);
}

bool cm3_nn_quantise_rows(cm3_graph *graph, const cm3_tensor *w, const float *x, int64_t rows, cm3_quantised_rows *to) {
    size_t count = (size_t)(rows * w->shape[1]), blocks = count / (size_t)w->block;
    *to = (cm3_quantised_rows){.k = w->shape[1], .block = w->block, .split = w->dtype == CM3_U4};
    to->values = cm3_graph_scratch(graph, count + CM3_QUANTISED_ROWS_SLACK);
    to->scales = cm3_graph_scratch(graph, 2 * blocks * sizeof(float));
    if (!to->values || !to->scales) return false;
    to->sums = to->scales + blocks;
    quantise_call quantise = {graph->kernels, to, x};
    cm3_graph_for(graph, (int64_t)blocks, 1024, quantise_blocks, &quantise);
    return true;
}

/* --- integers ------------------------------------------------------------------------------------------------------
 */

typedef struct many_call {
    cm3_many_rows args;
    const cm3_kernels *kernels;
    char *scratch; /**< for each member */
    int64_t scratch_size;
    int64_t n;
} many_call;

static void many_groups(void *arg, int64_t begin, int64_t end, int member) {
    const many_call *call = arg;
    int64_t to = end * CM3_MANY_COLUMNS;
    call->kernels->many_rows_quantised(&call->args, begin * CM3_MANY_COLUMNS, to < call->n ? to : call->n,
                                       call->scratch + member * call->scratch_size);
}

static bool multiply_integers(cm3_graph *graph, const cm3_product *p, const cm3_tensor *w) {
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_quantised_rows x;
    if (!cm3_nn_quantise_rows(graph, w, p->a, p->m, &x)) return false;
    const cm3_quantised matrix = cm3_quantised_of(w);
    many_call call = {{p->c, p->n, p->m, &x, &matrix, p->bias, p->accumulate}, graph->kernels, NULL, 0, p->n};
    call.scratch_size = (cm3_many_rows_scratch(&matrix) + 127) / 128 * 128;
    call.scratch = cm3_graph_scratch(graph, (size_t)(call.scratch_size * cm3_team_size(graph->team)));
    if (!call.scratch) return false;
    cm3_graph_for(graph, (p->n + CM3_MANY_COLUMNS - 1) / CM3_MANY_COLUMNS, 1, many_groups, &call);
    cm3_graph_rewind(graph, mark);
    return true;
}

/* --- floats --------------------------------------------------------------------------------------------------------
 */

/* Bytes of floats that are made of a quantised matrix at a time: they stay in cache until they are multiplied. */
#define PANEL ((int64_t)2 << 20)

typedef struct cm3_panel {
    const cm3_kernels *kernels;
    cm3_quantised w;
    int64_t first; /**< column */
    void *to;
    bool bf16;
} cm3_panel;

static void dequantise_columns(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_panel *panel = arg;
    int64_t from = panel->first + begin, to = panel->first + end, skip = begin * panel->w.k;
    if (panel->bf16) {
        panel->kernels->dequantise_bf16((uint16_t *)panel->to + skip, &panel->w, from, to);
    } else {
        panel->kernels->dequantise_f32((float *)panel->to + skip, &panel->w, from, to);
    }
}

/** Some of the matrix' rows at a time. */
static bool multiply_floats(cm3_graph *graph, cm3_product *p, const cm3_tensor *w) {
    int64_t n = p->n, size = p->dtype == CM3_BF16 ? 2 : 4, most = PANEL / (p->k * size) / 64 * 64;
    most = most < 64 ? 64 : most;
    cm3_arena_mark mark = cm3_graph_mark(graph);
    if (p->dtype == CM3_BF16) p->a = cm3_nn_round(graph, p->a, p->m * p->k);
    cm3_panel panel = {graph->kernels, cm3_quantised_of(w), 0, NULL, p->dtype == CM3_BF16};
    panel.to = cm3_graph_scratch(graph, (size_t)((most < n ? most : n) * p->k * size));
    if (!panel.to || !p->a) return false;
    float *c = p->c;
    const float *bias = p->bias;
    for (p->ldc = n, p->b = panel.to; panel.first < n && graph->status == CM3_OK; panel.first += most) {
        p->n = n - panel.first < most ? n - panel.first : most;
        p->c = c + panel.first;
        p->bias = bias ? bias + panel.first : NULL;
        cm3_graph_for(graph, p->n, 8, dequantise_columns, &panel);
        cm3_nn_product(graph, p);
        cm3_graph_cancelled(graph);
    }
    cm3_graph_rewind(graph, mark);
    return graph->status == CM3_OK;
}

bool cm3_nn_quantised_product(cm3_graph *graph, cm3_product *p, const cm3_tensor *w) {
    if (graph->record) {
        cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "linear: quantised weights cannot be trained");
        return false;
    }
    bool integers = p->dtype == CM3_BF16 && graph->kernels->many_rows_quantised;
    return integers ? multiply_integers(graph, p, w) : multiply_floats(graph, p, w);
}
