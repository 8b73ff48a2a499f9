/*
 * What quantising costs: the loss of models on records that they were not trained on, each token by a step of decoding
 * of its own, as generation computes it (keys and values cached, activations as the matrices want them).
 */
#include <math.h>
#include <string.h>

#include "base/status.h"
#include "document/encoding.h"
#include "generate/cache.h"
#include "model/model.h"
#include "run.h"
#include "train/dataset.h"

#define TOGETHER 16 /* documents decoded at once */

typedef struct measuring {
    bench_run *run;
    cm3_model *model;
    cm3_dataset *data;
    cm3_graph *graph;
    cm3_ids documents[TOGETHER];
    cm3_kv_cache *caches[TOGETHER];
    double sum; /**< nats */
    int64_t tokens;
} measuring;

static cm3_status tokens_of(measuring *m, const cm3_sample *sample, cm3_ids *ids) {
    const cm3_tokenizer *t = m->model->tokenizer;
    cm3_encoder encoder = {.context = m->run->context, .bpe = t->bpe, .special = &t->special, .vq = t->vq};
    int32_t codes[4096];
    if (!sample->code_count || sample->code_count > 4096 || !sample->caption_count) {
        return cm3_fail(m->run->context, CM3_ERROR_FORMAT,
                        "%s: a caption and codes are expected; cm3 train encode makes them", sample->name);
    }
    for (int32_t i = 0; i < sample->code_count; i++) codes[i] = sample->codes[i];
    const char *caption = cm3_sample_caption(sample, 0);
    ids->count = 0;
    return cm3_training_tokens(&encoder, caption, strlen(caption), codes, (size_t)sample->code_count, false, ids);
}

static double surprise(const float *logits, int32_t vocab, int32_t target) {
    double highest = logits[0], sum = 0;
    for (int32_t i = 1; i < vocab; i++) highest = fmax(highest, (double)logits[i]);
    for (int32_t i = 0; i < vocab; i++) sum += exp((double)logits[i] - highest);
    return highest + log(sum) - (double)logits[target];
}

/** Token `at` of every document that has another behind it. False in *more: none had. */
static cm3_status step(measuring *m, int count, size_t at, bool *more) {
    int32_t ids[TOGETHER], positions[TOGETHER];
    cm3_sequence sequences[TOGETHER];
    int64_t rows = 0;
    int which[TOGETHER];
    for (int i = 0; i < count; i++) {
        if (at + 1 >= m->documents[i].count) continue;
        which[rows] = i;
        ids[rows] = m->documents[i].ids[at];
        positions[rows] = (int32_t)at;
        sequences[rows] = (cm3_sequence){.cache = m->caches[i], .first_row = rows, .rows = 1};
        rows++;
    }
    *more = rows > 0;
    if (!rows) return CM3_OK;
    cm3_graph_reset(m->graph);
    const cm3_lm_batch batch = {
        .rows = rows, .ids = ids, .positions = positions, .plan = {.sequences = sequences, .sequence_count = rows}};
    const cm3_tensor *logits = cm3_lm_forward(m->graph, m->model->lm, &batch);
    if (!logits) return cm3_graph_status(m->graph);
    int32_t vocab = m->model->lm->config.vocab_size;
    for (int64_t i = 0; i < rows; i++) {
        m->caches[which[i]]->length++;
        m->sum += surprise(cm3_f32(logits) + i * vocab, vocab, m->documents[which[i]].ids[at + 1]);
        m->tokens++;
    }
    return CM3_OK;
}

static cm3_status all_documents(measuring *m) {
    for (size_t first = 0; first < m->data->count; first += TOGETHER) {
        int count = m->data->count - first < TOGETHER ? (int)(m->data->count - first) : TOGETHER;
        for (int i = 0; i < count; i++) {
            CM3_TRY(tokens_of(m, &m->data->samples[first + (size_t)i], &m->documents[i]));
            m->caches[i]->length = 0;
        }
        bool more = true;
        for (size_t at = 0; more; at++) CM3_TRY(step(m, count, at, &more));
    }
    return CM3_OK;
}

static cm3_status create_caches(measuring *m) {
    const cm3_lm_config *config = &m->model->lm->config;
    for (int i = 0; i < TOGETHER; i++) {
        CM3_TRY(cm3_cache_create(m->run->context, config, m->run->options.kv, config->max_positions, &m->caches[i]));
    }
    return CM3_OK;
}

static cm3_status measure(bench_run *run, const char *path, cm3_dataset *data, double *base) {
    measuring m = {.run = run, .data = data};
    const cm3_graph_options options = {.compute = run->options.compute};
    cm3_status status = cm3_model_load(run->context, path, NULL, &m.model);
    if (status == CM3_OK && (!m.model->lm || !m.model->tokenizer->bpe)) {
        status = cm3_fail(run->context, CM3_ERROR_UNSUPPORTED, "%s: no language model with a tokenizer", path);
    }
    if (status == CM3_OK) status = create_caches(&m);
    if (status == CM3_OK) status = cm3_graph_create(run->context, &options, &m.graph);
    if (status == CM3_OK) status = all_documents(&m);
    if (status == CM3_OK) {
        double loss = m.sum / (double)m.tokens;
        if (*base == 0) *base = loss;
        bench_report_begin(run->report, "loss", path);
        bench_report_text(run->report, "compute", bench_compute_name(run->options.compute));
        bench_report_text(run->report, "kv", bench_kv_name(run->options.kv));
        bench_report_integer(run->report, "tokens", m.tokens);
        bench_report_number(run->report, "loss", "nats", loss);
        bench_report_number(run->report, "change", "% of the first", (loss / *base - 1) * 100);
        status = bench_done(run);
    }
    for (int i = 0; i < TOGETHER; i++) {
        cm3_ids_clear(run->context, &m.documents[i]);
        cm3_cache_destroy(run->context, m.caches[i]);
    }
    cm3_graph_destroy(m.graph);
    cm3_model_destroy(m.model);
    return status;
}

cm3_status bench_loss(bench_run *run) {
    const bench_options *o = &run->options;
    if (!o->data_count || !o->model_count) {
        if (!o->section_count) return CM3_OK; /* a run of everything */
        return cm3_fail(run->context, CM3_ERROR_INVALID_ARGUMENT, "loss wants --data SHARD,... and --models FILE,...");
    }
    cm3_dataset *data;
    CM3_TRY(cm3_dataset_load(run->context, o->data, (size_t)o->data_count, 1, false, 0, &data));
    double base = 0;
    cm3_status status = CM3_OK;
    for (int i = 0; i < o->model_count && status == CM3_OK; i++) status = measure(run, o->models[i], data, &base);
    cm3_dataset_destroy(data);
    return status;
}
