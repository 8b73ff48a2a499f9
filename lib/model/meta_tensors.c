/* Meta's tensors. */
#include "model/meta_tensors.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

/** How a tensor comes of the shards' pieces. */
typedef enum how {
    ROWS,    /**< below each other */
    COLUMNS, /**< beside each other */
    TURNED,  /**< rows, those of a head from pairs to halves */
    HEADS,   /**< a shard's one row of q/k-norm, from pairs to halves, for each of its heads */
    MEAN     /**< each shard has all of it */
} how;

/** A piece: rows first..first + rows - 1 of a shard's tensor. */
typedef struct piece {
    const cm3_entry *entry;
    int64_t first;
} piece;

typedef struct recipe {
    how kind;
    int shards;
    int64_t rows, columns; /**< of one piece */
    int64_t heads, head_dim;
    size_t width; /**< bytes of an element */
    cm3_dtype dtype;
    piece pieces[]; /**< [shards] */
} recipe;

static const char *row_of(const recipe *r, int shard, int64_t row) {
    const piece *p = &r->pieces[shard];
    return (const char *)p->entry->data + (size_t)((p->first + row) * r->columns) * r->width;
}

static void make_rows(const void *from, void *to) {
    const recipe *r = from;
    size_t size = (size_t)(r->rows * r->columns) * r->width;
    for (int s = 0; s < r->shards; s++) memcpy((char *)to + (size_t)s * size, row_of(r, s, 0), size);
}

static void make_columns(const void *from, void *to) {
    const recipe *r = from;
    size_t line = (size_t)r->columns * r->width;
    char *place = to;
    for (int64_t row = 0; row < r->rows; row++) {
        for (int s = 0; s < r->shards; s++, place += line) memcpy(place, row_of(r, s, row), line);
    }
}

/** Row 2 i + j of a head becomes row i + j d / 2. A head may lie across shards. */
static void make_turned(const void *from, void *to) {
    const recipe *r = from;
    int64_t d = r->head_dim, half = d / 2;
    size_t line = (size_t)r->columns * r->width;
    for (int64_t row = 0; row < r->shards * r->rows; row++) {
        int64_t inside = row % d, target = row - inside + inside / 2 + inside % 2 * half;
        memcpy((char *)to + (size_t)target * line, row_of(r, (int)(row / r->rows), row % r->rows), line);
    }
}

static void make_heads(const void *from, void *to) {
    const recipe *r = from;
    int64_t d = r->head_dim;
    char *place = to;
    for (int s = 0; s < r->shards; s++) {
        const char *row = r->pieces[s].entry->data;
        int64_t each = (s + 1) * r->heads / r->shards - s * r->heads / r->shards;
        for (int64_t head = 0; head < each; head++, place += (size_t)d * r->width) {
            for (int64_t i = 0; i < d; i++) {
                memcpy(place + (size_t)(i / 2 + i % 2 * (d / 2)) * r->width, row + (size_t)i * r->width, r->width);
            }
        }
    }
}

static void make_mean(const void *from, void *to) {
    const recipe *r = from;
    float *sum = to;
    for (int64_t i = 0; i < r->columns; i++) {
        sum[i] = 0;
        for (int s = 0; s < r->shards; s++) {
            float value;
            cm3_convert(&value, CM3_F32, (const char *)r->pieces[s].entry->data + (size_t)i * r->width, r->dtype, 1);
            sum[i] += value / (float)r->shards;
        }
    }
}

static const cm3_make_fn makers[] = {
    [ROWS] = make_rows, [COLUMNS] = make_columns, [TURNED] = make_turned, [HEADS] = make_heads, [MEAN] = make_mean};

/* --- finding -------------------------------------------------------------------------------------------------------
 */

/** A tensor wanted: its names, and how much of it one shard has. */
typedef struct wanted {
    how kind;
    const char *to, *from, *fused; /**< fused: the matrix that may hold it with others; NULL: none does */
    int64_t rows, columns;         /**< of a shard's piece; columns 0: a vector of `rows` */
    int64_t fused_first, fused_rows, heads;
} wanted;

typedef struct search {
    cm3_source *source;
    const cm3_meta_shards *shards;
    int layer; /**< -1: none */
} search;

static cm3_status wrong_shape(const search *s, const cm3_torch *file, const cm3_entry *entry, int64_t rows,
                              int64_t columns) {
    char found[128] = "";
    for (int i = 0; i < entry->rank && i < 4; i++) {
        size_t used = strlen(found);
        snprintf(found + used, sizeof found - used, "%s%lld", i ? ", " : "", (long long)entry->shape[i]);
    }
    if (columns) {
        return cm3_fail(s->source->context, CM3_ERROR_FORMAT,
                        "%s: tensor '%.200s' should have the shape [%lld, %lld] and has [%s]", cm3_torch_name(file),
                        entry->name, (long long)rows, (long long)columns, found);
    }
    return cm3_fail(s->source->context, CM3_ERROR_FORMAT,
                    "%s: tensor '%.200s' should have the shape [%lld] and has [%s]", cm3_torch_name(file), entry->name,
                    (long long)rows, found);
}

static void name_in_layer(const search *s, const char *name, char *full, size_t size) {
    if (s->layer < 0) {
        snprintf(full, size, "%s", name);
    } else {
        snprintf(full, size, "layers.%d.%s", s->layer, name);
    }
}

/** A shard's piece of a tensor, by its own name or out of the fused one. */
static cm3_status find_piece(const search *s, const wanted *w, int shard, piece *found) {
    const cm3_torch *file = s->shards->files[shard];
    char name[160];
    int64_t rows = w->rows;
    name_in_layer(s, w->from, name, sizeof name);
    *found = (piece){cm3_torch_find(file, name), 0};
    if (!found->entry && w->fused) {
        char fused[160];
        name_in_layer(s, w->fused, fused, sizeof fused);
        *found = (piece){cm3_torch_find(file, fused), w->fused_first};
        rows = w->fused_rows;
    }
    if (!found->entry) {
        return cm3_fail(s->source->context, CM3_ERROR_FORMAT, "%s: tensor '%s' is missing", cm3_torch_name(file), name);
    }
    const cm3_entry *e = found->entry;
    bool fits = e->shape[0] == rows && (w->columns ? e->rank == 2 && e->shape[1] == w->columns : e->rank == 1);
    if (e->rank < 1 || !fits) return wrong_shape(s, file, e, rows, w->columns);
    if (e->dtype == CM3_F32 || e->dtype == CM3_BF16 || e->dtype == CM3_F16) return CM3_OK;
    return cm3_fail(s->source->context, CM3_ERROR_FORMAT, "%s: tensor '%s' is of type %s; F32, BF16 or F16 is expected",
                    cm3_torch_name(file), name, cm3_dtype_name(e->dtype));
}

static cm3_status same_types(const search *s, const recipe *r) {
    for (int i = 1; i < r->shards; i++) {
        if (r->pieces[i].entry->dtype == r->dtype) continue;
        return cm3_fail(s->source->context, CM3_ERROR_FORMAT,
                        "%s: tensor '%.200s' is of type %s; in the first shard %s", cm3_torch_name(s->shards->files[i]),
                        r->pieces[i].entry->name, cm3_dtype_name(r->pieces[i].entry->dtype), cm3_dtype_name(r->dtype));
    }
    return CM3_OK;
}

/** The shape and type of what comes of a recipe. */
static cm3_entry result_of(const recipe *r, const wanted *w) {
    cm3_entry e = {.name = r->pieces[0].entry->name, .dtype = r->dtype, .rank = w->columns ? 2 : 1};
    e.shape[0] = w->rows * (r->kind == ROWS || r->kind == TURNED ? r->shards : 1);
    e.shape[1] = w->columns * (r->kind == COLUMNS ? r->shards : 1);
    if (r->kind == HEADS) e.rank = 2, e.shape[0] = w->heads, e.shape[1] = w->rows;
    if (r->kind == MEAN) e.dtype = CM3_F32;
    e.count = e.shape[0] * (e.rank == 2 ? e.shape[1] : 1);
    e.size = (size_t)e.count * cm3_dtype_size(e.dtype);
    return e;
}

static cm3_status add(const search *s, const wanted *w) {
    int shards = s->shards->count;
    recipe *r = cm3_weights_note(s->source->weights, sizeof *r + (size_t)shards * sizeof *r->pieces);
    if (!r) return CM3_ERROR_NO_MEMORY;
    *r = (recipe){.kind = w->kind,
                  .shards = shards,
                  .rows = w->rows,
                  .columns = w->columns        ? w->columns
                             : w->kind == MEAN ? w->rows
                                               : 1,
                  .heads = w->heads,
                  .head_dim = s->source->lm.head_dim};
    for (int i = 0; i < shards; i++) CM3_TRY(find_piece(s, w, i, &r->pieces[i]));
    r->dtype = r->pieces[0].entry->dtype;
    r->width = cm3_dtype_size(r->dtype);
    CM3_TRY(same_types(s, r));
    char name[160];
    if (s->layer < 0) {
        snprintf(name, sizeof name, "%s", w->to);
    } else {
        snprintf(name, sizeof name, "model.layers.%d.%s", s->layer, w->to);
    }
    cm3_entry entry = result_of(r, w);
    const char *file = cm3_torch_name(s->shards->files[0]);
    bool plain = shards == 1 && (w->kind == ROWS || w->kind == COLUMNS || w->kind == MEAN);
    if (!plain) return cm3_weights_add_made(s->source->weights, "lm.", name, file, &entry, makers[w->kind], r);
    /* One shard's rows lie as they are wanted. */
    entry.dtype = r->dtype;
    entry.size = (size_t)entry.count * r->width;
    entry.data = row_of(r, 0, 0);
    return cm3_weights_add(s->source->weights, "lm.", name, file, &entry);
}

/* --- all of them ---------------------------------------------------------------------------------------------------
 */

static cm3_status add_layer(const search *s) {
    const cm3_lm_config *c = &s->source->lm;
    int64_t n = s->shards->count, d = c->hidden_size, own = d / n, kv = (int64_t)c->kv_heads * c->head_dim / n;
    int64_t ffn = c->ffn_size / n, all = own + 2 * kv;
    const wanted tensors[] = {
        {MEAN, "input_layernorm.weight", "attention_norm.weight", NULL, d, 0, 0, 0, 0},
        {TURNED, "self_attn.q_proj.weight", "attention.wq.weight", "attention.wqkv.weight", own, d, 0, all, 0},
        {TURNED, "self_attn.k_proj.weight", "attention.wk.weight", "attention.wqkv.weight", kv, d, own, all, 0},
        {ROWS, "self_attn.v_proj.weight", "attention.wv.weight", "attention.wqkv.weight", kv, d, own + kv, all, 0},
        {COLUMNS, "self_attn.o_proj.weight", "attention.wo.weight", NULL, d, own, 0, 0, 0},
        {MEAN, "post_attention_layernorm.weight", "ffn_norm.weight", NULL, d, 0, 0, 0, 0},
        {ROWS, "mlp.gate_proj.weight", "feed_forward.w1.weight", "feed_forward.w13.weight", ffn, d, 0, 2 * ffn, 0},
        {ROWS, "mlp.up_proj.weight", "feed_forward.w3.weight", "feed_forward.w13.weight", ffn, d, ffn, 2 * ffn, 0},
        {COLUMNS, "mlp.down_proj.weight", "feed_forward.w2.weight", NULL, d, ffn, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) CM3_TRY(add(s, &tensors[i]));
    static const char *const ends[] = {"weight", "bias"};
    for (int i = 0; i < 4 && c->qk_norm; i++) {
        bool q = i < 2;
        char to[64], from[64];
        snprintf(to, sizeof to, "self_attn.%c_norm.%s", q ? 'q' : 'k', ends[i % 2]);
        snprintf(from, sizeof from, "attention.%c_normalization.%s", q ? 'q' : 'k', ends[i % 2]);
        const wanted norm = {HEADS, to, from, NULL, c->head_dim, 0, 0, 0, q ? c->heads : c->kv_heads};
        CM3_TRY(add(s, &norm));
    }
    return CM3_OK;
}

/**
 * The feed-forward's width is what its matrices have: params.json tells it by a rule (two thirds of four times the
 * width, rounded) that other trainings need not have followed.
 */
static void take_ffn_size(cm3_source *source, const cm3_meta_shards *shards) {
    const cm3_entry *w1 = cm3_torch_find(shards->files[0], "layers.0.feed_forward.w1.weight");
    const cm3_entry *both = cm3_torch_find(shards->files[0], "layers.0.feed_forward.w13.weight");
    const cm3_entry *found = w1 ? w1 : both;
    int64_t rows = found && found->rank == 2 ? found->shape[0] / (w1 ? 1 : 2) : 0;
    if (rows > 0 && rows <= 1 << 20) source->lm.ffn_size = (int32_t)(rows * shards->count);
}

cm3_status cm3_meta_sizes(cm3_source *source, const cm3_meta_shards *shards) {
    take_ffn_size(source, shards);
    const cm3_entry *table = cm3_torch_find(shards->files[0], "tok_embeddings.weight");
    if (source->lm.vocab_size) return CM3_OK;
    if (table && table->rank == 2 && table->shape[0] > 0 && table->shape[0] <= 1 << 24) {
        source->lm.vocab_size = (int32_t)table->shape[0];
        return CM3_OK;
    }
    return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: tensor 'tok_embeddings.weight' is missing or no matrix",
                    cm3_torch_name(shards->files[0]));
}

static cm3_status check_division(const cm3_source *source, int shards) {
    const cm3_lm_config *c = &source->lm;
    /* A shard's one row of q/k-norm is for whole heads. */
    bool whole = c->heads % shards == 0 && c->kv_heads % shards == 0 && c->ffn_size % shards == 0 &&
                 c->vocab_size % shards == 0 && c->head_dim % 2 == 0;
    if (whole) return CM3_OK;
    return cm3_fail(source->context, CM3_ERROR_FORMAT,
                    "%s: %d heads, %d kv heads, a feed-forward of %d and %d tokens cannot be parted over %d shards",
                    cm3_weights_name(source->weights), c->heads, c->kv_heads, c->ffn_size, c->vocab_size, shards);
}

cm3_status cm3_meta_tensors(cm3_source *source, const cm3_meta_shards *shards) {
    const cm3_lm_config *c = &source->lm;
    int64_t d = c->hidden_size;
    search s = {source, shards, -1};
    CM3_TRY(check_division(source, shards->count));
    const wanted tensors[] = {
        {COLUMNS, "model.embed_tokens.weight", "tok_embeddings.weight", NULL, c->vocab_size, d / shards->count, 0, 0,
         0},
        {MEAN, "model.norm.weight", "norm.weight", NULL, d, 0, 0, 0, 0},
        {ROWS, "lm_head.weight", "output.weight", NULL, c->vocab_size / shards->count, d, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof tensors / sizeof *tensors; i++) CM3_TRY(add(&s, &tensors[i]));
    for (s.layer = 0; s.layer < c->layers; s.layer++) CM3_TRY(add_layer(&s));
    return CM3_OK;
}
