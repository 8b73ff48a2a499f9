/* What an image tokenizer's codes cost: counted in shards of codes, and put into a model. */
#include <math.h>

#include "base/status.h"
#include "cm3leon/train.h"
#include "model/model.h"
#include "train/dataset.h"

typedef struct cm3_code_count {
    cm3_context *context;
    uint64_t *counts;
    int32_t codes;
    uint64_t fingerprint, total;
} cm3_code_count;

static cm3_status count_codes(cm3_code_count *c, const cm3_sample *sample, const uint16_t *codes, int32_t count) {
    for (int32_t i = 0; i < count; i++) {
        if (codes[i] >= c->codes) {
            return cm3_fail(c->context, CM3_ERROR_FORMAT, "%s: code %d; the image tokenizer has %d", sample->name,
                            codes[i], c->codes);
        }
        c->counts[codes[i]]++;
    }
    c->total += (uint64_t)count;
    return CM3_OK;
}

static cm3_status count_sample(cm3_code_count *c, const cm3_sample *sample) {
    if (sample->codebook && sample->codebook != c->fingerprint) {
        return cm3_fail(c->context, CM3_ERROR_FORMAT, "%s: its codes were made by another image tokenizer",
                        sample->name);
    }
    CM3_TRY(count_codes(c, sample, sample->codes, sample->code_count));
    for (int32_t i = 0; i < sample->image_count; i++) {
        CM3_TRY(count_codes(c, sample, sample->images[i].codes, sample->images[i].code_count));
    }
    return CM3_OK;
}

/** A shard at a time, for all together may be large. */
static cm3_status count_shards(cm3_code_count *c, const char *const *data, size_t data_count, cm3_progress_fn progress,
                               void *user) {
    for (size_t i = 0; i < data_count; i++) {
        cm3_dataset *dataset = NULL;
        CM3_TRY(cm3_dataset_load(c->context, &data[i], 1, 0, false, 0, &dataset));
        cm3_status status = CM3_OK;
        for (size_t k = 0; k < dataset->count && status == CM3_OK; k++) status = count_sample(c, &dataset->samples[k]);
        cm3_dataset_destroy(dataset);
        CM3_TRY(status);
        if (progress && progress(user, i + 1, data_count))
            return cm3_fail(c->context, CM3_ERROR_CANCELLED, "stopped by the caller");
    }
    if (c->total) return CM3_OK;
    return cm3_fail(c->context, CM3_ERROR_NOT_FOUND, "no record of %s%s has codes", data[0],
                    data_count > 1 ? " and the others" : "");
}

/** weight * log(most / count), each code counted once more than it was found. */
static cm3_status put_in(const cm3_code_count *c, const char *model, float weight, const char *out) {
    float *values = cm3_calloc(c->context, (size_t)c->codes, sizeof *values);
    if (!values) return cm3_fail_memory(c->context, (size_t)c->codes * sizeof *values, "costs of codes");
    uint64_t most = 0;
    for (int32_t i = 0; i < c->codes; i++) most = c->counts[i] > most ? c->counts[i] : most;
    for (int32_t i = 0; i < c->codes; i++) {
        values[i] = weight * (float)log(((double)most + 1) / ((double)c->counts[i] + 1));
    }
    cm3_status status =
        cm3_model_set_costs(c->context, model, out, &(cm3_code_costs){.values = values, .count = c->codes});
    cm3_free(c->context, values);
    return status;
}

cm3_status cm3_train_code_costs(cm3_context *context, const char *image_tokenizer, const char *const *data,
                                size_t data_count, float weight, const char *out, cm3_progress_fn progress,
                                void *user) {
    bool missing = !context || !image_tokenizer || !data || !data_count || !out;
    for (size_t i = 0; i < data_count && !missing; i++) missing = !data[i];
    if (missing || !(weight >= 0 && weight <= 1e6f)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_train_code_costs: %s",
                        missing ? "an argument is NULL" : "weight must be 0..1000000");
    }
    cm3_model *model = NULL;
    CM3_TRY(cm3_model_load(context, image_tokenizer, NULL, &model));
    const cm3_vq *vq = model->tokenizer ? model->tokenizer->vq : NULL;
    cm3_code_count c = {.context = context};
    cm3_status status = CM3_OK;
    if (vq) {
        c.codes = vq->config.num_embeddings;
        c.fingerprint = cm3_vq_fingerprint(vq);
        c.counts = cm3_calloc(context, (size_t)c.codes, sizeof *c.counts);
        if (!c.counts) status = cm3_fail_memory(context, (size_t)c.codes * sizeof *c.counts, "counts of codes");
    } else {
        status = cm3_fail(context, CM3_ERROR_FORMAT, "%s: there is no image tokenizer in it", image_tokenizer);
    }
    cm3_model_destroy(model);
    if (status == CM3_OK) status = count_shards(&c, data, data_count, progress, user);
    if (status == CM3_OK) status = put_in(&c, image_tokenizer, weight, out);
    cm3_free(context, c.counts);
    return status;
}
