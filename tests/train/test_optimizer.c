/* AdamW and the schedules against PyTorch's. */
#include <math.h>

#include "support.h"
#include "train/optimizer.h"

typedef struct adamw_case {
    test_fixture fixture;
    cm3_train_options options;
    cm3_safetensors *numbers;
} adamw_case;

static void tensor_of(cm3_tensor *tensor, float *data, const cm3_safetensors *numbers, const char *name) {
    const cm3_entry *entry = test_entry(numbers, "%s", name);
    memcpy(data, entry->data, (size_t)entry->count * sizeof(float));
    *tensor = cm3_tensor_over(data, CM3_F32, 1, &entry->count);
}

static void check_values(const cm3_tensor *tensor, const float *expected) {
    for (int64_t i = 0; i < tensor->count; i++) {
        ck_assert_msg(fabsf(cm3_f32(tensor)[i] - expected[i]) <= 2e-6f, "%lld: %g, %g", (long long)i,
                      (double)cm3_f32(tensor)[i], (double)expected[i]);
    }
}

static void follow_adamw(cm3_graph *graph, void *arg) {
    adamw_case *c = arg;
    float a_data[7], b_data[5];
    cm3_tensor a, b;
    tensor_of(&a, a_data, c->numbers, "adamw.a");
    tensor_of(&b, b_data, c->numbers, "adamw.b");
    cm3_optimizer optimizer;
    cm3_optimizer_init(c->fixture.context, &c->options, &optimizer);
    test_ok(&c->fixture, cm3_optimizer_add(&optimizer, "a", &a, true, CM3_READ_BF16));
    test_ok(&c->fixture, cm3_optimizer_add(&optimizer, "b", &b, false, CM3_READ_F32));
    test_ok(&c->fixture, cm3_optimizer_lay(&optimizer, NULL));
    for (int i = 0; i < 6; i++) {
        const float *ga = test_floats(c->numbers, "adamw.ga") + i * 7,
                    *gb = test_floats(c->numbers, "adamw.gb") + i * 5;
        double norm, sum = 0;
        for (int k = 0; k < 7; k++) a.grad[k] = ga[k] * 2, sum += (double)ga[k] * (double)ga[k];
        for (int k = 0; k < 5; k++) b.grad[k] = gb[k] * 2, sum += (double)gb[k] * (double)gb[k];
        test_ok(&c->fixture, cm3_optimizer_step(&optimizer, graph, &norm)); /* two micro-steps were added up */
        ck_assert_double_eq_tol(norm, sqrt(sum), 1e-5);
        ck_assert(a.grad[0] == 0 && b.grad[4] == 0);
        check_values(&a, test_floats(c->numbers, "adamw.va") + i * 7);
        check_values(&b, test_floats(c->numbers, "adamw.vb") + i * 5);
    }
    uint16_t rounded[7];
    graph->kernels->f32_to_bf16(rounded, a_data, 7);
    ck_assert_mem_eq(rounded, a.bf16, sizeof rounded);
    ck_assert_int_eq(optimizer.step, 6);
    cm3_optimizer_clear(&optimizer);
}

START_TEST(adamw) {
    adamw_case c;
    test_fixture_up(&c.fixture);
    c.numbers = test_numbers(&c.fixture);
    cm3_train_options_init(&c.options);
    c.options.lr = 3e-2f;
    c.options.warmup = 0;
    c.options.schedule = CM3_SCHEDULE_CONSTANT;
    c.options.clip_norm = 0;
    c.options.accumulation = 2;
    test_on_graph(&c.fixture, follow_adamw, &c);
    cm3_safetensors_close(c.numbers);
    test_fixture_down(&c.fixture);
}
END_TEST

START_TEST(schedules) {
    static const char *const names[] = {"cosine", "linear", "constant"};
    static const cm3_schedule kinds[] = {CM3_SCHEDULE_COSINE, CM3_SCHEDULE_LINEAR, CM3_SCHEDULE_CONSTANT};
    test_fixture fixture;
    test_fixture_up(&fixture);
    cm3_safetensors *numbers = test_numbers(&fixture);
    for (int i = 0; i < 3; i++) {
        cm3_train_options o;
        cm3_train_options_init(&o);
        o.lr = 1e-2f;
        o.min_lr_ratio = 0.1f;
        o.warmup = 10;
        o.steps = 50;
        o.schedule = kinds[i];
        const float *expected = test_floats(numbers, "schedule.%s", names[i]);
        for (int step = 0; step <= 50; step++) {
            ck_assert_msg(fabs(cm3_learning_rate(&o, step) - (double)expected[step]) < 1e-8, "%s, step %d", names[i],
                          step);
        }
        ck_assert(cm3_learning_rate(&o, 1000) == cm3_learning_rate(&o, 50)); /* it stays where it ended */
    }
    cm3_safetensors_close(numbers);
    test_fixture_down(&fixture);
}
END_TEST

static void refuse_and_clip(cm3_graph *graph, void *arg) {
    adamw_case *c = arg;
    float data[2] = {1, 2};
    double norm;
    cm3_tensor t = cm3_tensor_over(data, CM3_F32, 1, (const int64_t[]){2});
    cm3_optimizer optimizer;
    cm3_optimizer_init(c->fixture.context, &c->options, &optimizer);
    test_ok(&c->fixture, cm3_optimizer_add(&optimizer, "t", &t, false, CM3_READ_F32));
    test_ok(&c->fixture, cm3_optimizer_lay(&optimizer, NULL));
    t.grad[0] = NAN;
    test_fails(&c->fixture, cm3_optimizer_step(&optimizer, graph, &norm), CM3_ERROR_FORMAT, "step 1:");
    ck_assert(data[0] == 1 && data[1] == 2 && optimizer.step == 0);
    t.grad[0] = 30;
    t.grad[1] = 40;
    test_ok(&c->fixture, cm3_optimizer_step(&optimizer, graph, &norm));
    ck_assert_double_eq_tol(norm, 50, 1e-4);
    ck_assert_float_eq_tol(optimizer.moments[CM3_MOMENT_M][0], 0.1f * 0.6f, 1e-6f); /* clipped to length 1 */
    ck_assert_float_eq_tol(optimizer.moments[CM3_MOMENT_M][1], 0.1f * 0.8f, 1e-6f);
    /* The average: 2/11 of the first weights are kept after one step. */
    ck_assert_float_eq_tol(optimizer.moments[CM3_MOMENT_AVERAGE][0], 1 + (1 - 2.0f / 11) * (data[0] - 1), 1e-6f);
    float weight = data[0], average = optimizer.moments[CM3_MOMENT_AVERAGE][0];
    test_ok(&c->fixture, cm3_optimizer_swap_average(&optimizer, graph->kernels));
    ck_assert(data[0] == average && optimizer.moments[CM3_MOMENT_AVERAGE][0] == weight);
    test_ok(&c->fixture, cm3_optimizer_swap_average(&optimizer, graph->kernels));
    ck_assert(data[0] == weight);
    cm3_optimizer_clear(&optimizer);
    ck_assert_ptr_null(t.grad);
}

START_TEST(clipping_and_average) {
    adamw_case c;
    test_fixture_up(&c.fixture);
    cm3_train_options_init(&c.options);
    c.options.weight_average = 0.99f;
    test_on_graph(&c.fixture, refuse_and_clip, &c);
    test_fixture_down(&c.fixture);
}
END_TEST

Suite *optimizer_suite(void) {
    Suite *suite = suite_create("optimizer");
    TCase *tcase = tcase_create("optimizer");
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, adamw);
    tcase_add_test(tcase, schedules);
    tcase_add_test(tcase, clipping_and_average);
    suite_add_tcase(suite, tcase);
    return suite;
}
