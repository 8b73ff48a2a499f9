/* What all trainers share. */
#include "train/trainer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/options.h"

static const cm3_train_options defaults = {
    .struct_size = sizeof defaults,
    .resume = 1,
    .seed = 1,
    .compute = CM3_COMPUTE_AUTO,
    .batch_size = 16,
    .accumulation = 1,
    .steps = 1000,
    .warmup = 100,
    .lr = 1e-3f,
    .min_lr_ratio = 0.05f,
    .schedule = CM3_SCHEDULE_COSINE,
    .beta1 = 0.9f,
    .beta2 = 0.95f,
    .epsilon = 1e-8f,
    .weight_decay = 0.1f,
    .clip_norm = 1,
};

void cm3_train_options_init(cm3_train_options *options) {
    if (options) *options = defaults;
}

static cm3_status check_options(cm3_context *context, const cm3_train_options *o) {
    const struct {
        bool fits;
        const char *rule;
    } rules[] = {
        {o->run_dir && *o->run_dir, "run_dir is missing"},
        {o->data && o->data_count, "there is no data"},
        {o->validation || !o->validation_count, "validation is NULL"},
        {o->compute >= CM3_COMPUTE_AUTO && o->compute <= CM3_COMPUTE_BF16, "compute is none of auto, f32, bf16"},
        {o->batch_size >= 1 && o->batch_size <= 65536, "batch_size must be 1..65536"},
        {o->accumulation >= 1 && o->accumulation <= 65536, "accumulation must be 1..65536"},
        {o->steps >= 1, "steps must be 1 or more"},
        {o->warmup >= 0, "warmup must be 0 or more"},
        {o->lr > 0 && o->lr < 10, "lr must be above 0 and below 10"},
        {o->min_lr_ratio >= 0 && o->min_lr_ratio <= 1, "min_lr_ratio must be 0..1"},
        {o->schedule >= CM3_SCHEDULE_COSINE && o->schedule <= CM3_SCHEDULE_CONSTANT, "schedule is unknown"},
        {o->beta1 >= 0 && o->beta1 < 1 && o->beta2 >= 0 && o->beta2 < 1,
         "beta1 and beta2 must be 0 or more and below 1"},
        {o->epsilon > 0, "epsilon must be above 0"},
        {o->weight_decay >= 0 && o->weight_decay < 100, "weight_decay must be 0 or more"},
        {o->clip_norm >= 0, "clip_norm must be 0 or more"},
        {o->weight_average >= 0 && o->weight_average < 1, "weight_average must be 0 or more and below 1"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        if (!rules[i].fits) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "training options: %s", rules[i].rule);
    }
    return CM3_OK;
}

static cm3_status make_graph(void *arg) {
    cm3_trainer *trainer = arg;
    return cm3_graph_create(trainer->context, &(cm3_graph_options){.record = true, .compute = trainer->options.compute},
                            &trainer->graph);
}

cm3_status cm3_trainer_init(cm3_context *context, const cm3_train_options *options, const cm3_trainer_kind *kind,
                            cm3_trainer **out) {
    *out = NULL;
    cm3_train_options own = defaults;
    CM3_TRY(cm3_options_read(context, &own, sizeof own, options, "cm3_train_options"));
    CM3_TRY(check_options(context, &own));
    if (own.compute == CM3_COMPUTE_AUTO) {
        own.compute = cm3_context_cpu(context) >= CM3_CPU_AVX512_BF16 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    }
    cm3_trainer *trainer = cm3_calloc(context, 1, sizeof *trainer);
    if (!trainer) return cm3_fail_memory(context, sizeof *trainer, "trainer");
    *out = trainer;
    trainer->context = context;
    trainer->kind = kind;
    trainer->options = own;
    atomic_init(&trainer->cancelled, 0);
    cm3_context_retain(context);
    cm3_optimizer_init(context, &trainer->options, &trainer->optimizer);
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/checkpoint.safetensors", own.run_dir);
    if (length >= (int)sizeof path) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "run_dir is too long");
    trainer->run_dir = cm3_strndup(context, own.run_dir, strlen(own.run_dir));
    trainer->checkpoint_path = cm3_strndup(context, path, (size_t)length);
    if (!trainer->run_dir || !trainer->checkpoint_path) return cm3_fail_memory(context, (size_t)length, "trainer");
    struct stat info;
    if (mkdir(own.run_dir, 0777) && (errno != EEXIST || (stat(own.run_dir, &info) == 0 && !S_ISDIR(info.st_mode)))) {
        return cm3_fail(context, CM3_ERROR_IO, "%s: the directory could not be made: %s", own.run_dir, strerror(errno));
    }
    CM3_TRY(cm3_dataset_load(context, own.data, own.data_count, own.seed, true, own.memory_limit, &trainer->data));
    if (own.validation_count) {
        CM3_TRY(cm3_dataset_load(context, own.validation, own.validation_count, own.seed, true, own.memory_limit,
                                 &trainer->validation));
    }
    return cm3_context_run(context, make_graph, trainer);
}

json_t *cm3_trainer_settings(const cm3_trainer *trainer) {
    const cm3_train_options *o = &trainer->options;
    char data[17];
    snprintf(data, sizeof data, "%016llx", (unsigned long long)trainer->data->sum);
    return json_pack("{s:I,s:i,s:i,s:i,s:I,s:I,s:f,s:f,s:i,s:f,s:f,s:f,s:f,s:f,s:f,s:I,s:s}", "seed",
                     (json_int_t)o->seed, "compute", o->compute, "batch_size", o->batch_size, "accumulation",
                     o->accumulation, "steps", (json_int_t)o->steps, "warmup", (json_int_t)o->warmup, "lr",
                     (double)o->lr, "min_lr_ratio", (double)o->min_lr_ratio, "schedule", o->schedule, "beta1",
                     (double)o->beta1, "beta2", (double)o->beta2, "epsilon", (double)o->epsilon, "weight_decay",
                     (double)o->weight_decay, "clip_norm", (double)o->clip_norm, "weight_average",
                     (double)o->weight_average, "records", (json_int_t)trainer->data->count, "data", data);
}

static cm3_checkpoint checkpoint_of(const cm3_trainer *trainer) {
    cm3_trainer *t = (cm3_trainer *)(uintptr_t)trainer;
    cm3_checkpoint c = {.path = t->checkpoint_path,
                        .kind = t->kind->name,
                        .settings = t->settings,
                        .optimizers = {&t->optimizer, t->second},
                        .extra_count = t->extra_count};
    memcpy(c.extra, t->extra, sizeof c.extra);
    c.numbers[c.number_count++] = &t->position;
    c.numbers[c.number_count++] = &t->samples;
    c.numbers[c.number_count++] = &t->tokens;
    return c;
}

cm3_status cm3_trainer_begin(cm3_trainer *trainer) {
    cm3_checkpoint checkpoint = checkpoint_of(trainer);
    bool found = false;
    if (trainer->options.resume) CM3_TRY(cm3_checkpoint_read(trainer->context, &checkpoint, &found));
    cm3_optimizer_refresh(&trainer->optimizer, trainer->graph->kernels);
    if (trainer->second) cm3_optimizer_refresh(trainer->second, trainer->graph->kernels);
    return cm3_prefetch_start(trainer->context, trainer->data, trainer->position, trainer->kind->maker, trainer,
                              trainer->batch_bytes, 3, &trainer->prefetch);
}

/* --- one step ------------------------------------------------------------------------------------------------------
 */

typedef struct cm3_step_call {
    cm3_trainer *trainer;
    cm3_train_report report;
} cm3_step_call;

static cm3_status compute_step(void *arg) {
    cm3_step_call *call = arg;
    cm3_trainer *trainer = call->trainer;
    for (int32_t i = 0; i < trainer->options.accumulation; i++) {
        void *batch = NULL;
        CM3_TRY(cm3_prefetch_next(trainer->prefetch, &batch, &trainer->position));
        cm3_graph_reset(trainer->graph);
        trainer->graph->cancel = &trainer->cancelled;
        CM3_TRY(trainer->kind->micro_step(trainer, batch, &call->report));
    }
    double share = 1.0 / trainer->options.accumulation, norm = 0;
    double *terms[] = {&call->report.loss,       &call->report.l1,           &call->report.l2,
                       &call->report.commitment, &call->report.adversarial,  &call->report.discriminator,
                       &call->report.text_loss,  &call->report.image_loss,   &call->report.code_usage,
                       &call->report.recall,     &call->report.query_recall, &call->report.scale};
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) *terms[i] *= share;
    if (!isfinite(call->report.loss)) {
        return cm3_fail(trainer->context, CM3_ERROR_FORMAT, "step %lld: the loss is not finite",
                        (long long)trainer->optimizer.step + 1);
    }
    call->report.lr = cm3_learning_rate(&trainer->options, trainer->optimizer.step);
    CM3_TRY(cm3_optimizer_step(&trainer->optimizer, trainer->graph, &norm));
    call->report.grad_norm = norm;
    return trainer->kind->after_step ? trainer->kind->after_step(trainer) : CM3_OK;
}

static cm3_status give_report(cm3_trainer *trainer, const cm3_train_report *own, cm3_train_report *report) {
    return report ? cm3_options_write(trainer->context, report, own, sizeof *own, "cm3_train_report") : CM3_OK;
}

/** A cancelled call takes the request with it, and says so. */
static cm3_status end_cancelled(cm3_trainer *trainer, cm3_status status) {
    if (status != CM3_ERROR_CANCELLED) return status;
    atomic_store(&trainer->cancelled, 0);
    return cm3_fail(trainer->context, status, "the call was cancelled");
}

cm3_status cm3_trainer_step(cm3_trainer *trainer, cm3_train_report *report) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    if (trainer->failed) {
        return cm3_fail(trainer->context, CM3_ERROR_BUSY,
                        "a step failed midway; make the trainer anew to go on from its checkpoint");
    }
    uint64_t start = cm3_clock_ns(), samples = trainer->samples, tokens = trainer->tokens;
    cm3_step_call call = {.trainer = trainer};
    cm3_status status = cm3_context_run(trainer->context, compute_step, &call);
    if (status != CM3_OK) {
        trainer->failed = true;
        return end_cancelled(trainer, status);
    }
    call.report.step = trainer->optimizer.step;
    call.report.steps = trainer->options.steps;
    call.report.samples = trainer->samples;
    call.report.tokens = trainer->tokens;
    call.report.seconds = cm3_clock_since(start);
    uint64_t done = trainer->tokens ? trainer->tokens - tokens : trainer->samples - samples;
    call.report.rate = (double)done / (call.report.seconds > 0 ? call.report.seconds : 1e-9);
    return give_report(trainer, &call.report, report);
}

/* --- validation, saving --------------------------------------------------------------------------------------------
 */

static cm3_status compute_validation(void *arg) {
    cm3_step_call *call = arg;
    cm3_trainer *trainer = call->trainer;
    void *batch = cm3_alloc(trainer->context, trainer->batch_bytes);
    if (!batch) return cm3_fail_memory(trainer->context, trainer->batch_bytes, "validation");
    cm3_optimizer_swap_average(&trainer->optimizer, trainer->graph->kernels);
    trainer->graph->record = false;
    trainer->graph->cancel = &trainer->cancelled;
    cm3_status status = CM3_OK;
    uint64_t position = 0, batches = 0;
    while (status == CM3_OK && position < trainer->validation->count) {
        status = trainer->kind->maker(trainer, trainer->validation, &position, batch);
        cm3_graph_reset(trainer->graph);
        if (status == CM3_OK) status = trainer->kind->measure(trainer, batch, &call->report);
        batches++;
    }
    trainer->graph->record = true;
    cm3_graph_reset(trainer->graph);
    cm3_optimizer_swap_average(&trainer->optimizer, trainer->graph->kernels);
    cm3_free(trainer->context, batch);
    double *terms[] = {&call->report.loss,       &call->report.l1,        &call->report.l2,
                       &call->report.commitment, &call->report.text_loss, &call->report.image_loss,
                       &call->report.code_usage, &call->report.recall,    &call->report.query_recall,
                       &call->report.scale};
    for (size_t i = 0; batches && i < sizeof terms / sizeof *terms; i++) *terms[i] /= (double)batches;
    return status;
}

cm3_status cm3_trainer_validate(cm3_trainer *trainer, cm3_train_report *report) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    if (!trainer->validation) return cm3_fail(trainer->context, CM3_ERROR_NOT_FOUND, "the run has no validation data");
    cm3_step_call call = {.trainer = trainer};
    CM3_TRY(end_cancelled(trainer, cm3_context_run(trainer->context, compute_validation, &call)));
    call.report.step = trainer->optimizer.step;
    call.report.steps = trainer->options.steps;
    return give_report(trainer, &call.report, report);
}

cm3_status cm3_trainer_progress(const cm3_trainer *trainer, int64_t *step, int64_t *steps) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    if (step) *step = trainer->optimizer.step;
    if (steps) *steps = trainer->options.steps;
    return CM3_OK;
}

cm3_status cm3_trainer_checkpoint(const cm3_trainer *trainer) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    if (trainer->failed) {
        return cm3_fail(trainer->context, CM3_ERROR_BUSY, "a step failed midway: its state is not worth keeping");
    }
    cm3_checkpoint checkpoint = checkpoint_of(trainer);
    return cm3_checkpoint_write(trainer->context, &checkpoint);
}

cm3_status cm3_trainer_export(const cm3_trainer *trainer, const char *path, cm3_compute weights) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    if (!path || weights < CM3_COMPUTE_AUTO || weights > CM3_COMPUTE_BF16) {
        return cm3_fail(trainer->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_trainer_export: path is NULL or weights is unknown");
    }
    cm3_optimizer *optimizer = &((cm3_trainer *)(uintptr_t)trainer)->optimizer;
    cm3_optimizer_swap_average(optimizer, trainer->graph->kernels);
    cm3_status status = trainer->kind->export_to(trainer, path, weights == CM3_COMPUTE_F32 ? CM3_F32 : CM3_BF16);
    cm3_optimizer_swap_average(optimizer, trainer->graph->kernels);
    return status;
}

void cm3_trainer_cancel(cm3_trainer *trainer) {
    if (trainer) atomic_store(&trainer->cancelled, 1);
}

static cm3_status drop_graph(void *arg) {
    cm3_graph_destroy(((cm3_trainer *)arg)->graph);
    return CM3_OK;
}

void cm3_trainer_destroy(cm3_trainer *trainer) {
    if (!trainer) return;
    cm3_context *context = trainer->context;
    cm3_prefetch_stop(trainer->prefetch);
    cm3_optimizer_clear(&trainer->optimizer);
    if (trainer->kind->destroy) trainer->kind->destroy(trainer);
    if (cm3_context_run(context, drop_graph, trainer) != CM3_OK) drop_graph(trainer);
    cm3_dataset_destroy(trainer->data);
    cm3_dataset_destroy(trainer->validation);
    cm3_free(context, trainer->run_dir);
    cm3_free(context, trainer->checkpoint_path);
    cm3_free(context, trainer->settings);
    cm3_free(context, trainer);
    cm3_context_release(context);
}
