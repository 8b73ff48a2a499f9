/* Records from a JSON-lines file that names its pictures (training only). */
#ifndef CM3_FILES_LINES_H
#define CM3_FILES_LINES_H

#include "files/file.h"
#include "files/shard.h"

/** What one member of a record may weigh at most. */
#define CM3_MAX_MEMBER ((int64_t)256 << 20)

typedef struct cm3_lines cm3_lines;

/** Holds the file. */
cm3_status cm3_lines_open(cm3_context *context, cm3_file *file, cm3_lines **lines);
/** The next line's record: an object becomes its `json`, a string its `text`. Blank lines are passed over. */
cm3_status cm3_lines_next(cm3_lines *lines, cm3_record *record, bool *more);
void cm3_lines_close(cm3_lines *lines);

#endif
