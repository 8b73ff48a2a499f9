/*
 * Causal attention, one head and one run of rows at a time: over the rows of the same call (training, plain forward) or
 * over a KV cache (prefill, decode). Grouped heads share a kv head.
 */
#include <math.h>

#include "nn/ops.h"
#include "nn/parallel_rows.h"

typedef struct cm3_attention_call {
    cm3_graph *graph;
    cm3_tensor *q, *k, *v, *y;
    int64_t heads, kv_heads, head_dim, rows;
    int32_t *first, *last; /**< [rows] */
    float *lse;            /**< [heads, rows], where the backward pass needs it */
    char *scratch;         /**< one piece of scratch_size bytes a member */
    int64_t scratch_size;
    /* with caches */
    const cm3_sequence *sequences;
    int32_t layer;
    /* backward */
    float *dq, *dk, *dv;
} cm3_attention_call;

static cm3_attention_args head_args(const cm3_attention_call *c, int64_t head) {
    int64_t kv_head = head / (c->heads / c->kv_heads), d = c->head_dim;
    return (cm3_attention_args){
        .rows = c->rows,
        .head_dim = d,
        .scale = 1.0f / sqrtf((float)d),
        .q = cm3_f32(c->q) + head * d,
        .q_stride = c->heads * d,
        .out = cm3_f32(c->y) + head * d,
        .out_stride = c->heads * d,
        .k = cm3_f32(c->k) + kv_head * d,
        .v = cm3_f32(c->v) + kv_head * d,
        .kv_stride = c->kv_heads * d,
        .kv_dtype = CM3_F32,
        .first = c->first,
        .last = c->last,
        .lse = c->lse ? c->lse + head * c->rows : NULL,
    };
}

static void forward_heads(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_attention_call *c = arg;
    for (int64_t head = begin; head < end; head++) {
        cm3_attention_args args = head_args(c, head);
        c->graph->kernels->attention(&args, c->scratch + member * c->scratch_size);
    }
}

/* A member takes whole kv heads here, so that no two add to the same gradients. */
static void backward_kv_heads(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_attention_call *c = arg;
    int64_t group = c->heads / c->kv_heads, d = c->head_dim;
    for (int64_t head = begin * group; head < end * group; head++) {
        cm3_attention_args args = head_args(c, head);
        cm3_attention_grads grads = {
            .out = cm3_f32(c->y) + head * d,
            .dout = c->y->grad + head * d,
            .dq = c->dq + head * d,
            .dk = c->dk + head / group * d,
            .dv = c->dv + head / group * d,
        };
        c->graph->kernels->attention_backward(&args, &grads, c->scratch + member * c->scratch_size);
    }
}

/** A buffer of zeros of the tensor's size, to be added to its gradient later. */
static float *zeros(cm3_graph *graph, const cm3_tensor *tensor) {
    float *values = cm3_graph_scratch(graph, (size_t)tensor->count * sizeof(float));
    if (values) memset(values, 0, (size_t)tensor->count * sizeof(float));
    return values;
}

static void attention_backward(cm3_graph *graph, void *saved) {
    cm3_attention_call *c = saved;
    if (!c->y->grad) return;
    bool accumulate;
    float *dq = cm3_graph_grad(graph, c->q, &accumulate);
    c->dq = dq && !accumulate ? dq : zeros(graph, c->q);
    c->dk = cm3_graph_grad_add(graph, c->k);
    c->dv = cm3_graph_grad_add(graph, c->v);
    if (!c->dk) c->dk = zeros(graph, c->k);
    if (!c->dv) c->dv = zeros(graph, c->v);
    if (graph->status != CM3_OK) return;
    cm3_parallel_for(graph->team, c->kv_heads, 1, backward_kv_heads, c);
    if (dq && c->dq != dq) graph->kernels->add(dq, dq, c->dq, c->q->count);
}

/** Row limits for rows of one call: first as given, last = the row itself. */
static bool plain_limits(cm3_attention_call *c, const cm3_attention_plan *plan, int64_t *keys) {
    c->first = cm3_graph_scratch(c->graph, (size_t)c->rows * sizeof *c->first);
    c->last = cm3_graph_scratch(c->graph, (size_t)c->rows * sizeof *c->last);
    if (!c->first || !c->last) return false;
    *keys = 1;
    for (int64_t i = 0; i < c->rows; i++) {
        c->first[i] = plan->first[i];
        c->last[i] = (int32_t)i;
        if (plan->first[i] < 0 || plan->first[i] > i) {
            cm3_graph_fail(c->graph, CM3_ERROR_INTERNAL, "attention: row %lld begins at %d", (long long)i,
                           plan->first[i]);
            return false;
        }
        if (i - plan->first[i] + 1 > *keys) *keys = i - plan->first[i] + 1;
    }
    return true;
}

static bool scratch_for(cm3_attention_call *c, int64_t rows, int64_t keys) {
    c->scratch_size = (c->graph->kernels->attention_scratch(rows, keys, c->head_dim) + 63) / 64 * 64;
    c->scratch = cm3_graph_scratch(c->graph, (size_t)c->scratch_size * (size_t)cm3_team_size(c->graph->team));
    return c->scratch != NULL;
}

static cm3_tensor *attend_rows(cm3_attention_call *c, const cm3_attention_plan *plan) {
    cm3_graph *graph = c->graph;
    int64_t keys;
    if (!plain_limits(c, plan, &keys) || !scratch_for(c, c->rows, c->rows)) return NULL;
    if (graph->record) c->lse = cm3_graph_scratch(graph, (size_t)(c->heads * c->rows) * sizeof(float));
    if (graph->status != CM3_OK) return NULL;
    cm3_parallel_for(graph->team, c->heads, 1, forward_heads, c);
    const cm3_tensor *inputs[] = {c->q, c->k, c->v};
    cm3_attention_call *saved = cm3_graph_record(graph, c->y, inputs, 3, attention_backward, sizeof *saved);
    if (saved) *saved = *c;
    return graph->status == CM3_OK ? c->y : NULL;
}

/* --- with caches ---------------------------------------------------------------------------------------------------
 */

/** Puts the new keys or values of one sequence behind those it has. */
static void append(const cm3_attention_call *c, const cm3_sequence *sequence, const cm3_tensor *from, void *to) {
    const cm3_kv_cache *cache = sequence->cache;
    int64_t d = c->head_dim;
    for (int64_t i = 0; i < sequence->rows; i++) {
        for (int64_t head = 0; head < c->kv_heads; head++) {
            const float *source = cm3_f32(from) + ((sequence->first_row + i) * c->kv_heads + head) * d;
            int64_t place = (head * cache->capacity + cache->length + i) * d;
            if (cache->dtype == CM3_BF16) {
                c->graph->kernels->f32_to_bf16((uint16_t *)to + place, source, d);
            } else {
                memcpy((float *)to + place, source, (size_t)d * sizeof(float));
            }
        }
    }
}

/** Items are (sequence, head) pairs. */
static void cached_heads(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_attention_call *c = arg;
    int64_t d = c->head_dim, group = c->heads / c->kv_heads;
    for (int64_t item = begin; item < end; item++) {
        const cm3_sequence *sequence = &c->sequences[item / c->heads];
        const cm3_kv_cache *cache = sequence->cache;
        int64_t head = item % c->heads, row = sequence->first_row;
        size_t plane = (size_t)(head / group * cache->capacity * d) * cm3_dtype_size(cache->dtype);
        cm3_attention_args args = {
            .rows = sequence->rows,
            .head_dim = d,
            .scale = 1.0f / sqrtf((float)d),
            .q = cm3_f32(c->q) + (row * c->heads + head) * d,
            .q_stride = c->heads * d,
            .out = cm3_f32(c->y) + (row * c->heads + head) * d,
            .out_stride = c->heads * d,
            .k = (const char *)cache->k[c->layer] + plane,
            .v = (const char *)cache->v[c->layer] + plane,
            .kv_stride = d,
            .kv_dtype = cache->dtype,
            .first = c->first + row,
            .last = c->last + row,
        };
        c->graph->kernels->attention(&args, c->scratch + member * c->scratch_size);
    }
}

static cm3_tensor *attend_caches(cm3_attention_call *c, const cm3_attention_plan *plan, int32_t layer) {
    cm3_graph *graph = c->graph;
    c->sequences = plan->sequences;
    c->layer = layer;
    c->first = cm3_graph_scratch(graph, (size_t)c->rows * sizeof *c->first);
    c->last = cm3_graph_scratch(graph, (size_t)c->rows * sizeof *c->last);
    if (!c->first || !c->last) return NULL;
    int64_t keys = 1, rows = 1;
    for (int64_t s = 0; s < plan->sequence_count; s++) {
        const cm3_sequence *sequence = &plan->sequences[s];
        const cm3_kv_cache *cache = sequence->cache;
        if (cache->length + sequence->rows > cache->capacity) {
            return cm3_graph_fail(graph, CM3_ERROR_TOO_LONG, "the sequence outgrows its cache of %lld positions",
                                  (long long)cache->capacity);
        }
        append(c, sequence, c->k, cache->k[layer]);
        append(c, sequence, c->v, cache->v[layer]);
        for (int64_t i = 0; i < sequence->rows; i++) {
            c->first[sequence->first_row + i] = 0;
            c->last[sequence->first_row + i] = (int32_t)(cache->length + i);
        }
        if (cache->length + sequence->rows > keys) keys = cache->length + sequence->rows;
        if (sequence->rows > rows) rows = sequence->rows;
    }
    if (!scratch_for(c, rows, keys)) return NULL;
    /* Waking the team pays from about a thousand keys times heads on. */
    int64_t items = plan->sequence_count * c->heads, work = items * keys * rows * c->head_dim;
    cm3_parallel_for(graph->team, items, work < 1 << 17 ? items : 1, cached_heads, c);
    return graph->status == CM3_OK ? c->y : NULL;
}

cm3_tensor *cm3_nn_attention(cm3_graph *graph, cm3_tensor *q, cm3_tensor *k, cm3_tensor *v, int64_t heads,
                             int64_t kv_heads, const cm3_attention_plan *plan, int32_t layer) {
    if (!q || !k || !v || !cm3_graph_alive(graph)) return NULL;
    int64_t width = q->shape[q->rank - 1];
    cm3_attention_call call = {.graph = graph,
                               .q = q,
                               .k = k,
                               .v = v,
                               .heads = heads,
                               .kv_heads = kv_heads,
                               .head_dim = width / heads,
                               .rows = q->count / width};
    if (k->count != call.rows * kv_heads * call.head_dim || v->count != k->count || width % heads || heads % kv_heads) {
        return cm3_graph_fail(graph, CM3_ERROR_INTERNAL, "attention: shapes do not fit");
    }
    call.y = cm3_graph_matrix(graph, call.rows, width);
    if (!call.y) return NULL;
    return plan->sequences ? attend_caches(&call, plan, layer) : attend_rows(&call, plan);
}
