/* Training with retrieval: which documents stand before a record's own, what of them is learned, and how neighbours are
 * found. */
#include <math.h>
#include <stdlib.h>

#include "base/random.h"
#include "files/json.h"
#include "model/model.h"
#include "retrieve/bank.h"
#include "support.h"
#include "train/lm_run.h"

#define CLIP CM3_TEST_DATA "/parity/clip"
#define RECORDS 6

static test_fixture fixture;
static test_run run;
static char bank_path[200];

/* Record i of the bank: "the ball is <colour>" and codes i, i, i, i; a vector of its own. */
static const char *const colours[] = {"red", "green", "blue", "white", "black", "pink"};

static void make_bank(void) {
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.vectors = CM3_VECTORS_F32;
    options.dimension = RECORDS;
    cm3_bank *bank;
    snprintf(bank_path, sizeof bank_path, "%s", test_path(&fixture, "a.bank"));
    test_ok(&fixture, cm3_bank_create(fixture.context, bank_path, &options, &bank));
    for (int32_t i = 0; i < RECORDS; i++) {
        float vector[RECORDS] = {0};
        const int32_t codes[4] = {i, i, i, i};
        vector[i] = 1;
        cm3_bank_record record = {
            .struct_size = sizeof record, .text = colours[i], .codes = codes, .code_count = 4, .vector = vector};
        test_ok(&fixture, cm3_bank_add(bank, &record, 1, NULL, NULL));
    }
    cm3_bank_destroy(bank);
}

static uint64_t identity(void) {
    cm3_bank *bank;
    test_ok(&fixture, cm3_bank_open(fixture.context, bank_path, CM3_BANK_READ, &bank));
    const uint64_t own = bank->at.head.identity[0];
    cm3_bank_destroy(bank);
    return own;
}

/* One record, found by its query, with these neighbours. */
static void make_shard(uint64_t bank, const char *ids) {
    char json[400];
    snprintf(json, sizeof json,
             "{\"text\": \"a red ball\", \"query\": \"a ball\", \"codes\": [7, 6, 5, 4], \"neighbours\": "
             "{\"bank\": \"%016llx\", \"ids\": [%s]}}",
             (unsigned long long)bank, ids);
    test_single_shard(&fixture, run.shard, "000.json", json);
}

static void up(void) {
    test_fixture_up(&fixture);
    test_lm_run(&fixture, &run);
    make_bank();
    make_shard(identity(), "3, 1, 4");
    run.lm.bank = bank_path;
    run.lm.caption_dropout = 0;
    run.lm.block_size = 64;
}

static void down(void) {
    test_fixture_down(&fixture);
}

/* --- documents -----------------------------------------------------------------------------------------------------
 */

static void push_text(const cm3_tokenizer *tokenizer, const char *text, cm3_ids *ids) {
    test_ok(&fixture, cm3_bpe_encode(tokenizer->bpe, text, strlen(text), 0, &ids->ids, &ids->count, &ids->capacity));
}

/* The document written out: these records of the bank, then the query (NULL: it was dropped) and the picture. */
static void expect_unit(const cm3_tokenizer *tokenizer, const int32_t *records, int count, const char *query,
                        const cm3_ids *unit) {
    const cm3_special_tokens *special = &tokenizer->special;
    cm3_ids own = {0};
    test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->eod));
    for (int i = 0; i < count; i++) {
        push_text(tokenizer, colours[records[i]], &own);
        test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->break_));
        for (int k = 0; k < 4; k++) test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->image[records[i]]));
        test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->break_));
    }
    if (query) push_text(tokenizer, query, &own);
    if (!query && !count) test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->sentinels[0]));
    if (query || !count) test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->break_));
    for (int k = 0; k < 4; k++) test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->image[7 - k]));
    test_ok(&fixture, cm3_ids_push(fixture.context, &own, special->eod));
    ck_assert_uint_eq(unit->count, own.count);
    ck_assert_mem_eq(unit->ids, own.ids, own.count * sizeof *own.ids);
    cm3_ids_clear(fixture.context, &own);
}

/* How many records of the bank a unit holds, by their codes; which ones, in their order. */
static int records_in(const cm3_tokenizer *tokenizer, const cm3_ids *unit, int64_t retrieved, int32_t *records) {
    int count = 0;
    for (int64_t i = 1; i <= retrieved; i++) {
        const int32_t code = tokenizer->special.image_code[unit->ids[i]];
        if (code < 0) continue;
        records[count++] = code;
        i += 3;
    }
    return count;
}

static cm3_lm_scratch *new_scratch(void) {
    cm3_lm_scratch *scratch = calloc(1, sizeof *scratch);
    ck_assert_ptr_nonnull(scratch);
    return scratch;
}

static void free_scratch(cm3_lm_scratch *scratch) {
    cm3_ids_clear(fixture.context, &scratch->document);
    cm3_ids_clear(fixture.context, &scratch->unit);
    cm3_free(fixture.context, scratch->weights);
    free(scratch);
}

/** 0, 1 or 2 documents alike often, each pair alike often, in the order of their scores; the query in place of the
 * text. */
START_TEST(documents_stand_before) {
    enum { DRAWS = 900 };
    run.lm.caption_dropout = _i ? 1 : 0;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    const cm3_tokenizer *tokenizer = cm3_lm_run_of(trainer)->tokenizer;
    cm3_lm_scratch *scratch = new_scratch();
    int counts[3] = {0}, first[5] = {0};
    for (uint64_t position = 0; position < DRAWS; position++) {
        const float *weights;
        uint64_t documents;
        int32_t records[8];
        test_ok(&fixture, cm3_lm_make_unit(trainer, trainer->data, position, scratch, &weights, &documents));
        ck_assert_ptr_null(weights);
        const int count = records_in(tokenizer, &scratch->unit, scratch->retrieved, records);
        ck_assert_int_le(count, 2);
        expect_unit(tokenizer, records, count, _i ? NULL : "a ball", &scratch->unit);
        counts[count]++;
        if (count == 2) ck_assert(records[0] == 3 || (records[0] == 1 && records[1] == 4));
        if (count == 1) first[records[0]]++;
    }
    /* Three ways, 300 each, with a standard deviation of 14; of one record 100 each, with one of 8. */
    for (int i = 0; i < 3; i++) ck_assert_msg(abs(counts[i] - 300) < 60, "%d documents: %d times", i, counts[i]);
    for (int i = 1; i < 5; i++) {
        if (i != 2) ck_assert_msg(abs(first[i] - 100) < 40, "record %d alone: %d times", i, first[i]);
    }
    ck_assert_int_eq(first[2], 0);
    free_scratch(scratch);
    cm3_trainer_destroy(trainer);
}
END_TEST

/** What was looked up weighs as much as it is told to. */
START_TEST(what_was_looked_up_weighs_less) {
    run.lm.retrieved_weight = 0.1f;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    cm3_lm_scratch *scratch = new_scratch();
    int seen = 0;
    for (uint64_t position = 0; position < 50; position++) {
        const float *weights;
        uint64_t documents;
        test_ok(&fixture, cm3_lm_make_unit(trainer, trainer->data, position, scratch, &weights, &documents));
        if (!scratch->retrieved) continue;
        seen++;
        ck_assert_ptr_nonnull(weights);
        for (size_t i = 0; i < scratch->unit.count; i++) {
            const bool given = i >= 1 && (int64_t)i <= scratch->retrieved;
            ck_assert_float_eq_tol(weights[i], given ? 0.1f : 1, 1e-7f);
        }
    }
    ck_assert_int_gt(seen, 20);
    double losses[4];
    test_steps(&fixture, trainer, 4, losses);
    ck_assert(isfinite(losses[3]));
    free_scratch(scratch);
    cm3_trainer_destroy(trainer);
}
END_TEST

/** As many as there is room for. */
START_TEST(room) {
    run.lm.config_json = "{\"hidden_size\": 32, \"layers\": 1, \"heads\": 4, \"ffn_size\": 48, \"max_positions\": 24}";
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    cm3_lm_scratch *scratch = new_scratch();
    int most = 0;
    for (uint64_t position = 0; position < 60; position++) {
        const float *weights;
        uint64_t documents;
        int32_t records[8];
        test_ok(&fixture, cm3_lm_make_unit(trainer, trainer->data, position, scratch, &weights, &documents));
        ck_assert_uint_le(scratch->unit.count, 24);
        const int count = records_in(cm3_lm_run_of(trainer)->tokenizer, &scratch->unit, scratch->retrieved, records);
        most = count > most ? count : most;
    }
    ck_assert_int_eq(most, 1);
    free_scratch(scratch);
    cm3_trainer_destroy(trainer);
}
END_TEST

START_TEST(wrong_neighbours) {
    cm3_trainer *trainer;
    make_shard(identity() + 1, "3, 1");
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer), CM3_ERROR_FORMAT,
               "its neighbours are of the bank");
    make_shard(identity(), "3, 6");
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer), CM3_ERROR_FORMAT,
               "its neighbour 6 is not in the bank");
    make_shard(identity(), "3, 1");
    cm3_bank *bank;
    const uint64_t gone = 1;
    test_ok(&fixture, cm3_bank_open(fixture.context, bank_path, CM3_BANK_WRITE, &bank));
    test_ok(&fixture, cm3_bank_delete(bank, &gone, 1));
    cm3_bank_destroy(bank);
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer), CM3_ERROR_FORMAT,
               "its neighbour 1 is not in the bank");
    run.lm.retrieved_weight = 1.5f;
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer),
               CM3_ERROR_INVALID_ARGUMENT, "retrieved_weight");
    ck_assert_ptr_null(trainer);
}
END_TEST

/* Going on without the bank is another run than with it. */
START_TEST(the_bank_is_a_setting) {
    cm3_trainer *trainer;
    cm3_train_report report = {.struct_size = sizeof report};
    test_ok(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer));
    test_ok(&fixture, cm3_trainer_step(trainer, &report));
    test_ok(&fixture, cm3_trainer_checkpoint(trainer));
    cm3_trainer_destroy(trainer);
    run.lm.bank = NULL;
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer),
               CM3_ERROR_INVALID_ARGUMENT, "bank: ");
    ck_assert(test_says(&fixture, "then, absent now"));
}
END_TEST

/* --- finding them --------------------------------------------------------------------------------------------------
 */

#define KEPT 20

static void text_of(int number, char text[64]) {
    snprintf(text, 64, "record %d of %s things", number * 7, colours[number % RECORDS]);
}

static cm3_retriever *retriever_of(cm3_model *model, const char *name) {
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.vectors = CM3_VECTORS_F32;
    options.model = model;
    cm3_bank *bank;
    cm3_retriever *retriever;
    test_ok(&fixture, cm3_bank_create(fixture.context, test_path(&fixture, name), &options, &bank));
    test_ok(&fixture, cm3_retriever_create(model, bank, &retriever));
    for (int i = 0; i < KEPT; i++) {
        char text[64];
        text_of(i, text);
        char key[8];
        snprintf(key, sizeof key, "%03d", KEPT - 1 - i); /* what has record i's key is not record i's text */
        const cm3_retrieval_item item = {.struct_size = sizeof item, .key = key, .text = text};
        test_ok(&fixture, cm3_retriever_add(retriever, &item, 1, NULL));
    }
    cm3_bank_destroy(bank);
    return retriever;
}

static void write_queries(const char *path) {
    cm3_shard_writer *writer;
    test_ok(&fixture, cm3_shard_writer_open(fixture.context, path, &writer));
    for (int i = 0; i < KEPT; i++) {
        char name[32], text[64], json[200];
        text_of(i, text);
        snprintf(name, sizeof name, "%03d.json", i);
        snprintf(json, sizeof json, "{\"text\": [\"%s\", \"b\"], \"kept\": %d}", text, i);
        test_ok(&fixture, cm3_shard_writer_add(writer, name, json, strlen(json)));
    }
    test_ok(&fixture, cm3_shard_writer_commit(writer));
}

/* The two nearest by plain inner products, without what the rules leave out: the record itself, what scores above
 * `most_score`, and what is too like one that was taken. */
static int nearest(const float *vectors, int32_t d, int own, bool keep_own, float most_score, int *ids) {
    int count = 0;
    bool used[KEPT] = {false};
    while (count < 2) {
        int best = -1;
        double most = -2;
        for (int i = 0; i < KEPT; i++) {
            double dot = 0;
            for (int32_t k = 0; k < d; k++) dot += (double)vectors[own * d + k] * (double)vectors[i * d + k];
            if (!used[i] && dot > most) most = dot, best = i;
        }
        if (best < 0) break;
        used[best] = true;
        if (most > most_score || (best == own && !keep_own)) continue;
        bool alike = false;
        for (int j = 0; j < count; j++) {
            double dot = 0;
            for (int32_t k = 0; k < d; k++) dot += (double)vectors[best * d + k] * (double)vectors[ids[j] * d + k];
            alike = alike || dot > 0.999;
        }
        if (!alike) ids[count++] = best;
    }
    return count;
}

/** Without words left out, neighbours are what a plain search finds; all else of a record stays. */
START_TEST(neighbours_are_the_nearest) {
    cm3_model *model;
    test_ok(&fixture, cm3_model_load(fixture.context, CLIP, NULL, &model));
    cm3_retriever *retriever = retriever_of(model, "texts.bank");
    write_queries(run.shard);
    cm3_model_info info = {.struct_size = sizeof info};
    test_ok(&fixture, cm3_model_get_info(model, &info));
    const int32_t d = info.embedding_size;
    float *vectors = malloc(KEPT * (size_t)d * sizeof *vectors);
    for (int i = 0; i < KEPT; i++) {
        char text[64];
        text_of(i, text);
        const char *texts[1] = {text};
        test_ok(&fixture, cm3_model_embed_texts(model, texts, 1, 1, vectors + i * d));
    }
    cm3_train_neighbour_options options;
    cm3_train_neighbour_options_init(&options);
    options.by_image = 0;
    options.query_dropout = 0;
    options.most_alike = 0.999f;
    options.most_score = _i ? 2 : 0.99f;
    options.keep_own = _i;
    const char *folder = test_path(&fixture, "near");
    char out[240];
    snprintf(out, sizeof out, "%s", folder);
    test_ok(&fixture, cm3_train_find_neighbours(retriever, run.data, 1, out, &options, NULL, NULL));
    cm3_shard *shard;
    char path[300];
    snprintf(path, sizeof path, "%s%s", out, strrchr(run.shard, '/'));
    test_ok(&fixture, cm3_shard_open(fixture.context, path, &shard));
    for (int i = 0; i < KEPT; i++) {
        cm3_record record = {0};
        bool more;
        int expected[2];
        json_t *json;
        test_ok(&fixture, cm3_shard_next(shard, &record, &more));
        ck_assert(more);
        test_ok(&fixture, cm3_json_parse(fixture.context, "record", record.json, record.json_size, &json));
        ck_assert_int_eq(json_integer_value(json_object_get(json, "kept")), i);
        const json_t *ids = json_object_get(json_object_get(json, "neighbours"), "ids");
        const int count = nearest(vectors, d, i, _i, options.most_score, expected);
        ck_assert_int_eq((int)json_array_size(ids), count);
        if (_i) ck_assert_int_eq(expected[0], i);
        for (int k = 0; k < count; k++) {
            ck_assert_int_eq(json_integer_value(json_array_get(ids, (size_t)k)), expected[k]);
        }
        json_decref(json);
        cm3_record_clear(fixture.context, &record);
    }
    cm3_shard_close(shard);
    /* Over itself it would be lost. */
    char own[200];
    snprintf(own, sizeof own, "%s", run.shard);
    *strrchr(own, '/') = '\0';
    test_fails(&fixture, cm3_train_find_neighbours(retriever, run.data, 1, own, &options, NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "over itself");
    test_single_shard(&fixture, run.shard, "000.json", "{\"text\": \"a\", \"codes\": [1, \"2\"]}");
    char other[240];
    snprintf(other, sizeof other, "%s", test_path(&fixture, "other"));
    test_fails(&fixture, cm3_train_find_neighbours(retriever, run.data, 1, other, &options, NULL, NULL),
               CM3_ERROR_FORMAT, "codes");
    options.by_text = -1;
    test_fails(&fixture, cm3_train_find_neighbours(retriever, run.data, 1, out, &options, NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "by_text");
    free(vectors);
    cm3_retriever_destroy(retriever);
    cm3_model_destroy(model);
}
END_TEST

/** What has the record's key is a neighbour whatever was found, first or second. */
START_TEST(own_ones_by_key) {
    cm3_model *model;
    test_ok(&fixture, cm3_model_load(fixture.context, CLIP, NULL, &model));
    cm3_retriever *retriever = retriever_of(model, "texts.bank");
    write_queries(run.shard);
    cm3_train_neighbour_options options;
    cm3_train_neighbour_options_init(&options);
    options.by_image = 0;
    options.most_score = 2;
    options.keep_own = 1;
    options.own_first = _i ? 0.5f : 1;
    char out[240], path[300];
    snprintf(out, sizeof out, "%s", test_path(&fixture, "near"));
    test_ok(&fixture, cm3_train_find_neighbours(retriever, run.data, 1, out, &options, NULL, NULL));
    snprintf(path, sizeof path, "%s%s", out, strrchr(run.shard, '/'));
    cm3_shard *shard;
    test_ok(&fixture, cm3_shard_open(fixture.context, path, &shard));
    int firsts = 0;
    for (int i = 0; i < KEPT; i++) {
        cm3_record record = {0};
        bool more;
        json_t *json;
        test_ok(&fixture, cm3_shard_next(shard, &record, &more));
        test_ok(&fixture, cm3_json_parse(fixture.context, "record", record.json, record.json_size, &json));
        const json_t *ids = json_object_get(json_object_get(json, "neighbours"), "ids");
        ck_assert_int_eq((int)json_array_size(ids), 2);
        const json_int_t first = json_integer_value(json_array_get(ids, 0)),
                         second = json_integer_value(json_array_get(ids, 1));
        ck_assert_int_ne(first, second);
        ck_assert(first == KEPT - 1 - i || second == KEPT - 1 - i);
        firsts += first == KEPT - 1 - i;
        json_decref(json);
        cm3_record_clear(fixture.context, &record);
    }
    if (_i)
        ck_assert(firsts > 2 && firsts < KEPT - 2);
    else
        ck_assert_int_eq(firsts, KEPT);
    cm3_shard_close(shard);
    options.own_first = 1.5f;
    test_fails(&fixture, cm3_train_find_neighbours(retriever, run.data, 1, out, &options, NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "own_first");
    cm3_retriever_destroy(retriever);
    cm3_model_destroy(model);
}
END_TEST

/* Codes of another image tokenizer than the model's would be learned as other pictures. */
START_TEST(foreign_codes) {
    cm3_model *model;
    test_ok(&fixture, cm3_model_load(fixture.context, CM3_SOURCE_DIR "/models/toybox.cm3", NULL, &model));
    cm3_retriever *retriever = retriever_of(model, "texts.bank");
    test_single_shard(&fixture, run.shard, "000.json",
                      "{\"text\": \"a\", \"codes\": [1, 2], \"codebook\": \"0123456789abcdef\"}");
    cm3_train_neighbour_options options;
    cm3_train_neighbour_options_init(&options);
    options.by_image = 0;
    test_fails(&fixture,
               cm3_train_find_neighbours(retriever, run.data, 1, test_path(&fixture, "near"), &options, NULL, NULL),
               CM3_ERROR_FORMAT, "another image tokenizer made its codes: codebook 0123456789abcdef");
    cm3_retriever_destroy(retriever);
    cm3_model_destroy(model);
}
END_TEST

Suite *neighbours_suite(void) {
    Suite *suite = suite_create("neighbours");
    TCase *tcase = tcase_create("neighbours");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, documents_stand_before, 0, 2);
    tcase_add_test(tcase, what_was_looked_up_weighs_less);
    tcase_add_test(tcase, room);
    tcase_add_test(tcase, wrong_neighbours);
    tcase_add_test(tcase, the_bank_is_a_setting);
    tcase_add_loop_test(tcase, neighbours_are_the_nearest, 0, 2);
    tcase_add_loop_test(tcase, own_ones_by_key, 0, 2);
    tcase_add_test(tcase, foreign_codes);
    suite_add_tcase(suite, tcase);
    return suite;
}
