/* The inside of a context, and its compute thread. */
#ifndef CM3_BASE_CONTEXT_H
#define CM3_BASE_CONTEXT_H

#include <stdbool.h>

#include "base/cpu.h"
#include "base/memory.h"
#include "base/parallel.h"
#include "cm3leon/context.h"

/** Objects made from a context hold it by these. */
void cm3_context_retain(cm3_context *context);
void cm3_context_release(cm3_context *context);

/** The team that computes; used only by code that runs on the compute thread (see cm3_context_run()). */
cm3_team *cm3_context_team(cm3_context *context);

/** The CPU level that kernels may use. */
cm3_cpu_level cm3_context_cpu(const cm3_context *context);

/** True with threads = 0: computing happens inside the host's calls. */
bool cm3_context_inline(const cm3_context *context);

/**
 * Whether this process was forked off after the context was made: the library's threads are not in it, and locks that
 * others held stay held. Such a process is refused whatever waits, works or locks, and what threads may have been at
 * work on is left as it is at the end.
 */
bool cm3_context_forked(const cm3_context *context);
/** UNSUPPORTED, with a message, in such a process. */
cm3_status cm3_context_refuse_fork(cm3_context *context);

/** A piece of work. Returns true to be run again (after other waiting tasks had their turn), false when it is through.
 */
typedef bool (*cm3_task_fn)(void *arg);

/**
 * Queues a task for the compute thread. With threads = 0 it waits until cm3_context_work() is called. The task may post
 * again. Errors: NO_MEMORY.
 */
cm3_status cm3_context_post(cm3_context *context, cm3_task_fn task, void *arg);

/**
 * With threads = 0: runs queued tasks, at least one turn, until about budget_us microseconds have passed or none is
 * left. A task that can stop halfway and go on in its next turn asks when it should.
 */
void cm3_context_work(cm3_context *context, uint64_t budget_us);

/** In a task: when it should stop (cm3_clock_ns()), 0: at its turn's end. Always 0 with threads >= 1 and without a
 * budget. */
uint64_t cm3_context_deadline(const cm3_context *context);

/**
 * Runs `fn(arg)` on the compute thread and waits for its result; called on the compute thread itself, or with
 * threads = 0, it runs at once (one at a time per context).
 */
cm3_status cm3_context_run(cm3_context *context, cm3_status (*fn)(void *arg), void *arg);

#endif
