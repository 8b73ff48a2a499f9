/* What is to be measured, and how: the arguments of cm3-bench. */
#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/dtype.h"
#include "cm3leon/model.h"

#define BENCH_LIST 16
#define BENCH_ROUNDS 99

typedef enum bench_load { BENCH_MAP, BENCH_HUGE, BENCH_MEMORY } bench_load;

typedef struct bench_options {
    const char *sections[BENCH_LIST], *presets[BENCH_LIST];
    int64_t depths[BENCH_LIST], sequences[BENCH_LIST];
    bench_load loads[BENCH_LIST];
    const char *models[BENCH_LIST], *data[BENCH_LIST];
    int model_count, data_count;
    int section_count, preset_count, depth_count, sequence_count, load_count;
    cm3_compute compute;
    cm3_dtype weights; /**< of matrices: F32, BF16, I8 or U4 */
    cm3_dtype kv;      /**< of caches: F32, BF16 or I8 */
    int64_t block;     /**< of quantised matrices */
    int64_t rows;      /**< of a prefill */
    int threads;       /**< -1: one a core */
    int rounds;        /**< measured rounds, each giving one value */
    double seconds;    /**< the least that a round takes */
    bool json, quick, clean;
    const char *dir;            /**< where models are made and kept */
    const char *cm3;            /**< the command whose start is measured */
    const char *model;          /**< the model it starts with */
    const char *kernel;         /**< NULL, or part of the names of kernels */
    int64_t vectors, dimension; /**< bank, hnsw: 0: the usual */
    const char *npy;            /**< NULL, or where files of the same vectors are written */
    int m, ef_construction;     /**< hnsw: 0: the usual */
} bench_options;

/** Reads the arguments. False: `*code` is what the program is to return, and why was said. */
bool bench_options_read(int argc, char **argv, bench_options *options, int *code);
/** Whether a section was asked for. */
bool bench_options_has(const bench_options *options, const char *section);

const char *bench_load_name(bench_load load);
const char *bench_compute_name(cm3_compute compute);
/** f32, bf16, q8, q4 */
const char *bench_weights_name(cm3_dtype weights);
/** f32, bf16, int8 */
const char *bench_kv_name(cm3_dtype kv);

#endif
