/* Primitives and their cache: one per operation and shape, made once, with the memory objects that they run on. */
#ifndef CM3_NN_ONEDNN_PRIMITIVE_H
#define CM3_NN_ONEDNN_PRIMITIVE_H

#include <stdbool.h>

#include "base/memory.h"
#include "nn/onednn/onednn.h"
#include "nn/onednn/version.h"

typedef enum cm3_dnn_op { CM3_DNN_MATMUL = 1, CM3_DNN_CONV, CM3_DNN_CONV_DATA, CM3_DNN_CONV_WEIGHTS } cm3_dnn_op;

/** All that a primitive depends on. Compared as bytes: to be zeroed before it is filled. */
typedef struct cm3_dnn_key {
    int32_t op, threads;
    int32_t dtype, out_dtype; /**< of what is multiplied, of the result */
    int32_t flags;
    int32_t unused;
    int64_t shape[12]; /**< of convolutions a cm3_conv_shape */
} cm3_dnn_key;

#define CM3_DNN_PORTS 5

/** One argument of a primitive, in the caller's layout and, where the primitive wants another, in that too. */
typedef struct cm3_dnn_port {
    int argument; /**< DNNL_ARG_... */
    bool output;
    dnnl_memory_t plain;
    dnnl_memory_t packed;     /**< NULL: the primitive takes the plain one */
    dnnl_primitive_t reorder; /**< NULL where we pack ourselves */
    size_t packed_size;
    int32_t block;  /**< of a convolution's weights that we pack; 0: oneDNN does */
    cm3_dtype from; /**< of these weights at the caller's */
} cm3_dnn_port;

typedef struct cm3_dnn_entry {
    cm3_dnn_key key;
    struct cm3_dnn_entry *next; /**< in its bucket */
    uint64_t last_use;
    dnnl_primitive_t primitive; /**< NULL: oneDNN has nothing for this key */
    dnnl_memory_t scratch;
    size_t scratch_size, packed_size;
    cm3_dnn_port ports[CM3_DNN_PORTS];
    int port_count;
} cm3_dnn_entry;

#define CM3_DNN_BUCKETS 256
/** Prompts of many lengths make many shapes: above this number the one that was not used for longest goes. */
#define CM3_DNN_MAX_ENTRIES 1024

struct cm3_dnn {
    cm3_context *context;
    cm3_team *team;
    int32_t threads;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    uint64_t uses;
    size_t entry_count;
    cm3_dnn_entry *buckets[CM3_DNN_BUCKETS];
    char *memory; /**< packed arguments and the primitive's scratch; grows */
    size_t memory_size;
    const cm3_dnn_entry *last; /**< that ran; NULL: nothing stands in the memory */
    bool measure, idle;        /**< primitives are not run */
    size_t measured;           /**< the most that one of them needs */
};

/** NULL where there is none yet. */
cm3_dnn_entry *cm3_dnn_find(cm3_dnn *dnn, const cm3_dnn_key *key);

/** An empty entry in the cache; NULL where memory is out. */
cm3_dnn_entry *cm3_dnn_insert(cm3_dnn *dnn, const cm3_dnn_key *key);

/** Attributes that all primitives take: scratch comes from us. NULL where memory is out. */
dnnl_primitive_attr_t cm3_dnn_attributes(void);

/** False for the reference implementations, which our own kernels outrun. */
bool cm3_dnn_is_fast(const_dnnl_primitive_desc_t pd);

/**
 * Adds an argument whose layout is `plain` at the caller's. `query`: how the primitive is asked for its own; undef for
 * vectors, which have only one.
 */
dnnl_status_t cm3_dnn_add_port(cm3_dnn *dnn, cm3_dnn_entry *entry, const_dnnl_primitive_desc_t pd, int argument,
                               cm3_md_ref plain, dnnl_query_t query, bool output);

/**
 * The same for a convolution's weights, which are of type `from` at the caller's. `widen`: that is not the type which
 * the primitive multiplies in (and `plain` has); dnnl_unimplemented where it wants a layout that we do not make.
 */
dnnl_status_t cm3_dnn_add_weights(cm3_dnn *dnn, cm3_dnn_entry *entry, const_dnnl_primitive_desc_t pd, cm3_md_ref plain,
                                  const cm3_conv_shape *shape, cm3_dtype from, bool widen);

/** Makes the primitive once all ports are there. */
dnnl_status_t cm3_dnn_finish(cm3_dnn *dnn, cm3_dnn_entry *entry, const_dnnl_primitive_desc_t pd);

/**
 * Runs it; `data` as the ports were added. UNSUPPORTED where the entry has no primitive; NO_MEMORY and INTERNAL with a
 * message.
 */
cm3_status cm3_dnn_run(cm3_dnn *dnn, cm3_dnn_entry *entry, void *const *data);
/** The same where the run just before had the same data for the first port: what was packed of it, at the beginning of
 * the working memory, still stands there if the two want the same layout. */
cm3_status cm3_dnn_run_again(cm3_dnn *dnn, cm3_dnn_entry *entry, void *const *data);

/** The status of a primitive that could not be made: an entry without primitive (UNSUPPORTED from now on), or
 * NO_MEMORY. */
cm3_status cm3_dnn_refuse(cm3_dnn *dnn, cm3_dnn_entry *entry, dnnl_status_t status);

#endif
