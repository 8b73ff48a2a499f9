/* The memory bank as an engine. */
#include "retrieve/bank.h"
#include "retrieve/retriever.h"

static cm3_status search(void *user, const float *queries, size_t count, int32_t dimension, int32_t k, cm3_hit *hits,
                         size_t *found) {
    (void)dimension; /* it was compared when the retriever was made */
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = k;
    return cm3_bank_search(user, queries, count, &options, hits, found);
}

static cm3_status fetch(void *user, uint64_t id, cm3_bank_record **record) {
    return cm3_bank_get(user, id, record);
}

static void release(void *user, cm3_bank_record *record) {
    cm3_bank_record_destroy(user, record);
}

static cm3_status add(void *user, const cm3_bank_record *records, size_t count, uint64_t *ids) {
    return cm3_bank_add(user, records, count, NULL, ids);
}

static cm3_status count_records(void *user, uint64_t *count) {
    cm3_bank_info info = {.struct_size = sizeof info};
    CM3_TRY(cm3_bank_get_info(user, &info));
    *count = info.records;
    return CM3_OK;
}

static const char *message(void *user) {
    return cm3_context_message(((const cm3_bank *)user)->context);
}

static void destroy(void *user) {
    cm3_bank_destroy(user);
}

cm3_status cm3_bank_engine(cm3_bank *bank, cm3_retrieval_engine *engine) {
    *engine = (cm3_retrieval_engine){.struct_size = sizeof *engine,
                                     .search = search,
                                     .fetch = fetch,
                                     .release = release,
                                     .add = add,
                                     .count = count_records,
                                     .message = message,
                                     .destroy = destroy,
                                     .user = bank};
    return cm3_bank_retain(bank);
}
