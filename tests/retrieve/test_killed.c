/* A writer that is killed at any moment: all that it was told is committed is there, and nothing half-written. */
#include <signal.h>
#include <sys/wait.h>
#include <time.h>

#include "suites.h"
#include "support.h"

#define D 32
#define BATCH 40

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

/* Appends batches for ever, now and then building a graph or compacting, and tells each commit through the pipe. */
static void write_for_ever(const char *path, int out, uint64_t first) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    cm3_context *context;
    cm3_bank *bank;
    if (cm3_context_create(&options, &context) != CM3_OK) _exit(2);
    if (cm3_bank_open(context, path, CM3_BANK_WRITE, &bank) != CM3_OK) _exit(3);
    cm3_index_options index;
    cm3_index_options_init(&index);
    index.least = 1;
    /* What the last one left, lest it becomes too much for the time that there is. */
    if (cm3_bank_index(bank, &index) != CM3_OK) _exit(7);
    for (uint64_t next = first;; next += BATCH) {
        if (add_records(bank, 4, next, BATCH, D, NULL) != CM3_OK) _exit(4);
        const uint64_t committed = next + BATCH;
        if (write(out, &committed, sizeof committed) != sizeof committed) _exit(5);
        if (next / BATCH % 5 == 4 && cm3_bank_compact(bank, NULL) != CM3_OK) _exit(6);
        if (next / BATCH % 3 == 1 && cm3_bank_index(bank, &index) != CM3_OK) _exit(7);
    }
}

/* A record is what is nearest to itself. */
static void find_again(const cm3_bank *bank, uint64_t id) {
    made_record made;
    make_record(&made, 4, id, D);
    cm3_search_options options;
    cm3_search_options_init(&options);
    options.k = 1;
    options.way = CM3_SEARCH_GRAPH;
    cm3_hit hit;
    ck_assert_int_eq(cm3_bank_search(bank, made.vector, 1, &options, &hit, NULL), CM3_OK);
    ck_assert_uint_eq(hit.id, id);
}

START_TEST(nothing_is_lost) {
    const char *path = test_path(&fixture, "a.bank");
    cm3_bank *bank = make_bank(fixture.context, path, CM3_VECTORS_BF16, D);
    cm3_bank_destroy(bank);
    cm3_random random = cm3_random_make(cm3_random_seed(), 0);
    uint64_t known = 0, graphs = 0;
    uint64_t most = 40; /* ms; where a machine gets no graph done in that, more and more, and some rounds more */
    const int rounds = getenv("CM3_TEST_LONG") ? 200 : 20;
    for (int round = 0; round < rounds || (!graphs && round < 3 * rounds); round++) {
        int ends[2];
        ck_assert_int_eq(pipe(ends), 0);
        pid_t child = fork();
        ck_assert_int_ge(child, 0);
        if (child == 0) {
            close(ends[0]);
            write_for_ever(path, ends[1], known);
        }
        close(ends[1]);
        const struct timespec pause = {0, (long)cm3_random_below(&random, most) * 1000000};
        nanosleep(&pause, NULL);
        kill(child, SIGKILL);
        int state;
        waitpid(child, &state, 0);
        ck_assert_msg(WIFSIGNALED(state), "the writer ended by itself: %d", WEXITSTATUS(state));
        uint64_t committed = known, told;
        while (read(ends[0], &told, sizeof told) == sizeof told) committed = told;
        close(ends[0]);

        ck_assert_msg(cm3_bank_open(fixture.context, path, CM3_BANK_WRITE, &bank) == CM3_OK, "%s",
                      cm3_context_message(fixture.context));
        const cm3_bank_info info = info_of(bank);
        /* A batch may be there of which the writer had no time to tell. */
        ck_assert_uint_ge(info.records, committed);
        ck_assert_uint_le(info.records, committed + BATCH);
        ck_assert_uint_eq(info.records % BATCH, 0);
        for (uint64_t i = 0; i < info.records; i += 17) check_record(bank, i, 4, i, D, 2e-3);
        /* Graphs are over whole batches of what is there, and find it. */
        ck_assert_uint_le(info.indexed, info.end);
        ck_assert_uint_eq(info.indexed % BATCH, 0);
        graphs += info.indexed != 0;
        if (!graphs && round % 5 == 4 && most < 640) most *= 2;
        if (info.records) find_again(bank, info.records / 2);
        known = info.records;
        cm3_bank_destroy(bank);
        ck_assert_int_eq(cm3_bank_verify(fixture.context, path, NULL), CM3_OK);
    }
    ck_assert_uint_gt(known, 0);
    ck_assert_uint_gt(graphs, 0);
}
END_TEST

Suite *killed_suite(void) {
    Suite *suite = suite_create("killed");
    TCase *tests = tcase_create("killed");
    tcase_add_checked_fixture(tests, up, down);
    tcase_set_timeout(tests, 1200);
    tcase_add_test(tests, nothing_is_lost);
    suite_add_tcase(suite, tests);
    return suite;
}
