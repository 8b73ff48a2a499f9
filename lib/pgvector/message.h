/* What went wrong, in the calling thread's last call. */
#ifndef CM3_PGVECTOR_MESSAGE_H
#define CM3_PGVECTOR_MESSAGE_H

#include "cm3leon/base.h"

#define CM3_PG_TRY(call)                                                                                               \
    do {                                                                                                               \
        const cm3_status status_of_try = (call);                                                                       \
        if (status_of_try != CM3_OK) return status_of_try;                                                             \
    } while (0)

/** Records the message and returns the status. */
cm3_status cm3_pg_fail(cm3_status status, const char *format, ...) __attribute__((format(printf, 2, 3)));
cm3_status cm3_pg_fail_memory(const char *what);
/** At the beginning of a search: that the last one was partial is no longer true. */
void cm3_pg_forget(void);

#endif
