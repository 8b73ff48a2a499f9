/* cm3-bench: the sections that were asked for, one after the other. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/status.h"
#include "models.h"

static const struct {
    const char *name;
    cm3_status (*measure)(bench_run *run);
    bool computes; /**< on the compute thread */
} sections[] = {
    {"limits", bench_limits, true}, {"kernels", bench_kernels, true},
    {"lm", bench_lm, true},         {"vq", bench_vq, true},
#ifdef CM3_WITH_TRAIN
    {"train", bench_train, true},   {"loss", bench_loss, false},
#endif
    {"start", bench_start, false},  {"loop", bench_loop, false},
    {"bank", bench_bank, false},    {"hnsw", bench_bank_graph, false},
};

#define SECTIONS (sizeof sections / sizeof *sections)

cm3_status bench_done(bench_run *run) {
    if (bench_report_end(run->report)) return CM3_OK;
    return cm3_fail(run->context, CM3_ERROR_IO, "standard output could not be written");
}

/** A section to be run, as one argument. */
typedef struct section_call {
    bench_run *run;
    size_t section;
} section_call;

static cm3_status call_section(void *arg) {
    section_call *call = arg;
    return sections[call->section].measure(call->run);
}

static cm3_status run_sections(bench_run *run) {
    for (size_t i = 0; i < SECTIONS; i++) {
        if (!bench_options_has(&run->options, sections[i].name)) continue;
        section_call call = {run, i};
        CM3_TRY(sections[i].computes ? cm3_context_run(run->context, call_section, &call) : call_section(&call));
    }
    return CM3_OK;
}

/** Times that a thread of ours was put off a core by other work. */
static long interruptions(void) {
    struct rusage usage;
    return getrusage(RUSAGE_SELF, &usage) ? 0 : usage.ru_nivcsw;
}

/* A quiet machine interrupts a few times a second. Where threads wait for each other, one that is put off stops all. */
#define CALM 25

/** Runs the sections, and tells where the numbers are not worth much. */
static cm3_status run_watched(bench_run *run) {
    uint64_t start = cm3_clock_ns();
    long before = interruptions();
    cm3_status status = run_sections(run);
    double seconds = cm3_clock_since(start), often = (double)(interruptions() - before) / seconds;
    if (status == CM3_OK && seconds > 1 && often > CALM) {
        fprintf(
            stderr,
            "cm3-bench: other work interrupted these measurements %.0f times a second; numbers are too low, and more "
            "so the more threads wait for each other\n",
            often);
    }
    return status;
}

/** Defaults of paths that depend on where things are; `own` holds them. */
typedef struct default_paths {
    char dir[PATH_MAX], cm3[PATH_MAX];
} default_paths;

static void set_paths(bench_options *o, default_paths *own) {
    char self[PATH_MAX] = "";
    const char *temporary = getenv("TMPDIR");
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = 0;
    snprintf(own->dir, sizeof own->dir, "%.4000s/cm3-bench-models", temporary && *temporary ? temporary : "/tmp");
    snprintf(own->cm3, sizeof own->cm3, "%.4000s/cm3", dirname(self));
    if (!o->dir) o->dir = own->dir;
    if (!o->cm3) o->cm3 = own->cm3;
    if (!o->model) o->model = CM3_SOURCE_DIR "/models/toybox.cm3";
}

static cm3_status prepare(bench_run *run) {
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = run->options.threads;
    CM3_TRY(cm3_context_create(&options, &run->context));
    const char *kernels;
    return cm3_context_compute(run->context, &run->threads, &kernels);
}

int main(int argc, char **argv) {
    static default_paths paths;
    static bench_run run;
    int code;
    if (!bench_options_read(argc, argv, &run.options, &code)) return code;
    set_paths(&run.options, &paths);
    run.report = bench_report_create(run.options.json);
    cm3_status status = run.report ? prepare(&run) : CM3_ERROR_NO_MEMORY;
    if (status == CM3_OK) status = run_watched(&run);
    if (status != CM3_OK) {
        const char *message = run.context ? cm3_context_message(run.context) : "";
        fprintf(stderr, "cm3-bench: %s\n", *message ? message : cm3_status_name(status));
    }
    if (run.options.clean) bench_models_clean(&run);
    cm3_context_destroy(run.context);
    bench_report_destroy(run.report);
    return status != CM3_OK;
}
