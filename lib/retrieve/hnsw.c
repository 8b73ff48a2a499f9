/*
 * Walking through a graph. Lists may change while they are read (the graph is being built by other threads): a reader
 * sees old neighbours or new ones, each of them a node.
 */
#include "retrieve/hnsw.h"

#include <string.h>

#include "base/memory.h"

cm3_status cm3_hnsw_walker_reserve(cm3_context *context, cm3_hnsw_walker *walker, size_t nodes, int64_t width,
                                   size_t ef) {
    if (nodes > walker->nodes) {
        cm3_free(context, walker->visited);
        walker->nodes = 0;
        walker->stamp = 0;
        walker->visited = cm3_calloc(context, nodes, 1);
        if (!walker->visited) return cm3_fail_memory(context, nodes, "graph");
        walker->nodes = nodes;
    }
    if (width > walker->width) {
        cm3_free(context, walker->query);
        walker->width = 0;
        walker->query = cm3_alloc(context, (size_t)width);
        if (!walker->query) return cm3_fail_memory(context, (size_t)width, "graph");
        walker->width = width;
    }
    if (ef > walker->ef) {
        cm3_free(context, walker->best);
        cm3_free(context, walker->open);
        walker->ef = 0;
        walker->best = cm3_calloc(context, ef, sizeof *walker->best);
        walker->open = cm3_calloc(context, 2 * ef, sizeof *walker->open);
        if (!walker->best || !walker->open) return cm3_fail_memory(context, 3 * ef * sizeof *walker->best, "graph");
        walker->ef = ef;
    }
    return CM3_OK;
}

void cm3_hnsw_walker_clear(cm3_context *context, cm3_hnsw_walker *walker) {
    cm3_free(context, walker->visited);
    cm3_free(context, walker->query);
    cm3_free(context, walker->best);
    cm3_free(context, walker->open);
    *walker = (cm3_hnsw_walker){0};
}

/* --- what the graph holds ------------------------------------------------------------------------------------------
 */

/** Whoever sees a node in a list sees all that was written of it before it was put there. */
static inline uint32_t load(const uint32_t *from) {
    return __atomic_load_n(from, __ATOMIC_ACQUIRE);
}

uint32_t cm3_hnsw_levels(const cm3_hnsw *graph, uint32_t node) {
    const uint64_t place = graph->places[node];
    if (place >= graph->upper_count) return 0;
    const uint64_t levels = graph->upper[place];
    if (levels > CM3_HNSW_MOST_LEVELS || place + 1 + levels * graph->m > graph->upper_count) return 0;
    return (uint32_t)levels;
}

const uint32_t *cm3_hnsw_list(const cm3_hnsw *graph, uint32_t node, uint32_t level, uint32_t *most) {
    if (!level) {
        *most = 2 * graph->m;
        return graph->ground + node * cm3_hnsw_line(graph->m);
    }
    *most = graph->m;
    if (level > cm3_hnsw_levels(graph, node)) return NULL;
    return graph->upper + graph->places[node] + 1 + (level - 1) * (uint64_t)graph->m;
}

/* --- heaps ---------------------------------------------------------------------------------------------------------
 */

/** Puts `one` into a heap of `count` others, the nearest on top, or the farthest. */
static inline void push(cm3_hnsw_near *heap, size_t count, cm3_hnsw_near one, bool nearest) {
    size_t at = count;
    while (at) {
        const size_t above = (at - 1) / 2;
        if (nearest ? heap[above].score >= one.score : heap[above].score <= one.score) break;
        heap[at] = heap[above];
        at = above;
    }
    heap[at] = one;
}

/** Puts `one` in place of the top of a heap of `count`. */
static inline void replace_top(cm3_hnsw_near *heap, size_t count, cm3_hnsw_near one, bool nearest) {
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count &&
            (nearest ? heap[child + 1].score > heap[child].score : heap[child + 1].score < heap[child].score)) {
            child++;
        }
        if (nearest ? heap[child].score <= one.score : heap[child].score >= one.score) break;
        heap[at] = heap[child];
    }
    heap[at] = one;
}

/** Forgets the open nodes that would never be looked at: those that are not nearer than the farthest of the best, of
 * which all are nearer ones are, so that at most ef are left. */
static void drop_far(cm3_hnsw_walker *walker) {
    const float farthest = walker->best[0].score;
    const size_t all = walker->open_count;
    walker->open_count = 0;
    for (size_t i = 0; i < all; i++) {
        const cm3_hnsw_near one = walker->open[i];
        if (one.score > farthest) push(walker->open, walker->open_count++, one, true);
    }
}

static inline void meet(cm3_hnsw_walker *walker, cm3_hnsw_near one, size_t ef) {
    if (walker->best_count < ef) {
        push(walker->best, walker->best_count++, one, false);
    } else if (one.score > walker->best[0].score) {
        replace_top(walker->best, ef, one, false);
    } else {
        return;
    }
    if (walker->open_count == 2 * ef) drop_far(walker);
    if (walker->open_count < 2 * ef) push(walker->open, walker->open_count++, one, true);
}

static cm3_hnsw_near take_nearest(cm3_hnsw_walker *walker) {
    const cm3_hnsw_near top = walker->open[0];
    walker->open_count--;
    if (walker->open_count) replace_top(walker->open, walker->open_count, walker->open[walker->open_count], true);
    return top;
}

/** The nearest first; of equal ones the older. */
static void sort_best(cm3_hnsw_walker *walker) {
    cm3_hnsw_near *best = walker->best;
    for (size_t left = walker->best_count; left > 1;) {
        const cm3_hnsw_near farthest = best[0], last = best[--left];
        replace_top(best, left, last, false);
        best[left] = farthest;
    }
}

/* --- walking -------------------------------------------------------------------------------------------------------
 */

/** Damage can make a scale anything. */
static inline float score_of(const cm3_hnsw *graph, uint32_t node, int32_t product) {
    const float score = (float)product * graph->scales[node];
    return score >= -3.0e38f && score <= 3.0e38f ? score : -3.0e38f;
}

float cm3_hnsw_score(const cm3_hnsw *graph, const cm3_kernels *kernels, const int8_t *query, uint32_t node) {
    int32_t product;
    kernels->gathered_i8(&product, query, graph->rows, graph->width, &node, 1);
    return score_of(graph, node, product);
}

void cm3_hnsw_descend(const cm3_hnsw *graph, const cm3_kernels *kernels, cm3_hnsw_walker *walker, const int8_t *query,
                      uint32_t level, cm3_hnsw_near *at) {
    for (bool nearer = true; nearer;) {
        uint32_t most, count = 0;
        const uint32_t *list = cm3_hnsw_list(graph, at->node, level, &most);
        for (uint32_t i = 0; list && i < most; i++) {
            const uint32_t node = load(&list[i]);
            if (node == CM3_HNSW_NONE) break;
            if (node < graph->count) walker->batch[count++] = node;
        }
        kernels->gathered_i8(walker->products, query, graph->rows, graph->width, walker->batch, count);
        nearer = false;
        for (uint32_t i = 0; i < count; i++) {
            const float score = score_of(graph, walker->batch[i], walker->products[i]);
            if (!(score > at->score)) continue;
            *at = (cm3_hnsw_near){score, walker->batch[i]};
            nearer = true;
        }
    }
}

/** Neighbours of a node that were not met yet, into the batch. */
static uint32_t gather(const cm3_hnsw *graph, cm3_hnsw_walker *walker, uint32_t node, uint32_t level) {
    uint32_t most, count = 0;
    const uint32_t *list = cm3_hnsw_list(graph, node, level, &most);
    for (uint32_t i = 0; list && i < most; i++) {
        const uint32_t other = load(&list[i]);
        if (other == CM3_HNSW_NONE) break;
        if (other >= graph->count || walker->visited[other] == walker->stamp) continue;
        walker->visited[other] = walker->stamp;
        /* The first rows are asked for here, those behind them by the kernel. */
        if (count < 4) {
            const int8_t *row = graph->rows + other * graph->width;
            for (int64_t j = 0; j < graph->width; j += 64) __builtin_prefetch(row + j);
        }
        __builtin_prefetch(&graph->scales[other]);
        walker->batch[count++] = other;
    }
    return count;
}

static void begin_walk(cm3_hnsw_walker *walker) {
    if (++walker->stamp == 0) {
        memset(walker->visited, 0, walker->nodes);
        walker->stamp = 1;
    }
    walker->best_count = 0;
    walker->open_count = 0;
}

void cm3_hnsw_walk(const cm3_hnsw *graph, const cm3_kernels *kernels, cm3_hnsw_walker *walker, const int8_t *query,
                   uint32_t level, cm3_hnsw_near from, size_t ef) {
    begin_walk(walker);
    walker->visited[from.node] = walker->stamp;
    meet(walker, from, ef);
    while (walker->open_count) {
        const cm3_hnsw_near one = take_nearest(walker);
        if (walker->best_count == ef && one.score < walker->best[0].score) break;
        const uint32_t count = gather(graph, walker, one.node, level);
        /* What is likely to come next. */
        if (!level && walker->open_count) {
            const uint32_t *list = graph->ground + walker->open[0].node * cm3_hnsw_line(graph->m);
            __builtin_prefetch(list);
            __builtin_prefetch(list + 16);
        }
        kernels->gathered_i8(walker->products, query, graph->rows, graph->width, walker->batch, count);
        for (uint32_t i = 0; i < count; i++) {
            const uint32_t node = walker->batch[i];
            meet(walker, (cm3_hnsw_near){score_of(graph, node, walker->products[i]), node}, ef);
        }
    }
    sort_best(walker);
}

void cm3_hnsw_search(const cm3_hnsw *graph, const cm3_kernels *kernels, cm3_hnsw_walker *walker, const int8_t *query,
                     size_t ef) {
    cm3_hnsw_near at = {cm3_hnsw_score(graph, kernels, query, graph->entry), graph->entry};
    for (uint32_t level = cm3_hnsw_levels(graph, graph->entry); level; level--) {
        cm3_hnsw_descend(graph, kernels, walker, query, level, &at);
    }
    cm3_hnsw_walk(graph, kernels, walker, query, 0, at, ef);
}
