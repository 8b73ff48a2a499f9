/* The team: OpenMP's, or pthreads that wait on condition variables. */
#include "base/parallel.h"

#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

#ifdef CM3_WITH_OPENMP
#include <omp.h>
#endif

#include "base/state.h"

/* The member whose range this thread is running, or -1: a range that comes here again runs what it wants alone. */
static _Thread_local int running_member = -1;

typedef struct job {
    cm3_range_fn fn;
    void *arg;
    int64_t count;
    int parts;
} job;

static void run_part(const job *work, int part) {
    int64_t share = work->count / work->parts, extra = work->count % work->parts;
    int64_t begin = part * share + (part < extra ? part : extra);
    running_member = part;
    work->fn(work->arg, begin, begin + share + (part < extra ? 1 : 0), part);
    running_member = -1;
}

static void run_team(cm3_team *team, const job *work);

/* All of it here, as the member that this thread is. */
static void run_here(const cm3_team *team, int64_t count, cm3_range_fn fn, void *arg) {
    if (count > 0) fn(arg, 0, count, team != NULL && running_member >= 0 ? running_member : 0);
}

void cm3_parallel_for(cm3_team *team, int64_t count, int64_t grain, cm3_range_fn fn, void *arg) {
    if (count <= 0) return;
    int64_t parts = count / (grain > 1 ? grain : 1);
    int size = cm3_team_size(team);
    if (parts > size) parts = size;
    if (parts <= 1 || running_member >= 0) {
        run_here(team, count, fn, arg);
        return;
    }
    job work = {fn, arg, count, (int)parts};
    run_team(team, &work);
}

/* Work that is handed out piece by piece. */
typedef struct guided {
    _Atomic int64_t next; /**< the first item that nobody has */
    int64_t count, grain;
    int members;
    cm3_range_fn fn;
    void *arg;
} guided;

/* A share of what is left, so that the last pieces are small. */
static bool take_piece(guided *work, int64_t *begin, int64_t *end) {
    int64_t next = atomic_load(&work->next), size;
    do {
        if (next >= work->count) return false;
        size = (work->count - next) / (2 * work->members);
        if (size < work->grain) size = work->grain;
        if (size > work->count - next) size = work->count - next;
    } while (!atomic_compare_exchange_weak(&work->next, &next, next + size));
    *begin = next;
    *end = next + size;
    return true;
}

static void run_pieces(void *arg, int64_t first, int64_t last, int member) {
    (void)first;
    (void)last;
    guided *work = arg;
    int64_t begin, end;
    while (take_piece(work, &begin, &end)) work->fn(work->arg, begin, end, member);
}

void cm3_parallel_guided(cm3_team *team, int64_t count, int64_t grain, cm3_range_fn fn, void *arg) {
    int size = cm3_team_size(team);
    if (grain < 1) grain = 1;
    if (size < 2 || count <= grain || running_member >= 0) {
        run_here(team, count, fn, arg);
        return;
    }
    guided work = {.count = count, .grain = grain, .members = size, .fn = fn, .arg = arg};
    atomic_init(&work.next, 0);
    cm3_parallel_for(team, size, 1, run_pieces, &work);
}

bool cm3_parallel_inside(void) {
    return running_member >= 0;
}

typedef struct pair {
    void (*first)(void *arg);
    void (*second)(void *arg);
    void *arg;
    int last;
} pair;

static void run_end(void *arg, int64_t begin, int64_t end, int member) {
    (void)begin;
    (void)end;
    const pair *p = arg;
    if (member == 0) p->first(p->arg);
    if (member == p->last) p->second(p->arg);
}

void cm3_parallel_pair(cm3_team *team, void (*first)(void *arg), void (*second)(void *arg), void *arg) {
    pair p = {first, second, arg, cm3_team_size(team) - 1};
    cm3_parallel_for(team, p.last + 1, 1, run_end, &p);
}

void cm3_signals_block(void *old_mask) {
    static const int own[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGPROF};
    sigset_t all;
    sigfillset(&all);
    for (size_t i = 0; i < sizeof own / sizeof *own; ++i) sigdelset(&all, own[i]);
    pthread_sigmask(SIG_SETMASK, &all, old_mask);
}

void cm3_signals_restore(const void *old_mask) {
    pthread_sigmask(SIG_SETMASK, old_mask, NULL);
}

#ifdef CM3_WITH_OPENMP

struct cm3_team {
    int size;
};

/* Always the whole team: libgomp ends the threads that a smaller one leaves over, and starts them anew for the next. */
static void run_team(cm3_team *team, const job *work) {
#pragma omp parallel num_threads(team->size)
    {
        /* The system may give fewer threads than asked for; the parts stay the same. */
        int step = omp_get_num_threads();
        for (int part = omp_get_thread_num(); part < work->parts; part += step) run_part(work, part);
    }
}

int cm3_team_adopt(int size) {
    int before = omp_get_max_threads();
    omp_set_num_threads(size);
    return before;
}

static void *wait_for_go(void *arg) {
    pthread_mutex_t *go = arg;
    pthread_mutex_lock(go);
    pthread_mutex_unlock(go);
    return NULL;
}

/* The OpenMP runtime ends the process where it cannot start a thread, so it is tried before, by all of them at once. */
static bool can_start(int helpers) {
    pthread_t threads[CM3_MAX_THREADS];
    pthread_mutex_t go = PTHREAD_MUTEX_INITIALIZER;
    sigset_t mask;
    int started = 0;
    cm3_signals_block(&mask);
    pthread_mutex_lock(&go);
    while (started < helpers && pthread_create(&threads[started], NULL, wait_for_go, &go) == 0) ++started;
    pthread_mutex_unlock(&go);
    cm3_signals_restore(&mask);
    for (int i = 0; i < started; ++i) pthread_join(threads[i], NULL);
    pthread_mutex_destroy(&go);
    return started == helpers;
}

cm3_status cm3_team_create(cm3_context *context, int size, cm3_team **team) {
    *team = NULL;
    if (!can_start(size - 1))
        return cm3_fail(context, CM3_ERROR_THREAD, "a team of %d threads cannot be started", size);
    *team = cm3_alloc(context, sizeof **team);
    if (*team == NULL) return cm3_fail_memory(context, sizeof **team, "team");
    (*team)->size = size;
    return CM3_OK;
}

void cm3_team_destroy(cm3_context *context, cm3_team *team) {
    cm3_free(context, team);
}

#else /* pthreads */

/* How often a side looks again before it sleeps: some microseconds, what a wake-up would cost. */
#define SPINS 1000

struct cm3_team {
    int size;
    int helpers; /**< started */
    pthread_t threads[CM3_MAX_THREADS];
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    _Atomic uint32_t round; /**< goes up with each job */
    _Atomic int pending;    /**< helpers that are not through with it */
    _Atomic bool stop;
    job work;
};

typedef struct helper_start {
    cm3_team *team;
    int member;
    pthread_mutex_t lock;
    pthread_cond_t taken;
    bool is_taken;
} helper_start;

static inline void pause_cpu(void) {
#ifdef CM3_X86
    __builtin_ia32_pause();
#endif
}

/* Waits for the round after `seen`; false: the end. */
static bool wait_for_work(cm3_team *team, uint32_t seen) {
    for (int i = 0; i < SPINS && atomic_load(&team->round) == seen && !atomic_load(&team->stop); ++i) pause_cpu();
    if (atomic_load(&team->round) == seen && !atomic_load(&team->stop)) {
        pthread_mutex_lock(&team->lock);
        while (atomic_load(&team->round) == seen && !atomic_load(&team->stop)) {
            pthread_cond_wait(&team->wake, &team->lock);
        }
        pthread_mutex_unlock(&team->lock);
    }
    return !atomic_load(&team->stop);
}

static void *help(void *arg) {
    helper_start *start = arg;
    cm3_team *team = start->team;
    int member = start->member;
    pthread_mutex_lock(&start->lock);
    start->is_taken = true;
    pthread_cond_signal(&start->taken);
    pthread_mutex_unlock(&start->lock);

    for (uint32_t seen = 0; wait_for_work(team, seen);) {
        ++seen;
        if (member < team->work.parts) run_part(&team->work, member);
        if (atomic_fetch_sub(&team->pending, 1) == 1) {
            pthread_mutex_lock(&team->lock);
            pthread_cond_signal(&team->done);
            pthread_mutex_unlock(&team->lock);
        }
    }
    return NULL;
}

static void run_team(cm3_team *team, const job *work) {
    pthread_mutex_lock(&team->lock);
    team->work = *work;
    atomic_store(&team->pending, team->helpers);
    atomic_fetch_add(&team->round, 1);
    pthread_cond_broadcast(&team->wake);
    pthread_mutex_unlock(&team->lock);

    run_part(work, 0);
    for (int i = 0; i < SPINS && atomic_load(&team->pending) > 0; ++i) pause_cpu();
    /* Always by the lock: the last helper is out of `done` before the next round. */
    pthread_mutex_lock(&team->lock);
    while (atomic_load(&team->pending) > 0) pthread_cond_wait(&team->done, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

int cm3_team_adopt(int size) {
    return size;
}

static bool start_helper(cm3_team *team) {
    helper_start start = {.team = team, .member = team->helpers + 1};
    pthread_mutex_init(&start.lock, NULL);
    pthread_cond_init(&start.taken, NULL);
    sigset_t mask;
    cm3_signals_block(&mask);
    bool ok = pthread_create(&team->threads[team->helpers], NULL, help, &start) == 0;
    cm3_signals_restore(&mask);
    if (ok) {
        ++team->helpers;
        pthread_mutex_lock(&start.lock);
        while (!start.is_taken) pthread_cond_wait(&start.taken, &start.lock);
        pthread_mutex_unlock(&start.lock);
    }
    pthread_cond_destroy(&start.taken);
    pthread_mutex_destroy(&start.lock);
    return ok;
}

cm3_status cm3_team_create(cm3_context *context, int size, cm3_team **team) {
    *team = cm3_calloc(context, 1, sizeof **team);
    if (*team == NULL) return cm3_fail_memory(context, sizeof **team, "team");
    (*team)->size = size;
    pthread_mutex_init(&(*team)->lock, NULL);
    pthread_cond_init(&(*team)->wake, NULL);
    pthread_cond_init(&(*team)->done, NULL);
    while ((*team)->helpers < size - 1) {
        if (!start_helper(*team)) {
            cm3_team_destroy(context, *team);
            *team = NULL;
            return cm3_fail(context, CM3_ERROR_THREAD, "a team of %d threads cannot be started", size);
        }
    }
    return CM3_OK;
}

void cm3_team_destroy(cm3_context *context, cm3_team *team) {
    if (team == NULL) return;
    if (getpid() == context->pid) {
        pthread_mutex_lock(&team->lock);
        atomic_store(&team->stop, true);
        pthread_cond_broadcast(&team->wake);
        pthread_mutex_unlock(&team->lock);
        for (int i = 0; i < team->helpers; ++i) pthread_join(team->threads[i], NULL);
        pthread_cond_destroy(&team->done);
        pthread_cond_destroy(&team->wake);
        pthread_mutex_destroy(&team->lock);
    }
    cm3_free(context, team);
}

#endif

int cm3_team_size(const cm3_team *team) {
    return team != NULL ? team->size : 1;
}
