/* The batch of a step: the tokens of all streams that go on, in one forward pass. */
#ifndef CM3_GENERATE_BATCH_H
#define CM3_GENERATE_BATCH_H

#include "generate/request.h"

typedef struct cm3_batch {
    cm3_stream **streams;
    cm3_sequence *sequences;
    size_t stream_count, stream_capacity, sequence_capacity;
    cm3_ids ids, positions, logit_rows;
} cm3_batch;

/** Room for so many streams and rows: nothing that follows takes memory. Errors: NO_MEMORY. */
cm3_status cm3_batch_reserve(cm3_context *context, cm3_batch *batch, size_t streams, size_t rows);
void cm3_batch_clear(cm3_context *context, cm3_batch *batch);

void cm3_batch_begin(cm3_batch *batch);
/**
 * Adds what a stream has pending, at most `most` tokens of it; where that is all of it, its logits are wanted. How many
 * were added.
 */
int64_t cm3_batch_add(cm3_batch *batch, cm3_stream *stream, int64_t most);

/**
 * Runs the model over the batch: the caches grow, pending tokens are gone, and streams that have none left get their
 * logits: of all ids, or, where `images`, of the vocabulary's image codes only. On failure nothing has changed.
 */
cm3_status cm3_batch_run(cm3_batch *batch, cm3_graph *graph, const cm3_lm *lm, const cm3_vocabulary *vocabulary,
                         bool images);

#endif
