/* A model's tensors under the names of `.cm3` files, from one file or gathered from many. */
#ifndef CM3_FILES_WEIGHTS_H
#define CM3_FILES_WEIGHTS_H

#include "files/safetensors.h"
#include "files/torch.h"

/** Writes the bytes of a tensor that is put together from pieces. */
typedef void (*cm3_make_fn)(const void *recipe, void *to);

typedef struct cm3_weight {
    const char *name; /**< as `.cm3` files have it: "lm.model.norm.weight" */
    const char *file; /**< where it comes from, for messages */
    cm3_entry entry;  /**< its `name` is the one that it has there; without data where `make` says how to make it */
    cm3_make_fn make; /**< NULL: the data is there */
    const void *recipe;
} cm3_weight;

/** Reference-counted; holds what its data lies in. */
typedef struct cm3_weights cm3_weights;

/** None yet. `name` is for messages about the whole: a file or a folder. */
cm3_status cm3_weights_create(cm3_context *context, const char *name, cm3_weights **weights);
void cm3_weights_retain(cm3_weights *weights);
void cm3_weights_release(cm3_weights *weights);

/** Holds the file; takes it over, also on failure. */
cm3_status cm3_weights_hold(cm3_weights *weights, cm3_safetensors *tensors);
/** The same of a checkpoint of PyTorch's. */
cm3_status cm3_weights_hold_torch(cm3_weights *weights, cm3_torch *torch);
/** Memory that lives as long, 64-byte aligned, for what is put together from pieces; NULL with a message. */
void *cm3_weights_memory(cm3_weights *weights, size_t size);
/** One more, its name prefix + name. The entry's data and `file` must live as long: see above. */
cm3_status cm3_weights_add(cm3_weights *weights, const char *prefix, const char *name, const char *file,
                           const cm3_entry *entry);
/** One that is put together when it is wanted: entry->data is NULL, `recipe` lives as long (cm3_weights_note()). */
cm3_status cm3_weights_add_made(cm3_weights *weights, const char *prefix, const char *name, const char *file,
                                const cm3_entry *entry, cm3_make_fn make, const void *recipe);
/** Small memory that lives as long; NULL with a message. */
void *cm3_weights_note(cm3_weights *weights, size_t size);
/** Puts all together that is to be made, in memory of its own: entry.data is there for all of them then. */
cm3_status cm3_weights_make_all(cm3_weights *weights);
/**
 * In place of that, for models of which only the shape and what loading takes is wanted: what is to be made reads as
 * zeros that take no memory. *bytes: what making it would take of the context's. Errors: NO_MEMORY.
 */
cm3_status cm3_weights_outline(cm3_weights *weights, uint64_t *bytes);
/** Lets the system have back what of mapped files is in memory: for passes over weights that are read once. */
void cm3_weights_forget(const cm3_weights *weights);
/** To be called behind the last: cm3_weights_find() knows them from here on. FORMAT where a name is there twice. */
cm3_status cm3_weights_seal(cm3_weights *weights);
/** All of a file's under the names that they have, sealed. Takes the file over, also on failure. */
cm3_status cm3_weights_of(cm3_context *context, cm3_safetensors *tensors, cm3_weights **weights);

const char *cm3_weights_name(const cm3_weights *weights);
size_t cm3_weights_count(const cm3_weights *weights);
const cm3_weight *cm3_weights_at(const cm3_weights *weights, size_t index);
/** NULL where there is none. */
const cm3_weight *cm3_weights_find(const cm3_weights *weights, const char *name);

/** Lets a tensor that is there be made otherwise, of the same type and shape. */
void cm3_weights_replace(cm3_weights *weights, const char *name, cm3_make_fn make, const void *recipe);

/**
 * Type (F32, BF16 or F16), shape and, where `check_values`, values of a tensor that was found, or that was not (NULL).
 * FORMAT with the file, the tensor, what was expected and what was found.
 */
cm3_status cm3_weights_check(const cm3_weights *weights, const char *name, const cm3_weight *weight, int rank,
                             const int64_t *shape, bool check_values);

#endif
