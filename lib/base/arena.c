/* A stack of blocks that is emptied at once. */
#include "base/memory.h"

#include "base/state.h"

#define ALIGNMENT 64

typedef struct arena_block {
    struct arena_block *next; /**< older */
    size_t capacity, used;
    size_t kept; /**< at the end */
    uint8_t *data;
} arena_block;

struct cm3_arena {
    struct cm3_context *context;
    arena_block *blocks;    /**< newest first */
    size_t block_size;      /**< of the next block, at least */
    size_t used, counted;   /**< taken; counted only */
    size_t kept;            /**< taken to be kept */
    size_t used_peak, peak; /**< the most that was taken; the same with what was counted */
    size_t held;
};

cm3_status cm3_arena_create(struct cm3_context *context, size_t block_size, cm3_arena **arena) {
    *arena = cm3_calloc(context, 1, sizeof **arena);
    if (*arena == NULL) return cm3_fail_memory(context, sizeof **arena, "arena");
    (*arena)->context = context;
    (*arena)->block_size = block_size < ALIGNMENT ? ALIGNMENT : block_size;
    return CM3_OK;
}

static void drop_block(cm3_arena *arena, arena_block **link) {
    arena_block *block = *link;
    *link = block->next;
    arena->held -= block->capacity + ALIGNMENT;
    arena->kept -= block->kept;
    cm3_free(arena->context, block);
}

static void free_blocks(cm3_arena *arena) {
    while (arena->blocks != NULL) drop_block(arena, &arena->blocks);
}

void cm3_arena_destroy(cm3_arena *arena) {
    if (arena == NULL) return;
    free_blocks(arena);
    cm3_free(arena->context, arena);
}

static bool add_block(cm3_arena *arena, size_t capacity) {
    size_t total;
    if (!cm3_add_size(capacity, 2 * ALIGNMENT - 1, &total)) return false;
    total &= ~(size_t)(ALIGNMENT - 1);
    capacity = total - ALIGNMENT; /* rounded up: both ends are aligned */
    arena_block *block = cm3_alloc(arena->context, total);
    if (block == NULL) return false;
    block->next = arena->blocks;
    block->capacity = capacity;
    block->used = block->kept = 0;
    block->data = (uint8_t *)block + ALIGNMENT;
    arena->blocks = block;
    arena->held += total;
    return true;
}

static void note_peak(cm3_arena *arena) {
    size_t taken = arena->used + arena->kept, total = taken + arena->counted;
    if (taken > arena->used_peak) arena->used_peak = taken;
    if (total > arena->peak) arena->peak = total;
}

bool cm3_arena_count(cm3_arena *arena, size_t size) {
    size_t rounded, total;
    if (!cm3_add_size(size, ALIGNMENT - 1, &rounded)) return false;
    rounded &= ~(size_t)(ALIGNMENT - 1);
    if (!cm3_add_size(arena->used + arena->counted, rounded, &total)) return false;
    arena->counted += rounded;
    note_peak(arena);
    return true;
}

/* The newest block, with room for `size` bytes, rounded up; NULL where memory is out. */
static arena_block *room_for(cm3_arena *arena, size_t size, size_t *rounded) {
    if (!cm3_add_size(size, ALIGNMENT - 1, rounded)) return NULL;
    *rounded &= ~(size_t)(ALIGNMENT - 1);
    arena_block *block = arena->blocks;
    if (block == NULL || block->capacity - block->used - block->kept < *rounded) {
        size_t capacity = *rounded > arena->block_size ? *rounded : arena->block_size;
        /* A block sized by the past may be more than there is; what is asked for may still fit. */
        if (!add_block(arena, capacity) && (capacity == *rounded || !add_block(arena, *rounded))) return NULL;
    }
    return arena->blocks;
}

void *cm3_arena_alloc(cm3_arena *arena, size_t size) {
    size_t rounded;
    arena_block *block = room_for(arena, size, &rounded);
    if (block == NULL) return NULL;
    void *pointer = block->data + block->used;
    block->used += rounded;
    arena->used += rounded;
    note_peak(arena);
    return pointer;
}

void *cm3_arena_keep(cm3_arena *arena, size_t size) {
    size_t rounded;
    arena_block *block = room_for(arena, size, &rounded);
    if (block == NULL) return NULL;
    block->kept += rounded;
    arena->kept += rounded;
    note_peak(arena);
    return block->data + block->capacity - block->kept;
}

bool cm3_arena_in_one(const cm3_arena *arena) {
    return arena->blocks != NULL && arena->blocks->next == NULL;
}

void cm3_arena_restart(cm3_arena *arena) {
    arena->blocks->used = arena->blocks->kept = 0;
    arena->used = arena->kept = arena->counted = 0;
}

void cm3_arena_reset(cm3_arena *arena) {
    if (arena->blocks != NULL && arena->used_peak > arena->blocks->capacity) {
        /* Freed now and taken again as one by the next allocation: the two are never held together. */
        free_blocks(arena);
        arena->block_size = arena->used_peak;
    } else if (arena->blocks != NULL) {
        while (arena->blocks->next != NULL) drop_block(arena, &arena->blocks->next);
        arena->blocks->used = arena->blocks->kept = 0;
    }
    arena->used = arena->kept = arena->counted = arena->used_peak = arena->peak = 0;
}

bool cm3_arena_reserve(cm3_arena *arena, size_t size) {
    cm3_arena_reset(arena);
    if (arena->blocks != NULL && arena->blocks->capacity >= size) return true;
    free_blocks(arena);
    /* What is not there must not be asked for again by those who want less. */
    size_t capacity = size > arena->block_size ? size : arena->block_size;
    if (!add_block(arena, capacity) && (capacity == size || !add_block(arena, size))) return false;
    arena->block_size = arena->blocks->capacity;
    return true;
}

void cm3_arena_clear(cm3_arena *arena) {
    cm3_arena_reset(arena);
    free_blocks(arena);
    arena->block_size = ALIGNMENT;
}

cm3_arena_mark cm3_arena_here(const cm3_arena *arena) {
    return (cm3_arena_mark){arena->blocks, arena->blocks != NULL ? arena->blocks->used : 0, arena->used,
                            arena->counted};
}

void cm3_arena_rewind(cm3_arena *arena, cm3_arena_mark mark) {
    arena_block **link = &arena->blocks;
    while (*link != NULL && *link != mark.block) {
        /* With an empty arena's mark the first block stays: it is there to be used. So do those with what is kept. */
        if ((*link)->kept == 0 && (*link)->next != NULL) {
            drop_block(arena, link);
        } else {
            (*link)->used = 0;
            link = &(*link)->next;
        }
    }
    if (*link != NULL) (*link)->used = mark.block_used;
    arena->used = mark.used;
    arena->counted = mark.counted;
}

size_t cm3_arena_used(const cm3_arena *arena) {
    return arena->used + arena->counted;
}

size_t cm3_arena_peak(const cm3_arena *arena) {
    return arena->peak;
}

size_t cm3_arena_held(const cm3_arena *arena) {
    return arena->held;
}
