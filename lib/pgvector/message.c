/* Messages belong to threads: several calls of a store may fail at once. */
#include "pgvector/message.h"

#include <stdarg.h>
#include <stdio.h>

#include "cm3leon/pgvector.h"

static _Thread_local char message[1024];

cm3_status cm3_pg_fail(cm3_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    return status;
}

cm3_status cm3_pg_fail_memory(const char *what) {
    return cm3_pg_fail(CM3_ERROR_NO_MEMORY, "out of memory: %s", what);
}

void cm3_pg_forget(void) {
    message[0] = '\0';
}

const char *cm3_pgvector_message(void) {
    return message;
}
