/* What requests will take, before they begin. */
#include "generate/demand.h"

#include "base/status.h"

int64_t cm3_demand_pictures(const cm3_special_tokens *special, const cm3_generate_options *options,
                            const cm3_ids *prompt) {
    int64_t count = 0, codes = 0;
    if (special->bos < 0 || !cm3_is_guided(options)) return 0;
    for (size_t i = 0; i < prompt->count; i++) {
        count += cm3_is_of_pictures(special, prompt->ids[i]);
        codes += special->image_code[prompt->ids[i]] >= 0;
    }
    /* Where pictures may come later, it may be needed then. */
    return codes || options->modality == CM3_MODALITY_INTERLEAVED ? count : 0;
}

/** Positions that guidance by pictures may come to. */
static int64_t picture_positions(const cm3_demand *demand, int64_t image_tokens) {
    if (!demand->pictures) return 0;
    return demand->modality == CM3_MODALITY_IMAGE ? demand->pictures + image_tokens : demand->capacity;
}

/** A batch that is only looked at: caches without memory, tokens that nobody reads. */
typedef struct mock_batch {
    cm3_kv_cache *caches, *prefixes;
    cm3_sequence *sequences;
    int32_t *logit_rows;
    size_t streams, prefix_count;
    int64_t rows;
    bool images_only;
} mock_batch;

static cm3_status mock_up(cm3_context *context, mock_batch *mock, size_t streams, size_t count) {
    *mock = (mock_batch){.caches = cm3_calloc(context, streams, sizeof *mock->caches),
                         .prefixes = cm3_calloc(context, count, sizeof *mock->prefixes),
                         .sequences = cm3_calloc(context, streams, sizeof *mock->sequences),
                         .logit_rows = cm3_calloc(context, streams, sizeof *mock->logit_rows)};
    bool made = mock->caches && mock->prefixes && mock->sequences && mock->logit_rows;
    return made ? CM3_OK : cm3_fail_memory(context, streams * sizeof *mock->caches, "batch");
}

static void mock_down(cm3_context *context, mock_batch *mock) {
    cm3_free(context, mock->caches);
    cm3_free(context, mock->prefixes);
    cm3_free(context, mock->sequences);
    cm3_free(context, mock->logit_rows);
}

static void mock_add(mock_batch *mock, const cm3_kv_cache *like, const cm3_kv_cache *prefix, int64_t positions,
                     int64_t rows) {
    cm3_kv_cache *cache = &mock->caches[mock->streams];
    *cache = *like;
    cache->prefix = prefix;
    cache->capacity = positions;
    cache->length = positions > rows ? positions - rows : 0;
    if (cache->capacity < rows) cache->capacity = rows;
    mock->sequences[mock->streams] = (cm3_sequence){cache, mock->rows, rows};
    mock->rows += rows;
    mock->logit_rows[mock->streams++] = (int32_t)mock->rows - 1;
}

/** The largest step of a phase: while prompts are read, as far as one step goes, or behind them. */
static void mock_fill(mock_batch *mock, const cm3_kv_cache *like, const cm3_demand *demands, size_t count,
                      bool reading) {
    int64_t room = CM3_STEP_ROWS;
    mock->images_only = true;
    for (size_t i = 0; i < count; i++) {
        const cm3_demand *d = &demands[i];
        bool shares = d->candidates > 1, reads = reading && !d->started;
        cm3_kv_cache *prefix = &mock->prefixes[i];
        *prefix = *like;
        prefix->capacity = prefix->length = d->prompt;
        if (d->modality != CM3_MODALITY_IMAGE) mock->images_only = false;
        if (reads) {
            int64_t rows = d->prompt < room ? d->prompt : room;
            if (rows <= 0) continue;
            mock_add(mock, like, NULL, d->prompt, rows);
            room -= rows;
        }
        for (int32_t c = 0; c < d->candidates && !reads; c++) {
            mock_add(mock, like, shares ? prefix : NULL, d->capacity - (shares ? d->prompt : 0), 1);
        }
        for (int32_t c = 0; c < d->candidates && d->unconditional; c++) {
            mock_add(mock, like, NULL, d->unconditional, reads ? d->unconditional : 1);
        }
        for (int32_t c = 0; c < d->candidates && d->pictures; c++) {
            /* Of a prompt, all at once; behind it, all that was drawn, when the next picture begins. */
            bool again = d->modality != CM3_MODALITY_IMAGE;
            int64_t rows = reads ? d->pictures : again ? d->capacity : 1;
            mock_add(mock, like, NULL, d->capacity, rows);
        }
    }
}

static cm3_status measure_step(cm3_model *model, const cm3_vocabulary *vocabulary, cm3_graph *measuring,
                               const mock_batch *mock, cm3_scratch *scratch) {
    if (!mock->streams) return CM3_OK;
    cm3_lm_batch batch = {
        .rows = mock->rows,
        .plan = {.sequences = mock->sequences, .sequence_count = (int64_t)mock->streams},
        .logit_rows = mock->logit_rows,
        .logit_count = (int64_t)mock->streams,
    };
    if (mock->images_only && vocabulary->image_count) batch.vocab_count = vocabulary->image_count;
    cm3_graph_reset(measuring);
    if (!cm3_lm_forward(measuring, model->lm, &batch)) return cm3_graph_status(measuring);
    size_t arena, onednn;
    cm3_graph_measured(measuring, &arena, &onednn);
    if (arena > scratch->arena) scratch->arena = arena;
    if (onednn > scratch->onednn) scratch->onednn = onednn;
    if (mock->streams > scratch->streams) scratch->streams = mock->streams;
    if ((size_t)mock->rows > scratch->rows) scratch->rows = (size_t)mock->rows;
    return CM3_OK;
}

static cm3_status measure_picture(const cm3_vq *vq, cm3_graph *measuring, cm3_scratch *scratch) {
    size_t arena, onednn;
    cm3_graph_reset(measuring);
    CM3_TRY(cm3_vq_measure_decode(vq, measuring));
    cm3_graph_measured(measuring, &arena, &onednn);
    if (arena > scratch->arena) scratch->arena = arena;
    if (onednn > scratch->onednn) scratch->onednn = onednn;
    return CM3_OK;
}

cm3_status cm3_demand_measure(cm3_model *model, const cm3_vocabulary *vocabulary, cm3_graph *measuring,
                              const cm3_demand *demands, size_t count, cm3_scratch *scratch) {
    const cm3_lm_config *config = &model->lm->config;
    const cm3_kv_cache like = {.dtype = measuring->compute == CM3_COMPUTE_BF16 ? CM3_BF16 : CM3_F32,
                               .layers = config->layers,
                               .kv_heads = config->kv_heads,
                               .head_dim = config->head_dim};
    size_t streams = 0;
    bool pictures = false;
    *scratch = (cm3_scratch){0};
    for (size_t i = 0; i < count; i++) {
        streams +=
            (size_t)demands[i].candidates * (size_t)(1 + (demands[i].unconditional > 0) + (demands[i].pictures > 0)) +
            1;
        bool draws = demands[i].modality == CM3_MODALITY_IMAGE || demands[i].modality == CM3_MODALITY_INTERLEAVED ||
                     demands[i].modality == CM3_MODALITY_INFILL;
        pictures = pictures || draws;
    }
    mock_batch mock;
    cm3_status status = mock_up(model->context, &mock, streams, count);
    for (int reading = 0; reading < 2 && status == CM3_OK; reading++) {
        mock.streams = 0;
        mock.rows = 0;
        mock_fill(&mock, &like, demands, count, reading);
        status = measure_step(model, vocabulary, measuring, &mock, scratch);
    }
    mock_down(model->context, &mock);
    if (status == CM3_OK && pictures && model->tokenizer->vq && model->tokenizer->vq->has_decoder) {
        status = measure_picture(model->tokenizer->vq, measuring, scratch);
    }
    return status;
}

bool cm3_demand_caches(const cm3_lm_config *config, cm3_dtype kv, int64_t image_tokens, const cm3_demand *d,
                       size_t *bytes) {
    bool shares = d->candidates > 1;
    size_t prompt = 0, own, unconditional = 0, pictures = 0;
    int64_t positions = picture_positions(d, image_tokens);
    if (d->modality == CM3_MODALITY_INFILL) image_tokens = d->capacity - d->prompt;
    bool fits = cm3_cache_size(config, kv, d->capacity - (shares ? d->prompt : 0), &own) &&
                (!shares || cm3_cache_size(config, kv, d->prompt, &prompt)) &&
                (!d->unconditional || cm3_cache_size(config, kv, d->unconditional + image_tokens, &unconditional)) &&
                (!positions || cm3_cache_size(config, kv, positions, &pictures));
    return fits && cm3_add_size(own, unconditional, bytes) && cm3_add_size(*bytes, pictures, bytes) &&
           cm3_mul_size(*bytes, (size_t)d->candidates, bytes) && cm3_add_size(*bytes, prompt, bytes);
}

static cm3_status too_long(const cm3_model *model, int64_t prompt, int64_t needed) {
    return cm3_fail(
        model->context, CM3_ERROR_TOO_LONG,
        "the prompt has %lld tokens; with what is to be generated that makes %lld, and the model's context has %d",
        (long long)prompt, (long long)needed, model->lm->config.max_positions);
}

cm3_status cm3_demand_capacity(const cm3_model *model, const cm3_generate_options *options, int64_t image_tokens,
                               bool speaks, int64_t prompt, int64_t *capacity) {
    int64_t context = model->lm->config.max_positions;
    int64_t pictures = !speaks || options->modality == CM3_MODALITY_INFILL ? image_tokens : 0,
            least = pictures + speaks;
    if (prompt + least > context) return too_long(model, prompt, prompt + least);
    *capacity = speaks ? context : prompt + pictures;
    if (speaks && options->max_tokens) {
        int64_t more = options->modality == CM3_MODALITY_INTERLEAVED ? image_tokens + 2 : pictures;
        int64_t wanted = prompt + options->max_tokens + more;
        if (wanted < context) *capacity = wanted;
    }
    return CM3_OK;
}
