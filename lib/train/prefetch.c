/* The background loader. */
#include "train/prefetch.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>

#include "base/parallel.h"
#include "base/status.h"

#define CM3_MAX_SLOTS 8

typedef struct cm3_slot {
    void *batch;
    uint64_t position; /**< behind it */
    cm3_status status;
    char message[512];
} cm3_slot;

struct cm3_prefetch {
    cm3_context *context;
    cm3_prefetch_source source;
    int32_t batch; /**< of the step: the next one */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cm3_slot slots[CM3_MAX_SLOTS];
    int count;
    uint64_t made, taken; /**< batches; slot of batch i is i % count */
    bool holding, stop;
};

/** Passes over the step's batches before `end`. */
static cm3_status skip(cm3_prefetch *p, int32_t end) {
    cm3_prefetch_source *s = &p->source;
    for (; p->batch < end; p->batch++) CM3_TRY(s->maker(s->arg, s->dataset, &s->position, NULL));
    return CM3_OK;
}

/** The next batch of one's own, and, behind the last one of a step, what others make of it. */
static cm3_status make(cm3_prefetch *p, void *batch) {
    cm3_prefetch_source *s = &p->source;
    CM3_TRY(skip(p, s->share.first));
    CM3_TRY(s->maker(s->arg, s->dataset, &s->position, batch));
    if (++p->batch < s->share.first + s->share.count) return CM3_OK;
    CM3_TRY(skip(p, s->share.batches));
    p->batch = 0;
    return CM3_OK;
}

static void *load(void *pointer) {
    cm3_prefetch *p = pointer;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (!p->stop && p->made - p->taken + (uint64_t)p->holding >= (uint64_t)p->count)
            pthread_cond_wait(&p->changed, &p->lock);
        bool stop = p->stop;
        cm3_slot *slot = &p->slots[p->made % (uint64_t)p->count];
        pthread_mutex_unlock(&p->lock);
        if (stop) return NULL;
        slot->status = make(p, slot->batch);
        slot->position = p->source.position;
        if (slot->status != CM3_OK)
            snprintf(slot->message, sizeof slot->message, "%s", cm3_context_message(p->context));
        pthread_mutex_lock(&p->lock);
        p->made++;
        p->stop = p->stop || slot->status != CM3_OK;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
    }
}

static void free_all(cm3_prefetch *p) {
    for (int i = 0; i < p->count; i++) cm3_free(p->context, p->slots[i].batch);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    cm3_free(p->context, p);
}

cm3_status cm3_prefetch_start(cm3_context *context, const cm3_prefetch_source *source, int slots,
                              cm3_prefetch **prefetch) {
    *prefetch = NULL;
    cm3_prefetch *p = cm3_calloc(context, 1, sizeof *p);
    if (!p) return cm3_fail_memory(context, sizeof *p, "loader");
    p->context = context;
    p->source = *source;
    p->count = slots < 2 ? 2 : slots > CM3_MAX_SLOTS ? CM3_MAX_SLOTS : slots;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    for (int i = 0; i < p->count; i++) {
        p->slots[i].batch = cm3_alloc(context, source->batch_bytes);
        if (!p->slots[i].batch) {
            free_all(p);
            return cm3_fail_memory(context, source->batch_bytes, "loader");
        }
    }
    sigset_t before;
    cm3_signals_block(&before);
    int error = pthread_create(&p->thread, NULL, load, p);
    cm3_signals_restore(&before);
    if (error) {
        free_all(p);
        return cm3_fail(context, CM3_ERROR_THREAD, "the loader's thread could not be started");
    }
    *prefetch = p;
    return CM3_OK;
}

cm3_status cm3_prefetch_next(cm3_prefetch *p, void **batch, uint64_t *position) {
    pthread_mutex_lock(&p->lock);
    p->holding = false;
    pthread_cond_broadcast(&p->changed);
    while (p->made == p->taken && !p->stop) pthread_cond_wait(&p->changed, &p->lock);
    bool there = p->made != p->taken;
    cm3_slot *slot = &p->slots[p->taken % (uint64_t)p->count];
    if (there && slot->status == CM3_OK) {
        p->taken++;
        p->holding = true;
    }
    pthread_mutex_unlock(&p->lock);
    if (!there) return cm3_fail(p->context, CM3_ERROR_CANCELLED, "the loader was stopped");
    if (slot->status != CM3_OK) return cm3_fail(p->context, slot->status, "%s", slot->message);
    *batch = slot->batch;
    *position = slot->position;
    return CM3_OK;
}

void cm3_prefetch_stop(cm3_prefetch *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->stop = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    free_all(p);
}
