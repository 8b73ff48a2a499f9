/* The struct behind a context: only base/ looks inside. */
#ifndef CM3_BASE_STATE_H
#define CM3_BASE_STATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/types.h>

#include "base/context.h"

#define CM3_MESSAGE_SIZE 1024
#define CM3_MAX_THREADS 64

/** A queued piece of work. One that cm3_context_run() waits for lives on the waiting thread's stack and has `done`. */
typedef struct cm3_task {
    struct cm3_task *next;
    cm3_task_fn fn;
    void *arg;
    bool *done; /**< set under the queue's lock when the task is through; NULL: the task is freed instead */
} cm3_task;

struct cm3_context {
    cm3_allocator allocator;
    _Atomic uint64_t live, peak, allocations; /**< bytes, bytes, number */
    _Atomic int64_t holds;

    cm3_log_fn log;
    void *log_user;
    cm3_log_level log_level;
    pthread_mutex_t message_lock;
    char message[CM3_MESSAGE_SIZE];

    cm3_cpu_level cpu;
    int threads; /**< 0: inline */
    pid_t pid;   /**< of the process that made it; a fork's child has none of its threads */
    cm3_team *team;

    pthread_mutex_t queue_lock;
    pthread_cond_t queue_wake; /**< a task was queued, or the end has come */
    pthread_cond_t queue_done; /**< some waited-for task is through */
    cm3_task *first, *last;
    bool stop;
    bool orphan; /**< the compute thread itself dropped the last hold: it frees the context when it leaves */
    bool started;
    pthread_t thread;
    pthread_mutex_t work_lock; /**< recursive; held while the host's thread computes (inline) */
    uint64_t deadline;         /**< under it: when that should have ended, cm3_clock_ns(); 0: whenever a turn does */
};

/** A team of `size`, its helpers started (pthreads) or shown to be startable (OpenMP). Errors: NO_MEMORY, THREAD. */
cm3_status cm3_team_create(cm3_context *context, int size, cm3_team **team);
/** Ends the helpers; in a fork's child, where there are none, it only frees. */
void cm3_team_destroy(cm3_context *context, cm3_team *team);
/** Makes the calling thread the one that runs teams of `size`: what OpenMP keeps per thread. Returns what was set
 * before. */
int cm3_team_adopt(int size);

/** Starts the compute thread (threads >= 1). Errors: THREAD. */
cm3_status cm3_compute_start(cm3_context *context);
/** Ends it: waits for it, or leaves a note where it is the calling thread. True: the caller frees the context now. */
bool cm3_compute_stop(cm3_context *context);
/** Frees everything of a context whose compute thread has ended. */
void cm3_context_free(cm3_context *context);

/** Cores that this process may use, at most CM3_MAX_THREADS. */
int cm3_count_cores(void);

/** The value of CM3_CPU where it is none of the known names, otherwise NULL. */
const char *cm3_cpu_unknown(void);

#endif
