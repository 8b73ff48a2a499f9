/*
 * Results: a JSON object a line, or a table. A result has fields that say what was measured, and metrics, the first of
 * which is the one that counts.
 */
#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "rounds.h"

typedef struct bench_report bench_report;

/** NULL where memory is out. */
bench_report *bench_report_create(bool json);
void bench_report_destroy(bench_report *report);

void bench_report_begin(bench_report *report, const char *section, const char *name);
void bench_report_text(bench_report *report, const char *key, const char *value);
void bench_report_integer(bench_report *report, const char *key, int64_t value);
/** A metric measured in rounds; `unit` is also its heading in the table. */
void bench_report_samples(bench_report *report, const char *key, const char *unit, const bench_samples *samples);
/** One that is a single number. */
void bench_report_number(bench_report *report, const char *key, const char *unit, double value);
/** Prints it. False where memory is out or standard output cannot be written. */
bool bench_report_end(bench_report *report);

#endif
