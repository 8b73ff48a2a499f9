/* Added tokens: texts that are one id wherever they stand. */
#ifndef CM3_TEXT_ADDED_H
#define CM3_TEXT_ADDED_H

#include "base/context.h"

typedef struct cm3_added {
    const char *text; /**< what is looked for; owned */
    size_t size;
    int32_t id;
    bool special;
    bool single_word; /**< not where a word goes on before or behind it */
    bool lstrip;      /**< takes the white space before it along */
    bool rstrip;      /**< and behind it */
} cm3_added;

/** A set of them, sorted, with the beginning of each first byte. */
typedef struct cm3_added_set {
    cm3_added *items;
    size_t count, capacity;
    size_t first[257];
} cm3_added_set;

/** Adds one; `text` is copied. The set can be searched after cm3_added_sort(). */
cm3_status cm3_added_push(cm3_context *context, cm3_added_set *set, const cm3_added *added);
void cm3_added_sort(cm3_added_set *set);
/** The id of a token by its text, or -1. */
int32_t cm3_added_find(const cm3_added_set *set, const char *text, size_t size);
void cm3_added_clear(cm3_context *context, cm3_added_set *set);

/** A stretch of a text: an added token, or text (id -1). */
typedef struct cm3_piece {
    size_t begin, end;
    int32_t id;
} cm3_piece;

/** Pieces in the making. */
typedef struct cm3_pieces {
    cm3_piece *items;
    size_t count, capacity;
} cm3_pieces;

cm3_status cm3_pieces_push(cm3_context *context, cm3_pieces *pieces, size_t begin, size_t end, int32_t id);

/**
 * Cuts text[begin..end) at the leftmost longest added tokens and appends what it finds; `special` false passes special
 * tokens over. Empty pieces are left out.
 */
cm3_status cm3_added_split(cm3_context *context, const cm3_added_set *set, const char *text, size_t begin, size_t end,
                           bool special, cm3_pieces *pieces);

#endif
