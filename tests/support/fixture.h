/* A context with a counting allocator and a folder of its own, for one test. */
#ifndef SUPPORT_FIXTURE_H
#define SUPPORT_FIXTURE_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cm3leon/context.h"
#include "support/allocator.h"

typedef struct test_fixture {
    test_allocator memory;
    cm3_context *context;
    char folder[64];
    char path[8][160]; /**< used in turn by test_path() */
    int next_path;
} test_fixture;

static inline void test_fixture_up(test_fixture *fixture) {
    memset(fixture, 0, sizeof *fixture);
    test_allocator_init(&fixture->memory);
    cm3_allocator allocator = test_allocator_of(&fixture->memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &fixture->context), CM3_OK);
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/cm3-test-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(fixture->folder));
}

/* Nothing of the context's memory is left. */
static inline void test_fixture_down(test_fixture *fixture) {
    cm3_context_destroy(fixture->context);
    ck_assert_int_eq(atomic_load(&fixture->memory.live), 0);
    ck_assert_int_eq(atomic_load(&fixture->memory.blocks), 0);
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", fixture->folder);
    ck_assert_int_eq(system(command), 0);
}

/* A path in the test's folder; valid for some more calls. */
static inline const char *test_path(test_fixture *fixture, const char *name) {
    char *path = fixture->path[fixture->next_path++ % 8];
    snprintf(path, sizeof fixture->path[0], "%s/%s", fixture->folder, name);
    return path;
}

/* How often something random is tried: as usual, CM3_FUZZ_ROUNDS times, or with scripts/test --long ten times the
 * usual. */
static inline int test_rounds(int usual) {
    const char *asked = getenv("CM3_FUZZ_ROUNDS");
    if (asked != NULL && atoi(asked) > 0) return atoi(asked);
    return getenv("CM3_TEST_LONG") != NULL ? 10 * usual : usual;
}

static inline void test_put(const char *path, const void *data, size_t size) {
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(fwrite(data, 1, size, file), size);
    ck_assert_int_eq(fclose(file), 0);
}

/* The bytes of a file, with a NUL after them; freed by the caller. */
static inline char *test_get(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    ck_assert_msg(file != NULL, "%s", path);
    char *data = NULL;
    size_t used = 0, room = 0;
    for (;;) {
        if (room - used < 4096) data = realloc(data, room = room * 2 + 8192);
        size_t got = fread(data + used, 1, room - used - 1, file);
        used += got;
        if (got == 0) break;
    }
    fclose(file);
    data[used] = '\0';
    if (size != NULL) *size = used;
    return data;
}

/*
 * The device of that name and minor number among the memory devices, to be written to. The superuser gets a node of the
 * test's own: a writer that wrongly replaces what it should write through must not be able to reach the machine's.
 * Where no such node can be used, NULL: the caller leaves its test.
 */
static inline const char *test_device(test_fixture *fixture, const char *name, unsigned minor_number) {
    const char *path = test_path(fixture, name);
    if (geteuid() == 0) {
        if (mknod(path, S_IFCHR | 0666, makedev(1, minor_number)) != 0) return NULL;
    } else {
        snprintf(fixture->path[(fixture->next_path - 1) % 8], sizeof fixture->path[0], "/dev/%s", name);
    }
    FILE *device = fopen(path, "r+b");
    if (device == NULL) return NULL;
    fclose(device);
    return path;
}

static inline const char *test_dev_null(test_fixture *fixture) {
    return test_device(fixture, "null", 3);
}

static inline const char *test_dev_full(test_fixture *fixture) {
    return test_device(fixture, "full", 7);
}

/* True where the last message holds `words`. */
static inline bool test_says(const test_fixture *fixture, const char *words) {
    return strstr(cm3_context_message(fixture->context), words) != NULL;
}

#endif
