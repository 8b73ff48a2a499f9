/* What can be asked of a scene: questions, edits, boxes and gaps in captions, in several wordings. */
#ifndef TOYBOX_TASKS_H
#define TOYBOX_TASKS_H

#include "caption.h"

/** The caption that says every scene: objects in reading order with their places, whatever kind it was drawn as. */
void toy_caption_placed(const toy_scene *scene, char *text);

typedef enum toy_question { TOY_ASK_COLOUR, TOY_ASK_NUMBER, TOY_ASK_SHAPE, TOY_ASK_PRESENCE } toy_question;
enum { TOY_QUESTIONS = 4 };
extern const char *const toy_question_names[TOY_QUESTIONS];

/**
 * A question of the kind with one answer, and that answer; `varied`: in any of its wordings, else the first. Where
 * there is a thing to find and one not to, each comes half of the time. False where the scene has no such question
 * (no shape that is there only once). TOY_CAPTION_SIZE bytes each.
 */
bool toy_ask(toy_random *random, const toy_scene *scene, toy_question kind, bool varied, char *question, char *answer);

typedef enum toy_edit { TOY_RECOLOUR, TOY_REMOVE, TOY_ADD, TOY_REGROUND, TOY_RESHAPE } toy_edit;
enum { TOY_EDITS = 5 };
extern const char *const toy_edit_names[TOY_EDITS];

/**
 * An edit of the kind that the scene allows: the instruction, and the scene as it is after it, without a reserved
 * triple. False where none was found.
 */
bool toy_draw_edit(toy_random *random, const toy_scene *scene, toy_edit kind, bool varied, toy_scene *after,
                   char *instruction);

/** An outline's bounding box as fractions of the side: x0 y0 x1 y1. */
void toy_extent(int shape, double x, double y, double r, double extent[4]);
/** An object's outline: its bounding box in hundredths of the side, 0..99: x0 y0 x1 y1. */
void toy_box(int shape, double x, double y, double r, int box[4]);

/** Something drawn at any place and in any size. */
typedef struct toy_thing {
    int shape, colour;
    double x, y, r;
} toy_thing;

/** The scene's objects as things. */
int toy_things(const toy_scene *scene, toy_thing things[TOY_MAX_OBJECTS]);
/** One to four things anywhere, of radius 0.08 to 0.17, that do not touch, and a background on which they may stand. */
int toy_draw_things(toy_random *random, toy_thing things[TOY_MAX_OBJECTS], int *background);
void toy_paint_things(toy_picture *picture, const toy_thing *things, int count, int background);
/** "a red circle in box 03 03 30 30 and a blue star in box 40 41 60 60 on a sand background", in the given order. */
void toy_boxes(const toy_thing *things, int count, int background, char *text);

/**
 * Parts a caption at words: some of them, one to five, are the span. The space before the span belongs to it, so that
 * before + span + after is the caption. Each TOY_CAPTION_SIZE bytes.
 */
void toy_gap(toy_random *random, const char *caption, char *before, char *span, char *after);

#endif
