/*
 * Converting: any model that can be loaded becomes a `.cm3` file, its matrices as they are, rounded or quantised. A
 * tensor is read, made and written piece by piece, so that memory stays small whatever the model's size.
 */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/status.h"
#include "model/model.h"
#include "model/quantised_weight.h"
#include "model/source.h"
#include "nn/kernels.h"

/* Elements that are made at a time. */
#define CHUNK ((int64_t)1 << 21)
/* The largest weight: f16 mins hold it. */
#define MOST 60000.0f

static const cm3_convert_options convert_defaults = {.struct_size = sizeof convert_defaults,
                                                     .weights = CM3_WEIGHTS_KEEP,
                                                     .embeddings = CM3_WEIGHTS_AUTO,
                                                     .head = CM3_WEIGHTS_AUTO,
                                                     .block = 64};

void cm3_convert_options_init(cm3_convert_options *options) {
    if (options) *options = convert_defaults;
}

typedef struct cm3_conversion {
    cm3_context *context;
    const cm3_convert_options *options;
    const cm3_code_costs *costs; /**< to be put in; NULL: none */
    const cm3_weights *weights;
    const cm3_kernels *kernels;
    cm3_save_entry *entries;

    size_t count, capacity;
    cm3_arena *arena; /**< names and pieces */
    float *floats;    /**< [CHUNK] */
    uint8_t *bytes;   /**< of a chunk, made */
    uint16_t *scales, *mins;
    int64_t most_blocks;    /**< of one matrix */
    uint64_t passed, total; /**< elements */
} cm3_conversion;

/** What a tensor of the file is made from. */
typedef struct cm3_piece {
    cm3_conversion *job;
    const cm3_weight *weight;
    cm3_tensor from;       /**< quantised already: its integers */
    cm3_weight_type to;    /**< KEEP: byte by byte */
    int64_t block, count;  /**< elements */
    const void *data;      /**< the weight's */
    const uint16_t **made; /**< NULL, or scales or mins of the matrix before: it was made with it */
} cm3_piece;

/* --- making ---------------------------------------------------------------------------------------------------------
 */

/** Elements from.. of a piece, `count` of them: as many units as make whole blocks. */
typedef struct cm3_stretch {
    const cm3_piece *piece;
    int64_t from, count, unit;
    atomic_bool wrong; /**< a value is NaN, infinite, or too large */
} cm3_stretch;

static bool all_fit(const float *values, int64_t count, float most) {
    bool fit = true;
    for (int64_t i = 0; i < count; i++) fit &= fabsf(values[i]) <= most;
    return fit;
}

static void read_floats(const cm3_piece *piece, float *to, int64_t from, int64_t count) {
    if (cm3_is_quantised(&piece->from)) {
        cm3_quantised w = cm3_quantised_of(&piece->from);
        w.k = w.block; /* one run of blocks: where rows end does not matter */
        piece->job->kernels->dequantise_f32(to, &w, from / w.block, (from + count) / w.block);
        return;
    }
    cm3_dtype dtype = piece->weight->entry.dtype;
    const uint8_t *data = piece->data;
    cm3_convert(to, CM3_F32, data + (size_t)from * cm3_dtype_size(dtype), dtype, (size_t)count);
}

/** Some of a stretch's units, as floats and then as what is wanted. */
static void make_units(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    cm3_stretch *stretch = arg;
    const cm3_piece *piece = stretch->piece;
    const cm3_conversion *job = piece->job;
    int64_t at = begin * stretch->unit, count = (end - begin) * stretch->unit, block = piece->block;
    if (at + count > stretch->count) count = stretch->count - at;
    float *floats = job->floats + at;
    read_floats(piece, floats, stretch->from + at, count);
    bool quantises = piece->to == CM3_WEIGHTS_Q8 || piece->to == CM3_WEIGHTS_Q4;
    if (!all_fit(floats, count, quantises ? MOST : 3.4e38f)) atomic_store(&stretch->wrong, true);
    if (piece->to == CM3_WEIGHTS_F32) memcpy(job->bytes + at * 4, floats, (size_t)count * 4);
    if (piece->to == CM3_WEIGHTS_BF16) job->kernels->f32_to_bf16((uint16_t *)(void *)job->bytes + at, floats, count);
    if (!quantises) return;
    int64_t first = (stretch->from + at) / block, blocks = count / block;
    if (piece->to == CM3_WEIGHTS_Q8) {
        job->kernels->quantise_q8((int8_t *)job->bytes + at, job->scales + first, floats, blocks, block);
    } else {
        job->kernels->quantise_q4(job->bytes + at / 2, job->scales + first, job->mins + first, floats, blocks, block);
    }
}

static cm3_status make_stretch(void *arg) {
    cm3_stretch *stretch = arg;
    cm3_team *team = cm3_context_team(stretch->piece->job->context);
    cm3_parallel_for(team, (stretch->count + stretch->unit - 1) / stretch->unit, 64, make_units, stretch);
    return CM3_OK;
}

static cm3_status tell(cm3_conversion *job, int64_t count) {
    const cm3_convert_options *o = job->options;
    cm3_weights_forget(job->weights);
    job->passed += (uint64_t)count;
    uint64_t done = job->passed < job->total ? job->passed : job->total;
    if (!o->on_progress || o->on_progress(o->user, done, job->total) == 0) return CM3_OK;
    return cm3_fail(job->context, CM3_ERROR_CANCELLED, "the conversion was stopped");
}

static size_t made_size(cm3_weight_type type, int64_t count) {
    if (type == CM3_WEIGHTS_Q4) return (size_t)count / 2;
    return (size_t)count * (type == CM3_WEIGHTS_F32 ? 4 : type == CM3_WEIGHTS_BF16 ? 2 : 1);
}

static cm3_status produce_copy(const cm3_piece *piece, const cm3_sink *sink) {
    const cm3_entry *entry = &piece->weight->entry;
    size_t width = cm3_dtype_size(entry->dtype);
    for (int64_t from = 0; from < entry->count; from += CHUNK) {
        int64_t count = entry->count - from < CHUNK ? entry->count - from : CHUNK;
        CM3_TRY(sink->put(sink->to, (const uint8_t *)piece->data + (size_t)from * width, (size_t)count * width));
        CM3_TRY(tell(piece->job, count));
    }
    return CM3_OK;
}

/** All of a piece. */
static cm3_status produce_all(const cm3_piece *piece, const cm3_sink *sink) {
    cm3_conversion *job = piece->job;
    if (piece->made) return sink->put(sink->to, *piece->made, (size_t)piece->count * sizeof(uint16_t));
    if (piece->to == CM3_WEIGHTS_KEEP) return produce_copy(piece, sink);
    for (int64_t from = 0; from < piece->count; from += CHUNK) {
        int64_t count = piece->count - from < CHUNK ? piece->count - from : CHUNK;
        int64_t unit = piece->from.block > piece->block ? piece->from.block : piece->block;
        cm3_stretch stretch = {.piece = piece, .from = from, .count = count, .unit = unit};
        CM3_TRY(cm3_context_run(job->context, make_stretch, &stretch));
        if (atomic_load(&stretch.wrong)) {
            return cm3_fail(job->context, CM3_ERROR_FORMAT,
                            "%s: tensor '%.200s' holds a value that is not a number, infinite or too large",
                            piece->weight->file, piece->weight->entry.name);
        }
        CM3_TRY(sink->put(sink->to, job->bytes, made_size(piece->to, count)));
        CM3_TRY(tell(job, count));
    }
    return CM3_OK;
}

/** A weight that is to be put together is, for as long as it is written. */
static cm3_status produce(void *arg, const cm3_sink *sink) {
    cm3_piece *piece = arg;
    const cm3_weight *weight = piece->weight;
    void *own = NULL;
    piece->data = weight->entry.data;
    if (weight->make && !piece->made) {
        own = cm3_alloc(piece->job->context, weight->entry.size);
        if (!own) return cm3_fail_memory(piece->job->context, weight->entry.size, weight->entry.name);
        weight->make(weight->recipe, own);
        piece->data = own;
    }
    cm3_status status = produce_all(piece, sink);
    cm3_free(piece->job->context, own);
    return status;
}

/* --- what the file will hold ---------------------------------------------------------------------------------------
 */

static cm3_status add(cm3_conversion *job, const cm3_piece *piece, const char *suffix, cm3_dtype dtype, int rank,
                      const int64_t *shape) {
    CM3_TRY(cm3_grow(job->context, &job->entries, &job->capacity, job->count + 1, sizeof *job->entries, "file"));
    size_t length = strlen(piece->weight->name) + strlen(suffix) + 1;
    cm3_piece *own = cm3_arena_alloc(job->arena, sizeof *own);
    char *name = cm3_arena_alloc(job->arena, length);
    if (!own || !name) return cm3_fail_memory(job->context, length, "file");
    *own = *piece;
    snprintf(name, length, "%s%s", piece->weight->name, suffix);
    cm3_save_entry entry = {
        .name = name, .dtype = dtype, .source_dtype = dtype, .rank = rank, .produce = produce, .arg = own};
    for (int i = 0; i < rank; i++) entry.shape[i] = shape[i];
    job->entries[job->count++] = entry;
    if (!piece->made) job->total += (uint64_t)piece->count;
    return CM3_OK;
}

static cm3_status add_copy(cm3_conversion *job, const cm3_weight *weight) {
    const cm3_piece piece = {.job = job, .weight = weight, .to = CM3_WEIGHTS_KEEP, .count = weight->entry.count};
    return add(job, &piece, "", weight->entry.dtype, weight->entry.rank, weight->entry.shape);
}

/** The integers of a matrix, and behind them its scales and mins. */
static cm3_status add_quantised(cm3_conversion *job, cm3_piece *piece, const int64_t *shape) {
    bool pairs = piece->to == CM3_WEIGHTS_Q4;
    const int64_t blocks = piece->count / piece->block, parts[] = {shape[0], shape[1] / piece->block};
    if (blocks > job->most_blocks) job->most_blocks = blocks;
    CM3_TRY(add(job, piece, "", pairs ? CM3_U8 : CM3_I8, 2, (const int64_t[]){shape[0], shape[1] / (pairs ? 2 : 1)}));
    piece->count = blocks;
    piece->made = (const uint16_t **)&job->scales;
    CM3_TRY(add(job, piece, ".scales", CM3_F16, 2, parts));
    piece->made = (const uint16_t **)&job->mins;
    return pairs ? add(job, piece, ".mins", CM3_F16, 2, parts) : CM3_OK;
}

/** A block that divides the columns, as wished where that does; 0: none does. */
static int64_t block_for(const cm3_conversion *job, int64_t columns) {
    int64_t wished = job->options->block;
    return columns % wished == 0 ? wished : columns % CM3_QUANTISED_LEAST_BLOCK == 0 ? CM3_QUANTISED_LEAST_BLOCK : 0;
}

static cm3_status copy_quantised(cm3_conversion *job, const cm3_weight *weight, bool pairs) {
    static const char *const suffixes[] = {".scales", ".mins"};
    CM3_TRY(add_copy(job, weight));
    for (int i = 0; i < 1 + pairs; i++) {
        char name[256];
        snprintf(name, sizeof name, "%.200s%s", weight->name, suffixes[i]);
        CM3_TRY(add_copy(job, cm3_weights_find(job->weights, name)));
    }
    return CM3_OK;
}

static cm3_status add_matrix(cm3_conversion *job, const cm3_weight *weight, const cm3_tensor *tensor,
                             cm3_weight_type to) {
    bool quantised = cm3_is_quantised(tensor), quantises = to == CM3_WEIGHTS_Q8 || to == CM3_WEIGHTS_Q4;
    cm3_piece piece = {.job = job, .weight = weight, .to = to, .count = tensor->count};
    if (quantised) piece.from = *tensor;
    piece.block = quantises ? block_for(job, tensor->shape[1]) : CM3_QUANTISED_MOST_BLOCK;
    if (!piece.block) {
        cm3_log(job->context, CM3_LOG_INFO, "%s: %s stays as it is: no block of 32 divides its %lld columns",
                weight->file, weight->name, (long long)tensor->shape[1]);
    }
    if (to == CM3_WEIGHTS_KEEP || !piece.block) {
        return quantised ? copy_quantised(job, weight, tensor->dtype == CM3_U4) : add_copy(job, weight);
    }
    if (quantises) return add_quantised(job, &piece, tensor->shape);
    return add(job, &piece, "", to == CM3_WEIGHTS_F32 ? CM3_F32 : CM3_BF16, 2, tensor->shape);
}

static cm3_weight_type wanted(const cm3_convert_options *o, bool embedding, bool head) {
    cm3_weight_type own = embedding ? o->embeddings : head ? o->head : o->weights;
    if (own != CM3_WEIGHTS_AUTO) return own;
    return o->weights == CM3_WEIGHTS_Q4 ? CM3_WEIGHTS_Q8 : o->weights;
}

/** The language model's, in its own order; that it is whole is checked on the way. */
static cm3_status add_lm(cm3_conversion *job, const cm3_lm *lm) {
    for (size_t i = 0; i < lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &lm->parameters[i];
        char name[192];
        snprintf(name, sizeof name, "lm.%s", p->name);
        const cm3_weight *weight = cm3_weights_find(job->weights, name);
        bool embedding = p->tensor == lm->embed || p->tensor == lm->positions;
        if (p->decay) {
            CM3_TRY(add_matrix(job, weight, p->tensor, wanted(job->options, embedding, p->tensor == lm->head)));
        } else {
            CM3_TRY(add_copy(job, weight));
        }
    }
    return CM3_OK;
}

/** A tensor of the encoder's: its matrices are converted as the language model's are. */
static cm3_status add_of_encoder(cm3_conversion *job, const cm3_weight *weight) {
    const cm3_entry *entry = &weight->entry;
    if (cm3_is_part_of_weight(job->weights, weight)) return CM3_OK; /* comes with its matrix */
    if (entry->rank != 2) return add_copy(job, weight);
    const int64_t shape[] = {entry->shape[0], entry->shape[1] * (entry->dtype == CM3_U8 ? 2 : 1)};
    cm3_tensor matrix = cm3_tensor_over(NULL, CM3_F32, 2, shape);
    size_t parts = 0;
    if (cm3_entry_is_quantised(entry)) {
        CM3_TRY(cm3_quantised_weight(job->context, job->weights, weight, false, &matrix, &parts));
    }
    return add_matrix(job, weight, &matrix, wanted(job->options, strstr(weight->name, "_embedding.") != NULL, false));
}

static bool has_prefix(const cm3_weight *weight, const char *prefix) {
    return strncmp(weight->name, prefix, strlen(prefix)) == 0;
}

static cm3_status add_encoder(cm3_conversion *job) {
    for (size_t i = 0; i < cm3_weights_count(job->weights); i++) {
        const cm3_weight *weight = cm3_weights_at(job->weights, i);
        if (has_prefix(weight, "encoder.")) CM3_TRY(add_of_encoder(job, weight));
    }
    return CM3_OK;
}

/** What the image tokenizer's codes cost from now on. */
static cm3_status add_costs(cm3_conversion *job) {
    CM3_TRY(cm3_grow(job->context, &job->entries, &job->capacity, job->count + 1, sizeof *job->entries, "file"));
    job->entries[job->count++] = (cm3_save_entry){.name = "vq." CM3_VQ_COST,
                                                  .dtype = CM3_F32,
                                                  .source_dtype = CM3_F32,
                                                  .rank = 1,
                                                  .shape = {job->costs->count},
                                                  .data = job->costs->values};
    return CM3_OK;
}

/** Everything but the language model and the encoder: the image tokenizer, which stays as it is but for its costs. */
static cm3_status add_others(cm3_conversion *job) {
    for (size_t i = 0; i < cm3_weights_count(job->weights); i++) {
        const cm3_weight *weight = cm3_weights_at(job->weights, i);
        if (has_prefix(weight, "lm.") || has_prefix(weight, "encoder.")) continue;
        if (!job->costs || strcmp(weight->name, "vq." CM3_VQ_COST) != 0) CM3_TRY(add_copy(job, weight));
    }
    return job->costs ? add_costs(job) : CM3_OK;
}

static cm3_status take_memory(cm3_conversion *job) {
    job->floats = cm3_alloc(job->context, (size_t)CHUNK * sizeof(float));
    job->bytes = cm3_alloc(job->context, (size_t)CHUNK * sizeof(float));
    job->scales = cm3_calloc(job->context, (size_t)job->most_blocks + 1, 2 * sizeof(uint16_t));
    if (!job->floats || !job->bytes || !job->scales) {
        return cm3_fail_memory(job->context, (size_t)CHUNK * sizeof(float), "conversion");
    }
    job->mins = job->scales + job->most_blocks;
    return CM3_OK;
}

static cm3_status write_all(cm3_conversion *job, const cm3_source *source, const char *path) {
    char *tokenizer = NULL;
    size_t size = 0;
    if (source->bpe) CM3_TRY(cm3_bpe_format(source->bpe, &tokenizer, &size));
    const char *keys[] = {"format", "version", "config", "tokenizer"};
    const char *values[] = {"cm3", CM3_FILE_VERSION, source->config_json, tokenizer};
    cm3_status status =
        cm3_safetensors_write(job->context, path, job->entries, job->count, keys, values, tokenizer ? 4 : 3);
    cm3_free(job->context, tokenizer);
    return status;
}

/** `encoder`: where the encoder comes from, which may be the source itself. */
static cm3_status convert(const cm3_source *source, const cm3_source *encoder, const cm3_convert_options *options,
                          const cm3_code_costs *costs, const char *path) {
    cm3_context *context = source->context;
    cm3_conversion job = {.context = context,
                          .options = options,
                          .costs = costs,
                          .weights = source->weights,
                          .kernels = cm3_kernels_get(cm3_context_cpu(context))};
    cm3_lm *lm = NULL;
    cm3_status status = cm3_arena_create(context, 1 << 14, &job.arena);
    if (status == CM3_OK && source->has_lm) {
        status = cm3_lm_describe(context, &source->lm, source->weights, "lm.", &lm);
        if (status == CM3_OK) status = add_lm(&job, lm);
    }
    if (status == CM3_OK) status = add_others(&job);
    job.weights = encoder->weights;
    if (status == CM3_OK) status = add_encoder(&job);
    if (status == CM3_OK) status = take_memory(&job);
    if (status == CM3_OK) status = write_all(&job, source, path);
    cm3_lm_destroy(lm);
    cm3_free(context, job.entries);
    cm3_free(context, job.floats);
    cm3_free(context, job.bytes);
    cm3_free(context, job.scales);
    cm3_arena_destroy(job.arena);
    return status;
}

/** Whether two tokenizers are the same to the letter. */
static cm3_status check_tokenizers(const cm3_source *source, const cm3_source *encoder) {
    char *texts[2] = {NULL, NULL};
    size_t sizes[2] = {0, 0};
    cm3_status status = cm3_bpe_format(source->bpe, &texts[0], &sizes[0]);
    if (status == CM3_OK) status = cm3_bpe_format(encoder->bpe, &texts[1], &sizes[1]);
    if (status == CM3_OK && (sizes[0] != sizes[1] || memcmp(texts[0], texts[1], sizes[0]) != 0)) {
        status = cm3_fail(source->context, CM3_ERROR_FORMAT,
                          "%s: its encoder was made for another tokenizer than that of %s",
                          cm3_weights_name(encoder->weights), cm3_weights_name(source->weights));
    }
    cm3_free(source->context, texts[0]);
    cm3_free(source->context, texts[1]);
    return status;
}

/** Takes the other's encoder into the source's configuration, and its tokenizer where there is none. */
static cm3_status take_encoder(cm3_source *source, cm3_source *encoder) {
    cm3_context *context = source->context;
    if (!encoder->has_clip) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: there is no encoder in it", cm3_weights_name(encoder->weights));
    }
    if (source->bpe && encoder->bpe) CM3_TRY(check_tokenizers(source, encoder));
    if (!source->bpe) {
        source->bpe = encoder->bpe;
        encoder->bpe = NULL;
    }
    json_t *config = NULL, *part = NULL;
    CM3_TRY(cm3_json_parse(context, "config", source->config_json, strlen(source->config_json), &config));
    cm3_status status = cm3_clip_config_format(context, &encoder->clip, &part);
    char *text = NULL;
    if (status == CM3_OK && !json_object_set(config, "encoder", part)) {
        text = json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS);
    }
    char *copy = text ? cm3_strndup(context, text, strlen(text)) : NULL;
    if (status == CM3_OK && !copy) status = cm3_fail_memory(context, 0, "config");
    if (copy) {
        cm3_free(context, source->config_json);
        source->config_json = copy;
    }
    free(text);
    json_decref(part);
    json_decref(config);
    return status;
}

static cm3_status check_type(cm3_context *context, const char *field, cm3_weight_type type, bool automatic) {
    if (type >= CM3_WEIGHTS_KEEP && type <= CM3_WEIGHTS_Q4) return CM3_OK;
    if (type == CM3_WEIGHTS_AUTO && automatic) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_convert_options: %s cannot be %d", field, (int)type);
}

cm3_status cm3_model_convert(cm3_context *context, const char *path, const char *to,
                             const cm3_convert_options *options) {
    if (!context || !path || !to) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_model_convert: an argument is NULL");
    }
    cm3_convert_options own = convert_defaults;
    CM3_TRY(cm3_options_read(context, &own, sizeof own, options, "cm3_convert_options"));
    CM3_TRY(check_type(context, "weights", own.weights, false));
    CM3_TRY(check_type(context, "embeddings", own.embeddings, true));
    CM3_TRY(check_type(context, "head", own.head, true));
    if (own.block != CM3_QUANTISED_LEAST_BLOCK && own.block != CM3_QUANTISED_MOST_BLOCK) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_convert_options: block is %d; 32 or 64 is expected",
                        own.block);
    }
    cm3_load_options load;
    cm3_load_options_init(&load);
    load.vqgan = own.vqgan;
    load.head_rows = own.head_rows;
    cm3_source source = cm3_source_of(context, &load);
    cm3_status status = cm3_source_read(&source, path);
    if (status == CM3_OK && own.encoder) {
        cm3_load_options_init(&load);
        cm3_source encoder = cm3_source_of(context, &load);
        status = cm3_source_read(&encoder, own.encoder);
        if (status == CM3_OK) status = take_encoder(&source, &encoder);
        if (status == CM3_OK) status = convert(&source, &encoder, &own, NULL, to);
        cm3_source_clear(&encoder);
    } else if (status == CM3_OK) {
        status = convert(&source, &source, &own, NULL, to);
    }
    cm3_source_clear(&source);
    return status;
}

cm3_status cm3_model_set_costs(cm3_context *context, const char *path, const char *to, const cm3_code_costs *costs) {
    cm3_load_options load;
    cm3_load_options_init(&load);
    cm3_source source = cm3_source_of(context, &load);
    cm3_status status = cm3_source_read(&source, path);
    if (status == CM3_OK && (!source.has_vq || source.vq.num_embeddings != costs->count)) {
        status = cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: costs of %lld codes for a codebook of %d", path,
                          (long long)costs->count, source.has_vq ? source.vq.num_embeddings : 0);
    }
    if (status == CM3_OK) status = convert(&source, &source, &convert_defaults, costs, to);
    cm3_source_clear(&source);
    return status;
}
