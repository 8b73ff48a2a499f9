/* Element types and conversions between them. */
#include "base/dtype.h"

static const struct {
    cm3_dtype dtype;
    size_t size;
    const char *name;
} dtypes[] = {
    {CM3_F32, 4, "F32"}, {CM3_BF16, 2, "BF16"}, {CM3_F16, 2, "F16"}, {CM3_I32, 4, "I32"},
    {CM3_U8, 1, "U8"},   {CM3_I8, 1, "I8"},     {CM3_I64, 8, "I64"},
};
#define DTYPES (sizeof dtypes / sizeof *dtypes)

size_t cm3_dtype_size(cm3_dtype dtype) {
    for (size_t i = 0; i < DTYPES; ++i) {
        if (dtypes[i].dtype == dtype) return dtypes[i].size;
    }
    return 0;
}

const char *cm3_dtype_name(cm3_dtype dtype) {
    for (size_t i = 0; i < DTYPES; ++i) {
        if (dtypes[i].dtype == dtype) return dtypes[i].name;
    }
    return "NONE";
}

cm3_dtype cm3_dtype_parse(const char *name) {
    for (size_t i = 0; i < DTYPES; ++i) {
        if (strcmp(dtypes[i].name, name) == 0) return dtypes[i].dtype;
    }
    return CM3_DTYPE_NONE;
}

static inline float float_of(uint32_t bits) {
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t bits_of(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

/*
 * The three kinds of a half are computed beside each other and selected, so that loops over it become vector code. No
 * subnormal float is touched on the way: hosts that flush them get the same numbers.
 */
static inline float f16_to_f32(uint16_t value) {
    uint32_t sign = (uint32_t)(value & 0x8000u) << 16;
    uint32_t shifted = (uint32_t)(value & 0x7fffu) << 13;
    uint32_t normal = shifted + (112u << 23);
    uint32_t special = shifted | 0x7f800000u | ((shifted & 0x007fffffu) != 0 ? 0x00400000u : 0);
    uint32_t subnormal = bits_of(float_of(shifted + (113u << 23)) - 0x1p-14f);
    uint32_t bits = shifted < (1u << 23) ? subnormal : normal;
    bits = shifted >= (31u << 23) ? special : bits;
    return float_of(bits | sign);
}

static inline uint16_t f32_to_f16(float value) {
    uint32_t bits = bits_of(value);
    uint32_t sign = bits & 0x80000000u;
    bits ^= sign;
    /* Adding half a unit and the last kept bit rounds to nearest even; a carry into the exponent is right as it is. */
    uint32_t normal = (bits - (112u << 23) + 0xfffu + ((bits >> 13) & 1u)) >> 13;
    /* 0.5f has its last bit at 2^-24, the last bit of a subnormal half: the addition rounds there. */
    uint32_t subnormal = bits_of(float_of(bits) + 0.5f) - (126u << 23);
    uint32_t special = bits > 0x7f800000u ? (0x7e00u | ((bits >> 13) & 0x1ffu)) : 0x7c00u;
    uint32_t half = bits < (113u << 23) ? subnormal : normal;
    half = bits >= (143u << 23) ? special : half;
    return (uint16_t)(half | (sign >> 16));
}

float cm3_f16_to_f32(uint16_t value) {
    return f16_to_f32(value);
}

uint16_t cm3_f32_to_f16(float value) {
    return f32_to_f16(value);
}

static void bf16_from_f32(uint16_t *restrict to, const float *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = cm3_f32_to_bf16(from[i]);
}

static void f32_from_bf16(float *restrict to, const uint16_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = cm3_bf16_to_f32(from[i]);
}

static void f16_from_f32(uint16_t *restrict to, const float *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = f32_to_f16(from[i]);
}

static void f32_from_f16(float *restrict to, const uint16_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = f16_to_f32(from[i]);
}

static void bf16_from_f16(uint16_t *restrict to, const uint16_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = cm3_f32_to_bf16(f16_to_f32(from[i]));
}

static void f16_from_bf16(uint16_t *restrict to, const uint16_t *restrict from, size_t count) {
    for (size_t i = 0; i < count; ++i) to[i] = f32_to_f16(cm3_bf16_to_f32(from[i]));
}

void cm3_convert(void *to, cm3_dtype to_type, const void *from, cm3_dtype from_type, size_t count) {
    if (count == 0) return;
    if (to_type == from_type) {
        memcpy(to, from, count * cm3_dtype_size(to_type));
    } else if (to_type == CM3_F32) {
        if (from_type == CM3_BF16) f32_from_bf16(to, from, count);
        if (from_type == CM3_F16) f32_from_f16(to, from, count);
    } else if (to_type == CM3_BF16) {
        if (from_type == CM3_F32) bf16_from_f32(to, from, count);
        if (from_type == CM3_F16) bf16_from_f16(to, from, count);
    } else if (to_type == CM3_F16) {
        if (from_type == CM3_F32) f16_from_f32(to, from, count);
        if (from_type == CM3_BF16) f16_from_bf16(to, from, count);
    }
}
