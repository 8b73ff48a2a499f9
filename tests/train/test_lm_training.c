/* Training the language model: it learns, the same every time, and its export computes what it did. */
#include <math.h>

#include "model/model.h"
#include "support.h"
#include "train/trainer.h"

static test_fixture fixture;
static test_run run;

static void up(void) {
    test_fixture_up(&fixture);
    test_lm_run(&fixture, &run);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_status create(cm3_trainer **trainer) {
    return cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, trainer);
}

START_TEST(learns) {
    const char *validation[] = {run.shard};
    run.options.validation = validation;
    run.options.validation_count = 1;
    run.lm.attend = _i ? CM3_ATTEND_BLOCK : CM3_ATTEND_DOCUMENT;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    cm3_train_report first = {.struct_size = sizeof first}, report = first;
    test_ok(&fixture, cm3_trainer_step(trainer, &first));
    ck_assert(first.samples >= 2 && first.tokens > 20 && first.tokens <= 96 && first.text_loss > 0 &&
              first.image_loss > 0);
    ck_assert(first.l1 == 0 && first.commitment == 0);
    for (int i = 0; i < 39; i++) test_ok(&fixture, cm3_trainer_step(trainer, &report));
    ck_assert_msg(report.loss < 0.6 * first.loss, "%g, %g", first.loss, report.loss);
    cm3_train_report measured = {.struct_size = sizeof measured}, again = measured;
    test_ok(&fixture, cm3_trainer_validate(trainer, &measured));
    test_ok(&fixture, cm3_trainer_validate(trainer, &again));
    ck_assert(measured.loss == again.loss && measured.loss > 0 && measured.loss < 0.7 * first.loss);
    ck_assert(measured.step == 40);
    cm3_trainer_destroy(trainer);
}
END_TEST

/** With spans moved to the end: the model learns these documents, too, and the numbers are the same every time. */
START_TEST(learns_to_fill_in) {
    run.lm.attend = _i % 2 ? CM3_ATTEND_BLOCK : CM3_ATTEND_DOCUMENT;
    run.lm.masking = _i / 2 ? CM3_MASKING_PAPER : CM3_MASKING_CODE;
    double losses[2][60];
    for (int i = 0; i < 2; i++) {
        run.options.resume = 0;
        cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
        test_steps(&fixture, trainer, 60, losses[i]);
        cm3_trainer_destroy(trainer);
    }
    ck_assert_mem_eq(losses[0], losses[1], sizeof losses[0]);
    ck_assert_msg(losses[0][59] < 0.7 * losses[0][0], "%g, %g", losses[0][0], losses[0][59]);
    run.lm.masking = CM3_MASKING_NONE;
    run.options.resume = 0;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 1, losses[1]);
    ck_assert_msg(losses[1][0] != losses[0][0], "nothing was moved");
    cm3_trainer_destroy(trainer);
}
END_TEST

START_TEST(seeds) {
    double losses[3][4];
    for (int i = 0; i < 3; i++) {
        run.options.resume = 0;
        run.options.seed = i == 2 ? 2 : 1;
        cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
        test_steps(&fixture, trainer, 4, losses[i]);
        cm3_trainer_destroy(trainer);
    }
    ck_assert_mem_eq(losses[0], losses[1], sizeof losses[0]);
    ck_assert_mem_ne(losses[0], losses[2], sizeof losses[0]);
}
END_TEST

/** Of an exported model: the loss over a document, from its plain forward pass. */
static double loss_by_logits(const cm3_model *model, const int32_t *ids, size_t count) {
    size_t vocab = (size_t)model->lm->config.vocab_size;
    float *logits = malloc(count * vocab * sizeof *logits);
    test_ok(&fixture, cm3_model_logits(model, ids, count, CM3_COMPUTE_F32, logits));
    double sum = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        double total = 0;
        for (size_t k = 0; k < vocab; k++) total += exp((double)logits[i * vocab + k]);
        sum += log(total) - (double)logits[i * vocab + (size_t)ids[i + 1]];
    }
    free(logits);
    return sum / (double)(count - 1);
}

typedef struct logits_case {
    const cm3_trainer *trainer;
    const cm3_model *model;
} logits_case;

/** The forward pass as training makes it, two documents in one block, against the plain one of the exported model. */
static void compare_logits(cm3_graph *graph, void *arg) {
    const logits_case *c = arg;
    const cm3_lm *lm = c->model->lm;
    enum { LENGTH = 9 };
    int32_t ids[2 * LENGTH], positions[2 * LENGTH], starts[2 * LENGTH];
    for (int i = 0; i < 2 * LENGTH; i++) {
        ids[i] = (i * 37 + 5) % lm->config.vocab_size;
        positions[i] = i % LENGTH;
        starts[i] = i / LENGTH * LENGTH;
    }
    cm3_lm trained = *lm; /* the same network over the trainer's own weights */
    cm3_lm_batch batch = {.rows = 2 * LENGTH, .ids = ids, .positions = positions, .plan = {.first = starts}};
    size_t vocab = (size_t)lm->config.vocab_size;
    for (size_t i = 0; i < c->trainer->optimizer.count; i++) {
        const cm3_optimized *p = &c->trainer->optimizer.parameters[i];
        ck_assert_str_eq(p->name, trained.parameters[i].name);
        ck_assert_int_eq(p->tensor->count, trained.parameters[i].tensor->count);
        ck_assert(
            memcmp(p->tensor->data, trained.parameters[i].tensor->data, (size_t)p->tensor->count * sizeof(float)) == 0);
        trained.parameters[i].tensor->wants_grad = true; /* so that it goes the way of training */
    }
    cm3_tensor *logits = cm3_lm_forward(graph, &trained, &batch);
    ck_assert_ptr_nonnull(logits);
    ck_assert(logits->wants_grad);
    float *plain = malloc(LENGTH * vocab * sizeof *plain);
    for (int i = 0; i < 2; i++) {
        test_ok(&fixture, cm3_model_logits(c->model, ids + i * LENGTH, LENGTH, CM3_COMPUTE_F32, plain));
        for (size_t k = 0; k < LENGTH * vocab; k++) {
            ck_assert_float_eq_tol(cm3_f32(logits)[(size_t)i * LENGTH * vocab + k], plain[k], 1e-5f);
        }
    }
    free(plain);
}

START_TEST(exported_logits) {
    run.lm.caption_dropout = 0;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 5, NULL);
    const char *path = test_path(&fixture, "lm.cm3");
    test_ok(&fixture, cm3_trainer_export(trainer, path, CM3_COMPUTE_F32));
    cm3_model *model;
    test_ok(&fixture, cm3_model_load(fixture.context, path, NULL, &model));
    logits_case c = {trainer, model};
    test_on_graph(&fixture, compare_logits, &c);
    cm3_trainer_destroy(trainer);

    /* Begun from that file, the first loss over one document is what its logits say. */
    test_single_shard(&fixture, run.shard, "1.json", "{\"text\": \"a red ball\", \"codes\": [0, 1, 2, 7]}");
    run.options.resume = 0;
    run.options.batch_size = 1;
    run.lm.block_size = 23;
    run.lm.init = path;
    cm3_tokenizer *tokenizer;
    test_ok(&fixture, cm3_model_tokenizer(model, &tokenizer));
    int32_t ids[64], codes[] = {0, 1, 2, 7};
    size_t count, used = 1;
    test_ok(&fixture, cm3_tokenizer_special(tokenizer, CM3_TOKEN_EOD, 0, &ids[0]));
    test_ok(&fixture, cm3_tokenizer_encode(tokenizer, "a red ball", 10, CM3_ENCODE_PLAIN, ids + 1, 32, &count));
    used += count;
    test_ok(&fixture, cm3_tokenizer_special(tokenizer, CM3_TOKEN_BREAK, 0, &ids[used++]));
    for (int i = 0; i < 4; i++)
        test_ok(&fixture, cm3_tokenizer_special(tokenizer, CM3_TOKEN_IMAGE, codes[i], &ids[used++]));
    ids[used++] = ids[0];
    ck_assert_uint_gt(2 * used, 23); /* a block holds one of them */
    double loss;
    trainer = test_lm_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 1, &loss);
    ck_assert_double_eq_tol(loss, loss_by_logits(model, ids, used), 1e-5);
    cm3_trainer_destroy(trainer);
    cm3_tokenizer_destroy(tokenizer);
    cm3_model_destroy(model);
}
END_TEST

/** Documents that are longer than the model's context are cut, not refused in the midst of the run. */
START_TEST(longer_than_context) {
    run.lm.config_json = "{\"hidden_size\": 32, \"layers\": 1, \"heads\": 4, \"ffn_size\": 32, \"max_positions\": 8}";
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    cm3_train_report report = {.struct_size = sizeof report};
    test_ok(&fixture, cm3_trainer_step(trainer, &report));
    ck_assert_uint_eq(report.tokens, 8 * report.samples);
    cm3_trainer_destroy(trainer);
}
END_TEST

/** Another tokenizer of the same size is another run. */
START_TEST(other_tokenizer) {
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 1, NULL);
    test_ok(&fixture, cm3_trainer_checkpoint(trainer));
    cm3_trainer_destroy(trainer);
    size_t size;
    char *json = test_get(run.tokenizer, &size), *place = strstr(json, "<eoss>");
    ck_assert_ptr_nonnull(place);
    for (; place; place = strstr(place, "<eoss>")) memcpy(place, "<EOSS>", 6);
    test_put(run.tokenizer, json, size);
    free(json);
    test_fails(&fixture, create(&trainer), CM3_ERROR_INVALID_ARGUMENT, "tokenizer: ");
}
END_TEST

START_TEST(records_refused) {
    cm3_trainer *trainer;
    test_single_shard(&fixture, run.shard, "high.json", "{\"text\": \"x\", \"codes\": [0, 8]}");
    test_fails(&fixture, create(&trainer), CM3_ERROR_FORMAT, "data.tar: record high: code 1 is 8");
    size_t size;
    uint8_t *png = test_png(&fixture, 1, &size);
    cm3_shard_writer *writer;
    test_ok(&fixture, cm3_shard_writer_open(fixture.context, run.shard, &writer));
    test_ok(&fixture, cm3_shard_writer_add(writer, "raw.png", png, size));
    test_ok(&fixture, cm3_shard_writer_commit(writer));
    cm3_buffer_free(fixture.context, png, size);
    test_fails(&fixture, create(&trainer), CM3_ERROR_FORMAT, "data.tar: record raw holds a picture without codes");
    test_code_shard(&fixture, run.shard, 20);
    run.lm.config_json = "{\"preset\": \"none\"}";
    test_fails(&fixture, create(&trainer), CM3_ERROR_NOT_FOUND, "none");
    run.lm.config_json = "[]";
    test_fails(&fixture, create(&trainer), CM3_ERROR_FORMAT, "not an object");
    run.lm.config_json = "{\"hidden_size\": 32, \"layers\": 2, \"heads\": 5}";
    ck_assert_int_eq(create(&trainer), CM3_ERROR_FORMAT);
    run.lm.config_json = "{\"hidden_size\": 32, \"layers\": 1, \"heads\": 4, \"ffn_size\": 32, \"max_positions\": 8}";
    run.lm.attend = CM3_ATTEND_BLOCK;
    test_fails(&fixture, create(&trainer), CM3_ERROR_INVALID_ARGUMENT, "max_positions");
    run.lm.tokenizer = "/nowhere/tokenizer.json";
    test_fails(&fixture, create(&trainer), CM3_ERROR_NOT_FOUND, "/nowhere");
}
END_TEST

Suite *lm_training_suite(void) {
    Suite *suite = suite_create("lm training");
    TCase *tcase = tcase_create("lm training");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, learns, 0, 2);
    tcase_add_loop_test(tcase, learns_to_fill_in, 0, 4);
    tcase_add_test(tcase, seeds);
    tcase_add_test(tcase, exported_logits);
    tcase_add_test(tcase, longer_than_context);
    tcase_add_test(tcase, other_tokenizer);
    tcase_add_test(tcase, records_refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
