/* Files as bytes: mapped, read, from memory, through a vtable. */
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/file.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

START_TEST(regular_file) {
    const char *path = test_path(&t, "a.bin");
    test_put(path, "hello", 5);
    int64_t before = atomic_load(&t.memory.live);
    cm3_file *file;
    ck_assert_int_eq(cm3_file_open(t.context, path, &file), CM3_OK);
    ck_assert_uint_eq(file->size, 5);
    ck_assert_mem_eq(file->data, "hello", 5);
    ck_assert_str_eq(file->name, path);
    ck_assert_int_lt(atomic_load(&t.memory.live) - before, 1000);
    cm3_file_retain(file);
    cm3_file_release(file);
    /* Replaced on disk: what is mapped stays. */
    ck_assert_int_eq(unlink(path), 0);
    ck_assert_mem_eq(file->data, "hello", 5);
    char *maps = test_get("/proc/self/maps", NULL);
    ck_assert_ptr_nonnull(strstr(maps, path));
    free(maps);
    cm3_file_release(file);
    maps = test_get("/proc/self/maps", NULL);
    ck_assert_ptr_null(strstr(maps, path));
    free(maps);
    cm3_file_release(NULL);
}
END_TEST

START_TEST(empty_file) {
    const char *path = test_path(&t, "empty");
    test_put(path, "", 0);
    cm3_file *file;
    ck_assert_int_eq(cm3_file_open(t.context, path, &file), CM3_OK);
    ck_assert_uint_eq(file->size, 0);
    ck_assert_ptr_nonnull(file->data);
    cm3_file_release(file);
}
END_TEST

START_TEST(missing_and_odd_paths) {
    cm3_file *file;
    const char *path = test_path(&t, "no-such");
    ck_assert_int_eq(cm3_file_open(t.context, path, &file), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_null(file);
    ck_assert(test_says(&t, path));
    ck_assert(test_says(&t, "No such file"));
    ck_assert_int_eq(cm3_file_open(t.context, "", &file), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(cm3_file_open(t.context, t.folder, &file), CM3_ERROR_IO);
    test_put(path, "x", 1);
    ck_assert_int_eq(cm3_file_open(t.context, test_path(&t, "no-such/below"), &file), CM3_ERROR_NOT_FOUND);
}
END_TEST

/* /proc says size 0 and has bytes all the same. */
START_TEST(file_without_a_size) {
    cm3_file *file;
    ck_assert_int_eq(cm3_file_open(t.context, "/proc/self/status", &file), CM3_OK);
    ck_assert_uint_gt(file->size, 100);
    ck_assert_mem_eq(file->data, "Name:", 5);
    cm3_file_release(file);
}
END_TEST

enum { PIPE_BYTES = 300000 };

static void *feed_pipe(void *arg) {
    FILE *pipe = fopen(arg, "wb");
    for (int i = 0; i < PIPE_BYTES; ++i) fputc(i % 251, pipe);
    fclose(pipe);
    return NULL;
}

START_TEST(pipe_is_read_to_its_end) {
    const char *path = test_path(&t, "pipe");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    pthread_t feeder;
    pthread_create(&feeder, NULL, feed_pipe, (void *)path);
    cm3_file *file;
    ck_assert_int_eq(cm3_file_open(t.context, path, &file), CM3_OK);
    pthread_join(feeder, NULL);
    ck_assert_uint_eq(file->size, PIPE_BYTES);
    for (int i = 0; i < PIPE_BYTES; ++i) ck_assert_uint_eq(file->data[i], i % 251);
    cm3_file_release(file);
}
END_TEST

START_TEST(callers_memory) {
    static const char text[] = "mine";
    cm3_file *file;
    ck_assert_int_eq(cm3_file_from_memory(t.context, text, 4, &file), CM3_OK);
    ck_assert_ptr_eq(file->data, text);
    ck_assert_uint_eq(file->size, 4);
    cm3_file_release(file);
    ck_assert_int_eq(cm3_file_from_memory(t.context, NULL, 0, &file), CM3_OK);
    ck_assert_ptr_nonnull(file->data);
    cm3_file_release(file);
    ck_assert_int_eq(cm3_file_from_memory(t.context, NULL, 1, &file), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(file);
}
END_TEST

typedef struct source {
    uint64_t fail_at;
    int calls;
} source;

static int read_pattern(void *user, uint64_t offset, void *buffer, size_t size) {
    source *from = user;
    ++from->calls;
    if (offset + size > from->fail_at) return 42;
    for (size_t i = 0; i < size; ++i) ((uint8_t *)buffer)[i] = (uint8_t)((offset + i) % 253);
    return 0;
}

START_TEST(vtable) {
    source from = {UINT64_MAX, 0};
    cm3_io io = {sizeof io, read_pattern, 20000000, &from};
    cm3_file *file;
    ck_assert_int_eq(cm3_file_from_io(t.context, &io, &file), CM3_OK);
    ck_assert_uint_eq(file->size, io.size);
    for (size_t i = 0; i < file->size; i += 997) ck_assert_uint_eq(file->data[i], i % 253);
    cm3_file_release(file);
    from.fail_at = 18000000;
    ck_assert_int_eq(cm3_file_from_io(t.context, &io, &file), CM3_ERROR_IO);
    ck_assert(test_says(&t, "42"));
    ck_assert_ptr_null(file);
    io.size = 0;
    ck_assert_int_eq(cm3_file_from_io(t.context, &io, &file), CM3_OK);
    cm3_file_release(file);
    io.size = UINT64_MAX;
    ck_assert_int_eq(cm3_file_from_io(t.context, &io, &file), CM3_ERROR_INVALID_ARGUMENT);
    io.size = 1;
    io.read_at = NULL;
    ck_assert_int_eq(cm3_file_from_io(t.context, &io, &file), CM3_ERROR_INVALID_ARGUMENT);
    io.read_at = read_pattern;
    io.struct_size = 8;
    ck_assert_int_eq(cm3_file_from_io(t.context, &io, &file), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_file_from_io(t.context, NULL, &file), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

START_TEST(copy_in_huge_pages) {
    enum { SIZE = 5000001 };
    static uint8_t data[SIZE];
    for (int i = 0; i < SIZE; ++i) data[i] = (uint8_t)(i % 249);
    cm3_file *file, *copy;
    ck_assert_int_eq(cm3_file_from_memory(t.context, data, SIZE, &file), CM3_OK);
    int64_t before = atomic_load(&t.memory.live);
    ck_assert_int_eq(cm3_file_copy_huge(t.context, file, &copy), CM3_OK);
    ck_assert_int_ge(atomic_load(&t.memory.live) - before, SIZE);
    cm3_file_release(file);
    ck_assert_uint_eq((uintptr_t)copy->data % (2 << 20), 0);
    ck_assert_uint_eq(copy->size, SIZE);
    ck_assert_mem_eq(copy->data, data, SIZE);
    cm3_file_release(copy);
}
END_TEST

START_TEST(memory_runs_out) {
    const char *path = test_path(&t, "a");
    test_put(path, "hello", 5);
    source from = {UINT64_MAX, 0};
    cm3_io io = {sizeof io, read_pattern, 100, &from};
    for (int way = 0; way < 4; ++way) {
        for (int64_t n = 0;; ++n) {
            cm3_file *file, *held = NULL;
            if (way == 3) ck_assert_int_eq(cm3_file_from_memory(t.context, path, 3, &held), CM3_OK);
            test_allocator_fail(&t.memory, n, INT64_MAX);
            cm3_status status = CM3_OK;
            if (way == 0) status = cm3_file_open(t.context, path, &file);
            if (way == 1) status = cm3_file_open(t.context, "/proc/self/status", &file);
            if (way == 2) status = cm3_file_from_io(t.context, &io, &file);
            if (way == 3) status = cm3_file_copy_huge(t.context, held, &file);
            test_allocator_fail(&t.memory, -1, 0);
            cm3_file_release(held);
            cm3_file_release(file);
            if (status == CM3_OK) break;
            ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
            ck_assert_ptr_null(file);
        }
    }
}
END_TEST

Suite *file_suite(void) {
    Suite *suite = suite_create("file");
    TCase *tests = tcase_create("file");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, regular_file);
    tcase_add_test(tests, empty_file);
    tcase_add_test(tests, missing_and_odd_paths);
    tcase_add_test(tests, file_without_a_size);
    tcase_add_test(tests, pipe_is_read_to_its_end);
    tcase_add_test(tests, callers_memory);
    tcase_add_test(tests, vtable);
    tcase_add_test(tests, copy_in_huge_pages);
    tcase_add_test(tests, memory_runs_out);
    suite_add_tcase(suite, tests);
    return suite;
}
