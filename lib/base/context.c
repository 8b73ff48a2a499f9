/* The context: made, held, asked and ended. */
#include "base/context.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/options.h"
#include "base/state.h"

static void *default_alloc(void *user, size_t size, size_t alignment) {
    (void)user;
    void *pointer;
    return posix_memalign(&pointer, alignment, size) == 0 ? pointer : NULL;
}

static void default_free(void *user, void *pointer, size_t size) {
    (void)user;
    (void)size;
    free(pointer);
}

void cm3_context_options_init(cm3_context_options *options) {
    if (options == NULL) return;
    memset(options, 0, sizeof *options);
    options->struct_size = sizeof *options;
    options->log_level = CM3_LOG_WARNING;
    options->threads = -1;
}

int cm3_count_cores(void) {
    cpu_set_t set;
    long count = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : sysconf(_SC_NPROCESSORS_ONLN);
    if (count < 1) return 1;
    return count > CM3_MAX_THREADS ? CM3_MAX_THREADS : (int)count;
}

static bool options_valid(const cm3_context_options *options) {
    if (options->allocator != NULL && (options->allocator->alloc == NULL || options->allocator->free == NULL)) {
        return false;
    }
    return options->threads >= -1 && options->threads <= CM3_MAX_THREADS && options->log_level >= CM3_LOG_ERROR &&
           options->log_level <= CM3_LOG_DEBUG;
}

static bool init_locks(cm3_context *context) {
    pthread_mutexattr_t recursive;
    if (pthread_mutexattr_init(&recursive) != 0) return false;
    pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE);
    bool ok = pthread_mutex_init(&context->work_lock, &recursive) == 0;
    pthread_mutexattr_destroy(&recursive);
    /* Without attributes these cannot fail. */
    pthread_mutex_init(&context->message_lock, NULL);
    pthread_mutex_init(&context->queue_lock, NULL);
    pthread_cond_init(&context->queue_wake, NULL);
    pthread_cond_init(&context->queue_done, NULL);
    return ok;
}

static void warn_of_cpu(const cm3_context *context) {
    static atomic_flag warned = ATOMIC_FLAG_INIT;
    if (cm3_cpu_unknown() == NULL || atomic_flag_test_and_set(&warned)) return;
    cm3_log(context, CM3_LOG_WARNING, "CM3_CPU is \"%s\", not one of c, avx2, avx512, avx512_bf16, amx: ignored",
            cm3_cpu_unknown());
}

static cm3_context *new_context(const cm3_context_options *options) {
    static const cm3_allocator standard = {default_alloc, default_free, NULL};
    const cm3_allocator *allocator = options->allocator != NULL ? options->allocator : &standard;
    cm3_context *context = allocator->alloc(allocator->user, sizeof *context, 64);
    if (context == NULL) return NULL;
    memset(context, 0, sizeof *context);
    context->allocator = *allocator;
    atomic_init(&context->live, sizeof *context);
    atomic_init(&context->peak, sizeof *context);
    atomic_init(&context->allocations, 1);
    atomic_init(&context->holds, 1);
    context->log = options->log;
    context->log_user = options->log_user;
    context->log_level = options->log_level;
    context->cpu = cm3_cpu_detect();
    context->pid = getpid();
    context->threads = options->threads < 0 ? cm3_count_cores() : options->threads;
    if (!init_locks(context)) {
        allocator->free(allocator->user, context, sizeof *context);
        return NULL;
    }
    return context;
}

cm3_status cm3_context_create(const cm3_context_options *options, cm3_context **context) {
    if (context == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    *context = NULL;
    cm3_context_options own;
    cm3_context_options_init(&own);
    CM3_TRY(cm3_options_read(NULL, &own, sizeof own, options, "cm3_context_options"));
    if (!options_valid(&own)) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_context *made = new_context(&own);
    if (made == NULL) return CM3_ERROR_NO_MEMORY;
    warn_of_cpu(made);
    cm3_status status = cm3_team_create(made, made->threads > 1 ? made->threads : 1, &made->team);
    if (status == CM3_OK && made->threads >= 1) status = cm3_compute_start(made);
    if (status != CM3_OK) {
        cm3_context_free(made);
        return status;
    }
    *context = made;
    return CM3_OK;
}

void cm3_context_free(cm3_context *context) {
    while (context->first != NULL) {
        cm3_task *next = context->first->next;
        if (context->first->done == NULL) cm3_free(context, context->first);
        context->first = next;
    }
    cm3_team_destroy(context, context->team);
    if (!cm3_context_forked(context)) {
        /* In a fork's child these may be in the state of threads that are not there; destroying them could wait for
         * ever. */
        pthread_cond_destroy(&context->queue_done);
        pthread_cond_destroy(&context->queue_wake);
        pthread_mutex_destroy(&context->queue_lock);
        pthread_mutex_destroy(&context->work_lock);
        pthread_mutex_destroy(&context->message_lock);
    }
    cm3_allocator allocator = context->allocator;
    allocator.free(allocator.user, context, sizeof *context);
}

void cm3_context_retain(cm3_context *context) {
    atomic_fetch_add(&context->holds, 1);
}

void cm3_context_release(cm3_context *context) {
    if (context == NULL || atomic_fetch_sub(&context->holds, 1) != 1) return;
    if (cm3_compute_stop(context)) cm3_context_free(context);
}

void cm3_context_destroy(cm3_context *context) {
    cm3_context_release(context);
}

cm3_status cm3_context_memory(const cm3_context *context, cm3_memory_stats *stats) {
    if (context == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_memory_stats own = {.struct_size = sizeof own,
                            .live_bytes = atomic_load(&context->live),
                            .peak_bytes = atomic_load(&context->peak),
                            .allocations = atomic_load(&context->allocations)};
    return cm3_options_write((cm3_context *)context, stats, &own, sizeof own, "cm3_memory_stats");
}

cm3_status cm3_context_compute(const cm3_context *context, int *threads, const char **kernels) {
    if (context == NULL) return CM3_ERROR_INVALID_ARGUMENT;
    if (threads == NULL || kernels == NULL) {
        return cm3_fail((cm3_context *)context, CM3_ERROR_INVALID_ARGUMENT, "cm3_context_compute: NULL");
    }
    *threads = context->threads;
    *kernels = cm3_cpu_name(context->cpu);
    return CM3_OK;
}

cm3_team *cm3_context_team(cm3_context *context) {
    return context->team;
}

cm3_cpu_level cm3_context_cpu(const cm3_context *context) {
    return context->cpu;
}

bool cm3_context_inline(const cm3_context *context) {
    return context->threads == 0;
}
