/* cm3 train: text tokenizer, image tokenizer, language model; and pictures to codes. */
#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 train bpe    --data SHARD... -o tokenizer.json [--vocab-size N] [--image-codes N] [--sentinels N]\n"
    "       cm3 train vq     --data SHARD... --run DIR -o vq.cm3 --config JSON|FILE [OPTION]...\n"
    "       cm3 train encode --data SHARD... --vq vq.cm3 --out-dir DIR\n"
    "       cm3 train lm     --data SHARD... --run DIR -o model.cm3 --tokenizer FILE [--vq vq.cm3] [OPTION]...\n"
    "       cm3 train sft    --data SHARD... --run DIR -o tuned.cm3 --init model.cm3 [--mixture JSON|FILE] "
    "[OPTION]...\n"
    "       cm3 train encoder --data SHARD... --run DIR -o encoder.cm3 --config JSON|FILE --tokenizer FILE "
    "[OPTION]...\n"
    "\n"
    "A SHARD is a .tar in WebDataset form (KEY.png or .jpg with KEY.json or .txt) or a .jsonl; patterns in quotes are "
    "expanded.\n"
    "A run goes on from DIR/checkpoint.safetensors where there is one, after any kind of end, and logs to "
    "DIR/log.jsonl.\n"
    "\n"
    "  bpe     learns a byte-level BPE from the captions. Options: --vocab-size (1024), --image-codes (0), --sentinels "
    "(16),\n"
    "          --min-frequency (2)\n"
    "  vq      learns an image tokenizer (VQGAN)\n"
    "  encode  writes shards that hold codes instead of pictures, which 'lm' reads\n"
    "  lm      learns a language model over text and image tokens\n"
    "  sft     goes on with one, on the tasks of the records' \"examples\"\n"
    "  encoder learns to find pictures by texts, and records by what is asked for them (\"query\" beside \"text\")\n"
    "\n"
    "Options of vq, lm, sft and encoder:\n"
    "  --run DIR            the run's state and log          --fresh              do not go on from a checkpoint\n"
    "  -o, --output FILE    the .cm3 file made at the end    --weights f32|bf16   of that file (bf16)\n"
    "  --config JSON|FILE   the model's configuration        --validation SHARD...\n"
    "  --steps N            of the whole run (1000)          --stop-at N          end this call there, with a "
    "checkpoint\n"
    "  --batch-size N       pictures, or blocks (16)         --accumulation N     batches a step (1)\n"
    "  --lr X               peak (0.001)                     --warmup N           steps (100)\n"
    "  --min-lr-ratio X     at the end (0.05)                --schedule NAME      cosine, linear, constant\n"
    "  --beta1 X --beta2 X  (0.9, 0.95)                      --weight-decay X     (0.1)\n"
    "  --clip X             global norm (1)                  --weight-average X   decay, 0 is off (0)\n"
    "  --seed N             (1)                              --compute f32|bf16   (bf16 where the CPU has it)\n"
    "  --save-every N       steps (500)                      --validate-every N   steps (500)\n"
    "  --log-every N        steps (10)                       --threads N\n"
    "  --memory-limit MB    of the records, 0 is none (0)    --quiet              no progress\n"
    "Options of vq:\n"
    "  --l1 X --l2 X        weights of reconstruction (1, 1) --commitment X       (0.25)\n"
    "  --codebook NAME      ema, learned                     --codebook-decay X   (0.99)\n"
    "  --revival X          uses a batch below which (0.05)  --quantise-from N    step (200)\n"
    "  --adversarial X      discriminator's weight (0)       --adversarial-from N step (0)\n"
    "Options of lm and sft:\n"
    "  --tokenizer FILE     tokenizer.json                   --vq FILE            image tokenizer; goes into the "
    "model\n"
    "  --init FILE          a .cm3 file to begin with        --block-size N       tokens (1024)\n"
    "  --caption-dropout X  (0.1)                            --attend NAME        document, block\n"
    "  --text-weight X      of learning a token of text, an image code's being 1 (1)\n"
    "  --masking NAME       spans that move to the end: code, paper, none (code)\n"
    "Options of sft:\n"
    "  --mixture JSON|FILE  {TASK: weight} (all tasks alike) --tasks FILE         templates (the library's own)\n"
    "  --answers-only       learn answers alone (all of a document)\n"
    "Options of encoder:\n"
    "  --tokenizer FILE     tokenizer.json, or a .cm3 file   --chunk N            pairs computed at once (32)\n"
    "  --initial-scale X    of inner products (14.29)        --query-weight X     of queries, pictures' being 1 (1)\n"
    "\n"
    "--config of lm: {\"preset\": NAME} (toybox, cm3leon-350m ...) or hidden_size, layers, heads, kv_heads, ffn_size,\n"
    "max_positions and what else docs/architecture.md names; of vq: resolution, base_channels, channel_multiplier "
    "...;\n"
    "of encoder: text_config, vision_config and projection_dim as CLIP's config.json has them.\n"
    "\n"
    "The way from pictures with captions to a model that draws (examples/toybox/train.sh does it in full):\n"
    "\n"
    "  cm3 train bpe    --data 'pairs/*.tar' -o tokenizer.json --vocab-size 512 --image-codes 1024\n"
    "  cm3 train vq     --data 'pairs/*.tar' --run vq-run --config examples/toybox/vq.json --steps 7500 -o vq.cm3\n"
    "  cm3 train encode --data 'pairs/*.tar' --vq vq.cm3 --out-dir codes\n"
    "  cm3 train lm     --data 'codes/*.tar' --run lm-run --tokenizer tokenizer.json --vq vq.cm3 --steps 13000 \\\n"
    "                   --config examples/toybox/lm.json --batch-size 2 --block-size 2048 -o model.cm3\n";

typedef struct cm3_train_arguments {
    cm3_list data, validation, words;
    const char *run, *output, *weights, *config, *schedule, *compute, *codebook, *tokenizer, *vq, *init, *attend,
        *masking, *out_dir, *mixture, *tasks;
    bool answers_only;
    int64_t steps, stop_at, batch_size, accumulation, warmup, seed, save_every, validate_every, log_every, threads;
    int64_t memory_limit; /**< MB; 0: none */
    int64_t quantise_from, adversarial_from, block_size, vocab_size, image_codes, sentinels, min_frequency;
    double lr, min_lr_ratio, beta1, beta2, weight_decay, clip, weight_average;
    double l1, l2, commitment, codebook_decay, revival, adversarial, caption_dropout, text_weight;
    int64_t chunk;
    double initial_scale, query_weight;
    bool fresh, quiet;
} cm3_train_arguments;

/* --- words to values ------------------------------------------------------------------------------------------------
 */

static bool choose(const char *option, const char *word, const char *const *names, int *value) {
    for (int i = 0; names[i]; i++) {
        if (!strcmp(word, names[i])) {
            *value = i + 1;
            return true;
        }
    }
    cm3_say("%s: '%s' is not known", option, word);
    return false;
}

/** Patterns to paths, sorted. */
static bool expand(const cm3_list *patterns, glob_t *paths) {
    for (size_t i = 0; i < patterns->count; i++) {
        if (glob(patterns->items[i], i ? GLOB_APPEND : 0, NULL, paths)) {
            cm3_say("%s: no such file", patterns->items[i]);
            return false;
        }
    }
    return true;
}

/** JSON as it is given, or a file's text. Freed by free(). */
static char *read_config(const char *text) {
    if (!text || *text == '{') return text ? strdup(text) : NULL;
    json_error_t error;
    json_t *json = json_load_file(text, 0, &error);
    if (!json) cm3_say("%s:%d:%d: %s", text, error.line, error.column, error.text);
    char *config = json ? json_dumps(json, JSON_COMPACT) : NULL;
    json_decref(json);
    return config;
}

/** Whether a file can be made there: found out before the training, not after. */
static bool can_be_written(const char *path) {
    const char *slash = path ? strrchr(path, '/') : NULL;
    char *folder = !slash ? strdup(".") : slash == path ? strdup("/") : strndup(path, (size_t)(slash - path));
    bool good = folder && access(folder, W_OK | X_OK) == 0;
    if (!good) cm3_say("%s: no file can be made there: %s", path, strerror(errno));
    free(folder);
    return good;
}

/* --- the log --------------------------------------------------------------------------------------------------------
 */

/** The log without lines of steps after `step`: those were lost with the run's end and come again. */
static FILE *open_log(const char *run, int64_t step) {
    char path[4096], fresh[4128], line[4096];
    snprintf(path, sizeof path, "%s/log.jsonl", run);
    snprintf(fresh, sizeof fresh, "%s.new", path);
    FILE *old = fopen(path, "r"), *log = fopen(fresh, "w");
    while (old && log && fgets(line, sizeof line, old)) {
        json_t *json = json_loads(line, 0, NULL);
        if (json && json_integer_value(json_object_get(json, "step")) <= step) fputs(line, log);
        json_decref(json);
    }
    if (old) fclose(old);
    if (!log || fflush(log) || rename(fresh, path)) {
        cm3_say("%s: the log cannot be written", path);
        if (log) fclose(log);
        return NULL;
    }
    return log;
}

static void add_number(json_t *json, const char *name, double value) {
    if (value != 0) json_object_set_new(json, name, json_real(value));
}

static bool write_log(FILE *log, const char *name, const cm3_train_report *r) {
    json_t *json = json_pack("{s:I,s:f}", "step", (json_int_t)r->step, name, r->loss);
    add_number(json, "l1", r->l1);
    add_number(json, "l2", r->l2);
    add_number(json, "commitment", r->commitment);
    add_number(json, "adversarial", r->adversarial);
    add_number(json, "discriminator", r->discriminator);
    add_number(json, "code_usage", r->code_usage);
    add_number(json, "text_loss", r->text_loss);
    add_number(json, "image_loss", r->image_loss);
    add_number(json, "recall", r->recall);
    add_number(json, "query_recall", r->query_recall);
    add_number(json, "scale", r->scale);
    add_number(json, "lr", r->lr);
    add_number(json, "grad_norm", r->grad_norm);
    add_number(json, "samples", (double)r->samples);
    add_number(json, "tokens", (double)r->tokens);
    add_number(json, "rate", r->rate);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    bool good = text && fprintf(log, "%s\n", text) > 0 && fflush(log) == 0;
    if (!good) cm3_say("the log could not be written: %s", strerror(errno));
    free(text);
    json_decref(json);
    return good;
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static int save(cm3_context *context, const cm3_trainer *trainer) {
    cm3_status status = cm3_trainer_checkpoint(trainer);
    return status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
}

static int loop(cm3_context *context, cm3_trainer *trainer, const cm3_train_arguments *a, FILE *log) {
    int64_t step = 0, steps = 0;
    cm3_trainer_progress(trainer, &step, &steps);
    int64_t stop = a->stop_at && a->stop_at < steps ? a->stop_at : steps;
    if (step) cm3_say("going on from step %lld", (long long)step);
    cm3_progress progress;
    cm3_progress_begin(&progress, "training", a->quiet);
    progress.first = (uint64_t)step;
    while (step < stop && !cm3_interrupted()) {
        cm3_train_report report = {.struct_size = sizeof report};
        cm3_status status = cm3_trainer_step(trainer, &report);
        if (status != CM3_OK) {
            cm3_progress_end(&progress);
            return cm3_failed(context, status);
        }
        step = report.step;
        char note[96];
        snprintf(note, sizeof note, "loss %.4f, %.0f a second", report.loss, report.rate);
        cm3_progress_show(&progress, (uint64_t)step, (uint64_t)stop, note);
        bool tell = step <= 10 || step % a->log_every == 0 || step == stop;
        if (tell && !write_log(log, "loss", &report)) return CM3_EXIT_FAILED;
        if (a->validation.count && (step % a->validate_every == 0 || step == steps)) {
            cm3_train_report held_out = {.struct_size = sizeof held_out};
            status = cm3_trainer_validate(trainer, &held_out);
            if (status != CM3_OK) return cm3_failed(context, status);
            if (!write_log(log, "validation_loss", &held_out)) return CM3_EXIT_FAILED;
        }
        if (step % a->save_every == 0 && step < stop && save(context, trainer)) return CM3_EXIT_FAILED;
    }
    cm3_progress_end(&progress);
    if (save(context, trainer)) return CM3_EXIT_FAILED;
    if (!cm3_interrupted()) return CM3_EXIT_DONE;
    cm3_say("interrupted at step %lld; the same command goes on from there", (long long)step);
    return CM3_EXIT_INTERRUPTED;
}

static int run_trainer(cm3_context *context, cm3_trainer *trainer, const cm3_train_arguments *a) {
    int64_t step = 0, steps = 0;
    cm3_trainer_progress(trainer, &step, &steps);
    FILE *log = open_log(a->run, step);
    if (!log) return CM3_EXIT_FAILED;
    int code = loop(context, trainer, a, log);
    fclose(log);
    cm3_trainer_progress(trainer, &step, &steps);
    if (code != CM3_EXIT_DONE || !a->output) return code;
    cm3_compute weights = !strcmp(a->weights, "f32") ? CM3_COMPUTE_F32 : CM3_COMPUTE_BF16;
    cm3_status status = cm3_trainer_export(trainer, a->output, weights);
    if (status != CM3_OK) return cm3_failed(context, status);
    cm3_say("wrote %s (step %lld of %lld)", a->output, (long long)step, (long long)steps);
    return CM3_EXIT_DONE;
}

static bool fill_common(const cm3_train_arguments *a, const glob_t *data, const glob_t *validation,
                        cm3_train_options *o) {
    static const char *const schedules[] = {"cosine", "linear", "constant", NULL}, *const computes[] = {"f32", "bf16",
                                                                                                        NULL};
    int schedule = 0, compute = 0, weights = 0;
    if (!choose("--schedule", a->schedule, schedules, &schedule) ||
        !choose("--weights", a->weights, computes, &weights) ||
        (a->compute && !choose("--compute", a->compute, computes, &compute))) {
        return false;
    }
    cm3_train_options_init(o);
    o->run_dir = a->run;
    o->resume = !a->fresh;
    o->data = (const char *const *)data->gl_pathv;
    o->data_count = data->gl_pathc;
    o->validation = (const char *const *)validation->gl_pathv;
    o->validation_count = validation->gl_pathc;
    o->seed = (uint64_t)a->seed;
    o->compute = (cm3_compute)compute;
    o->batch_size = (int32_t)a->batch_size;
    o->accumulation = (int32_t)a->accumulation;
    o->steps = a->steps;
    o->warmup = a->warmup;
    o->lr = (float)a->lr;
    o->min_lr_ratio = (float)a->min_lr_ratio;
    o->schedule = (cm3_schedule)schedule;
    o->beta1 = (float)a->beta1;
    o->beta2 = (float)a->beta2;
    o->weight_decay = (float)a->weight_decay;
    o->clip_norm = (float)a->clip;
    o->weight_average = (float)a->weight_average;
    o->memory_limit = (uint64_t)a->memory_limit << 20;
    return true;
}

static cm3_status create_vq(cm3_context *context, const cm3_train_arguments *a, const cm3_train_options *common,
                            const char *config, cm3_trainer **trainer) {
    cm3_train_vq_options o;
    cm3_train_vq_options_init(&o);
    o.config_json = config;
    o.l1_weight = (float)a->l1;
    o.l2_weight = (float)a->l2;
    o.commitment = (float)a->commitment;
    o.learned_codebook = !strcmp(a->codebook, "learned");
    o.codebook_decay = (float)a->codebook_decay;
    o.revival_threshold = (float)a->revival;
    o.quantise_from = a->quantise_from;
    o.adversarial_weight = (float)a->adversarial;
    o.adversarial_from = a->adversarial_from;
    return cm3_trainer_create_vq(context, common, &o, trainer);
}

static cm3_status create_lm(cm3_context *context, const cm3_train_arguments *a, const cm3_train_options *common,
                            const char *config, cm3_trainer **trainer) {
    cm3_train_lm_options o;
    cm3_train_lm_options_init(&o);
    o.config_json = config;
    o.tokenizer = a->tokenizer;
    o.mixture = a->mixture;
    o.tasks = a->tasks;
    o.answers_only = a->answers_only;
    o.image_tokenizer = a->vq;
    o.init = a->init;
    o.block_size = (int32_t)a->block_size;
    o.caption_dropout = (float)a->caption_dropout;
    o.text_weight = (float)a->text_weight;
    o.attend = !strcmp(a->attend, "block") ? CM3_ATTEND_BLOCK : CM3_ATTEND_DOCUMENT;
    o.masking = !strcmp(a->masking, "none")    ? CM3_MASKING_NONE
                : !strcmp(a->masking, "paper") ? CM3_MASKING_PAPER
                                               : CM3_MASKING_CODE;
    return cm3_trainer_create_lm(context, common, &o, trainer);
}

static cm3_status create_encoder(cm3_context *context, const cm3_train_arguments *a, const cm3_train_options *common,
                                 const char *config, cm3_trainer **trainer) {
    cm3_train_encoder_options o;
    cm3_train_encoder_options_init(&o);
    o.config_json = config;
    o.tokenizer = a->tokenizer;
    o.chunk = (int32_t)a->chunk;
    o.initial_scale = (float)a->initial_scale;
    o.query_weight = (float)a->query_weight;
    return cm3_trainer_create_encoder(context, common, &o, trainer);
}

/** What a run needs beside its data. */
static bool is_complete(const cm3_train_arguments *a, const char *what) {
    const char *missing = !a->run                                                ? "--run is missing"
                          : !strcmp(what, "sft") && !a->init                     ? "--init is missing"
                          : !strcmp(what, "encoder") && !a->tokenizer            ? "--tokenizer is missing"
                          : !strcmp(what, "lm") && !a->tokenizer && !a->init     ? "--tokenizer is missing"
                          : strcmp(what, "sft") != 0 && (a->mixture || a->tasks) ? "--mixture and --tasks are for sft"
                                                                                 : NULL;
    if (missing) cm3_say("%s", missing);
    return !missing;
}

static cm3_status create(cm3_context *context, const cm3_train_arguments *a, const char *what,
                         const cm3_train_options *common, const char *config, cm3_trainer **trainer) {
    if (!strcmp(what, "encoder")) return create_encoder(context, a, common, config, trainer);
    bool vq = !strcmp(what, "vq");
    return vq ? create_vq(context, a, common, config, trainer) : create_lm(context, a, common, config, trainer);
}

static int train_model(cm3_train_arguments *a, const char *what, const glob_t *data, const glob_t *validation) {
    static const char *const codebooks[] = {"ema", "learned", NULL}, *const attends[] = {"document", "block", NULL},
                             *const maskings[] = {"none", "code", "paper", NULL};
    int ignored = 0;
    cm3_train_options common;
    if (!is_complete(a, what) || !fill_common(a, data, validation, &common) ||
        !choose("--codebook", a->codebook, codebooks, &ignored) || !choose("--attend", a->attend, attends, &ignored) ||
        !choose("--masking", a->masking, maskings, &ignored)) {
        return CM3_EXIT_USAGE;
    }
    if (a->output && !can_be_written(a->output)) return CM3_EXIT_FAILED;
    const char *preset = !strcmp(what, "vq") || !strcmp(what, "encoder") ? "{}"
                         : a->init                                       ? NULL
                                                                         : "{\"preset\":\"toybox\"}";
    bool tuned = !strcmp(what, "sft"), own = a->config || preset;
    char *config = read_config(a->config ? a->config : preset);
    char *mixture = tuned ? read_config(a->mixture ? a->mixture : "{}") : NULL;
    cm3_context *context = (config || !own) && (mixture || !tuned) ? cm3_open_context(a->threads) : NULL;
    a->mixture = mixture;
    int code = CM3_EXIT_FAILED;
    if (context) {
        cm3_trainer *trainer = NULL;
        cm3_status status = create(context, a, what, &common, config, &trainer);
        code = status == CM3_OK ? run_trainer(context, trainer, a) : cm3_failed(context, status);
        cm3_trainer_destroy(trainer);
    }
    cm3_context_destroy(context);
    free(config);
    free(mixture);
    a->mixture = NULL;
    return code;
}

/* --- text tokenizer, codes ------------------------------------------------------------------------------------------
 */

static int train_bpe(const cm3_train_arguments *a, const glob_t *data) {
    cm3_progress progress;
    cm3_train_bpe_options o;
    cm3_train_bpe_options_init(&o);
    o.data = (const char *const *)data->gl_pathv;
    o.data_count = data->gl_pathc;
    o.vocab_size = (int32_t)a->vocab_size;
    o.image_codes = (int32_t)a->image_codes;
    o.sentinels = (int32_t)a->sentinels;
    o.min_frequency = (int32_t)a->min_frequency;
    o.progress = cm3_progress_callback;
    o.user = &progress;
    if (!a->output) {
        cm3_say("-o is missing");
        return CM3_EXIT_USAGE;
    }
    cm3_context *context = cm3_open_context(a->threads);
    if (!context) return CM3_EXIT_FAILED;
    cm3_progress_begin(&progress, "reading", a->quiet);
    cm3_tokenizer *tokenizer = NULL;
    cm3_status status = cm3_train_bpe(context, &o, &tokenizer);
    cm3_progress_end(&progress);
    if (status == CM3_OK) status = cm3_tokenizer_save(tokenizer, a->output);
    int code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    if (status == CM3_OK && cm3_tokenizer_get_info(tokenizer, &info) == CM3_OK) {
        cm3_say("wrote %s: %d tokens, %d of them image codes", a->output, info.vocab_size, (int)a->image_codes);
    }
    cm3_tokenizer_destroy(tokenizer);
    cm3_context_destroy(context);
    return code;
}

static int encode(const cm3_train_arguments *a, const glob_t *data) {
    if (!a->vq || !a->out_dir) {
        cm3_say(a->vq ? "--out-dir is missing" : "--vq is missing");
        return CM3_EXIT_USAGE;
    }
    cm3_context *context = cm3_open_context(a->threads);
    if (!context) return CM3_EXIT_FAILED;
    cm3_progress progress;
    cm3_progress_begin(&progress, "encoding", a->quiet);
    cm3_status status = cm3_train_encode_shards(context, a->vq, (const char *const *)data->gl_pathv, data->gl_pathc,
                                                a->out_dir, cm3_progress_callback, &progress);
    cm3_progress_end(&progress);
    int code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    cm3_context_destroy(context);
    return code;
}

static bool parse(int argc, char **argv, cm3_train_arguments *a) {
    *a = (cm3_train_arguments){
        .weights = "bf16",
        .schedule = "cosine",
        .codebook = "ema",
        .attend = "document",
        .masking = "code",
        .steps = 1000,
        .batch_size = 16,
        .accumulation = 1,
        .warmup = 100,
        .seed = 1,
        .save_every = 500,
        .validate_every = 500,
        .log_every = 10,
        .threads = -1,
        .quantise_from = 200,
        .block_size = 1024,
        .vocab_size = 1024,
        .sentinels = 16,
        .min_frequency = 2,
        .lr = 1e-3,
        .min_lr_ratio = 0.05,
        .beta1 = 0.9,
        .beta2 = 0.95,
        .weight_decay = 0.1,
        .clip = 1,
        .l1 = 1,
        .l2 = 1,
        .commitment = 0.25,
        .codebook_decay = 0.99,
        .revival = 0.05,
        .caption_dropout = 0.1,
        .text_weight = 1,
        .chunk = 32,
        .initial_scale = 1 / 0.07,
        .query_weight = 1,
    };
    const cm3_option options[] = {
        {"--data", "-d", CM3_OPTION_LIST, &a->data, 0, 0},
        {"--validation", NULL, CM3_OPTION_LIST, &a->validation, 0, 0},
        {"--run", NULL, CM3_OPTION_TEXT, &a->run, 0, 0},
        {"--output", "-o", CM3_OPTION_TEXT, &a->output, 0, 0},
        {"--weights", NULL, CM3_OPTION_TEXT, &a->weights, 0, 0},
        {"--config", NULL, CM3_OPTION_TEXT, &a->config, 0, 0},
        {"--schedule", NULL, CM3_OPTION_TEXT, &a->schedule, 0, 0},
        {"--compute", NULL, CM3_OPTION_TEXT, &a->compute, 0, 0},
        {"--codebook", NULL, CM3_OPTION_TEXT, &a->codebook, 0, 0},
        {"--tokenizer", NULL, CM3_OPTION_TEXT, &a->tokenizer, 0, 0},
        {"--vq", NULL, CM3_OPTION_TEXT, &a->vq, 0, 0},
        {"--init", NULL, CM3_OPTION_TEXT, &a->init, 0, 0},
        {"--attend", NULL, CM3_OPTION_TEXT, &a->attend, 0, 0},
        {"--masking", NULL, CM3_OPTION_TEXT, &a->masking, 0, 0},
        {"--out-dir", NULL, CM3_OPTION_TEXT, &a->out_dir, 0, 0},
        {"--steps", NULL, CM3_OPTION_INT, &a->steps, 1, 1e12},
        {"--stop-at", NULL, CM3_OPTION_INT, &a->stop_at, 1, 1e12},
        {"--batch-size", NULL, CM3_OPTION_INT, &a->batch_size, 1, 65536},
        {"--accumulation", NULL, CM3_OPTION_INT, &a->accumulation, 1, 65536},
        {"--warmup", NULL, CM3_OPTION_INT, &a->warmup, 0, 1e12},
        {"--seed", NULL, CM3_OPTION_INT, &a->seed, 0, 9e18},
        {"--save-every", NULL, CM3_OPTION_INT, &a->save_every, 1, 1e12},
        {"--validate-every", NULL, CM3_OPTION_INT, &a->validate_every, 1, 1e12},
        {"--log-every", NULL, CM3_OPTION_INT, &a->log_every, 1, 1e12},
        {"--threads", NULL, CM3_OPTION_INT, &a->threads, 1, 64},
        {"--memory-limit", NULL, CM3_OPTION_INT, &a->memory_limit, 0, 1 << 30},
        {"--quantise-from", NULL, CM3_OPTION_INT, &a->quantise_from, 0, 1e12},
        {"--adversarial-from", NULL, CM3_OPTION_INT, &a->adversarial_from, 0, 1e12},
        {"--block-size", NULL, CM3_OPTION_INT, &a->block_size, 2, 1 << 20},
        {"--vocab-size", NULL, CM3_OPTION_INT, &a->vocab_size, 256, 1 << 20},
        {"--image-codes", NULL, CM3_OPTION_INT, &a->image_codes, 0, 1 << 20},
        {"--sentinels", NULL, CM3_OPTION_INT, &a->sentinels, 16, 512},
        {"--min-frequency", NULL, CM3_OPTION_INT, &a->min_frequency, 1, 1e9},
        {"--lr", NULL, CM3_OPTION_NUMBER, &a->lr, 1e-9, 10},
        {"--min-lr-ratio", NULL, CM3_OPTION_NUMBER, &a->min_lr_ratio, 0, 1},
        {"--beta1", NULL, CM3_OPTION_NUMBER, &a->beta1, 0, 0.9999},
        {"--beta2", NULL, CM3_OPTION_NUMBER, &a->beta2, 0, 0.99999},
        {"--weight-decay", NULL, CM3_OPTION_NUMBER, &a->weight_decay, 0, 10},
        {"--clip", NULL, CM3_OPTION_NUMBER, &a->clip, 0, 1e9},
        {"--weight-average", NULL, CM3_OPTION_NUMBER, &a->weight_average, 0, 0.999999},
        {"--l1", NULL, CM3_OPTION_NUMBER, &a->l1, 0, 1e6},
        {"--l2", NULL, CM3_OPTION_NUMBER, &a->l2, 0, 1e6},
        {"--commitment", NULL, CM3_OPTION_NUMBER, &a->commitment, 0, 1e6},
        {"--codebook-decay", NULL, CM3_OPTION_NUMBER, &a->codebook_decay, 1e-6, 0.999999},
        {"--revival", NULL, CM3_OPTION_NUMBER, &a->revival, 0, 1e6},
        {"--adversarial", NULL, CM3_OPTION_NUMBER, &a->adversarial, 0, 1e6},
        {"--text-weight", NULL, CM3_OPTION_NUMBER, &a->text_weight, 1e-6, 1000},
        {"--caption-dropout", NULL, CM3_OPTION_NUMBER, &a->caption_dropout, 0, 1},
        {"--chunk", NULL, CM3_OPTION_INT, &a->chunk, 1, 65536},
        {"--initial-scale", NULL, CM3_OPTION_NUMBER, &a->initial_scale, 1, 100},
        {"--query-weight", NULL, CM3_OPTION_NUMBER, &a->query_weight, 0, 1000},
        {"--fresh", NULL, CM3_OPTION_FLAG, &a->fresh, 0, 0},
        {"--mixture", NULL, CM3_OPTION_TEXT, &a->mixture, 0, 0},
        {"--tasks", NULL, CM3_OPTION_TEXT, &a->tasks, 0, 0},
        {"--answers-only", NULL, CM3_OPTION_FLAG, &a->answers_only, 0, 0},
        {"--quiet", "-q", CM3_OPTION_FLAG, &a->quiet, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    return cm3_options_parse(argc, argv, options, &a->words);
}

int cm3_command_train(int argc, char **argv) {
    if (cm3_wants_help(argc, argv, NULL) || !argc) {
        fputs(help_text, argc ? stdout : stderr);
        return argc ? CM3_EXIT_DONE : CM3_EXIT_USAGE;
    }
    const char *what = argv[0];
    bool known = !strcmp(what, "bpe") || !strcmp(what, "vq") || !strcmp(what, "encode") || !strcmp(what, "lm") ||
                 !strcmp(what, "sft") || !strcmp(what, "encoder");
    if (!known) {
        cm3_say("cm3 train: '%s' is none of bpe, vq, encode, lm, sft, encoder", what);
        return CM3_EXIT_USAGE;
    }
    cm3_train_arguments *a = calloc(1, sizeof *a);
    if (!a) return CM3_EXIT_FAILED;
    glob_t data = {0}, validation = {0};
    int code = CM3_EXIT_USAGE;
    if (parse(argc - 1, argv + 1, a) && !a->words.count) {
        if (!a->data.count) {
            cm3_say("--data is missing");
        } else if (!expand(&a->data, &data) || (a->validation.count && !expand(&a->validation, &validation))) {
            code = CM3_EXIT_FAILED;
        } else if (!strcmp(what, "bpe")) {
            code = train_bpe(a, &data);
        } else if (!strcmp(what, "encode")) {
            code = encode(a, &data);
        } else {
            code = train_model(a, what, &data, &validation);
        }
    }
    globfree(&data);
    globfree(&validation);
    free(a);
    return code;
}
