/* The suites of lib/model. */
#ifndef MODEL_SUITES_H
#define MODEL_SUITES_H

#include <check.h>

Suite *forward_suite(void);
Suite *cm3_file_suite(void);

#endif
