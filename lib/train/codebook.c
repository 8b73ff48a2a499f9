/* The codebook in training. */
#include "train/codebook.h"

#include <string.h>

#include "base/status.h"

cm3_status cm3_codebook_init(cm3_context *context, float *rows, int64_t entries, int64_t d, cm3_codebook *codebook) {
    *codebook = (cm3_codebook){.context = context, .entries = entries, .d = d, .rows = rows};
    codebook->counts = cm3_calloc(context, (size_t)entries, sizeof(float));
    codebook->sums = cm3_calloc(context, (size_t)(entries * d), sizeof(float));
    codebook->batch_counts = cm3_calloc(context, (size_t)(entries * (1 + d)), sizeof(float));
    if (!codebook->counts || !codebook->sums || !codebook->batch_counts) {
        return cm3_fail_memory(context, (size_t)(entries * d) * 8, "codebook");
    }
    codebook->batch_sums = codebook->batch_counts + entries;
    return CM3_OK;
}

void cm3_codebook_clear(cm3_codebook *codebook) {
    cm3_context *context = codebook->context;
    if (!context) return;
    cm3_free(context, codebook->counts);
    cm3_free(context, codebook->sums);
    cm3_free(context, codebook->batch_counts);
    cm3_free(context, codebook->latents);
}

/* --- laid over latents ----------------------------------------------------------------------------------------------
 */

/** Sets an entry to a latent, as if it had been used once a batch. */
static void place(cm3_codebook *codebook, int64_t entry, const float *latent) {
    size_t bytes = (size_t)codebook->d * sizeof(float);
    codebook->counts[entry] = 1;
    memcpy(codebook->sums + entry * codebook->d, latent, bytes);
    memcpy(codebook->rows + entry * codebook->d, latent, bytes);
}

bool cm3_codebook_is_laid(const cm3_codebook *codebook) {
    for (int64_t i = 0; i < codebook->entries; i++) {
        if (codebook->counts[i] > 0) return true;
    }
    return false;
}

void cm3_codebook_forget(cm3_codebook *codebook) {
    memset(codebook->counts, 0, (size_t)codebook->entries * sizeof(float));
}

cm3_status cm3_codebook_seed(cm3_codebook *codebook, cm3_ranks *ranks, const float *z, int64_t count,
                             cm3_random *random) {
    /* All ranks draw, so that what they draw next is the same. */
    const int64_t d = codebook->d;
    float *drawn = codebook->batch_sums;
    for (int64_t i = 0; i < codebook->entries; i++) {
        const float *latent = z + (int64_t)cm3_random_below(random, (uint64_t)count) * d;
        memcpy(drawn + i * d, latent, (size_t)d * sizeof *drawn);
    }
    if (ranks) CM3_TRY(cm3_ranks_broadcast(ranks, drawn, (size_t)(codebook->entries * d) * sizeof *drawn, 0));
    for (int64_t i = 0; i < codebook->entries; i++) place(codebook, i, drawn + i * d);
    memset(drawn, 0, (size_t)(codebook->entries * d) * sizeof *drawn);
    return CM3_OK;
}

/* --- a batch --------------------------------------------------------------------------------------------------------
 */

void cm3_codebook_begin(cm3_codebook *codebook) {
    memset(codebook->batch_counts, 0, (size_t)(codebook->entries * (1 + codebook->d)) * sizeof(float));
    codebook->count = 0;
}

cm3_status cm3_codebook_add(cm3_codebook *codebook, const float *z, const int32_t *codes, int64_t count) {
    const int64_t d = codebook->d, all = codebook->count + count;
    CM3_TRY(cm3_grow(codebook->context, &codebook->latents, &codebook->capacity, (size_t)all,
                     (size_t)d * sizeof *codebook->latents, "codebook"));
    memcpy(codebook->latents + codebook->count * d, z, (size_t)(count * d) * sizeof *z);
    codebook->count = all;
    for (int64_t i = 0; i < count; i++) {
        codebook->batch_counts[codes[i]] += 1;
        float *sum = codebook->batch_sums + codes[i] * d;
        for (int64_t k = 0; k < d; k++) sum[k] += z[i * d + k];
    }
    return CM3_OK;
}

/** Moves the averages of an entry, and where they rule, its row. Whether it is to be revived. */
static bool move_entry(cm3_codebook *codebook, const cm3_codebook_rule *rule, int64_t i) {
    const int64_t d = codebook->d;
    const float decay = rule->decay;
    codebook->counts[i] = decay * codebook->counts[i] + (1 - decay) * codebook->batch_counts[i];
    if (rule->learned) return codebook->counts[i] < rule->threshold;
    for (int64_t k = i * d; k < (i + 1) * d; k++) {
        codebook->sums[k] = decay * codebook->sums[k] + (1 - decay) * codebook->batch_sums[k];
    }
    if (codebook->counts[i] < rule->threshold || codebook->counts[i] <= 0) return true;
    for (int64_t k = i * d; k < (i + 1) * d; k++) codebook->rows[k] = codebook->sums[k] / codebook->counts[i];
    return false;
}

/** A latent of the batch drawn at random, where it is this rank's; zeros where it is another's. */
static void draw_latent(const cm3_codebook *codebook, const cm3_codebook_rule *rule, cm3_random *random, float *to) {
    const int64_t all = rule->ranks ? rule->all : codebook->count, first = rule->ranks ? rule->first : 0;
    const int64_t own = (int64_t)cm3_random_below(random, (uint64_t)all) - first;
    const size_t bytes = (size_t)codebook->d * sizeof *to;
    if (own >= 0 && own < codebook->count) {
        memcpy(to, codebook->latents + own * codebook->d, bytes);
    } else {
        memset(to, 0, bytes);
    }
}

cm3_status cm3_codebook_update(cm3_codebook *codebook, const cm3_codebook_rule *rule, cm3_random *random,
                               int64_t *used) {
    const int64_t entries = codebook->entries, d = codebook->d;
    *used = 0;
    if (rule->ranks) {
        CM3_TRY(cm3_ranks_reduce(rule->ranks, codebook->batch_counts, (size_t)(entries * (1 + d)), CM3_COMM_F32,
                                 CM3_COMM_SUM));
    }
    /* What is revived, and with what, takes the place of the batch's counts and sums, which are read before. */
    float *revived = codebook->batch_counts, *drawn = codebook->batch_sums;
    int64_t count = 0;
    for (int64_t i = 0; i < entries; i++) {
        *used += codebook->batch_counts[i] > 0;
        const bool revive = move_entry(codebook, rule, i);
        if (revive) draw_latent(codebook, rule, random, drawn + count++ * d);
        revived[i] = revive;
    }
    if (rule->ranks && count)
        CM3_TRY(cm3_ranks_reduce(rule->ranks, drawn, (size_t)(count * d), CM3_COMM_F32, CM3_COMM_SUM));
    for (int64_t i = 0, next = 0; next < count; i++) {
        if (revived[i] > 0) place(codebook, i, drawn + next++ * d);
    }
    return CM3_OK;
}
