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
#define MOST_TENSORS 1024
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
    bool odd = !strcmp(name, "odd");
    if (cm3_lm_config_preset(context, odd ? "toybox" : name, config) != CM3_OK) {
        return cm3_fail(context, CM3_ERROR_NOT_FOUND, "there is no preset '%s'; --help lists them", name);
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

typedef enum values { VALUES_RANDOM, VALUES_ONE, VALUES_ZERO, VALUE_KINDS } values;

/** The tensors of a file to be; all of a kind over the same numbers. */
typedef struct contents {
    cm3_save_entry entries[MOST_TENSORS];
    values kinds[MOST_TENSORS];
    char names[MOST_TENSORS][NAME];
    size_t count, most[VALUE_KINDS]; /**< numbers of the largest tensor of a kind */
    cm3_dtype dtype;
} contents;

/** columns 0: a vector. layer -1: not a layer's. */
static void add(contents *c, values kind, int64_t rows, int64_t columns, int layer, const char *name) {
    if (c->count == MOST_TENSORS) return;
    size_t at = c->count++, count = (size_t)rows * (size_t)(columns ? columns : 1);
    cm3_dtype dtype = kind == VALUES_RANDOM ? c->dtype : CM3_F32;
    if (layer < 0) {
        snprintf(c->names[at], NAME, "lm.%s", name);
    } else {
        snprintf(c->names[at], NAME, "lm.model.layers.%d.%s", layer, name);
    }
    c->kinds[at] = kind;
    if (count > c->most[kind]) c->most[kind] = count;
    c->entries[at] = (cm3_save_entry){
        .name = c->names[at], .dtype = dtype, .source_dtype = dtype, .rank = columns ? 2 : 1, .shape = {rows, columns}};
}

static void add_attention(contents *c, const cm3_lm_config *g, int i) {
    int64_t d = g->hidden_size, kv = (int64_t)g->kv_heads * g->head_dim;
    add(c, VALUES_RANDOM, d, d, i, "self_attn.q_proj.weight");
    add(c, VALUES_RANDOM, kv, d, i, "self_attn.k_proj.weight");
    add(c, VALUES_RANDOM, kv, d, i, "self_attn.v_proj.weight");
    add(c, VALUES_RANDOM, d, d, i, "self_attn.o_proj.weight");
    if (!g->qk_norm) return;
    add(c, VALUES_ONE, g->heads, g->head_dim, i, "self_attn.q_norm.weight");
    add(c, VALUES_ZERO, g->heads, g->head_dim, i, "self_attn.q_norm.bias");
    add(c, VALUES_ONE, g->kv_heads, g->head_dim, i, "self_attn.k_norm.weight");
    add(c, VALUES_ZERO, g->kv_heads, g->head_dim, i, "self_attn.k_norm.bias");
}

static void add_feed_forward(contents *c, const cm3_lm_config *g, int i) {
    int64_t d = g->hidden_size, ffn = g->ffn_size;
    bool gated = g->ffn == CM3_FFN_SWIGLU;
    if (gated) add(c, VALUES_RANDOM, ffn, d, i, "mlp.gate_proj.weight");
    add(c, VALUES_RANDOM, ffn, d, i, gated ? "mlp.up_proj.weight" : "mlp.fc1.weight");
    add(c, VALUES_RANDOM, d, ffn, i, gated ? "mlp.down_proj.weight" : "mlp.fc2.weight");
}

static void add_all(contents *c, const cm3_lm_config *g) {
    bool norms = g->norm == CM3_NORM_RMS;
    add(c, VALUES_RANDOM, g->vocab_size, g->hidden_size, -1, "model.embed_tokens.weight");
    if (g->position == CM3_POSITION_LEARNED) {
        add(c, VALUES_RANDOM, (int64_t)g->max_positions + g->position_offset, g->hidden_size, -1,
            "model.embed_positions.weight");
    }
    for (int i = 0; i < g->layers; i++) {
        if (norms) add(c, VALUES_ONE, g->hidden_size, 0, i, "input_layernorm.weight");
        add_attention(c, g, i);
        if (norms) add(c, VALUES_ONE, g->hidden_size, 0, i, "post_attention_layernorm.weight");
        add_feed_forward(c, g, i);
    }
    if (norms) add(c, VALUES_ONE, g->hidden_size, 0, -1, "model.norm.weight");
    if (!g->tied) add(c, VALUES_RANDOM, g->vocab_size, g->hidden_size, -1, "lm_head.weight");
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

/** Whether a file is there, whole, and of this configuration and type; the first matrix tells the type of all. */
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
        bool vector = entry->rank == 1 || entry->count < 65536;
        if (!vector && strcmp(entry->name, "vq.quantize.embedding.weight") != 0) same = same && entry->dtype == dtype;
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

static cm3_status file_path(bench_run *run, const char *name, cm3_dtype dtype, char *path, size_t size) {
    int length =
        snprintf(path, size, "%s/" FILE_PREFIX "%s-%s.cm3", run->options.dir, name, dtype == CM3_BF16 ? "bf16" : "f32");
    if (length < 0 || (size_t)length >= size) {
        return cm3_fail(run->context, CM3_ERROR_INVALID_ARGUMENT, "the path of the directory for models is too long");
    }
    return make_directory(run);
}

static cm3_status write_lm(cm3_context *context, const char *path, contents *c, const char *config) {
    size_t width = cm3_dtype_size(c->dtype);
    char *numbers[VALUE_KINDS] = {cm3_alloc(context, c->most[VALUES_RANDOM] * width),
                                  cm3_calloc(context, c->most[VALUES_ONE], sizeof(float)),
                                  cm3_calloc(context, c->most[VALUES_ZERO], sizeof(float))};
    const char *keys[] = {"format", "version", "config"}, *texts[] = {"cm3", CM3_FILE_VERSION, config};
    bool whole = numbers[VALUES_RANDOM] && numbers[VALUES_ONE] && numbers[VALUES_ZERO];
    cm3_status status = whole ? CM3_OK : cm3_fail_memory(context, c->most[VALUES_RANDOM] * width, "models");
    if (whole) {
        uint32_t seed = 1;
        bench_fill(numbers[VALUES_RANDOM], c->dtype, c->most[VALUES_RANDOM], 0.035f, &seed);
        for (size_t i = 0; i < c->most[VALUES_ONE]; i++) ((float *)(void *)numbers[VALUES_ONE])[i] = 1;
        for (size_t i = 0; i < c->count; i++) c->entries[i].data = numbers[c->kinds[i]];
        status = cm3_safetensors_write(context, path, c->entries, c->count, keys, texts, 3);
    }
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
    if (status == CM3_OK && !is_there(context, path, text, dtype)) {
        fprintf(stderr, "cm3-bench: making %s\n", path);
        c->dtype = dtype;
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
