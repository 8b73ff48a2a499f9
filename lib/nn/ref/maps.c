/* Group norm's passes over feature maps, in plain C. */
#include "nn/ref/maps.h"

#include "nn/ref/exponential.h"

static inline float get(const void *values, cm3_dtype dtype, int64_t i) {
    return dtype == CM3_BF16 ? cm3_bf16_to_f32(((const uint16_t *)values)[i]) : ((const float *)values)[i];
}

static inline void put(void *values, cm3_dtype dtype, int64_t i, float value) {
    if (dtype == CM3_BF16) {
        ((uint16_t *)values)[i] = cm3_f32_to_bf16(value);
    } else {
        ((float *)values)[i] = value;
    }
}

/** The gradient before the swish. */
static inline float inner_gradient(const cm3_map_args *a, int64_t i, int64_t k) {
    float dy = get(a->dy, a->dy_dtype, i);
    if (!a->swish) return dy;
    float u = get(a->x, a->x_dtype, i) * a->scale[k] + a->shift[k], s = cm3_sigmoid(u);
    return dy * (s + u * s * (1.0f - s));
}

void cm3_ref_map_sums(const cm3_map_args *a, int64_t first, int64_t last) {
    for (int64_t k = first; k < last; k++) {
        float sum = 0, squares = 0;
        for (int64_t p = 0; p < a->pixels; p++) {
            float x = get(a->x, a->x_dtype, p * a->channels + k) - a->centre[k];
            sum += x;
            squares += x * x;
        }
        a->sums[k] = sum;
        a->sums[a->channels + k] = squares;
    }
}

void cm3_ref_map_affine(const cm3_map_args *a, int64_t first, int64_t last) {
    for (int64_t p = 0; p < a->pixels; p++) {
        for (int64_t k = first; k < last; k++) {
            int64_t i = p * a->channels + k;
            float u = get(a->x, a->x_dtype, i) * a->scale[k] + a->shift[k];
            put(a->out, a->out_dtype, i, a->swish ? u * cm3_sigmoid(u) : u);
        }
    }
}

void cm3_ref_map_affine_sums(const cm3_map_args *a, int64_t first, int64_t last) {
    for (int64_t k = first; k < last; k++) {
        float sum = 0, products = 0;
        for (int64_t p = 0; p < a->pixels; p++) {
            int64_t i = p * a->channels + k;
            float du = inner_gradient(a, i, k);
            sum += du;
            products += du * (get(a->x, a->x_dtype, i) - a->centre[k]);
        }
        a->sums[k] = sum;
        a->sums[a->channels + k] = products;
    }
}

void cm3_ref_map_affine_backward(const cm3_map_args *a, int64_t first, int64_t last) {
    for (int64_t p = 0; p < a->pixels; p++) {
        for (int64_t k = first; k < last; k++) {
            int64_t i = p * a->channels + k;
            float dx = a->scale[k] * inner_gradient(a, i, k) +
                       (a->slope[k] * (get(a->x, a->x_dtype, i) - a->centre[k]) + a->offset[k]);
            if (a->add) dx += a->add[i];
            if (a->accumulate) dx += get(a->out, a->out_dtype, i);
            put(a->out, a->out_dtype, i, dx);
        }
    }
}

static void map_sums(const cm3_map_args *args) {
    cm3_ref_map_sums(args, 0, args->channels);
}
static void map_affine(const cm3_map_args *args) {
    cm3_ref_map_affine(args, 0, args->channels);
}
static void map_affine_sums(const cm3_map_args *args) {
    cm3_ref_map_affine_sums(args, 0, args->channels);
}
static void map_affine_backward(const cm3_map_args *args) {
    cm3_ref_map_affine_backward(args, 0, args->channels);
}

void cm3_ref_maps(cm3_kernels *kernels) {
    kernels->map_sums = map_sums;
    kernels->map_affine = map_affine;
    kernels->map_affine_sums = map_affine_sums;
    kernels->map_affine_backward = map_affine_backward;
}
