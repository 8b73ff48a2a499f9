/* Records in memory, and the order in which a run sees them: a pure function of (seed, position). */
#ifndef CM3_TRAIN_DATASET_H
#define CM3_TRAIN_DATASET_H

#include "base/context.h"

/** A picture with a name, beside a record's own. */
typedef struct cm3_sample_image {
    const char *name;
    const uint16_t *codes;
    int32_t code_count;
} cm3_sample_image;

/** A text with a name: one or more wordings, NUL-terminated strings behind each other. */
typedef struct cm3_sample_text {
    const char *name, *texts;
    int32_t count;
} cm3_sample_text;

/** What can be learned from a record beside its caption: a task's name and the texts that are its own. */
typedef struct cm3_example {
    const char *task;
    const cm3_sample_text *texts;
    int32_t text_count;
} cm3_example;

typedef struct cm3_sample {
    const char *name;     /**< "FILE: record KEY", for messages */
    const uint8_t *image; /**< encoded file, or NULL */
    size_t image_size;
    const char *captions; /**< caption_count NUL-terminated strings behind each other */
    int32_t caption_count;
    const char *queries; /**< "query": what the record is looked up by; likewise, or NULL */
    int32_t query_count;
    const uint16_t *codes; /**< or NULL */
    int32_t code_count;
    uint64_t codebook; /**< fingerprint of the image tokenizer that made the codes; 0: not known */
    const cm3_sample_image *images;
    const cm3_example *examples;
    int32_t image_count, example_count;
    const uint64_t *neighbours; /**< records of a bank, the nearest first; or NULL */
    int32_t neighbour_count;
    uint64_t bank; /**< identity of that bank */
} cm3_sample;

typedef struct cm3_dataset {
    cm3_context *context;
    cm3_sample *samples;
    size_t count, capacity;
    cm3_arena *memory;
    uint64_t seed;
    size_t together; /**< samples behind each other that stay so in every order; 1 or more */
    uint64_t sum;    /**< of all that was read, in its order: which data they are */
    /* the order of one epoch at a time */
    uint32_t *order;
    uint64_t epoch; /**< of `order`; UINT64_MAX before the first */
} cm3_dataset;

/**
 * Reads all shards. `want_images`: keep pictures of records that have no codes (else such records keep captions only).
 * Where the records take more than `limit` bytes (0: no limit): NO_MEMORY.
 */
cm3_status cm3_dataset_load(cm3_context *context, const char *const *paths, size_t path_count, uint64_t seed,
                            bool want_images, uint64_t limit, cm3_dataset **dataset);
void cm3_dataset_destroy(cm3_dataset *dataset);

/** The sample at `position` of the endless stream of shuffled epochs. One thread at a time. */
const cm3_sample *cm3_dataset_at(cm3_dataset *dataset, uint64_t position);

/** Caption `index` of a sample, 0..caption_count-1. */
const char *cm3_sample_caption(const cm3_sample *sample, int32_t index);
/** The same of queries. */
const char *cm3_sample_query(const cm3_sample *sample, int32_t index);

#endif
