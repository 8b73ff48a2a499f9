/**
 * @file
 * The context: allocator, log, threads. Every other object is made from one.
 */
#ifndef CM3LEON_CONTEXT_H
#define CM3LEON_CONTEXT_H

#include "cm3leon/base.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * The root of all objects. Many may exist beside each other; there is no global state. Any thread may use it, and
 * objects made from it keep it alive: destroying it early only gives up the caller's hold on it.
 *
 * A process that is forked off later has none of its threads. There, calls on the context and its objects that would
 * compute, wait or write return CM3_ERROR_UNSUPPORTED, requests count as done, and destroying models, requests and
 * trainers leaves their memory to the end of the process. A context made after the fork works there as usual.
 */
typedef struct cm3_context cm3_context;

/** How a context is made. */
typedef struct cm3_context_options {
    size_t struct_size; /**< set by the caller, or the init function */
    /** NULL (the default): the C library's. Copied. */
    const cm3_allocator *allocator;
    /** NULL (the default): silence. */
    cm3_log_fn log;
    void *log_user; /**< handed to the log */
    /** Lines above this level are not made. Default CM3_LOG_WARNING. */
    cm3_log_level log_level;
    /**
     * Size of the team that computes. -1 (the default): one per core this process may use, at most 64. n >= 1: a thread
     * of the library's own, the engine thread, and n - 1 helpers; computing happens only there, but for previews, which
     * may have a further thread (see `preview_rows` of cm3_generate_options). 0: no thread is started; computing
     * happens inside the host's own calls of cm3_request_poll() and the like.
     */
    int threads;
} cm3_context_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_context_options_init(cm3_context_options *options);

/**
 * Makes a context. `options` may be NULL for the defaults. On failure *context is NULL.
 * Errors: INVALID_ARGUMENT, NO_MEMORY, THREAD.
 */
CM3_API cm3_status cm3_context_create(const cm3_context_options *options, cm3_context **context);

/** Gives up the caller's hold; the context ends with the last object made from it. NULL is allowed. */
CM3_API void cm3_context_destroy(cm3_context *context);

/**
 * What went wrong in the last call that failed on this context: what, where, expected, found. Never NULL, "" before any
 * failure. The text is a copy that stays valid until the calling thread's next call of this function.
 */
CM3_API const char *cm3_context_message(const cm3_context *context);

/** What a context holds. */
typedef struct cm3_memory_stats {
    size_t struct_size;   /**< set by the caller */
    uint64_t live_bytes;  /**< held now through the allocator, the context itself included */
    uint64_t peak_bytes;  /**< the most that was ever held */
    uint64_t allocations; /**< how many were made in all */
} cm3_memory_stats;

/** Memory held through the context's allocator; mapped files are not in it. Errors: INVALID_ARGUMENT. */
CM3_API cm3_status cm3_context_memory(const cm3_context *context, cm3_memory_stats *stats);

/** Threads in the team (0 where the host computes) and the kernels in use, such as "avx512"; static. */
CM3_API cm3_status cm3_context_compute(const cm3_context *context, int *threads, const char **kernels);

#ifdef __cplusplus
}
#endif

#endif
