/* The tensors of a checkpoint. */
#include "train/checkpoint_parts.h"

#include <stdio.h>
#include <string.h>

#include "base/status.h"

/* Floats of a whole tensor that go at once. */
#define PIECE (1 << 21)

/* --- the list -------------------------------------------------------------------------------------------------------
 */

static cm3_status add_part(cm3_parts *parts, const char *prefix, const char *name, float *data, int64_t count) {
    CM3_TRY(
        cm3_grow(parts->context, &parts->list, &parts->capacity, parts->count + 1, sizeof *parts->list, "checkpoint"));
    cm3_part *part = &parts->list[parts->count++];
    *part = (cm3_part){.data = data, .count = count, .all = parts};
    snprintf(part->name, sizeof part->name, "%s.%s", prefix, name);
    return CM3_OK;
}

static cm3_status add_moment(cm3_parts *parts, const char *prefix, cm3_optimizer *optimizer, const cm3_optimized *p,
                             cm3_moment moment) {
    const bool sliced = optimizer->slice < optimizer->total;
    float *whole = NULL;
    if (moment == CM3_MOMENT_WEIGHT) {
        whole = p->tensor->data;
    } else if (!optimizer->moments[moment]) {
        return CM3_OK;
    } else if (!sliced) {
        whole = optimizer->moments[moment] + p->at;
    }
    CM3_TRY(add_part(parts, prefix, p->name, whole, p->tensor->count));
    cm3_part *part = &parts->list[parts->count - 1];
    part->optimizer = optimizer;
    part->moment = moment;
    part->at = p->at;
    return CM3_OK;
}

cm3_status cm3_parts_list(const cm3_checkpoint *checkpoint, cm3_parts *parts) {
    for (int i = 0; i < 2; i++) {
        cm3_optimizer *optimizer = checkpoint->optimizers[i];
        for (size_t j = 0; optimizer && j < optimizer->count; j++) {
            const cm3_optimized *p = &optimizer->parameters[j];
            CM3_TRY(add_moment(parts, "weight", optimizer, p, CM3_MOMENT_WEIGHT));
            CM3_TRY(add_moment(parts, "m", optimizer, p, CM3_MOMENT_M));
            CM3_TRY(add_moment(parts, "v", optimizer, p, CM3_MOMENT_V));
            CM3_TRY(add_moment(parts, "average", optimizer, p, CM3_MOMENT_AVERAGE));
        }
    }
    for (size_t i = 0; i < checkpoint->extra_count; i++) {
        const cm3_extra_state *extra = &checkpoint->extra[i];
        CM3_TRY(add_part(parts, "extra", extra->name, extra->data, extra->count));
    }
    return CM3_OK;
}

/* --- to the file ----------------------------------------------------------------------------------------------------
 */

/** What the first rank asks for: part index + 1 from a place on; 0: nothing more. */
typedef struct cm3_part_request {
    uint64_t part, at;
} cm3_part_request;

cm3_status cm3_parts_produce(void *pointer, const cm3_sink *sink) {
    const cm3_part *part = pointer;
    cm3_optimizer *optimizer = part->optimizer;
    const int64_t end = part->at + part->count;
    for (int64_t at = part->at, count; at < end; at += count) {
        if (at < optimizer->slice) { /* the first rank's own */
            count = (end < optimizer->slice ? end : optimizer->slice) - at;
            const float *own = cm3_slices_held(optimizer, part->moment, at);
            CM3_TRY(sink->put(sink->to, own, (size_t)count * sizeof *own));
            continue;
        }
        cm3_part_request request = {(uint64_t)(part - part->all->list) + 1, (uint64_t)at};
        CM3_TRY(cm3_ranks_broadcast(part->all->ranks, &request, sizeof request, 0));
        CM3_TRY(cm3_slices_send(optimizer, part->moment, at, end, &count));
        CM3_TRY(sink->put(sink->to, optimizer->pieces, (size_t)count * sizeof(float)));
    }
    return CM3_OK;
}

cm3_status cm3_parts_serve(const cm3_parts *parts) {
    for (;;) {
        cm3_part_request request = {0, 0};
        int64_t count;
        CM3_TRY(cm3_ranks_broadcast(parts->ranks, &request, sizeof request, 0));
        if (!request.part) return CM3_OK;
        if (request.part > parts->count) {
            return cm3_fail(parts->context, CM3_ERROR_INTERNAL, "checkpoint: rank 0 asks for part %llu of %zu",
                            (unsigned long long)request.part, parts->count);
        }
        const cm3_part *part = &parts->list[request.part - 1];
        CM3_TRY(cm3_slices_send(part->optimizer, part->moment, (int64_t)request.at, part->at + part->count, &count));
    }
}

cm3_status cm3_parts_end(const cm3_parts *parts) {
    cm3_part_request request = {0, 0};
    return cm3_ranks_broadcast(parts->ranks, &request, sizeof request, 0);
}

/* --- from the file --------------------------------------------------------------------------------------------------
 */

static cm3_status fill_whole(const cm3_parts *parts, const cm3_part *part, const float *values) {
    if (values) memcpy(part->data, values, (size_t)part->count * sizeof *values);
    for (int64_t at = 0; parts->ranks && at < part->count; at += PIECE) {
        const int64_t count = part->count - at < PIECE ? part->count - at : PIECE;
        CM3_TRY(cm3_ranks_broadcast(parts->ranks, part->data + at, (size_t)count * sizeof *part->data, 0));
    }
    return CM3_OK;
}

cm3_status cm3_parts_fill(const cm3_parts *parts, const cm3_part *part, const float *values) {
    if (part->data) return fill_whole(parts, part, values);
    cm3_optimizer *optimizer = part->optimizer;
    for (int64_t done = 0; done < part->count; done += optimizer->piece) {
        const int64_t left = part->count - done, count = left < optimizer->piece ? left : optimizer->piece;
        if (values) memcpy(optimizer->pieces, values + done, (size_t)count * sizeof *values);
        CM3_TRY(cm3_slices_receive(optimizer, part->moment, part->at + done, count));
    }
    return CM3_OK;
}
