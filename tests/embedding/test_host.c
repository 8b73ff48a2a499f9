/* What must stay the host's own: its OpenMP, its CPUs, its idle time, its standard streams, its logs, its memory. */
#include <dlfcn.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/wait.h>

#include "host.h"
#include "suites.h"

/* The host's OpenMP settings; 0 where the library was built without. */
static int omp_threads(void) {
    int (*ask)(void) = (int (*)(void))(uintptr_t)dlsym(RTLD_DEFAULT, "omp_get_max_threads");
    return ask ? ask() : 0;
}

/* With an engine thread and without: omp_get_max_threads() and the affinity of the host's threads are as before. */
START_TEST(openmp_and_affinity_stay) {
    void (*set_threads)(int) = (void (*)(int))(uintptr_t)dlsym(RTLD_DEFAULT, "omp_set_num_threads");
    if (set_threads) set_threads(7);
    int before = omp_threads();
    cpu_set_t cpus, after;
    ck_assert_int_eq(sched_getaffinity(0, sizeof cpus, &cpus), 0);
    host h;
    host_up(&h, _i);
    ck_assert_int_eq(omp_threads(), before);
    cm3_generate_options options = host_words(3);
    host_generate(&h, &options);
    ck_assert_int_eq(omp_threads(), before);
    host_down(&h);
    ck_assert_int_eq(omp_threads(), before);
    ck_assert_int_eq(sched_getaffinity(0, sizeof after, &after), 0);
    ck_assert(CPU_EQUAL(&cpus, &after));
}
END_TEST

/* A model that was used and waits takes no time of any CPU. */
START_TEST(idle_takes_no_cpu) {
    host h;
    host_up(&h, _i);
    cm3_generate_options options = host_words(3);
    host_generate(&h, &options);
    usleep(200000);
    double before = host_seconds(CLOCK_PROCESS_CPUTIME_ID);
    usleep(500000);
    ck_assert_double_lt(host_seconds(CLOCK_PROCESS_CPUTIME_ID) - before, 0.01);
    host_down(&h);
}
END_TEST

/* Nor does a host that waits for events of a request that another context's thread computes, beyond that thread. */
START_TEST(waiting_does_not_spin) {
    host h;
    host_up(&h, 1);
    cm3_generate_options options = host_words(40);
    cm3_request *request = host_start(&h, &options);
    double before = host_seconds(CLOCK_THREAD_CPUTIME_ID), wall = host_seconds(CLOCK_MONOTONIC);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_OK);
    double took = host_seconds(CLOCK_MONOTONIC) - wall;
    ck_assert_double_lt(host_seconds(CLOCK_THREAD_CPUTIME_ID) - before, 0.1 * took + 0.01);
    cm3_request_destroy(request);
    host_down(&h);
}
END_TEST

/* Everything a host does, failures too, with both standard streams watched. */
static void be_busy(void) {
    host h;
    host_up(&h, 2);
    cm3_generate_options options = host_words(3);
    host_generate(&h, &options);
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(h.context, "/nowhere", NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(cm3_model_load(h.context, "/proc/self/exe", NULL, &model), CM3_ERROR_FORMAT);
    ck_assert_int_ne(cm3_model_load_memory(h.context, "rubbish!rubbish!", 16, NULL, &model), CM3_OK);
    cm3_image *image;
    ck_assert_int_ne(cm3_image_load_memory(h.context, "\xff\xd8\xff\xe0 no picture", 15, &image), CM3_OK);
    ck_assert_int_ne(cm3_image_load_memory(h.context, "\x89PNG\r\n\x1a\n no picture", 19, &image), CM3_OK);
    options.temperature = -1;
    ck_assert_int_eq(cm3_generate(h.model, h.prompt, &options, NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    host_down(&h);
}

START_TEST(nothing_is_printed) {
    char path[] = "/tmp/cm3-embedding-XXXXXX";
    int file = mkstemp(path), streams[] = {STDOUT_FILENO, STDERR_FILENO}, kept[2];
    fflush(NULL);
    for (int i = 0; i < 2; i++) {
        kept[i] = dup(streams[i]);
        dup2(file, streams[i]);
    }
    be_busy();
    fflush(NULL);
    off_t printed = lseek(file, 0, SEEK_END);
    for (int i = 0; i < 2; i++) {
        dup2(kept[i], streams[i]);
        close(kept[i]);
    }
    close(file);
    unlink(path);
    ck_assert_int_eq(printed, 0);
}
END_TEST

/* Lines of one context, and who they are for. */
typedef struct journal {
    int lines;
    char last[1024];
} journal;

static void note(void *user, cm3_log_level level, const char *line) {
    journal *j = user;
    ck_assert_int_le(level, CM3_LOG_WARNING);
    j->lines++;
    snprintf(j->last, sizeof j->last, "%s", line);
}

/* Two contexts, each with a log of its own: what fails in one is told there and nowhere else, and kept as a message. */
START_TEST(logs_are_per_context) {
    journal journals[2] = {{0}, {0}};
    cm3_context *contexts[3];
    for (int i = 0; i < 3; i++) {
        cm3_context_options options;
        cm3_context_options_init(&options);
        options.threads = 0;
        if (i < 2) options.log = note, options.log_user = &journals[i];
        ck_assert_int_eq(cm3_context_create(&options, &contexts[i]), CM3_OK);
    }
    cm3_model *model;
    ck_assert_int_eq(cm3_model_load(contexts[1], "/nowhere/at/all.cm3", NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(journals[0].lines, 0);
    ck_assert_int_ge(journals[1].lines, 1);
    ck_assert_ptr_nonnull(strstr(journals[1].last, "/nowhere/at/all.cm3"));
    ck_assert_str_eq(cm3_context_message(contexts[0]), "");
    ck_assert_str_eq(cm3_context_message(contexts[1]), journals[1].last);
    /* Silence is the default; the message is there all the same. */
    ck_assert_int_eq(cm3_model_load(contexts[2], "/nowhere/else.cm3", NULL, &model), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(contexts[2]), "/nowhere/else.cm3"));
    ck_assert_ptr_nonnull(strstr(cm3_context_message(contexts[1]), "at/all.cm3"));
    for (int i = 0; i < 3; i++) cm3_context_destroy(contexts[i]);
}
END_TEST

/* All that lives in a context, ended in the wrong order: the allocator has everything back. */
START_TEST(memory_comes_back) {
    host h;
    host_up(&h, _i);
    cm3_generate_options words = host_words(4), picture = host_picture();
    cm3_request *first = host_start(&h, &words), *second = host_start(&h, &picture);
    cm3_tokenizer *tokenizer;
    HOST_OK(&h, cm3_model_tokenizer(h.model, &tokenizer));
    ck_assert_int_eq(cm3_request_wait(first, NULL, NULL), CM3_OK);
    cm3_document *result;
    HOST_OK(&h, cm3_request_result(first, &result));
    ck_assert_int_gt(atomic_load(&h.memory.live), 1000);
    cm3_memory_stats stats = {.struct_size = sizeof stats};
    HOST_OK(&h, cm3_context_memory(h.context, &stats));
    ck_assert_uint_ge(stats.peak_bytes, stats.live_bytes);
    cm3_context_destroy(h.context);
    cm3_model_destroy(h.model);
    h.context = NULL;
    h.model = NULL;
    cm3_request_destroy(second); /* while it runs, and holds both */
    cm3_request_destroy(first);
    cm3_document_destroy(h.prompt);
    h.prompt = NULL;
    cm3_tokenizer_destroy(tokenizer);
    ck_assert_int_gt(atomic_load(&h.memory.live), 0);
    cm3_document_destroy(result);
    host_down(&h);
}
END_TEST

/* What the library hands over as bytes goes back through the library, into the same allocator. */
START_TEST(buffers_go_back_to_their_allocator) {
    host h;
    host_context(&h, 0);
    cm3_image *image;
    HOST_OK(&h, cm3_image_create(h.context, 40, 30, &image));
    int64_t before = atomic_load(&h.memory.live);
    uint8_t *data;
    size_t size;
    HOST_OK(&h, cm3_image_encode(image, CM3_IMAGE_PNG, NULL, &data, &size));
    ck_assert_int_ge(atomic_load(&h.memory.live), before + (int64_t)size);
    cm3_buffer_free(h.context, data, size);
    ck_assert_int_eq(atomic_load(&h.memory.live), before);
    cm3_image_destroy(image);
    host_down(&h);
}
END_TEST

Suite *host_suite(void) {
    Suite *suite = suite_create("embedding/host");
    TCase *tcase = tcase_create("host");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, openmp_and_affinity_stay, 0, 3);
    tcase_add_loop_test(tcase, idle_takes_no_cpu, 0, 3);
    tcase_add_test(tcase, waiting_does_not_spin);
    tcase_add_test(tcase, nothing_is_printed);
    tcase_add_test(tcase, logs_are_per_context);
    tcase_add_loop_test(tcase, memory_comes_back, 0, 3);
    tcase_add_test(tcase, buffers_go_back_to_their_allocator);
    suite_add_tcase(suite, tcase);
    return suite;
}
