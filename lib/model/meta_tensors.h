/* Meta's tensors, sharded and in their own order, as those of `.cm3` files. */
#ifndef CM3_MODEL_META_TENSORS_H
#define CM3_MODEL_META_TENSORS_H

#include "model/source.h"

#define CM3_META_MOST_SHARDS 64

/** The shards of one model, held by the source's weights. */
typedef struct cm3_meta_shards {
    const cm3_torch *files[CM3_META_MOST_SHARDS];
    int count;
} cm3_meta_shards;

/** Takes vocab_size from the table of tokens where the configuration has none, and the feed-forward's width from its
 * matrices. */
cm3_status cm3_meta_sizes(cm3_source *source, const cm3_meta_shards *shards);

/**
 * Adds all tensors of the language model: shards joined, rows of q and k turned from pairs that lie beside each other
 * to halves, q/k-norms given to each head, fused matrices taken apart. FORMAT with the tensor, what was expected and
 * what was found.
 */
cm3_status cm3_meta_tensors(cm3_source *source, const cm3_meta_shards *shards);

#endif
