/* A quiz: requests of one task, as the command takes them in a batch, each with what is wanted. */
#ifndef TOYBOX_QUIZ_H
#define TOYBOX_QUIZ_H

#include "studio.h"

typedef enum toy_quiz {
    TOY_QUIZ_CAPTION,
    TOY_QUIZ_ASK,
    TOY_QUIZ_EDIT,
    TOY_QUIZ_SEGMENT,
    TOY_QUIZ_LAYOUT,
    TOY_QUIZ_OUTLINE,
    TOY_QUIZ_BOXES,
    TOY_QUIZ_INFILL,
    TOY_QUIZ_INFILL_TEXT,
    TOY_QUIZ_EMBLEM,      /**< names of the list that training never saw */
    TOY_QUIZ_EMBLEM_SEEN, /**< and that it did */
    TOY_QUIZ_EMBLEM_NEW,  /**< names on no list */
    TOY_QUIZ_RECALL       /**< pictures to be found by their captions */
} toy_quiz;
enum { TOY_QUIZZES = 13 };
extern const char *const toy_quiz_names[TOY_QUIZZES];

/** Whether a task's answers are texts: DIR/wanted.jsonl in place of DIR/wanted/0000.png. */
bool toy_quiz_of_texts(toy_quiz quiz);

typedef struct toy_quiz_plan {
    toy_quiz quiz;
    long count;
    uint64_t seed;
    int side, jpeg; /**< quality of the given pictures, 1 to 100; 0: they are PNG */
    const char *directory;
} toy_quiz_plan;

/**
 * Writes DIR/requests.jsonl, DIR/given/0000.png ..., the right answers as DIR/wanted/0000.png ... or DIR/wanted.jsonl,
 * and DIR/truth/0000.png ... of tasks that go by a segmentation; DIR/records.jsonl, for a bank, of those that look
 * things up. Held-out scenes alone. Complains.
 */
bool toy_make_quiz(toy_studio *studio, const toy_quiz_plan *plan);

enum { TOY_FIGURES = 8 };

/** What came of marking. A figure is sum / count. */
typedef struct toy_marks {
    toy_quiz quiz;
    long requests;
    struct {
        char name[16]; /* empty: no more figures */
        double sum;
        long count;
    } figures[TOY_FIGURES];
} toy_marks;

/** How answers are marked. */
typedef struct toy_marking {
    const char *requests, *answers; /**< a .jsonl; a folder of pictures or a .jsonl of texts */
    bool shuffled;                  /**< each request gets the next one's answer: what guessing is worth */
    const char *failures;           /**< a file for the requests that are not right; may be NULL */
    const char *sheet;              /**< a picture of given and made ones side by side; may be NULL */
    long sheet_count;
} toy_marking;

/** Complains. */
bool toy_mark(toy_studio *studio, const toy_marking *marking, toy_marks *marks);

#endif
