/* PostgreSQL's binary forms: big-endian numbers, pgvector's vectors. */
#ifndef CM3_PGVECTOR_WIRE_H
#define CM3_PGVECTOR_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/** Bytes that grow. After a failed allocation it stays `failed`, and nothing is put in. */
typedef struct cm3_pg_bytes {
    uint8_t *data;
    size_t size, capacity;
    bool failed;
} cm3_pg_bytes;

static inline uint8_t *cm3_pg_room(cm3_pg_bytes *bytes, size_t size) {
    if (!bytes->failed && size > bytes->capacity - bytes->size) {
        size_t capacity = bytes->capacity ? bytes->capacity : 4096;
        while (capacity - bytes->size < size && capacity <= SIZE_MAX / 4) capacity *= 2;
        uint8_t *grown = capacity - bytes->size < size ? NULL : realloc(bytes->data, capacity);
        if (grown) {
            bytes->data = grown;
            bytes->capacity = capacity;
        }
        bytes->failed = !grown;
    }
    if (bytes->failed) return NULL;
    uint8_t *at = bytes->data + bytes->size;
    bytes->size += size;
    return at;
}

static inline void cm3_pg_write_number(uint8_t *to, uint64_t value, int width) {
    for (int i = 0; i < width; i++) to[i] = (uint8_t)(value >> (8 * (width - 1 - i)));
}

static inline uint64_t cm3_pg_number(const void *from, int width) {
    const uint8_t *at = from;
    uint64_t value = 0;
    for (int i = 0; i < width; i++) value = value << 8 | at[i];
    return value;
}

static inline void cm3_pg_put_number(cm3_pg_bytes *bytes, uint64_t value, int width) {
    uint8_t *to = cm3_pg_room(bytes, (size_t)width);
    if (to) cm3_pg_write_number(to, value, width);
}

static inline void cm3_pg_put(cm3_pg_bytes *bytes, const void *data, size_t size) {
    uint8_t *to = cm3_pg_room(bytes, size);
    if (to && size) memcpy(to, data, size);
}

static inline void cm3_pg_write_float(uint8_t *to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    cm3_pg_write_number(to, bits, 4);
}

static inline float cm3_pg_float(const void *from) {
    const uint32_t bits = (uint32_t)cm3_pg_number(from, 4);
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/** Bytes of a `vector`: its dimension, 16 bits of zero, floats. */
static inline size_t cm3_pg_vector_size(int32_t dimension) {
    return 4 + 4 * (size_t)dimension;
}

static inline void cm3_pg_write_vector(uint8_t *to, const float *vector, int32_t dimension, float scale) {
    cm3_pg_write_number(to, (uint64_t)dimension, 2);
    cm3_pg_write_number(to + 2, 0, 2);
    for (int32_t i = 0; i < dimension; i++) cm3_pg_write_float(to + 4 + 4 * (size_t)i, vector[i] * scale);
}

#endif
