/* The suites of tests/document. */
#ifndef CM3_TESTS_DOCUMENT_SUITES_H
#define CM3_TESTS_DOCUMENT_SUITES_H

#include <check.h>

Suite *document_suite(void);
Suite *encoding_suite(void);
Suite *masking_suite(void);
Suite *task_suite(void);

#endif
