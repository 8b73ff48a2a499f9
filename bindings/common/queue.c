/* See queue.h. */
#include "queue.h"
#include <stdlib.h>
#include <string.h>

typedef struct cm3_queue_node {
    struct cm3_queue_node *next;
    cm3_player_event event;
} cm3_queue_node;

static cm3_status append(cm3_queue *queue, const cm3_player_event *event) {
    cm3_queue_node *node = malloc(sizeof *node);
    if (!node) return CM3_ERROR_NO_MEMORY;
    *node = (cm3_queue_node){.event = *event};
    if (queue->last) {
        queue->last->next = node;
    } else {
        queue->first = node;
    }
    queue->last = node;
    return CM3_OK;
}

static cm3_status take_text(cm3_queue *queue, const cm3_event *event) {
    cm3_player_event text = {
        .kind = CM3_PLAYER_TEXT, .candidate = event->candidate, .text = malloc(event->text_size + 1)};
    if (!text.text) return CM3_ERROR_NO_MEMORY;
    memcpy(text.text, event->text, event->text_size + 1);
    cm3_status status = append(queue, &text);
    if (status != CM3_OK) free(text.text);
    return status;
}

/** The preview of the picture that is being drawn, where it still waits. */
static cm3_player_event *waiting_preview(cm3_queue *queue, int32_t candidate) {
    cm3_player_event *found = NULL;
    for (cm3_queue_node *node = queue->first; node; node = node->next) {
        if (node->event.candidate != candidate) continue;
        if (node->event.kind == CM3_PLAYER_PREVIEW) found = &node->event;
        if (node->event.kind == CM3_PLAYER_IMAGE) found = NULL; // a preview of the picture before
    }
    return found;
}

static cm3_status take_progress(cm3_queue *queue, const cm3_event *event) {
    cm3_player_event progress = {
        .kind = CM3_PLAYER_PROGRESS, .done = event->done, .total = event->total, .seconds = event->seconds};
    for (cm3_queue_node *node = queue->first; node; node = node->next) {
        if (node->event.kind != CM3_PLAYER_PROGRESS) continue;
        node->event = progress;
        return CM3_OK;
    }
    return append(queue, &progress);
}

static cm3_status take_image(cm3_queue *queue, const cm3_event *event) {
    int finished = event->kind == CM3_EVENT_IMAGE;
    cm3_player_event image = {.kind = finished ? CM3_PLAYER_IMAGE : CM3_PLAYER_PREVIEW,
                              .candidate = event->candidate,
                              .row = event->row,
                              .rows = event->rows,
                              .image = event->image};
    cm3_status status = cm3_image_retain(event->image);
    if (status != CM3_OK) return status;
    cm3_player_event *earlier = finished ? NULL : waiting_preview(queue, event->candidate);
    if (earlier) {
        image.rows += image.row - earlier->row;
        image.row = earlier->row;
        cm3_image_destroy(earlier->image);
        *earlier = image;
        return CM3_OK;
    }
    status = append(queue, &image);
    if (status != CM3_OK) cm3_image_destroy(event->image);
    return status;
}

cm3_status cm3_queue_take(cm3_queue *queue, const cm3_event *event) {
    switch (event->kind) {
    case CM3_EVENT_PROGRESS:
        return take_progress(queue, event);
    case CM3_EVENT_TEXT:
        return take_text(queue, event);
    case CM3_EVENT_IMAGE_ROWS:
    case CM3_EVENT_IMAGE:
        return event->image ? take_image(queue, event) : CM3_OK;
    default:
        return CM3_OK;
    }
}

int cm3_queue_pop(cm3_queue *queue, cm3_player_event *event) {
    cm3_queue_node *node = queue->first;
    if (!node) return 0;
    *event = node->event;
    queue->first = node->next;
    if (!queue->first) queue->last = NULL;
    free(node);
    return 1;
}

void cm3_player_event_clear(cm3_player_event *event) {
    cm3_image_destroy(event->image);
    free(event->text);
    *event = (cm3_player_event){0};
}

void cm3_queue_clear(cm3_queue *queue) {
    cm3_player_event event;
    while (cm3_queue_pop(queue, &event)) cm3_player_event_clear(&event);
}
