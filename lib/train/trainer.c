/* What all trainers share. */
#include "train/trainer.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/options.h"
#include "files/hash.h"
#include "train/agreement.h"

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
        {o->skip_steps >= 0, "skip_steps must be 0 or more"},
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

/** The run's directory, which the first rank alone writes to. */
static cm3_status make_directory(cm3_trainer *trainer) {
    cm3_context *context = trainer->context;
    const char *name = trainer->options.run_dir;
    char path[4096];
    int length = snprintf(path, sizeof path, "%s/checkpoint.safetensors", name);
    if (length >= (int)sizeof path) return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "run_dir is too long");
    trainer->checkpoint_path = cm3_strndup(context, path, (size_t)length);
    if (!trainer->checkpoint_path) return cm3_fail_memory(context, (size_t)length, "trainer");
    struct stat info;
    if (trainer->ranks.comm.rank > 0 || mkdir(name, 0777) == 0) return CM3_OK;
    if (errno == EEXIST && (stat(name, &info) != 0 || S_ISDIR(info.st_mode))) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_IO, "%s: the directory could not be made: %s", name, strerror(errno));
}

static cm3_status load_data(cm3_trainer *trainer) {
    cm3_context *context = trainer->context;
    const cm3_train_options *o = &trainer->options;
    CM3_TRY(cm3_dataset_load(context, o->data, o->data_count, o->seed, true, o->memory_limit, &trainer->data));
    if (!o->validation_count) return CM3_OK;
    return cm3_dataset_load(context, o->validation, o->validation_count, o->seed, true, o->memory_limit,
                            &trainer->validation);
}

cm3_status cm3_trainer_init(cm3_context *context, const cm3_train_options *options, cm3_status kind_status,
                            const cm3_trainer_kind *kind, cm3_trainer **out) {
    *out = NULL;
    cm3_train_options own = defaults;
    cm3_ranks ranks;
    CM3_TRY(cm3_options_read(context, &own, sizeof own, options, "cm3_train_options"));
    CM3_TRY(cm3_ranks_init(context, own.comm, &ranks));
    cm3_trainer *trainer = cm3_calloc(context, 1, sizeof *trainer);
    if (!trainer) return cm3_ranks_agree(&ranks, cm3_fail_memory(context, sizeof *trainer, "trainer"));
    *out = trainer;
    trainer->context = context;
    trainer->kind = kind;
    trainer->options = own;
    trainer->ranks.context = context;
    trainer->ranks.comm = ranks.comm;
    atomic_init(&trainer->ranks.broken, CM3_OK);
    atomic_init(&trainer->cancelled, 0);
    cm3_context_retain(context);
    cm3_optimizer_init(context, &trainer->options, &trainer->optimizer);
    CM3_TRY(kind_status);
    CM3_TRY(check_options(context, &own));
    if (own.compute == CM3_COMPUTE_AUTO) {
        const bool bf16 = cm3_context_cpu(context) >= CM3_CPU_AVX512_BF16;
        trainer->options.compute = bf16 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    }
    CM3_TRY(make_directory(trainer));
    CM3_TRY(load_data(trainer));
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
                        .ranks = &t->ranks,
                        .optimizers = {&t->optimizer, t->second},
                        .extra_count = t->extra_count};
    memcpy(c.extra, t->extra, sizeof c.extra);
    c.numbers[c.number_count++] = &t->position;
    c.numbers[c.number_count++] = &t->samples;
    c.numbers[c.number_count++] = &t->tokens;
    return c;
}

/* --- the last part of creation -------------------------------------------------------------------------------------
 */

/** A sum over all weights, which must be the same on all ranks before they learn. */
static uint64_t sum_weights(const cm3_optimizer *optimizer) {
    uint64_t sum = 0;
    for (size_t i = 0; optimizer && i < optimizer->count; i++) {
        const cm3_tensor *tensor = optimizer->parameters[i].tensor;
        const uint64_t both[] = {sum, cm3_hash(tensor->data, (size_t)tensor->count * sizeof(float))};
        sum = cm3_hash(both, sizeof both);
    }
    return sum;
}

/** All that ranks must have alike, as JSON; freed by free(). */
static char *describe(const cm3_trainer *trainer) {
    char validation[17] = "none", weights[2][17];
    json_t *all = json_loads(trainer->settings, 0, NULL);
    if (trainer->validation)
        snprintf(validation, sizeof validation, "%016llx", (unsigned long long)trainer->validation->sum);
    snprintf(weights[0], sizeof weights[0], "%016llx", (unsigned long long)sum_weights(&trainer->optimizer));
    snprintf(weights[1], sizeof weights[1], "%016llx", (unsigned long long)sum_weights(trainer->second));
    json_t *more = json_pack("{s:s,s:s,s:i,s:i,s:i,s:s,s:s,s:s}", "kind", trainer->kind->name, "version", cm3_version(),
                             "ranks", (int)trainer->ranks.comm.size, "resume", trainer->options.resume != 0,
                             "skip_steps", (int)trainer->options.skip_steps, "validation", validation, "weights",
                             weights[0], "weights of the discriminator", weights[1]);
    char *text = NULL;
    if (all && more && json_object_update(all, more) == 0) text = json_dumps(all, JSON_COMPACT | JSON_SORT_KEYS);
    json_decref(all);
    json_decref(more);
    return text;
}

/** What this rank alone has to do before the others are needed. */
static cm3_status prepare(cm3_trainer *trainer) {
    const int32_t size = trainer->ranks.comm.size;
    if (!trainer->kind->splits_batches && trainer->options.accumulation % size) {
        return cm3_fail(trainer->context, CM3_ERROR_INVALID_ARGUMENT,
                        "training options: accumulation is %d: %d processes cannot share out so many micro-steps",
                        (int)trainer->options.accumulation, (int)size);
    }
    CM3_TRY(cm3_optimizer_lay(&trainer->optimizer, &trainer->ranks));
    return cm3_buckets_create(&trainer->ranks, &trainer->optimizer, trainer->second, &trainer->buckets);
}

static cm3_status compare(cm3_trainer *trainer) {
    if (cm3_ranks_alone(&trainer->ranks)) return CM3_OK;
    char *text = describe(trainer);
    cm3_status status = text ? CM3_OK : cm3_fail_memory(trainer->context, 0, "settings");
    status = cm3_ranks_agree(&trainer->ranks, status);
    if (status == CM3_OK) status = cm3_ranks_compare(&trainer->ranks, text);
    free(text);
    return status;
}

/** What need not be whole on each rank is held in slices from here on. */
static cm3_status part_weights(cm3_trainer *trainer) {
    if (!cm3_optimizer_can_part(&trainer->optimizer)) return CM3_OK;
    CM3_TRY(cm3_optimizer_take_over(&trainer->optimizer));
    if (trainer->second) CM3_TRY(cm3_optimizer_take_over(trainer->second));
    return trainer->kind->moved_out(trainer);
}

static cm3_status begin(cm3_trainer *trainer, cm3_status status) {
    if (status == CM3_OK) status = prepare(trainer);
    CM3_TRY(cm3_ranks_agree(&trainer->ranks, status));
    CM3_TRY(compare(trainer));
    CM3_TRY(cm3_ranks_agree(&trainer->ranks, part_weights(trainer)));
    cm3_checkpoint checkpoint = checkpoint_of(trainer);
    if (trainer->options.resume) CM3_TRY(cm3_checkpoint_read(trainer->context, &checkpoint));
    CM3_TRY(cm3_optimizer_refresh(&trainer->optimizer, trainer->graph->kernels));
    if (trainer->second) CM3_TRY(cm3_optimizer_refresh(trainer->second, trainer->graph->kernels));
    const cm3_prefetch_source source = {.dataset = trainer->data,
                                        .position = trainer->position,
                                        .maker = trainer->kind->maker,
                                        .arg = trainer,
                                        .batch_bytes = trainer->batch_bytes,
                                        .share = cm3_trainer_share(trainer)};
    return cm3_ranks_agree(&trainer->ranks, cm3_prefetch_start(trainer->context, &source, 3, &trainer->prefetch));
}

cm3_status cm3_trainer_finish(cm3_trainer *made, cm3_status status, cm3_trainer **trainer) {
    if (!made) return status;
    status = begin(made, status);
    if (status != CM3_OK) {
        cm3_trainer_destroy(made);
        return status;
    }
    *trainer = made;
    return CM3_OK;
}

/* --- steps ---------------------------------------------------------------------------------------------------------
 */

typedef struct cm3_step_call {
    cm3_trainer *trainer;
    cm3_train_report report;
} cm3_step_call;

static cm3_status compute_step(void *arg) {
    cm3_step_call *call = arg;
    return cm3_trainer_compute_step(call->trainer, &call->report);
}

static cm3_status compute_validation(void *arg) {
    cm3_step_call *call = arg;
    return cm3_trainer_compute_validation(call->trainer, &call->report);
}

static cm3_status give_report(cm3_trainer *trainer, const cm3_train_report *own, cm3_train_report *report) {
    return report ? cm3_options_write(trainer->context, report, own, sizeof *own, "cm3_train_report") : CM3_OK;
}

/** A cancelled call takes the request with it, and says so. */
static cm3_status end_cancelled(cm3_trainer *trainer, cm3_status status) {
    if (status != CM3_ERROR_CANCELLED) return status;
    atomic_store(&trainer->cancelled, 0);
    if (!cm3_ranks_alone(&trainer->ranks)) return status; /* whose call it was has been told */
    return cm3_fail(trainer->context, status, "the call was cancelled");
}

/** Once ranks are apart, what needs them all is over. */
static cm3_status check_together(const cm3_trainer *trainer) {
    if (!atomic_load(&trainer->ranks.broken)) return CM3_OK;
    return cm3_fail(trainer->context, CM3_ERROR_BUSY,
                    "the processes of this run are apart; make the trainer anew to go on from its checkpoint");
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

cm3_status cm3_trainer_validate(cm3_trainer *trainer, cm3_train_report *report) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    CM3_TRY(check_together(trainer));
    if (!trainer->validation) return cm3_fail(trainer->context, CM3_ERROR_NOT_FOUND, "the run has no validation data");
    cm3_step_call call = {.trainer = trainer};
    cm3_status status = cm3_context_run(trainer->context, compute_validation, &call);
    if (atomic_load(&trainer->ranks.broken)) trainer->failed = true;
    CM3_TRY(end_cancelled(trainer, status));
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
    cm3_trainer *t = (cm3_trainer *)(uintptr_t)trainer;
    cm3_checkpoint checkpoint = checkpoint_of(trainer);
    cm3_status status = cm3_checkpoint_write(trainer->context, &checkpoint);
    t->failed = t->failed || atomic_load(&t->ranks.broken);
    t->ranks.settled = false;
    return status;
}

cm3_status cm3_trainer_export(const cm3_trainer *trainer, const char *path, cm3_compute weights) {
    if (!trainer) return CM3_ERROR_INVALID_ARGUMENT;
    if (!path || weights < CM3_COMPUTE_AUTO || weights > CM3_COMPUTE_BF16) {
        return cm3_fail(trainer->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_trainer_export: path is NULL or weights is unknown");
    }
    CM3_TRY(check_together(trainer));
    cm3_trainer *t = (cm3_trainer *)(uintptr_t)trainer;
    const cm3_kernels *kernels = trainer->graph->kernels;
    const bool writes = t->ranks.comm.rank == 0;
    cm3_status status = cm3_optimizer_swap_average(&t->optimizer, kernels);
    if (status == CM3_OK) status = cm3_optimizer_bring_together(&t->optimizer);
    if (status == CM3_OK && writes)
        status = t->kind->export_to(trainer, path, weights == CM3_COMPUTE_F32 ? CM3_F32 : CM3_BF16);
    status = cm3_ranks_agree(&t->ranks, status);
    t->ranks.settled = false;
    cm3_optimizer_part_again(&t->optimizer);
    cm3_status back = cm3_optimizer_swap_average(&t->optimizer, kernels);
    t->failed = t->failed || atomic_load(&t->ranks.broken);
    return status == CM3_OK ? back : status;
}

void cm3_trainer_cancel(cm3_trainer *trainer) {
    if (trainer) atomic_store(&trainer->cancelled, 1);
}

cm3_status cm3_trainer_load_tokenizer(cm3_context *context, const char *path, cm3_tokenizer **tokenizer) {
    const char *end = strrchr(path, '.');
    if (!end || strcmp(end, ".cm3") != 0) return cm3_tokenizer_load(context, path, tokenizer);
    cm3_model *model = NULL;
    CM3_TRY(cm3_model_load(context, path, NULL, &model));
    cm3_status status = cm3_model_tokenizer(model, tokenizer);
    cm3_model_destroy(model);
    return status;
}

static cm3_status drop_graph(void *arg) {
    cm3_graph_destroy(((cm3_trainer *)arg)->graph);
    return CM3_OK;
}

void cm3_trainer_destroy(cm3_trainer *trainer) {
    if (!trainer || cm3_context_forked(trainer->context)) return; /* the loader is not in a fork's child */
    cm3_context *context = trainer->context;
    cm3_prefetch_stop(trainer->prefetch);
    cm3_buckets_destroy(trainer->buckets);
    cm3_optimizer_clear(&trainer->optimizer);
    if (trainer->kind->destroy) trainer->kind->destroy(trainer);
    if (cm3_context_run(context, drop_graph, trainer) != CM3_OK) drop_graph(trainer);
    cm3_dataset_destroy(trainer->data);
    cm3_dataset_destroy(trainer->validation);
    cm3_free(context, trainer->checkpoint_path);
    cm3_free(context, trainer->settings);
    cm3_free(context, trainer);
    cm3_context_release(context);
}
