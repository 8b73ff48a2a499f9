/* Progress, messages, signals. */
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "command.h"

static volatile sig_atomic_t interrupts;

static void on_signal(int number) {
    (void)number;
    if (interrupts++) _exit(CM3_EXIT_INTERRUPTED);
}

void cm3_catch_signals(void) {
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGXFSZ, SIG_IGN);
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
    va_list arguments;
    va_start(arguments, format);
    fputs("cm3: ", stderr);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
}

int cm3_failed(const cm3_context *context, cm3_status status) {
    if (status == CM3_ERROR_CANCELLED && cm3_interrupted()) return cm3_ended_early();
    const char *message = cm3_context_message(context);
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

void cm3_progress_show(cm3_progress *progress, uint64_t done, uint64_t total, const char *note) {
    double now = cm3_now(), elapsed = now - progress->started;
    bool last = total && done >= total && !progress->complete;
    progress->complete = progress->complete || last;
    if (progress->quiet || (!last && now - progress->last < (progress->terminal ? 0.1 : 10))) return;
    progress->last = now;
    char left[32], passed[32];
    double share = total ? (double)done / (double)total : 0;
    if (done > progress->first) {
        clock_text(elapsed / (double)(done - progress->first) * (double)(total - done), left, sizeof left);
    } else {
        snprintf(left, sizeof left, "-:--");
    }
    clock_text(elapsed, passed, sizeof passed);
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
