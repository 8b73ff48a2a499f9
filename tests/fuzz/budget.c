/*
 * Ends a fuzzing run after CM3_FUZZ_SECONDS of processor time: libFuzzer itself counts by the clock on the wall, which
 * on a busy machine is another thing. Upon SIGUSR1 it tells its statistics and ends well.
 */
#include <signal.h>
#include <stdlib.h>
#include <time.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    const char *seconds = getenv("CM3_FUZZ_SECONDS");
    if (seconds == NULL || atoi(seconds) < 1) return 0;
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    const struct itimerspec budget = {.it_value = {.tv_sec = atoi(seconds)}};
    timer_t timer;
    if (timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) != 0) abort();
    if (timer_settime(timer, 0, &budget, NULL) != 0) abort();
    return 0;
}
