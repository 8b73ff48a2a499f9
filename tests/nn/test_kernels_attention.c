/* Attention of every level, forward and backward, against formulas in double. */
#include "kernel_cases.h"
#include "suites.h"

typedef enum limits_kind { CAUSAL, DOCUMENTS, WINDOWS, ANY, LIMITS_KINDS } limits_kind;

/** One random attention; keys is one more than the highest a row may see. */
typedef struct attention_case {
    int64_t rows, keys, d, q_stride, kv_stride, out_stride;
    float *q, *k, *v, *out, *dout, *dq, *dk, *dv, *lse;
    uint16_t *kb, *vb;
    int32_t *first, *last;
    float scale;
} attention_case;

static int64_t span(int64_t rows, int64_t stride, int64_t d) {
    return (rows - 1) * stride + d;
}

static void limits(attention_case *c, numbers_state *numbers, limits_kind kind) {
    int64_t past = c->keys - c->rows; /* keys before the first row's own */
    int32_t document = 0;
    for (int64_t i = 0; i < c->rows; i++) {
        if (kind == DOCUMENTS && next_below(numbers, 9) == 0) document = (int32_t)(past + i);
        c->first[i] = kind == DOCUMENTS ? document : kind == WINDOWS && past + i > 20 ? (int32_t)(past + i - 20) : 0;
        c->last[i] = (int32_t)(past + i);
        if (kind == ANY) {
            c->first[i] = (int32_t)next_below(numbers, c->keys);
            c->last[i] = c->first[i] + (int32_t)next_below(numbers, c->keys - c->first[i]);
        }
    }
}

static attention_case make_attention(numbers_state *numbers, int64_t rows, int64_t d, limits_kind kind) {
    attention_case c = {.rows = rows, .d = d, .keys = rows + (next_below(numbers, 2) ? next_below(numbers, 150) : 0)};
    c.q_stride = d * (1 + next_below(numbers, 3));
    c.kv_stride = d * (1 + next_below(numbers, 3)) + next_below(numbers, 2) * 3;
    c.out_stride = d * (1 + next_below(numbers, 3));
    c.scale = 1.0f / sqrtf((float)d);
    c.q = some(numbers, span(rows, c.q_stride, d), 3.0f);
    c.out = some(numbers, span(rows, c.out_stride, d), 1.0f);
    c.dout = some(numbers, span(rows, c.out_stride, d), 1.0f);
    c.dq = some(numbers, span(rows, c.q_stride, d), 1.0f);
    c.k = some(numbers, span(c.keys, c.kv_stride, d), 3.0f);
    c.v = some(numbers, span(c.keys, c.kv_stride, d), 1.0f);
    c.dk = some(numbers, span(c.keys, c.kv_stride, d), 1.0f);
    c.dv = some(numbers, span(c.keys, c.kv_stride, d), 1.0f);
    c.kb = rounded(c.k, span(c.keys, c.kv_stride, d));
    c.vb = rounded(c.v, span(c.keys, c.kv_stride, d));
    c.lse = some(numbers, rows, 1.0f);
    c.first = block((size_t)rows * sizeof *c.first);
    c.last = block((size_t)rows * sizeof *c.last);
    limits(&c, numbers, kind);
    return c;
}

static void free_attention(attention_case *c) {
    void *all[] = {c->q, c->k, c->v, c->out, c->dout, c->dq, c->dk, c->dv, c->lse, c->kb, c->vb, c->first, c->last};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) free(all[i]);
}

static cm3_attention_args arguments(const attention_case *c, bool bf16) {
    return (cm3_attention_args){.rows = c->rows,
                                .head_dim = c->d,
                                .scale = c->scale,
                                .q = c->q,
                                .q_stride = c->q_stride,
                                .out = c->out,
                                .out_stride = c->out_stride,
                                .k = bf16 ? (void *)c->kb : c->k,
                                .v = bf16 ? (void *)c->vb : c->v,
                                .kv_stride = c->kv_stride,
                                .kv_dtype = bf16 ? CM3_BF16 : CM3_F32,
                                .first = c->first,
                                .last = c->last,
                                .lse = c->lse};
}

static double element(const float *f32, const uint16_t *bf16, bool use_bf16, int64_t i) {
    return use_bf16 ? cm3_bf16_to_f32(bf16[i]) : f32[i];
}

/** Probabilities of row i over its keys, in double; returns the log of the sum. */
static double chances(const attention_case *c, int64_t i, bool bf16, double *p) {
    double highest = -INFINITY, sum = 0;
    for (int64_t j = c->first[i]; j <= c->last[i]; j++) {
        double score = 0;
        for (int64_t t = 0; t < c->d; t++)
            score += c->q[i * c->q_stride + t] * element(c->k, c->kb, bf16, j * c->kv_stride + t);
        p[j] = score * c->scale;
        highest = fmax(highest, p[j]);
    }
    for (int64_t j = c->first[i]; j <= c->last[i]; j++) sum += p[j] = exp(p[j] - highest);
    for (int64_t j = c->first[i]; j <= c->last[i]; j++) p[j] /= sum;
    return highest + log(sum);
}

static void check_forward(const cm3_kernels *kernels, attention_case *c, bool bf16) {
    void *scratch = block((size_t)kernels->attention_scratch(c->rows, c->keys, c->d));
    double *p = block((size_t)c->keys * sizeof *p);
    float *before = copy_of(c->out, span(c->rows, c->out_stride, c->d));
    cm3_attention_args args = arguments(c, bf16);
    kernels->attention(&args, scratch);
    for (int64_t i = 0; i < c->rows; i++) {
        double log_sum = chances(c, i, bf16, p);
        expect(kernels, "attention: lse", i, c->lse[i], log_sum, 2e-6);
        for (int64_t t = 0; t < c->d; t++) {
            double sum = 0;
            for (int64_t j = c->first[i]; j <= c->last[i]; j++)
                sum += p[j] * element(c->v, c->vb, bf16, j * c->kv_stride + t);
            expect(kernels, "attention", i * c->d + t, c->out[i * c->out_stride + t], sum, 5e-6);
        }
        for (int64_t t = c->d; t < c->out_stride && i + 1 < c->rows; t++) {
            ck_assert_float_eq(c->out[i * c->out_stride + t], before[i * c->out_stride + t]);
        }
    }
    free(scratch), free(p), free(before);
}

static void check_backward(const cm3_kernels *kernels, attention_case *c) {
    int64_t d = c->d, stride = c->kv_stride;
    void *scratch = block((size_t)kernels->attention_scratch(c->rows, c->keys, d));
    double *p = block((size_t)c->keys * sizeof *p);
    double *dk = block((size_t)span(c->keys, stride, d) * sizeof *dk),
           *dv = block((size_t)span(c->keys, stride, d) * sizeof *dv);
    for (int64_t i = 0; i < span(c->keys, stride, d); i++) dk[i] = c->dk[i], dv[i] = c->dv[i];
    float *q_before = copy_of(c->dq, span(c->rows, c->q_stride, d));
    cm3_attention_args args = arguments(c, false);
    cm3_attention_grads grads = {.out = c->out, .dout = c->dout, .dq = c->dq, .dk = c->dk, .dv = c->dv};
    kernels->attention(&args, scratch);
    kernels->attention_backward(&args, &grads, scratch);
    for (int64_t i = 0; i < c->rows; i++) {
        const float *q = c->q + i * c->q_stride, *dout = c->dout + i * c->out_stride;
        double mean = 0, *dq = calloc((size_t)d, sizeof *dq), *dp = block((size_t)c->keys * sizeof *dp);
        chances(c, i, false, p);
        for (int64_t j = c->first[i]; j <= c->last[i]; j++) {
            dp[j] = 0;
            for (int64_t t = 0; t < d; t++) dp[j] += (double)dout[t] * c->v[j * stride + t];
            mean += p[j] * dp[j];
        }
        for (int64_t j = c->first[i]; j <= c->last[i]; j++) {
            double slope = p[j] * (dp[j] - mean) * c->scale;
            for (int64_t t = 0; t < d; t++) {
                dq[t] += slope * c->k[j * stride + t];
                dk[j * stride + t] += slope * q[t];
                dv[j * stride + t] += p[j] * dout[t];
            }
        }
        for (int64_t t = 0; t < d; t++)
            expect(kernels, "attention: dq", i * d + t, c->dq[i * c->q_stride + t], dq[t], 2e-5);
        for (int64_t t = d; t < c->q_stride && i + 1 < c->rows; t++) {
            ck_assert_float_eq(c->dq[i * c->q_stride + t], q_before[i * c->q_stride + t]);
        }
        free(dq), free(dp);
    }
    for (int64_t i = 0; i < span(c->keys, stride, d); i++) {
        expect(kernels, "attention: dk", i, c->dk[i], dk[i], 2e-5);
        expect(kernels, "attention: dv", i, c->dv[i], dv[i], 2e-5);
    }
    free(scratch), free(p), free(dk), free(dv), free(q_before);
}

static const int64_t head_dims[] = {64, 32, 128, 16, 96, 48, 8, 24, 20, 7, 80, 100, 3};
#define HEAD_DIMS (int)(sizeof head_dims / sizeof *head_dims)

START_TEST(attention_forward) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {53};
    for (int t = 0; t < 24 * HEAD_DIMS; t++) {
        int64_t rows = t % 3 == 0 ? 1 : 1 + next_below(&numbers, t % 5 == 0 ? 150 : 40);
        attention_case c = make_attention(&numbers, rows, head_dims[t % HEAD_DIMS], (limits_kind)(t % LIMITS_KINDS));
        check_forward(kernels, &c, next_below(&numbers, 2));
        free_attention(&c);
    }
}
END_TEST

START_TEST(attention_gradients) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {59};
    for (int t = 0; t < 12 * HEAD_DIMS; t++) {
        int64_t rows = 1 + next_below(&numbers, t % 5 == 0 ? 150 : 40);
        attention_case c = make_attention(&numbers, rows, head_dims[t % HEAD_DIMS], (limits_kind)(t % LIMITS_KINDS));
        check_backward(kernels, &c);
        free_attention(&c);
    }
}
END_TEST

/** Rows that see no key give 0 and leave the gradients of keys alone. */
START_TEST(rows_that_see_nothing) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {61};
    for (int64_t rows = 1; rows < 80; rows += 13) {
        attention_case c = make_attention(&numbers, rows, 64, CAUSAL);
        for (int64_t i = 0; i < rows; i += 2) c.first[i] = 5, c.last[i] = 4;
        void *scratch = block((size_t)kernels->attention_scratch(rows, c.keys, c.d));
        cm3_attention_args args = arguments(&c, false);
        cm3_attention_grads grads = {.out = c.out, .dout = c.dout, .dq = c.dq, .dk = c.dk, .dv = c.dv};
        kernels->attention(&args, scratch);
        kernels->attention_backward(&args, &grads, scratch);
        for (int64_t i = 0; i < rows * c.d; i++) {
            int64_t row = i / c.d, place = i % c.d;
            double out = c.out[row * c.out_stride + place], dq = c.dq[row * c.q_stride + place];
            ck_assert(isfinite(out) && isfinite(dq));
            if (row % 2 == 0) ck_assert(out == 0 && dq == 0);
            if (row % 2 == 0) ck_assert(c.lse[row] == -INFINITY);
        }
        free(scratch);
        free_attention(&c);
    }
}
END_TEST

/** Scores far apart neither overflow nor lose the one that counts. */
START_TEST(extreme_scores) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {67};
    for (int t = 0; t < 20; t++) {
        attention_case c = make_attention(&numbers, t % 2 ? 1 : 70, 64, CAUSAL);
        c.scale = 20.0f;
        for (int64_t i = 0; i < span(c.rows, c.q_stride, c.d); i++) c.q[i] = (float)(int)c.q[i];
        for (int64_t i = 0; i < span(c.keys, c.kv_stride, c.d); i++) c.k[i] = (float)(int)c.k[i];
        check_forward(kernels, &c, false);
        free_attention(&c);
    }
}
END_TEST

/** Integers and their scales give what the floats that they stand for give. */
START_TEST(integers) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {67};
    for (int t = 0; t < 120; t++) {
        static const int64_t rows[] = {1, 2, 5, 12, 13, 40};
        attention_case c =
            make_attention(&numbers, rows[t % 6], next_size(&numbers) % 140 + 1, (limits_kind)(t % LIMITS_KINDS));
        int64_t count = span(c.keys, c.kv_stride, c.d);
        int8_t *k = block((size_t)count), *v = block((size_t)count);
        float *scales = some(&numbers, 2 * c.keys, 0.02f), *floats = copy_of(c.out, span(c.rows, c.out_stride, c.d));
        for (int64_t i = 0; i < count; i++)
            k[i] = (int8_t)(next_bits(&numbers) >> 24), v[i] = (int8_t)(next_bits(&numbers) >> 24);
        for (int64_t j = 0; j < c.keys; j++) {
            for (int64_t i = 0; i < c.d; i++) {
                int64_t place = j * c.kv_stride + i;
                c.k[place] = scales[j] * (float)k[place];
                c.v[place] = scales[c.keys + j] * (float)v[place];
            }
        }
        void *scratch = block((size_t)kernels->attention_scratch(c.rows, c.keys, c.d));
        cm3_attention_args args = arguments(&c, false);
        args.out = floats;
        kernels->attention(&args, scratch);
        args = arguments(&c, false);
        args.k = k, args.v = v, args.kv_dtype = CM3_I8, args.k_scales = scales, args.v_scales = scales + c.keys;
        kernels->attention(&args, scratch);
        for (int64_t i = 0; i < c.rows; i++) {
            for (int64_t e = 0; e < c.d; e++) {
                int64_t place = i * c.out_stride + e;
                expect(kernels, "attention of integers", place, c.out[place], floats[place], 1e-4);
            }
        }
        free(k), free(v), free(scales), free(floats), free(scratch), free_attention(&c);
    }
}
END_TEST

START_TEST(vectors_become_integers) {
    const cm3_kernels *kernels = level_kernels(_i);
    if (!kernels) return;
    numbers_state numbers = {68};
    for (int t = 0; t < 100; t++) {
        int64_t n = next_size(&numbers);
        float *x = some(&numbers, n, 4.0f), scale, highest = 0;
        int8_t *q = block((size_t)n);
        if (t == 0) memset(x, 0, (size_t)n * sizeof *x);
        kernels->quantise_vector(q, &scale, x, n);
        for (int64_t i = 0; i < n; i++) highest = fmaxf(highest, fabsf(x[i]));
        expect(kernels, "quantise_vector", t, scale, highest / 127, 1e-6);
        for (int64_t i = 0; i < n; i++) ck_assert_float_le(fabsf(scale * (float)q[i] - x[i]), scale * 0.5001f);
        x[n - 1] = NAN;
        kernels->quantise_vector(q, &scale, x, n);
        ck_assert(isnan(scale));
        free(x), free(q);
    }
}
END_TEST

Suite *kernels_attention_suite(void) {
    Suite *suite = suite_create("kernels: attention");
    TCase *tcase = tcase_create("every level");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, attention_forward, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, attention_gradients, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, rows_that_see_nothing, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, extreme_scores, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, integers, 0, KERNEL_LEVELS);
    tcase_add_loop_test(tcase, vectors_become_integers, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
