/* Runs every suite of tests/model. */
#include <stdlib.h>

#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(config_suite());
    srunner_add_suite(runner, forward_suite());
    srunner_add_suite(runner, cm3_file_suite());
    srunner_add_suite(runner, tokenizer_suite());
    srunner_add_suite(runner, huggingface_suite());
    srunner_add_suite(runner, meta_suite());
    srunner_add_suite(runner, clip_suite());
    srunner_add_suite(runner, convert_suite());
    srunner_add_suite(runner, measure_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
