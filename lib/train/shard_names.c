/* Shards that are written anew. */
#include "train/shard_names.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define SHARD_PATH 4096

/** The file's name without folders; the length of it that stays. */
static const char *base_name(const char *path, size_t *length) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    *length = strlen(name);
    if (*length > 6 && strcmp(name + *length - 6, ".jsonl") == 0) *length -= 6;
    return name;
}

/** Where a shard goes. */
static cm3_status output_of(cm3_context *context, const char *path, const char *out_dir, char out[SHARD_PATH]) {
    size_t length;
    const char *name = base_name(path, &length);
    int used = snprintf(out, SHARD_PATH, "%s/%.*s%s", out_dir, (int)length, name, name[length] ? ".tar" : "");
    if (used < SHARD_PATH) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "out_dir is too long");
}

/** Whether both paths lead to one existing file. */
static bool same_file(const char *a, const char *b) {
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

static cm3_status check_names(cm3_context *context, const char *const *data, size_t data_count, const char *out_dir) {
    char one[SHARD_PATH], other[SHARD_PATH];
    for (size_t i = 0; i < data_count; i++) {
        CM3_TRY(output_of(context, data[i], out_dir, one));
        if (same_file(one, data[i])) {
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                            "%s would be written over itself: out_dir must be another directory", data[i]);
        }
        for (size_t j = 0; j < i; j++) {
            CM3_TRY(output_of(context, data[j], out_dir, other));
            if (strcmp(one, other) == 0) {
                return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s and %s would both become %s", data[j], data[i],
                                one);
            }
        }
    }
    return CM3_OK;
}

cm3_status cm3_make_shards(cm3_context *context, const cm3_shard_list *list, cm3_shard_fn make, void *arg) {
    CM3_TRY(check_names(context, list->data, list->count, list->out_dir));
    if (mkdir(list->out_dir, 0777) != 0 && errno != EEXIST) {
        return cm3_fail(context, CM3_ERROR_IO, "%s: the directory could not be made: %s", list->out_dir,
                        strerror(errno));
    }
    for (size_t i = 0; i < list->count; i++) {
        char out[SHARD_PATH];
        CM3_TRY(output_of(context, list->data[i], list->out_dir, out));
        if (access(out, F_OK) != 0) CM3_TRY(make(arg, list->data[i], out));
        if (list->progress && list->progress(list->user, i + 1, list->count))
            return cm3_fail(context, CM3_ERROR_CANCELLED, "stopped by the caller");
    }
    return CM3_OK;
}
