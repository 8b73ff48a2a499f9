/* Training the language model on documents of text and image tokens, with a uniform loss (CM3Leon section 2.2). */
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "files/hash.h"
#include "train/lm_run.h"
#include "train/packing.h"

static const cm3_train_lm_options defaults = {
    .struct_size = sizeof defaults,
    .block_size = 1024,
    .caption_dropout = 0.1f,
    .attend = CM3_ATTEND_DOCUMENT,
    .masking = CM3_MASKING_CODE,
    .text_weight = 1,
    .most_retrieved = 2,
    .retrieved_weight = 1,
};

void cm3_train_lm_options_init(cm3_train_lm_options *options) {
    if (options) *options = defaults;
}

static int64_t rows_of(const cm3_trainer *trainer) {
    return (int64_t)trainer->options.batch_size * cm3_lm_run_of(trainer)->options.block_size;
}

/** Units of a pass over the validation data. */
static uint64_t units_of(const cm3_lm_run *run, const cm3_dataset *validation) {
    return run->mixtures[1] ? run->mixtures[1]->size : validation->count;
}

static cm3_status make_batch(void *arg, cm3_dataset *dataset, uint64_t *position, void *batch) {
    cm3_trainer *trainer = arg;
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    cm3_packed counts = {.rows = rows_of(trainer)}, *packed = batch ? batch : &counts;
    bool validating = dataset == trainer->validation;
    cm3_lm_scratch *scratch = &run->scratch[validating];
    cm3_packer packer;
    if (batch) cm3_packed_lay(packed, rows_of(trainer));
    cm3_packer_begin(&packer, packed, run->options.block_size, run->options.attend == CM3_ATTEND_BLOCK,
                     run->tokenizer->special.pad);
    if (packer.longest > run->lm->config.max_positions) packer.longest = run->lm->config.max_positions;
    for (;;) {
        const float *weights = NULL;
        uint64_t documents;
        if (validating && *position >= units_of(run, dataset)) return CM3_OK;
        CM3_TRY(cm3_lm_make_unit(trainer, dataset, *position, scratch, &weights, &documents));
        if (!cm3_packer_add(&packer, scratch->unit.ids, weights, (int64_t)scratch->unit.count)) return CM3_OK;
        packed->documents += documents - 1;
        *position += documents;
    }
}

/* --- the step ------------------------------------------------------------------------------------------------------
 */

/** Means of the rows' losses over text and over image targets. */
static void split_losses(const cm3_lm_run *run, const cm3_packed *packed, cm3_train_report *report) {
    double sums[2] = {0, 0}, counts[2] = {0, 0};
    for (int64_t i = 0; i < packed->rows; i++) {
        if (packed->targets[i] < 0) continue;
        int image = run->tokenizer->special.image_code[packed->targets[i]] >= 0;
        sums[image] += (double)run->losses[i];
        counts[image]++;
    }
    if (counts[0] > 0) report->text_loss += sums[0] / counts[0];
    if (counts[1] > 0) report->image_loss += sums[1] / counts[1];
}

static cm3_tensor *loss_of(cm3_trainer *trainer, const cm3_packed *packed, cm3_train_report *report) {
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    cm3_lm_batch batch = {
        .rows = packed->rows, .ids = packed->ids, .positions = packed->positions, .plan = {.first = packed->first}};
    cm3_tensor *logits = cm3_lm_forward(trainer->graph, run->lm, &batch);
    cm3_tensor *loss = cm3_nn_cross_entropy(trainer->graph, logits, packed->targets, packed->weights, run->losses);
    if (!loss) return NULL;
    report->loss += (double)*cm3_f32(loss);
    split_losses(run, packed, report);
    return loss;
}

static cm3_status micro_step(cm3_trainer *trainer, const void *batch, cm3_train_report *report) {
    const cm3_packed *packed = batch;
    if (trainer->last_micro) cm3_buckets_watch(trainer->buckets, trainer->graph);
    cm3_tensor *loss = loss_of(trainer, packed, report);
    if (!loss) return cm3_graph_status(trainer->graph);
    trainer->samples += packed->documents;
    trainer->tokens += packed->tokens;
    return cm3_graph_backward(trainer->graph, loss, 1);
}

static cm3_status measure(cm3_trainer *trainer, const void *batch, cm3_train_report *report) {
    return loss_of(trainer, batch, report) ? CM3_OK : cm3_graph_status(trainer->graph);
}

static cm3_status export_to(const cm3_trainer *trainer, const char *path, cm3_dtype dtype) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    cm3_model_content content = {.lm = run->lm,
                                 .vq = cm3_lm_run_vq(run),
                                 .bpe = run->tokenizer->bpe,
                                 .special = &run->tokenizer->special,
                                 .lm_dtype = dtype,
                                 .vq_dtype = CM3_F32};
    if (content.vq) content.vq_dtype = cm3_vq_find(content.vq, "encoder.conv_in.weight")->dtype;
    return cm3_model_write(trainer->context, path, &content);
}

static void destroy(cm3_trainer *trainer) {
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    if (!run) return;
    for (int i = 0; i < 2; i++) {
        cm3_ids_clear(trainer->context, &run->scratch[i].document);
        cm3_ids_clear(trainer->context, &run->scratch[i].unit);
        cm3_free(trainer->context, run->scratch[i].weights);
    }
    for (int i = 0; i < 2; i++) cm3_mixture_destroy(run->mixtures[i]);
    cm3_tasks_destroy(run->tasks);
    cm3_bank_destroy(run->bank);
    cm3_free(trainer->context, run->losses);
    cm3_lm_destroy(run->lm);
    cm3_tokenizer_destroy(run->tokenizer);
    cm3_model_destroy(run->image_model);
    cm3_free(trainer->context, run);
}

static cm3_status moved_out(cm3_trainer *trainer) {
    cm3_lm_forget_storage(cm3_lm_run_of(trainer)->lm);
    return CM3_OK;
}

static const cm3_trainer_kind lm_kind = {
    .name = "lm",
    .micro_step = micro_step,
    .measure = measure,
    .export_to = export_to,
    .moved_out = moved_out,
    .destroy = destroy,
    .maker = make_batch,
};

/* --- creation ------------------------------------------------------------------------------------------------------
 */

static cm3_status check_options(cm3_context *context, const cm3_train_lm_options *o) {
    if (!o->init && (!o->config_json || !o->tokenizer)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "language model training: config_json or tokenizer is NULL, and init, too");
    }
    if (o->block_size < 2 || o->block_size > 1 << 20 || !(o->caption_dropout >= 0 && o->caption_dropout <= 1) ||
        (o->attend != CM3_ATTEND_DOCUMENT && o->attend != CM3_ATTEND_BLOCK) || o->masking < CM3_MASKING_NONE ||
        o->masking > CM3_MASKING_PAPER || !(o->text_weight > 0 && o->text_weight <= 1000)) {
        return cm3_fail(
            context, CM3_ERROR_INVALID_ARGUMENT,
            "language model training: block_size must be 2..1048576, caption_dropout 0..1, attend one of the "
            "two, masking one of the three, text_weight above 0 and at most 1000");
    }
    if (o->most_retrieved < 1 || o->most_retrieved > CM3_MOST_RETRIEVED ||
        !(o->retrieved_weight >= 0 && o->retrieved_weight <= 1) ||
        (o->retrieved_weight < 1 && o->attend == CM3_ATTEND_BLOCK)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "language model training: most_retrieved must be 1..%d, retrieved_weight 0..1, and 1 with "
                        "CM3_ATTEND_BLOCK",
                        CM3_MOST_RETRIEVED);
    }
    return CM3_OK;
}

/** The configuration: a preset's fields, overlaid by those given; the vocabulary is the tokenizer's. */
static cm3_status make_config(cm3_trainer *trainer, const char *text, json_t **full, cm3_lm_config *config) {
    cm3_context *context = trainer->context;
    static const char where[] = "language model configuration";
    json_t *given = NULL;
    CM3_TRY(cm3_json_parse(context, where, text, strlen(text), &given));
    cm3_json_object object = {context, where, given};
    const char *preset = "toybox";
    cm3_status status = json_is_object(given) ? cm3_json_string(&object, "preset", &preset)
                                              : cm3_fail(context, CM3_ERROR_FORMAT, "%s: not an object", where);
    if (status == CM3_OK) status = cm3_lm_config_preset(context, preset, config);
    if (status == CM3_OK) status = cm3_lm_config_format(context, config, full);
    if (status == CM3_OK) {
        json_object_del(given, "preset");
        json_object_set_new(given, "vocab_size",
                            json_integer(cm3_bpe_vocab_size(cm3_lm_run_of(trainer)->tokenizer->bpe)));
        bool sized = json_object_get(given, "hidden_size") || json_object_get(given, "heads");
        if (json_object_update(*full, given)) status = cm3_fail_memory(context, 0, where);
        if (sized && !json_object_get(given, "kv_heads")) {
            json_object_set(*full, "kv_heads", json_object_get(*full, "heads"));
        }
        if (sized && !json_object_get(given, "head_dim")) {
            json_int_t heads = json_integer_value(json_object_get(*full, "heads"));
            json_int_t hidden = json_integer_value(json_object_get(*full, "hidden_size"));
            if (heads > 0) json_object_set_new(*full, "head_dim", json_integer(hidden / heads));
        }
        cm3_json_object whole = {context, where, *full};
        if (status == CM3_OK) status = cm3_lm_config_parse(&whole, config);
    }
    json_decref(given);
    return status;
}

static cm3_status make_settings(cm3_trainer *trainer, const json_t *config, const char *mixture) {
    const cm3_train_lm_options *o = &cm3_lm_run_of(trainer)->options;
    char *tokenizer = NULL, sum[17];
    size_t size;
    CM3_TRY(cm3_bpe_format(cm3_lm_run_of(trainer)->tokenizer->bpe, &tokenizer, &size));
    snprintf(sum, sizeof sum, "%016llx", (unsigned long long)cm3_hash(tokenizer, size));
    cm3_free(trainer->context, tokenizer);
    json_t *settings = cm3_trainer_settings(trainer);
    json_t *own = json_pack("{s:O,s:i,s:f,s:f,s:i,s:i,s:b,s:s?,s:s}", "config", config, "block_size", o->block_size,
                            "caption_dropout", (double)o->caption_dropout, "text_weight", (double)o->text_weight,
                            "attend", o->attend, "masking", o->masking, "answers_only", o->answers_only != 0, "mixture",
                            mixture, "tokenizer", sum);
    if (own && cm3_lm_run_of(trainer)->bank) {
        snprintf(sum, sizeof sum, "%016llx", (unsigned long long)cm3_lm_run_of(trainer)->bank->at.head.identity[0]);
        json_object_set_new(own, "bank", json_string(sum));
        json_object_set_new(own, "most_retrieved", json_integer(o->most_retrieved));
        json_object_set_new(own, "retrieved_weight", json_real((double)o->retrieved_weight));
    }
    char *text = NULL;
    if (settings && own && json_object_update(settings, own) == 0)
        text = json_dumps(settings, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(settings);
    json_decref(own);
    trainer->settings = text ? cm3_strndup(trainer->context, text, strlen(text)) : NULL;
    free(text);
    return trainer->settings ? CM3_OK : cm3_fail_memory(trainer->context, 0, "settings");
}

/** Weights to begin with: fresh, or those of a `.cm3` file of the same configuration. */
static cm3_status make_weights(cm3_trainer *trainer, const cm3_lm_config *config, const cm3_model *init) {
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    if (!init) return cm3_lm_create_random(trainer->context, config, trainer->options.seed, &run->lm);
    return cm3_lm_load(trainer->context, config, init->weights, "lm.", true, true, &run->lm);
}

static cm3_status check_codes(const cm3_trainer *trainer, const char *name, const uint16_t *codes, int32_t count) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    int32_t tokens = cm3_lm_run_vq(run) ? cm3_vq_tokens(cm3_lm_run_vq(run)) : count,
            known = run->tokenizer->special.image_count;
    if (count != tokens) {
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%s has %d codes; the image tokenizer makes %d", name,
                        count, tokens);
    }
    if (count > CM3_MAX_CODES) {
        return cm3_fail(trainer->context, CM3_ERROR_UNSUPPORTED, "%s has %d codes; at most %d are read", name, count,
                        CM3_MAX_CODES);
    }
    for (int32_t i = 0; i < count; i++) {
        if (codes[i] < known) continue;
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%s: code %d is %d; the tokenizer names %d image codes",
                        name, i, codes[i], known);
    }
    return CM3_OK;
}

static cm3_status check_record(const cm3_trainer *trainer, const cm3_sample *sample) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    if (sample->image && !sample->codes) {
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT,
                        "%s holds a picture without codes; encode the shards first (cm3 train encode)", sample->name);
    }
    if (sample->codes) CM3_TRY(check_codes(trainer, sample->name, sample->codes, sample->code_count));
    for (int32_t i = 0; i < sample->image_count; i++) {
        CM3_TRY(check_codes(trainer, sample->name, sample->images[i].codes, sample->images[i].code_count));
    }
    if (cm3_lm_run_vq(run) && sample->codes && sample->codebook && sample->codebook != run->codebook) {
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT,
                        "%s: another image tokenizer made its codes: codebook %016llx, and the one given has %016llx",
                        sample->name, (unsigned long long)sample->codebook, (unsigned long long)run->codebook);
    }
    return CM3_OK;
}

/** Every record must bring what a document needs, before an hour of training finds the one that does not. */
static cm3_status check_records(const cm3_trainer *trainer, const cm3_dataset *dataset) {
    for (size_t i = 0; dataset && i < dataset->count; i++) CM3_TRY(check_record(trainer, &dataset->samples[i]));
    return CM3_OK;
}

static cm3_status make_mixtures(cm3_trainer *trainer, const cm3_train_lm_options *options) {
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    CM3_TRY(cm3_tasks_load(trainer->context, options->tasks, &run->tasks));
    CM3_TRY(cm3_mixture_create(trainer->data, run->tasks, options->mixture, false, &run->mixtures[0]));
    CM3_TRY(cm3_lm_check_mixture(trainer, run->mixtures[0]));
    if (!trainer->validation) return CM3_OK;
    CM3_TRY(cm3_mixture_create(trainer->validation, run->tasks, NULL, true, &run->mixtures[1]));
    return cm3_lm_check_mixture(trainer, run->mixtures[1]);
}

/** The tokenizers: by their paths, or those of the model to begin with. */
static cm3_status make_tokenizers(cm3_trainer *trainer, const cm3_train_lm_options *options, cm3_model *init) {
    cm3_context *context = trainer->context;
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    const char *name = options->tokenizer ? options->tokenizer : options->init;
    if (options->tokenizer) {
        CM3_TRY(cm3_trainer_load_tokenizer(context, name, &run->tokenizer));
    } else {
        CM3_TRY(cm3_model_tokenizer(init, &run->tokenizer));
    }
    if (!run->tokenizer->bpe || run->tokenizer->special.pad < 0 || run->tokenizer->special.eod < 0) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: the tokens <pad> and </s> are needed", name);
    }
    if (options->image_tokenizer) {
        CM3_TRY(cm3_model_load(context, options->image_tokenizer, NULL, &run->image_model));
    } else if (init && init->tokenizer->vq) {
        CM3_TRY(cm3_model_retain(init));
        run->image_model = init;
    }
    if (run->image_model &&
        (!cm3_lm_run_vq(run) || cm3_lm_run_vq(run)->config.num_embeddings != run->tokenizer->special.image_count)) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: %d image codes, and the tokenizer names %d",
                        options->image_tokenizer ? options->image_tokenizer : options->init,
                        cm3_lm_run_vq(run) ? cm3_lm_run_vq(run)->config.num_embeddings : 0,
                        run->tokenizer->special.image_count);
    }
    if (cm3_lm_run_vq(run)) run->codebook = cm3_vq_fingerprint(cm3_lm_run_vq(run));
    return CM3_OK;
}

/** The network: of the configuration that is given, or of the model to begin with. */
static cm3_status make_lm(cm3_trainer *trainer, const cm3_train_lm_options *options, const cm3_model *init,
                          cm3_lm_config *config) {
    json_t *full = NULL;
    cm3_status status = CM3_OK;
    if (options->config_json) {
        status = make_config(trainer, options->config_json, &full, config);
    } else {
        *config = init->lm->config;
        status = cm3_lm_config_format(trainer->context, config, &full);
    }
    if (status == CM3_OK) status = make_settings(trainer, full, options->mixture);
    json_decref(full);
    if (status == CM3_OK) status = make_weights(trainer, config, init);
    return status;
}

/** Tables are looked up in f32; the one that is the head as well is multiplied, too. Norms may have two dimensions. */
static cm3_reading reading_of(const cm3_lm *lm, const cm3_lm_parameter *parameter) {
    const cm3_tensor *tensor = parameter->tensor;
    if (!parameter->decay || tensor == lm->positions) return CM3_READ_F32;
    if (tensor != lm->embed) return CM3_READ_BF16;
    return tensor == lm->head ? CM3_READ_BOTH : CM3_READ_F32;
}

static cm3_status make_parts(cm3_trainer *trainer, const cm3_train_lm_options *options, cm3_model *init) {
    cm3_context *context = trainer->context;
    cm3_lm_run *run = cm3_lm_run_of(trainer);
    cm3_lm_config config;
    if (init && !init->lm) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: there is no language model to begin with", options->init);
    }
    CM3_TRY(make_tokenizers(trainer, options, init));
    CM3_TRY(check_records(trainer, trainer->data));
    CM3_TRY(check_records(trainer, trainer->validation));
    if (options->bank) CM3_TRY(cm3_bank_open(context, options->bank, CM3_BANK_READ, &run->bank));
    CM3_TRY(cm3_lm_check_neighbours(trainer, trainer->data));
    CM3_TRY(cm3_lm_check_neighbours(trainer, trainer->validation));
    if (options->mixture) CM3_TRY(make_mixtures(trainer, options));
    CM3_TRY(make_lm(trainer, options, init, &config));
    run->losses = cm3_calloc(context, (size_t)rows_of(trainer), sizeof *run->losses);
    if (!run->losses) return cm3_fail_memory(context, (size_t)rows_of(trainer) * sizeof(float), "trainer");
    if (options->block_size > config.max_positions && options->attend == CM3_ATTEND_BLOCK) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "block_size %d is above max_positions %d",
                        options->block_size, config.max_positions);
    }
    for (size_t i = 0; i < run->lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &run->lm->parameters[i];
        CM3_TRY(cm3_optimizer_add(&trainer->optimizer, p->name, p->tensor, p->decay, reading_of(run->lm, p)));
    }
    return CM3_OK;
}

static cm3_status make_run(cm3_trainer *trainer, const cm3_train_lm_options *options) {
    cm3_context *context = trainer->context;
    cm3_lm_run *run = cm3_calloc(context, 1, sizeof *run);
    if (!run) return cm3_fail_memory(context, sizeof *run, "trainer");
    trainer->part = run;
    run->options = *options;
    run->options.config_json = run->options.tokenizer = run->options.image_tokenizer = run->options.init = NULL;
    run->options.mixture = run->options.tasks = run->options.bank = NULL;
    cm3_model *init = NULL;
    if (options->init) CM3_TRY(cm3_model_load(context, options->init, NULL, &init));
    cm3_status status = make_parts(trainer, options, init);
    cm3_model_destroy(init);
    return status;
}

cm3_status cm3_trainer_create_lm(cm3_context *context, const cm3_train_options *options, const cm3_train_lm_options *lm,
                                 cm3_trainer **trainer) {
    if (trainer) *trainer = NULL;
    if (!context || !options || !lm || !trainer) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_trainer_create_lm: an argument is NULL");
    }
    cm3_train_lm_options own = defaults;
    cm3_status status = cm3_options_read(context, &own, sizeof own, lm, "cm3_train_lm_options");
    if (status == CM3_OK) status = check_options(context, &own);
    cm3_trainer *made = NULL;
    status = cm3_trainer_init(context, options, status, &lm_kind, &made);
    if (status == CM3_OK) status = make_run(made, &own);
    if (status == CM3_OK) made->batch_bytes = cm3_packed_bytes(rows_of(made));
    return cm3_trainer_finish(made, status, trainer);
}
