/* Memory runs out, at every allocation in turn, while something is trained: what lies on the disk stays good. */
#include "base/status.h"
#include "suites.h"
#include "sweep.h"
#include "train/support.h"

static gen_case c;
static const int team_sizes[] = {0, 2};

typedef struct training {
    test_run run;
    bool lm;
    cm3_trainer *trainer;
    char checkpoint[200], exported[200];
    const char *validation[1];
} training;

static cm3_status create(training *t) {
    cm3_status status = t->lm ? cm3_trainer_create_lm(c.context, &t->run.options, &t->run.lm, &t->trainer)
                              : cm3_trainer_create_vq(c.context, &t->run.options, &t->run.vq, &t->trainer);
    ck_assert((t->trainer != NULL) == (status == CM3_OK));
    return status;
}

static void up(training *t, int threads, bool lm) {
    gen_up(&c, threads, 64);
    memset(t, 0, sizeof *t);
    t->lm = lm;
    if (lm) {
        test_lm_run(&c.fixture, &t->run);
    } else {
        test_vq_run(&c.fixture, &t->run);
        t->run.options.batch_size = 2;
        t->run.vq.adversarial_weight = 0.5f;
        t->run.vq.quantise_from = 0;
    }
    t->validation[0] = t->run.shard;
    t->run.options.validation = t->validation;
    t->run.options.validation_count = 1;
    t->run.options.weight_average = 0.9f;
    snprintf(t->checkpoint, sizeof t->checkpoint, "%s/checkpoint.safetensors", t->run.directory);
    snprintf(t->exported, sizeof t->exported, "%s/model.cm3", c.fixture.folder);
}

/* Before its first step, which is where all that steps need comes to be. */
static void prepare_fresh(sweep *s) {
    training *t = s->user;
    t->run.options.resume = 0;
    GEN_OK(&c, create(t));
}

/* After two steps, with a checkpoint of the first. */
static void prepare(sweep *s) {
    training *t = s->user;
    prepare_fresh(s);
    GEN_OK(&c, cm3_trainer_step(t->trainer, NULL));
    GEN_OK(&c, cm3_trainer_checkpoint(t->trainer));
    GEN_OK(&c, cm3_trainer_step(t->trainer, NULL));
}

static void release(sweep *s) {
    training *t = s->user;
    cm3_trainer_destroy(t->trainer);
    t->trainer = NULL;
}

/* A checkpoint is there: it is read. */
static cm3_status resume(sweep *s, uint64_t *sum) {
    training *t = s->user;
    t->run.options.resume = 1;
    CM3_TRY(create(t));
    int64_t steps[2];
    ck_assert_int_eq(cm3_trainer_progress(t->trainer, &steps[0], &steps[1]), CM3_OK);
    ck_assert_int_eq(steps[0], 1);
    *sum = sweep_sum_file(0, t->checkpoint);
    release(s);
    return CM3_OK;
}

/* A step that failed has done half of something; a new trainer goes on from the checkpoint. */
static cm3_status step(sweep *s, uint64_t *sum) {
    training *t = s->user;
    cm3_train_report report = {.struct_size = sizeof report};
    cm3_status status = cm3_trainer_step(t->trainer, &report);
    if (status == CM3_OK) {
        *sum = sweep_sum(sweep_sum(0, &report.loss, sizeof report.loss), &report.grad_norm, sizeof report.grad_norm);
        return CM3_OK;
    }
    char message[1024];
    snprintf(message, sizeof message, "%s", cm3_context_message(c.context));
    ck_assert_int_eq(cm3_trainer_step(t->trainer, NULL), CM3_ERROR_BUSY);
    ck_assert_int_eq(cm3_trainer_checkpoint(t->trainer), CM3_ERROR_BUSY);
    return cm3_fail(c.context, status, "%s", message); /* the first one's, for the sweep */
}

static cm3_status validate(sweep *s, uint64_t *sum) {
    training *t = s->user;
    cm3_train_report report = {.struct_size = sizeof report};
    CM3_TRY(cm3_trainer_validate(t->trainer, &report));
    *sum = sweep_sum(0, &report.loss, sizeof report.loss);
    return CM3_OK;
}

/* A file is the old one or the new one. */
static cm3_status checkpoint(sweep *s, uint64_t *sum) {
    training *t = s->user;
    test_put(t->checkpoint, "old", 3);
    uint64_t old = sweep_sum_file(0, t->checkpoint);
    cm3_status status = cm3_trainer_checkpoint(t->trainer);
    *sum = sweep_sum_file(0, t->checkpoint);
    ck_assert_int_eq(*sum == old, status != CM3_OK);
    return status;
}

static cm3_status export_model(sweep *s, uint64_t *sum) {
    training *t = s->user;
    test_put(t->exported, "old", 3);
    uint64_t old = sweep_sum_file(0, t->exported);
    cm3_status status = cm3_trainer_export(t->trainer, t->exported, CM3_COMPUTE_BF16);
    *sum = sweep_sum_file(0, t->exported);
    ck_assert_int_eq(*sum == old, status != CM3_OK);
    return status;
}

/* On which trainer an operation runs: one that it makes itself, a new one each time, or one and the same all the time.
 */
typedef enum needs { ITS_OWN, FRESH, LASTING } needs;

typedef struct operation {
    const char *name;
    cm3_status (*run)(sweep *s, uint64_t *sum);
    needs needs;
    bool spent;
} operation;

static const operation operations[] = {
    {"resume", resume, ITS_OWN, false},       {"step", step, FRESH, true},
    {"validate", validate, FRESH, false},     {"checkpoint", checkpoint, LASTING, false},
    {"export", export_model, LASTING, false},
};
#define OPERATIONS ((int)(sizeof operations / sizeof *operations))

START_TEST(trainers) {
    const operation *o = &operations[_i / 4];
    training t;
    up(&t, team_sizes[_i % 2], _i / 2 % 2);
    sweep s = {
        .c = &c, .name = o->name, .run = o->run, .spent = o->spent, .looks_ahead = true, .costly = true, .user = &t};
    prepare(&s); /* a checkpoint is there in any case */
    if (o->needs != LASTING) release(&s);
    if (o->needs == FRESH) s.prepare = prepare_fresh, s.release = release;
    sweep_run(&s);
    if (o->needs == LASTING) release(&s);
    gen_down(&c);
}
END_TEST

/* --- tools ---------------------------------------------------------------------------------------------------------
 */

static cm3_status learn_bpe(sweep *s, uint64_t *sum) {
    const training *t = s->user;
    cm3_train_bpe_options options;
    cm3_train_bpe_options_init(&options);
    options.data = t->run.data;
    options.data_count = 1;
    options.vocab_size = 262;
    options.image_codes = TEST_IMAGE_CODES;
    cm3_tokenizer *tokenizer;
    cm3_status status = cm3_train_bpe(c.context, &options, &tokenizer);
    ck_assert((tokenizer != NULL) == (status == CM3_OK));
    CM3_TRY(status);
    status = cm3_tokenizer_save(tokenizer, test_path(&c.fixture, "learnt.json"));
    if (status == CM3_OK) *sum = sweep_sum_file(0, test_path(&c.fixture, "learnt.json"));
    cm3_tokenizer_destroy(tokenizer);
    return status;
}

/* A shard is written whole or not at all. */
static cm3_status encode_shards(sweep *s, uint64_t *sum) {
    const training *t = s->user;
    const char *folder = test_path(&c.fixture, "codes"), *shard = test_path(&c.fixture, "codes/data.tar");
    unlink(shard);
    cm3_status status =
        cm3_train_encode_shards(c.context, test_path(&c.fixture, "tiny.cm3"), t->run.data, 1, folder, NULL, NULL);
    ck_assert_int_eq(access(shard, F_OK) == 0, status == CM3_OK);
    if (status == CM3_OK) *sum = sweep_sum_file(0, shard);
    return status;
}

START_TEST(data_tools) {
    training t;
    up(&t, team_sizes[_i], false);
    test_picture_shard(&c.fixture, t.run.shard, 4);
    sweep bpe = {.c = &c, .name = "bpe", .run = learn_bpe, .user = &t};
    sweep_run(&bpe);
    sweep shards = {.c = &c, .name = "encode shards", .run = encode_shards, .looks_ahead = true, .user = &t};
    sweep_run(&shards);
    gen_down(&c);
}
END_TEST

Suite *training_out_of_memory_suite(void) {
    Suite *suite = suite_create("survival/training out of memory");
    TCase *tcase = tcase_create("training out of memory");
    tcase_set_timeout(tcase, getenv("CM3_TEST_LONG") ? 7200 : 900);
    tcase_add_loop_test(tcase, trainers, 0, 4 * OPERATIONS);
    tcase_add_loop_test(tcase, data_tools, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
