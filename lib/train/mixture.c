/* Mixtures. */
#include "train/mixture.h"

#include <math.h>
#include <string.h>

#include "base/status.h"
#include "files/json.h"

#define NO_EXAMPLE UINT32_MAX

static const char *task_of(const cm3_sample *sample, uint32_t example) {
    return example == NO_EXAMPLE ? "generate" : sample->examples[example].task;
}

static cm3_mixture_task *find(const cm3_mixture *mixture, const char *name) {
    for (size_t i = 0; i < mixture->task_count; i++) {
        if (strcmp(mixture->tasks[i].task->name, name) == 0) return &mixture->tasks[i];
    }
    return NULL;
}

/** Calls `visit` for each example of the data. */
static cm3_status each(cm3_mixture *mixture,
                       cm3_status (*visit)(cm3_mixture *mixture, uint32_t sample, uint32_t example, void *arg),
                       void *arg) {
    for (size_t i = 0; i < mixture->dataset->count; i++) {
        const cm3_sample *sample = &mixture->dataset->samples[i];
        if (!sample->example_count) CM3_TRY(visit(mixture, (uint32_t)i, NO_EXAMPLE, arg));
        for (int32_t e = 0; e < sample->example_count; e++) {
            CM3_TRY(visit(mixture, (uint32_t)i, (uint32_t)e, arg));
        }
    }
    return CM3_OK;
}

static cm3_status add_task(cm3_mixture *mixture, const cm3_tasks *tasks, const char *name, double weight) {
    cm3_context *context = mixture->dataset->context;
    const cm3_task *task = cm3_tasks_find(tasks, name);
    if (!task) return cm3_fail(context, CM3_ERROR_FORMAT, "there is no template for the task '%.100s'", name);
    size_t count = mixture->task_count + 1;
    cm3_mixture_task *grown = cm3_realloc(context, mixture->tasks, count * sizeof *grown);
    if (!grown) return cm3_fail_memory(context, count * sizeof *grown, "mixture");
    grown[mixture->task_count] = (cm3_mixture_task){.task = task, .weight = weight};
    mixture->tasks = grown;
    mixture->task_count = count;
    return CM3_OK;
}

static cm3_status read_weights(cm3_mixture *mixture, const cm3_tasks *tasks, const char *text) {
    cm3_context *context = mixture->dataset->context;
    json_t *weights = NULL, *value;
    const char *key;
    CM3_TRY(cm3_json_parse(context, "mixture", text, strlen(text), &weights));
    cm3_status status =
        json_is_object(weights) ? CM3_OK : cm3_fail(context, CM3_ERROR_FORMAT, "mixture: not an object");
    json_object_foreach(weights, key, value) {
        double weight = json_number_value(value);
        if (status == CM3_OK && !(weight > 0)) {
            status =
                cm3_fail(context, CM3_ERROR_FORMAT, "mixture: the weight of '%.100s' is not a number above 0", key);
        }
        if (status == CM3_OK) status = add_task(mixture, tasks, key, weight);
    }
    json_decref(weights);
    return status;
}

/** A task that the data have and nobody named. */
static cm3_status name_task(cm3_mixture *mixture, uint32_t sample, uint32_t example, void *tasks) {
    const char *name = task_of(&mixture->dataset->samples[sample], example);
    return find(mixture, name) ? CM3_OK : add_task(mixture, tasks, name, 1);
}

static cm3_status count_example(cm3_mixture *mixture, uint32_t sample, uint32_t example, void *arg) {
    (void)arg;
    cm3_mixture_task *task = find(mixture, task_of(&mixture->dataset->samples[sample], example));
    if (task) task->count++;
    return CM3_OK;
}

static cm3_status place_example(cm3_mixture *mixture, uint32_t sample, uint32_t example, void *arg) {
    uint32_t *next = arg;
    cm3_mixture_task *task = find(mixture, task_of(&mixture->dataset->samples[sample], example));
    if (task) mixture->entries[next[task - mixture->tasks]++] = (cm3_mixture_entry){sample, example};
    return CM3_OK;
}

/** How often each task's examples come in a pass. */
static cm3_status share_out(cm3_mixture *mixture, bool once) {
    double total = 0, weights = 0;
    uint32_t first = 0, largest = 0;
    for (size_t i = 0; i < mixture->task_count; i++) {
        cm3_mixture_task *t = &mixture->tasks[i];
        if (!t->count) {
            return cm3_fail(mixture->dataset->context, CM3_ERROR_NOT_FOUND,
                            "mixture: the data hold no example of the task '%s'", t->task->name);
        }
        t->first = first;
        first += t->count;
        largest = t->count > largest ? t->count : largest;
        total += t->count;
        weights += t->weight;
    }
    for (size_t i = 0; i < mixture->task_count; i++) {
        cm3_mixture_task *t = &mixture->tasks[i];
        double wanted = total * t->weight / weights / t->count;
        t->repeated = once ? 1 : fmin(fmax(wanted, CM3_LEAST_REPEATED), CM3_MOST_REPEATED);
        t->in_pass = (uint32_t)ceil(t->repeated * t->count);
        mixture->size += t->in_pass;
    }
    cm3_context *context = mixture->dataset->context;
    mixture->entry_count = first;
    mixture->entries = cm3_calloc(context, first, sizeof *mixture->entries);
    mixture->order = cm3_calloc(context, mixture->size, sizeof *mixture->order);
    mixture->pool = cm3_calloc(context, largest, sizeof *mixture->pool);
    if (mixture->entries && mixture->order && mixture->pool) return CM3_OK;
    return cm3_fail_memory(context, first * sizeof *mixture->entries, "mixture");
}

static cm3_status fill(cm3_mixture *mixture, const cm3_tasks *tasks, const char *weights, bool once) {
    cm3_context *context = mixture->dataset->context;
    if (weights) CM3_TRY(read_weights(mixture, tasks, weights));
    if (!mixture->task_count) CM3_TRY(each(mixture, name_task, (void *)(uintptr_t)tasks));
    CM3_TRY(each(mixture, count_example, NULL));
    CM3_TRY(share_out(mixture, once));
    uint32_t *next = cm3_calloc(context, mixture->task_count, sizeof *next);
    if (!next) return cm3_fail_memory(context, mixture->task_count * sizeof *next, "mixture");
    for (size_t i = 0; i < mixture->task_count; i++) next[i] = mixture->tasks[i].first;
    cm3_status status = each(mixture, place_example, next);
    cm3_free(context, next);
    return status;
}

cm3_status cm3_mixture_create(const cm3_dataset *dataset, const cm3_tasks *tasks, const char *weights, bool once,
                              cm3_mixture **out) {
    *out = NULL;
    cm3_mixture *mixture = cm3_calloc(dataset->context, 1, sizeof *mixture);
    if (!mixture) return cm3_fail_memory(dataset->context, sizeof *mixture, "mixture");
    mixture->dataset = dataset;
    mixture->seed = dataset->seed;
    mixture->pass = UINT64_MAX;
    cm3_status status = fill(mixture, tasks, weights, once);
    if (status != CM3_OK) {
        cm3_mixture_destroy(mixture);
        return status;
    }
    *out = mixture;
    return CM3_OK;
}

void cm3_mixture_destroy(cm3_mixture *mixture) {
    if (!mixture) return;
    cm3_context *context = mixture->dataset->context;
    cm3_free(context, mixture->tasks);
    cm3_free(context, mixture->entries);
    cm3_free(context, mixture->order);
    cm3_free(context, mixture->pool);
    cm3_free(context, mixture);
}

/** Fisher and Yates. */
static void shuffle(cm3_random *random, uint32_t *list, size_t count) {
    for (size_t i = count; i > 1; i--) {
        size_t other = cm3_random_below(random, i);
        uint32_t swapped = list[i - 1];
        list[i - 1] = list[other];
        list[other] = swapped;
    }
}

/** Each task's items as often as they fit whole, then some of them, drawn anew for each pass; and all of it mixed. */
static void make_pass(cm3_mixture *mixture, uint64_t pass) {
    cm3_random random = cm3_random_make(mixture->seed, 0x4d49580000000000u ^ pass);
    size_t made = 0;
    for (size_t i = 0; i < mixture->task_count; i++) {
        const cm3_mixture_task *t = &mixture->tasks[i];
        for (uint32_t k = 0; k < t->count; k++) mixture->pool[k] = t->first + k;
        shuffle(&random, mixture->pool, t->count);
        for (uint32_t k = 0; k < t->in_pass; k++) mixture->order[made++] = mixture->pool[k % t->count];
    }
    shuffle(&random, mixture->order, mixture->size);
    mixture->pass = pass;
}

cm3_item cm3_mixture_item(const cm3_mixture *mixture, uint32_t number) {
    const cm3_mixture_entry *entry = &mixture->entries[number];
    const cm3_sample *sample = &mixture->dataset->samples[entry->sample];
    size_t t = 0;
    while (number >= mixture->tasks[t].first + mixture->tasks[t].count) t++;
    return (cm3_item){.task = mixture->tasks[t].task,
                      .sample = sample,
                      .example = entry->example == NO_EXAMPLE ? NULL : &sample->examples[entry->example]};
}

cm3_item cm3_mixture_at(cm3_mixture *mixture, uint64_t position) {
    uint64_t pass = position / mixture->size;
    if (pass != mixture->pass) make_pass(mixture, pass);
    return cm3_mixture_item(mixture, mixture->order[position % mixture->size]);
}
