/* Records: what is read, what is refused and how it is named, and the order. */
#include "support.h"
#include "train/dataset.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_status load(const char *path, uint64_t seed, cm3_dataset **dataset) {
    return cm3_dataset_load(fixture.context, &path, 1, seed, true, 0, dataset);
}

START_TEST(captions_and_codes) {
    const char *path = test_path(&fixture, "a.tar");
    cm3_shard_writer *writer;
    test_ok(&fixture, cm3_shard_writer_open(fixture.context, path, &writer));
    const char one[] = "{\"text\": \"one\"}",
               two[] = "{\"text\": [\"two\", \"zwei\", \"deux\"], \"codes\": [0, 65535]}";
    test_ok(&fixture, cm3_shard_writer_add(writer, "1.json", one, strlen(one)));
    test_ok(&fixture, cm3_shard_writer_add(writer, "2.json", two, strlen(two)));
    test_ok(&fixture, cm3_shard_writer_add(writer, "3.txt", "three\r\n", 7));
    test_ok(&fixture, cm3_shard_writer_commit(writer));
    cm3_dataset *d;
    test_ok(&fixture, load(path, 1, &d));
    ck_assert_uint_eq(d->count, 3);
    ck_assert_int_eq(d->samples[0].caption_count, 1);
    ck_assert_str_eq(cm3_sample_caption(&d->samples[0], 0), "one");
    ck_assert_int_eq(d->samples[1].caption_count, 3);
    ck_assert_str_eq(cm3_sample_caption(&d->samples[1], 0), "two");
    ck_assert_str_eq(cm3_sample_caption(&d->samples[1], 2), "deux");
    ck_assert_int_eq(d->samples[1].code_count, 2);
    ck_assert(d->samples[1].codes[0] == 0 && d->samples[1].codes[1] == 65535);
    ck_assert_str_eq(cm3_sample_caption(&d->samples[2], 0), "three");
    ck_assert_ptr_nonnull(strstr(d->samples[2].name, "a.tar: record 3"));
    cm3_dataset_destroy(d);
}
END_TEST

START_TEST(refused) {
    static const struct {
        const char *json, *words;
    } cases[] = {
        {"{\"codes\": [1, 70000]}", "code 1 is not an integer in 0..65535"},
        {"{\"codes\": [-1]}", "code 0"},
        {"{\"codes\": [1.5]}", "code 0"},
        {"{\"codes\": 5}", "'codes' is not a list"},
        {"{\"text\": 5}", "'text' is neither"},
        {"{\"text\": [\"a\", null]}", "'text' is neither"},
        {"{\"text\": ", "a.tar: record bad"},
        {"[1]", "not an object"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const char *path = test_path(&fixture, "a.tar");
        test_single_shard(&fixture, path, "bad.json", cases[i].json);
        cm3_dataset *d = (cm3_dataset *)&fixture;
        test_fails(&fixture, load(path, 1, &d), CM3_ERROR_FORMAT, cases[i].words);
        ck_assert_ptr_null(d);
        ck_assert_msg(test_says(&fixture, "a.tar") && test_says(&fixture, "bad"), "%s",
                      cm3_context_message(fixture.context));
    }
}
END_TEST

START_TEST(not_text) {
    static const char *const texts[] = {"caf\xe9", "cut \xc3", "\xed\xa0\x80"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        const char *path = test_path(&fixture, "a.tar");
        test_single_shard(&fixture, path, "bad.txt", texts[i]);
        cm3_dataset *d;
        test_fails(&fixture, load(path, 1, &d), CM3_ERROR_FORMAT, "a.tar: record bad: the caption is not UTF-8");
    }
    const char *path = test_path(&fixture, "a.tar");
    test_single_shard(&fixture, path, "good.txt", "caf\xc3\xa9\n");
    cm3_dataset *d;
    test_ok(&fixture, load(path, 1, &d));
    ck_assert_str_eq(cm3_sample_caption(&d->samples[0], 0), "caf\xc3\xa9");
    cm3_dataset_destroy(d);
}
END_TEST

START_TEST(missing_and_empty) {
    cm3_dataset *d;
    test_fails(&fixture, load(test_path(&fixture, "none.tar"), 1, &d), CM3_ERROR_NOT_FOUND, "none.tar");
    test_single_shard(&fixture, test_path(&fixture, "other.tar"), "x.bin", "nothing that is read");
    test_fails(&fixture, load(test_path(&fixture, "other.tar"), 1, &d), CM3_ERROR_NOT_FOUND, "no records");
    test_put(test_path(&fixture, "noise.tar"), "this is not a tar file at all, but it is long enough", 52);
    ck_assert_int_ne(load(test_path(&fixture, "noise.tar"), 1, &d), CM3_OK);
    ck_assert_ptr_null(d);
    const char *lines = "{\"text\": \"good\"}\n{\"text\": \"gone\", \"image\": \"gone.png\"}\n";
    test_put(test_path(&fixture, "l.jsonl"), lines, strlen(lines));
    ck_assert_int_ne(load(test_path(&fixture, "l.jsonl"), 1, &d), CM3_OK);
    ck_assert_msg(test_says(&fixture, "gone.png"), "%s", cm3_context_message(fixture.context));
    const char *path = NULL;
    ck_assert_int_eq(cm3_dataset_load(fixture.context, &path, 1, 1, true, 0, &d), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

/** Each epoch holds each record once; orders differ by epoch and seed, and hang on nothing else. */
START_TEST(order) {
    enum { COUNT = 20 };
    const char *path = test_path(&fixture, "a.tar");
    test_code_shard(&fixture, path, COUNT);
    cm3_dataset *a, *b, *other;
    test_ok(&fixture, load(path, 5, &a));
    test_ok(&fixture, load(path, 5, &b));
    test_ok(&fixture, load(path, 6, &other));
    size_t same_epoch = 0, same_seed = 0;
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        bool seen[COUNT] = {false};
        for (uint64_t i = 0; i < COUNT; i++) {
            uint64_t position = epoch * COUNT + i;
            size_t index = (size_t)(cm3_dataset_at(a, position) - a->samples);
            ck_assert(!seen[index]);
            seen[index] = true;
            same_epoch += cm3_dataset_at(b, i) - b->samples == (ptrdiff_t)index;
            same_seed += cm3_dataset_at(other, position) - other->samples == (ptrdiff_t)index;
            ck_assert_int_eq(cm3_dataset_at(b, position) - b->samples, (ptrdiff_t)index); /* jumped to */
        }
    }
    ck_assert_uint_lt(same_epoch, COUNT + 15);
    ck_assert_uint_lt(same_seed, 20);
    cm3_dataset_destroy(a);
    cm3_dataset_destroy(b);
    cm3_dataset_destroy(other);
}
END_TEST

/** Groups stay together, each in its own order, and so does what is left over; each record still comes once. */
START_TEST(groups) {
    enum { COUNT = 20 };
    const char *path = test_path(&fixture, "a.tar");
    test_code_shard(&fixture, path, COUNT);
    for (size_t together = 2; together <= 23; together += 7) {
        cm3_dataset *d;
        size_t moved = 0;
        test_ok(&fixture, load(path, 5, &d));
        d->together = together;
        bool seen[COUNT] = {false};
        for (uint64_t i = 0; i < COUNT; i++) {
            const size_t index = (size_t)(cm3_dataset_at(d, i) - d->samples);
            ck_assert(!seen[index]);
            seen[index] = true;
            moved += index != i;
            if (index % together) ck_assert_uint_eq(index - 1, (size_t)(cm3_dataset_at(d, i - 1) - d->samples));
        }
        if (together < 10 || together > COUNT) ck_assert((moved > 0) == (together < COUNT));
        cm3_dataset_destroy(d);
    }
}
END_TEST

/** The sum tells the same data from others, and from the same in another order; a limit names itself. */
START_TEST(sums_and_limit) {
    const char *one = test_path(&fixture, "one.tar"), *two = test_path(&fixture, "two.tar");
    test_code_shard(&fixture, one, 5);
    test_picture_shard(&fixture, two, 5);
    const char *const orders[][2] = {{one, two}, {one, two}, {two, one}, {one, one}};
    uint64_t sums[4];
    for (int i = 0; i < 4; i++) {
        cm3_dataset *d;
        test_ok(&fixture, cm3_dataset_load(fixture.context, orders[i], 2, 1, true, 1 << 20, &d));
        sums[i] = d->sum;
        cm3_dataset_destroy(d);
    }
    ck_assert(sums[0] == sums[1] && sums[0] != sums[2] && sums[0] != sums[3] && sums[2] != sums[3]);
    cm3_dataset *d;
    test_fails(&fixture, cm3_dataset_load(fixture.context, orders[0], 2, 1, true, 1000, &d), CM3_ERROR_NO_MEMORY,
               "memory_limit, 1000 bytes");
    ck_assert_ptr_null(d);
}
END_TEST

Suite *dataset_suite(void) {
    Suite *suite = suite_create("dataset");
    TCase *tcase = tcase_create("dataset");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, captions_and_codes);
    tcase_add_test(tcase, refused);
    tcase_add_test(tcase, not_text);
    tcase_add_test(tcase, missing_and_empty);
    tcase_add_test(tcase, order);
    tcase_add_test(tcase, groups);
    tcase_add_test(tcase, sums_and_limit);
    suite_add_tcase(suite, tcase);
    return suite;
}
