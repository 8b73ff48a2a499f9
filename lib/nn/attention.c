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
    int64_t sequence_count;
    int32_t layer;
    struct cm3_run *runs;
    int64_t run_count;
    int32_t *group_first, *group_last;   /**< [runs, heads of a group]: limits where the heads are the rows */
    int64_t kernel_scratch, shared_rows; /**< bytes that the kernel takes; the most rows of a run with a prefix */
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
    cm3_graph_for(graph, c->kv_heads, 1, backward_kv_heads, c);
    if (dq && c->dq != dq) graph->kernels->add(dq, dq, c->dq, c->q->count);
}

/** Row limits for rows of one call: first as given, last = the row itself. */
static bool plain_limits(cm3_attention_call *c, const cm3_attention_plan *plan, int64_t *keys) {
    c->first = cm3_graph_notes(c->graph, (size_t)c->rows * sizeof *c->first);
    c->last = cm3_graph_notes(c->graph, (size_t)c->rows * sizeof *c->last);
    if (!c->first || !c->last) return false;
    *keys = 1;
    for (int64_t i = 0; i < c->rows; i++) {
        c->first[i] = plan->first[i];
        c->last[i] = plan->last ? plan->last[i] : (int32_t)i;
        if (plan->first[i] < 0 || plan->first[i] > c->last[i] || c->last[i] >= c->rows) {
            cm3_graph_fail(c->graph, CM3_ERROR_INTERNAL, "attention: row %lld sees rows %d to %d", (long long)i,
                           plan->first[i], c->last[i]);
            return false;
        }
        int64_t seen = (int64_t)c->last[i] - c->first[i] + 1;
        if (seen > *keys) *keys = seen;
    }
    return true;
}

/** A piece of the scratch for each member. */
static bool scratch_of(cm3_attention_call *c, int64_t bytes) {
    c->scratch_size = (bytes + 63) / 64 * 64;
    c->scratch = cm3_graph_scratch(c->graph, (size_t)c->scratch_size * (size_t)cm3_team_size(c->graph->team));
    return c->scratch != NULL;
}

static bool scratch_for(cm3_attention_call *c, int64_t rows, int64_t keys) {
    return scratch_of(c, c->graph->kernels->attention_scratch(rows, keys, c->head_dim));
}

static cm3_tensor *attend_rows(cm3_attention_call *c, const cm3_attention_plan *plan) {
    cm3_graph *graph = c->graph;
    int64_t keys;
    if (!plain_limits(c, plan, &keys) || !scratch_for(c, c->rows, c->rows)) return NULL;
    if (graph->record) c->lse = cm3_graph_scratch(graph, (size_t)(c->heads * c->rows) * sizeof(float));
    if (graph->status != CM3_OK) return NULL;
    cm3_graph_for(graph, c->heads, 1, forward_heads, c);
    const cm3_tensor *inputs[] = {c->q, c->k, c->v};
    cm3_attention_call *saved = cm3_graph_record(graph, c->y, inputs, 3, attention_backward, sizeof *saved);
    if (saved) *saved = *c;
    return graph->status == CM3_OK ? c->y : NULL;
}

/* --- with caches ---------------------------------------------------------------------------------------------------
 */

/** Sequences that follow each other and share a prefix, or one sequence. */
typedef struct cm3_run {
    const cm3_sequence *sequences;
    int64_t count, first_row, rows;
} cm3_run;

/** Puts the new keys or values of one sequence behind those it has. */
static void append(const cm3_attention_call *c, const cm3_sequence *sequence, const cm3_tensor *from, void *to,
                   float *scales, int64_t begin, int64_t end) {
    const cm3_kv_cache *cache = sequence->cache;
    int64_t d = c->head_dim;
    for (int64_t i = begin; i < end; i++) {
        for (int64_t head = 0; head < c->kv_heads; head++) {
            const float *source = cm3_f32(from) + ((sequence->first_row + i) * c->kv_heads + head) * d;
            int64_t row = head * cache->capacity + cache->length + i, place = row * d;
            if (cache->dtype == CM3_I8) {
                c->graph->kernels->quantise_vector((int8_t *)to + place, scales + row, source, d);
            } else if (cache->dtype == CM3_BF16) {
                c->graph->kernels->f32_to_bf16((uint16_t *)to + place, source, d);
            } else {
                memcpy((float *)to + place, source, (size_t)d * sizeof(float));
            }
        }
    }
}

/** Rows begin..end-1 of the call. */
static void append_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_attention_call *c = arg;
    for (const cm3_sequence *s = c->sequences; s < c->sequences + c->sequence_count; s++) {
        int64_t from = begin > s->first_row ? begin - s->first_row : 0;
        int64_t to = end - s->first_row < s->rows ? end - s->first_row : s->rows;
        const cm3_kv_cache *cache = s->cache;
        bool scaled = cache->dtype == CM3_I8;
        append(c, s, c->k, cache->k[c->layer], scaled ? cache->k_scales[c->layer] : NULL, from, to);
        append(c, s, c->v, cache->v[c->layer], scaled ? cache->v_scales[c->layer] : NULL, from, to);
    }
}

/** The kernel's arguments for `rows` rows from `row` on of a head, over a cache; results and their lse go where the
 * caller says. */
static cm3_attention_args cached_args(const cm3_attention_call *c, const cm3_kv_cache *cache, int64_t head, int64_t row,
                                      int64_t rows) {
    int64_t d = c->head_dim, group = c->heads / c->kv_heads;
    size_t plane = (size_t)(head / group * cache->capacity * d) * cm3_dtype_size(cache->dtype);
    int64_t rows_before = head / group * cache->capacity;
    bool scaled = cache->dtype == CM3_I8;
    return (cm3_attention_args){
        .rows = rows,
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
        .k_scales = scaled ? cache->k_scales[c->layer] + rows_before : NULL,
        .v_scales = scaled ? cache->v_scales[c->layer] + rows_before : NULL,
        .first = c->first + row,
        .last = c->last + row,
    };
}

/** What the rows saw in the prefix (in out, lse) joined with what they saw in the caches of their own. */
static void join(float *out, float lse, const float *own, float own_lse, int64_t d) {
    float highest = lse > own_lse ? lse : own_lse;
    float a = expf(lse - highest), b = expf(own_lse - highest), sum = a + b;
    for (int64_t i = 0; i < d; i++) out[i] = (a * out[i] + b * own[i]) / sum;
}

/** One head of a run with a prefix: first the prefix for all of its rows, then each sequence's own positions. */
static void attend_shared(const cm3_attention_call *c, const cm3_run *run, int64_t head, char *scratch) {
    const cm3_kv_cache *prefix = run->sequences->cache->prefix;
    int64_t d = c->head_dim, rows = c->shared_rows;
    float *lse = (float *)(void *)(scratch + c->kernel_scratch), *own_lse = lse + rows, *own = own_lse + rows;
    int32_t *first = (int32_t *)(void *)(own + rows * d), *last = first + rows;
    for (int64_t i = 0; i < run->rows; i++) {
        first[i] = 0;
        last[i] = (int32_t)prefix->length - 1;
    }
    cm3_attention_args args = cached_args(c, prefix, head, run->first_row, run->rows);
    args.first = first, args.last = last, args.lse = lse;
    c->graph->kernels->attention(&args, scratch);
    for (int64_t s = 0; s < run->count; s++) {
        const cm3_sequence *sequence = &run->sequences[s];
        cm3_attention_args part = cached_args(c, sequence->cache, head, sequence->first_row, sequence->rows);
        part.out = own, part.out_stride = d, part.lse = own_lse;
        c->graph->kernels->attention(&part, scratch);
        int64_t row = sequence->first_row - run->first_row;
        for (int64_t i = 0; i < sequence->rows; i++) {
            join(args.out + (row + i) * args.out_stride, lse[row + i], own + i * d, own_lse[i], d);
        }
    }
}

/** Items are (run, kv head) pairs. */
static void cached_heads(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_attention_call *c = arg;
    int64_t d = c->head_dim, group = c->heads / c->kv_heads;
    char *scratch = c->scratch + member * c->scratch_size;
    for (int64_t item = begin; item < end && !cm3_graph_is_unwanted(c->graph); item++) {
        const cm3_run *run = &c->runs[item / c->kv_heads];
        const cm3_sequence *sequence = run->sequences;
        int64_t head = item % c->kv_heads * group;
        if (!sequence->cache->prefix && run->rows == 1) { /* the group's heads are the rows: keys are read once */
            cm3_attention_args args = cached_args(c, sequence->cache, head, run->first_row, group);
            args.q_stride = args.out_stride = d;
            args.first = c->group_first + item / c->kv_heads * group;
            args.last = c->group_last + item / c->kv_heads * group;
            c->graph->kernels->attention(&args, scratch);
            continue;
        }
        for (int64_t i = head; i < head + group; i++) {
            if (sequence->cache->prefix) {
                attend_shared(c, run, i, scratch);
            } else {
                cm3_attention_args args = cached_args(c, sequence->cache, i, run->first_row, run->rows);
                c->graph->kernels->attention(&args, scratch);
            }
        }
    }
}

/** Limits of the rows and of the groups' heads; the runs. False where something does not fit. */
static bool lay_out_runs(cm3_attention_call *c, int64_t *most_keys, int64_t *most_rows) {
    int64_t group = c->heads / c->kv_heads, n = c->sequence_count;
    c->first = cm3_graph_notes(c->graph, (size_t)c->rows * sizeof *c->first);
    c->last = cm3_graph_notes(c->graph, (size_t)c->rows * sizeof *c->last);
    c->group_first = cm3_graph_notes(c->graph, (size_t)(n * group) * sizeof *c->group_first);
    c->group_last = cm3_graph_notes(c->graph, (size_t)(n * group) * sizeof *c->group_last);
    c->runs = cm3_graph_notes(c->graph, (size_t)n * sizeof *c->runs);
    if (c->graph->status != CM3_OK) return false;
    c->run_count = 0;
    *most_keys = *most_rows = 1;
    for (const cm3_sequence *s = c->sequences; s < c->sequences + n; s++) {
        const cm3_kv_cache *cache = s->cache, *prefix = cache->prefix;
        if (cache->length + s->rows > cache->capacity) {
            cm3_graph_fail(c->graph, CM3_ERROR_TOO_LONG, "the sequence outgrows its cache of %lld positions",
                           (long long)cache->capacity);
            return false;
        }
        for (int64_t i = 0; i < s->rows; i++) {
            c->first[s->first_row + i] = 0;
            c->last[s->first_row + i] = (int32_t)(cache->length + i);
        }
        cm3_run *run = c->run_count ? &c->runs[c->run_count - 1] : NULL;
        if (run && prefix && run->sequences->cache->prefix == prefix && run->first_row + run->rows == s->first_row) {
            run->count++;
            run->rows += s->rows;
        } else {
            run = &c->runs[c->run_count++];
            *run = (cm3_run){s, 1, s->first_row, s->rows};
        }
        for (int64_t i = 0; i < group; i++) { /* read where the run is this one sequence */
            c->group_first[(c->run_count - 1) * group + i] = 0;
            c->group_last[(c->run_count - 1) * group + i] = (int32_t)cache->length;
        }
        int64_t keys = cm3_kv_positions(cache) + s->rows;
        if (keys > *most_keys) *most_keys = keys;
        if (run->rows > *most_rows) *most_rows = run->rows;
        if (prefix && run->rows > c->shared_rows) c->shared_rows = run->rows;
    }
    return true;
}

static cm3_tensor *attend_caches(cm3_attention_call *c, const cm3_attention_plan *plan, int32_t layer) {
    cm3_graph *graph = c->graph;
    int64_t keys, rows, group = c->heads / c->kv_heads;
    c->sequences = plan->sequences;
    c->sequence_count = plan->sequence_count;
    c->layer = layer;
    if (!lay_out_runs(c, &keys, &rows)) return NULL;
    cm3_graph_for(graph, c->rows, 32, append_rows, c);
    int64_t at_once = rows > group ? rows : group;
    c->kernel_scratch = (graph->kernels->attention_scratch(at_once, keys, c->head_dim) + 63) / 64 * 64;
    int64_t shared =
        c->shared_rows * (2 * (int64_t)(sizeof(float) + sizeof(int32_t)) + c->head_dim * (int64_t)sizeof(float));
    if (!scratch_of(c, c->kernel_scratch + shared)) return NULL;
    /* Waking the team pays from about a thousand keys times heads on. */
    int64_t items = c->run_count * c->kv_heads, work = items * group * keys * rows * c->head_dim;
    if (!graph->idle) cm3_parallel_guided(graph->team, items, work < 1 << 17 ? items : 1, cached_heads, c);
    return cm3_graph_cancelled(graph) || graph->status != CM3_OK ? NULL : c->y;
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
