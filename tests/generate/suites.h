/* The suites of lib/generate. */
#ifndef GENERATE_SUITES_H
#define GENERATE_SUITES_H

#include <check.h>

Suite *chameleon_suite(void);
Suite *sampler_suite(void);
Suite *request_suite(void);
Suite *arguments_suite(void);
Suite *running_suite(void);
Suite *next_event_suite(void);
Suite *texts_suite(void);
Suite *memory_suite(void);
Suite *mixing_suite(void);
Suite *infill_suite(void);
Suite *ranking_suite(void);

#endif
