/* Vectors to be searched. */
#include "vector_data.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"

#define SPREAD 0.6f /* of a cluster, beside 1 between clusters */

enum { CENTRES = 1, DIRECTIONS, VECTORS };

static void normals(uint64_t seed, uint64_t stream, float *to, int64_t count) {
    cm3_random random = cm3_random_make(seed, stream);
    for (int64_t i = 0; i < count; i++) to[i] = (float)cm3_random_normal(&random);
}

cm3_status bench_vector_data_make(cm3_context *context, int64_t dimension, uint64_t seed, bench_vector_data *data) {
    *data = (bench_vector_data){.seed = seed, .dimension = dimension};
    data->centres = cm3_calloc(context, BENCH_CLUSTERS, BENCH_LATENT * sizeof(float));
    data->directions = cm3_calloc(context, BENCH_LATENT, (size_t)dimension * sizeof(float));
    data->shares = cm3_calloc(context, BENCH_CLUSTERS, sizeof(double));
    if (!data->centres || !data->directions || !data->shares) {
        return cm3_fail_memory(context, BENCH_CLUSTERS * BENCH_LATENT * sizeof(float), "vectors");
    }
    normals(seed, (uint64_t)CENTRES << 48, data->centres, (int64_t)BENCH_CLUSTERS * BENCH_LATENT);
    normals(seed, (uint64_t)DIRECTIONS << 48, data->directions, BENCH_LATENT * dimension);
    double sum = 0;
    for (int i = 0; i < BENCH_CLUSTERS; i++) data->shares[i] = sum += 1.0 / (i + 10);
    for (int i = 0; i < BENCH_CLUSTERS; i++) data->shares[i] /= sum;
    return CM3_OK;
}

void bench_vector_data_clear(cm3_context *context, bench_vector_data *data) {
    cm3_free(context, data->centres);
    cm3_free(context, data->directions);
    cm3_free(context, data->shares);
}

static int draw_cluster(const bench_vector_data *data, cm3_random *random) {
    const double u = cm3_random_uniform(random);
    int low = 0, high = BENCH_CLUSTERS - 1;
    while (low < high) {
        const int middle = (low + high) / 2;
        if (data->shares[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static void one(const bench_vector_data *data, uint64_t number, float *to) {
    cm3_random random = cm3_random_make(data->seed, ((uint64_t)VECTORS << 48) + number);
    const float *centre = data->centres + (size_t)draw_cluster(data, &random) * BENCH_LATENT;
    memset(to, 0, (size_t)data->dimension * sizeof *to);
    for (int64_t k = 0; k < BENCH_LATENT; k++) {
        const float z = centre[k] + SPREAD * (float)cm3_random_normal(&random);
        const float *direction = data->directions + k * data->dimension;
        for (int64_t i = 0; i < data->dimension; i++) to[i] += z * direction[i];
    }
    double square = 0;
    for (int64_t i = 0; i < data->dimension; i++) square += (double)to[i] * (double)to[i];
    const float factor = (float)(1 / sqrt(square));
    for (int64_t i = 0; i < data->dimension; i++) to[i] *= factor;
}

void bench_vectors(const bench_vector_data *data, uint64_t first, int64_t count, float *to) {
    for (int64_t i = 0; i < count; i++) one(data, first + (uint64_t)i, to + i * data->dimension);
}
