/* Paths and folders. */
#include "files/folder.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool cm3_is_folder(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

bool cm3_path_exists(const char *path) {
    return access(path, F_OK) == 0;
}

cm3_status cm3_path_join(cm3_context *context, const char *folder, const char *name, char **path) {
    size_t first = strlen(folder), size = first + strlen(name) + 2;
    bool ended = first && folder[first - 1] == '/';
    *path = cm3_alloc(context, size);
    if (!*path) return cm3_fail_memory(context, size, "path");
    snprintf(*path, size, "%s%s%s", folder, ended ? "" : "/", name);
    return CM3_OK;
}
