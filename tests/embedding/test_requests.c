/* Requests as hosts use them: polled a frame at a time, cancelled from anywhere, the same from the same seed. */
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

#include "host.h"
#include "suites.h"

typedef struct heard {
    pthread_t thread; /**< of the host, on which all events must come */
    int tokens, ends, stop_at;
    cm3_end_reason reason;
    int32_t ids[4096];
} heard;

static int listen(void *user, const cm3_event *event) {
    heard *h = user;
    ck_assert(pthread_equal(pthread_self(), h->thread));
    if (event->kind == CM3_EVENT_TOKEN && h->tokens < 4096) h->ids[h->tokens] = event->token;
    h->tokens += event->kind == CM3_EVENT_TOKEN;
    if (event->kind == CM3_EVENT_END) {
        h->ends++;
        h->reason = event->reason;
    }
    return h->stop_at > 0 && h->tokens >= h->stop_at;
}

/* All events come inside the host's own calls, on its own thread, and polling with budget 0 returns at once. */
START_TEST(polled_a_frame_at_a_time) {
    host h;
    host_up(&h, _i);
    cm3_generate_options options = host_picture();
    uint64_t expected = host_generate(&h, &options);
    heard ear = {.thread = pthread_self()};
    double start = host_seconds(CLOCK_MONOTONIC);
    cm3_request *request = host_start(&h, &options);
    int done = 0, frames = 0;
    while (!done) {
        ck_assert_int_eq(cm3_request_poll(request, _i ? 0 : 2000, listen, &ear, &done), CM3_OK);
        frames++;
        if (_i) usleep(1000);
        ck_assert_double_lt(host_seconds(CLOCK_MONOTONIC) - start, 200);
    }
    ck_assert_int_gt(frames, 3);
    ck_assert_int_eq(ear.ends, 1);
    ck_assert_int_eq(ear.reason, CM3_END_FINISHED);
    cm3_document *result;
    HOST_OK(&h, cm3_request_result(request, &result));
    ck_assert_uint_eq(host_sum(result), expected);
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    host_down(&h);
}
END_TEST

/* A small budget with threads = 0: passes and pictures are stopped halfway and go on, and the picture is the same. */
START_TEST(slices_change_nothing) {
    static const uint64_t budgets[] = {1, 300, 1000, 4000};
    host h;
    host_up(&h, 0);
    cm3_generate_options options = host_picture();
    options.candidates = 2;
    options.preview_rows = 4;
    options.compute = _i ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    uint64_t expected = host_generate(&h, &options);
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        cm3_request *request = host_start(&h, &options);
        int done = 0, polls = 0, silent = 0;
        while (!done) {
            heard ear = {.thread = pthread_self()};
            ck_assert_int_eq(cm3_request_poll(request, budgets[i], listen, &ear, &done), CM3_OK);
            polls++;
            silent += ear.tokens == 0;
        }
        /* With one microsecond each poll is an operation. */
        if (i == 0) ck_assert_int_gt(silent, 500);
        ck_assert_int_gt(polls, 3);
        cm3_document *result;
        HOST_OK(&h, cm3_request_result(request, &result));
        ck_assert_msg(host_sum(result) == expected, "budget %d", (int)budgets[i]);
        cm3_document_destroy(result);
        cm3_request_destroy(request);
    }
    host_down(&h);
}
END_TEST

/* Two requests, in different types, one of them cancelled at some moment halfway through a step: the other is as if it
 * had been alone. */
START_TEST(slices_and_cancelling) {
    host h;
    host_up(&h, 0);
    cm3_generate_options options = host_picture(), other = host_picture();
    options.compute = CM3_COMPUTE_F32;
    options.preview_rows = 2;
    uint64_t expected = host_generate(&h, &options);
    for (int round = 0; round < 8; round++) {
        other.compute = round % 2 ? CM3_COMPUTE_F32 : CM3_COMPUTE_BF16;
        other.preview_rows = 1;
        cm3_request *request = host_start(&h, &options), *second = host_start(&h, &other);
        int done = 0;
        for (int poll = 0; !done; poll++) {
            if (poll == 37 * (round + 1)) cm3_request_cancel(second);
            ck_assert_int_eq(cm3_request_poll(request, 200, NULL, NULL, &done), CM3_OK);
        }
        cm3_document *result;
        HOST_OK(&h, cm3_request_result(request, &result));
        ck_assert_uint_eq(host_sum(result), expected);
        cm3_document_destroy(result);
        cm3_request_destroy(request);
        cm3_request_destroy(second);
    }
    host_down(&h);
}
END_TEST

typedef struct canceller {
    cm3_request *request;
    useconds_t delay;
} canceller;

static void *cancel_later(void *arg) {
    canceller *c = arg;
    usleep(c->delay);
    cm3_request_cancel(c->request);
    return NULL;
}

/* From another thread while it runs: CANCELLED, soon, and what was made is kept. */
START_TEST(cancelled_from_another_thread) {
    host h;
    host_up(&h, 1);
    cm3_generate_options options = host_picture();
    options.candidates = 16; /* takes long */
    for (int round = 0; round < 4; round++) {
        heard ear = {.thread = pthread_self()};
        canceller c = {host_start(&h, &options), (useconds_t)(round * 30000)};
        pthread_t thread;
        ck_assert_int_eq(pthread_create(&thread, NULL, cancel_later, &c), 0);
        ck_assert_int_eq(cm3_request_wait(c.request, listen, &ear), CM3_ERROR_CANCELLED);
        pthread_join(thread, NULL);
        ck_assert_int_eq(ear.reason, CM3_END_CANCELLED);
        cm3_document *result;
        HOST_OK(&h, cm3_request_result(c.request, &result));
        size_t segments;
        HOST_OK(&h, cm3_document_count(result, &segments));
        if (ear.tokens) ck_assert_uint_gt(segments, 0);
        cm3_document_destroy(result);
        cm3_request_destroy(c.request);
    }
    host_down(&h);
}
END_TEST

/* After the end, over and over: nothing happens, and the result stands. */
START_TEST(cancelled_after_the_end) {
    host h;
    host_up(&h, _i);
    cm3_generate_options options = host_words(4);
    cm3_request *request = host_start(&h, &options);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_OK);
    for (int i = 0; i < 3; i++) cm3_request_cancel(request);
    int done = 0;
    ck_assert_int_eq(cm3_request_poll(request, 0, NULL, NULL, &done), CM3_OK);
    ck_assert_int_eq(done, 1);
    cm3_document *result;
    HOST_OK(&h, cm3_request_result(request, &result));
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    host_down(&h);
}
END_TEST

static cm3_request *interrupted;

static void on_signal(int number) {
    (void)number;
    cm3_request_cancel(interrupted);
}

/* From a signal handler. */
START_TEST(cancelled_by_a_signal) {
    host h;
    host_up(&h, 1);
    cm3_generate_options options = host_picture();
    options.candidates = 16;
    struct sigaction action = {.sa_handler = on_signal}, before;
    interrupted = host_start(&h, &options);
    sigaction(SIGALRM, &action, &before);
    ualarm(50000, 0);
    ck_assert_int_eq(cm3_request_wait(interrupted, NULL, NULL), CM3_ERROR_CANCELLED);
    sigaction(SIGALRM, &before, NULL);
    cm3_request_destroy(interrupted);
    host_down(&h);
}
END_TEST

/* The callback's answer stops it, in the blocking call and in polls, with and without an engine thread. */
START_TEST(stopped_by_the_callbacks_answer) {
    host h;
    host_up(&h, _i);
    cm3_generate_options options = host_picture();
    options.candidates = 16; /* more than are made until the fifth event is heard */
    heard ear = {.thread = pthread_self(), .stop_at = 5};
    cm3_document *result = NULL;
    ck_assert_int_eq(cm3_generate(h.model, h.prompt, &options, listen, &ear, &result), CM3_ERROR_CANCELLED);
    ck_assert_int_eq(ear.reason, CM3_END_CANCELLED);
    ck_assert_ptr_nonnull(result);
    size_t count, codes = 0;
    HOST_OK(&h, cm3_document_count(result, &count));
    for (size_t i = 0; i < count; i++) {
        cm3_segment segment = {.struct_size = sizeof segment};
        HOST_OK(&h, cm3_document_get(result, i, &segment));
        codes += segment.code_count;
    }
    ck_assert_uint_ge(codes, 5);
    cm3_document_destroy(result);
    host_down(&h);
}
END_TEST

/* And where all was computed before the first event was heard: a callback's no is a no. */
START_TEST(stopped_after_all_was_computed) {
    host h;
    host_up(&h, 1);
    cm3_generate_options options = host_words(8);
    cm3_request *request = host_start(&h, &options);
    while (!cm3_request_done(request)) usleep(1000);
    heard ear = {.thread = pthread_self(), .stop_at = 1};
    ck_assert_int_eq(cm3_request_wait(request, listen, &ear), CM3_ERROR_CANCELLED);
    ck_assert_str_eq(cm3_request_message(request), "cancelled");
    cm3_document *result;
    HOST_OK(&h, cm3_request_result(request, &result));
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    host_down(&h);
}
END_TEST

/* The seed that was picked and told makes the same again, in another context. */
START_TEST(told_seed_reproduces) {
    host h, other;
    host_up(&h, 1);
    cm3_generate_options options = host_picture();
    options.seed = 0;
    options.temperature = 1;
    options.guidance_scale = 1;
    cm3_request *request = host_start(&h, &options);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_OK);
    HOST_OK(&h, cm3_request_seed(request, &options.seed));
    ck_assert_uint_ne(options.seed, 0);
    cm3_document *result;
    HOST_OK(&h, cm3_request_result(request, &result));
    uint64_t expected = host_sum(result);
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    host_up(&other, 1);
    ck_assert_uint_eq(host_generate(&other, &options), expected);
    options.seed++;
    ck_assert_uint_ne(host_generate(&other, &options), expected);
    host_down(&other);
    host_down(&h);
}
END_TEST

/* The same bytes from the same number of threads, run after run. */
START_TEST(same_threads_same_bytes) {
    uint64_t sums[2];
    for (int round = 0; round < 2; round++) {
        host h;
        host_up(&h, _i);
        cm3_generate_options options = host_picture();
        options.candidates = 2;
        options.temperature = 1;
        sums[round] = host_generate(&h, &options);
        host_down(&h);
    }
    ck_assert_uint_eq(sums[0], sums[1]);
}
END_TEST

/* What a preview shows is near the finished picture's rows, comes only where asked for, and leaves it unchanged. */
typedef struct shown {
    cm3_image *last;
    int count;
    int32_t rows;
    bool finished;
} shown;

static int keep_preview(void *user, const cm3_event *event) {
    shown *s = user;
    s->finished = s->finished || event->kind == CM3_EVENT_IMAGE;
    if (event->kind != CM3_EVENT_IMAGE_ROWS) return 0;
    ck_assert(!s->finished);
    ck_assert_int_eq(event->row, s->rows);
    s->rows += event->rows;
    s->count++;
    cm3_image_destroy(s->last);
    ck_assert_int_eq(cm3_image_retain(event->image), CM3_OK);
    s->last = event->image;
    return 0;
}

/** The mean square by which the first rows of two pictures differ, in levels of 255. */
static double difference(const cm3_image *a, const cm3_image *b, int32_t rows) {
    cm3_image_view x, y;
    ck_assert_int_eq(cm3_image_get_view(a, &x), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(b, &y), CM3_OK);
    double sum = 0;
    for (int32_t row = 0; row < rows; row++) {
        for (int32_t i = 0; i < x.width * 3; i++) {
            int apart = x.pixels[(size_t)row * x.stride + (size_t)i] - y.pixels[(size_t)row * y.stride + (size_t)i];
            sum += (double)apart * apart;
        }
    }
    return sum / (3.0 * rows * x.width);
}

START_TEST(previews_are_asked_for) {
    host h;
    host_up(&h, _i);
    uint64_t sums[2];
    for (int every = 0; every < 2; every++) {
        cm3_generate_options options = host_picture();
        options.preview_rows = 3 * every;
        shown s = {.count = 0};
        cm3_document *result;
        HOST_OK(&h, cm3_generate(h.model, h.prompt, &options, keep_preview, &s, &result));
        ck_assert_int_eq(s.count, 3 * every);
        sums[every] = host_sum(result);
        cm3_segment picture = {.struct_size = sizeof picture};
        HOST_OK(&h, cm3_document_get(result, 0, &picture));
        /* 255^2 / 10^2.2: 22 dB; black rows, or another's, are below 10 */
        if (every) ck_assert_double_lt(difference(s.last, picture.image, s.rows), 410);
        cm3_image_destroy(s.last);
        cm3_document_destroy(result);
    }
    ck_assert_uint_eq(sums[0], sums[1]);
    host_down(&h);
}
END_TEST

Suite *requests_suite(void) {
    Suite *suite = suite_create("embedding/requests");
    TCase *tcase = tcase_create("requests");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, polled_a_frame_at_a_time, 0, 2);
    tcase_add_loop_test(tcase, slices_change_nothing, 0, 2);
    tcase_add_test(tcase, slices_and_cancelling);
    tcase_add_test(tcase, cancelled_from_another_thread);
    tcase_add_loop_test(tcase, cancelled_after_the_end, 0, 2);
    tcase_add_test(tcase, cancelled_by_a_signal);
    tcase_add_loop_test(tcase, stopped_by_the_callbacks_answer, 0, 2);
    tcase_add_test(tcase, stopped_after_all_was_computed);
    tcase_add_test(tcase, told_seed_reproduces);
    tcase_add_loop_test(tcase, same_threads_same_bytes, 0, 3);
    tcase_add_loop_test(tcase, previews_are_asked_for, 0, 4);
    suite_add_tcase(suite, tcase);
    return suite;
}
