/* PyTorch's checkpoints (.pth, .ckpt, .pt): the tensors of a zip archive's pickle, where they lie. */
#ifndef CM3_FILES_TORCH_H
#define CM3_FILES_TORCH_H

#include "files/safetensors.h"

/** A parsed checkpoint; holds a reference to the cm3_file. */
typedef struct cm3_torch cm3_torch;

/**
 * The tensors of a dictionary, or of its "state_dict" where it has one; other values are dropped, and nothing is
 * executed (see pickle.h). Tensors that are not contiguous (views) are copied; their data must lie within their
 * storage, whose bytes must lie within the file. Little-endian only. Errors: FORMAT, TRUNCATED, UNSUPPORTED, NO_MEMORY.
 */
cm3_status cm3_torch_open(cm3_context *context, cm3_file *file, cm3_torch **torch);
void cm3_torch_close(cm3_torch *torch);
/** See cm3_file_forget(). */
void cm3_torch_forget(const cm3_torch *torch);
/** The file's name, for messages. */
const char *cm3_torch_name(const cm3_torch *torch);
size_t cm3_torch_count(const cm3_torch *torch);
/** Tensors of a type that this library does not read have CM3_DTYPE_NONE and no data. */
const cm3_entry *cm3_torch_at(const cm3_torch *torch, size_t index);
/** NULL where there is none. */
const cm3_entry *cm3_torch_find(const cm3_torch *torch, const char *name);

#endif
