/* The loop over all shards' sockets. */
#include "pgvector/fan_out.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BACK_AFTER 10000 /* milliseconds until a server that failed is asked first again */

static int64_t now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/** A run of cm3_pg_run(). */
typedef struct run {
    cm3_pgvector *store;
    cm3_pg_session *session;
    int64_t deadline;
} run;

static bool is_over(const cm3_pg_job *job) {
    return job->state == CM3_PG_DONE || job->state == CM3_PG_FAILED;
}

static const cm3_pg_server *server_of(const run *r, const cm3_pg_job *job) {
    return &r->store->shards[job->shard].servers[job->server];
}

static cm3_pg_link *link_of(const run *r, const cm3_pg_job *job) {
    return &r->session->routes[job->shard].links[job->server];
}

/* --- servers, one after the other ----------------------------------------------------------------------------------
 */

static size_t preferred(const run *r, size_t shard) {
    const size_t count = r->store->shards[shard].count;
    return r->store->options.prefer_replicas && count > 1 ? 1 + r->session->number % (count - 1) : 0;
}

/** Servers that are left share what is left of the time, so that one that hangs does not use it up. */
static void set_deadline(const run *r, cm3_pg_job *job) {
    job->deadline = r->deadline;
    const size_t left = job->write ? 1 : r->store->shards[job->shard].count - job->tried;
    const int64_t now = now_ms();
    if (r->deadline && left > 1 && r->deadline > now) job->deadline = now + (r->deadline - now) / (int64_t)left;
}

static void done(const run *r, cm3_pg_job *job) {
    job->state = CM3_PG_DONE;
    if (job->write) return;
    cm3_pg_route *route = &r->session->routes[job->shard];
    if (job->server == preferred(r, job->shard)) {
        route->since = 0;
    } else if (!route->since || route->current != job->server) {
        route->since = now_ms();
    }
    route->current = job->server;
}

static void begin(const run *r, cm3_pg_job *job);

/** This server failed: its connection again where it may just have been old, or the next server. */
static void fail(const run *r, cm3_pg_job *job, cm3_status status, bool may_be_old, const char *said) {
    const cm3_pg_server *server = server_of(r, job);
    cm3_pg_link *link = link_of(r, job);
    char words[400];
    cm3_pg_words(server, link->connection, said, words, sizeof words);
    snprintf(job->words, sizeof job->words, "%s: %s", server->name, words);
    job->status = status;
    cm3_pg_link_close(link);
    if (may_be_old && job->reused && (!job->write || !job->step)) {
        begin(r, job);
        return;
    }
    job->tried++;
    if (job->write || job->tried == r->store->shards[job->shard].count) {
        job->state = CM3_PG_FAILED;
        return;
    }
    job->server = (job->server + 1) % r->store->shards[job->shard].count;
    set_deadline(r, job);
    begin(r, job);
}

static void fail_late(const run *r, cm3_pg_job *job) {
    const PGconn *connection = link_of(r, job)->connection;
    char words[100];
    snprintf(words, sizeof words, "no answer in time%s",
             connection && job->state == CM3_PG_CONNECTING ? " to connecting" : "");
    fail(r, job, CM3_ERROR_IO, false, words);
}

static void sent(const run *r, cm3_pg_job *job, bool well) {
    PGconn *connection = link_of(r, job)->connection;
    const int left = well ? PQflush(connection) : -1;
    job->unsent = left > 0;
    if (left < 0) fail(r, job, CM3_ERROR_IO, true, PQerrorMessage(connection));
}

static void send_step(const run *r, cm3_pg_job *job) {
    job->state = CM3_PG_WORKING;
    if (job->step == job->steps) {
        done(r, job);
    } else {
        sent(r, job, job->send(job, link_of(r, job)->connection));
    }
}

static void send_text(const run *r, cm3_pg_job *job, cm3_pg_state state,
                      int (*write)(const cm3_pgvector *store, char *sql, size_t size)) {
    char sql[2048];
    job->state = state;
    write(r->store, sql, sizeof sql);
    sent(r, job, PQsendQuery(link_of(r, job)->connection, sql) == 1);
}

static void begin(const run *r, cm3_pg_job *job) {
    cm3_pg_link *link = link_of(r, job);
    job->reused = link->connection && (link->ready || job->bare) && PQstatus(link->connection) == CONNECTION_OK;
    job->unsent = false;
    if (job->reused) {
        send_step(r, job);
        return;
    }
    cm3_pg_link_close(link);
    job->state = CM3_PG_CONNECTING;
    job->wants = PGRES_POLLING_WRITING;
    link->connection = cm3_pg_server_connect(server_of(r, job));
    if (!link->connection) {
        fail(r, job, CM3_ERROR_NO_MEMORY, false, "out of memory: a connection");
    } else if (PQstatus(link->connection) == CONNECTION_BAD) {
        fail(r, job, CM3_ERROR_IO, false, PQerrorMessage(link->connection));
    }
}

/* --- answers -------------------------------------------------------------------------------------------------------
 */

static bool is_of(const char *state, const char *const *list) {
    for (; *list; list++) {
        if (!strncmp(state, *list, strlen(*list))) return true;
    }
    return false;
}

/** What a SQLSTATE is among our statuses. *elsewhere: another server of the shard might do better. */
static cm3_status status_of(const char *state, bool *elsewhere) {
    static const char *const of_server[] = {"08", "28", "40", "53", "57", "58", "XX", NULL};
    static const struct {
        const char *state;
        cm3_status status;
    } table[] = {{"22021", CM3_ERROR_UTF8},        {"22P05", CM3_ERROR_UTF8},        {"3F000", CM3_ERROR_NOT_FOUND},
                 {"42P01", CM3_ERROR_NOT_FOUND},   {"42704", CM3_ERROR_UNSUPPORTED}, {"0A000", CM3_ERROR_UNSUPPORTED},
                 {"54000", CM3_ERROR_UNSUPPORTED}, {"53100", CM3_ERROR_NO_SPACE},    {"53200", CM3_ERROR_NO_MEMORY}};
    *elsewhere = !state || is_of(state, of_server);
    for (size_t i = 0; state && i < sizeof table / sizeof *table; i++) {
        if (!strcmp(state, table[i].state)) return table[i].status;
    }
    return CM3_ERROR_IO;
}

/** Something that no other server would mend is the call's error. */
static cm3_status refused(const run *r, cm3_pg_job *job, const PGresult *result) {
    const char *state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const cm3_pg_server *server = server_of(r, job);
    PGconn *connection = link_of(r, job)->connection;
    bool elsewhere;
    const cm3_status status = status_of(state, &elsewhere);
    if (elsewhere) {
        /* An administrator's restart ends connections with a last word. */
        const bool may_be_old = !state || !strncmp(state, "57P", 3);
        fail(r, job, status, may_be_old, PQresultErrorMessage(result));
        return CM3_OK;
    }
    char words[400];
    cm3_pg_words(server, connection, PQresultErrorMessage(result), words, sizeof words);
    if (status == CM3_ERROR_NOT_FOUND && job->state == CM3_PG_GREETING) {
        return cm3_pg_fail(status, "%s: there is no store of the name %s there: %s", server->name, r->store->table,
                           words);
    }
    return cm3_pg_fail(status, "%s: %s", server->name, words);
}

static cm3_status answered(const run *r, cm3_pg_job *job, PGresult *result) {
    PGconn *connection = link_of(r, job)->connection;
    switch (PQresultStatus(result)) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
        if (job->state == CM3_PG_GREETING) {
            return cm3_pg_check_greeting(r->store, job->shard, server_of(r, job), result);
        }
        return job->state == CM3_PG_WORKING && job->take ? job->take(job, result) : CM3_OK;
    case PGRES_COPY_IN: {
        bool well = job->copy_size <= INT32_MAX;
        well = well && PQputCopyData(connection, job->copy, (int)job->copy_size) == 1 &&
               PQputCopyEnd(connection, NULL) == 1;
        sent(r, job, well);
        return CM3_OK;
    }
    default:
        return refused(r, job, result);
    }
}

/** A command is through. */
static void proceed(const run *r, cm3_pg_job *job) {
    if (job->state == CM3_PG_GREETING) {
        send_text(r, job, CM3_PG_PREPARING, cm3_pg_preparation);
        return;
    }
    if (job->state == CM3_PG_PREPARING) {
        link_of(r, job)->ready = true;
    } else {
        job->step++;
    }
    send_step(r, job);
}

static void connecting(const run *r, cm3_pg_job *job) {
    PGconn *connection = link_of(r, job)->connection;
    job->wants = PQconnectPoll(connection);
    if (job->wants == PGRES_POLLING_FAILED) {
        fail(r, job, CM3_ERROR_IO, false, PQerrorMessage(connection));
    } else if (job->wants == PGRES_POLLING_OK) {
        PQsetnonblocking(connection, 1);
        if (job->bare) {
            send_step(r, job);
        } else {
            send_text(r, job, CM3_PG_GREETING, cm3_pg_greeting);
        }
    }
}

/** A failure took the job to another connection, or ended it. */
static bool has_moved(const run *r, const cm3_pg_job *job, const PGconn *connection) {
    /* A new connection may lie where the old one did. */
    return is_over(job) || job->state == CM3_PG_CONNECTING || link_of(r, job)->connection != connection;
}

/** Something came, or may be sent. */
static cm3_status advance(const run *r, cm3_pg_job *job) {
    if (job->state == CM3_PG_CONNECTING) {
        connecting(r, job);
        return CM3_OK;
    }
    PGconn *connection = link_of(r, job)->connection;
    const bool came = PQconsumeInput(connection) == 1;
    if (came) {
        sent(r, job, true);
        if (has_moved(r, job, connection)) return CM3_OK;
    }
    /* What came before the connection broke may say why it did. */
    while (!PQisBusy(connection)) {
        PGresult *result = PQgetResult(connection);
        cm3_status status = CM3_OK;
        if (result) {
            status = answered(r, job, result);
            PQclear(result);
        } else if (came) {
            proceed(r, job);
        } else {
            break;
        }
        if (status != CM3_OK || has_moved(r, job, connection)) return status;
    }
    if (!came) fail(r, job, CM3_ERROR_IO, true, PQerrorMessage(connection));
    return CM3_OK;
}

/* --- the loop ------------------------------------------------------------------------------------------------------
 */

/** Waits until something can be done. *waiting: jobs that are not over. Errors: IO. */
static cm3_status wait_for(const run *r, const cm3_pg_job *jobs, size_t count, struct pollfd *sockets,
                           size_t *waiting) {
    int64_t soonest = 0;
    bool lost = false; /* a socket that libpq closed: nothing to be waited for */
    *waiting = 0;
    for (size_t i = 0; i < count; i++) {
        const cm3_pg_job *job = &jobs[i];
        sockets[i] = (struct pollfd){.fd = -1};
        if (is_over(job)) continue;
        ++*waiting;
        sockets[i].fd = PQsocket(link_of(r, job)->connection);
        lost = lost || sockets[i].fd < 0;
        sockets[i].events = POLLIN;
        if (job->state == CM3_PG_CONNECTING && job->wants == PGRES_POLLING_WRITING) sockets[i].events = POLLOUT;
        if (job->state != CM3_PG_CONNECTING && job->unsent) sockets[i].events |= POLLOUT;
        if (job->deadline && (!soonest || job->deadline < soonest)) soonest = job->deadline;
    }
    if (!*waiting) return CM3_OK;
    const int64_t left = soonest - now_ms();
    const int timeout = lost ? 0 : !soonest ? -1 : left <= 0 ? 0 : left < 3600000 ? (int)left : 3600000;
    if (poll(sockets, (nfds_t)count, timeout) < 0 && errno != EINTR) {
        return cm3_pg_fail(CM3_ERROR_IO, "poll: %s", strerror(errno));
    }
    return CM3_OK;
}

static cm3_status loop(const run *r, cm3_pg_job *jobs, size_t count, struct pollfd *sockets) {
    for (;;) {
        size_t waiting;
        CM3_PG_TRY(wait_for(r, jobs, count, sockets, &waiting));
        if (!waiting) return CM3_OK;
        const int64_t now = now_ms();
        for (size_t i = 0; i < count; i++) {
            if (is_over(&jobs[i])) continue;
            if (sockets[i].revents || sockets[i].fd < 0) CM3_PG_TRY(advance(r, &jobs[i]));
            if (!is_over(&jobs[i]) && jobs[i].deadline && now >= jobs[i].deadline) fail_late(r, &jobs[i]);
        }
    }
}

cm3_status cm3_pg_run(cm3_pgvector *store, cm3_pg_job *jobs, size_t count, int32_t limit_ms) {
    if (store->pid != getpid()) {
        return cm3_pg_fail(CM3_ERROR_UNSUPPORTED, "this process was forked after the store was opened: open it anew");
    }
    struct pollfd *sockets = calloc(count + 1, sizeof *sockets);
    if (!sockets) return cm3_pg_fail_memory("sockets");
    const int64_t deadline = limit_ms ? now_ms() + limit_ms : 0;
    cm3_pg_session *session;
    cm3_status status = cm3_pg_session_take(store, deadline, &session);
    if (status != CM3_OK) {
        free(sockets);
        return status;
    }
    const run r = {.store = store, .session = session, .deadline = deadline};
    for (size_t i = 0; i < count; i++) {
        cm3_pg_job *job = &jobs[i];
        cm3_pg_route *route = &session->routes[job->shard];
        if (!route->since || now_ms() - route->since > BACK_AFTER) {
            route->current = preferred(&r, job->shard);
            route->since = 0;
        }
        job->server = job->write ? 0 : route->current;
        set_deadline(&r, job);
        begin(&r, job);
    }
    status = loop(&r, jobs, count, sockets);
    for (size_t i = 0; i < count; i++) {
        if (!is_over(&jobs[i])) cm3_pg_link_close(link_of(&r, &jobs[i]));
    }
    cm3_pg_session_return(store, session);
    free(sockets);
    return status;
}

cm3_status cm3_pg_all_done(const cm3_pg_job *jobs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (jobs[i].state != CM3_PG_DONE) return cm3_pg_fail(jobs[i].status, "%s", jobs[i].words);
    }
    return CM3_OK;
}

cm3_status cm3_pg_run_all(cm3_pgvector *store, cm3_pg_job *jobs, size_t count, int32_t limit_ms) {
    CM3_PG_TRY(cm3_pg_run(store, jobs, count, limit_ms));
    return cm3_pg_all_done(jobs, count);
}
