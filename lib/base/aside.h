/* Work beside the compute thread's: with one thread, what need not be waited for. */
#ifndef CM3_BASE_ASIDE_H
#define CM3_BASE_ASIDE_H

#include <stdatomic.h>

#include "base/context.h"

typedef struct cm3_aside cm3_aside;

/**
 * A piece of work, at the beginning of a struct of the caller's. It is lent from cm3_aside_post() until
 * cm3_aside_wait() says that it is through, or, once it is forgotten, for good.
 */
typedef struct cm3_aside_job {
    struct cm3_aside_job *next;
    void (*run)(struct cm3_aside_job *job);  /**< elsewhere */
    void (*tell)(struct cm3_aside_job *job); /**< likewise, behind it, and never once the job was forgotten */
    void (*drop)(struct cm3_aside_job *job); /**< frees one that was forgotten, elsewhere or in cm3_aside_forget() */
    atomic_int cancelled;                    /**< set when it is forgotten: what runs it should stop */
    bool through, forgotten;                 /**< under a lock */
} cm3_aside_job;

/** Whether that gains anything: not with threads = 0, with a single core, or where a team of more than two has all
 * cores, which are through with the work sooner. */
bool cm3_aside_gains(const cm3_context *context);

/**
 * Where the team leaves cores, a thread is started, which sleeps while there is no work; a team of two that has all
 * does it itself, one member meanwhile going on alone: see cm3_aside_serve(). *aside is NULL, and the answer CM3_OK,
 * where nothing is gained. Errors: NO_MEMORY, THREAD.
 */
cm3_status cm3_aside_create(cm3_context *context, cm3_aside **aside);

/** Ends it behind the job that runs, whose `cancelled` is set; none that was not forgotten may be left. NULL is
 * allowed. */
void cm3_aside_destroy(cm3_aside *aside);

/* --- on the compute thread ---------------------------------------------------------------------------------------- */

/** Jobs are run in the order in which they were posted. */
void cm3_aside_post(cm3_aside *aside, cm3_aside_job *job);

/** Where the team does it, and there is something to do: the last member does, while `beside(arg)` is called here again
 * and again, until it returns false or all is done; it must not use oneDNN with the team. */
void cm3_aside_serve(cm3_aside *aside, bool (*beside)(void *arg), void *arg);

/** Waits until the job is through. False where `cancel` was set first (looked at every few milliseconds). */
bool cm3_aside_wait(cm3_aside *aside, const cm3_aside_job *job, const atomic_int *cancel);

/** Nobody waits for this one any more: it tells nothing, and is dropped as soon as it does not run. */
void cm3_aside_forget(cm3_aside *aside, cm3_aside_job *job);

/** Runs `fn(arg)` here, if no job runs or waits; none begins meanwhile. */
void cm3_aside_if_idle(cm3_aside *aside, void (*fn)(void *arg), void *arg);

#endif
