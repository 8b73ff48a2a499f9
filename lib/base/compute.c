/* The compute thread and its queue; the same queue worked by the host's calls with threads = 0. */
#include <fenv.h>
#include <signal.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/state.h"

/* The context whose compute thread this is. */
static _Thread_local const cm3_context *computing;

bool cm3_context_forked(const cm3_context *context) {
    return getpid() != context->pid;
}

cm3_status cm3_context_refuse_fork(cm3_context *context) {
    if (!cm3_context_forked(context)) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_UNSUPPORTED,
                    "this process was forked (%d from %d) after the context was made: make a context of its own",
                    (int)getpid(), (int)context->pid);
}

static void push(cm3_context *context, cm3_task *task) {
    task->next = NULL;
    if (context->last != NULL) context->last->next = task;
    if (context->first == NULL) context->first = task;
    context->last = task;
}

static cm3_task *pop(cm3_context *context) {
    cm3_task *task = context->first;
    if (task == NULL) return NULL;
    context->first = task->next;
    if (context->first == NULL) context->last = NULL;
    return task;
}

/* One turn of the first task; called and returning with the queue's lock held. */
static void run_turn(cm3_context *context, cm3_task *task) {
    pthread_mutex_unlock(&context->queue_lock);
    bool again = task->fn(task->arg);
    if (!again && task->done == NULL) {
        cm3_free(context, task);
        task = NULL;
    }
    pthread_mutex_lock(&context->queue_lock);
    if (again) {
        push(context, task);
    } else if (task != NULL) {
        *task->done = true;
        pthread_cond_broadcast(&context->queue_done);
    }
}

static void *compute_main(void *arg) {
    cm3_context *context = arg;
    computing = context;
    fesetenv(FE_DFL_ENV);
    cm3_team_adopt(context->threads);

    pthread_mutex_lock(&context->queue_lock);
    while (!context->stop) {
        cm3_task *task = pop(context);
        if (task != NULL) {
            run_turn(context, task);
        } else {
            pthread_cond_wait(&context->queue_wake, &context->queue_lock);
        }
    }
    bool orphan = context->orphan;
    pthread_mutex_unlock(&context->queue_lock);
    computing = NULL;
    if (orphan) {
        pthread_detach(pthread_self());
        cm3_context_free(context);
    }
    return NULL;
}

cm3_status cm3_compute_start(cm3_context *context) {
    sigset_t mask;
    cm3_signals_block(&mask);
    int error = pthread_create(&context->thread, NULL, compute_main, context);
    if (error == 0) {
        pthread_setname_np(context->thread, "cm3-compute");
        context->started = true;
    }
    cm3_signals_restore(&mask);
    if (error != 0) return cm3_fail(context, CM3_ERROR_THREAD, "the compute thread cannot be started: error %d", error);
    return CM3_OK;
}

bool cm3_compute_stop(cm3_context *context) {
    if (!context->started || cm3_context_forked(context)) return true;
    bool own = computing == context;
    pthread_t thread = context->thread;
    pthread_mutex_lock(&context->queue_lock);
    context->stop = true;
    context->orphan = own;
    pthread_cond_signal(&context->queue_wake);
    pthread_mutex_unlock(&context->queue_lock);
    if (own) return false;
    pthread_join(thread, NULL);
    return true;
}

cm3_status cm3_context_post(cm3_context *context, cm3_task_fn task, void *arg) {
    CM3_TRY(cm3_context_refuse_fork(context));
    cm3_task *node = cm3_calloc(context, 1, sizeof *node);
    if (node == NULL) return cm3_fail_memory(context, sizeof *node, "task");
    node->fn = task;
    node->arg = arg;
    pthread_mutex_lock(&context->queue_lock);
    push(context, node);
    pthread_cond_signal(&context->queue_wake);
    pthread_mutex_unlock(&context->queue_lock);
    return CM3_OK;
}

/* What a host's thread has set and computing must not see. */
typedef struct host_state {
    fenv_t floats;
    int team;
} host_state;

static void enter_inline(cm3_context *context, host_state *host) {
    pthread_mutex_lock(&context->work_lock);
    fegetenv(&host->floats);
    fesetenv(FE_DFL_ENV);
    host->team = cm3_team_adopt(1);
}

static void leave_inline(cm3_context *context, const host_state *host) {
    cm3_team_adopt(host->team);
    fesetenv(&host->floats);
    pthread_mutex_unlock(&context->work_lock);
}

void cm3_context_work(cm3_context *context, uint64_t budget_us) {
    if (!cm3_context_inline(context) || cm3_context_forked(context)) return;
    uint64_t start = cm3_clock_ns();
    uint64_t budget_ns = budget_us > UINT64_MAX / 1000 ? UINT64_MAX : budget_us * 1000;
    host_state host;
    cm3_context_retain(context); /* a task may drop the last hold */
    enter_inline(context, &host);
    uint64_t outer = context->deadline; /* of a poll from which this one is made */
    context->deadline = budget_ns == 0 || budget_ns > UINT64_MAX - start ? 0 : start + budget_ns;
    pthread_mutex_lock(&context->queue_lock);
    do {
        cm3_task *task = pop(context);
        if (task == NULL) break;
        run_turn(context, task);
    } while (cm3_clock_ns() - start < budget_ns);
    pthread_mutex_unlock(&context->queue_lock);
    context->deadline = outer;
    leave_inline(context, &host);
    cm3_context_release(context);
}

uint64_t cm3_context_deadline(const cm3_context *context) {
    return context->deadline;
}

typedef struct call {
    cm3_status (*fn)(void *arg);
    void *arg;
    cm3_status status;
} call;

static bool run_call(void *arg) {
    call *wanted = arg;
    wanted->status = wanted->fn(wanted->arg);
    return false;
}

cm3_status cm3_context_run(cm3_context *context, cm3_status (*fn)(void *arg), void *arg) {
    CM3_TRY(cm3_context_refuse_fork(context));
    if (computing == context) return fn(arg);
    if (cm3_context_inline(context)) {
        host_state host;
        cm3_context_retain(context);
        enter_inline(context, &host);
        cm3_status status = fn(arg);
        leave_inline(context, &host);
        cm3_context_release(context);
        return status;
    }
    call wanted = {fn, arg, CM3_OK};
    bool done = false;
    cm3_task task = {NULL, run_call, &wanted, &done};
    pthread_mutex_lock(&context->queue_lock);
    push(context, &task);
    pthread_cond_signal(&context->queue_wake);
    while (!done) pthread_cond_wait(&context->queue_done, &context->queue_lock);
    pthread_mutex_unlock(&context->queue_lock);
    return wanted.status;
}
