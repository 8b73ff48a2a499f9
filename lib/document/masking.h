/*
 * The CM3 objective (Aghajanyan et al. 2022; Yu et al. 2023, section 2.2): spans of a document move behind it, so that
 * a model that only looks back learns to fill them in with both of their sides seen.
 */
#ifndef CM3_DOCUMENT_MASKING_H
#define CM3_DOCUMENT_MASKING_H

#include "base/random.h"
#include "cm3leon/train.h" /* cm3_masking */
#include "document/encoding.h"

/** Tokens begin..end - 1. */
typedef struct cm3_span {
    int64_t begin, end;
} cm3_span;

#define CM3_MAX_SPANS 64

/**
 * Draws spans of a sequence: about Poisson(1) of them, each between two uniform points, no two of which meet; each
 * clipped to the part that it overlaps most of those that walls (breaks, ends of documents, brackets of pictures)
 * leave; in order. At most CM3_MAX_SPANS, and `most`. CM3_MASKING_CODE: n of up to most - 1, one span by itself from
 * floor(u L) to floor(v L + 1/2), more by the last of n^2 drawn pairs that do not meet; so none, or fewer, may be left.
 * CM3_MASKING_PAPER: 1..16, and each is drawn again until it meets no other. Returns how many.
 */
int cm3_draw_spans(cm3_masking masking, const cm3_special_tokens *special, const int32_t *ids, int64_t count, int most,
                   cm3_random *random, cm3_span spans[CM3_MAX_SPANS]);

/**
 * Moves spans, in order and apart, to the end of the ids: sentinel i stands where span i was, and behind the rest,
 * before its closing end of document, come sentinel i, the span's tokens and, in the code's form, the end of span.
 */
cm3_status cm3_move_spans(cm3_context *context, cm3_masking masking, const cm3_special_tokens *special,
                          const cm3_span *spans, int span_count, cm3_ids *ids);

#endif
