/* What several ranks survive: one that is gone, out of memory, cancelled, not a number, or has something else before
 * it. None waits for ever, and all tell the same. */
#include <math.h>
#include <signal.h>
#include <sys/resource.h>

#include "base/random.h"
#include "ranks.h"
#include "train/agreement.h"

static test_fixture fixture;
static test_plan plan;
static test_world world;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static void run_ranks(int size) {
    test_world_init(&world, size);
    test_world_run(&world, test_plan_body, &plan);
}

/* --- gone ----------------------------------------------------------------------------------------------------------
 */

START_TEST(killed) {
    test_plan_make(&fixture, _i % 2 ? TEST_ADVERSARIAL : TEST_LM, &plan);
    plan.save_every = 2;
    plan.until = 8;
    run_ranks(2);
    test_world_ended(&world, CM3_OK, NULL);
    const double straight = world.ranks[0].losses[7];
    const int64_t calls = world.ranks[0].calls;
    char path[256];
    snprintf(path, sizeof path, "%s/checkpoint.safetensors", plan.run.directory);
    for (int round = 0; round < 5; round++) { /* of four rounds of this test: 20 moments */
        unlink(path);
        test_world_init(&world, 2);
        cm3_random random = cm3_random_make(7, (uint64_t)(10 * _i + round));
        test_rank *victim = &world.ranks[cm3_random_below(&random, 2)];
        victim->die_at = (int64_t)cm3_random_below(&random, (uint64_t)calls);
        test_world_run(&world, test_plan_body, &plan);
        test_world_ended(&world, CM3_ERROR_IO, "processes");
        for (int r = 0; r < 2; r++) ck_assert_int_eq(world.ranks[r].aborted, 1);
        const int then = round % 2 ? 1 : 4;
        run_ranks(then);
        test_world_ended(&world, CM3_OK, NULL);
        if (world.ranks[0].steps == 0) continue; /* it died once the last checkpoint was there */
        ck_assert_double_eq_tol(world.ranks[0].losses[7], straight, 1e-4 * straight);
    }
}
END_TEST

/* --- in trouble ----------------------------------------------------------------------------------------------------
 */

static void cancel_second(test_rank *rank, cm3_trainer *trainer) {
    if (rank == &rank->world->ranks[1] && rank->step == 3) cm3_trainer_cancel(trainer);
}

START_TEST(cancelled) {
    test_plan_make(&fixture, (test_kind)_i, &plan);
    plan.before_step = cancel_second; /* in step 3 the codebook is laid */
    plan.save_every = 2;
    run_ranks(2);
    test_world_ended(&world, CM3_ERROR_CANCELLED, "rank 1: the call was cancelled");
    ck_assert(world.ranks[0].steps == 2 && world.ranks[0].aborted == 0);
    plan.before_step = NULL;
    plan.until = 5;
    run_ranks(4);
    test_world_ended(&world, CM3_OK, NULL);
    ck_assert_int_eq(world.ranks[3].steps, 5);
}
END_TEST

/** Rank 1 has no memory from its n-th allocation on: both tell of it, or neither has noticed. */
static int64_t starve_at;

static void starve(test_rank *rank, test_plan *own) {
    (void)own;
    if (rank == &rank->world->ranks[1]) test_allocator_fail(&rank->memory, starve_at, INT64_MAX);
}

START_TEST(out_of_memory) {
    test_plan_make(&fixture, (test_kind)_i, &plan);
    const char *validation[] = {plan.run.shard};
    plan.run.options.validation = validation;
    plan.run.options.validation_count = 1;
    plan.run.vq.quantise_from = 1;
    plan.validates = plan.exports = true;
    plan.save_every = 2;
    plan.until = 4;
    plan.run.options.resume = 0;
    run_ranks(2);
    test_world_ended(&world, CM3_OK, NULL);
    const int64_t all = atomic_load(&world.ranks[1].memory.calls);
    plan.vary = starve;
    int starved = 0;
    for (int64_t n = 0; n < all; n += 1 + all / 24) {
        test_world_init(&world, 2);
        starve_at = n;
        test_world_run(&world, test_plan_body, &plan);
        ck_assert_msg(world.ranks[0].status == world.ranks[1].status, "%lld: %d (%s), %d (%s)", (long long)n,
                      (int)world.ranks[0].status, world.ranks[0].message, (int)world.ranks[1].status,
                      world.ranks[1].message);
        if (world.ranks[0].status == CM3_OK) continue;
        test_world_ended(&world, CM3_ERROR_NO_MEMORY, "rank 1: ");
        starved++;
    }
    ck_assert_int_gt(starved, 5);
}
END_TEST

START_TEST(full_disk) {
    test_plan_make(&fixture, TEST_LM, &plan);
    plan.until = plan.save_every = 2;
    run_ranks(2);
    test_world_ended(&world, CM3_OK, NULL);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, small;
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){.rlim_cur = 65536, .rlim_max = old.rlim_max};
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
    plan.until = 4;
    run_ranks(4);
    ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
    test_world_ended(&world, world.ranks[0].status, "rank 0: ");
    ck_assert(world.ranks[0].status == CM3_ERROR_IO || world.ranks[0].status == CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(world.ranks[2].aborted, 0);
    run_ranks(2); /* from the old one, which is whole */
    test_world_ended(&world, CM3_OK, NULL);
    ck_assert_int_eq(world.ranks[1].steps, 4);
}
END_TEST

/* --- not a number --------------------------------------------------------------------------------------------------
 */

/** Steps poisoned on rank 1, how many in a row may be left out, and how it ends. */
static const struct {
    int64_t from, to;
    int32_t allowed;
    cm3_status status;
    int64_t steps;
} poisons[] = {
    {3, 4, 0, CM3_ERROR_FORMAT, 2},
    {3, 5, 2, CM3_OK, 8},
    {3, 6, 2, CM3_ERROR_FORMAT, 4},
    {1, 2, 1, CM3_OK, 8},
};

START_TEST(not_a_number) {
    for (size_t i = 0; i < sizeof poisons / sizeof *poisons; i++) {
        test_plan_make(&fixture, (test_kind)_i, &plan);
        plan.until = 8;
        plan.run.options.skip_steps = poisons[i].allowed;
        test_world_init(&world, 2);
        world.ranks[1].poison_from = poisons[i].from;
        world.ranks[1].poison_to = poisons[i].to;
        test_world_run(&world, test_plan_body, &plan);
        test_world_ended(&world, poisons[i].status, poisons[i].status == CM3_OK ? NULL : "gradient is not finite");
        ck_assert_int_eq(world.ranks[0].steps, poisons[i].steps);
        ck_assert_int_eq(world.ranks[1].steps, poisons[i].steps);
        if (poisons[i].status == CM3_OK) ck_assert(isfinite(world.ranks[1].losses[7]) && world.ranks[1].losses[7] > 0);
        ck_assert_int_eq(world.ranks[1].report.skipped, poisons[i].status == CM3_OK ? 0 : poisons[i].allowed);
    }
}
END_TEST

/* --- something else before it --------------------------------------------------------------------------------------
 */

static char other_shard[200];
static int varied;

static void vary(test_rank *rank, test_plan *own) {
    static const char *missing[] = {"missing.tar"}, *other[] = {other_shard};
    if (rank->comm.rank != 2) return;
    cm3_train_options *o = &own->run.options;
    switch (varied) {
    case 0:
        o->lr = 5e-3f;
        break;
    case 1:
        o->data = other;
        break;
    case 2:
        own->run.lm.config_json =
            "{\"hidden_size\": 16, \"layers\": 1, \"heads\": 4, \"ffn_size\": 48, \"max_positions\": 64}";
        break;
    case 3:
        o->skip_steps = 3;
        break;
    case 4:
        o->data = missing;
        break;
    case 5:
        own->run.lm.block_size = 1;
        break;
    case 6:
        own->kind = TEST_VQ;
        break;
    case 7:
        o->validation = other, o->validation_count = 1;
        break;
    case 8:
        o->resume = 0;
        break;
    default:
        break;
    }
}

static const struct {
    cm3_status status;
    const char *says;
} varieties[] = {
    {CM3_ERROR_INVALID_ARGUMENT, "lr: 0.002"},
    {CM3_ERROR_INVALID_ARGUMENT, "data: "},
    {CM3_ERROR_INVALID_ARGUMENT, "config: "},
    {CM3_ERROR_INVALID_ARGUMENT, "skip_steps: 0 on rank 0, 3 on rank 2"},
    {CM3_ERROR_NOT_FOUND, "rank 2: missing.tar"},
    {CM3_ERROR_INVALID_ARGUMENT, "rank 2: language model training: block_size"},
    {CM3_ERROR_INVALID_ARGUMENT, "rank 2: "},
    {CM3_ERROR_INVALID_ARGUMENT, "validation: "},
    {CM3_ERROR_INVALID_ARGUMENT, "resume: 1 on rank 0, 0 on rank 2"},
};

START_TEST(others_before_it) {
    test_plan_make(&fixture, TEST_LM, &plan);
    snprintf(other_shard, sizeof other_shard, "%s/other.tar", fixture.folder);
    test_code_shard(&fixture, other_shard, 19);
    plan.vary = vary;
    varied = _i;
    run_ranks(4);
    test_world_ended(&world, varieties[_i].status, varieties[_i].says);
    for (int r = 0; r < 4; r++) ck_assert_int_eq(world.ranks[r].aborted, 0);
}
END_TEST

static cm3_status compare_versions(test_rank *rank, void *arg) {
    (void)arg;
    cm3_ranks ranks;
    CM3_TRY(cm3_ranks_init(rank->context, &rank->comm, &ranks));
    return cm3_ranks_compare(&ranks, rank->comm.rank == 1 ? "{\"version\":\"0.2.0\"}" : "{\"version\":\"0.1.0\"}");
}

START_TEST(another_version) {
    test_world_init(&world, 2);
    test_world_run(&world, compare_versions, NULL);
    test_world_ended(&world, CM3_ERROR_INVALID_ARGUMENT, "version: \"0.1.0\" on rank 0, \"0.2.0\" on rank 1");
}
END_TEST

START_TEST(numbers_that_do_not_fit) {
    test_plan_make(&fixture, TEST_LM, &plan);
    plan.run.options.accumulation = 3;
    run_ranks(2);
    test_world_ended(&world, CM3_ERROR_INVALID_ARGUMENT, "2 processes cannot share out so many micro-steps");
    test_plan_make(&fixture, TEST_ENCODER, &plan);
    plan.run.encoder.chunk = 5;
    run_ranks(2);
    test_world_ended(&world, CM3_ERROR_INVALID_ARGUMENT, "2 processes cannot share out 3 chunks");
}
END_TEST

START_TEST(bad_comms) {
    test_plan_make(&fixture, TEST_LM, &plan);
    test_world_init(&world, 2);
    const cm3_comm good = world.ranks[0].comm;
    cm3_trainer *trainer;
    for (int i = 0; i < 8; i++) {
        cm3_comm bad = good;
        plan.run.options.comm = &bad;
        if (i == 0) bad.struct_size = 0;
        if (i == 1) bad.size = 0;
        if (i == 2) bad.rank = -1;
        if (i == 3) bad.rank = 2;
        if (i == 4) bad.all_reduce = NULL;
        if (i == 5) bad.all_gather = NULL;
        if (i == 6) bad.broadcast = NULL;
        if (i == 7) bad.barrier = NULL;
        test_fails(&fixture, test_plan_create(fixture.context, &plan, &trainer), CM3_ERROR_INVALID_ARGUMENT,
                   "cm3_comm");
        ck_assert_ptr_null(trainer);
    }
    plan.run.options.comm = NULL;
    plan.run.options.skip_steps = -1;
    test_fails(&fixture, test_plan_create(fixture.context, &plan, &trainer), CM3_ERROR_INVALID_ARGUMENT, "skip_steps");
}
END_TEST

Suite *rank_failures_suite(void) {
    Suite *suite = suite_create("rank failures");
    TCase *tcase = tcase_create("rank failures");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, killed, 0, 4);
    tcase_add_loop_test(tcase, cancelled, 0, TEST_KINDS);
    tcase_add_loop_test(tcase, out_of_memory, 0, TEST_KINDS);
    tcase_add_test(tcase, full_disk);
    tcase_add_loop_test(tcase, not_a_number, 0, TEST_KINDS);
    tcase_add_loop_test(tcase, others_before_it, 0, (int)(sizeof varieties / sizeof *varieties));
    tcase_add_test(tcase, another_version);
    tcase_add_test(tcase, numbers_that_do_not_fit);
    tcase_add_test(tcase, bad_comms);
    suite_add_tcase(suite, tcase);
    return suite;
}
