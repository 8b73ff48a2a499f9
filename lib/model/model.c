/* Models: loading, describing, and the plain forward pass. */
#include "model/model.h"

#include <string.h>

#include "base/options.h"
#include "model/head_rows.h"
#include "model/quantised_weight.h"
#include "model/source.h"

static const cm3_load_options load_defaults = {
    .struct_size = sizeof load_defaults, .mode = CM3_LOAD_MAP, .check_weights = 1};

void cm3_load_options_init(cm3_load_options *options) {
    if (options) *options = load_defaults;
}

/* --- end -----------------------------------------------------------------------------------------------------------
 */

static cm3_status take_engine_down(void *arg) {
    cm3_model *model = arg;
    model->engine_destroy(model->engine);
    return CM3_OK;
}

cm3_status cm3_model_retain(cm3_model *model) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    atomic_fetch_add(&model->references, 1);
    return CM3_OK;
}

void cm3_model_destroy(cm3_model *model) {
    if (!model || atomic_fetch_sub(&model->references, 1) != 1) return;
    cm3_context *context = model->context;
    if (cm3_context_forked(context)) return; /* the engine may have been at work */
    /* The engine's task may be in its last lines on the compute thread: it is taken down behind it. */
    if (model->engine && cm3_context_run(context, take_engine_down, model) != CM3_OK)
        model->engine_destroy(model->engine);
    pthread_mutex_destroy(&model->engine_lock);
    cm3_tokenizer_destroy(model->tokenizer);
    cm3_lm_destroy(model->lm);
    cm3_clip_destroy(model->clip);
    cm3_free(context, model->config_json);
    cm3_weights_release(model->weights);
    cm3_free(context, model);
    cm3_context_release(context);
}

/* --- loading -------------------------------------------------------------------------------------------------------
 */

/** Refuses tensors under the prefix that the configuration does not know. */
static cm3_status check_superfluous(const cm3_model *model, const char *prefix, size_t known) {
    size_t present = 0, length = strlen(prefix);
    for (size_t i = 0; i < cm3_weights_count(model->weights); i++) {
        present += !strncmp(cm3_weights_at(model->weights, i)->name, prefix, length);
    }
    if (present == known) return CM3_OK;
    return cm3_fail(model->context, CM3_ERROR_FORMAT, "%s: %zu tensors begin with '%s', the configuration names %zu",
                    cm3_weights_name(model->weights), present, prefix, known);
}

static cm3_status load_lm(cm3_model *model, const cm3_source *source) {
    if (!source->has_lm) return CM3_OK;
    bool check_weights = source->options->check_weights != 0;
    CM3_TRY(cm3_lm_load(model->context, &source->lm, model->weights, "lm.", false, check_weights, &model->lm));
    model->parts |= CM3_PART_LM;
    return source->exact ? check_superfluous(model, "lm.", model->lm->parameter_count + model->lm->extra_tensors)
                         : CM3_OK;
}

static cm3_status load_encoder(cm3_model *model, const cm3_source *source) {
    if (!source->has_clip) return CM3_OK;
    bool check_weights = source->options->check_weights != 0;
    CM3_TRY(cm3_clip_load(model->context, &source->clip, model->weights, "encoder.", check_weights, &model->clip));
    model->parts |= CM3_PART_ENCODER;
    return CM3_OK;
}

static cm3_status load_tokenizer(cm3_model *model, cm3_source *source) {
    cm3_tokenizer *t;
    cm3_bpe *bpe = source->bpe;
    source->bpe = NULL; /* the tokenizer takes it over, also on failure */
    CM3_TRY(cm3_tokenizer_create(model->context, bpe, &t));
    model->tokenizer = t;
    if (bpe) model->parts |= CM3_PART_TOKENIZER;
    t->special = source->special;
    t->preprocessing = source->preprocessing;
    memset(&source->special, 0, sizeof source->special);
    if (!source->has_vq) return CM3_OK;
    bool check_weights = source->options->check_weights != 0;
    CM3_TRY(cm3_vq_load(model->context, &source->vq, model->weights, "vq.", false, check_weights, &t->vq));
    t->weights = model->weights;
    cm3_weights_retain(t->weights);
    model->parts |= CM3_PART_VQ;
    return CM3_OK;
}

/** The parts must speak of the same vocabulary and the same codebook. */
static cm3_status check_parts(const cm3_model *model) {
    const cm3_tokenizer *t = model->tokenizer;
    const char *name = cm3_weights_name(model->weights);
    if (model->lm && t->bpe && cm3_bpe_vocab_size(t->bpe) > model->lm->config.vocab_size) {
        return cm3_fail(model->context, CM3_ERROR_FORMAT,
                        "%s: the tokenizer has ids up to %d, the model's vocabulary is %d", name,
                        cm3_bpe_vocab_size(t->bpe) - 1, model->lm->config.vocab_size);
    }
    if (t->vq && t->bpe && t->special.image_count != t->vq->config.num_embeddings) {
        return cm3_fail(model->context, CM3_ERROR_FORMAT, "%s: %d image tokens for a codebook of %d", name,
                        t->special.image_count, t->vq->config.num_embeddings);
    }
    return CM3_OK;
}

static cm3_status build(cm3_model *model, cm3_source *source) {
    model->weights = source->weights;
    cm3_weights_retain(model->weights);
    model->config_json = source->config_json;
    source->config_json = NULL;
    CM3_TRY(load_lm(model, source));
    CM3_TRY(load_encoder(model, source));
    CM3_TRY(load_tokenizer(model, source));
    return check_parts(model);
}

/** Makes the model of what a reader found; clears the source. `status` is the reader's. */
static cm3_status make(cm3_source *source, cm3_status status, cm3_model **out) {
    cm3_context *context = source->context;
    if (status == CM3_OK) {
        status = source->sizes ? cm3_weights_outline(source->weights, &source->sizes->made)
                               : cm3_weights_make_all(source->weights);
    }
    cm3_model *model = status == CM3_OK ? cm3_calloc(context, 1, sizeof *model) : NULL;
    if (status == CM3_OK && (!model || pthread_mutex_init(&model->engine_lock, NULL))) {
        cm3_free(context, model);
        model = NULL;
        status = cm3_fail_memory(context, sizeof *model, "model");
    }
    if (model) {
        model->context = context;
        atomic_init(&model->references, 1);
        cm3_context_retain(context);
        status = build(model, source);
    }
    cm3_source_clear(source);
    if (status == CM3_OK) {
        *out = model;
    } else {
        cm3_model_destroy(model);
    }
    return status;
}

static cm3_status read_options(cm3_context *context, const cm3_load_options *options, cm3_load_options *own) {
    *own = load_defaults;
    CM3_TRY(cm3_options_read(context, own, sizeof *own, options, "cm3_load_options"));
    if (own->mode == CM3_LOAD_MAP || own->mode == CM3_LOAD_HUGE) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_load_options: mode %d is unknown", (int)own->mode);
}

static uint64_t bound_of(const cm3_load_options *options) {
    return options->max_bytes ? options->max_bytes : UINT64_MAX;
}

/** Ends the watch over a load; where its bound was in the way, says so. */
static cm3_status end_watch(const cm3_memory_watch *watch, cm3_status status, const char *name) {
    cm3_memory_watch_end();
    if (status == CM3_OK || !watch->refused) return status;
    return cm3_fail(watch->context, CM3_ERROR_NO_MEMORY, "%s: loading takes more memory than max_bytes, %llu", name,
                    (unsigned long long)watch->bound);
}

static cm3_status load_path(cm3_context *context, const char *path, const cm3_load_options *options,
                            cm3_load_sizes *sizes, cm3_memory_watch *watch, cm3_model **model) {
    cm3_source source = cm3_source_of(context, options);
    source.sizes = sizes;
    cm3_memory_watch_begin(watch, context, bound_of(options));
    cm3_status status = cm3_source_read(&source, path);
    status = end_watch(watch, make(&source, status, model), path);
    if (status == CM3_OK) (*model)->held_bytes = watch->held;
    return status;
}

/** Takes the file over, also on failure. Within the caller's watch. */
static cm3_status load_file(cm3_context *context, cm3_file *file, const cm3_load_options *options, cm3_model **model) {
    if (options->vqgan) {
        cm3_file_release(file);
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_load_options: vqgan belongs to a folder; a .cm3 file holds its own image tokenizer");
    }
    cm3_source source = cm3_source_of(context, options);
    cm3_status status = cm3_source_read_file(&source, file);
    cm3_file_release(file);
    if (status == CM3_OK && options->head_rows) status = cm3_source_read_head_rows(&source, options->head_rows);
    return make(&source, status, model);
}

cm3_status cm3_model_outline(cm3_context *context, const char *path, const cm3_load_options *options,
                             cm3_model **model) {
    *model = NULL;
    if (!context || !path) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "model: an argument is NULL");
    cm3_load_options own;
    cm3_load_sizes sizes = {0};
    cm3_memory_watch watch;
    CM3_TRY(read_options(context, options, &own));
    own.check_weights = own.verify_checksum = 0;
    CM3_TRY(load_path(context, path, &own, &sizes, &watch, model));
    (*model)->held_bytes += sizes.copied + sizes.made;
    const uint64_t most = watch.most + sizes.copied + sizes.made;
    if (most <= bound_of(&own)) return CM3_OK;
    cm3_model_destroy(*model);
    *model = NULL;
    return cm3_fail(context, CM3_ERROR_NO_MEMORY, "%s: loading takes %llu bytes of memory; max_bytes is %llu", path,
                    (unsigned long long)most, (unsigned long long)own.max_bytes);
}

cm3_status cm3_model_load(cm3_context *context, const char *path, const cm3_load_options *options, cm3_model **model) {
    if (model) *model = NULL;
    if (!context || !path || !model) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_load: an argument is NULL");
    }
    cm3_load_options own;
    CM3_TRY(read_options(context, options, &own));
    if (own.max_bytes) { /* what would be too much is not begun */
        cm3_model *outline;
        CM3_TRY(cm3_model_outline(context, path, &own, &outline));
        cm3_model_destroy(outline);
    }
    cm3_memory_watch watch;
    return load_path(context, path, &own, NULL, &watch, model);
}

cm3_status cm3_model_load_memory(cm3_context *context, const void *data, size_t size, const cm3_load_options *options,
                                 cm3_model **model) {
    if (model) *model = NULL;
    if (!context || !data || !model) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_load_memory: an argument is NULL");
    }
    cm3_load_options own;
    cm3_file *file = NULL;
    cm3_memory_watch watch;
    CM3_TRY(read_options(context, options, &own));
    cm3_memory_watch_begin(&watch, context, bound_of(&own));
    cm3_status status = cm3_file_from_memory(context, data, size, &file);
    if (status == CM3_OK) status = load_file(context, file, &own, model);
    status = end_watch(&watch, status, "memory");
    if (status == CM3_OK) (*model)->held_bytes = watch.held;
    return status;
}

cm3_status cm3_model_load_io(cm3_context *context, const cm3_io *io, const cm3_load_options *options,
                             cm3_model **model) {
    if (model) *model = NULL;
    if (!context || !io || !model) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_load_io: an argument is NULL");
    }
    cm3_load_options own;
    cm3_file *file = NULL;
    cm3_memory_watch watch;
    CM3_TRY(read_options(context, options, &own));
    cm3_memory_watch_begin(&watch, context, bound_of(&own));
    cm3_status status = cm3_file_from_io(context, io, &file);
    if (status == CM3_OK) status = load_file(context, file, &own, model);
    status = end_watch(&watch, status, "io");
    if (status == CM3_OK) (*model)->held_bytes = watch.held;
    return status;
}

/* --- description ---------------------------------------------------------------------------------------------------
 */

/** Those that a tensor of the file stands for: scales and mins for none. */
static uint64_t parameters_of(const cm3_weights *weights, const cm3_weight *weight) {
    if (cm3_is_part_of_weight(weights, weight)) return 0;
    return (uint64_t)weight->entry.count * (weight->entry.dtype == CM3_U8 ? 2 : 1);
}

cm3_status cm3_model_get_info(const cm3_model *model, cm3_model_info *info) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_model_info own = {.parts = model->parts};
    if (model->lm) {
        const cm3_lm_config *c = &model->lm->config;
        own.vocab_size = c->vocab_size, own.hidden_size = c->hidden_size, own.layers = c->layers, own.heads = c->heads;
        own.kv_heads = c->kv_heads, own.ffn_size = c->ffn_size, own.context_length = c->max_positions;
        own.lm_parameters = cm3_lm_config_parameters(c);
    }
    if (model->clip) own.embedding_size = model->clip->config.projection_dim;
    for (size_t i = 0; i < cm3_weights_count(model->weights); i++) {
        const cm3_weight *weight = cm3_weights_at(model->weights, i);
        own.weight_bytes += weight->entry.size;
        if (strncmp(weight->name, "encoder.", 8) == 0) own.encoder_parameters += parameters_of(model->weights, weight);
        if (strncmp(weight->name, "vq.", 3) == 0) own.vq_parameters += (uint64_t)weight->entry.count;
    }
    return cm3_options_write(model->context, info, &own, sizeof own, "cm3_model_info");
}

cm3_status cm3_model_config_json(const cm3_model *model, const char **json) {
    if (json) *json = NULL;
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    if (!json) return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_config_json: json is NULL");
    *json = model->config_json;
    return CM3_OK;
}

cm3_status cm3_model_tokenizer(const cm3_model *model, cm3_tokenizer **tokenizer) {
    if (tokenizer) *tokenizer = NULL;
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    if (!tokenizer)
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_tokenizer: tokenizer is NULL");
    if (!model->tokenizer->bpe && !model->tokenizer->vq) {
        return cm3_fail(model->context, CM3_ERROR_NOT_FOUND, "%s: there is no tokenizer in it",
                        cm3_weights_name(model->weights));
    }
    cm3_tokenizer_retain(model->tokenizer);
    *tokenizer = model->tokenizer;
    return CM3_OK;
}

/* --- the plain forward pass ----------------------------------------------------------------------------------------
 */

typedef struct cm3_pass_call {
    const cm3_model *model;
    const int32_t *ids;
    size_t count;
    cm3_compute compute;
    float *logits, *hidden; /**< one of them */
} cm3_pass_call;

static cm3_status copy_results(const cm3_pass_call *call, cm3_graph *graph, const cm3_tensor *logits,
                               cm3_tensor *const *hidden) {
    if (!logits) return cm3_graph_status(graph);
    if (call->logits) memcpy(call->logits, logits->data, (size_t)logits->count * sizeof(float));
    float *to = call->hidden;
    for (int32_t i = 0; to && i < call->model->lm->config.layers + 2; i++) {
        memcpy(to, hidden[i]->data, (size_t)hidden[i]->count * sizeof(float));
        to += hidden[i]->count;
    }
    return CM3_OK;
}

static cm3_status compute_pass(void *arg) {
    const cm3_pass_call *call = arg;
    const cm3_lm *lm = call->model->lm;
    cm3_graph *graph = NULL;
    CM3_TRY(cm3_graph_create(call->model->context, &(cm3_graph_options){.compute = call->compute}, &graph));
    int32_t *positions = cm3_graph_scratch(graph, call->count * sizeof *positions);
    int32_t *first = cm3_graph_scratch(graph, call->count * sizeof *first);
    cm3_tensor **hidden = cm3_graph_scratch(graph, ((size_t)lm->config.layers + 2) * sizeof *hidden);
    cm3_tensor *logits = NULL;
    if (positions && first && hidden) {
        for (size_t i = 0; i < call->count; i++) {
            positions[i] = (int32_t)i;
            first[i] = 0;
        }
        const int32_t last = (int32_t)call->count - 1;
        cm3_lm_batch batch = {
            .rows = (int64_t)call->count, .ids = call->ids, .positions = positions, .plan = {.first = first}};
        if (call->hidden) batch.hidden = hidden, batch.logit_rows = &last, batch.logit_count = 1;
        logits = cm3_lm_forward(graph, lm, &batch);
    }
    cm3_status status = copy_results(call, graph, logits, hidden);
    cm3_graph_destroy(graph);
    return status;
}

static cm3_status run_pass(cm3_pass_call *call, const char *name) {
    const cm3_model *model = call->model;
    if (!call->ids || !call->count || (!call->logits && !call->hidden)) {
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "%s: an argument is NULL or count is 0", name);
    }
    if (call->compute != CM3_COMPUTE_AUTO && call->compute != CM3_COMPUTE_F32 && call->compute != CM3_COMPUTE_BF16) {
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "%s: compute %d is unknown", name,
                        (int)call->compute);
    }
    if (!model->lm) return cm3_fail(model->context, CM3_ERROR_UNSUPPORTED, "the model has no language model");
    if (call->count > (size_t)model->lm->config.max_positions) {
        return cm3_fail(model->context, CM3_ERROR_TOO_LONG, "%zu tokens are more than the context of %d", call->count,
                        model->lm->config.max_positions);
    }
    return cm3_context_run(model->context, compute_pass, call);
}

cm3_status cm3_model_logits(const cm3_model *model, const int32_t *ids, size_t count, cm3_compute compute,
                            float *logits) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_pass_call call = {.model = model, .ids = ids, .count = count, .compute = compute, .logits = logits};
    return run_pass(&call, "cm3_model_logits");
}

cm3_status cm3_model_hidden(const cm3_model *model, const int32_t *ids, size_t count, cm3_compute compute,
                            float *hidden) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_pass_call call = {.model = model, .ids = ids, .count = count, .compute = compute, .hidden = hidden};
    return run_pass(&call, "cm3_model_hidden");
}
