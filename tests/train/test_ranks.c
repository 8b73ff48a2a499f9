/* Several ranks learn what one does: losses, validation, what is exported and saved, and how much each holds. */
#include <math.h>

#include "ranks.h"

static test_fixture fixture;
static test_plan plan;
static test_world worlds[3];
static const int sizes[] = {1, 2, 4};

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

/** In a directory of its own. */
static void run_in(test_world *world, int size, const char *name) {
    snprintf(plan.run.directory, sizeof plan.run.directory, "%s/%s", fixture.folder, name);
    test_world_init(world, size);
    test_world_run(world, test_plan_body, &plan);
    test_world_ended(world, CM3_OK, NULL);
}

static void same_losses(const test_world *a, const test_world *b, int64_t from, int64_t to, double tolerance) {
    for (int64_t i = from; i < to; i++) {
        const double x = a->ranks[0].losses[i], y = b->ranks[0].losses[i];
        ck_assert_msg(fabs(x - y) <= tolerance * fabs(x), "step %lld: %.9g with %d ranks, %.9g with %d (%.2g)",
                      (long long)i + 1, x, a->size, y, b->size, fabs(x - y) / fabs(x));
    }
    for (int r = 1; r < b->size; r++) /* what ranks report is the same to the last bit */
        ck_assert(memcmp(b->ranks[r].losses, b->ranks[0].losses, sizeof b->ranks[0].losses) == 0);
}

START_TEST(same_curve) {
    test_plan_make(&fixture, (test_kind)_i, &plan);
    for (int i = 0; i < 3; i++) {
        char name[16];
        snprintf(name, sizeof name, "of-%d", sizes[i]);
        run_in(&worlds[i], sizes[i], name);
        ck_assert_uint_eq(worlds[i].ranks[0].report.samples, worlds[0].ranks[0].report.samples);
        ck_assert_uint_eq(worlds[i].ranks[0].report.tokens, worlds[0].ranks[0].report.tokens);
        ck_assert(worlds[i].ranks[0].losses[19] > 0 && worlds[i].ranks[0].report.skipped == 0);
    }
    same_losses(&worlds[0], &worlds[1], 0, 20, 1e-6);
    same_losses(&worlds[0], &worlds[2], 0, 20, 1e-6);
}
END_TEST

/** 2 ranks, then 1, then 4, each from the last one's checkpoint. */
START_TEST(other_numbers) {
    static const int then[] = {2, 1, 4};
    test_plan_make(&fixture, (test_kind)_i, &plan);
    plan.until = 12;
    run_in(&worlds[0], 1, "straight");
    plan.save_every = 4;
    for (int i = 0; i < 3; i++) {
        plan.until = 4 * (i + 1);
        run_in(&worlds[1], then[i], "parted");
        same_losses(&worlds[0], &worlds[1], 4 * i, 4 * (i + 1), 1e-6);
    }
}
END_TEST

/** Whether two files of f32 tensors hold about the same. */
static void same_files(const char *one, const char *other) {
    cm3_file *files[2];
    cm3_safetensors *tensors[2];
    for (int i = 0; i < 2; i++) {
        test_ok(&fixture, cm3_file_open(fixture.context, i ? other : one, &files[i]));
        test_ok(&fixture, cm3_safetensors_open(fixture.context, files[i], &tensors[i]));
        cm3_file_release(files[i]);
    }
    size_t compared = 0;
    for (size_t i = 0; i < cm3_safetensors_count(tensors[0]); i++) {
        const cm3_entry *a = cm3_safetensors_at(tensors[0], i), *b = cm3_safetensors_find(tensors[1], a->name);
        ck_assert_ptr_nonnull(b);
        ck_assert_int_eq(a->count, b->count);
        if (strstr(a->name, "k_proj.bias"))
            continue; /* without a gradient but what rounding makes, which AdamW enlarges */
        for (int64_t k = 0; a->dtype == CM3_F32 && k < a->count; k++, compared++) {
            const float x = ((const float *)a->data)[k], y = ((const float *)b->data)[k];
            ck_assert_msg(fabsf(x - y) <= 2e-5f * (1 + fabsf(x)), "%s %lld: %g, %g", a->name, (long long)k, (double)x,
                          (double)y);
        }
    }
    ck_assert_uint_gt(compared, 100);
    for (int i = 0; i < 2; i++) cm3_safetensors_close(tensors[i]);
}

START_TEST(validation_and_files) {
    test_plan_make(&fixture, (test_kind)_i, &plan);
    const char *validation[] = {plan.run.shard};
    char files[2][2][200];
    plan.run.options.weight_average = 0.8f;
    plan.run.options.validation = validation;
    plan.run.options.validation_count = 1;
    plan.until = plan.save_every = 6;
    plan.validates = plan.exports = true;
    for (int i = 0; i < 2; i++) {
        const char *name = i ? "two" : "one";
        run_in(&worlds[i], i + 1, name);
        snprintf(files[i][0], sizeof files[i][0], "%s/%s/checkpoint.safetensors", fixture.folder, name);
        snprintf(files[i][1], sizeof files[i][1], "%s/%s/model-%d.cm3", fixture.folder, name, i + 1);
    }
    same_losses(&worlds[0], &worlds[1], 63, 64, 1e-6);
    same_files(files[0][0], files[1][0]);
    same_files(files[0][1], files[1][1]);
}
END_TEST

START_TEST(memory_is_shared) {
    for (int kind = 0; kind < TEST_KINDS; kind += TEST_ENCODER) {
        test_plan_make(&fixture, (test_kind)kind, &plan);
        plan.until = 1;
        for (int i = 0; i < 3; i++) {
            char name[32];
            snprintf(name, sizeof name, "of-%d-%d", sizes[i], kind);
            run_in(&worlds[i], sizes[i], name);
        }
        const cm3_optimizer_memory whole = worlds[0].ranks[0].held;
        ck_assert(whole.moments > 50000);
        ck_assert((double)worlds[1].ranks[1].held.moments <= 0.51 * (double)whole.moments);
        ck_assert((double)worlds[2].ranks[3].held.moments <= 0.26 * (double)whole.moments);
        ck_assert_uint_eq(worlds[1].ranks[1].held.weights, whole.weights); /* f32 is what is multiplied */
    }
}
END_TEST

/** Moments and f32 weights, of a model that is mostly matrices. */
START_TEST(masters_are_shared) {
    test_plan_make(&fixture, TEST_LM, &plan);
    plan.run.options.compute = CM3_COMPUTE_BF16;
    plan.run.options.weight_average = 0;
    plan.run.lm.config_json =
        "{\"hidden_size\": 128, \"layers\": 3, \"heads\": 4, \"ffn_size\": 256, \"max_positions\": 64}";
    plan.until = 1;
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "of-%d", sizes[i]);
        run_in(&worlds[i], sizes[i], name);
    }
    const cm3_optimizer_memory *one = &worlds[0].ranks[0].held;
    for (int i = 1; i < 3; i++) {
        for (int r = 0; r < sizes[i]; r++) {
            const cm3_optimizer_memory *own = &worlds[i].ranks[r].held;
            const double part = (double)(own->moments + own->weights) / (double)(one->moments + one->weights);
            ck_assert_msg(part <= (i == 1 ? 0.55 : 0.31), "rank %d of %d: %.3f", r, sizes[i], part);
        }
    }
}
END_TEST

static void same_bytes(const char *one, const char *other) {
    cm3_file *files[2];
    for (int i = 0; i < 2; i++) test_ok(&fixture, cm3_file_open(fixture.context, i ? other : one, &files[i]));
    ck_assert_uint_eq(files[0]->size, files[1]->size);
    ck_assert_msg(memcmp(files[0]->data, files[1]->data, files[0]->size) == 0, "%s, %s", one, other);
    for (int i = 0; i < 2; i++) cm3_file_release(files[i]);
}

/** Products of bf16, whose f32 weights lie apart: 2 ranks learn about what one does, and what they save is, of 1, 2 and
 * 4 ranks, the same model to the last bit. */
START_TEST(weights_apart) {
    static const int then[] = {2, 1, 4};
    test_plan_make(&fixture, (test_kind)_i, &plan);
    const char *validation[] = {plan.run.shard};
    plan.run.options.compute = CM3_COMPUTE_BF16;
    plan.run.options.weight_average = 0.8f;
    plan.run.options.validation = validation;
    plan.run.options.validation_count = 1;
    plan.until = 6;
    run_in(&worlds[0], 1, "straight");
    plan.save_every = 6;
    plan.validates = plan.exports = true;
    char files[3][200];
    test_world first;
    for (int i = 0; i < 3; i++) {
        run_in(&worlds[1], then[i], "parted");
        snprintf(files[i], sizeof files[i], "%s/parted/model-%d.cm3", fixture.folder, then[i]);
        if (i == 0) {
            same_losses(&worlds[0], &worlds[1], 0, 6, 5e-3);
            ck_assert(worlds[1].ranks[0].held.weights < worlds[0].ranks[0].held.weights);
            first = worlds[1];
            continue;
        }
        same_bytes(files[0], files[i]);
        same_losses(&first, &worlds[1], 63, 64, 1e-5);
    }
}
END_TEST

/** The last rank comes late to every call. */
START_TEST(waiting_is_told) {
    test_plan_make(&fixture, TEST_LM, &plan);
    plan.until = 2;
    test_world_init(&worlds[0], 2);
    worlds[0].delay_us = 5000;
    test_world_run(&worlds[0], test_plan_body, &plan);
    test_world_ended(&worlds[0], CM3_OK, NULL);
    const cm3_train_report *report = &worlds[0].ranks[0].report;
    ck_assert(report->comm_seconds > 0.004 && report->comm_seconds <= report->seconds);
    ck_assert(report->reduce_seconds > 0.004);
    run_in(&worlds[1], 1, "alone");
    ck_assert(worlds[1].ranks[0].report.comm_seconds == 0 && worlds[1].ranks[0].report.reduce_seconds == 0);
}
END_TEST

/* --- when a gradient is final --------------------------------------------------------------------------------------
 */

typedef struct final_case {
    cm3_trainer *trainer;
    float *copy; /**< of the gradients, each as it was when it was told of */
    int64_t told;
} final_case;

static void keep(void *arg, cm3_tensor *parameter) {
    final_case *c = arg;
    memcpy(c->copy + (parameter->grad - c->trainer->optimizer.gradients), parameter->grad,
           (size_t)parameter->count * sizeof(float));
    c->told += parameter->count;
}

START_TEST(final_gradients) {
    test_plan_make(&fixture, (test_kind)_i, &plan);
    plan.run.options.batch_size = 4;
    plan.run.vq.quantise_from = 0;
    final_case c;
    test_ok(&fixture, test_plan_create(fixture.context, &plan, &c.trainer));
    const cm3_optimizer *optimizer = &c.trainer->optimizer;
    c.copy = calloc((size_t)optimizer->total, sizeof(float));
    for (int round = 0; round < 2; round++) {
        void *batch;
        cm3_train_report report = {0};
        test_ok(&fixture, cm3_prefetch_next(c.trainer->prefetch, &batch, &c.trainer->position));
        cm3_graph_reset(c.trainer->graph);
        c.told = 0;
        c.trainer->graph->on_final = keep;
        c.trainer->graph->final_arg = &c;
        if (c.trainer->kind->begin_step) c.trainer->kind->begin_step(c.trainer);
        test_ok(&fixture, c.trainer->kind->micro_step(c.trainer, batch, &report));
        int64_t all = 0;
        for (size_t i = 0; i < optimizer->count; i++) {
            const cm3_optimized *p = &optimizer->parameters[i];
            all += p->tensor->count;
            ck_assert_uint_eq(p->tensor->pending, 0);
            if (strcmp(p->name, "logit_scale") == 0) continue; /* no matter of the tape */
            ck_assert_msg(memcmp(p->tensor->grad, c.copy + p->at, (size_t)p->tensor->count * sizeof(float)) == 0, "%s",
                          p->name);
        }
        ck_assert_int_eq(c.told, _i == TEST_ENCODER ? all - 1 : all);
    }
    free(c.copy);
    cm3_trainer_destroy(c.trainer);
}
END_TEST

START_TEST(buckets_are_several) {
    test_plan_make(&fixture, TEST_LM, &plan);
    cm3_trainer *trainer;
    test_ok(&fixture, test_plan_create(fixture.context, &plan, &trainer));
    ck_assert_uint_eq(cm3_buckets_count(trainer->buckets), 0); /* alone */
    test_world_init(&worlds[0], 2);
    cm3_ranks ranks;
    cm3_buckets *buckets;
    test_ok(&fixture, cm3_ranks_init(fixture.context, &worlds[0].ranks[0].comm, &ranks));
    test_ok(&fixture, cm3_buckets_create(&ranks, &trainer->optimizer, &trainer->optimizer, &buckets));
    ck_assert_uint_ge(cm3_buckets_count(buckets), 4);
    cm3_buckets_destroy(buckets);
    cm3_trainer_destroy(trainer);
}
END_TEST

Suite *ranks_suite(void) {
    Suite *suite = suite_create("ranks");
    TCase *tcase = tcase_create("ranks");
    tcase_set_timeout(tcase, 120);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, same_curve, 0, TEST_KINDS);
    tcase_add_loop_test(tcase, other_numbers, 0, TEST_KINDS);
    tcase_add_loop_test(tcase, validation_and_files, 0, TEST_KINDS);
    tcase_add_loop_test(tcase, weights_apart, 0, TEST_KINDS);
    tcase_add_test(tcase, memory_is_shared);
    tcase_add_test(tcase, masters_are_shared);
    tcase_add_test(tcase, waiting_is_told);
    tcase_add_loop_test(tcase, final_gradients, 0, TEST_KINDS);
    tcase_add_test(tcase, buckets_are_several);
    suite_add_tcase(suite, tcase);
    return suite;
}
