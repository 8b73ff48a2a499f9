/* Batches of the encoder's training: pairs of a picture and a text, and what is asked for the text. */
#include <stdio.h>
#include <string.h>

#include "base/random.h"
#include "train/encoder_run.h"

int64_t cm3_encoder_chunks(const cm3_trainer *trainer) {
    const int64_t n = trainer->options.batch_size, chunk = cm3_encoder_run_of(trainer)->options.chunk;
    return (n + chunk - 1) / chunk;
}

cm3_pair_range cm3_encoder_own_pairs(const cm3_trainer *trainer) {
    const cm3_comm *comm = &trainer->ranks.comm;
    const int64_t n = trainer->options.batch_size;
    const int64_t own = cm3_encoder_chunks(trainer) / comm->size * cm3_encoder_run_of(trainer)->options.chunk;
    const cm3_pair_range pairs = {comm->rank * own, comm->rank + 1 == comm->size ? n : (comm->rank + 1) * own};
    return pairs;
}

size_t cm3_encoder_picture_values(const cm3_encoder_run *run) {
    const size_t side = (size_t)run->clip->config.image_size;
    return side * side * 3;
}

cm3_pair_batch cm3_encoder_batch_parts(const cm3_trainer *trainer, void *memory) {
    const size_t n = (size_t)trainer->options.batch_size;
    cm3_pair_batch batch = {.pixels = memory};
    batch.lengths = (int32_t *)(void *)(batch.pixels + n * cm3_encoder_picture_values(cm3_encoder_run_of(trainer)));
    batch.ids = batch.lengths + 2 * n;
    return batch;
}

size_t cm3_encoder_batch_bytes(const cm3_trainer *trainer) {
    const cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const size_t n = (size_t)trainer->options.batch_size, most = (size_t)run->clip->config.max_positions;
    return n * (cm3_encoder_picture_values(run) * sizeof(float) + 2 * (1 + most) * sizeof(int32_t));
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
        status = cm3_preprocess_hf(context, image, &cm3_encoder_run_of(trainer)->clip->config.preprocessing, to);
    }
    cm3_image_destroy(image);
    return status;
}

static cm3_status put_text(const cm3_trainer *trainer, bool validating, const char *text, int32_t *to,
                           int32_t *length) {
    cm3_encoder_run *run = cm3_encoder_run_of(trainer);
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

cm3_status cm3_encoder_make_batch(void *arg, cm3_dataset *dataset, uint64_t *position, void *memory) {
    cm3_trainer *trainer = arg;
    const cm3_encoder_run *run = cm3_encoder_run_of(trainer);
    const bool validating = dataset == trainer->validation;
    const int32_t n = trainer->options.batch_size, most = run->clip->config.max_positions;
    const cm3_pair_batch batch = cm3_encoder_batch_parts(trainer, memory);
    const cm3_pair_range own = cm3_encoder_own_pairs(trainer);
    for (int32_t i = 0; i < n; i++) {
        const uint64_t at = (*position)++;
        const cm3_sample *sample = cm3_dataset_at(dataset, at);
        const char *text, *query;
        draw_texts(trainer, sample, at, &text, &query);
        batch.lengths[i] = 1;
        batch.lengths[n + i] = query != NULL;
        if (i < own.begin || i >= own.end) continue;
        CM3_TRY(put_picture(trainer, sample, batch.pixels + (size_t)i * cm3_encoder_picture_values(run)));
        CM3_TRY(put_text(trainer, validating, text, batch.ids + (int64_t)i * most, &batch.lengths[i]));
        if (query)
            CM3_TRY(put_text(trainer, validating, query, batch.ids + (int64_t)(n + i) * most, &batch.lengths[n + i]));
    }
    return CM3_OK;
}
