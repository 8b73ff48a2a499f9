/* Files that are damaged: found by verifying, named, and never the end of a search. */
#include "base/status.h"
#include "suites.h"
#include "support.h"

#define D 16

static test_fixture fixture;
static char *bytes, *earlier; /* before the last commit */
static size_t size, before_last;

/* A bank of three blocks of records and one of ids, as bytes. */
static void up(void) {
    test_fixture_up(&fixture);
    const char *path = test_path(&fixture, "whole.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    ck_assert_int_eq(add_records(bank, 1, 0, 3, D, NULL), CM3_OK);
    ck_assert_int_eq(cm3_bank_delete(bank, (uint64_t[]){1}, 1), CM3_OK);
    ck_assert_int_eq(add_records(bank, 1, 3, 2, D, NULL), CM3_OK);
    earlier = test_get(path, &before_last);
    ck_assert_int_eq(add_records(bank, 1, 5, 2, D, NULL), CM3_OK);
    cm3_bank_destroy(bank);
    bytes = test_get(path, &size);
}

static void down(void) {
    free(bytes);
    free(earlier);
    test_fixture_down(&fixture);
}

/* Everything that reads, on a file that may be anything. */
static cm3_status use(const char *path) {
    cm3_bank *bank;
    CM3_TRY(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &bank));
    const float query[D] = {1};
    cm3_hit hits[10];
    size_t found;
    cm3_bank_search(bank, query, 1, NULL, hits, &found);
    for (uint64_t id = 0; cm3_bank_next(bank, &id) == CM3_OK; id++) {
        cm3_bank_record *record;
        if (cm3_bank_get(bank, id, &record) == CM3_OK) cm3_bank_record_destroy(bank, record);
    }
    uint64_t id;
    cm3_bank_find(bank, "key-6", &id);
    cm3_bank_destroy(bank);
    return CM3_OK;
}

static void count_fault(void *user, const char *what) {
    ck_assert_uint_gt(strlen(what), 10);
    ++*(int *)user;
}

START_TEST(a_flipped_bit_is_found) {
    const char *path = test_path(&fixture, "bad.bank");
    cm3_random random = cm3_random_make(9, 9);
    int faults;
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    options.on_fault = count_fault;
    options.user = &faults;
    for (size_t at = 0; at < size; at++) {
        /* Of the head's zeros not every one. */
        if (at > 700 && at < 4000 && at % 97) continue;
        const char was = bytes[at];
        bytes[at] ^= (char)(1 << cm3_random_below(&random, 8));
        test_put(path, bytes, size);
        faults = 0;
        cm3_status status = cm3_bank_verify(fixture.context, path, &options);
        ck_assert_msg(status != CM3_OK, "byte %zu: nothing was found", at);
        if (status == CM3_ERROR_CHECKSUM && at >= 512) ck_assert_msg(faults > 0, "byte %zu", at);
        ck_assert_ptr_nonnull(strstr(cm3_context_message(fixture.context), "bad.bank"));
        use(path);
        bytes[at] = was;
    }
    test_put(path, bytes, size);
    ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
    ck_assert_int_eq(use(path), CM3_OK);
}
END_TEST

/* A file that is cut off was not left so by a writer: its mark says more. */
START_TEST(a_cut_off_file_is_found) {
    const char *path = test_path(&fixture, "bad.bank");
    for (size_t length = 0; length<size; length += length> 4096 ? 7 : 64) {
        test_put(path, bytes, length);
        ck_assert_int_ne(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
        ck_assert_int_ne(use(path), CM3_OK);
    }
}
END_TEST

/* What a writer that is killed leaves: a part of the last block, its mark not yet written. */
START_TEST(half_a_commit_is_not_seen) {
    const char *path = test_path(&fixture, "half.bank");
    memcpy(bytes, earlier, 4096);
    for (size_t length = before_last; length <= size; length += length + 300 < size ? 101 : 1) {
        test_put(path, bytes, length);
        cm3_bank *half;
        ck_assert_msg(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &half) == CM3_OK, "%zu bytes: %s", length,
                      cm3_context_message(fixture.context));
        const bool whole = length == size;
        ck_assert_uint_eq(info_of(half).end, whole ? 7 : 5);
        ck_assert_uint_eq(info_of(half).left_over, whole ? 0 : length - before_last);
        check_record(half, 4, 1, 4, D, 2e-3);
        /* A shorter commit over what was left: nothing of the old comes back. */
        ck_assert_int_eq(add_records(half, 1, 50, 1, D, NULL), CM3_OK);
        cm3_bank_destroy(half);
        ck_assert_int_eq(cm3_bank_open(fixture.context, path, CM3_BANK_READ, &half), CM3_OK);
        ck_assert_uint_eq(info_of(half).end, whole ? 8 : 6);
        check_record(half, whole ? 7 : 5, 1, 50, D, 2e-3);
        cm3_bank_destroy(half);
        ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
    }
}
END_TEST

START_TEST(other_files_are_refused) {
    const char *path = test_path(&fixture, "other.bank");
    test_put(path, "", 0);
    ck_assert_int_eq(use(path), CM3_ERROR_FORMAT);
    test_put(path, "{\"text\": \"no bank\"}", 19);
    ck_assert_int_eq(use(path), CM3_ERROR_FORMAT);
    bytes[8] = 9;
    test_put(path, bytes, size);
    ck_assert_int_eq(use(path), CM3_ERROR_VERSION);
    ck_assert_int_eq(use(test_path(&fixture, "absent.bank")), CM3_ERROR_NOT_FOUND);
}
END_TEST

Suite *damage_suite(void) {
    Suite *suite = suite_create("damage");
    TCase *tests = tcase_create("damage");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 300);
    tcase_add_test(tests, a_flipped_bit_is_found);
    tcase_add_test(tests, a_cut_off_file_is_found);
    tcase_add_test(tests, half_a_commit_is_not_seen);
    tcase_add_test(tests, other_files_are_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
