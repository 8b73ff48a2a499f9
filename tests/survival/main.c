/* Runs the suites of what the library must survive. CK_RUN_SUITE names one. */
#include <stdlib.h>

#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(out_of_memory_suite());
    srunner_add_suite(runner, requests_out_of_memory_suite());
#ifdef CM3_WITH_TRAIN
    srunner_add_suite(runner, training_out_of_memory_suite());
#endif
    srunner_add_suite(runner, threads_suite());
    srunner_add_suite(runner, many_requests_suite());
    srunner_add_suite(runner, damage_suite());
    srunner_add_suite(runner, mapped_files_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
