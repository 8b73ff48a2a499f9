/* Rows of the output head from a file of their own. */
#include "model/head_rows.h"

#include <string.h>

#include "base/status.h"
#include "model/quantised_weight.h"

#define HEAD "lm.lm_head.weight"

/** The head as it was, and what is laid over it. */
typedef struct overlay {
    cm3_weight base;
    const cm3_entry *rows, *numbers; /**< numbers NULL: the rows from the first on */
    int64_t columns;
} overlay;

static int64_t number_of(const cm3_entry *numbers, int64_t i) {
    if (!numbers) return i;
    return numbers->dtype == CM3_I32 ? ((const int32_t *)numbers->data)[i] : ((const int64_t *)numbers->data)[i];
}

static void lay_over(const void *recipe, void *to) {
    const overlay *o = recipe;
    const cm3_entry *base = &o->base.entry, *rows = o->rows;
    const size_t line = (size_t)o->columns * cm3_dtype_size(base->dtype);
    const size_t own = (size_t)o->columns * cm3_dtype_size(rows->dtype);
    if (o->base.make) {
        o->base.make(o->base.recipe, to);
    } else {
        memcpy(to, base->data, base->size);
    }
    for (int64_t i = 0; i < rows->shape[0]; i++) {
        cm3_convert((char *)to + (size_t)number_of(o->numbers, i) * line, base->dtype,
                    (const char *)rows->data + (size_t)i * own, rows->dtype, (size_t)o->columns);
    }
}

static cm3_status check_numbers(const cm3_source *source, const char *file, const overlay *o) {
    const cm3_entry *n = o->numbers;
    const int64_t vocab = o->base.entry.shape[0], count = o->rows->shape[0];
    if (!n) {
        if (count == vocab) return CM3_OK;
        return cm3_fail(source->context, CM3_ERROR_FORMAT,
                        "%s: lm_head.weight has %lld rows of the head's %lld, and there is no 'rows' that names them",
                        file, (long long)count, (long long)vocab);
    }
    if ((n->dtype != CM3_I32 && n->dtype != CM3_I64) || n->rank != 1 || n->shape[0] != count) {
        return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: 'rows' should be %lld ids of type I32 or I64", file,
                        (long long)count);
    }
    for (int64_t i = 0; i < count; i++) {
        const int64_t id = number_of(n, i);
        if (id >= 0 && id < vocab) continue;
        return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: 'rows' names %lld, not in 0..%lld", file, (long long)id,
                        (long long)vocab - 1);
    }
    return CM3_OK;
}

static cm3_status check_rows(const cm3_source *source, const cm3_safetensors *tensors, overlay *o) {
    const char *file = cm3_safetensors_name(tensors);
    o->rows = cm3_safetensors_find(tensors, "lm_head.weight");
    o->numbers = cm3_safetensors_find(tensors, "rows");
    o->columns = o->base.entry.shape[1];
    const cm3_entry *r = o->rows;
    if (!r) return cm3_fail(source->context, CM3_ERROR_FORMAT, "%s: tensor 'lm_head.weight' is missing", file);
    const bool floats = r->dtype == CM3_F32 || r->dtype == CM3_BF16 || r->dtype == CM3_F16;
    if (!floats || r->rank != 2 || r->shape[1] != o->columns) {
        return cm3_fail(
            source->context, CM3_ERROR_FORMAT,
            "%s: tensor 'lm_head.weight' should be [n, %lld] of type F32, BF16 or F16, and is %s [%lld, %lld]", file,
            (long long)o->columns, cm3_dtype_name(r->dtype), (long long)(r->rank > 0 ? r->shape[0] : 0),
            (long long)(r->rank > 1 ? r->shape[1] : 0));
    }
    return check_numbers(source, file, o);
}

cm3_status cm3_source_read_head_rows(cm3_source *source, const char *path) {
    cm3_file *file;
    cm3_safetensors *tensors;
    const cm3_weight *head = cm3_weights_find(source->weights, HEAD);
    if (!source->has_lm || !head || cm3_entry_is_quantised(&head->entry) || head->entry.rank != 2) {
        return cm3_fail(source->context, CM3_ERROR_UNSUPPORTED,
                        "%s: the model has no head of its own, or a quantised one: rows cannot be laid over it", path);
    }
    overlay *o = cm3_weights_note(source->weights, sizeof *o);
    if (!o) return CM3_ERROR_NO_MEMORY;
    o->base = *head;
    CM3_TRY(cm3_file_open(source->context, path, &file));
    CM3_TRY(cm3_source_open(source, file, &tensors));
    CM3_TRY(cm3_weights_hold(source->weights, tensors));
    CM3_TRY(check_rows(source, tensors, o));
    cm3_weights_replace(source->weights, HEAD, lay_over, o);
    return CM3_OK;
}
