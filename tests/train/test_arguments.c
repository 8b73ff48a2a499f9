/* NULL and out-of-range arguments of every function of train.h. */
#include <limits.h>
#include <math.h>

#include "support.h"

static test_fixture fixture;
static test_run run;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

#define INVALID(call) ck_assert_msg((call) == CM3_ERROR_INVALID_ARGUMENT, "%s: %s", #call, cm3_context_message(context))

START_TEST(nulls) {
    cm3_context *context = fixture.context;
    cm3_trainer *trainer;
    cm3_tokenizer *tokenizer;
    cm3_train_bpe_options bpe;
    const char *paths[] = {NULL};
    cm3_train_bpe_options_init(NULL);
    cm3_train_options_init(NULL);
    cm3_train_vq_options_init(NULL);
    cm3_train_lm_options_init(NULL);
    cm3_train_bpe_options_init(&bpe);
    INVALID(cm3_train_bpe(NULL, &bpe, &tokenizer));
    INVALID(cm3_train_bpe(context, NULL, &tokenizer));
    INVALID(cm3_train_bpe(context, &bpe, NULL));
    INVALID(cm3_train_bpe(context, &bpe, &tokenizer)); /* no data */
    bpe.data = paths;
    bpe.data_count = 1;
    INVALID(cm3_train_bpe(context, &bpe, &tokenizer));
    test_vq_run(&fixture, &run);
    INVALID(cm3_trainer_create_vq(NULL, &run.options, &run.vq, &trainer));
    INVALID(cm3_trainer_create_vq(context, NULL, &run.vq, &trainer));
    INVALID(cm3_trainer_create_vq(context, &run.options, NULL, &trainer));
    INVALID(cm3_trainer_create_vq(context, &run.options, &run.vq, NULL));
    INVALID(cm3_trainer_create_lm(NULL, &run.options, &run.lm, &trainer));
    INVALID(cm3_trainer_create_lm(context, NULL, &run.lm, &trainer));
    INVALID(cm3_trainer_create_lm(context, &run.options, NULL, &trainer));
    INVALID(cm3_trainer_create_lm(context, &run.options, &run.lm, NULL));
    INVALID(cm3_trainer_create_lm(context, &run.options, &run.lm, &trainer)); /* no configuration */
    INVALID(cm3_trainer_step(NULL, NULL));
    INVALID(cm3_trainer_validate(NULL, NULL));
    INVALID(cm3_trainer_progress(NULL, NULL, NULL));
    INVALID(cm3_trainer_checkpoint(NULL));
    INVALID(cm3_trainer_export(NULL, "x", CM3_COMPUTE_F32));
    cm3_trainer_cancel(NULL);
    cm3_trainer_destroy(NULL);
    trainer = test_vq_trainer(&fixture, &run);
    INVALID(cm3_trainer_export(trainer, NULL, CM3_COMPUTE_F32));
    INVALID(cm3_trainer_export(trainer, test_path(&fixture, "x"), (cm3_compute)3));
    test_ok(&fixture, cm3_trainer_progress(trainer, NULL, NULL));
    cm3_train_report report = {.struct_size = 0};
    INVALID(cm3_trainer_step(trainer, &report));
    report.struct_size = 2 * sizeof(int64_t); /* an older caller's: nothing behind it is touched */
    report.steps = -7;
    test_ok(&fixture, cm3_trainer_step(trainer, &report));
    ck_assert(report.step >= 1 && report.steps == -7);
    cm3_trainer_destroy(trainer);
    const char *data[] = {run.shard};
    INVALID(cm3_train_encode_shards(NULL, "a", data, 1, "b", NULL, NULL));
    INVALID(cm3_train_encode_shards(context, NULL, data, 1, "b", NULL, NULL));
    INVALID(cm3_train_encode_shards(context, "a", NULL, 1, "b", NULL, NULL));
    INVALID(cm3_train_encode_shards(context, "a", data, 0, "b", NULL, NULL));
    INVALID(cm3_train_encode_shards(context, "a", paths, 1, "b", NULL, NULL));
    INVALID(cm3_train_encode_shards(context, "a", data, 1, NULL, NULL, NULL));
    ck_assert_int_eq(cm3_train_encode_shards(context, "/nowhere.cm3", data, 1, fixture.folder, NULL, NULL),
                     CM3_ERROR_NOT_FOUND);
}
END_TEST

/** Sets one field of fresh options to a value that must be refused, with a message that names it. */
#define REFUSED(place, value, word)                                                                                    \
    do {                                                                                                               \
        test_run own = run;                                                                                            \
        own.options.run_dir = run.directory;                                                                           \
        own.place = (value);                                                                                           \
        cm3_trainer *none = (cm3_trainer *)&own;                                                                       \
        cm3_status refused = lm ? cm3_trainer_create_lm(context, &own.options, &own.lm, &none)                         \
                                : cm3_trainer_create_vq(context, &own.options, &own.vq, &none);                        \
        ck_assert_msg(refused == CM3_ERROR_INVALID_ARGUMENT && !none, "%s: %d", #place, (int)refused);                 \
        ck_assert_msg(strstr(cm3_context_message(context), word) != NULL, "%s", cm3_context_message(context));         \
    } while (0)

START_TEST(ranges) {
    cm3_context *context = fixture.context;
    bool lm = false;
    test_vq_run(&fixture, &run);
    REFUSED(options.struct_size, 0, "cm3_train_options");
    REFUSED(options.run_dir, NULL, "run_dir");
    REFUSED(options.run_dir, "", "run_dir");
    REFUSED(options.data, NULL, "data");
    REFUSED(options.data_count, 0, "data");
    REFUSED(options.validation_count, 1, "validation");
    REFUSED(options.compute, (cm3_compute)7, "compute");
    REFUSED(options.batch_size, 0, "batch_size");
    REFUSED(options.batch_size, INT32_MAX, "batch_size");
    REFUSED(options.accumulation, 0, "accumulation");
    REFUSED(options.steps, 0, "steps");
    REFUSED(options.warmup, -1, "warmup");
    REFUSED(options.lr, 0, "lr");
    REFUSED(options.lr, NAN, "lr");
    REFUSED(options.lr, INFINITY, "lr");
    REFUSED(options.min_lr_ratio, 1.5f, "min_lr_ratio");
    REFUSED(options.schedule, (cm3_schedule)0, "schedule");
    REFUSED(options.beta1, 1, "beta1");
    REFUSED(options.beta2, -0.1f, "beta2");
    REFUSED(options.epsilon, 0, "epsilon");
    REFUSED(options.weight_decay, -1, "weight_decay");
    REFUSED(options.clip_norm, NAN, "clip_norm");
    REFUSED(options.weight_average, 1, "weight_average");
    REFUSED(vq.struct_size, 1, "cm3_train_vq_options");
    REFUSED(vq.config_json, NULL, "config_json");
    REFUSED(vq.l1_weight, -1, "l1_weight");
    REFUSED(vq.l2_weight, NAN, "l2_weight");
    REFUSED(vq.commitment, -1, "commitment");
    REFUSED(vq.codebook_decay, 1, "codebook_decay");
    REFUSED(vq.revival_threshold, NAN, "revival_threshold");
    REFUSED(vq.quantise_from, -1, "quantise_from");
    REFUSED(vq.adversarial_weight, -1, "adversarial_weight");
    REFUSED(vq.adversarial_weight, INFINITY, "adversarial_weight");
    REFUSED(vq.adversarial_from, -1, "adversarial_from");
    test_lm_run(&fixture, &run);
    lm = true;
    REFUSED(lm.struct_size, 1, "cm3_train_lm_options");
    REFUSED(lm.config_json, NULL, "config_json");
    REFUSED(lm.tokenizer, NULL, "tokenizer");
    REFUSED(lm.block_size, 1, "block_size");
    REFUSED(lm.block_size, INT32_MAX, "block_size");
    REFUSED(lm.caption_dropout, 1.5f, "caption_dropout");
    REFUSED(lm.caption_dropout, NAN, "caption_dropout");
    REFUSED(lm.text_weight, 0, "text_weight");
    REFUSED(lm.text_weight, NAN, "text_weight");
    REFUSED(lm.attend, (cm3_attend)0, "attend");
    REFUSED(lm.masking, (cm3_masking)3, "masking");
    cm3_trainer *trainer;
    run.options.run_dir = run.shard;
    ck_assert_int_eq(cm3_trainer_create_lm(context, &run.options, &run.lm, &trainer), CM3_ERROR_IO);
    ck_assert(test_says(&fixture, "directory"));
}
END_TEST

START_TEST(bpe_ranges) {
    cm3_context *context = fixture.context;
    const char *path = test_path(&fixture, "a.tar");
    test_code_shard(&fixture, path, 2);
    static const int32_t values[][4] = {{255, 0, 16, 2}, {1 << 21, 0, 16, 2}, {300, -1, 16, 2}, {300, 1 << 21, 16, 2},
                                        {300, 0, 15, 2}, {300, 0, 513, 2},    {300, 0, 16, 0}};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        cm3_train_bpe_options options;
        cm3_train_bpe_options_init(&options);
        options.data = &path;
        options.data_count = 1;
        options.vocab_size = values[i][0];
        options.image_codes = values[i][1];
        options.sentinels = values[i][2];
        options.min_frequency = values[i][3];
        cm3_tokenizer *tokenizer = (cm3_tokenizer *)&options;
        INVALID(cm3_train_bpe(context, &options, &tokenizer));
        ck_assert_ptr_null(tokenizer);
    }
}
END_TEST

Suite *arguments_suite(void) {
    Suite *suite = suite_create("arguments");
    TCase *tcase = tcase_create("arguments");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, nulls);
    tcase_add_test(tcase, ranges);
    tcase_add_test(tcase, bpe_ranges);
    suite_add_tcase(suite, tcase);
    return suite;
}
