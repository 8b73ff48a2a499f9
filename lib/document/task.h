/* Templates of tasks, as documents and as tokens. */
#ifndef CM3_DOCUMENT_TASK_H
#define CM3_DOCUMENT_TASK_H

#include "base/memory.h"
#include "base/random.h"
#include "cm3leon/task.h"
#include "document/encoding.h"
#include "document/masking.h"

typedef struct cm3_task_piece {
    cm3_segment_kind kind;       /**< TEXT, IMAGE or BREAK */
    bool answer, box;            /**< box: the answer is a rectangle of the image */
    bool hidden;                 /**< of an image: sentinel 0 stands for each token in its boxes */
    const char *const *patterns; /**< TEXT: wordings, with {name} for values */
    size_t pattern_count;
    const char *image; /**< IMAGE: its value's name */
    const char *value; /**< TEXT: of the value that is all of it; NULL: there is more to it */
} cm3_task_piece;

typedef struct cm3_task {
    const char *name;
    const cm3_task_piece *pieces;
    size_t count, answer; /**< answer: the number of its piece, or of the first of several */
    bool hides;           /**< one of the pieces is hidden in part */
} cm3_task;

struct cm3_tasks {
    cm3_context *context;
    cm3_arena *memory; /**< of all that follows */
    const cm3_task *tasks;
    size_t count;
};

/** From a JSON text; `name` (the file) goes into messages, which tell the task and the element. */
cm3_status cm3_tasks_parse(cm3_context *context, const char *name, const char *json, size_t size, cm3_tasks **tasks);

/** NULL: there is none of that name. */
const cm3_task *cm3_tasks_find(const cm3_tasks *tasks, const char *name);

/** Whether an answer is what the document ends with; else it is a mask. */
static inline bool cm3_task_follows(const cm3_task *task) {
    return task->pieces[task->count - 1].answer && !task->pieces[task->answer].box;
}

/** The element that guidance is about: the picture at a document's end, else the first answer. */
static inline size_t cm3_task_guided(const cm3_task *task) {
    const size_t last = task->count - 1;
    return cm3_task_follows(task) && task->pieces[last].kind == CM3_SEGMENT_IMAGE ? last : task->answer;
}

/** Where values come from; both give NULL for a name they do not know. */
typedef struct cm3_task_values {
    const char *(*text)(void *arg, const char *name);
    /** *count codes. */
    const int32_t *(*codes)(void *arg, const char *name, size_t *count);
    void *arg;
} cm3_task_values;

/** The name of a value that a task needs and that is not there, in `name`; false: nothing is missing. */
bool cm3_task_lacks(const cm3_task *task, const cm3_task_values *values, char name[128]);

/** What of a training document is left out, for guidance's other streams. */
typedef enum cm3_task_drop {
    CM3_DROP_NOTHING,
    CM3_DROP_TEXT, /**< texts with values, answers before a last picture too, become sentinel 0; where the answer is
                        filled in, nothing */
    CM3_DROP_ALL   /**< all before what guidance is about becomes eod, sentinel 0, break; where it is filled in, as
                      DROP_TEXT */
} cm3_task_drop;

/** A rectangle of a picture's tokens. */
typedef struct cm3_cells {
    int32_t x, y, width, height;
    int32_t grid; /**< tokens in a row of the picture */
} cm3_cells;

#define CM3_MAX_ANSWERS 64

/** Where what is asked for stands in a document. */
typedef struct cm3_answers {
    cm3_span spans[CM3_MAX_ANSWERS];
    int count;
} cm3_answers;

/**
 * A task's whole training document, in place of what ids holds: eod, the pieces, the closing eod. `random`: wordings
 * are drawn; NULL: the first. `hidden`: what a task that hides hides; NULL: nothing. *answers: where they stand (of a
 * box: the whole image). NOT_FOUND, with task and name, for a value that is not there.
 */
cm3_status cm3_task_tokens(const cm3_encoder *encoder, const cm3_task *task, const cm3_task_values *values,
                           cm3_random *random, cm3_task_drop drop, const cm3_cells *hidden, cm3_ids *ids,
                           cm3_answers *answers);

#endif
