/* The neighbours of training records, found once: an hour of searching less in every epoch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/options.h"
#include "base/random.h"
#include "cm3leon/train.h"
#include "files/json.h"
#include "files/shard.h"
#include "retrieve/bank.h"
#include "retrieve/retriever.h"
#include "train/shard_names.h"

#define TOGETHER 64 /* records that are looked up at once */
#define MOST_NEIGHBOURS 64

static const cm3_train_neighbour_options defaults = {
    .struct_size = sizeof defaults,
    .by_text = 2,
    .by_image = 2,
    .most_alike = 0.9f,
    .most_score = 0.9f,
    .query_dropout = 0.2f,
    .seed = 1,
};

void cm3_train_neighbour_options_init(cm3_train_neighbour_options *options) {
    if (options) *options = defaults;
}

/** A record on its way. Its texts lie in `json`. */
typedef struct found_record {
    cm3_record record;
    json_t *json;
    const char *text, *query; /**< its first text; what it is looked up by */
    int32_t *codes;
    size_t code_count;
    cm3_image *image;
    cm3_hit hits[2 * MOST_NEIGHBOURS];
    size_t count;
} found_record;

/** A record of the bank by its key. */
typedef struct known_key {
    XXH64_hash_t key;
    uint64_t id;
} known_key;

typedef struct finding {
    cm3_context *context;
    const cm3_retriever *retriever;
    const cm3_train_neighbour_options *options;
    char bank[17];
    found_record *records; /**< [TOGETHER] */
    size_t count;
    uint64_t place; /**< of the next record, by its shard's name: what is drawn for it hangs on it, and not on what was
                     * done before */
    cm3_shard_writer *writer;
    const char *path;
    known_key *keys; /**< sorted, where `own_first` is above 0 */
    size_t key_count;
} finding;

static void clear(finding *f) {
    for (size_t i = 0; i < f->count; i++) {
        found_record *r = &f->records[i];
        cm3_record_clear(f->context, &r->record);
        json_decref(r->json);
        cm3_free(f->context, r->codes);
        cm3_image_destroy(r->image);
        *r = (found_record){.count = 0};
    }
    f->count = 0;
}

/** The first of a text or a list of texts; NULL where there is none. */
static const char *first_text(const json_t *value) {
    return json_string_value(json_is_array(value) ? json_array_get(value, 0) : value);
}

/** Codes of another image tokenizer than the model's, and so than the bank's, are other pictures. */
static cm3_status check_codebook(const finding *f, const found_record *r, const char *where) {
    const char *made = json_string_value(json_object_get(r->json, "codebook"));
    const cm3_vq *vq = f->retriever->model->tokenizer->vq;
    char own[17];
    if (!made || !vq) return CM3_OK;
    snprintf(own, sizeof own, "%016llx", (unsigned long long)cm3_vq_fingerprint(vq));
    if (strcmp(made, own) == 0) return CM3_OK;
    return cm3_fail(f->context, CM3_ERROR_FORMAT,
                    "%s: another image tokenizer made its codes: codebook %s, and the model's has %s", where, made,
                    own);
}

static cm3_status take_codes(finding *f, found_record *r, const char *where) {
    const cm3_json_object object = {f->context, where, r->json};
    const json_t *list = json_object_get(r->json, "codes");
    if (!list) return CM3_OK;
    CM3_TRY(check_codebook(f, r, where));
    const size_t count = json_array_size(list);
    r->codes = cm3_calloc(f->context, count, sizeof *r->codes);
    if (!r->codes) return cm3_fail_memory(f->context, count * sizeof *r->codes, where);
    return cm3_json_ints(&object, "codes", 0, INT32_MAX, r->codes, count, &r->code_count);
}

/** Takes the record over: what of it is looked up, and what is compared. */
static cm3_status take(finding *f, const cm3_record *record) {
    found_record *r = &f->records[f->count++];
    char where[512];
    *r = (found_record){.record = *record};
    snprintf(where, sizeof where, "%s: record %s", f->path, record->key ? record->key : "?");
    if (!record->json) return cm3_fail(f->context, CM3_ERROR_FORMAT, "%s has no JSON", where);
    CM3_TRY(cm3_json_parse(f->context, where, record->json, record->json_size, &r->json));
    if (!json_is_object(r->json)) return cm3_fail(f->context, CM3_ERROR_FORMAT, "%s: not an object", where);
    r->text = first_text(json_object_get(r->json, "text"));
    r->query = first_text(json_object_get(r->json, "query"));
    if (!r->query) r->query = r->text;
    CM3_TRY(take_codes(f, r, where));
    if (!f->options->by_image || !r->codes) return CM3_OK;
    cm3_tokenizer *tokenizer;
    CM3_TRY(cm3_model_tokenizer(f->retriever->model, &tokenizer));
    cm3_status status = cm3_tokenizer_decode_image(tokenizer, r->codes, r->code_count, &r->image);
    cm3_tokenizer_destroy(tokenizer);
    return status;
}

/** Whether a record of the bank is this one: text and picture alike. */
static cm3_status is_own(const finding *f, const found_record *r, uint64_t id, bool *own) {
    cm3_bank_record *other;
    *own = false;
    CM3_TRY(cm3_retriever_fetch(f->retriever, id, &other));
    *own = r->text && other->text && strcmp(r->text, other->text) == 0 && other->code_count == r->code_count &&
           (!r->code_count || memcmp(other->codes, r->codes, r->code_count * sizeof *r->codes) == 0);
    cm3_retriever_release(f->retriever, other);
    return CM3_OK;
}

/** Adds hits to a record's, without those that are there, and without itself. */
static cm3_status add_hits(const finding *f, found_record *r, const cm3_hit *hits, size_t found, size_t most) {
    size_t added = 0;
    for (size_t i = 0; i < found && added < most; i++) {
        bool known = false;
        for (size_t j = 0; j < r->count; j++) known = known || r->hits[j].id == hits[i].id;
        if (!known && !f->options->keep_own) CM3_TRY(is_own(f, r, hits[i].id, &known));
        if (known) continue;
        r->hits[r->count++] = hits[i];
        added++;
    }
    return CM3_OK;
}

/** Neighbours of all records together, by their texts or by their pictures. */
static cm3_status look_up(finding *f, bool by_image) {
    const cm3_train_neighbour_options *o = f->options;
    const size_t most = (size_t)(by_image ? o->by_image : o->by_text), k = most + MOST_NEIGHBOURS / 2;
    cm3_retrieval_item queries[TOGETHER];
    size_t which[TOGETHER], found[TOGETHER], count = 0;
    for (size_t i = 0; i < f->count && most; i++) {
        const found_record *r = &f->records[i];
        if (by_image ? !r->image : !r->query) continue;
        which[count] = i;
        queries[count++] = (cm3_retrieval_item){
            .struct_size = sizeof *queries, .text = by_image ? NULL : r->query, .image = by_image ? r->image : NULL};
    }
    if (!count) return CM3_OK;
    cm3_retrieve_options rules;
    cm3_retrieve_options_init(&rules);
    rules.k = (int32_t)(o->keep_own ? most * 2 : most * 2 + 1); /* some may be known, one may be the record itself */
    rules.most_alike = o->most_alike;
    rules.most_score = o->most_score;
    rules.query_dropout = o->query_dropout;
    rules.seed = o->seed * 1000003 + f->place;
    cm3_hit *hits = cm3_calloc(f->context, count, k * 2 * sizeof *hits);
    if (!hits) return cm3_fail_memory(f->context, count * k * sizeof *hits, "hits");
    cm3_status status = cm3_retriever_search(f->retriever, queries, count, &rules, hits, found);
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        status = add_hits(f, &f->records[which[i]], hits + i * (size_t)rules.k, found[i], most);
    }
    cm3_free(f->context, hits);
    return status;
}

static int by_score(const void *left, const void *right) {
    const cm3_hit *a = left, *b = right;
    if (a->score != b->score) return a->score < b->score ? 1 : -1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static int by_key(const void *left, const void *right) {
    const known_key *a = left, *b = right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static XXH64_hash_t hash_of(const char *key) {
    return XXH3_64bits(key, strlen(key));
}

/** All keys of the bank. */
static cm3_status read_keys(finding *f) {
    const cm3_bank *bank = f->retriever->bank;
    cm3_bank_info info = {.struct_size = sizeof info};
    CM3_TRY(cm3_bank_get_info(bank, &info));
    f->keys = cm3_calloc(f->context, (size_t)info.records + 1, sizeof *f->keys);
    if (!f->keys) return cm3_fail_memory(f->context, (size_t)info.records * sizeof *f->keys, "keys");
    for (uint64_t id = 0; f->key_count < info.records && cm3_bank_next(bank, &id) == CM3_OK; id++) {
        cm3_bank_record *record;
        CM3_TRY(cm3_bank_get(bank, id, &record));
        if (*record->key) f->keys[f->key_count++] = (known_key){hash_of(record->key), id};
        cm3_bank_record_destroy(bank, record);
    }
    qsort(f->keys, f->key_count, sizeof *f->keys, by_key);
    return CM3_OK;
}

/** The first record of the bank that has this one's key; CM3_NO_RECORD where there is none. */
static uint64_t own_id(const finding *f, const found_record *r) {
    const XXH64_hash_t key = hash_of(r->record.key);
    size_t low = 0, high = f->key_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (f->keys[middle].key < key)
            low = middle + 1;
        else
            high = middle;
    }
    return low < f->key_count && f->keys[low].key == key ? f->keys[low].id : CM3_NO_RECORD;
}

/** Puts the record's own to its place; the last of the others goes where there would be more than are wanted. */
static void put_own(const finding *f, found_record *r, size_t number) {
    const uint64_t id = own_id(f, r);
    const size_t most = (size_t)(f->options->by_text + f->options->by_image);
    if (id == CM3_NO_RECORD || !most) return;
    size_t at = r->count;
    for (size_t i = 0; i < r->count; i++) {
        if (r->hits[i].id == id) at = i;
    }
    if (at == r->count) {
        if (r->count == most)
            at--;
        else
            r->count++;
    }
    cm3_random random = cm3_random_make(f->options->seed, 0x4F574E0000000000u ^ (f->place + number));
    const size_t wanted = cm3_random_uniform(&random) < (double)f->options->own_first || r->count < 2 ? 0 : 1;
    for (; at > wanted; at--) r->hits[at] = r->hits[at - 1];
    for (; at < wanted; at++) r->hits[at] = r->hits[at + 1];
    r->hits[at] = (cm3_hit){id, 1};
}

static cm3_status write_record(finding *f, found_record *r) {
    json_t *ids = json_array();
    bool ok = ids != NULL;
    qsort(r->hits, r->count, sizeof *r->hits, by_score);
    if (f->keys) put_own(f, r, (size_t)(r - f->records));
    for (size_t i = 0; i < r->count && ok; i++) {
        ok = json_array_append_new(ids, json_integer((json_int_t)r->hits[i].id)) == 0;
    }
    json_t *neighbours = json_pack("{s:s, s:o}", "bank", f->bank, "ids", ids);
    ok = ok && neighbours && json_object_set(r->json, "neighbours", neighbours) == 0;
    json_decref(neighbours);
    char *text = ok ? json_dumps(r->json, JSON_COMPACT) : NULL, name[512];
    snprintf(name, sizeof name, "%s.json", r->record.key);
    cm3_status status = text ? cm3_shard_writer_add(f->writer, name, text, strlen(text))
                             : cm3_fail_memory(f->context, r->record.json_size, "record");
    free(text);
    return status;
}

static cm3_status flush(finding *f) {
    cm3_status status = look_up(f, false);
    if (status == CM3_OK) status = look_up(f, true);
    for (size_t i = 0; i < f->count && status == CM3_OK; i++) status = write_record(f, &f->records[i]);
    f->place += f->count;
    clear(f);
    return status;
}

static cm3_status find_in_shard(void *arg, const char *path, const char *out) {
    finding *f = arg;
    cm3_shard *shard = NULL;
    f->path = path;
    f->place = cm3_hash(strrchr(out, '/'), strlen(strrchr(out, '/')));
    CM3_TRY(cm3_shard_open(f->context, path, &shard));
    cm3_status status = cm3_shard_writer_open(f->context, out, &f->writer);
    for (bool more = true; status == CM3_OK && more;) {
        cm3_record record = {0};
        status = cm3_shard_next(shard, &record, &more);
        if (status == CM3_OK && more) status = take(f, &record);
        if (status == CM3_OK && (f->count == TOGETHER || (!more && f->count))) status = flush(f);
    }
    clear(f);
    cm3_shard_close(shard);
    if (status == CM3_OK) {
        status = cm3_shard_writer_commit(f->writer);
    } else {
        cm3_shard_writer_abort(f->writer);
    }
    f->writer = NULL;
    return status;
}

cm3_status cm3_train_find_neighbours(const cm3_retriever *retriever, const char *const *data, size_t data_count,
                                     const char *out_dir, const cm3_train_neighbour_options *options,
                                     cm3_progress_fn progress, void *user) {
    if (!retriever) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *context = retriever->context;
    bool missing = !data || !data_count || !out_dir;
    for (size_t i = 0; i < data_count && !missing; i++) missing = !data[i];
    if (missing || !retriever->bank) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_train_find_neighbours: %s",
                        missing ? "an argument is NULL" : "the retriever's engine is no memory bank");
    }
    cm3_train_neighbour_options own = defaults;
    CM3_TRY(cm3_options_read(context, &own, sizeof own, options, "cm3_train_neighbour_options"));
    if (own.by_text < 0 || own.by_text > MOST_NEIGHBOURS / 4 || own.by_image < 0 ||
        own.by_image > MOST_NEIGHBOURS / 4) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_train_neighbour_options: by_text and by_image must be 0..%d", MOST_NEIGHBOURS / 4);
    }
    if (!(own.own_first >= 0 && own.own_first <= 1)) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_train_neighbour_options: own_first must be 0..1");
    }
    finding f = {.context = context, .retriever = retriever, .options = &own};
    snprintf(f.bank, sizeof f.bank, "%016llx", (unsigned long long)retriever->bank->at.head.identity[0]);
    f.records = cm3_calloc(context, TOGETHER, sizeof *f.records);
    if (!f.records) return cm3_fail_memory(context, TOGETHER * sizeof *f.records, "records");
    cm3_status status = own.own_first > 0 ? read_keys(&f) : CM3_OK;
    const cm3_shard_list list = {data, data_count, out_dir, progress, user};
    if (status == CM3_OK) status = cm3_make_shards(context, &list, find_in_shard, &f);
    cm3_free(context, f.keys);
    cm3_free(context, f.records);
    return status;
}
