/* Patterns: the expressions of the known tokenizers by hand, all others by PCRE2. */
#include "text/pattern.h"

#include <string.h>

#include "text/unicode.h"
#include "text/utf8.h"

/* Expressions that have a matcher of their own. The library's tables of letters and digits are newer than PCRE2's. */
static const struct {
    const char *regex;
    cm3_pattern_kind kind;
} known[] = {
    {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", CM3_PATTERN_GPT2},
    {"'(?:[sdmt]|ll|ve|re)| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+", CM3_PATTERN_GPT2},
    {"<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d|[\\p{L}]+|[\\p{N}]|[^\\s\\p{L}\\p{N}]+",
     CM3_PATTERN_CLIP},
    {"\\s+", CM3_PATTERN_SPACES},
};

static cm3_status compile(const cm3_json_object *object, const char *regex, cm3_pattern *pattern) {
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(regex, known[i].regex)) continue;
        pattern->kind = known[i].kind;
        return CM3_OK;
    }
    int error;
    PCRE2_SIZE at;
    pattern->kind = CM3_PATTERN_REGEX;
    /* Oniguruma's Ruby syntax: ^ and $ are of lines. */
    pattern->code = pcre2_compile((PCRE2_SPTR)regex, PCRE2_ZERO_TERMINATED,
                                  PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
    if (!pattern->code) {
        PCRE2_UCHAR words[128];
        pcre2_get_error_message(error, words, sizeof words);
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: pattern \"%.100s\": %s at byte %zu", object->where,
                        regex, (const char *)words, (size_t)at);
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* without JIT pcre2_match() interprets */
    return CM3_OK;
}

cm3_status cm3_pattern_parse(const cm3_json_object *object, const char *key, cm3_pattern *pattern) {
    cm3_json_object child;
    const char *literal = NULL, *regex = NULL;
    memset(pattern, 0, sizeof *pattern);
    CM3_TRY(cm3_json_child(object, key, object->where, &child));
    if (!child.value) return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: no \"%s\"", object->where, key);
    CM3_TRY(cm3_json_string(&child, "String", &literal));
    CM3_TRY(cm3_json_string(&child, "Regex", &regex));
    if (!literal == !regex)
        return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: \"%s\" must be {\"String\": ...} or {\"Regex\": ...}",
                        object->where, key);
    if (regex) return compile(object, regex, pattern);
    pattern->kind = CM3_PATTERN_LITERAL;
    pattern->size = strlen(literal);
    if (!pattern->size)
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: \"%s\" is an empty string", object->where, key);
    pattern->text = cm3_strndup(object->context, literal, pattern->size);
    if (!pattern->text) return cm3_fail_memory(object->context, pattern->size, "a pattern");
    return CM3_OK;
}

void cm3_pattern_clear(cm3_context *context, cm3_pattern *pattern) {
    cm3_free(context, pattern->text);
    pcre2_code_free(pattern->code);
    pattern->text = NULL;
    pattern->code = NULL;
}

/* Past the code points from `at` on that have one of the classes `any`. */
static size_t run_of(const char *text, size_t size, size_t at, unsigned any) {
    while (at < size) {
        size_t next = at;
        if (!(cm3_unicode_class(cm3_utf8_next(text, &next)) & any)) break;
        at = next;
    }
    return at;
}

/* Past the code points that have none of the classes `none`. */
static size_t run_without(const char *text, size_t size, size_t at, unsigned none) {
    while (at < size) {
        size_t next = at;
        if (cm3_unicode_class(cm3_utf8_next(text, &next)) & none) break;
        at = next;
    }
    return at;
}

static bool begins(const char *text, size_t size, const char *with) {
    size_t length = strlen(with);
    return size >= length && !memcmp(text, with, length);
}

/* The length of 's 't 're 've 'm 'll 'd at the text's beginning, or 0. */
static size_t contraction(const char *text, size_t size) {
    if (size < 2 || text[0] != '\'') return 0;
    if (strchr("stmd", text[1]) && text[1]) return 2;
    if (begins(text + 1, size - 1, "re") || begins(text + 1, size - 1, "ve") || begins(text + 1, size - 1, "ll"))
        return 3;
    return 0;
}

enum { LETTER = CM3_UNICODE_LETTER, NUMBER = CM3_UNICODE_NUMBER, SPACE = CM3_UNICODE_SPACE };

/* The end of a run of letters, of numbers or of neither, whichever begins at `at`; `at` itself where it is white space.
 */
static size_t gpt2_run(const char *text, size_t size, size_t at) {
    size_t next = at;
    if (at == size) return at;
    unsigned class = cm3_unicode_class(cm3_utf8_next(text, &next));
    if (class & LETTER) return run_of(text, size, next, LETTER);
    if (class & NUMBER) return run_of(text, size, next, NUMBER);
    if (class & SPACE) return at;
    return run_without(text, size, next, LETTER | NUMBER | SPACE);
}

/* Every place is the beginning of a match, so this gives only its end. */
static size_t gpt2_end(const char *text, size_t size, size_t at) {
    size_t length = contraction(text + at, size - at);
    if (length) return at + length;
    size_t word = at + (text[at] == ' ');
    size_t end = gpt2_run(text, size, word);
    if (end > word) return end;
    end = run_of(text, size, at, SPACE);
    if (end == size) return end;
    size_t last; /* the last white space goes with what follows, unless it is the only one */
    cm3_utf8_previous(text, end, &last);
    return last > at ? last : end;
}

/* The next match of CLIP's expression: white space lies between matches. */
static void clip_next(const char *text, size_t size, size_t *begin, size_t *end) {
    size_t at = run_of(text, size, *begin, SPACE), next = at, length;
    *begin = *end = at;
    if (at == size) return;
    if (begins(text + at, size - at, "<|startoftext|>")) {
        *end = at + 15;
    } else if (begins(text + at, size - at, "<|endoftext|>")) {
        *end = at + 13;
    } else if ((length = contraction(text + at, size - at))) {
        *end = at + length;
    } else {
        unsigned class = cm3_unicode_class(cm3_utf8_next(text, &next));
        if (class & LETTER)
            *end = run_of(text, size, next, LETTER);
        else if (class & NUMBER)
            *end = next;
        else
            *end = run_without(text, size, next, LETTER | NUMBER | SPACE);
    }
}

/* A run of word characters or of characters that are neither that nor white space. */
static void words_next(const char *text, size_t size, size_t *begin, size_t *end) {
    size_t at = run_of(text, size, *begin, SPACE), next = at;
    *begin = *end = at;
    if (at == size) return;
    bool word = cm3_unicode_is_word(cm3_utf8_next(text, &next));
    *end = next;
    while (next < size) {
        uint32_t code = cm3_utf8_next(text, &next);
        if (cm3_unicode_is_word(code) != word || (cm3_unicode_class(code) & SPACE)) break;
        *end = next;
    }
}

/* The next character of a class. */
static void class_next(const char *text, size_t size, unsigned class, size_t *begin, size_t *end) {
    size_t at = run_without(text, size, *begin, class);
    *begin = *end = at;
    if (at < size) cm3_utf8_next(text, end);
}

static cm3_status regex_match(cm3_context *context, cm3_search *search, size_t from, bool *found, size_t *begin,
                              size_t *end) {
    if (!*search->match_data) *search->match_data = pcre2_match_data_create(1, NULL);
    if (!*search->match_data) return cm3_fail_memory(context, 0, "a pattern's match");
    const pcre2_code *code = search->pattern->code;
    PCRE2_SPTR text = (PCRE2_SPTR)search->text;
    int result = pcre2_match(code, text, search->size, from, PCRE2_NO_UTF_CHECK, *search->match_data, NULL);
    if (result == PCRE2_ERROR_JIT_STACKLIMIT)
        result =
            pcre2_match(code, text, search->size, from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT, *search->match_data, NULL);
    *found = result >= 0;
    if (result == PCRE2_ERROR_NOMATCH) return CM3_OK;
    if (result == PCRE2_ERROR_NOMEMORY) return cm3_fail_memory(context, 0, "a pattern's match");
    if (result < 0)
        return cm3_fail(context, CM3_ERROR_UNSUPPORTED,
                        "the tokenizer's pattern is too costly for this text (PCRE2: %d)", result);
    const PCRE2_SIZE *vector = pcre2_get_ovector_pointer(*search->match_data);
    *begin = vector[0];
    *end = vector[1];
    if (*begin > *end || *begin < from) /* \K in a lookaround can do that */
        return cm3_fail(context, CM3_ERROR_UNSUPPORTED, "a pattern of the tokenizer matches backwards");
    return CM3_OK;
}

/* Empty matches count, but not right behind the match before. */
static cm3_status regex_next(cm3_context *context, cm3_search *search, bool *found, size_t *begin, size_t *end) {
    while (search->at <= search->size) {
        CM3_TRY(regex_match(context, search, search->at, found, begin, end));
        if (!*found) return CM3_OK;
        if (*begin != *end || *end != search->last_end) {
            search->at = search->last_end = *end;
            return CM3_OK;
        }
        if (search->at == search->size) break;
        cm3_utf8_next(search->text, &search->at);
    }
    *found = false;
    return CM3_OK;
}

cm3_status cm3_search_next(cm3_context *context, cm3_search *search, bool *found, size_t *begin, size_t *end) {
    const char *text = search->text;
    const cm3_pattern *pattern = search->pattern;
    if (pattern->kind == CM3_PATTERN_REGEX) return regex_next(context, search, found, begin, end);
    *begin = *end = search->at;
    switch (pattern->kind) {
    case CM3_PATTERN_LITERAL: {
        const char *hit = memmem(text + search->at, search->size - search->at, pattern->text, pattern->size);
        if (hit) *end = (*begin = (size_t)(hit - text)) + pattern->size;
        break;
    }
    case CM3_PATTERN_GPT2:
        if (*begin < search->size) *end = gpt2_end(text, search->size, *begin);
        break;
    case CM3_PATTERN_CLIP:
        clip_next(text, search->size, begin, end);
        break;
    case CM3_PATTERN_WORDS:
        words_next(text, search->size, begin, end);
        break;
    case CM3_PATTERN_SPACES:
        *begin = run_without(text, search->size, *begin, SPACE);
        *end = run_of(text, search->size, *begin, SPACE);
        break;
    case CM3_PATTERN_SPACE:
        class_next(text, search->size, SPACE, begin, end);
        break;
    case CM3_PATTERN_DIGIT:
        class_next(text, search->size, CM3_UNICODE_DIGIT, begin, end);
        break;
    case CM3_PATTERN_PUNCT:
        class_next(text, search->size, CM3_UNICODE_PUNCT, begin, end);
        break;
    case CM3_PATTERN_REGEX:
        break;
    }
    *found = *end > *begin;
    search->at = *end;
    return CM3_OK;
}
