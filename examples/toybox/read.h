/* The reader: tells what scene a picture shows, strictly, without knowing what it was meant to show. */
#ifndef TOYBOX_READ_H
#define TOYBOX_READ_H

#include "draw.h"

typedef struct toy_reader toy_reader;

/** What was found. Numbers are -1 where nothing fits. */
typedef struct toy_reading {
    int background;
    int count; /**< objects found, also those of unknown colour or shape; at most TOY_CELLS */
    toy_object objects[TOY_CELLS];
    double misfit[TOY_CELLS]; /**< of each object: squared error as a share of the object's own energy */
    bool stray;               /**< there is ink that belongs to no object */
} toy_reading;

/** A reader of square pictures of this side; one thread at a time. NULL when memory is out. */
toy_reader *toy_reader_create(int side);
void toy_reader_destroy(toy_reader *reader);

/** Reads rows of RGB bytes, `stride` apart. */
void toy_read(toy_reader *reader, const uint8_t *pixels, size_t stride, toy_reading *reading);

#endif
