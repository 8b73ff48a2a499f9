/* Runs the suites of lib/files/. */
#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(hash_suite());
    srunner_add_suite(runner, file_suite());
    srunner_add_suite(runner, json_suite());
    srunner_add_suite(runner, writer_suite());
    srunner_add_suite(runner, safetensors_suite());
    srunner_add_suite(runner, fuzz_suite());
    srunner_add_suite(runner, torch_suite());
    srunner_add_suite(runner, yaml_suite());
#ifdef CM3_WITH_TRAIN
    srunner_add_suite(runner, shard_suite());
#endif
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
