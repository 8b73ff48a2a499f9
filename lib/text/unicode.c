/* Classes of code points by binary search, ASCII by a table; lower case. */
#include "text/unicode.h"

#include <utf8proc.h>

unsigned cm3_unicode_class(uint32_t code) {
    if (code < 128) {
        enum {
            L = CM3_UNICODE_LETTER | CM3_UNICODE_WORD,
            N = CM3_UNICODE_NUMBER | CM3_UNICODE_DIGIT | CM3_UNICODE_WORD
        };
        if ((code | 32u) - 'a' < 26u) return L;
        if (code - '0' < 10u) return N;
        if (code == ' ' || code - 9u < 5u) return CM3_UNICODE_SPACE;
        if (code == '_') return CM3_UNICODE_PUNCT | CM3_UNICODE_WORD;
        return code > ' ' && code < 127 ? CM3_UNICODE_PUNCT : 0;
    }
    uint32_t low = 0, high = cm3_unicode_run_count;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (cm3_unicode_runs[middle] >> 8 <= code)
            low = middle;
        else
            high = middle;
    }
    return cm3_unicode_runs[low] & 255u;
}

bool cm3_unicode_is_word(uint32_t code) {
    if (code == 0x200c || code == 0x200d) return true;
    if (code == 0xb2 || code == 0xb3 || code == 0xb9 || (code >= 0xbc && code <= 0xbe)) return false;
    return (cm3_unicode_class(code) & CM3_UNICODE_WORD) != 0;
}

/* Pairs that utf8proc does not have yet: Unicode 16 and 17. `last` to `first`, each plus `step`. */
static const struct {
    uint32_t first, last;
    int32_t step;
} newer[] = {{0x1c89, 0x1c89, 1},      {0xa7cb, 0xa7cb, 0x264 - 0xa7cb},
             {0xa7cc, 0xa7cc, 1},      {0xa7ce, 0xa7ce, 1},
             {0xa7d2, 0xa7d2, 1},      {0xa7d4, 0xa7d4, 1},
             {0xa7da, 0xa7da, 1},      {0xa7dc, 0xa7dc, 0x19b - 0xa7dc},
             {0x10d50, 0x10d65, 0x20}, {0x16ea0, 0x16eb8, 0x1b}};

int cm3_unicode_lower(uint32_t code, uint32_t out[2]) {
    out[0] = code;
    if (code < 128) {
        if (code - 'A' < 26u) out[0] = code + 32;
        return 1;
    }
    if (code == 0x130) { /* the one code point whose lower case is two */
        out[0] = 'i';
        out[1] = 0x307;
        return 2;
    }
    for (unsigned i = 0; i < sizeof newer / sizeof newer[0]; i++) {
        if (code < newer[i].first || code > newer[i].last) continue;
        out[0] = (uint32_t)((int32_t)code + newer[i].step);
        return 1;
    }
    out[0] = (uint32_t)utf8proc_tolower((utf8proc_int32_t)code);
    return 1;
}
