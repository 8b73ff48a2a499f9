/* Folders in Meta's layout of Chameleon. */
#ifndef CM3_MODEL_META_H
#define CM3_MODEL_META_H

#include "model/source.h"

/** Whether a folder looks like one: a model's (params.json), or the root above (models/). */
cm3_status cm3_is_meta_folder(cm3_context *context, const char *folder, bool *is);

/** Reads a model's folder, or the root where it holds one model. */
cm3_status cm3_source_read_meta(cm3_source *source, const char *folder);

#endif
