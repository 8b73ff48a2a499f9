/* Mixtures of streams against NumPy's, and contrast and scores in requests. */
#include "generate/mixing.h"

#include <jansson.h>
#include <math.h>

#include "suites.h"
#include "support.h"

static void read_floats(const json_t *list, float *to) {
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *value = json_array_get(list, i);
        to[i] = json_is_null(value) ? -INFINITY : (float)json_number_value(value);
    }
}

static void expect_close(const float *found, const json_t *expected, int32_t n, float offset) {
    for (int32_t i = 0; i < n; i++) {
        const json_t *value = json_array_get(expected, (size_t)i);
        if (json_is_null(value)) {
            ck_assert_msg(found[i] == -INFINITY, "%d: %g", i, (double)found[i]);
        } else {
            ck_assert_msg(fabs((double)(found[i] - offset) - json_number_value(value)) < 1e-5, "%d: %g", i,
                          (double)(found[i] - offset));
        }
    }
}

/** The formulas of tests/data/generate/make_mixing.py. */
START_TEST(formulas) {
    json_t *root = json_load_file(CM3_TEST_DATA "/generate/mixing.json", 0, NULL), *test;
    size_t number;
    ck_assert_ptr_nonnull(root);
    json_array_foreach(json_object_get(root, "cases"), number, test) {
        float c[300], u[300], p[300], to[300], work[300], own[300];
        int32_t n = (int32_t)json_array_size(json_object_get(test, "c"));
        float scale = (float)json_number_value(json_object_get(test, "scale"));
        float image_scale = (float)json_number_value(json_object_get(test, "image_scale"));
        float alpha = (float)json_number_value(json_object_get(test, "alpha"));
        int32_t k = (int32_t)json_integer_value(json_object_get(test, "k"));
        read_floats(json_object_get(test, "c"), c);
        read_floats(json_object_get(test, "u"), u);
        read_floats(json_object_get(test, "p"), p);
        const float *const streams[] = {c, u, p};
        cm3_mix_streams(to, streams, (const float[]){scale, 1 - scale}, 2, n);
        expect_close(to, json_object_get(test, "guided"), n, 0);
        cm3_mix_streams(to, streams, (const float[]){scale, 1 - image_scale, image_scale - scale}, 3, n);
        expect_close(to, json_object_get(test, "three"), n, 0);
        cm3_mix_streams(to, streams, (const float[]){1, -1}, 2, n);
        memcpy(own, c, sizeof own);
        const json_t *barred = json_object_get(test, "barred");
        for (size_t i = 0; i < json_array_size(barred); i++) {
            to[json_integer_value(json_array_get(barred, i))] = -INFINITY;
            own[json_integer_value(json_array_get(barred, i))] = -INFINITY;
        }
        cm3_keep_plausible(to, c, n, alpha, k, work);
        float highest = -INFINITY;
        for (int32_t i = 0; i < n; i++) highest = to[i] > highest ? to[i] : highest;
        expect_close(to, json_object_get(test, "contrast"), n, highest);
        for (int32_t i = 0; i < n; i++) work[i] = (float)cm3_log_probability(own, n, i);
        expect_close(work, json_object_get(test, "own"), n, 0);
    }
    ck_assert_uint_eq(number, 5);
    json_decref(root);
}
END_TEST

/** Selection against sorting, equal values included. */
static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

START_TEST(the_kth_largest) {
    cm3_random random = cm3_random_make(4, 0);
    for (int t = 0; t < 2000; t++) {
        float c[64], scores[64], sorted[64], work[64];
        int32_t n = 1 + (int32_t)cm3_random_below(&random, 64), k = 1 + (int32_t)cm3_random_below(&random, 70);
        for (int32_t i = 0; i < n; i++) {
            c[i] = sorted[i] = (float)cm3_random_below(&random, t % 2 ? 8 : 1000);
            scores[i] = 0;
        }
        qsort(sorted, (size_t)n, sizeof *sorted, descending);
        cm3_keep_plausible(scores, c, n, 1, k, work);
        for (int32_t i = 0; i < n; i++) {
            ck_assert_int_eq(scores[i] == 0, c[i] >= sorted[(k < n ? k : n) - 1]);
        }
    }
}
END_TEST

/* --- requests --- */

typedef struct drawn {
    int32_t tokens[2][TINY_TOKENS];
    int count[2];
    double log_probability[2];
} drawn;

static int take(void *user, const cm3_event *event) {
    drawn *d = user;
    if (event->kind == CM3_EVENT_TOKEN) d->tokens[event->candidate][d->count[event->candidate]++] = event->token;
    if (event->kind == CM3_EVENT_END) d->log_probability[event->candidate] = event->log_probability;
    return 0;
}

static void draw(gen_case *c, const cm3_generate_options *options, drawn *d) {
    memset(d, 0, sizeof *d);
    cm3_document *prompt = gen_prompt(c, "a red ball");
    GEN_OK(c, cm3_generate(c->model, prompt, options, take, d, NULL));
    cm3_document_destroy(prompt);
    ck_assert_int_eq(d->count[0], TINY_TOKENS);
}

static cm3_generate_options greedy(void) {
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.temperature = 0;
    o.seed = 3;
    o.compute = CM3_COMPUTE_F32;
    return o;
}

/** Plain CD with alpha 1 leaves the most probable token alone: it is greedy decoding without guidance. */
START_TEST(contrast_of_one_is_greedy) {
    gen_case c;
    drawn plain, contrasted, wide;
    gen_up(&c, 2, 128);
    cm3_generate_options o = greedy();
    o.guidance_scale = 1;
    draw(&c, &o, &plain);
    o.contrast_alpha = 1;
    draw(&c, &o, &contrasted);
    ck_assert_mem_eq(plain.tokens[0], contrasted.tokens[0], sizeof plain.tokens[0]);
    o.contrast_alpha = 1e-6f;
    o.contrast_k = 4;
    draw(&c, &o, &wide);
    ck_assert_mem_ne(plain.tokens[0], wide.tokens[0], sizeof plain.tokens[0]);
    gen_down(&c);
}
END_TEST

/** Half of the candidates by guidance, half by contrast. */
START_TEST(mixed_candidates) {
    gen_case c;
    drawn guided, contrasted, both;
    gen_up(&c, 1, 128);
    cm3_generate_options o = greedy();
    o.guidance_scale = 2;
    draw(&c, &o, &guided);
    o.contrast_alpha = 0.01f;
    o.contrast_k = 3;
    draw(&c, &o, &contrasted);
    o.candidates = 2;
    o.contrast_candidates = 1;
    draw(&c, &o, &both);
    ck_assert_mem_eq(both.tokens[0], guided.tokens[0], sizeof guided.tokens[0]);
    ck_assert_mem_eq(both.tokens[1], contrasted.tokens[0], sizeof guided.tokens[0]);
    ck_assert_mem_ne(both.tokens[0], both.tokens[1], sizeof guided.tokens[0]);
    gen_down(&c);
}
END_TEST

/** A candidate's score is the sum over the logits of a plain forward pass, image codes alone. */
START_TEST(scores) {
    gen_case c;
    drawn d;
    gen_up(&c, 2, 128);
    cm3_generate_options o = greedy();
    o.guidance_scale = _i ? 3 : 1;
    o.scores = 1;
    draw(&c, &o, &d);
    int32_t ids[128] = {EOD};
    size_t count, vocab;
    cm3_tokenizer *tokenizer;
    cm3_model_info info = {.struct_size = sizeof info};
    GEN_OK(&c, cm3_model_get_info(c.model, &info));
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a red ball", SIZE_MAX, CM3_ENCODE_PLAIN, ids + 1, 32, &count));
    cm3_tokenizer_destroy(tokenizer);
    ids[++count] = BREAK;
    count++;
    memcpy(ids + count, d.tokens[0], sizeof d.tokens[0]);
    vocab = (size_t)info.vocab_size;
    float *logits = malloc((count + TINY_TOKENS) * vocab * sizeof *logits);
    GEN_OK(&c, cm3_model_logits(c.model, ids, count + TINY_TOKENS, CM3_COMPUTE_F32, logits));
    double expected = 0;
    for (size_t i = 0; i < TINY_TOKENS; i++) {
        const float *row = logits + (count - 1 + i) * vocab;
        expected += cm3_log_probability(row + IMAGE, TINY_CODES, d.tokens[0][i] - IMAGE);
    }
    free(logits);
    ck_assert_msg(fabs(d.log_probability[0] - expected) < 1e-2, "%g, %g", d.log_probability[0], expected);
    ck_assert(expected < -1);
    gen_down(&c);
}
END_TEST

/** The last logits of ids, image codes alone. */
static void last_logits(gen_case *c, const int32_t *ids, size_t count, float codes[TINY_CODES]) {
    cm3_model_info info = {.struct_size = sizeof info};
    GEN_OK(c, cm3_model_get_info(c->model, &info));
    float *logits = malloc(count * (size_t)info.vocab_size * sizeof *logits);
    GEN_OK(c, cm3_model_logits(c->model, ids, count, CM3_COMPUTE_F32, logits));
    memcpy(codes, logits + (count - 1) * (size_t)info.vocab_size + IMAGE, TINY_CODES * sizeof *codes);
    free(logits);
}

/** An edit: a picture, a text, a picture; the third stream knows the first picture alone. */
START_TEST(three_streams) {
    gen_case c;
    drawn d;
    int32_t codes[TINY_TOKENS], streams[3][256] = {{EOD}, {EOD, SENTINEL, BREAK}, {EOD, BREAK}};
    size_t counts[3] = {1, 3, 2}, text;
    gen_up(&c, 1 + _i, 256);
    for (int i = 0; i < TINY_TOKENS; i++) codes[i] = i * 5 % TINY_CODES;
    cm3_document *prompt, *pictures;
    GEN_OK(&c, cm3_document_create(c.context, &prompt));
    GEN_OK(&c, cm3_document_add_break(prompt));
    GEN_OK(&c, cm3_document_add_codes(prompt, codes, TINY_TOKENS));
    GEN_OK(&c, cm3_document_add_break(prompt));
    GEN_OK(&c, cm3_document_add_text(prompt, "a red cube", SIZE_MAX));
    GEN_OK(&c, cm3_document_create(c.context, &pictures));
    GEN_OK(&c, cm3_document_add_break(pictures));
    GEN_OK(&c, cm3_document_add_codes(pictures, codes, TINY_TOKENS));
    GEN_OK(&c, cm3_document_add_break(pictures));
    GEN_OK(&c, cm3_document_add_mask(pictures, 0));
    cm3_generate_options o = greedy();
    o.guidance_scale = 3;
    o.image_guidance_scale = 1.4f;
    o.picture_prompt = pictures;
    o.candidates = 1 + _i;
    memset(&d, 0, sizeof d);
    GEN_OK(&c, cm3_generate(c.model, prompt, &o, take, &d, NULL));
    cm3_document_destroy(prompt);
    cm3_document_destroy(pictures);
    cm3_tokenizer *tokenizer;
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    streams[0][counts[0]++] = BREAK;
    for (int s = 0; s < 3; s += 2) {
        for (int i = 0; i < TINY_TOKENS; i++) streams[s][counts[s]++] = IMAGE + codes[i];
        streams[s][counts[s]++] = BREAK;
    }
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a red cube", SIZE_MAX, CM3_ENCODE_PLAIN, streams[0] + counts[0], 32,
                                    &text));
    cm3_tokenizer_destroy(tokenizer);
    counts[0] += text;
    streams[0][counts[0]++] = BREAK;
    streams[2][counts[2]++] = SENTINEL;
    streams[2][counts[2]++] = BREAK;
    int equal = 0;
    for (int t = 0; t < TINY_TOKENS; t++) {
        float own[3][TINY_CODES];
        for (int s = 0; s < 3; s++) last_logits(&c, streams[s], counts[s], own[s]);
        int best = 0;
        double most = -INFINITY;
        for (int i = 0; i < TINY_CODES; i++) {
            double u = (double)own[1][i], p = (double)own[2][i],
                   mixed = u + 1.4 * (p - u) + 3 * ((double)own[0][i] - p);
            if (mixed > most) most = mixed, best = i;
        }
        equal += d.tokens[0][t] == IMAGE + best;
        for (int s = 0; s < 3; s++) streams[s][counts[s]++] = d.tokens[0][t];
    }
    ck_assert_int_ge(equal, TINY_TOKENS - 1); /* one might be a tie but for rounding */
    if (_i) ck_assert_mem_eq(d.tokens[0], d.tokens[1], sizeof d.tokens[0]);
    gen_down(&c);
}
END_TEST

START_TEST(refused) {
    gen_case c;
    cm3_memory_estimate estimate = {.struct_size = sizeof estimate};
    gen_up(&c, 1, 128);
    static const struct {
        float alpha;
        int32_t k, candidates;
    } wrong[] = {{-0.1f, 1, 0}, {1.1f, 1, 0}, {NAN, 1, 0}, {0.5f, 0, 0}, {0.5f, 1, 3}, {0.5f, 1, -1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cm3_generate_options o = greedy();
        o.candidates = 2;
        o.contrast_alpha = wrong[i].alpha;
        o.contrast_k = wrong[i].k;
        o.contrast_candidates = wrong[i].candidates;
        ck_assert_int_eq(cm3_estimate(c.model, &o, 3, &estimate), CM3_ERROR_INVALID_ARGUMENT);
    }
    gen_down(&c);
}
END_TEST

Suite *mixing_suite(void) {
    Suite *suite = suite_create("generate/mixing");
    TCase *tcase = tcase_create("mixing");
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, formulas);
    tcase_add_test(tcase, the_kth_largest);
    tcase_add_test(tcase, contrast_of_one_is_greedy);
    tcase_add_test(tcase, mixed_candidates);
    tcase_add_loop_test(tcase, scores, 0, 2);
    tcase_add_loop_test(tcase, three_streams, 0, 2);
    tcase_add_test(tcase, refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
