/* Element types of tensors, in memory and in files. */
#ifndef CM3_BASE_DTYPE_H
#define CM3_BASE_DTYPE_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef enum cm3_dtype {
    CM3_DTYPE_NONE = 0,
    CM3_F32 = 1,
    CM3_BF16 = 2,
    CM3_F16 = 3,
    CM3_I32 = 4,
    CM3_U8 = 5,
    CM3_I8 = 6,
    CM3_I64 = 7,
    CM3_U4 = 8 /**< of tensors only: two a byte, the first in the low nibble; files have them as U8 */
} cm3_dtype;

/** Bytes of one element; 0 of CM3_U4. */
size_t cm3_dtype_size(cm3_dtype dtype);
/** The name in safetensors files: "F32", "BF16", ... */
const char *cm3_dtype_name(cm3_dtype dtype);
/** The type of a safetensors name, CM3_DTYPE_NONE where it is unknown. */
cm3_dtype cm3_dtype_parse(const char *name);

/** bf16 to f32: exact. */
static inline float cm3_bf16_to_f32(uint16_t value) {
    uint32_t bits = (uint32_t)value << 16;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/** f32 to bf16, round to nearest even; NaN stays NaN. */
static inline uint16_t cm3_f32_to_bf16(float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float cm3_f16_to_f32(uint16_t value);
uint16_t cm3_f32_to_f16(float value);

/** Converts `count` elements between F32, BF16 and F16 (memcpy where the types are equal). */
void cm3_convert(void *to, cm3_dtype to_type, const void *from, cm3_dtype from_type, size_t count);

#endif
