/* The suites of lib/base/. */
#ifndef TESTS_BASE_SUITES_H
#define TESTS_BASE_SUITES_H

#include <check.h>

Suite *aside_suite(void);
Suite *context_suite(void);
Suite *cpu_suite(void);
Suite *dtype_suite(void);
Suite *memory_suite(void);
Suite *parallel_suite(void);
Suite *random_suite(void);
Suite *status_suite(void);

#endif
