/* The suites of what hosts ask for. */
#ifndef EMBEDDING_SUITES_H
#define EMBEDDING_SUITES_H

#include <check.h>

Suite *host_suite(void);
Suite *loading_suite(void);
Suite *requests_suite(void);
Suite *fork_suite(void);
Suite *unload_suite(void);

#endif
