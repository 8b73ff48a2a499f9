/* The suites of lib/files/. */
#ifndef TESTS_FILES_SUITES_H
#define TESTS_FILES_SUITES_H

#include <check.h>

Suite *file_suite(void);
Suite *fuzz_suite(void);
Suite *hash_suite(void);
Suite *json_suite(void);
Suite *safetensors_suite(void);
Suite *shard_suite(void);
Suite *torch_suite(void);
Suite *yaml_suite(void);
Suite *writer_suite(void);

#endif
