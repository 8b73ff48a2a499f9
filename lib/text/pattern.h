/* Patterns: what splits and replaces look for. Immutable once parsed; any thread. */
#ifndef CM3_TEXT_PATTERN_H
#define CM3_TEXT_PATTERN_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "files/json.h"

typedef enum cm3_pattern_kind {
    CM3_PATTERN_LITERAL = 0, /**< a string */
    CM3_PATTERN_REGEX,       /**< any regular expression, by PCRE2 */
    CM3_PATTERN_GPT2,        /**< GPT-2's expression, by hand: exact tables and no backtracking */
    CM3_PATTERN_CLIP,        /**< CLIP's, likewise */
    CM3_PATTERN_SPACES,      /**< \s+ */
    CM3_PATTERN_SPACE,       /**< one white space */
    CM3_PATTERN_DIGIT,       /**< one digit */
    CM3_PATTERN_PUNCT,       /**< one punctuation character */
    CM3_PATTERN_WORDS        /**< \w+|[^\w\s]+ */
} cm3_pattern_kind;

typedef struct cm3_pattern {
    cm3_pattern_kind kind;
    char *text; /**< of a literal, owned */
    size_t size;
    pcre2_code *code; /**< of a regex, owned */
} cm3_pattern;

/** Reads {"String": s} or {"Regex": r} at `key`. Errors: FORMAT, UNSUPPORTED (PCRE2 does not take it), NO_MEMORY. */
cm3_status cm3_pattern_parse(const cm3_json_object *object, const char *key, cm3_pattern *pattern);
void cm3_pattern_clear(cm3_context *context, cm3_pattern *pattern);

/** Goes through the matches of a pattern in one text, which must be valid UTF-8. Begin with {.at = 0}. */
typedef struct cm3_search {
    const cm3_pattern *pattern;
    const char *text;
    size_t size;
    size_t at;
    size_t last_end;               /**< of the match before; SIZE_MAX at first */
    pcre2_match_data **match_data; /**< made where it is needed, the caller's; NULL at first */
} cm3_search;

/** The next match, *found false where there is none. Errors: UNSUPPORTED (the expression costs too much), NO_MEMORY. */
cm3_status cm3_search_next(cm3_context *context, cm3_search *search, bool *found, size_t *begin, size_t *end);

#endif
