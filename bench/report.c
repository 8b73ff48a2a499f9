/* Results as JSON lines or as a table. */
#include "report.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADING 512
#define TEXT_WIDTH 13
#define CASE_WIDTH 17
#define KERNEL_WIDTH 28
#define NUMBER_WIDTH 13
#define SPREAD_WIDTH 6

struct bench_report {
    bool json, failed;
    json_t *result, *metrics;
    char heading[HEADING]; /**< of the table's last rows */
};

bench_report *bench_report_create(bool json) {
    bench_report *report = calloc(1, sizeof *report);
    if (report) report->json = json;
    return report;
}

void bench_report_destroy(bench_report *report) {
    if (!report) return;
    json_decref(report->result);
    json_decref(report->metrics);
    free(report);
}

static void set(bench_report *report, json_t *object, const char *key, json_t *value) {
    if (json_object_set_new(object, key, value)) report->failed = true;
}

void bench_report_begin(bench_report *report, const char *section, const char *name) {
    report->result = json_object();
    report->metrics = json_object();
    bench_report_text(report, "who", "libcm3leon");
    bench_report_text(report, "section", section);
    bench_report_text(report, "case", name);
}

void bench_report_text(bench_report *report, const char *key, const char *value) {
    set(report, report->result, key, json_string(value));
}

void bench_report_integer(bench_report *report, const char *key, int64_t value) {
    set(report, report->result, key, json_integer(value));
}

void bench_report_samples(bench_report *report, const char *key, const char *unit, const bench_samples *samples) {
    set(report, report->metrics, key,
        json_pack("{s:s, s:f, s:f, s:f, s:f, s:i}", "unit", unit, "median", bench_median(samples), "min",
                  bench_quantile(samples, 0), "max", bench_quantile(samples, 1), "spread", bench_spread(samples),
                  "rounds", samples->count));
}

void bench_report_number(bench_report *report, const char *key, const char *unit, double value) {
    set(report, report->metrics, key, json_pack("{s:s, s:f}", "unit", unit, "median", value));
}

/* --- the table -----------------------------------------------------------------------------------------------------
 */

/** A field of the heading or of a row: texts to the left, numbers to the right. */
static void append(char *line, size_t size, int width, const char *text) {
    size_t used = strlen(line);
    snprintf(line + used, size - used, width < 0 ? "%-*s " : "%*s ", width < 0 ? -width : width, text);
}

/** Width of a field: negative to the left. Kernels have long names. */
static int field_width(const bench_report *report, const char *key, const json_t *value) {
    if (json_is_integer(value)) return (int)strlen(key) < 4 ? 4 : (int)strlen(key);
    if (strcmp(key, "case") != 0) return -TEXT_WIDTH;
    return !strcmp(json_string_value(json_object_get(report->result, "section")), "kernels") ? -KERNEL_WIDTH
                                                                                             : -CASE_WIDTH;
}

static bool shown(const char *key) {
    return strcmp(key, "who") != 0 && strcmp(key, "section") != 0;
}

static int metric_width(const char *unit, const json_t *metric) {
    int width = (int)strlen(unit) < NUMBER_WIDTH ? NUMBER_WIDTH : (int)strlen(unit);
    return width + (json_object_get(metric, "spread") ? SPREAD_WIDTH : 0);
}

static void print_heading(bench_report *report) {
    char heading[HEADING] = "";
    const char *key;
    json_t *value;
    json_object_foreach(report->result, key, value) {
        if (shown(key)) append(heading, sizeof heading, field_width(report, key, value), key);
    }
    json_object_foreach(report->metrics, key, value) {
        const char *unit = json_string_value(json_object_get(value, "unit"));
        append(heading, sizeof heading, metric_width(unit, value), unit);
    }
    if (!strcmp(heading, report->heading)) return;
    printf("%s%s: %s\n", report->heading[0] ? "\n" : "", json_string_value(json_object_get(report->result, "section")),
           heading);
    memcpy(report->heading, heading, sizeof heading);
}

static void print_metric(const json_t *metric) {
    const char *unit = json_string_value(json_object_get(metric, "unit"));
    const json_t *spread = json_object_get(metric, "spread");
    double value = json_real_value(json_object_get(metric, "median"));
    double size = value < 0 ? -value : value;
    int width = metric_width(unit, metric) - (spread ? SPREAD_WIDTH : 0);
    printf("%*.*f", width, size >= 1000 ? 0 : size >= 10 ? 1 : size >= 0.01 ? 3 : 5, value);
    if (spread) printf(" ±%3.0f%%", 100 * json_real_value(spread));
    printf(" ");
}

static void print_row(bench_report *report) {
    char row[HEADING] = "";
    const char *key;
    json_t *value;
    print_heading(report);
    json_object_foreach(report->result, key, value) {
        char number[32];
        if (!shown(key)) continue;
        snprintf(number, sizeof number, "%lld", (long long)json_integer_value(value));
        append(row, sizeof row, field_width(report, key, value),
               json_is_string(value) ? json_string_value(value) : number);
    }
    printf("%*s%s", (int)strlen(json_string_value(json_object_get(report->result, "section"))) + 2, "", row);
    json_object_foreach(report->metrics, key, value) print_metric(value);
    printf("\n");
}

bool bench_report_end(bench_report *report) {
    if (!report->failed && report->json) {
        set(report, report->result, "metrics", json_incref(report->metrics));
        char *line = json_dumps(report->result, JSON_REAL_PRECISION(6));
        report->failed = report->failed || !line;
        if (line) puts(line);
        free(line);
    } else if (!report->failed) {
        print_row(report);
    }
    json_decref(report->result);
    json_decref(report->metrics);
    report->result = report->metrics = NULL;
    return !report->failed && fflush(stdout) == 0 && !ferror(stdout);
}
