/* The k best of a stream of scores: a heap with the worst on top. */
#ifndef CM3_RETRIEVE_TOP_K_H
#define CM3_RETRIEVE_TOP_K_H

#include <stdbool.h>
#include <stddef.h>

#include "cm3leon/bank.h"

typedef struct cm3_top_k {
    cm3_hit *hits; /**< [k] */
    size_t k, count;
} cm3_top_k;

/** Whether `a` comes before `b`: a higher score, or an older record of the same. */
static inline bool cm3_hit_before(cm3_hit a, cm3_hit b) {
    return a.score > b.score || (a.score == b.score && a.id < b.id);
}

/** What a score must be above, or equal to, to get in. */
static inline float cm3_top_k_threshold(const cm3_top_k *top) {
    return top->count < top->k ? -3.0e38f : top->hits[0].score;
}

static inline void cm3_top_k_sift(cm3_top_k *top, size_t at, cm3_hit hit) {
    for (size_t child; (child = 2 * at + 1) < top->count; at = child) {
        if (child + 1 < top->count && cm3_hit_before(top->hits[child], top->hits[child + 1])) child++;
        if (!cm3_hit_before(hit, top->hits[child])) break;
        top->hits[at] = top->hits[child];
    }
    top->hits[at] = hit;
}

static inline void cm3_top_k_add(cm3_top_k *top, cm3_hit hit) {
    if (top->count == top->k) {
        if (cm3_hit_before(hit, top->hits[0])) cm3_top_k_sift(top, 0, hit);
        return;
    }
    size_t at = top->count++;
    for (; at && cm3_hit_before(top->hits[(at - 1) / 2], hit); at = (at - 1) / 2)
        top->hits[at] = top->hits[(at - 1) / 2];
    top->hits[at] = hit;
}

/** Puts the best first; it is a heap no more. */
static inline void cm3_top_k_sort(cm3_top_k *top) {
    const size_t all = top->count;
    while (top->count > 1) {
        const cm3_hit worst = top->hits[0], last = top->hits[--top->count];
        cm3_top_k_sift(top, 0, last);
        top->hits[top->count] = worst;
    }
    top->count = all;
}

#endif
