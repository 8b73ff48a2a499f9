/* Connection strings, connections, cancelling. */
#include "pgvector/server.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "pgvector/message.h"

/* --- names ---------------------------------------------------------------------------------------------------------
 */

static const char *value_of(const cm3_pg_server *server, const char *keyword) {
    for (const PQconninfoOption *o = server->options; o && o->keyword; o++) {
        if (!strcmp(o->keyword, keyword) && o->val && *o->val) return o->val;
    }
    return NULL;
}

/**
 * A password with an unencoded '/', '?', '@' or ':' in a URI is read as a host, a port or a database, which messages
 * name. Names that nobody gives to such are therefore refused.
 */
static bool is_plain(const cm3_pg_server *server) {
    const char *host = value_of(server, "host"), *port = value_of(server, "port"), *name = value_of(server, "dbname");
    return (!host || !strpbrk(host, "@?")) && (!port || strspn(port, "0123456789,") == strlen(port)) &&
           (!name || !strpbrk(name, "@"));
}

static void blot(char *text, const char *secret) {
    const size_t length = secret ? strlen(secret) : 0;
    if (!length) return;
    for (char *at = text; (at = strstr(at, secret)) != NULL; at += length) memset(at, '*', length);
}

/** Whatever else the string says, its password is not shown. */
static void blot_all(const cm3_pg_server *server, char *text) {
    for (const PQconninfoOption *o = server->options; o && o->keyword; o++) {
        if (o->dispchar && *o->dispchar == '*') blot(text, o->val);
    }
}

static void make_name(cm3_pg_server *server, const char *what) {
    static const char *const shown[] = {"host", "hostaddr", "port", "dbname"};
    size_t length = (size_t)snprintf(server->name, sizeof server->name, "%s", what);
    bool any = false;
    for (size_t i = 0; i < sizeof shown / sizeof *shown && length < sizeof server->name; i++) {
        const char *value = value_of(server, shown[i]);
        if (!value) continue;
        length += (size_t)snprintf(server->name + length, sizeof server->name - length, "%s%s=%s", any ? " " : " (",
                                   shown[i], value);
        any = true;
    }
    if (any && length < sizeof server->name) snprintf(server->name + length, sizeof server->name - length, ")");
    blot_all(server, server->name);
}

cm3_status cm3_pg_server_read(const char *string, const char *what, cm3_pg_server *server) {
    /* libpq's own words on a string that it cannot read quote from it. */
    static const char *const advice = "in a URI, characters of user and password that mean something there are "
                                      "written as %40 and the like";
    *server = (cm3_pg_server){0};
    char *error = NULL;
    server->options = PQconninfoParse(string, &error);
    PQfreemem(error);
    if (!server->options || !is_plain(server)) {
        cm3_pg_server_clear(server);
        return cm3_pg_fail(CM3_ERROR_INVALID_ARGUMENT, "%s: its connection string cannot be read; %s", what, advice);
    }
    size_t count = 0, used = 0;
    for (const PQconninfoOption *o = server->options; o->keyword; o++) count++;
    server->keywords = calloc(count + 3, sizeof *server->keywords);
    server->values = calloc(count + 3, sizeof *server->values);
    if (!server->keywords || !server->values) {
        cm3_pg_server_clear(server);
        return cm3_pg_fail_memory("a connection string");
    }
    server->keywords[used] = "fallback_application_name";
    server->values[used++] = "libcm3leon";
    for (const PQconninfoOption *o = server->options; o->keyword; o++) {
        if (!o->val || !strcmp(o->keyword, "client_encoding")) continue;
        server->keywords[used] = o->keyword;
        server->values[used++] = o->val;
    }
    server->keywords[used] = "client_encoding";
    server->values[used] = "UTF8";
    make_name(server, what);
    return CM3_OK;
}

void cm3_pg_server_clear(cm3_pg_server *server) {
    PQconninfoFree(server->options);
    free(server->keywords);
    free(server->values);
    *server = (cm3_pg_server){0};
}

/* --- connections ---------------------------------------------------------------------------------------------------
 */

/** libpq would print them. */
static void hear_nothing(void *user, const PGresult *notice) {
    (void)user, (void)notice;
}

PGconn *cm3_pg_server_connect(const cm3_pg_server *server) {
    PGconn *connection = PQconnectStartParams(server->keywords, server->values, 0);
    if (connection) PQsetNoticeReceiver(connection, hear_nothing, NULL);
    return connection;
}

#define MOST_CANCELS 8

static atomic_int cancels; /* threads that still wait for a server to take notice */

static void *cancel(void *user) {
    char error[256];
    PQcancel(user, error, sizeof error);
    PQfreeCancel(user);
    atomic_fetch_sub(&cancels, 1);
    return NULL;
}

void cm3_pg_cancel(PGconn *connection) {
    PGcancel *ticket = PQgetCancel(connection);
    if (!ticket) return;
    /* PQcancel() waits for the server's answer without a limit; where that hangs, statement_timeout does its work. */
    pthread_attr_t attributes;
    pthread_t thread;
    bool started = false;
    /* A thread inherits the mask: the host's signals are for the host's threads. What the CPU raises is not blocked. */
    sigset_t all, own;
    sigfillset(&all);
    static const int raised[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP};
    for (size_t i = 0; i < sizeof raised / sizeof *raised; i++) sigdelset(&all, raised[i]);
    pthread_sigmask(SIG_SETMASK, &all, &own);
    if (atomic_fetch_add(&cancels, 1) < MOST_CANCELS && pthread_attr_init(&attributes) == 0) {
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        started = pthread_create(&thread, &attributes, cancel, ticket) == 0;
        pthread_attr_destroy(&attributes);
    }
    pthread_sigmask(SIG_SETMASK, &own, NULL);
    if (started) return;
    atomic_fetch_sub(&cancels, 1);
    PQfreeCancel(ticket);
}

/* --- words ---------------------------------------------------------------------------------------------------------
 */

void cm3_pg_words(const cm3_pg_server *server, const PGconn *connection, const char *said, char *text, size_t size) {
    char all[4096]; /* of which a part is taken only when nothing is in it that must not be shown */
    snprintf(all, sizeof all, "%s", said && *said ? said : "the connection was lost");
    blot_all(server, all);
    if (connection) blot(all, PQpass(connection));
    snprintf(text, size, "%.*s", (int)size - 1, all);
    size_t length = strlen(text);
    while (length && (text[length - 1] == '\n' || text[length - 1] == ' ')) text[--length] = '\0';
    for (char *at = text; *at; at++) {
        if (*at == '\n' || *at == '\t') *at = ' ';
    }
}
