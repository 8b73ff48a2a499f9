/* What the fuzz targets share. */
#include "fuzz.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/*
 * Processor time that an input may take, with the sanitizers. By the clock on the wall, a busy machine would find what
 * is not there.
 */
#define MAX_SECONDS 3

/* --- memory ------------------------------------------------------------------------------------------------------- */

static struct {
    _Atomic size_t live, blocks;
    size_t limit;
} memory;

static void *limited_alloc(void *user, size_t size, size_t alignment) {
    (void)user;
    size_t before = atomic_fetch_add(&memory.live, size);
    void *pointer = NULL;
    if (size > memory.limit || before > memory.limit - size || posix_memalign(&pointer, alignment, size) != 0) {
        atomic_fetch_sub(&memory.live, size);
        return NULL;
    }
    atomic_fetch_add(&memory.blocks, 1);
    return pointer;
}

static void limited_free(void *user, void *pointer, size_t size) {
    (void)user;
    atomic_fetch_sub(&memory.live, size);
    atomic_fetch_sub(&memory.blocks, 1);
    free(pointer);
}

/* --- checks ------------------------------------------------------------------------------------------------------- */

_Noreturn void fuzz_abort(const char *file, int line, const char *condition) {
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, condition);
    abort();
}

static void on_slow(int signal_number) {
    static const char words[] = "an input takes seconds of processor time\n";
    (void)signal_number;
    ssize_t written = write(STDERR_FILENO, words, sizeof words - 1);
    (void)written;
    abort();
}

/* Ends the process where that much processor time has gone by; 0: not any more. */
static void limit_time(int seconds) {
    static timer_t timer;
    static bool made;
    if (!made) {
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGXCPU};
        FUZZ_CHECK(signal(SIGXCPU, on_slow) != SIG_ERR);
        FUZZ_CHECK(timer_create(CLOCK_PROCESS_CPUTIME_ID, &event, &timer) == 0);
        made = true;
    }
    const struct itimerspec limit = {.it_value = {.tv_sec = seconds}};
    FUZZ_CHECK(timer_settime(timer, 0, &limit, NULL) == 0);
}

cm3_context *fuzz_begin(size_t limit) {
    const cm3_allocator allocator = {limited_alloc, limited_free, NULL};
    cm3_context_options options;
    cm3_context *context;
    memory.limit = limit;
    limit_time(MAX_SECONDS);
    cm3_context_options_init(&options);
    options.allocator = &allocator;
    options.threads = 0;
    FUZZ_CHECK(cm3_context_create(&options, &context) == CM3_OK);
    return context;
}

void fuzz_end(cm3_context *context) {
    cm3_context_destroy(context);
    FUZZ_CHECK(atomic_load(&memory.live) == 0);
    FUZZ_CHECK(atomic_load(&memory.blocks) == 0);
    limit_time(0);
}

void fuzz_check_result(const cm3_context *context, cm3_status status, const void *object) {
    FUZZ_CHECK((object != NULL) == (status == CM3_OK));
    FUZZ_CHECK(status != CM3_ERROR_INTERNAL);
    FUZZ_CHECK(status == CM3_OK || *cm3_context_message(context) != '\0');
}

uint64_t fuzz_hash(const uint8_t *data, size_t size) {
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < size; ++i) hash = (hash ^ data[i]) * 0x100000001b3u;
    return hash ^ hash >> 32;
}

/* --- files -------------------------------------------------------------------------------------------------------- */

#define MAX_PATHS 16

static char folder[256];
static struct {
    const char *name;
    char path[512];
} paths[MAX_PATHS];

static void remove_folder(void) {
    for (int i = 0; i < MAX_PATHS && paths[i].name != NULL; ++i) unlink(paths[i].path);
    rmdir(folder);
}

static void make_folder(void) {
    const char *base = getenv("TMPDIR");
    snprintf(folder, sizeof folder, "%s/cm3-fuzz-XXXXXX", base != NULL && *base != '\0' ? base : "/tmp");
    FUZZ_CHECK(mkdtemp(folder) != NULL);
    atexit(remove_folder);
}

const char *fuzz_path(const char *name) {
    if (*folder == '\0') make_folder();
    for (int i = 0; i < MAX_PATHS; ++i) {
        if (paths[i].name != NULL && strcmp(paths[i].name, name) != 0) continue;
        paths[i].name = name;
        snprintf(paths[i].path, sizeof paths[i].path, "%s/%s", folder, name);
        return paths[i].path;
    }
    fuzz_abort(__FILE__, __LINE__, "room for one more path");
}

const char *fuzz_put(const char *name, const void *data, size_t size) {
    const char *path = fuzz_path(name);
    FILE *file = fopen(path, "wb");
    FUZZ_CHECK(file != NULL);
    FUZZ_CHECK(fwrite(data, 1, size, file) == size);
    FUZZ_CHECK(fclose(file) == 0);
    return path;
}
