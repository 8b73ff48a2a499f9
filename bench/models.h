/* Models of random weights, made once as files and kept. */
#ifndef BENCH_MODELS_H
#define BENCH_MODELS_H

#include "model/model.h"
#include "run.h"

/** Cheap uniform numbers in +-scale; `seed` goes on. */
void bench_fill(void *data, cm3_dtype dtype, size_t count, float scale, uint32_t *seed);

/**
 * A preset of cm3_lm_config_preset(), or "odd": sizes that no vector divides. The context is at least 4096, so that
 * all depths fit. NOT_FOUND with the names otherwise.
 */
cm3_status bench_lm_config(cm3_context *context, const char *name, cm3_lm_config *config);
/** The .cm3 file of such a model with matrices of `dtype`; made unless it is there. */
cm3_status bench_lm_file(bench_run *run, const char *name, cm3_dtype dtype, char *path, size_t size);
/** The same of an image tokenizer. */
cm3_status bench_vq_file(bench_run *run, const char *name, const cm3_vq_config *config, cm3_dtype dtype, char *path,
                         size_t size);
/** A file of that name among them. */
cm3_status bench_file_path(bench_run *run, const char *name, char *path, size_t size);
/** Removes all files that these functions make. */
void bench_models_clean(const bench_run *run);

#endif
