/* Matrix products by oneDNN. */
#include "nn/onednn/primitive.h"

enum { FLAG_TRANS_A = 1, FLAG_TRANS_B = 2, FLAG_ACCUMULATE = 4, FLAG_BIAS = 8 };

static cm3_dnn_key make_key(const cm3_dnn *dnn, const cm3_dnn_matmul_args *args) {
    cm3_dnn_key key;
    memset(&key, 0, sizeof key);
    key.op = CM3_DNN_MATMUL;
    key.threads = dnn->threads;
    key.dtype = (int32_t)args->ab_dtype;
    key.out_dtype = (int32_t)args->c_dtype;
    key.flags = (args->trans_a ? FLAG_TRANS_A : 0) | (args->trans_b ? FLAG_TRANS_B : 0) |
                (args->accumulate ? FLAG_ACCUMULATE : 0) | (args->bias ? FLAG_BIAS : 0);
    const int64_t shape[] = {args->batch, args->m, args->n, args->k, args->lda, args->ldb, args->ldc};
    memcpy(key.shape, shape, sizeof shape);
    if (args->batch > 1) {
        key.shape[7] = args->a_stride;
        key.shape[8] = args->b_stride;
        key.shape[9] = args->c_stride;
    }
    return key;
}

/** A matrix of `rows` x `columns`, stored as it is or transposed; the batch, where there is one, comes before. */
static dnnl_status_t matrix(cm3_md *md, int64_t batch, int64_t stride, int64_t rows, int64_t columns, int64_t ld,
                            bool transposed, cm3_dtype dtype) {
    dnnl_dims_t dims = {batch, rows, columns}, strides = {stride, transposed ? 1 : ld, transposed ? ld : 1};
    int skip = batch > 1 ? 0 : 1;
    return cm3_md_make(md, 3 - skip, dims + skip, dtype == CM3_BF16 ? dnnl_bf16 : dnnl_f32, strides + skip);
}

typedef struct cm3_matmul_descs {
    cm3_md a, b, bias, c;
    dnnl_primitive_attr_t attributes;
} cm3_matmul_descs;

static dnnl_status_t describe(cm3_matmul_descs *d, const cm3_dnn_matmul_args *args) {
    d->attributes = cm3_dnn_attributes();
    dnnl_status_t status = d->attributes ? dnnl_success : dnnl_out_of_memory;
    if (args->accumulate && status == dnnl_success) {
        dnnl_post_ops_t sum;
        status = dnnl_post_ops_create(&sum);
        if (status != dnnl_success) return status;
        status = cm3_post_ops_sum(sum);
        if (status == dnnl_success) status = dnnl_primitive_attr_set_post_ops(d->attributes, sum);
        dnnl_post_ops_destroy(sum);
    }
    int64_t b = args->batch, m = args->m, n = args->n, k = args->k;
    if (status == dnnl_success) {
        status = matrix(&d->a, b, args->a_stride, m, k, args->lda, args->trans_a, args->ab_dtype);
    }
    if (status == dnnl_success) {
        status = matrix(&d->b, b, args->b_stride, k, n, args->ldb, args->trans_b, args->ab_dtype);
    }
    if (status == dnnl_success) status = matrix(&d->c, b, args->c_stride, m, n, args->ldc, false, args->c_dtype);
    if (status == dnnl_success && args->bias) {
        dnnl_dims_t dims = {1, 1, n}, strides = {n, n, 1};
        int skip = b > 1 ? 0 : 1;
        status = cm3_md_make(&d->bias, 3 - skip, dims + skip, dnnl_f32, strides + skip);
    }
    return status;
}

static dnnl_status_t build(cm3_dnn *dnn, cm3_dnn_entry *entry, const cm3_dnn_matmul_args *args,
                           const cm3_matmul_descs *d) {
    cm3_md_ref bias = args->bias ? cm3_md_get(&d->bias) : NULL;
    dnnl_primitive_desc_t pd;
    dnnl_status_t status =
        cm3_pd_matmul(&pd, dnn->engine, cm3_md_get(&d->a), cm3_md_get(&d->b), bias, cm3_md_get(&d->c), d->attributes);
    if (status != dnnl_success) return status;
    if (!cm3_dnn_is_fast(pd)) status = dnnl_unimplemented;
    if (status == dnnl_success) {
        status = cm3_dnn_add_port(dnn, entry, pd, DNNL_ARG_SRC, cm3_md_get(&d->a), dnnl_query_src_md, false);
    }
    if (status == dnnl_success) {
        status = cm3_dnn_add_port(dnn, entry, pd, DNNL_ARG_WEIGHTS, cm3_md_get(&d->b), dnnl_query_weights_md, false);
    }
    if (status == dnnl_success) {
        status = cm3_dnn_add_port(dnn, entry, pd, DNNL_ARG_DST, cm3_md_get(&d->c), dnnl_query_dst_md, true);
    }
    if (status == dnnl_success && bias) {
        status = cm3_dnn_add_port(dnn, entry, pd, DNNL_ARG_BIAS, bias, dnnl_query_undef, false);
    }
    if (status == dnnl_success) status = cm3_dnn_finish(dnn, entry, pd);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

static cm3_status make(cm3_dnn *dnn, const cm3_dnn_key *key, const cm3_dnn_matmul_args *args, cm3_dnn_entry **entry) {
    *entry = cm3_dnn_insert(dnn, key);
    if (!*entry) return cm3_fail_memory(dnn->context, sizeof **entry, "a primitive");
    cm3_matmul_descs d;
    memset(&d, 0, sizeof d);
    dnnl_status_t status = describe(&d, args);
    if (status == dnnl_success) status = build(dnn, *entry, args, &d);
    cm3_md_clear(&d.a);
    cm3_md_clear(&d.b);
    cm3_md_clear(&d.c);
    cm3_md_clear(&d.bias);
    if (d.attributes) dnnl_primitive_attr_destroy(d.attributes);
    return status == dnnl_success ? CM3_OK : cm3_dnn_refuse(dnn, *entry, status);
}

cm3_status cm3_dnn_matmul(cm3_dnn *dnn, const cm3_dnn_matmul_args *args) {
    if (args->batch < 1 || args->m < 1 || args->n < 1 || args->k < 1) return CM3_ERROR_UNSUPPORTED;
    cm3_dnn_key key = make_key(dnn, args);
    cm3_dnn_entry *entry = cm3_dnn_find(dnn, &key);
    if (!entry) CM3_TRY(make(dnn, &key, args, &entry));
    void *const data[] = {(void *)args->a, (void *)args->b, args->c, (void *)args->bias};
    return cm3_dnn_run(dnn, entry, data);
}
