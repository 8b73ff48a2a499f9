/* The CM3 objective. */
#include "document/masking.h"

#include <math.h>
#include <string.h>

#include "base/status.h"

/** No span holds one. */
static bool is_wall(const cm3_special_tokens *special, int32_t id) {
    return id == special->eod || id == special->pad || id == special->break_ || id == special->begin_image ||
           id == special->end_image || id == special->end_span || id == special->bos || id == special->end_turn;
}

/** Knuth's way: the number of factors whose product stays above e^-1. */
static int draw_poisson(cm3_random *random) {
    double product = cm3_random_uniform(random);
    int n = 0;
    for (; product > exp(-1.0) && n < CM3_MAX_SPANS; n++) product *= cm3_random_uniform(random);
    return n;
}

/** Between two uniform points. */
static cm3_span draw_span(int64_t count, cm3_random *random) {
    double u = cm3_random_uniform(random), v = cm3_random_uniform(random);
    double low = u < v ? u : v, high = u < v ? v : u;
    return (cm3_span){(int64_t)(low * (double)count), (int64_t)(high * (double)count + 0.5)};
}

static bool meet(const cm3_span *a, const cm3_span *b) {
    return a->begin < b->end && b->begin < a->end;
}

/** Adds a span that is not empty and meets no other, in order. */
static bool insert(cm3_span *spans, int *count, cm3_span span) {
    if (span.begin >= span.end || *count == CM3_MAX_SPANS) return false;
    int place = *count;
    for (int i = 0; i < *count; i++) {
        if (meet(&spans[i], &span)) return false;
    }
    while (place > 0 && spans[place - 1].begin > span.begin) {
        spans[place] = spans[place - 1];
        place--;
    }
    spans[place] = span;
    ++*count;
    return true;
}

/** What of a span lies in the part between walls that it overlaps most. */
static cm3_span clip(const cm3_special_tokens *special, const int32_t *ids, cm3_span span) {
    cm3_span best = {span.begin, span.begin};
    for (int64_t i = span.begin; i < span.end;) {
        int64_t begin = i;
        while (i < span.end && !is_wall(special, ids[i])) i++;
        if (i - begin > best.end - best.begin) best = (cm3_span){begin, i};
        i++;
    }
    return best;
}

/** As many as the law says; some may be left out. */
static int draw_by_code(int64_t count, int most, cm3_random *random, cm3_span *spans) {
    int wanted = draw_poisson(random), found = 0;
    if (wanted > most - 1) wanted = most - 1;
    if (wanted == 1) {
        insert(spans, &found, draw_span(count, random));
        return found;
    }
    for (int tries = wanted * wanted; tries > 0 && found < wanted; tries--) {
        insert(spans, &found, draw_span(count, random));
    }
    return found;
}

static int draw_by_paper(int64_t count, int most, cm3_random *random, cm3_span *spans) {
    enum { TRIES = 100 }; /* of a span, where hardly any room is left */
    int wanted = draw_poisson(random), found = 0;
    wanted = wanted < 1 ? 1 : wanted > 16 ? 16 : wanted;
    if (wanted > most) wanted = most;
    for (int i = 0; i < wanted; i++) {
        for (int tries = 0; tries < TRIES && !insert(spans, &found, draw_span(count, random));) tries++;
    }
    return found;
}

int cm3_draw_spans(cm3_masking masking, const cm3_special_tokens *special, const int32_t *ids, int64_t count, int most,
                   cm3_random *random, cm3_span spans[CM3_MAX_SPANS]) {
    cm3_span drawn[CM3_MAX_SPANS];
    int found = 0, left = 0;
    if (most > special->sentinel_count) most = special->sentinel_count;
    if (most > CM3_MAX_SPANS) most = CM3_MAX_SPANS;
    if (count > 0 && masking == CM3_MASKING_CODE) found = draw_by_code(count, most, random, drawn);
    if (count > 0 && masking == CM3_MASKING_PAPER) found = draw_by_paper(count, most, random, drawn);
    for (int i = 0; i < found; i++) {
        spans[left] = clip(special, ids, drawn[i]);
        left += spans[left].begin < spans[left].end;
    }
    return left;
}

cm3_status cm3_move_spans(cm3_context *context, cm3_masking masking, const cm3_special_tokens *special,
                          const cm3_span *spans, int span_count, cm3_ids *ids) {
    if (!span_count) return CM3_OK;
    size_t moved = 0, old = ids->count, closing = old && ids->ids[old - 1] == special->eod, place = 0, from = 0;
    for (int i = 0; i < span_count; i++) moved += (size_t)(spans[i].end - spans[i].begin);
    bool ends = masking == CM3_MASKING_CODE && special->end_span >= 0;
    /* The tail is put together behind the old ids, and then follows what is left of them. */
    size_t tail = moved + (size_t)span_count * (1 + (size_t)ends) + closing;
    CM3_TRY(cm3_ids_reserve(context, ids, old + tail));
    int32_t *at = ids->ids + old;
    for (int i = 0; i < span_count; i++) {
        size_t length = (size_t)(spans[i].end - spans[i].begin);
        *at++ = special->sentinels[i];
        memcpy(at, ids->ids + spans[i].begin, length * sizeof *at);
        at += length;
        if (ends) *at++ = special->end_span;
    }
    if (closing) *at++ = special->eod;
    for (int i = 0; i < span_count; i++) {
        size_t length = (size_t)spans[i].begin - from;
        memmove(ids->ids + place, ids->ids + from, length * sizeof *at);
        place += length;
        ids->ids[place++] = special->sentinels[i];
        from = (size_t)spans[i].end;
    }
    memmove(ids->ids + place, ids->ids + from, (old - closing - from) * sizeof *at);
    place += old - closing - from;
    memmove(ids->ids + place, ids->ids + old, tail * sizeof *at);
    ids->count = place + tail;
    return CM3_OK;
}
