/* Processes that are forked while the library is in use: errors where its threads would be needed, and no hang. */
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>

#include "host.h"
#include "suites.h"

/* In the child nothing of Check's is used. */
#define CHILD(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            dprintf(STDERR_FILENO, "child, line %d: %s: %s\n", __LINE__, #condition, message_of);                      \
            _exit(1);                                                                                                  \
        }                                                                                                              \
    } while (0)
#define message_of cm3_context_message(h->context)
#define REFUSED(call) CHILD((call) == CM3_ERROR_UNSUPPORTED && strstr(message_of, "forked"))

static int ignore(void *user, const cm3_event *event) {
    (void)user;
    (void)event;
    return 0;
}

/* Every call that computes, waits or takes a lock that a thread of the parent's may have held. */
static void all_calls(host *h, cm3_request *running, cm3_request *finished) {
    cm3_generate_options options = host_words(2);
    cm3_request *another;
    cm3_document *result;
    cm3_timings timings = {.struct_size = sizeof timings};
    cm3_memory_estimate estimate = {.struct_size = sizeof estimate};
    int32_t ids[] = {1, 2};
    int done = 0;
    REFUSED(cm3_request_poll(running, 0, ignore, NULL, &done));
    CHILD(done == 1);
    REFUSED(cm3_request_poll(running, 1000000000, ignore, NULL, &done));
    cm3_event event = {.struct_size = sizeof event};
    done = 0;
    REFUSED(cm3_request_next_event(running, 0, &event, &done));
    CHILD(done == 1 && event.kind == CM3_EVENT_NONE);
    REFUSED(cm3_request_wait(running, ignore, NULL));
    CHILD(cm3_request_done(running));
    REFUSED(cm3_request_result(running, &result));
    CHILD(result == NULL);
    REFUSED(cm3_request_timings(running, &timings));
    CHILD(strstr(cm3_request_message(running), "forked"));
    cm3_request_cancel(running);
    REFUSED(cm3_request_start(h->model, h->prompt, &options, &another));
    CHILD(another == NULL);
    REFUSED(cm3_generate(h->model, h->prompt, &options, ignore, NULL, &result));
    REFUSED(cm3_estimate(h->model, &options, 2, &estimate));
    REFUSED(cm3_estimate_file(h->context, HOST_MODEL, NULL, &options, 2, &estimate));
    static float logits[1 << 16];
    cm3_model_info info = {.struct_size = sizeof info};
    CHILD(cm3_model_get_info(h->model, &info) == CM3_OK && 2 * info.vocab_size <= 1 << 16);
    REFUSED(cm3_model_logits(h->model, ids, 2, CM3_COMPUTE_AUTO, logits));
    cm3_tokenizer *tokenizer;
    cm3_image *picture, *decoded;
    static int32_t codes[1 << 12];
    size_t count;
    CHILD(cm3_model_tokenizer(h->model, &tokenizer) == CM3_OK);
    CHILD(cm3_image_create(h->context, 32, 32, &picture) == CM3_OK);
    REFUSED(cm3_tokenizer_encode_image(tokenizer, picture, codes, 1 << 12, &count));
    cm3_tokenizer_info about = {.struct_size = sizeof about};
    CHILD(cm3_tokenizer_get_info(tokenizer, &about) == CM3_OK);
    REFUSED(cm3_tokenizer_decode_image(tokenizer, codes, (size_t)about.image_tokens, &decoded));
    /* What was made before is there, and what needs no thread works. */
    CHILD(cm3_request_result(finished, &result) == CM3_OK && result != NULL);
    cm3_document_destroy(result);
    cm3_image_destroy(picture);
    cm3_tokenizer_destroy(tokenizer);
    cm3_request_destroy(running);
    cm3_request_destroy(finished);
    cm3_document_destroy(h->prompt);
    cm3_model_destroy(h->model);
    cm3_context_destroy(h->context);
}

#define TOO_LATE 77

/** Whether the child came in time: it ends with TOO_LATE where what it wanted to meet was over. */
static bool join(pid_t child, const char *what) {
    int status;
    ck_assert_int_eq(waitpid(child, &status, 0), child);
    ck_assert_msg(WIFEXITED(status) && (WEXITSTATUS(status) == 0 || WEXITSTATUS(status) == TOO_LATE), "%s: status %x",
                  what, status);
    return WEXITSTATUS(status) == 0;
}

static void child_of_computing(host *h, cm3_request *running, cm3_request *finished) {
    cm3_document *result;
    alarm(60); /* ends it where it hangs */
    if (cm3_request_result(running, &result) == CM3_OK) _exit(TOO_LATE);
    all_calls(h, running, finished);
    _exit(0);
}

/* In the midst of a text, at many moments of it; the parent goes on undisturbed. */
START_TEST(forked_while_computing) {
    host own, *h = &own;
    host_up(h, _i);
    cm3_generate_options words = host_words(3), many = host_words(200);
    uint64_t expected = host_generate(h, &many);
    cm3_request *finished = host_start(h, &words);
    ck_assert_int_eq(cm3_request_wait(finished, NULL, NULL), CM3_OK);
    int met = 0;
    for (int round = 0; met < 5; round++) {
        ck_assert_msg(round < 50, "%d of %d forks met a request that was computing", met, round);
        cm3_request *running = host_start(h, &many);
        int done;
        ck_assert_int_eq(cm3_request_poll(running, (uint64_t)met * 7000, NULL, NULL, &done), CM3_OK);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) child_of_computing(h, running, finished);
        met += join(child, "while computing");
        ck_assert_int_eq(cm3_request_wait(running, NULL, NULL), CM3_OK);
        cm3_document *result;
        HOST_OK(h, cm3_request_result(running, &result));
        ck_assert_uint_eq(host_sum(result), expected);
        cm3_document_destroy(result);
        cm3_request_destroy(running);
    }
    cm3_request_destroy(finished);
    host_down(h);
}
END_TEST

/* The locks of a context are held by others at the moment of the fork, as often as can be had. */
static _Atomic int stop_noise;

static void *fail_all_the_time(void *arg) {
    host *h = arg;
    cm3_model *model;
    while (!atomic_load(&stop_noise)) cm3_model_load(h->context, "/nowhere", NULL, &model);
    return NULL;
}

START_TEST(forked_under_locks) {
    host own, *h = &own;
    host_up(h, 2);
    pthread_t noise[2];
    atomic_store(&stop_noise, 0);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(pthread_create(&noise[i], NULL, fail_all_the_time, h), 0);
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        if (child == 0) {
            alarm(60);
            cm3_generate_options options = host_words(2);
            REFUSED(cm3_generate(h->model, h->prompt, &options, NULL, NULL, NULL));
            cm3_model *model;
            CHILD(cm3_model_load(h->context, "/nowhere", NULL, &model) == CM3_ERROR_NOT_FOUND);
            CHILD(strstr(message_of, "/nowhere"));
            cm3_document_destroy(h->prompt);
            cm3_model_destroy(h->model);
            cm3_context_destroy(h->context);
            _exit(0);
        }
        ck_assert(join(child, "under locks"));
    }
    atomic_store(&stop_noise, 1);
    for (int i = 0; i < 2; i++) pthread_join(noise[i], NULL);
    host_down(h);
}
END_TEST

/* A bank's lock may have been held by a writer: readers are refused as well. */
START_TEST(bank_in_the_child) {
    host own, *h = &own;
    host_up(h, 1);
    cm3_bank *bank;
    HOST_OK(h, cm3_bank_open(h->context, CM3_SOURCE_DIR "/models/toybox.bank", CM3_BANK_READ, &bank));
    pid_t child = fork();
    if (child == 0) {
        static const float query[4096];
        cm3_bank_info info = {.struct_size = sizeof info};
        cm3_bank_record *record;
        cm3_hit hits[10];
        uint64_t id = 0;
        size_t found;
        alarm(60);
        REFUSED(cm3_bank_get_info(bank, &info));
        REFUSED(cm3_bank_get(bank, 0, &record));
        REFUSED(cm3_bank_next(bank, &id));
        REFUSED(cm3_bank_find(bank, "00000000", &id));
        REFUSED(cm3_bank_search(bank, query, 1, NULL, hits, &found));
        _exit(0);
    }
    ck_assert(join(child, "a bank"));
    cm3_bank_destroy(bank);
    host_down(h);
}
END_TEST

/* A context of the child's own computes the same. */
START_TEST(own_context_in_the_child) {
    host own, *h = &own;
    host_up(h, _i);
    cm3_generate_options words = host_words(6);
    uint64_t expected = host_generate(h, &words);
    pid_t child = fork();
    if (child == 0) {
        alarm(120);
        host fresh = {0};
        cm3_context_options options;
        cm3_context_options_init(&options);
        options.threads = _i;
        CHILD(cm3_context_create(&options, &fresh.context) == CM3_OK);
        CHILD(cm3_model_load(fresh.context, HOST_MODEL, NULL, &fresh.model) == CM3_OK);
        CHILD(cm3_document_create(fresh.context, &fresh.prompt) == CM3_OK);
        CHILD(cm3_document_add_text(fresh.prompt, HOST_PROMPT, SIZE_MAX) == CM3_OK);
        cm3_document *result = NULL;
        CHILD(cm3_generate(fresh.model, fresh.prompt, &words, NULL, NULL, &result) == CM3_OK);
        CHILD(host_sum(result) == expected);
        cm3_document_destroy(result);
        cm3_document_destroy(fresh.prompt);
        cm3_model_destroy(fresh.model);
        cm3_context_destroy(fresh.context);
        _exit(0);
    }
    ck_assert(join(child, "own context"));
    host_down(h);
}
END_TEST

Suite *fork_suite(void) {
    Suite *suite = suite_create("embedding/fork");
    TCase *tcase = tcase_create("fork");
    tcase_set_timeout(tcase, 300);
    tcase_add_loop_test(tcase, forked_while_computing, 0, 3);
    tcase_add_test(tcase, forked_under_locks);
    tcase_add_test(tcase, bank_in_the_child);
    tcase_add_loop_test(tcase, own_context_in_the_child, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}
