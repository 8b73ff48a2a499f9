/* Names, versions, messages, the log, option structs. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "base/context.h"
#include "base/options.h"
#include "suites.h"

static const cm3_status statuses[] = {CM3_OK,
                                      CM3_ERROR_INVALID_ARGUMENT,
                                      CM3_ERROR_NO_MEMORY,
                                      CM3_ERROR_BUSY,
                                      CM3_ERROR_CANCELLED,
                                      CM3_ERROR_UNSUPPORTED,
                                      CM3_ERROR_INTERNAL,
                                      CM3_ERROR_THREAD,
                                      CM3_ERROR_NOT_FOUND,
                                      CM3_ERROR_IO,
                                      CM3_ERROR_NO_SPACE,
                                      CM3_ERROR_FORMAT,
                                      CM3_ERROR_VERSION,
                                      CM3_ERROR_TRUNCATED,
                                      CM3_ERROR_CHECKSUM,
                                      CM3_ERROR_UTF8,
                                      CM3_ERROR_TOO_LONG};
#define STATUSES (sizeof statuses / sizeof *statuses)

static cm3_context *make(cm3_log_fn log, void *user, cm3_log_level level) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.log = log;
    options.log_user = user;
    options.log_level = level;
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    return context;
}

START_TEST(names_are_distinct) {
    for (size_t i = 0; i < STATUSES; ++i) {
        for (size_t j = 0; j < i; ++j) {
            ck_assert_str_ne(cm3_status_name(statuses[i]), cm3_status_name(statuses[j]));
        }
        ck_assert_str_ne(cm3_status_name(statuses[i]), cm3_status_name((cm3_status)999));
    }
    ck_assert_str_eq(cm3_status_name(CM3_ERROR_NO_MEMORY), "out of memory");
    ck_assert_ptr_nonnull(cm3_status_name((cm3_status)-1));
}
END_TEST

START_TEST(numbers_are_fixed) {
    static const int numbers[] = {0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12, 20, 21, 22, 23, 30, 31};
    for (size_t i = 0; i < STATUSES; ++i) ck_assert_int_eq(statuses[i], numbers[i]);
}
END_TEST

START_TEST(versions) {
    char text[32];
    snprintf(text, sizeof text, "%d.%d.%d", CM3_VERSION_MAJOR, CM3_VERSION_MINOR, CM3_VERSION_PATCH);
    ck_assert_str_eq(cm3_version(), text);
    ck_assert_uint_eq(cm3_api_version() / 1000, 1);
    ck_assert_uint_eq(cm3_api_version(), CM3_API_VERSION_MAJOR * 1000 + CM3_API_VERSION_MINOR);
}
END_TEST

START_TEST(message_of_last_failure) {
    cm3_context *context = make(NULL, NULL, CM3_LOG_WARNING);
    ck_assert_str_eq(cm3_context_message(context), "");
    ck_assert_int_eq(cm3_fail(context, CM3_ERROR_FORMAT, "%s: byte %d", "a.cm3", 8), CM3_ERROR_FORMAT);
    ck_assert_str_eq(cm3_context_message(context), "a.cm3: byte 8");
    ck_assert_int_eq(cm3_fail_memory(context, 77, "weights"), CM3_ERROR_NO_MEMORY);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(context), "weights"));
    ck_assert_ptr_nonnull(strstr(cm3_context_message(context), "77"));
    /* The old message may be part of the new one. */
    cm3_fail(context, CM3_ERROR_IO, "line 3: %s", cm3_context_message(context));
    ck_assert_int_eq(strncmp(cm3_context_message(context), "line 3: weights", 15), 0);
    cm3_context_destroy(context);
    ck_assert_int_eq(cm3_fail(NULL, CM3_ERROR_IO, "nobody hears it"), CM3_ERROR_IO);
    ck_assert_str_eq(cm3_context_message(NULL), "");
}
END_TEST

START_TEST(long_message_is_cut_at_a_code_point) {
    cm3_context *context = make(NULL, NULL, CM3_LOG_WARNING);
    char text[4096];
    for (size_t shift = 0; shift < 3; ++shift) {
        memset(text, 'a', shift);
        for (size_t i = shift; i + 3 < sizeof text; i += 3) memcpy(text + i, "\xe2\x82\xac", 4);
        cm3_fail(context, CM3_ERROR_IO, "%s", text);
        const char *message = cm3_context_message(context);
        size_t length = strlen(message);
        ck_assert_uint_lt(length, 1024);
        ck_assert_uint_gt(length, 1000);
        ck_assert_str_eq(message + length - 3, "...");
        ck_assert_uint_eq((length - 3 - shift) % 3, 0);
    }
    cm3_context_destroy(context);
}
END_TEST

typedef struct heard {
    int lines;
    cm3_log_level level;
    char line[128];
} heard;

static void hear(void *user, cm3_log_level level, const char *line) {
    heard *ear = user;
    ++ear->lines;
    ear->level = level;
    snprintf(ear->line, sizeof ear->line, "%s", line);
}

START_TEST(log_levels) {
    heard ear = {0};
    cm3_context *context = make(hear, &ear, CM3_LOG_INFO);
    cm3_log(context, CM3_LOG_DEBUG, "not this");
    ck_assert_int_eq(ear.lines, 0);
    cm3_log(context, CM3_LOG_INFO, "this %d", 1);
    ck_assert_int_eq(ear.lines, 1);
    ck_assert_int_eq(ear.level, CM3_LOG_INFO);
    ck_assert_str_eq(ear.line, "this 1");
    cm3_fail(context, CM3_ERROR_IO, "and failures");
    ck_assert_int_eq(ear.level, CM3_LOG_ERROR);
    ck_assert_str_eq(ear.line, "and failures");
    cm3_context_destroy(context);
    cm3_log(NULL, CM3_LOG_ERROR, "nobody");
}
END_TEST

static void *fail_often(void *arg) {
    for (int i = 0; i < 2000; ++i) {
        cm3_fail(arg, CM3_ERROR_IO, "%s", i % 2 == 0 ? "aaaaaaaaaaaaaaaaaaaaaaaa" : "bbbbbbbbbbbbbbbb");
        const char *message = cm3_context_message(arg);
        if (strspn(message, "a") != 24 && strspn(message, "b") != 16) return arg;
    }
    return NULL;
}

START_TEST(messages_from_many_threads) {
    cm3_context *context = make(NULL, NULL, CM3_LOG_WARNING);
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i) pthread_create(&threads[i], NULL, fail_often, context);
    for (int i = 0; i < 4; ++i) {
        void *torn;
        pthread_join(threads[i], &torn);
        ck_assert_ptr_null(torn);
    }
    cm3_context_destroy(context);
}
END_TEST

typedef struct old_options {
    size_t struct_size;
    uint64_t a;
} old_options;

typedef struct own_options {
    size_t struct_size;
    uint64_t a, b;
} own_options;

typedef struct new_options {
    size_t struct_size;
    uint64_t a, b, c;
} new_options;

START_TEST(options_across_versions) {
    own_options own = {sizeof own, 1, 2};
    ck_assert_int_eq(cm3_options_read(NULL, &own, sizeof own, NULL, "o"), CM3_OK);
    ck_assert_uint_eq(own.b, 2);
    old_options old = {sizeof old, 10};
    ck_assert_int_eq(cm3_options_read(NULL, &own, sizeof own, &old, "o"), CM3_OK);
    ck_assert_uint_eq(own.struct_size, sizeof own);
    ck_assert_uint_eq(own.a, 10);
    ck_assert_uint_eq(own.b, 2);
    new_options newer = {sizeof newer, 20, 21, 0};
    ck_assert_int_eq(cm3_options_read(NULL, &own, sizeof own, &newer, "o"), CM3_OK);
    ck_assert_uint_eq(own.b, 21);
    newer.c = 1;
    ck_assert_int_eq(cm3_options_read(NULL, &own, sizeof own, &newer, "o"), CM3_ERROR_INVALID_ARGUMENT);
    static const size_t wrong[] = {0, 1, 7, 9, 15};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; ++i) {
        old.struct_size = wrong[i];
        ck_assert_int_eq(cm3_options_read(NULL, &own, sizeof own, &old, "o"), CM3_ERROR_INVALID_ARGUMENT);
    }
}
END_TEST

START_TEST(results_across_versions) {
    own_options own = {sizeof own, 1, 2};
    old_options old = {sizeof old, 0};
    ck_assert_int_eq(cm3_options_write(NULL, &old, &own, sizeof own, "o"), CM3_OK);
    ck_assert_uint_eq(old.struct_size, sizeof old);
    ck_assert_uint_eq(old.a, 1);
    new_options newer = {sizeof newer, 9, 9, 9};
    ck_assert_int_eq(cm3_options_write(NULL, &newer, &own, sizeof own, "o"), CM3_OK);
    ck_assert_uint_eq(newer.struct_size, sizeof newer);
    ck_assert_uint_eq(newer.b, 2);
    ck_assert_uint_eq(newer.c, 0);
    newer.struct_size = 0;
    ck_assert_int_eq(cm3_options_write(NULL, &newer, &own, sizeof own, "o"), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_options_write(NULL, NULL, &own, sizeof own, "o"), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

Suite *status_suite(void) {
    Suite *suite = suite_create("status");
    TCase *tests = tcase_create("status");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, names_are_distinct);
    tcase_add_test(tests, numbers_are_fixed);
    tcase_add_test(tests, versions);
    tcase_add_test(tests, message_of_last_failure);
    tcase_add_test(tests, long_message_is_cut_at_a_code_point);
    tcase_add_test(tests, log_levels);
    tcase_add_test(tests, messages_from_many_threads);
    tcase_add_test(tests, options_across_versions);
    tcase_add_test(tests, results_across_versions);
    suite_add_tcase(suite, tests);
    return suite;
}
