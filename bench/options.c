/* The arguments of cm3-bench. */
#include "options.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char help_text[] =
    "Usage: cm3-bench [SECTION]... [OPTION]...\n"
    "\n"
    "Measures libcm3leon on this machine. Medians of several rounds; the spread behind them is the distance from the\n"
    "tenth to the ninetieth percentile, as a part of the median. bench/README.md says what each number means.\n"
    "\n"
    "  limits   read bandwidth, and peaks of matrix products\n"
    "  kernels  each kernel at each level of the CPU, one thread\n"
    "  lm       prefill and decoding of language models (measures the limits first)\n"
    "  vq       the image tokenizer, encoding and decoding\n"
#ifdef CM3_WITH_TRAIN
    "  train    a step of training\n"
    "  loss     of models on records they were not trained on (asked for by name)\n"
#endif
    "  start    from a process, and from a file, to the first picture\n"
    "  loop     a game's loop: frames missed, polls that compute, cancels, previews (asked for by name)\n"
    "  bank     memory banks: appending, opening, exact search (asked for by name: it takes minutes)\n"
    "  hnsw     graphs of memory banks: building, searching (asked for by name: it takes minutes)\n"
    "\n"
    "Without a section, all of them.\n"
    "\n"
    "  --preset NAME,...     lm: toybox, cm3leon-350m, cm3leon-760m, cm3leon-7b, chameleon-7b, chameleon-34b, odd,\n"
    "                        peer-a (537 M), peer-b (1.08 G: timed beside other programs)\n"
    "                        (toybox,cm3leon-350m,cm3leon-760m,odd)\n"
    "  --shape NAME,...      the same as --preset\n"
    "  --depth N,...         lm: positions that a sequence has behind it (0,1024,2048)\n"
    "  --sequences N,...     lm: sequences decoded at once, 1 to 64 (1,2,4,8)\n"
    "  --load WAY,...        lm: map, huge, memory (map,huge,memory)\n"
    "  --compute f32|bf16    lm, train, loss: of matrix products (bf16; with --weights f32 f32)\n"
    "  --weights TYPE        lm: f32, bf16, q8 or q4 (that of --compute)\n"
    "  --kv TYPE             lm, loss: of cached keys and values, f32, bf16 or int8 (that of --compute)\n"
    "  --block N             lm: weights that share a scale with q8 and q4, 32 or 64 (64)\n"
    "  --rows N              lm: tokens of a prefill (1024)\n"
    "  --models FILE,...     loss: the first is what the others are compared with\n"
    "  --data SHARD,...      loss: records with captions and codes, as cm3 train encode makes them\n"
    "  --kernel PART         kernels: only those with PART in their names\n"
    "  --vectors N           bank, hnsw: of a bank, 1000 to 100000000 (1000000; with --quick 20000)\n"
    "  --dimension D         bank, hnsw: of a vector, 1 to 65536 (512)\n"
    "  --npy DIR             bank: writes vectors.npy and queries.npy there, for bench/peers/faiss.py, and no more\n"
    "  --m N                 hnsw: neighbours, 2 to 64 (as cm3_bank_index)\n"
    "  --ef-construction N   hnsw: 4 to 4096 (as cm3_bank_index)\n"
    "  --threads N           1 to 64 (one a core)\n"
    "  --rounds N            measured rounds, 1 to 99 (5; with --quick 3)\n"
    "  --seconds S           the least that a round takes, 0.001 to 60 (0.3; with --quick 0.02)\n"
    "  --quick               short rounds, and less of everything: a look, not a measurement\n"
    "  --dir DIR             where models are made, and kept for the next run (cm3-bench-models in $TMPDIR or /tmp)\n"
    "  --clean               removes these models at the end\n"
    "  --cm3 FILE            start: the command (the cm3 beside cm3-bench)\n"
    "  --model FILE          start, loop: the model (models/toybox.cm3 of the source)\n"
    "  --json                a JSON object a line instead of a table\n"
    "  -h, --help            this\n";

static const char *const sections[] = {"limits", "kernels", "lm",   "vq",
#ifdef CM3_WITH_TRAIN
                                       "train",  "loss",
#endif
                                       "start",  "loop",    "bank", "hnsw"};

#define SECTIONS ((int)(sizeof sections / sizeof *sections))

bool bench_options_has(const bench_options *options, const char *section) {
    for (int i = 0; i < options->section_count; i++) {
        if (!strcmp(options->sections[i], section)) return true;
    }
    return options->section_count == 0;
}

const char *bench_load_name(bench_load load) {
    return load == BENCH_MAP ? "map" : load == BENCH_HUGE ? "huge" : "memory";
}

const char *bench_compute_name(cm3_compute compute) {
    return compute == CM3_COMPUTE_BF16 ? "bf16" : "f32";
}

/* --- values: false where one is not what its option wants ------------------------------------------------------- */

static bool read_integer(const char *text, int64_t least, int64_t most, int64_t *value) {
    char *end;
    errno = 0;
    long long number = strtoll(text, &end, 10);
    if (end == text || *end || errno || number < least || number > most) return false;
    *value = number;
    return true;
}

static bool read_int(const char *text, int least, int most, int *value) {
    int64_t number;
    if (!read_integer(text, least, most, &number)) return false;
    *value = (int)number;
    return true;
}

static bool read_seconds(const char *text, double *value) {
    char *end;
    double number = strtod(text, &end);
    if (end == text || *end || !(number >= 0.001 && number <= 60)) return false;
    *value = number;
    return true;
}

/** Takes a list apart, in place; calls `take` with each part and its number. */
static bool read_list(char *text, bool (*take)(bench_options *options, int at, const char *word),
                      bench_options *options, int *count) {
    *count = 0;
    for (char *part = text; part;) {
        char *comma = strchr(part, ',');
        if (comma) *comma = 0;
        if (*count == BENCH_LIST || !*part || !take(options, *count, part)) return false;
        ++*count;
        part = comma ? comma + 1 : NULL;
    }
    return true;
}

static bool take_preset(bench_options *options, int at, const char *word) {
    options->presets[at] = word;
    return true;
}

static bool take_depth(bench_options *options, int at, const char *word) {
    return read_integer(word, 0, 1 << 24, &options->depths[at]);
}

static bool take_sequences(bench_options *options, int at, const char *word) {
    return read_integer(word, 1, 64, &options->sequences[at]);
}

static bool take_load(bench_options *options, int at, const char *word) {
    for (int way = BENCH_MAP; way <= BENCH_MEMORY; way++) {
        options->loads[at] = (bench_load)way;
        if (!strcmp(word, bench_load_name((bench_load)way))) return true;
    }
    return false;
}

static bool take_model(bench_options *options, int at, const char *word) {
    options->models[at] = word;
    return true;
}

static bool take_data(bench_options *options, int at, const char *word) {
    options->data[at] = word;
    return true;
}

static const cm3_dtype weight_types[] = {CM3_F32, CM3_BF16, CM3_I8, CM3_U4}, kv_types[] = {CM3_F32, CM3_BF16, CM3_I8};

const char *bench_weights_name(cm3_dtype weights) {
    return weights == CM3_F32 ? "f32" : weights == CM3_BF16 ? "bf16" : weights == CM3_I8 ? "q8" : "q4";
}

const char *bench_kv_name(cm3_dtype kv) {
    return kv == CM3_F32 ? "f32" : kv == CM3_BF16 ? "bf16" : "int8";
}

static bool read_weights(const char *text, cm3_dtype *weights) {
    for (int i = 0; i < 4; i++) {
        *weights = weight_types[i];
        if (!strcmp(text, bench_weights_name(*weights))) return true;
    }
    return false;
}

static bool read_kv(const char *text, cm3_dtype *kv) {
    for (int i = 0; i < 3; i++) {
        *kv = kv_types[i];
        if (!strcmp(text, bench_kv_name(*kv))) return true;
    }
    return false;
}

static bool read_compute(const char *text, cm3_compute *compute) {
    *compute = !strcmp(text, "bf16") ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    return !strcmp(text, bench_compute_name(*compute));
}

/* --- options ------------------------------------------------------------------------------------------------------ */

static bool is_flag(bench_options *o, const char *name) {
    bool *flag = !strcmp(name, "--json")    ? &o->json
                 : !strcmp(name, "--quick") ? &o->quick
                 : !strcmp(name, "--clean") ? &o->clean
                                            : NULL;
    if (flag) *flag = true;
    return flag;
}

static bool takes_value(const char *name) {
    static const char *const names[] = {"--preset",    "--depth",   "--sequences", "--load",           "--compute",
                                        "--kernel",    "--threads", "--rounds",    "--seconds",        "--dir",
                                        "--cm3",       "--model",   "--shape",     "--weights",        "--kv",
                                        "--block",     "--models",  "--data",      "--rows",           "--vectors",
                                        "--dimension", "--npy",     "--m",         "--ef-construction"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!strcmp(name, names[i])) return true;
    }
    return false;
}

static bool set_value(bench_options *o, const char *name, char *value) {
    if (!strcmp(name, "--preset")) return read_list(value, take_preset, o, &o->preset_count);
    if (!strcmp(name, "--shape")) return read_list(value, take_preset, o, &o->preset_count);
    if (!strcmp(name, "--weights")) return read_weights(value, &o->weights);
    if (!strcmp(name, "--kv")) return read_kv(value, &o->kv);
    if (!strcmp(name, "--block")) return read_integer(value, 32, 64, &o->block) && o->block % 32 == 0;
    if (!strcmp(name, "--rows")) return read_integer(value, 1, 1 << 20, &o->rows);
    if (!strcmp(name, "--models")) return read_list(value, take_model, o, &o->model_count);
    if (!strcmp(name, "--data")) return read_list(value, take_data, o, &o->data_count);
    if (!strcmp(name, "--vectors")) return read_integer(value, 1000, 100000000, &o->vectors);
    if (!strcmp(name, "--dimension")) return read_integer(value, 1, 65536, &o->dimension);
    if (!strcmp(name, "--m")) return read_int(value, 2, 64, &o->m);
    if (!strcmp(name, "--ef-construction")) return read_int(value, 4, 4096, &o->ef_construction);
    if (!strcmp(name, "--depth")) return read_list(value, take_depth, o, &o->depth_count);
    if (!strcmp(name, "--sequences")) return read_list(value, take_sequences, o, &o->sequence_count);
    if (!strcmp(name, "--load")) return read_list(value, take_load, o, &o->load_count);
    if (!strcmp(name, "--compute")) return read_compute(value, &o->compute);
    if (!strcmp(name, "--threads")) return read_int(value, 1, 64, &o->threads);
    if (!strcmp(name, "--rounds")) return read_int(value, 1, BENCH_ROUNDS, &o->rounds);
    if (!strcmp(name, "--seconds")) return read_seconds(value, &o->seconds);
    const char **text = !strcmp(name, "--dir")     ? &o->dir
                        : !strcmp(name, "--cm3")   ? &o->cm3
                        : !strcmp(name, "--model") ? &o->model
                        : !strcmp(name, "--npy")   ? &o->npy
                                                   : &o->kernel;
    *text = value;
    return *value != 0;
}

/** One argument, or two. False: said why not. */
static bool read_argument(int argc, char **argv, int *at, bench_options *o) {
    char *name = argv[*at];
    if (name[0] != '-') {
        for (int i = 0; i < SECTIONS; i++) {
            if (strcmp(name, sections[i]) != 0) continue;
            if (o->section_count < BENCH_LIST) o->sections[o->section_count++] = sections[i];
            return true;
        }
        fprintf(stderr, "cm3-bench: there is no section '%s'; --help lists them\n", name);
        return false;
    }
    if (is_flag(o, name)) return true;
    if (!takes_value(name)) {
        fprintf(stderr, "cm3-bench: there is no option '%s'; --help lists them\n", name);
        return false;
    }
    if (*at + 1 == argc) {
        fprintf(stderr, "cm3-bench: %s wants a value\n", name);
        return false;
    }
    char *value = argv[++*at], copy[128];
    snprintf(copy, sizeof copy, "%s", value); /* lists are taken apart */
    if (set_value(o, name, value)) return true;
    fprintf(stderr, "cm3-bench: %s cannot be '%s'; --help tells what it can be\n", name, copy);
    return false;
}

static void set_lists(bench_options *o) {
    static const char *const presets[] = {"toybox", "cm3leon-350m", "cm3leon-760m", "odd"};
    if (!o->preset_count) {
        for (; o->preset_count < 4; o->preset_count++) o->presets[o->preset_count] = presets[o->preset_count];
    }
    if (!o->depth_count) {
        for (; o->depth_count < 3; o->depth_count++) o->depths[o->depth_count] = 1024 * o->depth_count;
    }
    if (!o->sequence_count) {
        for (; o->sequence_count < 4; o->sequence_count++) o->sequences[o->sequence_count] = 1 << o->sequence_count;
    }
    if (!o->load_count) {
        for (; o->load_count < 3; o->load_count++) o->loads[o->load_count] = (bench_load)o->load_count;
    }
}

bool bench_options_read(int argc, char **argv, bench_options *options, int *code) {
    *options = (bench_options){.threads = -1, .block = 64, .rows = 1024};
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
            fputs(help_text, stdout);
            *code = fflush(stdout) ? 1 : 0;
            return false;
        }
        if (!read_argument(argc, argv, &i, options)) {
            *code = 2;
            return false;
        }
    }
    if (!options->rounds) options->rounds = options->quick ? 3 : 5;
    if (options->seconds <= 0) options->seconds = options->quick ? 0.02 : 0.3;
    if (options->compute == CM3_COMPUTE_AUTO) {
        options->compute = options->weights == CM3_F32 ? CM3_COMPUTE_F32 : CM3_COMPUTE_BF16;
    }
    cm3_dtype own = options->compute == CM3_COMPUTE_F32 ? CM3_F32 : CM3_BF16;
    if (!options->weights) options->weights = own;
    if (!options->kv) options->kv = own;
    set_lists(options);
    return true;
}
