/* A cm3_comm on MPI: its calls block, errors come back as a status, and a watchdog keeps the limit to waiting. */
#include "comm.h"

#include <limits.h>
#include <sched.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

#define GRACE 5 /* seconds that a rank which failed gives the others to fail in their own words */

/* --- a call ---------------------------------------------------------------------------------------------------------
 */

static cm3_wait begin(cm3_mpi *mpi, const char *name, size_t count, const char *unit) {
    cm3_wait wait = {.name = name, .unit = unit, .count = count, .number = ++mpi->number, .since = cm3_now()};
    cm3_watchdog_begin(&mpi->watchdog, &wait);
    return wait;
}

static cm3_status end(cm3_mpi *mpi, const cm3_wait *wait, cm3_mpi_kind kind, size_t bytes, int error) {
    cm3_watchdog_end(&mpi->watchdog);
    mpi->times[kind].calls++;
    mpi->times[kind].bytes += bytes;
    mpi->times[kind].seconds += cm3_now() - wait->since;
    if (error == MPI_SUCCESS) return CM3_OK;
    char what[160], why[MPI_MAX_ERROR_STRING];
    int length = 0;
    cm3_wait_text(wait, what, sizeof what);
    if (MPI_Error_string(error, why, &length) != MPI_SUCCESS) strcpy(why, "MPI does not say why");
    for (char *newline = why; (newline = strchr(newline, '\n'));) *newline = ' ';
    cm3_say("%s failed: %s", what, why);
    return CM3_ERROR_IO;
}

/** Every rank waits, and one of them does not come. */
static void expired(void *user, const char *what) {
    cm3_mpi *mpi = user;
    cm3_say(
        "waited %.0f s for the other ranks in %s: one of them is dead, stopped or far behind. The run ends and goes "
        "on from its last checkpoint (--comm-timeout)",
        mpi->watchdog.limit, what);
    /* Ended without MPI's leave, a process takes the job along as well; MPI_Abort() is only the faster way. */
    alarm(GRACE);
    if (mpi->any_thread) MPI_Abort(MPI_COMM_WORLD, CM3_EXIT_FAILED);
    _exit(CM3_EXIT_FAILED);
}

static void abort_run(void *user, const char *why) {
    (void)user;
    cm3_say("%s: this ends all ranks", why && *why ? why : "the run cannot go on");
    alarm(GRACE);
    MPI_Abort(MPI_COMM_WORLD, CM3_EXIT_FAILED);
}

/* --- the table's functions
 * --------------------------------------------------------------------------------------------
 */

static cm3_status all_reduce(void *user, void *values, size_t count, cm3_comm_type type, cm3_comm_op op) {
    cm3_mpi *mpi = user;
    bool f32 = type == CM3_COMM_F32, f64 = type == CM3_COMM_F64, sum = op == CM3_COMM_SUM, least = op == CM3_COMM_MIN;
    if ((!f32 && !f64 && type != CM3_COMM_U64) || (!sum && !least && op != CM3_COMM_MAX))
        return CM3_ERROR_INVALID_ARGUMENT;
    MPI_Datatype datatype = f32 ? MPI_FLOAT : f64 ? MPI_DOUBLE : MPI_UINT64_T;
    MPI_Op operation = sum ? MPI_SUM : least ? MPI_MIN : MPI_MAX;
    size_t width = f32 ? sizeof(float) : sizeof(double);
    cm3_wait wait = begin(mpi, "an all-reduce", count, f32 ? "f32 values" : f64 ? "f64 values" : "u64 values");
    int error = MPI_SUCCESS;
    for (size_t at = 0; at < count && error == MPI_SUCCESS; at += mpi->most) {
        size_t piece = count - at < mpi->most ? count - at : mpi->most;
        error = MPI_Allreduce(MPI_IN_PLACE, (char *)values + at * width, (int)piece, datatype, operation, mpi->calls);
    }
    return end(mpi, &wait, CM3_MPI_REDUCE, count * width, error);
}

/** Of every slice the bytes from `at` on, `piece` of them: a type that is as long as a slice brings them to their
 * places. */
static int gather_piece(const cm3_mpi *mpi, char *data, size_t slice_bytes, size_t at, size_t piece) {
    MPI_Datatype bytes, strided;
    int error = MPI_Type_contiguous((int)piece, MPI_BYTE, &bytes);
    if (error != MPI_SUCCESS) return error;
    error = MPI_Type_create_resized(bytes, 0, (MPI_Aint)slice_bytes, &strided);
    MPI_Type_free(&bytes);
    if (error != MPI_SUCCESS) return error;
    error = MPI_Type_commit(&strided);
    if (error == MPI_SUCCESS) {
        error = MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data + at, 1, strided, mpi->calls);
    }
    MPI_Type_free(&strided);
    return error;
}

static cm3_status all_gather(void *user, void *data, size_t slice_bytes) {
    cm3_mpi *mpi = user;
    cm3_wait wait = begin(mpi, "an all-gather", slice_bytes, "bytes a rank");
    int error = MPI_SUCCESS;
    if (slice_bytes && slice_bytes <= mpi->most) {
        error = MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data, (int)slice_bytes, MPI_BYTE, mpi->calls);
    } else {
        for (size_t at = 0; at < slice_bytes && error == MPI_SUCCESS; at += mpi->most) {
            size_t piece = slice_bytes - at < mpi->most ? slice_bytes - at : mpi->most;
            error = gather_piece(mpi, data, slice_bytes, at, piece);
        }
    }
    return end(mpi, &wait, CM3_MPI_GATHER, slice_bytes, error);
}

static cm3_status broadcast(void *user, void *data, size_t bytes, int32_t root) {
    cm3_mpi *mpi = user;
    cm3_wait wait = begin(mpi, "a broadcast", bytes, "bytes");
    int error = MPI_SUCCESS;
    for (size_t at = 0; at < bytes && error == MPI_SUCCESS; at += mpi->most) {
        size_t piece = bytes - at < mpi->most ? bytes - at : mpi->most;
        error = MPI_Bcast((char *)data + at, (int)piece, MPI_BYTE, root, mpi->calls);
    }
    return end(mpi, &wait, CM3_MPI_BROADCAST, bytes, error);
}

static cm3_status barrier(void *user) {
    cm3_mpi *mpi = user;
    cm3_wait wait = begin(mpi, "a barrier", 0, NULL);
    return end(mpi, &wait, CM3_MPI_BARRIER, 0, MPI_Barrier(mpi->calls));
}

/* --- begin and end --------------------------------------------------------------------------------------------------
 */

/** A communicator of our own, whose errors come back. */
static bool own_comm(MPI_Comm *comm) {
    return MPI_Comm_dup(MPI_COMM_WORLD, comm) == MPI_SUCCESS &&
           MPI_Comm_set_errhandler(*comm, MPI_ERRORS_RETURN) == MPI_SUCCESS;
}

bool cm3_mpi_open(cm3_mpi *mpi, int *argc, char ***argv, double timeout) {
    int level = MPI_THREAD_SINGLE, rank = 0, size = 1;
    memset(mpi, 0, sizeof *mpi);
    if (MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &level) != MPI_SUCCESS) {
        cm3_say("MPI could not be started");
        return false;
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    if (level < MPI_THREAD_SERIALIZED) {
        cm3_say("this MPI may be called by one thread only; MPI_THREAD_SERIALIZED is needed");
        return false;
    }
    if (!own_comm(&mpi->calls) || !own_comm(&mpi->ending) || MPI_Comm_rank(mpi->calls, &rank) != MPI_SUCCESS ||
        MPI_Comm_size(mpi->calls, &size) != MPI_SUCCESS) {
        cm3_say("MPI did not say who takes part");
        return false;
    }
    mpi->any_thread = level == MPI_THREAD_MULTIPLE;
    mpi->most = 1 << 30;
    mpi->table = (cm3_comm){.struct_size = sizeof mpi->table,
                            .user = mpi,
                            .rank = rank,
                            .size = size,
                            .all_reduce = all_reduce,
                            .all_gather = all_gather,
                            .broadcast = broadcast,
                            .barrier = barrier,
                            .abort = abort_run};
    if (cm3_watchdog_start(&mpi->watchdog, timeout, expired, mpi)) return true;
    cm3_say("the thread that watches over waiting could not be started");
    return false;
}

int64_t cm3_mpi_cpus(void) {
    cpu_set_t set;
    MPI_Comm machine;
    int ranks[CPU_SETSIZE] = {0};
    if (sched_getaffinity(0, sizeof set, &set) != 0 ||
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &machine) != MPI_SUCCESS) {
        return 1;
    }
    for (int i = 0; i < CPU_SETSIZE; i++) ranks[i] = CPU_ISSET(i, &set) ? 1 : 0;
    int error = MPI_Allreduce(MPI_IN_PLACE, ranks, CPU_SETSIZE, MPI_INT, MPI_SUM, machine);
    MPI_Comm_free(&machine);
    double cpus = 0;
    for (int i = 0; error == MPI_SUCCESS && i < CPU_SETSIZE; i++) {
        if (CPU_ISSET(i, &set)) cpus += 1.0 / ranks[i];
    }
    int64_t whole = (int64_t)(cpus + 1e-6);
    return whole < 1 ? 1 : whole > 64 ? 64 : whole;
}

void cm3_mpi_tell_times(const cm3_mpi *mpi) {
    static const char *const names[CM3_MPI_KINDS] = {"all-reduce", "all-gather", "broadcast", "barrier"};
    for (int i = 0; i < CM3_MPI_KINDS; i++) {
        const cm3_mpi_times *t = &mpi->times[i];
        cm3_say("%s: %llu calls, %.6f s, %llu bytes", names[i], (unsigned long long)t->calls, t->seconds,
                (unsigned long long)t->bytes);
    }
}

/** Whether all other ranks come to their end too, within the grace. */
static bool all_end(const cm3_mpi *mpi) {
    MPI_Request request;
    int done = 0;
    if (MPI_Ibarrier(mpi->ending, &request) != MPI_SUCCESS) return false;
    for (int i = 0; i < GRACE * 100 && !done; i++) {
        if (MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS) return false;
        nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
    }
    return done;
}

void cm3_mpi_close(cm3_mpi *mpi, bool failed, int code) {
    if (failed && !all_end(mpi)) {
        cm3_say("other ranks have not failed: this ends them");
        alarm(GRACE);
        MPI_Abort(MPI_COMM_WORLD, code);
        _exit(code);
    }
    if (!failed) {
        /* The same call as in all_end(): ranks that fared differently still meet. */
        cm3_wait wait = begin(mpi, "the end of the run", 0, NULL);
        MPI_Request request;
        int error = MPI_Ibarrier(mpi->ending, &request);
        if (error == MPI_SUCCESS) error = MPI_Wait(&request, MPI_STATUS_IGNORE);
        end(mpi, &wait, CM3_MPI_BARRIER, 0, error);
    }
    cm3_watchdog_stop(&mpi->watchdog);
    MPI_Comm_free(&mpi->calls);
    MPI_Comm_free(&mpi->ending);
    MPI_Finalize();
}
