/* Memory through the context's allocator, counted; overflow-checked sizes; arenas. */
#ifndef CM3_BASE_MEMORY_H
#define CM3_BASE_MEMORY_H

#include <stdbool.h>

#include "base/status.h"

/** `size` bytes aligned to 64, or NULL without a message. Size 0 gives a valid pointer. The size is kept beside the
 * block. */
void *cm3_alloc(struct cm3_context *context, size_t size);

/** What a block of `size` bytes takes of the context's allocator. */
uint64_t cm3_alloc_size(size_t size);

/** The same, zeroed, count * size bytes; NULL also where the product overflows. */
void *cm3_calloc(struct cm3_context *context, size_t count, size_t size);

/** Grows or shrinks; on failure NULL and the old block stays. `pointer` may be NULL. */
void *cm3_realloc(struct cm3_context *context, void *pointer, size_t size);

/** NULL is allowed. */
void cm3_free(struct cm3_context *context, void *pointer);

/** Copies `size` bytes and appends a NUL. */
char *cm3_strndup(struct cm3_context *context, const char *text, size_t size);

/** a * b into *product; false on overflow. */
static inline bool cm3_mul_size(size_t a, size_t b, size_t *product) {
    return !__builtin_mul_overflow(a, b, product);
}

/** a + b into *sum; false on overflow. */
static inline bool cm3_add_size(size_t a, size_t b, size_t *sum) {
    return !__builtin_add_overflow(a, b, sum);
}

/**
 * Grows the array `*array` of `*capacity` elements of `size` bytes so that it holds `count`; doubling. Errors:
 * NO_MEMORY with a message that names `what`.
 */
cm3_status cm3_grow(struct cm3_context *context, void *array, size_t *capacity, size_t count, size_t size,
                    const char *what);

/** What one thread takes of a context's memory and gives back, and the most it may hold. Watches do not nest. */
typedef struct cm3_memory_watch {
    struct cm3_context *context;
    uint64_t bound; /**< cm3_alloc() fails where `held` would come above it; UINT64_MAX: none */
    uint64_t held;  /**< bytes taken since it began and not given back, as the allocator counts */
    uint64_t most;  /**< the most that was held */
    bool refused;   /**< something was, because of the bound */
} cm3_memory_watch;

/** Watches the calling thread until cm3_memory_watch_end(). */
void cm3_memory_watch_begin(cm3_memory_watch *watch, struct cm3_context *context, uint64_t bound);
void cm3_memory_watch_end(void);

/** A stack of blocks that is emptied at once and keeps its memory: no allocation once it has grown to what a step
 * needs. */
typedef struct cm3_arena cm3_arena;

cm3_status cm3_arena_create(struct cm3_context *context, size_t block_size, cm3_arena **arena);
void cm3_arena_destroy(cm3_arena *arena);

/** `size` bytes aligned to 64, not zeroed; NULL where memory is out. Valid until the next reset. */
void *cm3_arena_alloc(cm3_arena *arena, size_t size);

/** The same, for small things: kept until the next reset, whatever is rewound. They lie at the block's other end. */
void *cm3_arena_keep(cm3_arena *arena, size_t size);

/** As if `size` bytes were taken, without memory: for passes that only measure. False on overflow. */
bool cm3_arena_count(cm3_arena *arena, size_t size);

/** Forgets all; where it took more than one block, the next is as large as all that was needed at once, so that the
 * next round runs in one piece. */
void cm3_arena_reset(cm3_arena *arena);

/** Forgets all and makes sure of one block of `size` bytes, counted as cm3_arena_peak() counts. False where memory is
 * out: it holds nothing then, and takes what comes piece by piece. */
bool cm3_arena_reserve(cm3_arena *arena, size_t size);

/** Forgets all and gives the memory back. */
void cm3_arena_clear(cm3_arena *arena);

/** Whether all that was taken lies in one block. */
bool cm3_arena_in_one(const cm3_arena *arena);
/** Of such an arena: forgets all and leaves the bytes as they are. What is taken next, in the same order, lies where it
 * lay. */
void cm3_arena_restart(cm3_arena *arena);

/** A place in the arena to come back to. */
typedef struct cm3_arena_mark {
    void *block;
    size_t block_used, used, counted;
} cm3_arena_mark;

cm3_arena_mark cm3_arena_here(const cm3_arena *arena);
/** Forgets what was taken since `mark`; marks taken since then are void. */
void cm3_arena_rewind(cm3_arena *arena, cm3_arena_mark mark);

/** Bytes handed out or counted, and not forgotten; the most of them since the last reset; held from the allocator. */
size_t cm3_arena_used(const cm3_arena *arena);
size_t cm3_arena_peak(const cm3_arena *arena);
size_t cm3_arena_held(const cm3_arena *arena);

#endif
