/* The queue between the engine, which makes events, and the host, which is handed them inside its own calls. */
#ifndef CM3_GENERATE_EVENTS_H
#define CM3_GENERATE_EVENTS_H

#include <pthread.h>

#include "base/context.h"
#include "cm3leon/request.h"

typedef struct cm3_event_node {
    struct cm3_event_node *next;
    cm3_event event; /**< text and image are owned by the node */
    char text[];
} cm3_event_node;

typedef struct cm3_event_queue {
    cm3_context *context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cm3_event_node *first, *last;
    bool closed; /**< computing has ended; nothing will follow */
} cm3_event_queue;

cm3_status cm3_events_init(cm3_context *context, cm3_event_queue *queue);
/** Drops what was not delivered. */
void cm3_events_clear(cm3_event_queue *queue);

/**
 * Appends a copy: the text is copied, a hold on the image is taken. A PROGRESS behind an undelivered PROGRESS takes its
 * place. Errors: NO_MEMORY.
 */
cm3_status cm3_events_push(cm3_event_queue *queue, const cm3_event *event);
/** No more events will come; wakes whoever waits. */
void cm3_events_close(cm3_event_queue *queue);

/** The oldest event, now the caller's; NULL where there is none within `timeout_ns`. *closed: nothing will follow
 * either. */
cm3_event_node *cm3_events_pop(cm3_event_queue *queue, uint64_t timeout_ns, bool *closed);
void cm3_event_free(cm3_context *context, cm3_event_node *node);

#endif
