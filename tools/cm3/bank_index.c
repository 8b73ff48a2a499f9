/* cm3 bank: graphs, by which large banks are searched. */
#include <stdio.h>

#include "bank.h"

#define MANY 200000 /* records; from here on searches use graphs unasked */

static cm3_status build(const bank_run *run, uint64_t *built) {
    const bank_arguments *a = run->a;
    cm3_progress progress;
    cm3_index_options options;
    cm3_index_options_init(&options);
    if (a->m) options.m = (int32_t)a->m;
    if (a->ef_construction) options.ef_construction = (int32_t)a->ef_construction;
    options.on_progress = cm3_progress_callback;
    options.user = &progress;
    cm3_bank_info before = {.struct_size = sizeof before}, after = before;
    cm3_status status = cm3_bank_get_info(run->bank, &before);
    if (status != CM3_OK) return status;
    const double started = cm3_now();
    cm3_progress_begin(&progress, "graph", a->quiet);
    status = cm3_bank_index(run->bank, &options);
    cm3_progress_end(&progress);
    if (status == CM3_OK) status = cm3_bank_get_info(run->bank, &after);
    *built = status == CM3_OK ? after.indexed - before.indexed : 0;
    if (*built && !a->quiet) {
        cm3_say("a graph over %llu records, %.0f a second", (unsigned long long)*built,
                (double)*built / (cm3_now() - started + 1e-9));
    }
    return status;
}

cm3_status cm3_bank_run_index(bank_run *run) {
    cm3_status status = cm3_bank_run_open(run, CM3_BANK_WRITE);
    uint64_t built = 0;
    if (status == CM3_OK) status = build(run, &built);
    cm3_bank_info info = {.struct_size = sizeof info};
    if (status == CM3_OK) status = cm3_bank_get_info(run->bank, &info);
    if (status == CM3_OK && !built && !run->a->quiet) {
        if (info.end == info.indexed)
            cm3_say("every record has its graph");
        else
            cm3_say("%llu records without a graph: they are too few for one, and searched exactly",
                    (unsigned long long)(info.end - info.indexed));
    }
    return status;
}

cm3_status cm3_bank_run_index_many(const bank_run *run) {
    if (run->store) return run->a->no_index ? CM3_OK : cm3_database_index(run->store);
    cm3_bank_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_bank_get_info(run->bank, &info);
    uint64_t built;
    if (status != CM3_OK || run->a->no_index || info.end - info.indexed <= MANY) return status;
    if (!run->a->quiet) {
        cm3_say("%llu records have no graph: building one (--no-index leaves it to 'cm3 bank index')",
                (unsigned long long)(info.end - info.indexed));
    }
    return build(run, &built);
}
