/* What a request will take, told beforehand. */
#include "base/options.h"
#include "generate/demand.h"
#include "generate/preview.h"

typedef struct estimate_call {
    cm3_model *model;
    cm3_generate_options options;
    int64_t prompt;
    cm3_memory_estimate result;
} estimate_call;

/** What lies beside caches and activations: lists, events, sampler, and what is made. */
static uint64_t small_things(const estimate_call *call, const cm3_demand *demand, const cm3_vocabulary *vocabulary) {
    const cm3_vq *vq = call->model->tokenizer->vq;
    uint64_t candidates = (uint64_t)demand->candidates, vocab = (uint64_t)vocabulary->size, bytes = vocab * (1 + 4 * 5);
    uint64_t made = (uint64_t)(demand->capacity - demand->prompt) * candidates;
    bool pictures = vq && call->options.modality != CM3_MODALITY_TEXT;
    bytes += candidates * sizeof(int32_t) * (uint64_t)(2 * demand->capacity + demand->prompt);
    bytes += cm3_events_size(cm3_request_events(made));
    if (pictures) {
        /* Previews may all wait for a host that fetches no events. */
        uint64_t side = (uint64_t)vq->config.resolution, shown = 1;
        if (cm3_has_previews(&call->options)) {
            shown += (uint64_t)((cm3_vq_grid(vq) - 1) / call->options.preview_rows);
        }
        bytes += candidates * (shown * side * side * 3 + 2 * sizeof(int32_t) * (uint64_t)vocabulary->image_tokens);
    }
    return bytes;
}

static cm3_status measure(estimate_call *call, const cm3_vocabulary *vocabulary, cm3_graph *measuring) {
    cm3_model *model = call->model;
    const cm3_generate_options *o = &call->options;
    const cm3_special_tokens *special = &model->tokenizer->special;
    /* Of the prompt only its length is known: it counts as text. */
    bool chatty = cm3_is_guided(o) && special->bos >= 0 && o->modality == CM3_MODALITY_INTERLEAVED;
    bool third = cm3_is_guided(o) && o->picture_prompt; /* at most as long as the prompt, mostly nearly so */
    cm3_demand demand = {.prompt = call->prompt,
                         .unconditional = cm3_is_guided(o) ? cm3_unconditional_count(special) : 0,
                         .pictures = chatty  ? 2
                                     : third ? call->prompt
                                             : 0,
                         .candidates = o->candidates,
                         .modality = o->modality};
    int64_t tokens = vocabulary->image_tokens, left = model->lm->config.max_positions - demand.prompt;
    /* Which holes there will be is not known: at most a picture, a sentinel and an end in each of its rows. */
    if (o->modality == CM3_MODALITY_INFILL) {
        tokens += tokens ? 2 * cm3_vq_grid(model->tokenizer->vq) : 0;
        if (tokens > left && left > 0) tokens = left;
        if (o->guidance_scale != 1) demand.unconditional = demand.prompt;
    }
    bool speaks = o->modality != CM3_MODALITY_IMAGE && !(o->modality == CM3_MODALITY_INFILL && tokens);
    CM3_TRY(cm3_demand_capacity(model, o, tokens, speaks, demand.prompt, &demand.capacity));
    cm3_scratch scratch;
    CM3_TRY(cm3_demand_measure(model, vocabulary, measuring, &demand, 1, &scratch));
    cm3_dtype kv = cm3_request_kv(o);
    size_t caches;
    if (!cm3_demand_caches(&model->lm->config, kv, vocabulary->image_tokens, &demand, &caches)) {
        return cm3_fail_memory(model->context, SIZE_MAX, "KV cache");
    }
    call->result.cache = caches;
    size_t previews = 0;
    if (model->tokenizer->vq && cm3_has_previews(o)) CM3_TRY(cm3_previews_measure(model, o, &previews));
    call->result.scratch = scratch.arena + scratch.onednn + previews + small_things(call, &demand, vocabulary);
    return CM3_OK;
}

static cm3_status run(void *arg) {
    estimate_call *call = arg;
    cm3_context *context = call->model->context;
    cm3_vocabulary vocabulary;
    CM3_TRY(cm3_vocabulary_create(call->model, &vocabulary));
    cm3_graph *measuring = NULL;
    cm3_graph_options options = {.compute = call->options.compute, .measure = true, .arena_block = 4096};
    cm3_status status = cm3_graph_create(context, &options, &measuring);
    if (status == CM3_OK) status = measure(call, &vocabulary, measuring);
    cm3_graph_destroy(measuring);
    cm3_free(context, vocabulary.kind);
    return status;
}

cm3_status cm3_estimate(cm3_model *model, const cm3_generate_options *options, uint64_t prompt_tokens,
                        cm3_memory_estimate *estimate) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    if (!estimate) return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_estimate: estimate is NULL");
    estimate_call call = {.model = model, .prompt = INT32_MAX};
    CM3_TRY(cm3_request_options(model, options, &call.options));
    if (prompt_tokens < INT32_MAX) call.prompt = (int64_t)prompt_tokens;
    cm3_model_info info = {.struct_size = sizeof info};
    CM3_TRY(cm3_model_get_info(model, &info));
    call.result.weights = info.weight_bytes;
    call.result.load = model->held_bytes;
    CM3_TRY(cm3_context_run(model->context, run, &call));
    return cm3_options_write(model->context, estimate, &call.result, sizeof call.result, "cm3_memory_estimate");
}

cm3_status cm3_estimate_file(cm3_context *context, const char *path, const cm3_load_options *load,
                             const cm3_generate_options *options, uint64_t prompt_tokens,
                             cm3_memory_estimate *estimate) {
    cm3_model *outline;
    if (!context || !path || !estimate) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_estimate_file: an argument is NULL");
    }
    CM3_TRY(cm3_model_outline(context, path, load, &outline));
    cm3_status status = cm3_estimate(outline, options, prompt_tokens, estimate);
    cm3_model_destroy(outline);
    return status;
}
