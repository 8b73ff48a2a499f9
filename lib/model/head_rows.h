/* Rows of the output head from a file of their own, as fine-tunings publish them that trained nothing else. */
#ifndef CM3_MODEL_HEAD_ROWS_H
#define CM3_MODEL_HEAD_ROWS_H

#include "model/source.h"

/**
 * Lays rows over the source's head: a safetensors file with `lm_head.weight`, either the whole head, or [n,
 * hidden_size] beside `rows`, n ids (I32 or I64). Errors: FORMAT with the tensor, expected and found; UNSUPPORTED (the
 * head is tied or quantised).
 */
cm3_status cm3_source_read_head_rows(cm3_source *source, const char *path);

#endif
