/* Antialiased resampling with the bytes of Pillow 13: two passes of fixed-point weights, with bytes in between. */
#include "image/resample.h"

#include <math.h>
#include <string.h>

#include "base/memory.h"
#include "image/image.h"

/*
 * Weights are whole numbers of 2^-22: 32 bits less 8 of the pixel and 2 for sums beyond its range. The positive ones of
 * a place sum to at most 1.29, at the edge of a picture two pixels wide, so 32 bits hold every sum.
 */
#define PRECISION 22

/* --- filters ------------------------------------------------------------------------------------------------------ */

typedef struct cm3_kernel {
    double (*weight)(double x);
    double reach; /**< the weight is 0 from here on */
} cm3_kernel;

/* Keys' cubic with a = -1/2. The order of operations is part of the result. */
static double bicubic(double x) {
    const double a = -0.5;
    x = fabs(x);
    if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
    if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
    return 0.0;
}

static double sinc(double x) {
    if (x == 0.0) return 1.0;
    x *= M_PI;
    return sin(x) / x;
}

static double lanczos(double x) {
    return x >= -3.0 && x < 3.0 ? sinc(x) * sinc(x / 3.0) : 0.0;
}

/* --- weights of one axis ------------------------------------------------------------------------------------------ */

/** For each place of the window: which inputs count, and how much. */
typedef struct cm3_axis {
    int32_t *first, *count; /**< [places] */
    int32_t *weights;       /**< [places, most], in 2^-22 */
    double *exact;          /**< [most], while weights are made */
    size_t places, most;
    int32_t low, high; /**< inputs low..high-1 are read by any place */
} cm3_axis;

static void axis_free(cm3_context *context, cm3_axis *axis) {
    cm3_free(context, axis->first);
    cm3_free(context, axis->count);
    cm3_free(context, axis->weights);
    cm3_free(context, axis->exact);
}

static cm3_status axis_allocate(cm3_context *context, cm3_axis *axis) {
    size_t places = axis->places;
    axis->first = cm3_calloc(context, places, sizeof *axis->first);
    axis->count = cm3_calloc(context, places, sizeof *axis->count);
    axis->exact = cm3_calloc(context, axis->most, sizeof *axis->exact);
    size_t all;
    if (cm3_mul_size(places, axis->most, &all)) axis->weights = cm3_calloc(context, all, sizeof *axis->weights);
    if (axis->first != NULL && axis->count != NULL && axis->exact != NULL && axis->weights != NULL) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_NO_MEMORY, "resampling: no memory for %zu places of %zu weights", places,
                    axis->most);
}

/* The weights of the output whose middle is at `centre` of the input. */
static void axis_place(cm3_axis *axis, size_t place, const cm3_kernel *kernel, double centre, double stretch,
                       int32_t input) {
    double support = kernel->reach * stretch, shrink = 1.0 / stretch, sum = 0.0;
    int32_t first = centre - support + 0.5 > 0.0 ? (int32_t)(centre - support + 0.5) : 0;
    int32_t last = centre + support + 0.5 < input ? (int32_t)(centre + support + 0.5) : input;
    int32_t *weights = axis->weights + place * axis->most;
    for (int32_t i = first; i < last; ++i) {
        double weight = kernel->weight((i - centre + 0.5) * shrink);
        axis->exact[i - first] = weight;
        sum += weight;
    }
    for (int32_t i = 0; i < last - first; ++i) {
        double weight = sum != 0.0 ? axis->exact[i] / sum : axis->exact[i];
        weights[i] = (int32_t)(weight * (1 << PRECISION) + (weight < 0.0 ? -0.5 : 0.5));
    }
    axis->first[place] = first;
    axis->count[place] = last - first;
    if (first < axis->low) axis->low = first;
    if (last > axis->high) axis->high = last;
}

/* `places` from `start` of an axis of `input` pixels made `output` long. The caller frees it, after a failure too. */
static cm3_status axis_make(cm3_context *context, const cm3_kernel *kernel, int32_t input, int32_t output,
                            int32_t start, int32_t places, cm3_axis *axis) {
    double scale = (double)input / output, stretch = scale < 1.0 ? 1.0 : scale;
    double most = ceil(kernel->reach * stretch) * 2 + 1;
    *axis = (cm3_axis){.low = input, .places = (size_t)places, .most = most < input ? (size_t)most : (size_t)input};
    CM3_TRY(axis_allocate(context, axis));
    for (int32_t i = 0; i < places; ++i) {
        axis_place(axis, (size_t)i, kernel, (start + (double)i + 0.5) * scale, stretch, input);
    }
    return CM3_OK;
}

/* --- passes ------------------------------------------------------------------------------------------------------- */

/** Pixels somewhere, without an owner. */
typedef struct cm3_plane {
    const uint8_t *pixels;
    size_t stride;
    int32_t x, y; /**< where its first pixel lies in the picture it is a part of: an axis counts from there */
    int32_t width, height;
} cm3_plane;

/* A part of a plane, in the picture's own numbers. */
static cm3_plane part(const cm3_plane *plane, int32_t x, int32_t y, int32_t width, int32_t height) {
    size_t skipped = (size_t)(y - plane->y) * plane->stride + 3 * (size_t)(x - plane->x);
    return (cm3_plane){plane->pixels + skipped, plane->stride, x, y, width, height};
}

static uint8_t to_byte(int32_t sum) {
    sum >>= PRECISION;
    return (uint8_t)(sum < 0 ? 0 : sum > 255 ? 255 : sum);
}

static void across_row(const uint8_t *row, int32_t row_x, const cm3_axis *axis, uint8_t *out) {
    for (size_t place = 0; place < axis->places; ++place, out += 3) {
        const int32_t *weights = axis->weights + place * axis->most;
        const uint8_t *pixel = row + 3 * (size_t)(axis->first[place] - row_x);
        int32_t red = 1 << (PRECISION - 1), green = red, blue = red;
        for (int32_t i = 0; i < axis->count[place]; ++i, pixel += 3) {
            red += weights[i] * pixel[0];
            green += weights[i] * pixel[1];
            blue += weights[i] * pixel[2];
        }
        out[0] = to_byte(red);
        out[1] = to_byte(green);
        out[2] = to_byte(blue);
    }
}

/* Along the rows: all rows of `from`, each made as long as the axis has places. */
static void pass_across(const cm3_plane *from, const cm3_axis *axis, uint8_t *to) {
    for (size_t y = 0; y < (size_t)from->height; ++y) {
        across_row(from->pixels + y * from->stride, from->x, axis, to + y * 3 * axis->places);
    }
}

/* `sums` holds a row of sums. Tap by tap, so that the inner loop runs along the row. */
static void down_row(const cm3_plane *from, const cm3_axis *axis, size_t place, int32_t *sums, uint8_t *out) {
    size_t length = 3 * (size_t)from->width;
    const int32_t *weights = axis->weights + place * axis->most;
    const uint8_t *row = from->pixels + (size_t)(axis->first[place] - from->y) * from->stride;
    for (size_t i = 0; i < length; ++i) sums[i] = 1 << (PRECISION - 1);
    for (int32_t tap = 0; tap < axis->count[place]; ++tap, row += from->stride) {
        int32_t weight = weights[tap];
        for (size_t i = 0; i < length; ++i) sums[i] += weight * row[i];
    }
    for (size_t i = 0; i < length; ++i) out[i] = to_byte(sums[i]);
}

/* Along the columns: all columns of `from`. */
static cm3_status pass_down(cm3_context *context, const cm3_plane *from, const cm3_axis *axis, uint8_t *to) {
    size_t length = 3 * (size_t)from->width;
    int32_t *sums = cm3_calloc(context, length, sizeof *sums);
    if (sums == NULL) return cm3_fail_memory(context, length * sizeof *sums, "resampling");
    for (size_t y = 0; y < axis->places; ++y) down_row(from, axis, y, sums, to + y * length);
    cm3_free(context, sums);
    return CM3_OK;
}

/* --- both axes ---------------------------------------------------------------------------------------------------- */

/** What is to be done; an axis that keeps its length is NULL. */
typedef struct cm3_job {
    cm3_context *context;
    const cm3_axis *across, *down;
    bool down_first;
    cm3_window window;
    cm3_image *result;
} cm3_job;

static cm3_status allocate_between(const cm3_job *job, size_t width, size_t height, uint8_t **pixels) {
    size_t size = 3 * width * height; /* sides of pictures: no overflow */
    *pixels = cm3_alloc(job->context, size);
    return *pixels != NULL ? CM3_OK : cm3_fail_memory(job->context, size, "resampling");
}

static cm3_status across_then_down(const cm3_job *job, const cm3_plane *from) {
    int32_t low = job->down->low, rows = job->down->high - low, width = job->window.width;
    uint8_t *between;
    CM3_TRY(allocate_between(job, (size_t)width, (size_t)rows, &between));
    cm3_plane read = part(from, 0, low, from->width, rows);
    pass_across(&read, job->across, between);
    cm3_plane narrow = {between, 3 * (size_t)width, job->window.x, low, width, rows};
    cm3_status status = pass_down(job->context, &narrow, job->down, job->result->pixels);
    cm3_free(job->context, between);
    return status;
}

static cm3_status down_then_across(const cm3_job *job, const cm3_plane *from) {
    int32_t low = job->across->low, columns = job->across->high - low, height = job->window.height;
    uint8_t *between;
    CM3_TRY(allocate_between(job, (size_t)columns, (size_t)height, &between));
    cm3_plane read = part(from, low, 0, columns, from->height);
    cm3_status status = pass_down(job->context, &read, job->down, between);
    cm3_plane flat = {between, 3 * (size_t)columns, low, job->window.y, columns, height};
    if (status == CM3_OK) pass_across(&flat, job->across, job->result->pixels);
    cm3_free(job->context, between);
    return status;
}

static cm3_status run(const cm3_job *job, const cm3_image *image) {
    const cm3_window *w = &job->window;
    cm3_plane all = {image->pixels, image->stride, 0, 0, image->width, image->height};
    if (job->across != NULL && job->down != NULL) {
        return job->down_first ? down_then_across(job, &all) : across_then_down(job, &all);
    }
    if (job->across != NULL) {
        cm3_plane rows = part(&all, 0, w->y, image->width, w->height);
        pass_across(&rows, job->across, job->result->pixels);
        return CM3_OK;
    }
    cm3_plane columns = part(&all, w->x, 0, w->width, image->height);
    if (job->down != NULL) return pass_down(job->context, &columns, job->down, job->result->pixels);
    for (int32_t y = 0; y < w->height; ++y) {
        memcpy(job->result->pixels + (size_t)y * job->result->stride,
               columns.pixels + (size_t)(w->y + y) * columns.stride, job->result->stride);
    }
    return CM3_OK;
}

static cm3_status check(const cm3_image *image, int32_t width, int32_t height, const cm3_window *window) {
    if (width >= 1 && height >= 1 && window->width >= 1 && window->height >= 1 && window->x >= 0 && window->y >= 0 &&
        window->x <= width - window->width && window->y <= height - window->height) {
        return CM3_OK;
    }
    return cm3_fail(image->context, CM3_ERROR_INVALID_ARGUMENT, "resampling: %d x %d pixels at (%d, %d) of %d x %d",
                    (int)window->width, (int)window->height, (int)window->x, (int)window->y, (int)width, (int)height);
}

cm3_status cm3_resample(const cm3_image *image, int32_t width, int32_t height, cm3_filter filter,
                        const cm3_window *window, cm3_image **result) {
    static const cm3_kernel kernels[] = {[CM3_FILTER_BICUBIC] = {bicubic, 2.0}, [CM3_FILTER_LANCZOS] = {lanczos, 3.0}};
    *result = NULL;
    cm3_context *context = image->context;
    if (filter != CM3_FILTER_BICUBIC && filter != CM3_FILTER_LANCZOS) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "resampling: filter %d is unknown", (int)filter);
    }
    CM3_TRY(check(image, width, height, window));
    cm3_axis across = {0}, down = {0};
    cm3_job job = {.context = context, .window = *window};
    /* Pillow's rule, new in 13: columns first where the height shrinks by more than twice what the width does. */
    int64_t lower = (int64_t)image->height - height, narrower = (int64_t)image->width - width;
    job.down_first = lower > 0 && lower > 2 * narrower;
    cm3_status status = cm3_image_allocate(context, "resampling", window->width, window->height, &job.result);
    if (status == CM3_OK && width != image->width) {
        job.across = &across;
        status = axis_make(context, &kernels[filter], image->width, width, window->x, window->width, &across);
    }
    if (status == CM3_OK && height != image->height) {
        job.down = &down;
        status = axis_make(context, &kernels[filter], image->height, height, window->y, window->height, &down);
    }
    if (status == CM3_OK) status = run(&job, image);
    axis_free(context, &across);
    axis_free(context, &down);
    if (status == CM3_OK) {
        *result = job.result;
    } else {
        cm3_image_destroy(job.result);
    }
    return status;
}
