/* The batch of a step: gathered from the streams, run, and handed back to them. */
#include "generate/batch.h"

#include <string.h>

#include "base/status.h"

cm3_status cm3_batch_reserve(cm3_context *context, cm3_batch *batch, size_t streams, size_t rows) {
    CM3_TRY(cm3_grow(context, &batch->streams, &batch->stream_capacity, streams, sizeof *batch->streams, "batch"));
    CM3_TRY(
        cm3_grow(context, &batch->sequences, &batch->sequence_capacity, streams, sizeof *batch->sequences, "batch"));
    CM3_TRY(cm3_ids_reserve(context, &batch->ids, rows));
    CM3_TRY(cm3_ids_reserve(context, &batch->positions, rows));
    return cm3_ids_reserve(context, &batch->logit_rows, streams);
}

void cm3_batch_clear(cm3_context *context, cm3_batch *batch) {
    cm3_free(context, batch->streams);
    cm3_free(context, batch->sequences);
    cm3_ids_clear(context, &batch->ids);
    cm3_ids_clear(context, &batch->positions);
    cm3_ids_clear(context, &batch->logit_rows);
    *batch = (cm3_batch){0};
}

void cm3_batch_begin(cm3_batch *batch) {
    batch->stream_count = batch->ids.count = batch->positions.count = batch->logit_rows.count = 0;
}

int64_t cm3_batch_add(cm3_batch *batch, cm3_stream *stream, int64_t most) {
    int64_t pending = (int64_t)stream->pending.count, rows = pending < most ? pending : most;
    if (!stream->cache || rows <= 0) return 0;
    batch->streams[batch->stream_count] = stream;
    batch->sequences[batch->stream_count] = (cm3_sequence){stream->cache, (int64_t)batch->ids.count, rows};
    batch->stream_count++;
    for (int64_t i = 0; i < rows; i++) {
        batch->ids.ids[batch->ids.count++] = stream->pending.ids[i];
        batch->positions.ids[batch->positions.count++] = (int32_t)(cm3_kv_positions(stream->cache) + i);
    }
    if (rows == pending) batch->logit_rows.ids[batch->logit_rows.count++] = (int32_t)batch->ids.count - 1;
    return rows;
}

/** After the pass: caches and streams move on. */
static void hand_back(cm3_batch *batch, const cm3_tensor *logits) {
    float *row = cm3_f32(logits);
    for (size_t i = 0; i < batch->stream_count; i++) {
        cm3_stream *stream = batch->streams[i];
        size_t fed = (size_t)batch->sequences[i].rows;
        stream->cache->length += (int64_t)fed;
        stream->pending.count -= fed;
        memmove(stream->pending.ids, stream->pending.ids + fed, stream->pending.count * sizeof *stream->pending.ids);
        stream->logits = NULL;
        if (stream->pending.count) continue;
        stream->logits = row;
        row += logits->shape[1];
    }
}

cm3_status cm3_batch_run(cm3_batch *batch, cm3_graph *graph, const cm3_lm *lm, const cm3_vocabulary *vocabulary,
                         bool images) {
    cm3_graph_begin(graph);
    cm3_lm_batch lm_batch = {
        .rows = (int64_t)batch->ids.count,
        .ids = batch->ids.ids,
        .positions = batch->positions.ids,
        .plan = {.sequences = batch->sequences, .sequence_count = (int64_t)batch->stream_count},
        .logit_rows = batch->logit_rows.ids,
        .logit_count = (int64_t)batch->logit_rows.count,
    };
    if (images) lm_batch.vocab_first = vocabulary->image_first, lm_batch.vocab_count = vocabulary->image_count;
    cm3_tensor *logits = cm3_lm_forward(graph, lm, &lm_batch);
    if (!logits) return cm3_graph_status(graph);
    hand_back(batch, logits);
    return CM3_OK;
}
