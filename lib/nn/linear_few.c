/*
 * Few rows, as in decoding: products bound by reading the weights, each of which is read from memory once. Matrices
 * that meet the same rows share one pass of the team, and what follows a product column by column is done in it.
 */
#include "nn/linear.h"

/* Up to so many rows this beats the products for many: they take eight at a time over weights that stay in cache. */
#define FEW_ROWS 32
#define ROWS_AT_ONCE 8
/* Columns are handed out in these groups, which the kernels like. */
#define GROUP 24
/* Bytes of weights that stay in cache while all rows go over them. */
#define CACHED ((int64_t)256 << 10)
/* Below so many bytes of weights a member, waking the team costs more than it saves. */
#define MEMBER_BYTES ((int64_t)1 << 16)

typedef struct few_call {
    const cm3_few_stage *stage;
    const cm3_kernels *kernels;
    const uint16_t *rounded; /**< x as bf16, where a matrix is multiplied so */
    /** x as each part's matrix wants it, where that is quantised; parts of the same kind share one. */
    cm3_quantised_rows quantised[CM3_FEW_PARTS];
    float *wide; /**< f32 with quantised weights: a group's columns as f32, for each member */
    int64_t k;
} few_call;

bool cm3_nn_are_few(int64_t rows) {
    return rows <= FEW_ROWS;
}

static int64_t groups_of(const cm3_linear_weights *part) {
    return (part->w->shape[0] + GROUP - 1) / GROUP;
}

/** f32 with a matrix of integers: these become f32, a group of columns at a time. */
static void multiply_wide(const few_call *call, int number, int64_t row, int rows, int64_t begin, int64_t end,
                          int member) {
    const cm3_few_stage *stage = call->stage;
    const cm3_linear_weights *part = &stage->parts[number];
    const cm3_quantised w = cm3_quantised_of(part->w);
    const float *bias = part->bias ? cm3_f32(part->bias) : NULL, *x = cm3_f32(stage->x) + row * call->k;
    int64_t n = part->w->shape[0];
    float *wide = call->wide + member * GROUP * call->k;
    for (int64_t from = begin; from < end; from += GROUP) {
        int64_t to = end - from < GROUP ? end : from + GROUP;
        call->kernels->dequantise_f32(wide, &w, from, to);
        call->kernels->few_rows_f32(stage->y[number] + row * n + from, n, x, rows, wide, call->k, 0, to - from,
                                    bias ? bias + from : NULL);
    }
}

/** One part's columns, eight rows. */
static void multiply(const few_call *call, int number, int64_t row, int64_t begin, int64_t end, int member) {
    const cm3_few_stage *stage = call->stage;
    const cm3_linear_weights *part = &stage->parts[number];
    const float *bias = part->bias ? cm3_f32(part->bias) : NULL, *x = cm3_f32(stage->x) + row * call->k;
    int64_t n = part->w->shape[0];
    int rows = stage->rows - row < ROWS_AT_ONCE ? (int)(stage->rows - row) : ROWS_AT_ONCE;
    float *y = stage->y[number] + row * n;
    if (cm3_is_quantised(part->w) && call->wide) {
        multiply_wide(call, number, row, rows, begin, end, member);
    } else if (cm3_is_quantised(part->w)) {
        const cm3_quantised w = cm3_quantised_of(part->w);
        call->kernels->few_rows_quantised(y, n, &call->quantised[number], row, rows, &w, begin, end, bias);
    } else if (part->w->dtype == CM3_F32) {
        call->kernels->few_rows_f32(y, n, x, rows, part->w->data, call->k, begin, end, bias);
    } else if (call->rounded) {
        call->kernels->few_rows_bf16(y, n, call->rounded + row * call->k, rows, part->w->data, call->k, begin, end,
                                     bias);
    } else {
        call->kernels->few_rows_mixed(y, n, x, rows, part->w->data, call->k, begin, end, bias);
    }
}

/** One part's columns, all rows. */
static void multiply_all(const few_call *call, int number, int64_t begin, int64_t end, int member) {
    const cm3_tensor *w = call->stage->parts[number].w;
    int64_t step = end - begin, column = cm3_tensor_bytes(w) / w->shape[0];
    if (call->stage->rows > ROWS_AT_ONCE) step = (CACHED / column / GROUP + 1) * GROUP;
    for (int64_t from = begin; from < end; from += step) {
        int64_t to = end - from < step ? end : from + step;
        for (int64_t row = 0; row < call->stage->rows; row += ROWS_AT_ONCE)
            multiply(call, number, row, from, to, member);
    }
}

static void finish(const few_call *call, int64_t begin, int64_t end) {
    const cm3_few_stage *stage = call->stage;
    int64_t n = stage->parts[0].w->shape[0], count = end - begin;
    for (int64_t row = 0; row < stage->rows; row++) {
        float *y = stage->y[0] + row * n + begin;
        if (stage->end == CM3_FEW_SWIGLU) call->kernels->swiglu(y, y, stage->y[1] + row * n + begin, count);
        if (stage->end == CM3_FEW_ACTIVATE) call->kernels->activation(y, y, count, stage->activation);
        if (stage->end == CM3_FEW_ADD) {
            float *sum = stage->residual + row * n + begin;
            call->kernels->add(sum, sum, y, count);
        }
    }
}

/** Items are groups of columns: of all parts behind each other, or, where the parts are joined, of all at once. */
static void few_groups(void *arg, int64_t begin, int64_t end, int member) {
    const few_call *call = arg;
    const cm3_few_stage *stage = call->stage;
    bool joined = stage->end == CM3_FEW_SWIGLU;
    for (int i = 0; i < stage->count; i++) {
        int64_t groups = groups_of(&stage->parts[i]), n = stage->parts[i].w->shape[0];
        int64_t from = begin > 0 ? begin : 0, to = end < groups ? end : groups;
        if (from < to) multiply_all(call, i, from * GROUP, to * GROUP < n ? to * GROUP : n, member);
        if (joined) continue;
        begin -= groups;
        end -= groups;
    }
    if (stage->end == CM3_FEW_PLAIN) return;
    if (!joined) begin += groups_of(&stage->parts[0]), end += groups_of(&stage->parts[0]);
    int64_t n = stage->parts[0].w->shape[0];
    finish(call, begin * GROUP, end * GROUP < n ? end * GROUP : n);
}

/** x for one part's matrix of integers. False where there is no memory. */
static bool quantise_part(cm3_graph *graph, few_call *call, int number) {
    const cm3_few_stage *stage = call->stage;
    const cm3_tensor *w = stage->parts[number].w;
    for (int i = 0; i < number; i++) {
        const cm3_tensor *other = stage->parts[i].w;
        if (other->dtype != w->dtype || other->block != w->block) continue;
        call->quantised[number] = call->quantised[i];
        return true;
    }
    return cm3_nn_quantise_rows(graph, w, stage->x->data, stage->rows, &call->quantised[number]);
}

/** What x becomes before it is multiplied. False where there is no memory. */
static bool prepare(cm3_graph *graph, few_call *call) {
    const cm3_few_stage *stage = call->stage;
    bool rounds = false, widens = false, narrow = graph->compute == CM3_COMPUTE_BF16;
    for (int i = 0; i < stage->count; i++) {
        const cm3_tensor *w = stage->parts[i].w;
        rounds = rounds || (w->dtype == CM3_BF16 && narrow);
        widens = widens || (cm3_is_quantised(w) && !narrow);
        if (cm3_is_quantised(w) && narrow && !quantise_part(graph, call, i)) return false;
    }
    if (rounds) call->rounded = cm3_nn_round(graph, stage->x->data, stage->rows * call->k);
    if (widens) {
        call->wide =
            cm3_graph_scratch(graph, (size_t)(GROUP * call->k * cm3_team_size(graph->team)) * sizeof *call->wide);
    }
    return graph->status == CM3_OK;
}

void cm3_nn_few(cm3_graph *graph, const cm3_few_stage *stage) {
    few_call call = {.stage = stage, .kernels = graph->kernels, .k = stage->parts[0].w->shape[1]};
    int64_t groups = 0, bytes = 0;
    for (int i = 0; i < stage->count; i++) {
        const cm3_tensor *w = stage->parts[i].w;
        groups += groups_of(&stage->parts[i]);
        bytes += cm3_tensor_bytes(w);
    }
    if (stage->end == CM3_FEW_SWIGLU) groups /= 2;
    if (!prepare(graph, &call)) return;
    if (!graph->idle) {
        cm3_parallel_guided(graph->team, groups, groups * MEMBER_BYTES / (bytes + 1) + 1, few_groups, &call);
    }
}
