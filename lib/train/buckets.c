/* Gradients on their way between ranks. */
#include "train/buckets.h"

#include <pthread.h>
#include <signal.h>

#include "base/clock.h"
#include "base/parallel.h"
#include "base/status.h"
#include "train/slices.h"

/* Floats of a bucket: 4 to 16 MB; of small models an eighth of all, so that there is something to overlap. */
#define LEAST (1 << 20)
#define MOST (1 << 22)
#define FEWEST (1 << 13)

typedef struct cm3_bucket {
    float *values;
    int64_t begin, count; /**< in the flat array */
    int64_t left;         /**< elements of parameters that are not final yet */
} cm3_bucket;

struct cm3_buckets {
    cm3_context *context;
    cm3_ranks *ranks;
    cm3_optimizer *first;
    cm3_bucket *list; /**< the second's, then the first's */
    size_t count, capacity, second_count;
    size_t final; /**< buckets before this one are final; the computing thread's own */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    /* under the lock */
    size_t posted, done;
    cm3_status status;
    double reduced;
    bool stop;
};

/* --- the plan -------------------------------------------------------------------------------------------------------
 */

static cm3_status add_bucket(cm3_buckets *b, const cm3_optimizer *optimizer, int64_t begin, int64_t end) {
    for (; begin < end; begin += MOST) {
        CM3_TRY(cm3_grow(b->context, &b->list, &b->capacity, b->count + 1, sizeof *b->list, "buckets"));
        const int64_t count = end - begin < MOST ? end - begin : MOST;
        b->list[b->count++] = (cm3_bucket){.values = optimizer->gradients + begin, .begin = begin, .count = count};
    }
    return CM3_OK;
}

/** Cuts behind a parameter once there is enough; one that is larger than a bucket is cut itself. */
static cm3_status plan(cm3_buckets *b, const cm3_optimizer *optimizer) {
    int64_t enough = optimizer->total / 8, begin = 0;
    enough = enough > LEAST ? LEAST : enough < FEWEST ? FEWEST : enough;
    size_t next = 0;
    cm3_stretch s;
    while (cm3_slices_next(optimizer, 0, optimizer->total, &next, &s)) {
        const int64_t end = s.offset + s.count;
        if (s.count >= enough && s.offset > begin) { /* what lies before a large one need not wait for it */
            CM3_TRY(add_bucket(b, optimizer, begin, s.offset));
            begin = s.offset;
        }
        if (end - begin < enough) continue;
        CM3_TRY(add_bucket(b, optimizer, begin, end));
        begin = end;
    }
    return add_bucket(b, optimizer, begin, optimizer->total);
}

/* --- the thread -----------------------------------------------------------------------------------------------------
 */

static void *reduce(void *pointer) {
    cm3_buckets *b = pointer;
    pthread_mutex_lock(&b->lock);
    for (;;) {
        while (!b->stop && b->done == b->posted) pthread_cond_wait(&b->changed, &b->lock);
        if (b->stop) break;
        const cm3_bucket *bucket = &b->list[b->done];
        cm3_status status = b->status;
        pthread_mutex_unlock(&b->lock);
        uint64_t start = cm3_clock_ns();
        if (status == CM3_OK) status = cm3_ranks_reduce_behind(b->ranks, bucket->values, bucket->count);
        double seconds = cm3_clock_since(start);
        pthread_mutex_lock(&b->lock);
        b->status = status;
        b->reduced += seconds;
        b->done++;
        pthread_cond_broadcast(&b->changed);
    }
    pthread_mutex_unlock(&b->lock);
    return NULL;
}

static void free_all(cm3_buckets *b) {
    cm3_context *context = b->context;
    pthread_mutex_destroy(&b->lock);
    pthread_cond_destroy(&b->changed);
    cm3_free(context, b->list);
    cm3_free(context, b);
}

static cm3_status start(cm3_buckets *b) {
    sigset_t before;
    cm3_signals_block(&before);
    int error = pthread_create(&b->thread, NULL, reduce, b);
    cm3_signals_restore(&before);
    return error ? cm3_fail(b->context, CM3_ERROR_THREAD, "the communication thread could not be started") : CM3_OK;
}

cm3_status cm3_buckets_create(cm3_ranks *ranks, cm3_optimizer *first, cm3_optimizer *second, cm3_buckets **buckets) {
    *buckets = NULL;
    if (cm3_ranks_alone(ranks)) return CM3_OK;
    cm3_buckets *b = cm3_calloc(ranks->context, 1, sizeof *b);
    if (!b) return cm3_fail_memory(ranks->context, sizeof *b, "buckets");
    b->context = ranks->context;
    b->ranks = ranks;
    b->first = first;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->changed, NULL);
    cm3_status status = second ? plan(b, second) : CM3_OK;
    b->second_count = b->count;
    if (status == CM3_OK) status = plan(b, first);
    if (status == CM3_OK) status = start(b);
    if (status != CM3_OK) {
        free_all(b);
        return status;
    }
    *buckets = b;
    return CM3_OK;
}

void cm3_buckets_destroy(cm3_buckets *b) {
    if (!b) return;
    pthread_mutex_lock(&b->lock);
    b->stop = true;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
    pthread_join(b->thread, NULL);
    free_all(b);
}

size_t cm3_buckets_count(const cm3_buckets *b) {
    return b ? b->count : 0;
}

/* --- a step ---------------------------------------------------------------------------------------------------------
 */

static void lay_left(cm3_buckets *b) {
    for (size_t i = b->second_count; i < b->count; i++) {
        cm3_bucket *bucket = &b->list[i];
        size_t next = 0;
        cm3_stretch s;
        bucket->left = 0;
        while (cm3_slices_next(b->first, bucket->begin, bucket->begin + bucket->count, &next, &s))
            bucket->left += s.count;
    }
}

void cm3_buckets_begin(cm3_buckets *b, bool with_second) {
    if (!b) return;
    lay_left(b);
    for (size_t i = 0; i < b->first->count; i++) b->first->parameters[i].tensor->pending = 0;
    b->final = with_second ? 0 : b->second_count;
    pthread_mutex_lock(&b->lock);
    b->posted = b->done = b->final;
    b->reduced = 0;
    pthread_mutex_unlock(&b->lock);
}

/** Hands over all buckets before `end`. */
static void post(cm3_buckets *b, size_t end) {
    if (end <= b->final) return;
    b->final = end;
    pthread_mutex_lock(&b->lock);
    b->posted = end;
    pthread_cond_broadcast(&b->changed);
    pthread_mutex_unlock(&b->lock);
}

/** The first's bucket that holds a place. */
static size_t bucket_at(const cm3_buckets *b, int64_t place) {
    size_t low = b->second_count, high = b->count;
    while (high - low > 1) {
        const size_t middle = low + (high - low) / 2;
        if (b->list[middle].begin <= place) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

void cm3_buckets_final(cm3_buckets *b, const cm3_tensor *parameter) {
    if (!b) return;
    int64_t place = parameter->grad - b->first->gradients;
    const int64_t end = place + parameter->count;
    if (place < 0 || end > b->first->total) return; /* of a tensor that is not the optimiser's */
    for (size_t i = bucket_at(b, place); place < end; i++) {
        cm3_bucket *bucket = &b->list[i];
        const int64_t until = bucket->begin + bucket->count < end ? bucket->begin + bucket->count : end;
        bucket->left -= until - place;
        place = until;
    }
    size_t final = b->final;
    if (final < b->second_count) return; /* the second's go first */
    while (final < b->count && b->list[final].left <= 0) final++;
    post(b, final);
}

void cm3_buckets_second_final(cm3_buckets *b) {
    if (b) post(b, b->second_count);
}

static void tell(void *arg, cm3_tensor *parameter) {
    cm3_buckets_final(arg, parameter);
}

void cm3_buckets_watch(cm3_buckets *b, cm3_graph *graph) {
    if (!b) return;
    graph->on_final = tell;
    graph->final_arg = b;
}

cm3_status cm3_buckets_finish(cm3_buckets *b, cm3_graph *graph, double *waited, double *reduced) {
    *waited = *reduced = 0;
    if (!b) return CM3_OK;
    graph->on_final = NULL;
    uint64_t begun = cm3_clock_ns();
    post(b, b->count);
    pthread_mutex_lock(&b->lock);
    while (b->done < b->posted) pthread_cond_wait(&b->changed, &b->lock);
    const cm3_status status = b->status;
    *reduced = b->reduced;
    pthread_mutex_unlock(&b->lock);
    *waited = cm3_clock_since(begun);
    return status;
}
