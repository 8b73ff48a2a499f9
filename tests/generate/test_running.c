/* Requests on their way: poll, cancel, destroy, several hosts' threads, memory running out. */
#include <math.h>
#include <unistd.h>

#include "suites.h"
#include "support.h"

static gen_case c;
static recorder r;
static const int team_sizes[] = {0, 1, 3};
#define TEAMS 3

static cm3_generate_options options_of(cm3_modality modality) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = modality;
    options.seed = 12;
    options.max_tokens = 40;
    options.compute = CM3_COMPUTE_F32;
    return options;
}

static cm3_request *start(const cm3_generate_options *options) {
    cm3_document *prompt = gen_prompt(&c, "a red ball");
    cm3_request *request;
    GEN_OK(&c, cm3_request_start(c.model, prompt, options, &request));
    cm3_document_destroy(prompt); /* it was copied */
    return request;
}

/* --- poll ------------------------------------------------------------------------------------------------------------
 */

/* Budgets from nothing to much; each poll of a context without threads computes something, one of some time whole
 * steps. */
START_TEST(polls_of_any_budget) {
    static const uint64_t budgets[] = {0, 1, 200, 100000, UINT64_MAX};
    gen_up(&c, team_sizes[_i], 128);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        if (_i && !budgets[i]) continue; /* would spin */
        cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
        cm3_request *request = start(&options);
        recorder_init(&r);
        int done = 0, polls = 0;
        while (!done) {
            int tokens = recorder_number(&r, CM3_EVENT_TOKEN, 0);
            ck_assert_int_eq(cm3_request_poll(request, budgets[i], recorder_take, &r, &done), CM3_OK);
            if (!_i && budgets[i] >= 100000) ck_assert(recorder_number(&r, CM3_EVENT_TOKEN, 0) > tokens || done);
            ck_assert_int_lt(polls++, 1000 * TINY_TOKENS);
        }
        if (!_i && budgets[i] <= 1) ck_assert_int_ge(polls, TINY_TOKENS);
        ck_assert_int_eq(recorder_number(&r, CM3_EVENT_TOKEN, 0), TINY_TOKENS);
        ck_assert_int_eq(cm3_request_poll(request, 0, recorder_take, &r, &done), CM3_OK);
        ck_assert(done && cm3_request_done(request));
        ck_assert_str_eq(cm3_request_message(request), "");
        cm3_request_destroy(request);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

/* Without a callback, without `done`; the result is BUSY until the end. */
START_TEST(silent) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&options);
    cm3_document *result;
    cm3_timings timings = {.struct_size = sizeof timings};
    if (!_i) {
        ck_assert(!cm3_request_done(request));
        ck_assert_int_eq(cm3_request_result(request, &result), CM3_ERROR_BUSY);
        ck_assert_ptr_null(result);
        ck_assert_int_eq(cm3_request_timings(request, &timings), CM3_ERROR_BUSY);
    }
    while (!cm3_request_done(request)) ck_assert_int_eq(cm3_request_poll(request, 1000, NULL, NULL, NULL), CM3_OK);
    GEN_OK(&c, cm3_request_result(request, &result));
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    gen_down(&c);
}
END_TEST

/* --- cancel ----------------------------------------------------------------------------------------------------------
 */

/* A callback stops at each of the events in turn: what was told is kept, and the end is told. */
START_TEST(stopped_by_the_callback) {
    gen_up(&c, team_sizes[_i % TEAMS], 128);
    cm3_generate_options options = options_of((cm3_modality)(1 + _i / TEAMS));
    options.preview_rows = 2;
    cm3_document *prompt = gen_prompt(&c, "a red ball");
    int finished = 0, at = 0;
    for (; at < 400 && finished < 1; at += at < 8 ? 1 : 5) {
        recorder_init(&r);
        r.stop_at = at;
        cm3_document *result;
        cm3_status status = cm3_generate(c.model, prompt, &options, recorder_take, &r, &result);
        ck_assert(status == CM3_OK || status == CM3_ERROR_CANCELLED);
        ck_assert_ptr_nonnull(result);
        int32_t tokens[RECORDED], codes = 0;
        int n = recorder_tokens(&r, 0, tokens);
        cm3_end_reason reason = recorder_end(&r, 0)->reason;
        ck_assert_int_eq(status == CM3_ERROR_CANCELLED, r.count > at); /* whoever was faster */
        if (reason == CM3_END_CANCELLED) ck_assert_int_eq(status, CM3_ERROR_CANCELLED);
        if (status == CM3_ERROR_CANCELLED) ck_assert(cm3_context_message(c.context)[0]);
        size_t segments, kept = 0;
        ck_assert_int_eq(cm3_document_count(result, &segments), CM3_OK);
        for (size_t i = 0; i < segments; i++) {
            cm3_segment segment = {.struct_size = sizeof segment};
            ck_assert_int_eq(cm3_document_get(result, i, &segment), CM3_OK);
            kept += segment.code_count;
            if (segment.kind == CM3_SEGMENT_IMAGE)
                ck_assert(!segment.image || segment.code_count == TINY_TOKENS); /* a cancel may come before decoding */
        }
        for (int i = 0; i < n; i++) codes += tokens[i] >= IMAGE && tokens[i] < IMAGE + TINY_CODES;
        ck_assert_int_eq((int)kept, codes);
        finished += r.count <= at;
        cm3_document_destroy(result);
        recorder_clear(&r);
    }
    ck_assert_int_eq(finished, 1);
    cm3_document_destroy(prompt);
    gen_down(&c);
}
END_TEST

START_TEST(cancelled_at_once) {
    gen_up(&c, team_sizes[_i], 128);
    for (int after = 0; after < 3; after++) {
        cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
        options.candidates = 2;
        cm3_request *request = start(&options);
        recorder_init(&r);
        if (after) cm3_request_poll(request, (uint64_t)after, recorder_take, &r, NULL);
        cm3_request_cancel(request);
        cm3_request_cancel(request);
        cm3_status status = cm3_request_wait(request, recorder_take, &r);
        ck_assert(status == CM3_ERROR_CANCELLED || (_i && status == CM3_OK)); /* a thread may be quicker */
        ck_assert_int_eq(cm3_request_wait(request, recorder_take, &r), status);
        ck_assert_str_eq(cm3_request_message(request), status == CM3_OK ? "" : "cancelled");
        if (r.count) recorder_end(&r, 0), recorder_end(&r, 1);
        cm3_document *result;
        GEN_OK(&c, cm3_request_result(request, &result));
        cm3_document_destroy(result);
        cm3_request_destroy(request);
        recorder_clear(&r);
    }
    cm3_request_cancel(NULL);
    gen_down(&c);
}
END_TEST

/* Cancelling again and again, also what is through, does not keep the others from going on. */
START_TEST(cancelled_over_and_over) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *through = start(&options), *other = start(&options);
    ck_assert_int_eq(cm3_request_wait(through, NULL, NULL), CM3_OK);
    int done = 0, polls = 0;
    for (; !done && polls < 1000; polls++) {
        cm3_request_cancel(through);
        ck_assert_int_eq(cm3_request_poll(other, _i ? 1000 : 0, NULL, NULL, &done), CM3_OK);
    }
    ck_assert(done);
    cm3_request_destroy(other);
    cm3_request_destroy(through);
    gen_down(&c);
}
END_TEST

/* Previews of more rows than there are, to the last that the option takes. */
START_TEST(previews_far_apart) {
    gen_up(&c, 0, 128);
    static const int32_t rows[] = {7, 8, 9, 1 << 29, 1 << 30, INT32_MAX};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
        options.preview_rows = rows[i];
        recorder_init(&r);
        cm3_document_destroy(gen_run(&c, "a", &options, &r));
        ck_assert_int_eq(r.previews, rows[i] < 8);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

static void *cancel_later(void *arg) {
    usleep(3000);
    cm3_request_cancel(arg);
    return NULL;
}

START_TEST(cancelled_from_elsewhere) {
    gen_up(&c, team_sizes[_i], 2048);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    options.candidates = 8;
    for (int i = 0; i < 4; i++) {
        cm3_request *request = start(&options), *other = start(&options);
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, cancel_later, request), 0);
        cm3_status status = cm3_request_wait(request, NULL, NULL);
        ck_assert(status == CM3_OK || status == CM3_ERROR_CANCELLED);
        ck_assert_int_eq(cm3_request_wait(other, NULL, NULL), CM3_OK); /* it goes on */
        pthread_join(thread, NULL);
        cm3_request_destroy(request);
        cm3_request_destroy(other);
    }
    gen_down(&c);
}
END_TEST

/* --- destroy ---------------------------------------------------------------------------------------------------------
 */

START_TEST(destroyed_while_running) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    for (int i = 0; i < 8; i++) {
        cm3_request *first = start(&options), *second = start(&options);
        if (i % 3) cm3_request_poll(first, (uint64_t)(i * 100), NULL, NULL, NULL);
        cm3_request_destroy(i % 2 ? first : second);
        if (i % 4 == 0) ck_assert_int_eq(cm3_request_wait(first, NULL, NULL), CM3_OK);
        cm3_request_destroy(i % 2 ? second : first);
    }
    cm3_request_destroy(NULL);
    gen_down(&c);
}
END_TEST

/* A request keeps its model and context; the host may give up its holds first. */
START_TEST(outlives_its_model) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&options);
    cm3_model_destroy(c.model);
    cm3_context_destroy(c.context);
    recorder_init(&r);
    ck_assert_int_eq(cm3_request_wait(request, recorder_take, &r), CM3_OK);
    cm3_document *result;
    ck_assert_int_eq(cm3_request_result(request, &result), CM3_OK);
    cm3_request_destroy(request);
    cm3_document_destroy(result);
    recorder_clear(&r);
    c.model = NULL;
    c.fixture.context = NULL;
    gen_down(&c);
}
END_TEST

/* --- several threads of the host -------------------------------------------------------------------------------------
 */

static void *generate_some(void *arg) {
    uint64_t seed = *(const uint64_t *)arg;
    for (int i = 0; i < 3; i++) {
        cm3_generate_options options = options_of(i == 1 ? CM3_MODALITY_TEXT : CM3_MODALITY_IMAGE);
        options.seed = seed;
        recorder *own = malloc(sizeof *own);
        recorder_init(own);
        cm3_document *result = gen_run(&c, "a blue ball", &options, own);
        recorder_end(own, 0);
        cm3_document_destroy(result);
        recorder_clear(own);
        free(own);
    }
    return NULL;
}

START_TEST(several_hosts) {
    gen_up(&c, team_sizes[_i], 128);
    pthread_t threads[4];
    uint64_t seeds[4] = {1, 2, 3, 4};
    for (int i = 0; i < 4; i++) ck_assert_int_eq(pthread_create(&threads[i], NULL, generate_some, &seeds[i]), 0);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
    gen_down(&c);
}
END_TEST

/* Two models in one context. */
START_TEST(two_models) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_model *first = c.model, *second;
    GEN_OK(&c, cm3_model_load(c.context, test_path(&c.fixture, "tiny.cm3"), NULL, &second));
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *a = start(&options);
    c.model = second;
    cm3_request *b = start(&options);
    cm3_request_destroy(b);
    b = start(&options);
    ck_assert_int_eq(cm3_request_wait(b, NULL, NULL), CM3_OK);
    ck_assert_int_eq(cm3_request_wait(a, NULL, NULL), CM3_OK);
    cm3_request_destroy(b);
    cm3_model_destroy(second);
    cm3_request_destroy(a);
    c.model = first;
    gen_down(&c);
}
END_TEST

/* --- rules that fail, memory that runs out ---------------------------------------------------------------------------
 */

typedef struct breaking_rule {
    int left, answer;
    float set;
} breaking_rule;

static int break_down(void *user, const cm3_sampler_step *step) {
    breaking_rule *rule = user;
    if (rule->left-- > 0) return 0;
    if (!rule->answer) step->logits[IMAGE] = rule->set;
    return rule->answer;
}

START_TEST(failing_rules) {
    gen_up(&c, team_sizes[_i], 128);
    for (int way = 0; way < 3; way++) {
        breaking_rule state = {.left = 9, .answer = way == 0, .set = way == 1 ? NAN : INFINITY};
        cm3_sampler_rule rule = {.struct_size = sizeof rule, .apply = break_down, .user = &state};
        cm3_sampler *sampler;
        GEN_OK(&c, cm3_sampler_create(c.context, &sampler));
        GEN_OK(&c, cm3_sampler_add_rule(sampler, &rule));
        cm3_generate_options options = options_of(CM3_MODALITY_IMAGE), plain = options;
        options.sampler = sampler;
        cm3_request *request = start(&options), *other = start(&plain);
        cm3_sampler_destroy(sampler);
        recorder_init(&r);
        cm3_status expected = way == 0 ? CM3_ERROR_CANCELLED : CM3_ERROR_INVALID_ARGUMENT;
        ck_assert_int_eq(cm3_request_wait(request, recorder_take, &r), expected);
        ck_assert_int_eq(cm3_request_wait(other, NULL, NULL), CM3_OK); /* not its fault */
        ck_assert_int_eq(recorder_number(&r, CM3_EVENT_TOKEN, 0), 9);
        const cm3_event *end = recorder_end(&r, 0);
        ck_assert_int_eq(end->reason, way == 0 ? CM3_END_CANCELLED : CM3_END_FAILED);
        ck_assert_int_eq(end->status, expected);
        if (way) ck_assert_ptr_nonnull(strstr(cm3_request_message(request), "logit"));
        cm3_document *result;
        GEN_OK(&c, cm3_request_result(request, &result));
        cm3_segment segment = {.struct_size = sizeof segment};
        ck_assert_int_eq(cm3_document_get(result, 0, &segment), CM3_OK);
        ck_assert(segment.code_count == 9 && segment.image == NULL);
        cm3_document_destroy(result);
        cm3_request_destroy(request);
        cm3_request_destroy(other);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

/*
 * An allocation of a request fails, and with it (odd) all that follow: NO_MEMORY, nothing left behind, and the next
 * request runs. A single failure (even) may be made good, by asking for less.
 */
START_TEST(out_of_memory) {
    gen_up(&c, 0, 128);
    cm3_document *prompt = gen_prompt(&c, "a red ball");
    cm3_generate_options options = options_of(_i < 2 ? CM3_MODALITY_TEXT : CM3_MODALITY_IMAGE);
    options.candidates = 2;
    options.preview_rows = 4;
    int failed = 0;
    for (int64_t n = 0; n < 3000; n += n < 60 ? 1 : 11) {
        cm3_document *result;
        test_allocator_fail(&c.fixture.memory, n, _i % 2 ? INT64_MAX : 1);
        cm3_status status = cm3_generate(c.model, prompt, &options, NULL, NULL, &result);
        bool reached = atomic_load(&c.fixture.memory.calls) > atomic_load(&c.fixture.memory.fail_at);
        test_allocator_fail(&c.fixture.memory, -1, 0);
        cm3_document_destroy(result);
        if (!reached) break;
        bool good = status == CM3_ERROR_NO_MEMORY || (_i % 2 == 0 && status == CM3_OK);
        ck_assert_msg(good, "allocation %lld: status %d, %s", (long long)n, (int)status,
                      cm3_context_message(c.context));
        failed += status == CM3_ERROR_NO_MEMORY;
    }
    ck_assert_int_gt(failed, 30);
    cm3_document_destroy(gen_run(&c, "a red ball", &options, NULL));
    cm3_document_destroy(prompt);
    gen_down(&c);
}
END_TEST

/* What requests take they give back: memory does not grow from one to the next. */
START_TEST(gives_back) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    int64_t live[4];
    for (int i = 0; i < 4; i++) {
        cm3_document_destroy(gen_run(&c, "a red ball", &options, NULL));
        live[i] = atomic_load(&c.fixture.memory.live);
    }
    ck_assert_int_lt(live[3], live[1] + 4096); /* a thread may be about to free its last piece */
    gen_down(&c);
}
END_TEST

Suite *running_suite(void) {
    Suite *suite = suite_create("generate/running");
    TCase *tcase = tcase_create("running");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, polls_of_any_budget, 0, TEAMS);
    tcase_add_loop_test(tcase, silent, 0, TEAMS);
    tcase_add_loop_test(tcase, stopped_by_the_callback, 0, 3 * TEAMS);
    tcase_add_loop_test(tcase, cancelled_at_once, 0, TEAMS);
    tcase_add_loop_test(tcase, cancelled_over_and_over, 0, TEAMS);
    tcase_add_test(tcase, previews_far_apart);
    tcase_add_loop_test(tcase, cancelled_from_elsewhere, 0, TEAMS);
    tcase_add_loop_test(tcase, destroyed_while_running, 0, TEAMS);
    tcase_add_loop_test(tcase, outlives_its_model, 0, TEAMS);
    tcase_add_loop_test(tcase, several_hosts, 0, TEAMS);
    tcase_add_loop_test(tcase, two_models, 0, TEAMS);
    tcase_add_loop_test(tcase, failing_rules, 0, TEAMS);
    tcase_add_loop_test(tcase, out_of_memory, 0, 4);
    tcase_add_loop_test(tcase, gives_back, 0, TEAMS);
    suite_add_tcase(suite, tcase);
    return suite;
}
