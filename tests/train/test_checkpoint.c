/* Checkpoints: going on as if nothing had happened, killed while writing, damaged, foreign, and no room. */
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support.h"

static test_fixture fixture;
static test_run run;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_trainer *make(bool lm) {
    return lm ? test_lm_trainer(&fixture, &run) : test_vq_trainer(&fixture, &run);
}

static cm3_status create_vq(cm3_trainer **trainer) {
    return cm3_trainer_create_vq(fixture.context, &run.options, &run.vq, trainer);
}

/** Exported files of the two trainers are equal, byte for byte. */
static void same_models(cm3_trainer *a, cm3_trainer *b) {
    size_t size_a, size_b;
    test_ok(&fixture, cm3_trainer_export(a, test_path(&fixture, "a.cm3"), CM3_COMPUTE_F32));
    test_ok(&fixture, cm3_trainer_export(b, test_path(&fixture, "b.cm3"), CM3_COMPUTE_F32));
    char *one = test_get(test_path(&fixture, "a.cm3"), &size_a), *two = test_get(test_path(&fixture, "b.cm3"), &size_b);
    ck_assert_uint_eq(size_a, size_b);
    ck_assert(memcmp(one, two, size_a) == 0);
    free(one);
    free(two);
}

/** 0: VQ, 1: VQ with discriminator and average, 2: VQ with learned codebook, 3: LM, 4: LM with accumulation and
 * average. */
static void prepare(int which) {
    (which >= 3 ? test_lm_run : test_vq_run)(&fixture, &run);
    run.vq.adversarial_weight = which == 1 ? 0.5f : 0;
    run.vq.adversarial_from = 3;
    run.vq.learned_codebook = which == 2;
    run.options.weight_average = which == 1 || which == 4 ? 0.9f : 0;
    run.options.accumulation = which == 4 ? 2 : 1;
}

START_TEST(resume) {
    prepare(_i);
    double straight[8], parted[8];
    cm3_trainer *whole = make(_i >= 3);
    test_steps(&fixture, whole, 8, straight);
    snprintf(run.directory, sizeof run.directory, "%s/parted", fixture.folder);
    cm3_trainer *first = make(_i >= 3);
    test_steps(&fixture, first, 4, parted);
    test_ok(&fixture, cm3_trainer_checkpoint(first));
    test_steps(&fixture, first, 2, NULL); /* lost */
    cm3_trainer_destroy(first);
    cm3_trainer *second = make(_i >= 3);
    int64_t step, steps;
    test_ok(&fixture, cm3_trainer_progress(second, &step, &steps));
    ck_assert(step == 4 && steps == 40);
    test_steps(&fixture, second, 4, parted + 4);
    for (int i = 0; i < 8; i++) ck_assert_msg(straight[i] == parted[i], "%d: %.17g, %.17g", i, straight[i], parted[i]);
    same_models(whole, second);
    cm3_trainer_destroy(whole);
    cm3_trainer_destroy(second);
    run.options.resume = 0;
    second = make(_i >= 3);
    test_ok(&fixture, cm3_trainer_progress(second, &step, NULL));
    ck_assert_int_eq(step, 0);
    cm3_trainer_destroy(second);
}
END_TEST

/** In a child, which must have a context of its own. */
static void write_for_ever(void) {
    cm3_context *context;
    cm3_trainer *trainer;
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    if (cm3_context_create(&options, &context) != CM3_OK) _exit(3);
    if (cm3_trainer_create_vq(context, &run.options, &run.vq, &trainer) != CM3_OK) _exit(4);
    while (cm3_trainer_checkpoint(trainer) == CM3_OK) continue;
    _exit(5);
}

/** A child that writes checkpoints without end is killed at some moment; what is there then can be read, and goes on
 * alike. */
START_TEST(killed_while_writing) {
    prepare(0);
    cm3_trainer *trainer = make(false);
    test_steps(&fixture, trainer, 3, NULL);
    test_ok(&fixture, cm3_trainer_checkpoint(trainer));
    cm3_trainer_destroy(trainer);
    for (int i = 0; i < 4; i++) {
        fflush(NULL);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            write_for_ever();
        }
        usleep(60000 + 7013 * (useconds_t)i);
        ck_assert_int_eq(kill(child, SIGKILL), 0);
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFSIGNALED(status), "the child ended by itself: %d", status);
        test_ok(&fixture, create_vq(&trainer));
        int64_t step;
        test_ok(&fixture, cm3_trainer_progress(trainer, &step, NULL));
        ck_assert_int_eq(step, 3);
        cm3_trainer_destroy(trainer);
    }
}
END_TEST

static void write_one(void) {
    prepare(0);
    cm3_trainer *trainer = make(false);
    test_steps(&fixture, trainer, 3, NULL);
    test_ok(&fixture, cm3_trainer_checkpoint(trainer));
    cm3_trainer_destroy(trainer);
}

START_TEST(damaged) {
    write_one();
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", run.directory);
    size_t size;
    char *good = test_get(path, &size), *bad = malloc(size);
    cm3_trainer *trainer;
    static const double cuts[] = {0, 0.001, 0.3, 0.999};
    for (size_t i = 0; i < sizeof cuts / sizeof *cuts; i++) {
        test_put(path, good, (size_t)((double)size * cuts[i]));
        ck_assert_int_ne(create_vq(&trainer), CM3_OK);
        ck_assert_ptr_null(trainer);
        ck_assert(test_says(&fixture, "checkpoint.safetensors"));
    }
    for (int i = 0; i < 20; i++) {
        memcpy(bad, good, size);
        bad[size - 1 - (size_t)i * 97] ^= 0x10; /* in the data */
        test_put(path, bad, size);
        test_fails(&fixture, create_vq(&trainer), CM3_ERROR_CHECKSUM, "checkpoint.safetensors");
    }
    char *numbers = memcpy(bad, good, size);
    numbers = memmem(numbers, size, "\"numbers\":\"[", 12);
    ck_assert_ptr_nonnull(numbers);
    static const char digits[] = {'-', '7'}; /* a count below 0, and one that could be true */
    for (size_t i = 0; i < sizeof digits; i++) {
        numbers[12] = digits[i];
        test_put(path, bad, size);
        test_fails(&fixture, create_vq(&trainer), CM3_ERROR_CHECKSUM, "settings and numbers");
    }
    /* What cannot be looked at is not taken for absent: a fresh run would write over it. */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_int_eq(symlink(path, path), 0);
    ck_assert_int_ne(create_vq(&trainer), CM3_OK);
    ck_assert_int_eq(unlink(path), 0);
    test_put(path, good, size);
    test_ok(&fixture, create_vq(&trainer));
    cm3_trainer_destroy(trainer);
    free(good);
    free(bad);
}
END_TEST

START_TEST(foreign) {
    write_one();
    cm3_trainer *trainer;
    run.options.lr = 4e-3f;
    run.options.seed = 9;
    test_fails(&fixture, create_vq(&trainer), CM3_ERROR_INVALID_ARGUMENT, "lr: 0.004");
    ck_assert(test_says(&fixture, "seed: 9 now, 1 then"));
    run.options.lr = 3e-3f;
    run.options.seed = 1;
    run.vq.commitment = 1;
    test_fails(&fixture, create_vq(&trainer), CM3_ERROR_INVALID_ARGUMENT, "commitment");
    run.vq.commitment = 0.25f;
    test_picture_shard(&fixture, run.shard, 31);
    test_fails(&fixture, create_vq(&trainer), CM3_ERROR_INVALID_ARGUMENT, "records: 31 now, 32 then");
    ck_assert(test_says(&fixture, "data: "));
    /* Of another kind, and none at all. */
    test_run lm;
    test_lm_run(&fixture, &lm);
    ck_assert_int_eq(cm3_trainer_create_lm(fixture.context, &lm.options, &lm.lm, &trainer), CM3_ERROR_FORMAT);
    ck_assert(test_says(&fixture, "not a checkpoint of a 'lm' run"));
    test_picture_shard(&fixture, run.shard, 32);
    test_ok(&fixture, create_vq(&trainer)); /* nothing was changed */
    cm3_trainer_destroy(trainer);
}
END_TEST

START_TEST(disk_full) {
    write_one();
    cm3_trainer *trainer;
    test_ok(&fixture, create_vq(&trainer));
    test_steps(&fixture, trainer, 1, NULL);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 16384, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    cm3_status status = cm3_trainer_checkpoint(trainer),
               export = cm3_trainer_export(trainer, test_path(&fixture, "m.cm3"), CM3_COMPUTE_F32);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    ck_assert_msg(status == CM3_ERROR_IO || status == CM3_ERROR_NO_SPACE, "%d", (int)status);
    ck_assert_msg(export == CM3_ERROR_IO || export == CM3_ERROR_NO_SPACE, "%d", (int)export);
    ck_assert_int_ne(access(test_path(&fixture, "m.cm3"), F_OK), 0);
    cm3_trainer *other;
    test_ok(&fixture, create_vq(&other)); /* the old one is whole */
    int64_t step;
    test_ok(&fixture, cm3_trainer_progress(other, &step, NULL));
    ck_assert_int_eq(step, 3);
    cm3_trainer_destroy(other);
    test_ok(&fixture, cm3_trainer_checkpoint(trainer)); /* and with room again it is replaced */
    cm3_trainer_destroy(trainer);
    test_ok(&fixture, create_vq(&trainer));
    test_ok(&fixture, cm3_trainer_progress(trainer, &step, NULL));
    ck_assert_int_eq(step, 4);
    cm3_trainer_destroy(trainer);
}
END_TEST

Suite *checkpoint_suite(void) {
    Suite *suite = suite_create("checkpoint");
    TCase *tcase = tcase_create("checkpoint");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, resume, 0, 5);
    tcase_add_test(tcase, killed_while_writing);
    tcase_add_test(tcase, damaged);
    tcase_add_test(tcase, foreign);
    tcase_add_test(tcase, disk_full);
    suite_add_tcase(suite, tcase);
    return suite;
}
