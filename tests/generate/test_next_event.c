/* Events one by one, without a callback: the same ones, valid until the next is asked for. */
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
    options.candidates = 2;
    options.preview_rows = 2;
    options.compute = CM3_COMPUTE_F32;
    return options;
}

static cm3_request *start(const cm3_generate_options *options) {
    cm3_document *prompt = gen_prompt(&c, "a red ball");
    cm3_request *request;
    GEN_OK(&c, cm3_request_start(c.model, prompt, options, &request));
    cm3_document_destroy(prompt);
    return request;
}

/* All that remain, into the recorder; what the last call returned. */
static cm3_status drain(cm3_request *request, uint64_t budget, recorder *to) {
    cm3_event event = {.struct_size = sizeof event};
    for (;;) {
        int done = 7;
        cm3_status status = cm3_request_next_event(request, budget, &event, &done);
        ck_assert_uint_eq(event.struct_size, sizeof event);
        if (event.kind == CM3_EVENT_NONE) {
            ck_assert(done || status == CM3_OK);
            if (done) return status;
            continue;
        }
        ck_assert(!done && status == CM3_OK);
        if (to) recorder_take(to, &event);
    }
}

/* What does not hang on the clock: progress may be told more or less often, previews stand first here, since they may
 * come a little later. */
static int sorted(const recorder *from, cm3_event *events) {
    int count = 0;
    for (int previews = 1; previews >= 0; previews--) {
        for (int i = 0; i < from->count; i++) {
            if (from->events[i].kind == CM3_EVENT_PROGRESS) continue;
            if ((from->events[i].kind == CM3_EVENT_IMAGE_ROWS) == previews) events[count++] = from->events[i];
        }
    }
    return count;
}

static void compare(const recorder *a, const recorder *b) {
    static cm3_event first[RECORDED], second[RECORDED];
    int n = sorted(a, first);
    ck_assert_int_gt(n, 40);
    ck_assert_int_eq(sorted(b, second), n);
    for (int i = 0; i < n; i++) {
        ck_assert_int_eq(first[i].kind, second[i].kind);
        ck_assert_int_eq(first[i].candidate, second[i].candidate);
        ck_assert_int_eq(first[i].token, second[i].token);
        ck_assert_int_eq(first[i].index, second[i].index);
        ck_assert_int_eq(first[i].row, second[i].row);
        ck_assert_int_eq(first[i].rows, second[i].rows);
        ck_assert_uint_eq(first[i].text_size, second[i].text_size);
        ck_assert_int_eq(!first[i].image, !second[i].image);
        ck_assert_int_eq(first[i].reason, second[i].reason);
    }
    ck_assert_mem_eq(a->text, b->text, sizeof a->text);
}

START_TEST(as_by_callback) {
    static const uint64_t budgets[] = {1, 300, 100000, UINT64_MAX};
    gen_up(&c, team_sizes[_i / 2], 128);
    cm3_generate_options options = options_of(_i % 2 ? CM3_MODALITY_TEXT : CM3_MODALITY_IMAGE);
    recorder told;
    recorder_init(&told);
    cm3_document_destroy(gen_run(&c, "a red ball", &options, &told));
    for (size_t i = 0; i < sizeof budgets / sizeof *budgets; i++) {
        cm3_request *request = start(&options);
        recorder_init(&r);
        ck_assert_int_eq(drain(request, budgets[i], &r), CM3_OK);
        compare(&told, &r);
        ck_assert_int_eq(drain(request, 0, &r), CM3_OK); /* the end is told again and again */
        cm3_request_destroy(request);
        recorder_clear(&r);
    }
    recorder_clear(&told);
    gen_down(&c);
}
END_TEST

/* Text and picture stay readable while the engine goes on, until the next call. */
START_TEST(pointers_last) {
    gen_up(&c, team_sizes[_i], 128);
    for (int way = 0; way < 2; way++) {
        cm3_generate_options options = options_of(way ? CM3_MODALITY_TEXT : CM3_MODALITY_IMAGE);
        cm3_request *request = start(&options), *other = start(&options);
        cm3_event event = {.struct_size = sizeof event};
        int done = 0, seen = 0;
        uint64_t sum = 0;
        while (!done) {
            ck_assert_int_eq(cm3_request_next_event(request, 1000, &event, &done), CM3_OK);
            cm3_request_poll(other, 0, NULL, NULL, NULL); /* computes, where no thread does */
            if (event.kind == CM3_EVENT_TEXT) {
                ck_assert_uint_le(strlen(event.text), event.text_size);
                seen++;
            }
            if (!event.image) continue;
            cm3_image_view view;
            ck_assert_int_eq(cm3_image_get_view(event.image, &view), CM3_OK);
            for (int y = 0; y < view.height; y++) sum += view.pixels[(size_t)y * view.stride];
            seen++;
        }
        ck_assert(seen > 2 && (way || sum > 0));
        cm3_request_destroy(request);
        cm3_request_destroy(other);
    }
    gen_down(&c);
}
END_TEST

/* A hold on the picture outlives the event and the request. */
START_TEST(pictures_can_be_kept) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&options);
    cm3_event event = {.struct_size = sizeof event};
    cm3_image *kept = NULL;
    int done = 0;
    while (!done) {
        ck_assert_int_eq(cm3_request_next_event(request, 1000, &event, &done), CM3_OK);
        if (event.kind == CM3_EVENT_IMAGE && !kept) {
            kept = event.image;
            ck_assert_int_eq(cm3_image_retain(kept), CM3_OK);
        }
    }
    cm3_request_destroy(request);
    cm3_image_view view;
    ck_assert_int_eq(cm3_image_get_view(kept, &view), CM3_OK);
    ck_assert_int_gt(view.width, 0);
    cm3_image_destroy(kept);
    gen_down(&c);
}
END_TEST

/* Without a budget nothing is computed; with one, something is. */
START_TEST(no_budget_computes_nothing) {
    gen_up(&c, 0, 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&options);
    cm3_event event = {.struct_size = sizeof event};
    for (int i = 0; i < 1000; i++) {
        int done = 1;
        ck_assert_int_eq(cm3_request_next_event(request, 0, &event, &done), CM3_OK);
        ck_assert(!done && event.kind == CM3_EVENT_NONE);
    }
    int calls = 0, done = 0;
    while (!done) {
        uint64_t budget = 1;
        do {
            ck_assert_int_eq(cm3_request_next_event(request, budget, &event, &done), CM3_OK);
            budget = 0;
        } while (event.kind);
        calls++;
    }
    ck_assert_int_ge(calls, TINY_TOKENS);
    ck_assert_int_le(calls, 1000 * TINY_TOKENS);
    cm3_request_destroy(request);
    gen_down(&c);
}
END_TEST

/* Refused calls take no event away. */
START_TEST(refused) {
    gen_up(&c, 1, 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    recorder told;
    recorder_init(&told);
    cm3_document_destroy(gen_run(&c, "a red ball", &options, &told));
    cm3_request *request = start(&options);
    while (!cm3_request_done(request)) usleep(200);
    cm3_event event = {.struct_size = sizeof event};
    int done = 1;
    ck_assert_int_eq(cm3_request_next_event(NULL, 0, &event, &done), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(done, 0);
    ck_assert_int_eq(cm3_request_next_event(request, 0, NULL, &done), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&c.fixture, "cm3_event"));
    static const size_t wrong[] = {0, 4, sizeof event - 1};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        event.struct_size = wrong[i];
        ck_assert_int_eq(cm3_request_next_event(request, 0, &event, NULL), CM3_ERROR_INVALID_ARGUMENT);
        ck_assert(test_says(&c.fixture, "struct_size"));
    }
    recorder_init(&r);
    ck_assert_int_eq(drain(request, 0, &r), CM3_OK);
    compare(&told, &r);
    cm3_request_destroy(request);
    recorder_clear(&r);
    recorder_clear(&told);
    gen_down(&c);
}
END_TEST

/* Structs of another version: of an older one only its fields are written, what a newer one has beyond is zero. */
START_TEST(other_versions) {
    gen_up(&c, 0, 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&options);
    struct {
        cm3_event event;
        uint64_t beyond;
    } newer;
    memset(&newer, 0x5a, sizeof newer);
    newer.event.struct_size = sizeof newer;
    do {
        ck_assert_int_eq(cm3_request_next_event(request, 1, &newer.event, NULL), CM3_OK);
    } while (newer.event.kind == CM3_EVENT_NONE);
    ck_assert_uint_eq(newer.beyond, 0);
    memset(&newer, 0x5a, sizeof newer);
    newer.event.struct_size = offsetof(cm3_event, done);
    do {
        ck_assert_int_eq(cm3_request_next_event(request, 1, &newer.event, NULL), CM3_OK);
    } while (newer.event.kind != CM3_EVENT_PROGRESS);
    ck_assert_uint_eq(newer.event.done, 0x5a5a5a5a5a5a5a5au);
    cm3_request_destroy(request);
    gen_down(&c);
}
END_TEST

/* Cancelled, or failing: the events come first, then what went wrong, as often as asked. */
START_TEST(what_went_wrong) {
    gen_up(&c, team_sizes[_i], 128);
    cm3_generate_options options = options_of(CM3_MODALITY_IMAGE);
    cm3_request *request = start(&options);
    cm3_event event = {.struct_size = sizeof event};
    ck_assert_int_eq(cm3_request_next_event(request, 1, &event, NULL), CM3_OK);
    cm3_request_cancel(request);
    recorder_init(&r);
    cm3_status status = drain(request, 1000, &r);
    ck_assert(status == CM3_ERROR_CANCELLED || (_i && status == CM3_OK)); /* a thread may be quicker */
    for (int i = 0; i < 2; i++) {
        cm3_end_reason reason = recorder_end(&r, i)->reason;
        ck_assert_int_eq(reason, status == CM3_OK ? CM3_END_FINISHED : CM3_END_CANCELLED);
    }
    ck_assert_int_eq(drain(request, 0, NULL), status);
    cm3_request_destroy(request);
    recorder_clear(&r);

    cm3_document *prompt;
    GEN_OK(&c, cm3_document_create(c.context, &prompt));
    for (int i = 0; i < 60; i++) GEN_OK(&c, cm3_document_add_text(prompt, "a red ball and ", SIZE_MAX));
    GEN_OK(&c, cm3_request_start(c.model, prompt, &options, &request));
    cm3_document_destroy(prompt);
    ck_assert_int_eq(drain(request, 1000, NULL), CM3_ERROR_TOO_LONG);
    ck_assert(cm3_request_message(request)[0]);
    cm3_request_destroy(request);
    gen_down(&c);
}
END_TEST

/* Poll, wait and destroy take over from it at any event; nothing is left behind (gen_down() counts). */
START_TEST(beside_the_other_calls) {
    gen_up(&c, team_sizes[_i % TEAMS], 128);
    cm3_generate_options options = options_of(_i / TEAMS ? CM3_MODALITY_TEXT : CM3_MODALITY_IMAGE);
    for (int stop = 0; stop < 90; stop += stop < 12 ? 1 : 7) {
        cm3_request *request = start(&options);
        cm3_event event = {.struct_size = sizeof event};
        recorder_init(&r);
        int done = 0;
        for (int i = 0; i < stop && !done; i++) {
            ck_assert_int_eq(cm3_request_next_event(request, 100000, &event, &done), CM3_OK);
            if (event.kind) recorder_take(&r, &event);
        }
        if (stop % 3 == 1) cm3_request_poll(request, 1, recorder_take, &r, NULL);
        if (stop % 3 != 2) {
            ck_assert_int_eq(cm3_request_wait(request, recorder_take, &r), CM3_OK);
            recorder_end(&r, 0);
            recorder_end(&r, 1);
        }
        cm3_request_destroy(request);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

Suite *next_event_suite(void) {
    Suite *suite = suite_create("generate/next_event");
    TCase *tcase = tcase_create("next_event");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, as_by_callback, 0, 2 * TEAMS);
    tcase_add_loop_test(tcase, pointers_last, 0, TEAMS);
    tcase_add_loop_test(tcase, pictures_can_be_kept, 0, TEAMS);
    tcase_add_test(tcase, no_budget_computes_nothing);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, other_versions);
    tcase_add_loop_test(tcase, what_went_wrong, 0, TEAMS);
    tcase_add_loop_test(tcase, beside_the_other_calls, 0, 2 * TEAMS);
    suite_add_tcase(suite, tcase);
    return suite;
}
