/* Memory through the context's allocator: every block carries its size in a header before it. */
#include "base/memory.h"

#include <string.h>

#include "base/state.h"

/* One cache line, so that what follows keeps the block's alignment. */
#define HEADER 64

typedef struct block_header {
    size_t total; /**< as asked of the allocator, header included */
} block_header;

/* The calling thread's, or NULL. */
static _Thread_local cm3_memory_watch *watching;

void cm3_memory_watch_begin(cm3_memory_watch *watch, struct cm3_context *context, uint64_t bound) {
    *watch = (cm3_memory_watch){.context = context, .bound = bound};
    watching = watch;
}

void cm3_memory_watch_end(void) {
    watching = NULL;
}

/* False where the bound forbids it. */
static bool watch_taken(struct cm3_context *context, size_t total) {
    cm3_memory_watch *watch = watching;
    if (watch == NULL || watch->context != context) return true;
    if (total > watch->bound || watch->held > watch->bound - total) {
        watch->refused = true;
        return false;
    }
    watch->held += total;
    if (watch->held > watch->most) watch->most = watch->held;
    return true;
}

static void watch_given_back(struct cm3_context *context, size_t total) {
    cm3_memory_watch *watch = watching;
    if (watch != NULL && watch->context == context) watch->held -= total < watch->held ? total : watch->held;
}

static void *block_data(void *block) {
    return (uint8_t *)block + HEADER;
}

static block_header *data_block(void *pointer) {
    return (block_header *)((uint8_t *)pointer - HEADER);
}

static void count_up(struct cm3_context *context, size_t total) {
    uint64_t live = atomic_fetch_add(&context->live, total) + total;
    uint64_t peak = atomic_load(&context->peak);
    while (live > peak && !atomic_compare_exchange_weak(&context->peak, &peak, live)) {
    }
    atomic_fetch_add(&context->allocations, 1);
}

uint64_t cm3_alloc_size(size_t size) {
    return (uint64_t)size + HEADER;
}

void *cm3_alloc(struct cm3_context *context, size_t size) {
    size_t total;
    if (!cm3_add_size(size, HEADER, &total) || total > PTRDIFF_MAX) return NULL;
    if (!watch_taken(context, total)) return NULL;
    block_header *block = context->allocator.alloc(context->allocator.user, total, HEADER);
    if (block == NULL || (uintptr_t)block % HEADER != 0) watch_given_back(context, total);
    if (block == NULL) return NULL;
    if ((uintptr_t)block % HEADER != 0) {
        context->allocator.free(context->allocator.user, block, total);
        cm3_log(context, CM3_LOG_ERROR, "the allocator gave memory that is not aligned to %d", HEADER);
        return NULL;
    }
    block->total = total;
    count_up(context, total);
    return block_data(block);
}

void *cm3_calloc(struct cm3_context *context, size_t count, size_t size) {
    size_t product;
    if (!cm3_mul_size(count, size, &product)) return NULL;
    void *pointer = cm3_alloc(context, product);
    if (pointer != NULL) memset(pointer, 0, product);
    return pointer;
}

void *cm3_realloc(struct cm3_context *context, void *pointer, size_t size) {
    if (pointer == NULL) return cm3_alloc(context, size);
    size_t old_size = data_block(pointer)->total - HEADER;
    if (old_size == size) return pointer;
    void *grown = cm3_alloc(context, size);
    if (grown == NULL) return NULL;
    memcpy(grown, pointer, old_size < size ? old_size : size);
    cm3_free(context, pointer);
    return grown;
}

void cm3_free(struct cm3_context *context, void *pointer) {
    if (pointer == NULL) return;
    block_header *block = data_block(pointer);
    size_t total = block->total;
    atomic_fetch_sub(&context->live, total);
    watch_given_back(context, total);
    context->allocator.free(context->allocator.user, block, total);
}

char *cm3_strndup(struct cm3_context *context, const char *text, size_t size) {
    size_t total;
    if (!cm3_add_size(size, 1, &total)) return NULL;
    char *copy = cm3_alloc(context, total);
    if (copy == NULL) return NULL;
    if (size > 0) memcpy(copy, text, size);
    copy[size] = '\0';
    return copy;
}

cm3_status cm3_grow(struct cm3_context *context, void *array, size_t *capacity, size_t count, size_t size,
                    const char *what) {
    if (count <= *capacity) return CM3_OK;
    size_t wanted = *capacity < 8 ? 8 : *capacity;
    while (wanted < count) {
        if (!cm3_mul_size(wanted, 2, &wanted)) return cm3_fail_memory(context, SIZE_MAX, what);
    }
    size_t bytes;
    if (!cm3_mul_size(wanted, size, &bytes)) return cm3_fail_memory(context, SIZE_MAX, what);
    /* `array` is the address of some T *; copying the pointer keeps clear of aliasing rules. */
    void *old;
    memcpy(&old, array, sizeof old);
    void *grown = cm3_realloc(context, old, bytes);
    if (grown == NULL) return cm3_fail_memory(context, bytes, what);
    memcpy(array, &grown, sizeof grown);
    *capacity = wanted;
    return CM3_OK;
}
