/*
 * Models of random weights. Values are cheap and repeat from tensor to tensor: what is measured does not depend on
 * them, as long as they are ordinary numbers.
 */
#include "models.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define CONTEXT_LENGTH 4096
#define MOST_TENSORS 2048
#define NAME 96
#define FILE_PREFIX "cm3-bench-"

void bench_fill(void *data, cm3_dtype dtype, size_t count, float scale, uint32_t *seed) {
    uint32_t state = *seed;
    for (size_t i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        float value = scale * ((float)(state >> 8) / 8388608.0f - 1.0f);
        if (dtype == CM3_BF16) {
            ((uint16_t *)data)[i] = cm3_f32_to_bf16(value);
        } else {
            ((float *)data)[i] = value;
        }
    }
    *seed = state;
}

cm3_status bench_lm_config(cm3_context *context, const char *name, cm3_lm_config *config) {
    bool odd = !strcmp(name, "odd"), a = !strcmp(name, "peer-a"), b = !strcmp(name, "peer-b");
    if (cm3_lm_config_preset(context, odd ? "toybox" : a || b ? "chameleon-7b" : name, config) != CM3_OK) {
        return cm3_fail(context, CM3_ERROR_NOT_FOUND, "there is no preset '%s'; --help lists them", name);
    }
    if (a || b) { /* small enough to be timed beside others in all types */
        config->layers = a ? 24 : 16;
        config->hidden_size = a ? 1024 : 2048, config->heads = config->kv_heads = 16;
        config->head_dim = config->hidden_size / 16;
        config->ffn_size = a ? 4096 : 5504;
    }
    if (odd) {
        config->layers = 12;
        config->hidden_size = 1000, config->heads = 10, config->kv_heads = 5, config->head_dim = 100;
        config->ffn_size = 2731;
        config->vocab_size = 9973;
    }
    if (config->max_positions < CONTEXT_LENGTH) config->max_positions = CONTEXT_LENGTH;
    return cm3_lm_config_check(context, config);
}

/* --- what a file is to hold ----------------------------------------------------------------------------------------
 */

typedef enum values {
    VALUES_RANDOM,
    VALUES_BYTES,
    VALUES_SCALE,
    VALUES_MIN,
    VALUES_ONE,
    VALUES_ZERO,
    VALUE_KINDS
} values;

/** The tensors of a file to be; all of a kind over the same numbers. */
typedef struct contents {
    cm3_save_entry entries[MOST_TENSORS];
    values kinds[MOST_TENSORS];
    char names[MOST_TENSORS][NAME];
    size_t count, most[VALUE_KINDS]; /**< numbers of the largest tensor of a kind */
    cm3_dtype quantised;             /**< of matrices */
    cm3_dtype dtype;                 /**< of those that stay floats */
    int64_t block;                   /**< of quantised ones */
} contents;

/** columns 0: a vector. layer -1: not a layer's. */
static void add(contents *c, values kind, cm3_dtype dtype, int64_t rows, int64_t columns, int layer, const char *name) {
    if (c->count == MOST_TENSORS) return;
    static const cm3_dtype types[VALUE_KINDS] = {CM3_DTYPE_NONE, CM3_DTYPE_NONE, CM3_F16, CM3_F16, CM3_F32, CM3_F32};
    size_t at = c->count++, count = (size_t)rows * (size_t)(columns ? columns : 1);
    if (layer < 0) {
        snprintf(c->names[at], NAME, "lm.%s", name);
    } else {
        snprintf(c->names[at], NAME, "lm.model.layers.%d.%s", layer, name);
    }
    c->kinds[at] = kind;
    if (count > c->most[kind]) c->most[kind] = count;
    c->entries[at] =
        (cm3_save_entry){.name = c->names[at], .dtype = types[kind], .rank = columns ? 2 : 1, .shape = {rows, columns}};
    if (kind == VALUES_RANDOM) c->entries[at].dtype = c->dtype;
    if (kind == VALUES_BYTES) c->entries[at].dtype = dtype == CM3_U4 ? CM3_U8 : CM3_I8;
    c->entries[at].source_dtype = c->entries[at].dtype;
}

/** A matrix of type `dtype`, as cm3 convert writes it: where no block divides its rows it stays bf16. */
static void add_matrix(contents *c, cm3_dtype dtype, int64_t rows, int64_t columns, int layer, const char *name) {
    int64_t block = columns % c->block == 0 ? c->block : 32;
    char part[NAME];
    bool nibbles = dtype == CM3_U4;
    if ((dtype != CM3_I8 && !nibbles) || columns % block != 0) {
        add(c, VALUES_RANDOM, dtype, rows, columns, layer, name);
        return;
    }
    add(c, VALUES_BYTES, dtype, rows, nibbles ? columns / 2 : columns, layer, name);
    snprintf(part, sizeof part, "%s.scales", name);
    add(c, VALUES_SCALE, dtype, rows, columns / block, layer, part);
    snprintf(part, sizeof part, "%s.mins", name);
    if (nibbles) add(c, VALUES_MIN, dtype, rows, columns / block, layer, part);
}

static void add_attention(contents *c, const cm3_lm_config *g, int i) {
    int64_t d = g->hidden_size, kv = (int64_t)g->kv_heads * g->head_dim;
    add_matrix(c, c->quantised, d, d, i, "self_attn.q_proj.weight");
    add_matrix(c, c->quantised, kv, d, i, "self_attn.k_proj.weight");
    add_matrix(c, c->quantised, kv, d, i, "self_attn.v_proj.weight");
    add_matrix(c, c->quantised, d, d, i, "self_attn.o_proj.weight");
    if (!g->qk_norm) return;
    add(c, VALUES_ONE, CM3_F32, g->heads, g->head_dim, i, "self_attn.q_norm.weight");
    add(c, VALUES_ZERO, CM3_F32, g->heads, g->head_dim, i, "self_attn.q_norm.bias");
    add(c, VALUES_ONE, CM3_F32, g->kv_heads, g->head_dim, i, "self_attn.k_norm.weight");
    add(c, VALUES_ZERO, CM3_F32, g->kv_heads, g->head_dim, i, "self_attn.k_norm.bias");
}

static void add_feed_forward(contents *c, const cm3_lm_config *g, int i) {
    int64_t d = g->hidden_size, ffn = g->ffn_size;
    bool gated = g->ffn == CM3_FFN_SWIGLU;
    if (gated) add_matrix(c, c->quantised, ffn, d, i, "mlp.gate_proj.weight");
    add_matrix(c, c->quantised, ffn, d, i, gated ? "mlp.up_proj.weight" : "mlp.fc1.weight");
    add_matrix(c, c->quantised, d, ffn, i, gated ? "mlp.down_proj.weight" : "mlp.fc2.weight");
}

static void add_all(contents *c, const cm3_lm_config *g) {
    bool norms = g->norm == CM3_NORM_RMS;
    cm3_dtype ends = c->quantised == CM3_U4 ? CM3_I8 : c->quantised; /* as cm3 convert has it */
    add_matrix(c, ends, g->vocab_size, g->hidden_size, -1, "model.embed_tokens.weight");
    if (g->position == CM3_POSITION_LEARNED) {
        add_matrix(c, ends, (int64_t)g->max_positions + g->position_offset, g->hidden_size, -1,
                   "model.embed_positions.weight");
    }
    for (int i = 0; i < g->layers; i++) {
        if (norms) add(c, VALUES_ONE, CM3_F32, g->hidden_size, 0, i, "input_layernorm.weight");
        add_attention(c, g, i);
        if (norms) add(c, VALUES_ONE, CM3_F32, g->hidden_size, 0, i, "post_attention_layernorm.weight");
        add_feed_forward(c, g, i);
    }
    if (norms) add(c, VALUES_ONE, CM3_F32, g->hidden_size, 0, -1, "model.norm.weight");
    if (!g->tied) add_matrix(c, ends, g->vocab_size, g->hidden_size, -1, "lm_head.weight");
}

/* --- files -----------------------------------------------------------------------------------------------------------
 */

/** The text of {"lm": ...} or {"vq": ...}; takes `part` over. NULL where memory is out. */
static char *config_text(const char *key, json_t *part) {
    json_t *config = json_pack("{s:o}", key, part);
    char *text = config ? json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    json_decref(config);
    return text;
}

/** Whether a file is there, whole, and of this configuration and type, which its largest matrices tell. */
static bool is_there(cm3_context *context, const char *path, const char *config, cm3_dtype dtype) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.check_weights = 0;
    cm3_model *model;
    if (access(path, R_OK) != 0 || cm3_model_load(context, path, &options, &model) != CM3_OK) return false;
    json_t *wanted = json_loads(config, 0, NULL), *found = json_loads(model->config_json, 0, NULL);
    bool same = wanted && json_equal(wanted, found);
    for (size_t i = 0; i < cm3_weights_count(model->weights); i++) {
        const cm3_entry *entry = &cm3_weights_at(model->weights, i)->entry;
        bool vector = entry->rank == 1 || entry->count < 65536 || entry->dtype == CM3_F16, large = !vector;
        if (!strncmp(entry->name, "lm.", 3)) large = strstr(entry->name, "self_attn.q_proj.weight") && !vector;
        if (large && strcmp(entry->name, "vq.quantize.embedding.weight") != 0) same = same && entry->dtype == dtype;
    }
    json_decref(wanted);
    json_decref(found);
    cm3_model_destroy(model);
    return same;
}

static cm3_status make_directory(bench_run *run) {
    const char *dir = run->options.dir;
    if (mkdir(dir, 0777) == 0 || errno == EEXIST) return CM3_OK;
    return cm3_fail(run->context, CM3_ERROR_IO, "%s: %s", dir, strerror(errno));
}

cm3_status bench_file_path(bench_run *run, const char *name, char *path, size_t size) {
    const int length = snprintf(path, size, "%s/" FILE_PREFIX "%s", run->options.dir, name);
    if (length < 0 || (size_t)length >= size) {
        return cm3_fail(run->context, CM3_ERROR_INVALID_ARGUMENT, "the path of the directory for models is too long");
    }
    return make_directory(run);
}

static cm3_status file_path(bench_run *run, const char *name, cm3_dtype dtype, char *path, size_t size) {
    bool quantised = dtype == CM3_I8 || dtype == CM3_U4;
    int length =
        snprintf(path, size, "%s/" FILE_PREFIX "%s-%s%s.cm3", run->options.dir, name, bench_weights_name(dtype),
                 !quantised                 ? ""
                 : run->options.block == 32 ? "-32"
                                            : "-64");
    if (length < 0 || (size_t)length >= size) {
        return cm3_fail(run->context, CM3_ERROR_INVALID_ARGUMENT, "the path of the directory for models is too long");
    }
    return make_directory(run);
}

/** Numbers of one kind, as many as its largest tensor has. NULL where memory is out. */
static void *make_numbers(cm3_context *context, const contents *c, values kind) {
    size_t count = c->most[kind];
    uint32_t seed = 1;
    if (kind == VALUES_RANDOM) {
        void *numbers = cm3_alloc(context, count * cm3_dtype_size(c->dtype));
        if (numbers) bench_fill(numbers, c->dtype, count, 0.035f, &seed);
        return numbers;
    }
    if (kind == VALUES_BYTES) {
        uint8_t *bytes = cm3_alloc(context, count);
        for (size_t i = 0; bytes && i < count; i++) bytes[i] = (uint8_t)((seed = seed * 1664525u + 1013904223u) >> 24);
        return bytes;
    }
    if (kind == VALUES_SCALE || kind == VALUES_MIN) {
        uint16_t *halves = cm3_alloc(context, count * sizeof *halves);
        uint16_t value = cm3_f32_to_f16(kind == VALUES_SCALE ? 0.0004f : -0.003f);
        for (size_t i = 0; halves && i < count; i++) halves[i] = value;
        return halves;
    }
    float *floats = cm3_alloc(context, count * sizeof *floats);
    for (size_t i = 0; floats && i < count; i++) floats[i] = kind == VALUES_ONE ? 1.0f : 0.0f;
    return floats;
}

static cm3_status write_lm(cm3_context *context, const char *path, contents *c, const char *config) {
    void *numbers[VALUE_KINDS] = {NULL};
    const char *keys[] = {"format", "version", "config"}, *texts[] = {"cm3", CM3_FILE_VERSION, config};
    cm3_status status = CM3_OK;
    for (int i = 0; i < VALUE_KINDS && status == CM3_OK; i++) {
        numbers[i] = make_numbers(context, c, (values)i);
        if (!numbers[i]) status = cm3_fail_memory(context, c->most[i], "models");
    }
    for (size_t i = 0; i < c->count; i++) c->entries[i].data = numbers[c->kinds[i]];
    if (status == CM3_OK) status = cm3_safetensors_write(context, path, c->entries, c->count, keys, texts, 3);
    for (int i = 0; i < VALUE_KINDS; i++) cm3_free(context, numbers[i]);
    return status;
}

cm3_status bench_lm_file(bench_run *run, const char *name, cm3_dtype dtype, char *path, size_t size) {
    cm3_context *context = run->context;
    cm3_lm_config config;
    json_t *part;
    CM3_TRY(bench_lm_config(context, name, &config));
    CM3_TRY(file_path(run, name, dtype, path, size));
    CM3_TRY(cm3_lm_config_format(context, &config, &part));
    char *text = config_text("lm", part);
    contents *c = cm3_calloc(context, 1, sizeof *c);
    cm3_status status = text && c ? CM3_OK : cm3_fail_memory(context, sizeof *c, "models");
    if (status == CM3_OK && !is_there(context, path, text, dtype == CM3_U4 ? CM3_U8 : dtype)) {
        fprintf(stderr, "cm3-bench: making %s\n", path);
        c->quantised = dtype;
        c->dtype = dtype == CM3_F32 ? CM3_F32 : CM3_BF16;
        c->block = run->options.block;
        add_all(c, &config);
        status = write_lm(context, path, c, text);
    }
    cm3_free(context, c);
    free(text);
    return status;
}

cm3_status bench_vq_file(bench_run *run, const char *name, const cm3_vq_config *config, cm3_dtype dtype, char *path,
                         size_t size) {
    cm3_context *context = run->context;
    json_t *part;
    CM3_TRY(file_path(run, name, dtype, path, size));
    CM3_TRY(cm3_vq_config_format(context, config, &part));
    char *text = config_text("vq", part);
    cm3_status status = text ? CM3_OK : cm3_fail_memory(context, 0, "models");
    if (status == CM3_OK && !is_there(context, path, text, dtype)) {
        fprintf(stderr, "cm3-bench: making %s\n", path);
        cm3_vq *vq = NULL;
        status = cm3_vq_create_random(context, config, 1, &vq);
        const cm3_model_content content = {.vq = vq, .lm_dtype = dtype, .vq_dtype = dtype};
        if (status == CM3_OK) status = cm3_model_write(context, path, &content);
        cm3_vq_destroy(vq);
    }
    free(text);
    return status;
}

void bench_models_clean(const bench_run *run) {
    DIR *directory = opendir(run->options.dir);
    if (!directory) return;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!strncmp(entry->d_name, FILE_PREFIX, strlen(FILE_PREFIX))) unlinkat(dirfd(directory), entry->d_name, 0);
    }
    closedir(directory);
    rmdir(run->options.dir); /* stays where something else lies in it */
}
