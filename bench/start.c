/* From nothing to a picture: the command as a process, and a host that loads the model and asks twice. */
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "cm3leon/request.h"
#include "run.h"

#define PROMPT "a large red circle at the top left and a small blue star in the center on a sand background"

extern char **environ;

/* --- the command ------------------------------------------------------------------------------------------------ */

/** One picture by a process of its own: seconds from its start to its end. What it says of the file is not wanted. */
static cm3_status run_command(bench_run *run, const char *output, double *seconds) {
    char threads[16];
    snprintf(threads, sizeof threads, "%d", run->threads);
    const char *arguments[] = {
        run->options.cm3, "generate", "-q", "-m", run->options.model, "-p", PROMPT, "-o", output, "--seed", "1",
        "--threads",      threads,    NULL};
    pid_t child;
    int status = 0;
    posix_spawn_file_actions_t actions;
    int error = posix_spawn_file_actions_init(&actions);
    if (error) return cm3_fail(run->context, CM3_ERROR_IO, "%s: %s", run->options.cm3, strerror(error));
    error = posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    uint64_t start = cm3_clock_ns();
    if (!error) {
        error = posix_spawn(&child, run->options.cm3, &actions, NULL, (char *const *)(uintptr_t)arguments, environ);
    }
    posix_spawn_file_actions_destroy(&actions);
    if (error) return cm3_fail(run->context, CM3_ERROR_IO, "%s: %s", run->options.cm3, strerror(error));
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status)) {
        return cm3_fail(run->context, CM3_ERROR_IO, "%s generate failed", run->options.cm3);
    }
    *seconds = cm3_clock_since(start);
    return CM3_OK;
}

/** Takes a file out of the page cache, as far as the system lets that be asked for. */
static cm3_status forget_file(cm3_context *context, const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    bool done = file >= 0 && fsync(file) == 0 && posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED) == 0;
    if (file >= 0) close(file);
    return done ? CM3_OK : cm3_fail(context, CM3_ERROR_IO, "%s: cannot be taken out of the page cache", path);
}

static cm3_status report(bench_run *run, const char *name, const bench_samples *seconds) {
    bench_report_begin(run->report, "start", name);
    bench_report_integer(run->report, "threads", run->threads);
    bench_samples milliseconds = bench_times(seconds, 1e3);
    bench_report_samples(run->report, "ms", "ms", &milliseconds);
    return bench_done(run);
}

static cm3_status measure_process(bench_run *run, const char *name, bool cold, const char *output) {
    bench_samples seconds = {.count = 0};
    double warm;
    CM3_TRY(run_command(run, output, &warm));
    while (seconds.count < run->options.rounds) {
        if (cold) CM3_TRY(forget_file(run->context, run->options.model));
        CM3_TRY(run_command(run, output, &seconds.values[seconds.count]));
        seconds.count++;
    }
    return report(run, name, &seconds);
}

/* --- the host ----------------------------------------------------------------------------------------------------- */

enum { STAGE_CONTEXT, STAGE_LOAD, STAGE_FIRST, STAGE_SECOND, STAGES };

static cm3_status draw(cm3_model *model, const cm3_document *prompt) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = 1;
    cm3_document *result = NULL;
    cm3_status status = cm3_generate(model, prompt, &options, NULL, NULL, &result);
    cm3_document_destroy(result);
    return status;
}

static cm3_status draw_twice(cm3_context *context, cm3_model *model, double seconds[STAGES]) {
    cm3_document *prompt;
    CM3_TRY(cm3_document_create(context, &prompt));
    cm3_status status = cm3_document_add_text(prompt, PROMPT, SIZE_MAX);
    for (int stage = STAGE_FIRST; stage <= STAGE_SECOND && status == CM3_OK; stage++) {
        uint64_t start = cm3_clock_ns();
        status = draw(model, prompt);
        seconds[stage] = cm3_clock_since(start);
    }
    cm3_document_destroy(prompt);
    return status;
}

/** A context of its own, as a host would make it; its message becomes the run's. */
static cm3_status host(bench_run *run, double seconds[STAGES]) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = run->threads;
    cm3_context *context;
    cm3_model *model = NULL;
    uint64_t start = cm3_clock_ns();
    CM3_TRY(cm3_context_create(&options, &context));
    seconds[STAGE_CONTEXT] = cm3_clock_since(start);
    start = cm3_clock_ns();
    cm3_status status = cm3_model_load(context, run->options.model, NULL, &model);
    seconds[STAGE_LOAD] = cm3_clock_since(start);
    if (status == CM3_OK) status = draw_twice(context, model, seconds);
    if (status != CM3_OK) status = cm3_fail(run->context, status, "%s", cm3_context_message(context));
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    return status;
}

static cm3_status measure_host(bench_run *run) {
    static const char *const names[STAGES] = {"host_context", "host_load", "host_first", "host_second"};
    bench_samples samples[STAGES] = {{.count = 0}};
    for (int round = 0; round < run->options.rounds; round++) {
        double seconds[STAGES];
        CM3_TRY(host(run, seconds));
        for (int stage = 0; stage < STAGES; stage++) samples[stage].values[samples[stage].count++] = seconds[stage];
    }
    for (int stage = 0; stage < STAGES; stage++) CM3_TRY(report(run, names[stage], &samples[stage]));
    return CM3_OK;
}

cm3_status bench_start(bench_run *run) {
    const char *temporary = getenv("TMPDIR");
    char directory[4096], output[4096 + 8];
    snprintf(directory, sizeof directory, "%.4000s/cm3-bench-XXXXXX", temporary && *temporary ? temporary : "/tmp");
    if (!mkdtemp(directory)) return cm3_fail(run->context, CM3_ERROR_IO, "%s: cannot be made", directory);
    snprintf(output, sizeof output, "%s/a.jpg", directory);
    cm3_status status = measure_process(run, "process", false, output);
    if (status == CM3_OK) status = measure_process(run, "process_cold_file", true, output);
    unlink(output);
    rmdir(directory);
    return status == CM3_OK ? measure_host(run) : status;
}
