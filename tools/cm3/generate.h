/* cm3 generate: its arguments, and the parts that take them. */
#ifndef CM3_TOOL_GENERATE_H
#define CM3_TOOL_GENERATE_H

#include "command.h"

typedef struct cm3_generate_arguments {
    const char *model, *vqgan, *head_rows, *prompt, *output, *batch, *out_dir, *compute, *kv, *preview, *sheet, *ids,
        *modality, *layout, *encoder;
    cm3_lookup_arguments lookup;
    cm3_list images, stops, words;
    uint64_t seed;
    int64_t count, best, beams, top_k, threads, parallel, quality, n_tokens, min_tokens;
    double guidance, image_guidance, temperature, top_p, repetition; /**< below 0: the model's own */
    double contrast;                                                 /**< 0: none */
    int64_t contrast_k, contrast_last;
    bool json, quiet, timings, greedy, chat;
} cm3_generate_arguments;

/** Prints the tokens that follow those of a->ids. An exit code. */
int cm3_generate_from_ids(cm3_context *context, cm3_model *model, const cm3_generate_arguments *a,
                          const cm3_generate_options *options);

/** Whether pictures are asked for, alone or between texts. */
bool cm3_generate_draws(const cm3_generate_arguments *a);
/** Whether each option among the words has a use in what is asked for. False after saying which has none. */
bool cm3_generate_fits(const cm3_generate_arguments *a, int argc, char **argv, const cm3_option *options);
/** The options that the arguments ask for, over the model's own. False after saying what is wrong. */
bool cm3_generate_read_options(const cm3_model *model, const cm3_generate_arguments *a, cm3_generate_options *options,
                               int32_t *stops);

#endif
