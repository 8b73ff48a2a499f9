/**
 * @file
 * The sampler: a chain of rules from logits to one token.
 */
#ifndef CM3LEON_SAMPLER_H
#define CM3LEON_SAMPLER_H

#include "cm3leon/context.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * A chain of decoding rules, applied in the order in which they were added, then one draw. Guidance and the modality
 * mask come before the chain and belong to the request, as in the published order: guidance, allowed ids, then
 * repetition penalty, temperature, top-k, top-p (Chameleon's inference code; CM3Leon section 3.2). Built by one thread,
 * then immutable: requests take a hold of their own and may share it.
 */
typedef struct cm3_sampler cm3_sampler;

/** What a user-defined rule sees and may change. */
typedef struct cm3_sampler_step {
    size_t struct_size;     /**< sizeof of this struct */
    float *logits;          /**< [vocab_size]; -INFINITY is excluded; change in place */
    int32_t vocab_size;     /**< how many logits */
    const int32_t *history; /**< prompt and tokens so far */
    size_t history_count;   /**< how many ids */
    size_t prompt_count;    /**< how many of history are the prompt */
    int32_t candidate;      /**< number of the candidate, from 0 */
    int32_t modality;       /**< cm3_modality: what the next token must be */
} cm3_sampler_step;

/** A user-defined rule. `apply` returns 0, or anything else to stop the request with CM3_ERROR_CANCELLED. Called on the
 * engine thread. */
typedef struct cm3_sampler_rule {
    size_t struct_size; /**< set by the caller, or the init function */
    int (*apply)(void *user,
                 const cm3_sampler_step *step); /**< changes the logits; 0, or anything else to stop the request */
    void (*destroy)(void *user);                /**< may be NULL; called once, when the last hold ends */
    void *user;                                 /**< handed to the functions */
} cm3_sampler_rule;

/** An empty chain. Errors: INVALID_ARGUMENT, NO_MEMORY. *sampler is NULL on failure. */
CM3_API cm3_status cm3_sampler_create(cm3_context *context, cm3_sampler **sampler);
/** Gives up the hold; requests keep theirs. NULL is allowed. */
CM3_API void cm3_sampler_destroy(cm3_sampler *sampler);

/** Divides the logits by `temperature` (0..100). 0 ends the chain: the most likely token is taken (greedy). */
CM3_API cm3_status cm3_sampler_add_temperature(cm3_sampler *sampler, float temperature);

/** Keeps the k most likely tokens, and those as likely as the k-th. k >= 1. */
CM3_API cm3_status cm3_sampler_add_top_k(cm3_sampler *sampler, int32_t k);

/** Keeps the most likely tokens whose probability before them sums below p (0 < p <= 1); at least one. */
CM3_API cm3_status cm3_sampler_add_top_p(cm3_sampler *sampler, float p);

/** Divides positive and multiplies negative logits of tokens in the history by `penalty` (> 0; 1 is none). */
CM3_API cm3_status cm3_sampler_add_repetition_penalty(cm3_sampler *sampler, float penalty);

/** Adds a rule of the caller's; the struct is copied. Its destroy is called also when this call fails. */
CM3_API cm3_status cm3_sampler_add_rule(cm3_sampler *sampler, const cm3_sampler_rule *rule);

/**
 * Runs the chain once on `logits` [vocab_size], in place, and draws a token with counter-based random numbers keyed by
 * (seed, candidate, position). What remains in `logits` is what the draw saw. Errors: INVALID_ARGUMENT (also when
 * nothing is left to draw, or a logit is NaN), CANCELLED.
 */
CM3_API cm3_status cm3_sampler_sample(const cm3_sampler *sampler, float *logits, int32_t vocab_size,
                                      const int32_t *history, size_t history_count, uint64_t seed, uint32_t candidate,
                                      uint32_t position, int32_t *token);

#ifdef __cplusplus
}
#endif

#endif
