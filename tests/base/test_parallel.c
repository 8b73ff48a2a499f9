/* parallel_for: every item once, the same parts each time, no member twice at a time. */
#include <stdatomic.h>
#include <string.h>

#include "base/context.h"
#include "suites.h"

#define MAX_ITEMS 1000
#define MAX_MEMBERS 64

typedef struct tally {
    cm3_team *team;
    _Atomic int items[MAX_ITEMS];
    _Atomic int busy[MAX_MEMBERS];
    _Atomic int calls, clashes;
    int64_t begin[MAX_MEMBERS], end[MAX_MEMBERS];
} tally;

static void count_range(void *arg, int64_t begin, int64_t end, int member) {
    tally *work = arg;
    if (member < 0 || member >= MAX_MEMBERS || atomic_fetch_add(&work->busy[member], 1) != 0) {
        atomic_fetch_add(&work->clashes, 1);
        return;
    }
    atomic_fetch_add(&work->calls, 1);
    work->begin[member] = begin;
    work->end[member] = end;
    for (int64_t i = begin; i < end; ++i) atomic_fetch_add(&work->items[i], 1);
    atomic_fetch_sub(&work->busy[member], 1);
}

/* Why a run was wrong, or NULL. It runs on the compute thread, where Check's assertions may not. */
static const char *check_run(tally *work, cm3_team *team, int64_t count, int64_t grain) {
    memset(work, 0, sizeof *work);
    cm3_parallel_for(team, count, grain, count_range, work);
    int size = cm3_team_size(team);
    for (int64_t i = 0; i < MAX_ITEMS; ++i) {
        if (atomic_load(&work->items[i]) != (i < count ? 1 : 0)) return "an item not once";
    }
    if (atomic_load(&work->clashes) != 0) return "a member twice at a time";
    int calls = atomic_load(&work->calls);
    if (calls > size || (count > 0 && calls < 1) || (count <= 0 && calls != 0)) return "number of ranges";
    if (count <= grain && calls > 1) return "divided below the grain";
    if (count > 0 && grain <= 1 && calls != (count < size ? count : size)) return "not all members at work";
    for (int m = 0; m < calls; ++m) {
        if (calls > 1 && work->end[m] - work->begin[m] < grain) return "a range below the grain";
        if (work->begin[m] != (m == 0 ? 0 : work->end[m - 1])) return "ranges not in the members' order";
    }
    return NULL;
}

typedef struct ask {
    cm3_context *context;
    const char *wrong;
    int64_t count, grain;
} ask;

static cm3_status run_shapes(void *arg) {
    static const int64_t counts[] = {-5, 0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 65, 100, 999, 1000};
    static const int64_t grains[] = {-1, 0, 1, 2, 3, 10, 100, 2000};
    static tally work;
    ask *question = arg;
    cm3_team *team = cm3_context_team(question->context);
    for (int round = 0; round < 20; ++round) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; ++i) {
            for (size_t j = 0; j < sizeof grains / sizeof *grains; ++j) {
                question->count = counts[i];
                question->grain = grains[j];
                question->wrong = check_run(&work, team, counts[i], grains[j]);
                if (question->wrong != NULL) return CM3_OK;
            }
        }
    }
    return CM3_OK;
}

static cm3_context *make(int threads) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    return context;
}

START_TEST(shapes) {
    static const int sizes[] = {0, 1, 2, 3, 5, 8};
    cm3_context *context = make(sizes[_i]);
    ask question = {.context = context};
    ck_assert_int_eq(cm3_context_run(context, run_shapes, &question), CM3_OK);
    ck_assert_msg(question.wrong == NULL, "%s: count %lld, grain %lld, threads %d", question.wrong,
                  (long long)question.count, (long long)question.grain, sizes[_i]);
    cm3_context_destroy(context);
}
END_TEST

START_TEST(no_team) {
    static tally work;
    ck_assert_int_eq(cm3_team_size(NULL), 1);
    ck_assert_ptr_null(check_run(&work, NULL, 100, 1));
    ck_assert_int_eq(atomic_load(&work.calls), 1);
}
END_TEST

/* A range that comes back with more work gets it done as the same member. */
static void nested_range(void *arg, int64_t begin, int64_t end, int member) {
    tally *work = arg;
    int64_t items = 10;
    struct tally *outer = work;
    for (int64_t i = begin; i < end; ++i) {
        tally inner;
        memset(&inner, 0, sizeof inner);
        cm3_parallel_for(outer->team, items, 1, count_range, &inner);
        if (atomic_load(&inner.calls) != 1 || inner.end[member] != items) atomic_fetch_add(&work->clashes, 1);
        atomic_fetch_add(&work->items[i], 1);
    }
}

static cm3_status run_nested(void *arg) {
    tally *work = arg;
    cm3_parallel_for(work->team, 50, 1, nested_range, work);
    return CM3_OK;
}

START_TEST(nested) {
    static tally work;
    cm3_context *context = make(4);
    memset(&work, 0, sizeof work);
    work.team = cm3_context_team(context);
    ck_assert_int_eq(cm3_context_run(context, run_nested, &work), CM3_OK);
    ck_assert_int_eq(atomic_load(&work.clashes), 0);
    for (int i = 0; i < 50; ++i) ck_assert_int_eq(atomic_load(&work.items[i]), 1);
    cm3_context_destroy(context);
}
END_TEST

Suite *parallel_suite(void) {
    Suite *suite = suite_create("parallel");
    TCase *tests = tcase_create("parallel");
    tcase_set_timeout(tests, 60);
    tcase_add_loop_test(tests, shapes, 0, 6);
    tcase_add_test(tests, no_team);
    tcase_add_test(tests, nested);
    suite_add_tcase(suite, tests);
    return suite;
}
