/*
 * Convolutions by oneDNN: activations stay NHWC; weights come as OIHW and are reordered into whatever the primitive
 * likes at each call, which costs little beside the convolution and is right in training, where they change at each
 * step.
 */
#include "nn/onednn/primitive.h"

enum {
    FLAG_BIAS = 1,
    FLAG_RESIDUAL = 2,   /**< another map is added */
    FLAG_ACCUMULATE = 4, /**< it is the result's own memory */
    FLAG_WINOGRAD = 8,   /**< in whatever layout that likes */
    FLAG_WIDEN = 16      /**< weights are bf16, and multiplied in f32 */
};

static dnnl_data_type_t type_of(cm3_dtype dtype) {
    return dtype == CM3_BF16 ? dnnl_bf16 : dnnl_f32;
}

static cm3_dnn_key make_key(const cm3_dnn *dnn, cm3_dnn_op op, const cm3_conv_shape *s, cm3_dtype dtype,
                            cm3_dtype out_dtype, int32_t flags) {
    cm3_dnn_key key;
    memset(&key, 0, sizeof key);
    key.op = op;
    key.threads = dnn->threads;
    key.dtype = (int32_t)dtype;
    key.out_dtype = (int32_t)out_dtype;
    key.flags = flags;
    _Static_assert(sizeof *s == sizeof key.shape, "a convolution's shape is the key's");
    memcpy(key.shape, s, sizeof *s);
    return key;
}

/** Descriptors of a convolution's tensors: w is in the caller's layout, any_w in that which the primitive chooses. */
typedef struct cm3_conv_descs {
    cm3_md x, any_x, w, any_w, bias, y, any_y, residual;
    cm3_dnn_window window;
    dnnl_primitive_attr_t attributes;
} cm3_conv_descs;

static dnnl_status_t nhwc(cm3_md *md, int64_t n, int64_t h, int64_t w, int64_t c, cm3_dtype dtype) {
    dnnl_dims_t dims = {n, c, h, w}, strides = {h * w * c, 1, w * c, c};
    return cm3_md_make(md, 4, dims, type_of(dtype), strides);
}

/** The sum with another map as part of the primitive. */
static dnnl_status_t add_residual(cm3_conv_descs *d, int32_t flags) {
    dnnl_post_ops_t sum;
    dnnl_status_t status = dnnl_post_ops_create(&sum);
    if (status != dnnl_success) return status;
    if (flags & FLAG_RESIDUAL) {
        status = dnnl_post_ops_append_binary(sum, dnnl_binary_add, cm3_md_get(&d->residual));
    } else {
        status = cm3_post_ops_sum(sum);
    }
    if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(d->attributes, sum);
    dnnl_post_ops_destroy(sum);
    return status;
}

static dnnl_status_t describe(cm3_conv_descs *d, const cm3_conv_shape *s, cm3_dtype x_type, cm3_dtype w_type,
                              cm3_dtype y_type, int32_t flags) {
    memset(d, 0, sizeof *d);
    d->window = (cm3_dnn_window){{s->stride, s->stride}, {s->pad_top, s->pad_left}, {s->pad_bottom, s->pad_right}};
    d->attributes = cm3_dnn_attributes();
    dnnl_status_t status = d->attributes ? dnnl_success : dnnl_out_of_memory;
    dnnl_dims_t dims = {s->cout, s->cin, s->kh, s->kw};
    dnnl_dims_t strides = {s->cin * s->kh * s->kw, s->kh * s->kw, s->kw, 1}, one = {1};
    if (status == dnnl_success) status = nhwc(&d->x, s->n, s->h, s->w, s->cin, x_type);
    if (status == dnnl_success) status = nhwc(&d->y, s->n, cm3_conv_out_h(s), cm3_conv_out_w(s), s->cout, y_type);
    if (status == dnnl_success) status = cm3_md_make(&d->w, 4, dims, type_of(w_type), strides);
    if (status == dnnl_success) status = cm3_md_make(&d->any_w, 4, dims, type_of(w_type), NULL);
    if (status == dnnl_success && flags & FLAG_BIAS) status = cm3_md_make(&d->bias, 1, dims, dnnl_f32, one);
    if (status == dnnl_success && flags & FLAG_RESIDUAL) {
        status = nhwc(&d->residual, s->n, cm3_conv_out_h(s), cm3_conv_out_w(s), s->cout, CM3_F32);
    }
    if (status == dnnl_success && flags & (FLAG_RESIDUAL | FLAG_ACCUMULATE)) status = add_residual(d, flags);
    if (status == dnnl_success && flags & FLAG_WINOGRAD) {
        dnnl_dims_t from = {s->n, s->cin, s->h, s->w}, to = {s->n, s->cout, cm3_conv_out_h(s), cm3_conv_out_w(s)};
        status = cm3_md_make(&d->any_x, 4, from, type_of(x_type), NULL);
        if (status == dnnl_success) status = cm3_md_make(&d->any_y, 4, to, type_of(y_type), NULL);
    }
    return status;
}

static void clear_descs(cm3_conv_descs *d) {
    cm3_md_clear(&d->x);
    cm3_md_clear(&d->any_x);
    cm3_md_clear(&d->any_y);
    cm3_md_clear(&d->y);
    cm3_md_clear(&d->w);
    cm3_md_clear(&d->any_w);
    cm3_md_clear(&d->bias);
    cm3_md_clear(&d->residual);
    if (d->attributes) dnnl_primitive_attr_destroy(d->attributes);
}

/** How one argument is laid out at the caller's, and how the primitive is asked for its own layout. */
typedef struct cm3_conv_port {
    int argument;
    cm3_md_ref plain;
    dnnl_query_t query;
    bool output;
} cm3_conv_port;

static dnnl_status_t finish(cm3_dnn *dnn, cm3_dnn_entry *entry, dnnl_primitive_desc_t pd, const cm3_conv_port *ports,
                            int count) {
    dnnl_status_t status = cm3_dnn_is_fast(pd) ? dnnl_success : dnnl_unimplemented;
    for (int i = 0; i < count && status == dnnl_success; i++) {
        status = cm3_dnn_add_port(dnn, entry, pd, ports[i].argument, ports[i].plain, ports[i].query, ports[i].output);
    }
    if (status == dnnl_success) status = cm3_dnn_finish(dnn, entry, pd);
    return status;
}

static dnnl_status_t build_forward(cm3_dnn *dnn, cm3_dnn_entry *entry, const cm3_conv_shape *s, cm3_dtype dtype,
                                   const cm3_conv_descs *d, int32_t flags) {
    dnnl_primitive_desc_t pd;
    cm3_md_ref bias = flags & FLAG_BIAS ? cm3_md_get(&d->bias) : NULL;
    bool winograd = flags & FLAG_WINOGRAD;
    dnnl_status_t status =
        cm3_pd_conv(&pd, dnn->engine, cm3_md_get(winograd ? &d->any_x : &d->x), cm3_md_get(&d->any_w), bias,
                    cm3_md_get(winograd ? &d->any_y : &d->y), &d->window, winograd, d->attributes);
    if (status != dnnl_success) return status;
    /* weights first: see cm3_dnn_run_again() */
    status = cm3_dnn_add_weights(dnn, entry, pd, cm3_md_get(&d->w), s, flags & FLAG_WIDEN ? CM3_BF16 : dtype,
                                 flags & FLAG_WIDEN);
    cm3_conv_port ports[CM3_DNN_PORTS] = {
        {DNNL_ARG_SRC, cm3_md_get(&d->x), dnnl_query_src_md, false},
        {DNNL_ARG_DST, cm3_md_get(&d->y), dnnl_query_dst_md, true},
    };
    int count = 2;
    if (bias) ports[count++] = (cm3_conv_port){DNNL_ARG_BIAS, bias, dnnl_query_undef, false};
    if (flags & FLAG_RESIDUAL) {
        ports[count++] = (cm3_conv_port){DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, cm3_md_get(&d->residual),
                                         dnnl_query_undef, false};
    }
    if (status == dnnl_success) status = finish(dnn, entry, pd, ports, count);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

/** Gradients ask for a forward primitive as a hint; it shares the descriptors but for the types. */
static dnnl_status_t make_hint(cm3_dnn *dnn, const cm3_conv_shape *s, cm3_dtype dtype, dnnl_primitive_desc_t *hint) {
    cm3_conv_descs d;
    dnnl_status_t status = describe(&d, s, dtype, dtype, CM3_F32, 0);
    if (status == dnnl_success) {
        status = cm3_pd_conv(hint, dnn->engine, cm3_md_get(&d.x), cm3_md_get(&d.any_w), NULL, cm3_md_get(&d.y),
                             &d.window, false, d.attributes);
    }
    clear_descs(&d);
    return status;
}

static dnnl_status_t build_data(cm3_dnn *dnn, cm3_dnn_entry *entry, const cm3_conv_descs *d,
                                dnnl_primitive_desc_t hint) {
    dnnl_primitive_desc_t pd;
    dnnl_status_t status = cm3_pd_conv_data(&pd, dnn->engine, cm3_md_get(&d->x), cm3_md_get(&d->any_w),
                                            cm3_md_get(&d->y), &d->window, hint, d->attributes);
    if (status != dnnl_success) return status;
    const cm3_conv_port ports[] = {
        {DNNL_ARG_DIFF_SRC, cm3_md_get(&d->x), dnnl_query_diff_src_md, true},
        {DNNL_ARG_DIFF_DST, cm3_md_get(&d->y), dnnl_query_diff_dst_md, false},
        {DNNL_ARG_WEIGHTS, cm3_md_get(&d->w), dnnl_query_weights_md, false},
    };
    status = finish(dnn, entry, pd, ports, 3);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

static dnnl_status_t build_weights(cm3_dnn *dnn, cm3_dnn_entry *entry, const cm3_conv_descs *d, bool bias,
                                   dnnl_primitive_desc_t hint) {
    dnnl_primitive_desc_t pd;
    cm3_md_ref b = bias ? cm3_md_get(&d->bias) : NULL;
    dnnl_status_t status = cm3_pd_conv_weights(&pd, dnn->engine, cm3_md_get(&d->x), cm3_md_get(&d->any_w), b,
                                               cm3_md_get(&d->y), &d->window, hint, d->attributes);
    if (status != dnnl_success) return status;
    const cm3_conv_port ports[] = {
        {DNNL_ARG_SRC, cm3_md_get(&d->x), dnnl_query_src_md, false},
        {DNNL_ARG_DIFF_DST, cm3_md_get(&d->y), dnnl_query_diff_dst_md, false},
        {DNNL_ARG_DIFF_WEIGHTS, cm3_md_get(&d->w), dnnl_query_diff_weights_md, true},
        {DNNL_ARG_DIFF_BIAS, b, dnnl_query_undef, true},
    };
    status = finish(dnn, entry, pd, ports, bias ? 4 : 3);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

/** The entry of one of the three operations, from the cache or new. */
static cm3_status get_entry(cm3_dnn *dnn, cm3_dnn_op op, const cm3_conv_shape *s, cm3_dtype dtype, cm3_dtype out_dtype,
                            int32_t flags, cm3_dnn_entry **entry) {
    cm3_dnn_key key = make_key(dnn, op, s, dtype, out_dtype, flags);
    *entry = cm3_dnn_find(dnn, &key);
    if (*entry) return CM3_OK;
    *entry = cm3_dnn_insert(dnn, &key);
    if (!*entry) return cm3_fail_memory(dnn->context, sizeof **entry, "a primitive");
    dnnl_primitive_desc_t hint = NULL;
    cm3_conv_descs d;
    dnnl_status_t status;
    if (op == CM3_DNN_CONV) {
        status = describe(&d, s, dtype, dtype, out_dtype, flags);
        if (status == dnnl_success) status = build_forward(dnn, *entry, s, dtype, &d, flags);
    } else {
        bool data = op == CM3_DNN_CONV_DATA;
        status = describe(&d, s, data ? out_dtype : dtype, data ? dtype : out_dtype, dtype, flags);
        if (status == dnnl_success) status = make_hint(dnn, s, dtype, &hint);
        if (status == dnnl_success) {
            status = data ? build_data(dnn, *entry, &d, hint) : build_weights(dnn, *entry, &d, flags & FLAG_BIAS, hint);
        }
        if (hint) dnnl_primitive_desc_destroy(hint);
    }
    clear_descs(&d);
    return status == dnnl_success ? CM3_OK : cm3_dnn_refuse(dnn, *entry, status);
}

cm3_status cm3_dnn_conv(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x, const void *weights,
                        cm3_dtype weights_dtype, const float *bias, const float *residual, void *y, cm3_dtype y_dtype) {
    cm3_dnn_entry *entry;
    bool own = residual && (const void *)residual == y;
    int32_t flags = (bias ? FLAG_BIAS : 0) |
                    (own        ? FLAG_ACCUMULATE
                     : residual ? FLAG_RESIDUAL
                                : 0) |
                    (weights_dtype != dtype ? FLAG_WIDEN : 0);
    CM3_TRY(get_entry(dnn, CM3_DNN_CONV, shape, dtype, y_dtype, flags, &entry));
    const float *extra[] = {bias ? bias : residual, residual};
    void *const data[] = {(void *)weights, (void *)x, y, (void *)extra[0], (void *)extra[1]};
    return cm3_dnn_run(dnn, entry, data);
}

cm3_status cm3_dnn_conv_winograd(cm3_dnn *dnn, const cm3_conv_shape *shape, const float *x, const float *weights,
                                 const float *bias, float *y, bool again) {
    cm3_dnn_entry *entry;
    int32_t flags = (bias ? FLAG_BIAS : 0) | FLAG_WINOGRAD;
    CM3_TRY(get_entry(dnn, CM3_DNN_CONV, shape, CM3_F32, CM3_F32, flags, &entry));
    void *const data[] = {(void *)weights, (void *)x, y, (void *)bias};
    return again ? cm3_dnn_run_again(dnn, entry, data) : cm3_dnn_run(dnn, entry, data);
}

bool cm3_dnn_has_winograd(cm3_dnn *dnn, const cm3_conv_shape *shape) {
    cm3_dnn_entry *entry;
    cm3_conv_shape strip = *shape;
    strip.h = 16;
    return get_entry(dnn, CM3_DNN_CONV, &strip, CM3_F32, CM3_F32, FLAG_WINOGRAD, &entry) == CM3_OK && entry->primitive;
}

cm3_status cm3_dnn_conv_backward_data(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, void *dx,
                                      cm3_dtype dx_dtype, const void *dy, const void *weights) {
    cm3_dnn_entry *entry;
    CM3_TRY(get_entry(dnn, CM3_DNN_CONV_DATA, shape, dtype, dx_dtype, 0, &entry));
    void *const data[] = {dx, (void *)dy, (void *)weights};
    return cm3_dnn_run(dnn, entry, data);
}

cm3_status cm3_dnn_conv_backward_weights(cm3_dnn *dnn, const cm3_conv_shape *shape, cm3_dtype dtype, const void *x,
                                         const void *dy, float *dweights, float *dbias) {
    cm3_dnn_entry *entry;
    CM3_TRY(get_entry(dnn, CM3_DNN_CONV_WEIGHTS, shape, dtype, CM3_F32, dbias ? FLAG_BIAS : 0, &entry));
    void *const data[] = {(void *)x, (void *)dy, dweights, dbias};
    return cm3_dnn_run(dnn, entry, data);
}
