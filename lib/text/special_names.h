/* Special tokens found by their names in a tokenizer.json. */
#ifndef CM3_TEXT_SPECIAL_NAMES_H
#define CM3_TEXT_SPECIAL_NAMES_H

#include "text/bpe.h"
#include "text/special.h"

/** The name of image code `code`: IMGIMG, its decimal digits as letters A..J, Z. `name` holds 32 bytes. */
void cm3_image_token_name(int32_t code, char *name);

/**
 * Roles by the names that the family uses: `</s>` eod, `<pad>`, `<racm3:break>` break, `<eoss>` end of span,
 * `<sentinel:i>`, IMGIMG...Z. What is not there stays -1 or 0. The caller clears *special, also on failure. Errors:
 * NO_MEMORY.
 */
cm3_status cm3_special_from_names(cm3_context *context, const cm3_bpe *bpe, int32_t vocab_size,
                                  cm3_special_tokens *special);

/** The same names as Chameleon uses them: `<s>` begins, `<racm3:break>` and `<eoss>` are a picture's brackets,
 * `<reserved08706>` ends a turn. */
void cm3_special_as_chameleon(const cm3_bpe *bpe, cm3_special_tokens *special);

#endif
