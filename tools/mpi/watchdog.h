/* A limit to waiting: a thread that looks at how long a call has blocked, since the call itself cannot. */
#ifndef CM3_MPI_WATCHDOG_H
#define CM3_MPI_WATCHDOG_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** What is waited for. */
typedef struct cm3_wait {
    const char *name, *unit; /**< "an all-reduce", "f32 values"; unit NULL: of nothing */
    size_t count;            /**< of units */
    uint64_t number;         /**< the how manieth call, the same on all ranks */
    double since;            /**< when it began, as cm3_now(); 0: none is running */
} cm3_wait;

/** "an all-reduce of 4096 f32 values (call 17)". */
void cm3_wait_text(const cm3_wait *wait, char *text, size_t size);

typedef struct cm3_watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    double limit;  /**< seconds */
    cm3_wait wait; /**< of the running call */
    bool started, stop, warned;
    void (*expired)(void *user, const char *what); /**< on the watchdog's thread; does not return */
    void *user;
} cm3_watchdog;

/** `limit` 0: nothing is watched. False: the thread could not be started. */
bool cm3_watchdog_start(cm3_watchdog *watchdog, double limit, void (*expired)(void *user, const char *what),
                        void *user);
/** Before a call that blocks. */
void cm3_watchdog_begin(cm3_watchdog *watchdog, const cm3_wait *wait);
/** Behind it. */
void cm3_watchdog_end(cm3_watchdog *watchdog);
void cm3_watchdog_stop(cm3_watchdog *watchdog);

#endif
