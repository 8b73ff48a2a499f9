/*
 * The reader of emblems. The parting is the one whose parts are each most nearly of one colour of the palette; the
 * charge is the shape and colour whose drawing on these parts comes nearest to the picture's middle.
 */
#include "read_emblem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* All in sides of the picture, from its middle. */
static const double disc_edge = 0.34, charge_edge = 0.18, corner = 0.42;
/* What a part may be off its colour, per pixel and on average, and the background off grey. */
static const double part_tolerance = 40, ground_tolerance = 30;
/* The greatest squared error of the middle, as a share of what the charge puts there. */
static const double greatest_misfit = 0.22;

typedef struct emblem_picture {
    const uint8_t *pixels;
    size_t stride;
    int side;
} emblem_picture;

static const uint8_t *pixel_at(const emblem_picture *p, int x, int y) {
    return p->pixels + (size_t)y * p->stride + 3 * (size_t)x;
}

/* Of the pixel's middle. */
static double place(const emblem_picture *p, int i) {
    return (i + 0.5) / p->side - 0.5;
}

static double squared(const uint8_t *pixel, toy_rgb c) {
    const double r = pixel[0] - c.r, g = pixel[1] - c.g, b = pixel[2] - c.b;
    return r * r + g * g + b * b;
}

/* The part of a point that lies well inside it; 0 elsewhere. */
static int inner_part(const emblem_picture *p, int parting, double x, double y) {
    const double margin = 2.0 / p->side, distance = hypot(x, y);
    if (distance < charge_edge || distance > disc_edge) return 0;
    const int part = toy_emblem_part(parting, x, y);
    for (int corner_at = 0; corner_at < 4; corner_at++) {
        const double dx = corner_at & 1 ? margin : -margin, dy = corner_at & 2 ? margin : -margin;
        if (toy_emblem_part(parting, x + dx, y + dy) != part) return 0;
    }
    return part;
}

/* The colours of a parting's parts, and how far its pixels are off them: squared, on average. */
static double try_parting(const emblem_picture *p, int parting, int colours[2]) {
    double errors[2][TOY_COLOURS] = {{0}}, sum = 0;
    long counts[2] = {0, 0};
    for (int y = 0; y < p->side; y++) {
        for (int x = 0; x < p->side; x++) {
            const int part = inner_part(p, parting, place(p, x), place(p, y));
            if (!part) continue;
            counts[part - 1]++;
            for (int c = 0; c < TOY_COLOURS; c++) errors[part - 1][c] += squared(pixel_at(p, x, y), toy_colours[c]);
        }
    }
    for (int part = 0; part < 2; part++) {
        colours[part] = 0;
        for (int c = 1; c < TOY_COLOURS; c++) {
            if (errors[part][c] < errors[part][colours[part]]) colours[part] = c;
        }
        sum += errors[part][colours[part]];
    }
    return sum / (double)(counts[0] + counts[1] + 1);
}

static bool is_on_grey(const emblem_picture *p) {
    double sum = 0;
    long count = 0;
    for (int y = 0; y < p->side; y++) {
        for (int x = 0; x < p->side; x++) {
            if (hypot(place(p, x), place(p, y)) < corner) continue;
            sum += squared(pixel_at(p, x, y), toy_backgrounds[TOY_GREY]);
            count++;
        }
    }
    return sum < ground_tolerance * ground_tolerance * (double)count;
}

/* Squared error of the picture's middle against a painted emblem, and what the charge puts there. */
static void compare(const emblem_picture *p, const toy_picture *painted, const toy_emblem *e, double *error,
                    double *energy) {
    *error = *energy = 0;
    for (int y = 0; y < p->side; y++) {
        for (int x = 0; x < p->side; x++) {
            if (hypot(place(p, x), place(p, y)) > charge_edge) continue;
            const uint8_t *own = painted->pixels + 3 * ((size_t)y * (size_t)p->side + (size_t)x);
            const int part = toy_emblem_part(e->parting, place(p, x), place(p, y));
            *error += squared(pixel_at(p, x, y), (toy_rgb){own[0], own[1], own[2]});
            *energy += squared(own, toy_colours[part == 1 ? e->first : e->second]);
        }
    }
}

static bool read_charge(const emblem_picture *p, toy_emblem *found) {
    toy_picture painted = {p->side, malloc(3 * (size_t)p->side * (size_t)p->side)};
    toy_emblem e = *found;
    double least = greatest_misfit;
    if (!painted.pixels) return false;
    for (e.charge = 0; e.charge < TOY_SHAPES; e.charge++) {
        for (e.charge_colour = 0; e.charge_colour < TOY_COLOURS; e.charge_colour++) {
            double error, energy;
            if (e.charge_colour == e.first || e.charge_colour == e.second) continue;
            toy_paint_emblem(&painted, &e);
            compare(p, &painted, &e, &error, &energy);
            if (error >= least * energy) continue;
            least = error / energy;
            found->charge = e.charge;
            found->charge_colour = e.charge_colour;
        }
    }
    free(painted.pixels);
    return true;
}

bool toy_read_emblem(const uint8_t *pixels, size_t stride, int side, toy_emblem *found) {
    const emblem_picture p = {pixels, stride, side};
    double least = part_tolerance * part_tolerance;
    *found = (toy_emblem){-1, -1, -1, -1, -1};
    if (!is_on_grey(&p)) return true;
    for (int parting = 0; parting < TOY_PARTINGS; parting++) {
        int colours[2];
        const double error = try_parting(&p, parting, colours);
        if (error >= least || colours[0] == colours[1]) continue;
        least = error;
        found->parting = parting;
        found->first = colours[0];
        found->second = colours[1];
    }
    return found->parting < 0 || read_charge(&p, found);
}
