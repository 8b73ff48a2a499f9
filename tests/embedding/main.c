/* Runs the suites of what hosts ask for. They see the public headers and the shared library, as hosts do. */
#include <stdlib.h>

#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(host_suite());
    srunner_add_suite(runner, loading_suite());
    srunner_add_suite(runner, requests_suite());
    srunner_add_suite(runner, fork_suite());
    srunner_add_suite(runner, unload_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed ? EXIT_FAILURE : EXIT_SUCCESS;
}
