/* Runs the suites of lib/retrieve/. */
#include "suites.h"

int main(void) {
    SRunner *runner = srunner_create(bank_suite());
    srunner_add_suite(runner, search_suite());
    srunner_add_suite(runner, damage_suite());
    srunner_add_suite(runner, killed_suite());
    srunner_add_suite(runner, graph_suite());
    srunner_add_suite(runner, retriever_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
