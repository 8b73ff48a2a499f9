/* Runs the suites of lib/image/. */
#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(picture_suite());
    srunner_add_suite(runner, decode_suite());
    srunner_add_suite(runner, save_suite());
    srunner_add_suite(runner, resample_suite());
    srunner_add_suite(runner, preprocess_suite());
    srunner_add_suite(runner, hostile_suite());
    srunner_add_suite(runner, measure_suite());
    srunner_add_suite(runner, vq_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
