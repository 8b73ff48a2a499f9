/*
 * Group norm of feature maps. Sums run over blocks of pixels that do not depend on the team, and the blocks are added
 * up in their order, so that results do not either. Whole images are parted among the team, since an image may stay in
 * a member's cache between its passes; where there are fewer images than members, blocks are.
 */
#include "nn/map_norm.h"

#include <math.h>

/** Pixels summed in f32 before the sum goes into a double. */
#define CM3_BLOCK 256

typedef struct cm3_norm_run {
    cm3_graph *graph;
    cm3_map_norm norm;
    int64_t blocks; /**< of an image */
    float *sums;    /**< [images, blocks, 2, channels] */
    void *y;
    cm3_dtype y_dtype;
    /* backward */
    const void *dy;
    cm3_dtype dy_dtype;
    float *slope, *offset; /**< [images, channels] */
    float *totals;         /**< [images, 2, channels]: sums of du and of du xhat */
    const float *add;
    void *dx;
    cm3_dtype dx_dtype;
    bool accumulate;
} cm3_norm_run;

static const void *at(const void *map, cm3_dtype dtype, int64_t index) {
    return (const char *)map + (size_t)index * cm3_dtype_size(dtype);
}

/** Arguments of the kernels for block `item` of all. */
static cm3_map_args block_args(const cm3_norm_run *r, int64_t item) {
    const cm3_map_norm *n = &r->norm;
    int64_t image = item / r->blocks, first = item % r->blocks * CM3_BLOCK, c = n->channels;
    int64_t left = n->pixels - first, map = (image * n->pixels + first) * c;
    cm3_map_args args = {.pixels = left < CM3_BLOCK ? left : CM3_BLOCK,
                         .channels = c,
                         .swish = n->swish,
                         .x_dtype = n->x_dtype,
                         .x = at(n->x, n->x_dtype, map),
                         .scale = n->scale + image * c,
                         .shift = n->shift + image * c,
                         .centre = n->centre + image * c,
                         .sums = r->sums + item * 2 * c};
    if (r->y) {
        args.out = (void *)at(r->y, r->y_dtype, map);
        args.out_dtype = r->y_dtype;
    }
    if (r->dy) {
        args.dy = at(r->dy, r->dy_dtype, map);
        args.dy_dtype = r->dy_dtype;
        args.slope = r->slope + image * c;
        args.offset = r->offset + image * c;
        args.add = r->add ? r->add + map : NULL;
        args.accumulate = r->accumulate;
        args.out = r->dx ? (void *)at(r->dx, r->dx_dtype, map) : NULL;
        args.out_dtype = r->dx_dtype;
    }
    return args;
}

/** Sums of one channel over an image's blocks. */
static void channel_sums(const cm3_norm_run *r, int64_t image, int64_t k, double *first, double *second) {
    int64_t c = r->norm.channels;
    const float *sums = r->sums + image * r->blocks * 2 * c + k;
    *first = *second = 0;
    for (int64_t b = 0; b < r->blocks; b++, sums += 2 * c) {
        *first += (double)sums[0];
        *second += (double)sums[c];
    }
}

/* --- forward -------------------------------------------------------------------------------------------------------
 */

/** Sums are taken around the image's first pixel, so that a mean far from zero costs no digits. */
static void set_centre(const cm3_norm_run *r, int64_t image) {
    const cm3_map_norm *n = &r->norm;
    const void *pixel = at(n->x, n->x_dtype, image * n->pixels * n->channels);
    cm3_convert(n->centre + image * n->channels, CM3_F32, pixel, n->x_dtype, (size_t)n->channels);
}

static void finish_group(const cm3_norm_run *r, int64_t image, int64_t first, int64_t width) {
    const cm3_map_norm *n = &r->norm;
    float *centre = n->centre + image * n->channels, *rstd = n->rstd + image * n->channels;
    float *scale = n->scale + image * n->channels, *shift = n->shift + image * n->channels;
    double pixels = (double)n->pixels, mean = 0, deviation = 0, sum, squares;
    for (int64_t k = first; k < first + width; k++) {
        channel_sums(r, image, k, &sum, &squares);
        mean += ((double)centre[k] + sum / pixels) / (double)width;
    }
    for (int64_t k = first; k < first + width; k++) {
        channel_sums(r, image, k, &sum, &squares);
        double apart = (double)centre[k] + sum / pixels - mean;
        deviation += squares - sum * sum / pixels + pixels * apart * apart;
    }
    double variance = deviation / (pixels * (double)width);
    double inverse = 1 / sqrt((variance > 0 ? variance : 0) + (double)n->epsilon);
    for (int64_t k = first; k < first + width; k++) {
        centre[k] = (float)mean;
        rstd[k] = (float)inverse;
        scale[k] = (float)(inverse * (double)cm3_f32(n->gamma)[k]);
        shift[k] = (float)((double)cm3_f32(n->beta)[k] - mean * inverse * (double)cm3_f32(n->gamma)[k]);
    }
}

static void finish_forward(const cm3_norm_run *r, int64_t image) {
    int64_t width = r->norm.channels / r->norm.groups;
    for (int64_t g = 0; g < r->norm.groups; g++) finish_group(r, image, g * width, width);
}

static void sum_blocks(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_norm_run *r = arg;
    for (int64_t item = begin; item < end; item++) {
        cm3_map_args args = block_args(r, item);
        r->graph->kernels->map_sums(&args);
    }
}

static void apply_blocks(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_norm_run *r = arg;
    for (int64_t item = begin; item < end; item++) {
        cm3_map_args args = block_args(r, item);
        r->graph->kernels->map_affine(&args);
    }
}

static void forward_images(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_norm_run *r = arg;
    for (int64_t image = begin; image < end; image++) {
        set_centre(r, image);
        sum_blocks(arg, image * r->blocks, (image + 1) * r->blocks, member);
        finish_forward(r, image);
        apply_blocks(arg, image * r->blocks, (image + 1) * r->blocks, member);
    }
}

static bool by_images(const cm3_norm_run *r) {
    return r->norm.images >= cm3_team_size(r->graph->team);
}

static int64_t block_grain(const cm3_norm_run *r) {
    return 1 + 16384 / (CM3_BLOCK * r->norm.channels + 1);
}

bool cm3_map_norm_forward(cm3_graph *graph, cm3_map_norm *norm, void *y, cm3_dtype y_dtype) {
    size_t bytes = (size_t)(norm->images * norm->channels) * sizeof(float);
    norm->scale = cm3_graph_scratch(graph, bytes);
    norm->shift = cm3_graph_scratch(graph, bytes);
    norm->centre = cm3_graph_scratch(graph, bytes);
    norm->rstd = cm3_graph_scratch(graph, bytes);
    cm3_norm_run r = {.graph = graph,
                      .norm = *norm,
                      .blocks = (norm->pixels + CM3_BLOCK - 1) / CM3_BLOCK,
                      .y = y,
                      .y_dtype = y_dtype};
    r.sums = cm3_graph_scratch(graph, bytes * 2 * (size_t)r.blocks);
    if (graph->status != CM3_OK || graph->idle) return graph->status == CM3_OK;
    if (by_images(&r)) {
        cm3_graph_for(graph, norm->images, 1, forward_images, &r);
        return true;
    }
    for (int64_t image = 0; image < norm->images; image++) set_centre(&r, image);
    cm3_graph_for(graph, norm->images * r.blocks, block_grain(&r), sum_blocks, &r);
    for (int64_t image = 0; image < norm->images; image++) finish_forward(&r, image);
    cm3_graph_for(graph, norm->images * r.blocks, block_grain(&r), apply_blocks, &r);
    return true;
}

/* --- backward ------------------------------------------------------------------------------------------------------
 */

/*
 * With xhat = (x - mean) rstd, y = swish(gamma xhat + beta) and du the gradient before the swish, over each group:
 * dx = rstd (gamma du - mean(gamma du) - xhat mean(gamma du xhat)).
 */
static void finish_backward(const cm3_norm_run *r, int64_t image) {
    const cm3_map_norm *n = &r->norm;
    int64_t c = n->channels, width = c / n->groups;
    const float *gamma = cm3_f32(n->gamma), *rstd = n->rstd + image * c;
    float *slope = r->slope + image * c, *offset = r->offset + image * c, *totals = r->totals + image * 2 * c;
    for (int64_t first = 0; first < c; first += width) {
        double plain = 0, turned = 0, count = (double)(n->pixels * width), scale = (double)rstd[first];
        for (int64_t k = first; k < first + width; k++) {
            double sum, products;
            channel_sums(r, image, k, &sum, &products);
            totals[k] = (float)sum;
            totals[c + k] = (float)(products * scale);
            plain += (double)gamma[k] * sum;
            turned += (double)gamma[k] * products * scale;
        }
        for (int64_t k = first; k < first + width; k++) {
            slope[k] = (float)(-scale * scale * turned / count);
            offset[k] = (float)(-scale * plain / count);
        }
    }
}

static void sum_gradient_blocks(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_norm_run *r = arg;
    for (int64_t item = begin; item < end; item++) {
        cm3_map_args args = block_args(r, item);
        r->graph->kernels->map_affine_sums(&args);
    }
}

static void apply_gradient_blocks(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_norm_run *r = arg;
    for (int64_t item = begin; item < end && r->dx; item++) {
        cm3_map_args args = block_args(r, item);
        r->graph->kernels->map_affine_backward(&args);
    }
}

static void backward_images(void *arg, int64_t begin, int64_t end, int member) {
    const cm3_norm_run *r = arg;
    for (int64_t image = begin; image < end; image++) {
        sum_gradient_blocks(arg, image * r->blocks, (image + 1) * r->blocks, member);
        finish_backward(r, image);
        apply_gradient_blocks(arg, image * r->blocks, (image + 1) * r->blocks, member);
    }
}

static void parameter_gradients(cm3_graph *graph, const cm3_norm_run *r) {
    int64_t c = r->norm.channels;
    float *dgamma = cm3_graph_grad_add(graph, r->norm.gamma), *dbeta = cm3_graph_grad_add(graph, r->norm.beta);
    for (int64_t image = 0; image < r->norm.images; image++) {
        const float *totals = r->totals + image * 2 * c;
        if (dgamma) graph->kernels->add(dgamma, dgamma, totals + c, c);
        if (dbeta) graph->kernels->add(dbeta, dbeta, totals, c);
    }
}

bool cm3_map_norm_backward(cm3_graph *graph, const cm3_map_norm *norm, const void *dy, cm3_dtype dy_dtype, void *dx,
                           cm3_dtype dx_dtype, bool accumulate, const float *add) {
    size_t bytes = (size_t)(norm->images * norm->channels) * sizeof(float);
    cm3_norm_run r = {.graph = graph,
                      .norm = *norm,
                      .blocks = (norm->pixels + CM3_BLOCK - 1) / CM3_BLOCK,
                      .dy = dy,
                      .dy_dtype = dy_dtype,
                      .add = add,
                      .dx = dx,
                      .dx_dtype = dx_dtype,
                      .accumulate = accumulate};
    r.sums = cm3_graph_scratch(graph, bytes * 2 * (size_t)r.blocks);
    r.slope = cm3_graph_scratch(graph, bytes);
    r.offset = cm3_graph_scratch(graph, bytes);
    r.totals = cm3_graph_scratch(graph, 2 * bytes);
    if (graph->status != CM3_OK) return false;
    if (by_images(&r)) {
        cm3_graph_for(graph, norm->images, 1, backward_images, &r);
    } else {
        cm3_graph_for(graph, norm->images * r.blocks, block_grain(&r), sum_gradient_blocks, &r);
        for (int64_t image = 0; image < norm->images; image++) finish_backward(&r, image);
        cm3_graph_for(graph, norm->images * r.blocks, block_grain(&r), apply_gradient_blocks, &r);
    }
    parameter_gradients(graph, &r);
    return graph->status == CM3_OK;
}
