/* Runs the suites of lib/text/. */
#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(bpe_suite());
    srunner_add_suite(runner, format_suite());
    srunner_add_suite(runner, trainer_suite());
    srunner_add_suite(runner, utf8_suite());
    srunner_add_suite(runner, special_suite());
    srunner_add_suite(runner, fuzz_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
