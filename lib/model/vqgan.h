/* Image tokenizers in files of their own: safetensors, or PyTorch's with a yaml beside it. */
#ifndef CM3_MODEL_VQGAN_H
#define CM3_MODEL_VQGAN_H

#include "model/source.h"

/**
 * Adds the tensors of a VQGAN in taming's names that the source has not got yet, and seals the weights. A vqgan.yaml
 * beside the file, or one of the file's own name, tells the configuration: where `configured`, it must be the source's.
 * Errors: as of cm3_model_load().
 */
cm3_status cm3_source_read_vqgan(cm3_source *source, const char *path, bool configured);

#endif
