/* Runs every suite of tests/train. */
#include <stdlib.h>

#include "suites.h"

static Suite *(*const suites[])(void) = {
    optimizer_suite,  packing_suite,     mixture_suite,     dataset_suite,    codebook_suite,  reference_suite,
    checkpoint_suite, vq_training_suite, lm_training_suite, data_tools_suite, arguments_suite, neighbours_suite,
};

int main(void) {
    SRunner *runner = srunner_create(NULL);
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) srunner_add_suite(runner, suites[i]());
    srunner_add_suite(runner, encoder_training_suite());
    srunner_add_suite(runner, ranks_suite());
    srunner_add_suite(runner, rank_failures_suite());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
