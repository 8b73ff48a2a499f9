/* What the tests of lib/text/ share: contexts, files, and calls that own their results. */
#ifndef TESTS_TEXT_SUPPORT_H
#define TESTS_TEXT_SUPPORT_H

#include <jansson.h>

#include "cm3leon/context.h"
#include "cm3leon/tokenizer.h"
#include "text/bpe.h"

/** A context without threads; end it by release_context(), which checks that nothing is held any more. */
cm3_context *new_context(void);
void release_context(cm3_context *context);

/** A file of tests/data, NUL-terminated; free(). */
char *read_data(const char *name, size_t *size);

/** The next line of a text as JSON, NULL at the end; *at moves on. */
json_t *next_line(const char *text, size_t size, size_t *at);

/** The tokenizer in a file of tests/data. */
cm3_bpe *load_bpe(cm3_context *context, const char *name);
/** One from text; the test fails where it is refused. */
cm3_bpe *parse_bpe(cm3_context *context, const char *json);

/** Checks ids of a text against a JSON array. */
void check_ids(cm3_context *context, const cm3_bpe *bpe, const json_t *text, uint32_t flags, const json_t *expected);
/** Checks decoded and made lossy ids, a JSON array, against a JSON string. */
void check_text(cm3_context *context, const cm3_bpe *bpe, const json_t *ids, bool skip, const json_t *expected);

#endif
