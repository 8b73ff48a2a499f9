/* Training the encoder: its loss and gradients against differences, chunks against the whole, learning, going on. */
#include <math.h>

#include "base/random.h"
#include "model/clip.h"
#include "support.h"
#include "train/contrastive.h"
#include "train/trainer.h"

static test_fixture fixture;
static test_run run;
static cm3_train_encoder_options own;

static const char config[] =
    "{\"projection_dim\": 8, \"text_config\": {\"hidden_size\": 16, \"intermediate_size\": 24,"
    " \"num_hidden_layers\": 2, \"num_attention_heads\": 2, \"max_position_embeddings\": 12, \"hidden_act\": \"gelu\"},"
    " \"vision_config\": {\"hidden_size\": 16, \"intermediate_size\": 24, \"num_hidden_layers\": 1,"
    " \"num_attention_heads\": 2, \"image_size\": 16, \"patch_size\": 4, \"hidden_act\": \"gelu\"}}";

/* Pictures of test_png(): where the square is, its colour and the ground's are in the text; every third has a query. */
static void make_data(const char *path, int count) {
    cm3_shard_writer *writer;
    test_ok(&fixture, cm3_shard_writer_open(fixture.context, path, &writer));
    for (int i = 0; i < count; i++) {
        char name[32], json[200];
        size_t size;
        uint8_t *png = test_png(&fixture, i, &size);
        snprintf(name, sizeof name, "%03d.png", i);
        test_ok(&fixture, cm3_shard_writer_add(writer, name, png, size));
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
        test_ok(&fixture, cm3_shard_writer_add(writer, name, json, strlen(json)));
        cm3_buffer_free(fixture.context, png, size);
    }
    test_ok(&fixture, cm3_shard_writer_commit(writer));
}

static void up(void) {
    test_fixture_up(&fixture);
    test_lm_run(&fixture, &run);
    make_data(run.shard, 60);
    cm3_train_encoder_options_init(&own);
    own.config_json = config;
    own.tokenizer = run.tokenizer;
    run.options.batch_size = 12;
    run.options.lr = 3e-3f;
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_trainer *trainer_of(void) {
    cm3_trainer *trainer;
    test_ok(&fixture, cm3_trainer_create_encoder(fixture.context, &run.options, &own, &trainer));
    return trainer;
}

/* --- the loss ------------------------------------------------------------------------------------------------------
 */

#define N 7
#define D 5

/* The formula, in double precision and one pair at a time. */
static double plain_loss(const double *a, const double *b, double scale) {
    double s[N][N], loss = 0;
    for (int i = 0; i < N; i++) {
        for (int j = 0; j < N; j++) {
            double dot = 0, aa = 0, bb = 0;
            for (int k = 0; k < D; k++) {
                dot += a[i * D + k] * b[j * D + k];
                aa += a[i * D + k] * a[i * D + k];
                bb += b[j * D + k] * b[j * D + k];
            }
            s[i][j] = scale * dot / sqrt(aa * bb);
        }
    }
    for (int i = 0; i < N; i++) {
        double row = 0, column = 0;
        for (int j = 0; j < N; j++) {
            row += exp(s[i][j]);
            column += exp(s[j][i]);
        }
        loss += log(row) + log(column) - 2 * s[i][i];
    }
    return loss / (2 * N);
}

static void compare_with_differences(cm3_graph *graph, void *arg) {
    (void)arg;
    cm3_random random = cm3_random_make(3, 3);
    double a[2 * N * D];
    float x[2 * N * D], grad[2 * N * D] = {0};
    for (int i = 0; i < 2 * N * D; i++) {
        x[i] = (float)cm3_random_normal(&random);
        a[i] = (double)x[i];
    }
    const double scale = 4;
    const cm3_contrastive pairs = {x, x + N * D, N, D, (float)scale};
    cm3_contrastive_result result;
    ck_assert_int_eq(cm3_contrastive_loss(graph, &pairs, 0.5f, grad, grad + N * D, &result), CM3_OK);
    ck_assert_double_eq_tol(result.loss, plain_loss(a, a + N * D, scale), 1e-6);
    const double h = 1e-5;
    for (int i = 0; i < 2 * N * D; i++) {
        const double was = a[i];
        a[i] = was + h;
        double slope = plain_loss(a, a + N * D, scale);
        a[i] = was - h;
        slope = (slope - plain_loss(a, a + N * D, scale)) / (2 * h);
        a[i] = was;
        ck_assert_double_eq_tol((double)grad[i], 0.5 * slope, 2e-6);
    }
    const double up_ = plain_loss(a, a + N * D, scale * exp(h)), down_ = plain_loss(a, a + N * D, scale * exp(-h));
    ck_assert_double_eq_tol(result.dscale, 0.5 * (up_ - down_) / (2 * h), 2e-6);
    /* Alike lists find each other. */
    const cm3_contrastive same = {x, x, N, D, 10};
    ck_assert_int_eq(cm3_contrastive_loss(graph, &same, 1, NULL, NULL, &result), CM3_OK);
    ck_assert_double_eq(result.recall, 1);
}

START_TEST(the_loss_and_its_gradient) {
    test_on_graph(&fixture, compare_with_differences, NULL);
}
END_TEST

/* --- runs ----------------------------------------------------------------------------------------------------------
 */

/* The whole way back, both towers: every parameter's slope along its gradient is the gradient's square. */
START_TEST(gradients_of_both_towers) {
    cm3_trainer *trainer = trainer_of();
    uint64_t position = 0;
    void *batch = cm3_alloc(fixture.context, trainer->batch_bytes);
    test_ok(&fixture, trainer->kind->maker(trainer, trainer->data, &position, batch));
    cm3_train_report report = {0};
    test_ok(&fixture, trainer->kind->micro_step(trainer, batch, &report));
    int looked_at = 0;
    for (size_t i = 0; i < trainer->optimizer.count; i++) {
        const cm3_optimized *p = &trainer->optimizer.parameters[i];
        float *x = cm3_f32(p->tensor), *was = malloc((size_t)p->tensor->count * sizeof *was);
        double squares = 0, slope = 0;
        for (int64_t j = 0; j < p->tensor->count; j++) {
            was[j] = x[j];
            squares += (double)p->tensor->grad[j] * (double)p->tensor->grad[j];
        }
        const double step = 3e-3 / sqrt(squares + 1e-30);
        for (int side = -1; side <= 1 && squares > 1e-10; side += 2) {
            for (int64_t j = 0; j < p->tensor->count; j++) {
                x[j] = was[j] + (float)(side * step * (double)p->tensor->grad[j]);
            }
            cm3_train_report moved = {0};
            cm3_graph_reset(trainer->graph);
            test_ok(&fixture, trainer->kind->measure(trainer, batch, &moved));
            slope += side * moved.loss / (2 * step);
        }
        memcpy(x, was, (size_t)p->tensor->count * sizeof *x);
        free(was);
        if (squares <= 1e-10) continue;
        ck_assert_msg(fabs(slope - squares) <= 0.02 * squares + 2e-4 * sqrt(squares), "%s: %g, %g", p->name, slope,
                      squares);
        looked_at++;
    }
    ck_assert_int_ge(looked_at, 45);
    cm3_free(fixture.context, batch);
    cm3_trainer_destroy(trainer);
}
END_TEST

/* However a batch is parted, the gradient is that of the whole. */
START_TEST(chunks_change_nothing) {
    double whole[6], parted[6];
    own.chunk = 12;
    run.options.resume = 0;
    cm3_trainer *trainer = trainer_of();
    test_steps(&fixture, trainer, 6, whole);
    cm3_trainer_destroy(trainer);
    own.chunk = 5;
    trainer = trainer_of();
    test_steps(&fixture, trainer, 6, parted);
    cm3_trainer_destroy(trainer);
    for (int i = 0; i < 6; i++) ck_assert_double_eq_tol(whole[i], parted[i], 1e-4 * whole[i]);
}
END_TEST

START_TEST(learns_and_goes_on) {
    const char *validation[] = {run.shard};
    run.options.validation = validation;
    run.options.validation_count = 1;
    run.options.steps = 120;
    cm3_trainer *trainer = trainer_of();
    cm3_train_report first = {.struct_size = sizeof first}, report = first, again = first, measured = first;
    test_ok(&fixture, cm3_trainer_step(trainer, &first));
    ck_assert(first.loss > 3 && first.scale > 13 && first.scale < 16);
    for (int i = 0; i < 99; i++) test_ok(&fixture, cm3_trainer_step(trainer, &report));
    test_ok(&fixture, cm3_trainer_checkpoint(trainer));
    test_ok(&fixture, cm3_trainer_step(trainer, &report));
    cm3_trainer_destroy(trainer);
    trainer = trainer_of();
    test_ok(&fixture, cm3_trainer_step(trainer, &again));
    ck_assert(again.step == 101 && again.loss == report.loss && again.scale == report.scale);
    for (int i = 0; i < 19; i++) test_ok(&fixture, cm3_trainer_step(trainer, &report));
    test_ok(&fixture, cm3_trainer_validate(trainer, &measured));
    ck_assert_msg(measured.recall > 0.7 && measured.query_recall > 0.7, "%g, %g", measured.recall,
                  measured.query_recall);

    /* What is exported is what was learned: texts find their pictures. */
    const char *path = test_path(&fixture, "encoder.cm3");
    test_ok(&fixture, cm3_trainer_export(trainer, path, CM3_COMPUTE_F32));
    cm3_trainer_destroy(trainer);
    cm3_model *model;
    test_ok(&fixture, cm3_model_load(fixture.context, path, NULL, &model));
    cm3_model_info info = {.struct_size = sizeof info};
    test_ok(&fixture, cm3_model_get_info(model, &info));
    ck_assert_int_eq(info.embedding_size, 8);
    ck_assert_uint_eq(info.parts, CM3_PART_TOKENIZER | CM3_PART_ENCODER);
    enum { PAIRS = 20 };
    float texts[PAIRS][8], pictures[PAIRS][8];
    int right = 0;
    for (int i = 0; i < PAIRS; i++) {
        char text[32];
        const char *list[] = {text};
        snprintf(text, sizeof text, "p%d c%d g%d", i % 8, i % 5, i % 3);
        test_ok(&fixture, cm3_model_embed_texts(model, list, 1, 1, texts[i]));
        size_t size;
        uint8_t *png = test_png(&fixture, i, &size);
        cm3_image *image;
        test_ok(&fixture, cm3_image_load_memory(fixture.context, png, size, &image));
        test_ok(&fixture, cm3_model_embed_images(model, &image, 1, 1, pictures[i]));
        cm3_image_destroy(image);
        cm3_buffer_free(fixture.context, png, size);
    }
    for (int i = 0; i < PAIRS; i++) {
        int best = 0;
        double most = -2;
        for (int j = 0; j < PAIRS; j++) {
            double dot = 0;
            for (int k = 0; k < 8; k++) dot += (double)texts[i][k] * (double)pictures[j][k];
            if (dot > most) {
                most = dot;
                best = j;
            }
        }
        right += best == i;
    }
    ck_assert_int_ge(right, 14);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(nonsense_is_refused) {
    cm3_trainer *trainer;
#define refused(status, words)                                                                                         \
    do {                                                                                                               \
        test_fails(&fixture, cm3_trainer_create_encoder(fixture.context, &run.options, &own, &trainer), status,        \
                   words);                                                                                             \
        ck_assert_ptr_null(trainer);                                                                                   \
    } while (0)
    own.chunk = 0;
    refused(CM3_ERROR_INVALID_ARGUMENT, "chunk");
    own.chunk = 4;
    own.initial_scale = 0;
    refused(CM3_ERROR_INVALID_ARGUMENT, "initial_scale");
    own.initial_scale = 10;
    own.query_weight = -1;
    refused(CM3_ERROR_INVALID_ARGUMENT, "query_weight");
    own.query_weight = 1;
    own.config_json = "{\"model_type\": \"clip_text_model\"}";
    refused(CM3_ERROR_INVALID_ARGUMENT, "both towers");
    own.config_json = "{";
    refused(CM3_ERROR_FORMAT, "encoder configuration");
    own.config_json = config;
    own.tokenizer = "/nowhere.json";
    refused(CM3_ERROR_NOT_FOUND, "/nowhere.json");
    own.tokenizer = run.tokenizer;
    test_code_shard(&fixture, run.shard, 5);
    refused(CM3_ERROR_FORMAT, "has no picture");
    test_single_shard(&fixture, run.shard, "a.json", "{\"text\": \"a\", \"query\": 3}");
    refused(CM3_ERROR_FORMAT, "query");
}
END_TEST

Suite *encoder_training_suite(void) {
    Suite *suite = suite_create("train/encoder_training");
    TCase *tests = tcase_create("encoder_training");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, the_loss_and_its_gradient);
    tcase_add_test(tests, gradients_of_both_towers);
    tcase_add_test(tests, chunks_change_nothing);
    tcase_add_test(tests, learns_and_goes_on);
    tcase_add_test(tests, nonsense_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
