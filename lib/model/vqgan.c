/* Image tokenizers in files of their own. */
#include "model/vqgan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "files/folder.h"
#include "files/yaml.h"
#include "files/zip.h"
#include "model/meta_config.h"

#define HF_PREFIX "model.vqmodel."

static cm3_status add_tensor(cm3_source *source, const char *file, const cm3_entry *entry) {
    const char *name = entry->name;
    char full[256];
    if (strncmp(name, HF_PREFIX, strlen(HF_PREFIX)) == 0) name += strlen(HF_PREFIX);
    if (strncmp(name, "loss.", 5) == 0) return CM3_OK; /* what it was trained with */
    if (snprintf(full, sizeof full, "vq.%s", name) >= (int)sizeof full) return CM3_OK;
    if (cm3_weights_find(source->weights, full)) return CM3_OK;
    return cm3_weights_add(source->weights, "vq.", name, file, entry);
}

static cm3_status read_torch(cm3_source *source, cm3_file *file) {
    cm3_torch *torch;
    CM3_TRY(cm3_torch_open(source->context, file, &torch));
    CM3_TRY(cm3_weights_hold_torch(source->weights, torch));
    for (size_t i = 0; i < cm3_torch_count(torch); i++) {
        CM3_TRY(add_tensor(source, cm3_torch_name(torch), cm3_torch_at(torch, i)));
    }
    return CM3_OK;
}

static cm3_status read_safetensors(cm3_source *source, cm3_file *file) {
    cm3_safetensors *tensors;
    cm3_file_retain(file);
    CM3_TRY(cm3_source_open(source, file, &tensors));
    CM3_TRY(cm3_weights_hold(source->weights, tensors));
    for (size_t i = 0; i < cm3_safetensors_count(tensors); i++) {
        CM3_TRY(add_tensor(source, cm3_safetensors_name(tensors), cm3_safetensors_at(tensors, i)));
    }
    return CM3_OK;
}

/* --- the configuration ---------------------------------------------------------------------------------------------
 */

/** The yaml that belongs to a file: STEM.yaml, or vqgan.yaml in its folder; NULL where there is none. */
static cm3_status find_yaml(cm3_context *context, const char *path, char **yaml) {
    const char *slash = strrchr(path, '/'), *dot = strrchr(slash ? slash : path, '.');
    size_t folder = slash ? (size_t)(slash - path) + 1 : 0, stem = dot ? (size_t)(dot - path) : strlen(path);
    const struct {
        size_t length;
        const char *end;
    } names[] = {{stem, ".yaml"}, {folder, "vqgan.yaml"}};
    for (int i = 0; i < 2; i++) {
        size_t size = names[i].length + strlen(names[i].end) + 1;
        *yaml = cm3_alloc(context, size);
        if (!*yaml) return cm3_fail_memory(context, size, path);
        snprintf(*yaml, size, "%.*s%s", (int)names[i].length, path, names[i].end);
        if (cm3_path_exists(*yaml)) return CM3_OK;
        cm3_free(context, *yaml);
        *yaml = NULL;
    }
    return CM3_OK;
}

static cm3_status parse_yaml(cm3_context *context, const char *path, cm3_vq_config *config) {
    cm3_file *file;
    json_t *json = NULL;
    CM3_TRY(cm3_file_open(context, path, &file));
    cm3_status status = cm3_yaml_parse(context, file->name, file->data, file->size, &json);
    if (status == CM3_OK && !json_is_object(json)) {
        status = cm3_fail(context, CM3_ERROR_FORMAT, "%s: a mapping is expected", file->name);
    }
    if (status == CM3_OK) {
        const cm3_json_object object = {context, file->name, json};
        status = cm3_meta_vq_config(&object, config);
    }
    json_decref(json);
    cm3_file_release(file);
    return status;
}

/** FORMAT where the two are not of the same shape. */
static cm3_status compare(cm3_source *source, const char *yaml, const cm3_vq_config *config) {
    json_t *ours = NULL, *theirs = NULL;
    cm3_status status = cm3_vq_config_format(source->context, &source->vq, &ours);
    if (status == CM3_OK) status = cm3_vq_config_format(source->context, config, &theirs);
    const char *key;
    json_t *value;
    if (status == CM3_OK) {
        json_object_foreach(ours, key, value) {
            json_t *other = json_object_get(theirs, key);
            if (json_equal(value, other)) continue;
            char *a = json_dumps(other, JSON_ENCODE_ANY | JSON_COMPACT);
            char *b = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
            status = cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: %s is %s; the model's own configuration says %s",
                              yaml, key, a ? a : "another", b ? b : "another");
            free(a);
            free(b);
            break;
        }
    }
    json_decref(ours);
    json_decref(theirs);
    return status;
}

static cm3_status read_yaml(cm3_source *source, const char *path, bool configured) {
    char *yaml;
    cm3_vq_config config;
    CM3_TRY(find_yaml(source->context, path, &yaml));
    if (!yaml) return CM3_OK;
    cm3_status status = parse_yaml(source->context, yaml, &config);
    if (status == CM3_OK && configured) status = compare(source, yaml, &config);
    if (status == CM3_OK) source->vq = config;
    cm3_free(source->context, yaml);
    return status;
}

cm3_status cm3_source_read_vqgan(cm3_source *source, const char *path, bool configured) {
    cm3_file *file;
    CM3_TRY(cm3_file_open(source->context, path, &file));
    cm3_status status = cm3_is_zip(file) ? read_torch(source, file) : read_safetensors(source, file);
    cm3_file_release(file);
    if (status == CM3_OK) status = read_yaml(source, path, configured);
    return status == CM3_OK ? cm3_weights_seal(source->weights) : status;
}
