/* cm3 bank: memory banks, from making one to looking into it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bank.h"

static const char help_text[] =
    "Usage: cm3 bank create  BANK (-m MODEL | --dimension N) [--vectors TYPE]\n"
    "       cm3 bank add     BANK -m MODEL RECORDS.jsonl... [OPTION]...\n"
    "       cm3 bank import  BANK -m MODEL SHARD.tar... [OPTION]...\n"
    "       cm3 bank index   BANK [--m N] [--ef-construction N]\n"
    "       cm3 bank search  BANK -m MODEL TEXT|--image FILE|--batch FILE [OPTION]...\n"
    "       cm3 bank delete  BANK KEY...\n"
    "       cm3 bank info    BANK [--json]\n"
    "       cm3 bank verify  BANK\n"
    "       cm3 bank compact BANK [--no-index]\n"
    "       cm3 bank merge   BANK FROM.bank...\n"
    "       cm3 bank export  BANK [--json] [--vectors FILE.npy] [-m MODEL --pictures DIR]\n"
    "       cm3 bank neighbours BANK -m MODEL --out-dir DIR SHARD.tar... [OPTION]...\n"
    "\n"
    "A bank keeps texts and pictures under vectors of a model's encoder, so that they\n"
    "are found again. It is a file, or for create, add, import, search and info\n"
    "PostgreSQL with pgvector (docs/retrieval-engines.md):\n"
    "'postgresql://USER@HOST/DATABASE'; several servers as 'SHARD|SHARD', replicas as\n"
    "'SHARD>REPLICA', a name for the tables behind #. Passwords belong into ~/.pgpass\n"
    "or PGPASSWORD.\n"
    "\n"
    "  create      makes an empty one\n"
    "  add         adds records, a line each, of which text or image may be missing:\n"
    "              {\"key\": NAME, \"text\": TEXT, \"image\": PATH beside the file};\n"
    "              or lines of export --json. What is there already is left out\n"
    "  import      the same of shards in WebDataset form, as training reads them\n"
    "  index       builds a graph over the records that have none, by which more than\n"
    "              200,000 are searched fast; add, import and compact end so where\n"
    "              that many have none\n"
    "  search      the records nearest to a text or a picture, with their scores\n"
    "  delete      takes the records of these keys out\n"
    "  info        how many records, of what encoder\n"
    "  verify      reads all of it and tells of every damaged place\n"
    "  compact     writes it anew without what was taken out\n"
    "  merge       adds the records of other banks of the same encoder\n"
    "  export      all records on standard output\n"
    "  neighbours  writes shards whose records name their nearest of the bank, for\n"
    "              training with retrieval\n"
    "\n"
    "Options of all:\n"
    "  -m, --model MODEL    whose encoder makes vectors; without it that of the variable\n"
    "                       CM3_MODEL\n"
    "      --threads N      (one a core)\n"
    "  -q, --quiet          no progress\n"
    "\n"
    "Options of create:\n"
    "      --vectors TYPE   of a file f32, bf16 or int8 (bf16); of a database f32 or f16\n"
    "                       (f32)\n"
    "      --dimension N    of vectors that come from elsewhere, 1 to 65536\n"
    "\n"
    "Options of add, import, index and compact:\n"
    "      --near X         add, import: leave out what is nearer than X to a record that\n"
    "                       is there (2: nothing)\n"
    "      --no-index       add, import, compact: build no graph afterwards\n"
    "      --m N            index, add, import: neighbours of a record in the graph,\n"
    "                       2 to 64 (16)\n"
    "      --ef-construction N  index, add, import: records that are looked at for them,\n"
    "                       4 to 4096 (100)\n"
    "\n"
    "Options of search:\n"
    "  -p, --prompt TEXT    what is looked for, as TEXT alone is\n"
    "      --image FILE     or a picture\n"
    "      --batch FILE     or each line's text; a line {\"index\": N, \"hits\": [...]} of each\n"
    "  -k N                 records to be found, 1 to 1000 (10)\n"
    "  -o, --output FILE    a sheet of their pictures, .jpg or .png\n"
    "      --way WAY        exact: look at all records; graph: use graphs also where\n"
    "                       records are few (graphs from 200,000 records on)\n"
    "      --ef N           records that a graph's walk keeps in view, k to 65536; more\n"
    "                       find more of the nearest (2 k, at least 64)\n"
    "      --json           JSON lines; of info and export, too\n"
    "\n"
    "Options of export:\n"
    "      --vectors FILE   their vectors as well, for NumPy\n"
    "      --pictures DIR   their pictures as well, by the model that made the codes\n"
    "\n"
    "Options of neighbours:\n"
    "      --out-dir DIR    where the shards are written\n"
    "      --by-text N      so many by the text, 0 to 16 (2)\n"
    "      --by-image N     and by the picture (2)\n"
    "      --most-score X   none that is nearer to the query (0.9)\n"
    "      --query-dropout X  share of words that the query is asked without (0.2)\n"
    "      --keep-own       the record itself may be one\n"
    "      --own-first X    the bank's record of the same key is one: the first with this\n"
    "                       probability, else the second (0: it has to be found)\n"
    "\n"
    "An option that a command has no use for is refused. To begin with:\n"
    "\n"
    "  cm3 bank create my.bank -m model.cm3\n"
    "  cm3 bank add my.bank -m model.cm3 records.jsonl\n"
    "  cm3 bank search my.bank -m model.cm3 -p \"a red circle\"\n";

#define TOGETHER 64 /* records that are added at once */

cm3_status cm3_bank_run_open(bank_run *run, cm3_bank_mode mode) {
    return cm3_bank_open(run->context, run->a->words.items[0], mode, &run->bank);
}

bool cm3_bank_run_is_database(const bank_run *run) {
    return cm3_is_database(run->a->words.items[0]);
}

cm3_status cm3_bank_run_retriever(bank_run *run, cm3_bank_mode mode) {
    const char *path = cm3_model_asked_for(run->a->model), *bank = run->a->words.items[0];
    const bool database = cm3_bank_run_is_database(run);
    cm3_status status = database ? CM3_OK : cm3_bank_run_open(run, mode);
    if (status == CM3_OK) status = cm3_open_model(run->context, path, NULL, &run->model);
    if (status == CM3_OK && database) {
        return cm3_database_retriever(bank, run->model, cm3_base_name(path), &run->store, &run->retriever);
    }
    return status == CM3_OK ? cm3_retriever_create(run->model, run->bank, &run->retriever) : status;
}

/** What is nearer than that to what is there is not kept. */
static cm3_status refuse_near(bank_run *run) {
    /* A database has no such option; not to ask for it is no error. */
    if (run->store && run->a->near >= 2) return CM3_OK;
    return cm3_retriever_refuse_near(run->retriever, (float)run->a->near);
}

/* --- making and filling --------------------------------------------------------------------------------------------
 */

static cm3_status create(bank_run *run) {
    static const char *const types[] = {"f32", "bf16", "int8"};
    const bank_arguments *a = run->a;
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    for (int i = 0; a->vectors && i < 3; i++) {
        if (!strcmp(a->vectors, types[i])) options.vectors = (cm3_vector_type)(CM3_VECTORS_F32 + i);
    }
    options.dimension = (int32_t)a->dimension;
    const char *path = cm3_model_asked_for(a->model);
    char name[64];
    if (path && !a->dimension) {
        cm3_status status = cm3_open_model(run->context, path, NULL, &run->model);
        if (status != CM3_OK) return status;
        snprintf(name, sizeof name, "%s", cm3_base_name(path));
        options.model = run->model;
        options.encoder_name = name;
    }
    if (cm3_bank_run_is_database(run)) {
        const cm3_database_making making = {.halfvec = a->vectors && !strcmp(a->vectors, "f16"),
                                            .dimension = (int32_t)a->dimension};
        return cm3_database_open(a->words.items[0], run->model, options.encoder_name, &making, &run->store);
    }
    return cm3_bank_create(run->context, a->words.items[0], &options, &run->bank);
}

/** Records of a JSON-lines file that go together. */
typedef struct bank_batch {
    cm3_retrieval_item items[TOGETHER];
    json_t *lines[TOGETHER];
    int32_t *codes[TOGETHER]; /**< of pictures that an export tells so */
    size_t count;
} bank_batch;

static void clear_batch(bank_batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        cm3_image_destroy(batch->items[i].image);
        free(batch->codes[i]);
        json_decref(batch->lines[i]);
    }
    batch->count = 0;
}

/** One line as an item. False after saying what is wrong. */
static bool take_line(bank_run *run, const char *path, size_t number, const char *line, bank_batch *batch) {
    json_error_t error;
    json_t *json = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (!json) {
        cm3_say("%s:%zu:%d: %s", path, number, error.column, error.text);
        return false;
    }
    const json_t *key = json_object_get(json, "key"), *text = json_object_get(json, "text"),
                 *image = json_object_get(json, "image"), *list = image ? NULL : json_object_get(json, "codes");
    cm3_retrieval_item item = {
        .struct_size = sizeof item, .key = json_string_value(key), .text = json_string_value(text)};
    bool fits = json_is_object(json) && (!key || item.key) && (!text || item.text) &&
                (!image || json_is_string(image)) && (item.text || image || list);
    int32_t *codes = fits && list ? cm3_ids_of(list, &item.code_count) : NULL;
    item.codes = codes;
    fits = fits && (!list || codes);
    if (!fits) {
        cm3_say("%s:%zu: {\"key\": NAME, \"text\": TEXT, \"image\": PATH} is expected, or \"codes\": [CODE, ...]", path,
                number);
    }
    char *file = fits && image ? cm3_path_beside(path, json_string_value(image)) : NULL;
    if (file) {
        fits = cm3_image_load(run->context, file, &item.image) == CM3_OK;
        if (!fits) cm3_say("%s:%zu: %s", path, number, cm3_context_message(run->context));
        free(file);
    }
    if (!fits) {
        free(codes);
        json_decref(json);
        return false;
    }
    batch->codes[batch->count] = codes;
    batch->lines[batch->count] = json;
    batch->items[batch->count++] = item;
    return true;
}

static cm3_status flush_batch(bank_run *run, bank_batch *batch, uint64_t *added) {
    uint64_t ids[TOGETHER];
    cm3_status status = CM3_OK;
    if (batch->count) status = cm3_retriever_add(run->retriever, batch->items, batch->count, ids);
    for (size_t i = 0; i < batch->count && status == CM3_OK; i++) *added += ids[i] != CM3_NO_RECORD;
    clear_batch(batch);
    return status;
}

/** All lines of a file. *good is false after something was said. */
static cm3_status add_file(bank_run *run, const char *path, cm3_progress *progress, uint64_t *read, uint64_t *added,
                           bool *good) {
    FILE *file = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    if (!file) {
        cm3_say("%s: the file cannot be read", path);
        *good = false;
        return CM3_OK;
    }
    static bank_batch batch;
    char *line = NULL;
    size_t capacity = 0, number = 0;
    cm3_status status = CM3_OK;
    while (status == CM3_OK && *good && !cm3_interrupted() && getline(&line, &capacity, file) >= 0) {
        number++;
        if (strspn(line, " \t\r\n") == strlen(line)) continue;
        *good = take_line(run, path, number, line, &batch);
        *read += *good;
        if (batch.count == TOGETHER) {
            status = flush_batch(run, &batch, added);
            cm3_progress_show(progress, *read, 0, NULL);
        }
    }
    /* Lines before a faulty one are in. */
    if (status == CM3_OK) status = flush_batch(run, &batch, added);
    clear_batch(&batch);
    free(line);
    if (file != stdin) fclose(file);
    return status;
}

static int add(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_status status = cm3_bank_run_retriever(run, CM3_BANK_WRITE);
    if (status == CM3_OK) status = refuse_near(run);
    uint64_t read = 0, added = 0;
    bool good = true;
    cm3_progress progress;
    const double started = cm3_now();
    cm3_progress_begin(&progress, "adding", a->quiet);
    for (size_t i = 1; i < a->words.count && status == CM3_OK && good && !cm3_interrupted(); i++) {
        status = add_file(run, a->words.items[i], &progress, &read, &added, &good);
    }
    cm3_progress_end(&progress);
    if (status != CM3_OK) return cm3_failed(run->context, status);
    if (cm3_interrupted()) return cm3_ended_early();
    if (good && !a->quiet) {
        cm3_say("added %llu of %llu records, %.0f a second", (unsigned long long)added, (unsigned long long)read,
                (double)read / (cm3_now() - started + 1e-9));
    }
    if (good) status = cm3_bank_run_index_many(run);
    if (status != CM3_OK) return cm3_failed(run->context, status);
    return good ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
}

static int import(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_status status = cm3_bank_run_retriever(run, CM3_BANK_WRITE);
    if (status == CM3_OK) status = refuse_near(run);
    uint64_t added = 0;
    cm3_progress progress;
    cm3_progress_begin(&progress, "adding", a->quiet);
    if (status == CM3_OK) {
        status = cm3_retriever_import(run->retriever, &a->words.items[1], a->words.count - 1, cm3_progress_callback,
                                      &progress, &added);
    }
    cm3_progress_end(&progress);
    if (status == CM3_ERROR_CANCELLED) return cm3_ended_early();
    if (status != CM3_OK) return cm3_failed(run->context, status);
    if (!a->quiet) cm3_say("added %llu records", (unsigned long long)added);
    status = cm3_bank_run_index_many(run);
    return status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(run->context, status);
}

#ifdef CM3_WITH_TRAIN
static cm3_status neighbours(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_progress progress;
    cm3_progress_begin(&progress, "shards", a->quiet);
    cm3_train_neighbour_options options;
    cm3_train_neighbour_options_init(&options);
    options.by_text = (int32_t)a->by_text;
    options.by_image = (int32_t)a->by_image;
    options.most_score = (float)a->most_score;
    options.query_dropout = (float)a->query_dropout;
    options.keep_own = a->keep_own;
    options.own_first = (float)a->own_first;
    cm3_status status = cm3_bank_run_retriever(run, CM3_BANK_READ);
    if (status == CM3_OK) {
        status = cm3_train_find_neighbours(run->retriever, &a->words.items[1], a->words.count - 1, a->out_dir, &options,
                                           cm3_progress_callback, &progress);
    }
    cm3_progress_end(&progress);
    return status;
}
#endif

/* --- keeping in order ----------------------------------------------------------------------------------------------
 */

static cm3_status delete_keys(bank_run *run) {
    cm3_status status = cm3_bank_run_open(run, CM3_BANK_WRITE);
    for (size_t i = 1; i < run->a->words.count && status == CM3_OK; i++) {
        uint64_t id;
        status = cm3_bank_find(run->bank, run->a->words.items[i], &id);
        if (status == CM3_OK) status = cm3_bank_delete(run->bank, &id, 1);
    }
    return status;
}

static void say_fault(void *user, const char *what) {
    (void)user;
    printf("%s\n", what);
}

static cm3_status verify(bank_run *run) {
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    options.on_fault = say_fault;
    cm3_status status = cm3_bank_verify(run->context, run->a->words.items[0], &options);
    if (status == CM3_OK && !run->a->quiet) cm3_say("%s: all of it is as its sums say", run->a->words.items[0]);
    return status;
}

static cm3_status compact(bank_run *run) {
    cm3_progress progress;
    cm3_progress_begin(&progress, "records", run->a->quiet);
    cm3_bank_work_options options;
    cm3_bank_work_options_init(&options);
    options.on_progress = cm3_progress_callback;
    options.user = &progress;
    options.no_graph = run->a->no_index;
    cm3_status status = cm3_bank_run_open(run, CM3_BANK_WRITE);
    if (status == CM3_OK) status = cm3_bank_compact(run->bank, &options);
    cm3_progress_end(&progress);
    return status == CM3_OK ? cm3_bank_run_index_many(run) : status;
}

static cm3_status merge(bank_run *run) {
    cm3_status status = cm3_bank_run_open(run, CM3_BANK_WRITE);
    for (size_t i = 1; i < run->a->words.count && status == CM3_OK; i++) {
        cm3_bank *from = NULL;
        uint64_t added = 0;
        status = cm3_bank_open(run->context, run->a->words.items[i], CM3_BANK_READ, &from);
        if (status == CM3_OK) status = cm3_bank_merge(run->bank, from, NULL, &added);
        if (status == CM3_OK && !run->a->quiet) {
            cm3_say("added %llu records of %s", (unsigned long long)added, run->a->words.items[i]);
        }
        cm3_bank_destroy(from);
    }
    return status;
}

/* --- the command ---------------------------------------------------------------------------------------------------
 */

typedef struct bank_part {
    const char *name;
    size_t least, most; /**< words: the bank and what follows it */
    bool model;         /**< is needed */
    bool of_databases;  /**< can be done with one, too */
    cm3_status (*run)(bank_run *run);
    int (*run_to_end)(bank_run *run);
} bank_part;

static const bank_part parts[] = {
    {"create", 1, 1, false, true, create, NULL},
    {"add", 2, SIZE_MAX, true, true, NULL, add},
    {"import", 2, SIZE_MAX, true, true, NULL, import},
#ifdef CM3_WITH_TRAIN
    {"neighbours", 2, SIZE_MAX, true, false, neighbours, NULL},
#endif
    {"index", 1, 1, false, false, cm3_bank_run_index, NULL},
    {"search", 1, 1, true, true, cm3_bank_run_search, NULL},
    {"delete", 2, SIZE_MAX, false, false, delete_keys, NULL},
    {"info", 1, 1, false, true, cm3_bank_run_info, NULL},
    {"verify", 1, 1, false, false, verify, NULL},
    {"compact", 1, 1, false, false, compact, NULL},
    {"merge", 2, SIZE_MAX, false, false, merge, NULL},
    {"export", 1, 1, false, false, cm3_bank_run_export, NULL},
};

static const cm3_option_use uses[] = {{"--model", "create add import search neighbours export"},
                                      {"--vectors", "create export"},
                                      {"--dimension", "create"},
                                      {"--prompt", "search"},
                                      {"--image", "search"},
                                      {"--batch", "search"},
                                      {"--output", "search"},
                                      {"-k", "search"},
                                      {"--way", "search"},
                                      {"--ef", "search"},
                                      {"--pictures", "export"},
                                      {"--near", "add import"},
                                      {"--m", "index add import"},
                                      {"--ef-construction", "index add import"},
                                      {"--no-index", "add import compact"},
                                      {"--out-dir", "neighbours"},
                                      {"--by-text", "neighbours"},
                                      {"--by-image", "neighbours"},
                                      {"--most-score", "neighbours"},
                                      {"--query-dropout", "neighbours"},
                                      {"--keep-own", "neighbours"},
                                      {"--own-first", "neighbours"},
                                      {"--json", "search info export"},
                                      {NULL, NULL}};

/** A word behind the bank that is searched is what is looked for. */
static void take_text(const bank_part *part, bank_arguments *a) {
    if (part->run != cm3_bank_run_search || a->words.count != 2 || a->prompt) return;
    a->prompt = a->words.items[1];
    a->words.count = 1;
}

static bool is_complete(const bank_part *part, const bank_arguments *a) {
    const char *wrong = NULL;
    const bool made = !strcmp(part->name, "create"), database = a->words.count && cm3_is_database(a->words.items[0]);
    if (a->words.count < part->least)
        wrong = a->words.count ? "nothing is named that it should do it with" : "the bank is missing";
    else if (a->words.count > part->most)
        wrong = part->run == cm3_bank_run_search ? "there are words too many; a text goes in quotes, \"a red circle\""
                                                 : "there are words too many";
    else if (part->model && !cm3_model_asked_for(a->model))
        wrong = "-m is missing";
    else if (made && !a->dimension && !cm3_model_asked_for(a->model))
        wrong = "-m or --dimension is missing";
    else if (database && !part->of_databases)
        wrong = "this is for files; a database has SQL and tools of its own";
    else if (database && (a->way || a->ef || a->m || a->ef_construction))
        wrong = "--way, --ef, --m and --ef-construction are for files";
    else if (made && a->dimension && a->model)
        wrong = "-m or --dimension, one of them, is expected";
    else if (!strcmp(part->name, "export") && a->model && !a->pictures)
        wrong = "-m is for --pictures";
    else if (made && database && a->vectors && strcmp(a->vectors, "f32") && strcmp(a->vectors, "f16"))
        wrong = "--vectors of a database must be f32 or f16";
    else if (made && !database && a->vectors && strcmp(a->vectors, "f32") && strcmp(a->vectors, "bf16") &&
             strcmp(a->vectors, "int8"))
        wrong = "--vectors must be f32, bf16 or int8";
    else if (!strcmp(part->name, "search") && (a->prompt != NULL) + (a->image != NULL) + (a->batch != NULL) != 1)
        wrong = "TEXT (-p), --image or --batch, one of them, is expected";
    else if (a->batch && a->output)
        wrong = "--batch is without -o";
    else if (a->way && strcmp(a->way, "exact") && strcmp(a->way, "graph"))
        wrong = "--way must be exact or graph";
    else if (a->ef && a->ef < a->k)
        wrong = "--ef must be at least -k";
    else if (a->output && !cm3_is_picture(a->output))
        wrong = "-o must be a .jpg or .png file";
    else if (a->pictures && !cm3_model_asked_for(a->model))
        wrong = "--pictures wants -m: codes become pictures by a model";
    else if (!strcmp(part->name, "neighbours") && !a->out_dir)
        wrong = "--out-dir is missing";
    if (wrong) cm3_say("cm3 bank %s: %s", part->name, wrong);
    return !wrong;
}

static int run_part(const bank_part *part, const bank_arguments *a) {
    bank_run run = {.a = a, .context = cm3_open_context(a->threads)};
    if (!run.context) return CM3_EXIT_FAILED;
    int code;
    if (part->run_to_end) {
        code = part->run_to_end(&run);
    } else {
        cm3_status status = part->run(&run);
        code = status == CM3_OK      ? CM3_EXIT_DONE
               : status == BANK_TOLD ? cm3_ended_early()
                                     : cm3_failed(run.context, status);
    }
    if (code == CM3_EXIT_DONE && cm3_interrupted()) code = cm3_ended_early();
    if (!run.retriever) cm3_database_close(run.store);
    cm3_retriever_destroy(run.retriever);
    cm3_bank_destroy(run.bank);
    cm3_model_destroy(run.model);
    cm3_context_destroy(run.context);
    return code;
}

int cm3_command_bank(int argc, char **argv) {
    static bank_arguments a;
    a = (bank_arguments){
        .k = 10, .threads = -1, .near = 2, .by_text = 2, .by_image = 2, .most_score = 0.9, .query_dropout = 0.2};
    const cm3_option options[] = {{"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},
                                  {"--vectors", NULL, CM3_OPTION_TEXT, &a.vectors, 0, 0},
                                  {"--dimension", NULL, CM3_OPTION_INT, &a.dimension, 1, 65536},
                                  {"--prompt", "-p", CM3_OPTION_TEXT, &a.prompt, 0, 0},
                                  {"--image", NULL, CM3_OPTION_TEXT, &a.image, 0, 0},
                                  {"--batch", NULL, CM3_OPTION_TEXT, &a.batch, 0, 0},
                                  {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
                                  {"--pictures", NULL, CM3_OPTION_TEXT, &a.pictures, 0, 0},
                                  {"-k", NULL, CM3_OPTION_INT, &a.k, 1, 1000},
                                  {"--near", NULL, CM3_OPTION_NUMBER, &a.near, -1, 2},
                                  {"--out-dir", NULL, CM3_OPTION_TEXT, &a.out_dir, 0, 0},
                                  {"--by-text", NULL, CM3_OPTION_INT, &a.by_text, 0, 16},
                                  {"--by-image", NULL, CM3_OPTION_INT, &a.by_image, 0, 16},
                                  {"--most-score", NULL, CM3_OPTION_NUMBER, &a.most_score, -1, 2},
                                  {"--query-dropout", NULL, CM3_OPTION_NUMBER, &a.query_dropout, 0, 1},
                                  {"--keep-own", NULL, CM3_OPTION_FLAG, &a.keep_own, 0, 0},
                                  {"--own-first", NULL, CM3_OPTION_NUMBER, &a.own_first, 0, 1},
                                  {"--m", NULL, CM3_OPTION_INT, &a.m, 2, 64},
                                  {"--ef-construction", NULL, CM3_OPTION_INT, &a.ef_construction, 4, 4096},
                                  {"--way", NULL, CM3_OPTION_TEXT, &a.way, 0, 0},
                                  {"--ef", NULL, CM3_OPTION_INT, &a.ef, 1, 65536},
                                  {"--no-index", NULL, CM3_OPTION_FLAG, &a.no_index, 0, 0},
                                  {"--threads", NULL, CM3_OPTION_INT, &a.threads, 1, 64},
                                  {"--json", NULL, CM3_OPTION_FLAG, &a.json, 0, 0},
                                  {"--quiet", "-q", CM3_OPTION_FLAG, &a.quiet, 0, 0},
                                  {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0}};
    if (!argc || cm3_wants_help(argc, argv, options)) {
        fputs(help_text, argc ? stdout : stderr);
        return argc ? CM3_EXIT_DONE : CM3_EXIT_USAGE;
    }
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (strcmp(argv[0], parts[i].name) != 0) continue;
        char call[64];
        snprintf(call, sizeof call, "cm3 bank %s", parts[i].name);
        if (!cm3_options_parse(argc - 1, argv + 1, options, &a.words)) return CM3_EXIT_USAGE;
        take_text(&parts[i], &a);
        if (!cm3_options_fit(argc - 1, argv + 1, options, uses, call, parts[i].name) || !is_complete(&parts[i], &a)) {
            return CM3_EXIT_USAGE;
        }
        return run_part(&parts[i], &a);
    }
    cm3_say("cm3 bank: '%s' is not known; 'cm3 bank --help' tells what is", argv[0]);
    return CM3_EXIT_USAGE;
}
