/* The row-wise kernels of every level against formulas in double. */
#include "kernel_cases.h"
#include "suites.h"

#define TIMES 40

static const cm3_activation kinds[] = {CM3_ACT_SWISH, CM3_ACT_GELU, CM3_ACT_RELU, CM3_ACT_QUICK_GELU,
                                       CM3_ACT_LEAKY_RELU};

static double activation_of(double x, cm3_activation kind) {
    switch (kind) {
    case CM3_ACT_SWISH:
        return x / (1 + exp(-x));
    case CM3_ACT_GELU:
        return x * 0.5 * erfc(-x / sqrt(2.0));
    case CM3_ACT_RELU:
        return x > 0 ? x : 0;
    case CM3_ACT_QUICK_GELU:
        return x / (1 + exp(-1.702 * x));
    case CM3_ACT_LEAKY_RELU:
        return x > 0 ? x : 0.2 * x;
    }
    return NAN;
}

/** The derivative by a difference in double: independent of anybody's algebra. */
static double activation_slope_of(double x, cm3_activation kind) {
    double h = 1e-6;
    return (activation_of(x + h, kind) - activation_of(x - h, kind)) / (2 * h);
}

START_TEST(conversions_round_to_even) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    enum { COUNT = 65536 * 4 + 5 };
    float *values = block(COUNT * sizeof *values);
    uint16_t *to = block(COUNT * sizeof *to);
    static const uint32_t tails[] = {0, 0x7fff, 0x8000, 0x8001};
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t bits = i % 65536 << 16 | tails[i / 65536 % 4];
        memcpy(&values[i], &bits, sizeof bits);
    }
    kernels->f32_to_bf16(to, values, COUNT);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t high = i % 65536, tail = tails[i / 65536 % 4];
        bool subnormal = (high & 0x7f80) == 0;
        if (isnan(values[i])) {
            ck_assert_uint_ge(to[i] & 0x7fff, 0x7f81);
            continue;
        }
        uint32_t expected = high + (tail > 0x8000 || (tail == 0x8000 && (high & 1)));
        if (subnormal && _i >= KERNEL_LEVELS - 2 && to[i] == (high & 0x8000))
            continue; /* the CPU's conversion flushes them */
        ck_assert_uint_eq(to[i], expected);
    }
    float *back = block(65536 * sizeof *back);
    for (uint32_t i = 0; i < 65536; i++) to[i] = (uint16_t)i;
    kernels->bf16_to_f32(back, to, 65536);
    for (uint32_t i = 0; i < 65536; i++) {
        uint32_t bits;
        memcpy(&bits, &back[i], sizeof bits);
        ck_assert_uint_eq(bits, i << 16);
    }
    free(values);
    free(to);
    free(back);
}
END_TEST

START_TEST(conversions_of_odd_lengths) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {7};
    for (int64_t n = 0; n < 70; n++) {
        float *values = some(&numbers, n, 3.0f), *back = block((size_t)n * sizeof *back);
        uint16_t *to = block((size_t)n * sizeof *to);
        kernels->f32_to_bf16(to, values, n);
        kernels->bf16_to_f32(back, to, n);
        for (int64_t i = 0; i < n; i++) {
            ck_assert_uint_eq(to[i], cm3_f32_to_bf16(values[i]));
            ck_assert_float_eq(back[i], cm3_bf16_to_f32(to[i]));
        }
        free(values);
        free(to);
        free(back);
    }
}
END_TEST

/* --- norms ---------------------------------------------------------------------------------------------------------
 */

/** One random norm: centred (LayerNorm) or not (RMSNorm), with parameters of a period or none. */
typedef struct norm_case {
    bool centred, accumulate;
    int64_t rows, n, period, row0;
    float *x, *dy, *gamma, *beta, *dx, *dgamma, *dbeta, *y, *mean, *rstd;
} norm_case;

static norm_case make_norm(numbers_state *numbers, bool centred) {
    norm_case c = {.centred = centred,
                   .accumulate = next_below(numbers, 2),
                   .rows = 1 + next_below(numbers, 9),
                   .n = next_size(numbers),
                   .period = 1};
    if (centred) c.period = 1 + next_below(numbers, 4), c.row0 = next_below(numbers, 7);
    int64_t count = c.rows * c.n;
    c.x = some(numbers, count, 2.0f);
    c.dy = some(numbers, count, 1.0f);
    c.dx = some(numbers, count, 1.0f);
    c.y = block((size_t)count * sizeof(float));
    c.mean = block((size_t)c.rows * sizeof(float));
    c.rstd = block((size_t)c.rows * sizeof(float));
    if (next_below(numbers, 3))
        c.gamma = some(numbers, c.period * c.n, 1.0f), c.dgamma = some(numbers, c.period * c.n, 1.0f);
    if (next_below(numbers, 3) && centred) {
        c.beta = some(numbers, c.period * c.n, 1.0f);
        c.dbeta = some(numbers, c.period * c.n, 1.0f);
    }
    return c;
}

static void free_norm(norm_case *c) {
    float *all[] = {c->x, c->dy, c->gamma, c->beta, c->dx, c->dgamma, c->dbeta, c->y, c->mean, c->rstd};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static void check_norm(const cm3_kernels *kernels, norm_case *c) {
    const double epsilon = 1e-3;
    int64_t n = c->n, parameters = c->period * n;
    float *dx0 = copy_of(c->dx, c->rows * n);
    double *dgamma = calloc((size_t)parameters, sizeof *dgamma), *dbeta = calloc((size_t)parameters, sizeof *dbeta);
    for (int64_t i = 0; i < parameters; i++) {
        if (c->dgamma) dgamma[i] = c->dgamma[i];
        if (c->dbeta) dbeta[i] = c->dbeta[i];
    }
    if (c->centred) {
        kernels->layer_norm(c->y, c->mean, c->rstd, c->x, c->gamma, c->beta, c->period, c->row0, c->rows, n,
                            (float)epsilon);
        kernels->layer_norm_backward(c->dx, c->accumulate, c->dgamma, c->dbeta, c->dy, c->x, c->mean, c->rstd, c->gamma,
                                     c->period, c->row0, c->rows, n);
    } else {
        kernels->rms_norm(c->y, c->rstd, c->x, c->gamma, c->rows, n, (float)epsilon);
        kernels->rms_norm_backward(c->dx, c->accumulate, c->dgamma, c->dy, c->x, c->rstd, c->gamma, c->rows, n);
    }
    for (int64_t r = 0; r < c->rows; r++) {
        const float *x = c->x + r * n, *dy = c->dy + r * n;
        int64_t offset = (c->row0 + r) % c->period * n;
        double mean = 0, square = 0, plain = 0, weighted = 0;
        for (int64_t j = 0; j < n && c->centred; j++) mean += x[j] / (double)n;
        for (int64_t j = 0; j < n; j++) square += (x[j] - mean) * (x[j] - mean) / (double)n;
        double rstd = 1 / sqrt(square + epsilon);
        for (int64_t j = 0; j < n; j++) {
            double d = dy[j] * (c->gamma ? c->gamma[offset + j] : 1.0);
            if (c->centred) plain += d / (double)n;
            weighted += d * (x[j] - mean) * rstd / (double)n;
        }
        expect(kernels, "norm: rstd", r, c->rstd[r], rstd, 1e-5);
        if (c->centred) expect(kernels, "norm: mean", r, c->mean[r], mean, 1e-6);
        for (int64_t j = 0; j < n; j++) {
            double g = c->gamma ? c->gamma[offset + j] : 1.0, b = c->beta ? c->beta[offset + j] : 0.0;
            double normal = (x[j] - mean) * rstd, before = c->accumulate ? dx0[r * n + j] : 0;
            expect(kernels, "norm: y", r * n + j, c->y[r * n + j], normal * g + b, 1e-5);
            expect(kernels, "norm: dx", r * n + j, c->dx[r * n + j],
                   before + rstd * (dy[j] * g - plain - normal * weighted), 2e-5 * rstd);
            dgamma[offset + j] += dy[j] * normal;
            dbeta[offset + j] += dy[j];
        }
    }
    for (int64_t i = 0; i < parameters; i++) {
        if (c->dgamma) expect(kernels, "norm: dgamma", i, c->dgamma[i], dgamma[i], 1e-5);
        if (c->dbeta) expect(kernels, "norm: dbeta", i, c->dbeta[i], dbeta[i], 1e-5);
    }
    free(dx0);
    free(dgamma);
    free(dbeta);
}

START_TEST(norms) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {11};
    for (int t = 0; t < 4 * TIMES; t++) {
        norm_case c = make_norm(&numbers, t % 2);
        check_norm(kernels, &c);
        free_norm(&c);
    }
}
END_TEST

/* --- softmax, cross-entropy ----------------------------------------------------------------------------------------
 */

START_TEST(softmax_and_gradient) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {13};
    for (int t = 0; t < TIMES; t++) {
        int64_t rows = 1 + next_below(&numbers, 5), n = next_size(&numbers), count = rows * n;
        bool accumulate = t % 2;
        float *x = some(&numbers, count, t % 3 ? 5.0f : 60.0f), *dy = some(&numbers, count, 1.0f);
        float *dx = some(&numbers, count, 1.0f), *dx0 = copy_of(dx, count), *y = block((size_t)count * sizeof *y);
        for (int64_t r = 0; r < rows && n > 2; r++) x[r * n + next_below(&numbers, n)] = -INFINITY;
        kernels->softmax(y, x, rows, n);
        kernels->softmax_backward(dx, accumulate, dy, y, rows, n);
        for (int64_t r = 0; r < rows; r++) {
            double highest = -INFINITY, sum = 0, product = 0;
            for (int64_t j = 0; j < n; j++) highest = fmax(highest, x[r * n + j]);
            for (int64_t j = 0; j < n; j++) sum += exp(x[r * n + j] - highest);
            for (int64_t j = 0; j < n; j++) product += exp(x[r * n + j] - highest) / sum * dy[r * n + j];
            for (int64_t j = r * n; j < r * n + n; j++) {
                double p = exp(x[j] - highest) / sum;
                expect(kernels, "softmax", j, y[j], p, 1e-6);
                expect(kernels, "softmax_backward", j, dx[j], (accumulate ? dx0[j] : 0) + p * (dy[j] - product), 2e-6);
                if (x[j] == -INFINITY) ck_assert_float_eq(y[j], 0.0f);
            }
        }
        float *in_place = copy_of(x, count);
        kernels->softmax(in_place, in_place, rows, n);
        ck_assert_mem_eq(in_place, y, (size_t)count * sizeof *y);
        free(x), free(dy), free(dx), free(dx0), free(y), free(in_place);
    }
}
END_TEST

START_TEST(softmax_of_nothing) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    float x[37];
    for (int i = 0; i < 37; i++) x[i] = -INFINITY;
    kernels->softmax(x, x, 1, 37);
    for (int i = 0; i < 37; i++) ck_assert_float_eq(x[i], 0.0f);
}
END_TEST

START_TEST(cross_entropy_and_gradient) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {17};
    for (int t = 0; t < TIMES; t++) {
        int64_t rows = 1 + next_below(&numbers, 6), n = next_size(&numbers), count = rows * n;
        bool accumulate = t % 2;
        float *x = some(&numbers, count, t % 3 ? 5.0f : 60.0f), *dx = some(&numbers, count, 1.0f),
              *dx0 = copy_of(dx, count);
        float *scale = some(&numbers, rows, 1.0f), *loss = some(&numbers, rows, 1.0f),
              *lse = some(&numbers, rows, 1.0f);
        int32_t *targets = block((size_t)rows * sizeof *targets);
        for (int64_t r = 0; r < rows; r++) targets[r] = next_below(&numbers, 4) ? (int32_t)next_below(&numbers, n) : -1;
        kernels->cross_entropy(loss, NULL, x, targets, rows, n);
        kernels->cross_entropy(loss, lse, x, targets, rows, n);
        kernels->cross_entropy_backward(dx, accumulate, x, lse, targets, scale, rows, n);
        for (int64_t r = 0; r < rows; r++) {
            double highest = -INFINITY, sum = 0;
            for (int64_t j = 0; j < n; j++) highest = fmax(highest, x[r * n + j]);
            for (int64_t j = 0; j < n; j++) sum += exp(x[r * n + j] - highest);
            double log_sum = highest + log(sum);
            expect(kernels, "cross_entropy: lse", r, lse[r], log_sum, 1e-6);
            expect(kernels, "cross_entropy", r, loss[r], targets[r] < 0 ? 0 : log_sum - x[r * n + targets[r]], 5e-6);
            for (int64_t j = 0; j < n; j++) {
                double slope = targets[r] < 0 ? 0 : scale[r] * (exp(x[r * n + j] - log_sum) - (j == targets[r]));
                expect(kernels, "cross_entropy_backward", r * n + j, dx[r * n + j],
                       (accumulate ? dx0[r * n + j] : 0) + slope, 5e-6);
            }
        }
        free(x), free(dx), free(dx0), free(scale), free(loss), free(lse), free(targets);
    }
}
END_TEST

/* --- elements ------------------------------------------------------------------------------------------------------
 */

START_TEST(activations) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {19};
    for (int t = 0; t < 5 * TIMES; t++) {
        cm3_activation kind = kinds[t % 5];
        int64_t n = next_size(&numbers);
        bool accumulate = next_below(&numbers, 2);
        float *x = some(&numbers, n, t % 3 ? 4.0f : 30.0f), *dy = some(&numbers, n, 1.0f),
              *dx = some(&numbers, n, 1.0f);
        float *dx0 = copy_of(dx, n), *y = block((size_t)n * sizeof *y);
        kernels->activation(y, x, n, kind);
        kernels->activation_backward(dx, accumulate, dy, x, n, kind);
        for (int64_t i = 0; i < n; i++) {
            expect(kernels, "activation", i, y[i], activation_of(x[i], kind), 5e-7);
            expect(kernels, "activation_backward", i, dx[i],
                   (accumulate ? dx0[i] : 0) + dy[i] * activation_slope_of(x[i], kind), 2e-6);
        }
        free(x), free(dy), free(dx), free(dx0), free(y);
    }
}
END_TEST

/** At the ends of the range nothing overflows, and NaN goes through. */
START_TEST(activations_at_the_ends) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    const float x[] = {-1e30f, -1000.0f, -104.0f, -88.5f, -87.0f, -0.0f, 0.0f, 87.0f, 88.5f, 104.0f, 1000.0f, 1e18f};
    enum { N = sizeof x / sizeof *x };
    float y[N], slope[N], one[N];
    for (int i = 0; i < N; i++) one[i] = 1.0f;
    for (size_t k = 0; k < sizeof kinds / sizeof *kinds; k++) {
        kernels->activation(y, x, N, kinds[k]);
        kernels->activation_backward(slope, false, one, x, N, kinds[k]);
        for (int i = 0; i < N; i++) {
            expect(kernels, "activation", i, y[i], activation_of(x[i], kinds[k]), 1e-6);
            double edge = x[i] > 0 ? 1 : kinds[k] == CM3_ACT_LEAKY_RELU ? 0.2 : 0;
            if (x[i] != 0.0f) expect(kernels, "activation_backward", i, slope[i], edge, 1e-6);
        }
        float bad[20], out[20];
        for (int i = 0; i < 20; i++) bad[i] = NAN;
        if (kinds[k] == CM3_ACT_RELU) continue; /* max(0, x) */
        kernels->activation(out, bad, 20, kinds[k]);
        for (int i = 0; i < 20; i++) ck_assert_float_nan(out[i]);
    }
}
END_TEST

/** exp, seen through the gradient of the cross-entropy, and the normal distribution keep their relative accuracy. */
START_TEST(exponentials_are_accurate) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    enum { N = 20001 };
    float *x = block(N * sizeof *x), *y = block(N * sizeof *y), zero = 0.0f, one = 1.0f;
    int32_t target = N - 1;
    for (int i = 0; i < N; i++) x[i] = -87.3f + 175.6f * (float)i / N;
    kernels->cross_entropy_backward(y, false, x, &zero, &target, &one, 1, N);
    for (int i = 0; i < N - 1; i++) expect(kernels, "exp", i, y[i] / exp(x[i]), 1.0, 2.5e-7);
    for (int i = 0; i < N; i++) x[i] = -8.0f + 16.0f * (float)i / N;
    kernels->activation(y, x, N, CM3_ACT_GELU);
    for (int i = 0; i < N; i++) {
        double expected = activation_of(x[i], CM3_ACT_GELU);
        if (x[i] != 0.0f) expect(kernels, "gelu", i, y[i] / expected, 1.0, x[i] > -2.0f ? 5e-7 : 6e-6);
    }
    free(x), free(y);
}
END_TEST

START_TEST(swiglu_and_gradient) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {23};
    for (int t = 0; t < 4 * TIMES; t++) {
        int64_t n = next_size(&numbers);
        bool add_gate = t & 1, add_up = t & 2;
        float *gate = some(&numbers, n, 6.0f), *up = some(&numbers, n, 2.0f), *dy = some(&numbers, n, 1.0f);
        float *dgate = some(&numbers, n, 1.0f), *dup = some(&numbers, n, 1.0f), *y = block((size_t)n * sizeof *y);
        float *dgate0 = copy_of(dgate, n), *dup0 = copy_of(dup, n);
        kernels->swiglu(y, gate, up, n);
        kernels->swiglu_backward(dgate, add_gate, dup, add_up, dy, gate, up, n);
        for (int64_t i = 0; i < n; i++) {
            expect(kernels, "swiglu", i, y[i], activation_of(gate[i], CM3_ACT_SWISH) * up[i], 1e-6);
            expect(kernels, "swiglu: dgate", i, dgate[i],
                   (add_gate ? dgate0[i] : 0) + dy[i] * up[i] * activation_slope_of(gate[i], CM3_ACT_SWISH), 2e-6);
            expect(kernels, "swiglu: dup", i, dup[i],
                   (add_up ? dup0[i] : 0) + dy[i] * activation_of(gate[i], CM3_ACT_SWISH), 2e-6);
        }
        free(gate), free(up), free(dy), free(dgate), free(dup), free(y), free(dgate0), free(dup0);
    }
}
END_TEST

START_TEST(rope_turns_and_turns_back) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {29};
    for (int t = 0; t < TIMES; t++) {
        int64_t rows = 1 + next_below(&numbers, 5), heads = 1 + next_below(&numbers, 3);
        int64_t half = 1 + next_below(&numbers, 70), d = 2 * half, count = rows * heads * d;
        float *x = some(&numbers, count, 2.0f), *y = copy_of(x, count), *angles = some(&numbers, rows * half, 3.0f);
        float *cosines = copy_of(angles, rows * half), *sines = copy_of(angles, rows * half);
        for (int64_t i = 0; i < rows * half; i++) cosines[i] = cosf(angles[i]), sines[i] = sinf(angles[i]);
        kernels->rope(y, y, cosines, sines, rows, heads, d, false);
        for (int64_t i = 0; i < count; i++) {
            int64_t row = i / (heads * d), place = i % d, pair = place < half ? i + half : i - half;
            double angle = angles[row * half + place % half];
            double expected = x[i] * cos(angle) + (place < half ? -1 : 1) * x[pair] * sin(angle);
            expect(kernels, "rope", i, y[i], expected, 1e-6);
        }
        float *back = block((size_t)count * sizeof *back);
        kernels->rope(back, y, cosines, sines, rows, heads, d, true);
        for (int64_t i = 0; i < count; i++) expect(kernels, "rope: inverse", i, back[i], x[i], 2e-6);
        free(x), free(y), free(angles), free(cosines), free(sines), free(back);
    }
}
END_TEST

START_TEST(sums) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {31};
    for (int t = 0; t < TIMES; t++) {
        int64_t n = next_size(&numbers);
        float *a = some(&numbers, n, 2.0f), *b = some(&numbers, n, 2.0f), *y = copy_of(a, n);
        double squares = 0;
        for (int64_t i = 0; i < n; i++) squares += (double)a[i] * a[i];
        ck_assert_double_eq_tol(kernels->sum_squares(a, n), squares, 1e-12 * squares + 1e-300);
        kernels->add(y, y, b, n);
        for (int64_t i = 0; i < n; i++) ck_assert_float_eq(y[i], a[i] + b[i]);
        kernels->scale(y, 0.3f, a, n);
        for (int64_t i = 0; i < n; i++) ck_assert_float_eq(y[i], 0.3f * a[i]);
        kernels->axpy(y, -0.7f, b, n);
        for (int64_t i = 0; i < n; i++) expect(kernels, "axpy", i, y[i], 0.3 * a[i] - 0.7 * b[i], 1e-6);
        free(a), free(b), free(y);
    }
}
END_TEST

START_TEST(adamw_steps) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {37};
    for (int t = 0; t < TIMES; t++) {
        int64_t n = next_size(&numbers);
        float *p = some(&numbers, n, 1.0f), *m = some(&numbers, n, 0.1f), *v = some(&numbers, n, 0.01f);
        float *g = some(&numbers, n, 1.0f);
        for (int64_t i = 0; i < n; i++) v[i] = fabsf(v[i]);
        float *p0 = copy_of(p, n), *m0 = copy_of(m, n), *v0 = copy_of(v, n);
        uint16_t *shadow = t % 2 ? rounded(p, n) : NULL;
        cm3_adamw step = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.271f, 0.142625f, 0.5f};
        kernels->adamw(p, shadow, m, v, g, n, &step);
        for (int64_t i = 0; i < n; i++) {
            double grad = 0.5 * g[i], first = 0.9 * m0[i] + 0.1 * grad, second = 0.95 * v0[i] + 0.05 * grad * grad;
            double value = p0[i] * (1 - 1e-2 * 0.1);
            value -= 1e-2 * (first / 0.271) / (sqrt(second / 0.142625) + 1e-8);
            expect(kernels, "adamw: m", i, m[i], first, 1e-7);
            expect(kernels, "adamw: v", i, v[i], second, 1e-7);
            expect(kernels, "adamw: master", i, p[i], value, 1e-6);
            if (shadow) ck_assert_uint_eq(shadow[i], cm3_f32_to_bf16(p[i]));
        }
        free(p), free(m), free(v), free(g), free(p0), free(m0), free(v0), free(shadow);
    }
}
END_TEST

Suite *kernels_rows_suite(void) {
    Suite *suite = suite_create("kernels: rows");
    TCase *tcase = tcase_create("every level");
    tcase_set_timeout(tcase, 60);
    tcase_add_loop_test(tcase, conversions_round_to_even, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, conversions_of_odd_lengths, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, norms, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, softmax_and_gradient, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, softmax_of_nothing, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, cross_entropy_and_gradient, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, activations, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, activations_at_the_ends, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, exponentials_are_accurate, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, swiglu_and_gradient, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, rope_turns_and_turns_back, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, sums, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, adamw_steps, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
