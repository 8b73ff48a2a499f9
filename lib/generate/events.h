/* The queue between the engine, which makes events, and the host, which is handed them inside its own calls. */
#ifndef CM3_GENERATE_EVENTS_H
#define CM3_GENERATE_EVENTS_H

#include <pthread.h>

#include "base/context.h"
#include "cm3leon/request.h"

#define CM3_EVENT_TEXT_SIZE 32

typedef struct cm3_event_node {
    struct cm3_event_node *next;
    cm3_event event;                /**< text and image are owned by the node */
    char text[CM3_EVENT_TEXT_SIZE]; /**< where the text is short */
    char *long_text;
} cm3_event_node;

/** Nodes that were taken from memory together. */
typedef struct cm3_event_block {
    struct cm3_event_block *next;
    cm3_event_node nodes[];
} cm3_event_block;

/** Nodes go round: what was delivered is used again. */
typedef struct cm3_event_queue {
    cm3_context *context;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    cm3_event_node *first, *last, *unused;
    cm3_event_block *blocks;
    bool closed; /**< computing has ended; nothing will follow */
} cm3_event_queue;

cm3_status cm3_events_init(cm3_context *context, cm3_event_queue *queue);
/** Makes sure that `count` events can wait, none of a long text, before memory is asked for again. */
cm3_status cm3_events_reserve(cm3_event_queue *queue, size_t count);
/** Bytes of that. */
size_t cm3_events_size(size_t count);
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
/** Gives an event back. NULL is allowed. */
void cm3_event_free(cm3_event_queue *queue, cm3_event_node *node);

#endif
