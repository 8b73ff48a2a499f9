/* A set of byte strings with numbers in order of coming. */
#include <string.h>
#include <xxhash.h>

#include "text/trainer.h"

static size_t find_slot(const cm3_word_table *table, const char *word, size_t size) {
    size_t mask = table->slot_count - 1, slot = XXH3_64bits(word, size) & mask;
    while (table->slots[slot]) {
        const cm3_word *known = &table->words[table->slots[slot] - 1];
        if (known->size == size && !memcmp(table->bytes.bytes + known->begin, word, size)) break;
        slot = (slot + 1) & mask;
    }
    return slot;
}

static cm3_status grow_slots(cm3_context *context, cm3_word_table *table) {
    cm3_word_table wider = *table;
    if (!cm3_mul_size(table->slot_count ? table->slot_count : 512, 2, &wider.slot_count))
        return cm3_fail_memory(context, SIZE_MAX, "words");
    wider.slots = cm3_calloc(context, wider.slot_count, sizeof *wider.slots);
    if (!wider.slots) return cm3_fail_memory(context, wider.slot_count * sizeof *wider.slots, "words");
    for (size_t i = 0; i < table->count; i++) {
        const cm3_word *word = &table->words[i];
        wider.slots[find_slot(&wider, table->bytes.bytes + word->begin, word->size)] = (uint32_t)(i + 1);
    }
    cm3_free(context, table->slots);
    *table = wider;
    return CM3_OK;
}

cm3_status cm3_word_table_get(cm3_context *context, cm3_word_table *table, const char *word, size_t size, bool add,
                              uint32_t *number) {
    *number = UINT32_MAX;
    if (!table->slot_count && !add) return CM3_OK;
    if (table->count * 2 >= table->slot_count) CM3_TRY(grow_slots(context, table));
    size_t slot = find_slot(table, word, size);
    if (!table->slots[slot]) {
        if (!add) return CM3_OK;
        if (table->count >= INT32_MAX || size > UINT32_MAX)
            return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "training: too many or too long words");
        CM3_TRY(cm3_grow(context, &table->words, &table->capacity, table->count + 1, sizeof *table->words, "words"));
        cm3_word made = {table->bytes.size, (uint32_t)size, 0};
        CM3_TRY(cm3_text_append(context, &table->bytes, word, size));
        table->words[table->count++] = made;
        table->slots[slot] = (uint32_t)table->count;
    }
    *number = table->slots[slot] - 1;
    return CM3_OK;
}

void cm3_word_table_clear(cm3_context *context, cm3_word_table *table) {
    cm3_free(context, table->bytes.bytes);
    cm3_free(context, table->words);
    cm3_free(context, table->slots);
    memset(table, 0, sizeof *table);
}
