/* One word to ids: characters first, then the merges of least rank, the leftmost first. */
#include <string.h>

#include "text/inside.h"
#include "text/utf8.h"

#define NONE UINT32_MAX

void cm3_word_scratch_clear(cm3_context *context, cm3_word_scratch *scratch) {
    cm3_free(context, scratch->symbols);
    cm3_free(context, scratch->heap);
    cm3_free(context, scratch->name);
    memset(scratch, 0, sizeof *scratch);
}

static cm3_status push_symbol(const cm3_bpe *bpe, cm3_word_scratch *scratch, int32_t id) {
    CM3_TRY(cm3_grow(bpe->context, &scratch->symbols, &scratch->symbol_capacity, scratch->symbol_count + 1,
                     sizeof *scratch->symbols, "symbols"));
    scratch->symbols[scratch->symbol_count++] = (cm3_symbol){.id = id, .rank = NONE};
    return CM3_OK;
}

/* A character with the model's prefix and suffix where they belong; *name is in the word or in the scratch. */
static cm3_status dress(const cm3_bpe *bpe, cm3_word_scratch *scratch, bool inside, bool last, const char **name,
                        size_t *size) {
    const cm3_bpe_model *model = &bpe->model;
    size_t before = inside ? model->prefix_size : 0, behind = last ? model->suffix_size : 0;
    if (!before && !behind) return CM3_OK;
    CM3_TRY(cm3_grow(bpe->context, &scratch->name, &scratch->name_capacity, before + *size + behind, 1, "a symbol"));
    if (before) memcpy(scratch->name, model->prefix, before);
    memcpy(scratch->name + before, *name, *size);
    if (behind) memcpy(scratch->name + before + *size, model->suffix, behind);
    *name = scratch->name;
    *size += before + behind;
    return CM3_OK;
}

/* The bytes of a character that is in no vocabulary, if all are there. */
static cm3_status fall_back(const cm3_bpe *bpe, cm3_word_scratch *scratch, const char *name, size_t size, bool *done) {
    *done = false;
    for (size_t i = 0; i < size; i++)
        if (bpe->model.byte_ids[(unsigned char)name[i]] < 0) return CM3_OK;
    for (size_t i = 0; i < size; i++) CM3_TRY(push_symbol(bpe, scratch, bpe->model.byte_ids[(unsigned char)name[i]]));
    *done = true;
    return CM3_OK;
}

/*
 * The word's characters as symbols. An unknown one waits (`unknowns`) until the next known one, and bytes that stand in
 * for a character overtake it: so the library does it.
 */
static cm3_status split_word(const cm3_bpe *bpe, cm3_word_scratch *scratch, const char *word, size_t size) {
    const cm3_bpe_model *model = &bpe->model;
    bool waiting = false, plain = !model->prefix_size;
    scratch->symbol_count = 0;
    for (size_t at = 0; at < size;) {
        size_t begin = at;
        uint32_t code = cm3_utf8_next(word, &at);
        const char *name = word + begin;
        size_t length = at - begin;
        bool last = at == size, done;
        bool bare = (plain || !begin) && !(last && model->suffix_size);
        if (!bare) CM3_TRY(dress(bpe, scratch, begin > 0, last, &name, &length));
        int32_t id = bare && code < CM3_BYTE_CHARS ? model->char_ids[code] : cm3_vocab_find(&bpe->vocab, name, length);
        if (id >= 0) {
            if (waiting) CM3_TRY(push_symbol(bpe, scratch, model->unknown));
            waiting = false;
            CM3_TRY(push_symbol(bpe, scratch, id));
            continue;
        }
        if (model->byte_fallback) {
            CM3_TRY(fall_back(bpe, scratch, name, length, &done));
            if (done) continue;
        }
        if (model->unknown < 0) continue;
        if (waiting && !model->fuse_unknown) CM3_TRY(push_symbol(bpe, scratch, model->unknown));
        waiting = true;
    }
    return waiting ? push_symbol(bpe, scratch, model->unknown) : CM3_OK;
}

/* Finds out how a symbol merges with the next one. */
static void rate(const cm3_bpe *bpe, cm3_symbol *symbols, uint32_t at) {
    cm3_symbol *symbol = &symbols[at];
    const cm3_merge *merge =
        symbol->next == NONE ? NULL : cm3_merges_find(&bpe->merges, symbol->id, symbols[symbol->next].id);
    symbol->rank = merge ? merge->rank : NONE;
    symbol->merged = merge ? (uint32_t)merge->id : 0;
}

/* Merges a symbol with the next one; the pairs on both sides are rated anew. */
static void join(const cm3_bpe *bpe, cm3_symbol *symbols, uint32_t at) {
    cm3_symbol *symbol = &symbols[at], *gone = &symbols[symbol->next];
    symbol->id = (int32_t)symbol->merged;
    symbol->next = gone->next;
    gone->id = -1;
    gone->rank = NONE;
    if (symbol->next != NONE) symbols[symbol->next].previous = at;
    rate(bpe, symbols, at);
    if (symbol->previous != NONE) rate(bpe, symbols, symbol->previous);
}

/* Short words: the least rank by looking at all of them. */
static void merge_short(const cm3_bpe *bpe, cm3_word_scratch *scratch) {
    cm3_symbol *symbols = scratch->symbols;
    for (;;) {
        uint32_t best = 0;
        for (uint32_t i = symbols[0].next; i != NONE; i = symbols[i].next)
            if (symbols[i].rank < symbols[best].rank) best = i;
        if (symbols[best].rank == NONE) return;
        join(bpe, symbols, best);
    }
}

static void sift_up(uint64_t *heap, size_t at) {
    uint64_t entry = heap[at];
    for (; at > 0 && heap[(at - 1) / 2] > entry; at = (at - 1) / 2) heap[at] = heap[(at - 1) / 2];
    heap[at] = entry;
}

static void sift_down(uint64_t *heap, size_t count, size_t at) {
    uint64_t entry = heap[at];
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1] < heap[child]) child++;
        if (heap[child] >= entry) break;
        heap[at] = heap[child];
    }
    heap[at] = entry;
}

static cm3_status push_pair(const cm3_bpe *bpe, cm3_word_scratch *scratch, uint32_t at) {
    if (at == NONE || scratch->symbols[at].rank == NONE) return CM3_OK;
    CM3_TRY(cm3_grow(bpe->context, &scratch->heap, &scratch->heap_capacity, scratch->heap_count + 1,
                     sizeof *scratch->heap, "merges"));
    scratch->heap[scratch->heap_count] = (uint64_t)scratch->symbols[at].rank << 32 | at;
    sift_up(scratch->heap, scratch->heap_count++);
    return CM3_OK;
}

/* Long words: a heap of ranks, in which entries whose pair has changed are passed over. */
static cm3_status merge_long(const cm3_bpe *bpe, cm3_word_scratch *scratch) {
    cm3_symbol *symbols = scratch->symbols;
    scratch->heap_count = 0;
    for (uint32_t i = 0; i < scratch->symbol_count; i++) CM3_TRY(push_pair(bpe, scratch, i));
    while (scratch->heap_count) {
        uint64_t top = scratch->heap[0];
        scratch->heap[0] = scratch->heap[--scratch->heap_count];
        if (scratch->heap_count) sift_down(scratch->heap, scratch->heap_count, 0);
        uint32_t at = (uint32_t)top;
        if (symbols[at].rank != top >> 32 || symbols[at].rank == NONE) continue;
        join(bpe, symbols, at);
        CM3_TRY(push_pair(bpe, scratch, at));
        CM3_TRY(push_pair(bpe, scratch, symbols[at].previous));
    }
    return CM3_OK;
}

cm3_status cm3_word_encode(const cm3_bpe *bpe, cm3_word_scratch *scratch, const char *word, size_t size, cm3_ids *ids) {
    enum { SHORT = 24 };
    if (bpe->model.ignore_merges) {
        int32_t id = cm3_vocab_find(&bpe->vocab, word, size);
        if (id >= 0) {
            CM3_TRY(cm3_grow(bpe->context, &ids->items, &ids->capacity, ids->count + 1, sizeof *ids->items, "ids"));
            ids->items[ids->count++] = id;
            return CM3_OK;
        }
    }
    CM3_TRY(split_word(bpe, scratch, word, size));
    size_t count = scratch->symbol_count;
    if (!count) return CM3_OK;
    cm3_symbol *symbols = scratch->symbols;
    for (uint32_t i = 0; i < count; i++) {
        symbols[i].previous = i ? i - 1 : NONE;
        symbols[i].next = i + 1 < count ? i + 1 : NONE;
        rate(bpe, symbols, i);
    }
    if (count <= SHORT)
        merge_short(bpe, scratch);
    else
        CM3_TRY(merge_long(bpe, scratch));
    CM3_TRY(cm3_grow(bpe->context, &ids->items, &ids->capacity, ids->count + count, sizeof *ids->items, "ids"));
    for (uint32_t i = 0; i != NONE; i = symbols[i].next) ids->items[ids->count++] = symbols[i].id;
    return CM3_OK;
}
