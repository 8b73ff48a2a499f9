/* The inside of the sampler. */
#ifndef CM3_GENERATE_SAMPLER_H
#define CM3_GENERATE_SAMPLER_H

#include <stdatomic.h>

#include "base/context.h"
#include "cm3leon/request.h"
#include "nn/kernels.h"

typedef enum cm3_rule_kind {
    CM3_RULE_TEMPERATURE,
    CM3_RULE_TOP_K,
    CM3_RULE_TOP_P,
    CM3_RULE_REPETITION,
    CM3_RULE_USER
} cm3_rule_kind;

typedef struct cm3_rule {
    cm3_rule_kind kind;
    float value;
    int32_t k;
    cm3_sampler_rule user;
} cm3_rule;

struct cm3_sampler {
    cm3_context *context;
    atomic_int references;
    cm3_rule *rules;
    size_t count, capacity;
};

void cm3_sampler_retain(cm3_sampler *sampler);

/** The chain that the plain options ask for: repetition penalty, temperature, top-k, top-p, those that do something. */
cm3_status cm3_sampler_from_options(cm3_context *context, const cm3_generate_options *options, cm3_sampler **sampler);

/** A token and its logit, to be ranked by. */
typedef struct cm3_ranked {
    float logit;
    int32_t token;
} cm3_ranked;

/** Memory that the rules work in, [vocab_size] each, and the kernels they use. */
typedef struct cm3_sampler_scratch {
    const cm3_kernels *kernels;
    int32_t *order;
    cm3_ranked *ranked;
    float *chances;
} cm3_sampler_scratch;

cm3_status cm3_sampler_scratch_create(cm3_context *context, int32_t vocab_size, cm3_sampler_scratch *scratch);
void cm3_sampler_scratch_clear(cm3_context *context, cm3_sampler_scratch *scratch);

/** Applies the chain to step->logits and draws; `scratch` is for step->vocab_size tokens. */
cm3_status cm3_sampler_draw(const cm3_sampler *sampler, const cm3_sampler_step *step, uint64_t seed, uint32_t position,
                            cm3_sampler_scratch *scratch, int32_t *token);

#endif
