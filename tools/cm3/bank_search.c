/* cm3 bank search: what is nearest to a text, to a picture, or to each of many texts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"

static cm3_status save_sheet(const bank_run *run, const cm3_hit *hits, size_t count) {
    cm3_image **images = calloc(count + 1, sizeof *images), *sheet = NULL;
    size_t shown = 0;
    cm3_status status = images ? CM3_OK : CM3_ERROR_NO_MEMORY;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        cm3_bank_record *record;
        status = cm3_retriever_fetch(run->retriever, hits[i].id, &record);
        if (status != CM3_OK) break;
        images[shown] = cm3_bank_picture(run, record);
        shown += images[shown] != NULL;
        cm3_retriever_release(run->retriever, record);
    }
    if (status == CM3_OK && !shown) {
        cm3_say("none of what was found has a picture: no sheet was written");
    } else if (status == CM3_OK) {
        status = cm3_image_contact_sheet(run->context, (const cm3_image *const *)images, shown, 0, 4, &sheet);
        if (status == CM3_OK) status = cm3_image_save(sheet, run->a->output, NULL);
    }
    for (size_t i = 0; i < shown; i++) cm3_image_destroy(images[i]);
    cm3_image_destroy(sheet);
    free(images);
    return status;
}

/** In a file the way that is asked for is gone; a database has its own. All that is near is wanted, and not what a
 * prompt would take of it. */
static cm3_status find(const bank_run *run, const cm3_retrieval_item *query, cm3_hit *hits, size_t *found) {
    const bank_arguments *a = run->a;
    if (run->store) {
        cm3_retrieve_options options;
        cm3_retrieve_options_init(&options);
        options.k = (int32_t)a->k;
        options.most_alike = 2;
        options.whole_first = 0;
        return cm3_retriever_search(run->retriever, query, 1, &options, hits, found);
    }
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = (int32_t)a->k;
    options.ef = (int32_t)a->ef;
    if (a->way) options.way = strcmp(a->way, "graph") ? CM3_SEARCH_EXACT : CM3_SEARCH_GRAPH;
    cm3_bank_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_bank_get_info(run->bank, &info);
    if (status != CM3_OK) return status;
    float *vector = calloc((size_t)info.dimension, sizeof *vector);
    if (!vector) return CM3_ERROR_NO_MEMORY;
    status = cm3_retriever_embed(run->retriever, query, 1, vector);
    if (status == CM3_OK) status = cm3_bank_search(run->bank, vector, 1, &options, hits, found);
    free(vector);
    return status;
}

static cm3_status print_hits(const bank_run *run, const cm3_hit *hits, size_t found) {
    for (size_t i = 0; i < found; i++) {
        cm3_bank_record *record;
        cm3_status status = cm3_retriever_fetch(run->retriever, hits[i].id, &record);
        if (status != CM3_OK) return status;
        cm3_bank_print_record(record, (double)hits[i].score, run->a->json);
        cm3_retriever_release(run->retriever, record);
    }
    return CM3_OK;
}

/** {"index": 7, "hits": [{"id": 3, "score": 0.9, "key": "kelmor"}]} */
static cm3_status print_line(const bank_run *run, size_t index, const cm3_hit *hits, size_t found) {
    printf("{\"index\": %zu, \"hits\": [", index);
    for (size_t i = 0; i < found; i++) {
        cm3_bank_record *record;
        cm3_status status = cm3_retriever_fetch(run->retriever, hits[i].id, &record);
        if (status != CM3_OK) return status;
        printf("%s{\"id\": %llu, \"score\": %.6f, \"key\": ", i ? ", " : "", (unsigned long long)hits[i].id,
               (double)hits[i].score);
        cm3_print_json(record->key);
        printf("}");
        cm3_retriever_release(run->retriever, record);
    }
    printf("]}\n");
    return CM3_OK;
}

static cm3_status search_batch(const bank_run *run, cm3_hit *hits) {
    size_t count = 0;
    char **lines = cm3_lines_read(run->a->batch, NULL, NULL, &count);
    if (!lines) return BANK_TOLD;
    cm3_status status = CM3_OK;
    cm3_progress progress;
    cm3_progress_begin(&progress, "searching", run->a->quiet);
    for (size_t i = 0; i < count && status == CM3_OK && !cm3_interrupted(); i++) {
        const cm3_retrieval_item query = {.struct_size = sizeof query, .text = lines[i]};
        size_t found = 0;
        if (!lines[i]) continue;
        status = find(run, &query, hits, &found);
        if (status == CM3_OK) status = print_line(run, i, hits, found);
        cm3_progress_show(&progress, i + 1, count, NULL);
    }
    cm3_progress_end(&progress);
    cm3_lines_free(lines, count);
    return status;
}

static cm3_status search_one(const bank_run *run, cm3_hit *hits) {
    const bank_arguments *a = run->a;
    cm3_retrieval_item query = {.struct_size = sizeof query, .text = a->prompt};
    size_t found = 0;
    cm3_status status = a->image ? cm3_image_load(run->context, a->image, &query.image) : CM3_OK;
    if (status == CM3_OK) status = find(run, &query, hits, &found);
    if (status == CM3_OK) status = print_hits(run, hits, found);
    if (status == CM3_OK && a->output) status = save_sheet(run, hits, found);
    cm3_image_destroy(query.image);
    return status;
}

cm3_status cm3_bank_run_search(bank_run *run) {
    cm3_status status = cm3_bank_run_retriever(run, CM3_BANK_READ);
    cm3_hit *hits = calloc((size_t)run->a->k, sizeof *hits);
    if (status == CM3_OK && !hits) status = CM3_ERROR_NO_MEMORY;
    if (status == CM3_OK) status = run->a->batch ? search_batch(run, hits) : search_one(run, hits);
    free(hits);
    return status;
}
