/* What `cm3 train` is told. */
#ifndef CM3_TOOL_TRAIN_H
#define CM3_TOOL_TRAIN_H

#include "command.h"

typedef struct cm3_train_arguments {
    cm3_list data, validation, words;
    const char *run, *output, *weights, *config, *schedule, *compute, *codebook, *tokenizer, *vq, *init, *attend,
        *masking, *out_dir, *mixture, *tasks;
    bool answers_only, query_documents;
    int64_t steps, stop_at, batch_size, accumulation, warmup, seed, save_every, validate_every, log_every, threads;
    int64_t memory_limit; /**< MB; 0: none */
    int64_t quantise_from, adversarial_from, block_size, vocab_size, image_codes, sentinels, min_frequency;
    double lr, min_lr_ratio, beta1, beta2, weight_decay, clip, weight_average;
    double l1, l2, commitment, codebook_decay, revival, adversarial, caption_dropout, text_weight;
    int64_t chunk, together;
    double initial_scale, query_weight, cost_weight;
    const char *bank;
    int64_t most_retrieved;
    double retrieved_weight;
    int64_t skip_steps;
    bool fresh, quiet;
    const cm3_comm *comm; /**< NULL: this process alone */
} cm3_train_arguments;

/** Reads the options of one of its parts ("lm"). False after saying what is wrong; one that has no use there is. */
bool cm3_train_parse(int argc, char **argv, const char *what, cm3_train_arguments *a);

/**
 * `cm3 train` as one of several processes, each of which calls it with the same words: rank 0 alone shows progress and
 * writes the log and what is made, and a signal to any of them ends all, after a checkpoint. `comm` NULL: this process
 * alone. `threads` counts where --threads is not given; -1: one a CPU. An exit code.
 */
int cm3_train_run(int argc, char **argv, const cm3_comm *comm, int64_t threads);

#endif
