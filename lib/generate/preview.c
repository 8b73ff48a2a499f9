/* Previews beside the model: a job is one candidate's next preview. */
#include "generate/preview.h"

#include <string.h>

#include "base/aside.h"
#include "base/clock.h"
#include "base/status.h"

struct cm3_previews {
    cm3_context *context;
    const cm3_vq *vq;
    cm3_aside *aside;
    cm3_graph *graphs[2];    /**< f32, bf16; made and used on the aside's thread */
    cm3_graph *measuring[2]; /**< of the engine's thread */
};

struct cm3_preview_job {
    cm3_aside_job base; /**< first: see base/aside.h */
    cm3_previews *previews;
    cm3_request *request; /**< touched only while nobody has forgotten the job */
    const cm3_candidate *candidate;
    cm3_compute compute;
    size_t arena, onednn; /**< that it takes */
    cm3_image *before;    /**< held; NULL: the picture's first preview */
    int32_t rows, known;
    cm3_image *image; /**< the result */
    cm3_status status;
    char message[256]; /**< where it failed */
    int32_t codes[];
};
typedef struct cm3_preview_job cm3_preview_job;

cm3_status cm3_preview_tell(cm3_request *request, const cm3_candidate *candidate, int32_t rows, int32_t known,
                            cm3_image *image) {
    const int32_t cell = cm3_vq_cell(request->model->tokenizer->vq);
    const cm3_event event = {.kind = CM3_EVENT_IMAGE_ROWS,
                             .candidate = candidate->number,
                             .index = candidate->image_index,
                             .image = image,
                             .row = known * cell,
                             .rows = (rows - known) * cell,
                             .seconds = cm3_clock_since(request->started_at)};
    return cm3_events_push(&request->events, &event);
}

/* --- memory ---------------------------------------------------------------------------------------------------------
 */

static cm3_status measure(const cm3_vq *vq, int32_t every, cm3_graph *measuring, size_t *arena, size_t *onednn) {
    const int32_t grid = cm3_vq_grid(vq);
    cm3_graph_reset(measuring);
    CM3_TRY(cm3_vq_measure_rows(vq, every < grid - CM3_VQ_MARGIN ? every + CM3_VQ_MARGIN : grid, measuring));
    cm3_graph_measured(measuring, arena, onednn);
    return CM3_OK;
}

static cm3_graph_options graph_options(cm3_compute compute, bool measuring) {
    return (cm3_graph_options){.compute = compute, .alone = true, .measure = measuring, .arena_block = 4096};
}

/** The graph for previews in that type, with so much memory. */
static cm3_status open_graph(cm3_previews *previews, cm3_compute compute, size_t arena, size_t onednn,
                             cm3_graph **out) {
    cm3_graph **graph = &previews->graphs[compute == CM3_COMPUTE_BF16];
    const cm3_graph_options options = graph_options(compute, false);
    if (!*graph) CM3_TRY(cm3_graph_create(previews->context, &options, graph));
    *out = *graph;
    return cm3_graph_reserve(*graph, arena, onednn);
}

typedef struct joining {
    cm3_previews *previews;
    const cm3_request *request;
    cm3_status status;
} joining;

static void prepare(void *arg) {
    joining *call = arg;
    const cm3_request *request = call->request;
    cm3_graph *graph;
    call->status =
        open_graph(call->previews, request->options.compute, request->preview_arena, request->preview_onednn, &graph);
}

cm3_status cm3_previews_join(cm3_previews *previews, cm3_request *request) {
    const cm3_compute compute = request->options.compute;
    cm3_graph **measuring = &previews->measuring[compute == CM3_COMPUTE_BF16];
    const cm3_graph_options options = graph_options(compute, true);
    if (!*measuring) CM3_TRY(cm3_graph_create(previews->context, &options, measuring));
    CM3_TRY(measure(previews->vq, request->options.preview_rows, *measuring, &request->preview_arena,
                    &request->preview_onednn));
    joining call = {previews, request, CM3_OK};
    cm3_aside_if_idle(previews->aside, prepare, &call);
    request->previews = previews;
    return call.status;
}

cm3_status cm3_previews_measure(cm3_model *model, const cm3_generate_options *options, size_t *bytes) {
    *bytes = 0;
    if (!cm3_aside_gains(model->context)) return CM3_OK;
    cm3_graph *measuring;
    const cm3_graph_options how = graph_options(options->compute, true);
    CM3_TRY(cm3_graph_create(model->context, &how, &measuring));
    size_t arena, onednn;
    cm3_status status = measure(model->tokenizer->vq, options->preview_rows, measuring, &arena, &onednn);
    if (status == CM3_OK) *bytes = arena + onednn;
    cm3_graph_destroy(measuring);
    return status;
}

typedef struct trim_call {
    cm3_previews *previews;
    size_t most;
} trim_call;

static void trim(void *arg) {
    const trim_call *call = arg;
    for (int i = 0; i < 2; i++) {
        if (call->previews->graphs[i]) cm3_graph_trim(call->previews->graphs[i], call->most);
    }
}

void cm3_previews_trim(cm3_previews *previews, size_t most) {
    if (previews) cm3_aside_if_idle(previews->aside, trim, &(trim_call){previews, most});
}

/* --- an engine's ----------------------------------------------------------------------------------------------------
 */

cm3_status cm3_previews_create(cm3_model *model, cm3_previews **previews) {
    *previews = NULL;
    cm3_aside *aside;
    CM3_TRY(cm3_aside_create(model->context, &aside));
    if (!aside) return CM3_OK;
    cm3_previews *made = cm3_calloc(model->context, 1, sizeof *made);
    if (!made) {
        cm3_aside_destroy(aside);
        return cm3_fail_memory(model->context, sizeof *made, "previews");
    }
    made->context = model->context;
    made->vq = model->tokenizer->vq;
    made->aside = aside;
    *previews = made;
    return CM3_OK;
}

void cm3_previews_destroy(cm3_previews *previews) {
    if (!previews) return;
    cm3_aside_destroy(previews->aside);
    for (int i = 0; i < 2; i++) {
        cm3_graph_destroy(previews->graphs[i]);
        cm3_graph_destroy(previews->measuring[i]);
    }
    cm3_free(previews->context, previews);
}

void cm3_previews_serve(cm3_previews *previews, bool (*beside)(void *arg), void *arg) {
    if (previews) cm3_aside_serve(previews->aside, beside, arg);
}

/* --- a job ----------------------------------------------------------------------------------------------------------
 */

static cm3_status decode(cm3_preview_job *job) {
    cm3_previews *previews = job->previews;
    cm3_graph *graph;
    CM3_TRY(open_graph(previews, job->compute, job->arena, job->onednn, &graph));
    graph->cancel = &job->base.cancelled;
    cm3_status status =
        cm3_vq_decode_rows_in(graph, previews->vq, job->codes, job->rows, job->known, job->before, &job->image);
    graph->cancel = NULL;
    return status;
}

static void run(cm3_aside_job *base) {
    cm3_preview_job *job = (cm3_preview_job *)base;
    job->status = decode(job);
    if (job->status == CM3_OK) return;
    snprintf(job->message, sizeof job->message, "%s", cm3_context_message(job->previews->context));
}

static void tell(cm3_aside_job *base) {
    cm3_preview_job *job = (cm3_preview_job *)base;
    if (job->status != CM3_OK) return;
    job->status = cm3_preview_tell(job->request, job->candidate, job->rows, job->known, job->image);
    if (job->status == CM3_OK) return;
    snprintf(job->message, sizeof job->message, "%s", cm3_context_message(job->previews->context));
}

static void drop(cm3_aside_job *base) {
    cm3_preview_job *job = (cm3_preview_job *)base;
    cm3_image_destroy(job->before);
    cm3_image_destroy(job->image);
    cm3_free(job->previews->context, job);
}

cm3_status cm3_preview_begin(cm3_request *request, cm3_candidate *candidate, int32_t rows, int32_t known) {
    cm3_previews *previews = request->previews;
    const size_t codes = (size_t)rows * (size_t)cm3_vq_grid(previews->vq) * sizeof(int32_t);
    cm3_preview_job *job = cm3_calloc(request->context, 1, sizeof *job + codes);
    if (!job) return cm3_fail_memory(request->context, sizeof *job + codes, "preview");
    job->base.run = run;
    job->base.tell = tell;
    job->base.drop = drop;
    job->previews = previews;
    job->request = request;
    job->candidate = candidate;
    job->compute = request->options.compute;
    job->arena = request->preview_arena;
    job->onednn = request->preview_onednn;
    job->rows = rows;
    job->known = known;
    job->before = candidate->preview;
    if (job->before) cm3_image_retain(job->before);
    memcpy(job->codes, candidate->codes.ids, codes);
    candidate->preview_job = job;
    cm3_aside_post(previews->aside, &job->base);
    return CM3_OK;
}

cm3_status cm3_preview_end(cm3_request *request, cm3_candidate *candidate) {
    cm3_preview_job *job = candidate->preview_job;
    if (!job) return CM3_OK;
    const uint64_t start = cm3_clock_ns();
    const bool through = cm3_aside_wait(request->previews->aside, &job->base, &request->cancelled);
    request->timings.image_decode += cm3_clock_since(start);
    if (!through) return CM3_ERROR_CANCELLED;
    candidate->preview_job = NULL;
    cm3_status status = job->status;
    if (status == CM3_OK) {
        cm3_image_destroy(candidate->preview);
        candidate->preview = job->image;
        job->image = NULL;
    } else {
        cm3_fail(request->context, status, "%s", job->message);
    }
    drop(&job->base);
    return status;
}

void cm3_preview_forget(cm3_request *request, cm3_candidate *candidate) {
    cm3_preview_job *job = candidate->preview_job;
    candidate->preview_job = NULL;
    if (job) cm3_aside_forget(request->previews->aside, &job->base);
}
