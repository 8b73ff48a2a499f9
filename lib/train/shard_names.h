/* Shards that are written anew, each from one that is read. */
#ifndef CM3_TRAIN_SHARD_NAMES_H
#define CM3_TRAIN_SHARD_NAMES_H

#include "base/context.h"
#include "cm3leon/train.h"

/** What is read, and the folder into which goes what becomes of it, under the same names, as .tar whatever it was. */
typedef struct cm3_shard_list {
    const char *const *data;
    size_t count;
    const char *out_dir;
    cm3_progress_fn progress; /**< NULL, or after each shard; not 0 stops */
    void *user;
} cm3_shard_list;

typedef cm3_status (*cm3_shard_fn)(void *arg, const char *path, const char *out);

/**
 * Makes the folder, and in it each shard that is not there yet. What is there is taken for done, so that a second shard
 * of one name, or the shard itself, would be lost silently: they are refused before anything is made. Errors:
 * INVALID_ARGUMENT, IO, CANCELLED, those of `make`.
 */
cm3_status cm3_make_shards(cm3_context *context, const cm3_shard_list *list, cm3_shard_fn make, void *arg);

#endif
