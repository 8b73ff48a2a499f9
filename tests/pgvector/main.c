/* Runs the suites of lib/pgvector/, against the servers of servers.py. */
#include "support.h"

int main(void) {
    SRunner *runner = srunner_create(options_suite());
    srunner_add_suite(runner, store_suite());
    srunner_add_suite(runner, servers_suite());
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
