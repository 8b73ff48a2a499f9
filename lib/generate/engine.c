/*
 * The engine's loop. It lives on the compute thread as a task that asks to be run again while there is work. A step
 * gathers the pending tokens of all streams of all requests into one batch, runs the model once, and gives each
 * candidate its next token. Requests that compute in another type form a batch of their own.
 */
#include "generate/engine.h"

#include <math.h>
#include <string.h>

#include "base/clock.h"
#include "base/status.h"
#include "generate/beam.h"
#include "generate/demand.h"
#include "generate/mixing.h"
#include "generate/preview.h"

/* Scratch beyond this is given back when there is nothing to do. */
#define IDLE_BYTES ((size_t)64 << 20)

/** What is needed to compute in one type. */
typedef struct cm3_lane {
    cm3_graph *graph;     /**< all passes of the model and of the image tokenizer */
    cm3_graph *measuring; /**< says beforehand what they take */
} cm3_lane;

/** Where a step was stopped, by a poll's budget, to go on in the next turn. */
typedef enum cm3_halfway { CM3_HALFWAY_NOT, CM3_HALFWAY_PASS, CM3_HALFWAY_PICTURES } cm3_halfway;

struct cm3_engine {
    cm3_context *context;
    cm3_model *model; /**< not held: the model takes the engine down when it ends */
    pthread_mutex_t lock;
    cm3_request *waiting; /**< under the lock: newly submitted */
    bool posted;          /**< under the lock: the task is queued or running */
    atomic_int interrupt;
    /* the rest is touched on the compute thread only */
    cm3_request *running;
    cm3_lane lanes[2];      /**< f32, bf16; made when needed */
    cm3_previews *previews; /**< likewise; NULL, too, where it would gain nothing */
    cm3_vocabulary vocabulary;
    cm3_batch batch;
    bool images_only; /**< the step's logits are those of image codes */
    bool beside; /**< this thread works without its team, as previews are being decoded; a step that wants it clears
                    this */
    cm3_compute compute; /**< of the step at hand */
    cm3_halfway halfway;
    uint64_t step_ns; /**< what its pass took so far */
    cm3_sampler_scratch scratch;
    float *mixed; /**< [vocab_size]: logits after guidance */
    float *own;   /**< [vocab_size], behind it: the conditional stream's, of what may be said */
};

static void engine_destroy(void *pointer) {
    cm3_engine *engine = pointer;
    cm3_context *context = engine->context;
    cm3_previews_destroy(engine->previews);
    for (int i = 0; i < 2; i++) {
        cm3_graph_destroy(engine->lanes[i].graph);
        cm3_graph_destroy(engine->lanes[i].measuring);
    }
    cm3_free(context, engine->vocabulary.kind);
    cm3_batch_clear(context, &engine->batch);
    cm3_sampler_scratch_clear(context, &engine->scratch);
    cm3_free(context, engine->mixed);
    pthread_mutex_destroy(&engine->lock);
    cm3_free(context, engine);
}

static cm3_status engine_create(cm3_model *model, cm3_engine **out) {
    cm3_engine *engine = cm3_calloc(model->context, 1, sizeof *engine);
    if (!engine) return cm3_fail_memory(model->context, sizeof *engine, "engine");
    engine->context = model->context;
    engine->model = model;
    engine->compute = CM3_COMPUTE_F32;
    if (pthread_mutex_init(&engine->lock, NULL)) {
        cm3_free(model->context, engine);
        return cm3_fail(model->context, CM3_ERROR_THREAD, "a lock could not be made");
    }
    size_t vocab = (size_t)model->lm->config.vocab_size;
    engine->mixed = cm3_calloc(model->context, 2 * vocab, sizeof(float));
    engine->own = engine->mixed ? engine->mixed + vocab : NULL;
    cm3_status status = cm3_vocabulary_create(model, &engine->vocabulary);
    if (status == CM3_OK) {
        status = cm3_sampler_scratch_create(model->context, model->lm->config.vocab_size, &engine->scratch);
    }
    if (status == CM3_OK && !engine->mixed) status = cm3_fail_memory(model->context, vocab * sizeof(float), "engine");
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

/* --- memory of a step -----------------------------------------------------------------------------------------------
 */

static cm3_demand demand_of(const cm3_request *request) {
    return (cm3_demand){.prompt = (int64_t)request->prompt_ids.count,
                        .unconditional = (int64_t)request->unconditional_ids.count,
                        .pictures = request->picture_ids,
                        .capacity = request->capacity,
                        .candidates = request->options.candidates,
                        .modality = request->options.modality,
                        .started = request->started};
}

/** The lane's graphs; the measuring one is told of what runs beside. */
static cm3_status open_lane(cm3_engine *engine, cm3_compute compute, cm3_lane **out) {
    cm3_lane *lane = *out = &engine->lanes[compute == CM3_COMPUTE_BF16];
    if (!lane->graph) {
        CM3_TRY(cm3_graph_create(engine->context, &(cm3_graph_options){.compute = compute, .arena_block = 4096},
                                 &lane->graph));
        lane->graph->cancel = &engine->interrupt;
    }
    if (lane->measuring) return CM3_OK;
    return cm3_graph_create(engine->context,
                            &(cm3_graph_options){.compute = compute, .measure = true, .arena_block = 4096},
                            &lane->measuring);
}

/** Memory for all steps of the new request beside those that run: afterwards none is taken for a token. */
static cm3_status reserve(cm3_engine *engine, const cm3_request *request) {
    cm3_lane *lane;
    CM3_TRY(open_lane(engine, request->options.compute, &lane));
    size_t count = 1;
    for (const cm3_request *other = engine->running; other; other = other->next) count++;
    cm3_demand *demands = cm3_calloc(engine->context, count, sizeof *demands);
    if (!demands) return cm3_fail_memory(engine->context, count * sizeof *demands, "batch");
    demands[0] = demand_of(request);
    count = 1;
    for (const cm3_request *other = engine->running; other; other = other->next) {
        if (other->options.compute == request->options.compute) demands[count++] = demand_of(other);
    }
    cm3_scratch scratch;
    cm3_status status =
        cm3_demand_measure(engine->model, &engine->vocabulary, lane->measuring, demands, count, &scratch);
    cm3_free(engine->context, demands);
    if (status == CM3_OK) status = cm3_batch_reserve(engine->context, &engine->batch, scratch.streams, scratch.rows);
    return status == CM3_OK ? cm3_graph_reserve(lane->graph, scratch.arena, scratch.onednn) : status;
}

/** Its previews go beside the model, where they can. */
static cm3_status open_previews(cm3_engine *engine, cm3_request *request) {
    if (!cm3_has_previews(&request->options)) return CM3_OK;
    if (!engine->previews) CM3_TRY(cm3_previews_create(engine->model, &engine->previews));
    return engine->previews ? cm3_previews_join(engine->previews, request) : CM3_OK;
}

static cm3_status begin(cm3_engine *engine, cm3_request *request) {
    request->timings.queued = cm3_clock_since(request->started_at);
    CM3_TRY(cm3_request_open(request, &engine->vocabulary));
    CM3_TRY(open_previews(engine, request));
    return reserve(engine, request);
}

/* --- the batch ------------------------------------------------------------------------------------------------------
 */

/** Adds a request's streams; of a prompt at most `room` tokens, and guidance's beginning with the last of them, so that
 * all logits come in one step. What is left of the room. */
static int64_t gather_request(cm3_batch *batch, cm3_request *request, int64_t room, bool *images) {
    bool shares = request->prompt_stream.cache != NULL;
    request->in_step = request->started || room > 0;
    if (!request->in_step) return 0;
    if (!request->started) {
        cm3_stream *reader = shares ? &request->prompt_stream : &request->candidates[0].conditional;
        int64_t wanted = (int64_t)reader->pending.count;
        int64_t fed = cm3_batch_add(batch, reader, room);
        room -= fed;
        if (fed < wanted) return room;
    }
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        if (candidate->ended) continue;
        if (request->started) cm3_batch_add(batch, &candidate->conditional, INT64_MAX);
        if (!candidate->in_image && !candidate->closing && candidate->forced < 0) *images = false;
    }
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        if (!candidate->ended) cm3_batch_add(batch, &candidate->unconditional, INT64_MAX);
        if (!candidate->ended) cm3_batch_add(batch, &candidate->pictures, INT64_MAX);
    }
    return room;
}

static void gather(cm3_engine *engine, cm3_compute compute) {
    int64_t room = CM3_STEP_ROWS;
    engine->images_only = engine->vocabulary.image_count > 0;
    cm3_batch_begin(&engine->batch);
    for (cm3_request *request = engine->running; request; request = request->next) {
        if (request->options.compute != compute) continue;
        room = gather_request(&engine->batch, request, room, &engine->images_only);
    }
}

/* --- one token for each candidate -----------------------------------------------------------------------------------
 */

/**
 * What guidance makes of the streams' logits: u + s (c - u) (CM3Leon eq. 2), or, with one that knows the pictures
 * before, u + t (p - u) + s (c - p) (Chameleon's inference code). Text goes unguided.
 */
static void guide(const cm3_request *request, const cm3_candidate *candidate, float *to, int32_t count) {
    const float *c = candidate->conditional.logits, *u = candidate->unconditional.logits;
    const float *p = candidate->pictures.logits;
    float scale = request->options.guidance_scale, image_scale = request->options.image_guidance_scale;
    if (!candidate->in_image || !candidate->unconditional.cache) {
        memcpy(to, c, (size_t)count * sizeof *to);
    } else if (candidate->pictures.cache) {
        for (int32_t i = 0; i < count; i++) to[i] = u[i] + image_scale * (p[i] - u[i]) + scale * (c[i] - p[i]);
    } else {
        for (int32_t i = 0; i < count; i++) to[i] = u[i] + scale * (c[i] - u[i]);
    }
}

/** Whether a candidate's pictures are drawn by contrast. */
static bool contrasts(const cm3_request *request, const cm3_candidate *candidate) {
    const cm3_generate_options *o = &request->options;
    if (!(o->contrast_alpha > 0) || !candidate->in_image || !candidate->unconditional.cache) return false;
    return !o->contrast_candidates || candidate->number >= o->candidates - o->contrast_candidates;
}

/** Whether log-probabilities are asked for, or decide. */
static bool scores(const cm3_request *request) {
    return request->options.scores || (request->options.best && !request->options.encoder);
}

/** What the candidate may say next; the rest becomes -infinity. */
static void mix(cm3_engine *engine, const cm3_request *request, const cm3_candidate *candidate) {
    const cm3_vocabulary *vocabulary = &engine->vocabulary;
    int32_t first = engine->images_only ? vocabulary->image_first : 0;
    int32_t count = engine->images_only ? vocabulary->image_count : vocabulary->size;
    int64_t room = request->capacity - (int64_t)candidate->history.count;
    if (contrasts(request, candidate)) {
        const float *const streams[] = {candidate->conditional.logits, candidate->unconditional.logits};
        cm3_mix_streams(engine->mixed + first, streams, (const float[]){1, -1}, 2, count);
    } else {
        guide(request, candidate, engine->mixed + first, count);
    }
    bool may[5];
    for (uint8_t kind = 0; kind < 5; kind++) {
        may[kind] = cm3_candidate_may_say(request, candidate, vocabulary, room, kind);
    }
    for (int32_t i = 0; i < first; i++) engine->mixed[i] = -INFINITY;
    for (int32_t i = first + count; i < vocabulary->size; i++) engine->mixed[i] = -INFINITY;
    for (int32_t i = 0; i < count; i++) {
        if (!may[vocabulary->kind[first + i]]) engine->mixed[first + i] = -INFINITY;
    }
    size_t made = candidate->history.count - candidate->prompt_count;
    if (candidate->in_image || made >= (size_t)request->options.min_tokens) return;
    for (size_t i = 0; i < request->stops.count; i++) {
        int32_t id = request->stops.ids[i];
        if (id >= 0 && id < vocabulary->size) engine->mixed[id] = -INFINITY;
    }
}

/** Contrast's choice among what may be said, and what scores need to know of it. */
static void weigh(cm3_engine *engine, const cm3_request *request, const cm3_candidate *candidate) {
    int32_t first = engine->images_only ? engine->vocabulary.image_first : 0;
    int32_t count = engine->images_only ? engine->vocabulary.image_count : engine->vocabulary.size;
    float *mixed = engine->mixed + first;
    if (scores(request)) {
        for (int32_t i = 0; i < count; i++) {
            engine->own[i] = mixed[i] > -INFINITY ? candidate->conditional.logits[i] : -INFINITY;
        }
    }
    if (contrasts(request, candidate)) {
        cm3_keep_plausible(mixed, candidate->conditional.logits, count, request->options.contrast_alpha,
                           request->options.contrast_k, engine->scratch.chances);
    }
}

static cm3_status next_token(cm3_engine *engine, cm3_request *request, cm3_candidate *candidate) {
    int32_t token = cm3_candidate_forced(candidate, &engine->vocabulary);
    if (token < 0) {
        mix(engine, request, candidate);
        weigh(engine, request, candidate);
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
        if (scores(request)) {
            int32_t first = engine->images_only ? engine->vocabulary.image_first : 0;
            int32_t count = engine->images_only ? engine->vocabulary.image_count : engine->vocabulary.size;
            candidate->log_probability += cm3_log_probability(engine->own, count, token - first);
        }
    }
    return cm3_candidate_take(request, candidate, &engine->vocabulary, token);
}

/** After the prompt was read for all: each candidate goes on from its logits. */
static void share_prompt(cm3_request *request) {
    if (!request->prompt_stream.cache) return;
    for (int32_t i = 0; i < request->options.candidates; i++) {
        request->candidates[i].conditional.logits = request->prompt_stream.logits;
    }
}

static bool prompt_is_read(const cm3_request *request) {
    return !request->prompt_stream.pending.count && !request->candidates[0].conditional.pending.count;
}

/** Pictures that are due, one after the other: a cancel does not wait for all of them. */
static cm3_status show_pictures(cm3_engine *engine, cm3_request *request) {
    cm3_graph *graph = engine->lanes[request->options.compute == CM3_COMPUTE_BF16].graph;
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        if (!candidate->due_rows) continue;
        if (atomic_load(&request->cancelled)) return CM3_ERROR_CANCELLED;
        CM3_TRY(cm3_candidate_show(request, candidate, graph));
    }
    return CM3_OK;
}

static cm3_status tell_progress(cm3_request *request) {
    cm3_event event = {.kind = CM3_EVENT_PROGRESS,
                       .done = request->timings.new_tokens,
                       .total = request->total_tokens,
                       .seconds = cm3_clock_since(request->started_at)};
    if (event.total < event.done || !request->active) event.total = event.done;
    return cm3_events_push(&request->events, &event);
}

/** The next token of each beam. */
static cm3_status widen_beams(cm3_engine *engine, cm3_request *request) {
    cm3_beam_begin(request);
    for (int32_t i = 0; i < request->options.candidates; i++) {
        cm3_candidate *candidate = &request->candidates[i];
        if (!cm3_beam_wants(request, candidate)) continue;
        if (atomic_load(&request->cancelled)) return CM3_ERROR_CANCELLED;
        mix(engine, request, candidate);
        cm3_beam_offer(request, candidate, engine->mixed, engine->vocabulary.size);
    }
    return cm3_beam_choose(request, &engine->vocabulary);
}

/** The next token of each candidate, from the logits of this step. */
static cm3_status draw_tokens(cm3_engine *engine, cm3_request *request) {
    uint64_t start = cm3_clock_ns();
    cm3_status status = request->beam ? widen_beams(engine, request) : CM3_OK;
    if (request->beam) {
        request->timings.sampling += cm3_clock_since(start);
        return status;
    }
    for (int32_t i = 0; i < request->options.candidates && status == CM3_OK; i++) {
        if (request->candidates[i].ended) continue;
        if (atomic_load(&request->cancelled)) return CM3_ERROR_CANCELLED;
        status = next_token(engine, request, &request->candidates[i]);
    }
    request->timings.sampling += cm3_clock_since(start);
    return status;
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static bool is_late(const cm3_engine *engine) {
    uint64_t deadline = cm3_context_deadline(engine->context);
    return deadline && cm3_clock_ns() >= deadline;
}

static cm3_request *next_waiting(cm3_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    cm3_request *request = engine->waiting;
    if (request) engine->waiting = request->next;
    pthread_mutex_unlock(&engine->lock);
    return request;
}

/** Begins what is waiting, one at least; where a poll's time is up, the rest later. False: nothing was. */
static bool take_in(cm3_engine *engine) {
    cm3_request *request;
    bool taken = false;
    while (!(taken && is_late(engine)) && (request = next_waiting(engine))) {
        taken = true;
        request->next = NULL;
        cm3_status status = atomic_load(&request->cancelled) ? CM3_ERROR_CANCELLED : begin(engine, request);
        if (status != CM3_OK) {
            cm3_request_end_all(request, status);
            cm3_request_finish(request, status);
            continue;
        }
        cm3_request **last = &engine->running;
        while (*last) last = &(*last)->next;
        *last = request;
    }
    return taken;
}

/** Takes a request out of the list that `place` points into, and ends it. */
static void drop(cm3_request **place, cm3_status status) {
    cm3_request *request = *place;
    *place = request->next;
    request->next = NULL;
    cm3_request_end_all(request, status);
    cm3_request_finish(request, status);
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
        if (status == CM3_ERROR_CANCELLED && !request->active) status = CM3_OK; /* it was through before the cancel */
        drop(place, status);
    }
}

static void draw_all(cm3_engine *engine, cm3_compute compute, double seconds) {
    for (cm3_request **place = &engine->running; *place;) {
        cm3_request *request = *place;
        cm3_status status = CM3_OK;
        if (request->options.compute == compute && request->in_step) {
            *(request->started ? &request->timings.decode : &request->timings.prefill) += seconds;
            if (!request->started && prompt_is_read(request)) {
                share_prompt(request);
                request->started = true;
            }
            if (request->started) status = draw_tokens(engine, request);
        }
        if (status == CM3_OK) {
            place = &request->next;
        } else {
            drop(place, status);
        }
    }
}

/** Pictures that are due, and how far each request is. False: stopped halfway. */
static bool show_all(cm3_engine *engine, cm3_compute compute) {
    const cm3_graph *graph = engine->lanes[compute == CM3_COMPUTE_BF16].graph;
    for (cm3_request **place = &engine->running; *place;) {
        cm3_request *request = *place;
        cm3_status status = CM3_OK;
        if (request->options.compute == compute && request->in_step && request->started) {
            status = show_pictures(engine, request);
            if (status != CM3_OK && cm3_graph_halfway(graph)) return false;
            if (status == CM3_OK) status = tell_progress(request);
            request->in_step = false; /* told, should others' pictures be stopped */
        }
        if (status == CM3_OK) {
            place = &request->next;
        } else {
            drop(place, status);
        }
    }
    return true;
}

/** The step's pass. False where there was none, or it is not through. */
static bool run_pass(cm3_engine *engine, cm3_compute compute, cm3_graph *graph) {
    uint64_t start = cm3_clock_ns();
    cm3_status status =
        cm3_batch_run(&engine->batch, graph, engine->model->lm, &engine->vocabulary, engine->images_only);
    engine->step_ns += cm3_clock_ns() - start;
    if (status == CM3_OK) return true;
    if (cm3_graph_halfway(graph)) {
        engine->halfway = CM3_HALFWAY_PASS;
    } else if (status == CM3_ERROR_CANCELLED) { /* one of them: the others' step is done again */
        let_go(engine, CM3_OK, compute);
    } else {
        let_go(engine, status, compute);
    }
    return false;
}

/** Whether a whole picture is due, which wants all of the team. */
static bool is_picture_due(const cm3_engine *engine, cm3_compute compute) {
    for (const cm3_request *request = engine->running; request; request = request->next) {
        if (request->options.compute != compute || request->options.codes_only) continue;
        for (int32_t i = 0; i < request->options.candidates; i++) {
            if (cm3_candidate_is_whole(request, &request->candidates[i])) return true;
        }
    }
    return false;
}

/** One step of the requests that compute in this type, or what is left of it. Beside previews only as far as one thread
 * should go. */
static void step(cm3_engine *engine, cm3_compute compute) {
    cm3_halfway from = engine->halfway;
    cm3_graph *graph = engine->lanes[compute == CM3_COMPUTE_BF16].graph;
    engine->halfway = CM3_HALFWAY_NOT;
    if (from == CM3_HALFWAY_NOT) {
        gather(engine, compute);
        engine->step_ns = 0;
    }
    if (from != CM3_HALFWAY_PICTURES) {
        if (!engine->batch.stream_count) return;
        if (engine->beside && !cm3_nn_are_few((int64_t)engine->batch.ids.count)) {
            engine->beside = false;
            return;
        }
        graph->deadline = cm3_context_deadline(engine->context);
        if (!run_pass(engine, compute, graph)) return;
        draw_all(engine, compute, (double)engine->step_ns * 1e-9);
    }
    if (engine->beside && is_picture_due(engine, compute)) {
        engine->beside = false;
        engine->halfway = CM3_HALFWAY_PICTURES;
        return;
    }
    /* The logits are in the graph's memory, which decoding pictures uses again: first all tokens, then all pictures. */
    graph->deadline = cm3_context_deadline(engine->context);
    if (show_all(engine, compute)) {
        let_go(engine, CM3_OK, compute);
    } else {
        engine->halfway = CM3_HALFWAY_PICTURES;
    }
}

/** A step that was stopped goes on as it was; where one of its requests was cancelled meanwhile it is let go, and for
 * the others done again. */
static void look_at_halfway(cm3_engine *engine) {
    if (engine->halfway == CM3_HALFWAY_NOT) return;
    bool cancelled = false;
    for (const cm3_request *request = engine->running; request; request = request->next) {
        cancelled = cancelled || atomic_load(&request->cancelled);
    }
    if (!cancelled) return;
    cm3_graph_reset(engine->lanes[engine->compute == CM3_COMPUTE_BF16].graph);
    if (engine->halfway == CM3_HALFWAY_PASS) engine->halfway = CM3_HALFWAY_NOT; /* pictures: they stay due */
    let_go(engine, CM3_OK, engine->compute);
}

/** With nothing to do, memory that only long prompts and large pictures need is given back. */
static void rest(cm3_engine *engine) {
    for (int i = 0; i < 2; i++) {
        if (engine->lanes[i].graph) cm3_graph_trim(engine->lanes[i].graph, IDLE_BYTES);
    }
    cm3_previews_trim(engine->previews, IDLE_BYTES);
}

/** A step in each type, as far as a poll's time goes; the next turn begins with the type whose turn it is. */
static void make_steps(cm3_engine *engine) {
    const bool beside = engine->beside;
    for (int i = 0; i < 2 && !(i && is_late(engine)); i++) {
        step(engine, engine->compute);
        if (engine->halfway || engine->beside != beside) return;
        engine->compute = engine->compute == CM3_COMPUTE_F32 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    }
}

static bool has_waiting(cm3_engine *engine) {
    pthread_mutex_lock(&engine->lock);
    bool waiting = engine->waiting != NULL;
    pthread_mutex_unlock(&engine->lock);
    return waiting;
}

/** Steps by this thread alone, while previews are decoded. False: what is next is for the whole team. */
static bool steps_beside(void *arg) {
    cm3_engine *engine = arg;
    atomic_store(&engine->interrupt, 0);
    let_go(engine, CM3_OK, CM3_COMPUTE_AUTO);
    if (!engine->running || has_waiting(engine)) return false;
    engine->beside = true;
    make_steps(engine);
    bool more = engine->beside;
    engine->beside = false;
    return more;
}

/** One turn. True while there is work. */
static bool turn(void *arg) {
    cm3_engine *engine = arg;
    atomic_store(&engine->interrupt, 0);
    look_at_halfway(engine);
    bool taken = !engine->halfway && take_in(engine);
    if (!engine->halfway) let_go(engine, CM3_OK, CM3_COMPUTE_AUTO);
    if (!(taken && is_late(engine))) make_steps(engine);
    if (!engine->halfway) cm3_previews_serve(engine->previews, steps_beside, engine);
    if (!engine->running) rest(engine);
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
