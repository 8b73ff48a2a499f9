/* Drawing: each shape is known by the spans it has on a horizontal line, which makes coverage exact along x. */
#include "draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Lines through a pixel; along a line coverage is exact. */
enum { LINES = 16, MAX_SPANS = 4 };

static const double ring_hole = 0.55;
static const double square_half = 0.85;
static const double cross_half = 0.32;
static const double star_inner = 0.42;
static const double triangle_points[3][2] = {{0, -1}, {1, 0.8}, {-1, 0.8}};
static const double diamond_points[4][2] = {{0, -1}, {0.7, 0}, {0, 1}, {-0.7, 0}};
static const double heart_triangle[3][2] = {{-0.93, -0.15}, {0.93, -0.15}, {0, 0.95}};
static const double heart_disc_x = 0.45, heart_disc_y = -0.35, heart_disc_r = 0.5;

typedef struct span {
    double from, to;
} span;

static void star_points(double points[10][2]) {
    for (int i = 0; i < 10; i++) {
        double angle = M_PI * i / 5.0;
        double radius = i % 2 ? star_inner : 1.0;
        points[i][0] = radius * sin(angle);
        points[i][1] = -radius * cos(angle);
    }
}

static int disc_span(double cx, double cy, double r, double y, span *out) {
    double h = r * r - (y - cy) * (y - cy);
    if (h <= 0) return 0;
    double w = sqrt(h);
    *out = (span){cx - w, cx + w};
    return 1;
}

/* The spans of a simple polygon: its crossings with the line, in order, in pairs. */
static int polygon_spans(const double (*points)[2], int count, double y, span *out) {
    double crossings[2 * MAX_SPANS];
    int n = 0;
    for (int i = 0; i < count; i++) {
        const double *a = points[i];
        const double *b = points[(i + 1) % count];
        if ((a[1] <= y) == (b[1] <= y)) continue;
        double x = a[0] + (y - a[1]) * (b[0] - a[0]) / (b[1] - a[1]);
        int j = n++;
        for (; j > 0 && crossings[j - 1] > x; j--) crossings[j] = crossings[j - 1];
        crossings[j] = x;
    }
    for (int i = 0; i + 1 < n; i += 2) out[i / 2] = (span){crossings[i], crossings[i + 1]};
    return n / 2;
}

/* Joins spans that overlap. */
static int unite(span *spans, int count) {
    for (int i = 1; i < count; i++) {
        span s = spans[i];
        int j = i;
        for (; j > 0 && spans[j - 1].from > s.from; j--) spans[j] = spans[j - 1];
        spans[j] = s;
    }
    int kept = 0;
    for (int i = 0; i < count; i++) {
        if (kept > 0 && spans[i].from <= spans[kept - 1].to)
            spans[kept - 1].to = fmax(spans[kept - 1].to, spans[i].to);
        else
            spans[kept++] = spans[i];
    }
    return kept;
}

static int ring_spans(double y, span *out) {
    span hole;
    if (!disc_span(0, 0, 1, y, &out[0])) return 0;
    if (!disc_span(0, 0, ring_hole, y, &hole)) return 1;
    out[1] = (span){hole.to, out[0].to};
    out[0].to = hole.from;
    return 2;
}

static int heart_spans(double y, span *out) {
    int n = disc_span(-heart_disc_x, heart_disc_y, heart_disc_r, y, &out[0]);
    n += disc_span(heart_disc_x, heart_disc_y, heart_disc_r, y, &out[n]);
    n += polygon_spans(heart_triangle, 3, y, &out[n]);
    return unite(out, n);
}

static int box_span(double half_width, span *out) {
    *out = (span){-half_width, half_width};
    return 1;
}

/* Where the line at y crosses the shape of radius 1 about 0. */
static int shape_spans(int shape, double y, span *out) {
    double points[10][2];
    switch (shape) {
    case TOY_CIRCLE:
        return disc_span(0, 0, 1, y, out);
    case TOY_RING:
        return ring_spans(y, out);
    case TOY_SQUARE:
        return fabs(y) <= square_half ? box_span(square_half, out) : 0;
    case TOY_TRIANGLE:
        return polygon_spans(triangle_points, 3, y, out);
    case TOY_DIAMOND:
        return polygon_spans(diamond_points, 4, y, out);
    case TOY_STAR:
        star_points(points);
        return polygon_spans((const double(*)[2])points, 10, y, out);
    case TOY_HEART:
        return heart_spans(y, out);
    case TOY_CROSS:
        return fabs(y) <= cross_half ? box_span(1, out) : fabs(y) <= 1 ? box_span(cross_half, out) : 0;
    default:
        return 0;
    }
}

bool toy_inside(int shape, double x, double y) {
    span spans[MAX_SPANS];
    int n = shape_spans(shape, y, spans);
    for (int i = 0; i < n; i++) {
        if (spans[i].from <= x && x <= spans[i].to) return true;
    }
    return false;
}

/* Adds the part of each pixel of a row that [from, to] covers, times `weight`. */
static void add_span(float *row, int width, double from, double to, float weight) {
    from = fmax(from, 0);
    to = fmin(to, width);
    if (from >= to) return;
    int first = (int)from;
    int last = (int)to;
    if (first == last) {
        row[first] += (float)(to - from) * weight;
        return;
    }
    row[first] += (float)(first + 1 - from) * weight;
    for (int x = first + 1; x < last; x++) row[x] += weight;
    if (last < width) row[last] += (float)(to - last) * weight;
}

void toy_coverage(int shape, double cx, double cy, double r, int x0, int y0, int width, int height, float *mask) {
    memset(mask, 0, sizeof *mask * (size_t)width * (size_t)height);
    for (int y = 0; y < height; y++) {
        for (int line = 0; line < LINES; line++) {
            span spans[MAX_SPANS];
            int n = shape_spans(shape, (y0 + y + (line + 0.5) / LINES - cy) / r, spans);
            for (int i = 0; i < n; i++) {
                add_span(mask + (size_t)y * (size_t)width, width, spans[i].from * r + cx - x0,
                         spans[i].to * r + cx - x0, 1.0F / LINES);
            }
        }
    }
}

static uint8_t blend(uint8_t under, uint8_t over, float alpha) {
    return (uint8_t)lrintf((float)under + ((float)over - (float)under) * alpha);
}

static void blend_pixel(uint8_t *pixel, toy_rgb colour, float alpha) {
    pixel[0] = blend(pixel[0], colour.r, alpha);
    pixel[1] = blend(pixel[1], colour.g, alpha);
    pixel[2] = blend(pixel[2], colour.b, alpha);
}

void toy_fill(toy_picture *picture, toy_rgb colour) {
    size_t count = (size_t)picture->side * (size_t)picture->side;
    for (size_t i = 0; i < count; i++) {
        picture->pixels[3 * i] = colour.r;
        picture->pixels[3 * i + 1] = colour.g;
        picture->pixels[3 * i + 2] = colour.b;
    }
}

void toy_draw_shape(toy_picture *picture, int shape, double cx, double cy, double r, toy_rgb colour, bool hard) {
    int side = picture->side;
    cx *= side;
    cy *= side;
    r *= side;
    /* Row by row, so that no memory is needed but a row's. */
    float row[512];
    int y_first = (int)fmax(floor(cy - r), 0), y_last = (int)fmin(ceil(cy + r), side);
    int x_first = (int)fmax(floor(cx - r), 0), x_last = (int)fmin(ceil(cx + r), side);
    for (int y = y_first; y < y_last; y++) {
        for (int x0 = x_first; x0 < x_last; x0 += 512) {
            int width = x_last - x0 < 512 ? x_last - x0 : 512;
            toy_coverage(shape, cx, cy, r, x0, y, width, 1, row);
            for (int x = 0; x < width; x++) {
                float alpha = hard ? (row[x] >= 0.5F ? 1.0F : 0.0F) : fminf(row[x], 1.0F);
                if (alpha > 0)
                    blend_pixel(&picture->pixels[3 * ((size_t)y * (size_t)side + (size_t)(x0 + x))], colour, alpha);
            }
        }
    }
}

void toy_draw_picture(toy_picture *picture, const toy_scene *scene) {
    toy_fill(picture, toy_backgrounds[scene->background]);
    for (int i = 0; i < scene->count; i++) {
        const toy_object *o = &scene->objects[i];
        double x, y;
        toy_centre(o, &x, &y);
        toy_draw_shape(picture, o->shape, x, y, toy_radii[o->size], toy_colours[o->colour], false);
    }
}

void toy_draw_segmentation(toy_picture *picture, const toy_scene *scene, bool hard) {
    toy_fill(picture, (toy_rgb){0, 0, 0});
    for (int i = 0; i < scene->count; i++) {
        const toy_object *o = &scene->objects[i];
        double x, y;
        toy_centre(o, &x, &y);
        toy_draw_shape(picture, o->shape, x, y, toy_radii[o->size], toy_class_colours[o->shape], hard);
    }
}

/* --- outlines: short segments, each painted as the band of points near it --- */

/* A pixel is 4 x 4 samples, one bit each, in a map over the whole picture. */
enum { SAMPLES = 4 };

typedef struct pen {
    toy_picture *picture;
    uint16_t *samples;
    double half; /* half of the line's width in pixels */
    double cx, cy, r;
    int shape;
} pen;

static double distance_to_segment(double x, double y, const double *a, const double *b) {
    double dx = b[0] - a[0], dy = b[1] - a[1];
    double length = dx * dx + dy * dy;
    double t = length > 0 ? ((x - a[0]) * dx + (y - a[1]) * dy) / length : 0;
    t = fmin(fmax(t, 0), 1);
    return hypot(x - a[0] - t * dx, y - a[1] - t * dy);
}

/* Marks the samples near the segment from a to b, given in units of the radius about the centre. */
static void mark_segment(const pen *p, double ax, double ay, double bx, double by) {
    double a[2] = {p->cx + ax * p->r, p->cy + ay * p->r};
    double b[2] = {p->cx + bx * p->r, p->cy + by * p->r};
    int side = p->picture->side;
    int limit = side * SAMPLES - 1;
    int x_first = (int)fmax(floor((fmin(a[0], b[0]) - p->half) * SAMPLES), 0);
    int x_last = (int)fmin(ceil((fmax(a[0], b[0]) + p->half) * SAMPLES), limit);
    int y_first = (int)fmax(floor((fmin(a[1], b[1]) - p->half) * SAMPLES), 0);
    int y_last = (int)fmin(ceil((fmax(a[1], b[1]) + p->half) * SAMPLES), limit);
    for (int y = y_first; y <= y_last; y++) {
        for (int x = x_first; x <= x_last; x++) {
            if (distance_to_segment((x + 0.5) / SAMPLES, (y + 0.5) / SAMPLES, a, b) > p->half) continue;
            size_t pixel = (size_t)(y / SAMPLES) * (size_t)side + (size_t)(x / SAMPLES);
            p->samples[pixel] |= (uint16_t)(1u << (y % SAMPLES * SAMPLES + x % SAMPLES));
        }
    }
}

/* An edge of a polygon, in pieces, without those that lie within the rest of the shape (as in a heart). */
static void mark_edge(const pen *p, const double *a, const double *b) {
    enum { PIECES = 16 };
    double nx = b[1] - a[1], ny = a[0] - b[0];
    double length = hypot(nx, ny);
    for (int i = 0; i < PIECES; i++) {
        double t0 = (double)i / PIECES, t1 = (double)(i + 1) / PIECES, t = (t0 + t1) / 2;
        double x = a[0] + t * (b[0] - a[0]) + 0.01 * nx / length;
        double y = a[1] + t * (b[1] - a[1]) + 0.01 * ny / length;
        if (toy_inside(p->shape, x, y)) continue;
        mark_segment(p, a[0] + t0 * (b[0] - a[0]), a[1] + t0 * (b[1] - a[1]), a[0] + t1 * (b[0] - a[0]),
                     a[1] + t1 * (b[1] - a[1]));
    }
}

/* Corners go clockwise as seen on the screen, so that (dy, -dx) points outwards. */
static void mark_polygon(const pen *p, const double (*points)[2], int count) {
    for (int i = 0; i < count; i++) mark_edge(p, points[i], points[(i + 1) % count]);
}

static void mark_circle(const pen *p, double cx, double cy, double r) {
    enum { PIECES = 120 };
    for (int i = 0; i < PIECES; i++) {
        double t0 = 2 * M_PI * i / PIECES, t1 = 2 * M_PI * (i + 1) / PIECES, t = (t0 + t1) / 2;
        double outer = r + 0.01;
        /* The hole of a ring has the shape outside and nothing inside. */
        bool hole = p->shape == TOY_RING && r < 1;
        if (!hole && toy_inside(p->shape, cx + outer * cos(t), cy + outer * sin(t))) continue;
        mark_segment(p, cx + r * cos(t0), cy + r * sin(t0), cx + r * cos(t1), cy + r * sin(t1));
    }
}

static void mark_outline(const pen *p) {
    static const double h = square_half, w = cross_half;
    const double square[4][2] = {{-h, -h}, {h, -h}, {h, h}, {-h, h}};
    const double cross[12][2] = {{-w, -1}, {w, -1}, {w, -w}, {1, -w}, {1, w},   {w, w},
                                 {w, 1},   {-w, 1}, {-w, w}, {-1, w}, {-1, -w}, {-w, -w}};
    double star[10][2];
    switch (p->shape) {
    case TOY_CIRCLE:
        mark_circle(p, 0, 0, 1);
        break;
    case TOY_RING:
        mark_circle(p, 0, 0, 1);
        mark_circle(p, 0, 0, ring_hole);
        break;
    case TOY_SQUARE:
        mark_polygon(p, square, 4);
        break;
    case TOY_TRIANGLE:
        mark_polygon(p, triangle_points, 3);
        break;
    case TOY_DIAMOND:
        mark_polygon(p, diamond_points, 4);
        break;
    case TOY_STAR:
        star_points(star);
        mark_polygon(p, (const double(*)[2])star, 10);
        break;
    case TOY_HEART:
        mark_circle(p, -heart_disc_x, heart_disc_y, heart_disc_r);
        mark_circle(p, heart_disc_x, heart_disc_y, heart_disc_r);
        mark_polygon(p, heart_triangle, 3);
        break;
    case TOY_CROSS:
        mark_polygon(p, cross, 12);
        break;
    default:
        break;
    }
}

bool toy_draw_outlines(toy_picture *picture, const toy_scene *scene) {
    toy_fill(picture, (toy_rgb){0, 0, 0});
    size_t count = (size_t)picture->side * (size_t)picture->side;
    uint16_t *samples = calloc(count, sizeof *samples);
    if (!samples) return false;
    for (int i = 0; i < scene->count; i++) {
        const toy_object *o = &scene->objects[i];
        pen p = {.picture = picture, .samples = samples, .half = picture->side / 128.0, .shape = o->shape};
        toy_centre(o, &p.cx, &p.cy);
        p.cx *= picture->side;
        p.cy *= picture->side;
        p.r = toy_radii[o->size] * picture->side;
        mark_outline(&p);
    }
    for (size_t i = 0; i < count; i++) {
        if (samples[i] == 0) continue;
        float alpha = (float)__builtin_popcount(samples[i]) / (SAMPLES * SAMPLES);
        blend_pixel(&picture->pixels[3 * i], (toy_rgb){255, 255, 255}, alpha);
    }
    free(samples);
    return true;
}
