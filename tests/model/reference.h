/* Reading what the original code computed. */
#ifndef TESTS_MODEL_REFERENCE_H
#define TESTS_MODEL_REFERENCE_H

#include <math.h>

#include "model/model.h"
#include "support/fixture.h"

#define PARITY CM3_TEST_DATA "/parity/"

static inline cm3_safetensors *reference_open(test_fixture *fixture, const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    ck_assert_msg(cm3_file_open(fixture->context, path, &file) == CM3_OK, "%s", cm3_context_message(fixture->context));
    ck_assert_int_eq(cm3_safetensors_open(fixture->context, file, &tensors), CM3_OK);
    cm3_file_release(file);
    return tensors;
}

static inline const cm3_entry *reference_entry(const cm3_safetensors *tensors, const char *name) {
    const cm3_entry *entry = cm3_safetensors_find(tensors, name);
    ck_assert_msg(entry != NULL, "%s", name);
    return entry;
}

/** Ids of a reference's tensor; freed by the caller. */
static inline int32_t *reference_ids(const cm3_safetensors *tensors, const char *name, size_t *count) {
    const cm3_entry *entry = reference_entry(tensors, name);
    int32_t *ids = malloc(((size_t)entry->count + 1) * sizeof *ids);
    for (int64_t i = 0; i < entry->count; i++) ids[i] = (int32_t)((const int64_t *)entry->data)[i];
    *count = (size_t)entry->count;
    return ids;
}

static inline cm3_model *reference_load(test_fixture *fixture, const char *path) {
    cm3_model *model;
    cm3_status status = cm3_model_load(fixture->context, path, NULL, &model);
    ck_assert_msg(status == CM3_OK, "%s: %s", path, cm3_context_message(fixture->context));
    return model;
}

/** The greatest |logit - the reference's| / (1 + |the reference's|). */
static inline double reference_distance(test_fixture *fixture, const cm3_model *model, const char *path) {
    cm3_safetensors *reference = reference_open(fixture, path);
    const cm3_entry *expected = reference_entry(reference, "text.logits");
    size_t count;
    int32_t *ids = reference_ids(reference, "text.input_ids", &count);
    float *logits = malloc(expected->size);
    double most = 0;
    ck_assert_int_eq(cm3_model_logits(model, ids, count, CM3_COMPUTE_F32, logits), CM3_OK);
    for (int64_t i = 0; i < expected->count; i++) {
        double y = (double)((const float *)expected->data)[i];
        most = fmax(most, fabs((double)logits[i] - y) / (1 + fabs(y)));
    }
    free(logits);
    free(ids);
    cm3_safetensors_close(reference);
    return most;
}

#endif
