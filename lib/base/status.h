/* How a function of the library says that it failed: one line that records the message and returns the status. */
#ifndef CM3_BASE_STATUS_H
#define CM3_BASE_STATUS_H

#include "cm3leon/base.h"

struct cm3_context;

/**
 * Records the message (what, where, expected, found) on the context and returns `status`. `context` may be NULL, then
 * only the status travels. Any thread. Also logs at CM3_LOG_ERROR.
 */
cm3_status cm3_fail(struct cm3_context *context, cm3_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** The usual failure of an allocation of `size` bytes for `what`. */
cm3_status cm3_fail_memory(struct cm3_context *context, size_t size, const char *what);

/** Makes a line of log where the context's level wants it. */
void cm3_log(const struct cm3_context *context, cm3_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Passes a failure on: `CM3_TRY(f(x));` returns f's status unless it is CM3_OK. */
#define CM3_TRY(call)                                                                                                  \
    do {                                                                                                               \
        cm3_status cm3_try_status = (call);                                                                            \
        if (cm3_try_status != CM3_OK) return cm3_try_status;                                                           \
    } while (0)

/** As CM3_TRY, but leaves by `goto label` with the status in the variable `status`. */
#define CM3_TRY_GOTO(call, label)                                                                                      \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != CM3_OK) goto label;                                                                              \
    } while (0)

#endif
