/* Types and conversions, against NumPy's and PyTorch's numbers and against the definition of a half. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/dtype.h"
#include "suites.h"

typedef struct row {
    uint32_t f32;
    uint16_t f16, bf16;
} row;

#define MAX_ROWS 8192
static row rows[MAX_ROWS];

static size_t read_rows(void) {
    FILE *file = fopen(CM3_TEST_DATA "/base/halves.bin", "rb");
    ck_assert_ptr_nonnull(file);
    size_t count = fread(rows, sizeof *rows, MAX_ROWS, file);
    fclose(file);
    ck_assert_uint_gt(count, 3000);
    return count;
}

static float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/* A half by its definition. */
static float half_value(uint16_t half) {
    int exponent = (half >> 10) & 31, mantissa = half & 1023;
    double value = exponent == 0 ? ldexp(mantissa, -24) : ldexp(1024 + mantissa, exponent - 25);
    if (exponent == 31) value = mantissa == 0 ? INFINITY : NAN;
    return (float)(half & 0x8000 ? -value : value);
}

START_TEST(every_half) {
    for (uint32_t half = 0; half < 65536; ++half) {
        float expected = half_value((uint16_t)half), found = cm3_f16_to_f32((uint16_t)half);
        if (isnan(expected)) {
            ck_assert(isnan(found));
            ck_assert_uint_gt(cm3_f32_to_f16(found) & 0x7fff, 0x7c00);
            continue;
        }
        ck_assert_uint_eq(bits_of(found), bits_of(expected));
        ck_assert_uint_eq(cm3_f32_to_f16(found), half);
    }
}
END_TEST

START_TEST(halves_as_numpy_and_pytorch) {
    size_t count = read_rows();
    for (size_t i = 0; i < count; ++i) {
        float value = float_of(rows[i].f32);
        ck_assert_msg(cm3_f32_to_f16(value) == rows[i].f16, "f16 of %08x", rows[i].f32);
        ck_assert_msg(cm3_f32_to_bf16(value) == rows[i].bf16, "bf16 of %08x", rows[i].f32);
    }
}
END_TEST

START_TEST(nan_stays_nan) {
    static const uint32_t nans[] = {0x7f800001, 0x7fc00000, 0x7fffffff, 0xff800001, 0xffffffff, 0x7f80ffff};
    for (size_t i = 0; i < sizeof nans / sizeof *nans; ++i) {
        float value = float_of(nans[i]);
        ck_assert(isnan(cm3_f16_to_f32(cm3_f32_to_f16(value))));
        ck_assert(isnan(cm3_bf16_to_f32(cm3_f32_to_bf16(value))));
    }
}
END_TEST

/* Every pair of types, lengths that leave tails, the loop against the single conversion. */
START_TEST(convert_arrays) {
    static const cm3_dtype types[] = {CM3_F32, CM3_BF16, CM3_F16};
    size_t count = read_rows();
    float *floats = malloc(count * 4), *back = malloc(count * 4), *expected = malloc(count * 4);
    void *from = malloc(count * 4), *to = malloc(count * 4);
    for (size_t i = 0; i < count; ++i) floats[i] = float_of(rows[i].f32);
    for (int a = 0; a < 3; ++a) {
        for (int b = 0; b < 3; ++b) {
            for (size_t n = 0; n < 40; ++n) {
                size_t length = n == 39 ? count : n;
                cm3_convert(from, types[a], floats, CM3_F32, length);
                cm3_convert(to, types[b], from, types[a], length);
                cm3_convert(back, CM3_F32, to, types[b], length);
                for (size_t i = 0; i < length; ++i) {
                    float value = floats[i];
                    if (types[a] == CM3_BF16) value = cm3_bf16_to_f32(rows[i].bf16);
                    if (types[a] == CM3_F16) value = half_value(rows[i].f16);
                    if (types[b] == CM3_BF16) value = cm3_bf16_to_f32(cm3_f32_to_bf16(value));
                    if (types[b] == CM3_F16) value = half_value(cm3_f32_to_f16(value));
                    expected[i] = value;
                }
                ck_assert_int_eq(memcmp(back, expected, length * 4), 0);
            }
        }
    }
    free(floats), free(back), free(expected), free(from), free(to);
}
END_TEST

START_TEST(names_and_sizes) {
    static const struct {
        cm3_dtype dtype;
        const char *name;
        size_t size;
    } all[] = {{CM3_F32, "F32", 4}, {CM3_BF16, "BF16", 2}, {CM3_F16, "F16", 2}, {CM3_I32, "I32", 4},
               {CM3_U8, "U8", 1},   {CM3_I8, "I8", 1},     {CM3_I64, "I64", 8}};
    for (size_t i = 0; i < sizeof all / sizeof *all; ++i) {
        ck_assert_str_eq(cm3_dtype_name(all[i].dtype), all[i].name);
        ck_assert_int_eq(cm3_dtype_parse(all[i].name), all[i].dtype);
        ck_assert_uint_eq(cm3_dtype_size(all[i].dtype), all[i].size);
    }
    ck_assert_int_eq(cm3_dtype_parse("F8"), CM3_DTYPE_NONE);
    ck_assert_int_eq(cm3_dtype_parse(""), CM3_DTYPE_NONE);
    ck_assert_uint_eq(cm3_dtype_size(CM3_DTYPE_NONE), 0);
    ck_assert_ptr_nonnull(cm3_dtype_name((cm3_dtype)99));
}
END_TEST

START_TEST(equal_types_are_copied) {
    static const int64_t numbers[3] = {INT64_MIN, 0, 77};
    int64_t copy[3];
    cm3_convert(copy, CM3_I64, numbers, CM3_I64, 3);
    ck_assert_mem_eq(copy, numbers, sizeof numbers);
}
END_TEST

Suite *dtype_suite(void) {
    Suite *suite = suite_create("dtype");
    TCase *tests = tcase_create("dtype");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, every_half);
    tcase_add_test(tests, halves_as_numpy_and_pytorch);
    tcase_add_test(tests, nan_stays_nan);
    tcase_add_test(tests, convert_arrays);
    tcase_add_test(tests, names_and_sizes);
    tcase_add_test(tests, equal_types_are_copied);
    suite_add_tcase(suite, tests);
    return suite;
}
