/* UTF-8, byte by byte. */
#ifndef CM3_TEXT_UTF8_H
#define CM3_TEXT_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The code point at text[*at], which must begin a valid one; *at moves past it. */
static inline uint32_t cm3_utf8_next(const char *text, size_t *at) {
    const unsigned char *p = (const unsigned char *)text + *at;
    if (p[0] < 0x80) {
        *at += 1;
        return p[0];
    }
    if (p[0] < 0xe0) {
        *at += 2;
        return (p[0] & 0x1fu) << 6 | (p[1] & 0x3fu);
    }
    if (p[0] < 0xf0) {
        *at += 3;
        return (p[0] & 0x0fu) << 12 | (p[1] & 0x3fu) << 6 | (p[2] & 0x3fu);
    }
    *at += 4;
    return (p[0] & 0x07u) << 18 | (p[1] & 0x3fu) << 12 | (p[2] & 0x3fu) << 6 | (p[3] & 0x3fu);
}

/** The code point that ends at text[at], at > 0, in valid UTF-8; *start becomes where it begins. */
uint32_t cm3_utf8_previous(const char *text, size_t at, size_t *start);

/** Writes a code point below 0x110000 that is no surrogate; returns its 1..4 bytes. */
size_t cm3_utf8_put(uint32_t code, char out[4]);

/** What a byte begins. */
typedef enum cm3_utf8_kind {
    CM3_UTF8_GOOD = 0, /**< a whole code point */
    CM3_UTF8_BAD = 1,  /**< a maximal subsequence that is none */
    CM3_UTF8_CUT = 2   /**< one that more bytes could still complete */
} cm3_utf8_kind;

/** Looks at bytes[0..size), size > 0; *length is how many bytes belong to the finding. */
cm3_utf8_kind cm3_utf8_look(const char *bytes, size_t size, size_t *length);

/** Bytes up to a code point that is cut off by the end: what a stream can already hand over. */
size_t cm3_utf8_whole(const char *bytes, size_t size);

#endif
