/* What requests refuse: NULL, numbers out of range, prompts that do not fit, models that lack a part. */
#include <math.h>

#include "suites.h"
#include "support.h"

static gen_case c;
static cm3_document *prompt;

static void up(void) {
    gen_up(&c, 0, 96);
    prompt = gen_prompt(&c, "a red ball");
}

static void down(void) {
    cm3_document_destroy(prompt);
    gen_down(&c);
}

#define INVALID(call) ck_assert_int_eq(call, CM3_ERROR_INVALID_ARGUMENT)
#define SAYS(words) ck_assert_msg(test_says(&c.fixture, words), "%s", cm3_context_message(c.context))

START_TEST(nulls) {
    cm3_request *request = (cm3_request *)&request;
    cm3_document *result = (cm3_document *)&result;
    uint64_t seed;
    cm3_timings timings = {.struct_size = sizeof timings};
    cm3_generate_options_init(NULL);
    INVALID(cm3_request_start(NULL, prompt, NULL, &request));
    ck_assert_ptr_null(request);
    INVALID(cm3_request_start(c.model, NULL, NULL, &request));
    INVALID(cm3_request_start(c.model, prompt, NULL, NULL));
    INVALID(cm3_generate(NULL, prompt, NULL, NULL, NULL, &result));
    ck_assert_ptr_null(result);
    INVALID(cm3_generate(c.model, NULL, NULL, NULL, NULL, &result));
    INVALID(cm3_request_poll(NULL, 0, NULL, NULL, NULL));
    INVALID(cm3_request_wait(NULL, NULL, NULL));
    INVALID(cm3_request_seed(NULL, &seed));
    INVALID(cm3_request_result(NULL, &result));
    INVALID(cm3_request_timings(NULL, &timings));
    ck_assert(cm3_request_done(NULL));
    ck_assert_str_eq(cm3_request_message(NULL), "");
    cm3_request_cancel(NULL);
    cm3_request_destroy(NULL);
    ck_assert_int_eq(cm3_generate(c.model, prompt, NULL, NULL, NULL, NULL), CM3_OK); /* all defaults, no result */
    GEN_OK(&c, cm3_request_start(c.model, prompt, NULL, &request));
    INVALID(cm3_request_seed(request, NULL));
    GEN_OK(&c, cm3_request_wait(request, NULL, NULL));
    INVALID(cm3_request_result(request, NULL));
    INVALID(cm3_request_timings(request, NULL));
    timings.struct_size = 1;
    INVALID(cm3_request_timings(request, &timings));
    cm3_request_destroy(request);
}
END_TEST

/** Options with one field changed. */
static void refuse(const cm3_generate_options *options, const char *says) {
    cm3_request *request;
    int64_t before = atomic_load(&c.fixture.memory.live);
    INVALID(cm3_request_start(c.model, prompt, options, &request));
    ck_assert_ptr_null(request);
    SAYS(says);
    ck_assert_int_eq(atomic_load(&c.fixture.memory.live), before);
}

START_TEST(sampler_nulls) {
    cm3_sampler *sampler = (cm3_sampler *)&sampler;
    const cm3_sampler_rule rule = {.struct_size = sizeof rule};
    float logits[4] = {0};
    int32_t token;
    cm3_load_options_init(NULL);
    INVALID(cm3_sampler_create(NULL, &sampler));
    ck_assert_ptr_null(sampler);
    INVALID(cm3_sampler_create(c.context, NULL));
    INVALID(cm3_sampler_add_temperature(NULL, 1));
    INVALID(cm3_sampler_add_top_k(NULL, 1));
    INVALID(cm3_sampler_add_top_p(NULL, 1));
    INVALID(cm3_sampler_add_repetition_penalty(NULL, 1));
    INVALID(cm3_sampler_add_rule(NULL, &rule));
    INVALID(cm3_sampler_sample(NULL, logits, 4, NULL, 0, 1, 0, 0, &token));
    cm3_sampler_destroy(NULL);
    GEN_OK(&c, cm3_sampler_create(c.context, &sampler));
    INVALID(cm3_sampler_add_rule(sampler, NULL));
    INVALID(cm3_sampler_add_rule(sampler, &rule)); /* no function */
    INVALID(cm3_sampler_sample(sampler, NULL, 4, NULL, 0, 1, 0, 0, &token));
    INVALID(cm3_sampler_sample(sampler, logits, 0, NULL, 0, 1, 0, 0, &token));
    INVALID(cm3_sampler_sample(sampler, logits, 4, NULL, 0, 1, 0, 0, NULL));
    cm3_sampler_destroy(sampler);
}
END_TEST

START_TEST(options) {
    cm3_generate_options o, d;
    cm3_generate_options_init(&d);
    ck_assert_int_eq(d.candidates, 1);
    ck_assert(d.modality == CM3_MODALITY_IMAGE && d.guidance_scale == 1.5f && d.temperature == 0.3f && d.top_p == 0.9f);
#define REFUSE(field, value)                                                                                           \
    o = d;                                                                                                             \
    o.field = value;                                                                                                   \
    refuse(&o, #field)
    REFUSE(struct_size, 3);
    REFUSE(modality, (cm3_modality)0);
    REFUSE(modality, (cm3_modality)6);
    REFUSE(candidates, 0);
    REFUSE(candidates, 65);
    REFUSE(candidates, -1);
    REFUSE(guidance_scale, -0.5f);
    REFUSE(guidance_scale, 101);
    REFUSE(guidance_scale, NAN);
    REFUSE(temperature, -1);
    REFUSE(temperature, 101);
    REFUSE(temperature, NAN);
    REFUSE(top_k, -1);
    REFUSE(top_p, 0);
    REFUSE(top_p, 1.5f);
    REFUSE(top_p, NAN);
    REFUSE(repetition_penalty, 0);
    REFUSE(repetition_penalty, -1);
    REFUSE(repetition_penalty, INFINITY);
    REFUSE(repetition_penalty, NAN);
    REFUSE(max_tokens, -1);
    REFUSE(preview_rows, -1);
    REFUSE(compute, (cm3_compute)3);
    REFUSE(encode_flags, 4);
}
END_TEST

/* A struct of an older or a newer caller. */
START_TEST(struct_sizes) {
    struct {
        cm3_generate_options options;
        uint64_t more[2];
    } newer;
    memset(&newer, 0, sizeof newer);
    cm3_generate_options_init(&newer.options);
    cm3_request *request;
    newer.options.seed = 4;
    newer.options.struct_size = sizeof newer;
    GEN_OK(&c, cm3_request_start(c.model, prompt, &newer.options, &request));
    cm3_request_destroy(request);
    newer.more[1] = 1;
    INVALID(cm3_request_start(c.model, prompt, &newer.options, &request));
    newer.options.struct_size = offsetof(cm3_generate_options, guidance_scale);
    newer.options.guidance_scale = NAN; /* beyond the caller's struct: not looked at */
    GEN_OK(&c, cm3_request_start(c.model, prompt, &newer.options, &request));
    cm3_request_destroy(request);
}
END_TEST

/* --- prompts ---------------------------------------------------------------------------------------------------------
 */

/** Runs to its end; the status, and what it said of it. */
static cm3_status run(const cm3_document *document, cm3_modality modality, const char *says) {
    static recorder r;
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.modality = modality;
    cm3_request *request;
    GEN_OK(&c, cm3_request_start(c.model, document, &o, &request));
    recorder_init(&r);
    cm3_status status = cm3_request_wait(request, recorder_take, &r);
    if (status != CM3_OK) {
        ck_assert_msg(strstr(cm3_request_message(request), says) != NULL, "%s", cm3_request_message(request));
        ck_assert_int_eq(recorder_number(&r, CM3_EVENT_TOKEN, -1), 0);
        ck_assert(recorder_end(&r, 0)->reason == CM3_END_FAILED && recorder_end(&r, 0)->status == status);
    }
    cm3_document *result;
    GEN_OK(&c, cm3_request_result(request, &result));
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    recorder_clear(&r);
    cm3_document *made;
    ck_assert_int_eq(cm3_generate(c.model, document, &o, NULL, NULL, &made), status);
    ck_assert((made != NULL) == (status == CM3_OK));
    if (status != CM3_OK) SAYS(says);
    cm3_document_destroy(made);
    return status;
}

/* The longest prompt that fits, and one token more. */
START_TEST(too_long) {
    for (int modality = CM3_MODALITY_IMAGE; modality <= CM3_MODALITY_INTERLEAVED; modality++) {
        size_t fits = modality == CM3_MODALITY_IMAGE ? 96 - TINY_TOKENS - 2 : 96 - 2;
        cm3_document *document = gen_prompt(&c, "");
        for (size_t i = 0; i < fits; i++) GEN_OK(&c, cm3_document_add_mask(document, 1));
        ck_assert_int_eq(run(document, (cm3_modality)modality, ""), CM3_OK);
        GEN_OK(&c, cm3_document_add_mask(document, 1));
        ck_assert_int_eq(run(document, (cm3_modality)modality, "96"), CM3_ERROR_TOO_LONG);
        cm3_document_destroy(document);
    }
}
END_TEST

START_TEST(empty_prompt) {
    cm3_document *document = gen_prompt(&c, "");
    for (int modality = CM3_MODALITY_IMAGE; modality <= CM3_MODALITY_INTERLEAVED; modality++) {
        ck_assert_int_eq(run(document, (cm3_modality)modality, ""), CM3_OK);
    }
    cm3_document_destroy(document);
}
END_TEST

START_TEST(bad_prompts) {
    ck_assert_int_eq(cm3_document_add_text(prompt, "a\xff", SIZE_MAX), CM3_ERROR_UTF8);
    ck_assert_int_eq(run(prompt, CM3_MODALITY_IMAGE, ""), CM3_OK); /* as if nothing had been added */
    cm3_document *document = gen_prompt(&c, "a");
    GEN_OK(&c, cm3_document_add_mask(document, TINY_SENTINELS));
    ck_assert_int_eq(run(document, CM3_MODALITY_TEXT, "mask 16"), CM3_ERROR_INVALID_ARGUMENT);
    cm3_document_destroy(document);
    int32_t codes[TINY_TOKENS] = {0};
    document = gen_prompt(&c, "a");
    GEN_OK(&c, cm3_document_add_codes(document, codes, 5));
    ck_assert_int_eq(run(document, CM3_MODALITY_TEXT, "5 codes"), CM3_ERROR_INVALID_ARGUMENT);
    cm3_document_destroy(document);
    codes[3] = TINY_CODES;
    document = gen_prompt(&c, "a");
    GEN_OK(&c, cm3_document_add_codes(document, codes, TINY_TOKENS));
    ck_assert_int_eq(run(document, CM3_MODALITY_TEXT, "code 3 is 16"), CM3_ERROR_INVALID_ARGUMENT);
    cm3_document_destroy(document);
    cm3_image *image; /* pixels are encoded first */
    GEN_OK(&c, cm3_image_create(c.context, 7, 9, &image));
    document = gen_prompt(&c, "a");
    GEN_OK(&c, cm3_document_add_image(document, image));
    cm3_image_destroy(image);
    ck_assert_int_eq(run(document, CM3_MODALITY_TEXT, ""), CM3_OK);
    ck_assert_int_eq(run(document, CM3_MODALITY_IMAGE, "96"), CM3_ERROR_TOO_LONG);
    cm3_document_destroy(document);
}
END_TEST

/* --- models that lack a part -----------------------------------------------------------------------------------------
 */

START_TEST(missing_parts) {
    tiny_parts parts;
    tiny_create(c.context, 96, &parts);
    const cm3_model_content contents[] = {
        {.lm = parts.lm, .lm_dtype = CM3_F32},
        {.vq = parts.vq, .vq_dtype = CM3_F32, .bpe = parts.bpe, .special = &parts.special},
        {.lm = parts.lm, .lm_dtype = CM3_F32, .bpe = parts.bpe, .special = &parts.special},
        {.lm = parts.lm, .lm_dtype = CM3_F32, .bpe = parts.bpe}, /* no token has a role */
    };
    cm3_model *whole = c.model;
    for (int i = 0; i < 4; i++) {
        const char *path = test_path(&c.fixture, "part.cm3");
        GEN_OK(&c, cm3_model_write(c.context, path, &contents[i]));
        GEN_OK(&c, cm3_model_load(c.context, path, NULL, &c.model));
        for (int modality = CM3_MODALITY_IMAGE; modality <= CM3_MODALITY_INTERLEAVED; modality++) {
            cm3_generate_options o;
            cm3_generate_options_init(&o);
            o.modality = (cm3_modality)modality;
            bool works = i == 2 && modality != CM3_MODALITY_IMAGE;
            cm3_document *result;
            cm3_status status = cm3_generate(c.model, prompt, &o, NULL, NULL, &result);
            ck_assert_msg(status == (works ? CM3_OK : CM3_ERROR_UNSUPPORTED), "model %d, modality %d: %s", i, modality,
                          cm3_context_message(c.context));
            cm3_document_destroy(result);
        }
        cm3_model_destroy(c.model);
    }
    c.model = whole;
    tiny_clear(c.context, &parts);
}
END_TEST

Suite *arguments_suite(void) {
    Suite *suite = suite_create("generate/arguments");
    TCase *tcase = tcase_create("arguments");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, nulls);
    tcase_add_test(tcase, sampler_nulls);
    tcase_add_test(tcase, options);
    tcase_add_test(tcase, struct_sizes);
    tcase_add_test(tcase, too_long);
    tcase_add_test(tcase, empty_prompt);
    tcase_add_test(tcase, bad_prompts);
    tcase_add_test(tcase, missing_parts);
    suite_add_tcase(suite, tcase);
    return suite;
}
