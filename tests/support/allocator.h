/* An allocator that counts, checks what it gets back, and fails when told to. */
#ifndef SUPPORT_ALLOCATOR_H
#define SUPPORT_ALLOCATOR_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "cm3leon/base.h"

typedef struct test_allocator {
    _Atomic int64_t live;     /**< bytes */
    _Atomic int64_t blocks;   /**< number */
    _Atomic int64_t calls;    /**< allocations asked for */
    _Atomic int64_t fail_at;  /**< the first call (from 0) that fails, as all after it do; below 0: none */
    _Atomic int64_t fail_for; /**< how many calls fail from there */
} test_allocator;

static inline void *test_allocator_alloc(void *user, size_t size, size_t alignment) {
    test_allocator *state = user;
    int64_t call = atomic_fetch_add(&state->calls, 1), first = atomic_load(&state->fail_at);
    if (first >= 0 && call >= first && call - first < atomic_load(&state->fail_for)) return NULL;
    void *pointer;
    if (posix_memalign(&pointer, alignment, size) != 0) return NULL;
    atomic_fetch_add(&state->live, (int64_t)size);
    atomic_fetch_add(&state->blocks, 1);
    return pointer;
}

static inline void test_allocator_free(void *user, void *pointer, size_t size) {
    test_allocator *state = user;
    atomic_fetch_sub(&state->live, (int64_t)size);
    atomic_fetch_sub(&state->blocks, 1);
    free(pointer);
}

static inline void test_allocator_init(test_allocator *state) {
    atomic_init(&state->live, 0);
    atomic_init(&state->blocks, 0);
    atomic_init(&state->calls, 0);
    atomic_init(&state->fail_at, -1);
    atomic_init(&state->fail_for, INT64_MAX);
}

static inline cm3_allocator test_allocator_of(test_allocator *state) {
    cm3_allocator allocator = {test_allocator_alloc, test_allocator_free, state};
    return allocator;
}

/* From the n-th allocation from now on, `count` of them fail. */
static inline void test_allocator_fail(test_allocator *state, int64_t n, int64_t count) {
    atomic_store(&state->fail_for, count);
    atomic_store(&state->fail_at, n < 0 ? -1 : atomic_load(&state->calls) + n);
}

#endif
