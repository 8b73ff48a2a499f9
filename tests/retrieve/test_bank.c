/* Adding, finding, taking out, writing anew, putting together; who may write; what is refused. */
#include <signal.h>
#include <sys/resource.h>

#include "suites.h"
#include "support.h"

#define D 32

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static const char *message(void) {
    return cm3_context_message(fixture.context);
}

static const cm3_vector_type types[] = {CM3_VECTORS_F32, CM3_VECTORS_BF16, CM3_VECTORS_INT8};
static const double tolerances[] = {1e-7, 2e-3, 5e-3};

/* What is written is read: at once, and by another reader, and after it was opened again. */
START_TEST(what_goes_in_comes_out) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, types[_i], D), *reader;
    uint64_t ids[7];
    ck_assert_int_eq(add_records(bank, 1, 0, 7, D, ids), CM3_OK);
    ck_assert_int_eq(add_records(bank, 1, 7, 500, D, NULL), CM3_OK);
    for (uint64_t i = 0; i < 7; i++) ck_assert_uint_eq(ids[i], i);
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < 507; i++) check_record(bank, i, 1, i, D, tolerances[_i]);
        ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &reader), CM3_OK);
        for (uint64_t i = 0; i < 507; i += 13) check_record(reader, i, 1, i, D, tolerances[_i]);
        cm3_bank_info info = info_of(reader);
        ck_assert_uint_eq(info.records, 507);
        ck_assert_uint_eq(info.end, 507);
        ck_assert_uint_eq(info.left_over, 0);
        ck_assert_int_eq(info.dimension, D);
        ck_assert_int_eq(info.vectors, types[_i]);
        cm3_bank_destroy(reader);
        cm3_bank_destroy(bank);
        ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &bank), CM3_OK);
    }
    uint64_t id;
    ck_assert_int_eq(cm3_bank_find(bank, "key-300", &id), CM3_OK);
    ck_assert_uint_eq(id, 300);
    ck_assert_int_eq(cm3_bank_find(bank, "key-3000", &id), CM3_ERROR_NOT_FOUND);
    cm3_bank_record *record;
    ck_assert_int_eq(cm3_bank_get(bank, 507, &record), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_null(record);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
}
END_TEST

START_TEST(every_kind_of_record) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_F32, 3);
    const float vector[3] = {0, 3, 4};
    const int32_t none[1] = {0};
    const cm3_bank_record records[] = {
        {.struct_size = sizeof *records, .text = "", .vector = vector},
        {.struct_size = sizeof *records, .image = "\xff\xd8 bytes", .image_size = 8, .vector = vector},
        {.struct_size = sizeof *records, .codes = none, .code_count = 0, .vector = vector, .key = "no codes"},
        {.struct_size = sizeof *records, .text = "grün", .image = "x", .image_size = 1, .vector = vector, .key = "k"},
        {.struct_size = sizeof *records, .image = "grünx", .image_size = 6, .vector = vector},
    };
    uint64_t ids[5];
    ck_assert_msg(cm3_bank_add(bank, records, 5, NULL, ids) == CM3_OK, "%s", message());
    for (uint64_t i = 0; i < 5; i++) {
        cm3_bank_record *got;
        ck_assert_uint_eq(ids[i], i);
        ck_assert_int_eq(cm3_bank_get(bank, i, &got), CM3_OK);
        ck_assert((got->text == NULL) == (records[i].text == NULL));
        if (got->text) ck_assert_str_eq(got->text, records[i].text);
        ck_assert_str_eq(got->key, records[i].key ? records[i].key : "");
        ck_assert_uint_eq(got->image_size, records[i].image_size);
        if (got->image) ck_assert_mem_eq(got->image, records[i].image, got->image_size);
        ck_assert((got->codes == NULL) == (records[i].codes == NULL));
        ck_assert_uint_eq(got->code_count, 0);
        ck_assert_float_eq(got->vector[1], 0.6f);
        ck_assert_float_eq(got->vector[2], 0.8f);
        cm3_bank_record_destroy(bank, got);
    }
    cm3_bank_destroy(bank);
}
END_TEST

/* The same text and picture is refused in a batch, in the next, after opening; not after it was taken out. */
START_TEST(duplicates_are_refused) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    made_record made[2];
    cm3_bank_record records[3] = {make_record(&made[0], 1, 0, D), make_record(&made[1], 1, 1, D),
                                  make_record(&made[0], 1, 0, D)};
    records[2].key = "another key";
    uint64_t ids[3];
    ck_assert_int_eq(cm3_bank_add(bank, records, 3, NULL, ids), CM3_OK);
    ck_assert_uint_eq(ids[0], 0);
    ck_assert_uint_eq(ids[1], 1);
    ck_assert(ids[2] == CM3_NO_RECORD);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &bank), CM3_OK);
    const uint64_t bytes = info_of(bank).bytes;
    ck_assert_int_eq(cm3_bank_add(bank, records, 3, NULL, ids), CM3_OK);
    for (int i = 0; i < 3; i++) ck_assert(ids[i] == CM3_NO_RECORD);
    ck_assert_uint_eq(info_of(bank).bytes, bytes);
    /* Another text, and the same codes: another record. */
    records[0].text = "another text";
    ck_assert_int_eq(cm3_bank_add(bank, records, 1, NULL, ids), CM3_OK);
    ck_assert_uint_eq(ids[0], 2);
    ck_assert_int_eq(cm3_bank_delete(bank, (uint64_t[]){1}, 1), CM3_OK);
    ck_assert_int_eq(cm3_bank_add(bank, records + 1, 1, NULL, ids), CM3_OK);
    ck_assert_uint_eq(ids[0], 3);
    ck_assert_uint_eq(info_of(bank).records, 3);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(near_duplicates_are_refused_where_asked) {
    cm3_bank *bank = make_bank(fixture.context, test_path(&fixture, "a.bank"), CM3_VECTORS_F32, 2);
    const float vectors[4][2] = {{1, 0}, {1, 0.1f}, {0, 1}, {0.1f, 1}};
    const char *texts[] = {"a", "b", "c", "d"};
    cm3_bank_record records[4];
    for (int i = 0; i < 4; i++) {
        records[i] = (cm3_bank_record){.struct_size = sizeof *records, .text = texts[i], .vector = vectors[i]};
    }
    cm3_bank_add_options options;
    cm3_bank_add_options_init(&options);
    options.near_duplicate = 0.99f;
    uint64_t ids[4];
    ck_assert_int_eq(cm3_bank_add(bank, records, 1, &options, ids), CM3_OK);
    ck_assert_int_eq(cm3_bank_add(bank, records + 1, 3, &options, ids + 1), CM3_OK);
    ck_assert_uint_eq(ids[0], 0);
    ck_assert(ids[1] == CM3_NO_RECORD); /* near to one in the bank */
    ck_assert_uint_eq(ids[2], 1);
    ck_assert(ids[3] == CM3_NO_RECORD); /* near to one of its batch */
    options.near_duplicate = NAN;
    ck_assert_int_eq(cm3_bank_add(bank, records, 1, &options, ids), CM3_ERROR_INVALID_ARGUMENT);
    cm3_bank_destroy(bank);
}
END_TEST

START_TEST(what_is_taken_out_is_gone) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    ck_assert_int_eq(add_records(bank, 1, 0, 100, D, NULL), CM3_OK);
    uint64_t gone[] = {0, 50, 99, 50}, beyond[] = {1, 100}, id = 0, count = 0;
    ck_assert_int_eq(cm3_bank_delete(bank, gone, 4), CM3_OK);
    ck_assert_int_eq(cm3_bank_delete(bank, gone, 4), CM3_OK);
    ck_assert_int_eq(cm3_bank_delete(bank, beyond, 2), CM3_ERROR_INVALID_ARGUMENT);
    for (int round = 0; round < 2; round++) {
        ck_assert_uint_eq(info_of(bank).records, 97);
        ck_assert_uint_eq(info_of(bank).deleted, 3);
        cm3_bank_record *record;
        ck_assert_int_eq(cm3_bank_get(bank, 50, &record), CM3_ERROR_NOT_FOUND);
        ck_assert_ptr_nonnull(strstr(message(), "taken out"));
        ck_assert_int_eq(cm3_bank_find(bank, "key-50", &id), CM3_ERROR_NOT_FOUND);
        for (id = count = 0; cm3_bank_next(bank, &id) == CM3_OK; id++) count++;
        ck_assert_uint_eq(count, 97);
        cm3_bank_destroy(bank);
        ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &bank), CM3_OK);
    }
    /* Written anew, it has what was left, in its order. */
    const uint64_t bytes = info_of(bank).bytes;
    ck_assert_msg(cm3_bank_compact(bank, NULL) == CM3_OK, "%s", message());
    ck_assert_uint_eq(info_of(bank).deleted, 0);
    ck_assert_uint_eq(info_of(bank).end, 97);
    ck_assert_uint_lt(info_of(bank).bytes, bytes);
    for (uint64_t i = 0; i < 97; i++) check_record(bank, i, 1, i < 49 ? i + 1 : i + 2, D, 2e-3);
    /* And goes on. */
    ck_assert_int_eq(add_records(bank, 1, 50, 1, D, &id), CM3_OK);
    ck_assert_uint_eq(id, 97);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
}
END_TEST

START_TEST(readers_go_on_while_it_is_written) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D), *reader, *second;
    ck_assert_int_eq(add_records(bank, 1, 0, 10, D, NULL), CM3_OK);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &reader), CM3_OK);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &second), CM3_ERROR_BUSY);
    ck_assert_ptr_null(second);
    ck_assert_int_eq(add_records(bank, 1, 10, 1000, D, NULL), CM3_OK);
    ck_assert_int_eq(cm3_bank_delete(bank, (uint64_t[]){3}, 1), CM3_OK);
    ck_assert_uint_eq(info_of(reader).records, 10);
    check_record(reader, 3, 1, 3, D, 2e-3);
    ck_assert_int_eq(cm3_bank_refresh(reader), CM3_OK);
    ck_assert_uint_eq(info_of(reader).records, 1009);
    ck_assert_int_eq(cm3_bank_compact(bank, NULL), CM3_OK);
    check_record(reader, 4, 1, 4, D, 2e-3); /* of the old file */
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &second), CM3_ERROR_BUSY);
    ck_assert_int_eq(cm3_bank_refresh(reader), CM3_OK);
    check_record(reader, 3, 1, 4, D, 2e-3);
    ck_assert_uint_eq(info_of(reader).end, 1009);
    ck_assert_int_eq(cm3_bank_add(reader, NULL, 0, NULL, NULL), CM3_OK);
    ck_assert_int_eq(add_records(reader, 1, 0, 1, D, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_delete(reader, (uint64_t[]){0}, 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_compact(reader, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &second), CM3_OK);
    cm3_bank_destroy(second);
    cm3_bank_destroy(reader);
}
END_TEST

START_TEST(banks_are_put_together) {
    const char *one = test_path(&fixture, "1.bank"), *two = test_path(&fixture, "2.bank");
    cm3_bank *a = make_bank(fixture.context, one, CM3_VECTORS_F32, D),
             *b = make_bank(fixture.context, two, types[_i], D),
             *other = make_bank(fixture.context, test_path(&fixture, "3.bank"), CM3_VECTORS_F32, D + 1);
    uint64_t added;
    ck_assert_int_eq(add_records(a, 1, 0, 60, D, NULL), CM3_OK);
    ck_assert_int_eq(add_records(b, 1, 40, 60, D, NULL), CM3_OK);
    ck_assert_msg(cm3_bank_merge(a, b, NULL, &added) == CM3_OK, "%s", message());
    ck_assert_uint_eq(added, 40);
    for (uint64_t i = 0; i < 100; i++) check_record(a, i, 1, i, D, tolerances[_i]);
    ck_assert_int_eq(cm3_bank_merge(b, a, NULL, &added), CM3_OK);
    ck_assert_uint_eq(added, 40);
    for (uint64_t i = 0; i < 100; i++) check_record(b, i, 1, i < 60 ? i + 40 : i - 60, D, tolerances[_i]);
    ck_assert_int_eq(cm3_bank_merge(a, other, NULL, &added), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_merge(a, a, NULL, &added), CM3_ERROR_INVALID_ARGUMENT);
    cm3_bank_destroy(a);
    cm3_bank_destroy(b);
    cm3_bank_destroy(other);
}
END_TEST

START_TEST(nonsense_is_refused) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank, *none = NULL;
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    ck_assert_int_eq(cm3_bank_create(fixture.context, path, &options, &bank), CM3_ERROR_INVALID_ARGUMENT);
    options.dimension = 33;
    options.vectors = CM3_VECTORS_INT8;
    ck_assert_int_eq(cm3_bank_create(fixture.context, path, &options, &bank), CM3_ERROR_INVALID_ARGUMENT);
    options.vectors = (cm3_vector_type)7;
    ck_assert_int_eq(cm3_bank_create(fixture.context, path, &options, &bank), CM3_ERROR_INVALID_ARGUMENT);
    options.vectors = CM3_VECTORS_F32;
    ck_assert_int_eq(cm3_bank_create(fixture.context, "/nowhere/at/all.bank", &options, &bank), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_null(bank);
    bank = make_bank(fixture.context, path, CM3_VECTORS_F32, 2);
    ck_assert_int_eq(cm3_bank_create(fixture.context, path, &options, &none), CM3_ERROR_BUSY);
    ck_assert_ptr_null(none);

    const float zero[2] = {0, 0}, nan_[2] = {NAN, 1}, infinite[2] = {INFINITY, 1}, good[2] = {1, 1};
    cm3_bank_record record = {.struct_size = sizeof record, .text = "a", .vector = zero};
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    record.vector = nan_;
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    record.vector = infinite;
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    record.vector = NULL;
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    record.vector = good;
    record.text = "\xff";
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_UTF8);
    record.text = NULL;
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    record.text = "a";
    record.struct_size = 0;
    ck_assert_int_eq(cm3_bank_add(bank, &record, 1, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_uint_eq(info_of(bank).end, 0);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, (cm3_bank_mode)3, &none), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_open(fixture.context, fixture.folder, CM3_BANK_READ, &none), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_bank_open(NULL, path, CM3_BANK_READ, &none), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_bank_destroy(bank);
    cm3_bank_destroy(NULL);
}
END_TEST

/* A disk that is full in the middle of a batch: the batch is not there, and what is there goes on once there is room.
 */
START_TEST(a_full_disk_loses_nothing) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_F32, D), *reader;
    ck_assert_int_eq(add_records(bank, 1, 0, 100, D, NULL), CM3_OK);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = info_of(bank).bytes + 5000;
    setrlimit(RLIMIT_FSIZE, &small);
    ck_assert_int_eq(add_records(bank, 1, 100, 100, D, NULL), CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(cm3_bank_compact(bank, NULL), CM3_OK);
    ck_assert_int_eq(add_records(bank, 1, 100, 100, D, NULL), CM3_ERROR_NO_SPACE);
    small.rlim_cur = 8000;
    setrlimit(RLIMIT_FSIZE, &small);
    ck_assert_int_eq(cm3_bank_compact(bank, NULL), CM3_ERROR_NO_SPACE);
    setrlimit(RLIMIT_FSIZE, &before);
    ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &reader), CM3_OK);
    ck_assert_uint_eq(info_of(reader).records, 100);
    ck_assert_uint_gt(info_of(reader).left_over, 0);
    cm3_bank_destroy(reader);
    ck_assert_int_eq(add_records(bank, 1, 100, 100, D, NULL), CM3_OK);
    for (uint64_t i = 0; i < 200; i++) check_record(bank, i, 1, i, D, 1e-7);
    cm3_bank_destroy(bank);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
}
END_TEST

static int stop_at_once(void *user, uint64_t done, uint64_t total) {
    (void)done, (void)total;
    ++*(int *)user;
    return 1;
}

START_TEST(long_work_can_be_stopped) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_F32, D);
    ck_assert_int_eq(add_records(bank, 1, 0, 100, D, NULL), CM3_OK);
    int calls = 0;
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    options.on_progress = stop_at_once;
    options.user = &calls;
    ck_assert_int_eq(cm3_bank_compact(bank, &options), CM3_ERROR_CANCELLED);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, &options), CM3_ERROR_CANCELLED);
    ck_assert_int_eq(calls, 2);
    ck_assert_uint_eq(info_of(bank).records, 100);
    cm3_bank_destroy(bank);
}
END_TEST

/* Memory runs out at every allocation in turn: NO_MEMORY, and the bank is as it was. */
START_TEST(no_memory) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    ck_assert_int_eq(add_records(bank, 1, 0, 30, D, NULL), CM3_OK);
    cm3_bank_destroy(bank);
    size_t size;
    char *bytes = test_get(path, &size);
    cm3_status status = CM3_ERROR_NO_MEMORY;
    int rounds = 0;
    for (; status != CM3_OK; rounds++) {
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
        cm3_bank *other = NULL;
        const float query[D] = {1};
        test_put(path, bytes, size);
        test_allocator_fail(&fixture.memory, rounds, 1);
        status = cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &other);
        if (status == CM3_OK) status = add_records(other, 1, 30, 1, D, NULL);
        if (status == CM3_OK) status = cm3_bank_search(other, query, 1, NULL, (cm3_hit[10]){{0}}, NULL);
        if (status == CM3_OK) status = cm3_bank_compact(other, NULL);
        test_allocator_fail(&fixture.memory, -1, 0);
        cm3_bank_destroy(other);
        ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &other), CM3_OK);
        ck_assert_uint_ge(info_of(other).records, 30);
        check_record(other, 29, 1, 29, D, 2e-3);
        cm3_bank_destroy(other);
        ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
    }
    ck_assert_int_gt(rounds, 10);
    free(bytes);
}
END_TEST

Suite *bank_suite(void) {
    Suite *suite = suite_create("bank");
    TCase *tests = tcase_create("bank");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 120);
    tcase_add_loop_test(tests, what_goes_in_comes_out, 0, 3);
    tcase_add_test(tests, every_kind_of_record);
    tcase_add_test(tests, duplicates_are_refused);
    tcase_add_test(tests, near_duplicates_are_refused_where_asked);
    tcase_add_test(tests, what_is_taken_out_is_gone);
    tcase_add_test(tests, readers_go_on_while_it_is_written);
    tcase_add_loop_test(tests, banks_are_put_together, 0, 3);
    tcase_add_test(tests, nonsense_is_refused);
    tcase_add_test(tests, a_full_disk_loses_nothing);
    tcase_add_test(tests, long_work_can_be_stopped);
    tcase_add_test(tests, no_memory);
    suite_add_tcase(suite, tests);
    return suite;
}
