/*
 * One training step (forward, backward, clipping, AdamW) on random tokens: SwiGLU, q/k-norm, untied head, as
 * bench/peers/train_step.py does it.
 */
#include <stdio.h>

#include "base/random.h"
#include "base/status.h"
#include "model/lm.h"
#include "run.h"
#include "train/optimizer.h"

enum { BATCH = 16, LENGTH = 320, ROWS = BATCH * LENGTH, VOCAB = 1024 };

typedef struct training {
    cm3_lm *lm;
    cm3_graph *graph;
    cm3_optimizer optimizer;
    int32_t ids[ROWS], positions[ROWS], first[ROWS], targets[ROWS];
} training;

static void random_tokens(training *t) {
    cm3_random random = cm3_random_make(1, 1);
    for (int i = 0; i < ROWS; i++) {
        t->ids[i] = (int32_t)cm3_random_below(&random, VOCAB);
        t->targets[i] = (int32_t)cm3_random_below(&random, VOCAB);
        t->positions[i] = i % LENGTH;
        t->first[i] = i / LENGTH * LENGTH;
    }
}

static cm3_status prepare(bench_run *run, const cm3_lm_config *config, training *t) {
    CM3_TRY(cm3_lm_create_random(run->context, config, 1, &t->lm));
    const cm3_graph_options options = {.record = true, .compute = run->options.compute};
    CM3_TRY(cm3_graph_create(run->context, &options, &t->graph));
    for (size_t i = 0; i < t->lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &t->lm->parameters[i];
        CM3_TRY(cm3_optimizer_add(&t->optimizer, p->name, p->tensor, p->decay, p->tensor->rank == 2));
    }
    CM3_TRY(cm3_optimizer_lay(&t->optimizer, NULL));
    cm3_optimizer_refresh(&t->optimizer, t->graph->kernels);
    random_tokens(t);
    return CM3_OK;
}

static cm3_status step(void *arg) {
    training *t = arg;
    double norm;
    cm3_graph_reset(t->graph);
    const cm3_lm_batch batch = {.rows = ROWS, .ids = t->ids, .positions = t->positions, .plan = {.first = t->first}};
    cm3_tensor *logits = cm3_lm_forward(t->graph, t->lm, &batch);
    cm3_tensor *loss = cm3_nn_cross_entropy(t->graph, logits, t->targets, NULL, NULL);
    if (!loss) return cm3_graph_status(t->graph);
    CM3_TRY(cm3_graph_backward(t->graph, loss, 1));
    return cm3_optimizer_step(&t->optimizer, t->graph, &norm);
}

static cm3_status measure(bench_run *run, int layers, int width, int heads) {
    cm3_lm_config config;
    CM3_TRY(cm3_lm_config_preset(run->context, "toybox", &config));
    config.layers = layers;
    config.hidden_size = width;
    config.heads = config.kv_heads = heads;
    config.head_dim = width / heads;
    config.ffn_size = (width * 8 / 3 + 63) / 64 * 64;
    config.vocab_size = VOCAB;
    training *t = cm3_calloc(run->context, 1, sizeof *t);
    if (!t) return cm3_fail_memory(run->context, sizeof *t, "benchmark");
    cm3_train_options options;
    cm3_train_options_init(&options);
    cm3_optimizer_init(run->context, &options, &t->optimizer);
    bench_samples seconds;
    cm3_status status = prepare(run, &config, t);
    if (status == CM3_OK) status = bench_rounds(&run->options, step, t, &seconds);
    cm3_graph_destroy(t->graph);
    cm3_optimizer_clear(&t->optimizer);
    cm3_lm_destroy(t->lm);
    cm3_free(run->context, t);
    CM3_TRY(status);
    bench_samples tokens = bench_rates(&seconds, ROWS);
    bench_report_begin(run->report, "train", "step");
    bench_report_text(run->report, "compute", bench_compute_name(run->options.compute));
    bench_report_integer(run->report, "width", width);
    bench_report_integer(run->report, "layers", layers);
    bench_report_integer(run->report, "heads", heads);
    bench_report_integer(run->report, "threads", run->threads);
    bench_report_samples(run->report, "tokens_per_second", "tok/s", &tokens);
    bench_report_number(run->report, "seconds", "s/step", bench_median(&seconds));
    return bench_done(run);
}

cm3_status bench_train(bench_run *run) {
    CM3_TRY(measure(run, 6, 256, 4));
    return run->options.quick ? CM3_OK : measure(run, 8, 384, 6);
}
