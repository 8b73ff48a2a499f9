/* AdamW. */
#include "train/optimizer.h"

#include <math.h>

#include "base/status.h"

void cm3_optimizer_init(cm3_context *context, const cm3_train_options *options, cm3_optimizer *optimizer) {
    *optimizer = (cm3_optimizer){.context = context, .options = options};
}

static float *zeros(cm3_context *context, const cm3_tensor *tensor) {
    return cm3_calloc(context, (size_t)tensor->count, sizeof(float));
}

cm3_status cm3_optimizer_add(cm3_optimizer *optimizer, const char *name, cm3_tensor *tensor, bool decay, bool shadow) {
    cm3_context *context = optimizer->context;
    CM3_TRY(cm3_grow(context, &optimizer->parameters, &optimizer->capacity, optimizer->count + 1,
                     sizeof *optimizer->parameters, "optimizer"));
    cm3_optimized *p = &optimizer->parameters[optimizer->count++];
    *p = (cm3_optimized){
        .name = name, .tensor = tensor, .decay = decay, .m = zeros(context, tensor), .v = zeros(context, tensor)};
    tensor->grad = zeros(context, tensor);
    tensor->wants_grad = tensor->has_grad = true;
    if (shadow) tensor->bf16 = cm3_calloc(context, (size_t)tensor->count, sizeof *tensor->bf16);
    bool averaged = optimizer->options->weight_average > 0;
    if (averaged) p->average = zeros(context, tensor);
    if (!p->m || !p->v || !tensor->grad || (shadow && !tensor->bf16) || (averaged && !p->average)) {
        return cm3_fail_memory(context, (size_t)tensor->count * sizeof(float), "optimizer");
    }
    if (averaged) memcpy(p->average, tensor->data, (size_t)tensor->count * sizeof(float));
    return CM3_OK;
}

void cm3_optimizer_clear(cm3_optimizer *optimizer) {
    cm3_context *context = optimizer->context;
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_optimized *p = &optimizer->parameters[i];
        cm3_free(context, p->m);
        cm3_free(context, p->v);
        cm3_free(context, p->average);
        cm3_free(context, p->tensor->grad);
        cm3_free(context, p->tensor->bf16);
        p->tensor->grad = NULL;
        p->tensor->bf16 = NULL;
    }
    cm3_free(context, optimizer->parameters);
    optimizer->parameters = NULL;
    optimizer->count = 0;
}

void cm3_optimizer_refresh(cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_tensor *tensor = optimizer->parameters[i].tensor;
        if (tensor->bf16) kernels->f32_to_bf16(tensor->bf16, tensor->data, tensor->count);
    }
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

typedef struct cm3_update {
    const cm3_kernels *kernels;
    cm3_optimized *parameter;
    cm3_adamw adamw;
    float keep; /**< of the average */
} cm3_update;

static void update_range(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_update *u = arg;
    cm3_optimized *p = u->parameter;
    cm3_tensor *t = p->tensor;
    float *data = (float *)t->data + begin;
    u->kernels->adamw(data, t->bf16 ? t->bf16 + begin : NULL, p->m + begin, p->v + begin, t->grad + begin, end - begin,
                      &u->adamw);
    memset(t->grad + begin, 0, (size_t)(end - begin) * sizeof(float));
    for (int64_t i = begin; p->average && i < end; i++)
        p->average[i] += (1 - u->keep) * (((float *)t->data)[i] - p->average[i]);
}

cm3_status cm3_optimizer_step(cm3_optimizer *optimizer, cm3_graph *graph, double *norm) {
    const cm3_train_options *o = optimizer->options;
    double sum = 0, share = 1.0 / o->accumulation;
    for (size_t i = 0; i < optimizer->count; i++) {
        const cm3_tensor *tensor = optimizer->parameters[i].tensor;
        sum += graph->kernels->sum_squares(tensor->grad, tensor->count);
    }
    *norm = sqrt(sum) * share;
    if (!isfinite(*norm)) {
        return cm3_fail(optimizer->context, CM3_ERROR_FORMAT, "step %lld: the gradient is not finite",
                        (long long)optimizer->step + 1);
    }
    int64_t t = optimizer->step + 1;
    double clip = o->clip_norm > 0 && *norm > o->clip_norm ? o->clip_norm / *norm : 1;
    cm3_update update = {.kernels = graph->kernels};
    update.adamw = (cm3_adamw){
        .lr = (float)cm3_learning_rate(o, optimizer->step),
        .beta1 = o->beta1,
        .beta2 = o->beta2,
        .epsilon = o->epsilon,
        .correction1 = (float)(1 - pow(o->beta1, (double)t)),
        .correction2 = (float)(1 - pow(o->beta2, (double)t)),
        .grad_scale = (float)(share * clip),
    };
    /* An average that begins at the first weights must forget them: its horizon grows with the run. */
    double horizon = (1 + (double)t) / (10 + (double)t);
    update.keep = (float)(o->weight_average < horizon ? o->weight_average : horizon);
    for (size_t i = 0; i < optimizer->count; i++) {
        update.parameter = &optimizer->parameters[i];
        update.adamw.weight_decay = update.parameter->decay ? o->weight_decay : 0;
        cm3_parallel_for(graph->team, update.parameter->tensor->count, 1 << 15, update_range, &update);
    }
    optimizer->step = t;
    return CM3_OK;
}

void cm3_optimizer_swap_average(cm3_optimizer *optimizer, const cm3_kernels *kernels) {
    for (size_t i = 0; i < optimizer->count; i++) {
        cm3_optimized *p = &optimizer->parameters[i];
        float *data = p->tensor->data;
        for (int64_t j = 0; p->average && j < p->tensor->count; j++) {
            float value = data[j];
            data[j] = p->average[j];
            p->average[j] = value;
        }
    }
    cm3_optimizer_refresh(optimizer, kernels);
}
