/* Progress, messages, signals. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

static volatile sig_atomic_t interrupts;

static bool patient; /* a second signal does not end the process */
static const char *speaker = "cm3";

static void on_signal(int number) {
    (void)number;
    if (interrupts++ && !patient) _exit(CM3_EXIT_INTERRUPTED);
}

void cm3_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
}

void cm3_catch_signals_of_starters(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    patient = true;
    cm3_catch_signals();
    sigaction(SIGUSR1, &action, NULL);
}

bool cm3_interrupted(void) {
    return interrupts != 0;
}

int cm3_ended_early(void) {
    if (!cm3_interrupted()) return CM3_EXIT_FAILED;
    cm3_say("interrupted");
    return CM3_EXIT_INTERRUPTED;
}

double cm3_now(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void cm3_say(const char *format, ...) {
    char *text = NULL, *line = NULL;
    va_list arguments;
    va_start(arguments, format);
    /* A line is written at once: those of several processes do not mix. */
    if (vasprintf(&text, format, arguments) >= 0 && asprintf(&line, "%s: %s\n", speaker, text) >= 0) {
        fputs(line, stderr);
        free(line);
    } else {
        fprintf(stderr, "%s: %s\n", speaker, format);
    }
    free(text);
    va_end(arguments);
}

void cm3_speak_as(const char *name) {
    speaker = name;
}

int cm3_failed(const cm3_context *context, cm3_status status) {
    if (status == CM3_ERROR_CANCELLED && cm3_interrupted()) return cm3_ended_early();
    const char *message = cm3_database_failure();
    if (!*message) message = cm3_context_message(context);
    cm3_say("%s", *message ? message : cm3_status_name(status));
    return CM3_EXIT_FAILED;
}

static void on_log(void *user, cm3_log_level level, const char *line) {
    (void)user;
    if (level == CM3_LOG_WARNING) cm3_say("warning: %s", line);
}

cm3_context *cm3_open_context(int64_t threads) {
    cm3_context_options options;
    cm3_context *context = NULL;
    cm3_context_options_init(&options);
    options.threads = (int)threads;
    options.log = on_log;
    cm3_status status = cm3_context_create(&options, &context);
    if (status != CM3_OK) cm3_say("the library could not be started: %s", cm3_status_name(status));
    return context;
}

cm3_status cm3_open_model(cm3_context *context, const char *path, const char *vqgan, cm3_model **model) {
    return cm3_open_model_with(context, path, vqgan, NULL, model);
}

cm3_status cm3_open_model_with(cm3_context *context, const char *path, const char *vqgan, const char *head_rows,
                               cm3_model **model) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.vqgan = vqgan;
    options.head_rows = head_rows;
    return cm3_model_load(context, path, &options, model);
}

/* --- progress ------------------------------------------------------------------------------------------------------
 */

void cm3_progress_begin(cm3_progress *progress, const char *label, bool quiet) {
    *progress = (cm3_progress){.label = label, .quiet = quiet, .terminal = isatty(STDERR_FILENO), .started = cm3_now()};
}

static void clock_text(double seconds, char *text, size_t size) {
    long whole = seconds < 0 || seconds > 1e7 ? 0 : (long)(seconds + 0.5);
    if (whole >= 3600) {
        snprintf(text, size, "%ld:%02ld:%02ld", whole / 3600, whole / 60 % 60, whole % 60);
    } else {
        snprintf(text, size, "%ld:%02ld", whole / 60, whole % 60);
    }
}

/** Where nobody knows how much there is: how much was done, and how fast. */
static void show_open_ended(cm3_progress *progress, uint64_t done, const char *passed, double elapsed) {
    const double rate = elapsed > 0 ? (double)done / elapsed : 0;
    fprintf(stderr, "%s%s: %llu, %s, %.0f a second%s", progress->terminal ? "\r\033[K" : "", progress->label,
            (unsigned long long)done, passed, rate, progress->terminal ? "" : "\n");
    progress->drawn = progress->terminal;
    fflush(stderr);
}

void cm3_progress_show(cm3_progress *progress, uint64_t done, uint64_t total, const char *note) {
    double now = cm3_now(), elapsed = now - progress->started;
    bool last = total && done >= total && !progress->complete;
    progress->complete = progress->complete || last;
    if (progress->quiet || (!last && now - progress->last < (progress->terminal ? 0.1 : 10))) return;
    progress->last = now;
    char left[32], passed[32];
    clock_text(elapsed, passed, sizeof passed);
    if (!total) {
        show_open_ended(progress, done, passed, elapsed);
        return;
    }
    double share = (double)done / (double)total;
    if (done > progress->first) {
        clock_text(elapsed / (double)(done - progress->first) * (double)(total - done), left, sizeof left);
    } else {
        snprintf(left, sizeof left, "-:--");
    }
    if (progress->terminal) {
        char bar[31];
        int filled = (int)(share * 30);
        for (int i = 0; i < 30; i++) bar[i] = i < filled ? '=' : i == filled ? '>' : ' ';
        bar[30] = 0;
        fprintf(stderr, "\r\033[K%s [%s] %3.0f %%  %s, %s left  %s", progress->label, bar, share * 100, passed, left,
                note ? note : "");
        progress->drawn = true;
    } else {
        fprintf(stderr, "%s: %llu of %llu, %s, %s left%s%s\n", progress->label, (unsigned long long)done,
                (unsigned long long)total, passed, left, note ? ", " : "", note ? note : "");
    }
    fflush(stderr);
}

void cm3_progress_end(cm3_progress *progress) {
    if (progress->drawn) fputs("\r\033[K", stderr);
    progress->drawn = false;
}

int cm3_progress_callback(void *user, uint64_t done, uint64_t total) {
    cm3_progress_show(user, done, total, NULL);
    return cm3_interrupted();
}
