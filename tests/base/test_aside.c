/* Work beside the compute thread's: order, what is waited for and what is forgotten; by a thread and by the team. */
#include "base/aside.h"

#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "suites.h"

static cm3_context *context;

static void up(int threads) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
}

static void down(void) {
    cm3_memory_stats stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(cm3_context_memory(context, &stats), CM3_OK);
    ck_assert_uint_lt(stats.live_bytes, 8192); /* the context and its team */
    cm3_context_destroy(context);
}

static int cores(void) {
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    return CPU_COUNT(&set);
}

/* This process keeps the first `count` of its cores. */
static void keep_cores(int count) {
    cpu_set_t set, kept;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    CPU_ZERO(&kept);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&kept) < count; i++) {
        if (CPU_ISSET(i, &set)) CPU_SET(i, &kept);
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof kept, &kept), 0);
}

/* What happened, in order: a job's number when it runs, 100 more when it is told, 200 more when it is dropped. */
static _Atomic int record[64], recorded;

static void note(int what) {
    atomic_store(&record[atomic_fetch_add(&recorded, 1)], what);
}

typedef struct work {
    cm3_aside_job base;
    int number;
    atomic_int begun, go; /**< it waits for `go`, or to be cancelled, where `waits` */
    bool waits;
} work;

static void run_work(cm3_aside_job *base) {
    work *w = (work *)base;
    note(w->number);
    atomic_store(&w->begun, 1);
    while (w->waits && !atomic_load(&w->go) && !atomic_load(&base->cancelled)) usleep(100);
}

static void tell_work(cm3_aside_job *base) {
    note(((work *)base)->number + 100);
}

static void drop_work(cm3_aside_job *base) {
    note(((work *)base)->number + 200);
}

static void post(cm3_aside *aside, work *w, int number, bool waits) {
    memset(w, 0, sizeof *w);
    w->base.run = run_work;
    w->base.tell = tell_work;
    w->base.drop = drop_work;
    w->number = number;
    w->waits = waits;
    cm3_aside_post(aside, &w->base);
}

static cm3_aside *start(int threads) {
    cm3_aside *aside;
    up(threads);
    ck_assert_int_eq(cm3_aside_create(context, &aside), CM3_OK);
    ck_assert_ptr_nonnull(aside);
    atomic_store(&recorded, 0);
    return aside;
}

static void end(cm3_aside *aside) {
    cm3_aside_destroy(aside);
    down();
}

static void wait_until(atomic_int *flag) {
    for (int i = 0; !atomic_load(flag); i++) {
        ck_assert_int_lt(i, 100000);
        usleep(100);
    }
}

static void expect(int count, const int *what) {
    ck_assert_int_eq(atomic_load(&recorded), count);
    for (int i = 0; i < count; i++) ck_assert_int_eq(atomic_load(&record[i]), what[i]);
}

START_TEST(in_order) {
    if (cores() < 2) return;
    cm3_aside *aside = start(1);
    atomic_int never = 0;
    work jobs[3];
    for (int round = 0; round < 2; round++) {
        atomic_store(&recorded, 0);
        for (int i = 0; i < 3; i++) post(aside, &jobs[i], i, false);
        for (int i = 2; i >= 0; i--) ck_assert(cm3_aside_wait(aside, &jobs[i].base, &never));
        expect(6, (const int[]){0, 100, 1, 101, 2, 102});
    }
    end(aside);
}
END_TEST

/* One that runs, the last that waits, and one that waits before another. */
START_TEST(forgotten) {
    if (cores() < 2) return;
    cm3_aside *aside = start(1);
    atomic_int never = 0;
    work jobs[4];
    for (int i = 0; i < 4; i++) post(aside, &jobs[i], i, i == 0);
    wait_until(&jobs[0].begun);
    cm3_aside_forget(aside, &jobs[3].base);
    cm3_aside_forget(aside, &jobs[1].base);
    expect(3, (const int[]){0, 203, 201});
    cm3_aside_forget(aside, &jobs[0].base);
    ck_assert(cm3_aside_wait(aside, &jobs[2].base, &never));
    expect(6, (const int[]){0, 203, 201, 200, 2, 102});
    work last;
    post(aside, &last, 9, false); /* the queue's end is where it should be */
    ck_assert(cm3_aside_wait(aside, &last.base, &never));
    cm3_aside_forget(aside, &last.base); /* through already: dropped here */
    expect(9, (const int[]){0, 203, 201, 200, 2, 102, 9, 109, 209});
    end(aside);
}
END_TEST

/* The thread's end cancels what still runs, and waits for it. */
START_TEST(ended_while_running) {
    if (cores() < 2) return;
    cm3_aside *aside = start(1);
    work w;
    post(aside, &w, 5, true);
    wait_until(&w.begun);
    cm3_aside_forget(aside, &w.base);
    cm3_aside_destroy(aside);
    expect(2, (const int[]){5, 205});
    down();
}
END_TEST

START_TEST(waiting_is_cancelled) {
    if (cores() < 2) return;
    cm3_aside *aside = start(1);
    work w;
    atomic_int cancel = 1, never = 0;
    post(aside, &w, 0, true);
    ck_assert(!cm3_aside_wait(aside, &w.base, &cancel));
    atomic_store(&w.go, 1);
    ck_assert(cm3_aside_wait(aside, &w.base, &never));
    end(aside);
}
END_TEST

static void raise_flag(void *arg) {
    atomic_store((atomic_int *)arg, 1);
}

START_TEST(idle_or_not) {
    if (cores() < 2) return;
    cm3_aside *aside = start(1);
    atomic_int never = 0, raised = 0;
    work w;
    post(aside, &w, 0, true);
    cm3_aside_if_idle(aside, raise_flag, &raised);
    ck_assert(!atomic_load(&raised));
    atomic_store(&w.go, 1);
    ck_assert(cm3_aside_wait(aside, &w.base, &never));
    cm3_aside_if_idle(aside, raise_flag, &raised);
    ck_assert(atomic_load(&raised));
    end(aside);
}
END_TEST

START_TEST(where_it_gains_nothing) {
    static const struct {
        int threads, cores;
        bool gains;
    } cases[] = {{0, 2, false}, {1, 2, true}, {2, 2, true}, {3, 2, false}, {1, 1, false}, {2, 1, false}};
    if (cores() < 2) return;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cm3_aside *aside;
        keep_cores(cases[i].cores);
        up(cases[i].threads);
        ck_assert_int_eq(cm3_aside_gains(context), cases[i].gains);
        ck_assert_int_eq(cm3_aside_create(context, &aside), CM3_OK);
        ck_assert_int_eq(aside != NULL, cases[i].gains);
        cm3_aside_destroy(aside);
        down();
    }
}
END_TEST

/* --- by the team ----------------------------------------------------------------------------------------------------
 */

typedef struct host {
    cm3_aside *aside;
    work jobs[3];
    int calls, most; /**< of beside(); it says that no more is to be done here at the last */
    int ranges;      /**< that a whole team's work was parted into beside a job */
    atomic_int items;
    pid_t here;
    bool elsewhere; /**< some beside() was called on another thread */
} host;

static void count_range(void *arg, int64_t begin, int64_t end, int member) {
    host *h = arg;
    h->ranges++;
    atomic_fetch_add(&h->items, (int)(end - begin) * (member == 0));
}

static bool beside(void *arg) {
    host *h = arg;
    h->elsewhere = h->elsewhere || gettid() != h->here;
    cm3_parallel_for(cm3_context_team(context), 100, 1, count_range, h);
    cm3_parallel_guided(cm3_context_team(context), 100, 1, count_range, h);
    if (++h->calls == 3) atomic_store(&h->jobs[0].go, 1);
    return h->calls != h->most;
}

static cm3_status serve(void *arg) {
    host *h = arg;
    h->here = gettid();
    cm3_aside_serve(h->aside, beside, h); /* nothing to do: calls nothing */
    if (h->calls) return CM3_ERROR_INTERNAL;
    for (int i = 0; i < 3; i++) post(h->aside, &h->jobs[i], i, i == 0);
    cm3_aside_serve(h->aside, beside, h);
    return CM3_OK;
}

/* The last member works the queue off while the first goes on alone, as long as that wants to. */
START_TEST(by_the_team) {
    if (cores() < 2) return;
    keep_cores(2);
    host h = {.aside = start(2), .most = _i ? 3 : 0};
    ck_assert_int_eq(cm3_context_run(context, serve, &h), CM3_OK);
    expect(6, (const int[]){0, 100, 1, 101, 2, 102});
    ck_assert(!h.elsewhere);
    ck_assert_int_ge(h.calls, 3);
    if (_i) ck_assert_int_eq(h.calls, 3);
    ck_assert_int_eq(h.ranges, 2 * h.calls);
    ck_assert_int_eq(atomic_load(&h.items), 200 * h.calls);
    end(h.aside);
}
END_TEST

static cm3_status wait_alone(void *arg) {
    host *h = arg;
    atomic_int never = 0;
    for (int i = 0; i < 3; i++) post(h->aside, &h->jobs[i], i, false);
    cm3_aside_forget(h->aside, &h->jobs[0].base);
    return cm3_aside_wait(h->aside, &h->jobs[2].base, &never) ? CM3_OK : CM3_ERROR_INTERNAL;
}

/* Whoever waits where the team was never asked does the work himself. */
START_TEST(waited_for_before_it_began) {
    if (cores() < 2) return;
    keep_cores(2);
    host h = {.aside = start(2)};
    ck_assert_int_eq(cm3_context_run(context, wait_alone, &h), CM3_OK);
    expect(5, (const int[]){200, 1, 101, 2, 102});
    end(h.aside);
}
END_TEST

Suite *aside_suite(void) {
    Suite *suite = suite_create("base/aside");
    TCase *tcase = tcase_create("aside");
    tcase_add_test(tcase, in_order);
    tcase_add_test(tcase, forgotten);
    tcase_add_test(tcase, ended_while_running);
    tcase_add_test(tcase, waiting_is_cancelled);
    tcase_add_test(tcase, idle_or_not);
    tcase_add_test(tcase, where_it_gains_nothing);
    tcase_add_loop_test(tcase, by_the_team, 0, 2);
    tcase_add_test(tcase, waited_for_before_it_began);
    suite_add_tcase(suite, tcase);
    return suite;
}
