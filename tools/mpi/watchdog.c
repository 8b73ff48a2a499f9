/* A limit to waiting. */
#include "watchdog.h"

#include <stdio.h>
#include <time.h>

#include "command.h"

void cm3_wait_text(const cm3_wait *wait, char *text, size_t size) {
    if (wait->unit) {
        snprintf(text, size, "%s of %zu %s (call %llu)", wait->name, wait->count, wait->unit,
                 (unsigned long long)wait->number);
    } else {
        snprintf(text, size, "%s (call %llu)", wait->name, (unsigned long long)wait->number);
    }
}

/** Looked at so often that a limit is kept to within an eighth of it. */
static struct timespec next_look(double limit) {
    double pause = limit / 8 < 1 ? limit / 8 : 1;
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_nsec += (long)(pause * 999999999);
    at.tv_sec += at.tv_nsec / 1000000000;
    at.tv_nsec %= 1000000000;
    return at;
}

/** With the lock held. */
static void look(cm3_watchdog *watchdog) {
    double waited = watchdog->wait.since > 0 ? cm3_now() - watchdog->wait.since : 0;
    if (waited < watchdog->limit / 2 || (waited < watchdog->limit && watchdog->warned)) return;
    char what[160];
    cm3_wait_text(&watchdog->wait, what, sizeof what);
    if (waited < watchdog->limit) {
        cm3_say("warning: has waited %.0f s for the other ranks in %s", waited, what);
        watchdog->warned = true;
    } else {
        watchdog->expired(watchdog->user, what);
    }
}

static void *watch(void *user) {
    cm3_watchdog *watchdog = user;
    pthread_mutex_lock(&watchdog->lock);
    while (!watchdog->stop) {
        struct timespec at = next_look(watchdog->limit);
        pthread_cond_timedwait(&watchdog->wake, &watchdog->lock, &at);
        if (!watchdog->stop) look(watchdog);
    }
    pthread_mutex_unlock(&watchdog->lock);
    return NULL;
}

bool cm3_watchdog_start(cm3_watchdog *watchdog, double limit, void (*expired)(void *user, const char *what),
                        void *user) {
    *watchdog = (cm3_watchdog){.limit = limit, .expired = expired, .user = user};
    if (limit <= 0) return true;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&watchdog->lock, NULL);
    pthread_cond_init(&watchdog->wake, &monotonic);
    pthread_condattr_destroy(&monotonic);
    watchdog->started = pthread_create(&watchdog->thread, NULL, watch, watchdog) == 0;
    return watchdog->started;
}

void cm3_watchdog_begin(cm3_watchdog *watchdog, const cm3_wait *wait) {
    if (!watchdog->started) return;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->wait = *wait;
    watchdog->warned = false;
    pthread_mutex_unlock(&watchdog->lock);
}

void cm3_watchdog_end(cm3_watchdog *watchdog) {
    if (!watchdog->started) return;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->wait.since = 0;
    pthread_mutex_unlock(&watchdog->lock);
}

void cm3_watchdog_stop(cm3_watchdog *watchdog) {
    if (!watchdog->started) return;
    pthread_mutex_lock(&watchdog->lock);
    watchdog->stop = true;
    pthread_cond_signal(&watchdog->wake);
    pthread_mutex_unlock(&watchdog->lock);
    pthread_join(watchdog->thread, NULL);
    pthread_cond_destroy(&watchdog->wake);
    pthread_mutex_destroy(&watchdog->lock);
    watchdog->started = false;
}
