/* The beginning of a request: its prompt becomes tokens, its candidates get their caches and lists. */
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "generate/beam.h"
#include "generate/demand.h"
#include "generate/infill.h"

/* Events that may wait before memory is asked for again. */
#define MOST_EVENTS 4096

size_t cm3_request_events(uint64_t total_tokens) {
    return total_tokens < (MOST_EVENTS - 64) / 2 ? 2 * (size_t)total_tokens + 64 : MOST_EVENTS;
}

/** The first tokens of a picture, which are known. */
static cm3_status push_known(cm3_request *request, int32_t lead, cm3_ids *ids) {
    const cm3_special_tokens *special = &request->model->tokenizer->special;
    for (int32_t i = 0; i < lead; i++) {
        CM3_TRY(cm3_ids_push(request->context, ids, special->image[request->holes.codes[i]]));
    }
    return CM3_OK;
}

/** Tokens of the prompt and the room they leave. Runs on the compute thread: pictures in the prompt are encoded here.
 */
static cm3_status tokenise(cm3_request *request, const cm3_vocabulary *vocabulary) {
    const cm3_tokenizer *tokenizer = request->model->tokenizer;
    cm3_encoder encoder = {.context = request->context,
                           .bpe = tokenizer->bpe,
                           .special = &tokenizer->special,
                           .vq = tokenizer->vq,
                           .preprocessing = tokenizer->preprocessing.shortest_edge ? &tokenizer->preprocessing : NULL,
                           .encode_flags = request->options.encode_flags};
    bool image = request->options.modality == CM3_MODALITY_IMAGE;
    const cm3_prompt_form form = {.image_follows = image, .end_turn = request->options.end_turn != 0};
    bool infill = request->options.modality == CM3_MODALITY_INFILL;
    request->holes.in_place = image;
    encoder.holes = image ? &request->holes : NULL;
    CM3_TRY(infill ? cm3_infill_prompt(request, &encoder)
                   : cm3_prompt_tokens(&encoder, request->prompt, form, &request->prompt_ids));
    bool speaks = !image;
    int64_t tokens = infill ? cm3_infill_tokens(&request->holes, 0, &speaks) : vocabulary->image_tokens;
    int32_t lead = 0;
    if (image) CM3_TRY(cm3_infill_lead(request, &lead));
    CM3_TRY(push_known(request, lead, &request->prompt_ids));
    tokens -= lead;
    int64_t prompt = (int64_t)request->prompt_ids.count;
    CM3_TRY(cm3_demand_capacity(request->model, &request->options, tokens, speaks, prompt, &request->capacity));
    int64_t left = request->options.max_tokens ? request->options.max_tokens : request->capacity - prompt;
    request->total_tokens = (uint64_t)request->options.candidates * (uint64_t)(image ? tokens : left);
    request->timings.prompt_tokens = (uint64_t)prompt;
    if (infill || !cm3_is_guided(&request->options)) return CM3_OK;
    request->picture_ids = cm3_demand_pictures(&tokenizer->special, &request->options, &request->prompt_ids);
    if (request->picture_prompt) {
        CM3_TRY(cm3_prompt_tokens(&encoder, request->picture_prompt, form, &request->picture_prompt_ids));
        CM3_TRY(push_known(request, lead, &request->picture_prompt_ids));
        request->picture_ids = (int64_t)request->picture_prompt_ids.count;
        if (request->picture_ids + tokens > request->model->lm->config.max_positions) {
            return cm3_fail(request->context, CM3_ERROR_TOO_LONG,
                            "picture_prompt has %lld tokens; with the picture's that is more than the model's %d",
                            (long long)request->picture_ids, request->model->lm->config.max_positions);
        }
    }
    CM3_TRY(cm3_unconditional_tokens(&encoder, request->prompt, &request->unconditional_ids));
    return push_known(request, lead, &request->unconditional_ids);
}

static cm3_status copy_ids(cm3_context *context, cm3_ids *to, const cm3_ids *from) {
    CM3_TRY(cm3_ids_reserve(context, to, to->count + from->count));
    if (!from->count) return CM3_OK;
    memcpy(to->ids + to->count, from->ids, from->count * sizeof *to->ids);
    to->count += from->count;
    return CM3_OK;
}

/** One candidate's caches and lists, as long as they can become. */
static cm3_status open_candidate(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary) {
    const cm3_lm_config *config = &request->model->lm->config;
    cm3_context *context = request->context;
    cm3_dtype kv = cm3_request_kv(&request->options);
    int64_t prompt = (int64_t)request->prompt_ids.count, image = vocabulary->image_tokens;
    candidate->in_image = request->options.modality == CM3_MODALITY_IMAGE;
    candidate->prompt_count = request->prompt_ids.count;
    candidate->forced = -1;
    CM3_TRY(cm3_ids_reserve(context, &candidate->history, (size_t)request->capacity + 1));
    CM3_TRY(copy_ids(context, &candidate->history, &request->prompt_ids));
    CM3_TRY(cm3_ids_reserve(context, &candidate->codes, (size_t)image));
    bool infill = request->options.modality == CM3_MODALITY_INFILL;
    if (infill) CM3_TRY(cm3_infill_begin(request, candidate));
    for (int32_t i = 0; request->holes.in_place && request->holes.codes && !request->holes.hidden[i]; i++) {
        CM3_TRY(cm3_ids_push(context, &candidate->codes, request->holes.codes[i]));
    }
    bool shares = request->prompt_stream.cache != NULL;
    CM3_TRY(cm3_cache_create(context, config, kv, request->capacity - (shares ? prompt : 0),
                             &candidate->conditional.cache));
    candidate->conditional.cache->prefix = request->prompt_stream.cache;
    CM3_TRY(cm3_ids_reserve(context, &candidate->conditional.pending, shares ? 4 : (size_t)prompt + 4));
    if (!request->unconditional_ids.count) return CM3_OK;
    /* It knows its own prompt and the picture being made, nothing else. */
    int64_t room = (int64_t)request->unconditional_ids.count + (infill ? request->capacity - prompt : image);
    CM3_TRY(cm3_cache_create(context, config, kv, room, &candidate->unconditional.cache));
    CM3_TRY(cm3_ids_reserve(context, &candidate->unconditional.pending, request->unconditional_ids.count + 4));
    if (!request->picture_ids) return CM3_OK;
    bool one = request->options.modality == CM3_MODALITY_IMAGE;
    room = one ? request->picture_ids + image : request->capacity;
    CM3_TRY(cm3_cache_create(context, config, kv, room, &candidate->pictures.cache));
    return cm3_ids_reserve(context, &candidate->pictures.pending, (size_t)room + 4);
}

/** Caches and first tokens. The prompt is read once: by the one candidate, or for all of them. */
static cm3_status open_candidates(cm3_request *request, const cm3_vocabulary *vocabulary) {
    const cm3_lm_config *config = &request->model->lm->config;
    cm3_context *context = request->context;
    cm3_dtype kv = cm3_request_kv(&request->options);
    request->candidates = cm3_calloc(context, (size_t)request->options.candidates, sizeof *request->candidates);
    if (!request->candidates) return cm3_fail_memory(context, 0, "candidates");
    request->active = request->options.candidates;
    for (int32_t i = 0; i < request->options.candidates; i++) request->candidates[i].number = i;
    bool shares = request->options.candidates > 1;
    if (shares) {
        int64_t prompt = (int64_t)request->prompt_ids.count;
        CM3_TRY(cm3_cache_create(context, config, kv, prompt, &request->prompt_stream.cache));
    }
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        CM3_TRY(open_candidate(request, candidate, vocabulary));
        if (!candidate->in_image) continue;
        CM3_TRY(cm3_candidate_guide(request, candidate));
    }
    if (request->options.beams > 1) CM3_TRY(cm3_beam_open(request));
    cm3_stream *reader = shares ? &request->prompt_stream : &request->candidates[0].conditional;
    CM3_TRY(copy_ids(context, &reader->pending, &request->prompt_ids));
    size_t events = cm3_request_events(request->total_tokens);
    return cm3_events_reserve(&request->events, events);
}

cm3_status cm3_request_open(cm3_request *request, const cm3_vocabulary *vocabulary) {
    uint64_t start = cm3_clock_ns();
    cm3_status status = tokenise(request, vocabulary);
    request->timings.tokenize = cm3_clock_since(start);
    return status == CM3_OK ? open_candidates(request, vocabulary) : status;
}
