/* The suites of lib/image/. */
#ifndef TESTS_IMAGE_SUITES_H
#define TESTS_IMAGE_SUITES_H

#include <check.h>

Suite *decode_suite(void);
Suite *hostile_suite(void);
Suite *measure_suite(void);
Suite *picture_suite(void);
Suite *preprocess_suite(void);
Suite *resample_suite(void);
Suite *save_suite(void);
Suite *vq_suite(void);

#endif
