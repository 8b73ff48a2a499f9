/* Classes of code points, exactly as the tokenizers library has them. */
#ifndef CM3_TEXT_UNICODE_H
#define CM3_TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    CM3_UNICODE_LETTER = 1, /**< \p{L} */
    CM3_UNICODE_NUMBER = 2, /**< \p{N} */
    CM3_UNICODE_SPACE = 4,  /**< \s */
    CM3_UNICODE_DIGIT = 8,  /**< what the Digits pre-tokenizer takes */
    CM3_UNICODE_PUNCT = 16, /**< what the Punctuation pre-tokenizer takes */
    CM3_UNICODE_WORD = 32   /**< \w */
};

extern const uint32_t cm3_unicode_runs[];
extern const uint32_t cm3_unicode_run_count;

/** The bits above of one code point. */
unsigned cm3_unicode_class(uint32_t code);

/**
 * \w of the library's own expressions. The engine of those in the file differs in the joiners and in Latin-1's
 * superscripts and fractions.
 */
bool cm3_unicode_is_word(uint32_t code);

/** One code point to lower case, at most two of them; returns how many. */
int cm3_unicode_lower(uint32_t code, uint32_t out[2]);

#endif
