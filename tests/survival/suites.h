/* The suites of what the library must survive. */
#ifndef SURVIVAL_SUITES_H
#define SURVIVAL_SUITES_H

#include <check.h>

Suite *out_of_memory_suite(void);
Suite *requests_out_of_memory_suite(void);
Suite *training_out_of_memory_suite(void);
Suite *threads_suite(void);
Suite *many_requests_suite(void);
Suite *damage_suite(void);
Suite *mapped_files_suite(void);

#endif
