/* The judge: compares what a reader found with what a caption demands. */
#ifndef TOYBOX_JUDGE_H
#define TOYBOX_JUDGE_H

#include "read.h"

/** What is scored of a picture. Not every kind demands every attribute. */
typedef enum toy_attribute {
    TOY_SCENE, /**< all of it, and nothing else in the picture */
    TOY_BACKGROUND,
    TOY_NUMBER, /**< how many objects */
    TOY_COLOUR,
    TOY_SHAPE,
    TOY_SIZE,
    TOY_PLACE,
    TOY_RELATION
} toy_attribute;
enum { TOY_ATTRIBUTES = 8 };
extern const char *const toy_attribute_names[TOY_ATTRIBUTES];

/** Of each attribute, how often it was asked for and how often it was right. */
typedef struct toy_score {
    int asked[TOY_ATTRIBUTES];
    int right[TOY_ATTRIBUTES];
} toy_score;

/**
 * Scores one picture. Colour, shape, size and place count once an object that the caption demands; an object that is
 * missing is wrong in all of them.
 */
void toy_judge(const toy_scene *wanted, const toy_reading *found, toy_score *score);

static inline bool toy_all_right(const toy_score *score) {
    return score->right[TOY_SCENE] == 1;
}

void toy_add_score(toy_score *sum, const toy_score *score);

#endif
