/* Requests on a tiny random model: what they make, their events, cancelling, errors, memory. */
#include <math.h>
#include <pthread.h>

#include "cm3leon/cm3leon.h"
#include "suites.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

/** Writes the tiny model; `zero`: all weights of its language model are 0. */
static void write_model(cm3_context *context, const char *path, bool zero) {
    tiny_parts parts;
    tiny_create(context, 200, &parts);
    for (size_t i = 0; zero && i < parts.lm->parameter_count; i++) {
        cm3_tensor *tensor = parts.lm->parameters[i].tensor;
        memset(tensor->data, 0, (size_t)tensor->count * sizeof(float));
    }
    tiny_write(context, &parts, CM3_F32, path);
    tiny_clear(context, &parts);
}

static test_fixture f; /* a context that computes inside poll */
static cm3_model *model;

static void setup(void) {
    test_fixture_up(&f);
    const char *path = test_path(&f, "tiny.cm3");
    write_model(f.context, path, false);
    ck_assert_msg(cm3_model_load(f.context, path, NULL, &model) == CM3_OK, "%s", cm3_context_message(f.context));
}

static void teardown(void) {
    cm3_model_destroy(model);
    model = NULL;
    test_fixture_down(&f);
}

static cm3_document *prompt_of(cm3_context *context, const char *text) {
    cm3_document *document = NULL;
    ck_assert_int_eq(cm3_document_create(context, &document), CM3_OK);
    if (text) ck_assert_int_eq(cm3_document_add_text(document, text, SIZE_MAX), CM3_OK);
    return document;
}

typedef struct seen {
    int kinds[8], previews, ends, stop_at, events;
    int32_t tokens[4][256], token_count[4];
    cm3_request *cancel;
} seen;

static int watch(void *user, const cm3_event *event) {
    seen *s = user;
    s->kinds[event->kind]++;
    if (event->kind == CM3_EVENT_TOKEN) s->tokens[event->candidate][s->token_count[event->candidate]++] = event->token;
    if (event->kind == CM3_EVENT_END) s->ends++;
    if (s->cancel && s->events == s->stop_at) cm3_request_cancel(s->cancel);
    return !s->cancel && s->stop_at && ++s->events > s->stop_at;
}

static cm3_status draw(cm3_model *of, const char *text, cm3_generate_options *options, seen *s, cm3_document **result) {
    cm3_context *context = of->context;
    cm3_document *prompt = prompt_of(context, text);
    cm3_status status = cm3_generate(of, prompt, options, s ? watch : NULL, s, result);
    cm3_document_destroy(prompt);
    return status;
}

static void codes_of(const cm3_document *document, size_t index, int32_t *codes) {
    cm3_segment segment = {.struct_size = sizeof segment};
    ck_assert_int_eq(cm3_document_get(document, index, &segment), CM3_OK);
    ck_assert_int_eq(segment.kind, CM3_SEGMENT_IMAGE);
    ck_assert_uint_eq(segment.code_count, TINY_TOKENS);
    memcpy(codes, segment.codes, TINY_TOKENS * sizeof *codes);
}

START_TEST(test_a_picture_and_its_events) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = 5;
    options.preview_rows = 2;
    seen s = {0};
    cm3_document *result = NULL;
    ck_assert_msg(draw(model, "a red circle", &options, &s, &result) == CM3_OK, "%s", cm3_context_message(f.context));
    ck_assert_int_eq(s.kinds[CM3_EVENT_TOKEN], TINY_TOKENS);
    ck_assert_int_eq(s.kinds[CM3_EVENT_IMAGE], 1);
    ck_assert_int_eq(s.kinds[CM3_EVENT_IMAGE_ROWS], 3); /* 8 rows of tokens, every 2, the last is the picture itself */
    ck_assert_int_eq(s.kinds[CM3_EVENT_END], 1);
    ck_assert_int_gt(s.kinds[CM3_EVENT_PROGRESS], 0);
    int32_t codes[TINY_TOKENS];
    codes_of(result, 0, codes);
    for (int i = 0; i < TINY_TOKENS; i++) ck_assert_int_eq(model->tokenizer->special.image[codes[i]], s.tokens[0][i]);
    cm3_segment segment = {.struct_size = sizeof segment};
    cm3_document_get(result, 0, &segment);
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(segment.image, &view), CM3_OK);
    ck_assert_int_eq(view.width, 16);
    cm3_document_destroy(result);
}
END_TEST

START_TEST(test_same_seed_same_picture) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    int32_t first[TINY_TOKENS], again[TINY_TOKENS], other[TINY_TOKENS];
    cm3_document *result = NULL;
    int32_t *into[] = {first, again, other};
    for (int i = 0; i < 3; i++) {
        options.seed = i < 2 ? 11 : 12;
        ck_assert_int_eq(draw(model, "a red circle", &options, NULL, &result), CM3_OK);
        codes_of(result, 0, into[i]);
        cm3_document_destroy(result);
    }
    ck_assert_mem_eq(first, again, sizeof first);
    ck_assert_mem_ne(first, other, sizeof first);
}
END_TEST

START_TEST(test_candidates_differ_and_are_parted_by_breaks) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = 3;
    options.candidates = 3;
    cm3_document *result = NULL;
    size_t count = 0;
    int32_t codes[3][TINY_TOKENS];
    ck_assert_int_eq(draw(model, "a red circle", &options, NULL, &result), CM3_OK);
    ck_assert_int_eq(cm3_document_count(result, &count), CM3_OK);
    ck_assert_uint_eq(count, 5);
    for (size_t i = 0; i < 3; i++) codes_of(result, 2 * i, codes[i]);
    ck_assert_mem_ne(codes[0], codes[1], sizeof codes[0]);
    ck_assert_mem_ne(codes[1], codes[2], sizeof codes[0]);
    cm3_document_destroy(result);
}
END_TEST

/* Guidance: what the sampler sees at the first token is u + s (c - u) of two plain forward passes. */
static float guided[4096];

static int record(void *user, const cm3_sampler_step *step) {
    int *calls = user;
    if ((*calls)++ == 0) memcpy(guided, step->logits, (size_t)step->vocab_size * sizeof(float));
    return 0;
}

START_TEST(test_guidance_formula) {
    cm3_sampler *sampler = NULL;
    int calls = 0;
    cm3_sampler_rule rule = {.struct_size = sizeof rule, .apply = record, .user = &calls};
    ck_assert_int_eq(cm3_sampler_create(f.context, &sampler), CM3_OK);
    ck_assert_int_eq(cm3_sampler_add_rule(sampler, &rule), CM3_OK);
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = 1;
    options.guidance_scale = 2.5f;
    options.compute = CM3_COMPUTE_F32;
    options.sampler = sampler;
    ck_assert_int_eq(draw(model, "a red circle", &options, NULL, NULL), CM3_OK);
    ck_assert_int_eq(calls, TINY_TOKENS);
    const cm3_special_tokens *special = &model->tokenizer->special;
    int32_t ids[64] = {special->eod}, plain[] = {special->eod, special->sentinels[0], special->break_};
    size_t count = 0;
    ck_assert_int_eq(cm3_tokenizer_encode(model->tokenizer, "a red circle", SIZE_MAX, 0, ids + 1, 60, &count), CM3_OK);
    ids[++count] = special->break_;
    count++;
    int32_t vocab = model->lm->config.vocab_size;
    float *c = calloc(count * (size_t)vocab, sizeof *c), *u = calloc(3 * (size_t)vocab, sizeof *u);
    ck_assert_int_eq(cm3_model_logits(model, ids, count, CM3_COMPUTE_F32, c), CM3_OK);
    ck_assert_int_eq(cm3_model_logits(model, plain, 3, CM3_COMPUTE_F32, u), CM3_OK);
    for (int32_t i = 0; i < vocab; i++) {
        float cond = c[(count - 1) * (size_t)vocab + (size_t)i], uncond = u[2 * (size_t)vocab + (size_t)i];
        if (special->image_code[i] < 0) {
            ck_assert(isinf(guided[i]));
        } else {
            ck_assert_float_eq_tol(guided[i], uncond + 2.5f * (cond - uncond), 1e-4f * (1 + fabsf(guided[i])));
        }
    }
    free(c);
    free(u);
    cm3_sampler_destroy(sampler);
}
END_TEST

START_TEST(test_text_ends_at_max_tokens) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = CM3_MODALITY_TEXT;
    options.seed = 4;
    options.max_tokens = 20;
    seen s = {0};
    ck_assert_int_eq(draw(model, "a", &options, &s, NULL), CM3_OK);
    ck_assert_int_le(s.kinds[CM3_EVENT_TOKEN], 20);
    for (int i = 0; i < s.token_count[0]; i++)
        ck_assert_int_lt(model->tokenizer->special.image_code[s.tokens[0][i]], 0);
    ck_assert_int_eq(s.kinds[CM3_EVENT_IMAGE], 0);
    options.modality = CM3_MODALITY_INTERLEAVED;
    options.max_tokens = 0;
    memset(&s, 0, sizeof s);
    ck_assert_int_eq(draw(model, "a", &options, &s, NULL), CM3_OK);
    ck_assert_int_eq(s.kinds[CM3_EVENT_END], 1);
}
END_TEST

START_TEST(test_several_requests_at_once) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    cm3_document *prompt = prompt_of(f.context, "a red circle");
    cm3_request *requests[3];
    for (int i = 0; i < 3; i++) {
        options.seed = (uint64_t)i + 1;
        ck_assert_int_eq(cm3_request_start(model, prompt, &options, &requests[i]), CM3_OK);
    }
    cm3_document_destroy(prompt);
    int finished = 0;
    for (int turn = 0; turn < 100000 && finished < 3; turn++) {
        finished = 0;
        for (int i = 0; i < 3; i++) {
            int done = 0;
            ck_assert_int_eq(cm3_request_poll(requests[i], 100, NULL, NULL, &done), CM3_OK);
            finished += done;
        }
    }
    ck_assert_int_eq(finished, 3);
    for (int i = 0; i < 3; i++) {
        cm3_timings timings = {.struct_size = sizeof timings};
        ck_assert_int_eq(cm3_request_timings(requests[i], &timings), CM3_OK);
        ck_assert_uint_eq(timings.new_tokens, TINY_TOKENS);
        cm3_request_destroy(requests[i]);
    }
}
END_TEST

START_TEST(test_stopping_at_any_event_keeps_what_was_made) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = 2;
    for (int at = 1; at < 120; at += 17) {
        seen s = {.stop_at = at};
        cm3_document *result = NULL;
        cm3_status status = draw(model, "a red circle", &options, &s, &result);
        ck_assert_msg(status == CM3_ERROR_CANCELLED || status == CM3_OK, "status %d", (int)status);
        ck_assert_ptr_nonnull(result);
        cm3_document_destroy(result);
    }
}
END_TEST

static void *cancel_soon(void *request) {
    usleep(3000);
    cm3_request_cancel(request);
    return NULL;
}

START_TEST(test_cancel_from_another_thread_and_destroy_while_running) {
    test_allocator memory;
    test_allocator_init(&memory);
    cm3_allocator allocator = test_allocator_of(&memory);
    cm3_context_options context_options;
    cm3_context_options_init(&context_options);
    context_options.threads = 2;
    context_options.allocator = &allocator;
    cm3_context *context = NULL;
    cm3_model *own = NULL;
    ck_assert_int_eq(cm3_context_create(&context_options, &context), CM3_OK);
    ck_assert_int_eq(cm3_model_load(context, test_path(&f, "tiny.cm3"), NULL, &own), CM3_OK);
    cm3_document *prompt = prompt_of(context, "a red circle");
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    for (int round = 0; round < 20; round++) {
        cm3_request *request = NULL;
        options.candidates = 1 + round % 4;
        ck_assert_int_eq(cm3_request_start(own, prompt, &options, &request), CM3_OK);
        if (round % 2) {
            pthread_t thread;
            ck_assert_int_eq(pthread_create(&thread, NULL, cancel_soon, request), 0);
            cm3_status status = cm3_request_wait(request, NULL, NULL);
            ck_assert_msg(status == CM3_OK || status == CM3_ERROR_CANCELLED, "status %d", (int)status);
            pthread_join(thread, NULL);
        }
        cm3_request_destroy(request);
    }
    cm3_document_destroy(prompt);
    cm3_model_destroy(own);
    cm3_context_destroy(context);
    ck_assert_int_eq(atomic_load(&memory.live), 0);
}
END_TEST

START_TEST(test_prompts_that_do_not_fit) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    char text[600];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = 0;
    ck_assert_int_eq(draw(model, text, &options, NULL, NULL), CM3_ERROR_TOO_LONG);
    ck_assert_msg(strstr(cm3_context_message(f.context), "200") != NULL, "%s", cm3_context_message(f.context));
    ck_assert_int_eq(draw(model, NULL, &options, NULL, NULL), CM3_OK); /* an empty prompt is the unconditional one */
    ck_assert_int_eq(draw(model, "<sentinel:0></s>IMGIMGAZ", &options, NULL, NULL),
                     CM3_OK); /* special-token text is text */
    cm3_document *document = prompt_of(f.context, NULL);
    ck_assert_int_eq(cm3_document_add_text(document, "a\xff", 2), CM3_ERROR_UTF8);
    ck_assert_int_eq(cm3_document_add_mask(document, 16), CM3_OK);
    ck_assert_int_eq(cm3_generate(model, document, &options, NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_document_destroy(document);
}
END_TEST

START_TEST(test_wrong_arguments) {
    cm3_generate_options options;
    cm3_document *prompt = prompt_of(f.context, "a");
    cm3_request *request = (cm3_request *)prompt;
    ck_assert_int_eq(cm3_request_start(NULL, prompt, NULL, &request), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(request);
    ck_assert_int_eq(cm3_request_start(model, NULL, NULL, &request), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_request_start(model, prompt, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    for (int i = 0; i < 9; i++) {
        cm3_generate_options_init(&options);
        if (i == 0) options.candidates = 0;
        if (i == 1) options.candidates = 65;
        if (i == 2) options.guidance_scale = NAN;
        if (i == 3) options.temperature = -0.1f;
        if (i == 4) options.top_p = 0;
        if (i == 5) options.max_tokens = -1;
        if (i == 6) options.modality = (cm3_modality)9;
        if (i == 7) options.repetition_penalty = 0;
        if (i == 8) options.struct_size = 0;
        ck_assert_msg(cm3_request_start(model, prompt, &options, &request) == CM3_ERROR_INVALID_ARGUMENT, "case %d", i);
        ck_assert_ptr_null(request);
    }
    ck_assert_int_eq(cm3_request_poll(NULL, 0, NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_request_wait(NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_request_result(NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_request_seed(NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_request_timings(NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_request_cancel(NULL);
    cm3_request_destroy(NULL);
    cm3_document_destroy(prompt);
}
END_TEST

START_TEST(test_zeroed_weights_draw_noise) {
    const char *path = test_path(&f, "zero.cm3");
    cm3_model *zero = NULL;
    write_model(f.context, path, true);
    ck_assert_int_eq(cm3_model_load(f.context, path, NULL, &zero), CM3_OK);
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.candidates = 16;
    options.top_p = 1;
    options.seed = 8;
    cm3_document *result = NULL;
    int counts[TINY_CODES] = {0};
    ck_assert_int_eq(draw(zero, "a red circle", &options, NULL, &result), CM3_OK);
    for (size_t i = 0; i < 16; i++) {
        int32_t codes[TINY_TOKENS];
        codes_of(result, 2 * i, codes);
        for (int k = 0; k < TINY_TOKENS; k++) counts[codes[k]]++;
    }
    double chi = 0, each = 16.0 * TINY_TOKENS / TINY_CODES;
    for (int i = 0; i < TINY_CODES; i++) chi += pow(counts[i] - each, 2) / each;
    ck_assert_msg(chi < 37.7, "chi-square %g", chi); /* 15 degrees of freedom, p = 0.001 */
    cm3_document_destroy(result);
    cm3_model_destroy(zero);
}
END_TEST

Suite *request_suite(void) {
    Suite *suite = suite_create("request");
    TCase *all = tcase_create("all");
    tcase_set_timeout(all, 180);
    tcase_add_checked_fixture(all, setup, teardown);
    tcase_add_test(all, test_a_picture_and_its_events);
    tcase_add_test(all, test_same_seed_same_picture);
    tcase_add_test(all, test_candidates_differ_and_are_parted_by_breaks);
    tcase_add_test(all, test_guidance_formula);
    tcase_add_test(all, test_text_ends_at_max_tokens);
    tcase_add_test(all, test_several_requests_at_once);
    tcase_add_test(all, test_stopping_at_any_event_keeps_what_was_made);
    tcase_add_test(all, test_cancel_from_another_thread_and_destroy_while_running);
    tcase_add_test(all, test_prompts_that_do_not_fit);
    tcase_add_test(all, test_wrong_arguments);
    tcase_add_test(all, test_zeroed_weights_draw_noise);
    suite_add_tcase(suite, all);
    return suite;
}
