/* Learning merges: the most frequent pair becomes a token, again and again; pair counts are kept up to date. */
#include <string.h>

#include "text/byte_map.h"
#include "text/trainer.h"
#include "text/utf8.h"

#define NONE UINT32_MAX

/* A pair of ids, how often it comes, and the words in which it may come. */
typedef struct pair_info {
    uint64_t key; /* left id in the upper half */
    uint64_t count;
    uint32_t places; /* index of its first place, NONE: none */
    bool touched;    /* came in the merge at hand */
} pair_info;

typedef struct place {
    uint32_t word, next;
} place;

/* A word as ids. */
typedef struct spelling {
    size_t begin;
    uint32_t size;
    uint64_t count;
} spelling;

typedef struct queued {
    uint64_t count, key;
    uint32_t pair;
} queued;

typedef struct learning {
    cm3_context *context;
    int32_t *ids; /* of all words */
    spelling *words;
    size_t word_count;
    pair_info *pairs;
    size_t pair_count, pair_capacity;
    uint32_t *slots; /* pair + 1 by hash, 0: free */
    size_t slot_count;
    place *places;
    size_t place_count, place_capacity;
    queued *heap;
    size_t heap_count, heap_capacity;
    uint32_t *touched;
    size_t touched_count, touched_capacity;
    cm3_word_table forbidden; /* bytes of special tokens: no merge may spell them */
} learning;

static void learning_clear(learning *state) {
    cm3_context *context = state->context;
    cm3_free(context, state->ids);
    cm3_free(context, state->words);
    cm3_free(context, state->pairs);
    cm3_free(context, state->slots);
    cm3_free(context, state->places);
    cm3_free(context, state->heap);
    cm3_free(context, state->touched);
    cm3_word_table_clear(context, &state->forbidden);
}

/* The more frequent first, then the pair of lesser ids. */
static bool before(const queued *a, const queued *b) {
    return a->count != b->count ? a->count > b->count : a->key < b->key;
}

static cm3_status heap_push(learning *state, uint32_t pair) {
    CM3_TRY(cm3_grow(state->context, &state->heap, &state->heap_capacity, state->heap_count + 1, sizeof *state->heap,
                     "pairs"));
    queued entry = {state->pairs[pair].count, state->pairs[pair].key, pair};
    size_t at = state->heap_count++;
    for (; at > 0 && before(&entry, &state->heap[(at - 1) / 2]); at = (at - 1) / 2)
        state->heap[at] = state->heap[(at - 1) / 2];
    state->heap[at] = entry;
    return CM3_OK;
}

static queued heap_pop(learning *state) {
    queued top = state->heap[0], last = state->heap[--state->heap_count];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < state->heap_count; at = child) {
        if (child + 1 < state->heap_count && before(&state->heap[child + 1], &state->heap[child])) child++;
        if (!before(&state->heap[child], &last)) break;
        state->heap[at] = state->heap[child];
    }
    state->heap[at] = last;
    return top;
}

static size_t pair_slot(const learning *state, uint64_t key) {
    uint64_t hash = key * 0x9e3779b97f4a7c15u;
    size_t mask = state->slot_count - 1, slot = (size_t)(hash ^ hash >> 32) & mask;
    while (state->slots[slot] && state->pairs[state->slots[slot] - 1].key != key) slot = (slot + 1) & mask;
    return slot;
}

static cm3_status grow_pairs(learning *state) {
    size_t count = state->slot_count ? state->slot_count * 2 : 4096;
    uint32_t *slots = cm3_calloc(state->context, count, sizeof *slots);
    if (!slots) return cm3_fail_memory(state->context, count * sizeof *slots, "pairs");
    cm3_free(state->context, state->slots);
    state->slots = slots;
    state->slot_count = count;
    for (size_t i = 0; i < state->pair_count; i++) slots[pair_slot(state, state->pairs[i].key)] = (uint32_t)(i + 1);
    return CM3_OK;
}

/* The index of the pair, new or known. */
static cm3_status get_pair(learning *state, int32_t left, int32_t right, uint32_t *pair) {
    if (state->pair_count * 2 >= state->slot_count) CM3_TRY(grow_pairs(state));
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    size_t slot = pair_slot(state, key);
    if (!state->slots[slot]) {
        if (state->pair_count >= NONE - 1)
            return cm3_fail(state->context, CM3_ERROR_INVALID_ARGUMENT, "training: too many words");
        CM3_TRY(cm3_grow(state->context, &state->pairs, &state->pair_capacity, state->pair_count + 1,
                         sizeof *state->pairs, "pairs"));
        state->pairs[state->pair_count++] = (pair_info){key, 0, NONE, false};
        state->slots[slot] = (uint32_t)state->pair_count;
    }
    *pair = state->slots[slot] - 1;
    return CM3_OK;
}

/* Counts the pairs of a word in and notes where they are. */
static cm3_status count_in(learning *state, uint32_t number) {
    const spelling *word = &state->words[number];
    for (uint32_t i = 0; i + 1 < word->size; i++) {
        const int32_t *ids = state->ids + word->begin + i;
        uint32_t index;
        CM3_TRY(get_pair(state, ids[0], ids[1], &index));
        pair_info *pair = &state->pairs[index];
        pair->count += word->count;
        if (!pair->touched) {
            CM3_TRY(cm3_grow(state->context, &state->touched, &state->touched_capacity, state->touched_count + 1,
                             sizeof *state->touched, "pairs"));
            state->touched[state->touched_count++] = index;
            pair->touched = true;
        }
        if (pair->places != NONE && state->places[pair->places].word == number) continue;
        if (state->place_count >= NONE)
            return cm3_fail(state->context, CM3_ERROR_INVALID_ARGUMENT, "training: too many words");
        CM3_TRY(cm3_grow(state->context, &state->places, &state->place_capacity, state->place_count + 1,
                         sizeof *state->places, "places of pairs"));
        state->places[state->place_count] = (place){number, pair->places};
        pair->places = (uint32_t)state->place_count++;
    }
    return CM3_OK;
}

static cm3_status count_out(learning *state, uint32_t number) {
    const spelling *word = &state->words[number];
    for (uint32_t i = 0; i + 1 < word->size; i++) {
        const int32_t *ids = state->ids + word->begin + i;
        uint32_t index;
        CM3_TRY(get_pair(state, ids[0], ids[1], &index));
        state->pairs[index].count -= word->count;
    }
    return CM3_OK;
}

/* Queues the pairs that came up since the last time. */
static cm3_status queue_touched(learning *state) {
    for (size_t i = 0; i < state->touched_count; i++) {
        state->pairs[state->touched[i]].touched = false;
        CM3_TRY(heap_push(state, state->touched[i]));
    }
    state->touched_count = 0;
    return CM3_OK;
}

/* Replaces a pair by an id all over one word. */
static void replace_in(learning *state, spelling *word, uint64_t key, int32_t id) {
    int32_t *ids = state->ids + word->begin, left = (int32_t)(key >> 32), right = (int32_t)(uint32_t)key;
    uint32_t kept = 0;
    for (uint32_t i = 0; i < word->size; kept++) {
        bool here = i + 1 < word->size && ids[i] == left && ids[i + 1] == right;
        ids[kept] = here ? id : ids[i];
        i += here ? 2 : 1;
    }
    word->size = kept;
}

static bool has_pair(const learning *state, const spelling *word, uint64_t key) {
    const int32_t *ids = state->ids + word->begin;
    for (uint32_t i = 0; i + 1 < word->size; i++)
        if (((uint64_t)(uint32_t)ids[i] << 32 | (uint32_t)ids[i + 1]) == key) return true;
    return false;
}

static cm3_status merge_everywhere(learning *state, uint32_t pair, int32_t id) {
    uint64_t key = state->pairs[pair].key;
    uint32_t at = state->pairs[pair].places;
    state->pairs[pair].places = NONE;
    while (at != NONE) {
        place here = state->places[at];
        spelling *word = &state->words[here.word];
        if (has_pair(state, word, key)) {
            CM3_TRY(count_out(state, here.word));
            replace_in(state, word, key, id);
            CM3_TRY(count_in(state, here.word));
        }
        at = here.next;
    }
    return queue_touched(state);
}

/* The alphabet in the order of its characters, so that ids are those of the usual trainers. */
static cm3_status add_alphabet(learning *state, cm3_learnt *learnt, int32_t id_of_byte[256]) {
    for (uint32_t code = 0; code < CM3_BYTE_CHARS; code++) {
        int byte = cm3_char_to_byte(code);
        if (byte < 0) continue;
        uint32_t number;
        CM3_TRY(cm3_word_table_get(state->context, &learnt->tokens, &(char){(char)byte}, 1, true, &number));
        id_of_byte[byte] = learnt->first + (int32_t)number;
    }
    return CM3_OK;
}

/* Specials that could be spelt by merges: text that looks like them must stay text. */
static cm3_status forbid_specials(learning *state, const cm3_bpe_trainer *trainer) {
    cm3_text bytes = {0};
    cm3_status status = CM3_OK;
    for (size_t i = 0; i < trainer->options.special_count && status == CM3_OK; i++) {
        const char *special = trainer->specials[i];
        uint32_t number;
        int byte = 0;
        bytes.size = 0;
        for (size_t at = 0; special[at] && byte >= 0 && status == CM3_OK;) {
            byte = cm3_char_to_byte(cm3_utf8_next(special, &at));
            status = cm3_text_append(state->context, &bytes, &(char){(char)byte}, 1);
        }
        if (status == CM3_OK && byte >= 0)
            status = cm3_word_table_get(state->context, &state->forbidden, bytes.bytes, bytes.size, true, &number);
    }
    cm3_free(state->context, bytes.bytes);
    return status;
}

/* All words as ids of bytes. Their order does not matter: pairs are taken by count and ids. */
static cm3_status spell_words(learning *state, const cm3_bpe_trainer *trainer, const int32_t id_of_byte[256]) {
    const cm3_word_table *table = &trainer->words;
    state->ids = cm3_calloc(state->context, table->bytes.size, sizeof *state->ids);
    state->words = cm3_calloc(state->context, table->count, sizeof *state->words);
    if (!state->ids || !state->words)
        return cm3_fail_memory(state->context, table->bytes.size * sizeof *state->ids, "words");
    for (size_t i = 0; i < table->count; i++) {
        const cm3_word *word = &table->words[i];
        state->words[i] = (spelling){word->begin, word->size, word->count};
        for (size_t at = word->begin; at < word->begin + word->size; at++)
            state->ids[at] = id_of_byte[(unsigned char)table->bytes.bytes[at]];
    }
    state->word_count = table->count;
    return CM3_OK;
}

/* The id of the token that a pair makes, new or known, or -1 where it would be spelt like a special token. */
static cm3_status token_of(learning *state, cm3_learnt *learnt, const queued *top, cm3_text *joined, int32_t *id) {
    const int32_t sides[2] = {(int32_t)(top->key >> 32), (int32_t)(uint32_t)top->key};
    uint32_t number;
    joined->size = 0;
    for (int i = 0; i < 2; i++) {
        const cm3_word *side = &learnt->tokens.words[sides[i] - learnt->first];
        CM3_TRY(cm3_text_append(state->context, joined, learnt->tokens.bytes.bytes + side->begin, side->size));
    }
    *id = -1;
    CM3_TRY(cm3_word_table_get(state->context, &state->forbidden, joined->bytes, joined->size, false, &number));
    if (number != UINT32_MAX) return CM3_OK;
    CM3_TRY(cm3_word_table_get(state->context, &learnt->tokens, joined->bytes, joined->size, true, &number));
    CM3_TRY(cm3_grow(state->context, &learnt->merges, &learnt->merge_capacity, learnt->merge_count + 1,
                     sizeof *learnt->merges, "merges"));
    memcpy(learnt->merges[learnt->merge_count++], sides, sizeof sides);
    *id = learnt->first + (int32_t)number;
    return CM3_OK;
}

static cm3_status report(const cm3_bpe_trainer *trainer, uint64_t done, uint64_t total) {
    if (!trainer->options.progress || !trainer->options.progress(trainer->options.user, done, total)) return CM3_OK;
    return cm3_fail(trainer->context, CM3_ERROR_CANCELLED, "training was stopped by its callback");
}

static cm3_status learn_merges(learning *state, const cm3_bpe_trainer *trainer, cm3_learnt *learnt, cm3_text *joined) {
    enum { OFTEN = 64 };
    size_t wanted = (size_t)(trainer->options.vocab_size - learnt->first), alphabet = learnt->tokens.count;
    while (learnt->tokens.count < wanted && state->heap_count) {
        queued top = heap_pop(state);
        uint64_t count = state->pairs[top.pair].count;
        if (top.count != count) { /* it was queued long ago */
            if (count) CM3_TRY(heap_push(state, top.pair));
            continue;
        }
        if (count < (uint64_t)trainer->options.min_frequency) break;
        int32_t id;
        CM3_TRY(token_of(state, learnt, &top, joined, &id));
        if (id < 0) continue;
        CM3_TRY(merge_everywhere(state, top.pair, id));
        if (learnt->merge_count % OFTEN == 0)
            CM3_TRY(report(trainer, learnt->tokens.count - alphabet, wanted - alphabet));
    }
    return report(trainer, wanted - alphabet, wanted - alphabet);
}

cm3_status cm3_learn(const cm3_bpe_trainer *trainer, cm3_learnt *learnt) {
    learning state = {.context = trainer->context};
    cm3_text joined = {0};
    cm3_status status;
    int32_t id_of_byte[256];
    learnt->first = (int32_t)trainer->options.special_count;
    CM3_TRY_GOTO(add_alphabet(&state, learnt, id_of_byte), end);
    CM3_TRY_GOTO(forbid_specials(&state, trainer), end);
    CM3_TRY_GOTO(spell_words(&state, trainer, id_of_byte), end);
    for (size_t i = 0; i < state.word_count; i++) CM3_TRY_GOTO(count_in(&state, (uint32_t)i), end);
    CM3_TRY_GOTO(queue_touched(&state), end);
    status = learn_merges(&state, trainer, learnt, &joined);
end:
    cm3_free(trainer->context, joined.bytes);
    learning_clear(&state);
    return status;
}

void cm3_learnt_clear(cm3_context *context, cm3_learnt *learnt) {
    cm3_word_table_clear(context, &learnt->tokens);
    cm3_free(context, learnt->merges);
    memset(learnt, 0, sizeof *learnt);
}
