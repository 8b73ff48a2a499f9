/* Training the two-tower encoder (Radford et al. 2021), the batch as large as one likes (Gao et al. 2021). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "train/contrastive.h"
#include "train/encoder_run.h"

#define MOST_SCALE 100.0f

static const cm3_train_encoder_options defaults = {
    .struct_size = sizeof defaults,
    .chunk = 32,
    .initial_scale = 1 / 0.07f,
    .query_weight = 1,
    .together = 1,
};

void cm3_train_encoder_options_init(cm3_train_encoder_options *options) {
    if (options) *options = defaults;
}

/* --- the step ------------------------------------------------------------------------------------------------------
 */

/** Texts first..first + count - 1 of a row of the batch (0: texts, 1: queries) as vectors; those that are none are left
 * out. */
static cm3_tensor *embed_texts(cm3_trainer *trainer, const cm3_pair_batch *batch, int row, int64_t first,
                               int64_t count) {
    cm3_graph *graph = trainer->graph;
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
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

static cm3_tensor *embed_pictures(cm3_trainer *trainer, const cm3_pair_batch *batch, int64_t first, int64_t count) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const int64_t side = run->clip->config.image_size, shape[] = {count, side, side, 3};
    cm3_tensor *x = cm3_graph_scratch(trainer->graph, sizeof *x);
    if (!x) return NULL;
    *x = cm3_tensor_over(batch->pixels + first * (int64_t)cm3_encoder_picture_values(run), CM3_F32, 4, shape);
    return cm3_clip_images(trainer->graph, run->clip, x);
}

/** A chunk's three lists of vectors: of pictures, texts and, where any of its records has one, queries. */
static cm3_status embed_chunk(cm3_trainer *trainer, const cm3_pair_batch *batch, int64_t first, int64_t count,
                              cm3_tensor *made[3]) {
    const int64_t n = trainer->options.batch_size;
    bool asked = false;
    cm3_graph_reset(trainer->graph);
    made[1] = embed_texts(trainer, batch, 0, first, count);
    for (int64_t i = 0; i < count; i++) asked = asked || batch->lengths[n + first + i];
    made[2] = asked ? embed_texts(trainer, batch, 1, first, count) : NULL;
    /* Pictures last, and so the first on the way back: gradients become final in the order of the optimiser's places.
     */
    made[0] = embed_pictures(trainer, batch, first, count);
    return cm3_graph_status(trainer->graph);
}

/** Copies rows between a chunk's tensor and the batch's list; of queries, which may be fewer, to where they belong. */
static void copy_rows(const cm3_trainer *trainer, const cm3_pair_batch *batch, int kind, int64_t first, int64_t count,
                      float *list, float *rows, bool to_list) {
    const int64_t d = cm3_encoder_run_of(trainer)->clip->config.projection_dim, n = trainer->options.batch_size;
    for (int64_t i = first; i < first + count; i++) {
        if (kind == 2 && !batch->lengths[n + i]) continue;
        float *own = list + i * d;
        memcpy(to_list ? own : rows, to_list ? rows : own, (size_t)d * sizeof *own);
        rows += d;
    }
}

/** The vectors of this rank's chunks, without a tape. */
static cm3_status embed_own(cm3_trainer *trainer, const cm3_pair_batch *batch) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const int64_t list = run->room * run->clip->config.projection_dim, chunk = run->options.chunk;
    const cm3_pair_range own = cm3_encoder_own_pairs(trainer);
    for (int64_t first = own.begin; first < own.end; first += chunk) {
        const int64_t count = own.end - first < chunk ? own.end - first : chunk;
        cm3_tensor *made[3];
        CM3_TRY(embed_chunk(trainer, batch, first, count, made));
        for (int k = 0; k < 3; k++) {
            if (made[k]) copy_rows(trainer, batch, k, first, count, run->vectors + k * list, cm3_f32(made[k]), true);
        }
    }
    return CM3_OK;
}

/** All vectors of the batch: each rank's own, and those of the others. */
static cm3_status embed_batch(cm3_trainer *trainer, const cm3_pair_batch *batch) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const bool recorded = trainer->graph->record;
    trainer->graph->record = false;
    cm3_status status = embed_own(trainer, batch);
    trainer->graph->record = recorded;
    CM3_TRY(cm3_trainer_agree(trainer, status));
    cm3_graph_reset(trainer->graph);
    const int64_t list = run->room * run->clip->config.projection_dim;
    for (int k = 0; k < 3 && !cm3_ranks_alone(&trainer->ranks); k++) {
        CM3_TRY(cm3_ranks_gather(&trainer->ranks, run->vectors + k * list,
                                 (size_t)(list / trainer->ranks.comm.size) * sizeof *run->vectors));
    }
    return CM3_OK;
}

/** What queries meet: pair i's text, or its document: the sum of the unit vectors of text and picture, whose length is
 * the loss' own business. `unit`: room for a vector. */
static void target_of(const cm3_encoder_run *run, int64_t i, float *to, float *unit) {
    const int64_t d = run->clip->config.projection_dim;
    const float *text = run->vectors + (run->room + i) * d, *picture = run->vectors + i * d;
    float length;
    if (!run->options.query_documents) {
        memcpy(to, text, (size_t)d * sizeof *to);
        return;
    }
    cm3_unit_rows(text, 1, d, to, &length);
    cm3_unit_rows(picture, 1, d, unit, &length);
    for (int64_t j = 0; j < d; j++) to[j] += unit[j];
}

/** A gradient of pair i's target, as part of those of its text and its picture. */
static void add_to_target(const cm3_trainer *trainer, int64_t i, const float *gradient, float *unit) {
    const cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const int64_t d = run->clip->config.projection_dim;
    const int64_t rows[] = {(run->room + i) * d, i * d};
    float length;
    if (!run->options.query_documents) {
        trainer->graph->kernels->axpy(run->gradients + rows[0], 1, gradient, d);
        return;
    }
    for (int k = 0; k < 2; k++) {
        cm3_unit_rows(run->vectors + rows[k], 1, d, unit, &length);
        cm3_unit_rows_back(gradient, unit, &length, 1, d, 1, run->gradients + rows[k]);
    }
}

/** What is looked up by query, of those that have one: gathered, compared, and gradients laid back where they belong.
 */
static cm3_status compare_queries(cm3_trainer *trainer, const cm3_pair_batch *batch, float scale, bool learns,
                                  cm3_contrastive_result *result) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    cm3_graph *graph = trainer->graph;
    const int64_t n = trainer->options.batch_size, d = run->clip->config.projection_dim;
    float *lists = cm3_graph_scratch(graph, (size_t)(4 * n * d + d) * sizeof *lists);
    int64_t count = 0;
    if (!lists) return cm3_graph_status(graph);
    memset(lists, 0, (size_t)(4 * n * d) * sizeof *lists);
    float *queries = lists, *targets = lists + n * d, *dqueries = lists + 2 * n * d, *dtargets = lists + 3 * n * d,
          *unit = lists + 4 * n * d;
    for (int64_t i = 0; i < n; i++) {
        if (!batch->lengths[n + i]) continue;
        memcpy(queries + count * d, run->vectors + (2 * run->room + i) * d, (size_t)d * sizeof *queries);
        target_of(run, i, targets + count * d, unit);
        count++;
    }
    *result = (cm3_contrastive_result){0};
    if (!count) return CM3_OK;
    const cm3_contrastive pairs = {queries, targets, count, d, scale};
    CM3_TRY(cm3_contrastive_loss(graph, &pairs, run->options.query_weight, learns ? dqueries : NULL, dtargets, result));
    count = 0;
    for (int64_t i = 0; i < n && learns; i++) {
        if (!batch->lengths[n + i]) continue;
        graph->kernels->axpy(run->gradients + (2 * run->room + i) * d, 1, dqueries + count * d, d);
        add_to_target(trainer, i, dtargets + count * d, unit);
        count++;
    }
    return CM3_OK;
}

/** The batch's loss; where it learns, the gradients of all vectors and of the scale. */
static cm3_status compare(cm3_trainer *trainer, const cm3_pair_batch *batch, bool learns, cm3_train_report *report) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const int64_t n = trainer->options.batch_size, d = run->clip->config.projection_dim;
    const float scale = expf(fminf(*cm3_f32(&run->log_scale), logf(MOST_SCALE)));
    cm3_contrastive_result pictures, queries;
    memset(run->gradients, 0, (size_t)(3 * run->room * d) * sizeof *run->gradients);
    const cm3_contrastive pairs = {run->vectors + run->room * d, run->vectors, n, d, scale};
    CM3_TRY(cm3_contrastive_loss(trainer->graph, &pairs, 1, learns ? run->gradients + run->room * d : NULL,
                                 run->gradients, &pictures));
    CM3_TRY(compare_queries(trainer, batch, scale, learns, &queries));
    /* All ranks have computed the same; it counts once. */
    if (trainer->ranks.comm.rank > 0) return CM3_OK;
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

/** The next pass with a tape is the step's last; the scale's gradient is no matter of the tape. */
static void watch(cm3_trainer *trainer) {
    cm3_buckets_watch(trainer->buckets, trainer->graph);
    cm3_buckets_final(trainer->buckets, &cm3_encoder_run_of(trainer)->log_scale);
}

/** Lays a chunk's part of the gradients on its vectors and goes back from there. */
static cm3_status go_back(cm3_trainer *trainer, const cm3_pair_batch *batch, int64_t first, int64_t count,
                          cm3_tensor *const made[3]) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const int64_t list = run->room * run->clip->config.projection_dim;
    for (int k = 0; k < 3; k++) {
        if (!made[k]) continue;
        float *grad = cm3_graph_grad_add(trainer->graph, made[k]);
        if (!grad) return cm3_graph_status(trainer->graph);
        copy_rows(trainer, batch, k, first, count, run->gradients + k * list, grad, false);
    }
    return cm3_graph_backward_laid(trainer->graph);
}

/** A batch that goes through at once: one pass forward, one back. */
static cm3_status learn_at_once(cm3_trainer *trainer, const cm3_pair_batch *batch, cm3_train_report *report) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const int64_t n = trainer->options.batch_size, list = run->room * run->clip->config.projection_dim;
    cm3_tensor *made[3];
    CM3_TRY(embed_chunk(trainer, batch, 0, n, made));
    for (int k = 0; k < 3; k++) {
        if (made[k]) copy_rows(trainer, batch, k, 0, n, run->vectors + k * list, cm3_f32(made[k]), true);
    }
    CM3_TRY(compare(trainer, batch, true, report));
    return go_back(trainer, batch, 0, n, made);
}

/** A larger one: its vectors without a tape, the loss over all of them, and each chunk once more with a tape. */
static cm3_status learn_in_chunks(cm3_trainer *trainer, const cm3_pair_batch *batch, cm3_train_report *report) {
    const int64_t chunk = cm3_encoder_run_of(trainer)->options.chunk;
    const cm3_pair_range own = cm3_encoder_own_pairs(trainer);
    CM3_TRY(embed_batch(trainer, batch));
    CM3_TRY(compare(trainer, batch, true, report));
    for (int64_t first = own.begin; first < own.end; first += chunk) {
        const int64_t count = own.end - first < chunk ? own.end - first : chunk;
        cm3_tensor *made[3];
        if (trainer->last_micro && first + count == own.end) watch(trainer);
        CM3_TRY(embed_chunk(trainer, batch, first, count, made));
        CM3_TRY(go_back(trainer, batch, first, count, made));
    }
    return CM3_OK;
}

static void begin_step(cm3_trainer *trainer) {
    trainer->points = cm3_ranks_alone(&trainer->ranks) ? 0 : trainer->options.accumulation;
}

static cm3_status micro_step(cm3_trainer *trainer, const void *memory, cm3_train_report *report) {
    const cm3_pair_batch batch = cm3_encoder_batch_parts(trainer, (void *)(uintptr_t)memory);
    const bool at_once = trainer->options.batch_size <= cm3_encoder_run_of(trainer)->options.chunk;
    CM3_TRY((at_once ? learn_at_once : learn_in_chunks)(trainer, &batch, report));
    if (trainer->ranks.comm.rank == 0) trainer->samples += (uint64_t)trainer->options.batch_size;
    return CM3_OK;
}

static cm3_status measure(cm3_trainer *trainer, const void *memory, cm3_train_report *report) {
    const cm3_pair_batch batch = cm3_encoder_batch_parts(trainer, (void *)(uintptr_t)memory);
    CM3_TRY(embed_batch(trainer, &batch));
    return compare(trainer, &batch, false, report);
}

static cm3_status export_to(const cm3_trainer *trainer, const char *path, cm3_dtype dtype) {
    const cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    return cm3_model_write(
        trainer->context, path,
        &(cm3_model_content){
            .clip = run->clip, .clip_dtype = dtype, .bpe = run->tokenizer->bpe, .special = &run->tokenizer->special});
}

static void destroy(cm3_trainer *trainer) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    if (!run) return;
    cm3_clip_destroy(run->clip);
    cm3_tokenizer_destroy(run->tokenizer);
    for (int i = 0; i < 2; i++) cm3_free(trainer->context, run->ids[i]);
    cm3_free(trainer->context, run->vectors);
    cm3_free(trainer->context, run->gradients);
    cm3_free(trainer->context, run);
}

static cm3_status moved_out(cm3_trainer *trainer) {
    cm3_clip_forget_storage(cm3_encoder_run_of(trainer)->clip);
    return CM3_OK;
}

static const cm3_trainer_kind encoder_kind = {
    .name = "encoder",
    .splits_batches = true,
    .begin_step = begin_step,
    .micro_step = micro_step,
    .measure = measure,
    .export_to = export_to,
    .moved_out = moved_out,
    .destroy = destroy,
    .maker = cm3_encoder_make_batch,
};

/* --- creation ------------------------------------------------------------------------------------------------------
 */

static cm3_status check_options(cm3_context *context, const cm3_train_encoder_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->config_json || o->init, "config_json is NULL, and init, too"},
        {!o->config_json || !o->init, "config_json and init exclude each other"},
        {o->tokenizer || o->init, "tokenizer is NULL, and init, too"},
        {o->together >= 1 && o->together <= 65536, "together must be 1..65536"},
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

/** The configuration as it is trained: of the options, or of what is trained on. */
static cm3_status read_config(cm3_trainer *trainer, const cm3_model *init, cm3_clip_config *config, json_t **json) {
    cm3_context *context = trainer->context;
    const cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const char *text = run->options.config_json;
    if (init) {
        *config = init->clip->config;
        return cm3_clip_config_format(context, config, json);
    }
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
    const cm3_train_encoder_options *o = &cm3_encoder_run_of(trainer)->options;
    json_t *settings = cm3_trainer_settings(trainer);
    json_t *own =
        json_pack("{s:O,s:f,s:f,s:i,s:b}", "config", config, "initial_scale", (double)o->initial_scale, "query_weight",
                  (double)o->query_weight, "together", (int)o->together, "query_documents", o->query_documents != 0);
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
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    for (size_t i = 0; i < run->clip->parameter_count; i++) {
        const cm3_clip_parameter *p = &run->clip->parameters[i];
        /* Tables are looked up in f32, and neither they nor the positions are to shrink. */
        const bool table = strstr(p->name, "token_embedding") || strstr(p->name, "position_embedding");
        const bool matrix = p->tensor->rank > 1 && !table;
        CM3_TRY(
            cm3_optimizer_add(&trainer->optimizer, p->name, p->tensor, matrix, matrix ? CM3_READ_BF16 : CM3_READ_F32));
    }
    const int64_t one = 1;
    run->log_scale_value = logf(run->options.initial_scale);
    run->log_scale = cm3_tensor_over(&run->log_scale_value, CM3_F32, 1, &one);
    return cm3_optimizer_add(&trainer->optimizer, "logit_scale", &run->log_scale, false, CM3_READ_F32);
}

/** The weights that are trained on, in place of random ones. */
static cm3_status copy_weights(cm3_trainer *trainer, const cm3_clip *from) {
    const cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const cm3_kernels *kernels = trainer->graph->kernels;
    for (size_t i = 0; i < run->clip->parameter_count; i++) {
        const cm3_clip_parameter *to = &run->clip->parameters[i];
        const cm3_tensor *own = from->parameters[i].tensor;
        const int64_t count = to->tensor->count;
        if (own->dtype == CM3_F32) {
            memcpy(cm3_f32(to->tensor), cm3_f32(own), (size_t)count * sizeof(float));
        } else if (own->dtype == CM3_BF16) {
            kernels->bf16_to_f32(cm3_f32(to->tensor), own->data, count);
        } else {
            return cm3_fail(trainer->context, CM3_ERROR_UNSUPPORTED,
                            "encoder training: %s to begin with is quantised; f32 or bf16 is expected", to->name);
        }
    }
    return CM3_OK;
}

static cm3_status make_encoder(cm3_trainer *trainer, const cm3_model *init) {
    cm3_context *context = trainer->context;
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    json_t *json = NULL;
    cm3_clip_config config;
    cm3_status status = read_config(trainer, init, &config, &json);
    if (status == CM3_OK) status = make_settings(trainer, json);
    json_decref(json);
    if (status == CM3_OK) status = cm3_clip_create_random(context, &config, trainer->options.seed, &run->clip);
    if (status == CM3_OK && init) status = copy_weights(trainer, init->clip);
    return status == CM3_OK ? add_parameters(trainer) : status;
}

static cm3_status load_init(cm3_trainer *trainer, const char *path, cm3_model **init) {
    cm3_context *context = trainer->context;
    if (!path) return CM3_OK;
    CM3_TRY(cm3_model_load(context, path, NULL, init));
    const cm3_clip *clip = (*init)->clip;
    if (clip && clip->config.text.present && clip->config.vision.present) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_FORMAT, "%s: there is no encoder of both towers to begin with", path);
}

/** Every rank has as many chunks, and lists of vectors have as much room for each. */
static cm3_status share_chunks(cm3_trainer *trainer) {
    const int32_t size = trainer->ranks.comm.size;
    const int64_t chunks = cm3_encoder_chunks(trainer);
    cm3_encoder_run_of(trainer)->room =
        size > 1 ? chunks * cm3_encoder_run_of(trainer)->options.chunk : trainer->options.batch_size;
    if (chunks % size == 0) return CM3_OK;
    return cm3_fail(trainer->context, CM3_ERROR_INVALID_ARGUMENT,
                    "encoder training: a batch of %d in chunks of %d: %d processes cannot share out %lld chunks",
                    (int)trainer->options.batch_size, (int)cm3_encoder_run_of(trainer)->options.chunk, (int)size,
                    (long long)chunks);
}

static cm3_status make_run(cm3_trainer *trainer, const cm3_train_encoder_options *options) {
    cm3_context *context = trainer->context;
    cm3_encoder_run *run = cm3_calloc(context, 1, sizeof *run);
    if (!run) return cm3_fail_memory(context, sizeof *run, "trainer");
    trainer->part = run;
    run->options = *options;
    CM3_TRY(check_records(trainer, trainer->data));
    CM3_TRY(check_records(trainer, trainer->validation));
    trainer->data->together = (size_t)options->together;
    cm3_model *init = NULL;
    cm3_status status = load_init(trainer, options->init, &init);
    const char *tokenizer = options->tokenizer ? options->tokenizer : options->init;
    if (status == CM3_OK) status = cm3_trainer_load_tokenizer(context, tokenizer, &run->tokenizer);
    if (status == CM3_OK) status = make_encoder(trainer, init);
    cm3_model_destroy(init);
    /* These are the caller's, and not needed any more. */
    run->options.config_json = run->options.tokenizer = run->options.init = NULL;
    if (status != CM3_OK) return status;
    CM3_TRY(share_chunks(trainer));
    const size_t numbers = 3 * (size_t)run->room * (size_t)run->clip->config.projection_dim;
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
    cm3_status status = cm3_options_read(context, &own, sizeof own, encoder, "cm3_train_encoder_options");
    if (status == CM3_OK) status = check_options(context, &own);
    cm3_trainer *made = NULL;
    status = cm3_trainer_init(context, options, status, &encoder_kind, &made);
    if (status == CM3_OK) status = make_run(made, &own);
    if (status == CM3_OK) made->batch_bytes = cm3_encoder_batch_bytes(made);
    return cm3_trainer_finish(made, status, trainer);
}
