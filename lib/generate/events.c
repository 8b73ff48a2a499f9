/* The event queue: a list under a lock, and nodes that go round. */
#include "generate/events.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/status.h"

/* Events more than were reserved are made room for so many at a time. */
#define MORE 64

cm3_status cm3_events_init(cm3_context *context, cm3_event_queue *queue) {
    *queue = (cm3_event_queue){.context = context};
    pthread_condattr_t attributes;
    if (pthread_condattr_init(&attributes)) return cm3_fail(context, CM3_ERROR_THREAD, "a condition could not be made");
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    int error = pthread_mutex_init(&queue->lock, NULL);
    if (!error) {
        error = pthread_cond_init(&queue->changed, &attributes);
        if (error) pthread_mutex_destroy(&queue->lock);
    }
    pthread_condattr_destroy(&attributes);
    return error ? cm3_fail(context, CM3_ERROR_THREAD, "a lock could not be made: %s", strerror(error)) : CM3_OK;
}

size_t cm3_events_size(size_t count) {
    return sizeof(cm3_event_block) + count * sizeof(cm3_event_node);
}

cm3_status cm3_events_reserve(cm3_event_queue *queue, size_t count) {
    cm3_event_block *block = cm3_alloc(queue->context, cm3_events_size(count));
    if (!block) return cm3_fail_memory(queue->context, cm3_events_size(count), "events");
    pthread_mutex_lock(&queue->lock);
    block->next = queue->blocks;
    queue->blocks = block;
    for (size_t i = 0; i < count; i++) {
        block->nodes[i].next = queue->unused;
        queue->unused = &block->nodes[i];
    }
    pthread_mutex_unlock(&queue->lock);
    return CM3_OK;
}

/** Lets go of what an event holds; its node is unused then. */
static void clear(cm3_context *context, cm3_event_node *node) {
    cm3_image_destroy(node->event.image);
    cm3_free(context, node->long_text);
    node->event.image = NULL;
    node->long_text = NULL;
}

static void give_back(cm3_event_queue *queue, cm3_event_node *node) {
    node->next = queue->unused;
    queue->unused = node;
}

void cm3_event_free(cm3_event_queue *queue, cm3_event_node *node) {
    if (!node) return;
    clear(queue->context, node);
    pthread_mutex_lock(&queue->lock);
    give_back(queue, node);
    pthread_mutex_unlock(&queue->lock);
}

void cm3_events_clear(cm3_event_queue *queue) {
    for (cm3_event_node *node = queue->first; node; node = node->next) clear(queue->context, node);
    while (queue->blocks) {
        cm3_event_block *block = queue->blocks;
        queue->blocks = block->next;
        cm3_free(queue->context, block);
    }
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->changed);
}

/** An unused node; more are made where all wait to be delivered. */
static cm3_event_node *take(cm3_event_queue *queue) {
    for (;;) {
        pthread_mutex_lock(&queue->lock);
        cm3_event_node *node = queue->unused;
        if (node) queue->unused = node->next;
        pthread_mutex_unlock(&queue->lock);
        if (node || cm3_events_reserve(queue, MORE) != CM3_OK) return node;
    }
}

/** The event and a text of its own. False where memory is out. */
static bool fill(cm3_event_queue *queue, cm3_event_node *node, const cm3_event *event) {
    node->event = *event;
    node->event.struct_size = sizeof *event;
    node->event.image = NULL;
    node->long_text = NULL;
    node->next = NULL;
    if (event->text) {
        char *text = node->text;
        if (event->text_size >= CM3_EVENT_TEXT_SIZE) {
            text = node->long_text = cm3_alloc(queue->context, event->text_size + 1);
            if (!text) return false;
        }
        memcpy(text, event->text, event->text_size);
        text[event->text_size] = 0;
        node->event.text = text;
    }
    if (event->image) cm3_image_retain(event->image);
    node->event.image = event->image;
    return true;
}

cm3_status cm3_events_push(cm3_event_queue *queue, const cm3_event *event) {
    cm3_event_node *node = take(queue);
    if (!node) return CM3_ERROR_NO_MEMORY; /* with its message */
    if (!fill(queue, node, event)) {
        cm3_event_free(queue, node);
        return cm3_fail_memory(queue->context, event->text_size, "event");
    }
    pthread_mutex_lock(&queue->lock);
    if (queue->last && queue->last->event.kind == CM3_EVENT_PROGRESS && event->kind == CM3_EVENT_PROGRESS) {
        queue->last->event = node->event;
        give_back(queue, node);
        pthread_mutex_unlock(&queue->lock);
        return CM3_OK;
    }
    if (queue->last) {
        queue->last->next = node;
    } else {
        queue->first = node;
    }
    queue->last = node;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
    return CM3_OK;
}

void cm3_events_close(cm3_event_queue *queue) {
    pthread_mutex_lock(&queue->lock);
    queue->closed = true;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

cm3_event_node *cm3_events_pop(cm3_event_queue *queue, uint64_t timeout_ns, bool *closed) {
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t seconds = timeout_ns / 1000000000u, nanoseconds = (uint64_t)until.tv_nsec + timeout_ns % 1000000000u;
    if (seconds > 1u << 30) seconds = 1u << 30;
    until.tv_sec += (time_t)(seconds + nanoseconds / 1000000000u);
    until.tv_nsec = (long)(nanoseconds % 1000000000u);
    pthread_mutex_lock(&queue->lock);
    int error = 0;
    while (!queue->first && !queue->closed && timeout_ns && error != ETIMEDOUT) {
        error = pthread_cond_timedwait(&queue->changed, &queue->lock, &until);
    }
    cm3_event_node *node = queue->first;
    if (node) {
        queue->first = node->next;
        if (!queue->first) queue->last = NULL;
    }
    *closed = queue->closed && !queue->first;
    pthread_mutex_unlock(&queue->lock);
    return node;
}
