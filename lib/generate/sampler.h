/* The inside of the sampler. */
#ifndef CM3_GENERATE_SAMPLER_H
#define CM3_GENERATE_SAMPLER_H

#include <stdatomic.h>

#include "base/context.h"
#include "cm3leon/request.h"

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

/** Memory that the rules work in: `order` [vocab_size], `values` [2 * vocab_size] (pairs of logit and token fit). */
typedef struct cm3_sampler_scratch {
    int32_t *order;
    float *values;
} cm3_sampler_scratch;

/** Applies the chain to step->logits and draws; `scratch` is for step->vocab_size tokens. */
cm3_status cm3_sampler_draw(const cm3_sampler *sampler, const cm3_sampler_step *step, uint64_t seed, uint32_t position,
                            cm3_sampler_scratch *scratch, int32_t *token);

#endif
