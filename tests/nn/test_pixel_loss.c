/* Losses over pixels, the straight-through estimator, and feature maps made larger or smaller, against plain loops. */
#include "graph_cases.h"
#include "suites.h"

typedef double (*loss_fn)(double x, double target);

static double absolute(double x, double target) {
    return fabs(x - target);
}
static double squared(double x, double target) {
    return (x - target) * (x - target);
}
static double plain(double x, double target) {
    (void)target;
    return x;
}
static double hinge_up(double x, double target) {
    (void)target;
    return 1 + x > 0 ? 1 + x : 0;
}
static double hinge_down(double x, double target) {
    (void)target;
    return 1 - x > 0 ? 1 - x : 0;
}

static cm3_tensor *run_loss(cm3_graph *graph, int kind, cm3_tensor *x, const float *target) {
    switch (kind) {
    case 0:
        return cm3_nn_mean_absolute_error(graph, x, target);
    case 1:
        return cm3_nn_mean_squared_error(graph, x, target);
    case 2:
        return cm3_nn_mean(graph, x);
    case 3:
        return cm3_nn_mean_hinge(graph, x, 1);
    default:
        return cm3_nn_mean_hinge(graph, x, -1);
    }
}

static int64_t loss_count;

static void check_losses(graph_case *c) {
    static const loss_fn fns[] = {absolute, squared, plain, hinge_up, hinge_down};
    cm3_tensor x = some_tensor(c, 1, &loss_count, 3), target = some_tensor(c, 1, &loss_count, 3);
    cm3_f32(&x)[0] = cm3_f32(&target)[0]; /* the kink: slope 0 */
    for (int kind = 0; kind < 5; kind++) {
        memset(x.grad, 0, (size_t)x.count * sizeof(float));
        cm3_tensor *loss = run_loss(c->graph, kind, &x, target.data);
        ck_assert_ptr_nonnull(loss);
        ck_assert_int_eq(loss->count, 1);
        double sum = 0;
        for (int64_t i = 0; i < x.count; i++) sum += fns[kind]((double)cm3_f32(&x)[i], (double)cm3_f32(&target)[i]);
        expect_near(c, "loss", kind, (double)*cm3_f32(loss), sum / (double)x.count, 1e-6);
        ck_assert_int_eq(cm3_graph_backward(c->graph, loss, 3), CM3_OK);
        for (int64_t i = 0; i < x.count; i++) {
            double at = (double)cm3_f32(&x)[i], to = (double)cm3_f32(&target)[i], step = 1e-5;
            if (kind >= 3 && fabs(fabs(at) - 1) < 0.001) continue;
            double slope = (fns[kind](at + step, to) - fns[kind](at - step, to)) / (2 * step);
            expect_near(c, "loss's gradient", i, (double)x.grad[i] * (double)x.count, 3 * slope, 1e-5);
        }
        cm3_graph_reset(c->graph);
    }
    free_tensor(&x);
    free_tensor(&target);
}

START_TEST(losses) {
    static const int64_t counts[] = {1, 5, 1000, 70001};
    loss_count = counts[_i];
    graph_case_run(graph_ways[0], check_losses);
    graph_case_run(graph_ways[2], check_losses);
}
END_TEST

static void check_straight_through(graph_case *c) {
    cm3_tensor x = some_tensor(c, 2, (int64_t[]){7, 5}, 1), value = some_tensor(c, 2, (int64_t[]){7, 5}, 1);
    cm3_tensor dy = some_tensor(c, 2, (int64_t[]){7, 5}, 1);
    cm3_tensor *y = cm3_nn_straight_through(c->graph, &x, value.data);
    ck_assert_ptr_nonnull(y);
    ck_assert_mem_eq(y->data, value.data, 35 * sizeof(float));
    send_back(c, y, dy.data);
    ck_assert_mem_eq(x.grad, dy.data, 35 * sizeof(float));
    free_tensor(&x);
    free_tensor(&value);
    free_tensor(&dy);
}

START_TEST(straight_through) {
    graph_case_run(graph_ways[0], check_straight_through);
}
END_TEST

static void check_maps(graph_case *c) {
    static const int64_t sizes[][4] = {{1, 1, 1, 1}, {2, 3, 5, 7}, {3, 8, 6, 32}};
    for (int s = 0; s < 3; s++) {
        const int64_t *n = sizes[s];
        int64_t h = n[1], w = n[2], k = n[3], large_count = n[0] * 4 * h * w * k;
        cm3_tensor x = some_tensor(c, 4, n, 1), large = some_tensor(c, 4, (int64_t[]){n[0], 2 * h, 2 * w, k}, 1);
        cm3_tensor dy = some_tensor(c, 1, &x.count, 1);
        for (int twice = 0; twice < 2; twice++) {
            memset(x.grad, 0, (size_t)x.count * sizeof(float));
            memset(large.grad, 0, (size_t)large.count * sizeof(float));
            double *sums = calloc((size_t)x.count, sizeof(double));
            cm3_tensor *up = cm3_nn_upsample(c->graph, &x);
            ck_assert_int_eq(up->count, large_count);
            for (int64_t i = 0; i < large_count; i++) {
                int64_t channel = i % k, column = i / k % (2 * w), row = i / k / (2 * w);
                int64_t at = (row / 2 * w + column / 2) * k + channel;
                ck_assert(cm3_f32(up)[i] == cm3_f32(&x)[at]);
                sums[at] += (double)cm3_f32(&large)[i];
            }
            if (twice) up = cm3_nn_add(c->graph, up, cm3_nn_upsample(c->graph, &x));
            send_back(c, up, large.data);
            for (int64_t i = 0; i < x.count; i++) {
                expect_near(c, "upsample's dx", i, (double)x.grad[i], sums[i] * (1 + twice), 1e-6);
            }
            cm3_tensor *down = cm3_nn_downsample(c->graph, &large);
            ck_assert_int_eq(down->count, x.count);
            for (int64_t i = 0; i < x.count; i++) {
                expect_near(c, "downsample", i, (double)cm3_f32(down)[i], sums[i] / 4, 1e-6);
            }
            if (twice) down = cm3_nn_add(c->graph, down, cm3_nn_downsample(c->graph, &large));
            send_back(c, down, dy.data);
            for (int64_t i = 0; i < large_count; i++) {
                int64_t at = (i / k / (2 * w) / 2 * w + i / k % (2 * w) / 2) * k + i % k;
                expect_near(c, "downsample's dx", i, (double)large.grad[i], (double)cm3_f32(&dy)[at] / 4 * (1 + twice),
                            1e-6);
            }
            free(sums);
            cm3_graph_reset(c->graph);
        }
        free_tensor(&x);
        free_tensor(&large);
        free_tensor(&dy);
    }
}

START_TEST(feature_maps) {
    graph_case_run(graph_ways[_i], check_maps);
}
END_TEST

Suite *pixel_loss_suite(void) {
    Suite *suite = suite_create("nn/pixel_loss");
    TCase *tcase = tcase_create("pixel_loss");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, losses, 0, 4);
    tcase_add_test(tcase, straight_through);
    tcase_add_loop_test(tcase, feature_maps, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}
