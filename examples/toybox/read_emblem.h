/* The reader of emblems: tells what a picture of one shows, without knowing what it was meant to show. */
#ifndef TOYBOX_READ_EMBLEM_H
#define TOYBOX_READ_EMBLEM_H

#include "emblem.h"

/** Reads a square picture: rows of RGB bytes, `stride` apart. What fits nothing is -1, all of it where the background
 * is not grey. False when memory is out. */
bool toy_read_emblem(const uint8_t *pixels, size_t stride, int side, toy_emblem *found);

#endif
