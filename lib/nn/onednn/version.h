/*
 * What differs between oneDNN 2.x and 3.x: memory descriptors (structs there, handles here), and operation descriptors,
 * which 3.x has no more.
 */
#ifndef CM3_NN_ONEDNN_VERSION_H
#define CM3_NN_ONEDNN_VERSION_H

#include <oneapi/dnnl/dnnl.h>
#include <oneapi/dnnl/dnnl_version.h>

#include <stdbool.h>
#include <stddef.h>

/** What a convolution primitive is told beside its tensors. */
typedef struct cm3_dnn_window {
    dnnl_dims_t strides, pad_before, pad_after;
} cm3_dnn_window;

/** Whether two memories are laid out alike. */
static inline bool cm3_memory_alike(const_dnnl_memory_t a, const_dnnl_memory_t b) {
#if DNNL_VERSION_MAJOR >= 3
    const_dnnl_memory_desc_t first, second;
#else
    const dnnl_memory_desc_t *first, *second;
#endif
    return dnnl_memory_get_memory_desc(a, &first) == dnnl_success &&
           dnnl_memory_get_memory_desc(b, &second) == dnnl_success && dnnl_memory_desc_equal(first, second);
}

/** The result is added to what stands in its place. */
static inline dnnl_status_t cm3_post_ops_sum(dnnl_post_ops_t operations) {
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_post_ops_append_sum(operations, 1.0f, 0, dnnl_data_type_undef);
#else
    return dnnl_post_ops_append_sum(operations, 1.0f);
#endif
}

#if DNNL_VERSION_MAJOR >= 3

typedef dnnl_memory_desc_t cm3_md;
typedef const_dnnl_memory_desc_t cm3_md_ref;

static inline cm3_md_ref cm3_md_get(const cm3_md *md) {
    return *md;
}

/** strides NULL: whatever layout the primitive likes best. */
static inline dnnl_status_t cm3_md_make(cm3_md *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                                        const dnnl_dim_t *strides) {
    return strides ? dnnl_memory_desc_create_with_strides(md, rank, dims, type, strides)
                   : dnnl_memory_desc_create_with_tag(md, rank, dims, type, dnnl_format_tag_any);
}

static inline dnnl_status_t cm3_md_make_tag(cm3_md *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                                            dnnl_format_tag_t tag) {
    return dnnl_memory_desc_create_with_tag(md, rank, dims, type, tag);
}

static inline void cm3_md_clear(cm3_md *md) {
    if (*md) dnnl_memory_desc_destroy(*md);
    *md = NULL;
}

static inline dnnl_status_t cm3_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref a, cm3_md_ref b,
                                          cm3_md_ref bias, cm3_md_ref c, const_dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(pd, engine, a, b, bias, c, attr);
}

static inline dnnl_status_t cm3_pd_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref x, cm3_md_ref w,
                                        cm3_md_ref bias, cm3_md_ref y, const cm3_dnn_window *window, bool winograd,
                                        const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_forward_primitive_desc_create(
        pd, engine, winograd ? dnnl_forward_inference : dnnl_forward_training,
        winograd ? dnnl_convolution_winograd : dnnl_convolution_direct, x, w, bias, y, window->strides, NULL,
        window->pad_before, window->pad_after, attr);
}

static inline dnnl_status_t cm3_pd_conv_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref dx,
                                             cm3_md_ref w, cm3_md_ref dy, const cm3_dnn_window *window,
                                             const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_backward_data_primitive_desc_create(pd, engine, dnnl_convolution_direct, dx, w, dy,
                                                                window->strides, NULL, window->pad_before,
                                                                window->pad_after, hint, attr);
}

static inline dnnl_status_t cm3_pd_conv_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref x,
                                                cm3_md_ref dw, cm3_md_ref dbias, cm3_md_ref dy,
                                                const cm3_dnn_window *window, const_dnnl_primitive_desc_t hint,
                                                const_dnnl_primitive_attr_t attr) {
    return dnnl_convolution_backward_weights_primitive_desc_create(pd, engine, dnnl_convolution_direct, x, dw, dbias,
                                                                   dy, window->strides, NULL, window->pad_before,
                                                                   window->pad_after, hint, attr);
}

static inline size_t cm3_md_size(cm3_md_ref md) {
    return dnnl_memory_desc_get_size(md);
}

#else

typedef dnnl_memory_desc_t cm3_md;
typedef const dnnl_memory_desc_t *cm3_md_ref;

static inline cm3_md_ref cm3_md_get(const cm3_md *md) {
    return md;
}

/** strides NULL: whatever layout the primitive likes best. */
static inline dnnl_status_t cm3_md_make(cm3_md *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                                        const dnnl_dim_t *strides) {
    return strides ? dnnl_memory_desc_init_by_strides(md, rank, dims, type, strides)
                   : dnnl_memory_desc_init_by_tag(md, rank, dims, type, dnnl_format_tag_any);
}

static inline dnnl_status_t cm3_md_make_tag(cm3_md *md, int rank, const dnnl_dims_t dims, dnnl_data_type_t type,
                                            dnnl_format_tag_t tag) {
    return dnnl_memory_desc_init_by_tag(md, rank, dims, type, tag);
}

static inline void cm3_md_clear(cm3_md *md) {
    (void)md;
}

static inline dnnl_status_t cm3_pd_matmul(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref a, cm3_md_ref b,
                                          cm3_md_ref bias, cm3_md_ref c, const_dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t op;
    dnnl_status_t status = dnnl_matmul_desc_init(&op, a, b, bias, c);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &op, attr, engine, NULL);
}

static inline dnnl_status_t cm3_pd_conv(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref x, cm3_md_ref w,
                                        cm3_md_ref bias, cm3_md_ref y, const cm3_dnn_window *window, bool winograd,
                                        const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t op;
    dnnl_status_t status =
        dnnl_convolution_forward_desc_init(&op, winograd ? dnnl_forward_inference : dnnl_forward_training,
                                           winograd ? dnnl_convolution_winograd : dnnl_convolution_direct, x, w, bias,
                                           y, window->strides, window->pad_before, window->pad_after);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &op, attr, engine, NULL);
}

static inline dnnl_status_t cm3_pd_conv_data(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref dx,
                                             cm3_md_ref w, cm3_md_ref dy, const cm3_dnn_window *window,
                                             const_dnnl_primitive_desc_t hint, const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t op;
    dnnl_status_t status = dnnl_convolution_backward_data_desc_init(
        &op, dnnl_convolution_direct, dx, w, dy, window->strides, window->pad_before, window->pad_after);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &op, attr, engine, hint);
}

static inline dnnl_status_t cm3_pd_conv_weights(dnnl_primitive_desc_t *pd, dnnl_engine_t engine, cm3_md_ref x,
                                                cm3_md_ref dw, cm3_md_ref dbias, cm3_md_ref dy,
                                                const cm3_dnn_window *window, const_dnnl_primitive_desc_t hint,
                                                const_dnnl_primitive_attr_t attr) {
    dnnl_convolution_desc_t op;
    dnnl_status_t status = dnnl_convolution_backward_weights_desc_init(
        &op, dnnl_convolution_direct, x, dw, dbias, dy, window->strides, window->pad_before, window->pad_after);
    return status != dnnl_success ? status : dnnl_primitive_desc_create(pd, &op, attr, engine, hint);
}

static inline size_t cm3_md_size(cm3_md_ref md) {
    return dnnl_memory_desc_get_size(md);
}

#endif

#endif
