/*
 * One training step (forward, backward, clip, AdamW) on random tokens: tokens a second, to be set beside
 * bench/peers/train_step.py. Usage: train_step [LAYERS] [WIDTH] [HEADS] [STEPS]; batch 16 x 320 tokens, vocabulary
 * 1,024, SwiGLU, q/k-norm, untied head.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/random.h"
#include "model/lm.h"
#include "train/optimizer.h"

enum { BATCH = 16, LENGTH = 320, VOCAB = 1024 };

typedef struct bench_run {
    cm3_context *context;
    cm3_lm_config config;
    int steps;
} bench_run;

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static cm3_status run(void *arg) {
    bench_run *bench = arg;
    cm3_lm *lm;
    cm3_graph *graph;
    cm3_train_options options;
    cm3_train_options_init(&options);
    cm3_optimizer optimizer;
    cm3_optimizer_init(bench->context, &options, &optimizer);
    CM3_TRY(cm3_lm_create_random(bench->context, &bench->config, 1, &lm));
    CM3_TRY(
        cm3_graph_create(bench->context, &(cm3_graph_options){.record = true, .compute = CM3_COMPUTE_BF16}, &graph));
    for (size_t i = 0; i < lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &lm->parameters[i];
        CM3_TRY(cm3_optimizer_add(&optimizer, p->name, p->tensor, p->decay, p->tensor->rank == 2));
    }
    cm3_optimizer_refresh(&optimizer, graph->kernels);
    static int32_t ids[BATCH * LENGTH], positions[BATCH * LENGTH], first[BATCH * LENGTH], targets[BATCH * LENGTH];
    cm3_random random = cm3_random_make(1, 1);
    for (int i = 0; i < BATCH * LENGTH; i++) {
        ids[i] = (int32_t)cm3_random_below(&random, VOCAB);
        targets[i] = (int32_t)cm3_random_below(&random, VOCAB);
        positions[i] = i % LENGTH;
        first[i] = i / LENGTH * LENGTH;
    }
    double *seconds = calloc((size_t)bench->steps, sizeof *seconds);
    for (int step = -2; seconds && step < bench->steps; step++) {
        uint64_t start = cm3_clock_ns();
        double norm;
        cm3_graph_reset(graph);
        cm3_lm_batch batch = {.rows = BATCH * LENGTH, .ids = ids, .positions = positions, .plan = {.first = first}};
        cm3_tensor *loss = cm3_nn_cross_entropy(graph, cm3_lm_forward(graph, lm, &batch), targets, NULL, NULL);
        if (!loss) return cm3_graph_status(graph);
        CM3_TRY(cm3_graph_backward(graph, loss, 1));
        CM3_TRY(cm3_optimizer_step(&optimizer, graph, &norm));
        if (step >= 0) seconds[step] = cm3_clock_since(start);
    }
    qsort(seconds, (size_t)bench->steps, sizeof *seconds, by_value);
    printf("{\"layers\": %d, \"width\": %d, \"tokens_per_second\": %.0f, \"best\": %.0f, \"worst\": %.0f}\n",
           bench->config.layers, bench->config.hidden_size, BATCH * LENGTH / seconds[bench->steps / 2],
           BATCH * LENGTH / seconds[0], BATCH * LENGTH / seconds[bench->steps - 1]);
    free(seconds);
    cm3_graph_destroy(graph);
    cm3_optimizer_clear(&optimizer);
    cm3_lm_destroy(lm);
    return CM3_OK;
}

int main(int argc, char **argv) {
    bench_run bench = {.steps = argc > 4 ? atoi(argv[4]) : 10};
    if (cm3_context_create(NULL, &bench.context) != CM3_OK) return 1;
    cm3_lm_config_preset(bench.context, "toybox", &bench.config);
    bench.config.layers = argc > 1 ? atoi(argv[1]) : 6;
    bench.config.hidden_size = argc > 2 ? atoi(argv[2]) : 256;
    bench.config.heads = bench.config.kv_heads = argc > 3 ? atoi(argv[3]) : 4;
    bench.config.head_dim = bench.config.hidden_size / bench.config.heads;
    bench.config.ffn_size = (bench.config.hidden_size * 8 / 3 + 63) / 64 * 64;
    bench.config.vocab_size = VOCAB;
    if (bench.steps < 1) return 2;
    cm3_status status = cm3_context_run(bench.context, run, &bench);
    if (status != CM3_OK) fprintf(stderr, "%s\n", cm3_context_message(bench.context));
    cm3_context_destroy(bench.context);
    return status != CM3_OK;
}
