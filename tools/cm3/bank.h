/* What the parts of `cm3 bank` share. */
#ifndef CM3_TOOL_BANK_H
#define CM3_TOOL_BANK_H

#include "command.h"

typedef struct bank_arguments {
    const char *model, *vectors, *prompt, *image, *output, *pictures, *out_dir, *way, *batch;
    int64_t dimension, k, threads, by_text, by_image, m, ef_construction, ef;
    double near, most_score, query_dropout, own_first;
    bool json, quiet, keep_own, no_index;
    cm3_list words; /**< the bank, and what else the command takes */
} bank_arguments;

typedef struct bank_run {
    const bank_arguments *a;
    cm3_context *context;
    cm3_model *model;
    cm3_bank *bank;
    struct cm3_pgvector *store; /**< in place of `bank` */
    cm3_retriever *retriever;   /**< closes the store */
} bank_run;

/** What a part returns where the reason was told already, or a signal came: run_part() adds no words to it. */
#define BANK_TOLD CM3_ERROR_CANCELLED

bool cm3_bank_run_is_database(const bank_run *run);

/** Opens the bank; and the model that is asked for, with the retriever of both. */
cm3_status cm3_bank_run_open(bank_run *run, cm3_bank_mode mode);
cm3_status cm3_bank_run_retriever(bank_run *run, cm3_bank_mode mode);

/* bank_look.c */

/** A record's picture, decoded; NULL where it has none, or it cannot be shown. */
cm3_image *cm3_bank_picture(const bank_run *run, const cm3_bank_record *record);
/** A record as a line: for people, or as JSON. `score` -2: without. */
void cm3_bank_print_record(const cm3_bank_record *record, double score, bool json);
cm3_status cm3_bank_run_info(bank_run *run);
cm3_status cm3_bank_run_export(bank_run *run);

/* bank_search.c */

cm3_status cm3_bank_run_search(bank_run *run);

/* bank_index.c */

cm3_status cm3_bank_run_index(bank_run *run);
/** Builds a graph over the open bank's records that have none, where they are so many that it is worth its time; says
 * so. */
cm3_status cm3_bank_run_index_many(const bank_run *run);

#endif
