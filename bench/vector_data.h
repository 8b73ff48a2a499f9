/*
 * Vectors to be searched, such as an encoder makes: in clusters of very unlike sizes, of few true dimensions, of length
 * 1. Any of them can be made alone, the same on every machine but for the last bits.
 */
#ifndef BENCH_VECTOR_DATA_H
#define BENCH_VECTOR_DATA_H

#include "base/context.h"

#define BENCH_CLUSTERS 10000
#define BENCH_LATENT 96 /* true dimensions */

typedef struct bench_vector_data {
    uint64_t seed;
    int64_t dimension;
    float *centres;    /**< [BENCH_CLUSTERS, BENCH_LATENT] */
    float *directions; /**< [BENCH_LATENT, dimension] */
    double *shares;    /**< [BENCH_CLUSTERS] of the clusters up to each, by Zipf's law */
} bench_vector_data;

/** `data` is cleared by bench_vector_data_clear(), also after a failure. */
cm3_status bench_vector_data_make(cm3_context *context, int64_t dimension, uint64_t seed, bench_vector_data *data);
void bench_vector_data_clear(cm3_context *context, bench_vector_data *data);

/** Vectors number first .. first + count - 1 into `to` [count, dimension]. Queries are numbers from 2^40 on: of the
 * same kind, none of them in the data. */
void bench_vectors(const bench_vector_data *data, uint64_t first, int64_t count, float *to);
#define BENCH_QUERIES_FROM ((uint64_t)1 << 40)

#endif
