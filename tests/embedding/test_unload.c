/* Hosts that load the library, use it, unload it and end. */
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>

#include "host.h"
#include "suites.h"

#define ROUNDS 100

extern char **environ;

/* dlopen, generate, destroy, dlclose, exit: a hundred processes of it, with no engine thread, one, and a team. */
START_TEST(a_hundred_times) {
    for (int round = 0; round < ROUNDS; round++) {
        char threads[8];
        snprintf(threads, sizeof threads, "%d", round % 3);
        char *arguments[] = {(char *)(uintptr_t)CM3_UNLOAD_HOST, (char *)(uintptr_t)CM3_LIBRARY,
                             (char *)(uintptr_t)HOST_MODEL, threads, NULL};
        pid_t child;
        int status;
        ck_assert_int_eq(posix_spawn(&child, CM3_UNLOAD_HOST, NULL, NULL, arguments, environ), 0);
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "round %d, %s threads: status %x", round, threads,
                      status);
    }
}
END_TEST

Suite *unload_suite(void) {
    Suite *suite = suite_create("embedding/unload");
    TCase *tcase = tcase_create("unload");
    tcase_set_timeout(tcase, 300);
    tcase_add_test(tcase, a_hundred_times);
    suite_add_tcase(suite, tcase);
    return suite;
}
