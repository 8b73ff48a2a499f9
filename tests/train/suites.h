/* The suites of tests/train. */
#ifndef CM3_TESTS_TRAIN_SUITES_H
#define CM3_TESTS_TRAIN_SUITES_H

#include <check.h>

Suite *optimizer_suite(void);
Suite *mixture_suite(void);
Suite *packing_suite(void);
Suite *dataset_suite(void);
Suite *codebook_suite(void);
Suite *reference_suite(void);
Suite *checkpoint_suite(void);
Suite *vq_training_suite(void);
Suite *lm_training_suite(void);
Suite *data_tools_suite(void);
Suite *arguments_suite(void);
Suite *neighbours_suite(void);

Suite *encoder_training_suite(void);
Suite *ranks_suite(void);
Suite *rank_failures_suite(void);

#endif
