/* The sampler chain: rules over logits, then one draw from counter-based random numbers. */
#include "generate/sampler.h"

#include <math.h>
#include <string.h>

#include "base/options.h"
#include "base/random.h"
#include "generate/mixing.h"

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

/** The tokens that are not excluded lie in here: of a large vocabulary, a picture's codes are a part. */
typedef struct cm3_span {
    int32_t first, count;
} cm3_span;

/** The span of the logits, none of which may be NaN or infinity. */
static cm3_status look_at(const cm3_sampler *sampler, const cm3_sampler_step *step, cm3_span *span) {
    const float *logits = step->logits;
    int32_t n = step->vocab_size, first = 0, bad = 0;
    for (int32_t i = 0; i < n; i++) bad |= !(logits[i] < INFINITY); /* NaN too */
    for (int32_t i = 0; bad && i < n; i++) {
        if (logits[i] < INFINITY) continue;
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "the logit of token %d is %g", i,
                        (double)logits[i]);
    }
    while (first < n && logits[first] == -INFINITY) first++;
    while (n > first && logits[n - 1] == -INFINITY) n--;
    *span = (cm3_span){first, n - first};
    return CM3_OK;
}

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
static void divide(float *logits, int32_t count, float temperature) {
    float top = 0;
    for (int32_t i = 0; i < count && temperature < 1e-6f; i++) {
        if (!i || logits[i] > top) top = logits[i];
    }
    for (int32_t i = 0; i < count; i++) logits[i] = (logits[i] - top) / temperature;
}

static void top_k(float *logits, int32_t count, int32_t k, cm3_sampler_scratch *scratch) {
    if (k >= count) return;
    memcpy(scratch->chances, logits, (size_t)count * sizeof(float));
    float least = cm3_kth_largest(scratch->chances, count, k);
    for (int32_t i = 0; i < count; i++) logits[i] = logits[i] < least ? -INFINITY : logits[i];
}

static bool is_less(const cm3_ranked *x, const cm3_ranked *y) {
    return x->logit < y->logit || (x->logit == y->logit && x->token < y->token);
}

/** Puts those below the pivot, which is one of them, first, and the pivot behind them. How many there are, and what
 * their chances sum to. */
static size_t partition(cm3_ranked *ranked, size_t count, const float *chances, double *sum) {
    cm3_ranked pivot = ranked[count / 2];
    size_t below = 0;
    ranked[count / 2] = ranked[count - 1];
    ranked[count - 1] = pivot;
    *sum = 0;
    for (size_t i = 0; i + 1 < count; i++) {
        if (!is_less(&ranked[i], &pivot)) continue;
        cm3_ranked kept = ranked[i];
        ranked[i] = ranked[below];
        ranked[below++] = kept;
        *sum += (double)chances[kept.token];
    }
    ranked[count - 1] = ranked[below];
    ranked[below] = pivot;
    return below;
}

static void exclude(float *logits, const cm3_ranked *ranked, size_t count) {
    for (size_t i = 0; i < count; i++) logits[ranked[i].token] = -INFINITY;
}

/** Removes the tail of `ranked` whose chances, summed up from the least likely, stay within `leeway`: by selection, as
 * sorting them all would take longer than the model's own step. The likeliest stays. */
static void cut_tail(float *logits, cm3_ranked *ranked, size_t count, const float *chances, double leeway) {
    size_t low = 0, high = count;
    while (low < high && low + 1 < count) {
        double sum;
        size_t middle = low + partition(ranked + low, high - low, chances, &sum);
        if (sum > leeway) { /* the cut is below the pivot */
            high = middle;
            continue;
        }
        exclude(logits, ranked + low, middle - low);
        leeway -= sum;
        double own = (double)chances[ranked[middle].token];
        if (own > leeway || middle + 1 == count) return;
        exclude(logits, ranked + middle, 1);
        leeway -= own;
        low = middle + 1;
    }
}

/* Removes the tail whose probabilities, summed from the least likely up, stay within 1 - p; at least one token is kept.
 */
static void top_p(const cm3_kernels *kernels, float *logits, int32_t count, float p, cm3_sampler_scratch *scratch) {
    float *chances = scratch->chances;
    double leeway = 1 - (double)p, removed = 0;
    float tiny = (float)(leeway / count); /* all that are less likely stay within the leeway together */
    size_t left = 0;
    kernels->softmax(chances, logits, 1, count);
    for (int32_t i = 0; i < count; i++) {
        if (chances[i] < tiny) {
            removed += (double)chances[i];
            logits[i] = -INFINITY;
        } else {
            scratch->ranked[left++] = (cm3_ranked){logits[i], i};
        }
    }
    cut_tail(logits, scratch->ranked, left, chances, leeway - removed);
}

static int32_t most_likely(const float *logits, int32_t count) {
    int32_t best = 0;
    for (int32_t i = 1; i < count; i++) {
        if (logits[i] > logits[best]) best = i;
    }
    return best;
}

/** By the inverse of the cumulative distribution in order of ids. */
static int32_t draw(const cm3_kernels *kernels, const float *logits, int32_t count, float *chances, uint64_t seed,
                    uint32_t position, int32_t candidate) {
    double sum = 0, passed = 0;
    kernels->softmax(chances, logits, 1, count);
    for (int32_t i = 0; i < count; i++) sum += (double)chances[i];
    uint32_t words[4];
    cm3_philox(seed, position, (uint64_t)(uint32_t)candidate, words);
    double uniform = (double)((((uint64_t)words[0] << 32) | words[1]) >> 11) * 0x1p-53, target = uniform * sum;
    int32_t last = 0;
    for (int32_t i = 0; i < count; i++) {
        if (!(chances[i] > 0)) continue;
        passed += (double)chances[i];
        last = i;
        if (passed > target) break;
    }
    return last;
}

/** One rule. *greedy: the chain ends with the most likely token. */
static cm3_status apply(const cm3_sampler *sampler, const cm3_rule *rule, const cm3_sampler_step *step, cm3_span *span,
                        cm3_sampler_scratch *scratch, bool *greedy) {
    float *logits = step->logits + span->first;
    switch (rule->kind) {
    case CM3_RULE_REPETITION:
        repetition(step, rule->value, scratch);
        return look_at(sampler, step, span);
    case CM3_RULE_TEMPERATURE:
        *greedy = rule->value == 0;
        if (!*greedy) divide(logits, span->count, rule->value);
        return CM3_OK;
    case CM3_RULE_TOP_K:
        top_k(logits, span->count, rule->k, scratch);
        return CM3_OK;
    case CM3_RULE_TOP_P:
        if (rule->value < 1) top_p(scratch->kernels, logits, span->count, rule->value, scratch);
        return CM3_OK;
    case CM3_RULE_USER:
        if (rule->user.apply(rule->user.user, step)) {
            return cm3_fail(sampler->context, CM3_ERROR_CANCELLED, "stopped by a sampler rule of the caller's");
        }
        return look_at(sampler, step, span);
    }
    return CM3_OK;
}

cm3_status cm3_sampler_draw(const cm3_sampler *sampler, const cm3_sampler_step *step, uint64_t seed, uint32_t position,
                            cm3_sampler_scratch *scratch, int32_t *token) {
    bool greedy = false;
    cm3_span span;
    CM3_TRY(look_at(sampler, step, &span));
    for (size_t i = 0; i < sampler->count && !greedy && span.count; i++) {
        CM3_TRY(apply(sampler, &sampler->rules[i], step, &span, scratch, &greedy));
    }
    const float *logits = step->logits + span.first;
    int32_t best = most_likely(logits, span.count);
    if (!span.count || logits[best] == -INFINITY)
        return cm3_fail(sampler->context, CM3_ERROR_INVALID_ARGUMENT, "the sampler's rules left no token to draw");
    if (!greedy) {
        best = draw(scratch->kernels, logits, span.count, scratch->chances, seed, position, step->candidate);
    }
    *token = span.first + best;
    return CM3_OK;
}

cm3_status cm3_sampler_scratch_create(cm3_context *context, int32_t vocab_size, cm3_sampler_scratch *scratch) {
    size_t vocab = (size_t)vocab_size;
    *scratch = (cm3_sampler_scratch){.kernels = cm3_kernels_get(cm3_context_cpu(context)),
                                     .order = cm3_calloc(context, vocab, sizeof *scratch->order),
                                     .ranked = cm3_calloc(context, vocab, sizeof *scratch->ranked),
                                     .chances = cm3_calloc(context, vocab, sizeof *scratch->chances)};
    if (scratch->order && scratch->ranked && scratch->chances) return CM3_OK;
    cm3_sampler_scratch_clear(context, scratch);
    return cm3_fail_memory(context, vocab * 16, "sampler");
}

void cm3_sampler_scratch_clear(cm3_context *context, cm3_sampler_scratch *scratch) {
    cm3_free(context, scratch->order);
    cm3_free(context, scratch->ranked);
    cm3_free(context, scratch->chances);
    *scratch = (cm3_sampler_scratch){0};
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
    cm3_sampler_scratch scratch;
    CM3_TRY(cm3_sampler_scratch_create(sampler->context, vocab_size, &scratch));
    cm3_sampler_step step = {.struct_size = sizeof step,
                             .logits = logits,
                             .vocab_size = vocab_size,
                             .history = history,
                             .history_count = history_count,
                             .prompt_count = history_count,
                             .candidate = (int32_t)candidate,
                             .modality = CM3_MODALITY_TEXT};
    cm3_status status = cm3_sampler_draw(sampler, &step, seed, position, &scratch, token);
    cm3_sampler_scratch_clear(sampler->context, &scratch);
    return status;
}
