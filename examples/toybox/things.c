/* Reading things anywhere: pieces by flood filling, shapes by fitting centre and radius. */
#include "things.h"

#include "draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* In steps of sRGB: where ink begins, and how near to a palette's colour a colour must be. */
static const double ink_distance = 40, colour_tolerance = 55, background_tolerance = 30;
static const double greatest_misfit = 0.25;

typedef struct canvas {
    const uint8_t *pixels;
    size_t stride;
    int side;
    double background[3];
    int *piece; /* of each pixel: 0 none, -1 ink of none yet, else the piece's number */
    int *stack;
    float *mask, *ink; /* of a window */
} canvas;

typedef struct extent {
    int x0, y0, x1, y1, count;
} extent;

static double distance(const double a[3], toy_rgb b) {
    return sqrt((a[0] - b.r) * (a[0] - b.r) + (a[1] - b.g) * (a[1] - b.g) + (a[2] - b.b) * (a[2] - b.b));
}

static void pixel(const canvas *c, int x, int y, double out[3]) {
    const uint8_t *p = c->pixels + (size_t)y * c->stride + 3 * (size_t)x;
    for (int i = 0; i < 3; i++) out[i] = p[i];
}

static int nearest(const double colour[3], const toy_rgb *table, int count, double tolerance) {
    int best = -1;
    for (int i = 0; i < count; i++) {
        double d = distance(colour, table[i]);
        if (d > tolerance) continue;
        tolerance = d;
        best = i;
    }
    return best;
}

/* The background that most pixels have. */
static int read_background(canvas *c) {
    int counts[TOY_BACKGROUNDS] = {0}, best = 0;
    double sums[TOY_BACKGROUNDS][3] = {{0}}, p[3];
    for (int y = 0; y < c->side; y++) {
        for (int x = 0; x < c->side; x++) {
            pixel(c, x, y, p);
            int k = nearest(p, toy_backgrounds, TOY_BACKGROUNDS, background_tolerance);
            if (k < 0) continue;
            counts[k]++;
            for (int i = 0; i < 3; i++) sums[k][i] += p[i];
        }
    }
    for (int k = 0; k < TOY_BACKGROUNDS; k++) best = counts[k] > counts[best] ? k : best;
    if (2 * counts[best] < c->side * c->side) return -1;
    for (int i = 0; i < 3; i++) c->background[i] = sums[best][i] / counts[best];
    return best;
}

static void mark_ink(canvas *c) {
    double p[3];
    for (int y = 0; y < c->side; y++) {
        for (int x = 0; x < c->side; x++) {
            pixel(c, x, y, p);
            double d = 0;
            for (int i = 0; i < 3; i++) d += (p[i] - c->background[i]) * (p[i] - c->background[i]);
            c->piece[y * c->side + x] = d > ink_distance * ink_distance ? -1 : 0;
        }
    }
}

static extent flood(canvas *c, int start, int number) {
    extent e = {c->side, c->side, 0, 0, 0};
    int height = 0;
    c->stack[height++] = start;
    c->piece[start] = number;
    while (height) {
        int at = c->stack[--height], x = at % c->side, y = at / c->side;
        e.count++;
        e.x0 = x < e.x0 ? x : e.x0;
        e.y0 = y < e.y0 ? y : e.y0;
        e.x1 = x > e.x1 ? x : e.x1;
        e.y1 = y > e.y1 ? y : e.y1;
        for (int k = 0; k < 9; k++) {
            int nx = x + k % 3 - 1, ny = y + k / 3 - 1, next = ny * c->side + nx;
            if (nx < 0 || ny < 0 || nx >= c->side || ny >= c->side || c->piece[next] != -1) continue;
            c->piece[next] = number;
            c->stack[height++] = next;
        }
    }
    return e;
}

/* The palette's colour that most of a piece's pixels have. */
static int read_colour(const canvas *c, const extent *e, int number) {
    int counts[TOY_COLOURS] = {0}, best = -1;
    double p[3];
    for (int y = e->y0; y <= e->y1; y++) {
        for (int x = e->x0; x <= e->x1; x++) {
            if (c->piece[y * c->side + x] != number) continue;
            pixel(c, x, y, p);
            int k = nearest(p, toy_colours, TOY_COLOURS, colour_tolerance);
            if (k >= 0) counts[k]++;
        }
    }
    for (int k = 0; k < TOY_COLOURS; k++) {
        if (counts[k] && (best < 0 || counts[k] > counts[best])) best = k;
    }
    return best;
}

/* How much of the colour each pixel of a window holds: where it lies between the background and the colour. */
static void measure_ink(const canvas *c, const extent *w, toy_rgb colour) {
    const double line[3] = {colour.r - c->background[0], colour.g - c->background[1], colour.b - c->background[2]};
    double length = line[0] * line[0] + line[1] * line[1] + line[2] * line[2], p[3];
    float *ink = c->ink;
    for (int y = w->y0; y <= w->y1; y++) {
        for (int x = w->x0; x <= w->x1; x++) {
            double share = 0;
            pixel(c, x, y, p);
            for (int i = 0; i < 3; i++) share += (p[i] - c->background[i]) * line[i];
            share /= length;
            *ink++ = (float)(share < 0 ? 0 : share > 1 ? 1 : share);
        }
    }
}

/* Squared error of a shape there, as a share of the ink's square. */
static double misfit(const canvas *c, const extent *w, int shape, const double at[3]) {
    int width = w->x1 - w->x0 + 1, height = w->y1 - w->y0 + 1;
    toy_coverage(shape, at[0], at[1], at[2], w->x0, w->y0, width, height, c->mask);
    double error = 0, energy = 1e-9;
    for (int i = 0; i < width * height; i++) {
        double d = (double)c->mask[i] - (double)c->ink[i];
        error += d * d;
        energy += (double)c->ink[i] * (double)c->ink[i];
    }
    return error / energy;
}

/* Centre and radius of the shape whose outline has that box, then downhill in ever smaller steps. */
static double fit(const canvas *c, const extent *e, const extent *w, int shape, double at[3]) {
    double reach[4];
    toy_extent(shape, 0, 0, 1, reach);
    at[2] = ((e->x1 + 1 - e->x0) / (reach[2] - reach[0]) + (e->y1 + 1 - e->y0) / (reach[3] - reach[1])) / 2;
    at[0] = (e->x0 + e->x1 + 1 - at[2] * (reach[0] + reach[2])) / 2;
    at[1] = (e->y0 + e->y1 + 1 - at[2] * (reach[1] + reach[3])) / 2;
    double best = misfit(c, w, shape, at);
    for (double step = 1; step > 0.02; step /= 2) {
        for (int i = 0; i < 6; i++) {
            double old = at[i / 2];
            at[i / 2] += i % 2 ? step : -step;
            double now = at[2] > 1 ? misfit(c, w, shape, at) : INFINITY;
            if (now < best) {
                best = now;
            } else {
                at[i / 2] = old;
            }
        }
    }
    return best;
}

static toy_thing read_thing(const canvas *c, const extent *e, int number) {
    enum { MARGIN = 2 };
    toy_thing thing = {.shape = -1, .colour = read_colour(c, e, number)};
    double side = c->side, best = greatest_misfit, at[3];
    thing.x = (e->x0 + e->x1 + 1) / side / 2;
    thing.y = (e->y0 + e->y1 + 1) / side / 2;
    thing.r = (e->x1 + 1 - e->x0) / side / 2;
    if (thing.colour < 0) return thing;
    extent w = {e->x0 > MARGIN ? e->x0 - MARGIN : 0, e->y0 > MARGIN ? e->y0 - MARGIN : 0,
                e->x1 + MARGIN < c->side ? e->x1 + MARGIN : c->side - 1,
                e->y1 + MARGIN < c->side ? e->y1 + MARGIN : c->side - 1, 0};
    measure_ink(c, &w, toy_colours[thing.colour]);
    for (int shape = 0; shape < TOY_SHAPES; shape++) {
        double now = fit(c, e, &w, shape, at);
        if (now >= best) continue;
        best = now;
        thing.shape = shape;
        thing.x = at[0] / side;
        thing.y = at[1] / side;
        thing.r = at[2] / side;
    }
    return thing;
}

static int read_pieces(canvas *c, toy_thing things[TOY_MAX_THINGS]) {
    int area = c->side * c->side, number = 0, count = 0;
    mark_ink(c);
    for (int i = 0; i < area && count < TOY_MAX_THINGS; i++) {
        if (c->piece[i] != -1) continue;
        extent e = flood(c, i, ++number);
        if (e.count * 500 >= area) things[count++] = read_thing(c, &e, number);
    }
    return count;
}

int toy_read_things(const uint8_t *pixels, size_t stride, int side, toy_thing things[TOY_MAX_THINGS], int *background) {
    size_t area = (size_t)side * (size_t)side;
    canvas c = {.pixels = pixels, .stride = stride, .side = side};
    c.piece = calloc(area, sizeof *c.piece);
    c.stack = malloc(area * sizeof *c.stack);
    c.mask = malloc(area * sizeof *c.mask);
    c.ink = malloc(area * sizeof *c.ink);
    int count = c.piece && c.stack && c.mask && c.ink ? 0 : -1;
    *background = -1;
    if (count == 0) *background = read_background(&c);
    if (*background >= 0) count = read_pieces(&c, things);
    free(c.piece);
    free(c.stack);
    free(c.mask);
    free(c.ink);
    return count;
}
