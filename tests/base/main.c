/* Runs the suites of lib/base/; with --cpu it only names the CPU level, for the test of CM3_CPU. */
#include <stdio.h>
#include <string.h>

#include "base/cpu.h"
#include "cm3leon/context.h"
#include "suites.h"

static void print_line(void *user, cm3_log_level level, const char *line) {
    (void)user;
    printf("%d %s\n", (int)level, line);
}

static int print_cpu(void) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.log = print_line;
    printf("%s\n", cm3_cpu_name(cm3_cpu_detect()));
    for (int i = 0; i < 2; ++i) {
        cm3_context *context;
        if (cm3_context_create(&options, &context) != CM3_OK) return 1;
        cm3_context_destroy(context);
    }
    return 0;
}

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], "--cpu") == 0) return print_cpu();
    SRunner *runner = srunner_create(status_suite());
    srunner_add_suite(runner, memory_suite());
    srunner_add_suite(runner, dtype_suite());
    srunner_add_suite(runner, random_suite());
    srunner_add_suite(runner, cpu_suite());
    srunner_add_suite(runner, parallel_suite());
    srunner_add_suite(runner, aside_suite());
    srunner_add_suite(runner, context_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
