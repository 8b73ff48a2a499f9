/*
 * A graph through which the nearest vectors are found: hierarchical navigable small world (Malkov and Yashunin 2016).
 * Each node is linked with near ones that lie in different directions; ever fewer nodes are in the layers above, for
 * the way to where the search begins. Nodes meet as vectors of integers with a scale each.
 */
#ifndef CM3_RETRIEVE_HNSW_H
#define CM3_RETRIEVE_HNSW_H

#include "base/context.h"
#include "nn/kernels.h"

#define CM3_HNSW_NONE UINT32_MAX
#define CM3_HNSW_MOST_NODES ((uint64_t)INT32_MAX)
#define CM3_HNSW_MOST_M 64
#define CM3_HNSW_MOST_LEVELS 32 /* above the ground */

/**
 * A graph, where it lies in a file or while it is being built. Nothing in it is believed: numbers of nodes and places
 * are compared with what there is before they are used, so that damage leads astray and nowhere else.
 */
typedef struct cm3_hnsw {
    uint32_t count, m;
    uint32_t entry;         /**< node where a search begins: none is in more layers */
    int64_t width;          /**< of a row: cm3_hnsw_width() */
    const int8_t *rows;     /**< [count, width], the dimension's numbers, then zeros */
    const float *scales;    /**< [count] */
    const uint32_t *ground; /**< [count, cm3_hnsw_line()]: neighbours of the ground layer, then CM3_HNSW_NONE */
    /** Where in `upper` a node's layers above the ground are told; CM3_HNSW_NONE: it has none. */
    const uint32_t *places;
    /** How many layers, then m neighbours of each, the lowest first, ended by CM3_HNSW_NONE where they are fewer. */
    const uint32_t *upper;
    uint64_t upper_count;
} cm3_hnsw;

/** Bytes of a row: lines of a cache are not shared. */
static inline int64_t cm3_hnsw_width(int64_t dimension) {
    return (dimension + 63) / 64 * 64;
}
/** Places of a node's ground list, of which the first 2 m are used. */
static inline int64_t cm3_hnsw_line(uint32_t m) {
    return (2 * (int64_t)m + 15) / 16 * 16;
}

/** A node that was met, and how near it is: the larger, the nearer. */
typedef struct cm3_hnsw_near {
    float score;
    uint32_t node;
} cm3_hnsw_near;

/** What one thread needs for walking. */
typedef struct cm3_hnsw_walker {
    uint8_t *visited; /**< [nodes], those with `stamp` were met by this walk */
    size_t nodes;
    uint8_t stamp;
    int8_t *query; /**< [width] */
    int64_t width;
    cm3_hnsw_near *best; /**< [ef], a heap with the farthest on top; sorted at the end of a walk, the nearest first */
    cm3_hnsw_near *open; /**< [2 ef], a heap with the nearest on top: met, their neighbours not looked at */
    size_t ef, best_count, open_count;
    uint32_t batch[2 * CM3_HNSW_MOST_M];
    int32_t products[2 * CM3_HNSW_MOST_M];
} cm3_hnsw_walker;

/** Room for walks through `nodes` nodes with up to `ef` of them kept. Errors: NO_MEMORY. */
cm3_status cm3_hnsw_walker_reserve(cm3_context *context, cm3_hnsw_walker *walker, size_t nodes, int64_t width,
                                   size_t ef);
void cm3_hnsw_walker_clear(cm3_context *context, cm3_hnsw_walker *walker);

/** The neighbours of a node at a level (0: the ground), at most *most of them, ended by CM3_HNSW_NONE where they are
 * fewer; NULL where it has no such level. */
const uint32_t *cm3_hnsw_list(const cm3_hnsw *graph, uint32_t node, uint32_t level, uint32_t *most);
/** Layers of a node above the ground. */
uint32_t cm3_hnsw_levels(const cm3_hnsw *graph, uint32_t node);

/** Goes from *at towards `query` [width] through a level above the ground until no neighbour is nearer. */
void cm3_hnsw_descend(const cm3_hnsw *graph, const cm3_kernels *kernels, cm3_hnsw_walker *walker, const int8_t *query,
                      uint32_t level, cm3_hnsw_near *at);
/** The up to `ef` nearest of a level that are reached from `from`, in walker->best, sorted. */
void cm3_hnsw_walk(const cm3_hnsw *graph, const cm3_kernels *kernels, cm3_hnsw_walker *walker, const int8_t *query,
                   uint32_t level, cm3_hnsw_near from, size_t ef);
/** The nearest of all: from the entry down to the ground. Scores are products with the rows as they were quantised. */
void cm3_hnsw_search(const cm3_hnsw *graph, const cm3_kernels *kernels, cm3_hnsw_walker *walker, const int8_t *query,
                     size_t ef);
/** How near a node is to a query. */
float cm3_hnsw_score(const cm3_hnsw *graph, const cm3_kernels *kernels, const int8_t *query, uint32_t node);

/* hnsw_build.c */

typedef struct cm3_hnsw_build cm3_hnsw_build;

/** Memory that a graph is built in; its parts begin where the caller wants them. */
typedef struct cm3_hnsw_parts {
    int8_t *rows;
    float *scales;
    uint32_t *ground, *places, *upper;
} cm3_hnsw_parts;

/**
 * Draws the levels of `count` nodes: `levels` [count] is how many layers each has above the ground, a function of seed
 * and number. Returns what `upper` will hold.
 */
uint64_t cm3_hnsw_draw_levels(uint64_t seed, uint32_t m, uint32_t count, uint8_t *levels);

/**
 * Begins to build. `levels` as drawn; nodes of which `leaves_out` [count] (may be NULL) is set are not linked. Rows and
 * scales are the caller's to fill before nodes are linked; all of `parts` must outlive the build. Errors: NO_MEMORY.
 * *build is NULL on failure.
 */
cm3_status cm3_hnsw_build_create(cm3_context *context, uint32_t m, size_t ef, int64_t width, uint32_t count,
                                 uint64_t seed, const uint8_t *levels, const uint8_t *leaves_out,
                                 const cm3_hnsw_parts *parts, cm3_hnsw_build **build);
void cm3_hnsw_build_destroy(cm3_hnsw_build *build);
/** Nodes that will be linked; the node where searches begin, CM3_HNSW_NONE where there are none. */
uint32_t cm3_hnsw_build_total(const cm3_hnsw_build *build);
uint32_t cm3_hnsw_build_entry(const cm3_hnsw_build *build);
/** Links nodes begin..end - 1, counted in the order of linking, all before them being linked; with the whole team. On
 * the compute thread. */
void cm3_hnsw_build_link(cm3_hnsw_build *build, uint32_t begin, uint32_t end);

#endif
