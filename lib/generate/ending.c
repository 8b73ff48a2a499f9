/* A request's end: its candidates' last events, its status and message, and what is given back. */
#include <stdio.h>

#include "base/clock.h"
#include "base/status.h"
#include "generate/ranking.h"
#include "generate/request.h"

void cm3_request_finish(cm3_request *request, cm3_status status) {
    if (status == CM3_OK) status = cm3_rank_candidates(request);
    request->status = status;
    if (status != CM3_OK && status != CM3_ERROR_CANCELLED) {
        snprintf(request->message, sizeof request->message, "%s", cm3_context_message(request->context));
    } else if (status == CM3_ERROR_CANCELLED) {
        snprintf(request->message, sizeof request->message, "cancelled");
    }
    request->timings.total = cm3_clock_since(request->started_at);
    for (int32_t i = 0; i < request->options.candidates && request->candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        cm3_cache_destroy(request->context, candidate->conditional.cache);
        cm3_cache_destroy(request->context, candidate->unconditional.cache);
        cm3_cache_destroy(request->context, candidate->pictures.cache);
        candidate->conditional.cache = candidate->unconditional.cache = candidate->pictures.cache = NULL;
    }
    cm3_cache_destroy(request->context, request->prompt_stream.cache);
    request->prompt_stream.cache = NULL;
    atomic_store(&request->finished, 1);
    cm3_events_close(&request->events);
}

void cm3_request_end_all(cm3_request *request, cm3_status why) {
    cm3_end_reason reason = why == CM3_ERROR_CANCELLED ? CM3_END_CANCELLED : CM3_END_FAILED;
    for (int32_t i = 0; i < request->options.candidates && request->candidates; i++) {
        cm3_candidate_end(request, &request->candidates[i], reason, why);
    }
    /* It failed before there were any: their ends are told all the same. */
    for (int32_t i = 0; i < request->options.candidates && !request->candidates; i++) {
        cm3_event event = {.kind = CM3_EVENT_END,
                           .candidate = i,
                           .reason = reason,
                           .status = why,
                           .seconds = cm3_clock_since(request->started_at)};
        if (cm3_events_push(&request->events, &event) != CM3_OK) return;
    }
}
