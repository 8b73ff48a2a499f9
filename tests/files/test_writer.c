/* Writing: whole or not at all; links, modes, devices, pipes, full disks. */
#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "files/writer.h"
#include "suites.h"
#include "support/fixture.h"

static test_fixture t;

static void set_up(void) {
    test_fixture_up(&t);
}

static void tear_down(void) {
    test_fixture_down(&t);
}

/* Names in the test's folder: no temporary file is left in it. */
static int count_names(void) {
    DIR *folder = opendir(t.folder);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) count += strcmp(entry->d_name, ".") != 0;
    closedir(folder);
    return count - 1;
}

static void expect(const char *path, const char *text) {
    size_t size;
    char *data = test_get(path, &size);
    ck_assert_uint_eq(size, strlen(text));
    ck_assert_mem_eq(data, text, size);
    free(data);
}

START_TEST(new_file) {
    const char *path = test_path(&t, "new");
    mode_t mask = umask(027);
    ck_assert_int_eq(cm3_write_file(t.context, path, "hello", 5), CM3_OK);
    umask(mask);
    expect(path, "hello");
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0640);
    ck_assert_int_eq(cm3_write_file(t.context, path, NULL, 0), CM3_OK);
    expect(path, "");
    ck_assert_int_eq(count_names(), 1);
}
END_TEST

START_TEST(old_file_stays_until_commit) {
    const char *path = test_path(&t, "old");
    test_put(path, "before", 6);
    ck_assert_int_eq(chmod(path, 0604), 0);
    cm3_writer *writer;
    ck_assert_int_eq(cm3_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_writer_write(writer, "after", 5), CM3_OK);
    expect(path, "before");
    ck_assert_int_eq(cm3_writer_commit(writer), CM3_OK);
    expect(path, "after");
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert_int_eq(info.st_mode & 07777, 0604);
    ck_assert_int_eq(cm3_writer_open(t.context, path, &writer), CM3_OK);
    ck_assert_int_eq(cm3_writer_write(writer, "never", 5), CM3_OK);
    cm3_writer_abort(writer);
    cm3_writer_abort(NULL);
    expect(path, "after");
    ck_assert_int_eq(count_names(), 1);
}
END_TEST

START_TEST(pieces_of_all_sizes) {
    const char *path = test_path(&t, "pieces");
    enum { SIZE = 1000000 };
    char *data = malloc(SIZE);
    for (int i = 0; i < SIZE; ++i) data[i] = (char)(i * 7 % 255);
    cm3_writer *writer;
    ck_assert_int_eq(cm3_writer_open(t.context, path, &writer), CM3_OK);
    for (size_t at = 0, piece = 1; at < SIZE; at += piece, piece = piece * 5 % 131071) {
        if (piece > SIZE - at) piece = SIZE - at;
        ck_assert_int_eq(cm3_writer_write(writer, data + at, piece), CM3_OK);
    }
    ck_assert_int_eq(cm3_writer_commit(writer), CM3_OK);
    size_t size;
    char *found = test_get(path, &size);
    ck_assert_uint_eq(size, SIZE);
    ck_assert_int_eq(memcmp(found, data, SIZE), 0);
    free(found);
    free(data);
}
END_TEST

START_TEST(links_stay) {
    ck_assert_int_eq(mkdir(test_path(&t, "sub"), 0700), 0);
    const char *target = test_path(&t, "sub/target"), *first = test_path(&t, "first");
    const char *second = test_path(&t, "second"), *absolute = test_path(&t, "absolute");
    test_put(target, "old", 3);
    ck_assert_int_eq(symlink("sub/target", first), 0);
    ck_assert_int_eq(symlink("first", second), 0);
    ck_assert_int_eq(cm3_write_file(t.context, second, "new", 3), CM3_OK);
    expect(target, "new");
    struct stat info;
    ck_assert_int_eq(lstat(second, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    ck_assert_int_eq(lstat(first, &info), 0);
    ck_assert(S_ISLNK(info.st_mode));
    /* A link whose target is not there yet. */
    ck_assert_int_eq(unlink(target), 0);
    ck_assert_int_eq(cm3_write_file(t.context, second, "again", 5), CM3_OK);
    expect(target, "again");
    ck_assert_int_eq(symlink(target, absolute), 0);
    ck_assert_int_eq(cm3_write_file(t.context, absolute, "abs", 3), CM3_OK);
    expect(target, "abs");
    const char *loop = test_path(&t, "loop");
    ck_assert_int_eq(symlink("loop", loop), 0);
    ck_assert_int_eq(cm3_write_file(t.context, loop, "x", 1), CM3_ERROR_IO);
}
END_TEST

START_TEST(relative_path) {
    ck_assert_int_eq(chdir(t.folder), 0);
    ck_assert_int_eq(cm3_write_file(t.context, "plain", "here", 4), CM3_OK);
    expect(test_path(&t, "plain"), "here");
    ck_assert_int_eq(cm3_write_file(t.context, "./plain", "there", 5), CM3_OK);
    expect(test_path(&t, "plain"), "there");
    ck_assert_int_eq(chdir("/"), 0);
}
END_TEST

START_TEST(paths_that_cannot_be) {
    cm3_writer *writer;
    ck_assert_int_eq(cm3_writer_open(t.context, test_path(&t, "no/such/folder"), &writer), CM3_ERROR_IO);
    ck_assert_ptr_null(writer);
    ck_assert(test_says(&t, "no/such/folder"));
    ck_assert_int_eq(cm3_writer_open(t.context, t.folder, &writer), CM3_ERROR_IO);
    ck_assert_int_eq(cm3_writer_open(t.context, "", &writer), CM3_ERROR_IO);
    char longest[5000];
    memset(longest, 'a', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    ck_assert_int_eq(cm3_writer_open(t.context, longest, &writer), CM3_ERROR_IO);
}
END_TEST

START_TEST(longest_name) {
    char name[256];
    memset(name, 'n', 255);
    name[255] = '\0';
    char path[400];
    snprintf(path, sizeof path, "%s/%s", t.folder, name);
    ck_assert_int_eq(cm3_write_file(t.context, path, "x", 1), CM3_OK);
    expect(path, "x");
}
END_TEST

START_TEST(read_only_file_is_kept) {
    const char *path = test_path(&t, "locked");
    test_put(path, "mine", 4);
    ck_assert_int_eq(chmod(path, 0444), 0);
    ck_assert_int_eq(chmod(t.folder, 0777), 0);
    /* The superuser may write everything, so the test does without that right for a while. */
    bool root = geteuid() == 0;
    if (root) ck_assert_int_eq(seteuid(65534), 0);
    cm3_status status = cm3_write_file(t.context, path, "yours", 5);
    if (root) ck_assert_int_eq(seteuid(0), 0);
    ck_assert_int_eq(status, CM3_ERROR_IO);
    expect(path, "mine");
}
END_TEST

START_TEST(devices_are_written_through) {
    const char *null = test_dev_null(&t), *full = test_dev_full(&t);
    if (null == NULL || full == NULL) return;
    ck_assert_int_eq(cm3_write_file(t.context, null, "gone", 4), CM3_OK);
    struct stat info;
    ck_assert_int_eq(stat(null, &info), 0);
    ck_assert(S_ISCHR(info.st_mode));
    ck_assert_int_eq(cm3_write_file(t.context, full, "gone", 4), CM3_ERROR_NO_SPACE);
    ck_assert(test_says(&t, full));
    cm3_writer *writer;
    ck_assert_int_eq(cm3_writer_open(t.context, full, &writer), CM3_OK);
    static const char much[200000];
    ck_assert_int_eq(cm3_writer_write(writer, much, sizeof much), CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(cm3_writer_write(writer, "x", 1), CM3_ERROR_NO_SPACE);
    ck_assert_int_eq(cm3_writer_commit(writer), CM3_ERROR_NO_SPACE);
}
END_TEST

static void *drain(void *arg) {
    size_t size;
    char *data = test_get(arg, &size);
    bool right = size == 5 && memcmp(data, "piped", 5) == 0;
    free(data);
    return right ? arg : NULL;
}

START_TEST(pipes_are_written_through) {
    const char *path = test_path(&t, "pipe");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    pthread_t reader;
    pthread_create(&reader, NULL, drain, (void *)path);
    ck_assert_int_eq(cm3_write_file(t.context, path, "piped", 5), CM3_OK);
    void *right;
    pthread_join(reader, &right);
    ck_assert_ptr_nonnull(right);
    struct stat info;
    ck_assert_int_eq(stat(path, &info), 0);
    ck_assert(S_ISFIFO(info.st_mode));
}
END_TEST

/* Neither a closed pipe nor a size limit may end the process by a signal, and none of either may be left waiting. */
START_TEST(signals_do_not_come_through) {
    const char *path = test_path(&t, "pipe");
    ck_assert_int_eq(mkfifo(path, 0600), 0);
    int reader = open(path, O_RDONLY | O_NONBLOCK);
    cm3_writer *writer;
    ck_assert_int_eq(cm3_writer_open(t.context, path, &writer), CM3_OK);
    close(reader);
    ck_assert_int_eq(cm3_writer_write(writer, "x", 1), CM3_OK); /* still in the buffer */
    ck_assert_int_eq(cm3_writer_commit(writer), CM3_ERROR_IO);
    sigset_t pending;
    sigpending(&pending);
    ck_assert_int_eq(sigismember(&pending, SIGPIPE), 0);
}
END_TEST

START_TEST(full_disk_keeps_the_old_file) {
    const char *path = test_path(&t, "model");
    test_put(path, "before", 6);
    struct rlimit usual, small = {.rlim_cur = 100000};
    ck_assert_int_eq(getrlimit(RLIMIT_FSIZE, &usual), 0);
    small.rlim_max = usual.rlim_max;
    char *much = calloc(1, 300000);
    static const size_t pieces[] = {300000, 1000, 70000};
    for (size_t i = 0; i < 6; ++i) {
        if (i == 3) signal(SIGXFSZ, SIG_IGN);
        cm3_writer *writer;
        ck_assert_int_eq(cm3_writer_open(t.context, path, &writer), CM3_OK);
        ck_assert_int_eq(setrlimit(RLIMIT_FSIZE, &small), 0);
        cm3_status status = CM3_OK;
        for (size_t at = 0; at < 300000; at += pieces[i % 3]) {
            size_t piece = pieces[i % 3] < 300000 - at ? pieces[i % 3] : 300000 - at;
            status = cm3_writer_write(writer, much, piece);
        }
        cm3_status last = cm3_writer_commit(writer);
        setrlimit(RLIMIT_FSIZE, &usual);
        ck_assert_int_eq(status, CM3_ERROR_NO_SPACE);
        ck_assert_int_eq(last, CM3_ERROR_NO_SPACE);
        expect(path, "before");
        ck_assert_int_eq(count_names(), 1);
    }
    free(much);
    signal(SIGXFSZ, SIG_DFL);
}
END_TEST

START_TEST(memory_runs_out) {
    const char *path = test_path(&t, "file"), *link = test_path(&t, "link");
    test_put(path, "before", 6);
    ck_assert_int_eq(symlink("file", link), 0);
    for (int64_t n = 0;; ++n) {
        test_allocator_fail(&t.memory, n, INT64_MAX);
        cm3_status status = cm3_write_file(t.context, link, "after", 5);
        test_allocator_fail(&t.memory, -1, 0);
        if (status == CM3_OK) break;
        ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
        expect(path, "before");
        ck_assert_int_eq(count_names(), 2);
    }
    expect(path, "after");
}
END_TEST

Suite *writer_suite(void) {
    Suite *suite = suite_create("writer");
    TCase *tests = tcase_create("writer");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, new_file);
    tcase_add_test(tests, old_file_stays_until_commit);
    tcase_add_test(tests, pieces_of_all_sizes);
    tcase_add_test(tests, links_stay);
    tcase_add_test(tests, relative_path);
    tcase_add_test(tests, paths_that_cannot_be);
    tcase_add_test(tests, longest_name);
    tcase_add_test(tests, read_only_file_is_kept);
    tcase_add_test(tests, devices_are_written_through);
    tcase_add_test(tests, pipes_are_written_through);
    tcase_add_test(tests, signals_do_not_come_through);
    tcase_add_test(tests, full_disk_keeps_the_old_file);
    tcase_add_test(tests, memory_runs_out);
    suite_add_tcase(suite, tests);
    return suite;
}
