/* The processes that learn together. */
#include "train/comm.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/options.h"
#include "base/status.h"

/* --- one process ----------------------------------------------------------------------------------------------------
 */

static cm3_status keep_values(void *user, void *values, size_t count, cm3_comm_type type, cm3_comm_op op) {
    (void)user, (void)values, (void)count, (void)type, (void)op;
    return CM3_OK;
}

static cm3_status keep_data(void *user, void *data, size_t slice_bytes) {
    (void)user, (void)data, (void)slice_bytes;
    return CM3_OK;
}

static cm3_status keep_own(void *user, void *data, size_t bytes, int32_t root) {
    (void)user, (void)data, (void)bytes, (void)root;
    return CM3_OK;
}

static cm3_status go_on(void *user) {
    (void)user;
    return CM3_OK;
}

static const cm3_comm alone = {
    .struct_size = sizeof alone,
    .size = 1,
    .all_reduce = keep_values,
    .all_gather = keep_data,
    .broadcast = keep_own,
    .barrier = go_on,
};

cm3_status cm3_ranks_init(cm3_context *context, const cm3_comm *comm, cm3_ranks *ranks) {
    *ranks = (cm3_ranks){.context = context, .comm = alone};
    atomic_init(&ranks->broken, CM3_OK);
    if (!comm) return CM3_OK;
    cm3_comm own = {.struct_size = sizeof own};
    CM3_TRY(cm3_options_read(context, &own, sizeof own, comm, "cm3_comm"));
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {own.size >= 1 && own.size <= 65536, "size must be 1..65536"},
        {own.rank >= 0 && own.rank < own.size, "rank must be 0..size-1"},
        {own.all_reduce && own.all_gather && own.broadcast && own.barrier, "only abort may be NULL"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_comm: %s", rules[i].rule);
    }
    ranks->comm = own;
    return CM3_OK;
}

/* --- calls ----------------------------------------------------------------------------------------------------------
 */

/** The first failure, or one of a run that was stopped by it. */
static cm3_status end_call(cm3_ranks *ranks, cm3_status status, const char *name) {
    if (status == CM3_OK) return CM3_OK;
    char why[256];
    snprintf(why, sizeof why,
             "rank %d of %d: the other processes are not reached any more: %s failed (%s); the run goes on from its "
             "last checkpoint",
             (int)ranks->comm.rank, (int)ranks->comm.size, name, cm3_status_name(status));
    cm3_fail(ranks->context, status, "%s", why);
    atomic_store(&ranks->broken, (int)status);
    if (ranks->comm.abort) ranks->comm.abort(ranks->comm.user, why);
    return status;
}

/** No call follows the one that failed, whose message stays. */
static cm3_status begin_call(const cm3_ranks *ranks) {
    return (cm3_status)atomic_load(&ranks->broken);
}

cm3_status cm3_ranks_reduce(cm3_ranks *ranks, void *values, size_t count, cm3_comm_type type, cm3_comm_op op) {
    CM3_TRY(begin_call(ranks));
    uint64_t start = cm3_clock_ns();
    cm3_status status = ranks->comm.all_reduce(ranks->comm.user, values, count, type, op);
    ranks->waited += cm3_clock_since(start);
    return end_call(ranks, status, "all-reduce");
}

cm3_status cm3_ranks_reduce_behind(cm3_ranks *ranks, float *values, int64_t count) {
    CM3_TRY(begin_call(ranks));
    return end_call(ranks, ranks->comm.all_reduce(ranks->comm.user, values, (size_t)count, CM3_COMM_F32, CM3_COMM_SUM),
                    "all-reduce");
}

cm3_status cm3_ranks_gather(cm3_ranks *ranks, void *data, size_t slice_bytes) {
    CM3_TRY(begin_call(ranks));
    uint64_t start = cm3_clock_ns();
    cm3_status status = ranks->comm.all_gather(ranks->comm.user, data, slice_bytes);
    ranks->waited += cm3_clock_since(start);
    return end_call(ranks, status, "all-gather");
}

cm3_status cm3_ranks_broadcast(cm3_ranks *ranks, void *data, size_t bytes, int32_t root) {
    CM3_TRY(begin_call(ranks));
    uint64_t start = cm3_clock_ns();
    cm3_status status = ranks->comm.broadcast(ranks->comm.user, data, bytes, root);
    ranks->waited += cm3_clock_since(start);
    return end_call(ranks, status, "broadcast");
}
