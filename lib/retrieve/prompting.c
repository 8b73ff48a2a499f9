/* Documents that were found, into a prompt. */
#include <string.h>

#include "base/memory.h"
#include "document/encoding.h"
#include "retrieve/retriever.h"

#define OWN_TOKENS 128 /* what a prompt of its own takes, where nobody says */

/** Tokens that a record takes in a prompt: text, break, picture, break. */
static cm3_status count_tokens(const cm3_retriever *r, const cm3_bank_record *record, int64_t *count) {
    const cm3_tokenizer *tokenizer = r->model->tokenizer;
    cm3_ids ids = {0};
    *count = 0;
    if (record->text) {
        cm3_status status =
            cm3_bpe_encode(tokenizer->bpe, record->text, strlen(record->text), 0, &ids.ids, &ids.count, &ids.capacity);
        *count += (int64_t)ids.count + 1;
        cm3_ids_clear(r->context, &ids);
        CM3_TRY(status);
    }
    if (record->codes) *count += (int64_t)record->code_count + 3;
    if (record->image) *count += (tokenizer->vq ? cm3_vq_tokens(tokenizer->vq) : 0) + 3;
    return CM3_OK;
}

static cm3_status add(const cm3_retriever *r, const cm3_bank_record *record, cm3_document *document) {
    cm3_image *image = NULL;
    if (record->image) CM3_TRY(cm3_image_load_memory(r->context, record->image, record->image_size, &image));
    cm3_status status = cm3_document_add_retrieved(document, record->text, image, record->codes, record->code_count);
    cm3_image_destroy(image);
    return status;
}

/** Whether the model that reads the prompt can read a record's picture. */
static bool fits_model(const cm3_retriever *r, const cm3_bank_record *record) {
    const cm3_vq *vq = r->model->tokenizer->vq;
    if (record->codes) return vq && record->code_count == (size_t)cm3_vq_tokens(vq);
    return !record->image || vq;
}

cm3_status cm3_retriever_retrieve(const cm3_retriever *r, const cm3_retrieval_item *query,
                                  const cm3_retrieve_options *options, int32_t room, cm3_document *document,
                                  cm3_hit *hits, size_t *found) {
    if (found) *found = 0;
    if (!r) return CM3_ERROR_INVALID_ARGUMENT;
    const cm3_tokenizer *tokenizer = r->model->tokenizer;
    if (!document || !query || room < 0) {
        return cm3_fail(r->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_retriever_retrieve: an argument is NULL, or room is below 0");
    }
    if (!tokenizer || !tokenizer->bpe) {
        return cm3_fail(r->context, CM3_ERROR_UNSUPPORTED, "cm3_retriever_retrieve: the model has no tokenizer");
    }
    int64_t left = room;
    if (!left && r->model->lm) {
        left = r->model->lm->config.max_positions - (tokenizer->vq ? cm3_vq_tokens(tokenizer->vq) + 2 : 0) - OWN_TOKENS;
    }
    cm3_retrieve_options own;
    cm3_retrieve_options_init(&own);
    const size_t k = (size_t)(options && options->k > 0 ? options->k : options ? 0 : own.k);
    cm3_hit *list = cm3_calloc(r->context, k + 1, sizeof *list);
    size_t count = 0, taken = 0;
    if (!list) return cm3_fail_memory(r->context, (k + 1) * sizeof *list, "hits");
    cm3_status status = cm3_retriever_search(r, query, 1, options, list, &count);
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        cm3_bank_record *record;
        int64_t tokens;
        status = cm3_retriever_fetch(r, list[i].id, &record);
        if (status != CM3_OK) break;
        status = count_tokens(r, record, &tokens);
        if (status == CM3_OK && tokens <= left && fits_model(r, record)) {
            status = add(r, record, document);
            left -= tokens;
            if (status == CM3_OK && hits) hits[taken] = list[i];
            taken += status == CM3_OK;
        }
        cm3_retriever_release(r, record);
    }
    cm3_free(r->context, list);
    if (status == CM3_OK && found) *found = taken;
    return status;
}
