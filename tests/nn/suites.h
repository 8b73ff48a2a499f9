/* The suites of tests/nn. */
#ifndef CM3_TESTS_NN_SUITES_H
#define CM3_TESTS_NN_SUITES_H

#include <check.h>

Suite *kernels_rows_suite(void);
Suite *kernels_products_suite(void);
Suite *kernels_quantised_suite(void);
Suite *kernels_fixed_suite(void);
Suite *kernels_tiles_suite(void);
Suite *quantised_suite(void);
Suite *kernels_attention_suite(void);
Suite *kernels_maps_suite(void);
Suite *conv_suite(void);
Suite *measure_suite(void);
Suite *group_norm_suite(void);
Suite *onednn_suite(void);
Suite *ops_suite(void);
Suite *stages_suite(void);
Suite *pixel_loss_suite(void);
Suite *res_block_suite(void);
Suite *slices_suite(void);

#endif
