/* Vectors as a bank keeps them, and their inner products with queries. */
#ifndef CM3_RETRIEVE_VECTORS_H
#define CM3_RETRIEVE_VECTORS_H

#include "cm3leon/bank.h"
#include "nn/kernels.h"

/** Queries that one call of cm3_vectors_products() takes. */
#define CM3_QUERIES_TOGETHER 8

typedef struct cm3_vectors_form {
    cm3_vector_type type;
    int64_t dimension;
    int64_t block; /**< INT8: numbers that share a scale; else 0 */
} cm3_vectors_form;

/** Errors: INVALID_ARGUMENT (no such type, a dimension that is out of range or does not go with it). */
cm3_status cm3_vectors_form_make(cm3_context *context, cm3_vector_type type, int64_t dimension, cm3_vectors_form *form);
/** Bytes of a vector, without scales; f16 scales of a vector. */
size_t cm3_vector_size(const cm3_vectors_form *form);
size_t cm3_vector_scales(const cm3_vectors_form *form);

/** The same of length 1; false where it is zero or not finite. May be in place. */
bool cm3_vector_normalise(float *to, const float *from, int64_t dimension);

/** Rows behind each other, of a block of the file or of memory. */
typedef struct cm3_vectors {
    const void *values;
    const uint16_t *scales; /**< INT8 */
} cm3_vectors;

/** Row `index` of f32 [dimension] as it is kept. */
void cm3_vectors_put(const cm3_vectors_form *form, const cm3_kernels *kernels, void *values, uint16_t *scales,
                     int64_t index, const float *vector);
/** The other way. */
void cm3_vectors_get(const cm3_vectors_form *form, const cm3_kernels *kernels, const cm3_vectors *vectors,
                     int64_t index, float *vector);

/** Up to CM3_QUERIES_TOGETHER queries as the kernels want them. */
typedef struct cm3_prepared_queries {
    int count;
    void *values;
    float *scales, *sums; /**< INT8 */
} cm3_prepared_queries;

/** Bytes of `memory` for cm3_queries_prepare(), of which 64 divides the address. */
size_t cm3_queries_size(const cm3_vectors_form *form);
cm3_prepared_queries cm3_queries_prepare(const cm3_vectors_form *form, const cm3_kernels *kernels, const float *queries,
                                         int count, void *memory);

/** scores[q][i - begin] with rows begin..end - 1; row length of scores: `stride`. */
void cm3_vectors_products(const cm3_vectors_form *form, const cm3_kernels *kernels, const cm3_prepared_queries *queries,
                          const cm3_vectors *vectors, int64_t begin, int64_t end, float *scores, int64_t stride);

/* Many queries: in fixed point or by tiles, whichever the kernels have, where that is faster and as exact as the
 * vectors are. */

/** Whether products of many queries go by it. */
bool cm3_vectors_go_packed(const cm3_vectors_form *form, const cm3_kernels *kernels);
/** Bytes of so many queries, packed; of `scratch` for that many rows. 64 is to divide the addresses of both. */
size_t cm3_vectors_packed_size(const cm3_vectors_form *form, int64_t count);
size_t cm3_vectors_packed_scratch(const cm3_vectors_form *form, int64_t rows);
void cm3_vectors_pack(const cm3_vectors_form *form, const cm3_kernels *kernels, void *to, const float *queries,
                      int64_t count);
/** The same as cm3_vectors_products() with `count` queries from cm3_vectors_pack(). */
void cm3_vectors_packed_products(const cm3_vectors_form *form, const cm3_kernels *kernels, const void *queries,
                                 int64_t count, const cm3_vectors *vectors, int64_t begin, int64_t end, float *scores,
                                 int64_t stride, void *scratch);

#endif
