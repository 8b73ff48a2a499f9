/*
 * Search. Exact: every vector, by tiles that stay in the cache while all queries meet them. Through graphs: a walk for
 * each query, by integers. Either finds some more than is wanted, which is then scored again in f32 with the vectors as
 * they are kept, so that a score does not depend on what was asked along with it.
 */
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "retrieve/bank.h"
#include "retrieve/top_k.h"

#define TILE_BYTES 131072 /* of vectors */
#define MOST_TILE 512     /* vectors */
#define GROUP 32          /* queries that go through the bank together */
#define MOST_K 65536
#define MOST_EF 65536
#define USUAL_EF 64
#define MANY_RECORDS 200000 /* from which on graphs are used unasked */
#define WIDER 4             /* a walk that found too little is repeated with so many times as many in view */
#define EXACT_PART 8        /* a walk with more than this part of a graph in view takes longer than a look at all */
#define ALWAYS_WALKED 256   /* in view, however small the graph */

void cm3_search_options_init(cm3_search_options *options) {
    if (options) *options = (cm3_search_options){.struct_size = sizeof *options, .k = 10};
}

/** One group of queries on its way. */
typedef struct scan {
    const cm3_bank *bank;
    const cm3_kernels *kernels;
    const cm3_search_options *options;
    const float *queries; /**< of length 1 */
    size_t count, candidates;
    int64_t tile;
    float *vectors; /**< [members, dimension], scratch */
    cm3_hit *hits;  /**< what is found, and how many */
    size_t *found;
    cm3_top_k *tops; /**< [members][count], then [count] of walks */
    float *scores;   /**< [members][GROUP, tile] */
    /* what is scanned: these queries, made ready in `memory`, with records from `first` on */
    uint32_t listed[GROUP];
    size_t listed_count;
    uint64_t first;
    float *together; /**< [GROUP, dimension]: of the queries that are listed, where they are not all; NULL: no graphs */
    uint8_t *memory;
    size_t at_once; /**< queries that a tile is multiplied with at once */
    cm3_prepared_queries prepared[GROUP / CM3_QUERIES_TOGETHER];
    const void *packed; /**< the queries for many at once where they are many, or NULL */
    uint8_t *scratch;   /**< [members][scratch_size], for these */
    size_t scratch_size;
    /* what is walked: queries that are listed, through this graph */
    cm3_hnsw graph;
    size_t ef;
    bool again[GROUP]; /**< too little was found */
} scan;

static inline bool may_be_hit(const scan *s, uint64_t id) {
    const cm3_search_options *options = s->options;
    return !cm3_bank_is_deleted(s->bank, id) && (!options->filter || options->filter(options->user, id));
}

/* --- every vector --------------------------------------------------------------------------------------------------
 */

/** Scores of one query with a tile that are good enough. */
static void take_scores(const scan *s, cm3_top_k *top, const float *scores, uint64_t first, int64_t count) {
    float threshold = cm3_top_k_threshold(top);
    for (int64_t i = 0; i < count;) {
        /* Most tiles have nothing: a stretch is looked at as a whole. */
        const int64_t end = i + 16 < count ? i + 16 : count;
        bool any = false;
        for (int64_t j = i; j < end; j++) any |= scores[j] >= threshold;
        for (; any && i < end; i++) {
            const uint64_t id = first + (uint64_t)i;
            if (!(scores[i] >= threshold) || !may_be_hit(s, id)) continue;
            cm3_top_k_add(top, (cm3_hit){id, scores[i]});
            threshold = cm3_top_k_threshold(top);
        }
        i = end;
    }
}

/** Products of `count` queries from q on with a tile. */
static void multiply_tile(const scan *s, const cm3_vectors *vectors, int64_t row, int64_t rows, size_t q, size_t count,
                          float *scores, int member) {
    const cm3_vectors_form *form = &s->bank->at.form;
    if (s->packed) {
        cm3_vectors_packed_products(form, s->kernels, s->packed, (int64_t)count, vectors, row, row + rows, scores,
                                    s->tile, s->scratch + (size_t)member * s->scratch_size);
        return;
    }
    const cm3_prepared_queries *queries = &s->prepared[q / CM3_QUERIES_TOGETHER];
    cm3_vectors_products(form, s->kernels, queries, vectors, row, row + rows, scores, s->tile);
}

/** Records begin..end - 1 of those to be scanned, counted through all parts. */
static void scan_range(void *arg, int64_t begin, int64_t end, int member) {
    const scan *s = arg;
    const cm3_bank *bank = s->bank;
    float *scores = s->scores + (size_t)member * GROUP * (size_t)s->tile;
    begin += (int64_t)s->first;
    end += (int64_t)s->first;
    const cm3_bank_part *part = cm3_bank_part_of(bank, (uint64_t)begin);
    for (int64_t at = begin; at < end; part++) {
        const cm3_vectors vectors = cm3_bank_part_vectors(bank, part);
        const int64_t part_end = (int64_t)(part->first + part->count), stop = part_end < end ? part_end : end;
        while (at < stop) {
            const int64_t rows = stop - at < s->tile ? stop - at : s->tile, row = at - (int64_t)part->first;
            for (size_t q = 0; q < s->listed_count; q += s->at_once) {
                const size_t count = s->listed_count - q < s->at_once ? s->listed_count - q : s->at_once;
                multiply_tile(s, &vectors, row, rows, q, count, scores, member);
                for (size_t j = 0; j < count; j++) {
                    take_scores(s, &s->tops[(size_t)member * s->count + s->listed[q + j]],
                                scores + (int64_t)j * s->tile, (uint64_t)at, rows);
                }
            }
            at += rows;
        }
    }
}

/** Bytes of eight queries prepared, and of a group of queries in either way. */
static size_t eight_size(const cm3_vectors_form *form) {
    return (cm3_queries_size(form) + 63) / 64 * 64;
}

static size_t group_size(const cm3_vectors_form *form) {
    const size_t packed = cm3_vectors_packed_size(form, GROUP);
    const size_t prepared = GROUP / CM3_QUERIES_TOGETHER * eight_size(form);
    return packed > prepared ? packed : prepared;
}

/** The queries that are listed, which stand behind each other, as the kernels want them. */
static void prepare(scan *s, const float *queries) {
    const cm3_vectors_form *form = &s->bank->at.form;
    s->packed = NULL;
    s->at_once = CM3_QUERIES_TOGETHER;
    if (s->listed_count > CM3_QUERIES_TOGETHER && cm3_vectors_go_packed(form, s->kernels)) {
        cm3_vectors_pack(form, s->kernels, s->memory, queries, (int64_t)s->listed_count);
        s->packed = s->memory;
        s->at_once = GROUP;
        return;
    }
    for (size_t q = 0; q < s->listed_count; q += CM3_QUERIES_TOGETHER) {
        const size_t left = s->listed_count - q, some = left < CM3_QUERIES_TOGETHER ? left : CM3_QUERIES_TOGETHER;
        const size_t number = q / CM3_QUERIES_TOGETHER;
        s->prepared[number] = cm3_queries_prepare(form, s->kernels, queries + (int64_t)q * form->dimension, (int)some,
                                                  s->memory + number * eight_size(form));
    }
}

/** The queries that are listed, with `count` records from `first` on. */
static void scan_records(scan *s, uint64_t first, uint64_t count) {
    const int64_t d = s->bank->at.form.dimension;
    const float *queries = s->queries;
    if (!s->listed_count || !count) return;
    if (s->listed_count < s->count) {
        for (size_t i = 0; i < s->listed_count; i++) {
            memcpy(s->together + (int64_t)i * d, s->queries + (int64_t)s->listed[i] * d, (size_t)d * sizeof *queries);
        }
        queries = s->together;
    }
    prepare(s, queries);
    s->first = first;
    cm3_parallel_guided(cm3_context_team(s->bank->context), (int64_t)count, 8 * s->tile, scan_range, s);
}

/* --- graphs --------------------------------------------------------------------------------------------------------
 */

static cm3_top_k *walked_of(const scan *s, size_t q) {
    const size_t members = (size_t)cm3_team_size(cm3_context_team(s->bank->context));
    return &s->tops[members * s->count + q];
}

/** Queries begin..end - 1 of those that are listed, through the graph. */
static void walk_range(void *arg, int64_t begin, int64_t end, int member) {
    scan *s = arg;
    cm3_hnsw_walker *walker = &s->bank->walkers[member];
    const int64_t d = s->bank->at.form.dimension;
    for (int64_t i = begin; i < end; i++) {
        const size_t q = s->listed[i];
        float scale;
        memset(walker->query + d, 0, (size_t)(s->graph.width - d));
        s->kernels->quantise_vector(walker->query, &scale, s->queries + (int64_t)q * d, d);
        cm3_hnsw_search(&s->graph, s->kernels, walker, walker->query, s->ef);
        size_t good = 0;
        for (size_t j = 0; j < walker->best_count && good < s->candidates; j++) {
            if (may_be_hit(s, s->first + walker->best[j].node)) walker->best[good++] = walker->best[j];
        }
        /* Too few of what was in view are hits: unless nothing was left out, more is to be looked at. */
        const size_t wanted = s->candidates < s->ef ? s->candidates : s->ef;
        s->again[q] = good < wanted;
        for (size_t j = 0; j < good && !s->again[q]; j++) {
            const cm3_hnsw_near one = walker->best[j];
            cm3_top_k_add(walked_of(s, q), (cm3_hit){s->first + one.node, one.score * scale});
        }
    }
}

static cm3_status reserve_walkers(const scan *s) {
    cm3_bank *bank = (cm3_bank *)(uintptr_t)s->bank;
    const int members = cm3_team_size(cm3_context_team(bank->context));
    if (!bank->walkers) {
        bank->walkers = cm3_calloc(bank->context, (size_t)members, sizeof *bank->walkers);
        if (!bank->walkers) return cm3_fail_memory(bank->context, (size_t)members * sizeof *bank->walkers, bank->path);
        bank->walker_count = members;
    }
    for (int i = 0; i < members; i++) {
        CM3_TRY(cm3_hnsw_walker_reserve(bank->context, &bank->walkers[i], s->graph.count, s->graph.width, s->ef));
    }
    return CM3_OK;
}

static void list_all(scan *s) {
    s->listed_count = s->count;
    for (uint32_t q = 0; q < s->count; q++) s->listed[q] = q;
}

/** All queries through one graph: with more and more in view where too little is found, and then exact. */
static cm3_status walk_graph(scan *s, const cm3_bank_graph *graph) {
    cm3_team *team = cm3_context_team(s->bank->context);
    const size_t k = (size_t)s->options->k, usual = 2 * k > USUAL_EF ? 2 * k : USUAL_EF;
    const size_t part = (size_t)graph->count / EXACT_PART, most = part > ALWAYS_WALKED ? part : ALWAYS_WALKED;
    s->graph = cm3_bank_graph_of(s->bank, graph);
    s->ef = s->options->ef ? (size_t)s->options->ef : usual < MOST_EF ? usual : MOST_EF;
    list_all(s);
    for (; s->listed_count && s->ef <= most && s->ef <= MOST_EF; s->ef *= WIDER) {
        CM3_TRY(reserve_walkers(s));
        s->first = graph->first;
        cm3_parallel_guided(team, (int64_t)s->listed_count, 1, walk_range, s);
        size_t left = 0;
        for (size_t i = 0; i < s->listed_count; i++) {
            if (s->again[s->listed[i]]) s->listed[left++] = s->listed[i];
        }
        s->listed_count = left;
    }
    scan_records(s, graph->first, graph->count);
    return CM3_OK;
}

static bool uses_graphs(const scan *s) {
    const cm3_bank_state *at = &s->bank->at;
    if (!at->graph_count || s->options->way == CM3_SEARCH_EXACT) return false;
    return s->options->way == CM3_SEARCH_GRAPH || at->end.records - at->deleted_count > MANY_RECORDS;
}

/* --- both ----------------------------------------------------------------------------------------------------------
 */

/** Candidates scored anew into the best k. */
static void score_anew(const scan *s, size_t q, const cm3_top_k *top, float *vector, cm3_top_k *best) {
    const int64_t d = s->bank->at.form.dimension;
    for (size_t i = 0; i < top->count; i++) {
        const uint64_t id = top->hits[i].id;
        const cm3_bank_part *part = cm3_bank_part_of(s->bank, id);
        const cm3_vectors vectors = cm3_bank_part_vectors(s->bank, part);
        cm3_hit hit = {.id = id};
        cm3_vectors_get(&s->bank->at.form, s->kernels, &vectors, (int64_t)(id - part->first), vector);
        s->kernels->few_rows_f32(&hit.score, 1, s->queries + (int64_t)q * d, 1, vector, d, 0, 1, NULL);
        /* Damage can make a vector anything; it is no hit then. */
        if (hit.score >= -1.5f && hit.score <= 1.5f) cm3_top_k_add(best, hit);
    }
}

/** What all members found of queries begin..end - 1, scored anew, the best k of it. */
static void finish_range(void *arg, int64_t begin, int64_t end, int member) {
    const scan *s = arg;
    const size_t members = (size_t)cm3_team_size(cm3_context_team(s->bank->context)), k = (size_t)s->options->k;
    float *vector = s->vectors + member * s->bank->at.form.dimension;
    for (size_t q = (size_t)begin; q < (size_t)end; q++) {
        cm3_hit *hits = s->hits + q * k;
        cm3_top_k best = {.hits = hits, .k = k};
        for (size_t m = 0; m <= members; m++) score_anew(s, q, &s->tops[m * s->count + q], vector, &best);
        cm3_top_k_sort(&best);
        for (size_t i = best.count; i < k; i++) hits[i] = (cm3_hit){CM3_NO_RECORD, -2};
        if (s->found) s->found[q] = best.count;
    }
}

static cm3_status search_group(scan *s, cm3_hit *heaps) {
    cm3_team *team = cm3_context_team(s->bank->context);
    const cm3_bank_state *at = &s->bank->at;
    const size_t tops = ((size_t)cm3_team_size(team) + 1) * s->count;
    for (size_t i = 0; i < tops; i++) s->tops[i] = (cm3_top_k){.hits = heaps + i * s->candidates, .k = s->candidates};
    uint64_t walked = 0;
    for (size_t i = 0; s->together && i < at->graph_count; i++) {
        CM3_TRY(walk_graph(s, &at->graphs[i]));
        walked = at->end.indexed;
    }
    list_all(s);
    scan_records(s, walked, at->end.records - walked);
    cm3_parallel_guided(team, (int64_t)s->count, 1, finish_range, s);
    return CM3_OK;
}

cm3_status cm3_bank_search_locked(const cm3_bank *bank, const float *queries, size_t count,
                                  const cm3_search_options *options, cm3_hit *hits, size_t *found) {
    cm3_context *context = bank->context;
    const size_t d = (size_t)bank->at.form.dimension, k = (size_t)options->k;
    const size_t members = (size_t)cm3_team_size(cm3_context_team(context)), group = count < GROUP ? count : GROUP;
    scan s = {.bank = bank, .kernels = cm3_kernels_get(cm3_context_cpu(context)), .options = options};
    const bool graphs = uses_graphs(&s);
    s.tile = (int64_t)(TILE_BYTES / cm3_vector_size(&bank->at.form)) / 16 * 16;
    s.tile = s.tile < 16 ? 16 : s.tile > MOST_TILE ? MOST_TILE : s.tile;
    /* As many more as may change places when they are scored anew. */
    s.candidates = bank->at.form.type == CM3_VECTORS_F32 ? k : k + k / 4 + 16;
    if (graphs) s.candidates = k + k / 2 + 16;
    s.scratch_size = cm3_vectors_packed_scratch(&bank->at.form, s.tile);
    const size_t heaps_at = group_size(&bank->at.form);
    const size_t heaps = (members + 1) * group * s.candidates * sizeof(cm3_hit);
    float *own = cm3_calloc(context, 2 * group + members, d * sizeof *own);
    s.memory = cm3_alloc(context, heaps_at + heaps);
    s.tops = cm3_calloc(context, (members + 1) * group, sizeof *s.tops);
    s.scores = cm3_alloc(context, members * GROUP * (size_t)s.tile * sizeof *s.scores);
    s.scratch = cm3_alloc(context, members * s.scratch_size);
    cm3_status status = CM3_OK;
    if (!own || !s.memory || !s.tops || !s.scores || !s.scratch) status = cm3_fail_memory(context, heaps, bank->path);
    s.queries = own;
    s.vectors = own + group * d;
    s.together = graphs ? own + (group + members) * d : NULL;
    for (size_t q = 0; q < count && status == CM3_OK; q += s.count) {
        s.count = count - q < group ? count - q : group;
        for (size_t i = 0; i < s.count && status == CM3_OK; i++) {
            if (cm3_vector_normalise(own + i * d, queries + (q + i) * d, (int64_t)d)) continue;
            status =
                cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "query %zu of %zu is zero or not finite", q + i, count);
        }
        s.hits = hits + q * k;
        s.found = found ? found + q : NULL;
        if (status == CM3_OK) status = search_group(&s, (cm3_hit *)(void *)(s.memory + heaps_at));
    }
    cm3_free(context, own);
    cm3_free(context, s.memory);
    cm3_free(context, s.tops);
    cm3_free(context, s.scores);
    cm3_free(context, s.scratch);
    return status;
}

typedef struct search_call {
    const cm3_bank *bank;
    const float *queries;
    size_t count;
    const cm3_search_options *options;
    cm3_hit *hits;
    size_t *found;
} search_call;

static cm3_status run(void *arg) {
    const search_call *call = arg;
    return cm3_bank_search_locked(call->bank, call->queries, call->count, call->options, call->hits, call->found);
}

cm3_status cm3_bank_search_run(const cm3_bank *bank, const float *queries, size_t count,
                               const cm3_search_options *options, cm3_hit *hits, size_t *found) {
    search_call call = {bank, queries, count, options, hits, found};
    return cm3_context_run(bank->context, run, &call);
}

static cm3_status check_options(cm3_context *context, const cm3_search_options *options) {
    if (options->k < 1 || options->k > MOST_K) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "k: %d is not in 1..%d", options->k, MOST_K);
    }
    if (options->way < CM3_SEARCH_AUTO || options->way > CM3_SEARCH_GRAPH) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "way: %d is no cm3_search_way", (int)options->way);
    }
    if (options->ef && (options->ef < options->k || options->ef > MOST_EF)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "ef: %d is not in k (%d)..%d", options->ef, options->k,
                        MOST_EF);
    }
    return CM3_OK;
}

cm3_status cm3_bank_search(const cm3_bank *bank, const float *queries, size_t count, const cm3_search_options *given,
                           cm3_hit *hits, size_t *found) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_search_options options;
    cm3_search_options_init(&options);
    CM3_TRY(cm3_options_read(bank->context, &options, sizeof options, given, "cm3_search_options"));
    if (count && (!queries || !hits)) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_search: an argument is NULL");
    }
    CM3_TRY(check_options(bank->context, &options));
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&bank->lock;
    /* The lock is taken here and not on the engine thread, which must not wait for a writer that waits for it. */
    pthread_rwlock_rdlock(lock);
    cm3_status status = cm3_bank_search_run(bank, queries, count, &options, hits, found);
    pthread_rwlock_unlock(lock);
    return status;
}
