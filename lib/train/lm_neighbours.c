/* Retrieved documents before a record's own, in training (Yu et al. 2023, section 2.1). */
#include <string.h>

#include "base/random.h"
#include "train/lm_run.h"

/** A record of the bank as tokens: text, break, picture, break. */
static cm3_status push_record(const cm3_encoder *encoder, const cm3_bank *bank, uint64_t id, cm3_ids *ids) {
    cm3_bank_record *record;
    CM3_TRY(cm3_bank_get(bank, id, &record));
    cm3_status status = CM3_OK;
    if (record->text) {
        status = cm3_bpe_encode(encoder->bpe, record->text, strlen(record->text), encoder->encode_flags, &ids->ids,
                                &ids->count, &ids->capacity);
        if (status == CM3_OK) status = cm3_push_break(encoder, ids);
    }
    if (status == CM3_OK && record->codes) {
        status = cm3_push_codes(encoder, record->codes, record->code_count, ids);
        if (status == CM3_OK) status = cm3_push_break(encoder, ids);
    }
    cm3_bank_record_destroy(bank, record);
    return status;
}

/** Which neighbours, in their order: any of them in training, the first of them else. */
static int32_t choose(const cm3_sample *sample, int32_t most, bool validating, cm3_random *random, uint64_t *chosen) {
    const int32_t have = sample->neighbour_count < most ? sample->neighbour_count : most;
    int32_t wanted = validating ? have : (int32_t)cm3_random_below(random, (uint64_t)have + 1), count = 0;
    for (int32_t i = 0; i < sample->neighbour_count && wanted; i++) {
        /* Each set of so many is as likely as any other. */
        const uint64_t left = (uint64_t)(sample->neighbour_count - i);
        if (!validating && cm3_random_below(random, left) >= (uint64_t)wanted) continue;
        chosen[count++] = sample->neighbours[i];
        wanted--;
    }
    return count;
}

cm3_status cm3_lm_add_neighbours(cm3_trainer *trainer, const cm3_sample *sample, cm3_random *random, bool validating,
                                 cm3_ids *ids, int64_t *added, int64_t *retrieved) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    const cm3_special_tokens *special = &run->tokenizer->special;
    *added = *retrieved = 0;
    if (!run->bank || !sample->neighbour_count || ids->count < 2) return CM3_OK;
    const cm3_encoder encoder = {
        .context = trainer->context, .bpe = run->tokenizer->bpe, .special = special, .vq = cm3_lm_run_vq(run)};
    int64_t room = run->options.block_size < run->lm->config.max_positions ? run->options.block_size
                                                                           : run->lm->config.max_positions;
    uint64_t chosen[CM3_MOST_RETRIEVED];
    const int32_t count = choose(sample, run->options.most_retrieved, validating, random, chosen);
    cm3_ids given = {0};
    cm3_status status = CM3_OK;
    for (int32_t i = 0; i < count && status == CM3_OK; i++) {
        const size_t before = given.count;
        status = push_record(&encoder, run->bank, chosen[i], &given);
        if ((int64_t)(given.count + ids->count) > room) given.count = before;
    }
    /* A dropped caption's sentinel and break: guidance's stream has the last document's break in their place. */
    const bool dropped = ids->count > 3 && ids->ids[1] == special->sentinels[0] && ids->ids[2] == special->break_;
    const size_t from = dropped && given.count ? 3 : 1;
    if (status == CM3_OK && given.count) {
        const size_t rest = ids->count - from;
        status = cm3_ids_reserve(trainer->context, ids, ids->count + given.count);
        if (status == CM3_OK) {
            memmove(ids->ids + 1 + given.count, ids->ids + from, rest * sizeof *ids->ids);
            memcpy(ids->ids + 1, given.ids, given.count * sizeof *ids->ids);
            ids->count = 1 + given.count + rest;
            *retrieved = (int64_t)given.count;
            *added = (int64_t)given.count + 1 - (int64_t)from;
        }
    }
    cm3_ids_clear(trainer->context, &given);
    return status;
}

cm3_status cm3_lm_check_neighbours(const cm3_trainer *trainer, const cm3_dataset *dataset) {
    const cm3_lm_run *run = cm3_lm_run_of(trainer);
    if (!run->bank || !dataset) return CM3_OK;
    const uint64_t identity = run->bank->at.head.identity[0], end = run->bank->at.end.records;
    for (size_t i = 0; i < dataset->count; i++) {
        const cm3_sample *sample = &dataset->samples[i];
        if (sample->neighbour_count && sample->bank != identity) {
            return cm3_fail(trainer->context, CM3_ERROR_FORMAT,
                            "%s: its neighbours are of the bank %016llx, and the one given is %016llx", sample->name,
                            (unsigned long long)sample->bank, (unsigned long long)identity);
        }
        for (int32_t j = 0; j < sample->neighbour_count; j++) {
            if (sample->neighbours[j] < end && !cm3_bank_is_deleted(run->bank, sample->neighbours[j])) continue;
            return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "%s: its neighbour %llu is not in the bank",
                            sample->name, (unsigned long long)sample->neighbours[j]);
        }
    }
    return CM3_OK;
}
