/* Statuses and their names, versions, messages and the log. */
#include "base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/state.h"

const char *cm3_status_name(cm3_status status) {
    switch (status) {
    case CM3_OK:
        return "ok";
    case CM3_ERROR_INVALID_ARGUMENT:
        return "invalid argument";
    case CM3_ERROR_NO_MEMORY:
        return "out of memory";
    case CM3_ERROR_BUSY:
        return "busy";
    case CM3_ERROR_CANCELLED:
        return "cancelled";
    case CM3_ERROR_UNSUPPORTED:
        return "unsupported";
    case CM3_ERROR_INTERNAL:
        return "internal error";
    case CM3_ERROR_THREAD:
        return "thread could not be started";
    case CM3_ERROR_NOT_FOUND:
        return "not found";
    case CM3_ERROR_IO:
        return "input or output failed";
    case CM3_ERROR_NO_SPACE:
        return "no space left";
    case CM3_ERROR_FORMAT:
        return "wrong format";
    case CM3_ERROR_VERSION:
        return "unknown version";
    case CM3_ERROR_TRUNCATED:
        return "truncated";
    case CM3_ERROR_CHECKSUM:
        return "checksum mismatch";
    case CM3_ERROR_UTF8:
        return "not valid UTF-8";
    case CM3_ERROR_TOO_LONG:
        return "too long";
    }
    return "unknown status";
}

const char *cm3_version(void) {
    return CM3_VERSION_STRING;
}

uint32_t cm3_api_version(void) {
    return CM3_API_VERSION_MAJOR * 1000u + CM3_API_VERSION_MINOR;
}

/* Formats a line. What does not fit is cut before a whole code point and marked. */
static void format_line(char line[CM3_MESSAGE_SIZE], const char *format, va_list arguments) {
    int length = vsnprintf(line, CM3_MESSAGE_SIZE, format, arguments);
    if (length < 0) {
        snprintf(line, CM3_MESSAGE_SIZE, "%s", format);
        return;
    }
    if (length < CM3_MESSAGE_SIZE) return;
    size_t end = CM3_MESSAGE_SIZE - 4;
    while (end > 0 && ((unsigned char)line[end] & 0xc0u) == 0x80u) --end;
    memcpy(line + end, "...", 4);
}

static bool log_wants(const struct cm3_context *context, cm3_log_level level) {
    return context != NULL && context->log != NULL && level <= context->log_level;
}

/* The message of what failed on this thread in a fork's child, where a context's lock may be held for ever. */
static _Thread_local char forked_message[CM3_MESSAGE_SIZE];

static void keep_message(struct cm3_context *context, const char *line) {
    if (cm3_context_forked(context)) {
        memcpy(forked_message, line, strlen(line) + 1);
        return;
    }
    pthread_mutex_lock(&context->message_lock);
    memcpy(context->message, line, strlen(line) + 1);
    pthread_mutex_unlock(&context->message_lock);
}

const char *cm3_context_message(const cm3_context *context) {
    static _Thread_local char copy[CM3_MESSAGE_SIZE];
    if (context == NULL) return "";
    if (cm3_context_forked(context)) return forked_message;
    /* Locking does not change what a context is. */
    pthread_mutex_t *lock = &((cm3_context *)context)->message_lock;
    pthread_mutex_lock(lock);
    memcpy(copy, context->message, sizeof copy);
    pthread_mutex_unlock(lock);
    return copy;
}

cm3_status cm3_fail(struct cm3_context *context, cm3_status status, const char *format, ...) {
    if (context == NULL) return status;
    char line[CM3_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    format_line(line, format, arguments);
    va_end(arguments);

    keep_message(context, line);
    if (log_wants(context, CM3_LOG_ERROR)) context->log(context->log_user, CM3_LOG_ERROR, line);
    return status;
}

cm3_status cm3_fail_memory(struct cm3_context *context, size_t size, const char *what) {
    return cm3_fail(context, CM3_ERROR_NO_MEMORY, "%s: out of memory, %zu bytes wanted", what, size);
}

void cm3_log(const struct cm3_context *context, cm3_log_level level, const char *format, ...) {
    if (!log_wants(context, level)) return;
    char line[CM3_MESSAGE_SIZE];
    va_list arguments;
    va_start(arguments, format);
    format_line(line, format, arguments);
    va_end(arguments);
    context->log(context->log_user, level, line);
}
