/* Paths and folders. */
#ifndef CM3_FILES_FOLDER_H
#define CM3_FILES_FOLDER_H

#include "base/context.h"

bool cm3_is_folder(const char *path);
bool cm3_path_exists(const char *path);
/** folder/name, of cm3_alloc(). */
cm3_status cm3_path_join(cm3_context *context, const char *folder, const char *name, char **path);

#endif
