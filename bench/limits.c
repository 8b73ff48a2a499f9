/* The machine's limits: how fast memory is read, by whom and from which pages; products are in gemm.c. */
#include <stdio.h>
#include <sys/mman.h>

#include "base/status.h"
#include "reader.h"
#include "run.h"

#define BENCH_TEAM 64 /* as many threads as a context may have */
#define HUGE_PAGE ((size_t)2 << 20)
/* Far more than a last-level cache holds. */
#define FULL_SIZE ((size_t)1536 << 20)
#define QUICK_SIZE ((size_t)256 << 20)

typedef struct reader {
    const char *name;
    bench_read_fn read;
    cm3_cpu_level level;
} reader;

static const reader readers[] = {
    {"c", bench_read_c, CM3_CPU_C},
#ifdef CM3_X86
    {"avx2", bench_read_avx2, CM3_CPU_AVX2},
    {"avx512", bench_read_avx512, CM3_CPU_AVX512},
#endif
};

/** Read by one thread or by the team, in contiguous parts as a step's matrices are. */
typedef struct reading {
    const char *data;
    size_t size;
    cm3_team *team; /**< NULL: this thread alone */
    bench_read_fn read;
    volatile uint64_t sums[BENCH_TEAM];
} reading;

#define READ_GRAIN ((size_t)1 << 20)

static void read_part(void *arg, int64_t begin, int64_t end, int member) {
    reading *r = arg;
    r->sums[member] = r->read(r->data + (size_t)begin * READ_GRAIN, (size_t)(end - begin) * READ_GRAIN);
}

static cm3_status read_all(void *arg) {
    reading *r = arg;
    cm3_parallel_for(r->team, (int64_t)(r->size / READ_GRAIN), 1, read_part, r);
    return CM3_OK;
}

/** Memory of so many bytes in pages of one kind, written once. */
static cm3_status map_pages(cm3_context *context, size_t size, bool huge, char **data, void **mapping) {
    *mapping = mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (*mapping == MAP_FAILED) return cm3_fail_memory(context, size, "limits");
    *data = (char *)(((uintptr_t)*mapping + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE);
    madvise(*data, size, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    for (size_t i = 0; i < size; i += sizeof(uint64_t)) *(uint64_t *)(void *)(*data + i) = i;
    return CM3_OK;
}

static cm3_status measure(bench_run *run, const reader *by, const char *pages, reading *r) {
    bench_samples seconds;
    CM3_TRY(bench_rounds(&run->options, read_all, r, &seconds));
    bench_samples rates = bench_rates(&seconds, (double)r->size / 1e9);
    if (r->team) bench_raise(&run->bounds.read, &rates);
    bench_report_begin(run->report, "limits", "read");
    bench_report_text(run->report, "reader", by->name);
    bench_report_text(run->report, "pages", pages);
    bench_report_integer(run->report, "threads", r->team ? run->threads : 1);
    bench_report_samples(run->report, "gb_per_second", "GB/s", &rates);
    return bench_done(run);
}

static cm3_status measure_pages(bench_run *run, bool huge) {
    size_t size = run->options.quick ? QUICK_SIZE : FULL_SIZE;
    void *mapping;
    char *data = NULL;
    CM3_TRY(map_pages(run->context, size, huge, &data, &mapping));
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < sizeof readers / sizeof *readers && status == CM3_OK; i++) {
        if (readers[i].level > cm3_context_cpu(run->context)) continue;
        reading r = {.data = data, .size = size, .read = readers[i].read};
        const char *pages = huge ? "2 MiB" : "4 KiB";
        if (run->threads > 1) status = measure(run, &readers[i], pages, &r);
        r.team = cm3_context_team(run->context);
        if (status == CM3_OK) status = measure(run, &readers[i], pages, &r);
    }
    munmap(mapping, size + HUGE_PAGE);
    return status;
}

cm3_status bench_bandwidth(bench_run *run) {
    CM3_TRY(measure_pages(run, false));
    CM3_TRY(measure_pages(run, true));
    bench_report_begin(run->report, "limits", "read_bandwidth");
    bench_report_integer(run->report, "threads", run->threads);
    bench_report_samples(run->report, "gb_per_second", "GB/s", &run->bounds.read);
    return bench_done(run);
}

/* Enough to be far from the cache, and read in some hundredths of a second. */
#define NOW_SIZE ((size_t)512 << 20)
#define NOW_ROUNDS 5

cm3_status bench_read_now(bench_run *run, double *gb_per_second) {
    return bench_read_by(run, false, gb_per_second);
}

cm3_status bench_read_by(bench_run *run, bool alone, double *gb_per_second) {
    static char *data; /* kept until the process ends: it is wanted before each round */
    void *mapping;
    if (!data) CM3_TRY(map_pages(run->context, NOW_SIZE, true, &data, &mapping));
    *gb_per_second = 0;
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++) {
        if (readers[i].level > cm3_context_cpu(run->context)) continue;
        reading r = {.data = data,
                     .size = NOW_SIZE,
                     .read = readers[i].read,
                     .team = alone ? NULL : cm3_context_team(run->context)};
        bench_samples rates = {.count = 0};
        while (rates.count < NOW_ROUNDS) {
            const double start = bench_seconds(alone);
            CM3_TRY(read_all(&r));
            rates.values[rates.count++] = (double)NOW_SIZE / 1e9 / (bench_seconds(alone) - start);
        }
        if (bench_median(&rates) > *gb_per_second) *gb_per_second = bench_median(&rates);
    }
    return CM3_OK;
}

cm3_status bench_limits(bench_run *run) {
    if (run->bounds.read.count) return CM3_OK;
    CM3_TRY(bench_bandwidth(run));
    return bench_gemm(run);
}
