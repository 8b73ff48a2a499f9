/*
 * Beam search. A text that has ended stays among the beams with the log-probability it has, which can only fall for
 * those that go on: once all have ended, none that was kept could have become better than the best of them.
 */
#include "generate/beam.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "generate/ranking.h"

/** A beam and a token that may follow it; -1: it is through, and stays as it is. */
typedef struct cm3_continuation {
    double score;
    int32_t candidate, token;
} cm3_continuation;

struct cm3_beam {
    int32_t width, count;
    bool first;
    cm3_continuation offers[]; /**< [width * width + width] */
};

cm3_status cm3_beam_open(cm3_request *request) {
    size_t width = (size_t)request->options.beams;
    size_t size = sizeof(cm3_beam) + (width + 1) * width * sizeof(cm3_continuation);
    request->beam = cm3_calloc(request->context, 1, size);
    if (!request->beam) return cm3_fail_memory(request->context, size, "beams");
    request->beam->width = request->options.beams;
    request->beam->first = true;
    return CM3_OK;
}

void cm3_beam_begin(cm3_request *request) {
    request->beam->count = 0;
}

bool cm3_beam_wants(const cm3_request *request, const cm3_candidate *candidate) {
    return !candidate->through && (!request->beam->first || candidate == request->candidates);
}

void cm3_beam_offer(cm3_request *request, const cm3_candidate *candidate, const float *logits, int32_t n) {
    cm3_beam *beam = request->beam;
    cm3_continuation *own = beam->offers + beam->count;
    int32_t count = 0;
    double highest = -INFINITY, sum = 0;
    for (int32_t i = 0; i < n; i++) highest = (double)logits[i] > highest ? (double)logits[i] : highest;
    for (int32_t i = 0; i < n; i++) sum += exp((double)logits[i] - highest);
    double base = candidate->log_probability - highest - log(sum);
    for (int32_t i = 0; i < n; i++) {
        double score = base + (double)logits[i];
        if (!(logits[i] > -INFINITY) || (count == beam->width && score <= own[count - 1].score)) continue;
        int32_t place = count < beam->width ? count++ : count - 1;
        for (; place > 0 && own[place - 1].score < score; place--) own[place] = own[place - 1];
        own[place] = (cm3_continuation){score, candidate->number, i};
    }
    beam->count += count;
}

static int by_score(const void *left, const void *right) {
    const cm3_continuation *a = left, *b = right;
    if (a->score != b->score) return a->score < b->score ? 1 : -1;
    if (a->candidate != b->candidate) return a->candidate < b->candidate ? -1 : 1;
    return a->token < b->token ? -1 : a->token > b->token;
}

/** Makes one candidate what another is. */
static void become(cm3_candidate *to, const cm3_candidate *from) {
    memcpy(to->history.ids, from->history.ids, from->history.count * sizeof *from->history.ids);
    to->history.count = from->history.count;
    cm3_cache_copy(to->conditional.cache, from->conditional.cache);
}

static bool ends(const cm3_request *request, const cm3_vocabulary *vocabulary, int32_t token) {
    if (request->options.ignore_stops) return false;
    bool stop = vocabulary->kind[token] == 3;
    for (size_t i = 0; i < request->stops.count; i++) stop = stop || request->stops.ids[i] == token;
    return stop;
}

static cm3_status go_on(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                        const cm3_continuation *chosen) {
    const cm3_generate_options *o = &request->options;
    candidate->log_probability = chosen->score;
    candidate->through = chosen->token < 0;
    if (candidate->through) return CM3_OK;
    CM3_TRY(cm3_ids_push(request->context, &candidate->history, chosen->token));
    size_t made = candidate->history.count - candidate->prompt_count;
    candidate->through = ends(request, vocabulary, chosen->token) || (o->max_tokens && made >= (size_t)o->max_tokens) ||
                         candidate->history.count >= (size_t)request->capacity;
    if (candidate->through) return CM3_OK;
    return cm3_ids_push(request->context, &candidate->conditional.pending, chosen->token);
}

/** The first continuation of a beam takes its place; the others take the places of beams that have none. */
static cm3_status spread(cm3_request *request, const cm3_vocabulary *vocabulary) {
    const cm3_beam *beam = request->beam;
    cm3_continuation places[64];
    bool taken[64] = {false}, settled[64] = {false};
    int32_t count = beam->count < beam->width ? beam->count : beam->width, next = 0;
    for (int32_t i = 0; i < count; i++) {
        int32_t at = beam->offers[i].candidate;
        settled[i] = !taken[at];
        if (!settled[i]) continue;
        taken[at] = true;
        places[at] = beam->offers[i];
    }
    for (int32_t i = 0; i < count; i++) {
        if (settled[i]) continue;
        while (taken[next]) next++;
        taken[next] = true;
        places[next] = beam->offers[i];
        become(&request->candidates[next], &request->candidates[beam->offers[i].candidate]);
    }
    for (int32_t i = 0; i < beam->width; i++) {
        const cm3_continuation none = {-INFINITY, i, -1};
        CM3_TRY(go_on(request, &request->candidates[i], vocabulary, taken[i] ? &places[i] : &none));
    }
    return CM3_OK;
}

/** Tells a text that was found as if it had been said just now. */
static cm3_status tell(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary) {
    size_t count = candidate->history.count;
    candidate->history.count = candidate->prompt_count;
    for (size_t i = candidate->prompt_count; i < count; i++) {
        /* The id is read before the same place is written. */
        CM3_TRY(cm3_candidate_take(request, candidate, vocabulary, candidate->history.ids[i]));
        candidate->conditional.pending.count = 0; /* nothing is to be read any more */
    }
    return CM3_OK;
}

static cm3_status tell_best(cm3_request *request, const cm3_vocabulary *vocabulary) {
    int32_t width = request->beam->width;
    request->ranks = cm3_calloc(request->context, (size_t)width, sizeof *request->ranks);
    if (!request->ranks) return cm3_fail_memory(request->context, (size_t)width * sizeof *request->ranks, "beams");
    for (int32_t i = 0; i < width; i++) {
        request->ranks[i] = (cm3_rank){i, request->candidates[i].log_probability};
    }
    cm3_rank_sort(request->ranks, width);
    for (int32_t i = 0; i < width; i++) request->candidates[request->ranks[i].candidate].number = i;
    for (int32_t i = 0; i < width; i++) {
        cm3_candidate *candidate = &request->candidates[request->ranks[i].candidate];
        if (i < request->options.best && candidate->log_probability > -INFINITY) {
            CM3_TRY(tell(request, candidate, vocabulary));
        } else {
            CM3_TRY(cm3_candidate_end(request, candidate, CM3_END_FINISHED, CM3_OK));
        }
    }
    return CM3_OK;
}

cm3_status cm3_beam_choose(cm3_request *request, const cm3_vocabulary *vocabulary) {
    cm3_beam *beam = request->beam;
    for (int32_t i = 0; i < beam->width && !beam->first; i++) {
        const cm3_candidate *candidate = &request->candidates[i];
        if (!candidate->through || !(candidate->log_probability > -INFINITY)) continue;
        beam->offers[beam->count++] = (cm3_continuation){candidate->log_probability, i, -1};
    }
    beam->first = false;
    qsort(beam->offers, (size_t)beam->count, sizeof *beam->offers, by_score);
    CM3_TRY(spread(request, vocabulary));
    for (int32_t i = 0; i < beam->width; i++) {
        if (!request->candidates[i].through) return CM3_OK;
    }
    return tell_best(request, vocabulary);
}
