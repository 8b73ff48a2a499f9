/* The suites of tests/model. */
#ifndef CM3_TESTS_MODEL_SUITES_H
#define CM3_TESTS_MODEL_SUITES_H

#include <check.h>

Suite *config_suite(void);
Suite *forward_suite(void);
Suite *cm3_file_suite(void);
Suite *tokenizer_suite(void);
Suite *huggingface_suite(void);
Suite *meta_suite(void);
Suite *clip_suite(void);
Suite *convert_suite(void);
Suite *measure_suite(void);

#endif
