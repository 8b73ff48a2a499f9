/*
 * The engine's loop. It lives on the compute thread as a task that asks to be run again while there is work. A step
 * gathers the pending tokens of all streams of all requests into one batch, runs the model once, and gives each
 * candidate its next token. Requests that compute in another type form a batch of their own.
 */
#include "generate/engine.h"

#include <string.h>

#include "base/clock.h"
#include "base/status.h"

/** One batch: the streams that take part, and what the forward pass is told of them. */
typedef struct cm3_batch {
    cm3_stream **streams;
    cm3_sequence *sequences;
    size_t stream_count, stream_capacity, sequence_capacity;
    cm3_ids ids, positions, logit_rows;
} cm3_batch;

struct cm3_engine {
    cm3_context *context;
    cm3_model *model; /**< not held: the model takes the engine down when it ends */
    pthread_mutex_t lock;
    cm3_request *waiting; /**< under the lock: newly submitted */
    bool posted;          /**< under the lock: the task is queued or running */
    atomic_int interrupt;
    /* the rest is touched on the compute thread only */
    cm3_request *running;
    cm3_graph *graphs[2]; /**< f32, bf16; made when needed */
    cm3_vocabulary vocabulary;
    cm3_batch batch;
    cm3_sampler_scratch scratch;
    float *mixed; /**< [vocab_size]: logits after guidance */
};

static void engine_destroy(void *pointer) {
    cm3_engine *engine = pointer;
    cm3_context *context = engine->context;
    for (int i = 0; i < 2; i++) cm3_graph_destroy(engine->graphs[i]);
    cm3_free(context, engine->vocabulary.kind);
    cm3_free(context, engine->batch.streams);
    cm3_free(context, engine->batch.sequences);
    cm3_ids_clear(context, &engine->batch.ids);
    cm3_ids_clear(context, &engine->batch.positions);
    cm3_ids_clear(context, &engine->batch.logit_rows);
    cm3_free(context, engine->scratch.order);
    cm3_free(context, engine->scratch.values);
    cm3_free(context, engine->mixed);
    pthread_mutex_destroy(&engine->lock);
    cm3_free(context, engine);
}

static cm3_status engine_create(cm3_model *model, cm3_engine **out) {
    cm3_engine *engine = cm3_calloc(model->context, 1, sizeof *engine);
    if (!engine) return cm3_fail_memory(model->context, sizeof *engine, "engine");
    engine->context = model->context;
    engine->model = model;
    if (pthread_mutex_init(&engine->lock, NULL)) {
        cm3_free(model->context, engine);
        return cm3_fail(model->context, CM3_ERROR_THREAD, "a lock could not be made");
    }
    size_t vocab = (size_t)model->lm->config.vocab_size;
    engine->scratch.order = cm3_calloc(model->context, vocab, sizeof(int32_t));
    engine->scratch.values = cm3_calloc(model->context, vocab, 2 * sizeof(float));
    engine->mixed = cm3_calloc(model->context, vocab, sizeof(float));
    cm3_status status = cm3_vocabulary_create(model, &engine->vocabulary);
    if (status == CM3_OK && (!engine->scratch.order || !engine->scratch.values || !engine->mixed)) {
        status = cm3_fail_memory(model->context, vocab * 16, "engine");
    }
    if (status != CM3_OK) {
        engine_destroy(engine);
        return status;
    }
    *out = engine;
    return CM3_OK;
}

cm3_status cm3_engine_get(cm3_model *model, cm3_engine **engine) {
    pthread_mutex_lock(&model->engine_lock);
    cm3_status status = CM3_OK;
    if (!model->engine) {
        cm3_engine *made = NULL;
        status = engine_create(model, &made);
        model->engine = made;
        model->engine_destroy = engine_destroy;
    }
    *engine = model->engine;
    pthread_mutex_unlock(&model->engine_lock);
    return status;
}

void cm3_engine_interrupt(cm3_engine *engine) {
    atomic_store(&engine->interrupt, 1);
}

/* --- a request's beginning and end ----------------------------------------------------------------------------------
 */

/** The last thing the engine does with a request: after this it may be freed at any moment. */
static void finish(cm3_request *request, cm3_status status) {
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
        candidate->conditional.cache = candidate->unconditional.cache = NULL;
    }
    atomic_store(&request->finished, 1);
    cm3_events_close(&request->events);
}

/** Ends all candidates; what cannot be told any more (memory) is let go. */
static void end_all(cm3_request *request, cm3_status why) {
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

static cm3_status too_long(const cm3_request *request, size_t needed) {
    return cm3_fail(
        request->context, CM3_ERROR_TOO_LONG,
        "the prompt has %zu tokens; with what is to be generated that makes %zu, and the model's context has %d",
        request->prompt_ids.count, needed, request->model->lm->config.max_positions);
}

/** Tokens of the prompt and the room they leave. Runs on the compute thread: pictures in the prompt are encoded here.
 */
static cm3_status tokenise(cm3_engine *engine, cm3_request *request) {
    const cm3_tokenizer *tokenizer = request->model->tokenizer;
    cm3_encoder encoder = {.context = request->context,
                           .bpe = tokenizer->bpe,
                           .special = &tokenizer->special,
                           .vq = tokenizer->vq,
                           .encode_flags = request->options.encode_flags};
    bool image = request->options.modality == CM3_MODALITY_IMAGE;
    CM3_TRY(cm3_prompt_tokens(&encoder, request->prompt, image, &request->prompt_ids));
    size_t context = (size_t)request->model->lm->config.max_positions, prompt = request->prompt_ids.count;
    size_t tokens = (size_t)engine->vocabulary.image_tokens;
    if (image ? prompt + tokens > context : prompt >= context) return too_long(request, prompt + (image ? tokens : 1));
    request->capacity = (int64_t)(image ? prompt + tokens : context);
    if (!image && request->options.max_tokens) {
        size_t wanted = prompt + (size_t)request->options.max_tokens +
                        (request->options.modality == CM3_MODALITY_INTERLEAVED ? tokens + 2 : 0);
        if (wanted < context) request->capacity = (int64_t)wanted;
    }
    request->total_tokens =
        (uint64_t)request->options.candidates * (image                         ? tokens
                                                 : request->options.max_tokens ? (uint64_t)request->options.max_tokens
                                                                               : (uint64_t)(context - prompt));
    request->timings.prompt_tokens = prompt;
    if (request->options.modality != CM3_MODALITY_TEXT && request->options.guidance_scale != 1) {
        CM3_TRY(cm3_unconditional_tokens(&encoder, &request->unconditional_ids));
    }
    return CM3_OK;
}

static cm3_status copy_ids(cm3_context *context, cm3_ids *to, const cm3_ids *from) {
    for (size_t i = 0; i < from->count; i++) CM3_TRY(cm3_ids_push(context, to, from->ids[i]));
    return CM3_OK;
}

/** Caches and first tokens. Only candidate 0 is fed the prompt; the others copy its cache afterwards. */
static cm3_status open_candidates(cm3_request *request) {
    const cm3_lm_config *config = &request->model->lm->config;
    cm3_context *context = request->context;
    cm3_dtype kv = request->options.compute == CM3_COMPUTE_BF16 ? CM3_BF16 : CM3_F32;
    request->candidates = cm3_calloc(context, (size_t)request->options.candidates, sizeof *request->candidates);
    if (!request->candidates) return cm3_fail_memory(context, 0, "candidates");
    request->active = request->options.candidates;
    for (int32_t i = 0; i < request->options.candidates; i++) request->candidates[i].number = i;
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        candidate->in_image = request->options.modality == CM3_MODALITY_IMAGE;
        candidate->prompt_count = request->prompt_ids.count;
        CM3_TRY(copy_ids(context, &candidate->history, &request->prompt_ids));
        CM3_TRY(cm3_cache_create(context, config, kv, request->capacity, &candidate->conditional.cache));
        if (request->unconditional_ids.count) {
            int64_t room = request->capacity + (int64_t)request->unconditional_ids.count;
            CM3_TRY(cm3_cache_create(context, config, kv, room, &candidate->unconditional.cache));
        }
    }
    cm3_candidate *first = &request->candidates[0];
    CM3_TRY(copy_ids(context, &first->conditional.pending, &request->prompt_ids));
    if (first->in_image) CM3_TRY(copy_ids(context, &first->unconditional.pending, &request->unconditional_ids));
    return CM3_OK;
}

static cm3_status begin(cm3_engine *engine, cm3_request *request) {
    request->timings.queued = cm3_clock_since(request->started_at);
    CM3_TRY(tokenise(engine, request));
    return open_candidates(request);
}

/* --- the batch ------------------------------------------------------------------------------------------------------
 */

static cm3_status add_stream(cm3_engine *engine, cm3_stream *stream) {
    cm3_batch *batch = &engine->batch;
    cm3_context *context = engine->context;
    if (!stream->cache || !stream->pending.count) return CM3_OK;
    CM3_TRY(cm3_grow(context, &batch->streams, &batch->stream_capacity, batch->stream_count + 1, sizeof *batch->streams,
                     "batch"));
    CM3_TRY(cm3_grow(context, &batch->sequences, &batch->sequence_capacity, batch->stream_count + 1,
                     sizeof *batch->sequences, "batch"));
    batch->streams[batch->stream_count] = stream;
    batch->sequences[batch->stream_count] =
        (cm3_sequence){stream->cache, (int64_t)batch->ids.count, (int64_t)stream->pending.count};
    batch->stream_count++;
    for (size_t i = 0; i < stream->pending.count; i++) {
        CM3_TRY(cm3_ids_push(context, &batch->ids, stream->pending.ids[i]));
        CM3_TRY(cm3_ids_push(context, &batch->positions, (int32_t)(stream->cache->length + (int64_t)i)));
    }
    return cm3_ids_push(context, &batch->logit_rows, (int32_t)batch->ids.count - 1);
}

static cm3_status gather(cm3_engine *engine, cm3_compute compute) {
    cm3_batch *batch = &engine->batch;
    batch->stream_count = batch->ids.count = batch->positions.count = batch->logit_rows.count = 0;
    for (cm3_request *request = engine->running; request; request = request->next) {
        if (request->options.compute != compute) continue;
        for (int32_t i = 0; i < request->options.candidates; i++) {
            cm3_candidate *candidate = &request->candidates[i];
            if (candidate->ended) continue;
            CM3_TRY(add_stream(engine, &candidate->conditional));
            CM3_TRY(add_stream(engine, &candidate->unconditional));
        }
    }
    return CM3_OK;
}

static cm3_status forward(cm3_engine *engine, cm3_compute compute) {
    cm3_graph **graph = &engine->graphs[compute == CM3_COMPUTE_BF16];
    if (!*graph) {
        CM3_TRY(cm3_graph_create(engine->context, &(cm3_graph_options){.compute = compute}, graph));
        (*graph)->cancel = &engine->interrupt;
    }
    cm3_graph_reset(*graph);
    const cm3_batch *batch = &engine->batch;
    cm3_lm_batch lm_batch = {
        .rows = (int64_t)batch->ids.count,
        .ids = batch->ids.ids,
        .positions = batch->positions.ids,
        .plan = {.sequences = batch->sequences, .sequence_count = (int64_t)batch->stream_count},
        .logit_rows = batch->logit_rows.ids,
        .logit_count = (int64_t)batch->logit_rows.count,
    };
    cm3_tensor *logits = cm3_lm_forward(*graph, engine->model->lm, &lm_batch);
    if (!logits) return cm3_graph_status(*graph);
    for (size_t i = 0; i < batch->stream_count; i++) {
        cm3_stream *stream = batch->streams[i];
        stream->cache->length += (int64_t)stream->pending.count;
        stream->pending.count = 0;
        stream->logits = cm3_f32(logits) + (int64_t)i * engine->vocabulary.size;
    }
    return CM3_OK;
}

/* --- one token for each candidate -----------------------------------------------------------------------------------
 */

/** Guidance: u + s (c - u) (CM3Leon eq. 2); text goes unguided. */
static void mix(cm3_engine *engine, const cm3_request *request, const cm3_candidate *candidate) {
    const float *c = candidate->conditional.logits, *u = candidate->unconditional.logits;
    float scale = request->options.guidance_scale;
    bool guided = candidate->in_image && candidate->unconditional.cache && scale != 1;
    for (int32_t i = 0; i < engine->vocabulary.size; i++)
        engine->mixed[i] = guided ? u[i] + scale * (c[i] - u[i]) : c[i];
}

static cm3_status next_token(cm3_engine *engine, cm3_request *request, cm3_candidate *candidate) {
    int32_t token = cm3_candidate_forced(candidate, &engine->vocabulary);
    if (token < 0) {
        int64_t room = request->capacity - (int64_t)candidate->history.count;
        mix(engine, request, candidate);
        cm3_candidate_mask(request, candidate, &engine->vocabulary, room, engine->mixed);
        cm3_sampler_step step = {
            .struct_size = sizeof step,
            .logits = engine->mixed,
            .vocab_size = engine->vocabulary.size,
            .history = candidate->history.ids,
            .history_count = candidate->history.count,
            .prompt_count = candidate->prompt_count,
            .candidate = candidate->number,
            .modality = candidate->in_image ? CM3_MODALITY_IMAGE : CM3_MODALITY_TEXT,
        };
        uint32_t position = (uint32_t)(candidate->history.count - candidate->prompt_count);
        CM3_TRY(cm3_sampler_draw(request->sampler, &step, request->options.seed, position, &engine->scratch, &token));
    }
    return cm3_candidate_take(request, candidate, &engine->vocabulary, token);
}

/** After the prompt was read once: the other candidates get copies of what candidate 0 has. */
static void share_prompt(cm3_request *request) {
    cm3_candidate *first = &request->candidates[0];
    for (int32_t i = 1; i < request->options.candidates; i++) {
        cm3_candidate *other = &request->candidates[i];
        cm3_cache_copy(other->conditional.cache, first->conditional.cache);
        other->conditional.logits = first->conditional.logits;
        if (!other->unconditional.cache) continue;
        cm3_cache_copy(other->unconditional.cache, first->unconditional.cache);
        other->unconditional.logits = first->unconditional.logits;
    }
}

static cm3_status advance(cm3_engine *engine, cm3_request *request, double seconds) {
    bool prefill = !request->started;
    *(prefill ? &request->timings.prefill : &request->timings.decode) += seconds;
    if (prefill) share_prompt(request);
    request->started = true;
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        /* Several pictures may be decoded here: a cancel does not wait for all of them. */
        if (atomic_load(&request->cancelled)) return CM3_ERROR_CANCELLED;
        if (!candidate->ended) CM3_TRY(next_token(engine, request, candidate));
    }
    cm3_event event = {.kind = CM3_EVENT_PROGRESS,
                       .done = request->timings.new_tokens,
                       .total = request->total_tokens,
                       .seconds = cm3_clock_since(request->started_at)};
    if (event.total < event.done || !request->active) event.total = event.done;
    return cm3_events_push(&request->events, &event);
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static void take_in(cm3_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    cm3_request *list = engine->waiting;
    engine->waiting = NULL;
    pthread_mutex_unlock(&engine->lock);
    while (list) {
        cm3_request *request = list;
        list = request->next;
        request->next = NULL;
        cm3_status status = atomic_load(&request->cancelled) ? CM3_ERROR_CANCELLED : begin(engine, request);
        if (status != CM3_OK) {
            end_all(request, status);
            finish(request, status);
            continue;
        }
        cm3_request **last = &engine->running;
        while (*last) last = &(*last)->next;
        *last = request;
    }
}

/** Lets go of requests that are through, cancelled, or failed in the step just made. */
static void let_go(cm3_engine *engine, cm3_status step_status, cm3_compute compute) {
    for (cm3_request **place = &engine->running; *place;) {
        cm3_request *request = *place;
        cm3_status status = CM3_OK;
        bool hit = step_status != CM3_OK && request->options.compute == compute;
        if (hit) status = step_status;
        if (atomic_load(&request->cancelled)) status = CM3_ERROR_CANCELLED;
        if (status == CM3_OK && request->active) {
            place = &request->next;
            continue;
        }
        *place = request->next;
        request->next = NULL;
        if (status == CM3_ERROR_CANCELLED && !request->active) status = CM3_OK; /* it was through before the cancel */
        end_all(request, status);
        finish(request, status);
    }
}

static void advance_all(cm3_engine *engine, cm3_compute compute, double seconds) {
    for (cm3_request **place = &engine->running; *place;) {
        cm3_request *request = *place;
        cm3_status status = request->options.compute == compute ? advance(engine, request, seconds) : CM3_OK;
        if (status == CM3_OK) {
            place = &request->next;
            continue;
        }
        *place = request->next;
        request->next = NULL;
        end_all(request, status);
        finish(request, status);
    }
}

static void step(cm3_engine *engine, cm3_compute compute) {
    uint64_t start = cm3_clock_ns();
    cm3_status status = gather(engine, compute);
    if (status == CM3_OK && !engine->batch.stream_count) return;
    if (status == CM3_OK) status = forward(engine, compute);
    if (status == CM3_ERROR_CANCELLED) { /* one of them: the others' step is done again */
        let_go(engine, CM3_OK, compute);
        return;
    }
    if (status == CM3_OK) advance_all(engine, compute, cm3_clock_since(start));
    let_go(engine, status, compute);
}

/** One turn. True while there is work. */
static bool turn(void *arg) {
    cm3_engine *engine = arg;
    atomic_store(&engine->interrupt, 0);
    take_in(engine);
    let_go(engine, CM3_OK, CM3_COMPUTE_AUTO);
    step(engine, CM3_COMPUTE_F32);
    step(engine, CM3_COMPUTE_BF16);
    pthread_mutex_lock(&engine->lock);
    bool more = engine->running || engine->waiting;
    engine->posted = more;
    pthread_mutex_unlock(&engine->lock);
    return more;
}

cm3_status cm3_engine_submit(cm3_engine *engine, cm3_request *request) {
    pthread_mutex_lock(&engine->lock);
    cm3_request **last = &engine->waiting;
    while (*last) last = &(*last)->next;
    *last = request;
    /* Posted under the lock: no other request may come to wait for a task that then cannot be posted. */
    cm3_status status = engine->posted ? CM3_OK : cm3_context_post(engine->context, turn, engine);
    engine->posted = engine->posted || status == CM3_OK;
    if (status != CM3_OK) *last = NULL;
    pthread_mutex_unlock(&engine->lock);
    return status;
}
