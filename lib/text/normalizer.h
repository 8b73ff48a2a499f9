/* Normalizers: what happens to the text before it is cut into words. */
#ifndef CM3_TEXT_NORMALIZER_H
#define CM3_TEXT_NORMALIZER_H

#include "text/pattern.h"

typedef enum cm3_normalizer_kind {
    CM3_NORMALIZER_NFC,
    CM3_NORMALIZER_LOWERCASE,
    CM3_NORMALIZER_REPLACE,
    CM3_NORMALIZER_PREPEND,
    CM3_NORMALIZER_STRIP
} cm3_normalizer_kind;

typedef struct cm3_normalizer_step {
    cm3_normalizer_kind kind;
    cm3_pattern pattern; /**< REPLACE */
    char *content;       /**< REPLACE, PREPEND: owned */
    size_t size;
    bool left, right; /**< STRIP */
} cm3_normalizer_step;

/** Steps in their order; sequences are flattened. */
typedef struct cm3_normalizer {
    cm3_normalizer_step *steps;
    size_t count, capacity;
} cm3_normalizer;

/** A growing text. */
typedef struct cm3_text {
    char *bytes;
    size_t size, capacity;
    size_t limit; /**< of its size; 0: none */
} cm3_text;

/** Errors: UNSUPPORTED beyond the limit, NO_MEMORY. */
cm3_status cm3_text_append(cm3_context *context, cm3_text *text, const char *bytes, size_t size);

/** The most that a file's components may make of `size` bytes; one behind the other, they could multiply without end.
 */
size_t cm3_text_limit(size_t size);

/** Appends the steps of `object`. Errors: FORMAT, UNSUPPORTED naming the component, NO_MEMORY. */
cm3_status cm3_normalizer_parse(const cm3_json_object *object, cm3_normalizer *normalizer);
void cm3_normalizer_clear(cm3_context *context, cm3_normalizer *normalizer);

/** Memory of one run, emptied by cm3_normalizer_scratch_clear(). */
typedef struct cm3_normalizer_scratch {
    cm3_text text[2];
    int32_t *codes, *sorted;
    size_t code_capacity, sorted_capacity;
    pcre2_match_data *match_data;
} cm3_normalizer_scratch;

void cm3_normalizer_scratch_clear(cm3_context *context, cm3_normalizer_scratch *scratch);

/** Appends what becomes of text[0..size) to *out. Errors: UNSUPPORTED (a pattern costs or makes too much), NO_MEMORY.
 */
cm3_status cm3_normalize(cm3_context *context, const cm3_normalizer *normalizer, cm3_normalizer_scratch *scratch,
                         const char *text, size_t size, cm3_text *out);

/** NFC of text[0..size) to the end of *out. */
cm3_status cm3_nfc(cm3_context *context, cm3_normalizer_scratch *scratch, const char *text, size_t size, cm3_text *out);

#endif
