/* Byte-level BPE's alphabet: each byte as a printable character. */
#ifndef CM3_TEXT_BYTE_MAP_H
#define CM3_TEXT_BYTE_MAP_H

#include <stdint.h>

/** Characters of the alphabet are below this. */
#define CM3_BYTE_CHARS 0x144

/** 33..126, 161..172 and 174..255 stand for themselves, the other 68 bytes in order are U+0100 and on. */
static inline uint32_t cm3_byte_to_char(unsigned char byte) {
    if (byte < 33) return 256u + byte;
    if (byte < 127) return byte;
    if (byte < 161) return 256u + 33 + (byte - 127u);
    return byte == 173 ? 256u + 67 : byte;
}

/** The byte of a character, or -1. */
static inline int cm3_char_to_byte(uint32_t code) {
    if (code >= CM3_BYTE_CHARS) return -1;
    if (code >= 256) return code < 289 ? (int)code - 256 : code < 323 ? (int)code - 289 + 127 : 173;
    return (code >= 33 && code < 127) || (code >= 161 && code != 173) ? (int)code : -1;
}

#endif
