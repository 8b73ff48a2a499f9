/* Unicode normalization form C, as the tokenizers library has it: the data of Unicode 9. */
#include <string.h>
#include <utf8proc.h>

#include "text/normalizer.h"
#include "text/utf8.h"

/*
 * Combining and composing characters since Unicode 10. The library knows nothing of them, so to it they are letters
 * that stand for themselves; here they are copied, and the stretches between are normalized one by one.
 */
static const uint32_t newer[][2] = {
    {0x7fd, 0x7fd},     {0x897, 0x89f},     {0x8ca, 0x8d3},     {0x9fe, 0x9fe},     {0xc3c, 0xc3c},
    {0xd3b, 0xd3c},     {0xeba, 0xeba},     {0x1715, 0x1715},   {0x1abf, 0x1aff},   {0x1df6, 0x1dfa},
    {0xa82c, 0xa82c},   {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac}, {0x10efa, 0x10eff},
    {0x10f46, 0x10f50}, {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11380, 0x113ff},
    {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11900, 0x1195f}, {0x119e0, 0x119e0}, {0x11a34, 0x11a34},
    {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97},
    {0x11f41, 0x11f42}, {0x16100, 0x1613f}, {0x16d40, 0x16d7f}, {0x16ff0, 0x16ff1}, {0x1e08f, 0x1e08f},
    {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef}, {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef},
    {0x1e6e3, 0x1e6f5}};

static bool is_newer(uint32_t code) {
    if (code < newer[0][0]) return false;
    size_t low = 0, high = sizeof newer / sizeof newer[0];
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (newer[middle][1] < code)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof newer / sizeof newer[0] && newer[low][0] <= code;
}

static int combining_class(int32_t code) {
    return utf8proc_get_property(code)->combining_class;
}

/* Sorts marks by class, keeping the order within a class: by counting, so that hostile runs of marks cost no more. */
static cm3_status sort_marks(cm3_context *context, cm3_normalizer_scratch *scratch, int32_t *marks, size_t count) {
    size_t at[257] = {0}, unsorted = 0;
    for (size_t i = 1; i < count; i++) unsorted += combining_class(marks[i - 1]) > combining_class(marks[i]);
    if (!unsorted) return CM3_OK;
    CM3_TRY(cm3_grow(context, &scratch->sorted, &scratch->sorted_capacity, count, sizeof *scratch->sorted, "marks"));
    for (size_t i = 0; i < count; i++) at[(combining_class(marks[i]) & 255) + 1]++;
    for (size_t i = 1; i < 257; i++) at[i] += at[i - 1];
    for (size_t i = 0; i < count; i++) scratch->sorted[at[combining_class(marks[i]) & 255]++] = marks[i];
    memcpy(marks, scratch->sorted, count * sizeof *marks);
    return CM3_OK;
}

static cm3_status sort_all_marks(cm3_context *context, cm3_normalizer_scratch *scratch, size_t count) {
    for (size_t begin = 0; begin < count;) {
        size_t end = begin;
        while (end < count && combining_class(scratch->codes[end])) end++;
        if (end - begin > 1) CM3_TRY(sort_marks(context, scratch, scratch->codes + begin, end - begin));
        begin = end + 1;
    }
    return CM3_OK;
}

/* A stretch without newer characters. */
static cm3_status normalize(cm3_context *context, cm3_normalizer_scratch *scratch, const char *text, size_t size,
                            cm3_text *out) {
    enum { MOST = 8 }; /* code points one decomposes into; 4 is the longest */
    size_t count = 0, at = 0;
    while (at < size) {
        int32_t code = (int32_t)cm3_utf8_next(text, &at);
        int last_boundclass = 0;
        CM3_TRY(cm3_grow(context, &scratch->codes, &scratch->code_capacity, count + MOST, sizeof *scratch->codes,
                         "code points"));
        utf8proc_ssize_t made = utf8proc_decompose_char(code, scratch->codes + count, MOST,
                                                        UTF8PROC_STABLE | UTF8PROC_COMPOSE, &last_boundclass);
        if (made < 1 || made > MOST)
            return cm3_fail(context, CM3_ERROR_INTERNAL, "NFC: U+%04X cannot be decomposed", (unsigned)code);
        count += (size_t)made;
    }
    CM3_TRY(sort_all_marks(context, scratch, count));
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(scratch->codes, (utf8proc_ssize_t)count, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    if (composed < 0) return cm3_fail(context, CM3_ERROR_INTERNAL, "NFC: %s", utf8proc_errmsg(composed));
    for (utf8proc_ssize_t i = 0; i < composed; i++) {
        char bytes[4];
        CM3_TRY(cm3_text_append(context, out, bytes, cm3_utf8_put((uint32_t)scratch->codes[i], bytes)));
    }
    return CM3_OK;
}

cm3_status cm3_nfc(cm3_context *context, cm3_normalizer_scratch *scratch, const char *text, size_t size,
                   cm3_text *out) {
    size_t begin = 0, at = 0;
    bool plain = true; /* below U+0300 all is NFC already */
    while (at < size) {
        size_t start = at;
        uint32_t code = cm3_utf8_next(text, &at);
        if (is_newer(code)) {
            CM3_TRY(plain ? cm3_text_append(context, out, text + begin, start - begin)
                          : normalize(context, scratch, text + begin, start - begin, out));
            CM3_TRY(cm3_text_append(context, out, text + start, at - start));
            begin = at;
            plain = true;
        } else if (code >= 0x300) {
            plain = false;
        }
    }
    return plain ? cm3_text_append(context, out, text + begin, size - begin)
                 : normalize(context, scratch, text + begin, size - begin, out);
}
