/* The rules by which documents are chosen (Yu et al. 2023, section 2.1): relevance, modality, diversity. */
#include <stdlib.h>
#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "base/random.h"
#include "retrieve/retriever.h"
#include "retrieve/vectors.h"

#define LEAST_CANDIDATES 50
#define MOST_CANDIDATES 65536
#define MOST_DOCUMENTS 1000

void cm3_retrieve_options_init(cm3_retrieve_options *options) {
    if (!options) return;
    *options = (cm3_retrieve_options){
        .struct_size = sizeof *options, .k = 2, .most_alike = 0.9f, .most_score = 2, .whole_first = 1};
}

/** What is known of a hit while documents are chosen. */
typedef struct candidate {
    cm3_bank_record *record; /**< NULL: not fetched yet, or taken out meanwhile */
    bool looked_at;
} candidate;

typedef struct choice {
    const cm3_retriever *retriever;
    const cm3_retrieve_options *options;
    const cm3_kernels *kernels;
    const cm3_hit *hits; /**< of one query, the best first */
    size_t hit_count;
    candidate *candidates; /**< [hit_count] */
    const float **taken;   /**< [k] vectors */
    cm3_hit *chosen;       /**< [k] */
    size_t count;
} choice;

static cm3_status look_at(choice *c, size_t index) {
    candidate *one = &c->candidates[index];
    if (one->looked_at) return CM3_OK;
    one->looked_at = true;
    cm3_status status = cm3_retriever_fetch(c->retriever, c->hits[index].id, &one->record);
    /* Another process may have taken it out since it was found. */
    return status == CM3_ERROR_NOT_FOUND ? CM3_OK : status;
}

/** Whether a document is too near to one that was taken. */
static bool is_alike(const choice *c, const cm3_bank_record *record) {
    for (size_t i = 0; i < c->count && record->vector; i++) {
        float score;
        const int64_t d = c->retriever->dimension;
        c->kernels->few_rows_f32(&score, 1, record->vector, 1, c->taken[i], d, 0, 1, NULL);
        if (score > c->options->most_alike) return true;
    }
    return false;
}

/** Takes what is still missing, of whole documents or of the others, or of all alike. */
static cm3_status take(choice *c, bool all, bool whole) {
    for (size_t i = 0; i < c->hit_count && c->count < (size_t)c->options->k; i++) {
        if (c->hits[i].score > c->options->most_score) continue;
        CM3_TRY(look_at(c, i));
        const cm3_bank_record *record = c->candidates[i].record;
        if (!record) continue;
        const bool is_whole = record->text && (record->image || record->codes);
        if ((!all && is_whole != whole) || is_alike(c, record)) continue;
        c->taken[c->count] = record->vector;
        c->chosen[c->count++] = c->hits[i];
    }
    return CM3_OK;
}

static cm3_status choose(choice *c, size_t *found) {
    const bool by_form = c->options->whole_first != 0;
    cm3_status status = take(c, !by_form, true);
    if (status == CM3_OK && by_form) status = take(c, false, false);
    for (size_t i = c->count; i < (size_t)c->options->k; i++) c->chosen[i] = (cm3_hit){CM3_NO_RECORD, -2};
    if (found) *found = c->count;
    for (size_t i = 0; i < c->hit_count; i++) {
        if (c->candidates[i].record) cm3_retriever_release(c->retriever, c->candidates[i].record);
        c->candidates[i] = (candidate){0};
    }
    return status;
}

/** The text without some of its words, of which one at least stays. Freed by cm3_free(). */
static char *drop_words(cm3_context *context, const char *text, float share, cm3_random *random) {
    char *kept = cm3_strndup(context, text, strlen(text));
    size_t length = 0;
    for (const char *at = text; kept && *at;) {
        const size_t space = strspn(at, " "), word = strcspn(at + space, " ");
        if (word && cm3_random_uniform(random) >= (double)share) {
            memcpy(kept + length, at, space + word);
            length += space + word;
        }
        at += space + word;
    }
    if (kept && length) kept[length] = '\0';
    return kept;
}

/** Vectors of the queries; each is a text or a picture. */
static cm3_status embed(const cm3_retriever *r, const cm3_retrieval_item *queries, size_t count,
                        const cm3_retrieve_options *options, float *vectors) {
    cm3_random random = cm3_random_make(options->seed, 0x5155455259000000u);
    for (size_t i = 0; i < count; i++) {
        cm3_retrieval_item query =
            *(const cm3_retrieval_item *)(const void *)((const char *)queries + i * queries->struct_size);
        if (query.struct_size < sizeof query || !query.text == !(query.image || query.codes)) {
            return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT,
                            "query %zu of %zu: a text or a picture, and not both, is expected", i, count);
        }
        query.struct_size = sizeof query;
        char *shorter = NULL;
        if (query.text && options->query_dropout > 0) {
            shorter = drop_words(r->context, query.text, options->query_dropout, &random);
            if (!shorter) return cm3_fail_memory(r->context, strlen(query.text), "query");
            query.text = shorter;
        }
        cm3_status status = cm3_retriever_embed(r, &query, 1, vectors + i * (size_t)r->dimension);
        cm3_free(r->context, shorter);
        CM3_TRY(status);
    }
    return CM3_OK;
}

static cm3_status check(const cm3_retriever *r, const cm3_retrieve_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->k >= 0 && o->k <= MOST_DOCUMENTS, "k must be 0..1000"},
        {o->most_alike >= -1 && o->most_alike <= 2, "most_alike must be -1..2"},
        {o->most_score >= -1 && o->most_score <= 2, "most_score must be -1..2"},
        {o->query_dropout >= 0 && o->query_dropout <= 1, "query_dropout must be 0..1"},
        {o->candidates >= 0 && o->candidates <= MOST_CANDIDATES, "candidates must be 0..65536"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits) {
            return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_retrieve_options: %s", rules[i].rule);
        }
    }
    return CM3_OK;
}

cm3_status cm3_retriever_search(const cm3_retriever *r, const cm3_retrieval_item *queries, size_t count,
                                const cm3_retrieve_options *given, cm3_hit *hits, size_t *found) {
    if (!r) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    CM3_TRY(cm3_options_read(r->context, &options, sizeof options, given, "cm3_retrieve_options"));
    CM3_TRY(check(r, &options));
    if (count && (!queries || (!hits && options.k))) {
        return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_retriever_search: an argument is NULL");
    }
    for (size_t i = 0; found && i < count; i++) found[i] = 0;
    if (!options.k || !count) return CM3_OK;
    const int32_t enough = 10 * options.k > LEAST_CANDIDATES ? 10 * options.k : LEAST_CANDIDATES;
    const size_t looked = (size_t)(options.candidates ? options.candidates : enough), k = (size_t)options.k;
    float *vectors = cm3_calloc(r->context, count, (size_t)r->dimension * sizeof *vectors);
    cm3_hit *all = cm3_calloc(r->context, count, looked * sizeof *all);
    size_t *counts = cm3_calloc(r->context, count, sizeof *counts);
    candidate *candidates = cm3_calloc(r->context, looked, sizeof *candidates);
    const float **taken = cm3_calloc(r->context, k, sizeof *taken);
    cm3_status status = CM3_OK;
    if (!vectors || !all || !counts || !candidates || !taken) {
        status = cm3_fail_memory(r->context, count * looked * sizeof *all, "hits");
    }
    if (status == CM3_OK) status = embed(r, queries, count, &options, vectors);
    if (status == CM3_OK) {
        status = r->engine.search(r->engine.user, vectors, count, r->dimension, (int32_t)looked, all, counts);
        status = cm3_retriever_told(r, status, "searching");
    }
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        choice c = {.retriever = r,
                    .options = &options,
                    .kernels = cm3_kernels_get(cm3_context_cpu(r->context)),
                    .hits = all + i * looked,
                    .hit_count = counts[i] < looked ? counts[i] : looked,
                    .candidates = candidates,
                    .taken = taken,
                    .chosen = hits + i * k};
        status = choose(&c, found ? &found[i] : NULL);
    }
    cm3_free(r->context, vectors);
    cm3_free(r->context, all);
    cm3_free(r->context, counts);
    cm3_free(r->context, candidates);
    cm3_free(r->context, (void *)(uintptr_t)taken);
    return status;
}
