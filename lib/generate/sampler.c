/* The sampler chain: rules over logits, then one draw from counter-based random numbers. */
#include "generate/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "base/random.h"

cm3_status cm3_sampler_create(cm3_context *context, cm3_sampler **sampler) {
    if (sampler) *sampler = NULL;
    if (!context || !sampler)
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_sampler_create: an argument is NULL");
    cm3_sampler *s = cm3_calloc(context, 1, sizeof *s);
    if (!s) return cm3_fail_memory(context, sizeof *s, "sampler");
    s->context = context;
    atomic_init(&s->references, 1);
    cm3_context_retain(context);
    *sampler = s;
    return CM3_OK;
}

void cm3_sampler_retain(cm3_sampler *sampler) {
    atomic_fetch_add(&sampler->references, 1);
}

void cm3_sampler_destroy(cm3_sampler *sampler) {
    if (!sampler || atomic_fetch_sub(&sampler->references, 1) != 1) return;
    cm3_context *context = sampler->context;
    for (size_t i = 0; i < sampler->count; i++) {
        const cm3_sampler_rule *user = &sampler->rules[i].user;
        if (user->destroy) user->destroy(user->user);
    }
    cm3_free(context, sampler->rules);
    cm3_free(context, sampler);
    cm3_context_release(context);
}

static cm3_status add(cm3_sampler *sampler, const cm3_rule *rule) {
    CM3_TRY(cm3_grow(sampler->context, &sampler->rules, &sampler->capacity, sampler->count + 1, sizeof *sampler->rules,
                     "sampler"));
    sampler->rules[sampler->count++] = *rule;
    return CM3_OK;
}

/* The comparisons are written so that NaN fails them. */
cm3_status cm3_sampler_add_temperature(cm3_sampler *sampler, float temperature) {
    if (!sampler) return CM3_ERROR_INVALID_ARGUMENT;
    if (!(temperature >= 0 && temperature <= 100)) {
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "temperature is %g, not in 0..100",
                        (double)temperature);
    }
    return add(sampler, &(cm3_rule){.kind = CM3_RULE_TEMPERATURE, .value = temperature});
}

cm3_status cm3_sampler_add_top_k(cm3_sampler *sampler, int32_t k) {
    if (!sampler) return CM3_ERROR_INVALID_ARGUMENT;
    if (k < 1) return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "top_k is %d, not 1 or more", k);
    return add(sampler, &(cm3_rule){.kind = CM3_RULE_TOP_K, .k = k});
}

cm3_status cm3_sampler_add_top_p(cm3_sampler *sampler, float p) {
    if (!sampler) return CM3_ERROR_INVALID_ARGUMENT;
    if (!(p > 0 && p <= 1)) {
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "top_p is %g, not above 0 and at most 1",
                        (double)p);
    }
    return add(sampler, &(cm3_rule){.kind = CM3_RULE_TOP_P, .value = p});
}

cm3_status cm3_sampler_add_repetition_penalty(cm3_sampler *sampler, float penalty) {
    if (!sampler) return CM3_ERROR_INVALID_ARGUMENT;
    if (!(penalty > 0 && penalty <= 1e6f)) {
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "repetition_penalty is %g, not above 0",
                        (double)penalty);
    }
    return add(sampler, &(cm3_rule){.kind = CM3_RULE_REPETITION, .value = penalty});
}

cm3_status cm3_sampler_add_rule(cm3_sampler *sampler, const cm3_sampler_rule *rule) {
    if (!sampler || !rule) {
        return cm3_fail(sampler ? sampler->context : NULL, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_sampler_add_rule: an argument is NULL");
    }
    cm3_rule own = {.kind = CM3_RULE_USER, .user = {.struct_size = sizeof own.user}};
    cm3_status status = cm3_options_read(sampler->context, &own.user, sizeof own.user, rule, "cm3_sampler_rule");
    if (status == CM3_OK && !own.user.apply) {
        status = cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_sampler_add_rule: apply is NULL");
    }
    if (status == CM3_OK) status = add(sampler, &own);
    if (status != CM3_OK && own.user.destroy) own.user.destroy(own.user.user);
    return status;
}

cm3_status cm3_sampler_from_options(cm3_context *context, const cm3_generate_options *o, cm3_sampler **sampler) {
    CM3_TRY(cm3_sampler_create(context, sampler));
    cm3_status status = CM3_OK;
    if (o->repetition_penalty != 1) status = cm3_sampler_add_repetition_penalty(*sampler, o->repetition_penalty);
    if (status == CM3_OK && o->temperature != 1) status = cm3_sampler_add_temperature(*sampler, o->temperature);
    if (status == CM3_OK && o->top_k != 0) status = cm3_sampler_add_top_k(*sampler, o->top_k);
    if (status == CM3_OK && o->top_p != 1) status = cm3_sampler_add_top_p(*sampler, o->top_p);
    if (status != CM3_OK) {
        cm3_sampler_destroy(*sampler);
        *sampler = NULL;
    }
    return status;
}

/* --- rules ---------------------------------------------------------------------------------------------------------
 */

static void repetition(const cm3_sampler_step *step, float penalty, cm3_sampler_scratch *scratch) {
    /* A token in the history several times is penalised once: mark first. */
    memset(scratch->order, 0, (size_t)step->vocab_size * sizeof *scratch->order);
    for (size_t i = 0; i < step->history_count; i++) {
        int32_t token = step->history[i];
        if (token < 0 || token >= step->vocab_size || scratch->order[token]) continue;
        scratch->order[token] = 1;
        float *logit = &step->logits[token];
        *logit = *logit > 0 ? *logit / penalty : *logit * penalty;
    }
}

/** The greatest is taken off first where the quotient could pass the largest float: the probabilities are the same. */
static void divide(const cm3_sampler_step *step, float temperature) {
    float top = 0;
    for (int32_t i = 0; i < step->vocab_size && temperature < 1e-6f; i++) {
        if (!i || step->logits[i] > top) top = step->logits[i];
    }
    if (top == -INFINITY) return;
    for (int32_t i = 0; i < step->vocab_size; i++) step->logits[i] = (step->logits[i] - top) / temperature;
}

static int descending(const void *a, const void *b) {
    float x = *(const float *)a, y = *(const float *)b;
    return (x < y) - (x > y);
}

static void top_k(const cm3_sampler_step *step, int32_t k, cm3_sampler_scratch *scratch) {
    if (k >= step->vocab_size) return;
    memcpy(scratch->values, step->logits, (size_t)step->vocab_size * sizeof(float));
    qsort(scratch->values, (size_t)step->vocab_size, sizeof(float), descending);
    float least = scratch->values[k - 1];
    for (int32_t i = 0; i < step->vocab_size; i++) {
        if (step->logits[i] < least) step->logits[i] = -INFINITY;
    }
}

/** A token and its logit, to sort by. */
typedef struct cm3_ranked {
    float logit;
    int32_t token;
} cm3_ranked;

static int ascending_rank(const void *a, const void *b) {
    const cm3_ranked *x = a, *y = b;
    if (x->logit != y->logit) return x->logit < y->logit ? -1 : 1;
    return (x->token > y->token) - (x->token < y->token);
}

/* Removes the tail whose probabilities, summed from the least likely up, stay within 1 - p; at least one token is kept.
 */
static void top_p(const cm3_sampler_step *step, float p, cm3_sampler_scratch *scratch) {
    cm3_ranked *ranked = (cm3_ranked *)scratch->values;
    size_t count = 0;
    float best = -INFINITY;
    for (int32_t i = 0; i < step->vocab_size; i++) {
        if (step->logits[i] == -INFINITY) continue;
        ranked[count++] = (cm3_ranked){step->logits[i], i};
        if (step->logits[i] > best) best = step->logits[i];
    }
    double sum = 0, below = 0;
    for (size_t i = 0; i < count; i++) sum += exp((double)ranked[i].logit - best);
    qsort(ranked, count, sizeof *ranked, ascending_rank);
    for (size_t i = 0; i + 1 < count; i++) {
        below += exp((double)ranked[i].logit - best) / sum;
        if (below > 1 - (double)p) break;
        step->logits[ranked[i].token] = -INFINITY;
    }
}

static cm3_status check_logits(const cm3_sampler *sampler, const cm3_sampler_step *step) {
    for (int32_t i = 0; i < step->vocab_size; i++) {
        if (step->logits[i] != step->logits[i] || step->logits[i] == INFINITY) {
            return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "the logit of token %d is %g", i,
                            (double)step->logits[i]);
        }
    }
    return CM3_OK;
}

static int32_t most_likely(const cm3_sampler_step *step) {
    int32_t best = -1;
    for (int32_t i = 0; i < step->vocab_size; i++) {
        if (step->logits[i] != -INFINITY && (best < 0 || step->logits[i] > step->logits[best])) best = i;
    }
    return best;
}

/** By the inverse of the cumulative distribution in order of ids. */
static int32_t draw(const cm3_sampler_step *step, int32_t best, uint64_t seed, uint32_t position) {
    double sum = 0, top = step->logits[best];
    for (int32_t i = 0; i < step->vocab_size; i++) {
        if (step->logits[i] != -INFINITY) sum += exp(step->logits[i] - top);
    }
    uint32_t words[4];
    cm3_philox(seed, position, (uint64_t)(uint32_t)step->candidate, words);
    double uniform = (double)((((uint64_t)words[0] << 32) | words[1]) >> 11) * 0x1p-53, target = uniform * sum,
           passed = 0;
    int32_t last = best;
    for (int32_t i = 0; i < step->vocab_size; i++) {
        if (step->logits[i] == -INFINITY) continue;
        passed += exp(step->logits[i] - top);
        last = i;
        if (passed > target) return i;
    }
    return last; /* rounding left the sum a little short */
}

cm3_status cm3_sampler_draw(const cm3_sampler *sampler, const cm3_sampler_step *step, uint64_t seed, uint32_t position,
                            cm3_sampler_scratch *scratch, int32_t *token) {
    bool greedy = false;
    CM3_TRY(check_logits(sampler, step));
    for (size_t i = 0; i < sampler->count && !greedy; i++) {
        const cm3_rule *rule = &sampler->rules[i];
        switch (rule->kind) {
        case CM3_RULE_REPETITION:
            repetition(step, rule->value, scratch);
            CM3_TRY(check_logits(sampler, step));
            break;
        case CM3_RULE_TEMPERATURE:
            greedy = rule->value == 0;
            if (!greedy) divide(step, rule->value);
            break;
        case CM3_RULE_TOP_K:
            top_k(step, rule->k, scratch);
            break;
        case CM3_RULE_TOP_P:
            if (rule->value < 1) top_p(step, rule->value, scratch);
            break;
        case CM3_RULE_USER:
            if (rule->user.apply(rule->user.user, step)) {
                return cm3_fail(sampler->context, CM3_ERROR_CANCELLED, "stopped by a sampler rule of the caller's");
            }
            CM3_TRY(check_logits(sampler, step));
            break;
        }
    }
    int32_t best = most_likely(step);
    if (best < 0)
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "the sampler's rules left no token to draw");
    *token = greedy ? best : draw(step, best, seed, position);
    return CM3_OK;
}

cm3_status cm3_sampler_sample(const cm3_sampler *sampler, float *logits, int32_t vocab_size, const int32_t *history,
                              size_t history_count, uint64_t seed, uint32_t candidate, uint32_t position,
                              int32_t *token) {
    if (token) *token = -1;
    if (!sampler) return CM3_ERROR_INVALID_ARGUMENT;
    if (!logits || !token || vocab_size < 1 || (!history && history_count)) {
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT,
                        "cm3_sampler_sample: an argument is NULL or out of range");
    }
    cm3_sampler_scratch scratch = {
        .order = cm3_calloc(sampler->context, (size_t)vocab_size, sizeof(int32_t)),
        .values = cm3_calloc(sampler->context, (size_t)vocab_size, sizeof(cm3_ranked)),
    };
    cm3_status status = CM3_ERROR_NO_MEMORY;
    if (scratch.order && scratch.values) {
        cm3_sampler_step step = {.struct_size = sizeof step,
                                 .logits = logits,
                                 .vocab_size = vocab_size,
                                 .history = history,
                                 .history_count = history_count,
                                 .prompt_count = history_count,
                                 .candidate = (int32_t)candidate,
                                 .modality = CM3_MODALITY_TEXT};
        status = cm3_sampler_draw(sampler, &step, seed, position, &scratch, token);
    } else {
        status = cm3_fail_memory(sampler->context, (size_t)vocab_size * 12, "sampler");
    }
    cm3_free(sampler->context, scratch.order);
    cm3_free(sampler->context, scratch.values);
    return status;
}
