/* Learning the text tokenizer, and pictures to codes. */
#include <unistd.h>

#include "support.h"
#include "train/dataset.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static int count_calls(void *user, uint64_t done, uint64_t total) {
    int *calls = user;
    ck_assert(done == (uint64_t)++calls[0] && total == 2);
    return calls[0] == calls[1];
}

START_TEST(bpe) {
    const char *data[] = {test_path(&fixture, "a.tar"), test_path(&fixture, "b.txt")};
    test_code_shard(&fixture, data[0], 10);
    const char lines[] = "a purple cat\n\na purple cat sleeps\na purple dog";
    test_put(data[1], lines, strlen(lines));
    cm3_train_bpe_options options;
    cm3_train_bpe_options_init(&options);
    int calls[2] = {0, -1};
    options.data = data;
    options.data_count = 2;
    options.vocab_size = 300;
    options.image_codes = 30;
    options.sentinels = 20;
    options.progress = count_calls;
    options.user = calls;
    cm3_tokenizer *tokenizer;
    test_ok(&fixture, cm3_train_bpe(fixture.context, &options, &tokenizer));
    ck_assert_int_eq(calls[0], 2);
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    test_ok(&fixture, cm3_tokenizer_get_info(tokenizer, &info));
    ck_assert(info.vocab_size > 256 + 54 && info.vocab_size <= 300 + 54);
    int32_t id, ids[64];
    static const struct {
        cm3_token_role role;
        int32_t index, id;
    } roles[] = {{CM3_TOKEN_PAD, 0, 0},      {CM3_TOKEN_EOD, 0, 1},      {CM3_TOKEN_BREAK, 0, 2},
                 {CM3_TOKEN_END_SPAN, 0, 3}, {CM3_TOKEN_SENTINEL, 0, 4}, {CM3_TOKEN_SENTINEL, 19, 23},
                 {CM3_TOKEN_IMAGE, 0, 24},   {CM3_TOKEN_IMAGE, 29, 53}};
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        test_ok(&fixture, cm3_tokenizer_special(tokenizer, roles[i].role, roles[i].index, &id));
        ck_assert_int_eq(id, roles[i].id);
    }
    /* Words of the data became few tokens, whichever file they stood in, and come back. */
    size_t count, size;
    char text[64];
    const char *words = "a purple ball";
    test_ok(&fixture, cm3_tokenizer_encode(tokenizer, words, strlen(words), CM3_ENCODE_PLAIN, ids, 64, &count));
    ck_assert_msg(count <= 7, "%zu", count);
    test_ok(&fixture, cm3_tokenizer_decode(tokenizer, ids, count, 0, text, sizeof text, &size));
    ck_assert(size == strlen(words) && memcmp(text, words, size) == 0);
    cm3_tokenizer_destroy(tokenizer);
    calls[0] = 0;
    calls[1] = 1;
    test_fails(&fixture, cm3_train_bpe(fixture.context, &options, &tokenizer), CM3_ERROR_CANCELLED, "stopped");
    ck_assert_ptr_null(tokenizer);
    data[1] = test_path(&fixture, "none.txt");
    options.progress = NULL;
    test_fails(&fixture, cm3_train_bpe(fixture.context, &options, &tokenizer), CM3_ERROR_NOT_FOUND, "none.txt");
}
END_TEST

/** An image tokenizer of some steps. */
static void make_vq(const char *path) {
    test_run run;
    test_vq_run(&fixture, &run);
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 4, NULL);
    test_ok(&fixture, cm3_trainer_export(trainer, path, CM3_COMPUTE_BF16));
    cm3_trainer_destroy(trainer);
}

/** Record `number` of the encoded shard holds the codes that the tokenizer gives for its picture, and what was in its
 * JSON. */
static void check_record(const cm3_tokenizer *tokenizer, const cm3_record *record, int number) {
    json_t *json;
    ck_assert_ptr_null(record->image);
    test_ok(&fixture, cm3_json_parse(fixture.context, "record", record->json, record->json_size, &json));
    ck_assert_int_eq(json_integer_value(json_object_get(json, "kept")), number);
    ck_assert_ptr_nonnull(json_string_value(json_object_get(json, "text")));
    size_t size, count;
    uint8_t *png = test_png(&fixture, number, &size);
    cm3_image *image;
    int32_t codes[64];
    test_ok(&fixture, cm3_image_load_memory(fixture.context, png, size, &image));
    test_ok(&fixture, cm3_tokenizer_encode_image(tokenizer, image, codes, 64, &count));
    const json_t *list = json_object_get(json, "codes");
    ck_assert_uint_eq(json_array_size(list), count);
    for (size_t i = 0; i < count; i++) ck_assert_int_eq(json_integer_value(json_array_get(list, i)), codes[i]);
    cm3_image_destroy(image);
    cm3_buffer_free(fixture.context, png, size);
    json_decref(json);
}

START_TEST(encode_shards) {
    const char *model_path = test_path(&fixture, "vq.cm3"), *out = test_path(&fixture, "out");
    make_vq(model_path);
    const char *data[] = {test_path(&fixture, "one.tar"), test_path(&fixture, "two.jsonl")};
    test_picture_shard(&fixture, data[0], 35); /* more than a batch */
    size_t size;
    uint8_t *png = test_png(&fixture, 3, &size);
    test_put(test_path(&fixture, "p.png"), png, size);
    cm3_buffer_free(fixture.context, png, size);
    const char line[] = "{\"text\": \"x\", \"image\": \"p.png\", \"kept\": 3}\n";
    test_put(data[1], line, strlen(line));
    int calls[2] = {0, -1};
    test_ok(&fixture, cm3_train_encode_shards(fixture.context, model_path, data, 2, out, count_calls, calls));
    ck_assert_int_eq(calls[0], 2);
    cm3_model *model;
    cm3_tokenizer *tokenizer;
    test_ok(&fixture, cm3_model_load(fixture.context, model_path, NULL, &model));
    test_ok(&fixture, cm3_model_tokenizer(model, &tokenizer));
    const char *made[] = {test_path(&fixture, "out/one.tar"), test_path(&fixture, "out/two.tar")};
    for (int k = 0; k < 2; k++) {
        cm3_shard *shard;
        cm3_record record;
        bool more;
        int number = 0;
        test_ok(&fixture, cm3_shard_open(fixture.context, made[k], &shard));
        for (;; number++) {
            test_ok(&fixture, cm3_shard_next(shard, &record, &more));
            if (!more) break;
            check_record(tokenizer, &record, k ? 3 : number);
            cm3_record_clear(fixture.context, &record);
        }
        ck_assert_int_eq(number, k ? 1 : 35);
        cm3_shard_close(shard);
    }
    cm3_tokenizer_destroy(tokenizer);
    cm3_model_destroy(model);
    /* What is there stays as it is. */
    test_put(made[0], "mine", 4);
    test_ok(&fixture, cm3_train_encode_shards(fixture.context, model_path, data, 2, out, NULL, NULL));
    char *text = test_get(made[0], &size);
    ck_assert(size == 4 && memcmp(text, "mine", 4) == 0);
    free(text);
    calls[0] = 0;
    calls[1] = 1;
    test_fails(&fixture, cm3_train_encode_shards(fixture.context, model_path, data, 2, out, count_calls, calls),
               CM3_ERROR_CANCELLED, "stopped");
}
END_TEST

static void add_png(cm3_shard_writer *writer, const char *name, int number) {
    size_t size;
    uint8_t *png = test_png(&fixture, number, &size);
    test_ok(&fixture, cm3_shard_writer_add(writer, name, png, size));
    cm3_buffer_free(fixture.context, png, size);
}

/** Pictures with names get codes of their own; batches end where the next record's would not fit. */
START_TEST(encode_named_pictures) {
    const char *model_path = test_path(&fixture, "vq.cm3"), *data[] = {test_path(&fixture, "named.tar")};
    cm3_shard_writer *writer;
    make_vq(model_path);
    test_ok(&fixture, cm3_shard_writer_open(fixture.context, data[0], &writer));
    for (int i = 0; i < 15; i++) {
        char name[64];
        snprintf(name, sizeof name, "%03d.png", i);
        add_png(writer, name, i);
        snprintf(name, sizeof name, "%03d.source.png", i);
        add_png(writer, name, i + 1);
        snprintf(name, sizeof name, "%03d.layout.png", i);
        if (i % 2) add_png(writer, name, i + 2);
        snprintf(name, sizeof name, "%03d.json", i);
        test_ok(&fixture, cm3_shard_writer_add(writer, name, "{\"text\": \"x\"}", 13));
    }
    test_ok(&fixture, cm3_shard_writer_commit(writer));
    const char *out = test_path(&fixture, "out"), *made[] = {test_path(&fixture, "out/named.tar")};
    test_ok(&fixture, cm3_train_encode_shards(fixture.context, model_path, data, 1, out, NULL, NULL));
    cm3_dataset *dataset;
    test_ok(&fixture, cm3_dataset_load(fixture.context, made, 1, 1, false, 0, &dataset));
    ck_assert_uint_eq(dataset->count, 15);
    for (int i = 0; i < 15; i++) {
        const cm3_sample *sample = &dataset->samples[i];
        size_t size = (size_t)sample->code_count * sizeof *sample->codes;
        ck_assert_int_eq(sample->image_count, 1 + i % 2);
        for (int k = 0; k < sample->image_count; k++) {
            const cm3_sample_image *image = &sample->images[k];
            ck_assert_str_eq(image->name, k ? "layout" : "source");
            ck_assert_int_eq(image->code_count, sample->code_count);
            /* A record's pictures are the own ones of those that follow. */
            if (i + k + 1 < 15) ck_assert_mem_eq(image->codes, dataset->samples[i + k + 1].codes, size);
        }
    }
    cm3_dataset_destroy(dataset);
}
END_TEST

/** An untrained image tokenizer of as many codes as the tokenizer of test_tokenizer() names. */
static void make_random_vq(const char *path, uint64_t seed) {
    test_run run;
    test_vq_run(&fixture, &run);
    run.options.resume = 0;
    run.options.seed = seed;
    run.vq.config_json =
        "{\"resolution\": 16, \"base_channels\": 8, \"channel_multiplier\": [1, 2], \"num_res_blocks\": 1,"
        " \"attn_resolutions\": [], \"attn_type\": \"none\", \"latent_channels\": 4, \"embed_dim\": 4,"
        " \"num_embeddings\": 8, \"norm_groups\": 4, \"patch_size\": 2}";
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    test_ok(&fixture, cm3_trainer_export(trainer, path, CM3_COMPUTE_F32));
    cm3_trainer_destroy(trainer);
}

/* Codes go with the image tokenizer that made them; language-model training with another one is refused. */
START_TEST(codes_know_their_tokenizer) {
    char path[2][160];
    for (int i = 0; i < 2; i++) {
        snprintf(path[i], sizeof path[i], "%s", test_path(&fixture, i ? "b.cm3" : "a.cm3"));
        make_random_vq(path[i], 1 + (uint64_t)i);
    }
    test_run run;
    test_lm_run(&fixture, &run);
    const char *pictures = test_path(&fixture, "pictures.tar"), *out = test_path(&fixture, "out");
    char shard[160];
    snprintf(shard, sizeof shard, "%s", test_path(&fixture, "out/pictures.tar"));
    test_picture_shard(&fixture, pictures, 5);
    test_ok(&fixture, cm3_train_encode_shards(fixture.context, path[0], &pictures, 1, out, NULL, NULL));
    const char *data[] = {shard};
    run.options.data = data;
    run.options.resume = 0;
    cm3_trainer *trainer;
    run.lm.image_tokenizer = path[1];
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer), CM3_ERROR_FORMAT,
               "another image tokenizer");
    run.lm.image_tokenizer = path[0];
    test_ok(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer));
    cm3_trainer_destroy(trainer);
    test_single_shard(&fixture, shard, "k.json", "{\"text\": \"x\", \"codes\": [0], \"codebook\": \"12\"}");
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer), CM3_ERROR_FORMAT,
               "record k: 'codebook' is not");
}
END_TEST

/** The codes of picture 3 by a model's image tokenizer. */
static size_t codes_by(const char *model_path, int32_t *codes) {
    cm3_model *model;
    cm3_tokenizer *tokenizer;
    test_ok(&fixture, cm3_model_load(fixture.context, model_path, NULL, &model));
    test_ok(&fixture, cm3_model_tokenizer(model, &tokenizer));
    size_t size, count;
    uint8_t *png = test_png(&fixture, 3, &size);
    cm3_image *image;
    test_ok(&fixture, cm3_image_load_memory(fixture.context, png, size, &image));
    test_ok(&fixture, cm3_tokenizer_encode_image(tokenizer, image, codes, 64, &count));
    cm3_image_destroy(image);
    cm3_buffer_free(fixture.context, png, size);
    cm3_tokenizer_destroy(tokenizer);
    cm3_model_destroy(model);
    return count;
}

/* With a price that nothing outweighs all is the most usual code; with none all is as it was. */
START_TEST(code_costs) {
    char path[3][160], shard[160], bare[160];
    static const char *const names[] = {"a.cm3", "b.cm3", "costs.cm3"};
    for (int i = 0; i < 3; i++) snprintf(path[i], sizeof path[i], "%s", test_path(&fixture, names[i]));
    for (int i = 0; i < 2; i++) make_random_vq(path[i], 1 + (uint64_t)i);
    const char *pictures = test_path(&fixture, "pictures.tar"), *out = test_path(&fixture, "out");
    test_picture_shard(&fixture, pictures, 20);
    test_ok(&fixture, cm3_train_encode_shards(fixture.context, path[0], &pictures, 1, out, NULL, NULL));
    snprintf(shard, sizeof shard, "%s", test_path(&fixture, "out/pictures.tar"));
    const char *data[] = {shard};
    cm3_dataset *dataset;
    int counts[8] = {0}, most = 0, calls[2] = {0, 1};
    test_ok(&fixture, cm3_dataset_load(fixture.context, data, 1, 0, false, 0, &dataset));
    for (size_t i = 0; i < dataset->count; i++) {
        for (int k = 0; k < dataset->samples[i].code_count; k++) counts[dataset->samples[i].codes[k]]++;
    }
    cm3_dataset_destroy(dataset);
    for (int i = 0; i < 8; i++) most = counts[i] > most ? counts[i] : most;

    const char *twice[] = {shard, shard};
    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[0], twice, 2, 1, path[2], count_calls, calls),
               CM3_ERROR_CANCELLED, "stopped");
    ck_assert_int_ne(access(path[2], F_OK), 0);
    test_ok(&fixture, cm3_train_code_costs(fixture.context, path[0], data, 1, 1e6f, path[2], NULL, NULL));
    int32_t before[64], codes[64];
    const size_t count = codes_by(path[0], before);
    ck_assert_uint_eq(codes_by(path[2], codes), count);
    for (size_t i = 0; i < count; i++) ck_assert_int_eq(counts[codes[i]], most);
    ck_assert(memcmp(before, codes, count * sizeof *codes) != 0);
    test_ok(&fixture, cm3_train_code_costs(fixture.context, path[2], data, 1, 0, path[2], NULL, NULL));
    codes_by(path[2], codes);
    ck_assert_mem_eq(before, codes, count * sizeof *codes);

    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[1], data, 1, 1, path[2], NULL, NULL),
               CM3_ERROR_FORMAT, "another image tokenizer");
    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[0], data, 1, NAN, path[2], NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "weight");
    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[0], data, 1, -1, path[2], NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "weight");
    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[0], data, 0, 1, path[2], NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "NULL");
    snprintf(bare, sizeof bare, "%s", test_path(&fixture, "bare.tar"));
    test_single_shard(&fixture, bare, "k.json", "{\"text\": \"x\"}");
    data[0] = bare;
    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[0], data, 1, 1, path[2], NULL, NULL),
               CM3_ERROR_NOT_FOUND, "bare.tar has codes");
    test_single_shard(&fixture, bare, "k.json", "{\"text\": \"x\", \"codes\": [8]}");
    test_fails(&fixture, cm3_train_code_costs(fixture.context, path[0], data, 1, 1, path[2], NULL, NULL),
               CM3_ERROR_FORMAT, "code 8");
}
END_TEST

START_TEST(encode_refused) {
    const char *model_path = test_path(&fixture, "vq.cm3"), *out = test_path(&fixture, "out");
    make_vq(model_path);
    char path[200], other[200];
    snprintf(path, sizeof path, "%s", test_path(&fixture, "bad.tar"));
    snprintf(other, sizeof other, "%s/./bad.tar", fixture.folder);
    const char *data[] = {path, other};
    static const struct {
        const char *member, *text, *words;
    } cases[] = {{"k.json", "{}", "bad.tar: record k has no picture"}, {"k.png", "not a picture", "bad.tar: record k"}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        test_single_shard(&fixture, path, cases[i].member, cases[i].text);
        ck_assert_int_ne(cm3_train_encode_shards(fixture.context, model_path, data, 1, out, NULL, NULL), CM3_OK);
        ck_assert_msg(test_says(&fixture, cases[i].words), "%s", cm3_context_message(fixture.context));
        ck_assert_int_ne(access(test_path(&fixture, "out/bad.tar"), F_OK), 0);
    }
    test_fails(&fixture, cm3_train_encode_shards(fixture.context, model_path, data, 2, out, NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "would both become");
    test_fails(&fixture, cm3_train_encode_shards(fixture.context, model_path, data, 1, fixture.folder, NULL, NULL),
               CM3_ERROR_INVALID_ARGUMENT, "over itself");
    test_fails(&fixture, cm3_train_encode_shards(fixture.context, path, data, 1, out, NULL, NULL), CM3_ERROR_FORMAT,
               "bad.tar");
}
END_TEST

Suite *data_tools_suite(void) {
    Suite *suite = suite_create("data tools");
    TCase *tcase = tcase_create("data tools");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, bpe);
    tcase_add_test(tcase, encode_shards);
    tcase_add_test(tcase, encode_named_pictures);
    tcase_add_test(tcase, codes_know_their_tokenizer);
    tcase_add_test(tcase, encode_refused);
    tcase_add_test(tcase, code_costs);
    suite_add_tcase(suite, tcase);
    return suite;
}
