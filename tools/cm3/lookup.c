/* Documents that are looked up for prompts: --bank, --retrieve, --show-retrieved. */
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

struct cm3_lookup {
    cm3_context *context;
    cm3_bank *bank;
    cm3_retriever *retriever;
    const cm3_lookup_arguments *arguments;
};

cm3_status cm3_lookup_open(cm3_context *context, cm3_model *model, const char *model_name,
                           const cm3_lookup_arguments *arguments, cm3_lookup **out) {
    *out = NULL;
    if (!arguments->bank) return CM3_OK;
    cm3_lookup *lookup = calloc(1, sizeof *lookup);
    if (!lookup) return CM3_ERROR_NO_MEMORY;
    lookup->context = context;
    lookup->arguments = arguments;
    cm3_status status;
    if (cm3_is_database(arguments->bank)) {
        struct cm3_pgvector *store;
        status = cm3_database_retriever(arguments->bank, model, model_name, &store, &lookup->retriever);
    } else {
        status = cm3_bank_open(context, arguments->bank, CM3_BANK_READ, &lookup->bank);
        if (status == CM3_OK) status = cm3_retriever_create(model, lookup->bank, &lookup->retriever);
    }
    if (status == CM3_OK) {
        *out = lookup;
    } else {
        cm3_lookup_close(lookup);
    }
    return status;
}

void cm3_lookup_close(cm3_lookup *lookup) {
    if (!lookup) return;
    cm3_retriever_destroy(lookup->retriever);
    cm3_bank_destroy(lookup->bank);
    free(lookup);
}

/** Says what was found, on standard error: results alone go to standard output. */
static void show(const cm3_lookup *lookup, const cm3_hit *hits, size_t count) {
    for (size_t i = 0; i < count; i++) {
        cm3_bank_record *record;
        if (cm3_retriever_fetch(lookup->retriever, hits[i].id, &record) != CM3_OK) continue;
        cm3_say("retrieved %.3f %s%s%s", (double)hits[i].score, record->key, *record->key ? ": " : "",
                record->text ? record->text : "(a picture)");
        cm3_retriever_release(lookup->retriever, record);
    }
    if (!count) cm3_say("nothing was retrieved");
}

cm3_status cm3_lookup_add(const cm3_lookup *lookup, const char *text, cm3_image *image, cm3_document *document,
                          double *seconds) {
    if (seconds) *seconds = 0;
    if (!lookup) return CM3_OK;
    const double started = cm3_now();
    const int64_t k = lookup->arguments->retrieve;
    const cm3_retrieval_item query = {.struct_size = sizeof query, .text = text, .image = image};
    cm3_hit *hits = calloc((size_t)k + 1, sizeof *hits);
    size_t found = 0;
    if (!hits) return CM3_ERROR_NO_MEMORY;
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    options.k = (int32_t)k;
    cm3_status status = cm3_retriever_retrieve(lookup->retriever, &query, &options, 0, document, hits, &found);
    if (seconds) *seconds = cm3_now() - started;
    if (status == CM3_OK && lookup->arguments->show) show(lookup, hits, found);
    free(hits);
    return status;
}
