/*
 * Exact search: every vector, by tiles that stay in the cache while all queries meet them. The scan is done in the
 * precision of the vectors as they are kept; what it finds, and some more, is then scored again in f32, so that a score
 * does not depend on what was asked along with it.
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
    cm3_prepared_queries prepared[GROUP / CM3_QUERIES_TOGETHER];
    cm3_top_k *tops; /**< [members][count] */
    float *scores;   /**< [members][CM3_QUERIES_TOGETHER, tile] */
} scan;

/** Scores of one query with a tile that are good enough. */
static void take_scores(const scan *s, cm3_top_k *top, const float *scores, uint64_t first, int64_t count) {
    const cm3_search_options *options = s->options;
    float threshold = cm3_top_k_threshold(top);
    for (int64_t i = 0; i < count;) {
        /* Most tiles have nothing: a stretch is looked at as a whole. */
        const int64_t end = i + 16 < count ? i + 16 : count;
        bool any = false;
        for (int64_t j = i; j < end; j++) any |= scores[j] >= threshold;
        for (; any && i < end; i++) {
            const uint64_t id = first + (uint64_t)i;
            if (!(scores[i] >= threshold) || cm3_bank_is_deleted(s->bank, id)) continue;
            if (options->filter && !options->filter(options->user, id)) continue;
            cm3_top_k_add(top, (cm3_hit){id, scores[i]});
            threshold = cm3_top_k_threshold(top);
        }
        i = end;
    }
}

/** Records begin..end - 1, counted through all parts. */
static void scan_range(void *arg, int64_t begin, int64_t end, int member) {
    const scan *s = arg;
    const cm3_bank *bank = s->bank;
    float *scores = s->scores + (int64_t)member * CM3_QUERIES_TOGETHER * s->tile;
    const cm3_bank_part *part = cm3_bank_part_of(bank, (uint64_t)begin);
    for (int64_t at = begin; at < end; part++) {
        const cm3_vectors vectors = cm3_bank_part_vectors(bank, part);
        const int64_t part_end = (int64_t)(part->first + part->count), stop = part_end < end ? part_end : end;
        while (at < stop) {
            const int64_t rows = stop - at < s->tile ? stop - at : s->tile, row = at - (int64_t)part->first;
            for (size_t q = 0; q < s->count; q += CM3_QUERIES_TOGETHER) {
                const cm3_prepared_queries *queries = &s->prepared[q / CM3_QUERIES_TOGETHER];
                cm3_vectors_products(&bank->at.form, s->kernels, queries, &vectors, row, row + rows, scores, s->tile);
                for (int j = 0; j < queries->count; j++) {
                    take_scores(s, &s->tops[(size_t)member * s->count + q + (size_t)j], scores + j * s->tile,
                                (uint64_t)at, rows);
                }
            }
            at += rows;
        }
    }
}

/** What all members found of query `q`, scored anew, the best k of it. `vector` [dimension] is scratch. */
static size_t finish(const scan *s, size_t q, int members, float *vector, cm3_hit *hits) {
    const int64_t d = s->bank->at.form.dimension;
    cm3_top_k best = {.hits = hits, .k = (size_t)s->options->k};
    for (int m = 0; m < members; m++) {
        const cm3_top_k *top = &s->tops[(size_t)m * s->count + q];
        for (size_t i = 0; i < top->count; i++) {
            const uint64_t id = top->hits[i].id;
            const cm3_bank_part *part = cm3_bank_part_of(s->bank, id);
            const cm3_vectors vectors = cm3_bank_part_vectors(s->bank, part);
            cm3_hit hit = {.id = id};
            cm3_vectors_get(&s->bank->at.form, s->kernels, &vectors, (int64_t)(id - part->first), vector);
            s->kernels->few_rows_f32(&hit.score, 1, s->queries + (int64_t)q * d, 1, vector, d, 0, 1, NULL);
            /* Damage can make a vector anything; it is no hit then. */
            if (hit.score >= -1.5f && hit.score <= 1.5f) cm3_top_k_add(&best, hit);
        }
    }
    cm3_top_k_sort(&best);
    for (size_t i = best.count; i < best.k; i++) hits[i] = (cm3_hit){CM3_NO_RECORD, -2};
    return best.count;
}

/** Memory of a group: all in one piece, in the order of the pointers. */
static cm3_status scan_group(scan *s, void *memory, size_t queries_size, float *vector, cm3_hit *hits, size_t *found) {
    cm3_team *team = cm3_context_team(s->bank->context);
    const int members = cm3_team_size(team);
    const int64_t d = s->bank->at.form.dimension;
    cm3_hit *heaps = (cm3_hit *)(void *)((uint8_t *)memory + GROUP / CM3_QUERIES_TOGETHER * queries_size);
    for (size_t i = 0; i < (size_t)members * s->count; i++) {
        s->tops[i] = (cm3_top_k){.hits = heaps + i * s->candidates, .k = s->candidates};
    }
    for (size_t q = 0; q < s->count; q += CM3_QUERIES_TOGETHER) {
        const size_t left = s->count - q, count = left < CM3_QUERIES_TOGETHER ? left : CM3_QUERIES_TOGETHER;
        uint8_t *to = (uint8_t *)memory + q / CM3_QUERIES_TOGETHER * queries_size;
        s->prepared[q / CM3_QUERIES_TOGETHER] =
            cm3_queries_prepare(&s->bank->at.form, s->kernels, s->queries + (int64_t)q * d, (int)count, to);
    }
    cm3_parallel_guided(team, (int64_t)s->bank->at.end.records, 8 * s->tile, scan_range, s);
    for (size_t q = 0; q < s->count; q++) {
        const size_t got = finish(s, q, members, vector, hits + q * (size_t)s->options->k);
        if (found) found[q] = got;
    }
    return CM3_OK;
}

cm3_status cm3_bank_search_locked(const cm3_bank *bank, const float *queries, size_t count,
                                  const cm3_search_options *options, cm3_hit *hits, size_t *found) {
    cm3_context *context = bank->context;
    const size_t d = (size_t)bank->at.form.dimension, k = (size_t)options->k;
    const size_t members = (size_t)cm3_team_size(cm3_context_team(context)), group = count < GROUP ? count : GROUP;
    scan s = {.bank = bank, .kernels = cm3_kernels_get(cm3_context_cpu(context)), .options = options};
    s.tile = (int64_t)(TILE_BYTES / cm3_vector_size(&bank->at.form)) / 16 * 16;
    s.tile = s.tile < 16 ? 16 : s.tile > MOST_TILE ? MOST_TILE : s.tile;
    /* As many more as may change places when they are scored anew. */
    s.candidates = bank->at.form.type == CM3_VECTORS_F32 ? k : k + k / 4 + 16;
    const size_t queries_size = (cm3_queries_size(&bank->at.form) + 63) / 64 * 64;
    const size_t heaps = members * group * s.candidates * sizeof(cm3_hit);
    float *own = cm3_calloc(context, group + 1, d * sizeof *own);
    void *memory = cm3_alloc(context, GROUP / CM3_QUERIES_TOGETHER * queries_size + heaps);
    s.tops = cm3_calloc(context, members * group, sizeof *s.tops);
    s.scores = cm3_calloc(context, members * CM3_QUERIES_TOGETHER, (size_t)s.tile * sizeof *s.scores);
    cm3_status status = CM3_OK;
    if (!own || !memory || !s.tops || !s.scores) status = cm3_fail_memory(context, heaps, bank->path);
    for (size_t q = 0; q < count && status == CM3_OK; q += s.count) {
        s.count = count - q < group ? count - q : group;
        for (size_t i = 0; i < s.count && status == CM3_OK; i++) {
            if (cm3_vector_normalise(own + i * d, queries + (q + i) * d, (int64_t)d)) continue;
            status =
                cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "query %zu of %zu is zero or not finite", q + i, count);
        }
        s.queries = own;
        if (status == CM3_OK) {
            status = scan_group(&s, memory, queries_size, own + group * d, hits + q * k, found ? found + q : NULL);
        }
    }
    cm3_free(context, own);
    cm3_free(context, memory);
    cm3_free(context, s.tops);
    cm3_free(context, s.scores);
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

cm3_status cm3_bank_search(const cm3_bank *bank, const float *queries, size_t count, const cm3_search_options *given,
                           cm3_hit *hits, size_t *found) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_search_options options;
    cm3_search_options_init(&options);
    CM3_TRY(cm3_options_read(bank->context, &options, sizeof options, given, "cm3_search_options"));
    if (count && (!queries || !hits)) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_search: an argument is NULL");
    }
    if (options.k < 1 || options.k > MOST_K) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "k: %d is not in 1..%d", options.k, MOST_K);
    }
    pthread_rwlock_t *lock = (pthread_rwlock_t *)(uintptr_t)&bank->lock;
    /* The lock is taken here and not on the engine thread, which must not wait for a writer that waits for it. */
    pthread_rwlock_rdlock(lock);
    cm3_status status = cm3_bank_search_run(bank, queries, count, &options, hits, found);
    pthread_rwlock_unlock(lock);
    return status;
}
