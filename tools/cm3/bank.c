/* cm3 bank: memory banks, from making one to looking into it. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 bank create  BANK (-m MODEL | --dimension N) [--vectors f32|bf16|int8]\n"
    "       cm3 bank add     BANK -m MODEL RECORDS.jsonl... [--near X]\n"
    "       cm3 bank import  BANK -m MODEL SHARD.tar...\n"
    "       cm3 bank search  BANK -m MODEL (-p TEXT | --image FILE) [-k N] [-o SHEET.jpg] [--json]\n"
    "       cm3 bank delete  BANK KEY...\n"
    "       cm3 bank info    BANK [--json]\n"
    "       cm3 bank verify  BANK\n"
    "       cm3 bank compact BANK\n"
    "       cm3 bank merge   BANK FROM.bank...\n"
    "       cm3 bank export  BANK [--json] [--vectors FILE.npy] [-m MODEL --pictures DIR]\n"
    "\n"
    "A bank keeps texts and pictures under vectors of a model's encoder, so that they are found again.\n"
    "\n"
    "  create    makes an empty one\n"
    "  add       adds records, a line each: {\"key\": NAME, \"text\": TEXT, \"image\": PATH}, of which text or image "
    "may be\n"
    "            missing; paths relative to the file. What is there already is left out\n"
    "  import    the same of shards in WebDataset form, as training reads them\n"
    "  search    the records nearest to a text or a picture, with their scores; -o: a sheet of their pictures\n"
    "  delete    takes the records of these keys out\n"
    "  info      how many records, of what encoder\n"
    "  verify    reads all of it and tells of every damaged place\n"
    "  compact   writes it anew without what was taken out\n"
    "  merge     adds the records of other banks of the same encoder\n"
    "  export    all records as JSON lines on standard output; --vectors: their vectors, for NumPy\n"
    "\n"
    "  -m, --model MODEL    whose encoder makes vectors; without it that of the variable CM3_MODEL\n"
    "  -k N                 records to be found (10)\n"
    "      --near X         add: leave out what is nearer than X to a record that is there (2: nothing)\n"
    "      --threads N      (one a core)\n"
    "  -q, --quiet          no progress\n";

#define TOGETHER 64 /* records that are added at once */

typedef struct bank_arguments {
    const char *model, *vectors, *prompt, *image, *output, *pictures;
    int64_t dimension, k, threads;
    double near;
    bool json, quiet;
    cm3_list words; /**< the bank, and what else the command takes */
} bank_arguments;

typedef struct bank_run {
    const bank_arguments *a;
    cm3_context *context;
    cm3_model *model;
    cm3_bank *bank;
    cm3_retriever *retriever;
} bank_run;

static cm3_status open_bank(bank_run *run, cm3_bank_mode mode) {
    return cm3_bank_open(run->context, run->a->words.items[0], mode, &run->bank);
}

/** The model that is asked for, and the retriever of both. */
static cm3_status open_retriever(bank_run *run, cm3_bank_mode mode) {
    cm3_status status = open_bank(run, mode);
    if (status == CM3_OK) status = cm3_open_model(run->context, cm3_model_asked_for(run->a->model), NULL, &run->model);
    return status == CM3_OK ? cm3_retriever_create(run->model, run->bank, &run->retriever) : status;
}

static const char *base_name(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
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
        snprintf(name, sizeof name, "%s", base_name(path));
        options.model = run->model;
        options.encoder_name = name;
    }
    return cm3_bank_create(run->context, a->words.items[0], &options, &run->bank);
}

/** Records of a JSON-lines file that go together. */
typedef struct bank_batch {
    cm3_item items[TOGETHER];
    json_t *lines[TOGETHER];
    size_t count;
} bank_batch;

static void clear_batch(bank_batch *batch) {
    for (size_t i = 0; i < batch->count; i++) {
        cm3_image_destroy(batch->items[i].image);
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
                 *image = json_object_get(json, "image");
    cm3_item item = {.struct_size = sizeof item, .key = json_string_value(key), .text = json_string_value(text)};
    bool fits = json_is_object(json) && (!key || item.key) && (!text || item.text) &&
                (!image || json_is_string(image)) && (item.text || image);
    if (!fits) cm3_say("%s:%zu: {\"key\": NAME, \"text\": TEXT, \"image\": PATH} is expected", path, number);
    char *file = fits && image ? cm3_path_beside(path, json_string_value(image)) : NULL;
    if (file) {
        fits = cm3_image_load(run->context, file, &item.image) == CM3_OK;
        if (!fits) cm3_say("%s:%zu: %s", path, number, cm3_context_message(run->context));
        free(file);
    }
    if (!fits) {
        json_decref(json);
        return false;
    }
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
    cm3_status status = open_retriever(run, CM3_BANK_WRITE);
    if (status == CM3_OK) status = cm3_retriever_refuse_near(run->retriever, (float)a->near);
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
    return good ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
}

static int import(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_status status = open_retriever(run, CM3_BANK_WRITE);
    if (status == CM3_OK) status = cm3_retriever_refuse_near(run->retriever, (float)a->near);
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
    return CM3_EXIT_DONE;
}

/* --- looking -------------------------------------------------------------------------------------------------------
 */

/** A record's picture, decoded; NULL where it has none, or it cannot be shown. */
static cm3_image *picture_of(const bank_run *run, const cm3_bank_record *record) {
    cm3_image *image = NULL;
    cm3_tokenizer *tokenizer = NULL;
    if (record->image) {
        cm3_image_load_memory(run->context, record->image, record->image_size, &image);
    } else if (record->codes && cm3_model_tokenizer(run->model, &tokenizer) == CM3_OK) {
        cm3_tokenizer_decode_image(tokenizer, record->codes, record->code_count, &image);
    }
    cm3_tokenizer_destroy(tokenizer);
    return image;
}

/** A record as a line: for people, or as JSON. */
static void print_record(const cm3_bank_record *record, double score, bool json) {
    if (!json) {
        printf("%.4f  %s%s%s\n", score, record->key, *record->key ? ": " : "", record->text ? record->text : "");
        return;
    }
    printf("{\"id\": %llu, ", (unsigned long long)record->id);
    if (score > -2) printf("\"score\": %.6f, ", score);
    printf("\"key\": ");
    cm3_print_json(record->key);
    if (record->text) {
        printf(", \"text\": ");
        cm3_print_json(record->text);
    }
    if (record->codes) {
        printf(", \"codes\": [");
        for (size_t i = 0; i < record->code_count; i++) printf(i ? ", %d" : "%d", record->codes[i]);
        printf("]");
    }
    if (record->image) printf(", \"image_bytes\": %zu", record->image_size);
    printf("}\n");
}

static cm3_status save_sheet(const bank_run *run, const cm3_hit *hits, size_t count) {
    cm3_image **images = calloc(count + 1, sizeof *images), *sheet = NULL;
    size_t shown = 0;
    cm3_status status = images ? CM3_OK : CM3_ERROR_NO_MEMORY;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        cm3_bank_record *record;
        status = cm3_retriever_fetch(run->retriever, hits[i].id, &record);
        if (status != CM3_OK) break;
        images[shown] = picture_of(run, record);
        shown += images[shown] != NULL;
        cm3_retriever_release(run->retriever, record);
    }
    if (status == CM3_OK && !shown) {
        cm3_say("none of what was found has a picture: no sheet was written");
    } else if (status == CM3_OK) {
        status = cm3_image_contact_sheet(run->context, (const cm3_image *const *)images, shown, 0, 4, &sheet);
        if (status == CM3_OK) status = cm3_image_save(sheet, run->a->output, NULL);
    }
    for (size_t i = 0; i < shown; i++) cm3_image_destroy(images[i]);
    cm3_image_destroy(sheet);
    free(images);
    return status;
}

static cm3_status search(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_status status = open_retriever(run, CM3_BANK_READ);
    cm3_item query = {.struct_size = sizeof query, .text = a->prompt};
    if (status == CM3_OK && a->image) status = cm3_image_load(run->context, a->image, &query.image);
    cm3_retrieve_options options;
    cm3_retrieve_options_init(&options);
    options.k = (int32_t)a->k;
    options.most_alike = 2; /* all that is near, not what a prompt would take of it */
    options.whole_first = 0;
    cm3_hit *hits = calloc((size_t)a->k, sizeof *hits);
    size_t found = 0;
    if (status == CM3_OK) status = hits ? CM3_OK : CM3_ERROR_NO_MEMORY;
    if (status == CM3_OK) status = cm3_retriever_search(run->retriever, &query, 1, &options, hits, &found);
    for (size_t i = 0; i < found && status == CM3_OK; i++) {
        cm3_bank_record *record;
        status = cm3_retriever_fetch(run->retriever, hits[i].id, &record);
        if (status != CM3_OK) break;
        print_record(record, (double)hits[i].score, a->json);
        cm3_retriever_release(run->retriever, record);
    }
    if (status == CM3_OK && a->output) status = save_sheet(run, hits, found);
    free(hits);
    cm3_image_destroy(query.image);
    return status;
}

static cm3_status print_info(bank_run *run) {
    static const char *const types[] = {"", "f32", "bf16", "int8"};
    cm3_status status = open_bank(run, CM3_BANK_READ);
    cm3_bank_info i = {.struct_size = sizeof i};
    if (status == CM3_OK) status = cm3_bank_get_info(run->bank, &i);
    if (status != CM3_OK) return status;
    if (run->a->json) {
        printf("{\"records\": %llu, \"deleted\": %llu, \"bytes\": %llu, \"left_over\": %llu, \"dimension\": %d, "
               "\"vectors\": \"%s\", \"encoder\": ",
               (unsigned long long)i.records, (unsigned long long)i.deleted, (unsigned long long)i.bytes,
               (unsigned long long)i.left_over, i.dimension, types[i.vectors]);
        cm3_print_json(i.encoder_name);
        printf(", \"encoder_hash\": \"%016llx%016llx\"}\n", (unsigned long long)i.encoder_hash[1],
               (unsigned long long)i.encoder_hash[0]);
        return CM3_OK;
    }
    printf("records    %llu\n", (unsigned long long)i.records);
    if (i.deleted) printf("taken out  %llu (they take room until 'cm3 bank compact')\n", (unsigned long long)i.deleted);
    printf("vectors    %d numbers, %s\n", i.dimension, types[i.vectors]);
    printf("encoder    %s (%016llx)\n", *i.encoder_name ? i.encoder_name : "not named",
           (unsigned long long)i.encoder_hash[0]);
    printf("size       %.2f MB\n", (double)i.bytes / 1e6);
    if (i.left_over) {
        printf("left over  %llu bytes of an interrupted append, which the next one writes over\n",
               (unsigned long long)i.left_over);
    }
    return CM3_OK;
}

/** All records as lines; vectors and pictures where they are asked for. */
static cm3_status export(bank_run *run) {
    const bank_arguments *a = run->a;
    cm3_status status = a->pictures ? open_retriever(run, CM3_BANK_READ) : open_bank(run, CM3_BANK_READ);
    cm3_bank_info info = {.struct_size = sizeof info};
    if (status == CM3_OK) status = cm3_bank_get_info(run->bank, &info);
    if (status != CM3_OK) return status;
    const size_t d = (size_t)info.dimension;
    float *vectors = a->vectors ? calloc((size_t)info.records + 1, d * sizeof *vectors) : NULL;
    if (a->vectors && !vectors) return CM3_ERROR_NO_MEMORY;
    if (a->pictures) mkdir(a->pictures, 0777);
    size_t row = 0;
    for (uint64_t id = 0; status == CM3_OK && !cm3_interrupted() && cm3_bank_next(run->bank, &id) == CM3_OK; id++) {
        cm3_bank_record *record;
        status = cm3_bank_get(run->bank, id, &record);
        if (status != CM3_OK) break;
        print_record(record, a->json ? -2 : 1, a->json);
        if (vectors) memcpy(vectors + row * d, record->vector, d * sizeof *vectors);
        cm3_image *image = a->pictures ? picture_of(run, record) : NULL;
        if (image) {
            char path[4096];
            snprintf(path, sizeof path, "%s/%08llu.png", a->pictures, (unsigned long long)id);
            status = cm3_image_save(image, path, NULL);
        }
        cm3_image_destroy(image);
        cm3_bank_record_destroy(run->bank, record);
        row++;
    }
    if (status == CM3_OK && vectors && !cm3_write_npy(a->vectors, vectors, 2, (const size_t[]){row, d})) {
        status = CM3_ERROR_IO;
    }
    free(vectors);
    return status;
}

/* --- keeping in order ----------------------------------------------------------------------------------------------
 */

static cm3_status delete_keys(bank_run *run) {
    cm3_status status = open_bank(run, CM3_BANK_WRITE);
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
    cm3_status status = open_bank(run, CM3_BANK_WRITE);
    if (status == CM3_OK) status = cm3_bank_compact(run->bank, &options);
    cm3_progress_end(&progress);
    return status;
}

static cm3_status merge(bank_run *run) {
    cm3_status status = open_bank(run, CM3_BANK_WRITE);
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
    cm3_status (*run)(bank_run *run);
    int (*run_to_end)(bank_run *run);
} bank_part;

static const bank_part parts[] = {
    {"create", 1, 1, false, create, NULL},
    {"add", 2, SIZE_MAX, true, NULL, add},
    {"import", 2, SIZE_MAX, true, NULL, import},
    {"search", 1, 1, true, search, NULL},
    {"delete", 2, SIZE_MAX, false, delete_keys, NULL},
    {"info", 1, 1, false, print_info, NULL},
    {"verify", 1, 1, false, verify, NULL},
    {"compact", 1, 1, false, compact, NULL},
    {"merge", 2, SIZE_MAX, false, merge, NULL},
    {"export", 1, 1, false, export, NULL},
};

static bool is_complete(const bank_part *part, const bank_arguments *a) {
    const char *wrong = NULL;
    const bool made = !strcmp(part->name, "create");
    if (a->words.count < part->least)
        wrong = a->words.count ? "nothing is named that it should do it with" : "the bank is missing";
    else if (a->words.count > part->most)
        wrong = "there are words too many";
    else if (part->model && !cm3_model_asked_for(a->model))
        wrong = "-m is missing";
    else if (made && !a->dimension && !cm3_model_asked_for(a->model))
        wrong = "-m or --dimension is missing";
    else if (made && a->vectors && strcmp(a->vectors, "f32") && strcmp(a->vectors, "bf16") &&
             strcmp(a->vectors, "int8"))
        wrong = "--vectors must be f32, bf16 or int8";
    else if (!strcmp(part->name, "search") && !a->prompt == !a->image)
        wrong = "-p or --image, one of them, is expected";
    else if (a->output && !cm3_is_picture(a->output))
        wrong = "-o must be a .jpg or .png file";
    else if (a->pictures && !cm3_model_asked_for(a->model))
        wrong = "--pictures wants -m: codes become pictures by a model";
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
        code = status == CM3_OK                ? CM3_EXIT_DONE
               : status == CM3_ERROR_CANCELLED ? cm3_ended_early()
                                               : cm3_failed(run.context, status);
    }
    if (code == CM3_EXIT_DONE && cm3_interrupted()) code = cm3_ended_early();
    cm3_retriever_destroy(run.retriever);
    cm3_bank_destroy(run.bank);
    cm3_model_destroy(run.model);
    cm3_context_destroy(run.context);
    return code;
}

int cm3_command_bank(int argc, char **argv) {
    static bank_arguments a;
    a = (bank_arguments){.k = 10, .threads = -1, .near = 2};
    const cm3_option options[] = {{"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},
                                  {"--vectors", NULL, CM3_OPTION_TEXT, &a.vectors, 0, 0},
                                  {"--dimension", NULL, CM3_OPTION_INT, &a.dimension, 1, 65536},
                                  {"--prompt", "-p", CM3_OPTION_TEXT, &a.prompt, 0, 0},
                                  {"--image", NULL, CM3_OPTION_TEXT, &a.image, 0, 0},
                                  {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
                                  {"--pictures", NULL, CM3_OPTION_TEXT, &a.pictures, 0, 0},
                                  {"-k", NULL, CM3_OPTION_INT, &a.k, 1, 1000},
                                  {"--near", NULL, CM3_OPTION_NUMBER, &a.near, -1, 2},
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
        if (!cm3_options_parse(argc - 1, argv + 1, options, &a.words) || !is_complete(&parts[i], &a)) {
            return CM3_EXIT_USAGE;
        }
        return run_part(&parts[i], &a);
    }
    cm3_say("cm3 bank: '%s' is not known; 'cm3 bank --help' tells what is", argv[0]);
    return CM3_EXIT_USAGE;
}
