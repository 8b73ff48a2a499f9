/* Any bytes as a pickle: read, and all of its values walked that can be reached without going round in circles. */
#include "files/pickle.h"

#include "base/context.h"
#include "fuzz.h"

static uint64_t touch(const cm3_pickle_value *value, int depth) {
    uint64_t sum = (uint64_t)value->kind;
    bool items = value->kind == CM3_PICKLE_TUPLE || value->kind == CM3_PICKLE_LIST || value->kind == CM3_PICKLE_DICT;
    if (value->kind == CM3_PICKLE_STRING) {
        FUZZ_CHECK(value->as.string.text[value->as.string.size] == 0);
        for (size_t i = 0; i < value->as.string.size; ++i) sum += (unsigned char)value->as.string.text[i];
    }
    if (value->kind == CM3_PICKLE_TENSOR) sum += (uint64_t)value->as.tensor.storage->count;
    size_t count = 0;
    for (const cm3_pickle_item *item = items ? value->as.items.first : NULL; item != NULL; item = item->next) {
        FUZZ_CHECK((item->key != NULL) == (value->kind == CM3_PICKLE_DICT) && item->value != NULL);
        if (depth > 0 && count < 8) sum += touch(item->value, depth - 1);
        ++count;
    }
    FUZZ_CHECK(!items || count == value->as.items.count);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cm3_context *context = fuzz_begin((size_t)16 << 20);
    cm3_arena *arena;
    const cm3_pickle_value *value;
    FUZZ_CHECK(cm3_arena_create(context, 1 << 12, &arena) == CM3_OK);
    cm3_status status = cm3_pickle_read(context, "pickle", data, size, arena, &value);
    fuzz_check_result(context, status, value);
    volatile uint64_t sum = value != NULL ? touch(value, 6) : 0;
    (void)sum;
    cm3_arena_destroy(arena);
    fuzz_end(context);
    return 0;
}
