/* Runs every suite of tests/nn. */
#include <stdlib.h>

#include "suites.h"

static Suite *(*const suites[])(void) = {
    kernels_rows_suite,  kernels_products_suite, kernels_quantised_suite, kernels_fixed_suite,
    kernels_tiles_suite, quantised_suite,        kernels_attention_suite, kernels_maps_suite,
    conv_suite,          group_norm_suite,       measure_suite,           onednn_suite,
    ops_suite,           stages_suite,           pixel_loss_suite,        res_block_suite,
    slices_suite,
};

int main(void) {
    SRunner *runner = srunner_create(NULL);
    for (size_t i = 0; i < sizeof suites / sizeof *suites; i++) srunner_add_suite(runner, suites[i]());
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
