/* The cm3_comm on MPI, run by mpirun: every function, type and operation against what is worked out here, in pieces so
 * small that all of them are split. A rank that finds a difference says so, and the job fails. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "comm.h"
#include "command.h"

#define MOST 7 /* elements, or bytes, of one call */
#define LARGEST 40

static int failures;

static void expect(bool good, const cm3_mpi *mpi, const char *what, size_t count) {
    if (good) return;
    failures++;
    fprintf(stderr, "FAILED on rank %d: %s, %zu\n", mpi->table.rank, what, count);
}

/** What rank `rank` brings along: small whole numbers, whose sums are exact. */
static int value(int rank, size_t i) {
    return (int)((i * 5 + (size_t)rank * 3) % 11) - 4 * (rank % 2);
}

static double expected(const cm3_mpi *mpi, size_t i, cm3_comm_op op) {
    double result = value(0, i);
    for (int rank = 1; rank < mpi->table.size; rank++) {
        double next = value(rank, i);
        result = op == CM3_COMM_SUM ? result + next : (op == CM3_COMM_MIN) == (next < result) ? next : result;
    }
    return result;
}

static void test_reduce(const cm3_mpi *mpi, size_t count, cm3_comm_op op) {
    float f32[LARGEST + 1];
    double f64[LARGEST + 1];
    uint64_t u64[LARGEST + 1];
    const uint64_t offset = (1ull << 60) + 100; /* which neither double nor a signed half of it could hold apart */
    for (size_t i = 0; i <= count; i++) {
        f32[i] = (float)value(mpi->table.rank, i);
        f64[i] = value(mpi->table.rank, i) + 1e-9;
        u64[i] = offset + (uint64_t)(int64_t)value(mpi->table.rank, i);
    }
    void *user = mpi->table.user;
    expect(mpi->table.all_reduce(user, f32, count, CM3_COMM_F32, op) == CM3_OK, mpi, "status of f32", count);
    expect(mpi->table.all_reduce(user, f64, count, CM3_COMM_F64, op) == CM3_OK, mpi, "status of f64", count);
    expect(mpi->table.all_reduce(user, u64, count, CM3_COMM_U64, op) == CM3_OK, mpi, "status of u64", count);
    int terms = op == CM3_COMM_SUM ? mpi->table.size : 1;
    for (size_t i = 0; i < count; i++) {
        double sum = expected(mpi, i, op);
        expect(f32[i] == (float)sum, mpi, "f32", i);
        expect(f64[i] > sum && f64[i] < sum + 1.5e-9 * terms, mpi, "f64", i);
        expect(u64[i] == offset * (uint64_t)terms + (uint64_t)(int64_t)sum, mpi, "u64", i);
    }
    expect(f32[count] == (float)value(mpi->table.rank, count), mpi, "what lies behind", count);
}

static void test_gather(const cm3_mpi *mpi, size_t slice) {
    size_t size = (size_t)mpi->table.size, all = slice * size;
    unsigned char *data = malloc(all + 1);
    memset(data, 0xEE, all + 1);
    for (size_t i = 0; i < slice; i++) {
        data[(size_t)mpi->table.rank * slice + i] = (unsigned char)(mpi->table.rank * 50 + (int)i);
    }
    expect(mpi->table.all_gather(mpi->table.user, data, slice) == CM3_OK, mpi, "status of gather", slice);
    for (size_t i = 0; i < all; i++) {
        expect(data[i] == (unsigned char)(i / slice * 50 + i % slice), mpi, "gathered", i);
    }
    expect(data[all] == 0xEE, mpi, "behind what was gathered", all);
    free(data);
}

static void test_broadcast(const cm3_mpi *mpi, size_t bytes, int root) {
    unsigned char data[LARGEST + 1];
    for (size_t i = 0; i <= bytes; i++) data[i] = (unsigned char)(mpi->table.rank * 100 + (int)i);
    expect(mpi->table.broadcast(mpi->table.user, data, bytes, root) == CM3_OK, mpi, "status of broadcast", bytes);
    for (size_t i = 0; i < bytes; i++) expect(data[i] == (unsigned char)(root * 100 + (int)i), mpi, "broadcast", i);
    expect(data[bytes] == (unsigned char)(mpi->table.rank * 100 + (int)bytes), mpi, "behind it", bytes);
}

/** Sums whose order shows: all ranks must come to the same bits. */
static void test_same_bits(const cm3_mpi *mpi, size_t count) {
    float *values = malloc(2 * count * sizeof *values);
    uint64_t state = 88172645463325252ull + (uint64_t)mpi->table.rank;
    for (size_t i = 0; i < count; i++) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        values[i] = (float)(state % 1000003) * (i % 2 ? 1e-3f : 1e3f);
    }
    mpi->table.all_reduce(mpi->table.user, values, count, CM3_COMM_F32, CM3_COMM_SUM);
    memcpy(values + count, values, count * sizeof *values);
    mpi->table.broadcast(mpi->table.user, values + count, count * sizeof *values, 0);
    expect(memcmp(values, values + count, count * sizeof *values) == 0, mpi, "bits of a sum", count);
    free(values);
}

static void test_refused(const cm3_mpi *mpi) {
    float value = 1;
    expect(mpi->table.all_reduce(mpi->table.user, &value, 1, (cm3_comm_type)9, CM3_COMM_SUM) ==
                   CM3_ERROR_INVALID_ARGUMENT &&
               mpi->table.all_reduce(mpi->table.user, &value, 1, CM3_COMM_F32, (cm3_comm_op)9) ==
                   CM3_ERROR_INVALID_ARGUMENT,
           mpi, "a type or operation that is none", 1);
    /* An error of MPI's comes back, and is no end of the process. */
    expect(mpi->table.broadcast(mpi->table.user, &value, sizeof value, mpi->table.size + 5) == CM3_ERROR_IO, mpi,
           "a root that is none", 1);
}

int main(int argc, char **argv) {
    static cm3_mpi mpi;
    if (!cm3_mpi_open(&mpi, &argc, &argv, 20)) return 1;
    if (argc == 2 && !strcmp(argv[1], "late")) { /* rank 1 does not come: the watchdog is to say so */
        mpi.watchdog.limit = 2;
        if (mpi.table.rank == 1) sleep(30);
        return mpi.table.barrier(mpi.table.user) == CM3_OK;
    }
    test_same_bits(&mpi, 10007);
    mpi.most = MOST;
    static const size_t counts[] = {0, 1, MOST - 1, MOST, MOST + 1, 3 * MOST, LARGEST};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        for (int op = CM3_COMM_SUM; op <= CM3_COMM_MAX; op++) test_reduce(&mpi, counts[i], (cm3_comm_op)op);
        if (counts[i]) test_gather(&mpi, counts[i]);
        for (int root = 0; root < mpi.table.size; root++) test_broadcast(&mpi, counts[i], root);
        expect(mpi.table.barrier(mpi.table.user) == CM3_OK, &mpi, "barrier", i);
    }
    test_same_bits(&mpi, 101);
    test_refused(&mpi);
    cm3_mpi_close(&mpi, failures > 0, 1);
    if (!failures) printf("rank %d of %d: right\n", mpi.table.rank, mpi.table.size);
    return failures > 0;
}
