/*
 * Folders in Meta's layout of Chameleon: ROOT/models/NAME with params.json and consolidated*.pth, ROOT/tokenizer with
 * text_tokenizer.json, vqgan.ckpt and vqgan.yaml. Anole is published so.
 */
#include "model/meta.h"

#include <dirent.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "files/folder.h"
#include "model/meta_config.h"
#include "model/meta_tensors.h"
#include "model/vqgan.h"
#include "text/special_names.h"

/** Whether FOLDER/NAME is there. */
static cm3_status has(cm3_context *context, const char *folder, const char *name, bool *there) {
    char *path = NULL;
    CM3_TRY(cm3_path_join(context, folder, name, &path));
    *there = cm3_path_exists(path);
    cm3_free(context, path);
    return CM3_OK;
}

cm3_status cm3_is_meta_folder(cm3_context *context, const char *folder, bool *is) {
    CM3_TRY(has(context, folder, "params.json", is));
    return *is ? CM3_OK : has(context, folder, "models", is);
}

/* --- where things are ----------------------------------------------------------------------------------------------
 */

/** The one model under ROOT/models; their names where there are several. */
static cm3_status choose_model(cm3_context *context, const char *root, char **model) {
    char *models = NULL, names[512] = "";
    int count = 0;
    CM3_TRY(cm3_path_join(context, root, "models", &models));
    DIR *directory = opendir(models);
    cm3_status status = CM3_OK;
    for (struct dirent *entry; directory && status == CM3_OK && (entry = readdir(directory));) {
        char *path = NULL;
        bool there = false;
        if (entry->d_name[0] == '.') continue;
        status = cm3_path_join(context, models, entry->d_name, &path);
        if (status == CM3_OK) status = has(context, path, "params.json", &there);
        if (there) {
            size_t used = strlen(names);
            snprintf(names + used, sizeof names - used, "%s%.60s", count++ ? ", " : "", entry->d_name);
            cm3_free(context, *model);
            *model = path;
            path = NULL;
        }
        cm3_free(context, path);
    }
    if (directory) closedir(directory);
    if (status == CM3_OK && count != 1) {
        status = count
                     ? cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: several models (%s): name one of them",
                                models, names)
                     : cm3_fail(context, CM3_ERROR_NOT_FOUND, "%s: there is no model with a params.json in it", models);
    }
    cm3_free(context, models);
    return status;
}

/** The folder of the tokenizers: two above the model's, or the model's own; NULL where there is none. */
static cm3_status find_tokenizer(cm3_context *context, const char *model, char **folder) {
    static const char *const places[] = {"../../tokenizer", "tokenizer", "."};
    for (int i = 0; i < 3; i++) {
        bool text = false, images = false;
        CM3_TRY(cm3_path_join(context, model, places[i], folder));
        cm3_status status = has(context, *folder, "text_tokenizer.json", &text);
        if (status == CM3_OK) status = has(context, *folder, "vqgan.ckpt", &images);
        if (status == CM3_OK && (text || images)) return CM3_OK;
        cm3_free(context, *folder);
        *folder = NULL;
        CM3_TRY(status);
    }
    return CM3_OK;
}

/* --- the language model --------------------------------------------------------------------------------------------
 */

static cm3_status parse_in(cm3_context *context, const char *folder, const char *name, cm3_file **file, json_t **json) {
    char *path = NULL;
    *json = NULL;
    CM3_TRY(cm3_path_join(context, folder, name, &path));
    cm3_status status = cm3_file_open(context, path, file);
    cm3_free(context, path);
    CM3_TRY(status);
    status = cm3_json_parse(context, (*file)->name, (*file)->data, (*file)->size, json);
    if (status == CM3_OK && !json_is_object(*json)) {
        status = cm3_fail(context, CM3_ERROR_FORMAT, "%s: an object is expected", (*file)->name);
    }
    if (status == CM3_OK) return CM3_OK;
    json_decref(*json);
    cm3_file_release(*file);
    return status;
}

static cm3_status read_params(cm3_source *source, const char *folder) {
    cm3_file *file;
    json_t *json;
    CM3_TRY(parse_in(source->context, folder, "params.json", &file, &json));
    const cm3_json_object object = {source->context, file->name, json};
    cm3_status status = cm3_meta_lm_config(&object, &source->lm);
    json_decref(json);
    cm3_file_release(file);
    return status;
}

/** How many shards consolidate_params.json says there are; 0 where it says nothing. */
static cm3_status shards_announced(cm3_source *source, const char *folder, int32_t *count) {
    cm3_file *file;
    json_t *json;
    bool there;
    *count = 0;
    CM3_TRY(has(source->context, folder, "consolidate_params.json", &there));
    if (!there) return CM3_OK;
    CM3_TRY(parse_in(source->context, folder, "consolidate_params.json", &file, &json));
    const cm3_json_object object = {source->context, file->name, json};
    cm3_status status = cm3_json_int32(&object, "model_parallel_size", 1, CM3_META_MOST_SHARDS, count);
    json_decref(json);
    cm3_file_release(file);
    return status;
}

static cm3_status open_shard(cm3_source *source, const char *folder, const char *name, cm3_meta_shards *shards) {
    cm3_file *file, *own;
    cm3_torch *torch;
    char *path = NULL;
    CM3_TRY(cm3_path_join(source->context, folder, name, &path));
    cm3_status status = cm3_file_open(source->context, path, &file);
    cm3_free(source->context, path);
    CM3_TRY(status);
    CM3_TRY(cm3_source_place(source, file, &own));
    status = cm3_torch_open(source->context, own, &torch);
    cm3_file_release(own);
    CM3_TRY(status);
    CM3_TRY(cm3_weights_hold_torch(source->weights, torch));
    shards->files[shards->count++] = torch;
    return CM3_OK;
}

static cm3_status open_shards(cm3_source *source, const char *folder, cm3_meta_shards *shards) {
    int32_t announced;
    CM3_TRY(shards_announced(source, folder, &announced));
    bool there;
    shards->count = 0;
    CM3_TRY(has(source->context, folder, "consolidated.pth", &there));
    if (there) {
        CM3_TRY(open_shard(source, folder, "consolidated.pth", shards));
    } else {
        for (int i = 0; i < CM3_META_MOST_SHARDS; i++) {
            char name[64];
            snprintf(name, sizeof name, "consolidated.%02d.pth", i);
            CM3_TRY(has(source->context, folder, name, &there));
            if (i >= (announced ? announced : 1) && !there) break;
            CM3_TRY(open_shard(source, folder, name, shards));
        }
    }
    if (!announced || shards->count == announced) return CM3_OK;
    return cm3_fail(source->context, CM3_ERROR_FORMAT,
                    "%s: consolidate_params.json says %d shards, and there are %d consolidated*.pth", folder, announced,
                    shards->count);
}

static cm3_status read_lm(cm3_source *source, const char *folder) {
    cm3_meta_shards shards;
    CM3_TRY(read_params(source, folder));
    CM3_TRY(open_shards(source, folder, &shards));
    CM3_TRY(cm3_meta_sizes(source, &shards));
    cm3_status status = cm3_lm_config_check(source->context, &source->lm);
    if (status != CM3_OK) return status == CM3_ERROR_INVALID_ARGUMENT ? CM3_ERROR_FORMAT : status;
    source->has_lm = true;
    CM3_TRY(cm3_meta_tensors(source, &shards));
    return cm3_weights_seal(source->weights);
}

/* --- the tokenizers ------------------------------------------------------------------------------------------------
 */

static cm3_status read_text(cm3_source *source, const char *folder) {
    char *path = NULL;
    cm3_file *file;
    bool there;
    CM3_TRY(has(source->context, folder, "text_tokenizer.json", &there));
    if (!there) return CM3_OK;
    CM3_TRY(cm3_path_join(source->context, folder, "text_tokenizer.json", &path));
    cm3_status status = cm3_file_open(source->context, path, &file);
    cm3_free(source->context, path);
    CM3_TRY(status);
    status = cm3_bpe_parse(source->context, file->name, file->data, file->size, &source->bpe);
    cm3_file_release(file);
    CM3_TRY(status);
    source->has_special = true;
    CM3_TRY(cm3_special_from_names(source->context, source->bpe, source->lm.vocab_size, &source->special));
    cm3_special_as_chameleon(source->bpe, &source->special);
    return CM3_OK;
}

static cm3_status read_images(cm3_source *source, const char *folder) {
    const cm3_json_object nothing = {source->context, folder, NULL};
    char *path = NULL;
    CM3_TRY(cm3_vq_config_parse(&nothing, &source->vq)); /* the published one, where no yaml tells */
    if (source->options->vqgan) CM3_TRY(cm3_source_read_vqgan(source, source->options->vqgan, false));
    bool there = false;
    if (folder && !source->options->vqgan) CM3_TRY(has(source->context, folder, "vqgan.ckpt", &there));
    if (!there) return CM3_OK;
    CM3_TRY(cm3_path_join(source->context, folder, "vqgan.ckpt", &path));
    cm3_status status = cm3_source_read_vqgan(source, path, false);
    cm3_free(source->context, path);
    return status;
}

static cm3_status read_all(cm3_source *source, const char *model) {
    char *tokenizer = NULL;
    CM3_TRY(read_lm(source, model));
    CM3_TRY(find_tokenizer(source->context, model, &tokenizer));
    cm3_status status = tokenizer ? read_text(source, tokenizer) : CM3_OK;
    if (status == CM3_OK) status = read_images(source, tokenizer);
    cm3_free(source->context, tokenizer);
    CM3_TRY(status);
    source->has_vq = cm3_weights_find(source->weights, "vq.encoder.conv_in.weight") != NULL;
    return cm3_config_format(source->context, &source->lm, source->has_vq ? &source->vq : NULL, NULL, NULL,
                             source->has_special ? &source->special : NULL, &source->config_json);
}

cm3_status cm3_source_read_meta(cm3_source *source, const char *folder) {
    cm3_context *context = source->context;
    char *model = NULL;
    if (source->options->verify_checksum) {
        return cm3_fail(context, CM3_ERROR_CHECKSUM, "%s: a folder has no checksum; a .cm3 file has", folder);
    }
    CM3_TRY(cm3_weights_create(context, folder, &source->weights));
    bool there;
    CM3_TRY(has(context, folder, "params.json", &there));
    if (there) return read_all(source, folder);
    cm3_status status = choose_model(context, folder, &model);
    if (status == CM3_OK) status = read_all(source, model);
    cm3_free(context, model);
    return status;
}
