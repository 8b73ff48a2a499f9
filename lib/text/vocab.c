/* Hash tables with open addressing: token names to ids, pairs of ids to merges. */
#include "text/vocab.h"

#include <string.h>
#include <xxhash.h>

/* The slot of a name: its own, or the free one where it would go. */
static size_t find_slot(const cm3_vocab *vocab, const char *name, size_t size) {
    size_t mask = vocab->slot_count - 1, slot = XXH3_64bits(name, size) & mask;
    while (vocab->slots[slot] >= 0) {
        const cm3_token *token = &vocab->tokens[vocab->slots[slot]];
        if (token->size == size && (!size || !memcmp(vocab->names + token->name, name, size))) break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

int32_t cm3_vocab_find(const cm3_vocab *vocab, const char *name, size_t size) {
    return vocab->slot_count ? vocab->slots[find_slot(vocab, name, size)] : -1;
}

static cm3_status grow_slots(cm3_context *context, cm3_vocab *vocab) {
    cm3_vocab wider = *vocab;
    wider.slot_count = vocab->slot_count ? vocab->slot_count * 2 : 1024;
    size_t bytes = wider.slot_count * sizeof *wider.slots; /* at most 4 * CM3_MAX_TOKEN_ID slots */
    wider.slots = cm3_alloc(context, bytes);
    if (!wider.slots) return cm3_fail_memory(context, bytes, "a vocabulary");
    memset(wider.slots, 0xff, bytes);
    for (size_t i = 0; i < vocab->slot_count; i++) {
        if (vocab->slots[i] < 0) continue;
        const cm3_token *token = &vocab->tokens[vocab->slots[i]];
        wider.slots[find_slot(&wider, vocab->names + token->name, token->size)] = vocab->slots[i];
    }
    cm3_free(context, vocab->slots);
    *vocab = wider;
    return CM3_OK;
}

cm3_status cm3_vocab_add(cm3_context *context, const char *where, cm3_vocab *vocab, const char *name, size_t size,
                         int32_t id, bool in_model) {
    if (id < 0 || id >= CM3_MAX_TOKEN_ID)
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: token \"%.80s\": expected an id below %d, found %d", where,
                        name, CM3_MAX_TOKEN_ID, id);
    if (size >= UINT32_MAX) return cm3_fail(context, CM3_ERROR_FORMAT, "%s: a token of %zu bytes", where, size);
    if ((size_t)id < vocab->count && vocab->tokens[id].used)
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: tokens \"%.80s\" and \"%.80s\" both have id %d", where,
                        cm3_vocab_name(vocab, id), name, id);
    if (vocab->slots_used * 2 >= vocab->slot_count) CM3_TRY(grow_slots(context, vocab));
    CM3_TRY(cm3_grow(context, &vocab->tokens, &vocab->capacity, (size_t)id + 1, sizeof *vocab->tokens, "a vocabulary"));
    CM3_TRY(cm3_grow(context, &vocab->names, &vocab->name_capacity, vocab->name_size + size + 1, 1, "a vocabulary"));
    size_t slot = find_slot(vocab, name, size);
    if (in_model && vocab->slots[slot] >= 0)
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: token \"%.80s\" twice", where, name);
    if ((size_t)id >= vocab->count) {
        memset(vocab->tokens + vocab->count, 0, ((size_t)id + 1 - vocab->count) * sizeof *vocab->tokens);
        vocab->count = (size_t)id + 1;
    }
    vocab->tokens[id] =
        (cm3_token){.name = vocab->name_size, .size = (uint32_t)size, .used = true, .in_model = in_model};
    memcpy(vocab->names + vocab->name_size, name, size);
    vocab->names[vocab->name_size + size] = 0;
    vocab->name_size += size + 1;
    if (in_model) {
        vocab->slots[slot] = id;
        vocab->slots_used++;
    }
    return CM3_OK;
}

void cm3_vocab_clear(cm3_context *context, cm3_vocab *vocab) {
    cm3_free(context, vocab->names);
    cm3_free(context, vocab->tokens);
    cm3_free(context, vocab->slots);
    memset(vocab, 0, sizeof *vocab);
}

cm3_status cm3_merges_create(cm3_context *context, size_t count, cm3_merges *merges) {
    size_t slots = 16, bytes;
    while (slots / 2 < count) {
        if (!cm3_mul_size(slots, 2, &slots)) return cm3_fail_memory(context, SIZE_MAX, "merges");
    }
    if (!cm3_mul_size(slots, sizeof *merges->slots, &bytes)) return cm3_fail_memory(context, SIZE_MAX, "merges");
    merges->slots = cm3_alloc(context, bytes);
    if (!merges->slots) return cm3_fail_memory(context, bytes, "merges");
    memset(merges->slots, 0xff, bytes);
    merges->slot_count = slots;
    return CM3_OK;
}

/* The slot of a pair: its own, or the free one where it would go. */
static cm3_merge *pair_slot(const cm3_merges *merges, int32_t left, int32_t right) {
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right, hash = pair * 0x9e3779b97f4a7c15u;
    size_t mask = merges->slot_count - 1, slot = (size_t)(hash ^ hash >> 32) & mask;
    while (merges->slots[slot].pair != pair && merges->slots[slot].pair != UINT64_MAX) slot = (slot + 1) & mask;
    return &merges->slots[slot];
}

void cm3_merges_set(cm3_merges *merges, int32_t left, int32_t right, uint32_t rank, int32_t id) {
    *pair_slot(merges, left, right) = (cm3_merge){(uint64_t)(uint32_t)left << 32 | (uint32_t)right, rank, id};
}

const cm3_merge *cm3_merges_find(const cm3_merges *merges, int32_t left, int32_t right) {
    const cm3_merge *merge = pair_slot(merges, left, right);
    return merge->pair == UINT64_MAX ? NULL : merge;
}

void cm3_merges_clear(cm3_context *context, cm3_merges *merges) {
    cm3_free(context, merges->slots);
    memset(merges, 0, sizeof *merges);
}
