/* Products of whole matrices: oneDNN's, or, where it has nothing, the portable one. */
#include "nn/linear.h"
#include "nn/onednn/onednn.h"

typedef struct product_call {
    const cm3_kernels *kernels;
    const cm3_product *product;
    const float *a, *b;
    float *c;
} product_call;

static void product_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const product_call *call = arg;
    const cm3_product *p = call->product;
    int64_t a_row = p->trans_a ? 1 : p->k, a_column = p->trans_a ? p->m : 1;
    int64_t b_row = p->trans_b ? 1 : p->n, b_column = p->trans_b ? p->k : 1;
    int64_t ldc = p->ldc ? p->ldc : p->n;
    call->kernels->gemm_f32(call->c + begin * ldc, ldc, call->a + begin * a_row, a_row, a_column, call->b, b_row,
                            b_column, end - begin, p->n, p->k, p->accumulate);
}

/** Values between f32 and bf16, one way or the other. */
typedef struct conversion {
    const cm3_kernels *kernels;
    const void *from;
    void *to;
} conversion;

static void widen_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const conversion *c = arg;
    c->kernels->bf16_to_f32((float *)c->to + begin, (const uint16_t *)c->from + begin, end - begin);
}

static void round_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const conversion *c = arg;
    c->kernels->f32_to_bf16((uint16_t *)c->to + begin, (const float *)c->from + begin, end - begin);
}

/** `count` values of `size` bytes, in the arena. */
static void *convert(cm3_graph *graph, const void *from, int64_t count, size_t size, cm3_range_fn range) {
    conversion c = {graph->kernels, from, cm3_graph_scratch(graph, (size_t)count * size)};
    if (c.to) cm3_graph_for(graph, count, 1 << 16, range, &c);
    return c.to;
}

const float *cm3_nn_widen(cm3_graph *graph, const void *data, int64_t count) {
    return convert(graph, data, count, sizeof(float), widen_range);
}

uint16_t *cm3_nn_round(cm3_graph *graph, const float *values, int64_t count) {
    return convert(graph, values, count, sizeof(uint16_t), round_range);
}

static void portable(cm3_graph *graph, const cm3_product *p) {
    cm3_arena_mark mark = cm3_arena_here(graph->arena);
    product_call call = {graph->kernels, p, p->a, p->b, p->c};
    int64_t ldc = p->ldc ? p->ldc : p->n;
    if (p->dtype == CM3_BF16) {
        call.a = cm3_nn_widen(graph, p->a, p->batch * p->m * p->k);
        call.b = cm3_nn_widen(graph, p->b, p->batch * p->k * p->n);
        if (!call.a || !call.b) return;
    }
    for (int64_t i = 0; i < p->batch; i++) {
        cm3_graph_for(graph, p->m, 1 + (1 << 18) / (p->n * p->k + 1), product_rows, &call);
        call.a += p->m * p->k;
        call.b += p->k * p->n;
        call.c += p->m * p->n;
    }
    for (int64_t i = 0; p->bias && i < p->m && !graph->idle; i++)
        graph->kernels->add(p->c + i * ldc, p->c + i * ldc, p->bias, p->n);
    cm3_arena_rewind(graph->arena, mark);
}

void cm3_nn_product(cm3_graph *graph, const cm3_product *p) {
    if (graph->status != CM3_OK) return;
    cm3_status status = CM3_ERROR_UNSUPPORTED;
    if (graph->dnn) {
        status = cm3_dnn_matmul(graph->dnn, &(cm3_dnn_matmul_args){
                                                .batch = p->batch,
                                                .m = p->m,
                                                .n = p->n,
                                                .k = p->k,
                                                .ab_dtype = p->dtype,
                                                .c_dtype = CM3_F32,
                                                .trans_a = p->trans_a,
                                                .trans_b = p->trans_b,
                                                .accumulate = p->accumulate,
                                                .a = p->a,
                                                .b = p->b,
                                                .c = p->c,
                                                .bias = p->bias,
                                                .lda = p->trans_a ? p->m : p->k,
                                                .ldb = p->trans_b ? p->k : p->n,
                                                .ldc = p->ldc ? p->ldc : p->n,
                                                .a_stride = p->m * p->k,
                                                .b_stride = p->k * p->n,
                                                .c_stride = p->m * p->n,
                                            });
    }
    if (status == CM3_ERROR_UNSUPPORTED) {
        portable(graph, p);
    } else if (status != CM3_OK) {
        cm3_graph_fail(graph, status, "matrix product %lld x %lld x %lld failed", (long long)p->m, (long long)p->n,
                       (long long)p->k);
    }
}
