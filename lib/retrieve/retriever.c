/* The retriever: making one, vectors of items, keeping them. */
#include "retrieve/retriever.h"

#include <string.h>

#include "base/memory.h"
#include "base/options.h"
#include "retrieve/vectors.h"

#define TOGETHER 32 /* pictures that are held at once */

/* --- making one ----------------------------------------------------------------------------------------------------
 */

static cm3_status check_engine(cm3_context *context, const cm3_retrieval_engine *engine) {
    if (engine->struct_size < sizeof *engine || !engine->search || !engine->fetch || !engine->release ||
        !engine->count) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_retrieval_engine: struct_size is %zu, expected %zu, or search, fetch, release or count is "
                        "NULL",
                        engine->struct_size, sizeof *engine);
    }
    return CM3_OK;
}

cm3_status cm3_retriever_create_with(cm3_model *model, const cm3_retrieval_engine *engine, cm3_retriever **out) {
    if (out) *out = NULL;
    if (!model || !engine || !out) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = model->context;
    cm3_status status = check_engine(context, engine);
    if (status == CM3_OK && (!model->clip || !model->clip->config.text.present)) {
        status = cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: there is no encoder of texts in this model",
                          cm3_weights_name(model->weights));
    }
    cm3_retriever *retriever = status == CM3_OK ? cm3_calloc(context, 1, sizeof *retriever) : NULL;
    if (status == CM3_OK && !retriever) status = cm3_fail_memory(context, sizeof *retriever, "retriever");
    if (status != CM3_OK) {
        if (engine->destroy) engine->destroy(engine->user);
        return status;
    }
    cm3_context_retain(context);
    cm3_model_retain(model);
    *retriever = (cm3_retriever){
        .context = context, .model = model, .engine = *engine, .dimension = model->clip->config.projection_dim};
    *out = retriever;
    return CM3_OK;
}

cm3_status cm3_retriever_create(cm3_model *model, cm3_bank *bank, cm3_retriever **retriever) {
    if (retriever) *retriever = NULL;
    if (!model || !bank || !retriever) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(cm3_bank_check_model(bank, model, NULL));
    cm3_retrieval_engine engine;
    CM3_TRY(cm3_bank_engine(bank, &engine));
    CM3_TRY(cm3_retriever_create_with(model, &engine, retriever));
    (*retriever)->bank = bank;
    (*retriever)->near_duplicate = 2;
    return CM3_OK;
}

void cm3_retriever_destroy(cm3_retriever *retriever) {
    if (!retriever) return;
    cm3_context *context = retriever->context;
    if (retriever->engine.destroy) retriever->engine.destroy(retriever->engine.user);
    cm3_model_destroy(retriever->model);
    cm3_free(context, retriever);
    cm3_context_release(context);
}

cm3_status cm3_retriever_told(const cm3_retriever *retriever, cm3_status status, const char *doing) {
    if (status == CM3_OK) return CM3_OK;
    const cm3_retrieval_engine *engine = &retriever->engine;
    const char *own = engine->message ? engine->message(engine->user) : NULL;
    char words[1024];
    /* It may be this context's own message, which the next line writes over. */
    size_t length = own ? strnlen(own, sizeof words - 1) : 0;
    if (length) memcpy(words, own, length);
    words[length] = '\0';
    if (strcmp(cm3_status_name(status), cm3_status_name((cm3_status)-1)) == 0) status = CM3_ERROR_IO;
    return cm3_fail(retriever->context, status, "retriever: %s: %s", doing, length ? words : cm3_status_name(status));
}

cm3_status cm3_retriever_count(const cm3_retriever *retriever, uint64_t *count) {
    if (!retriever || !count) return CM3_ERROR_INVALID_ARGUMENT;
    return cm3_retriever_told(retriever, retriever->engine.count(retriever->engine.user, count), "counting");
}

cm3_status cm3_retriever_fetch(const cm3_retriever *retriever, uint64_t id, cm3_bank_record **record) {
    if (record) *record = NULL;
    if (!retriever || !record) return CM3_ERROR_INVALID_ARGUMENT;
    return cm3_retriever_told(retriever, retriever->engine.fetch(retriever->engine.user, id, record), "fetching");
}

void cm3_retriever_release(const cm3_retriever *retriever, cm3_bank_record *record) {
    if (retriever && record) retriever->engine.release(retriever->engine.user, record);
}

/* --- vectors -------------------------------------------------------------------------------------------------------
 */

/** Items of later headers are larger. */
static const cm3_retrieval_item *item_at(const cm3_retrieval_item *items, size_t index) {
    return (const cm3_retrieval_item *)(const void *)((const char *)items + index * items->struct_size);
}

static cm3_status check_items(const cm3_retriever *r, const cm3_retrieval_item *items, size_t count) {
    for (size_t i = 0; i < count; i++) {
        const cm3_retrieval_item *item = item_at(items, i);
        if (item->struct_size < sizeof *item || item->struct_size != items->struct_size) {
            return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT,
                            "item %zu of %zu: struct_size is not that of a cm3_retrieval_item", i, count);
        }
        if (item->text || item->image || item->codes) continue;
        return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT, "item %zu of %zu: neither a text nor a picture", i,
                        count);
    }
    return CM3_OK;
}

/** Adds the unit vectors of some items' texts, or pictures, to theirs. `which` [n] are the items. */
static void add_rows(const cm3_retriever *r, const float *from, const size_t *which, size_t n, float *vectors) {
    const size_t d = (size_t)r->dimension;
    for (size_t i = 0; i < n; i++) {
        for (size_t j = 0; j < d; j++) vectors[which[i] * d + j] += from[i * d + j];
    }
}

/** A picture as the encoder reads it: the item's own, or its codes' (a new hold either way). */
static cm3_status picture_of(const cm3_retriever *r, const cm3_retrieval_item *item, cm3_image **image) {
    if (item->image) {
        *image = item->image;
        return cm3_image_retain(item->image);
    }
    cm3_tokenizer *tokenizer;
    CM3_TRY(cm3_model_tokenizer(r->model, &tokenizer));
    cm3_status status = cm3_tokenizer_decode_image(tokenizer, item->codes, item->code_count, image);
    cm3_tokenizer_destroy(tokenizer);
    return status;
}

/** Vectors of a few items. `made` [TOGETHER, d] is scratch. */
static cm3_status embed_some(const cm3_retriever *r, const cm3_retrieval_item *items, size_t first, size_t count,
                             float *made, float *vectors) {
    const size_t d = (size_t)r->dimension;
    const char *texts[TOGETHER];
    cm3_image *images[TOGETHER];
    size_t text_items[TOGETHER], image_items[TOGETHER], text_count = 0, image_count = 0;
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        const cm3_retrieval_item *item = item_at(items, first + i);
        if (item->text) {
            text_items[text_count] = i;
            texts[text_count++] = item->text;
        }
        if (!item->image && !item->codes) continue;
        image_items[image_count] = i;
        status = picture_of(r, item, &images[image_count]);
        if (status == CM3_OK) image_count++;
    }
    if (status == CM3_OK && text_count) {
        status = cm3_model_embed_texts(r->model, texts, text_count, 1, made);
        if (status == CM3_OK) add_rows(r, made, text_items, text_count, vectors);
    }
    if (status == CM3_OK && image_count) {
        status = cm3_model_embed_images(r->model, images, image_count, 1, made);
        if (status == CM3_OK) add_rows(r, made, image_items, image_count, vectors);
    }
    for (size_t i = 0; i < image_count; i++) cm3_image_destroy(images[i]);
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        if (cm3_vector_normalise(vectors + i * d, vectors + i * d, r->dimension)) continue;
        status =
            cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT, "item %zu: its vector is zero or not finite", first + i);
    }
    return status;
}

cm3_status cm3_retriever_embed(const cm3_retriever *retriever, const cm3_retrieval_item *items, size_t count,
                               float *vectors) {
    if (!retriever) return CM3_ERROR_INVALID_ARGUMENT;
    if (count && (!items || !vectors)) {
        return cm3_fail(retriever->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_retriever_embed: an argument is NULL");
    }
    CM3_TRY(check_items(retriever, items, count));
    const size_t d = (size_t)retriever->dimension;
    float *made = cm3_calloc(retriever->context, TOGETHER * d, sizeof *made);
    if (!made) return cm3_fail_memory(retriever->context, TOGETHER * d * sizeof *made, "vectors");
    cm3_status status = CM3_OK;
    for (size_t first = 0; first < count && status == CM3_OK; first += TOGETHER) {
        const size_t some = count - first < TOGETHER ? count - first : TOGETHER;
        memset(vectors + first * d, 0, some * d * sizeof *vectors);
        status = embed_some(retriever, items, first, some, made, vectors + first * d);
    }
    cm3_free(retriever->context, made);
    return status;
}

/* --- keeping -------------------------------------------------------------------------------------------------------
 */

/** What an item's picture is kept as, and by what it is freed. */
typedef struct kept_picture {
    int32_t *codes;
    uint8_t *png;
    size_t png_size;
} kept_picture;

static cm3_status keep_picture(const cm3_retriever *r, const cm3_retrieval_item *item, kept_picture *kept,
                               cm3_bank_record *record) {
    cm3_tokenizer *tokenizer;
    CM3_TRY(cm3_model_tokenizer(r->model, &tokenizer));
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_tokenizer_get_info(tokenizer, &info);
    size_t count = (size_t)info.image_tokens;
    if (status == CM3_OK && count) {
        kept->codes = cm3_calloc(r->context, count, sizeof *kept->codes);
        /* The nearest codes: what is looked up is copied, and a rare patch of it would become a usual one. */
        status = kept->codes
                     ? cm3_tokenizer_codes(tokenizer, item->image, CM3_PREPROCESSING_AUTO, CM3_VQ_NEAREST, kept->codes)
                     : cm3_fail_memory(r->context, count * sizeof *kept->codes, "codes");
        record->codes = kept->codes;
        record->code_count = count;
    } else if (status == CM3_OK) {
        status = cm3_image_encode(item->image, CM3_IMAGE_PNG, NULL, &kept->png, &kept->png_size);
        record->image = kept->png;
        record->image_size = kept->png_size;
    }
    cm3_tokenizer_destroy(tokenizer);
    return status;
}

static cm3_status keep(cm3_retriever *r, const cm3_retrieval_item *items, size_t count, const float *vectors,
                       cm3_bank_record *records, kept_picture *pictures, uint64_t *ids) {
    for (size_t i = 0; i < count; i++) {
        const cm3_retrieval_item *item = item_at(items, i);
        records[i] = (cm3_bank_record){.struct_size = sizeof *records,
                                       .key = item->key,
                                       .text = item->text,
                                       .vector = vectors + i * (size_t)r->dimension};
        if (item->image) {
            CM3_TRY(keep_picture(r, item, &pictures[i], &records[i]));
        } else {
            records[i].codes = item->codes;
            records[i].code_count = item->code_count;
        }
    }
    return cm3_retriever_keep(r, records, count, ids);
}

cm3_status cm3_retriever_keep(cm3_retriever *r, const cm3_bank_record *records, size_t count, uint64_t *ids) {
    cm3_bank_add_options options;
    cm3_bank_add_options_init(&options);
    options.near_duplicate = r->near_duplicate;
    cm3_status status = r->bank ? cm3_bank_add(r->bank, records, count, &options, ids)
                                : r->engine.add(r->engine.user, records, count, ids);
    return cm3_retriever_told(r, status, "adding");
}

cm3_status cm3_retriever_refuse_near(cm3_retriever *r, float near_duplicate) {
    if (!r) return CM3_ERROR_INVALID_ARGUMENT;
    if (!r->bank) return cm3_fail(r->context, CM3_ERROR_UNSUPPORTED, "retriever: its engine has no such option");
    r->near_duplicate = near_duplicate;
    return CM3_OK;
}

cm3_status cm3_retriever_add(cm3_retriever *r, const cm3_retrieval_item *items, size_t count, uint64_t *ids) {
    if (!r) return CM3_ERROR_INVALID_ARGUMENT;
    if (count && !items) return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_retriever_add: items is NULL");
    if (!r->engine.add) {
        return cm3_fail(r->context, CM3_ERROR_UNSUPPORTED, "retriever: its engine does not take records");
    }
    if (!count) return CM3_OK;
    CM3_TRY(check_items(r, items, count));
    float *vectors = cm3_calloc(r->context, count, (size_t)r->dimension * sizeof *vectors);
    cm3_bank_record *records = cm3_calloc(r->context, count, sizeof *records);
    kept_picture *pictures = cm3_calloc(r->context, count, sizeof *pictures);
    cm3_status status = CM3_OK;
    if (!vectors || !records || !pictures) status = cm3_fail_memory(r->context, count * sizeof *records, "records");
    if (status == CM3_OK) status = cm3_retriever_embed(r, items, count, vectors);
    if (status == CM3_OK) status = keep(r, items, count, vectors, records, pictures, ids);
    for (size_t i = 0; pictures && i < count; i++) {
        cm3_free(r->context, pictures[i].codes);
        if (pictures[i].png) cm3_buffer_free(r->context, pictures[i].png, pictures[i].png_size);
    }
    cm3_free(r->context, vectors);
    cm3_free(r->context, records);
    cm3_free(r->context, pictures);
    return status;
}
