/* AdamW. */
#include "train/optimizer.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "train/slices.h"

#define LINE 16          /* floats of a cache line */
#define PIECES (1 << 21) /* floats that are under way at once */

void cm3_optimizer_init(cm3_context *context, const cm3_train_options *options, cm3_optimizer *optimizer) {
    *optimizer = (cm3_optimizer){.context = context, .options = options};
}

cm3_status cm3_optimizer_add(cm3_optimizer *optimizer, const char *name, cm3_tensor *tensor, bool decay,
                             cm3_reading reading) {
    CM3_TRY(cm3_grow(optimizer->context, &optimizer->parameters, &optimizer->capacity, optimizer->count + 1,
                     sizeof *optimizer->parameters, "optimizer"));
    optimizer->parameters[optimizer->count++] =
        (cm3_optimized){.name = name, .tensor = tensor, .decay = decay, .reading = reading};
    tensor->wants_grad = tensor->has_grad = true;
    return CM3_OK;
}

/* --- the flat arrays -----------------------------------------------------------------------------------------------
 */

/** Places of whole cache lines, the last parameter first; and slices of whole cache lines. */
static void find_places(cm3_optimizer *optimizer) {
    const int64_t size = optimizer->ranks ? optimizer->ranks->comm.size : 1;
    int64_t at = 0;
    for (size_t i = optimizer->count; i-- > 0;) {
        optimizer->parameters[i].at = at;
        at += (optimizer->parameters[i].tensor->count + LINE - 1) / LINE * LINE;
    }
    optimizer->slice = (at + size * LINE - 1) / (size * LINE) * LINE;
    optimizer->total = size * optimizer->slice;
    optimizer->begin = size > 1 ? optimizer->ranks->comm.rank * optimizer->slice : 0;
    optimizer->piece = PIECES / size / LINE * LINE;
    if (optimizer->piece < LINE) optimizer->piece = LINE;
    if (optimizer->piece > optimizer->slice) optimizer->piece = optimizer->slice;
}

static cm3_status take_memory(cm3_optimizer *optimizer) {
    cm3_context *context = optimizer->context;
    const size_t total = (size_t)optimizer->total, slice = (size_t)optimizer->slice;
    const bool averaged = optimizer->options->weight_average > 0, alone = total == slice;
    optimizer->gradients = cm3_calloc(context, total, sizeof(float));
    for (int i = 0; i < 2 + averaged; i++) optimizer->moments[i] = cm3_calloc(context, slice, sizeof(float));
    bool there = optimizer->gradients && optimizer->moments[0] && optimizer->moments[1];
    if (averaged) there = there && optimizer->moments[CM3_MOMENT_AVERAGE];
    if (!alone) {
        const size_t pieces = total / slice * (size_t)optimizer->piece;
        optimizer->pieces = cm3_calloc(context, pieces, sizeof(float));
        there = there && optimizer->pieces;
    }
    for (size_t i = 0; there && i < optimizer->count; i++) {
        cm3_optimized *p = &optimizer->parameters[i];
        p->tensor->grad = optimizer->gradients + p->at;
        if (p->reading == CM3_READ_F32 || optimizer->options->compute == CM3_COMPUTE_F32) continue;
        p->tensor->bf16 = cm3_calloc(context, (size_t)p->tensor->count, sizeof *p->tensor->bf16);
        there = p->tensor->bf16;
    }
    return there ? CM3_OK : cm3_fail_memory(context, total * sizeof(float), "optimizer");
}

cm3_status cm3_optimizer_lay(cm3_optimizer *optimizer, cm3_ranks *ranks) {
    optimizer->ranks = ranks;
    find_places(optimizer);
    CM3_TRY(take_memory(optimizer));
    size_t next = 0;
    cm3_stretch s;
    float *average = optimizer->moments[CM3_MOMENT_AVERAGE];
    while (average && cm3_slices_next(optimizer, optimizer->begin, optimizer->begin + optimizer->slice, &next, &s)) {
        memcpy(average + s.offset, cm3_f32(s.parameter->tensor) + s.first, (size_t)s.count * sizeof *average);
    }
    return CM3_OK;
}

void cm3_optimizer_clear(cm3_optimizer *optimizer) {
    cm3_context *context = optimizer->context;
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_tensor *tensor = optimizer->parameters[i].tensor;
        cm3_free(context, optimizer->parameters[i].own);
        cm3_free(context, tensor->bf16);
        tensor->grad = NULL;
        tensor->bf16 = NULL;
    }
    cm3_free(context, optimizer->gradients);
    for (int i = 0; i < 3; i++) cm3_free(context, optimizer->moments[i]);
    cm3_free(context, optimizer->pieces);
    cm3_free(context, optimizer->parameters);
    optimizer->gradients = optimizer->pieces = optimizer->moments[0] = optimizer->moments[1] = NULL;
    optimizer->moments[2] = NULL;
    optimizer->parameters = NULL;
    optimizer->count = 0;
}

/** The bf16 copies of what f32 values are here. */
static void round_own(cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    size_t next = 0;
    cm3_stretch s;
    while (cm3_slices_next(optimizer, optimizer->begin, optimizer->begin + optimizer->slice, &next, &s)) {
        uint16_t *to = s.parameter->tensor->bf16;
        if (s.parameter->apart) kernels->f32_to_bf16(to + s.first, cm3_slices_values(optimizer, &s), s.count);
    }
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_tensor *tensor = optimizer->parameters[i].tensor;
        if (tensor->bf16 && tensor->data) kernels->f32_to_bf16(tensor->bf16, tensor->data, tensor->count);
    }
}

cm3_status cm3_optimizer_refresh(cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    round_own(optimizer, kernels);
    return optimizer->apart ? cm3_slices_gather_weights(optimizer, kernels) : CM3_OK;
}

double cm3_learning_rate(const cm3_train_options *o, int64_t step) {
    double peak = o->lr, least = peak * o->min_lr_ratio;
    if (step < o->warmup) return peak * (double)(step + 1) / (double)o->warmup;
    if (o->schedule == CM3_SCHEDULE_CONSTANT || o->steps <= o->warmup) return peak;
    double done = (double)(step - o->warmup) / (double)(o->steps - o->warmup);
    if (done > 1) done = 1;
    if (o->schedule == CM3_SCHEDULE_LINEAR) return peak + (least - peak) * done;
    return least + (peak - least) * 0.5 * (1 + cos(3.14159265358979323846 * done));
}

/* --- a step --------------------------------------------------------------------------------------------------------
 */

double cm3_optimizer_squares(const cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    double sum = 0;
    if (!optimizer->pieces) {
        for (size_t i = 0; i < optimizer->count; i++) {
            const cm3_tensor *tensor = optimizer->parameters[i].tensor;
            sum += kernels->sum_squares(tensor->grad, tensor->count);
        }
        return sum;
    }
    size_t next = 0;
    cm3_stretch s;
    while (cm3_slices_next(optimizer, optimizer->begin, optimizer->begin + optimizer->slice, &next, &s)) {
        sum += kernels->sum_squares(s.parameter->tensor->grad + s.first, s.count);
    }
    return sum;
}

double cm3_optimizer_norm(const cm3_optimizer *optimizer, double squares) {
    return sqrt(squares) * (1.0 / optimizer->options->accumulation);
}

typedef struct cm3_update {
    const cm3_kernels *kernels;
    cm3_stretch stretch;
    float *values, *m, *v, *average; /**< of the stretch */
    cm3_adamw adamw;
    float keep; /**< of the average */
} cm3_update;

static void update_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_update *u = arg;
    cm3_tensor *t = u->stretch.parameter->tensor;
    float *data = u->values + begin, *grad = t->grad + u->stretch.first + begin;
    uint16_t *shadow = t->bf16 ? t->bf16 + u->stretch.first + begin : NULL;
    u->kernels->adamw(data, shadow, u->m + begin, u->v + begin, grad, end - begin, &u->adamw);
    for (int64_t i = begin; u->average && i < end; i++)
        u->average[i] += (1 - u->keep) * (data[i - begin] - u->average[i]);
}

static cm3_update update_of(const cm3_optimizer *optimizer, const cm3_kernels *kernels, double norm) {
    const cm3_train_options *o = optimizer->options;
    const int64_t t = optimizer->step + 1;
    const double clip = o->clip_norm > 0 && norm > (double)o->clip_norm ? (double)o->clip_norm / norm : 1;
    cm3_update update = {.kernels = kernels};
    update.adamw = (cm3_adamw){
        .lr = (float)cm3_learning_rate(o, optimizer->step),
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .epsilon = o->epsilon,
        .correction1 = (float)(1 - pow(o->beta1, (double)t)),
        .correction2 = (float)(1 - pow(o->beta2, (double)t)),
        .grad_scale = (float)(1.0 / o->accumulation * clip),
    };
    /* An average that begins at the first weights must forget them: its horizon grows with the run. */
    double horizon = (1 + (double)t) / (10 + (double)t);
    update.keep = (float)(o->weight_average < horizon ? o->weight_average : horizon);
    return update;
}

cm3_status cm3_optimizer_apply(cm3_optimizer *optimizer, cm3_graph *graph, double norm) {
    cm3_update update = update_of(optimizer, graph->kernels, norm);
    size_t next = 0;
    while (cm3_slices_next(optimizer, optimizer->begin, optimizer->begin + optimizer->slice, &next, &update.stretch)) {
        float *const *moments = optimizer->moments;
        const int64_t at = update.stretch.offset;
        update.values = cm3_slices_values(optimizer, &update.stretch);
        update.m = moments[CM3_MOMENT_M] + at;
        update.v = moments[CM3_MOMENT_V] + at;
        update.average = moments[CM3_MOMENT_AVERAGE] ? moments[CM3_MOMENT_AVERAGE] + at : NULL;
        update.adamw.weight_decay = update.stretch.parameter->decay ? optimizer->options->weight_decay : 0;
        cm3_parallel_for(graph->team, update.stretch.count, 1 << 15, update_range, &update);
    }
    cm3_optimizer_skip(optimizer, graph);
    return cm3_slices_gather_weights(optimizer, graph->kernels);
}

static void zero_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    memset((float *)arg + begin, 0, (size_t)(end - begin) * sizeof(float));
}

void cm3_optimizer_skip(cm3_optimizer *optimizer, cm3_graph *graph) {
    cm3_parallel_for(graph->team, optimizer->total, 1 << 16, zero_range, optimizer->gradients);
    optimizer->step++;
}

cm3_status cm3_optimizer_step(cm3_optimizer *optimizer, cm3_graph *graph, double *norm) {
    *norm = cm3_optimizer_norm(optimizer, cm3_optimizer_squares(optimizer, graph->kernels));
    if (!isfinite(*norm)) {
        return cm3_fail(optimizer->context, CM3_ERROR_FORMAT, "step %lld: the gradient is not finite",
                        (long long)optimizer->step + 1);
    }
    return cm3_optimizer_apply(optimizer, graph, *norm);
}

/* --- averages -------------------------------------------------------------------------------------------------------
 */

cm3_status cm3_optimizer_swap_average(cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    float *averages = optimizer->moments[CM3_MOMENT_AVERAGE];
    size_t next = 0;
    cm3_stretch s;
    if (!averages) return CM3_OK;
    while (cm3_slices_next(optimizer, optimizer->begin, optimizer->begin + optimizer->slice, &next, &s)) {
        float *data = cm3_slices_values(optimizer, &s), *average = averages + s.offset;
        for (int64_t i = 0; i < s.count; i++) {
            float value = data[i];
            data[i] = average[i];
            average[i] = value;
        }
    }
    round_own(optimizer, kernels);
    return cm3_slices_gather_weights(optimizer, kernels);
}

/* --- values that lie apart ------------------------------------------------------------------------------------------
 */

bool cm3_optimizer_can_part(const cm3_optimizer *optimizer) {
    return optimizer->slice < optimizer->total && optimizer->options->compute == CM3_COMPUTE_BF16;
}

/** This rank's elements of a parameter. */
static cm3_stretch own_stretch(const cm3_optimizer *optimizer, cm3_optimized *p) {
    const int64_t slice_end = optimizer->begin + optimizer->slice, end = p->at + p->tensor->count;
    const int64_t from = p->at > optimizer->begin ? p->at : optimizer->begin, to = end < slice_end ? end : slice_end;
    return from < to ? (cm3_stretch){p, from - p->at, to - from, from - optimizer->begin} : (cm3_stretch){p, 0, 0, 0};
}

cm3_status cm3_optimizer_take_over(cm3_optimizer *optimizer) {
    if (!cm3_optimizer_can_part(optimizer)) return CM3_OK;
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_optimized *p = &optimizer->parameters[i];
        cm3_tensor *tensor = p->tensor;
        const bool apart = p->reading == CM3_READ_BF16;
        const cm3_stretch s = apart ? own_stretch(optimizer, p) : (cm3_stretch){p, 0, tensor->count, 0};
        const size_t bytes = (size_t)s.count * sizeof(float);
        if (s.count) {
            p->own = cm3_alloc(optimizer->context, bytes);
            if (!p->own) return cm3_fail_memory(optimizer->context, bytes, "optimizer");
            memcpy(p->own, cm3_f32(tensor) + s.first, bytes);
        }
        tensor->data = apart ? NULL : p->own;
        p->apart = apart;
        optimizer->apart = optimizer->apart || apart;
    }
    return CM3_OK;
}

cm3_status cm3_optimizer_bring_together(cm3_optimizer *optimizer) {
    if (!optimizer->apart) return CM3_OK;
    size_t next = 0;
    cm3_stretch s;
    while (cm3_slices_next(optimizer, optimizer->begin, optimizer->begin + optimizer->slice, &next, &s)) {
        memcpy(optimizer->gradients + optimizer->begin + s.offset, cm3_slices_values(optimizer, &s),
               (size_t)s.count * sizeof(float));
    }
    for (int64_t at = 0, count; at < optimizer->total; at += count) {
        const int64_t owner = at / optimizer->slice, left = (owner + 1) * optimizer->slice - at;
        count = left < PIECES ? left : PIECES;
        CM3_TRY(cm3_ranks_broadcast(optimizer->ranks, optimizer->gradients + at, (size_t)count * sizeof(float),
                                    (int32_t)owner));
    }
    for (size_t i = 0; i < optimizer->count; i++) {
        const cm3_optimized *p = &optimizer->parameters[i];
        if (p->apart) p->tensor->data = optimizer->gradients + p->at;
    }
    return CM3_OK;
}

void cm3_optimizer_part_again(cm3_optimizer *optimizer) {
    if (!optimizer->apart) return;
    for (size_t i = 0; i < optimizer->count; i++) {
        if (optimizer->parameters[i].apart) optimizer->parameters[i].tensor->data = NULL;
    }
    memset(optimizer->gradients, 0, (size_t)optimizer->total * sizeof(float));
}

cm3_optimizer_memory cm3_optimizer_bytes(const cm3_optimizer *optimizer) {
    cm3_optimizer_memory memory = {0, 0};
    for (int i = 0; i < 3; i++) memory.moments += optimizer->moments[i] != NULL;
    memory.moments *= (uint64_t)optimizer->slice * sizeof(float);
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_optimized *p = &optimizer->parameters[i];
        const int64_t held = p->apart ? own_stretch(optimizer, p).count : p->tensor->count;
        memory.weights += (uint64_t)held * sizeof(float);
    }
    return memory;
}
