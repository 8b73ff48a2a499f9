/*
 * Folders in Hugging Face's layout: config.json, one safetensors file or many with an index, tokenizer.json.
 * Chameleon's hold the image tokenizer's encoder and seldom its decoder, which may then come from a file of its own;
 * CLIP's are encoders of texts and pictures.
 */
#include <stdlib.h>
#include <string.h>

#include "files/folder.h"
#include "model/huggingface_config.h"
#include "model/source.h"
#include "model/vqgan.h"
#include "text/special_names.h"

#define VQ_PREFIX "model.vqmodel."

/** Opens FOLDER/NAME. `optional`: *file is NULL where there is none. */
static cm3_status open_in(const cm3_source *source, const char *folder, const char *name, bool optional,
                          cm3_file **file) {
    char *path = NULL;
    *file = NULL;
    CM3_TRY(cm3_path_join(source->context, folder, name, &path));
    cm3_status status = optional && !cm3_path_exists(path) ? CM3_OK : cm3_file_open(source->context, path, file);
    cm3_free(source->context, path);
    return status;
}

static cm3_status parse_in(const cm3_source *source, const char *folder, const char *name, bool optional,
                           cm3_file **file, json_t **json) {
    *json = NULL;
    CM3_TRY(open_in(source, folder, name, optional, file));
    if (!*file) return CM3_OK;
    cm3_status status = cm3_json_parse(source->context, (*file)->name, (*file)->data, (*file)->size, json);
    if (status == CM3_OK && !json_is_object(*json)) {
        status = cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: an object is expected", (*file)->name);
    }
    if (status == CM3_OK) return CM3_OK;
    json_decref(*json);
    cm3_file_release(*file);
    *json = NULL;
    *file = NULL;
    return status;
}

/* --- tensors -------------------------------------------------------------------------------------------------------
 */

/** One row for all heads. */
typedef struct spreading {
    cm3_entry row;
    int32_t heads;
} spreading;

static void spread(const void *recipe, void *to) {
    const spreading *s = recipe;
    for (int32_t i = 0; i < s->heads; i++) memcpy((char *)to + (size_t)i * s->row.size, s->row.data, s->row.size);
}

/** Anole's fork, and perhaps early conversions, have one row of q/k-norm for all heads: each gets a copy. */
static cm3_status add_spread(cm3_source *source, const char *file, const cm3_entry *found, int32_t heads) {
    cm3_entry entry = *found;
    spreading *recipe = cm3_weights_note(source->weights, sizeof *recipe);
    if (!recipe) return CM3_ERROR_NO_MEMORY;
    *recipe = (spreading){*found, heads};
    if (!cm3_mul_size(entry.size, (size_t)heads, &entry.size)) return cm3_fail_memory(source->context, SIZE_MAX, file);
    entry.rank = 2;
    entry.shape[1] = entry.shape[0];
    entry.shape[0] = heads;
    entry.count *= heads;
    entry.data = NULL;
    return cm3_weights_add_made(source->weights, "lm.", entry.name, file, &entry, spread, recipe);
}

static cm3_status add_tensor(cm3_source *source, const char *file, const cm3_entry *entry) {
    const char *name = entry->name;
    /* Numbers of positions, in old files of CLIP, are no weights. */
    if (source->has_clip && strstr(name, "position_ids")) return CM3_OK;
    if (source->has_clip) return cm3_weights_add(source->weights, "encoder.", name, file, entry);
    if (strncmp(name, VQ_PREFIX, strlen(VQ_PREFIX)) == 0) {
        return cm3_weights_add(source->weights, "vq.", name + strlen(VQ_PREFIX), file, entry);
    }
    /* The library ties it, whatever stands there. */
    if (source->lm.tied && strcmp(name, "lm_head.weight") == 0) return CM3_OK;
    bool q = strstr(name, ".self_attn.q_norm.") != NULL, k = strstr(name, ".self_attn.k_norm.") != NULL;
    if ((q || k) && entry->rank == 1) {
        return add_spread(source, file, entry, q ? source->lm.heads : source->lm.kv_heads);
    }
    return cm3_weights_add(source->weights, "lm.", name, file, entry);
}

/** Opens a file of tensors and holds it. */
static cm3_status hold_file(cm3_source *source, const char *folder, const char *name, cm3_safetensors **tensors) {
    cm3_file *file;
    CM3_TRY(open_in(source, folder, name, false, &file));
    CM3_TRY(cm3_source_open(source, file, tensors));
    return cm3_weights_hold(source->weights, *tensors);
}

static cm3_status read_single(cm3_source *source, const char *folder) {
    cm3_safetensors *tensors;
    CM3_TRY(hold_file(source, folder, "model.safetensors", &tensors));
    for (size_t i = 0; i < cm3_safetensors_count(tensors); i++) {
        CM3_TRY(add_tensor(source, cm3_safetensors_name(tensors), cm3_safetensors_at(tensors, i)));
    }
    return CM3_OK;
}

/** A tensor and the shard that the index says it is in; sorted by shard. */
typedef struct cm3_index_line {
    const char *tensor, *shard;
} cm3_index_line;

static int compare_lines(const void *a, const void *b) {
    const cm3_index_line *left = a, *right = b;
    int order = strcmp(left->shard, right->shard);
    return order ? order : strcmp(left->tensor, right->tensor);
}

static cm3_status read_shards(cm3_source *source, const char *folder, const cm3_index_line *lines, size_t count) {
    cm3_safetensors *tensors = NULL;
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || strcmp(lines[i].shard, lines[i - 1].shard) != 0) {
            CM3_TRY(hold_file(source, folder, lines[i].shard, &tensors));
        }
        const cm3_entry *entry = cm3_safetensors_find(tensors, lines[i].tensor);
        if (!entry) {
            return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: tensor '%.200s' is missing; the index puts it here",
                            cm3_safetensors_name(tensors), lines[i].tensor);
        }
        CM3_TRY(add_tensor(source, cm3_safetensors_name(tensors), entry));
    }
    return CM3_OK;
}

static bool plain_name(const char *name) {
    return *name && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

static cm3_status read_index(cm3_source *source, const char *folder, const cm3_json_object *index) {
    cm3_json_object map;
    CM3_TRY(cm3_json_child(index, "weight_map", index->where, &map));
    if (!map.value) return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: 'weight_map' is missing", index->where);
    size_t count = 0;
    cm3_index_line *lines = cm3_calloc(source->context, json_object_size(map.value), sizeof *lines);
    if (!lines) return cm3_fail_memory(source->context, 0, index->where);
    cm3_status status = CM3_OK;
    const char *tensor;
    json_t *value;
    json_object_foreach(map.value, tensor, value) {
        const char *shard = json_string_value(value);
        if (!shard || !plain_name(shard)) {
            status = cm3_fail(source->context, CM3_ERROR_FORMAT,
                              "%s: weight_map: '%.200s': the name of a file in the same folder is expected",
                              index->where, tensor);
            break;
        }
        lines[count++] = (cm3_index_line){tensor, shard};
    }
    if (count) qsort(lines, count, sizeof *lines, compare_lines);
    if (status == CM3_OK) status = read_shards(source, folder, lines, count);
    cm3_free(source->context, lines);
    return status;
}

static cm3_status read_tensors(cm3_source *source, const char *folder) {
    cm3_file *file;
    json_t *json;
    CM3_TRY(parse_in(source, folder, "model.safetensors.index.json", true, &file, &json));
    if (!file) return read_single(source, folder);
    cm3_json_object index = {source->context, file->name, json};
    cm3_status status = read_index(source, folder, &index);
    json_decref(json);
    cm3_file_release(file);
    return status;
}

/* --- the folder ----------------------------------------------------------------------------------------------------
 */

/** Chameleon's. *configured: whether it says anything of the image tokenizer. */
static cm3_status read_chameleon(cm3_source *source, const cm3_json_object *config, bool *configured) {
    cm3_json_object vq;
    CM3_TRY(cm3_huggingface_lm_config(config, &source->lm));
    CM3_TRY(cm3_json_child(config, "vq_config", config->where, &vq));
    *configured = vq.value != NULL;
    source->has_lm = true;
    /* Where it is missing, the published one. */
    return cm3_vq_config_parse(&vq, &source->vq);
}

static cm3_status read_configs(cm3_source *source, const char *folder, bool *configured) {
    cm3_file *file;
    json_t *json;
    const char *type = "";
    *configured = false;
    CM3_TRY(parse_in(source, folder, "config.json", false, &file, &json));
    const cm3_json_object config = {source->context, file->name, json};
    cm3_status status = cm3_json_string(&config, "model_type", &type);
    source->has_clip = status == CM3_OK && strncmp(type, "clip", 4) == 0;
    if (status == CM3_OK) {
        status = source->has_clip ? cm3_clip_config_parse(&config, &source->clip)
                                  : read_chameleon(source, &config, configured);
    }
    json_decref(json);
    cm3_file_release(file);
    return status;
}

static cm3_status read_tokenizer(cm3_source *source, const char *folder) {
    cm3_file *file;
    CM3_TRY(open_in(source, folder, "tokenizer.json", true, &file));
    if (!file) return CM3_OK;
    cm3_status status = cm3_bpe_parse(source->context, file->name, file->data, file->size, &source->bpe);
    cm3_file_release(file);
    CM3_TRY(status);
    if (!source->has_lm) return CM3_OK;
    source->has_special = true;
    CM3_TRY(cm3_special_from_names(source->context, source->bpe, source->lm.vocab_size, &source->special));
    cm3_special_as_chameleon(source->bpe, &source->special);
    return CM3_OK;
}

/** What the folder says of pictures, in either of its spellings. */
static cm3_status read_preprocessing(cm3_source *source, const char *folder) {
    static const char *const names[] = {"preprocessor_config.json", "processor_config.json"};
    cm3_hf_preprocessing *to = source->has_clip ? &source->clip.preprocessing : &source->preprocessing;
    if (!source->has_clip) cm3_hf_preprocessing_init(to, source->vq.resolution);
    for (size_t i = 0; i < 2; i++) {
        cm3_file *file;
        json_t *json;
        CM3_TRY(parse_in(source, folder, names[i], true, &file, &json));
        if (!file) continue;
        cm3_json_object object = {source->context, file->name, json}, inner;
        cm3_status status = cm3_json_child(&object, "image_processor", file->name, &inner);
        if (status == CM3_OK) {
            status = cm3_huggingface_preprocessing(inner.value ? &inner : &object, to);
        }
        json_decref(json);
        cm3_file_release(file);
        CM3_TRY(status);
    }
    return CM3_OK;
}

cm3_status cm3_source_read_folder(cm3_source *source, const char *folder) {
    cm3_context *context = source->context;
    if (source->options->verify_checksum) {
        return cm3_fail(context, CM3_ERROR_CHECKSUM, "%s: a folder has no checksum; a .cm3 file has", folder);
    }
    CM3_TRY(cm3_weights_create(context, folder, &source->weights));
    bool configured;
    CM3_TRY(read_configs(source, folder, &configured));
    CM3_TRY(read_tensors(source, folder));
    CM3_TRY(cm3_weights_seal(source->weights));
    if (source->options->vqgan) CM3_TRY(cm3_source_read_vqgan(source, source->options->vqgan, configured));
    source->has_vq = cm3_weights_find(source->weights, "vq.encoder.conv_in.weight") != NULL;
    CM3_TRY(read_tokenizer(source, folder));
    CM3_TRY(read_preprocessing(source, folder));
    return cm3_config_format(context, source->has_lm ? &source->lm : NULL, source->has_vq ? &source->vq : NULL,
                             &source->preprocessing, source->has_clip ? &source->clip : NULL,
                             source->has_special ? &source->special : NULL, &source->config_json);
}
