/* A record of a shard: one or two pictures and the JSON beside them, made from (seed, number) alone. */
#ifndef TOYBOX_RECORD_H
#define TOYBOX_RECORD_H

#include "draw.h"

/** What a set of records holds: one kind of scene, or a mixture. */
typedef enum toy_set {
    TOY_SET_PLACED,
    TOY_SET_RELATED,
    TOY_SET_COUNTED,
    TOY_SET_MIXED,
    TOY_SET_VQ,
    TOY_SET_EMBLEM,
    TOY_SET_TASKS,
    TOY_SET_LOOKUP /**< emblems as something to be looked up: of names on no list */
} toy_set;
enum { TOY_SETS = 8 };
extern const char *const toy_set_names[TOY_SETS];

typedef struct toy_plan {
    toy_set set;
    uint64_t seed;
    toy_split split;
    int captions;
    int objects;   /**< of placed scenes, each with so many; 0: their number is drawn, too */
    bool families; /**< lookup: names come in families that share syllables or all letters but one */
    bool reworded; /**< emblems: the first text in another wording half of the time */
} toy_plan;

/** How many records a plan can have at most: an emblem set has as many as there are names in the split. */
int64_t toy_plan_limit(const toy_plan *plan);

/** Where a record is made; the pictures' pixels are the caller's. */
typedef struct toy_record {
    toy_picture picture, second;
    const char *second_name; /**< "source", "segmentation", "outline"; NULL: there is no second picture */
    char key[16];            /**< of emblems their name; "": the number is the key */
    char *json;              /**< one line, to be released by free() */
} toy_record;

/** Makes record `number`. False when memory is out. */
bool toy_make_record(const toy_plan *plan, int64_t number, toy_record *record);

#endif
