/*
 * The reader. The background is the picture's median colour. Each cell that holds enough of something else is explained
 * by the shape, size and position whose drawing, in the cell's measured colour, comes nearest to the cell's pixels.
 */
#include "read.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* A pixel this far from the background in colour is ink; the nearest pair of colours in the world is 86 apart. */
static const float ink_distance = 40.0F;
/* Ink of an object as a share of its cell: the smallest shape, a small star, has a tenth. */
static const double least_object = 0.035, least_stray = 0.010;
/* A measured colour must come this near to one of the palette. */
static const float background_tolerance = 30.0F, colour_tolerance = 55.0F;
/* The greatest squared error of a cell as a share of what the best drawing puts there. */
static const double greatest_misfit = 0.22;
/* How far an object's centre may be from its cell's, and the step of the search, as fractions of the side. */
static const double reach = 0.0157, step_size = 1.0 / 192;

typedef struct template {
    float *mask;
    double energy; /* the sum of the squared mask */
}
template;

struct toy_reader {
    int side;
    int window; /* side of the square window about a cell */
    int steps;  /* positions tried on each side of the middle */
    double step;
    template *templates; /* [shape][size][y][x] */
    float *masks;
    float *work;      /* four planes of a window: red, green, blue less the background; projection */
    float *distances; /* of each pixel of the window to the background */
    toy_rgb background;
};

static int positions(const toy_reader *r) {
    return 2 * r->steps + 1;
}

static template *template_at(const toy_reader *r, int shape, int size, int iy, int ix) {
    return &r->templates[((shape * TOY_SIZES + size) * positions(r) + iy) * positions(r) + ix];
}

static void make_templates(toy_reader *r) {
    size_t area = (size_t)r->window * (size_t)r->window;
    float *mask = r->masks;
    for (int shape = 0; shape < TOY_SHAPES; shape++) {
        for (int size = 0; size < TOY_SIZES; size++) {
            for (int iy = 0; iy < positions(r); iy++) {
                for (int ix = 0; ix < positions(r); ix++, mask += area) {
                    template *t = template_at(r, shape, size, iy, ix);
                    double cx = r->window / 2.0 + (ix - r->steps) * r->step;
                    double cy = r->window / 2.0 + (iy - r->steps) * r->step;
                    toy_coverage(shape, cx, cy, toy_radii[size] * r->side, 0, 0, r->window, r->window, mask);
                    t->mask = mask;
                    t->energy = 0;
                    for (size_t i = 0; i < area; i++) t->energy += (double)mask[i] * mask[i];
                }
            }
        }
    }
}

toy_reader *toy_reader_create(int side) {
    toy_reader *r = calloc(1, sizeof *r);
    if (!r) return NULL;
    r->side = side;
    r->window = (side + 2) / 3;
    r->step = side * step_size;
    /* A window's middle is up to half a pixel from its cell's. */
    r->steps = (int)ceil((reach * side + 0.5) / r->step);
    size_t area = (size_t)r->window * (size_t)r->window;
    size_t count = (size_t)(TOY_SHAPES * TOY_SIZES * positions(r) * positions(r));
    r->templates = calloc(count, sizeof *r->templates);
    r->masks = malloc(count * area * sizeof *r->masks);
    r->work = malloc(4 * area * sizeof *r->work);
    r->distances = malloc(area * sizeof *r->distances);
    if (!r->templates || !r->masks || !r->work || !r->distances) {
        toy_reader_destroy(r);
        return NULL;
    }
    make_templates(r);
    return r;
}

void toy_reader_destroy(toy_reader *r) {
    if (!r) return;
    free(r->templates);
    free(r->masks);
    free(r->work);
    free(r->distances);
    free(r);
}

static float squared_distance(const float *a, toy_rgb b) {
    float dr = a[0] - b.r, dg = a[1] - b.g, db = a[2] - b.b;
    return dr * dr + dg * dg + db * db;
}

static int nearest(const float *colour, const toy_rgb *table, int count, float tolerance) {
    int best = -1;
    float least = tolerance * tolerance;
    for (int i = 0; i < count; i++) {
        float d = squared_distance(colour, table[i]);
        if (d <= least) {
            least = d;
            best = i;
        }
    }
    return best;
}

/* The median of each channel over the picture; objects cover less than a third of it. */
static toy_rgb median_colour(const toy_reader *r, const uint8_t *pixels, size_t stride) {
    uint32_t histogram[3][256] = {{0}};
    for (int y = 0; y < r->side; y++) {
        const uint8_t *row = pixels + (size_t)y * stride;
        for (int x = 0; x < r->side; x++) {
            for (int c = 0; c < 3; c++) histogram[c][row[3 * x + c]]++;
        }
    }
    uint8_t median[3];
    uint32_t half = (uint32_t)r->side * (uint32_t)r->side / 2;
    for (int c = 0; c < 3; c++) {
        uint32_t below = 0;
        int value = 0;
        while (value < 255 && below + histogram[c][value] <= half) below += histogram[c][value++];
        median[c] = (uint8_t)value;
    }
    return (toy_rgb){median[0], median[1], median[2]};
}

/* Copies a window, less the background, into the planes; returns how many of its pixels are ink. */
static int load_window(toy_reader *r, const uint8_t *pixels, size_t stride, int x0, int y0) {
    size_t area = (size_t)r->window * (size_t)r->window;
    float *red = r->work, *green = red + area, *blue = green + area;
    int ink = 0;
    for (int y = 0; y < r->window; y++) {
        const uint8_t *p = pixels + (size_t)(y0 + y) * stride + 3 * (size_t)x0;
        size_t i = (size_t)y * (size_t)r->window;
        for (int x = 0; x < r->window; x++, p += 3, i++) {
            red[i] = (float)(p[0] - r->background.r);
            green[i] = (float)(p[1] - r->background.g);
            blue[i] = (float)(p[2] - r->background.b);
            r->distances[i] = red[i] * red[i] + green[i] * green[i] + blue[i] * blue[i];
            ink += r->distances[i] > ink_distance * ink_distance;
        }
    }
    return ink;
}

/* The mean of the ink near a palette colour, for the colour with the most ink that is not `other`. -1: there is none.
 */
static int measure_colour(const toy_reader *r, int other, float *mean, int *votes) {
    size_t area = (size_t)r->window * (size_t)r->window;
    const float *red = r->work, *green = red + area, *blue = green + area;
    float sums[TOY_COLOURS][3] = {{0}};
    int counts[TOY_COLOURS] = {0};
    for (size_t i = 0; i < area; i++) {
        if (r->distances[i] <= ink_distance * ink_distance) continue;
        float colour[3] = {red[i] + r->background.r, green[i] + r->background.g, blue[i] + r->background.b};
        int k = nearest(colour, toy_colours, TOY_COLOURS, colour_tolerance);
        if (k < 0) continue;
        counts[k]++;
        for (int c = 0; c < 3; c++) sums[k][c] += colour[c];
    }
    int best = -1;
    for (int k = 0; k < TOY_COLOURS; k++) {
        if (k != other && counts[k] > 0 && (best < 0 || counts[k] > counts[best])) best = k;
    }
    *votes = best < 0 ? 0 : counts[best];
    for (int c = 0; c < 3 && best >= 0; c++) mean[c] = sums[best][c] / (float)counts[best];
    return best;
}

static float dot(const float *a, const float *b, size_t n) {
    float lanes[16] = {0};
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        for (int j = 0; j < 16; j++) lanes[j] += a[i + j] * b[i + j];
    }
    float sum = 0;
    for (; i < n; i++) sum += a[i] * b[i];
    for (int j = 0; j < 16; j++) sum += lanes[j];
    return sum;
}

/*
 * The best drawing in one colour. With q the pixels' projection on the line from the background to the colour, the
 * squared error of a mask a is that of the bare window, plus |colour - background|^2 times (a.a - 2 a.q).
 */
static double fit_shape(toy_reader *r, const float *colour, double cx, double cy, toy_object *object, double *error) {
    size_t area = (size_t)r->window * (size_t)r->window;
    const float *red = r->work, *green = red + area, *blue = green + area;
    float *q = r->work + 3 * area;
    float line[3] = {colour[0] - r->background.r, colour[1] - r->background.g, colour[2] - r->background.b};
    float contrast = line[0] * line[0] + line[1] * line[1] + line[2] * line[2];
    double bare = 0;
    for (size_t i = 0; i < area; i++) {
        q[i] = (red[i] * line[0] + green[i] * line[1] + blue[i] * line[2]) / contrast;
        bare += r->distances[i];
    }
    double best = INFINITY, energy = 1, limit = reach * r->side;
    for (int shape = 0; shape < TOY_SHAPES; shape++) {
        for (int size = 0; size < TOY_SIZES; size++) {
            for (int iy = 0; iy < positions(r); iy++) {
                double y = r->window / 2.0 + (iy - r->steps) * r->step - cy;
                if (fabs(y) > limit) continue;
                for (int ix = 0; ix < positions(r); ix++) {
                    double x = r->window / 2.0 + (ix - r->steps) * r->step - cx;
                    if (fabs(x) > limit) continue;
                    const template *t = template_at(r, shape, size, iy, ix);
                    double e = t->energy - 2.0 * dot(t->mask, q, area);
                    if (e >= best) continue;
                    best = e;
                    energy = t->energy;
                    object->shape = shape;
                    object->size = size;
                    object->dx = x / r->side;
                    object->dy = y / r->side;
                }
            }
        }
    }
    *error = bare + contrast * best;
    return *error / (contrast * energy);
}

/* Explains the window by one object; (cx, cy) is the cell's centre in the window. */
static void read_object(toy_reader *r, double cx, double cy, toy_object *object, double *misfit) {
    float colour[3];
    int votes, second_votes;
    double error, second_error;
    int first = measure_colour(r, -1, colour, &votes);
    object->colour = object->shape = object->size = -1;
    *misfit = 1;
    if (first < 0) return;
    *misfit = fit_shape(r, colour, cx, cy, object, &error);
    object->colour = first;
    /* The soft edge of a small shape can hold as many pixels of a third colour as the shape has of its own. */
    int second = measure_colour(r, first, colour, &second_votes);
    if (second >= 0 && 2 * second_votes > votes) {
        toy_object other = *object;
        double second_misfit = fit_shape(r, colour, cx, cy, &other, &second_error);
        if (second_error < error) {
            *object = other;
            object->colour = second;
            *misfit = second_misfit;
        }
    }
    if (*misfit > greatest_misfit) object->shape = object->size = -1;
}

void toy_read(toy_reader *r, const uint8_t *pixels, size_t stride, toy_reading *reading) {
    *reading = (toy_reading){.count = 0};
    r->background = median_colour(r, pixels, stride);
    float background[3] = {r->background.r, r->background.g, r->background.b};
    reading->background = nearest(background, toy_backgrounds, TOY_BACKGROUNDS, background_tolerance);
    double area = (double)r->window * r->window;
    for (int cell = 0; cell < TOY_CELLS; cell++) {
        double x = (cell % 3) * r->side / 3.0, y = (cell / 3) * r->side / 3.0;
        int last = r->side - r->window;
        int x0 = (int)lrint(x) < last ? (int)lrint(x) : last;
        int y0 = (int)lrint(y) < last ? (int)lrint(y) : last;
        int ink = load_window(r, pixels, stride, x0, y0);
        if (ink < least_object * area) {
            if (ink > least_stray * area) reading->stray = true;
            continue;
        }
        toy_object *object = &reading->objects[reading->count];
        *object = (toy_object){.cell = cell};
        double cx = x + r->side / 6.0 - x0, cy = y + r->side / 6.0 - y0;
        read_object(r, cx, cy, object, &reading->misfit[reading->count]);
        reading->count++;
    }
}
