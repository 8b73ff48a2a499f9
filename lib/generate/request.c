/* Requests as the host sees them: start, poll, wait, cancel, results. */
#include "generate/request.h"

#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/random.h"
#include "document/segments.h"
#include "generate/engine.h"
#include "generate/ranking.h"
#include "model/clip.h"

static const cm3_generate_options defaults = {
    .struct_size = sizeof defaults,
    .modality = CM3_MODALITY_IMAGE,
    .candidates = 1,
    .guidance_scale = 1.5f,
    .temperature = 0.3f,
    .top_p = 0.9f,
    .repetition_penalty = 1,
    .compute = CM3_COMPUTE_AUTO,
    .encode_flags = CM3_ENCODE_PLAIN,
    .image_guidance_scale = 1.2f,
    .kv = CM3_KV_AUTO,
    .contrast_k = 1,
};

static bool has_both_towers(const cm3_model *encoder) {
    return encoder->clip && encoder->clip->config.text.present && encoder->clip->config.vision.present &&
           encoder->tokenizer->bpe;
}

void cm3_generate_options_init(cm3_generate_options *options) {
    if (options) *options = defaults;
}

cm3_status cm3_generate_options_for(const cm3_model *model, cm3_modality modality, cm3_generate_options *options) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    if (!options) {
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_generate_options_for: options is NULL");
    }
    *options = defaults;
    options->modality = modality;
    if (model->tokenizer->special.bos < 0) return CM3_OK;
    options->guidance_scale = 3.0f;
    options->temperature = 0.7f;
    options->top_p = 0.9f;
    if (modality != CM3_MODALITY_IMAGE) options->repetition_penalty = 1.2f;
    return CM3_OK;
}

/** What Meta's masks are for the model's family: the tokens of pictures must be known. */
static cm3_status check_pictures(cm3_model *model, const cm3_generate_options *o) {
    const cm3_vq *vq = model->tokenizer->vq;
    if (o->modality == CM3_MODALITY_IMAGE && !vq) {
        return cm3_fail(model->context, CM3_ERROR_UNSUPPORTED, "the model has no image tokenizer to draw with");
    }
    bool draws = o->modality == CM3_MODALITY_IMAGE || o->modality == CM3_MODALITY_INTERLEAVED ||
                 o->modality == CM3_MODALITY_INFILL;
    if (draws && vq && !vq->has_decoder && !o->codes_only) {
        return cm3_fail(model->context, CM3_ERROR_UNSUPPORTED,
                        "the model's image tokenizer has no decoder: it reads pictures and draws none");
    }
    return CM3_OK;
}

static cm3_status check_options(cm3_model *model, const cm3_generate_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->modality >= CM3_MODALITY_IMAGE && o->modality <= CM3_MODALITY_INFILL, "modality is none of the five"},
        {o->candidates >= 1 && o->candidates <= 64, "candidates must be 1..64"},
        {o->guidance_scale >= 0 && o->guidance_scale <= 100, "guidance_scale must be 0..100"},
        {o->temperature >= 0 && o->temperature <= 100, "temperature must be 0..100"},
        {o->top_k >= 0, "top_k must be 0 or more"},
        {o->top_p > 0 && o->top_p <= 1, "top_p must be above 0 and at most 1"},
        {o->repetition_penalty > 0 && o->repetition_penalty <= 1e6f, "repetition_penalty must be above 0"},
        {o->image_guidance_scale >= 0 && o->image_guidance_scale <= 100, "image_guidance_scale must be 0..100"},
        {o->max_tokens >= 0, "max_tokens must be 0 or more"},
        {o->min_tokens >= 0 && (!o->max_tokens || o->min_tokens <= o->max_tokens),
         "min_tokens must be 0 or more, and at most max_tokens"},
        {o->stop_ids || !o->stop_count, "stop_ids is NULL"},
        {o->kv >= CM3_KV_AUTO && o->kv <= CM3_KV_INT8, "kv is none of auto, f32, bf16, int8"},
        {o->preview_rows >= 0, "preview_rows must be 0 or more"},
        {o->contrast_alpha >= 0 && o->contrast_alpha <= 1, "contrast_alpha must be 0..1"},
        {o->contrast_k >= 1, "contrast_k must be 1 or more"},
        {o->best >= 0 && o->best <= o->candidates, "best must be 0 or more, and at most candidates"},
        {!o->encoder || (o->best && o->modality == CM3_MODALITY_IMAGE && !o->codes_only),
         "encoder goes with best, the modality image, and pixels"},
        {!o->encoder || o->encoder->context == model->context, "encoder is a model of another context"},
        {!o->encoder || has_both_towers(o->encoder), "encoder has not both a text and an image tower"},
        {o->beams >= 0 && o->beams <= 64, "beams must be 0..64"},
        {o->beams < 2 || (o->modality == CM3_MODALITY_TEXT && o->candidates <= o->beams && !o->best),
         "beams goes with the modality text, at most so many candidates, and without best"},
        {!o->picture_prompt || o->modality == CM3_MODALITY_IMAGE, "picture_prompt goes with the modality image"},
        {o->contrast_candidates >= 0 && o->contrast_candidates <= o->candidates,
         "contrast_candidates must be 0 or more, and at most candidates"},
        {o->compute >= CM3_COMPUTE_AUTO && o->compute <= CM3_COMPUTE_BF16, "compute is none of auto, f32, bf16"},
        {(o->encode_flags & ~(uint32_t)(CM3_ENCODE_SPECIAL | CM3_ENCODE_TEMPLATE)) == 0,
         "encode_flags has unknown bits"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits)
            return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "generate options: %s", rules[i].rule);
    }
    if (!model->lm || !model->tokenizer->bpe) {
        return cm3_fail(model->context, CM3_ERROR_UNSUPPORTED, "the model has no %s",
                        model->lm ? "text tokenizer" : "language model");
    }
    return check_pictures(model, o);
}

cm3_status cm3_request_options(cm3_model *model, const cm3_generate_options *options, cm3_generate_options *own) {
    *own = defaults;
    CM3_TRY(cm3_options_read(model->context, own, sizeof *own, options, "cm3_generate_options"));
    CM3_TRY(check_options(model, own));
    if (own->beams > 1) { /* all are candidates, of which the best are told */
        own->best = own->candidates;
        own->candidates = own->beams;
    }
    if (own->compute == CM3_COMPUTE_AUTO) {
        bool bf16 = cm3_context_cpu(model->context) >= CM3_CPU_AVX512_BF16;
        own->compute = bf16 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    }
    if (own->kv == CM3_KV_AUTO) own->kv = own->compute == CM3_COMPUTE_BF16 ? CM3_KV_BF16 : CM3_KV_F32;
    return CM3_OK;
}

static void release(cm3_request *request) {
    cm3_context *context = request->context;
    for (int32_t i = 0; i < request->options.candidates && request->candidates; i++) {
        cm3_candidate_clear(request, &request->candidates[i]);
    }
    cm3_free(context, request->candidates);
    cm3_cache_destroy(context, request->prompt_stream.cache);
    cm3_ids_clear(context, &request->prompt_stream.pending);
    cm3_ids_clear(context, &request->prompt_ids);
    cm3_ids_clear(context, &request->unconditional_ids);
    cm3_ids_clear(context, &request->picture_prompt_ids);
    cm3_ids_clear(context, &request->stops);
    cm3_free(context, request->holes.codes);
    cm3_free(context, request->holes.hidden);
    cm3_free(context, request->beam);
    cm3_free(context, request->ranks);
    cm3_free(context, request->caption);
    cm3_model_destroy(request->options.encoder);
    cm3_document_destroy(request->prompt);
    cm3_document_destroy(request->picture_prompt);
    cm3_sampler_destroy(request->sampler);
    cm3_model *model = request->model;
    cm3_free(context, request);
    cm3_model_destroy(model);
}

static cm3_status prepare(cm3_request *request, const cm3_document *prompt) {
    cm3_generate_options *o = &request->options;
    while (!o->seed) o->seed = cm3_random_seed();
    if (o->sampler) {
        request->sampler = (cm3_sampler *)(uintptr_t)o->sampler;
        cm3_sampler_retain(request->sampler);
    } else {
        CM3_TRY(cm3_sampler_from_options(request->context, o, &request->sampler));
    }
    for (size_t i = 0; i < o->stop_count; i++) CM3_TRY(cm3_ids_push(request->context, &request->stops, o->stop_ids[i]));
    o->stop_ids = NULL; /* the caller's need not live on */
    if (o->picture_prompt) CM3_TRY(cm3_document_copy(o->picture_prompt, &request->picture_prompt));
    o->picture_prompt = NULL; /* likewise */
    if (o->encoder) CM3_TRY(cm3_rank_caption(request, prompt));
    CM3_TRY(cm3_document_copy(prompt, &request->prompt));
    return cm3_engine_get(request->model, &request->engine);
}

cm3_status cm3_request_start(cm3_model *model, const cm3_document *prompt, const cm3_generate_options *options,
                             cm3_request **request) {
    if (request) *request = NULL;
    if (!model || !prompt || !request) {
        return cm3_fail(model ? model->context : NULL, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_request_start: an argument is NULL");
    }
    cm3_generate_options own;
    CM3_TRY(cm3_context_refuse_fork(model->context));
    CM3_TRY(cm3_request_options(model, options, &own));
    cm3_request *r = cm3_calloc(model->context, 1, sizeof *r);
    if (!r) return cm3_fail_memory(model->context, sizeof *r, "request");
    r->context = model->context;
    r->options = own;
    if (own.encoder) cm3_model_retain(own.encoder);
    r->started_at = cm3_clock_ns();
    atomic_init(&r->cancelled, 0);
    atomic_init(&r->finished, 0);
    cm3_status status = cm3_events_init(r->context, &r->events);
    if (status != CM3_OK) {
        cm3_model_destroy(own.encoder);
        cm3_free(model->context, r);
        return status;
    }
    r->model = model;
    cm3_model_retain(model);
    status = prepare(r, prompt);
    if (status == CM3_OK) status = cm3_engine_submit(r->engine, r);
    if (status != CM3_OK) {
        cm3_events_clear(&r->events);
        release(r);
        return status;
    }
    *request = r;
    return CM3_OK;
}

/** Hands one event to the host; a callback that wants to stop cancels. */
static void deliver(cm3_request *request, cm3_event_node *node, cm3_event_fn on_event, void *user) {
    if (on_event && on_event(user, &node->event)) {
        request->refused = true;
        cm3_request_cancel(request);
    }
    cm3_event_free(&request->events, node);
}

/** How it ended, once all events are delivered. What a callback stopped is CANCELLED, even where the engine had run
 * ahead of its events and was through: a host need not know who was faster. */
static cm3_status outcome(cm3_request *request) {
    if (request->refused && request->status == CM3_OK) {
        request->status = CM3_ERROR_CANCELLED;
        snprintf(request->message, sizeof request->message, "cancelled");
    }
    return request->status;
}

/** What the last event pointed to is used no more. */
static void forget(cm3_request *request) {
    cm3_event_free(&request->events, request->told);
    request->told = NULL;
}

static uint64_t nanoseconds(uint64_t us) {
    return us > UINT64_MAX / 1000 ? UINT64_MAX : us * 1000;
}

cm3_status cm3_request_poll(cm3_request *request, uint64_t budget_us, cm3_event_fn on_event, void *user, int *done) {
    if (done) *done = 0;
    if (!request) return CM3_ERROR_INVALID_ARGUMENT;
    if (cm3_context_forked(request->context)) {
        if (done) *done = 1; /* nothing more will come */
        return cm3_context_refuse_fork(request->context);
    }
    bool closed = false, inside = cm3_context_inline(request->context);
    forget(request);
    if (inside && !cm3_request_done(request)) cm3_context_work(request->context, budget_us);
    uint64_t timeout = inside ? 0 : nanoseconds(budget_us);
    cm3_event_node *node;
    while ((node = cm3_events_pop(&request->events, timeout, &closed))) {
        deliver(request, node, on_event, user);
        timeout = 0; /* it waits for the first only */
    }
    if (!closed) return CM3_OK;
    if (done) *done = 1;
    return outcome(request);
}

cm3_status cm3_request_next_event(cm3_request *request, uint64_t budget_us, cm3_event *event, int *done) {
    static const cm3_event none = {.struct_size = sizeof none, .kind = CM3_EVENT_NONE};
    if (done) *done = 0;
    if (!request) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(cm3_options_write(request->context, event, &none, sizeof none, "cm3_event"));
    if (cm3_context_forked(request->context)) {
        if (done) *done = 1; /* nothing more will come */
        return cm3_context_refuse_fork(request->context);
    }
    forget(request);
    bool closed = false, inside = cm3_context_inline(request->context);
    cm3_event_node *node = cm3_events_pop(&request->events, inside ? 0 : nanoseconds(budget_us), &closed);
    if (!node && !closed && inside && budget_us) {
        cm3_context_work(request->context, budget_us);
        node = cm3_events_pop(&request->events, 0, &closed);
    }
    request->told = node;
    if (node) return cm3_options_write(request->context, event, &node->event, sizeof node->event, "cm3_event");
    if (!closed) return CM3_OK;
    if (done) *done = 1;
    return outcome(request);
}

cm3_status cm3_request_wait(cm3_request *request, cm3_event_fn on_event, void *user) {
    if (!request) return CM3_ERROR_INVALID_ARGUMENT;
    int done = 0;
    cm3_status status = CM3_OK;
    while (!done) status = cm3_request_poll(request, 100000, on_event, user, &done);
    return status;
}

void cm3_request_cancel(cm3_request *request) {
    if (!request || cm3_request_done(request)) return;
    /* The step that runs is the other requests' too and is made again for them: it is broken off once, not at each
     * call. */
    if (!atomic_exchange(&request->cancelled, 1)) cm3_engine_interrupt(request->engine);
}

int cm3_request_done(const cm3_request *request) {
    return !request || atomic_load(&request->finished) || cm3_context_forked(request->context);
}

/** That its results are there to be read. BUSY while it is computing. */
static cm3_status ended(const cm3_request *request) {
    if (atomic_load(&request->finished)) return CM3_OK;
    CM3_TRY(cm3_context_refuse_fork(request->context));
    return cm3_fail(request->context, CM3_ERROR_BUSY, "the request is still being computed");
}

cm3_status cm3_request_seed(const cm3_request *request, uint64_t *seed) {
    if (seed) *seed = 0;
    if (!request || !seed) return CM3_ERROR_INVALID_ARGUMENT;
    *seed = request->options.seed;
    return CM3_OK;
}

static cm3_status add_pieces(cm3_document *document, const cm3_candidate *candidate) {
    for (size_t i = 0; i < candidate->piece_count; i++) {
        const cm3_piece *piece = &candidate->pieces[i];
        if (piece->text) {
            CM3_TRY(cm3_document_add_text(document, piece->text, piece->text_size));
        } else {
            CM3_TRY(cm3_document_add_picture(document, piece->image, piece->codes, piece->code_count));
        }
    }
    return CM3_OK;
}

cm3_status cm3_request_result(const cm3_request *request, cm3_document **result) {
    if (result) *result = NULL;
    if (!request) return CM3_ERROR_INVALID_ARGUMENT;
    if (!result) return cm3_fail(request->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_request_result: result is NULL");
    CM3_TRY(ended(request));
    CM3_TRY(cm3_document_create(request->context, result));
    cm3_status status = CM3_OK;
    int32_t count = request->ranks ? request->options.best : request->options.candidates;
    for (int32_t i = 0; i < count && request->candidates && status == CM3_OK; i++) {
        if (i) status = cm3_document_add_break(*result);
        int32_t number = request->ranks ? request->ranks[i].candidate : i;
        if (status == CM3_OK) status = add_pieces(*result, &request->candidates[number]);
    }
    if (status != CM3_OK) {
        cm3_document_destroy(*result);
        *result = NULL;
    }
    return status;
}

cm3_status cm3_request_score(const cm3_request *request, int32_t place, int32_t *candidate, double *score) {
    if (!request) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(ended(request));
    if (!request->ranks || place < 0 || place >= request->options.best) {
        return cm3_fail(request->context, CM3_ERROR_NOT_FOUND, "cm3_request_score: there is no place %d", place);
    }
    /* Of beams, candidates are counted as they are told. */
    if (candidate) *candidate = request->candidates[request->ranks[place].candidate].number;
    if (score) *score = request->ranks[place].score;
    return CM3_OK;
}

const char *cm3_request_message(const cm3_request *request) {
    if (!request) return "";
    if (atomic_load(&request->finished)) return request->message;
    return cm3_context_forked(request->context) ? "the process was forked while the request was being computed" : "";
}

cm3_status cm3_request_timings(const cm3_request *request, cm3_timings *timings) {
    if (!request) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(ended(request));
    return cm3_options_write(request->context, timings, &request->timings, sizeof request->timings, "cm3_timings");
}

void cm3_request_destroy(cm3_request *request) {
    if (!request || cm3_context_forked(request->context)) return;
    cm3_request_cancel(request);
    forget(request);
    /* With threads = 0 the engine's part is done here; else its thread ends it within a layer. */
    bool closed = false, inside = cm3_context_inline(request->context);
    while (!closed) {
        if (inside && !cm3_request_done(request)) cm3_context_work(request->context, 0);
        cm3_event_node *node = cm3_events_pop(&request->events, inside ? 0 : 100000000, &closed);
        cm3_event_free(&request->events, node);
    }
    cm3_events_clear(&request->events);
    release(request);
}

cm3_status cm3_generate(cm3_model *model, const cm3_document *prompt, const cm3_generate_options *options,
                        cm3_event_fn on_event, void *user, cm3_document **result) {
    if (result) *result = NULL;
    cm3_request *request;
    CM3_TRY(cm3_request_start(model, prompt, options, &request));
    cm3_status status = cm3_request_wait(request, on_event, user);
    if (status != CM3_OK) cm3_fail(model->context, status, "%s", cm3_request_message(request));
    if (result && (status == CM3_OK || status == CM3_ERROR_CANCELLED)) {
        cm3_status made = cm3_request_result(request, result);
        if (status == CM3_OK) status = made;
    }
    cm3_request_destroy(request);
    return status;
}
