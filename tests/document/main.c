/* Runs every suite of tests/document. */
#include <stdlib.h>

#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(document_suite());
    srunner_add_suite(runner, encoding_suite());
    srunner_add_suite(runner, masking_suite());
    srunner_add_suite(runner, task_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
