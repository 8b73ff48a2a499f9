/* Training the image tokenizer (van den Oord et al. 2017; Esser et al. 2021). */
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "image/preprocess.h"
#include "image/vq_layers.h"
#include "model/model.h"
#include "train/codebook.h"
#include "train/discriminator.h"
#include "train/trainer.h"

typedef struct cm3_vq_run {
    cm3_train_vq_options options;
    cm3_vq *vq;
    cm3_codebook codebook;
    float *rows; /**< the codebook's, where they are neither the model's nor the optimiser's; else NULL */
    cm3_discriminator *discriminator; /**< NULL: none */
    /* of the step that is being made */
    cm3_random random; /**< of what the codebook draws: the same on all ranks */
    bool lays;         /**< the codebook is laid over the latents of the step's first micro-step */
    int64_t latents;   /**< of a micro-step; 0: the codebook takes no part yet */
} cm3_vq_run;

static const cm3_train_vq_options defaults = {
    .struct_size = sizeof defaults,
    .l1_weight = 1,
    .l2_weight = 1,
    .commitment = 0.25f,
    .codebook_decay = 0.99f,
    .revival_threshold = 0.05f,
    .quantise_from = 200,
};

void cm3_train_vq_options_init(cm3_train_vq_options *options) {
    if (options) *options = defaults;
}

static cm3_vq_run *run_of(const cm3_trainer *trainer) {
    return trainer->part;
}

/* --- batches: pictures as values in -1..1 ---------------------------------------------------------------------------
 */

static size_t picture_values(const cm3_trainer *trainer) {
    size_t side = (size_t)run_of(trainer)->vq->config.resolution;
    return side * side * 3;
}

static cm3_status load_picture(const cm3_trainer *trainer, const cm3_sample *sample, cm3_image **image) {
    cm3_context *context = trainer->context;
    cm3_status status = cm3_image_load_memory(context, sample->image, sample->image_size, image);
    if (status == CM3_OK || status == CM3_ERROR_NO_MEMORY) return status;
    char message[512];
    snprintf(message, sizeof message, "%s", cm3_context_message(context));
    return cm3_fail(context, status, "%s: %s", sample->name, message);
}

static cm3_status make_batch(void *arg, cm3_dataset *dataset, uint64_t *position, void *batch) {
    cm3_trainer *trainer = arg;
    float *to = batch;
    if (!batch) {
        *position += (uint64_t)trainer->options.batch_size;
        return CM3_OK;
    }
    for (int32_t i = 0; i < trainer->options.batch_size; i++, to += picture_values(trainer)) {
        const cm3_sample *sample = cm3_dataset_at(dataset, (*position)++);
        int32_t side = run_of(trainer)->vq->config.resolution;
        cm3_image *image = NULL;
        CM3_TRY(load_picture(trainer, sample, &image));
        cm3_status status = cm3_preprocess(trainer->context, image, CM3_PREPROCESS_META, side, to);
        cm3_image_destroy(image);
        if (status != CM3_OK) return status;
    }
    return CM3_OK;
}

/** The batch as a tensor [n, side, side, 3]; the loader keeps the data until the next one is taken. */
static cm3_tensor *pixels(cm3_trainer *trainer, const void *batch) {
    int64_t side = run_of(trainer)->vq->config.resolution;
    cm3_tensor *x = cm3_graph_scratch(trainer->graph, sizeof *x);
    if (x) {
        const int64_t shape[] = {trainer->options.batch_size, side, side, 3};
        *x = cm3_tensor_over((void *)(uintptr_t)batch, CM3_F32, 4, shape);
    }
    return x;
}

/* --- the step ------------------------------------------------------------------------------------------------------
 */

/** The ranks of a run of several; NULL: alone. */
static cm3_ranks *ranks_of(cm3_trainer *trainer) {
    return cm3_ranks_alone(&trainer->ranks) ? NULL : &trainer->ranks;
}

/** What a batch's latents are to the codebook before they are quantised, and after. */
static cm3_status lay_codebook(cm3_trainer *trainer, const float *z, int64_t count) {
    cm3_vq_run *run = run_of(trainer);
    const bool own_first = trainer->micro == cm3_trainer_share(trainer).first;
    run->latents = count;
    if (!run->lays || !own_first) return CM3_OK;
    CM3_TRY(cm3_trainer_agree(trainer, CM3_OK));
    return cm3_codebook_seed(&run->codebook, ranks_of(trainer), z, count, &run->random);
}

/** Latents through the codebook: z_q for the decoder, and the loss terms of the bottleneck. *status: what failed
 * beside the graph. */
static cm3_tensor *bottleneck(cm3_trainer *trainer, cm3_tensor *z, bool learn, cm3_tensor **loss,
                              cm3_train_report *report, cm3_status *status) {
    cm3_vq_run *run = run_of(trainer);
    cm3_graph *graph = trainer->graph;
    *loss = NULL;
    *status = CM3_OK;
    if (!z || (learn && trainer->optimizer.step < run->options.quantise_from)) return z;
    int64_t d = run->vq->config.embed_dim, count = z->count / d;
    int32_t *codes = cm3_graph_scratch(graph, (size_t)count * sizeof *codes);
    float *rows = cm3_graph_scratch(graph, (size_t)z->count * sizeof *rows);
    if (!codes || !rows) return NULL;
    *status = learn ? lay_codebook(trainer, cm3_f32(z), count) : CM3_OK;
    if (*status != CM3_OK) return NULL;
    if (cm3_vq_quantise(graph, run->vq, cm3_f32(z), count, CM3_VQ_NEAREST, codes, rows) != CM3_OK) return NULL;
    cm3_tensor *commitment = cm3_nn_mean_squared_error(graph, z, rows);
    if (!commitment) return NULL;
    report->commitment += (double)*cm3_f32(commitment);
    *loss = cm3_nn_scale(graph, commitment, run->options.commitment);
    if (learn && run->options.learned_codebook) { /* |sg(z) - e|^2 moves the entries; picking rows is an embedding */
        cm3_tensor *chosen = cm3_nn_embedding(graph, run->vq->layers->codebook, codes, count);
        *loss = cm3_nn_add(graph, *loss, cm3_nn_mean_squared_error(graph, chosen, cm3_f32(z)));
    }
    cm3_tensor *quantised = cm3_nn_straight_through(graph, z, rows);
    if (learn) *status = cm3_codebook_add(&run->codebook, cm3_f32(z), codes, count);
    return *status == CM3_OK ? quantised : NULL;
}

/** What one pass of the pictures through the tokenizer made. */
typedef struct cm3_vq_pass {
    cm3_tensor *x, *features, *y, *loss;
} cm3_vq_pass;

static cm3_status forward(cm3_trainer *trainer, const void *batch, bool learn, cm3_train_report *report,
                          cm3_vq_pass *pass) {
    cm3_vq_run *run = run_of(trainer);
    cm3_graph *graph = trainer->graph;
    cm3_tensor *bottleneck_loss;
    pass->x = pixels(trainer, batch);
    cm3_status status;
    cm3_tensor *z =
        bottleneck(trainer, cm3_vq_encode(graph, run->vq, pass->x), learn, &bottleneck_loss, report, &status);
    CM3_TRY(status);
    pass->features = cm3_vq_decode_features(graph, run->vq, z);
    pass->y = cm3_vq_decode_pixels(graph, run->vq, pass->features);
    if (!pass->y) return cm3_graph_status(graph);
    cm3_tensor *l1 = cm3_nn_mean_absolute_error(graph, pass->y, cm3_f32(pass->x));
    cm3_tensor *l2 = cm3_nn_mean_squared_error(graph, pass->y, cm3_f32(pass->x));
    if (!l1 || !l2) return cm3_graph_status(graph);
    report->l1 += (double)*cm3_f32(l1);
    report->l2 += (double)*cm3_f32(l2);
    pass->loss = cm3_nn_add(graph, cm3_nn_scale(graph, l1, run->options.l1_weight),
                            cm3_nn_scale(graph, l2, run->options.l2_weight));
    if (bottleneck_loss) pass->loss = cm3_nn_add(graph, pass->loss, bottleneck_loss);
    if (pass->loss) report->loss += (double)*cm3_f32(pass->loss);
    return cm3_graph_status(graph);
}

/** Lays the generator's adversarial gradient on y, where the tape will find it, and lets the discriminator learn. */
static cm3_status discriminate(cm3_trainer *trainer, const cm3_vq_pass *pass, cm3_train_report *report) {
    cm3_vq_run *run = run_of(trainer);
    const cm3_discriminator_input input = {.vq = run->vq,
                                           .features = pass->features,
                                           .x = pass->x,
                                           .y = pass->y,
                                           .l1_weight = run->options.l1_weight,
                                           .l2_weight = run->options.l2_weight,
                                           .cancel = &trainer->cancelled};
    float *slope = cm3_graph_scratch(trainer->graph, (size_t)pass->y->count * sizeof *slope);
    float *dy = slope ? cm3_graph_grad_add(trainer->graph, pass->y) : NULL;
    if (!dy) return cm3_graph_status(trainer->graph);
    double loss = 0, adaptive = 0, own = 0;
    CM3_TRY(cm3_discriminator_judge(run->discriminator, &input, &loss, &adaptive, slope));
    double factor = (double)run->options.adversarial_weight * adaptive;
    trainer->graph->kernels->axpy(dy, (float)factor, slope, pass->y->count);
    CM3_TRY(cm3_discriminator_learn(run->discriminator, &input, &own));
    report->adversarial += loss;
    report->discriminator += own;
    report->loss += factor * loss;
    return CM3_OK;
}

static void begin_step(cm3_trainer *trainer) {
    cm3_vq_run *run = run_of(trainer);
    const int64_t step = trainer->optimizer.step;
    trainer->second_learns = run->discriminator && step >= run->options.adversarial_from;
    run->random = cm3_random_make(trainer->options.seed, 0x434f444500000000u + (uint64_t)step);
    run->latents = 0;
    run->lays = step >= run->options.quantise_from && !cm3_codebook_is_laid(&run->codebook);
    trainer->points = run->lays;
    cm3_codebook_begin(&run->codebook);
}

static cm3_status micro_step(cm3_trainer *trainer, const void *batch, cm3_train_report *report) {
    cm3_vq_pass pass;
    if (trainer->last_micro) cm3_buckets_watch(trainer->buckets, trainer->graph);
    CM3_TRY(forward(trainer, batch, true, report, &pass));
    if (trainer->second_learns) CM3_TRY(discriminate(trainer, &pass, report));
    if (trainer->second_learns && trainer->last_micro) cm3_buckets_second_final(trainer->buckets);
    trainer->samples += (uint64_t)trainer->options.batch_size;
    return cm3_graph_backward(trainer->graph, pass.loss, 1);
}

static cm3_status before_update(cm3_trainer *trainer, cm3_train_report *report) {
    cm3_vq_run *run = run_of(trainer);
    const cm3_share share = cm3_trainer_share(trainer);
    if (!run->latents) return CM3_OK;
    const cm3_codebook_rule rule = {.learned = run->options.learned_codebook,
                                    .decay = run->options.codebook_decay,
                                    .threshold = run->options.revival_threshold,
                                    .ranks = ranks_of(trainer),
                                    .first = share.first * run->latents,
                                    .all = share.batches * run->latents};
    int64_t used;
    CM3_TRY(cm3_codebook_update(&run->codebook, &rule, &run->random, &used));
    report->code_usage = (double)used / (double)run->codebook.entries;
    return CM3_OK;
}

/** The codebook was laid over latents that were no good: the next step does it again. */
static void left_out(cm3_trainer *trainer) {
    if (run_of(trainer)->lays) cm3_codebook_forget(&run_of(trainer)->codebook);
}

static cm3_status measure(cm3_trainer *trainer, const void *batch, cm3_train_report *report) {
    cm3_vq_pass pass;
    return forward(trainer, batch, false, report, &pass);
}

static cm3_status export_to(const cm3_trainer *trainer, const char *path, cm3_dtype dtype) {
    return cm3_model_write(trainer->context, path, &(cm3_model_content){.vq = run_of(trainer)->vq, .vq_dtype = dtype});
}

static void destroy(cm3_trainer *trainer) {
    cm3_vq_run *run = run_of(trainer);
    if (!run) return;
    cm3_discriminator_destroy(run->discriminator);
    cm3_codebook_clear(&run->codebook);
    cm3_vq_destroy(run->vq);
    cm3_free(trainer->context, run->rows);
    cm3_free(trainer->context, run);
}

/** The codebook is the optimiser's only where its gradient moves it. */
static cm3_status moved_out(cm3_trainer *trainer) {
    cm3_vq_run *run = run_of(trainer);
    cm3_tensor *codebook = run->vq->layers->codebook;
    if (!run->options.learned_codebook) {
        const size_t bytes = (size_t)codebook->count * sizeof(float);
        run->rows = cm3_alloc(trainer->context, bytes);
        if (!run->rows) return cm3_fail_memory(trainer->context, bytes, "codebook");
        memcpy(run->rows, codebook->data, bytes);
        codebook->data = run->rows;
    }
    run->codebook.rows = trainer->extra[0].data = cm3_f32(codebook);
    cm3_vq_forget_storage(run->vq);
    if (run->discriminator) cm3_discriminator_forget_storage(run->discriminator);
    return CM3_OK;
}

static const cm3_trainer_kind vq_kind = {
    .name = "vq",
    .begin_step = begin_step,
    .micro_step = micro_step,
    .before_update = before_update,
    .left_out = left_out,
    .measure = measure,
    .export_to = export_to,
    .moved_out = moved_out,
    .destroy = destroy,
    .maker = make_batch,
};

/* --- creation ------------------------------------------------------------------------------------------------------
 */

static cm3_status check_options(cm3_context *context, const cm3_train_vq_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->config_json != NULL, "config_json is NULL"},
        {o->l1_weight >= 0 && o->l2_weight >= 0 && o->l1_weight + o->l2_weight > 0,
         "l1_weight and l2_weight must not both be 0"},
        {o->commitment >= 0, "commitment must be 0 or more"},
        {o->codebook_decay > 0 && o->codebook_decay < 1, "codebook_decay must be between 0 and 1"},
        {o->revival_threshold >= 0, "revival_threshold must be 0 or more"},
        {o->quantise_from >= 0, "quantise_from must be 0 or more"},
        {o->adversarial_weight >= 0 && o->adversarial_weight <= 1e6f && o->adversarial_from >= 0,
         "adversarial_weight must be 0..1e6 and adversarial_from 0 or more"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits)
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "image tokenizer training: %s", rules[i].rule);
    }
    return CM3_OK;
}

static cm3_status make_settings(cm3_trainer *trainer, const json_t *config) {
    const cm3_train_vq_options *o = &run_of(trainer)->options;
    json_t *settings = cm3_trainer_settings(trainer);
    json_t *own =
        json_pack("{s:O,s:f,s:f,s:f,s:i,s:f,s:f,s:I,s:f,s:I}", "config", config, "l1_weight", (double)o->l1_weight,
                  "l2_weight", (double)o->l2_weight, "commitment", (double)o->commitment, "learned_codebook",
                  o->learned_codebook, "codebook_decay", (double)o->codebook_decay, "revival_threshold",
                  (double)o->revival_threshold, "quantise_from", (json_int_t)o->quantise_from, "adversarial_weight",
                  (double)o->adversarial_weight, "adversarial_from", (json_int_t)o->adversarial_from);
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
    cm3_vq_run *run = run_of(trainer);
    for (size_t i = 0; i < run->vq->parameter_count; i++) {
        cm3_vq_parameter *p = &run->vq->parameters[i];
        bool convolution = p->tensor.rank == 4, codebook = &p->tensor == run->vq->layers->codebook;
        if (!p->present || (codebook && !run->options.learned_codebook)) continue;
        CM3_TRY(cm3_optimizer_add(&trainer->optimizer, p->name, &p->tensor, convolution,
                                  convolution ? CM3_READ_BF16 : CM3_READ_F32));
    }
    const cm3_vq_config *c = &run->vq->config;
    int64_t entries = c->num_embeddings, d = c->embed_dim;
    CM3_TRY(cm3_codebook_init(trainer->context, cm3_f32(run->vq->layers->codebook), entries, d, &run->codebook));
    trainer->extra[trainer->extra_count++] = (cm3_extra_state){"codebook.rows", run->codebook.rows, entries * d};
    trainer->extra[trainer->extra_count++] = (cm3_extra_state){"codebook.counts", run->codebook.counts, entries};
    trainer->extra[trainer->extra_count++] = (cm3_extra_state){"codebook.sums", run->codebook.sums, entries * d};
    return CM3_OK;
}

static cm3_status check_records(const cm3_trainer *trainer, const cm3_dataset *dataset) {
    for (size_t i = 0; dataset && i < dataset->count; i++) {
        if (dataset->samples[i].image) continue;
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%s has no picture", dataset->samples[i].name);
    }
    return CM3_OK;
}

static cm3_status make_run(cm3_trainer *trainer, const cm3_train_vq_options *options) {
    cm3_context *context = trainer->context;
    cm3_vq_run *run = cm3_calloc(context, 1, sizeof *run);
    if (!run) return cm3_fail_memory(context, sizeof *run, "trainer");
    trainer->part = run;
    run->options = *options;
    CM3_TRY(check_records(trainer, trainer->data));
    CM3_TRY(check_records(trainer, trainer->validation));
    json_t *json = NULL;
    cm3_vq_config config;
    CM3_TRY(cm3_json_parse(context, "image tokenizer configuration", options->config_json, strlen(options->config_json),
                           &json));
    cm3_json_object object = {context, "image tokenizer configuration", json};
    cm3_status status = cm3_vq_config_parse(&object, &config);
    if (status == CM3_OK) status = make_settings(trainer, json);
    json_decref(json);
    run->options.config_json = NULL; /* the caller's; not needed any more */
    if (status == CM3_OK) status = cm3_vq_create_random(context, &config, trainer->options.seed, &run->vq);
    if (status == CM3_OK) status = add_parameters(trainer);
    if (status == CM3_OK && options->adversarial_weight > 0) {
        status = cm3_discriminator_create(context, &trainer->options, &trainer->ranks, options->adversarial_from,
                                          config.resolution, config.out_channels, &run->discriminator);
        if (status == CM3_OK) trainer->second = &run->discriminator->optimizer;
    }
    return status;
}

cm3_status cm3_trainer_create_vq(cm3_context *context, const cm3_train_options *options, const cm3_train_vq_options *vq,
                                 cm3_trainer **trainer) {
    if (trainer) *trainer = NULL;
    if (!context || !options || !vq || !trainer) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_trainer_create_vq: an argument is NULL");
    }
    cm3_train_vq_options own = defaults;
    cm3_status status = cm3_options_read(context, &own, sizeof own, vq, "cm3_train_vq_options");
    if (status == CM3_OK) status = check_options(context, &own);
    cm3_trainer *made = NULL;
    status = cm3_trainer_init(context, options, status, &vq_kind, &made);
    if (status == CM3_OK) status = make_run(made, &own);
    if (status == CM3_OK) made->batch_bytes = (size_t)made->options.batch_size * picture_values(made) * sizeof(float);
    return cm3_trainer_finish(made, status, trainer);
}
