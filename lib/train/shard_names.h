/* Shards that are written anew into a folder, each under its name. */
#ifndef CM3_TRAIN_SHARD_NAMES_H
#define CM3_TRAIN_SHARD_NAMES_H

#include "base/context.h"

#define CM3_SHARD_PATH 4096

/** Where a shard goes: its name in `out_dir`, as .tar whatever it was read from. */
cm3_status cm3_shard_output(cm3_context *context, const char *path, const char *out_dir, char out[CM3_SHARD_PATH]);

/** What is there already is taken for done: a second shard of one name, or the shard itself, would be lost silently.
 * Errors: INVALID_ARGUMENT. */
cm3_status cm3_check_shard_names(cm3_context *context, const char *const *data, size_t data_count, const char *out_dir);

/** Makes the folder where it is not there. */
cm3_status cm3_make_shard_folder(cm3_context *context, const char *out_dir);

#endif
