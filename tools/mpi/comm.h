/* A cm3_comm on MPI. Nothing of MPI is left when it is closed; how a rank ends when others do not is told there too. */
#ifndef CM3_MPI_COMM_H
#define CM3_MPI_COMM_H

#include <mpi.h>

#include "cm3leon/train.h"
#include "watchdog.h"

/** What the calls of one kind took altogether. */
typedef struct cm3_mpi_times {
    uint64_t calls, bytes; /**< bytes of this rank's values, or slice */
    double seconds;
} cm3_mpi_times;

typedef enum cm3_mpi_kind {
    CM3_MPI_REDUCE = 0,
    CM3_MPI_GATHER = 1,
    CM3_MPI_BROADCAST = 2,
    CM3_MPI_BARRIER = 3,
    CM3_MPI_KINDS = 4
} cm3_mpi_kind;

typedef struct cm3_mpi {
    cm3_comm table;  /**< for cm3_train_options; its `user` is this struct */
    MPI_Comm calls;  /**< of the table's functions */
    MPI_Comm ending; /**< of the last meeting, apart from calls that may never be answered */
    size_t most;     /**< elements, or bytes, of one call of MPI; what is longer goes in pieces */
    bool any_thread; /**< MPI may be called by two threads at a time */
    uint64_t number; /**< calls so far */
    cm3_watchdog watchdog;
    cm3_mpi_times times[CM3_MPI_KINDS];
} cm3_mpi;

/** The limit to waiting where none is given, in seconds. */
#define CM3_MPI_TIMEOUT 1800

/**
 * Starts MPI. `timeout` in seconds, 0: none. False after saying why: MPI does not start, or lets only the thread call
 * that started it, while gradients are summed by one of their own.
 */
bool cm3_mpi_open(cm3_mpi *mpi, int *argc, char ***argv, double timeout);

/** CPUs that this rank has for itself: each one that it may run on, shared among the ranks that may run on it. At least
 * 1. */
int64_t cm3_mpi_cpus(void);

/** Says what all calls so far took. */
void cm3_mpi_tell_times(const cm3_mpi *mpi);

/**
 * Ends MPI, and with it the process's part of the run, with the exit code `code` ahead: where all went well (`failed`
 * false) all ranks are waited for; else those that fail too are given a moment, and then the whole job is ended.
 */
void cm3_mpi_close(cm3_mpi *mpi, bool failed, int code);

#endif
