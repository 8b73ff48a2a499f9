/* Vectors of a bank. */
#include "retrieve/vectors.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"

#define MOST_DIMENSIONS 65536

cm3_status cm3_vectors_form_make(cm3_context *context, cm3_vector_type type, int64_t dimension,
                                 cm3_vectors_form *form) {
    if (type != CM3_VECTORS_F32 && type != CM3_VECTORS_BF16 && type != CM3_VECTORS_INT8) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "vectors: %d is no cm3_vector_type", (int)type);
    }
    if (dimension < 1 || dimension > MOST_DIMENSIONS) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "dimension: %lld is not in 1..%d", (long long)dimension,
                        MOST_DIMENSIONS);
    }
    if (type == CM3_VECTORS_INT8 && dimension % CM3_QUANTISED_LEAST_BLOCK) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "dimension: %lld is no multiple of %d, as int8 wants it",
                        (long long)dimension, CM3_QUANTISED_LEAST_BLOCK);
    }
    const int64_t block = type == CM3_VECTORS_INT8 ? CM3_QUANTISED_LEAST_BLOCK : 0;
    *form = (cm3_vectors_form){.type = type, .dimension = dimension, .block = block};
    return CM3_OK;
}

size_t cm3_vector_size(const cm3_vectors_form *form) {
    const size_t each = form->type == CM3_VECTORS_F32 ? 4 : form->type == CM3_VECTORS_BF16 ? 2 : 1;
    return (size_t)form->dimension * each;
}

size_t cm3_vector_scales(const cm3_vectors_form *form) {
    return form->block ? (size_t)(form->dimension / form->block) : 0;
}

bool cm3_vector_normalise(float *to, const float *from, int64_t dimension) {
    /* Sums that do not wait for each other. */
    double sums[8] = {0}, sum = 0;
    int64_t at = 0;
    for (; at + 8 <= dimension; at += 8) {
        for (int64_t i = 0; i < 8; i++) sums[i] += (double)from[at + i] * (double)from[at + i];
    }
    for (; at < dimension; at++) sum += (double)from[at] * (double)from[at];
    for (int i = 0; i < 8; i++) sum += sums[i];
    if (!(sum > 0) || !isfinite(sum)) return false;
    const double factor = 1 / sqrt(sum);
    for (int64_t i = 0; i < dimension; i++) to[i] = (float)((double)from[i] * factor);
    return true;
}

static cm3_quantised matrix_of(const cm3_vectors_form *form, const cm3_vectors *vectors) {
    return (cm3_quantised){.dtype = CM3_I8,
                           .k = form->dimension,
                           .block = form->block,
                           .values = vectors->values,
                           .scales = vectors->scales};
}

void cm3_vectors_put(const cm3_vectors_form *form, const cm3_kernels *kernels, void *values, uint16_t *scales,
                     int64_t index, const float *vector) {
    const int64_t d = form->dimension;
    switch (form->type) {
    case CM3_VECTORS_F32:
        memcpy((float *)values + index * d, vector, (size_t)d * sizeof *vector);
        break;
    case CM3_VECTORS_BF16:
        kernels->f32_to_bf16((uint16_t *)values + index * d, vector, d);
        break;
    case CM3_VECTORS_INT8:
        kernels->quantise_q8((int8_t *)values + index * d, scales + index * (d / form->block), vector, d / form->block,
                             form->block);
        break;
    }
}

void cm3_vectors_get(const cm3_vectors_form *form, const cm3_kernels *kernels, const cm3_vectors *vectors,
                     int64_t index, float *vector) {
    const int64_t d = form->dimension;
    switch (form->type) {
    case CM3_VECTORS_F32:
        memcpy(vector, (const float *)vectors->values + index * d, (size_t)d * sizeof *vector);
        break;
    case CM3_VECTORS_BF16:
        kernels->bf16_to_f32(vector, (const uint16_t *)vectors->values + index * d, d);
        break;
    case CM3_VECTORS_INT8: {
        const cm3_quantised matrix = matrix_of(form, vectors);
        kernels->dequantise_f32(vector, &matrix, index, index + 1);
        break;
    }
    }
}

size_t cm3_queries_size(const cm3_vectors_form *form) {
    const size_t values = CM3_QUERIES_TOGETHER * (size_t)form->dimension;
    const size_t blocks = CM3_QUERIES_TOGETHER * cm3_vector_scales(form);
    return values * (form->type == CM3_VECTORS_F32 ? 4 : 2) + CM3_QUANTISED_ROWS_SLACK + 64 +
           2 * (blocks * sizeof(float) + 64);
}

cm3_prepared_queries cm3_queries_prepare(const cm3_vectors_form *form, const cm3_kernels *kernels, const float *queries,
                                         int count, void *memory) {
    const int64_t d = form->dimension, all = count * d;
    cm3_prepared_queries made = {.count = count, .values = memory};
    if (form->type == CM3_VECTORS_F32) memcpy(memory, queries, (size_t)all * sizeof *queries);
    if (form->type == CM3_VECTORS_BF16) kernels->f32_to_bf16(memory, queries, all);
    if (form->type == CM3_VECTORS_INT8) {
        const size_t values = (CM3_QUERIES_TOGETHER * (size_t)d + CM3_QUANTISED_ROWS_SLACK + 63) / 64 * 64;
        made.scales = (float *)((uint8_t *)memory + values);
        made.sums = made.scales + (CM3_QUERIES_TOGETHER * cm3_vector_scales(form) + 15) / 16 * 16;
        const cm3_quantised_rows rows = {
            .k = d, .block = form->block, .values = memory, .scales = made.scales, .sums = made.sums};
        kernels->quantise_rows(&rows, queries, 0, all / form->block);
    }
    return made;
}

void cm3_vectors_products(const cm3_vectors_form *form, const cm3_kernels *kernels, const cm3_prepared_queries *queries,
                          const cm3_vectors *vectors, int64_t begin, int64_t end, float *scores, int64_t stride) {
    const int64_t d = form->dimension, rows = end - begin;
    const char *from = (const char *)vectors->values + (size_t)begin * cm3_vector_size(form);
    if (form->type == CM3_VECTORS_F32) {
        kernels->few_rows_f32(scores, stride, queries->values, queries->count, (const float *)(const void *)from, d, 0,
                              rows, NULL);
    } else if (form->type == CM3_VECTORS_BF16) {
        kernels->few_rows_bf16(scores, stride, queries->values, queries->count, (const uint16_t *)(const void *)from, d,
                               0, rows, NULL);
    } else {
        const cm3_vectors part = {.values = from, .scales = vectors->scales + begin * (d / form->block)};
        const cm3_quantised matrix = matrix_of(form, &part);
        const cm3_quantised_rows x = {
            .k = d, .block = form->block, .values = queries->values, .scales = queries->scales, .sums = queries->sums};
        kernels->few_rows_quantised(scores, stride, &x, 0, queries->count, &matrix, 0, rows, NULL);
    }
}

bool cm3_vectors_go_packed(const cm3_vectors_form *form, const cm3_kernels *kernels) {
    return (kernels->fixed_products || kernels->tile_products) && form->type != CM3_VECTORS_F32;
}

static size_t larger(int64_t a, int64_t b) {
    return (size_t)(a > b ? a : b);
}

size_t cm3_vectors_packed_size(const cm3_vectors_form *form, int64_t count) {
    const int64_t d = form->dimension;
    return (larger(cm3_fixed_size(count, d), cm3_tiled_size(count, d)) * sizeof(uint16_t) + 63) / 64 * 64;
}

/** Bytes of what the kernels pack at a time. */
static size_t block_size(const cm3_vectors_form *form) {
    return cm3_vectors_packed_size(form, CM3_FIXED_BLOCK > CM3_TILE_ROWS ? CM3_FIXED_BLOCK : CM3_TILE_ROWS);
}

size_t cm3_vectors_packed_scratch(const cm3_vectors_form *form, int64_t rows) {
    const size_t wide = form->type == CM3_VECTORS_INT8 ? (size_t)(rows * form->dimension) * sizeof(uint16_t) : 0;
    return block_size(form) + (wide + 63) / 64 * 64;
}

void cm3_vectors_pack(const cm3_vectors_form *form, const cm3_kernels *kernels, void *to, const float *queries,
                      int64_t count) {
    if (kernels->fixed_products)
        kernels->fix_rows(to, queries, count, form->dimension);
    else
        kernels->pack_tiles(to, queries, count, form->dimension);
}

void cm3_vectors_packed_products(const cm3_vectors_form *form, const cm3_kernels *kernels, const void *queries,
                                 int64_t count, const cm3_vectors *vectors, int64_t begin, int64_t end, float *scores,
                                 int64_t stride, void *scratch) {
    const int64_t d = form->dimension;
    const uint16_t *rows = (const uint16_t *)vectors->values + begin * d;
    if (form->type == CM3_VECTORS_INT8) {
        /* Once for all queries. */
        uint16_t *wide = (uint16_t *)(void *)((uint8_t *)scratch + block_size(form));
        const cm3_quantised matrix = matrix_of(form, vectors);
        kernels->dequantise_bf16(wide, &matrix, begin, end);
        rows = wide;
    }
    if (kernels->fixed_products)
        kernels->fixed_products(scores, stride, queries, count, rows, d, end - begin, scratch);
    else
        kernels->tile_products(scores, stride, queries, count, rows, d, end - begin, scratch);
}
