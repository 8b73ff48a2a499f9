/* toybox-render: writes pictures of the toybox world, with captions, into tar shards in WebDataset form. */
#include "record.h"

#include <cm3leon/context.h>
#include <cm3leon/image.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct options {
    const char *directory;
    toy_plan plan;
    int64_t count;
    int64_t per_shard;
    int side;
    int png_level;
    int threads;
} options;

/* What the threads share. */
typedef struct work {
    const options *o;
    int64_t shards;
    atomic_llong next_shard;
    atomic_llong done; /* records written */
    atomic_bool failed;
} work;

/* What one thread works with. */
typedef struct worker {
    work *work;
    cm3_context *context;
    toy_record record;
    pthread_t thread;
} worker;

static void report(work *w, const char *what, const char *path, const char *why) {
    fprintf(stderr, "toybox-render: %s%s%s: %s\n", what, *path ? " " : "", path, why);
    atomic_store(&w->failed, true);
}

/* libarchive's own words, and the system's. */
static void report_tar(work *w, const char *what, const char *path, struct archive *tar) {
    char why[256];
    const char *words = archive_error_string(tar);
    int number = archive_errno(tar);
    snprintf(why, sizeof why, "%s (%s)", words ? words : "failed", number > 0 ? strerror(number) : "no reason given");
    report(w, what, path, why);
}

/* --- one shard --- */

static bool add_member(struct archive *tar, const char *name, const void *data, size_t size) {
    struct archive_entry *entry = archive_entry_new();
    if (!entry) return false;
    archive_entry_set_pathname(entry, name);
    archive_entry_set_size(entry, (la_int64_t)size);
    archive_entry_set_filetype(entry, AE_IFREG);
    archive_entry_set_perm(entry, 0644);
    /* No time and no owner: the same arguments give the same bytes. */
    archive_entry_set_mtime(entry, 0, 0);
    bool ok = archive_write_header(tar, entry) == ARCHIVE_OK && archive_write_data(tar, data, size) == (la_ssize_t)size;
    archive_entry_free(entry);
    return ok;
}

static bool encode(worker *k, const toy_picture *picture, uint8_t **data, size_t *size) {
    cm3_image_save_options save;
    cm3_image_save_options_init(&save);
    save.struct_size = sizeof save;
    save.png_level = k->work->o->png_level;
    cm3_image *image;
    cm3_status status = cm3_image_from_pixels(k->context, picture->pixels, picture->side, picture->side, 0, &image);
    if (status == CM3_OK) status = cm3_image_encode(image, CM3_IMAGE_PNG, &save, data, size);
    cm3_image_destroy(image);
    if (status != CM3_OK) report(k->work, "encoding a picture", "", cm3_context_message(k->context));
    return status == CM3_OK;
}

/** The record's own key, or its number. */
static void key_of(const worker *k, int64_t number, char key[24]) {
    if (*k->record.key)
        snprintf(key, 24, "%s", k->record.key);
    else
        snprintf(key, 24, "%08lld", (long long)number);
}

/** KEY.png, or KEY.NAME.png. */
static bool add_picture(worker *k, struct archive *tar, int64_t number, const toy_picture *picture, const char *name) {
    uint8_t *png = NULL;
    size_t png_size = 0;
    char member[64];
    if (!encode(k, picture, &png, &png_size)) return false;
    char key[24];
    key_of(k, number, key);
    snprintf(member, sizeof member, "%s%s%s.png", key, name ? "." : "", name ? name : "");
    bool ok = add_member(tar, member, png, png_size);
    if (!ok) report_tar(k->work, "writing", member, tar);
    cm3_buffer_free(k->context, png, png_size);
    return ok;
}

static bool add_record(worker *k, struct archive *tar, int64_t number) {
    toy_record *record = &k->record;
    if (!toy_make_record(&k->work->o->plan, number, record)) {
        report(k->work, "making a record", "", "out of memory");
        return false;
    }
    char key[24], name[48];
    key_of(k, number, key);
    snprintf(name, sizeof name, "%s.json", key);
    bool ok = add_picture(k, tar, number, &record->picture, NULL);
    if (ok && record->second_name) ok = add_picture(k, tar, number, &record->second, record->second_name);
    if (ok && !add_member(tar, name, record->json, strlen(record->json))) {
        report_tar(k->work, "writing", name, tar);
        ok = false;
    }
    free(record->json);
    return ok;
}

static bool fill_shard(worker *k, const char *path, int64_t first, int64_t last) {
    struct archive *tar = archive_write_new();
    if (!tar) {
        report(k->work, "opening", path, "out of memory");
        return false;
    }
    bool ok = archive_write_set_format_ustar(tar) == ARCHIVE_OK && archive_write_open_filename(tar, path) == ARCHIVE_OK;
    if (!ok) report_tar(k->work, "opening", path, tar);
    for (int64_t i = first; ok && i < last && !atomic_load(&k->work->failed); i++) {
        ok = add_record(k, tar, i);
        if (ok) atomic_fetch_add(&k->work->done, 1);
    }
    if (archive_write_close(tar) != ARCHIVE_OK && ok) {
        report_tar(k->work, "closing", path, tar);
        ok = false;
    }
    archive_write_free(tar);
    return ok;
}

/* A shard gets its name when it is whole. */
static void write_shard(worker *k, int64_t shard) {
    const options *o = k->work->o;
    size_t size = strlen(o->directory) + 48;
    char *path = malloc(size), *part = malloc(size);
    if (!path || !part) {
        report(k->work, "writing a shard", "", "out of memory");
    } else {
        snprintf(path, size, "%s/shard-%05lld.tar", o->directory, (long long)shard);
        snprintf(part, size, "%s/shard-%05lld.tar.part", o->directory, (long long)shard);
        int64_t first = shard * o->per_shard;
        int64_t last = first + o->per_shard < o->count ? first + o->per_shard : o->count;
        bool whole = fill_shard(k, part, first, last) && !atomic_load(&k->work->failed);
        if (!whole)
            unlink(part);
        else if (rename(part, path) != 0)
            report(k->work, "naming", path, strerror(errno));
    }
    free(path);
    free(part);
}

static void *run_worker(void *argument) {
    worker *k = argument;
    while (!atomic_load(&k->work->failed)) {
        int64_t shard = atomic_fetch_add(&k->work->next_shard, 1);
        if (shard >= k->work->shards) break;
        write_shard(k, shard);
    }
    return NULL;
}

/* --- all shards --- */

static void show_progress(const work *w, bool terminal, bool last) {
    long long done = atomic_load(&w->done), count = w->o->count;
    if (!terminal) {
        fprintf(stderr, "%lld of %lld records\n", done, count);
        return;
    }
    enum { WIDTH = 40 };
    static const char full[] = "########################################";
    int filled = (int)(done * WIDTH / count);
    fprintf(stderr, "\r[%.*s%*s] %lld of %lld records%s", filled, full, WIDTH - filled, "", done, count,
            last ? "\n" : "");
}

/* Reports while the threads work: several times a second on a terminal, every few seconds elsewhere. */
static void watch(const work *w) {
    bool terminal = isatty(STDERR_FILENO);
    int ticks = 0;
    while (atomic_load(&w->done) < w->o->count && !atomic_load(&w->failed)) {
        usleep(50000);
        if (++ticks % (terminal ? 4 : 200) == 0) show_progress(w, terminal, false);
    }
    show_progress(w, terminal, true);
}

static void stop_worker(worker *k) {
    free(k->record.picture.pixels);
    free(k->record.second.pixels);
    cm3_context_destroy(k->context);
}

static bool start_worker(worker *k, work *w) {
    cm3_context_options context_options;
    cm3_context_options_init(&context_options);
    context_options.struct_size = sizeof context_options;
    context_options.threads = 0;
    size_t side = (size_t)w->o->side;
    *k = (worker){.work = w,
                  .record = {.picture = {.side = w->o->side, .pixels = malloc(side * side * 3)},
                             .second = {.side = w->o->side, .pixels = malloc(side * side * 3)}}};
    if (!k->record.picture.pixels || !k->record.second.pixels ||
        cm3_context_create(&context_options, &k->context) != CM3_OK) {
        report(w, "starting", "", "out of memory");
    } else if (pthread_create(&k->thread, NULL, run_worker, k) != 0) {
        report(w, "starting", "", "no thread could be made");
    } else {
        return true;
    }
    stop_worker(k);
    return false;
}

static bool render(const options *o) {
    enum { MAX_THREADS = 64 };
    work w = {.o = o, .shards = (o->count - 1) / o->per_shard + 1};
    worker workers[MAX_THREADS];
    int threads = o->threads < MAX_THREADS ? o->threads : MAX_THREADS;
    if (threads > w.shards) threads = (int)w.shards;
    int started = 0;
    while (started < threads && start_worker(&workers[started], &w)) started++;
    if (started > 0) watch(&w);
    for (int i = 0; i < started; i++) {
        pthread_join(workers[i].thread, NULL);
        stop_worker(&workers[i]);
    }
    return !atomic_load(&w.failed);
}

/* --- the command line --- */

static const char usage[] =
    "Usage: toybox-render DIRECTORY --kind KIND [options]\n"
    "\n"
    "Writes pictures of the toybox world into DIRECTORY/shard-00000.tar and so on: KEY.png and KEY.json for each "
    "record,\n"
    "and KEY.source.png, KEY.segmentation.png or KEY.outline.png where a task has two pictures.\n"
    "The same arguments give the same bytes.\n"
    "\n"
    "  --kind KIND      placed, related, counted: scenes with captions of that kind\n"
    "                   mixed: 60 % placed, 20 % related, 20 % counted\n"
    "                   vq: for the image tokenizer: 72 % scenes, 8 % segmentations, 8 % outlines, 12 % emblems\n"
    "                   lookup: emblems of names on no list, with what asks for them\n"
    "                   emblem: each name once, with its picture in the world of --seed\n"
    "                   tasks: 45 % edits, 35 % scenes with segmentation or outline, 20 % things in boxes; captions,\n"
    "                   questions and gaps in captions of all scenes\n"
    "  --count N        how many records (default 1000; for emblem, every name of the split)\n"
    "  --objects N      placed: each scene has so many, 1 to 4 (default: as many as are drawn)\n"
    "  --split SPLIT    train (default), heldout, compositional (scenes with a triple that training never sees), any\n"
    "  --seed S         what is drawn (default 1)\n"
    "  --side PIXELS    96 to 4096 (default 96)\n"
    "  --captions K     texts of a record, the canonical caption first (1 to 64, default 4; an emblem has at most 2)\n"
    "  --families       names behind each other are alike: for lookup nine that share syllables, or all letters but\n"
    "                   one; for emblem those that end alike\n"
    "  --reworded       emblems: the same once more, their first text in another wording half of the time\n"
    "  --per-shard N    records in a shard (default 5000)\n"
    "  --png-level L    zlib's level, 0 to 9 (default 6)\n"
    "  --threads N      1 to 64 (default: one per core)\n"
    "  --help           this text\n";

static int wrong(const char *what) {
    fprintf(stderr, "toybox-render: %s; see --help\n", what);
    return 2;
}

static int wrong_value(const char *option, const char *value) {
    fprintf(stderr, "toybox-render: --%s: %s is not among its values; see --help\n", option, value);
    return 2;
}

static bool parse_number(const char *text, int64_t low, int64_t high, int64_t *out) {
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *out = value;
    return errno == 0 && end != text && *end == '\0' && value >= low && value <= high;
}

static bool parse_seed(const char *text, uint64_t *out) {
    char *end;
    errno = 0;
    *out = strtoull(text, &end, 10);
    return errno == 0 && end != text && *end == '\0' && text[0] != '-';
}

enum {
    KIND = 256,
    COUNT,
    OBJECTS,
    SPLIT,
    SEED,
    SIDE,
    CAPTIONS,
    REWORDED,
    FAMILIES,
    PER_SHARD,
    PNG_LEVEL,
    THREADS,
    HELP
};
static const struct option long_options[] = {{"kind", required_argument, NULL, KIND},
                                             {"count", required_argument, NULL, COUNT},
                                             {"objects", required_argument, NULL, OBJECTS},
                                             {"split", required_argument, NULL, SPLIT},
                                             {"seed", required_argument, NULL, SEED},
                                             {"side", required_argument, NULL, SIDE},
                                             {"captions", required_argument, NULL, CAPTIONS},
                                             {"reworded", no_argument, NULL, REWORDED},
                                             {"families", no_argument, NULL, FAMILIES},
                                             {"per-shard", required_argument, NULL, PER_SHARD},
                                             {"png-level", required_argument, NULL, PNG_LEVEL},
                                             {"threads", required_argument, NULL, THREADS},
                                             {"help", no_argument, NULL, HELP},
                                             {NULL, 0, NULL, 0}};

static bool parse_name(const char *text, const char *const *names, int count, int *out) {
    *out = toy_find(names, count, text);
    return *out >= 0;
}

/* Takes one option; false if its value is wrong. */
static bool take_option(int option, const char *value, options *o, bool *kind_given) {
    static const char *const splits[] = {"any", "train", "heldout", "compositional"};
    int64_t number = 0;
    int name = 0;
    bool ok = false;
    switch (option) {
    case KIND:
        *kind_given = ok = parse_name(value, toy_set_names, TOY_SETS, &name);
        o->plan.set = (toy_set)name;
        return ok;
    case SPLIT:
        ok = parse_name(value, splits, 4, &name);
        o->plan.split = (toy_split)name;
        return ok;
    case SEED:
        return parse_seed(value, &o->plan.seed);
    case COUNT:
        return parse_number(value, 1, 99999999, &o->count);
    case OBJECTS:
        ok = parse_number(value, 1, TOY_MAX_OBJECTS, &number);
        o->plan.objects = (int)number;
        return ok;
    case PER_SHARD:
        return parse_number(value, 1, 99999999, &o->per_shard);
    case SIDE:
        ok = parse_number(value, 96, 4096, &number);
        o->side = (int)number;
        return ok;
    case CAPTIONS:
        ok = parse_number(value, 1, 64, &number);
        o->plan.captions = (int)number;
        return ok;
    case REWORDED:
        o->plan.reworded = true;
        return true;
    case FAMILIES:
        o->plan.families = true;
        return true;
    case PNG_LEVEL:
        ok = parse_number(value, 0, 9, &number);
        o->png_level = (int)number;
        return ok;
    case THREADS:
        ok = parse_number(value, 1, 64, &number);
        o->threads = (int)number;
        return ok;
    default:
        return false;
    }
}

/* 0: go on; else exit with it, less one. */
static int parse(int argc, char **argv, options *o) {
    bool kind_given = false;
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (option == HELP) {
            fputs(usage, stdout);
            return 1;
        }
        if (option == '?') return 1 + 2;
        if (!take_option(option, optarg, o, &kind_given)) return 1 + wrong_value(long_options[index].name, optarg);
    }
    if (optind + 1 != argc) return 1 + wrong("exactly one directory is needed");
    if (!kind_given) return 1 + wrong("--kind is needed");
    o->directory = argv[optind];
    return 0;
}

/* Where the set is bounded or cannot be, counts and splits are checked together. */
static int check(options *o) {
    toy_set set = o->plan.set;
    if (o->plan.split == TOY_COMPOSITIONAL && set != TOY_SET_PLACED && set != TOY_SET_COUNTED)
        return wrong("the split compositional is for placed and counted scenes, whose captions name sizes");
    if (o->plan.objects && set != TOY_SET_PLACED) return wrong("--objects is for placed scenes");
    if (o->plan.reworded && set != TOY_SET_EMBLEM && set != TOY_SET_LOOKUP)
        return wrong("--reworded is for emblem and lookup");
    if (o->plan.families && set != TOY_SET_EMBLEM && set != TOY_SET_LOOKUP)
        return wrong("--families is for emblem and lookup");
    int64_t limit = toy_plan_limit(&o->plan);
    if (o->count == 0) o->count = set == TOY_SET_EMBLEM ? limit : 1000;
    if (o->count > limit) {
        fprintf(stderr, "toybox-render: --count: the split holds %lld names, asked for %lld\n", (long long)limit,
                (long long)o->count);
        return 2;
    }
    return 0;
}

int main(int argc, char **argv) {
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    options o = {.plan = {.seed = 1, .split = TOY_TRAIN, .captions = 4},
                 .per_shard = 5000,
                 .side = 96,
                 .png_level = 6,
                 .threads = cores < 1    ? 1
                            : cores > 64 ? 64
                                         : (int)cores};
    int code = parse(argc, argv, &o);
    if (code != 0) return code - 1;
    code = check(&o);
    if (code != 0) return code;
    if (mkdir(o.directory, 0777) != 0 && errno != EEXIST) {
        fprintf(stderr, "toybox-render: making %s: %s\n", o.directory, strerror(errno));
        return 1;
    }
    return render(&o) ? 0 : 1;
}
