/* Training the image tokenizer: it learns, the same every time, with and without a discriminator, and stops where it
 * must. */
#include <math.h>
#include <pthread.h>
#include <unistd.h>

#include "support.h"

static test_fixture fixture;
static test_run run;

static void up(void) {
    test_fixture_up(&fixture);
    test_vq_run(&fixture, &run);
}

static void down(void) {
    test_fixture_down(&fixture);
}

START_TEST(learns) {
    const char *validation[] = {run.shard};
    run.options.validation = validation;
    run.options.validation_count = 1;
    run.vq.learned_codebook = _i;
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    cm3_train_report first = {.struct_size = sizeof first}, report = first;
    test_ok(&fixture, cm3_trainer_step(trainer, &first));
    ck_assert(first.step == 1 && first.steps == 40 && first.samples == 4 && first.lr > 0 && first.grad_norm > 0);
    ck_assert_double_eq_tol(first.loss, first.l1 + first.l2, 1e-5 * first.loss);
    ck_assert(first.commitment == 0 && first.adversarial == 0 && first.discriminator == 0 && first.tokens == 0);
    for (int i = 0; i < 39; i++) test_ok(&fixture, cm3_trainer_step(trainer, &report));
    ck_assert_msg(report.loss < 0.6 * first.loss, "%g, %g", first.loss, report.loss);
    ck_assert(report.code_usage > 0 && report.code_usage <= 1 && report.commitment > 0);
    ck_assert(report.step == 40 && report.samples == 160 && report.seconds > 0 && report.rate > 0);
    cm3_train_report measured = {.struct_size = sizeof measured}, again = measured;
    test_ok(&fixture, cm3_trainer_validate(trainer, &measured));
    test_ok(&fixture, cm3_trainer_validate(trainer, &again));
    ck_assert(measured.loss == again.loss && measured.loss > 0 && measured.loss < 0.7 * first.loss);
    cm3_trainer_destroy(trainer);
}
END_TEST

/** Losses of 6 steps with a discriminator from step 2 on; `threads` of the context. */
static void adversarial_losses(double *losses, double *own) {
    run.options.resume = 0;
    run.vq.adversarial_weight = 0.8f;
    run.vq.adversarial_from = 2;
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    for (int i = 0; i < 6; i++) {
        cm3_train_report report = {.struct_size = sizeof report};
        test_ok(&fixture, cm3_trainer_step(trainer, &report));
        losses[i] = report.loss;
        own[i] = report.discriminator;
        ck_assert_int_eq(report.discriminator > 0, i >= 2);
        ck_assert_int_eq(report.adversarial != 0, i >= 2);
    }
    cm3_trainer_destroy(trainer);
}

START_TEST(adversarial) {
    double a[6], b[6], own_a[6], own_b[6], plain[6];
    adversarial_losses(a, own_a);
    adversarial_losses(b, own_b);
    ck_assert_mem_eq(a, b, sizeof a);
    ck_assert_mem_eq(own_a, own_b, sizeof own_a);
    ck_assert_msg(fabs(own_a[2] - 1) < 0.2, "%g", own_a[2]); /* a fresh one scores about 0: the hinge loss is about 1 */
    ck_assert(own_a[5] < own_a[2]);
    run.vq.adversarial_weight = 0;
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 6, plain);
    cm3_trainer_destroy(trainer);
    ck_assert(plain[0] == a[0] && plain[1] == a[1] && plain[3] != a[3]); /* it counts from step 2 on, and does count */
}
END_TEST

START_TEST(seeds) {
    double a[4], b[4];
    for (int i = 0; i < 3; i++) {
        run.options.resume = 0;
        run.options.seed = i == 2 ? 2 : 1;
        cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
        test_steps(&fixture, trainer, 4, i == 0 ? a : b);
        cm3_trainer_destroy(trainer);
        ck_assert_int_eq(memcmp(a, b, sizeof a) == 0, i == 1 || (i == 0 && memcmp(a, b, sizeof a) == 0));
    }
}
END_TEST

/** With a learning rate out of all reason the run ends by an error that names the step, and keeps what it had. */
START_TEST(not_finite) {
    run.options.lr = 9.9f;
    run.options.weight_decay = 99; /* each step makes the weights a thousand times as large */
    run.options.clip_norm = 0;
    run.options.warmup = 0;
    run.options.steps = 4000;
    run.vq.quantise_from = 4000;
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run), *other;
    test_ok(&fixture, cm3_trainer_checkpoint(trainer));
    cm3_status status = CM3_OK;
    int step = 0;
    for (; step < 60 && status == CM3_OK; step++) status = cm3_trainer_step(trainer, NULL);
    char words[32];
    snprintf(words, sizeof words, "step %d: the", step);
    test_fails(&fixture, status, CM3_ERROR_FORMAT, words);
    ck_assert(test_says(&fixture, "not finite"));
    test_fails(&fixture, cm3_trainer_step(trainer, NULL), CM3_ERROR_BUSY, "make the trainer anew");
    test_fails(&fixture, cm3_trainer_checkpoint(trainer), CM3_ERROR_BUSY, "not worth keeping");
    cm3_trainer_destroy(trainer);
    test_ok(&fixture, cm3_trainer_create_vq(fixture.context, &run.options, &run.vq, &other));
    cm3_trainer_destroy(other);
}
END_TEST

START_TEST(export_and_records) {
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 3, NULL);
    const char *path = test_path(&fixture, "vq.cm3");
    for (int i = 1; i <= 2; i++) {
        cm3_model *model;
        cm3_model_info info = {.struct_size = sizeof info};
        test_ok(&fixture, cm3_trainer_export(trainer, path, (cm3_compute)i));
        test_ok(&fixture, cm3_model_load(fixture.context, path, NULL, &model));
        test_ok(&fixture, cm3_model_get_info(model, &info));
        ck_assert_uint_eq(info.parts, CM3_PART_VQ);
        cm3_model_destroy(model);
    }
    test_fails(&fixture, cm3_trainer_validate(trainer, NULL), CM3_ERROR_NOT_FOUND, "no validation data");
    cm3_trainer_destroy(trainer);
    test_single_shard(&fixture, run.shard, "bare.txt", "a caption without a picture");
    test_fails(&fixture, cm3_trainer_create_vq(fixture.context, &run.options, &run.vq, &trainer), CM3_ERROR_FORMAT,
               "data.tar: record bare has no picture");
    test_single_shard(&fixture, run.shard, "broken.png", "this is not a picture");
    trainer = test_vq_trainer(&fixture, &run);
    ck_assert_int_ne(cm3_trainer_step(trainer, NULL), CM3_OK);
    ck_assert_msg(test_says(&fixture, "data.tar: record broken"), "%s", cm3_context_message(fixture.context));
    cm3_trainer_destroy(trainer);
}
END_TEST

static void *cancel_soon(void *trainer) {
    usleep(20000);
    cm3_trainer_cancel(trainer);
    return NULL;
}

START_TEST(cancelled) {
    run.options.steps = 100000;
    run.vq.adversarial_weight = 1;
    cm3_trainer *trainer = test_vq_trainer(&fixture, &run);
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, trainer), 0);
    cm3_status status = CM3_OK;
    for (int i = 0; i < 100000 && status == CM3_OK; i++) status = cm3_trainer_step(trainer, NULL);
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
    test_fails(&fixture, status, CM3_ERROR_CANCELLED, "cancelled");
    cm3_trainer_destroy(trainer);
}
END_TEST

/** Every allocation in turn fails: the status says so, and nothing is lost. */
START_TEST(out_of_memory) {
    run.vq.adversarial_weight = 1;
    for (int64_t n = 0;; n += n < 60 ? 1 : 37) {
        cm3_trainer *trainer;
        test_allocator_fail(&fixture.memory, n, 1);
        cm3_status status = cm3_trainer_create_vq(fixture.context, &run.options, &run.vq, &trainer);
        test_allocator_fail(&fixture.memory, -1, 0);
        if (status == CM3_OK) {
            cm3_trainer_destroy(trainer);
            if (n > 300) break; /* past all that is needed */
            continue;
        }
        ck_assert_msg(status == CM3_ERROR_NO_MEMORY, "%lld: %d, %s", (long long)n, (int)status,
                      cm3_context_message(fixture.context));
        ck_assert_ptr_null(trainer);
    }
}
END_TEST

Suite *vq_training_suite(void) {
    Suite *suite = suite_create("vq training");
    TCase *tcase = tcase_create("vq training");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, learns, 0, 2);
    tcase_add_test(tcase, adversarial);
    tcase_add_test(tcase, seeds);
    tcase_add_test(tcase, not_finite);
    tcase_add_test(tcase, export_and_records);
    tcase_add_test(tcase, cancelled);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
