/* Shards: as others write them, as we write them, as JSON lines, and broken. */
#ifdef CM3_WITH_TRAIN

#include <locale.h>
#include <sys/stat.h>

#include "files/shard.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture t;
static cm3_shard *shard;
static cm3_record record;
static bool more;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

static void next_is(const char *key, const char *text, const char *json) {
    ck_assert_msg(cm3_shard_next(shard, &record, &more) == CM3_OK, "%s", cm3_context_message(t.context));
    ck_assert(more);
    ck_assert_str_eq(record.key, key);
    ck_assert((record.text != NULL) == (text != NULL));
    if (text != NULL) {
        ck_assert_str_eq(record.text, text);
        ck_assert_uint_eq(record.text_size, strlen(text));
    }
    ck_assert((record.json != NULL) == (json != NULL));
    if (json != NULL) {
        ck_assert_str_eq(record.json, json);
        ck_assert_uint_eq(record.json_size, strlen(json));
    }
}

static void ends(void) {
    for (int i = 0; i < 2; ++i) {
        ck_assert_msg(cm3_shard_next(shard, &record, &more) == CM3_OK, "%s", cm3_context_message(t.context));
        ck_assert(!more);
        ck_assert_ptr_null(record.key);
    }
    cm3_shard_close(shard);
}

/* A host may have set a locale or not: names are the same bytes. */
static void set_locale(int i) {
    if (i > 0) ck_assert_ptr_nonnull(setlocale(LC_ALL, "C.UTF-8"));
}

START_TEST(as_python_writes_them) {
    static const char *const names[] = {CM3_TEST_DATA "/files/pax.tar", CM3_TEST_DATA "/files/gnu.tar"};
    set_locale(_i / 2);
    ck_assert_int_eq(cm3_shard_open(t.context, names[_i % 2], &shard), CM3_OK);
    next_is("s/0001",
            "ein roter Kreis \xe2\x80\x93 gr\xc3\xb6\xc3\x9f"
            "er",
            NULL);
    ck_assert_uint_eq(record.image_size, 768);
    for (int i = 0; i < 768; ++i) ck_assert_uint_eq(record.image[i], i % 256);
    cm3_record_clear(t.context, &record);
    next_is("s/0003", NULL, "{\"text\": \"two squares\"}");
    ck_assert_uint_eq(record.image_size, 4);
    cm3_record_clear(t.context, &record);
    next_is("s/gr\xc3\xbcn", "", NULL);
    ck_assert_ptr_null(record.image);
    cm3_record_clear(t.context, &record);
    char key[200] = "d.x/";
    for (int i = 0; i < 40; ++i) strcat(key, "long");
    strcat(key, "/0004");
    next_is(key, "deep", NULL);
    cm3_record_clear(t.context, &record);
    ends();
}
END_TEST

static void write_shard(const char *path) {
    cm3_shard_writer *writer;
    ck_assert_int_eq(cm3_shard_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a/000.json", "{\"text\":\"x\"}", 12), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a/000.jpg", "JPEG", 4), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a/gr\xc3\xbcn.txt", "", 0), CM3_OK);
    char *big = calloc(1, 100001);
    memset(big, 'b', 100000);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "b.txt", big, 100000), CM3_OK);
    char name[300];
    memset(name, 'n', 290);
    name[100] = name[200] = '/';
    strcpy(name + 290, ".txt");
    ck_assert_int_eq(cm3_shard_writer_add(writer, name, "long", 4), CM3_OK);
    free(big);
    ck_assert_int_eq(cm3_shard_writer_commit(writer), CM3_OK);
}

START_TEST(written_and_read) {
    set_locale(_i);
    const char *path = test_path(&t, "a.tar"), *again = test_path(&t, "b.tar");
    write_shard(path);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    next_is("a/000", NULL, "{\"text\":\"x\"}");
    ck_assert_uint_eq(record.image_size, 4);
    ck_assert_mem_eq(record.image, "JPEG", 4);
    cm3_record_clear(t.context, &record);
    next_is("a/gr\xc3\xbcn", "", NULL);
    cm3_record_clear(t.context, &record);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_OK);
    ck_assert_uint_eq(record.text_size, 100000);
    ck_assert_uint_eq(strspn(record.text, "b"), 100000);
    cm3_record_clear(t.context, &record);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_OK);
    ck_assert_str_eq(record.text, "long");
    ck_assert_uint_eq(strlen(record.key), 290);
    cm3_record_clear(t.context, &record);
    ends();
    /* Nothing of the hour, the user or the locale is in it. */
    setlocale(LC_ALL, _i == 0 ? "C.UTF-8" : "C");
    write_shard(again);
    size_t size_a, size_b;
    char *a = test_get(path, &size_a), *b = test_get(again, &size_b);
    ck_assert_uint_eq(size_a, size_b);
    ck_assert_int_eq(memcmp(a, b, size_a), 0);
    ck_assert_str_eq(a + 257, "ustar");
    ck_assert_int_eq(strtol(a + 136, NULL, 8), 0); /* the first member's time */
    ck_assert_int_eq(strtol(a + 108, NULL, 8), 0); /* and owner */
    ck_assert_int_eq(strtol(a + 100, NULL, 8), 0644);
    free(a);
    free(b);
}
END_TEST

START_TEST(system_tar_reads_it) {
    set_locale(_i);
    const char *path = test_path(&t, "a.tar");
    write_shard(path);
    char command[400];
    snprintf(command, sizeof command,
             "cd '%s' && tar xf a.tar 2>messages && test ! -s messages && test \"$(cat a/000.jpg)\" = JPEG && test -f "
             "a/gr\303\274n.txt",
             t.folder);
    ck_assert_int_eq(system(command), 0);
}
END_TEST

START_TEST(aborted_writer_leaves_the_old_file) {
    const char *path = test_path(&t, "a.tar");
    test_put(path, "old", 3);
    cm3_shard_writer *writer;
    ck_assert_int_eq(cm3_shard_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a.txt", "x", 1), CM3_OK);
    cm3_shard_writer_abort(writer);
    cm3_shard_writer_abort(NULL);
    char *kept = test_get(path, NULL);
    ck_assert_str_eq(kept, "old");
    free(kept);
    ck_assert_int_eq(cm3_shard_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "", "x", 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_shard_writer_add(writer, NULL, "x", 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a", NULL, 1), CM3_ERROR_INVALID_ARGUMENT);
    cm3_shard_writer_abort(writer);
}
END_TEST

START_TEST(full_disk) {
    const char *full = test_dev_full(&t);
    if (full == NULL) return;
    cm3_shard_writer *writer;
    static char much[500000];
    ck_assert_int_eq(cm3_shard_writer_open(t.context, full, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a.txt", much, sizeof much), CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "b.txt", much, 1), CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(cm3_shard_writer_commit(writer), CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(cm3_shard_writer_open(t.context, full, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a.txt", much, 1), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_commit(writer), CM3_ERROR_NO_SPACE);
    ck_assert(test_says(&t, full));
}
END_TEST

START_TEST(broken_archives) {
    const char *path = test_path(&t, "cut.tar");
    ck_assert_int_eq(cm3_shard_open(t.context, test_path(&t, "absent.tar"), &shard), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_null(shard);
    test_put(path, "", 0);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_ERROR_TRUNCATED);
    size_t size;
    char *bytes = test_get(CM3_TEST_DATA "/files/gnu.tar", &size);
    /* Cut at every block and beside it: each is seen, none looks like a shorter archive. */
    for (size_t cut = 1; cut < size; cut += cut % 512 == 1 ? 510 : 1) {
        test_put(path, bytes, cut);
        cm3_status status = cm3_shard_open(t.context, path, &shard);
        int records = 0;
        while (status == CM3_OK) {
            status = cm3_shard_next(shard, &record, &more);
            if (!more) break;
            ++records;
            cm3_record_clear(t.context, &record);
        }
        if (status == CM3_OK) ck_assert_msg(records == 4, "cut at %zu: %d records", cut, records);
        if (status != CM3_OK) {
            ck_assert_msg(status == CM3_ERROR_TRUNCATED || status == CM3_ERROR_FORMAT, "cut at %zu: %d", cut, status);
            ck_assert(test_says(&t, "cut.tar"));
        }
        cm3_shard_close(shard);
    }
    /* Cut inside a member: the message names it. */
    test_put(path, bytes, 512 * 4 + 10);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_ERROR_TRUNCATED);
    ck_assert_msg(test_says(&t, "s/0001.txt"), "%s", cm3_context_message(t.context));
    cm3_shard_close(shard);
    /* A broken header. */
    bytes[512 + 20] = (char)0xee;
    test_put(path, bytes, size);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_ERROR_FORMAT);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_OK);
    ck_assert(!more);
    cm3_shard_close(shard);
    free(bytes);
    test_put(path, "this is no archive but a long enough line of text", 49);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_ERROR_FORMAT);
    ck_assert(test_says(&t, "cut.tar"));
}
END_TEST

/** key.NAME.png is a picture of that name beside the record's own. */
START_TEST(named_pictures) {
    const char *path = test_path(&t, "a.tar");
    cm3_shard_writer *writer;
    static const char *const members[] = {"1.png", "1.source.PNG", "1.json", "1.layout.v2.jpg", "1.notes.md", "1..png"};
    ck_assert_int_eq(cm3_shard_writer_open(t.context, path, &writer), CM3_OK);
    for (int i = 0; i < 6; i++) {
        ck_assert_int_eq(cm3_shard_writer_add(writer, members[i], members[i], strlen(members[i])), CM3_OK);
    }
    ck_assert_int_eq(cm3_shard_writer_commit(writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    next_is("1", NULL, "1.json");
    ck_assert_mem_eq(record.image, "1.png", 5);
    ck_assert_uint_eq(record.picture_count, 2);
    ck_assert_str_eq(record.pictures[0].name, "source");
    ck_assert_uint_eq(record.pictures[0].size, 12);
    ck_assert_mem_eq(record.pictures[0].data, "1.source.PNG", 12);
    ck_assert_str_eq(record.pictures[1].name, "layout.v2");
    cm3_record_clear(t.context, &record);
    ends();
    /* The same name twice. */
    ck_assert_int_eq(cm3_shard_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "1.a.png", "x", 1), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "1.a.jpg", "x", 1), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_commit(writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_ERROR_FORMAT);
    cm3_shard_close(shard);
    shard = NULL;
}
END_TEST

START_TEST(two_members_of_a_kind) {
    const char *path = test_path(&t, "a.tar");
    cm3_shard_writer *writer;
    ck_assert_int_eq(cm3_shard_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a.jpg", "1", 1), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_add(writer, "a.png", "2", 1), CM3_OK);
    ck_assert_int_eq(cm3_shard_writer_commit(writer), CM3_OK);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_ERROR_FORMAT);
    ck_assert(test_says(&t, "a.png"));
    cm3_shard_close(shard);
}
END_TEST

/* A member that says it is larger than what is read. */
START_TEST(member_beyond_the_cap) {
    const char *path = test_path(&t, "a.tar");
    size_t size;
    char *bytes = test_get(CM3_TEST_DATA "/files/gnu.tar", &size);
    char *header = bytes + 1536; /* s/0001.txt */
    ck_assert_str_eq(header, "s/0001.txt");
    snprintf(header + 124, 12, "%011o", (256u << 20) + 1);
    unsigned sum = 0;
    memset(header + 148, ' ', 8);
    for (int i = 0; i < 512; ++i) sum += (unsigned char)header[i];
    snprintf(header + 148, 8, "%06o", sum);
    test_put(path, bytes, size);
    free(bytes);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_ERROR_FORMAT);
    ck_assert_msg(test_says(&t, "at most 268435456"), "%s", cm3_context_message(t.context));
    cm3_shard_close(shard);
}
END_TEST

START_TEST(json_lines) {
    ck_assert_int_eq(mkdir(test_path(&t, "pictures"), 0700), 0);
    test_put(test_path(&t, "pictures/a.png"), "PNG", 3);
    static const char text[] = "{\"text\": \"a circle\", \"image\": \"pictures/a.png\", \"seed\": 3}\r\n"
                               "\n   \t\n"
                               " {\"text\": [\"one\", \"two\"], \"key\": \"mine\"}\n"
                               "\"only text \\u00fc\"\n"
                               "{\"image\": null, \"text\": null, \"key\": null}";
    const char *path = test_path(&t, "list.jsonl");
    test_put(path, text, sizeof text - 1);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    next_is("1", NULL, "{\"text\": \"a circle\", \"image\": \"pictures/a.png\", \"seed\": 3}");
    ck_assert_uint_eq(record.image_size, 3);
    ck_assert_mem_eq(record.image, "PNG", 3);
    cm3_record_clear(t.context, &record);
    next_is("mine", NULL, "{\"text\": [\"one\", \"two\"], \"key\": \"mine\"}");
    ck_assert_ptr_null(record.image);
    cm3_record_clear(t.context, &record);
    next_is("5", "only text \xc3\xbc", NULL);
    cm3_record_clear(t.context, &record);
    next_is("6", NULL, "{\"image\": null, \"text\": null, \"key\": null}");
    cm3_record_clear(t.context, &record);
    ends();
    test_put(path, "", 0);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    ends();
}
END_TEST

START_TEST(json_lines_that_are_wrong) {
    static const struct {
        const char *line;
        cm3_status status;
        const char *words;
    } cases[] = {
        {"{\"text\": 3}", CM3_ERROR_FORMAT, "text"},
        {"{\"text\": [\"a\", 3]}", CM3_ERROR_FORMAT, "text"},
        {"{\"image\": 3}", CM3_ERROR_FORMAT, "image"},
        {"{\"key\": 3}", CM3_ERROR_FORMAT, "key"},
        {"[1]", CM3_ERROR_FORMAT, "object or a string"},
        {"{\"text\"", CM3_ERROR_FORMAT, "JSON"},
        {"{\"image\": \"absent.png\"}", CM3_ERROR_NOT_FOUND, "absent.png"},
    };
    const char *path = test_path(&t, "list.jsonl");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; ++i) {
        char text[200];
        int length = snprintf(text, sizeof text, "\"fine\"\n%s\n", cases[i].line);
        test_put(path, text, (size_t)length);
        ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
        next_is("1", "fine", NULL);
        cm3_record_clear(t.context, &record);
        ck_assert_int_eq(cm3_shard_next(shard, &record, &more), cases[i].status);
        ck_assert(!more);
        ck_assert_ptr_null(record.key);
        ck_assert_msg(test_says(&t, cases[i].words) && test_says(&t, "list.jsonl: line 2"), "%s",
                      cm3_context_message(t.context));
        cm3_shard_close(shard);
    }
}
END_TEST

/* What a file is filled up with where it was cut off by a crash. */
START_TEST(nul_is_no_blank) {
    const char *path = test_path(&t, "list.jsonl");
    test_put(path, "\"fine\"\n\0\0", 9);
    ck_assert_int_eq(cm3_shard_open(t.context, path, &shard), CM3_OK);
    next_is("1", "fine", NULL);
    cm3_record_clear(t.context, &record);
    ck_assert_int_eq(cm3_shard_next(shard, &record, &more), CM3_ERROR_FORMAT);
    ck_assert(!more && test_says(&t, "list.jsonl: line 2"));
    cm3_shard_close(shard);
}
END_TEST

static cm3_status read_all(const char *path) {
    cm3_status status = cm3_shard_open(t.context, path, &shard);
    more = status == CM3_OK;
    while (more) {
        status = cm3_shard_next(shard, &record, &more);
        cm3_record_clear(t.context, &record);
    }
    cm3_shard_close(shard);
    return status;
}

START_TEST(memory_runs_out) {
    const char *lines = test_path(&t, "list.jsonl"), *written = test_path(&t, "w.tar");
    test_put(test_path(&t, "a.png"), "PNG", 3);
    static const char text[] = "{\"text\": \"x\", \"image\": \"a.png\", \"key\": \"k\"}\n\"y\"\n";
    test_put(lines, text, sizeof text - 1);
    for (int way = 0; way < 3; ++way) {
        for (int64_t n = 0;; ++n) {
            test_allocator_fail(&t.memory, n, INT64_MAX);
            cm3_status status = CM3_OK;
            if (way == 0) status = read_all(lines);
            if (way == 1) status = read_all(CM3_TEST_DATA "/files/gnu.tar");
            if (way == 2) {
                cm3_shard_writer *writer;
                status = cm3_shard_writer_open(t.context, written, &writer);
                if (status == CM3_OK) {
                    cm3_shard_writer_add(writer, "a.txt", "x", 1);
                    status = cm3_shard_writer_commit(writer);
                }
            }
            test_allocator_fail(&t.memory, -1, 0);
            if (status == CM3_OK) break;
            ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
        }
    }
}
END_TEST

Suite *shard_suite(void) {
    Suite *suite = suite_create("shard");
    TCase *tests = tcase_create("shard");
    tcase_set_timeout(tests, 120);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_loop_test(tests, as_python_writes_them, 0, 4);
    tcase_add_loop_test(tests, written_and_read, 0, 2);
    tcase_add_loop_test(tests, system_tar_reads_it, 0, 2);
    tcase_add_test(tests, aborted_writer_leaves_the_old_file);
    tcase_add_test(tests, full_disk);
    tcase_add_test(tests, broken_archives);
    tcase_add_test(tests, two_members_of_a_kind);
    tcase_add_test(tests, named_pictures);
    tcase_add_test(tests, member_beyond_the_cap);
    tcase_add_test(tests, json_lines);
    tcase_add_test(tests, json_lines_that_are_wrong);
    tcase_add_test(tests, nul_is_no_blank);
    tcase_add_test(tests, memory_runs_out);
    suite_add_tcase(suite, tests);
    return suite;
}

#endif
