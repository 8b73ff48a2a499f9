/* Group norm with and without swish against double loops, its gradient against differences of these. */
#include "graph_cases.h"
#include "suites.h"

static const struct {
    int64_t n, h, w, c, groups;
    float offset; /**< a mean far from zero costs digits where sums of squares are subtracted */
} shapes[] = {
    {2, 4, 4, 32, 8, 0}, {3, 5, 3, 6, 3, 0},  {1, 7, 9, 40, 8, 1},    {2, 1, 1, 8, 4, 0},
    {1, 3, 3, 7, 7, 0},  {2, 3, 2, 5, 1, -2}, {3, 24, 24, 16, 4, 10}, {1, 2, 2, 96, 32, 0},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

typedef struct naive_norm {
    int64_t n, pixels, c, groups;
    bool swish;
    double *x, *gamma, *beta, *y;
    const float *dy;
} naive_norm;

static void naive(naive_norm *g) {
    int64_t width = g->c / g->groups;
    for (int64_t item = 0; item < g->n * g->groups; item++) {
        int64_t first = item / g->groups * g->pixels * g->c + item % g->groups * width;
        double sum = 0, squares = 0, count = (double)(g->pixels * width);
        for (int64_t i = 0; i < g->pixels * width; i++) sum += g->x[first + i / width * g->c + i % width];
        for (int64_t i = 0; i < g->pixels * width; i++) {
            squares += pow(g->x[first + i / width * g->c + i % width] - sum / count, 2);
        }
        for (int64_t i = 0; i < g->pixels * width; i++) {
            int64_t at = first + i / width * g->c + i % width, k = at % g->c;
            double u = (g->x[at] - sum / count) / sqrt(squares / count + 1e-6) * g->gamma[k] + g->beta[k];
            g->y[at] = g->swish ? u / (1 + exp(-u)) : u;
        }
    }
}

static double weighed(void *arg) {
    naive_norm *g = arg;
    naive(g);
    double sum = 0;
    for (int64_t i = 0; i < g->n * g->pixels * g->c; i++) sum += (double)g->dy[i] * g->y[i];
    return sum;
}

static int shape;
static bool swish, twice;

static void check_norm(graph_case *c) {
    int64_t n = shapes[shape].n, h = shapes[shape].h, w = shapes[shape].w, channels = shapes[shape].c;
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){n, h, w, channels}, 2), dy = some_tensor(c, 1, &x.count, 1);
    for (int64_t i = 0; i < x.count; i++) cm3_f32(&x)[i] += shapes[shape].offset;
    cm3_tensor gamma = some_tensor(c, 1, &channels, 2), beta = some_tensor(c, 1, &channels, 1);
    naive_norm reference = {.n = n,
                            .pixels = h * w,
                            .c = channels,
                            .groups = shapes[shape].groups,
                            .swish = swish,
                            .x = doubles_of(x.data, x.count),
                            .gamma = doubles_of(gamma.data, channels),
                            .beta = doubles_of(beta.data, channels),
                            .y = malloc((size_t)x.count * sizeof(double)),
                            .dy = dy.data};
    cm3_tensor *y = cm3_nn_group_norm(c->graph, &x, &gamma, &beta, reference.groups, 1e-6f, swish);
    ck_assert_ptr_nonnull(y);
    naive(&reference);
    expect_all(c, "group norm", y->data, reference.y, x.count, 2e-5);
    if (twice) { /* its gradient is added to what is there */
        y = cm3_nn_add(c->graph, y, cm3_nn_group_norm(c->graph, &x, &gamma, &beta, reference.groups, 1e-6f, swish));
    }
    send_back(c, y, dy.data);
    float part = twice ? 0.5f : 1;
    for (int64_t i = 0; i < x.count; i++) x.grad[i] *= part;
    for (int64_t i = 0; i < channels; i++) gamma.grad[i] *= part, beta.grad[i] *= part;
    expect_gradient(c, "group norm's dx", &x, reference.x, weighed, &reference, 60, 1e-4, 1e-4);
    expect_gradient(c, "group norm's dgamma", &gamma, reference.gamma, weighed, &reference, 20, 1e-4, 1e-4);
    expect_gradient(c, "group norm's dbeta", &beta, reference.beta, weighed, &reference, 20, 1e-4, 1e-4);
    free(reference.x);
    free(reference.gamma);
    free(reference.beta);
    free(reference.y);
    free_tensor(&x);
    free_tensor(&dy);
    free_tensor(&gamma);
    free_tensor(&beta);
}

START_TEST(norm_and_gradients) {
    shape = _i;
    for (int i = 0; i < 8; i++) {
        swish = i & 1;
        twice = i & 2;
        graph_case_run((graph_way){CM3_COMPUTE_F32, true, i & 4 ? 3 : 0}, check_norm);
    }
}
END_TEST

/* A level's kernels give the same as the portable ones but for rounding; a team the same as one thread, to the bit. */
static void check_team(graph_case *c) {
    cm3_tensor x = some_tensor(c, 4, (int64_t[]){5, 9, 8, 24}, 3), gamma = some_tensor(c, 1, (int64_t[]){24}, 1);
    cm3_tensor beta = some_tensor(c, 1, (int64_t[]){24}, 1), dy = some_tensor(c, 1, &x.count, 1);
    float *first_y = NULL, *first_dx = NULL;
    for (int round = 0; round < 2; round++) {
        cm3_team *team = c->graph->team;
        if (round == 1) c->graph->team = NULL;
        memset(x.grad, 0, (size_t)x.count * sizeof(float));
        cm3_tensor *y = cm3_nn_group_norm(c->graph, &x, &gamma, &beta, 4, 1e-6f, true);
        send_back(c, y, dy.data);
        c->graph->team = team;
        if (round == 0) {
            first_y = copy_of(y->data, x.count);
            first_dx = copy_of(x.grad, x.count);
        } else {
            ck_assert_mem_eq(first_y, y->data, (size_t)x.count * sizeof(float));
            ck_assert_mem_eq(first_dx, x.grad, (size_t)x.count * sizeof(float));
        }
    }
    free(first_y);
    free(first_dx);
    free_tensor(&x);
    free_tensor(&dy);
    free_tensor(&gamma);
    free_tensor(&beta);
}

START_TEST(norm_team) {
    graph_case_run((graph_way){CM3_COMPUTE_F32, true, 3}, check_team);
}
END_TEST

Suite *group_norm_suite(void) {
    Suite *suite = suite_create("nn/group_norm");
    TCase *tcase = tcase_create("group_norm");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, norm_and_gradients, 0, SHAPES);
    tcase_add_test(tcase, norm_team);
    suite_add_tcase(suite, tcase);
    return suite;
}
