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

/** A piece of work. Returns true to be run again (after other waiting tasks had their turn), false when it is through.
 */
typedef bool (*cm3_task_fn)(void *arg);

/**
 * Queues a task for the compute thread. With threads = 0 it waits until cm3_context_work() is called. The task may post
 * again. Errors: NO_MEMORY.
 */
cm3_status cm3_context_post(cm3_context *context, cm3_task_fn task, void *arg);

/** With threads = 0: runs queued tasks, at least one turn, until about budget_us microseconds have passed or none is
 * left. */
void cm3_context_work(cm3_context *context, uint64_t budget_us);

/**
 * Runs `fn(arg)` on the compute thread and waits for its result; called on the compute thread itself, or with
 * threads = 0, it runs at once (one at a time per context).
 */
cm3_status cm3_context_run(cm3_context *context, cm3_status (*fn)(void *arg), void *arg);

#endif
