/* Small data and small runs. */
#include "support.h"

#include <stdarg.h>

#include "files/file.h"

cm3_safetensors *test_numbers(test_fixture *fixture) {
    cm3_file *file;
    cm3_safetensors *numbers;
    test_ok(fixture, cm3_file_open(fixture->context, CM3_TEST_DATA "/train/fixture.safetensors", &file));
    test_ok(fixture, cm3_safetensors_open(fixture->context, file, &numbers));
    cm3_file_release(file);
    return numbers;
}

static const cm3_entry *find(const cm3_safetensors *numbers, const char *format, va_list arguments) {
    char name[128];
    vsnprintf(name, sizeof name, format, arguments);
    const cm3_entry *entry = cm3_safetensors_find(numbers, name);
    ck_assert_msg(entry != NULL, "%s", name);
    return entry;
}

const cm3_entry *test_entry(const cm3_safetensors *numbers, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const cm3_entry *entry = find(numbers, format, arguments);
    va_end(arguments);
    return entry;
}

const float *test_floats(const cm3_safetensors *numbers, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const cm3_entry *entry = find(numbers, format, arguments);
    va_end(arguments);
    ck_assert_int_eq(entry->dtype, CM3_F32);
    return entry->data;
}

const int32_t *test_ints(const cm3_safetensors *numbers, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    const cm3_entry *entry = find(numbers, format, arguments);
    va_end(arguments);
    ck_assert_int_eq(entry->dtype, CM3_I32);
    return entry->data;
}

/* --- data ----------------------------------------------------------------------------------------------------------
 */

uint8_t *test_png(test_fixture *fixture, int number, size_t *size) {
    uint8_t pixels[TEST_SIDE * TEST_SIDE * 3], *data;
    for (int y = 0; y < TEST_SIDE; y++) {
        for (int x = 0; x < TEST_SIDE; x++) {
            bool inside = x >= number % 8 && x < number % 8 + 8 && y >= 4 && y < 12;
            uint8_t *p = pixels + (y * TEST_SIDE + x) * 3;
            p[0] = inside ? 220 : 30;
            p[1] = (uint8_t)(inside ? 40 * (number % 5) : 60);
            p[2] = (uint8_t)(number % 3 * 100);
        }
    }
    cm3_image *image;
    test_ok(fixture, cm3_image_from_pixels(fixture->context, pixels, TEST_SIDE, TEST_SIDE, 0, &image));
    test_ok(fixture, cm3_image_encode(image, CM3_IMAGE_PNG, NULL, &data, size));
    cm3_image_destroy(image);
    return data;
}

void test_picture_shard(test_fixture *fixture, const char *path, int count) {
    cm3_shard_writer *writer;
    test_ok(fixture, cm3_shard_writer_open(fixture->context, path, &writer));
    for (int i = 0; i < count; i++) {
        char name[32], json[96];
        size_t size;
        uint8_t *png = test_png(fixture, i, &size);
        snprintf(name, sizeof name, "%03d.png", i);
        test_ok(fixture, cm3_shard_writer_add(writer, name, png, size));
        snprintf(name, sizeof name, "%03d.json", i);
        snprintf(json, sizeof json, "{\"text\": \"a square at %d\", \"kept\": %d}", i % 8, i);
        test_ok(fixture, cm3_shard_writer_add(writer, name, json, strlen(json)));
        cm3_buffer_free(fixture->context, png, size);
    }
    test_ok(fixture, cm3_shard_writer_commit(writer));
}

void test_code_shard(test_fixture *fixture, const char *path, int count) {
    static const char *const colours[] = {"red", "green", "blue", "white", "black"};
    cm3_shard_writer *writer;
    test_ok(fixture, cm3_shard_writer_open(fixture->context, path, &writer));
    for (int i = 0; i < count; i++) {
        char name[32], json[256];
        const char *colour = colours[i % 5];
        snprintf(name, sizeof name, "%03d.json", i);
        snprintf(json, sizeof json, "{\"text\": [\"a %s ball\", \"the ball is %s\"], \"codes\": [%d, %d, %d, %d]}",
                 colour, colour, i % 5, (i + 1) % 5, i % 3, 7);
        test_ok(fixture, cm3_shard_writer_add(writer, name, json, strlen(json)));
    }
    test_ok(fixture, cm3_shard_writer_commit(writer));
}

void test_task_shard(test_fixture *fixture, const char *path) {
    static const char *const colours[] = {"red", "green", "blue", "white", "black"};
    cm3_shard_writer *writer;
    test_ok(fixture, cm3_shard_writer_open(fixture->context, path, &writer));
    for (int i = 0; i < 36; i++) {
        char name[32], json[700], examples[400] = "";
        const char *colour = colours[i % 5];
        if (i < 32) {
            snprintf(examples, sizeof examples,
                     ", \"examples\": [{\"task\": \"ask\", \"question\": [\"what colour\", \"which colour\"], "
                     "\"answer\": \"%s\"}%s%s%s], \"images\": {\"source\": [%d, 1, 2, 3]}",
                     colour, i < 8 ? "" : ", {\"task\": \"edit\", \"instruction\": \"make it ", i < 8 ? "" : colour,
                     i < 8 ? "" : "\"}", i % 5);
        }
        snprintf(name, sizeof name, "%03d.json", i);
        snprintf(json, sizeof json, "{\"text\": [\"a %s ball\", \"the ball is %s\"], \"codes\": [%d, %d, %d, %d]%s}",
                 colour, colour, i % 5, (i + 1) % 5, i % 3, 7, examples);
        test_ok(fixture, cm3_shard_writer_add(writer, name, json, strlen(json)));
    }
    test_ok(fixture, cm3_shard_writer_commit(writer));
}

void test_pair_shard(test_fixture *fixture, const char *path, int count) {
    cm3_shard_writer *writer;
    test_ok(fixture, cm3_shard_writer_open(fixture->context, path, &writer));
    for (int i = 0; i < count; i++) {
        char name[32], json[200];
        size_t size;
        uint8_t *png = test_png(fixture, i, &size);
        snprintf(name, sizeof name, "%03d.png", i);
        test_ok(fixture, cm3_shard_writer_add(writer, name, png, size));
        snprintf(name, sizeof name, "%03d.json", i);
        if (i % 3 == 0) {
            snprintf(json, sizeof json, "{\"text\": \"p%d c%d g%d\", \"query\": [\"q %d %d %d\", \"Q%d.%d.%d\"]}",
                     i % 8, i % 5, i % 3, i % 8, i % 5, i % 3, i % 8, i % 5, i % 3);
        } else if (i % 3 == 1) {
            snprintf(json, sizeof json, "{\"text\": [\"p%d c%d g%d\", \"g%d at %d in %d\"]}", i % 8, i % 5, i % 3,
                     i % 3, i % 8, i % 5);
        } else {
            snprintf(json, sizeof json, "{\"text\": \"p%d c%d g%d\"}", i % 8, i % 5, i % 3);
        }
        test_ok(fixture, cm3_shard_writer_add(writer, name, json, strlen(json)));
        cm3_buffer_free(fixture->context, png, size);
    }
    test_ok(fixture, cm3_shard_writer_commit(writer));
}

void test_single_shard(test_fixture *fixture, const char *path, const char *member, const char *text) {
    cm3_shard_writer *writer;
    test_ok(fixture, cm3_shard_writer_open(fixture->context, path, &writer));
    test_ok(fixture, cm3_shard_writer_add(writer, member, text, strlen(text)));
    test_ok(fixture, cm3_shard_writer_commit(writer));
}

void test_tokenizer(test_fixture *fixture, const char *path) {
    const char *shard = test_path(fixture, "words.tar");
    test_code_shard(fixture, shard, 10);
    cm3_train_bpe_options options;
    cm3_train_bpe_options_init(&options);
    options.data = &shard;
    options.data_count = 1;
    options.vocab_size = 270;
    options.image_codes = TEST_IMAGE_CODES;
    cm3_tokenizer *tokenizer;
    test_ok(fixture, cm3_train_bpe(fixture->context, &options, &tokenizer));
    test_ok(fixture, cm3_tokenizer_save(tokenizer, path));
    cm3_tokenizer_destroy(tokenizer);
}

/* --- runs ----------------------------------------------------------------------------------------------------------
 */

static void common_options(test_fixture *fixture, test_run *run) {
    memset(run, 0, sizeof *run);
    snprintf(run->directory, sizeof run->directory, "%s/run", fixture->folder);
    snprintf(run->shard, sizeof run->shard, "%s/data.tar", fixture->folder);
    snprintf(run->tokenizer, sizeof run->tokenizer, "%s/tokenizer.json", fixture->folder);
    run->data[0] = run->shard;
    cm3_train_options_init(&run->options);
    cm3_train_vq_options_init(&run->vq);
    cm3_train_lm_options_init(&run->lm);
    run->options.run_dir = run->directory;
    run->options.data = run->data;
    run->options.data_count = 1;
    run->options.compute = CM3_COMPUTE_F32;
    run->options.steps = 40;
    run->options.warmup = 2;
    run->options.weight_decay = 0.01f;
}

void test_vq_run(test_fixture *fixture, test_run *run) {
    common_options(fixture, run);
    test_picture_shard(fixture, run->shard, 32);
    run->options.batch_size = 4;
    run->options.lr = 3e-3f;
    run->vq.config_json =
        "{\"resolution\": 16, \"in_channels\": 3, \"base_channels\": 8, \"channel_multiplier\": [1, 2],"
        " \"num_res_blocks\": 1, \"attn_resolutions\": [], \"attn_type\": \"none\", \"latent_channels\": 4,"
        " \"embed_dim\": 4, \"num_embeddings\": 16, \"norm_groups\": 4, \"patch_size\": 2}";
    run->vq.quantise_from = 2;
}

void test_lm_run(test_fixture *fixture, test_run *run) {
    common_options(fixture, run);
    test_code_shard(fixture, run->shard, 20);
    test_tokenizer(fixture, run->tokenizer);
    run->options.batch_size = 2;
    run->options.lr = 1e-2f;
    run->lm.config_json = "{\"hidden_size\": 32, \"layers\": 2, \"heads\": 4, \"ffn_size\": 48, \"max_positions\": 64}";
    run->lm.tokenizer = run->tokenizer;
    run->lm.block_size = 48;
    run->lm.masking = CM3_MASKING_NONE;
}

void test_encoder_run(test_fixture *fixture, test_run *run) {
    test_lm_run(fixture, run);
    test_pair_shard(fixture, run->shard, 60);
    cm3_train_encoder_options_init(&run->encoder);
    run->encoder.config_json =
        "{\"projection_dim\": 8, \"text_config\": {\"hidden_size\": 16, \"intermediate_size\": 24,"
        " \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"max_position_embeddings\": 12, \"hidden_act\": "
        "\"gelu\"},"
        " \"vision_config\": {\"hidden_size\": 16, \"intermediate_size\": 24, \"num_hidden_layers\": 1,"
        " \"num_attention_heads\": 2, \"image_size\": 16, \"patch_size\": 4, \"hidden_act\": \"gelu\"}}";
    run->encoder.tokenizer = run->tokenizer;
    run->options.batch_size = 12;
    run->options.lr = 3e-3f;
}

cm3_trainer *test_vq_trainer(test_fixture *fixture, const test_run *run) {
    cm3_trainer *trainer;
    test_ok(fixture, cm3_trainer_create_vq(fixture->context, &run->options, &run->vq, &trainer));
    return trainer;
}

cm3_trainer *test_lm_trainer(test_fixture *fixture, const test_run *run) {
    cm3_trainer *trainer;
    test_ok(fixture, cm3_trainer_create_lm(fixture->context, &run->options, &run->lm, &trainer));
    return trainer;
}

void test_steps(test_fixture *fixture, cm3_trainer *trainer, int count, double *losses) {
    for (int i = 0; i < count; i++) {
        cm3_train_report report = {.struct_size = sizeof report};
        test_ok(fixture, cm3_trainer_step(trainer, &report));
        if (losses) losses[i] = report.loss;
    }
}

typedef struct graph_call {
    cm3_context *context;
    void (*body)(cm3_graph *graph, void *arg);
    void *arg;
} graph_call;

static cm3_status with_graph(void *pointer) {
    const graph_call *call = pointer;
    cm3_graph *graph;
    const cm3_graph_options options = {.record = true, .compute = CM3_COMPUTE_F32};
    ck_assert_int_eq(cm3_graph_create(call->context, &options, &graph), CM3_OK);
    call->body(graph, call->arg);
    cm3_graph_destroy(graph);
    return CM3_OK;
}

void test_on_graph(test_fixture *fixture, void (*body)(cm3_graph *graph, void *arg), void *arg) {
    graph_call call = {fixture->context, body, arg};
    test_ok(fixture, cm3_context_run(fixture->context, with_graph, &call));
}
