/* Models: loading a `.cm3` file, describing it, and the plain forward pass. */
#include "model/model.h"

#include <string.h>

#include "base/options.h"
#include "files/hash.h"

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
    /* The engine's task may be in its last lines on the compute thread: it is taken down behind it. */
    if (model->engine && cm3_context_run(context, take_engine_down, model) != CM3_OK)
        model->engine_destroy(model->engine);
    pthread_mutex_destroy(&model->engine_lock);
    cm3_tokenizer_destroy(model->tokenizer);
    cm3_lm_destroy(model->lm);
    cm3_free(context, model->config_json);
    cm3_safetensors_close(model->tensors);
    cm3_file_release(model->file);
    cm3_free(context, model);
    cm3_context_release(context);
}

/* --- loading -------------------------------------------------------------------------------------------------------
 */

static cm3_status check_format(const cm3_model *model) {
    const char *name = model->file->name, *format = cm3_safetensors_metadata(model->tensors, "format");
    const char *version = cm3_safetensors_metadata(model->tensors, "version");
    if (!format || strcmp(format, "cm3") != 0) {
        return cm3_fail(model->context, CM3_ERROR_FORMAT, "%s: __metadata__.format is '%s'; a .cm3 file has 'cm3'",
                        name, format ? format : "missing");
    }
    if (!version || strcmp(version, CM3_FILE_VERSION) != 0) {
        return cm3_fail(model->context, CM3_ERROR_VERSION,
                        "%s: the file is of version '%s'; this library reads version '%s'", name,
                        version ? version : "missing", CM3_FILE_VERSION);
    }
    if (!cm3_safetensors_metadata(model->tensors, "config")) {
        return cm3_fail(model->context, CM3_ERROR_FORMAT, "%s: __metadata__.config is missing", name);
    }
    return CM3_OK;
}

static cm3_status check_sum(const cm3_model *model) {
    const char *sum = cm3_safetensors_metadata(model->tensors, "xxh3");
    const uint8_t *data;
    size_t size;
    char found[17];
    if (!sum) return cm3_fail(model->context, CM3_ERROR_CHECKSUM, "%s: the file has no checksum", model->file->name);
    cm3_safetensors_data(model->tensors, &data, &size);
    snprintf(found, sizeof found, "%016llx", (unsigned long long)cm3_hash(data, size));
    if (strcmp(sum, found) == 0) return CM3_OK;
    return cm3_fail(model->context, CM3_ERROR_CHECKSUM, "%s: the data's checksum is %s; the file says %s",
                    model->file->name, found, sum);
}

static cm3_status load_lm(cm3_model *model, const cm3_json_object *config, bool check_weights) {
    cm3_json_object object;
    CM3_TRY(cm3_json_child(config, "lm", model->file->name, &object));
    if (!object.value) return CM3_OK;
    cm3_lm_config lm_config;
    CM3_TRY(cm3_lm_config_parse(&object, &lm_config));
    CM3_TRY(cm3_lm_load(model->context, &lm_config, model->tensors, "lm.", false, check_weights, &model->lm));
    model->parts |= CM3_PART_LM;
    return CM3_OK;
}

static cm3_status load_tokenizer(cm3_model *model, const cm3_json_object *config, bool check_weights) {
    const char *text = cm3_safetensors_metadata(model->tensors, "tokenizer"), *name = model->file->name;
    cm3_json_object vq_object, tokens;
    CM3_TRY(cm3_json_child(config, "vq", name, &vq_object));
    CM3_TRY(cm3_json_child(config, "tokens", name, &tokens));
    cm3_tokenizer *t = cm3_calloc(model->context, 1, sizeof *t);
    if (!t) return cm3_fail_memory(model->context, sizeof *t, "tokenizer");
    t->context = model->context;
    t->special =
        (cm3_special_tokens){.eod = -1, .pad = -1, .break_ = -1, .begin_image = -1, .end_image = -1, .end_span = -1};
    atomic_init(&t->references, 1);
    cm3_context_retain(model->context);
    model->tokenizer = t;
    if (text) {
        CM3_TRY(cm3_bpe_parse(model->context, name, text, strlen(text), &t->bpe));
        model->parts |= CM3_PART_TOKENIZER;
    }
    if (text && tokens.value) {
        int32_t vocab = model->lm ? model->lm->config.vocab_size : cm3_bpe_vocab_size(t->bpe);
        CM3_TRY(cm3_special_parse(&tokens, vocab, &t->special));
    }
    if (vq_object.value) {
        cm3_vq_config vq_config;
        CM3_TRY(cm3_vq_config_parse(&vq_object, &vq_config));
        CM3_TRY(cm3_vq_load(model->context, &vq_config, model->tensors, "vq.", false, check_weights, &t->vq));
        t->file = model->file;
        cm3_file_retain(model->file);
        model->parts |= CM3_PART_VQ;
    }
    return CM3_OK;
}

/** The parts must speak of the same vocabulary and the same codebook. */
static cm3_status check_parts(const cm3_model *model) {
    const cm3_tokenizer *t = model->tokenizer;
    const char *name = model->file->name;
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

static cm3_status load_parts(cm3_model *model, const cm3_load_options *options) {
    CM3_TRY(cm3_safetensors_open(model->context, model->file, &model->tensors));
    CM3_TRY(check_format(model));
    if (options->verify_checksum) CM3_TRY(check_sum(model));
    const char *config = cm3_safetensors_metadata(model->tensors, "config");
    model->config_json = cm3_strndup(model->context, config, strlen(config));
    if (!model->config_json) return cm3_fail_memory(model->context, strlen(config), "config");
    json_t *json = NULL;
    CM3_TRY(cm3_json_parse(model->context, model->file->name, config, strlen(config), &json));
    cm3_json_object object = {model->context, model->file->name, json};
    cm3_status status = CM3_OK;
    if (!json_is_object(json))
        status = cm3_fail(model->context, CM3_ERROR_FORMAT, "%s: config is not an object", model->file->name);
    if (status == CM3_OK) status = load_lm(model, &object, options->check_weights != 0);
    if (status == CM3_OK) status = load_tokenizer(model, &object, options->check_weights != 0);
    json_decref(json);
    return status == CM3_OK ? check_parts(model) : status;
}

/** Takes the file over, also on failure. */
static cm3_status load(cm3_context *context, cm3_file *file, const cm3_load_options *options, cm3_model **out) {
    cm3_file *own = file;
    if (options->mode == CM3_LOAD_HUGE) {
        cm3_status status = cm3_file_copy_huge(context, file, &own);
        cm3_file_release(file);
        if (status != CM3_OK) return status;
    }
    cm3_model *model = cm3_calloc(context, 1, sizeof *model);
    if (!model || pthread_mutex_init(&model->engine_lock, NULL)) {
        cm3_free(context, model);
        cm3_file_release(own);
        return cm3_fail_memory(context, sizeof *model, "model");
    }
    model->context = context;
    model->file = own;
    atomic_init(&model->references, 1);
    cm3_context_retain(context);
    cm3_status status = load_parts(model, options);
    if (status != CM3_OK) {
        cm3_model_destroy(model);
        return status;
    }
    *out = model;
    return CM3_OK;
}

static cm3_status read_options(cm3_context *context, const cm3_load_options *options, cm3_load_options *own) {
    *own = load_defaults;
    CM3_TRY(cm3_options_read(context, own, sizeof *own, options, "cm3_load_options"));
    if (own->mode == CM3_LOAD_MAP || own->mode == CM3_LOAD_HUGE) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_load_options: mode %d is unknown", (int)own->mode);
}

cm3_status cm3_model_load(cm3_context *context, const char *path, const cm3_load_options *options, cm3_model **model) {
    if (model) *model = NULL;
    if (!context || !path || !model) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_load: an argument is NULL");
    }
    cm3_load_options own;
    cm3_file *file = NULL;
    CM3_TRY(read_options(context, options, &own));
    CM3_TRY(cm3_file_open(context, path, &file));
    return load(context, file, &own, model);
}

cm3_status cm3_model_load_memory(cm3_context *context, const void *data, size_t size, const cm3_load_options *options,
                                 cm3_model **model) {
    if (model) *model = NULL;
    if (!context || !data || !model) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_load_memory: an argument is NULL");
    }
    cm3_load_options own;
    cm3_file *file = NULL;
    CM3_TRY(read_options(context, options, &own));
    CM3_TRY(cm3_file_from_memory(context, data, size, &file));
    return load(context, file, &own, model);
}

cm3_status cm3_model_load_io(cm3_context *context, const cm3_io *io, const cm3_load_options *options,
                             cm3_model **model) {
    if (model) *model = NULL;
    if (!context || !io || !model) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_load_io: an argument is NULL");
    }
    cm3_load_options own;
    cm3_file *file = NULL;
    CM3_TRY(read_options(context, options, &own));
    CM3_TRY(cm3_file_from_io(context, io, &file));
    return load(context, file, &own, model);
}

/* --- description ---------------------------------------------------------------------------------------------------
 */

cm3_status cm3_model_get_info(const cm3_model *model, cm3_model_info *info) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_model_info own = {.parts = model->parts};
    if (model->lm) {
        const cm3_lm_config *c = &model->lm->config;
        own.vocab_size = c->vocab_size, own.hidden_size = c->hidden_size, own.layers = c->layers, own.heads = c->heads;
        own.kv_heads = c->kv_heads, own.ffn_size = c->ffn_size, own.context_length = c->max_positions;
        own.lm_parameters = cm3_lm_config_parameters(c);
    }
    for (size_t i = 0; i < cm3_safetensors_count(model->tensors); i++) {
        const cm3_entry *entry = cm3_safetensors_at(model->tensors, i);
        own.weight_bytes += entry->size;
        if (strncmp(entry->name, "vq.", 3) == 0) own.vq_parameters += (uint64_t)entry->count;
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
        return cm3_fail(model->context, CM3_ERROR_NOT_FOUND, "%s: the file holds no tokenizer", model->file->name);
    }
    cm3_tokenizer_retain(model->tokenizer);
    *tokenizer = model->tokenizer;
    return CM3_OK;
}

/* --- the plain forward pass ----------------------------------------------------------------------------------------
 */

typedef struct cm3_logits_call {
    const cm3_model *model;
    const int32_t *ids;
    size_t count;
    cm3_compute compute;
    float *logits;
} cm3_logits_call;

static cm3_status compute_logits(void *arg) {
    const cm3_logits_call *call = arg;
    cm3_graph *graph = NULL;
    CM3_TRY(cm3_graph_create(call->model->context, &(cm3_graph_options){.compute = call->compute}, &graph));
    int32_t *positions = cm3_graph_scratch(graph, call->count * sizeof *positions);
    int32_t *first = cm3_graph_scratch(graph, call->count * sizeof *first);
    cm3_tensor *logits = NULL;
    if (positions && first) {
        for (size_t i = 0; i < call->count; i++) {
            positions[i] = (int32_t)i;
            first[i] = 0;
        }
        cm3_lm_batch batch = {
            .rows = (int64_t)call->count, .ids = call->ids, .positions = positions, .plan = {.first = first}};
        logits = cm3_lm_forward(graph, call->model->lm, &batch);
    }
    if (logits) memcpy(call->logits, logits->data, (size_t)logits->count * sizeof(float));
    cm3_status status = cm3_graph_status(graph);
    cm3_graph_destroy(graph);
    return status;
}

cm3_status cm3_model_logits(const cm3_model *model, const int32_t *ids, size_t count, cm3_compute compute,
                            float *logits) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    if (!ids || !count || !logits) {
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_model_logits: an argument is NULL or count is 0");
    }
    if (compute != CM3_COMPUTE_AUTO && compute != CM3_COMPUTE_F32 && compute != CM3_COMPUTE_BF16) {
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_logits: compute %d is unknown",
                        (int)compute);
    }
    if (!model->lm) return cm3_fail(model->context, CM3_ERROR_UNSUPPORTED, "the model has no language model");
    if (count > (size_t)model->lm->config.max_positions) {
        return cm3_fail(model->context, CM3_ERROR_TOO_LONG, "%zu tokens are more than the context of %d", count,
                        model->lm->config.max_positions);
    }
    cm3_logits_call call = {model, ids, count, compute, logits};
    return cm3_context_run(model->context, compute_logits, &call);
}
