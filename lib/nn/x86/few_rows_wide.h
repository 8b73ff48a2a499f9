/* For few_rows.inc: loading a vector of f32 or bf16 and multiplying in f32. Needs the vectors included before. */
#ifndef CM3_NN_X86_FEW_ROWS_WIDE_H
#define CM3_NN_X86_FEW_ROWS_WIDE_H

typedef vec few_raw;

VEC_INLINE few_raw few_vector(const void *values, int64_t at, bool bf16) {
    return bf16 ? vec_wide((const uint16_t *)values + at) : vec_load((const float *)values + at);
}

VEC_INLINE few_raw few_part(const void *values, int64_t at, bool bf16, int64_t n) {
    return bf16 ? vec_wide_part((const uint16_t *)values + at, n) : vec_load_part((const float *)values + at, n);
}

VEC_INLINE vec few_dot(few_raw a, few_raw b, vec sum) {
    return vec_fma(a, b, sum);
}

#endif
