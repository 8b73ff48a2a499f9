/* Allocation, growing, arenas; what happens when memory is out. */
#include <string.h>

#include "base/context.h"
#include "suites.h"
#include "support/allocator.h"

static test_allocator state;
static cm3_context *context;

static void set_up(void) {
    test_allocator_init(&state);
    cm3_allocator allocator = test_allocator_of(&state);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &context), CM3_OK);
}

/* Nothing is left behind, and sizes given back are those that were taken. */
static void tear_down(void) {
    cm3_context_destroy(context);
    ck_assert_int_eq(atomic_load(&state.live), 0);
    ck_assert_int_eq(atomic_load(&state.blocks), 0);
}

static cm3_memory_stats stats(void) {
    cm3_memory_stats found = {.struct_size = sizeof found};
    ck_assert_int_eq(cm3_context_memory(context, &found), CM3_OK);
    return found;
}

START_TEST(blocks_are_aligned_and_counted) {
    uint64_t before = stats().live_bytes;
    ck_assert_int_eq(before, atomic_load(&state.live));
    void *blocks[200];
    for (size_t i = 0; i < 200; ++i) {
        blocks[i] = cm3_alloc(context, i * 37);
        ck_assert_ptr_nonnull(blocks[i]);
        ck_assert_uint_eq((uintptr_t)blocks[i] % 64, 0);
        memset(blocks[i], 0xaa, i * 37);
    }
    ck_assert_int_eq(stats().live_bytes, atomic_load(&state.live));
    uint64_t peak = stats().peak_bytes;
    ck_assert_uint_ge(peak, before + 37 * 199 * 100);
    for (size_t i = 0; i < 200; ++i) cm3_free(context, blocks[i]);
    ck_assert_uint_eq(stats().live_bytes, before);
    ck_assert_uint_eq(stats().peak_bytes, peak);
    ck_assert_int_eq(stats().allocations, atomic_load(&state.calls));
    cm3_free(context, NULL);
}
END_TEST

START_TEST(sizes_that_overflow) {
    ck_assert_ptr_null(cm3_alloc(context, SIZE_MAX));
    ck_assert_ptr_null(cm3_alloc(context, SIZE_MAX - 63));
    ck_assert_ptr_null(cm3_alloc(context, (size_t)PTRDIFF_MAX));
    ck_assert_ptr_null(cm3_calloc(context, SIZE_MAX / 2, 3));
    ck_assert_ptr_null(cm3_strndup(context, "x", SIZE_MAX));
    size_t out;
    ck_assert(!cm3_mul_size(SIZE_MAX / 2 + 1, 2, &out));
    ck_assert(!cm3_add_size(SIZE_MAX, 1, &out));
    ck_assert(cm3_mul_size(6, 7, &out));
    ck_assert_uint_eq(out, 42);
}
END_TEST

START_TEST(realloc_keeps_content) {
    uint8_t *block = cm3_realloc(context, NULL, 10);
    memcpy(block, "0123456789", 10);
    block = cm3_realloc(context, block, 100000);
    ck_assert_mem_eq(block, "0123456789", 10);
    block = cm3_realloc(context, block, 4);
    ck_assert_mem_eq(block, "0123", 4);
    test_allocator_fail(&state, 0, INT64_MAX);
    ck_assert_ptr_null(cm3_realloc(context, block, 50));
    ck_assert_mem_eq(block, "0123", 4);
    cm3_free(context, block);
}
END_TEST

START_TEST(calloc_and_strndup) {
    uint8_t *zeroed = cm3_calloc(context, 33, 7);
    for (size_t i = 0; i < 231; ++i) ck_assert_uint_eq(zeroed[i], 0);
    cm3_free(context, zeroed);
    char *text = cm3_strndup(context, "abcdef", 3);
    ck_assert_str_eq(text, "abc");
    cm3_free(context, text);
    text = cm3_strndup(context, NULL, 0);
    ck_assert_str_eq(text, "");
    cm3_free(context, text);
}
END_TEST

START_TEST(arrays_grow) {
    uint32_t *array = NULL;
    size_t capacity = 0;
    for (uint32_t i = 0; i < 1000; ++i) {
        ck_assert_int_eq(cm3_grow(context, &array, &capacity, i + 1, sizeof *array, "numbers"), CM3_OK);
        array[i] = i;
    }
    ck_assert_uint_lt(atomic_load(&state.calls), 20);
    for (uint32_t i = 0; i < 1000; ++i) ck_assert_uint_eq(array[i], i);
    uint32_t *before = array;
    size_t capacity_before = capacity;
    ck_assert_int_eq(cm3_grow(context, &array, &capacity, SIZE_MAX, sizeof *array, "numbers"), CM3_ERROR_NO_MEMORY);
    ck_assert_int_eq(cm3_grow(context, &array, &capacity, SIZE_MAX / 8, sizeof *array, "numbers"), CM3_ERROR_NO_MEMORY);
    ck_assert_ptr_nonnull(strstr(cm3_context_message(context), "numbers"));
    ck_assert_ptr_eq(array, before);
    ck_assert_uint_eq(capacity, capacity_before);
    cm3_free(context, array);
}
END_TEST

START_TEST(arena_settles_in_one_block) {
    cm3_arena *arena;
    ck_assert_int_eq(cm3_arena_create(context, 1000, &arena), CM3_OK);
    int64_t settled = 0;
    for (int round = 0; round < 5; ++round) {
        if (round == 2) settled = atomic_load(&state.calls);
        uint8_t *pieces[50];
        for (size_t i = 0; i < 50; ++i) {
            pieces[i] = cm3_arena_alloc(arena, i * 10);
            ck_assert_ptr_nonnull(pieces[i]);
            ck_assert_uint_eq((uintptr_t)pieces[i] % 64, 0);
            memset(pieces[i], (int)i, i * 10);
        }
        for (size_t i = 0; i < 50; ++i) {
            for (size_t j = 0; j < i * 10; ++j) ck_assert_uint_eq(pieces[i][j], i);
        }
        ck_assert_uint_ge(cm3_arena_used(arena), 10 * 49 * 25);
        ck_assert_uint_ge(cm3_arena_held(arena), cm3_arena_used(arena));
        cm3_arena_reset(arena);
        ck_assert_uint_eq(cm3_arena_used(arena), 0);
    }
    ck_assert_int_eq(atomic_load(&state.calls), settled); /* round 1 took the joined block, none came after */
    cm3_arena_destroy(arena);
    cm3_arena_destroy(NULL);
}
END_TEST

/* What was asked for and is not there is forgotten: less is had afterwards, and one block serves all of it. */
START_TEST(arena_reserves_after_too_much) {
    cm3_arena *arena;
    ck_assert_int_eq(cm3_arena_create(context, 1000, &arena), CM3_OK);
    ck_assert(cm3_arena_reserve(arena, 6400));
    ck_assert(!cm3_arena_reserve(arena, SIZE_MAX / 2));
    ck_assert_uint_eq(cm3_arena_held(arena), 0);
    ck_assert(cm3_arena_reserve(arena, 3200));
    ck_assert_uint_lt(cm3_arena_held(arena), 10000);
    int64_t calls = atomic_load(&state.calls);
    for (int i = 0; i < 50; ++i) ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 64));
    ck_assert_int_eq(atomic_load(&state.calls), calls);
    cm3_arena_destroy(arena);
}
END_TEST

/* A block sized by the past may be more than there is: what is asked for is still had. */
START_TEST(arena_reserves_less_than_before) {
    cm3_arena *arena;
    ck_assert_int_eq(cm3_arena_create(context, 1 << 20, &arena), CM3_OK);
    test_allocator_fail(&state, 0, 1);
    ck_assert(cm3_arena_reserve(arena, 3200));
    ck_assert_uint_lt(cm3_arena_held(arena), 10000);
    test_allocator_fail(&state, 0, 2);
    ck_assert(!cm3_arena_reserve(arena, 6400));
    test_allocator_fail(&state, -1, 0);
    cm3_arena_destroy(arena);
}
END_TEST

/* What a layer took is taken again by the next; memory beyond the first block is given back, and remembered. */
START_TEST(arena_rewinds) {
    cm3_arena *arena;
    ck_assert_int_eq(cm3_arena_create(context, 1000, &arena), CM3_OK);
    uint8_t *kept = cm3_arena_alloc(arena, 500);
    ck_assert_ptr_nonnull(kept);
    memset(kept, 7, 500);
    cm3_arena_mark mark = cm3_arena_here(arena);
    size_t used = cm3_arena_used(arena), held = cm3_arena_held(arena);
    void *first = NULL;
    for (int layer = 0; layer < 4; ++layer) {
        void *place = cm3_arena_alloc(arena, 300);
        if (layer == 0) first = place;
        ck_assert_ptr_eq(place, first);
        memset(cm3_arena_alloc(arena, 5000), layer, 5000); /* another block */
        cm3_arena_rewind(arena, mark);
        ck_assert_uint_eq(cm3_arena_used(arena), used);
        ck_assert_uint_eq(cm3_arena_held(arena), held);
    }
    for (int i = 0; i < 500; ++i) ck_assert_uint_eq(kept[i], 7);
    size_t peak = cm3_arena_peak(arena);
    ck_assert_uint_ge(peak, 5800);
    cm3_arena_reset(arena);
    ck_assert_uint_eq(cm3_arena_peak(arena), 0);
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 64));
    ck_assert_uint_ge(cm3_arena_held(arena), peak); /* all that it needed at once, in one piece */
    mark = cm3_arena_here(arena);
    int64_t calls = atomic_load(&state.calls);
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, peak - 64));
    cm3_arena_rewind(arena, mark);
    ck_assert_int_eq(atomic_load(&state.calls), calls);
    cm3_arena_destroy(arena);
}
END_TEST

START_TEST(arena_is_reserved) {
    cm3_arena *arena;
    ck_assert_int_eq(cm3_arena_create(context, 100, &arena), CM3_OK);
    cm3_arena_mark empty = cm3_arena_here(arena);
    ck_assert(cm3_arena_reserve(arena, 4096));
    int64_t calls = atomic_load(&state.calls);
    for (int i = 0; i < 64; ++i) ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 64));
    ck_assert(cm3_arena_reserve(arena, 100)); /* there already */
    ck_assert_uint_eq(cm3_arena_used(arena), 0);
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 4096));
    cm3_arena_rewind(arena, empty);
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 4096));
    ck_assert_int_eq(atomic_load(&state.calls), calls);
    ck_assert(!cm3_arena_reserve(arena, SIZE_MAX));
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 64));
    cm3_arena_destroy(arena);
}
END_TEST

START_TEST(arena_without_memory) {
    cm3_arena *arena;
    test_allocator_fail(&state, 0, 1);
    ck_assert_int_eq(cm3_arena_create(context, 1000, &arena), CM3_ERROR_NO_MEMORY);
    ck_assert_ptr_null(arena);
    ck_assert_int_eq(cm3_arena_create(context, 1000, &arena), CM3_OK);
    /* The large block fails, the small one that is needed does not. */
    test_allocator_fail(&state, 0, 1);
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 10));
    test_allocator_fail(&state, 0, INT64_MAX);
    ck_assert_ptr_null(cm3_arena_alloc(arena, 5000));
    ck_assert_ptr_null(cm3_arena_alloc(arena, SIZE_MAX));
    ck_assert_ptr_null(cm3_arena_alloc(arena, SIZE_MAX - 100));
    test_allocator_fail(&state, -1, 0);
    ck_assert_ptr_nonnull(cm3_arena_alloc(arena, 5000));
    cm3_arena_destroy(arena);
}
END_TEST

START_TEST(stats_of_other_versions) {
    struct {
        size_t struct_size;
        uint64_t live;
    } old = {sizeof old, 0};
    ck_assert_int_eq(cm3_context_memory(context, (cm3_memory_stats *)&old), CM3_OK);
    ck_assert_int_eq(old.live, atomic_load(&state.live));
    cm3_memory_stats zero = {0};
    ck_assert_int_eq(cm3_context_memory(context, &zero), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_context_memory(context, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_context_memory(NULL, &zero), CM3_ERROR_INVALID_ARGUMENT);
}
END_TEST

static void *misaligned_alloc(void *user, size_t size, size_t alignment) {
    (void)alignment;
    char *block = user;
    return size < 4096 ? block + 8 : NULL;
}

static void misaligned_free(void *user, void *pointer, size_t size) {
    (void)user, (void)pointer, (void)size;
}

START_TEST(misaligned_allocator_is_refused) {
    static _Alignas(64) char block[8192];
    cm3_allocator allocator = {misaligned_alloc, misaligned_free, block};
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.allocator = &allocator;
    cm3_context *other;
    ck_assert_int_eq(cm3_context_create(&options, &other), CM3_ERROR_NO_MEMORY);
    ck_assert_ptr_null(other);
}
END_TEST

Suite *memory_suite(void) {
    Suite *suite = suite_create("memory");
    TCase *tests = tcase_create("memory");
    tcase_set_timeout(tests, 60);
    tcase_add_checked_fixture(tests, set_up, tear_down);
    tcase_add_test(tests, blocks_are_aligned_and_counted);
    tcase_add_test(tests, sizes_that_overflow);
    tcase_add_test(tests, realloc_keeps_content);
    tcase_add_test(tests, calloc_and_strndup);
    tcase_add_test(tests, arrays_grow);
    tcase_add_test(tests, arena_settles_in_one_block);
    tcase_add_test(tests, arena_reserves_after_too_much);
    tcase_add_test(tests, arena_reserves_less_than_before);
    tcase_add_test(tests, arena_rewinds);
    tcase_add_test(tests, arena_is_reserved);
    tcase_add_test(tests, arena_without_memory);
    tcase_add_test(tests, stats_of_other_versions);
    tcase_add_test(tests, misaligned_allocator_is_refused);
    suite_add_tcase(suite, tests);
    return suite;
}
