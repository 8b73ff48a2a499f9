/* Mixtures of streams. */
#include "generate/mixing.h"

#include <math.h>
#include <stdbool.h>

void cm3_mix_streams(float *to, const float *const *streams, const float *weights, int count, int32_t n) {
    for (int32_t i = 0; i < n; i++) {
        float sum = 0;
        for (int s = 0; s < count; s++) sum += weights[s] * streams[s][i];
        to[i] = sum;
    }
}

/* Hoare's selection. */
float cm3_kth_largest(float *values, int32_t n, int32_t k) {
    int32_t low = 0, high = n - 1;
    while (low < high) {
        float pivot = values[low + (high - low) / 2];
        int32_t i = low, j = high;
        while (i <= j) {
            while (values[i] > pivot) i++;
            while (values[j] < pivot) j--;
            if (i > j) break;
            float swapped = values[i];
            values[i++] = values[j];
            values[j--] = swapped;
        }
        if (k - 1 <= j) {
            high = j;
        } else if (k - 1 >= i) {
            low = i;
        } else {
            break;
        }
    }
    return values[k - 1];
}

void cm3_keep_plausible(float *scores, const float *conditional, int32_t n, float alpha, int32_t k, float *work) {
    int32_t count = 0;
    for (int32_t i = 0; i < n; i++) {
        if (scores[i] > -INFINITY && conditional[i] > -INFINITY) work[count++] = conditional[i];
    }
    if (!count) return;
    float least = cm3_kth_largest(work, count, k < count ? k : count) + logf(alpha);
    for (int32_t i = 0; i < n; i++) {
        if (!(conditional[i] >= least)) scores[i] = -INFINITY;
    }
}

double cm3_log_probability(const float *logits, int32_t n, int32_t token) {
    double highest = -INFINITY, sum = 0;
    for (int32_t i = 0; i < n; i++) highest = (double)logits[i] > highest ? (double)logits[i] : highest;
    for (int32_t i = 0; i < n; i++) sum += exp((double)logits[i] - highest);
    return (double)logits[token] - highest - log(sum);
}
