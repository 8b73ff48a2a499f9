/*
 * A store of the host's own under the retriever: here an array in memory, searched from end to end. What a real one
 * would ask a database or a service, it does in the same five functions (cm3_retrieval_engine).
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) -lpthread && ./a.out MODEL [QUERY]
 */
#include <cm3leon/cm3leon.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- the store -----------------------------------------------------------------------------------------------------
 */

typedef struct my_record {
    char *key, *text;
    int32_t *codes; /* a picture, as the model's image tokenizer says it; NULL: none */
    size_t code_count;
    float *vector; /* [dimension], of length 1: the retriever sees to that */
} my_record;

typedef struct my_store {
    pthread_mutex_t lock; /* the retriever may be used by several threads */
    int32_t dimension;
    my_record *records;
    size_t count, capacity;
    const char *message; /* why the last call failed */
} my_store;

static void *copy_of(const void *data, size_t size) {
    void *copy = data ? malloc(size + 1) : NULL;
    if (copy) {
        memcpy(copy, data, size);
        ((char *)copy)[size] = '\0';
    }
    return copy;
}

static void clear(my_record *record) {
    free(record->key);
    free(record->text);
    free(record->codes);
    free(record->vector);
}

/* Same text and picture: kept once. */
static int is_same(const my_record *a, const cm3_bank_record *b) {
    return !a->text == !b->text && (!a->text || !strcmp(a->text, b->text)) && a->code_count == b->code_count &&
           (!a->code_count || !memcmp(a->codes, b->codes, a->code_count * sizeof *a->codes));
}

static cm3_status add_one(my_store *store, const cm3_bank_record *from, uint64_t *id) {
    *id = CM3_NO_RECORD;
    for (size_t i = 0; i < store->count; i++) {
        if (is_same(&store->records[i], from)) return CM3_OK;
    }
    if (from->image) {
        store->message = "pictures are kept as codes only: a model with an image tokenizer is needed";
        return CM3_ERROR_UNSUPPORTED;
    }
    if (store->count == store->capacity) {
        const size_t capacity = store->capacity ? 2 * store->capacity : 64;
        my_record *grown = realloc(store->records, capacity * sizeof *grown);
        store->message = "out of memory";
        if (!grown) return CM3_ERROR_NO_MEMORY;
        store->records = grown;
        store->capacity = capacity;
    }
    const char *key = from->key ? from->key : "";
    my_record record = {.key = copy_of(key, strlen(key)),
                        .text = copy_of(from->text, from->text ? strlen(from->text) : 0),
                        .codes = copy_of(from->codes, from->code_count * sizeof *from->codes),
                        .code_count = from->code_count,
                        .vector = copy_of(from->vector, (size_t)store->dimension * sizeof *from->vector)};
    if (!record.key || !record.vector || (from->text && !record.text) || (from->codes && !record.codes)) {
        clear(&record);
        store->message = "out of memory";
        return CM3_ERROR_NO_MEMORY;
    }
    *id = store->count;
    store->records[store->count++] = record;
    return CM3_OK;
}

static cm3_status my_add(void *user, const cm3_bank_record *records, size_t count, uint64_t *ids) {
    my_store *store = user;
    cm3_status status = CM3_OK;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        uint64_t id;
        status = add_one(store, &records[i], &id);
        if (ids) ids[i] = id;
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* The k best of one query, kept sorted while all records pass by. */
static size_t search_one(const my_store *store, const float *query, size_t k, cm3_hit *hits) {
    size_t found = 0;
    for (size_t i = 0; i < store->count; i++) {
        float score = 0;
        for (int32_t j = 0; j < store->dimension; j++) score += query[j] * store->records[i].vector[j];
        if (found == k && score <= hits[k - 1].score) continue;
        size_t at = found < k ? found++ : k - 1;
        for (; at && hits[at - 1].score < score; at--) hits[at] = hits[at - 1];
        hits[at] = (cm3_hit){.id = i, .score = score};
    }
    return found;
}

static cm3_status my_search(void *user, const float *queries, size_t count, int32_t dimension, int32_t k, cm3_hit *hits,
                            size_t *found) {
    my_store *store = user;
    const int fits = dimension == store->dimension;
    pthread_mutex_lock(&store->lock);
    if (!fits) store->message = "vectors of another encoder";
    for (size_t i = 0; i < count && fits; i++) {
        found[i] = search_one(store, queries + i * (size_t)dimension, (size_t)k, hits + i * (size_t)k);
    }
    pthread_mutex_unlock(&store->lock);
    return fits ? CM3_OK : CM3_ERROR_INVALID_ARGUMENT;
}

/* Records are never changed nor taken out, so that what is handed out may point at them. */
static cm3_status my_fetch(void *user, uint64_t id, cm3_bank_record **record) {
    my_store *store = user;
    cm3_status status = CM3_OK;
    *record = NULL;
    pthread_mutex_lock(&store->lock);
    if (id >= store->count) {
        store->message = "there is no such record";
        status = CM3_ERROR_NOT_FOUND;
    } else if (!(*record = calloc(1, sizeof **record))) {
        store->message = "out of memory";
        status = CM3_ERROR_NO_MEMORY;
    } else {
        const my_record *own = &store->records[id];
        **record = (cm3_bank_record){.struct_size = sizeof **record,
                                     .id = id,
                                     .key = own->key,
                                     .text = own->text,
                                     .codes = own->codes,
                                     .code_count = own->code_count,
                                     .vector = own->vector};
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

static void my_release(void *user, cm3_bank_record *record) {
    (void)user;
    free(record);
}

static cm3_status my_count(void *user, uint64_t *count) {
    my_store *store = user;
    pthread_mutex_lock(&store->lock);
    *count = store->count;
    pthread_mutex_unlock(&store->lock);
    return CM3_OK;
}

static const char *my_message(void *user) {
    return ((const my_store *)user)->message;
}

static void my_destroy(void *user) {
    my_store *store = user;
    for (size_t i = 0; i < store->count; i++) clear(&store->records[i]);
    free(store->records);
    pthread_mutex_destroy(&store->lock);
    free(store);
}

/* --- the host ------------------------------------------------------------------------------------------------------
 */

static cm3_status make_retriever(cm3_model *model, cm3_retriever **retriever) {
    cm3_model_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_model_get_info(model, &info);
    my_store *store = status == CM3_OK ? calloc(1, sizeof *store) : NULL;
    if (!store) return status == CM3_OK ? CM3_ERROR_NO_MEMORY : status;
    store->dimension = info.embedding_size;
    pthread_mutex_init(&store->lock, NULL);
    const cm3_retrieval_engine engine = {.struct_size = sizeof engine,
                                         .search = my_search,
                                         .fetch = my_fetch,
                                         .release = my_release,
                                         .add = my_add,
                                         .count = my_count,
                                         .message = my_message,
                                         .destroy = my_destroy, /* from here on the retriever's, whatever happens */
                                         .user = store};
    return cm3_retriever_create_with(model, &engine, retriever);
}

static cm3_status print_nearest(cm3_retriever *retriever, const char *text) {
    const cm3_retrieval_item query = {.struct_size = sizeof query, .text = text};
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    options.k = 3;
    cm3_hit hits[3];
    size_t found;
    cm3_status status = cm3_retriever_search(retriever, &query, 1, &options, hits, &found);
    for (size_t i = 0; i < found && status == CM3_OK; i++) {
        cm3_bank_record *record;
        status = cm3_retriever_fetch(retriever, hits[i].id, &record);
        if (status != CM3_OK) break;
        printf("%.3f  %s: %s\n", (double)hits[i].score, record->key, record->text);
        cm3_retriever_release(retriever, record);
    }
    return status;
}

/* Whether each text that was put in is what is nearest to it. */
static cm3_status check(cm3_retriever *retriever, const cm3_retrieval_item *items, const uint64_t *ids, size_t count) {
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    options.k = 1;
    for (size_t i = 0; i < count; i++) {
        cm3_hit hit;
        cm3_status status = cm3_retriever_search(retriever, &items[i], 1, &options, &hit, NULL);
        if (status != CM3_OK) return status;
        if (hit.id != ids[i]) printf("'%s' is not what is nearest to itself\n", items[i].text);
        if (hit.id != ids[i]) return CM3_ERROR_INTERNAL;
    }
    printf("%zu records, each is found by its own text\n", count);
    return CM3_OK;
}

int main(int argc, char **argv) {
    static const char *const texts[] = {
        "a small red circle at the top left on a sand background", "three large blue squares on a night background",
        "a yellow star in the center on a grass background", "two green rings on a sand background"};
    enum { COUNT = sizeof texts / sizeof *texts };
    cm3_context *context = NULL;
    cm3_model *model = NULL;
    cm3_retriever *retriever = NULL;
    cm3_retrieval_item items[COUNT];
    uint64_t ids[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
        items[i] = (cm3_retrieval_item){.struct_size = sizeof *items, .key = "example", .text = texts[i]};
    }
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "Usage: retrieval-engine MODEL [QUERY]\n");
        return 2;
    }
    if (cm3_context_create(NULL, &context) != CM3_OK) return 1;
    const int ok =
        cm3_model_load(context, argv[1], NULL, &model) == CM3_OK && make_retriever(model, &retriever) == CM3_OK &&
        cm3_retriever_add(retriever, items, COUNT, ids) == CM3_OK && check(retriever, items, ids, COUNT) == CM3_OK &&
        print_nearest(retriever, argc > 2 ? argv[2] : "a star on grass") == CM3_OK;
    if (!ok) fprintf(stderr, "%s\n", cm3_context_message(context));
    cm3_retriever_destroy(retriever); /* and the store with it */
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    return !ok;
}
