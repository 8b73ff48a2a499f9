/* The codebook in training. */
#include "train/codebook.h"

#include <string.h>

#include "base/status.h"

cm3_status cm3_codebook_init(cm3_context *context, float *rows, int64_t entries, int64_t d, cm3_codebook *codebook) {
    *codebook = (cm3_codebook){.context = context, .entries = entries, .d = d, .rows = rows};
    codebook->counts = cm3_calloc(context, (size_t)entries, sizeof(float));
    codebook->sums = cm3_calloc(context, (size_t)(entries * d), sizeof(float));
    codebook->batch_counts = cm3_calloc(context, (size_t)entries, sizeof(float));
    codebook->batch_sums = cm3_calloc(context, (size_t)(entries * d), sizeof(float));
    if (codebook->counts && codebook->sums && codebook->batch_counts && codebook->batch_sums) return CM3_OK;
    return cm3_fail_memory(context, (size_t)(entries * d) * 8, "codebook");
}

void cm3_codebook_clear(cm3_codebook *codebook) {
    cm3_context *context = codebook->context;
    if (!context) return;
    cm3_free(context, codebook->counts);
    cm3_free(context, codebook->sums);
    cm3_free(context, codebook->batch_counts);
    cm3_free(context, codebook->batch_sums);
}

/** Sets an entry to a latent, as if it had been used once a batch. */
static void place(cm3_codebook *codebook, int64_t entry, const float *z, int64_t count, cm3_random *random) {
    const float *latent = z + (int64_t)cm3_random_below(random, (uint64_t)count) * codebook->d;
    size_t bytes = (size_t)codebook->d * sizeof(float);
    codebook->counts[entry] = 1;
    memcpy(codebook->sums + entry * codebook->d, latent, bytes);
    memcpy(codebook->rows + entry * codebook->d, latent, bytes);
}

void cm3_codebook_seed(cm3_codebook *codebook, const float *z, int64_t count, cm3_random *random) {
    for (int64_t i = 0; i < codebook->entries; i++) place(codebook, i, z, count, random);
}

/** Counts and sums of this batch; how many entries it used. */
static int64_t tally(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count) {
    int64_t used = 0, d = codebook->d;
    memset(codebook->batch_counts, 0, (size_t)codebook->entries * sizeof(float));
    memset(codebook->batch_sums, 0, (size_t)(codebook->entries * d) * sizeof(float));
    for (int64_t i = 0; i < count; i++) {
        used += codebook->batch_counts[codes[i]] == 0;
        codebook->batch_counts[codes[i]] += 1;
        float *sum = codebook->batch_sums + codes[i] * d;
        for (int64_t k = 0; k < d; k++) sum[k] += z[i * d + k];
    }
    return used;
}

int64_t cm3_codebook_update(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count, float decay,
                            float threshold, cm3_random *random) {
    int64_t used = tally(codebook, z, codes, count), d = codebook->d;
    for (int64_t i = 0; i < codebook->entries; i++) {
        codebook->counts[i] = decay * codebook->counts[i] + (1 - decay) * codebook->batch_counts[i];
        for (int64_t k = i * d; k < (i + 1) * d; k++) {
            codebook->sums[k] = decay * codebook->sums[k] + (1 - decay) * codebook->batch_sums[k];
        }
        if (codebook->counts[i] < threshold || codebook->counts[i] <= 0) {
            place(codebook, i, z, count, random);
            continue;
        }
        for (int64_t k = i * d; k < (i + 1) * d; k++) codebook->rows[k] = codebook->sums[k] / codebook->counts[i];
    }
    return used;
}

int64_t cm3_codebook_revive(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count, float decay,
                            float threshold, cm3_random *random) {
    int64_t used = tally(codebook, z, codes, count);
    for (int64_t i = 0; i < codebook->entries; i++) {
        codebook->counts[i] = decay * codebook->counts[i] + (1 - decay) * codebook->batch_counts[i];
        if (codebook->counts[i] < threshold) place(codebook, i, z, count, random);
    }
    return used;
}
