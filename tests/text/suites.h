/* The suites of lib/text/. */
#ifndef TESTS_TEXT_SUITES_H
#define TESTS_TEXT_SUITES_H

#include <check.h>

Suite *bpe_suite(void);
Suite *format_suite(void);
Suite *fuzz_suite(void);
Suite *special_suite(void);
Suite *trainer_suite(void);
Suite *utf8_suite(void);

#endif
