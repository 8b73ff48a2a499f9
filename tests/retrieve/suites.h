/* The suites of tests/retrieve. */
#ifndef CM3_TESTS_RETRIEVE_SUITES_H
#define CM3_TESTS_RETRIEVE_SUITES_H

#include <check.h>

Suite *bank_suite(void);
Suite *search_suite(void);
Suite *damage_suite(void);
Suite *killed_suite(void);
Suite *graph_suite(void);
Suite *retriever_suite(void);

#endif
