/* Training the text tokenizer from the captions of records. */
#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "cm3leon/train.h"
#include "files/file.h"
#include "model/model.h"
#include "text/special_names.h"
#include "train/dataset.h"

static const cm3_train_bpe_options defaults = {
    .struct_size = sizeof defaults, .vocab_size = 1024, .sentinels = 16, .min_frequency = 2};

void cm3_train_bpe_options_init(cm3_train_bpe_options *options) {
    if (options) *options = defaults;
}

/** Names of the special tokens and image codes, in the order of their ids. */
typedef struct cm3_names {
    char (*text)[32];
    const char **list;
    size_t count;
} cm3_names;

static void free_names(cm3_context *context, cm3_names *names) {
    cm3_free(context, names->text);
    cm3_free(context, names->list);
}

static cm3_status make_names(cm3_context *context, const cm3_train_bpe_options *o, cm3_names *names) {
    static const char *const fixed[] = {"<pad>", "</s>", "<racm3:break>", "<eoss>"};
    names->count = 4 + (size_t)o->sentinels + (size_t)o->image_codes;
    names->text = cm3_calloc(context, names->count, sizeof *names->text);
    names->list = cm3_calloc(context, names->count, sizeof *names->list);
    if (!names->text || !names->list) return cm3_fail_memory(context, names->count * 40, "special tokens");
    for (size_t i = 0; i < names->count; i++) {
        names->list[i] = names->text[i];
        if (i < 4) {
            snprintf(names->text[i], sizeof names->text[i], "%s", fixed[i]);
        } else if (i < 4 + (size_t)o->sentinels) {
            snprintf(names->text[i], sizeof names->text[i], "<sentinel:%d>", (int)i - 4);
        } else {
            cm3_image_token_name((int32_t)(i - 4) - o->sentinels, names->text[i]);
        }
    }
    return CM3_OK;
}

static bool is_plain_text(const char *path) {
    size_t length = strlen(path);
    return length > 4 && strcmp(path + length - 4, ".txt") == 0;
}

static cm3_status add_lines(cm3_context *context, const char *path, cm3_bpe_trainer *trainer) {
    cm3_file *file = NULL;
    CM3_TRY(cm3_file_open(context, path, &file));
    const char *text = (const char *)file->data;
    cm3_status status = CM3_OK;
    for (size_t begin = 0; begin < file->size && status == CM3_OK;) {
        const char *newline = memchr(text + begin, '\n', file->size - begin);
        size_t end = newline ? (size_t)(newline - text) : file->size;
        if (end > begin) status = cm3_bpe_trainer_add(trainer, text + begin, end - begin);
        begin = end + 1;
    }
    cm3_file_release(file);
    return status;
}

static cm3_status add_records(cm3_context *context, const char *path, cm3_bpe_trainer *trainer) {
    cm3_dataset *dataset = NULL;
    CM3_TRY(cm3_dataset_load(context, &path, 1, 1, false, 0, &dataset));
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < dataset->count && status == CM3_OK; i++) {
        const cm3_sample *sample = &dataset->samples[i];
        for (int32_t k = 0; k < sample->caption_count && status == CM3_OK; k++) {
            const char *caption = cm3_sample_caption(sample, k);
            status = cm3_bpe_trainer_add(trainer, caption, strlen(caption));
        }
    }
    cm3_dataset_destroy(dataset);
    return status;
}

static cm3_status learn(cm3_context *context, const cm3_train_bpe_options *o, const cm3_names *names, cm3_bpe **bpe) {
    cm3_bpe_train_options options = {.vocab_size = o->vocab_size + (int32_t)names->count,
                                     .min_frequency = o->min_frequency,
                                     .specials = names->list,
                                     .special_count = names->count};
    cm3_bpe_trainer *trainer = NULL;
    CM3_TRY(cm3_bpe_trainer_create(context, &options, &trainer));
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < o->data_count && status == CM3_OK; i++) {
        status = (is_plain_text(o->data[i]) ? add_lines : add_records)(context, o->data[i], trainer);
        if (status == CM3_OK && o->progress && o->progress(o->user, i + 1, o->data_count)) {
            status = cm3_fail(context, CM3_ERROR_CANCELLED, "stopped by the caller");
        }
    }
    if (status == CM3_OK) status = cm3_bpe_trainer_finish(trainer, bpe);
    cm3_bpe_trainer_destroy(trainer);
    return status;
}

cm3_status cm3_train_bpe(cm3_context *context, const cm3_train_bpe_options *options, cm3_tokenizer **tokenizer) {
    if (tokenizer) *tokenizer = NULL;
    if (!context || !options || !tokenizer) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_train_bpe: an argument is NULL");
    }
    cm3_train_bpe_options own = defaults;
    CM3_TRY(cm3_options_read(context, &own, sizeof own, options, "cm3_train_bpe_options"));
    if (!own.data || !own.data_count || own.vocab_size < 256 || own.vocab_size > 1 << 20 || own.image_codes < 0 ||
        own.image_codes > 1 << 20 || own.sentinels < 16 || own.sentinels > CM3_MAX_SENTINELS || own.min_frequency < 1) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "text tokenizer training: there must be data, vocab_size 256..1048576, image_codes 0..1048576, "
                        "sentinels 16..512, min_frequency 1 or more");
    }
    for (size_t i = 0; i < own.data_count; i++) {
        if (!own.data[i]) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "path %zu of the data is NULL", i);
    }
    cm3_names names = {0};
    cm3_bpe *bpe = NULL;
    cm3_status status = make_names(context, &own, &names);
    if (status == CM3_OK) status = learn(context, &own, &names, &bpe);
    free_names(context, &names);
    if (status == CM3_OK) status = cm3_tokenizer_create(context, bpe, tokenizer);
    if (status == CM3_OK)
        status = cm3_special_from_names(context, bpe, cm3_bpe_vocab_size(bpe), &(*tokenizer)->special);
    if (status != CM3_OK) {
        cm3_tokenizer_destroy(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}
