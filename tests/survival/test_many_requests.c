/* Thousands of requests in one process: memory stays what it was after the first of them. */
#include "suites.h"
#include "sweep.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* sanitizers keep what was freed: the process's size says nothing */
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

#define KINDS 8    /* one after the other, over and over */
#define WARM_UP 48 /* requests until all that is kept has come to be */
#define RSS_MAY_GROW ((int64_t)2 << 20)

static gen_case c;
static const int team_sizes[] = {0, 2};

typedef struct usage {
    int64_t live, peak, resident; /**< bytes */
} usage;

static int64_t resident_bytes(void) {
    long long pages[2] = {0, 0};
    FILE *file = fopen("/proc/self/statm", "r");
    ck_assert_ptr_nonnull(file);
    ck_assert_int_eq(fscanf(file, "%lld %lld", &pages[0], &pages[1]), 2);
    fclose(file);
    return (int64_t)pages[1] * sysconf(_SC_PAGESIZE);
}

static usage usage_now(void) {
    cm3_memory_stats stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(cm3_context_memory(c.context, &stats), CM3_OK);
    return (usage){(int64_t)stats.live_bytes, (int64_t)stats.peak_bytes, resident_bytes()};
}

static cm3_generate_options options_of(int kind) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = (cm3_modality)(CM3_MODALITY_IMAGE + kind % 3);
    options.seed = (uint64_t)(100 + kind);
    options.max_tokens = 6;
    options.temperature = 1;
    options.candidates = kind == 4 ? 3 : 1;
    options.preview_rows = kind == 3 ? 4 : 0;
    options.compute = kind == 6 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    return options;
}

/* One request of eight kinds: pictures and texts, to the end, cancelled, left alone, refused. */
static void one_request(int kind) {
    cm3_generate_options options = options_of(kind);
    cm3_document *prompt = gen_prompt(&c, "a red ball"), *result;
    cm3_request *request;
    if (kind == 5) { /* refused before it starts */
        options.candidates = 0;
        ck_assert_int_eq(cm3_request_start(c.model, prompt, &options, &request), CM3_ERROR_INVALID_ARGUMENT);
    } else {
        GEN_OK(&c, cm3_request_start(c.model, prompt, &options, &request));
        cm3_status expected = CM3_OK;
        if (kind == 7) {
            cm3_request_cancel(request);
            expected = CM3_ERROR_CANCELLED;
        }
        if (kind != 2) { /* that one is destroyed as it runs */
            cm3_status status = cm3_request_wait(request, NULL, NULL);
            ck_assert(status == expected || (kind == 7 && status == CM3_OK));
            GEN_OK(&c, cm3_request_result(request, &result));
            cm3_document_destroy(result);
        }
        cm3_request_destroy(request);
    }
    cm3_document_destroy(prompt);
}

/* All that is kept between requests is there after the first, and never more of it. */
START_TEST(flat_memory) {
    bool inside = team_sizes[_i] == 0;
    int count = getenv("CM3_TEST_LONG") ? 10000 : 400;
    gen_up(&c, team_sizes[_i], 128);
    for (int i = 0; i < WARM_UP; i++) one_request(i % KINDS);
    if (!inside) usleep(100000); /* the engine's last turn lets go of its task */
    usage first = usage_now();
    for (int i = 0; i < count; i++) {
        one_request(i % KINDS);
        if (i % KINDS != KINDS - 1 || (!inside && i % (64 * KINDS) != KINDS - 1)) continue;
        int64_t live = inside ? sweep_live(&c, first.live) : usage_now().live;
        /* With a thread, whether two requests met in one batch, whose lists then stay longer, is chance. */
        ck_assert_msg(live <= first.live + (inside ? 0 : 4096),
                      "request %d: %lld bytes are live, %lld were after the first ones", i, (long long)live,
                      (long long)first.live);
    }
    usage last = usage_now();
    /* With a thread, how much of a request is still there as the next begins, and how many events wait, is chance. */
    int64_t more = inside ? 0 : 65536;
    ck_assert_msg(last.peak <= first.peak + more, "the peak grew from %lld to %lld bytes", (long long)first.peak,
                  (long long)last.peak);
    if (!SANITIZED) {
        ck_assert_msg(last.resident - first.resident < RSS_MAY_GROW, "the process grew from %lld to %lld bytes",
                      (long long)first.resident, (long long)last.resident);
    }
    gen_down(&c);
}
END_TEST

/* Models and contexts come and go: the process keeps nothing of them. */
START_TEST(models_come_and_go) {
    int count = test_rounds(40);
    int64_t resident = 0;
    for (int i = 0; i < count; i++) {
        gen_up(&c, team_sizes[_i], 128);
        one_request(0);
        gen_down(&c); /* nothing is live */
        if (i == count / 2) resident = resident_bytes();
    }
    if (!SANITIZED) ck_assert_int_lt(resident_bytes() - resident, RSS_MAY_GROW);
}
END_TEST

Suite *many_requests_suite(void) {
    Suite *suite = suite_create("survival/many requests");
    TCase *tcase = tcase_create("many requests");
    tcase_set_timeout(tcase, getenv("CM3_TEST_LONG") ? 3600 : 900);
    tcase_add_loop_test(tcase, flat_memory, 0, 2);
    tcase_add_loop_test(tcase, models_come_and_go, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
