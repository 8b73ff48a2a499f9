/* The event queue: a list under a lock. */
#include "generate/events.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/status.h"

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

void cm3_event_free(cm3_context *context, cm3_event_node *node) {
    if (!node) return;
    cm3_image_destroy(node->event.image);
    cm3_free(context, node);
}

void cm3_events_clear(cm3_event_queue *queue) {
    while (queue->first) {
        cm3_event_node *node = queue->first;
        queue->first = node->next;
        cm3_event_free(queue->context, node);
    }
    pthread_mutex_destroy(&queue->lock);
    pthread_cond_destroy(&queue->changed);
}

cm3_status cm3_events_push(cm3_event_queue *queue, const cm3_event *event) {
    size_t text = event->text ? event->text_size + 1 : 0;
    cm3_event_node *node = cm3_alloc(queue->context, sizeof *node + text);
    if (!node) return cm3_fail_memory(queue->context, sizeof *node + text, "event");
    node->next = NULL;
    node->event = *event;
    node->event.struct_size = sizeof *event;
    if (event->text) {
        memcpy(node->text, event->text, event->text_size);
        node->text[event->text_size] = 0;
        node->event.text = node->text;
    }
    if (event->image) cm3_image_retain(event->image);
    pthread_mutex_lock(&queue->lock);
    if (queue->last && queue->last->event.kind == CM3_EVENT_PROGRESS && event->kind == CM3_EVENT_PROGRESS) {
        queue->last->event = node->event;
        pthread_mutex_unlock(&queue->lock);
        cm3_free(queue->context, node);
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
