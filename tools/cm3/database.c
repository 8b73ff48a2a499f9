/* Banks that are databases: postgresql://... in place of a file. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

bool cm3_is_database(const char *bank) {
    return bank && (!strncmp(bank, "postgresql://", 13) || !strncmp(bank, "postgres://", 11));
}

static char failure[1024]; /* of what is no call on a context */

const char *cm3_database_failure(void) {
    return failure;
}

#ifdef CM3_WITH_PGVECTOR

#include "cm3leon/pgvector.h"

#define MOST_SERVERS 64

static cm3_status told(cm3_status status) {
    if (status != CM3_OK) snprintf(failure, sizeof failure, "%s", cm3_pgvector_message());
    return status;
}

static cm3_status refuse(const char *why) {
    snprintf(failure, sizeof failure, "%s", why);
    return CM3_ERROR_INVALID_ARGUMENT;
}

/** A bank's name, taken apart: PRIMARY[>REPLICA...][|PRIMARY...][#TABLE]. In a URI these characters stand for nothing
 * else. */
typedef struct bank_name {
    char *text; /**< which the rest lies in */
    const char *replicas[MOST_SERVERS];
    size_t replica_count;
    cm3_pgvector_shard shards[MOST_SERVERS];
    size_t shard_count;
    const char *table;
} bank_name;

static cm3_status take_apart(const char *bank, bank_name *name) {
    name->text = strdup(bank);
    if (!name->text) return CM3_ERROR_NO_MEMORY;
    char *table = strrchr(name->text, '#'), *rest_of_shards = name->text;
    if (table) {
        *table = '\0';
        name->table = table + 1;
    }
    for (char *shard; (shard = strsep(&rest_of_shards, "|")) != NULL;) {
        if (name->shard_count == MOST_SERVERS) return refuse("--bank: too many shards, at most 64 can be given");
        cm3_pgvector_shard *next = &name->shards[name->shard_count++];
        *next = (cm3_pgvector_shard){.struct_size = sizeof *next, .replicas = &name->replicas[name->replica_count]};
        next->primary = strsep(&shard, ">");
        for (char *replica; (replica = strsep(&shard, ">")) != NULL; next->replica_count++) {
            if (name->replica_count == MOST_SERVERS)
                return refuse("--bank: too many replicas, at most 64 can be given");
            name->replicas[name->replica_count++] = replica;
        }
    }
    return CM3_OK;
}

cm3_status cm3_database_open(const char *bank, const cm3_model *model, const char *model_name,
                             const cm3_database_making *making, struct cm3_pgvector **store) {
    static bank_name name;
    name = (bank_name){0};
    cm3_encoder_identity identity = {.struct_size = sizeof identity};
    cm3_pgvector_options options;
    cm3_pgvector_options_init(&options);
    *store = NULL;
    cm3_status status = take_apart(bank, &name);
    options.shards = name.shards;
    options.shard_count = name.shard_count;
    options.table = name.table;
    options.encoder_name = model_name;
    if (making) {
        options.create = 1;
        options.halfvec = making->halfvec;
        options.dimension = making->dimension;
    }
    if (status == CM3_OK && model) {
        status = cm3_model_encoder_identity(model, &identity);
        options.identity = &identity;
    }
    if (status == CM3_OK) status = told(cm3_pgvector_open(&options, store));
    free(name.text);
    return status;
}

static cm3_status (*search_store)(void *user, const float *queries, size_t count, int32_t dimension, int32_t k,
                                  cm3_hit *hits, size_t *found);

/** A search as the store does it, which says so where no answer came of some shard: at once, for what is fetched
 * afterwards may leave other words. */
static cm3_status search_and_warn(void *user, const float *queries, size_t count, int32_t dimension, int32_t k,
                                  cm3_hit *hits, size_t *found) {
    cm3_pgvector_search_stats stats = {.struct_size = sizeof stats};
    cm3_status status = search_store(user, queries, count, dimension, k, hits, found);
    if (status != CM3_OK || !count || cm3_pgvector_last_search(&stats) != CM3_OK) return status;
    if (stats.answered < stats.shards) cm3_say("warning: %s", cm3_pgvector_message());
    return status;
}

cm3_status cm3_database_retriever(const char *bank, cm3_model *model, const char *model_name,
                                  struct cm3_pgvector **store, cm3_retriever **retriever) {
    cm3_retrieval_engine engine;
    cm3_status status = cm3_database_open(bank, model, model_name, NULL, store);
    if (status == CM3_OK) status = told(cm3_pgvector_engine(*store, &engine));
    if (status == CM3_OK) {
        search_store = engine.search;
        engine.search = search_and_warn;
    }
    if (status == CM3_OK) status = cm3_retriever_create_with(model, &engine, retriever);
    if (status != CM3_OK) *store = NULL; /* it was closed with the engine */
    return status;
}

cm3_status cm3_database_index(struct cm3_pgvector *store) {
    return told(cm3_pgvector_build_index(store));
}

cm3_status cm3_database_print_info(struct cm3_pgvector *store, bool json) {
    cm3_pgvector_info i = {.struct_size = sizeof i};
    cm3_status status = told(cm3_pgvector_get_info(store, &i));
    if (status != CM3_OK) return status;
    if (json) {
        printf("{\"records\": %llu, \"bytes\": %llu, \"shards\": %u, \"indexed\": %s, \"dimension\": %d, "
               "\"vectors\": \"%s\", \"encoder\": ",
               (unsigned long long)i.records, (unsigned long long)i.bytes, i.shards, i.indexed ? "true" : "false",
               i.dimension, i.halfvec ? "f16" : "f32");
        cm3_print_json(i.encoder_name);
        printf(", \"encoder_hash\": \"%016llx%016llx\"}\n", (unsigned long long)i.encoder_hash[1],
               (unsigned long long)i.encoder_hash[0]);
        return CM3_OK;
    }
    printf("records    %llu\n", (unsigned long long)i.records);
    printf("vectors    %d numbers, %s\n", i.dimension, i.halfvec ? "f16" : "f32");
    printf("encoder    %s (%016llx)\n", *i.encoder_name ? i.encoder_name : "not named",
           (unsigned long long)i.encoder_hash[0]);
    printf("shards     %u, %s\n", i.shards, i.indexed ? "with an index" : "without an index: search is exact");
    printf("size       %.2f MB\n", (double)i.bytes / 1e6);
    return CM3_OK;
}

void cm3_database_close(struct cm3_pgvector *store) {
    cm3_pgvector_close(store);
}

#else

static cm3_status refuse(void) {
    snprintf(failure, sizeof failure,
             "this cm3 has no PostgreSQL: it was built without libpq (CM3_WITH_PGVECTOR), and banks are files");
    return CM3_ERROR_UNSUPPORTED;
}

cm3_status cm3_database_open(const char *bank, const cm3_model *model, const char *model_name,
                             const cm3_database_making *making, struct cm3_pgvector **store) {
    (void)bank, (void)model, (void)model_name, (void)making;
    *store = NULL;
    return refuse();
}

cm3_status cm3_database_retriever(const char *bank, cm3_model *model, const char *model_name,
                                  struct cm3_pgvector **store, cm3_retriever **retriever) {
    (void)bank, (void)model, (void)model_name, (void)retriever;
    *store = NULL;
    return refuse();
}

cm3_status cm3_database_index(struct cm3_pgvector *store) {
    (void)store;
    return refuse();
}

cm3_status cm3_database_print_info(struct cm3_pgvector *store, bool json) {
    (void)store, (void)json;
    return refuse();
}

void cm3_database_close(struct cm3_pgvector *store) {
    (void)store;
}

#endif
