/* Banks of random records for tests. */
#ifndef RETRIEVE_SUPPORT_H
#define RETRIEVE_SUPPORT_H

#include <math.h>

#include "base/random.h"
#include "cm3leon/bank.h"
#include "support/fixture.h"

/* Record `number` of a world that is a function of `seed`: its text, key, codes and vector. */
typedef struct made_record {
    char text[64], key[32];
    int32_t codes[8];
    float vector[1024];
} made_record;

static inline cm3_bank_record make_record(made_record *made, uint64_t seed, uint64_t number, int64_t dimension) {
    cm3_random random = cm3_random_make(seed, number);
    snprintf(made->text, sizeof made->text, "the text of record %llu", (unsigned long long)number);
    snprintf(made->key, sizeof made->key, "key-%llu", (unsigned long long)number);
    for (int i = 0; i < 8; i++) made->codes[i] = (int32_t)cm3_random_below(&random, number % 3 ? 1024 : 200000);
    for (int64_t i = 0; i < dimension; i++) made->vector[i] = (float)cm3_random_normal(&random);
    return (cm3_bank_record){.struct_size = sizeof(cm3_bank_record),
                             .key = made->key,
                             .text = made->text,
                             .codes = made->codes,
                             .code_count = 8,
                             .vector = made->vector};
}

static inline cm3_bank *make_bank(cm3_context *context, const char *path, cm3_vector_type type, int32_t dimension) {
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.vectors = type;
    options.dimension = dimension;
    cm3_bank *bank;
    ck_assert_msg(cm3_bank_create(context, path, &options, &bank) == CM3_OK, "%s", cm3_context_message(context));
    return bank;
}

/* Adds records first..first + count - 1 of a world in one call. */
static inline cm3_status add_records(cm3_bank *bank, uint64_t seed, uint64_t first, size_t count, int64_t dimension,
                                     uint64_t *ids) {
    made_record *made = malloc(count * sizeof *made);
    cm3_bank_record *records = malloc(count * sizeof *records);
    for (size_t i = 0; i < count; i++) records[i] = make_record(&made[i], seed, first + i, dimension);
    cm3_status status = cm3_bank_add(bank, records, count, NULL, ids);
    free(made);
    free(records);
    return status;
}

static inline cm3_bank_info info_of(const cm3_bank *bank) {
    cm3_bank_info info = {.struct_size = sizeof info};
    ck_assert_int_eq(cm3_bank_get_info(bank, &info), CM3_OK);
    return info;
}

/* Record `id` of the bank is record `number` of the world. */
static inline void check_record(const cm3_bank *bank, uint64_t id, uint64_t seed, uint64_t number, int64_t dimension,
                                double tolerance) {
    made_record made;
    const cm3_bank_record expected = make_record(&made, seed, number, dimension);
    cm3_bank_record *got;
    ck_assert_int_eq(cm3_bank_get(bank, id, &got), CM3_OK);
    ck_assert_uint_eq(got->id, id);
    ck_assert_str_eq(got->text, expected.text);
    ck_assert_str_eq(got->key, expected.key);
    ck_assert_ptr_null(got->image);
    ck_assert_uint_eq(got->code_count, 8);
    ck_assert_mem_eq(got->codes, expected.codes, 8 * sizeof *got->codes);
    double length = 0;
    for (int64_t i = 0; i < dimension; i++) length += (double)expected.vector[i] * expected.vector[i];
    for (int64_t i = 0; i < dimension; i++) {
        ck_assert_double_eq_tol(got->vector[i], expected.vector[i] / sqrt(length), tolerance);
    }
    cm3_bank_record_destroy(bank, got);
}

#endif
