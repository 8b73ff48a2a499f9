/* Models of a few kilobytes that the fuzz targets begin with, made of the library's own random weights. */
#ifndef FUZZ_SMALL_MODEL_H
#define FUZZ_SMALL_MODEL_H

#include "fuzz.h"
#include "model/model.h"

/** Which parts and which of the families' choices a model has. */
typedef struct fuzz_model_kind {
    const char *name;
    bool chameleon; /**< RMSNorm, SwiGLU, rotary positions, norms of q and k; else CM3Leon's choices */
    bool swin, bias, pictures, text, bf16;
    bool fallback;           /**< a tokenizer of characters with bytes to fall back to; else of bytes */
    cm3_weight_type weights; /**< of fuzz_make_models: what it is converted to; 0: nothing */
} fuzz_model_kind;

/** All that there are; *count is set. */
const fuzz_model_kind *fuzz_model_kinds(size_t *count);

/** Writes one to `path`. */
void fuzz_model_write(cm3_context *context, const fuzz_model_kind *kind, const char *path);

/** The bytes of one, with memory of malloc(). */
uint8_t *fuzz_model_bytes(const fuzz_model_kind *kind, size_t *size);

#endif
