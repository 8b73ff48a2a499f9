/* UTF-8: stepping, checking, and replacing what is not valid. */
#include "text/utf8.h"

#include <string.h>

#include "text/bpe.h"

uint32_t cm3_utf8_previous(const char *text, size_t at, size_t *start) {
    size_t i = at - 1;
    while (i > 0 && ((unsigned char)text[i] & 0xc0) == 0x80) i--;
    *start = i;
    return cm3_utf8_next(text, &i);
}

size_t cm3_utf8_put(uint32_t code, char out[4]) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

cm3_utf8_kind cm3_utf8_look(const char *bytes, size_t size, size_t *length) {
    const unsigned char *p = (const unsigned char *)bytes;
    size_t want;
    unsigned char low = 0x80, high = 0xbf; /* the range of the second byte (Unicode, table 3-7) */
    *length = 1;
    if (p[0] < 0x80) return CM3_UTF8_GOOD;
    if (p[0] < 0xc2 || p[0] > 0xf4) return CM3_UTF8_BAD;
    if (p[0] < 0xe0) {
        want = 2;
    } else if (p[0] < 0xf0) {
        want = 3;
        if (p[0] == 0xe0) low = 0xa0;
        if (p[0] == 0xed) high = 0x9f;
    } else {
        want = 4;
        if (p[0] == 0xf0) low = 0x90;
        if (p[0] == 0xf4) high = 0x8f;
    }
    for (; *length < want; ++*length) {
        if (*length == size) return CM3_UTF8_CUT;
        if (p[*length] < low || p[*length] > high) return CM3_UTF8_BAD;
        low = 0x80;
        high = 0xbf;
    }
    return CM3_UTF8_GOOD;
}

size_t cm3_utf8_whole(const char *bytes, size_t size) {
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        unsigned char byte = (unsigned char)bytes[size - back];
        if ((byte & 0xc0) == 0x80) continue;
        size_t length;
        if (byte >= 0xc0 && cm3_utf8_look(bytes + size - back, back, &length) == CM3_UTF8_CUT) return size - back;
        break;
    }
    return size;
}

/* The first byte of what is not valid, or `size`. */
static size_t first_bad(const char *text, size_t size) {
    size_t at = 0, length;
    while (at < size) {
        if (!((unsigned char)text[at] & 0x80)) {
            at++;
            continue;
        }
        if (cm3_utf8_look(text + at, size - at, &length) != CM3_UTF8_GOOD) break;
        at += length;
    }
    return at;
}

cm3_status cm3_utf8_check(cm3_context *context, const char *what, const char *text, size_t size) {
    size_t bad = first_bad(text, size);
    if (bad == size) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_UTF8, "%s: not valid UTF-8 at byte %zu (0x%02x)", what, bad,
                    (unsigned)(unsigned char)text[bad]);
}

cm3_status cm3_utf8_lossy(cm3_context *context, const char *bytes, size_t size, char **out, size_t *count,
                          size_t *capacity) {
    size_t at = 0, used = *count, length, most;
    if (!cm3_mul_size(size, 3, &most) || !cm3_add_size(used, most, &most))
        return cm3_fail_memory(context, SIZE_MAX, "text");
    while (at < size) {
        size_t good = first_bad(bytes + at, size - at);
        CM3_TRY(cm3_grow(context, out, capacity, used + good + 3, 1, "text"));
        memcpy(*out + used, bytes + at, good);
        used += good;
        at += good;
        if (at == size) break;
        cm3_utf8_look(bytes + at, size - at, &length);
        memcpy(*out + used, "\xef\xbf\xbd", 3);
        used += 3;
        at += length;
    }
    *count = used;
    return CM3_OK;
}
