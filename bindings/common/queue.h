/* A player's events, waiting for the script to take them one by one. */
#ifndef CM3_BINDINGS_QUEUE_H
#define CM3_BINDINGS_QUEUE_H

#include <cm3leon/cm3leon.h>

typedef enum cm3_player_event_kind {
    CM3_PLAYER_LOADED = 1,
    CM3_PLAYER_PROGRESS, /**< done, total, seconds */
    CM3_PLAYER_TEXT,     /**< candidate, text */
    CM3_PLAYER_PREVIEW,  /**< candidate, image, row, rows: which rows of pixels are new */
    CM3_PLAYER_IMAGE,    /**< candidate, image */
    CM3_PLAYER_FAILED,   /**< status, message */
    CM3_PLAYER_FINISHED  /**< reason, seed: always a generation's last */
} cm3_player_event_kind;

typedef struct cm3_player_event {
    cm3_player_event_kind kind;
    int32_t candidate;
    uint64_t done, total;
    double seconds;
    int32_t row, rows;
    cm3_status status;
    cm3_end_reason reason;
    uint64_t seed;
    const char *message; /**< not the event's */
    cm3_image *image;    /**< a hold of the event's */
    char *text;          /**< the event's, by malloc() */
} cm3_player_event;

typedef struct cm3_queue {
    struct cm3_queue_node *first, *last;
} cm3_queue;

/** Takes an event of the library's: what it points to is copied or held. Of progress, and of a picture's previews, only
 * the newest waits. Errors: NO_MEMORY. */
cm3_status cm3_queue_take(cm3_queue *queue, const cm3_event *event);

/** The oldest event, which is the caller's then, to be given to cm3_player_event_clear(). 0 where there is none. */
int cm3_queue_pop(cm3_queue *queue, cm3_player_event *event);
void cm3_player_event_clear(cm3_player_event *event);
void cm3_queue_clear(cm3_queue *queue);

#endif
