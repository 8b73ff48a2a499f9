/* The context's life, its compute thread, and what it leaves alone in the host. */
#include <fenv.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef CM3_WITH_OPENMP
#include <omp.h>
#endif

#include "base/clock.h"
#include "base/context.h"
#include "suites.h"
#include "support/allocator.h"

static cm3_context *make(int threads, test_allocator *state) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    cm3_allocator allocator;
    if (state != NULL) {
        allocator = test_allocator_of(state);
        options.allocator = &allocator;
    }
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
    return context;
}

static void sleep_ms(long ms) {
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&time, NULL);
}

START_TEST(defaults) {
    cm3_context_options options;
    memset(&options, 0xff, sizeof options);
    cm3_context_options_init(&options);
    ck_assert_uint_eq(options.struct_size, sizeof options);
    ck_assert_ptr_null(options.allocator);
    ck_assert_int_eq(options.threads, -1);
    ck_assert_int_eq(options.log_level, CM3_LOG_WARNING);
    cm3_context_options_init(NULL);
    cm3_context_destroy(NULL);
    ck_assert_int_eq(cm3_context_create(NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

static void refuse(const cm3_context_options *options) {
    cm3_context *context = (cm3_context *)&options;
    ck_assert_int_eq(cm3_context_create(options, &context), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_ptr_null(context);
}

START_TEST(wrong_options) {
    cm3_context_options good, options;
    cm3_context_options_init(&good);
    static const int threads[] = {-2, 65, 1000000, -2147483647 - 1};
    for (size_t i = 0; i < 4; ++i) {
        options = good;
        options.threads = threads[i];
        refuse(&options);
    }
    options = good;
    options.log_level = (cm3_log_level)0;
    refuse(&options);
    options.log_level = (cm3_log_level)41;
    refuse(&options);
    test_allocator state;
    cm3_allocator allocator = test_allocator_of(&state);
    allocator.free = NULL;
    options = good;
    options.allocator = &allocator;
    refuse(&options);
    options = good;
    options.struct_size = 0;
    refuse(&options);
    options.struct_size = 4;
    refuse(&options);
}
END_TEST

START_TEST(options_of_other_versions) {
    struct {
        cm3_context_options options;
        uint64_t later;
    } newer = {.later = 0};
    cm3_context_options_init(&newer.options);
    newer.options.threads = 0;
    newer.options.struct_size = sizeof newer;
    cm3_context *context;
    ck_assert_int_eq(cm3_context_create(&newer.options, &context), CM3_OK);
    cm3_context_destroy(context);
    newer.later = 1;
    refuse(&newer.options);
    /* An older caller's struct ends before `threads`: what lies there is not looked at. */
    cm3_context_options older;
    cm3_context_options_init(&older);
    older.threads = 99;
    older.struct_size = offsetof(cm3_context_options, log_level);
    ck_assert_int_eq(cm3_context_create(&older, &context), CM3_OK);
    cm3_context_destroy(context);
}
END_TEST

START_TEST(team_sizes) {
    static const int sizes[] = {0, 1, 2, 3, 64, -1};
    test_allocator state;
    test_allocator_init(&state);
    cm3_context *context = make(sizes[_i], &state);
    int threads;
    const char *kernels;
    ck_assert_int_eq(cm3_context_compute(context, &threads, &kernels), CM3_OK);
    cpu_set_t set;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    int cpus = CPU_COUNT(&set) < 64 ? CPU_COUNT(&set) : 64;
    ck_assert_int_eq(threads, sizes[_i] >= 0 ? sizes[_i] : cpus);
    ck_assert_int_eq(cm3_team_size(cm3_context_team(context)), threads > 0 ? threads : 1);
    ck_assert(cm3_context_inline(context) == (sizes[_i] == 0));
    cm3_context_destroy(context);
    ck_assert_int_eq(atomic_load(&state.live), 0);
}
END_TEST

START_TEST(affinity_counts) {
    cpu_set_t set, one;
    ck_assert_int_eq(sched_getaffinity(0, sizeof set, &set), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; ++i) {
        if (CPU_ISSET(i, &set)) CPU_SET(i, &one);
    }
    ck_assert_int_eq(sched_setaffinity(0, sizeof one, &one), 0);
    cm3_context *context = make(-1, NULL);
    int threads;
    const char *kernels;
    ck_assert_int_eq(cm3_context_compute(context, &threads, &kernels), CM3_OK);
    ck_assert_int_eq(threads, 1);
    cm3_context_destroy(context);
    sched_setaffinity(0, sizeof set, &set);
}
END_TEST

START_TEST(creation_without_memory) {
    for (int threads = 0; threads < 3; ++threads) {
        for (int64_t n = 0;; ++n) {
            test_allocator state;
            test_allocator_init(&state);
            cm3_allocator allocator = test_allocator_of(&state);
            cm3_context_options options;
            cm3_context_options_init(&options);
            options.threads = threads;
            options.allocator = &allocator;
            test_allocator_fail(&state, n, INT64_MAX);
            cm3_context *context;
            cm3_status status = cm3_context_create(&options, &context);
            if (status == CM3_OK) {
                ck_assert_int_ge(n, 2);
                cm3_context_destroy(context);
            } else {
                ck_assert_int_eq(status, CM3_ERROR_NO_MEMORY);
                ck_assert_ptr_null(context);
            }
            ck_assert_int_eq(atomic_load(&state.live), 0);
            if (status == CM3_OK) break;
        }
    }
}
END_TEST

static void keep_line(void *user, cm3_log_level level, const char *line) {
    if (level == CM3_LOG_ERROR) snprintf(user, 200, "%s", line);
}

START_TEST(threads_that_cannot_start) {
    /* A stack larger than the address space: no thread of the default attributes starts. */
    pthread_attr_t usual, huge;
    ck_assert_int_eq(pthread_getattr_default_np(&usual), 0);
    pthread_attr_init(&huge);
    ck_assert_int_eq(pthread_attr_setstacksize(&huge, (size_t)1 << 50), 0);
    for (int threads = 1; threads <= 3; ++threads) {
        test_allocator state;
        test_allocator_init(&state);
        cm3_allocator allocator = test_allocator_of(&state);
        char line[200] = "";
        cm3_context_options options;
        cm3_context_options_init(&options);
        options.threads = threads;
        options.allocator = &allocator;
        options.log = keep_line;
        options.log_user = line;
        cm3_context *context;
        ck_assert_int_eq(pthread_setattr_default_np(&huge), 0);
        cm3_status status = cm3_context_create(&options, &context);
        ck_assert_int_eq(pthread_setattr_default_np(&usual), 0);
        ck_assert_int_eq(status, CM3_ERROR_THREAD);
        ck_assert_ptr_null(context);
        ck_assert_ptr_nonnull(strstr(line, "cannot be started"));
        ck_assert_int_eq(atomic_load(&state.live), 0);
    }
    pthread_attr_destroy(&huge);
    pthread_attr_destroy(&usual);
}
END_TEST

typedef struct where {
    cm3_context *context;
    pthread_t thread;
    int depth;
    sigset_t mask;
    int rounding, omp_threads;
} where;

static cm3_status look_around(void *arg) {
    where *found = arg;
    found->thread = pthread_self();
    found->rounding = fegetround();
    pthread_sigmask(SIG_BLOCK, NULL, &found->mask);
#ifdef CM3_WITH_OPENMP
    found->omp_threads = omp_get_max_threads();
#endif
    if (found->depth-- > 0) return cm3_context_run(found->context, look_around, found);
    return CM3_ERROR_BUSY;
}

START_TEST(run_on_the_right_thread) {
    for (int threads = 0; threads < 3; ++threads) {
        cm3_context *context = make(threads, NULL);
        where first = {.context = context, .depth = 3}, second = {.context = context};
        ck_assert_int_eq(cm3_context_run(context, look_around, &first), CM3_ERROR_BUSY);
        ck_assert_int_eq(first.depth, -1);
        ck_assert_int_eq(cm3_context_run(context, look_around, &second), CM3_ERROR_BUSY);
        ck_assert(pthread_equal(first.thread, second.thread) != 0);
        ck_assert((pthread_equal(first.thread, pthread_self()) != 0) == (threads == 0));
        cm3_context_destroy(context);
    }
}
END_TEST

START_TEST(host_settings_stay) {
    fesetround(FE_UPWARD);
#ifdef CM3_WITH_OPENMP
    omp_set_num_threads(3);
#endif
    for (int threads = 0; threads < 3; ++threads) {
        cm3_context *context = make(threads, NULL);
        where found = {.context = context, .depth = 1};
        cm3_context_run(context, look_around, &found);
        ck_assert_int_eq(found.rounding, FE_TONEAREST);
        ck_assert_int_eq(fegetround(), FE_UPWARD);
#ifdef CM3_WITH_OPENMP
        ck_assert_int_eq(found.omp_threads, threads > 0 ? threads : 1);
        ck_assert_int_eq(omp_get_max_threads(), 3);
#endif
        if (threads > 0) {
            ck_assert_int_eq(sigismember(&found.mask, SIGINT), 1);
            ck_assert_int_eq(sigismember(&found.mask, SIGSEGV), 0);
        }
        cm3_context_destroy(context);
    }
    sigset_t mask;
    pthread_sigmask(SIG_BLOCK, NULL, &mask);
    ck_assert_int_eq(sigismember(&mask, SIGINT), 0);
    fesetround(FE_TONEAREST);
}
END_TEST

typedef struct turns {
    char *log;
    char name;
    int left;
} turns;

static bool take_turn(void *arg) {
    turns *mine = arg;
    size_t length = strlen(mine->log);
    mine->log[length] = mine->name;
    mine->log[length + 1] = '\0';
    return --mine->left > 0;
}

static cm3_status nothing(void *arg) {
    (void)arg;
    return CM3_OK;
}

typedef struct posting {
    cm3_context *context;
    turns *tasks;
    cm3_status status;
} posting;

static cm3_status post_all(void *arg) {
    posting *work = arg;
    for (int i = 0; i < 3 && work->status == CM3_OK; ++i) {
        work->status = cm3_context_post(work->context, take_turn, &work->tasks[i]);
    }
    return work->status;
}

START_TEST(tasks_take_turns) {
    for (int threads = 0; threads < 3; ++threads) {
        test_allocator state;
        test_allocator_init(&state);
        cm3_context *context = make(threads, &state);
        char log[64] = "";
        turns tasks[] = {{log, 'a', 3}, {log, 'b', 1}, {log, 'c', 2}};
        /* Posted from one task, so that none begins before all are there. */
        posting work = {context, tasks, CM3_OK};
        ck_assert_int_eq(cm3_context_run(context, post_all, &work), CM3_OK);
        for (int i = 0; i < 10; ++i) {
            if (threads > 0) {
                cm3_context_run(context, nothing, NULL);
            } else {
                cm3_context_work(context, 0);
                ck_assert_uint_eq(strlen(log), i < 6 ? (size_t)i + 1 : 6);
            }
        }
        ck_assert_str_eq(log, "abcaca");
        cm3_context_destroy(context);
        ck_assert_int_eq(atomic_load(&state.live), 0);
    }
}
END_TEST

START_TEST(posting_without_memory) {
    test_allocator state;
    test_allocator_init(&state);
    cm3_context *context = make(0, &state);
    test_allocator_fail(&state, 0, 1);
    turns task = {NULL, 'a', 1};
    ck_assert_int_eq(cm3_context_post(context, take_turn, &task), CM3_ERROR_NO_MEMORY);
    cm3_context_work(context, 1000);
    /* What is queued when the context ends is dropped without being run. */
    ck_assert_int_eq(cm3_context_post(context, take_turn, &task), CM3_OK);
    cm3_context_destroy(context);
    ck_assert_int_eq(atomic_load(&state.live), 0);
}
END_TEST

static bool spin_a_millisecond(void *arg) {
    uint64_t start = cm3_clock_ns();
    while (cm3_clock_since(start) < 1e-3) {
    }
    return --*(int *)arg > 0;
}

START_TEST(work_keeps_its_budget) {
    cm3_context *context = make(0, NULL);
    int left = 1000;
    cm3_context_post(context, spin_a_millisecond, &left);
    cm3_context_work(context, 0);
    ck_assert_int_eq(left, 999);
    uint64_t start = cm3_clock_ns();
    cm3_context_work(context, 20000);
    ck_assert_double_lt(cm3_clock_since(start), 0.5);
    ck_assert_int_lt(left, 999);
    ck_assert_int_gt(left, 900);
    left = 3;
    cm3_context_work(context, UINT64_MAX);
    ck_assert_int_eq(left, 0);
    cm3_context_destroy(context);
    /* With a compute thread it is not the host that works. */
    context = make(1, NULL);
    cm3_context_work(context, 1000);
    cm3_context_destroy(context);
}
END_TEST

typedef struct holder {
    cm3_context *context;
    _Atomic int ran;
} holder;

static bool drop_hold(void *arg) {
    holder *mine = arg;
    sleep_ms(50); /* until the host has given up its own */
    cm3_context *context = mine->context;
    atomic_store(&mine->ran, 1);
    cm3_context_release(context);
    return false;
}

START_TEST(task_drops_the_last_hold) {
    for (int threads = 0; threads < 4; ++threads) {
        test_allocator state;
        test_allocator_init(&state);
        cm3_context *context = make(threads, &state);
        holder mine = {.context = context};
        cm3_context_retain(context);
        ck_assert_int_eq(cm3_context_post(context, drop_hold, &mine), CM3_OK);
        cm3_context_destroy(context); /* the task has the last hold */
        if (threads == 0) cm3_context_work(context, 0);
        for (int i = 0; i < 500 && atomic_load(&state.live) != 0; ++i) sleep_ms(10);
        ck_assert_int_eq(atomic_load(&mine.ran), 1);
        ck_assert_int_eq(atomic_load(&state.live), 0);
        sleep_ms(20); /* the thread's last instructions */
    }
}
END_TEST

static cm3_status drop_both(void *arg) {
    holder *mine = arg;
    cm3_context_release(mine->context);
    atomic_store(&mine->ran, 1);
    return CM3_OK;
}

START_TEST(inline_call_drops_the_last_hold) {
    test_allocator state;
    test_allocator_init(&state);
    cm3_context *context = make(0, &state);
    holder mine = {.context = context};
    ck_assert_int_eq(cm3_context_run(context, drop_both, &mine), CM3_OK);
    ck_assert_int_eq(atomic_load(&state.live), 0);
}
END_TEST

static cm3_status add_one(void *arg) {
    ++*(int *)arg; /* only one at a time may be here */
    return CM3_OK;
}

typedef struct crowd {
    cm3_context *context;
    int *sum;
} crowd;

static void *call_often(void *arg) {
    crowd *mine = arg;
    for (int i = 0; i < 1000; ++i) {
        if (cm3_context_run(mine->context, add_one, mine->sum) != CM3_OK) return arg;
        cm3_context_work(mine->context, 0);
    }
    return NULL;
}

START_TEST(calls_from_many_threads) {
    for (int threads = 0; threads < 3; ++threads) {
        cm3_context *context = make(threads, NULL);
        int sum = 0;
        crowd mine = {context, &sum};
        pthread_t callers[4];
        for (int i = 0; i < 4; ++i) pthread_create(&callers[i], NULL, call_often, &mine);
        for (int i = 0; i < 4; ++i) pthread_join(callers[i], NULL);
        ck_assert_int_eq(sum, 4000);
        cm3_context_destroy(context);
    }
}
END_TEST

static void wait_inside(void *arg, int64_t begin, int64_t end, int member) {
    (void)begin, (void)end, (void)member;
    atomic_fetch_add((_Atomic int *)arg, 1);
}

static cm3_status use_team(void *arg) {
    where *found = arg;
    _Atomic int parts = 0;
    cm3_parallel_for(cm3_context_team(found->context), 100, 1, wait_inside, &parts);
    found->depth = atomic_load(&parts);
    return CM3_OK;
}

START_TEST(idle_means_idle) {
    cm3_context *context = make(4, NULL);
    where found = {.context = context};
    ck_assert_int_eq(cm3_context_run(context, use_team, &found), CM3_OK);
    ck_assert_int_eq(found.depth, 4);
    sleep_ms(100);
    struct timespec before, after;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &before);
    sleep_ms(300);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &after);
    double used = (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) * 1e-9;
    ck_assert_double_lt(used, 0.02);
    cm3_context_destroy(context);
}
END_TEST

/* In the child: errors instead of waiting for threads that are not there; the alarm ends it if that is wrong. */
static int try_in_child(cm3_context *context) {
    alarm(10);
    int sum = 0;
    turns task = {NULL, 'a', 1};
    if (cm3_context_run(context, add_one, &sum) != CM3_ERROR_UNSUPPORTED) return 1;
    if (cm3_context_post(context, take_turn, &task) != CM3_ERROR_UNSUPPORTED) return 2;
    if (strstr(cm3_context_message(context), "forked") == NULL) return 6;
    cm3_context_work(context, 1000);
    if (sum != 0) return 3;
    cm3_context_destroy(context);
    cm3_context *own;
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    if (cm3_context_create(&options, &own) != CM3_OK) return 4;
    if (cm3_context_run(own, add_one, &sum) != CM3_OK || sum != 1) return 5;
    cm3_context_destroy(own);
    return 0;
}

START_TEST(child_of_a_fork) {
    for (int threads = 0; threads < 4; ++threads) {
        cm3_context *context = make(threads, NULL);
        where found = {.context = context};
        ck_assert_int_eq(cm3_context_run(context, use_team, &found), CM3_OK);
        pid_t child = fork();
        if (child == 0) _exit(try_in_child(context));
        int status;
        ck_assert_int_eq(waitpid(child, &status, 0), child);
        ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "threads %d: status %x", threads, status);
        /* The parent is none the worse. */
        ck_assert_int_eq(cm3_context_run(context, use_team, &found), CM3_OK);
        cm3_context_destroy(context);
    }
}
END_TEST

START_TEST(contexts_beside_each_other) {
    cm3_context *a = make(2, NULL), *b = make(2, NULL), *c = make(0, NULL);
    where in_a = {.context = a}, in_b = {.context = b}, in_c = {.context = c};
    cm3_context_run(a, look_around, &in_a);
    cm3_context_run(b, look_around, &in_b);
    cm3_context_run(c, look_around, &in_c);
    ck_assert(pthread_equal(in_a.thread, in_b.thread) == 0);
    ck_assert(pthread_equal(in_c.thread, pthread_self()) != 0);
    cm3_context_destroy(a);
    cm3_context_destroy(c);
    cm3_context_destroy(b);
}
END_TEST

Suite *context_suite(void) {
    Suite *suite = suite_create("context");
    TCase *tests = tcase_create("context");
    tcase_set_timeout(tests, 60);
    tcase_add_test(tests, defaults);
    tcase_add_test(tests, wrong_options);
    tcase_add_test(tests, options_of_other_versions);
    tcase_add_loop_test(tests, team_sizes, 0, 6);
    tcase_add_test(tests, affinity_counts);
    tcase_add_test(tests, creation_without_memory);
    tcase_add_test(tests, threads_that_cannot_start);
    tcase_add_test(tests, run_on_the_right_thread);
    tcase_add_test(tests, host_settings_stay);
    tcase_add_test(tests, tasks_take_turns);
    tcase_add_test(tests, posting_without_memory);
    tcase_add_test(tests, work_keeps_its_budget);
    tcase_add_test(tests, task_drops_the_last_hold);
    tcase_add_test(tests, inline_call_drops_the_last_hold);
    tcase_add_test(tests, calls_from_many_threads);
    tcase_add_test(tests, idle_means_idle);
    tcase_add_test(tests, child_of_a_fork);
    tcase_add_test(tests, contexts_beside_each_other);
    suite_add_tcase(suite, tests);
    return suite;
}
