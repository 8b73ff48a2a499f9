/* Servers as they are named, and connections to them. */
#ifndef CM3_PGVECTOR_SERVER_H
#define CM3_PGVECTOR_SERVER_H

#include <libpq-fe.h>
#include <stdbool.h>

#include "cm3leon/base.h"

/** A server by its connection string, which was read once. */
typedef struct cm3_pg_server {
    char name[160];                  /**< for messages: "shard 0 (host=... port=... dbname=...)" */
    const char **keywords, **values; /**< as PQconnectStartParams() takes them */
    PQconninfoOption *options;       /**< which the values lie in */
} cm3_pg_server;

/** `what` is "shard 0" or "shard 0, replica 1". Errors: INVALID_ARGUMENT (nothing of the string is in the message),
 * NO_MEMORY. */
cm3_status cm3_pg_server_read(const char *string, const char *what, cm3_pg_server *server);
void cm3_pg_server_clear(cm3_pg_server *server);

/** Begins to connect; NULL: out of memory. */
PGconn *cm3_pg_server_connect(const cm3_pg_server *server);
/** Tells a server that the running query is not wanted any more. Does not wait for it, for it may be one that hangs. */
void cm3_pg_cancel(PGconn *connection);

/** What libpq or the server said: one line, without the password. `text` [size]. */
void cm3_pg_words(const cm3_pg_server *server, const PGconn *connection, const char *said, char *text, size_t size);

#endif
