/* CM3_CPU, which is read once: each case asks a process of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "cm3leon/context.h"
#include "suites.h"

static const char *const names[] = {"c", "avx2", "avx512", "avx512_bf16", "amx"};
#define LEVELS 5
static const cm3_cpu_level levels[] = {CM3_CPU_C, CM3_CPU_AVX2, CM3_CPU_AVX512, CM3_CPU_AVX512_BF16, CM3_CPU_AMX};

/* What `test_base --cpu` prints with that value of CM3_CPU. */
static void ask(const char *value, char *answer, size_t size) {
    char self[4096], command[5000];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    ck_assert_int_gt(length, 0);
    self[length] = '\0';
    const char *launcher = getenv("CM3_TEST_LAUNCHER"); /* an emulator, where the tests run under one */
    snprintf(command, sizeof command, "CM3_CPU='%s' %s '%s' --cpu", value, launcher ? launcher : "", self);
    FILE *pipe = popen(command, "r");
    ck_assert_ptr_nonnull(pipe);
    size_t got = fread(answer, 1, size - 1, pipe);
    answer[got] = '\0';
    ck_assert_int_eq(pclose(pipe), 0);
}

static int level_of(const char *answer) {
    for (int i = 0; i < LEVELS; ++i) {
        size_t length = strlen(names[i]);
        if (strncmp(answer, names[i], length) == 0 && answer[length] == '\n') return i;
    }
    ck_abort_msg("no level: %s", answer);
    return -1;
}

START_TEST(cap) {
    char answer[512];
    ask("", answer, sizeof answer);
    int highest = level_of(answer);
    ck_assert_ptr_null(strstr(answer, "CM3_CPU"));
    for (int i = 0; i < LEVELS; ++i) {
        ask(names[i], answer, sizeof answer);
        ck_assert_int_eq(level_of(answer), i < highest ? i : highest);
        ck_assert_ptr_null(strstr(answer, "CM3_CPU"));
    }
}
END_TEST

START_TEST(unknown_value_is_told_once) {
    char answer[512], plain[512];
    ask("", plain, sizeof plain);
    ask("sse9", answer, sizeof answer);
    ck_assert_int_eq(level_of(answer), level_of(plain));
    const char *told = strstr(answer, "sse9");
    ck_assert_ptr_nonnull(told);
    ck_assert_ptr_null(strstr(told + 1, "sse9"));
}
END_TEST

START_TEST(level_has_a_name) {
    for (int i = 0; i < LEVELS; ++i) ck_assert_str_eq(cm3_cpu_name(levels[i]), names[i]);
    ck_assert_ptr_nonnull(cm3_cpu_name((cm3_cpu_level)5));
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(NULL, &context), CM3_OK);
    int threads;
    const char *kernels;
    ck_assert_int_eq(cm3_context_compute(context, &threads, &kernels), CM3_OK);
    ck_assert_str_eq(kernels, cm3_cpu_name(cm3_cpu_detect()));
    ck_assert_int_ge(threads, 1);
    ck_assert_int_eq(cm3_context_compute(context, NULL, &kernels), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_context_compute(context, &threads, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_context_compute(NULL, &threads, &kernels), CM3_ERROR_INVALID_ARGUMENT);
    cm3_context_destroy(context);
}
END_TEST

Suite *cpu_suite(void) {
    Suite *suite = suite_create("cpu");
    TCase *tests = tcase_create("cpu");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, cap);
    tcase_add_test(tests, unknown_value_is_told_once);
    tcase_add_test(tests, level_has_a_name);
    suite_add_tcase(suite, tests);
    return suite;
}
