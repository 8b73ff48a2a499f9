/* Reading things that stand anywhere and are of any size: what is drawn, in which colour, from where to where. */
#ifndef TOYBOX_THINGS_H
#define TOYBOX_THINGS_H

#include "tasks.h"

enum { TOY_MAX_THINGS = 16 };

/**
 * Finds the connected pieces of a square picture that stand out from its background, and fits a shape to each; what is
 * smaller than a 500th of the picture is none. shape and colour are -1 where none fits. Returns how many there are;
 * *background -1 where it is none of the five; -1 when memory is out.
 */
int toy_read_things(const uint8_t *pixels, size_t stride, int side, toy_thing things[TOY_MAX_THINGS], int *background);

#endif
