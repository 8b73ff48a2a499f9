/* The tokenizer as the public API knows it: text and images in one vocabulary. */
#include <string.h>

#include "base/options.h"
#include "files/writer.h"
#include "model/model.h"
#include "text/special_names.h"

void cm3_tokenizer_retain(cm3_tokenizer *tokenizer) {
    atomic_fetch_add(&tokenizer->references, 1);
}

void cm3_tokenizer_destroy(cm3_tokenizer *tokenizer) {
    if (!tokenizer || atomic_fetch_sub(&tokenizer->references, 1) != 1) return;
    cm3_context *context = tokenizer->context;
    cm3_bpe_destroy(tokenizer->bpe);
    cm3_vq_destroy(tokenizer->vq);
    cm3_special_clear(context, &tokenizer->special);
    cm3_weights_release(tokenizer->weights);
    cm3_free(context, tokenizer);
    cm3_context_release(context);
}

cm3_status cm3_tokenizer_create(cm3_context *context, cm3_bpe *bpe, cm3_tokenizer **tokenizer) {
    *tokenizer = NULL;
    cm3_tokenizer *t = cm3_calloc(context, 1, sizeof *t);
    if (!t) {
        cm3_bpe_destroy(bpe);
        return cm3_fail_memory(context, sizeof *t, "tokenizer");
    }
    t->context = context;
    t->bpe = bpe;
    atomic_init(&t->references, 1);
    cm3_context_retain(context);
    *tokenizer = t;
    return CM3_OK;
}

cm3_status cm3_tokenizer_load(cm3_context *context, const char *path, cm3_tokenizer **tokenizer) {
    if (tokenizer) *tokenizer = NULL;
    if (!context || !path || !tokenizer) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_load: an argument is NULL");
    }
    cm3_file *file = NULL;
    CM3_TRY(cm3_file_open(context, path, &file));
    cm3_bpe *bpe = NULL;
    cm3_status status = cm3_bpe_parse(context, path, file->data, file->size, &bpe);
    cm3_file_release(file);
    if (status != CM3_OK) return status;
    CM3_TRY(cm3_tokenizer_create(context, bpe, tokenizer));
    status = cm3_special_from_names(context, bpe, cm3_bpe_vocab_size(bpe), &(*tokenizer)->special);
    if (status != CM3_OK) {
        cm3_tokenizer_destroy(*tokenizer);
        *tokenizer = NULL;
    }
    return status;
}

/** The text part, or UNSUPPORTED: a file may hold an image tokenizer alone. */
static cm3_status need_text(const cm3_tokenizer *tokenizer) {
    if (tokenizer->bpe) return CM3_OK;
    return cm3_fail(tokenizer->context, CM3_ERROR_UNSUPPORTED, "the tokenizer has no part for text");
}

cm3_status cm3_tokenizer_save(const cm3_tokenizer *tokenizer, const char *path) {
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    if (!path) return cm3_fail(tokenizer->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_save: path is NULL");
    CM3_TRY(need_text(tokenizer));
    char *json = NULL;
    size_t size = 0;
    CM3_TRY(cm3_bpe_format(tokenizer->bpe, &json, &size));
    cm3_status status = cm3_write_file(tokenizer->context, path, json, size);
    cm3_free(tokenizer->context, json);
    return status;
}

cm3_status cm3_tokenizer_encode(const cm3_tokenizer *tokenizer, const char *text, size_t size, uint32_t flags,
                                int32_t *ids, size_t capacity, size_t *count) {
    if (count) *count = 0;
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = tokenizer->context;
    if (!text || !count || (!ids && capacity)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_encode: an argument is NULL");
    }
    if (flags & ~(uint32_t)(CM3_ENCODE_SPECIAL | CM3_ENCODE_TEMPLATE | CM3_ENCODE_LENGTH)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_encode: flags 0x%x are unknown", flags);
    }
    CM3_TRY(need_text(tokenizer));
    int32_t *all = NULL;
    size_t all_count = 0, all_capacity = 0;
    if (size == SIZE_MAX) size = strlen(text);
    cm3_status status = cm3_bpe_encode(tokenizer->bpe, text, size, flags, &all, &all_count, &all_capacity);
    if (status == CM3_OK) {
        *count = all_count;
        size_t fits = all_count < capacity ? all_count : capacity;
        if (fits) memcpy(ids, all, fits * sizeof *ids);
    }
    cm3_free(context, all);
    return status;
}

cm3_status cm3_tokenizer_decode(const cm3_tokenizer *tokenizer, const int32_t *ids, size_t count, int skip_special,
                                char *text, size_t capacity, size_t *size) {
    if (size) *size = 0;
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = tokenizer->context;
    if ((!ids && count) || !size || (!text && capacity)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_decode: an argument is NULL");
    }
    CM3_TRY(need_text(tokenizer));
    char *raw = NULL, *clean = NULL;
    size_t raw_count = 0, raw_capacity = 0, clean_count = 0, clean_capacity = 0;
    cm3_status status =
        cm3_bpe_decode_raw(tokenizer->bpe, ids, count, skip_special != 0, &raw, &raw_count, &raw_capacity);
    if (status == CM3_OK) status = cm3_utf8_lossy(context, raw, raw_count, &clean, &clean_count, &clean_capacity);
    if (status == CM3_OK) {
        *size = clean_count;
        size_t fits = clean_count < capacity ? clean_count : capacity;
        if (fits) memcpy(text, clean, fits);
        if (clean_count < capacity) text[clean_count] = 0;
    }
    cm3_free(context, raw);
    cm3_free(context, clean);
    return status;
}

cm3_status cm3_tokenizer_get_info(const cm3_tokenizer *tokenizer, cm3_tokenizer_info *info) {
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_tokenizer_info own = {.vocab_size = tokenizer->bpe ? cm3_bpe_vocab_size(tokenizer->bpe) : 0,
                              .sentinels = tokenizer->special.sentinel_count};
    if (tokenizer->vq) {
        own.image_codes = tokenizer->vq->config.num_embeddings;
        own.image_resolution = tokenizer->vq->config.resolution;
        own.image_tokens = cm3_vq_tokens(tokenizer->vq);
    }
    return cm3_options_write(tokenizer->context, info, &own, sizeof own, "cm3_tokenizer_info");
}

cm3_status cm3_tokenizer_special(const cm3_tokenizer *tokenizer, cm3_token_role role, int32_t index, int32_t *id) {
    if (id) *id = -1;
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    if (!id || index < 0) {
        return cm3_fail(tokenizer->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_tokenizer_special: id is NULL or index below 0");
    }
    const cm3_special_tokens *s = &tokenizer->special;
    const int32_t single[] = {[CM3_TOKEN_EOD] = s->eod,
                              [CM3_TOKEN_PAD] = s->pad,
                              [CM3_TOKEN_BREAK] = s->break_,
                              [CM3_TOKEN_BEGIN_IMAGE] = s->begin_image,
                              [CM3_TOKEN_END_IMAGE] = s->end_image,
                              [CM3_TOKEN_END_SPAN] = s->end_span,
                              [CM3_TOKEN_SENTINEL] = -1,
                              [CM3_TOKEN_IMAGE] = -1,
                              [CM3_TOKEN_BOS] = s->bos,
                              [CM3_TOKEN_END_TURN] = s->end_turn};
    int32_t found = -1;
    if (role == CM3_TOKEN_SENTINEL) {
        if (index < s->sentinel_count) found = s->sentinels[index];
    } else if (role == CM3_TOKEN_IMAGE) {
        if (index < s->image_count) found = s->image[index];
    } else if (role >= CM3_TOKEN_EOD && role <= CM3_TOKEN_END_TURN) {
        if (index == 0) found = single[role];
    } else {
        return cm3_fail(tokenizer->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_special: role %d is unknown",
                        (int)role);
    }
    if (found < 0) {
        return cm3_fail(tokenizer->context, CM3_ERROR_NOT_FOUND, "there is no special token of role %d, index %d",
                        (int)role, index);
    }
    *id = found;
    return CM3_OK;
}

cm3_status cm3_tokenizer_codes(const cm3_tokenizer *tokenizer, const cm3_image *image, cm3_preprocessing preprocessing,
                               cm3_vq_choice choice, int32_t *codes) {
    cm3_hf_preprocessing hf = tokenizer->preprocessing;
    if (!hf.shortest_edge) cm3_hf_preprocessing_init(&hf, tokenizer->vq->config.resolution);
    bool as_hf = preprocessing == CM3_PREPROCESSING_HF || (!preprocessing && tokenizer->preprocessing.shortest_edge);
    return cm3_vq_encode_image(tokenizer->vq, image, as_hf ? &hf : NULL, choice, codes);
}

cm3_status cm3_tokenizer_encode_image(const cm3_tokenizer *tokenizer, const cm3_image *image, int32_t *codes,
                                      size_t capacity, size_t *count) {
    return cm3_tokenizer_encode_image_as(tokenizer, image, CM3_PREPROCESSING_AUTO, codes, capacity, count);
}

cm3_status cm3_tokenizer_encode_image_as(const cm3_tokenizer *tokenizer, const cm3_image *image,
                                         cm3_preprocessing preprocessing, int32_t *codes, size_t capacity,
                                         size_t *count) {
    if (count) *count = 0;
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = tokenizer->context;
    if (!image || !codes || !count) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_encode_image: an argument is NULL");
    }
    if (preprocessing < CM3_PREPROCESSING_AUTO || preprocessing > CM3_PREPROCESSING_HF) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_encode_image: preprocessing %d is unknown",
                        (int)preprocessing);
    }
    if (!tokenizer->vq) return cm3_fail(context, CM3_ERROR_UNSUPPORTED, "the tokenizer has no part for images");
    size_t tokens = (size_t)cm3_vq_tokens(tokenizer->vq);
    if (capacity < tokens) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "a picture has %zu codes; there is room for %zu", tokens,
                        capacity);
    }
    CM3_TRY(cm3_tokenizer_codes(tokenizer, image, preprocessing, CM3_VQ_USUAL, codes));
    *count = tokens;
    return CM3_OK;
}

cm3_status cm3_tokenizer_decode_image(const cm3_tokenizer *tokenizer, const int32_t *codes, size_t count,
                                      cm3_image **image) {
    if (image) *image = NULL;
    if (!tokenizer) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = tokenizer->context;
    if (!image || !codes) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tokenizer_decode_image: an argument is NULL");
    }
    if (!tokenizer->vq) return cm3_fail(context, CM3_ERROR_UNSUPPORTED, "the tokenizer has no part for images");
    if (count != (size_t)cm3_vq_tokens(tokenizer->vq)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "a picture has %d codes; there are %zu",
                        (int)cm3_vq_tokens(tokenizer->vq), count);
    }
    for (size_t i = 0; i < count; i++) {
        if (codes[i] < 0 || codes[i] >= tokenizer->vq->config.num_embeddings) {
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "code %zu is %d, not in 0..%d", i, codes[i],
                            tokenizer->vq->config.num_embeddings - 1);
        }
    }
    return cm3_vq_decode_image(tokenizer->vq, codes, CM3_COMPUTE_F32, image);
}
