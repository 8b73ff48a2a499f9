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

static void up(void) {
    test_fixture_up(&fixture);
    test_encoder_run(&fixture, &run);
    own = run.encoder;
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
    const char *validation[] = {run.shard}; /* the loader's thread is at the other data */
    run.options.validation = validation;
    run.options.validation_count = 1;
    own.query_documents = _i;
    cm3_trainer *trainer = trainer_of();
    uint64_t position = 0;
    void *batch = cm3_alloc(fixture.context, trainer->batch_bytes);
    test_ok(&fixture, trainer->kind->maker(trainer, trainer->validation, &position, batch));
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

/** A run that begins with what another made loses what that one lost, and takes its tokenizer and its shape. */
START_TEST(begins_with_another) {
    const char *validation[] = {run.shard};
    run.options.validation = validation;
    run.options.validation_count = 1;
    cm3_train_report first = {.struct_size = sizeof first}, second = first;
    cm3_trainer *trainer = trainer_of();
    for (int i = 0; i < 5; i++) test_ok(&fixture, cm3_trainer_step(trainer, &first));
    test_ok(&fixture, cm3_trainer_validate(trainer, &first));
    char path[240], bf16[240];
    snprintf(path, sizeof path, "%s", test_path(&fixture, "first.cm3"));
    snprintf(bf16, sizeof bf16, "%s", test_path(&fixture, "bf16.cm3"));
    test_ok(&fixture, cm3_trainer_export(trainer, path, CM3_COMPUTE_F32));
    test_ok(&fixture, cm3_trainer_export(trainer, bf16, CM3_COMPUTE_BF16));
    cm3_trainer_destroy(trainer);
    own.config_json = own.tokenizer = NULL;
    own.init = path;
    own.initial_scale = (float)first.scale;
    run.options.resume = 0;
    trainer = trainer_of();
    test_ok(&fixture, cm3_trainer_validate(trainer, &second));
    ck_assert_double_eq_tol(first.loss, second.loss, 1e-5 * first.loss);
    cm3_trainer_destroy(trainer);
    own.init = bf16;
    trainer = trainer_of();
    test_ok(&fixture, cm3_trainer_validate(trainer, &second));
    ck_assert_double_eq_tol(first.loss, second.loss, 0.02 * first.loss);
    cm3_trainer_destroy(trainer);
    own.config_json = run.encoder.config_json;
    test_fails(&fixture, cm3_trainer_create_encoder(fixture.context, &run.options, &own, &trainer),
               CM3_ERROR_INVALID_ARGUMENT, "exclude each other");
    own.config_json = NULL;
    own.init = run.tokenizer;
    ck_assert_int_ne(cm3_trainer_create_encoder(fixture.context, &run.options, &own, &trainer), CM3_OK);
    own.init = path;
    own.together = 0;
    test_fails(&fixture, cm3_trainer_create_encoder(fixture.context, &run.options, &own, &trainer),
               CM3_ERROR_INVALID_ARGUMENT, "together");
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
    own.config_json = run.encoder.config_json;
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
    tcase_add_loop_test(tests, gradients_of_both_towers, 0, 2);
    tcase_add_test(tests, begins_with_another);
    tcase_add_test(tests, chunks_change_nothing);
    tcase_add_test(tests, learns_and_goes_on);
    tcase_add_test(tests, nonsense_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
