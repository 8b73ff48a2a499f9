/* What the streams of a candidate become before a token is drawn: weighted sums, and the tokens that may be taken. */
#ifndef CM3_GENERATE_MIXING_H
#define CM3_GENERATE_MIXING_H

#include <stdint.h>

/**
 * to[i] = sum_s weights[s] streams[s][i]. Contrastive decoding is (1, -1) of the conditional and the unconditional
 * stream (Li et al. 2022): logits and their log-probabilities differ by a constant, which no weight sees. Guidance is
 * (s, 1 - s) (CM3Leon eq. 2), and with one that knows the pictures (s, t - s, 1 - t); the engine writes it as u + s (c
 * - u), as the published code does, so that its rounding is the same. `to` may be one of the streams.
 */
void cm3_mix_streams(float *to, const float *const *streams, const float *weights, int count, int32_t n);

/**
 * The plausible tokens of contrastive decoding (CM3Leon eq. 3): of those with a score above -infinity the ones whose
 * conditional probability is at least alpha times the k-th largest of theirs; the rest become -infinity. k 1 is the
 * original's. alpha in (0, 1], k >= 1 (above the number of tokens: the smallest). work: [n].
 */
void cm3_keep_plausible(float *scores, const float *conditional, int32_t n, float alpha, int32_t k, float *work);

/** The k-th largest of n values, 1 <= k <= n; their order is lost. */
float cm3_kth_largest(float *values, int32_t n, int32_t k);

/** log softmax(logits)[token]; -infinity counts nothing. */
double cm3_log_probability(const float *logits, int32_t n, int32_t token);

#endif
