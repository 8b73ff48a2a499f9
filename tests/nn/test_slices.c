/* Passes that stop between two operations and go on: the same to the last bit, whatever memory was used again. */
#include "base/clock.h"
#include "graph_cases.h"
#include "suites.h"

#define LAYERS 6
#define WIDTH 96

/** Weights and a state that is changed in place, as caches are. */
typedef struct small_net {
    cm3_tensor x, weights[LAYERS], map, kernel, bias;
} small_net;

static void net_up(small_net *n, graph_case *c) {
    n->x = some_tensor(c, 2, (int64_t[]){5, WIDTH}, 1);
    for (int i = 0; i < LAYERS; i++) n->weights[i] = some_tensor(c, 2, (int64_t[]){WIDTH, WIDTH}, 0.2f);
    n->map = some_tensor(c, 4, (int64_t[]){1, 12, 12, 8}, 1);
    n->kernel = some_tensor(c, 4, (int64_t[]){8, 8, 3, 3}, 0.2f);
    n->bias = some_tensor(c, 1, (int64_t[]){8}, 1);
}

static void net_down(small_net *n) {
    free_tensor(&n->x);
    for (int i = 0; i < LAYERS; i++) free_tensor(&n->weights[i]);
    free_tensor(&n->map);
    free_tensor(&n->kernel);
    free_tensor(&n->bias);
}

/** Layers whose memory is used again by the next, then convolutions; NULL where it was stopped. */
static cm3_tensor *run_net(cm3_graph *g, small_net *n) {
    cm3_tensor *x = cm3_nn_scale(g, &n->x, 1.5f);
    for (int i = 0; i < LAYERS; i++) {
        cm3_arena_mark mark = cm3_graph_mark(g);
        cm3_tensor *y = cm3_nn_linear(g, cm3_nn_layer_norm(g, x, NULL, NULL, 1e-5f), &n->weights[i], NULL);
        x = cm3_nn_add_to(g, x, cm3_nn_activation_to(g, y, CM3_ACT_SWISH)); /* in place: done twice it would show */
        cm3_graph_rewind(g, mark);
    }
    static const cm3_conv_options same = {.stride = 1, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
    cm3_tensor *map = cm3_nn_conv2d(g, &n->map, &n->kernel, &n->bias, &same);
    map = cm3_nn_conv2d(g, map, &n->kernel, &n->bias, &same);
    map = cm3_nn_reshape(g, map, 2, (int64_t[]){12, WIDTH});
    return map ? cm3_nn_linear(g, x, map, NULL) : NULL;
}

/* Every operation a slice of its own; slices of several; and none. In place sums show what is done twice. */
static void check_slices(graph_case *c) {
    cm3_graph *g = c->graph;
    small_net n;
    net_up(&n, c);
    g->record = false;
    cm3_graph_begin(g);
    cm3_tensor *whole = run_net(g, &n);
    ck_assert_msg(whole != NULL, "%s", cm3_context_message(c->context));
    const uint32_t operations = g->step;
    const size_t bytes = (size_t)whole->count * sizeof(float);
    float *expected = malloc(bytes);
    memcpy(expected, whole->data, bytes);
    cm3_graph_begin(g); /* in one block now */
    ck_assert_ptr_nonnull(run_net(g, &n));
    for (uint64_t microseconds = 0; microseconds < 300; microseconds += 60) {
        int slices = 0;
        cm3_tensor *y = NULL;
        do {
            cm3_graph_begin(g);
            g->deadline = microseconds ? cm3_clock_ns() + 1000 * microseconds : 1;
            y = run_net(g, &n);
            slices++;
            ck_assert(cm3_graph_status(g) == CM3_OK ? y != NULL : cm3_graph_halfway(g));
        } while (cm3_graph_halfway(g));
        if (!microseconds) ck_assert_int_eq(slices, (int)operations);
        ck_assert_mem_eq(y->data, expected, bytes);
    }
    g->deadline = 0;
    cm3_graph_begin(g);
    ck_assert_mem_eq(run_net(g, &n)->data, expected, bytes);
    free(expected);
    net_down(&n);
}

START_TEST(slices) {
    graph_case_run(graph_ways[_i], check_slices);
}
END_TEST

/* One that is given up halfway is forgotten; another pass begins as if it had not been. */
static void check_given_up(graph_case *c) {
    cm3_graph *g = c->graph;
    small_net n;
    net_up(&n, c);
    g->record = false;
    for (int i = 0; i < 2; i++) {
        cm3_graph_begin(g);
        ck_assert_ptr_nonnull(run_net(g, &n));
    }
    g->deadline = 1;
    cm3_graph_begin(g);
    ck_assert_ptr_null(run_net(g, &n));
    ck_assert(cm3_graph_halfway(g));
    cm3_graph_reset(g);
    ck_assert(!cm3_graph_halfway(g));
    g->deadline = 0;
    cm3_graph_begin(g);
    cm3_tensor *y = cm3_nn_scale(g, &n.x, 2);
    for (int64_t i = 0; i < y->count; i++) ck_assert(cm3_f32(y)[i] == 2 * cm3_f32(&n.x)[i]);
    net_down(&n);
}

START_TEST(given_up) {
    graph_case_run(graph_ways[0], check_given_up);
}
END_TEST

/* A cancel is seen by the next operation, wherever in the pass it comes, also while a pass goes on from halfway. */
static void check_cancelled(graph_case *c) {
    cm3_graph *g = c->graph;
    small_net n;
    net_up(&n, c);
    g->record = false;
    for (int i = 0; i < 2; i++) {
        cm3_graph_begin(g);
        ck_assert_ptr_nonnull(run_net(g, &n));
    }
    atomic_int cancel = 0;
    g->cancel = &cancel;
    g->deadline = 1;
    for (int after = 1; after < 8; after++) {
        atomic_store(&cancel, 0);
        for (int i = 0; i < after; i++) {
            cm3_graph_begin(g);
            run_net(g, &n);
        }
        ck_assert(cm3_graph_halfway(g));
        atomic_store(&cancel, 1);
        cm3_graph_begin(g);
        ck_assert_ptr_null(run_net(g, &n));
        ck_assert_int_eq(cm3_graph_status(g), CM3_ERROR_CANCELLED);
        ck_assert(!cm3_graph_halfway(g));
    }
    g->cancel = NULL;
    g->deadline = 0;
    net_down(&n);
}

START_TEST(cancelled_between_operations) {
    graph_case_run(graph_ways[_i], check_cancelled);
}
END_TEST

Suite *slices_suite(void) {
    Suite *suite = suite_create("nn/slices");
    TCase *tcase = tcase_create("slices");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, slices, 0, GRAPH_WAYS);
    tcase_add_test(tcase, given_up);
    tcase_add_loop_test(tcase, cancelled_between_operations, 0, GRAPH_WAYS);
    suite_add_tcase(suite, tcase);
    return suite;
}
