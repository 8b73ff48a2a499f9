/* Training the two-tower encoder (Radford et al. 2021), the batch as large as one likes (Gao et al. 2021). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "base/random.h"
#include "model/model.h"
#include "train/contrastive.h"
#include "train/trainer.h"

#define MOST_SCALE 100.0f

typedef struct cm3_encoder_run {
    cm3_train_encoder_options options;
    cm3_tokenizer *tokenizer;
    cm3_clip *clip;
    cm3_tensor log_scale;
    float log_scale_value;
    int32_t *ids[2]; /**< the loader's scratch, of data and of validation */
    size_t id_capacity[2];
    float *vectors, *gradients; /**< [3, batch, d]: pictures, texts, queries */
} cm3_encoder_run;

static const cm3_train_encoder_options defaults = {
    .struct_size = sizeof defaults,
    .chunk = 32,
    .initial_scale = 1 / 0.07f,
    .query_weight = 1,
};

void cm3_train_encoder_options_init(cm3_train_encoder_options *options) {
    if (options) *options = defaults;
}

static cm3_encoder_run *run_of(const cm3_trainer *trainer) {
    return trainer->part;
}

/* --- batches -------------------------------------------------------------------------------------------------------
 */

/** A batch: for each pair a picture's values, then the lengths of both texts, then their ids in equal rooms. */
typedef struct pair_batch {
    float *pixels;
    int32_t *lengths; /**< [2, batch]; 0 of a query: there is none */
    int32_t *ids;     /**< [2, batch, max_positions] */
} pair_batch;

static size_t picture_values(const cm3_encoder_run *run) {
    const size_t side = (size_t)run->clip->config.image_size;
    return side * side * 3;
}

static pair_batch parts_of(const cm3_trainer *trainer, void *memory) {
    const size_t n = (size_t)trainer->options.batch_size;
    pair_batch batch = {.pixels = memory};
    batch.lengths = (int32_t *)(void *)(batch.pixels + n * picture_values(run_of(trainer)));
    batch.ids = batch.lengths + 2 * n;
    return batch;
}

static size_t batch_size(const cm3_trainer *trainer) {
    const cm3_encoder_run *run = run_of(trainer);
    const size_t n = (size_t)trainer->options.batch_size, most = (size_t)run->clip->config.max_positions;
    return n * (picture_values(run) * sizeof(float) + 2 * (1 + most) * sizeof(int32_t));
}

static cm3_status put_picture(const cm3_trainer *trainer, const cm3_sample *sample, float *to) {
    cm3_context *context = trainer->context;
    cm3_image *image = NULL;
    cm3_status status = cm3_image_load_memory(context, sample->image, sample->image_size, &image);
    if (status != CM3_OK && status != CM3_ERROR_NO_MEMORY) {
        char message[512];
        snprintf(message, sizeof message, "%s", cm3_context_message(context));
        return cm3_fail(context, status, "%s: %s", sample->name, message);
    }
    if (status == CM3_OK) {
        status = cm3_preprocess_hf(context, image, &run_of(trainer)->clip->config.preprocessing, to);
    }
    cm3_image_destroy(image);
    return status;
}

static cm3_status put_text(const cm3_trainer *trainer, bool validating, const char *text, int32_t *to,
                           int32_t *length) {
    cm3_encoder_run *run = run_of(trainer);
    size_t count = 0;
    CM3_TRY(cm3_clip_text_ids(&run->clip->config, run->tokenizer->bpe, trainer->context, text, &run->ids[validating],
                              &count, &run->id_capacity[validating]));
    memcpy(to, run->ids[validating], count * sizeof *to);
    *length = (int32_t)count;
    return CM3_OK;
}

/** The text that goes with the picture, and what is asked for it: drawn anew each time a record comes. */
static void draw_texts(const cm3_trainer *trainer, const cm3_sample *sample, uint64_t position, const char **text,
                       const char **query) {
    cm3_random random = cm3_random_make(trainer->options.seed, 0x5041495200000000u ^ position);
    const int32_t which = (int32_t)cm3_random_below(&random, (uint64_t)sample->caption_count);
    *text = cm3_sample_caption(sample, which);
    *query = NULL;
    if (sample->query_count) {
        *query = cm3_sample_query(sample, (int32_t)cm3_random_below(&random, (uint64_t)sample->query_count));
    } else if (sample->caption_count > 1) {
        const int32_t other = (int32_t)cm3_random_below(&random, (uint64_t)sample->caption_count - 1);
        *query = cm3_sample_caption(sample, other + (other >= which));
    }
}

static cm3_status make_batch(void *arg, cm3_dataset *dataset, uint64_t *position, void *memory) {
    cm3_trainer *trainer = arg;
    const cm3_encoder_run *run = run_of(trainer);
    const bool validating = dataset == trainer->validation;
    const int32_t n = trainer->options.batch_size, most = run->clip->config.max_positions;
    const pair_batch batch = parts_of(trainer, memory);
    for (int32_t i = 0; i < n; i++) {
        const uint64_t at = (*position)++;
        const cm3_sample *sample = cm3_dataset_at(dataset, at);
        const char *text, *query;
        draw_texts(trainer, sample, at, &text, &query);
        CM3_TRY(put_picture(trainer, sample, batch.pixels + (size_t)i * picture_values(run)));
        CM3_TRY(put_text(trainer, validating, text, batch.ids + (int64_t)i * most, &batch.lengths[i]));
        batch.lengths[n + i] = 0;
        if (query)
            CM3_TRY(put_text(trainer, validating, query, batch.ids + (int64_t)(n + i) * most, &batch.lengths[n + i]));
    }
    return CM3_OK;
}

/* --- the step ------------------------------------------------------------------------------------------------------
 */

/** Texts first..first + count - 1 of a row of the batch (0: texts, 1: queries) as vectors; those that are none are left
 * out. */
static cm3_tensor *embed_texts(cm3_trainer *trainer, const pair_batch *batch, int row, int64_t first, int64_t count) {
    cm3_graph *graph = trainer->graph;
    cm3_encoder_run *run = run_of(trainer);
    const int64_t n = trainer->options.batch_size, most = run->clip->config.max_positions;
    int32_t *ids = cm3_graph_scratch(graph, (size_t)(count * most) * sizeof *ids);
    int32_t *starts = cm3_graph_scratch(graph, (size_t)(count + 1) * sizeof *starts);
    int64_t texts = 0;
    if (!ids || !starts) return NULL;
    starts[0] = 0;
    for (int64_t i = row * n + first; i < row * n + first + count; i++) {
        const int32_t length = batch->lengths[i];
        if (!length) continue;
        memcpy(ids + starts[texts], batch->ids + i * most, (size_t)length * sizeof *ids);
        starts[texts + 1] = starts[texts] + length;
        texts++;
    }
    return texts ? cm3_clip_texts(graph, run->clip, ids, starts, texts) : NULL;
}

static cm3_tensor *embed_pictures(cm3_trainer *trainer, const pair_batch *batch, int64_t first, int64_t count) {
    cm3_encoder_run *run = run_of(trainer);
    const int64_t side = run->clip->config.image_size, shape[] = {count, side, side, 3};
    cm3_tensor *x = cm3_graph_scratch(trainer->graph, sizeof *x);
    if (!x) return NULL;
    *x = cm3_tensor_over(batch->pixels + first * (int64_t)picture_values(run), CM3_F32, 4, shape);
    return cm3_clip_images(trainer->graph, run->clip, x);
}

/** A chunk's three lists of vectors; *queries is how many of the third there are. */
static cm3_status embed_chunk(cm3_trainer *trainer, const pair_batch *batch, int64_t first, int64_t count,
                              cm3_tensor *made[3]) {
    const int64_t n = trainer->options.batch_size;
    bool asked = false;
    cm3_graph_reset(trainer->graph);
    made[0] = embed_pictures(trainer, batch, first, count);
    made[1] = embed_texts(trainer, batch, 0, first, count);
    for (int64_t i = 0; i < count; i++) asked = asked || batch->lengths[n + first + i];
    made[2] = asked ? embed_texts(trainer, batch, 1, first, count) : NULL;
    return cm3_graph_status(trainer->graph);
}

/** Copies rows between a chunk's tensor and the batch's list; of queries, which may be fewer, to where they belong. */
static void copy_rows(const cm3_trainer *trainer, const pair_batch *batch, int kind, int64_t first, int64_t count,
                      float *list, float *rows, bool to_list) {
    const int64_t d = run_of(trainer)->clip->config.projection_dim, n = trainer->options.batch_size;
    for (int64_t i = first; i < first + count; i++) {
        if (kind == 2 && !batch->lengths[n + i]) continue;
        float *own = list + i * d;
        memcpy(to_list ? own : rows, to_list ? rows : own, (size_t)d * sizeof *own);
        rows += d;
    }
}

/** All vectors of the batch, chunk by chunk, without a tape. */
static cm3_status embed_batch(cm3_trainer *trainer, const pair_batch *batch) {
    cm3_encoder_run *run = run_of(trainer);
    const int64_t n = trainer->options.batch_size, d = run->clip->config.projection_dim, chunk = run->options.chunk;
    const bool recorded = trainer->graph->record;
    cm3_status status = CM3_OK;
    trainer->graph->record = false;
    for (int64_t first = 0; first < n && status == CM3_OK; first += chunk) {
        const int64_t count = n - first < chunk ? n - first : chunk;
        cm3_tensor *made[3];
        status = embed_chunk(trainer, batch, first, count, made);
        for (int k = 0; k < 3 && status == CM3_OK; k++) {
            if (made[k]) copy_rows(trainer, batch, k, first, count, run->vectors + k * n * d, cm3_f32(made[k]), true);
        }
    }
    trainer->graph->record = recorded;
    if (status == CM3_OK) cm3_graph_reset(trainer->graph);
    return status;
}

/** Text by query, of those that have one: gathered, compared, and gradients laid back where they belong. */
static cm3_status compare_queries(cm3_trainer *trainer, const pair_batch *batch, float scale, bool learns,
                                  cm3_contrastive_result *result) {
    cm3_encoder_run *run = run_of(trainer);
    cm3_graph *graph = trainer->graph;
    const int64_t n = trainer->options.batch_size, d = run->clip->config.projection_dim;
    float *lists = cm3_graph_scratch(graph, (size_t)(4 * n * d) * sizeof *lists);
    int64_t count = 0;
    if (!lists) return cm3_graph_status(graph);
    memset(lists, 0, (size_t)(4 * n * d) * sizeof *lists);
    float *queries = lists, *texts = lists + n * d, *dqueries = lists + 2 * n * d, *dtexts = lists + 3 * n * d;
    for (int64_t i = 0; i < n; i++) {
        if (!batch->lengths[n + i]) continue;
        memcpy(queries + count * d, run->vectors + (2 * n + i) * d, (size_t)d * sizeof *queries);
        memcpy(texts + count * d, run->vectors + (n + i) * d, (size_t)d * sizeof *texts);
        count++;
    }
    *result = (cm3_contrastive_result){0};
    if (!count) return CM3_OK;
    const cm3_contrastive pairs = {queries, texts, count, d, scale};
    CM3_TRY(cm3_contrastive_loss(graph, &pairs, run->options.query_weight, learns ? dqueries : NULL, dtexts, result));
    count = 0;
    for (int64_t i = 0; i < n && learns; i++) {
        if (!batch->lengths[n + i]) continue;
        graph->kernels->axpy(run->gradients + (2 * n + i) * d, 1, dqueries + count * d, d);
        graph->kernels->axpy(run->gradients + (n + i) * d, 1, dtexts + count * d, d);
        count++;
    }
    return CM3_OK;
}

/** The batch's loss; where it learns, the gradients of all vectors and of the scale. */
static cm3_status compare(cm3_trainer *trainer, const pair_batch *batch, bool learns, cm3_train_report *report) {
    cm3_encoder_run *run = run_of(trainer);
    const int64_t n = trainer->options.batch_size, d = run->clip->config.projection_dim;
    const float scale = expf(fminf(*cm3_f32(&run->log_scale), logf(MOST_SCALE)));
    cm3_contrastive_result pictures, queries;
    memset(run->gradients, 0, (size_t)(3 * n * d) * sizeof *run->gradients);
    const cm3_contrastive pairs = {run->vectors + n * d, run->vectors, n, d, scale};
    CM3_TRY(cm3_contrastive_loss(trainer->graph, &pairs, 1, learns ? run->gradients + n * d : NULL, run->gradients,
                                 &pictures));
    CM3_TRY(compare_queries(trainer, batch, scale, learns, &queries));
    report->image_loss += pictures.loss;
    report->text_loss += queries.loss;
    report->loss += pictures.loss + (double)run->options.query_weight * queries.loss;
    report->recall += pictures.recall;
    report->query_recall += queries.recall;
    report->scale += (double)scale;
    if (!learns) return CM3_OK;
    /* A scale at its limit may only fall. */
    const double slope = pictures.dscale + queries.dscale;
    float *grad = cm3_graph_grad_add(trainer->graph, &run->log_scale);
    if (!grad) return cm3_graph_status(trainer->graph);
    if (slope > 0 || scale < MOST_SCALE) *grad += (float)slope;
    return CM3_OK;
}

/** Lays a chunk's part of the gradients on its vectors and goes back from there. */
static cm3_status go_back(cm3_trainer *trainer, const pair_batch *batch, int64_t first, int64_t count,
                          cm3_tensor *const made[3]) {
    cm3_encoder_run *run = run_of(trainer);
    const int64_t list = (int64_t)trainer->options.batch_size * run->clip->config.projection_dim;
    for (int k = 0; k < 3; k++) {
        if (!made[k]) continue;
        float *grad = cm3_graph_grad_add(trainer->graph, made[k]);
        if (!grad) return cm3_graph_status(trainer->graph);
        copy_rows(trainer, batch, k, first, count, run->gradients + k * list, grad, false);
    }
    return cm3_graph_backward_laid(trainer->graph);
}

/** A batch that goes through at once: one pass forward, one back. */
static cm3_status learn_at_once(cm3_trainer *trainer, const pair_batch *batch, cm3_train_report *report) {
    cm3_encoder_run *run = run_of(trainer);
    const int64_t n = trainer->options.batch_size, list = n * run->clip->config.projection_dim;
    cm3_tensor *made[3];
    CM3_TRY(embed_chunk(trainer, batch, 0, n, made));
    for (int k = 0; k < 3; k++) {
        if (made[k]) copy_rows(trainer, batch, k, 0, n, run->vectors + k * list, cm3_f32(made[k]), true);
    }
    CM3_TRY(compare(trainer, batch, true, report));
    return go_back(trainer, batch, 0, n, made);
}

/** A larger one: its vectors without a tape, the loss over all of them, and each chunk once more with a tape. */
static cm3_status learn_in_chunks(cm3_trainer *trainer, const pair_batch *batch, cm3_train_report *report) {
    const int64_t n = trainer->options.batch_size, chunk = run_of(trainer)->options.chunk;
    CM3_TRY(embed_batch(trainer, batch));
    CM3_TRY(compare(trainer, batch, true, report));
    for (int64_t first = 0; first < n; first += chunk) {
        const int64_t count = n - first < chunk ? n - first : chunk;
        cm3_tensor *made[3];
        CM3_TRY(embed_chunk(trainer, batch, first, count, made));
        CM3_TRY(go_back(trainer, batch, first, count, made));
    }
    return CM3_OK;
}

static cm3_status micro_step(cm3_trainer *trainer, const void *memory, cm3_train_report *report) {
    const pair_batch batch = parts_of(trainer, (void *)(uintptr_t)memory);
    const bool at_once = trainer->options.batch_size <= run_of(trainer)->options.chunk;
    CM3_TRY((at_once ? learn_at_once : learn_in_chunks)(trainer, &batch, report));
    trainer->samples += (uint64_t)trainer->options.batch_size;
    return CM3_OK;
}

static cm3_status measure(cm3_trainer *trainer, const void *memory, cm3_train_report *report) {
    const pair_batch batch = parts_of(trainer, (void *)(uintptr_t)memory);
    CM3_TRY(embed_batch(trainer, &batch));
    return compare(trainer, &batch, false, report);
}

static cm3_status export_to(const cm3_trainer *trainer, const char *path, cm3_dtype dtype) {
    const cm3_encoder_run *run = run_of(trainer);
    return cm3_model_write(
        trainer->context, path,
        &(cm3_model_content){
            .clip = run->clip, .clip_dtype = dtype, .bpe = run->tokenizer->bpe, .special = &run->tokenizer->special});
}

static void destroy(cm3_trainer *trainer) {
    cm3_encoder_run *run = run_of(trainer);
    if (!run) return;
    cm3_clip_destroy(run->clip);
    cm3_tokenizer_destroy(run->tokenizer);
    for (int i = 0; i < 2; i++) cm3_free(trainer->context, run->ids[i]);
    cm3_free(trainer->context, run->vectors);
    cm3_free(trainer->context, run->gradients);
    cm3_free(trainer->context, run);
}

static const cm3_trainer_kind encoder_kind = {
    .name = "encoder",
    .micro_step = micro_step,
    .measure = measure,
    .export_to = export_to,
    .destroy = destroy,
    .maker = make_batch,
};

/* --- creation ------------------------------------------------------------------------------------------------------
 */

static cm3_status check_options(cm3_context *context, const cm3_train_encoder_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->config_json != NULL, "config_json is NULL"},
        {o->tokenizer != NULL, "tokenizer is NULL"},
        {o->chunk >= 1 && o->chunk <= 65536, "chunk must be 1..65536"},
        {o->initial_scale >= 1 && o->initial_scale <= MOST_SCALE, "initial_scale must be 1..100"},
        {o->query_weight >= 0 && o->query_weight <= 1000, "query_weight must be 0..1000"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "encoder training: %s", rules[i].rule);
    }
    return CM3_OK;
}

static cm3_status check_records(const cm3_trainer *trainer, const cm3_dataset *dataset) {
    for (size_t i = 0; dataset && i < dataset->count; i++) {
        const cm3_sample *sample = &dataset->samples[i];
        if (sample->image && sample->caption_count) continue;
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%s has no %s", sample->name,
                        sample->image ? "text" : "picture");
    }
    return CM3_OK;
}

/** From tokenizer.json, or out of a model. */
static cm3_status load_tokenizer(cm3_context *context, const char *path, cm3_tokenizer **tokenizer) {
    const char *end = strrchr(path, '.');
    if (!end || strcmp(end, ".cm3") != 0) return cm3_tokenizer_load(context, path, tokenizer);
    cm3_model *model = NULL;
    CM3_TRY(cm3_model_load(context, path, NULL, &model));
    cm3_status status = cm3_model_tokenizer(model, tokenizer);
    cm3_model_destroy(model);
    return status;
}

static cm3_status read_config(cm3_trainer *trainer, cm3_clip_config *config, json_t **json) {
    cm3_context *context = trainer->context;
    const cm3_encoder_run *run = run_of(trainer);
    const char *text = run->options.config_json;
    CM3_TRY(cm3_json_parse(context, "encoder configuration", text, strlen(text), json));
    const cm3_json_object object = {context, "encoder configuration", *json};
    CM3_TRY(cm3_clip_config_parse(&object, config));
    if (!config->text.present || !config->vision.present) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "encoder configuration: both towers are learned together");
    }
    if (!run->tokenizer->bpe || run->tokenizer->special.eod < 0) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: there is no tokenizer of texts with an end in it",
                        run->options.tokenizer);
    }
    config->vocab_size = cm3_bpe_vocab_size(run->tokenizer->bpe);
    config->eos = run->tokenizer->special.eod;
    if (config->eos != CM3_CLIP_EOS_IS_LARGEST) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_UNSUPPORTED, "%s: id %d as the end of texts has another meaning in old files",
                    run->options.tokenizer, config->eos);
}

static cm3_status make_settings(cm3_trainer *trainer, const json_t *config) {
    const cm3_train_encoder_options *o = &run_of(trainer)->options;
    json_t *settings = cm3_trainer_settings(trainer);
    json_t *own = json_pack("{s:O,s:f,s:f}", "config", config, "initial_scale", (double)o->initial_scale,
                            "query_weight", (double)o->query_weight);
    char *text = NULL;
    if (settings && own && json_object_update(settings, own) == 0)
        text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(settings);
    json_decref(own);
    trainer->settings = text ? cm3_strndup(trainer->context, text, strlen(text)) : NULL;
    free(text);
    return trainer->settings ? CM3_OK : cm3_fail_memory(trainer->context, 0, "settings");
}

static cm3_status add_parameters(cm3_trainer *trainer) {
    cm3_encoder_run *run = run_of(trainer);
    for (size_t i = 0; i < run->clip->parameter_count; i++) {
        const cm3_clip_parameter *p = &run->clip->parameters[i];
        /* Tables are looked up in f32, and neither they nor the positions are to shrink. */
        const bool table = strstr(p->name, "token_embedding") || strstr(p->name, "position_embedding");
        const bool matrix = p->tensor->rank > 1 && !table;
        CM3_TRY(cm3_optimizer_add(&trainer->optimizer, p->name, p->tensor, matrix, matrix));
    }
    const int64_t one = 1;
    run->log_scale_value = logf(run->options.initial_scale);
    run->log_scale = cm3_tensor_over(&run->log_scale_value, CM3_F32, 1, &one);
    return cm3_optimizer_add(&trainer->optimizer, "logit_scale", &run->log_scale, false, false);
}

static cm3_status make_run(cm3_trainer *trainer, const cm3_train_encoder_options *options) {
    cm3_context *context = trainer->context;
    cm3_encoder_run *run = cm3_calloc(context, 1, sizeof *run);
    if (!run) return cm3_fail_memory(context, sizeof *run, "trainer");
    trainer->part = run;
    run->options = *options;
    CM3_TRY(check_records(trainer, trainer->data));
    CM3_TRY(check_records(trainer, trainer->validation));
    CM3_TRY(load_tokenizer(context, options->tokenizer, &run->tokenizer));
    json_t *json = NULL;
    cm3_clip_config config;
    cm3_status status = read_config(trainer, &config, &json);
    if (status == CM3_OK) status = make_settings(trainer, json);
    json_decref(json);
    run->options.config_json = run->options.tokenizer = NULL; /* the caller's; not needed any more */
    if (status == CM3_OK) status = cm3_clip_create_random(context, &config, trainer->options.seed, &run->clip);
    if (status == CM3_OK) status = add_parameters(trainer);
    if (status != CM3_OK) return status;
    const size_t numbers = 3 * (size_t)trainer->options.batch_size * (size_t)config.projection_dim;
    run->vectors = cm3_calloc(context, numbers, sizeof *run->vectors);
    run->gradients = cm3_calloc(context, numbers, sizeof *run->gradients);
    if (run->vectors && run->gradients) return CM3_OK;
    return cm3_fail_memory(context, numbers * sizeof *run->vectors, "trainer");
}

cm3_status cm3_trainer_create_encoder(cm3_context *context, const cm3_train_options *options,
                                      const cm3_train_encoder_options *encoder, cm3_trainer **trainer) {
    if (trainer) *trainer = NULL;
    if (!context || !options || !encoder || !trainer) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_trainer_create_encoder: an argument is NULL");
    }
    cm3_train_encoder_options own = defaults;
    CM3_TRY(cm3_options_read(context, &own, sizeof own, encoder, "cm3_train_encoder_options"));
    CM3_TRY(check_options(context, &own));
    cm3_trainer *made = NULL;
    cm3_status status = cm3_trainer_init(context, options, &encoder_kind, &made);
    if (status == CM3_OK) status = make_run(made, &own);
    if (status == CM3_OK) {
        made->batch_bytes = batch_size(made);
        status = cm3_trainer_begin(made);
    }
    if (status != CM3_OK) {
        cm3_trainer_destroy(made);
        return status;
    }
    *trainer = made;
    return CM3_OK;
}
