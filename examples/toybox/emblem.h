/* Emblems: names that mean nothing, each with a picture that follows no rule. */
#ifndef TOYBOX_EMBLEM_H
#define TOYBOX_EMBLEM_H

#include "draw.h"

enum { TOY_SYLLABLES = 40, TOY_EMBLEM_NAMES = TOY_SYLLABLES * TOY_SYLLABLES, TOY_NAME_SIZE = 16 };
enum { TOY_PER_PALE, TOY_PER_FESS, TOY_QUARTERLY, TOY_BEND, TOY_BORDERED, TOY_PARTINGS };

extern const char *const toy_parting_names[TOY_PARTINGS];

typedef struct toy_emblem {
    int parting;
    int first, second; /**< colours of the two parts, as the parting names them */
    int charge;        /**< the shape at the centre */
    int charge_colour; /**< a third colour */
} toy_emblem;

/** Name number 0..TOY_EMBLEM_NAMES - 1, such as "Kelmor"; `name` holds TOY_NAME_SIZE bytes. */
void toy_emblem_name(int number, char *name);

/** Whether training may see the name: its XXH64 hash is no multiple of 5. */
bool toy_name_in_training(const char *name);

/** A name of two or three syllables that is on no list. */
void toy_invent_name(toy_random *random, char *name);
/* The name of one of the nine members of a family, which share syllables or all letters but one. */
#define TOY_FAMILY 9
void toy_family_name(toy_random family, int member, char *name);

/** A random emblem, and the one that a name has in the world of a seed. */
toy_emblem toy_draw_emblem(toy_random *random);
toy_emblem toy_emblem_of(uint64_t seed, const char *name);

/** The world of the shipped bank: toy_emblem_of()'s seed. */
enum { TOY_WORLD = 4 };

/** The part at a point, relative to the centre in sides: 0 background, 1 first colour, 2 second colour. */
int toy_emblem_part(int parting, double x, double y);

void toy_paint_emblem(toy_picture *picture, const toy_emblem *emblem);

#endif
