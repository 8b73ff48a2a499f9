/* The processes that learn together, as the library calls them: arguments checked, failures worded, time counted. */
#ifndef CM3_TRAIN_COMM_H
#define CM3_TRAIN_COMM_H

#include <stdatomic.h>

#include "base/context.h"
#include "cm3leon/train.h"

/** This process among those that learn together. */
typedef struct cm3_ranks {
    cm3_context *context;
    cm3_comm comm;     /**< a copy; of one rank where the host gave none */
    atomic_int broken; /**< the status of the first call that failed: none is made any more. CM3_OK: none did */
    bool settled;      /**< the failure that is on its way is known to all ranks: see agreement.h */
    double waited;     /**< seconds in the calls below */
} cm3_ranks;

/** `comm` NULL: this process alone. Errors: INVALID_ARGUMENT. */
cm3_status cm3_ranks_init(cm3_context *context, const cm3_comm *comm, cm3_ranks *ranks);

static inline bool cm3_ranks_alone(const cm3_ranks *ranks) {
    return ranks->comm.size == 1;
}

/*
 * As the functions of cm3_comm. The first failure is told to the others by its abort, and all calls from then on fail
 * likewise. By one thread at a time.
 */
cm3_status cm3_ranks_reduce(cm3_ranks *ranks, void *values, size_t count, cm3_comm_type type, cm3_comm_op op);
cm3_status cm3_ranks_gather(cm3_ranks *ranks, void *data, size_t slice_bytes);
cm3_status cm3_ranks_broadcast(cm3_ranks *ranks, void *data, size_t bytes, int32_t root);
/** Sums of f32 by the communication thread: its time is not waited for by anybody yet. */
cm3_status cm3_ranks_reduce_behind(cm3_ranks *ranks, float *values, int64_t count);

#endif
