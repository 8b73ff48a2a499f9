/* Added tokens by a sorted list that is narrowed byte by byte: a trie without nodes. */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>

#include "text/unicode.h"
#include "text/utf8.h"

cm3_status cm3_added_push(cm3_context *context, cm3_added_set *set, const cm3_added *added) {
    CM3_TRY(cm3_grow(context, &set->items, &set->capacity, set->count + 1, sizeof *set->items, "added tokens"));
    cm3_added *item = &set->items[set->count];
    *item = *added;
    item->text = cm3_strndup(context, added->text, added->size);
    if (!item->text) return cm3_fail_memory(context, added->size, "an added token");
    set->count++;
    return CM3_OK;
}

static int compare(const void *left, const void *right) {
    const cm3_added *a = left, *b = right;
    int order = memcmp(a->text, b->text, a->size < b->size ? a->size : b->size);
    if (order) return order;
    if (a->size != b->size) return a->size < b->size ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

void cm3_added_sort(cm3_added_set *set) {
    if (set->count) qsort(set->items, set->count, sizeof *set->items, compare);
    size_t at = 0;
    for (unsigned byte = 0; byte < 256; byte++) {
        while (at < set->count && (unsigned char)set->items[at].text[0] < byte) at++;
        set->first[byte] = at;
    }
    set->first[256] = set->count;
}

int32_t cm3_added_find(const cm3_added_set *set, const char *text, size_t size) {
    cm3_added key = {.text = text, .size = size, .id = -1};
    size_t low = 0, high = set->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (compare(&set->items[middle], &key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == set->count) return -1;
    const cm3_added *found = &set->items[low];
    return found->size == size && !memcmp(found->text, text, size) ? found->id : -1;
}

void cm3_added_clear(cm3_context *context, cm3_added_set *set) {
    for (size_t i = 0; i < set->count; i++) cm3_free(context, (char *)set->items[i].text);
    cm3_free(context, set->items);
    memset(set, 0, sizeof *set);
}

cm3_status cm3_pieces_push(cm3_context *context, cm3_pieces *pieces, size_t begin, size_t end, int32_t id) {
    CM3_TRY(cm3_grow(context, &pieces->items, &pieces->capacity, pieces->count + 1, sizeof *pieces->items, "pieces"));
    pieces->items[pieces->count++] = (cm3_piece){begin, end, id};
    return CM3_OK;
}

/* The first of items[low..high), which agree up to `depth`, whose byte there is at least `byte`; all are longer. */
static size_t lower_bound(const cm3_added_set *set, size_t low, size_t high, size_t depth, unsigned byte) {
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if ((unsigned char)set->items[middle].text[depth] < byte)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The longest added token that the text begins with, or NULL. */
static const cm3_added *longest(const cm3_added_set *set, const unsigned char *text, size_t size) {
    const cm3_added *best = NULL;
    size_t low = set->first[text[0]], high = set->first[text[0] + 1];
    for (size_t depth = 1; low < high; depth++) {
        for (; low < high && set->items[low].size == depth; low++)
            if (!best || best->size != depth) best = &set->items[low]; /* of equal texts the least id */
        if (depth == size) break;
        low = lower_bound(set, low, high, depth, text[depth]);
        high = lower_bound(set, low, high, depth, text[depth] + 1u);
    }
    return best;
}

/* Whether text[begin..end) touches a word inside text[low..high). */
static bool in_word(const char *text, size_t low, size_t begin, size_t end, size_t high) {
    size_t ignored;
    if (begin > low && cm3_unicode_is_word(cm3_utf8_previous(text, begin, &ignored))) return true;
    return end < high && cm3_unicode_is_word(cm3_utf8_next(text, &end));
}

static size_t spaces_before(const char *text, size_t low, size_t at) {
    size_t start;
    while (at > low && (cm3_unicode_class(cm3_utf8_previous(text, at, &start)) & CM3_UNICODE_SPACE)) at = start;
    return at;
}

static size_t spaces_behind(const char *text, size_t at, size_t high) {
    size_t next = at;
    while (at < high && (cm3_unicode_class(cm3_utf8_next(text, &next)) & CM3_UNICODE_SPACE)) at = next;
    return at;
}

cm3_status cm3_added_split(cm3_context *context, const cm3_added_set *set, const char *text, size_t begin, size_t end,
                           bool special, cm3_pieces *pieces) {
    size_t done = begin;
    for (size_t at = begin; at < end;) {
        const cm3_added *added = longest(set, (const unsigned char *)text + at, end - at);
        if (!added) {
            at++;
            continue;
        }
        size_t start = at, stop = at + added->size;
        at = stop; /* a match that is not taken still hides what overlaps it */
        if (added->special && !special) continue;
        if (added->single_word && in_word(text, begin, start, stop, end)) continue;
        if (added->rstrip) stop = spaces_behind(text, stop, end);
        if (added->lstrip) {
            start = spaces_before(text, begin, start);
            if (start < done) start = done;
            if (start >= stop) continue; /* the token before has taken all of it along */
        }
        if (done < start) CM3_TRY(cm3_pieces_push(context, pieces, done, start, -1));
        CM3_TRY(cm3_pieces_push(context, pieces, start, stop, added->id));
        done = stop;
    }
    if (done < end) CM3_TRY(cm3_pieces_push(context, pieces, done, end, -1));
    return CM3_OK;
}
