/* The kernels of feature maps at every level against the portable ones, of all types and at odd sizes. */
#include "kernel_cases.h"
#include "suites.h"

typedef struct map_case {
    cm3_map_args args;
    void *x, *dy, *out;
    float *numbers[5], *add, *sums;
} map_case;

static void *map_of(numbers_state *numbers, int64_t count, cm3_dtype dtype) {
    float *values = some(numbers, count, 2);
    if (dtype == CM3_F32) return values;
    uint16_t *small = rounded(values, count);
    free(values);
    return small;
}

static void make_case(numbers_state *numbers, map_case *m, int variant) {
    int64_t pixels = next_below(numbers, 40) + 1, channels = next_size(numbers), count = pixels * channels;
    cm3_map_args *a = &m->args;
    *a = (cm3_map_args){.pixels = pixels,
                        .channels = channels,
                        .swish = variant & 1,
                        .x_dtype = variant & 2 ? CM3_BF16 : CM3_F32,
                        .dy_dtype = variant & 4 ? CM3_BF16 : CM3_F32,
                        .out_dtype = variant & 8 ? CM3_BF16 : CM3_F32,
                        .accumulate = variant & 16};
    a->x = m->x = map_of(numbers, count, a->x_dtype);
    a->dy = m->dy = map_of(numbers, count, a->dy_dtype);
    a->out = m->out = map_of(numbers, count, a->out_dtype);
    for (int i = 0; i < 5; i++) m->numbers[i] = some(numbers, channels, i == 0 ? 30 : 1);
    a->scale = m->numbers[0];
    a->shift = m->numbers[1];
    a->centre = m->numbers[2];
    a->slope = m->numbers[3];
    a->offset = m->numbers[4];
    m->add = some(numbers, count, 1);
    a->add = variant & 32 ? m->add : NULL;
    a->sums = m->sums = some(numbers, 2 * channels, 1);
}

static void free_case(map_case *m) {
    free(m->x);
    free(m->dy);
    free(m->out);
    for (int i = 0; i < 5; i++) free(m->numbers[i]);
    free(m->add);
    free(m->sums);
}

static double value_at(const void *map, cm3_dtype dtype, int64_t i) {
    return (double)(dtype == CM3_BF16 ? cm3_bf16_to_f32(((const uint16_t *)map)[i]) : ((const float *)map)[i]);
}

static void compare_maps(const cm3_kernels *kernels, const char *what, map_case *m, void (*fn)(const cm3_map_args *),
                         void (*portable)(const cm3_map_args *)) {
    int64_t count = m->args.pixels * m->args.channels;
    size_t bytes = (size_t)count * cm3_dtype_size(m->args.out_dtype);
    void *mine = block(bytes), *theirs = block(bytes);
    memcpy(mine, m->out, bytes);
    memcpy(theirs, m->out, bytes);
    m->args.out = mine;
    fn(&m->args);
    m->args.out = theirs;
    portable(&m->args);
    for (int64_t i = 0; i < count; i++) {
        expect(kernels, what, i, value_at(mine, m->args.out_dtype, i), value_at(theirs, m->args.out_dtype, i),
               m->args.out_dtype == CM3_BF16 ? 0.01 : 2e-5);
    }
    free(mine);
    free(theirs);
}

static void compare_sums(const cm3_kernels *kernels, const char *what, map_case *m, void (*fn)(const cm3_map_args *),
                         void (*portable)(const cm3_map_args *)) {
    int64_t count = 2 * m->args.channels;
    float *mine = block((size_t)count * sizeof(float)), *theirs = block((size_t)count * sizeof(float));
    m->args.sums = mine;
    fn(&m->args);
    m->args.sums = theirs;
    portable(&m->args);
    for (int64_t i = 0; i < count; i++) expect(kernels, what, i, (double)mine[i], (double)theirs[i], 2e-5);
    free(mine);
    free(theirs);
}

START_TEST(maps) {
    const cm3_kernels *kernels = level_kernels(_i), *portable = cm3_kernels_get(CM3_CPU_C);
    if (!kernels) return;
    numbers_state numbers = {11};
    for (int variant = 0; variant < 64; variant++) {
        for (int round = 0; round < 6; round++) {
            map_case m;
            make_case(&numbers, &m, variant);
            compare_sums(kernels, "map_sums", &m, kernels->map_sums, portable->map_sums);
            compare_sums(kernels, "map_affine_sums", &m, kernels->map_affine_sums, portable->map_affine_sums);
            compare_maps(kernels, "map_affine", &m, kernels->map_affine, portable->map_affine);
            compare_maps(kernels, "map_affine_backward", &m, kernels->map_affine_backward,
                         portable->map_affine_backward);
            free_case(&m);
        }
    }
}
END_TEST

Suite *kernels_maps_suite(void) {
    Suite *suite = suite_create("nn/kernels_maps");
    TCase *tcase = tcase_create("maps");
    tcase_add_loop_test(tcase, maps, 0, KERNEL_LEVELS);
    suite_add_tcase(suite, tcase);
    return suite;
}
