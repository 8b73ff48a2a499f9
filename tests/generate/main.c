/* Runs all suites of lib/generate. */
#include <stdlib.h>

#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(sampler_suite());
    srunner_add_suite(runner, chameleon_suite());
    srunner_add_suite(runner, request_suite());
    srunner_add_suite(runner, arguments_suite());
    srunner_add_suite(runner, running_suite());
    srunner_add_suite(runner, next_event_suite());
    srunner_add_suite(runner, texts_suite());
    srunner_add_suite(runner, memory_suite());
    srunner_add_suite(runner, mixing_suite());
    srunner_add_suite(runner, infill_suite());
    srunner_add_suite(runner, ranking_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
