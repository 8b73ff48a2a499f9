/* Several of the host's threads on the same contexts, models and requests, in every order that the headers allow. */
#include <pthread.h>
#include <stdatomic.h>

#include "suites.h"
#include "sweep.h"

#define CONTEXTS 2
#define REQUESTS 8
static const int team_sizes[] = {0, 1, 2};
#define TEAMS 3

static gen_case c;

static int rounds(int usual) {
    return getenv("CM3_TEST_LONG") ? 8 * usual : usual;
}

static cm3_generate_options options_of(cm3_modality modality) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = modality;
    options.seed = 12;
    options.max_tokens = 16;
    options.temperature = 1;
    options.compute = CM3_COMPUTE_F32;
    return options;
}

static cm3_request *start(gen_case *of, const cm3_generate_options *options) {
    cm3_document *prompt = gen_prompt(of, "a red ball");
    cm3_request *request;
    GEN_OK(of, cm3_request_start(of->model, prompt, options, &request));
    cm3_document_destroy(prompt);
    return request;
}

static pthread_t spawn(void *(*body)(void *arg), void *arg) {
    pthread_t thread;
    ck_assert_int_eq(pthread_create(&thread, NULL, body, arg), 0);
    return thread;
}

static void join(pthread_t thread) {
    ck_assert_int_eq(pthread_join(thread, NULL), 0);
}

/* --- two contexts of eight requests --------------------------------------------------------------------------------
 */

typedef struct job {
    gen_case *of;
    int number;
    uint64_t sum; /**< over what it made */
} job;

static void *one_job(void *arg) {
    job *j = arg;
    cm3_generate_options options = options_of((cm3_modality)(CM3_MODALITY_IMAGE + j->number % 3));
    options.seed = (uint64_t)(1 + j->number);
    options.candidates = 1 + j->number % 2;
    options.preview_rows = j->number % 4 == 0 ? 4 : 0;
    cm3_request *request = start(j->of, &options);
    int done = 0;
    cm3_status status = CM3_OK;
    while (!done) status = cm3_request_poll(request, 500, NULL, NULL, &done);
    ck_assert_msg(status == CM3_OK, "%s", cm3_request_message(request));
    cm3_document *result;
    GEN_OK(j->of, cm3_request_result(request, &result));
    j->sum = sweep_sum_document(0, result);
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    return NULL;
}

/* All at once, a host's thread each; the two contexts, given the same, make the same. */
START_TEST(two_contexts_of_eight_requests) {
    gen_case *both[CONTEXTS];
    job jobs[CONTEXTS * REQUESTS];
    pthread_t threads[CONTEXTS * REQUESTS];
    for (int i = 0; i < CONTEXTS; i++) {
        both[i] = calloc(1, sizeof **both);
        gen_up(both[i], team_sizes[_i], 128);
    }
    for (int round = 0; round < rounds(1); round++) {
        for (int i = 0; i < CONTEXTS * REQUESTS; i++) {
            jobs[i] = (job){.of = both[i / REQUESTS], .number = i % REQUESTS};
            threads[i] = spawn(one_job, &jobs[i]);
        }
        for (int i = 0; i < CONTEXTS * REQUESTS; i++) join(threads[i]);
        for (int i = 0; i < REQUESTS; i++) ck_assert(jobs[i].sum == jobs[REQUESTS + i].sum);
    }
    for (int i = 0; i < CONTEXTS; i++) {
        gen_down(both[i]);
        free(both[i]);
    }
}
END_TEST

/* --- one request, several threads ----------------------------------------------------------------------------------
 */

typedef struct shared {
    cm3_request *request;
    pthread_barrier_t gate;
    atomic_int stop;
    int delay; /**< microseconds between the gate and the call */
} shared;

static void gate(shared *s) {
    pthread_barrier_wait(&s->gate);
    if (s->delay) usleep((useconds_t)s->delay);
}

static void *cancels(void *arg) {
    shared *s = arg;
    gate(s);
    for (int i = 0; i < 3; i++) cm3_request_cancel(s->request);
    return NULL;
}

/* done() says no, then yes, then yes for ever. */
static void *asks_done(void *arg) {
    shared *s = arg;
    pthread_barrier_wait(&s->gate);
    int seen = 0;
    while (!atomic_load(&s->stop)) {
        int now = cm3_request_done(s->request) != 0;
        ck_assert_msg(now >= seen, "it was done and is no more");
        seen = now;
        usleep(50);
    }
    return NULL;
}

/* What the request's own thread may ask at any time: BUSY while it is computing, all of it afterwards. */
static void ask_everything(gen_case *of, cm3_request *request) {
    int before = cm3_request_done(request);
    cm3_document *result = NULL;
    cm3_timings timings = {.struct_size = sizeof timings};
    uint64_t seed = 0;
    cm3_status made = cm3_request_result(request, &result);
    int between = cm3_request_done(request);
    cm3_status timed = cm3_request_timings(request, &timings);
    int after = cm3_request_done(request);
    ck_assert_msg(made == CM3_OK || (made == CM3_ERROR_BUSY && !before), "%s", cm3_context_message(of->context));
    ck_assert(made == CM3_ERROR_BUSY || between);
    ck_assert((result != NULL) == (made == CM3_OK));
    ck_assert(timed == CM3_OK ? after : timed == CM3_ERROR_BUSY && !between);
    ck_assert_int_eq(cm3_request_seed(request, &seed), CM3_OK);
    ck_assert(seed == 12);
    const char *message = cm3_request_message(request);
    if (!cm3_request_done(request)) ck_assert_str_eq(message, "");
    cm3_document_destroy(result);
}

static void *polls(void *arg) {
    shared *s = arg;
    gate(s);
    int done = 0, ends = 0;
    cm3_status status = CM3_OK;
    while (!done) {
        status = cm3_request_poll(s->request, 200, NULL, NULL, &done);
        ask_everything(&c, s->request);
        ends += done;
    }
    ck_assert(status == CM3_OK || status == CM3_ERROR_CANCELLED);
    ck_assert_int_eq(cm3_request_poll(s->request, 0, NULL, NULL, &done), status); /* and so it stays */
    ck_assert_int_eq(done, 1);
    ck_assert_int_eq(ends, 1);
    return NULL;
}

static void *destroys(void *arg) {
    cm3_request_destroy(arg);
    return NULL;
}

/* One thread polls, one cancels, one asks whether it is done, one more destroys it; the cancel comes ever later. */
START_TEST(poll_cancel_done_destroy) {
    gen_up(&c, team_sizes[_i], 128);
    for (int round = 0; round < rounds(12); round++) {
        cm3_generate_options options = options_of((cm3_modality)(CM3_MODALITY_IMAGE + round % 3));
        options.candidates = 2;
        shared s = {.request = start(&c, &options), .delay = round * 250};
        pthread_barrier_init(&s.gate, NULL, 3);
        atomic_init(&s.stop, 0);
        pthread_t asking = spawn(asks_done, &s), cancelling = spawn(cancels, &s), polling = spawn(polls, &s);
        join(polling);
        join(cancelling);
        atomic_store(&s.stop, 1);
        join(asking);
        ck_assert(cm3_request_done(s.request));
        join(spawn(destroys, s.request));
        pthread_barrier_destroy(&s.gate);
    }
    gen_down(&c);
}
END_TEST

/* --- orders --------------------------------------------------------------------------------------------------------
 */

/* A call made by a thread of its own. */
typedef struct step {
    cm3_request *request;
    char what; /**< p: poll once, w: wait, c: cancel, d: ask done, r: result, t: timings, m: message and seed */
} step;

static void *one_step(void *arg) {
    const step *s = arg;
    cm3_document *result = NULL;
    cm3_timings timings = {.struct_size = sizeof timings};
    uint64_t seed;
    cm3_status status = CM3_OK;
    int over = cm3_request_done(s->request), done;
    switch (s->what) {
    case 'p':
        status = cm3_request_poll(s->request, 100, NULL, NULL, &done);
        ck_assert(status == CM3_OK || (status == CM3_ERROR_CANCELLED && done));
        break;
    case 'w':
        status = cm3_request_wait(s->request, NULL, NULL);
        ck_assert(status == CM3_OK || status == CM3_ERROR_CANCELLED);
        ck_assert(cm3_request_done(s->request));
        break;
    case 'c':
        cm3_request_cancel(s->request);
        break;
    case 'd':
        if (over) ck_assert(cm3_request_done(s->request));
        break;
    case 'r':
        status = cm3_request_result(s->request, &result);
        ck_assert(status == CM3_OK || (status == CM3_ERROR_BUSY && !over));
        cm3_document_destroy(result);
        break;
    case 't':
        status = cm3_request_timings(s->request, &timings);
        ck_assert(status == CM3_OK || (status == CM3_ERROR_BUSY && !over));
        break;
    default:
        ck_assert_int_eq(cm3_request_seed(s->request, &seed), CM3_OK);
        ck_assert(over || !cm3_request_message(s->request)[0] || cm3_request_done(s->request));
    }
    return NULL;
}

/* Handed from thread to thread: all orders of up to four calls, then destroyed by yet another thread. */
START_TEST(every_order) {
    static const char calls[] = "pwcdrtm";
    enum { CALLS = sizeof calls - 1 };
    gen_up(&c, team_sizes[_i], 96);
    cm3_generate_options options = options_of(CM3_MODALITY_TEXT);
    options.max_tokens = 6;
    cm3_request *other = start(&c, &options); /* what goes on beside it */
    int length = getenv("CM3_TEST_LONG") ? 4 : 3, count = 1;
    for (int i = 0; i < length; i++) count *= CALLS;
    for (int number = 0; number < count; number++) {
        cm3_request *request = start(&c, &options);
        for (int i = 0, rest = number; i < length; i++, rest /= CALLS) {
            step s = {request, calls[rest % CALLS]};
            join(spawn(one_step, &s));
        }
        if (number % 2) {
            cm3_request_destroy(request);
        } else {
            join(spawn(destroys, request));
        }
        if (number % 50 == 49) {
            ck_assert_int_eq(cm3_request_wait(other, NULL, NULL), CM3_OK);
            cm3_request_destroy(other);
            other = start(&c, &options);
        }
    }
    cm3_request_destroy(other);
    gen_down(&c);
}
END_TEST

/* BUSY for sure: with threads = 0 nothing computes before the first poll. */
START_TEST(busy_before_the_first_poll) {
    gen_up(&c, 0, 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&c, &options);
    cm3_document *result;
    cm3_timings timings = {.struct_size = sizeof timings};
    ck_assert_int_eq(cm3_request_result(request, &result), CM3_ERROR_BUSY);
    ck_assert(test_says(&c.fixture, "still being computed"));
    ck_assert_int_eq(cm3_request_timings(request, &timings), CM3_ERROR_BUSY);
    cm3_request_cancel(request); /* asked to end, not ended: BUSY still */
    ck_assert_int_eq(cm3_request_result(request, &result), CM3_ERROR_BUSY);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_ERROR_CANCELLED);
    GEN_OK(&c, cm3_request_timings(request, &timings));
    GEN_OK(&c, cm3_request_result(request, &result));
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    gen_down(&c);
}
END_TEST

/* --- destroy, by many at once --------------------------------------------------------------------------------------
 */

static void *waits_and_destroys(void *arg) {
    shared *s = arg;
    gate(s);
    cm3_request_destroy(s->request);
    return NULL;
}

/* Requests of one batch destroyed at the same moment by threads of their own, the model and the context given up. */
START_TEST(all_destroyed_at_once) {
    for (int round = 0; round < rounds(4); round++) {
        gen_up(&c, team_sizes[_i], 128);
        cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
        shared s[REQUESTS];
        pthread_t threads[REQUESTS];
        for (int i = 0; i < REQUESTS; i++) {
            s[i] = (shared){.request = start(&c, &options), .delay = i % 2 * 300 * round};
            pthread_barrier_init(&s[i].gate, NULL, 2);
            threads[i] = spawn(waits_and_destroys, &s[i]);
        }
        cm3_model_destroy(c.model);
        cm3_context_destroy(c.context);
        for (int i = 0; i < REQUESTS; i++) pthread_barrier_wait(&s[i].gate);
        for (int i = 0; i < REQUESTS; i++) {
            join(threads[i]);
            pthread_barrier_destroy(&s[i].gate);
        }
        c.model = NULL;
        c.fixture.context = NULL;
        gen_down(&c); /* nothing is left */
    }
}
END_TEST

/* The callback cancels and stops; another thread cancels as well. */
static int cancel_inside(void *user, const cm3_event *event) {
    shared *s = user;
    if (event->kind == CM3_EVENT_TOKEN && event->index == 3) {
        cm3_request_cancel(s->request);
        return 1;
    }
    return 0;
}

START_TEST(cancelled_inside_and_outside) {
    gen_up(&c, team_sizes[_i], 128);
    for (int round = 0; round < rounds(6); round++) {
        cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
        shared s = {.request = start(&c, &options), .delay = round * 400};
        pthread_barrier_init(&s.gate, NULL, 2);
        pthread_t thread = spawn(cancels, &s);
        pthread_barrier_wait(&s.gate);
        cm3_status status = cm3_request_wait(s.request, cancel_inside, &s);
        ck_assert(status == CM3_ERROR_CANCELLED || status == CM3_OK);
        join(thread);
        cm3_request_destroy(s.request);
        pthread_barrier_destroy(&s.gate);
    }
    gen_down(&c);
}
END_TEST

/* --- everything else that any thread may call ----------------------------------------------------------------------
 */

typedef struct bystander {
    gen_case *of;
    atomic_int *stop;
} bystander;

/* Statistics, messages, tokenizing, logits, holds and failures of its own, while others generate. */
static void *looks_on(void *arg) {
    const bystander *b = arg;
    cm3_tokenizer *tokenizer;
    GEN_OK(b->of, cm3_model_tokenizer(b->of->model, &tokenizer));
    float *logits = calloc(1024, sizeof *logits);
    while (!atomic_load(b->stop)) {
        cm3_memory_stats stats = {.struct_size = sizeof stats};
        ck_assert_int_eq(cm3_context_memory(b->of->context, &stats), CM3_OK);
        ck_assert_uint_le(stats.live_bytes, stats.peak_bytes);
        int32_t ids[32];
        size_t count;
        ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "a red cone", SIZE_MAX, 0, ids, 32, &count), CM3_OK);
        ck_assert_int_eq(cm3_tokenizer_encode(tokenizer, "\xff", 1, 0, ids, 32, &count), CM3_ERROR_UTF8);
        ck_assert(cm3_context_message(b->of->context)[0]);
        ck_assert_int_eq(cm3_model_retain(b->of->model), CM3_OK);
        ck_assert_int_eq(cm3_model_logits(b->of->model, ids, 1, CM3_COMPUTE_F32, logits), CM3_OK);
        cm3_model_destroy(b->of->model);
    }
    free(logits);
    cm3_tokenizer_destroy(tokenizer);
    return NULL;
}

START_TEST(bystanders) {
    gen_up(&c, team_sizes[_i], 128);
    atomic_int stop;
    atomic_init(&stop, 0);
    bystander b = {&c, &stop};
    pthread_t watching[2] = {spawn(looks_on, &b), spawn(looks_on, &b)};
    job jobs[REQUESTS];
    pthread_t threads[REQUESTS];
    for (int i = 0; i < REQUESTS; i++) {
        jobs[i] = (job){.of = &c, .number = i};
        threads[i] = spawn(one_job, &jobs[i]);
    }
    for (int i = 0; i < REQUESTS; i++) join(threads[i]);
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++) join(watching[i]);
    gen_down(&c);
}
END_TEST

Suite *threads_suite(void) {
    Suite *suite = suite_create("survival/threads");
    TCase *tcase = tcase_create("threads");
    tcase_set_timeout(tcase, getenv("CM3_TEST_LONG") ? 3600 : 900);
    tcase_add_loop_test(tcase, two_contexts_of_eight_requests, 0, TEAMS);
    tcase_add_loop_test(tcase, poll_cancel_done_destroy, 0, TEAMS);
    tcase_add_loop_test(tcase, every_order, 0, TEAMS);
    tcase_add_test(tcase, busy_before_the_first_poll);
    tcase_add_loop_test(tcase, all_destroyed_at_once, 0, TEAMS);
    tcase_add_loop_test(tcase, cancelled_inside_and_outside, 0, TEAMS);
    tcase_add_loop_test(tcase, bystanders, 0, TEAMS);
    suite_add_tcase(suite, tcase);
    return suite;
}
