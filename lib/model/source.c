/* `.cm3` files as a source, and what all sources share. */
#include "model/source.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "files/folder.h"
#include "files/hash.h"
#include "model/head_rows.h"
#include "model/huggingface_config.h"
#include "model/meta.h"
#include "model/model.h"

void cm3_source_clear(cm3_source *source) {
    cm3_weights_release(source->weights);
    cm3_bpe_destroy(source->bpe);
    cm3_special_clear(source->context, &source->special);
    cm3_free(source->context, source->config_json);
    source->weights = NULL;
    source->bpe = NULL;
    source->config_json = NULL;
}

cm3_source cm3_source_of(cm3_context *context, const cm3_load_options *options) {
    const cm3_special_tokens none = {.eod = -1,
                                     .pad = -1,
                                     .break_ = -1,
                                     .begin_image = -1,
                                     .end_image = -1,
                                     .end_span = -1,
                                     .bos = -1,
                                     .end_turn = -1};
    return (cm3_source){.context = context, .options = options, .special = none};
}

static cm3_status read_path(cm3_source *source, const char *path) {
    cm3_context *context = source->context;
    cm3_file *file;
    if (cm3_is_folder(path)) {
        bool meta;
        CM3_TRY(cm3_is_meta_folder(context, path, &meta));
        return meta ? cm3_source_read_meta(source, path) : cm3_source_read_folder(source, path);
    }
    if (source->options->vqgan) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_load_options: vqgan belongs to a folder; a .cm3 file holds its own image tokenizer");
    }
    CM3_TRY(cm3_file_open(context, path, &file));
    cm3_status status = cm3_source_read_file(source, file);
    cm3_file_release(file);
    return status;
}

cm3_status cm3_source_read(cm3_source *source, const char *path) {
    const char *head_rows = source->options->head_rows;
    CM3_TRY(read_path(source, path));
    return head_rows ? cm3_source_read_head_rows(source, head_rows) : CM3_OK;
}

cm3_status cm3_source_place(const cm3_source *source, cm3_file *file, cm3_file **placed) {
    *placed = file;
    if (source->options->mode != CM3_LOAD_HUGE) return CM3_OK;
    if (source->sizes) {
        source->sizes->copied += cm3_file_huge_bytes(file->size);
        return CM3_OK;
    }
    cm3_status status = cm3_file_copy_huge(source->context, file, placed);
    cm3_file_release(file);
    return status;
}

cm3_status cm3_source_open(const cm3_source *source, cm3_file *file, cm3_safetensors **tensors) {
    cm3_file *own;
    *tensors = NULL;
    CM3_TRY(cm3_source_place(source, file, &own));
    cm3_status status = cm3_safetensors_open(source->context, own, tensors);
    cm3_file_release(own);
    return status;
}

/* --- the configuration's text --------------------------------------------------------------------------------------
 */

static cm3_status set(cm3_context *context, json_t *object, const char *key, json_t *value) {
    return json_object_set_new(object, key, value) ? cm3_fail_memory(context, 0, "config") : CM3_OK;
}

cm3_status cm3_config_format(cm3_context *context, const cm3_lm_config *lm, const cm3_vq_config *vq,
                             const cm3_hf_preprocessing *preprocessing, const cm3_clip_config *clip,
                             const cm3_special_tokens *special, char **text) {
    json_t *config = json_object(), *part = NULL;
    cm3_status status = config ? CM3_OK : cm3_fail_memory(context, 0, "config");
    *text = NULL;
    if (status == CM3_OK && lm) {
        status = cm3_lm_config_format(context, lm, &part);
        if (status == CM3_OK) status = set(context, config, "lm", part);
    }
    if (status == CM3_OK && vq) {
        status = cm3_vq_config_format(context, vq, &part);
        if (status == CM3_OK) status = set(context, config, "vq", part);
    }
    if (status == CM3_OK && vq && preprocessing) {
        status = cm3_huggingface_preprocessing_format(context, preprocessing, &part);
        if (status == CM3_OK) status = set(context, config, "preprocessing", part);
    }
    if (status == CM3_OK && clip) {
        status = cm3_clip_config_format(context, clip, &part);
        if (status == CM3_OK) status = set(context, config, "encoder", part);
    }
    if (status == CM3_OK && special) {
        status = cm3_special_format(context, special, &part);
        if (status == CM3_OK) status = set(context, config, "tokens", part);
    }
    char *dump = status == CM3_OK ? json_dumps(config, JSON_COMPACT | JSON_SORT_KEYS) : NULL;
    if (dump) *text = cm3_strndup(context, dump, strlen(dump));
    if (status == CM3_OK && !*text) status = cm3_fail_memory(context, 0, "config");
    free(dump);
    json_decref(config);
    return status;
}

/* --- .cm3 ----------------------------------------------------------------------------------------------------------
 */

static cm3_status check_format(const cm3_source *source, const cm3_safetensors *tensors) {
    const char *name = cm3_safetensors_name(tensors), *format = cm3_safetensors_metadata(tensors, "format");
    const char *version = cm3_safetensors_metadata(tensors, "version");
    if (!format || strcmp(format, "cm3") != 0) {
        return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: __metadata__.format is '%s'; a .cm3 file has 'cm3'",
                        name, format ? format : "missing");
    }
    if (!version || strcmp(version, CM3_FILE_VERSION) != 0) {
        return cm3_fail(source->context, CM3_ERROR_VERSION,
                        "%s: the file is of version '%s'; this library reads version '%s'", name,
                        version ? version : "missing", CM3_FILE_VERSION);
    }
    if (!cm3_safetensors_metadata(tensors, "config")) {
        return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: __metadata__.config is missing", name);
    }
    return CM3_OK;
}

/* Bytes that are summed up before what was read is given back. */
#define SUM_CHUNK ((size_t)64 << 20)

static cm3_status check_sum(const cm3_source *source, const cm3_safetensors *tensors) {
    const char *name = cm3_safetensors_name(tensors), *sum = cm3_safetensors_metadata(tensors, "xxh3");
    const uint8_t *data;
    size_t size;
    char found[17];
    if (!sum) return cm3_fail(source->context, CM3_ERROR_CHECKSUM, "%s: the file has no checksum", name);
    cm3_safetensors_data(tensors, &data, &size);
    cm3_hasher *hasher = cm3_hasher_create();
    if (!hasher) return cm3_fail_memory(source->context, 0, name);
    for (size_t at = 0; at < size; at += SUM_CHUNK) {
        cm3_hasher_add(hasher, data + at, size - at < SUM_CHUNK ? size - at : SUM_CHUNK);
        cm3_safetensors_forget(tensors); /* the file may be larger than memory */
    }
    snprintf(found, sizeof found, "%016llx", (unsigned long long)cm3_hasher_sum(hasher));
    cm3_hasher_destroy(hasher);
    if (strcmp(sum, found) == 0) return CM3_OK;
    return cm3_fail(source->context, CM3_ERROR_CHECKSUM, "%s: the data's checksum is %s; the file says %s", name, found,
                    sum);
}

/** The parts that the configuration and the metadata tell of. */
static cm3_status read_parts(cm3_source *source, const cm3_safetensors *tensors, const cm3_json_object *config) {
    const char *name = cm3_safetensors_name(tensors), *text = cm3_safetensors_metadata(tensors, "tokenizer");
    cm3_json_object lm, vq, preprocessing, clip, tokens;
    CM3_TRY(cm3_json_child(config, "lm", name, &lm));
    CM3_TRY(cm3_json_child(config, "vq", name, &vq));
    CM3_TRY(cm3_json_child(config, "preprocessing", name, &preprocessing));
    CM3_TRY(cm3_json_child(config, "encoder", name, &clip));
    CM3_TRY(cm3_json_child(config, "tokens", name, &tokens));
    source->has_lm = lm.value != NULL;
    source->has_vq = vq.value != NULL;
    source->has_clip = clip.value != NULL;
    if (lm.value) CM3_TRY(cm3_lm_config_parse(&lm, &source->lm));
    if (vq.value) CM3_TRY(cm3_vq_config_parse(&vq, &source->vq));
    if (vq.value && preprocessing.value) {
        cm3_hf_preprocessing_init(&source->preprocessing, source->vq.resolution);
        CM3_TRY(cm3_huggingface_preprocessing(&preprocessing, &source->preprocessing));
    }
    if (clip.value) CM3_TRY(cm3_clip_config_parse(&clip, &source->clip));
    if (text) CM3_TRY(cm3_bpe_parse(source->context, name, text, strlen(text), &source->bpe));
    if (text && tokens.value) {
        int32_t vocab = source->has_lm ? source->lm.vocab_size : cm3_bpe_vocab_size(source->bpe);
        CM3_TRY(cm3_special_parse(&tokens, vocab, &source->special));
        source->has_special = true;
    }
    return CM3_OK;
}

static cm3_status read_config(cm3_source *source, const cm3_safetensors *tensors) {
    const char *name = cm3_safetensors_name(tensors), *config = cm3_safetensors_metadata(tensors, "config");
    json_t *json = NULL;
    source->config_json = cm3_strndup(source->context, config, strlen(config));
    if (!source->config_json) return cm3_fail_memory(source->context, strlen(config), "config");
    CM3_TRY(cm3_json_parse(source->context, name, config, strlen(config), &json));
    cm3_json_object object = {source->context, name, json};
    cm3_status status = json_is_object(json)
                            ? read_parts(source, tensors, &object)
                            : cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: config is not an object", name);
    json_decref(json);
    return status;
}

cm3_status cm3_source_read_file(cm3_source *source, cm3_file *file) {
    cm3_safetensors *tensors;
    source->exact = true;
    cm3_file_retain(file);
    CM3_TRY(cm3_source_open(source, file, &tensors));
    cm3_status status = check_format(source, tensors);
    if (status == CM3_OK && source->options->verify_checksum) status = check_sum(source, tensors);
    if (status == CM3_OK) status = read_config(source, tensors);
    if (status == CM3_OK) return cm3_weights_of(source->context, tensors, &source->weights);
    cm3_safetensors_close(tensors);
    return status;
}
