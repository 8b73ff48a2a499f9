/* Drawing: anti-aliased shapes, scenes, their segmentations and outlines, at any size. */
#ifndef TOYBOX_DRAW_H
#define TOYBOX_DRAW_H

#include "world.h"

/** A square RGB picture, rows without gaps; the pixels are the caller's. */
typedef struct toy_picture {
    int side;
    uint8_t *pixels;
} toy_picture;

/**
 * How much of each pixel of a window a shape covers, 0..1. Everything is in pixels: the shape's centre and radius, the
 * window's upper left corner and its sides. `mask` holds height rows of width floats.
 */
void toy_coverage(int shape, double cx, double cy, double r, int x0, int y0, int width, int height, float *mask);

/** Whether the point, relative to the centre and in units of the radius, lies in the shape. */
bool toy_inside(int shape, double x, double y);

void toy_fill(toy_picture *picture, toy_rgb colour);

/** One shape; centre and radius as fractions of the side. `hard`: a pixel is painted wholly or not at all. */
void toy_draw_shape(toy_picture *picture, int shape, double cx, double cy, double r, toy_rgb colour, bool hard);

void toy_draw_picture(toy_picture *picture, const toy_scene *scene);
/** Class colours on black. `hard` as in toy_draw_shape(): no pixel lies between two classes. */
void toy_draw_segmentation(toy_picture *picture, const toy_scene *scene, bool hard);
/** White lines of side / 64 (1.5 pixels at 96) along each outline, on black. False when memory is out. */
bool toy_draw_outlines(toy_picture *picture, const toy_scene *scene);

#endif
