/* cm3 train: text tokenizer, image tokenizer, language model; and pictures to codes. */
#include <errno.h>
#include <glob.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train.h"

static const char help_text[] =
    "Usage: cm3 train bpe    --data SHARD... -o tokenizer.json [OPTION]...\n"
    "       cm3 train vq     --data SHARD... --run DIR -o vq.cm3 --config JSON|FILE [OPTION]...\n"
    "       cm3 train encode --data SHARD... --vq vq.cm3 --out-dir DIR\n"
    "       cm3 train costs  --data SHARD... --vq vq.cm3 -o costs.cm3 [--cost-weight X]\n"
    "       cm3 train lm     --data SHARD... --run DIR -o model.cm3 --tokenizer FILE [OPTION]...\n"
    "       cm3 train sft    --data SHARD... --run DIR -o tuned.cm3 --init model.cm3 [OPTION]...\n"
    "       cm3 train encoder --data SHARD... --run DIR -o encoder.cm3 --config JSON|FILE --tokenizer FILE "
    "[OPTION]...\n"
    "\n"
    "A SHARD is a .tar in WebDataset form (KEY.png or .jpg with KEY.json or .txt) or a\n"
    ".jsonl; patterns in quotes are expanded. A run goes on from DIR/checkpoint.safetensors\n"
    "where there is one, after any kind of end, and logs to DIR/log.jsonl.\n"
    "\n"
    "  bpe     learns a byte-level BPE from the captions\n"
    "  vq      learns an image tokenizer (VQGAN)\n"
    "  encode  writes shards that hold codes instead of pictures, which 'lm' reads\n"
    "  costs   counts such codes, and makes a model whose image tokenizer prefers the\n"
    "          usual ones: pictures that were compressed or drawn get codes of clean ones\n"
    "  lm      learns a language model over text and image tokens\n"
    "  sft     goes on with one, on the tasks of the records' \"examples\"\n"
    "  encoder learns to find pictures by texts, and records by what is asked for\n"
    "          them (\"query\" beside \"text\")\n"
    "\n"
    "Options of all:\n"
    "  -d, --data SHARD...        what is learned from\n"
    "      --threads N            (one a core)\n"
    "  -q, --quiet                no progress\n"
    "\n"
    "Options of bpe:\n"
    "  -o, --output FILE          the tokenizer.json that is made\n"
    "      --vocab-size N         of text: bytes and merges (1024)\n"
    "      --image-codes N        names reserved for image codes (0)\n"
    "      --sentinels N          for CM3's masks, 16 to 512 (16)\n"
    "      --min-frequency N      of a pair to be merged (2)\n"
    "\n"
    "Options of encode:\n"
    "      --vq FILE              the image tokenizer\n"
    "      --out-dir DIR          where the shards are written\n"
    "\n"
    "Options of costs:\n"
    "      --vq FILE              a model with the image tokenizer\n"
    "      --cost-weight X        squared distance by which a code must be nearer than one\n"
    "                             that is 2.718 times as usual (0.0006); 0: costs nothing\n"
    "  -o, --output FILE          the model with these costs, all else as it is\n"
    "\n"
    "Options of vq, lm, sft and encoder:\n"
    "      --run DIR              the run's state and log\n"
    "      --fresh                do not go on from a checkpoint\n"
    "  -o, --output FILE          the .cm3 file made at the end\n"
    "      --weights f32|bf16     of that file (bf16)\n"
    "      --config JSON|FILE     the model's configuration\n"
    "      --validation SHARD...  held-out records\n"
    "      --steps N              of the whole run (1000)\n"
    "      --stop-at N            end this call there, with a checkpoint\n"
    "      --batch-size N         pictures, or blocks (16)\n"
    "      --accumulation N       batches a step (1)\n"
    "      --lr X                 learning rate, its peak (0.001)\n"
    "      --warmup N             steps until the peak (100)\n"
    "      --min-lr-ratio X       share of it at the end (0.05)\n"
    "      --schedule NAME        of the learning rate: cosine, linear, constant (cosine)\n"
    "      --beta1 X              of AdamW (0.9)\n"
    "      --beta2 X              of AdamW (0.95)\n"
    "      --weight-decay X       of matrices and convolutions (0.1)\n"
    "      --clip X               greatest norm of all gradients together, 0 is off (1)\n"
    "      --weight-average X     decay of a running average of the weights, 0 is off (0)\n"
    "      --seed N               of all that is drawn (1)\n"
    "      --compute f32|bf16     of matrix products (bf16 where the CPU has it)\n"
    "      --save-every N         steps between checkpoints (500)\n"
    "      --validate-every N     steps (500)\n"
    "      --log-every N          steps between lines of the log (10)\n"
    "      --memory-limit MB      of the records, 0 is none (0)\n"
    "      --skip-steps N         leave out steps whose loss or gradients are not finite, so\n"
    "                             many in a row at most (0)\n"
    "\n"
    "Options of vq:\n"
    "      --l1 X                 weight of reconstruction's distance (1)\n"
    "      --l2 X                 and of its square (1)\n"
    "      --commitment X         weight of the latents' distance to their codes (0.25)\n"
    "      --codebook NAME        ema, learned (ema)\n"
    "      --codebook-decay X     (0.99)\n"
    "      --revival X            uses a batch below which (0.05)\n"
    "      --quantise-from N      step (200)\n"
    "      --adversarial X        discriminator's weight (0)\n"
    "      --adversarial-from N   step (0)\n"
    "\n"
    "Options of lm and sft:\n"
    "      --tokenizer FILE       tokenizer.json, or a .cm3 file\n"
    "      --vq FILE              image tokenizer; goes into the model\n"
    "      --init FILE            a .cm3 file to begin with\n"
    "      --block-size N         tokens a block, into which documents are packed (1024)\n"
    "      --caption-dropout X    share of captions that are left out (0.1)\n"
    "      --attend NAME          what attention sees: document, block (document)\n"
    "      --text-weight X        of learning a token of text, an image code's being 1 (1)\n"
    "      --masking NAME         spans that move to the end: code, paper, none (code)\n"
    "      --bank FILE            records with neighbours ('cm3 bank neighbours') are\n"
    "                             learned behind some of them\n"
    "      --most-retrieved N     of them at most (2)\n"
    "      --retrieved-weight X   of learning theirs, 0..1 (1)\n"
    "\n"
    "Options of sft:\n"
    "      --mixture JSON|FILE    {TASK: weight} (all tasks alike)\n"
    "      --tasks FILE           templates (the library's own)\n"
    "      --answers-only         learn answers alone (all of a document)\n"
    "\n"
    "Options of encoder:\n"
    "      --tokenizer FILE       tokenizer.json, or a .cm3 file\n"
    "      --chunk N              pairs computed at once (32)\n"
    "      --initial-scale X      of inner products (14.29)\n"
    "      --query-weight X       of queries, pictures' being 1 (1)\n"
    "      --query-documents      queries look for documents as banks keep them, text and\n"
    "                             picture in one vector, instead of for texts\n"
    "      --init FILE            a .cm3 file whose encoder is trained on\n"
    "      --together N           records behind each other that come into batches so: what\n"
    "                             is hard to tell apart (1)\n"
    "\n"
    "An option that a command has no use for is refused.\n"
    "\n"
    "--config of lm: {\"preset\": NAME} (toybox, cm3leon-350m ...) or hidden_size, layers,\n"
    "heads, kv_heads, ffn_size, max_positions and what else docs/architecture.md names; of\n"
    "vq: resolution, base_channels, channel_multiplier ...; of encoder: text_config,\n"
    "vision_config and projection_dim as CLIP's config.json has them. docs/training.md tells\n"
    "how it is done.\n"
    "\n"
    "The way from pictures with captions to a model that draws (examples/toybox/train.sh does it in full):\n"
    "\n"
    "  cm3 train bpe    --data 'pairs/*.tar' -o tokenizer.json --vocab-size 512 --image-codes 1024\n"
    "  cm3 train vq     --data 'pairs/*.tar' --run vq-run --config examples/toybox/vq.json --steps 7500 -o vq.cm3\n"
    "  cm3 train encode --data 'pairs/*.tar' --vq vq.cm3 --out-dir codes\n"
    "  cm3 train lm     --data 'codes/*.tar' --run lm-run --tokenizer tokenizer.json --vq vq.cm3 --steps 13000 \\\n"
    "                   --config examples/toybox/lm.json --batch-size 2 --block-size 2048 -o model.cm3\n";

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

/** JSON has no word for what is not finite but null. */
static json_t *number(double value) {
    return isfinite(value) ? json_real(value) : json_null();
}

static void add_number(json_t *json, const char *name, double value) {
    if (value != 0) json_object_set_new(json, name, number(value));
}

static bool write_log(FILE *log, const char *name, const cm3_train_report *r) {
    json_t *json = json_pack("{s:I,s:o}", "step", (json_int_t)r->step, name, number(r->loss));
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
    add_number(json, "skipped", (double)r->skipped);
    add_number(json, "rate", r->rate); /* from here on: times, which no two runs have alike */
    add_number(json, "seconds", r->seconds);
    add_number(json, "comm_seconds", r->comm_seconds);
    add_number(json, "reduce_seconds", r->reduce_seconds);
    char *text = json ? json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    bool good = text && fprintf(log, "%s\n", text) > 0 && fflush(log) == 0;
    if (!good) cm3_say("the log could not be written: %s", strerror(errno));
    free(text);
    json_decref(json);
    return good;
}

/* --- several processes ----------------------------------------------------------------------------------------------
 */

/** Whether this process is the one that writes and shows what the run has once. */
static bool is_first(const cm3_train_arguments *a) {
    return !a->comm || a->comm->rank == 0;
}

/** As cm3_failed(); what ended a call on all ranks with one message ("rank 1: ...") is told by the first alone. */
static int failed(const cm3_train_arguments *a, const cm3_context *context, cm3_status status) {
    if (!is_first(a) && !strncmp(cm3_context_message(context), "rank ", 5)) return CM3_EXIT_FAILED;
    return cm3_failed(context, status);
}

/** Whether a signal came to any of the processes: all learn of it between the same two steps. False: they are out of
 * reach, which the comm has told. */
static bool ask_for_signals(const cm3_train_arguments *a, bool *came) {
    uint64_t signals = cm3_interrupted();
    cm3_status status = CM3_OK;
    if (a->comm) status = a->comm->all_reduce(a->comm->user, &signals, 1, CM3_COMM_U64, CM3_COMM_MAX);
    *came = signals != 0;
    return status == CM3_OK;
}

/* --- the loop -------------------------------------------------------------------------------------------------------
 */

static int save(const cm3_train_arguments *a, const cm3_context *context, const cm3_trainer *trainer) {
    cm3_status status = cm3_trainer_checkpoint(trainer);
    return status == CM3_OK ? CM3_EXIT_DONE : failed(a, context, status);
}

/** What goes into the log after a step. False after saying why not. */
static bool note_step(const cm3_train_arguments *a, FILE *log, const cm3_train_report *report, int64_t stop) {
    bool tell = report->step <= 10 || report->step % a->log_every == 0 || report->step == stop;
    return !log || !tell || write_log(log, "loss", report);
}

static int validate(const cm3_train_arguments *a, const cm3_context *context, cm3_trainer *trainer, FILE *log) {
    cm3_train_report held_out = {.struct_size = sizeof held_out};
    cm3_status status = cm3_trainer_validate(trainer, &held_out);
    if (status != CM3_OK) return failed(a, context, status);
    return !log || write_log(log, "validation_loss", &held_out) ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
}

static int loop(cm3_context *context, cm3_trainer *trainer, const cm3_train_arguments *a, FILE *log) {
    int64_t step = 0, steps = 0;
    cm3_trainer_progress(trainer, &step, &steps);
    int64_t stop = a->stop_at && a->stop_at < steps ? a->stop_at : steps;
    bool signalled = false;
    if (step && is_first(a)) cm3_say("going on from step %lld", (long long)step);
    cm3_progress progress;
    cm3_progress_begin(&progress, "training", a->quiet || !is_first(a));
    progress.first = (uint64_t)step;
    while (step < stop) {
        if (!ask_for_signals(a, &signalled)) return CM3_EXIT_FAILED;
        if (signalled) break;
        cm3_train_report report = {.struct_size = sizeof report};
        cm3_status status = cm3_trainer_step(trainer, &report);
        if (status != CM3_OK) {
            cm3_progress_end(&progress);
            return failed(a, context, status);
        }
        step = report.step;
        char note[96];
        snprintf(note, sizeof note, "loss %.4f, %.0f a second", report.loss, report.rate);
        cm3_progress_show(&progress, (uint64_t)step, (uint64_t)stop, note);
        if (!note_step(a, log, &report, stop)) return CM3_EXIT_FAILED;
        bool due = a->validation.count && (step % a->validate_every == 0 || step == steps);
        if (due && validate(a, context, trainer, log)) return CM3_EXIT_FAILED;
        if (step % a->save_every == 0 && step < stop && save(a, context, trainer)) return CM3_EXIT_FAILED;
    }
    cm3_progress_end(&progress);
    if (save(a, context, trainer) || (!signalled && !ask_for_signals(a, &signalled))) return CM3_EXIT_FAILED;
    if (!signalled) return CM3_EXIT_DONE;
    if (is_first(a)) cm3_say("interrupted at step %lld; the same command goes on from there", (long long)step);
    return CM3_EXIT_INTERRUPTED;
}

static int run_trainer(cm3_context *context, cm3_trainer *trainer, const cm3_train_arguments *a) {
    int64_t step = 0, steps = 0;
    cm3_trainer_progress(trainer, &step, &steps);
    FILE *log = is_first(a) ? open_log(a->run, step) : NULL;
    if (!log && is_first(a)) return CM3_EXIT_FAILED;
    int code = loop(context, trainer, a, log);
    if (log) fclose(log);
    cm3_trainer_progress(trainer, &step, &steps);
    if (code != CM3_EXIT_DONE || !a->output) return code;
    cm3_compute weights = !strcmp(a->weights, "f32") ? CM3_COMPUTE_F32 : CM3_COMPUTE_BF16;
    cm3_status status = cm3_trainer_export(trainer, a->output, weights);
    if (status != CM3_OK) return failed(a, context, status);
    if (is_first(a)) cm3_say("wrote %s (step %lld of %lld)", a->output, (long long)step, (long long)steps);
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
    o->skip_steps = (int32_t)a->skip_steps;
    o->comm = a->comm;
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
    o.bank = a->bank;
    o.most_retrieved = (int32_t)a->most_retrieved;
    o.retrieved_weight = (float)a->retrieved_weight;
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
    o.together = (int32_t)a->together;
    o.init = a->init;
    o.query_documents = a->query_documents;
    return cm3_trainer_create_encoder(context, common, &o, trainer);
}

/** What a run needs beside its data. */
static bool is_complete(const cm3_train_arguments *a, const char *what) {
    const char *missing = !a->run                                                 ? "--run is missing"
                          : !strcmp(what, "sft") && !a->init                      ? "--init is missing"
                          : !strcmp(what, "encoder") && !a->tokenizer && !a->init ? "--tokenizer is missing"
                          : !strcmp(what, "lm") && !a->tokenizer && !a->init      ? "--tokenizer is missing"
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
    if (a->output && is_first(a) && !can_be_written(a->output)) return CM3_EXIT_FAILED;
    const char *preset = !strcmp(what, "vq")        ? "{}"
                         : a->init                  ? NULL
                         : !strcmp(what, "encoder") ? "{}"
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
        code = status == CM3_OK ? run_trainer(context, trainer, a) : failed(a, context, status);
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
    if (!is_first(a)) return CM3_EXIT_DONE;
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

/** Of a shard's name, what is left without its ending: `encode` makes a .tar of a .jsonl, too. */
static size_t stem(const char *name) {
    size_t length = strlen(name);
    if (length > 6 && !strcmp(name + length - 6, ".jsonl")) return length - 6;
    return length > 4 && !strcmp(name + length - 4, ".tar") ? length - 4 : length;
}

static bool same_output(const char *one, const char *other) {
    one = cm3_base_name(one), other = cm3_base_name(other);
    return stem(one) == stem(other) && !memcmp(one, other, stem(one));
}

/** The shards that this process encodes: every so manieth. Two of one name, which would be one file, are refused before
 * any process begins. Their count; -1 after saying why not. */
static int64_t share_of_shards(const cm3_train_arguments *a, const glob_t *data, const char **share) {
    size_t rank = a->comm ? (size_t)a->comm->rank : 0, size = a->comm ? (size_t)a->comm->size : 1, count = 0;
    for (size_t i = 0; i < data->gl_pathc; i++) {
        for (size_t j = 0; size > 1 && j < i; j++) {
            if (!same_output(data->gl_pathv[i], data->gl_pathv[j])) continue;
            cm3_say("%s and %s are of one name", data->gl_pathv[j], data->gl_pathv[i]);
            return -1;
        }
        if (i % size == rank) share[count++] = data->gl_pathv[i];
    }
    return (int64_t)count;
}

static int encode(const cm3_train_arguments *a, const glob_t *data) {
    if (!a->vq || !a->out_dir) {
        cm3_say(a->vq ? "--out-dir is missing" : "--vq is missing");
        return CM3_EXIT_USAGE;
    }
    const char **share = calloc(data->gl_pathc, sizeof *share);
    int64_t count = share ? share_of_shards(a, data, share) : -1;
    cm3_context *context = count > 0 ? cm3_open_context(a->threads) : NULL;
    int code = count == 0 ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
    if (context) {
        cm3_progress progress;
        cm3_progress_begin(&progress, "encoding", a->quiet || !is_first(a));
        cm3_status status =
            cm3_train_encode_shards(context, a->vq, share, (size_t)count, a->out_dir, cm3_progress_callback, &progress);
        cm3_progress_end(&progress);
        code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    }
    cm3_context_destroy(context);
    free(share);
    return code;
}

static int set_costs(const cm3_train_arguments *a, const glob_t *data) {
    if (!a->vq || !a->output) {
        cm3_say(a->vq ? "-o FILE is missing" : "--vq is missing");
        return CM3_EXIT_USAGE;
    }
    if (!is_first(a)) return CM3_EXIT_DONE;
    cm3_context *context = cm3_open_context(a->threads);
    if (!context) return CM3_EXIT_FAILED;
    cm3_progress progress;
    cm3_progress_begin(&progress, "counting", a->quiet);
    cm3_status status = cm3_train_code_costs(context, a->vq, (const char *const *)data->gl_pathv, data->gl_pathc,
                                             (float)a->cost_weight, a->output, cm3_progress_callback, &progress);
    cm3_progress_end(&progress);
    int code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    cm3_context_destroy(context);
    return code;
}

/** The options are read: what is asked for is done. An exit code. */
static int do_part(cm3_train_arguments *a, const char *what) {
    glob_t data = {0}, validation = {0};
    int code = CM3_EXIT_FAILED;
    if (!a->data.count) {
        cm3_say("--data is missing");
        code = CM3_EXIT_USAGE;
    } else if (expand(&a->data, &data) && (!a->validation.count || expand(&a->validation, &validation))) {
        code = !strcmp(what, "bpe")      ? train_bpe(a, &data)
               : !strcmp(what, "encode") ? encode(a, &data)
               : !strcmp(what, "costs")  ? set_costs(a, &data)
                                         : train_model(a, what, &data, &validation);
    }
    globfree(&data);
    globfree(&validation);
    return code;
}

int cm3_train_run(int argc, char **argv, const cm3_comm *comm, int64_t threads) {
    if (cm3_wants_help(argc, argv, NULL) || !argc) {
        fputs(help_text, argc ? stdout : stderr);
        return argc ? CM3_EXIT_DONE : CM3_EXIT_USAGE;
    }
    const char *what = argv[0];
    bool known = !strcmp(what, "bpe") || !strcmp(what, "vq") || !strcmp(what, "encode") || !strcmp(what, "costs") ||
                 !strcmp(what, "lm") || !strcmp(what, "sft") || !strcmp(what, "encoder");
    if (!known) {
        cm3_say("cm3 train: '%s' is none of bpe, vq, encode, costs, lm, sft, encoder", what);
        return CM3_EXIT_USAGE;
    }
    cm3_train_arguments *a = calloc(1, sizeof *a);
    if (!a) return CM3_EXIT_FAILED;
    int code = CM3_EXIT_USAGE;
    bool parsed = cm3_train_parse(argc - 1, argv + 1, what, a);
    if (parsed && a->words.count) {
        cm3_say("'%s' is one word too many; --help tells what is wanted", a->words.items[0]);
    } else if (parsed) {
        a->comm = comm;
        if (a->threads < 1) a->threads = threads;
        code = do_part(a, what);
    }
    free(a);
    return code;
}

int cm3_command_train(int argc, char **argv) {
    return cm3_train_run(argc, argv, NULL, -1);
}
