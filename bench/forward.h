/* The forward pass as the benchmarks run it: the one place here that knows graphs, batches and caches. */
#ifndef BENCH_FORWARD_H
#define BENCH_FORWARD_H

#include "model/lm.h"

typedef struct bench_forward bench_forward;

/** Caches for `sequences` sequences of `capacity` positions, filled with small random numbers. */
cm3_status bench_forward_create(cm3_context *context, const cm3_lm *lm, cm3_compute compute, cm3_dtype kv,
                                int64_t sequences, int64_t capacity, bench_forward **forward);
void bench_forward_destroy(bench_forward *forward);

/** Every sequence has so many positions behind it. */
void bench_forward_set_depth(bench_forward *forward, int64_t depth);
/** One token of every sequence, logits of all of them; each is one position longer afterwards. */
cm3_status bench_forward_decode(bench_forward *forward);
/** `rows` tokens of the first sequence, logits of the last one. The depth stays. */
cm3_status bench_forward_prefill(bench_forward *forward, int64_t rows);

/** Bytes of keys and values that one position has, all layers. */
int64_t bench_forward_position_bytes(const bench_forward *forward);

#endif
