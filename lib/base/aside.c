/* Work beside the compute thread's: its queue, and the thread or the member of the team that sees to it. */
#include "base/aside.h"

#include <fenv.h>
#include <signal.h>
#include <time.h>

#include "base/state.h"

/* How often one who waits looks for a cancel. */
#define LOOK_NS 2000000

struct cm3_aside {
    cm3_context *context;
    bool by_team; /**< no thread of its own */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t posted, through;
    cm3_aside_job *first, *last, *running;
    bool stop;
};

static cm3_aside_job *pop(cm3_aside *aside) {
    cm3_aside_job *job = aside->first;
    if (job == NULL) return NULL;
    aside->first = job->next;
    if (aside->first == NULL) aside->last = NULL;
    return job;
}

/* Called and returning with the lock held. */
static void run_job(cm3_aside *aside, cm3_aside_job *job) {
    aside->running = job;
    pthread_mutex_unlock(&aside->lock);
    int team = cm3_team_adopt(1);
    job->run(job);
    cm3_team_adopt(team);
    pthread_mutex_lock(&aside->lock);
    aside->running = NULL;
    if (job->forgotten) {
        job->drop(job);
        return;
    }
    job->tell(job);
    job->through = true;
    pthread_cond_broadcast(&aside->through);
}

static void *aside_main(void *arg) {
    cm3_aside *aside = arg;
    fesetenv(FE_DFL_ENV);
    pthread_mutex_lock(&aside->lock);
    while (!aside->stop) {
        cm3_aside_job *job = pop(aside);
        if (job != NULL) {
            run_job(aside, job);
        } else {
            pthread_cond_wait(&aside->posted, &aside->lock);
        }
    }
    pthread_mutex_unlock(&aside->lock);
    return NULL;
}

/* Waits are timed by the clock that nobody sets. */
static void init_locks(cm3_aside *aside) {
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_mutex_init(&aside->lock, NULL);
    pthread_cond_init(&aside->posted, NULL);
    pthread_cond_init(&aside->through, &attributes);
    pthread_condattr_destroy(&attributes);
}

static void free_aside(cm3_aside *aside) {
    pthread_cond_destroy(&aside->through);
    pthread_cond_destroy(&aside->posted);
    pthread_mutex_destroy(&aside->lock);
    cm3_free(aside->context, aside);
}

bool cm3_aside_gains(const cm3_context *context) {
    int size = context->threads, cores = cm3_count_cores();
    return size > 0 && cores > 1 && (size <= 2 || size < cores);
}

static cm3_status start_thread(cm3_aside *aside) {
    sigset_t mask;
    cm3_signals_block(&mask);
    int error = pthread_create(&aside->thread, NULL, aside_main, aside);
    if (error == 0) pthread_setname_np(aside->thread, "cm3-aside");
    cm3_signals_restore(&mask);
    if (error == 0) return CM3_OK;
    return cm3_fail(aside->context, CM3_ERROR_THREAD, "a thread beside the team cannot be started: error %d", error);
}

cm3_status cm3_aside_create(cm3_context *context, cm3_aside **aside) {
    *aside = NULL;
    if (!cm3_aside_gains(context)) return CM3_OK;
    cm3_aside *made = cm3_calloc(context, 1, sizeof *made);
    if (made == NULL) return cm3_fail_memory(context, sizeof *made, "thread beside the team");
    made->context = context;
    made->by_team = context->threads > 1 && context->threads >= cm3_count_cores();
    init_locks(made);
    cm3_status status = made->by_team ? CM3_OK : start_thread(made);
    if (status == CM3_OK) {
        *aside = made;
    } else {
        free_aside(made);
    }
    return status;
}

void cm3_aside_destroy(cm3_aside *aside) {
    if (aside == NULL || cm3_context_forked(aside->context)) return;
    if (!aside->by_team) {
        pthread_mutex_lock(&aside->lock);
        aside->stop = true;
        if (aside->running != NULL) atomic_store(&aside->running->cancelled, 1);
        pthread_cond_signal(&aside->posted);
        pthread_mutex_unlock(&aside->lock);
        pthread_join(aside->thread, NULL);
    }
    free_aside(aside);
}

void cm3_aside_post(cm3_aside *aside, cm3_aside_job *job) {
    job->next = NULL;
    job->through = job->forgotten = false;
    atomic_store(&job->cancelled, 0);
    pthread_mutex_lock(&aside->lock);
    if (aside->last != NULL) aside->last->next = job;
    if (aside->first == NULL) aside->first = job;
    aside->last = job;
    pthread_cond_signal(&aside->posted);
    pthread_mutex_unlock(&aside->lock);
}

typedef struct service {
    cm3_aside *aside;
    bool (*beside)(void *arg);
    void *arg;
} service;

static bool is_busy(cm3_aside *aside) {
    pthread_mutex_lock(&aside->lock);
    bool busy = aside->first != NULL || aside->running != NULL;
    pthread_mutex_unlock(&aside->lock);
    return busy;
}

static void go_on(void *arg) {
    const service *s = arg;
    while (is_busy(s->aside) && s->beside(s->arg)) {
    }
}

static void run_all(void *arg) {
    cm3_aside *aside = ((service *)arg)->aside;
    pthread_mutex_lock(&aside->lock);
    for (cm3_aside_job *job; (job = pop(aside)) != NULL;) run_job(aside, job);
    pthread_mutex_unlock(&aside->lock);
}

void cm3_aside_serve(cm3_aside *aside, bool (*beside)(void *arg), void *arg) {
    if (!aside->by_team || !is_busy(aside)) return;
    service s = {aside, beside, arg};
    cm3_parallel_pair(aside->context->team, go_on, run_all, &s);
}

/* Some milliseconds at most; with the lock. */
static void wait_a_little(cm3_aside *aside) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_nsec += LOOK_NS;
    if (until.tv_nsec >= 1000000000) {
        until.tv_nsec -= 1000000000;
        until.tv_sec++;
    }
    pthread_cond_timedwait(&aside->through, &aside->lock, &until);
}

bool cm3_aside_wait(cm3_aside *aside, const cm3_aside_job *job, const atomic_int *cancel) {
    pthread_mutex_lock(&aside->lock);
    while (!job->through && !atomic_load(cancel)) {
        /* A member that never came: the job is done here. */
        cm3_aside_job *next = aside->by_team && aside->running == NULL ? pop(aside) : NULL;
        if (next != NULL) {
            run_job(aside, next);
        } else {
            wait_a_little(aside);
        }
    }
    bool through = job->through;
    pthread_mutex_unlock(&aside->lock);
    return through;
}

/* Takes it out of the queue, if it is there. */
static void unlink_job(cm3_aside *aside, cm3_aside_job *job) {
    cm3_aside_job *before = NULL;
    for (cm3_aside_job *other = aside->first; other != NULL; before = other, other = other->next) {
        if (other != job) continue;
        *(before != NULL ? &before->next : &aside->first) = job->next;
        if (aside->last == job) aside->last = before;
        return;
    }
}

void cm3_aside_forget(cm3_aside *aside, cm3_aside_job *job) {
    pthread_mutex_lock(&aside->lock);
    atomic_store(&job->cancelled, 1);
    job->forgotten = true;
    bool running = aside->running == job;
    if (!running) unlink_job(aside, job);
    pthread_mutex_unlock(&aside->lock);
    if (!running) job->drop(job);
}

void cm3_aside_if_idle(cm3_aside *aside, void (*fn)(void *arg), void *arg) {
    pthread_mutex_lock(&aside->lock);
    if (aside->running == NULL && aside->first == NULL) fn(arg);
    pthread_mutex_unlock(&aside->lock);
}
