/*
 * exp and the normal distribution without branches, so that loops over them become vectors. Polynomials: minimax fits.
 */
#ifndef CM3_NN_REF_EXPONENTIAL_H
#define CM3_NN_REF_EXPONENTIAL_H

#include <stdint.h>
#include <string.h>

/**
 * e^x to about 1e-7 relative. Below -87.33 (where results would be subnormal) it is 0, above 88.37 infinity; NaN stays.
 * x = n ln 2 + r: adding 1.5 * 2^23 rounds x / ln 2 to the integer n and leaves n in the low bits of the sum.
 */
static inline float cm3_exp(float x) {
    const float shift = 12582912.0f;
    float t = x < -87.33f ? -87.33f : x;
    t = t > 88.8f ? 88.8f : t;
    float shifted = t * 1.44269504f + shift;
    float n = shifted - shift;
    float r = (t - n * 0.693359375f) + n * 2.12194440e-4f;
    float q = 0.0013814599f;
    q = q * r + 0.008368717f;
    q = q * r + 0.04166839f;
    q = q * r + 0.16666521f;
    q = q * r + 0.49999994f;
    float e = (q * r * r + r) + 1.0f;
    uint32_t bits;
    memcpy(&bits, &shifted, sizeof bits);
    bits = (bits << 23) + 0x3f800000u; /* 2^n */
    float power;
    memcpy(&power, &bits, sizeof power);
    return x < -87.33f ? 0.0f : e * power;
}

static inline float cm3_sigmoid(float x) {
    return 1.0f / (1.0f + cm3_exp(-x));
}

/** The normal distribution Phi(x) = (1 + erf(x / sqrt 2)) / 2; the tails keep their relative accuracy. */
static inline float cm3_phi(float x) {
    float z = (x < 0.0f ? -x : x) * 0.70710678f;
    float t = 1.0f / (1.0f + 0.4f * z);
    float p = -0.01519577f;
    p = p * t + 0.10118013f;
    p = p * t - 0.25453985f;
    p = p * t + 0.28059915f;
    p = p * t - 0.14793925f;
    p = p * t + 0.13914245f;
    p = p * t + 0.06375717f;
    p = p * t + 0.10769342f;
    p = p * t + 0.11244761f;
    p = p * t + 0.11285493f;
    float tail = p * t * cm3_exp(-0.5f * x * x);
    return x < 0.0f ? tail : 1.0f - tail;
}

#endif
