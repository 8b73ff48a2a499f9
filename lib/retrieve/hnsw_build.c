/*
 * Building a graph: nodes are linked one after the other, by all threads at once, those of the most layers first, so
 * that the way down is there before the many come. A node looks for what is near it in what there is, is linked with
 * the nearest that lie in different directions, and they with it; a list that is full is chosen anew.
 */
#include <math.h>
#include <sched.h>
#include <string.h>

#include "base/memory.h"
#include "base/random.h"
#include "retrieve/hnsw.h"

#define ALONE 512 /* nodes that are linked one by one: in a small graph all are needed by all */
#define GRAIN 8
#define MOST_LINKS (2 * CM3_HNSW_MOST_M)
#define TOGETHER 8 /* rows that a candidate is compared with before it is looked whether it is out */

/** What a member of the team needs beside its walker. */
typedef struct linker {
    cm3_hnsw_walker walker;
    cm3_hnsw_near chosen[CM3_HNSW_MOST_LEVELS + 1][MOST_LINKS];
    uint32_t chosen_count[CM3_HNSW_MOST_LEVELS + 1];
    cm3_hnsw_near listed[MOST_LINKS + 1]; /**< of a list that is chosen anew */
} linker;

struct cm3_hnsw_build {
    cm3_context *context;
    const cm3_kernels *kernels;
    cm3_hnsw graph; /**< what is being built, as those see it who walk through it */
    cm3_hnsw_parts parts;
    size_t ef;
    int64_t line;
    float *scores;   /**< [count, line] of the neighbours in ground lists */
    uint8_t *locks;  /**< [count], of lists: for those that change them */
    uint32_t *order; /**< [total], nodes as they are linked */
    uint32_t total;
    linker *linkers; /**< [members] */
    int members;
};

/* --- beginning -----------------------------------------------------------------------------------------------------
 */

uint64_t cm3_hnsw_draw_levels(uint64_t seed, uint32_t m, uint32_t count, uint8_t *levels) {
    uint64_t words = 0;
    for (uint32_t i = 0; i < count; i++) {
        cm3_random random = cm3_random_make(seed, i);
        const double level = -log(1 - cm3_random_uniform(&random)) / log((double)m);
        levels[i] = (uint8_t)(level < CM3_HNSW_MOST_LEVELS ? level : CM3_HNSW_MOST_LEVELS);
        if (levels[i]) words += 1 + (uint64_t)levels[i] * m;
    }
    return words;
}

/** Nodes of the most levels first, those of a level in random order. */
static void put_in_order(cm3_hnsw_build *build, uint64_t seed, const uint8_t *levels, const uint8_t *leaves_out) {
    uint32_t counts[CM3_HNSW_MOST_LEVELS + 2] = {0}, *order = build->order;
    for (uint32_t i = 0; i < build->graph.count; i++) {
        if (!leaves_out || !leaves_out[i]) counts[CM3_HNSW_MOST_LEVELS - levels[i] + 1]++;
    }
    for (int i = 0; i <= CM3_HNSW_MOST_LEVELS; i++) counts[i + 1] += counts[i];
    build->total = counts[CM3_HNSW_MOST_LEVELS + 1];
    uint32_t places[CM3_HNSW_MOST_LEVELS + 2];
    memcpy(places, counts, sizeof places);
    for (uint32_t i = 0; i < build->graph.count; i++) {
        if (!leaves_out || !leaves_out[i]) order[places[CM3_HNSW_MOST_LEVELS - levels[i]]++] = i;
    }
    cm3_random random = cm3_random_make(seed, UINT64_MAX);
    for (int level = 0; level <= CM3_HNSW_MOST_LEVELS; level++) {
        for (uint32_t left = counts[level + 1] - counts[level]; left > 1; left--) {
            const uint32_t i = counts[level] + (uint32_t)cm3_random_below(&random, left);
            const uint32_t last = counts[level] + left - 1, node = order[i];
            order[i] = order[last];
            order[last] = node;
        }
    }
}

/** Empty lists. */
static void lay_out(cm3_hnsw_build *build, const uint8_t *levels) {
    const cm3_hnsw_parts *parts = &build->parts;
    const uint32_t m = build->graph.m;
    memset(parts->ground, 0xff, (size_t)build->graph.count * (size_t)build->line * sizeof *parts->ground);
    uint64_t at = 0;
    for (uint32_t i = 0; i < build->graph.count; i++) {
        parts->places[i] = levels[i] ? (uint32_t)at : CM3_HNSW_NONE;
        if (!levels[i]) continue;
        parts->upper[at++] = levels[i];
        memset(&parts->upper[at], 0xff, levels[i] * (size_t)m * sizeof *parts->upper);
        at += (uint64_t)levels[i] * m;
    }
    build->graph.upper_count = at;
}

cm3_status cm3_hnsw_build_create(cm3_context *context, uint32_t m, size_t ef, int64_t width, uint32_t count,
                                 uint64_t seed, const uint8_t *levels, const uint8_t *leaves_out,
                                 const cm3_hnsw_parts *parts, cm3_hnsw_build **out) {
    *out = NULL;
    cm3_hnsw_build *build = cm3_calloc(context, 1, sizeof *build);
    if (!build) return cm3_fail_memory(context, sizeof *build, "graph");
    build->context = context;
    build->kernels = cm3_kernels_get(cm3_context_cpu(context));
    build->parts = *parts;
    build->ef = ef;
    build->line = cm3_hnsw_line(m);
    build->graph = (cm3_hnsw){.count = count,
                              .m = m,
                              .entry = CM3_HNSW_NONE,
                              .width = width,
                              .rows = parts->rows,
                              .scales = parts->scales,
                              .ground = parts->ground,
                              .places = parts->places,
                              .upper = parts->upper};
    build->members = cm3_team_size(cm3_context_team(context));
    build->scores = cm3_alloc(context, (size_t)count * (size_t)build->line * sizeof *build->scores);
    build->locks = cm3_calloc(context, count, sizeof *build->locks);
    build->order = cm3_calloc(context, count, sizeof *build->order);
    build->linkers = cm3_calloc(context, (size_t)build->members, sizeof *build->linkers);
    cm3_status status = CM3_OK;
    if (!build->scores || !build->locks || !build->order || !build->linkers) {
        status = cm3_fail_memory(context, (size_t)count * (size_t)build->line * sizeof *build->scores, "graph");
    }
    for (int i = 0; i < build->members && status == CM3_OK; i++) {
        status = cm3_hnsw_walker_reserve(context, &build->linkers[i].walker, count, 0, ef);
    }
    if (status != CM3_OK) {
        cm3_hnsw_build_destroy(build);
        return status;
    }
    put_in_order(build, seed, levels, leaves_out);
    lay_out(build, levels);
    if (build->total) build->graph.entry = build->order[0];
    *out = build;
    return CM3_OK;
}

void cm3_hnsw_build_destroy(cm3_hnsw_build *build) {
    if (!build) return;
    cm3_context *context = build->context;
    for (int i = 0; build->linkers && i < build->members; i++) {
        cm3_hnsw_walker_clear(context, &build->linkers[i].walker);
    }
    cm3_free(context, build->linkers);
    cm3_free(context, build->order);
    cm3_free(context, build->locks);
    cm3_free(context, build->scores);
    cm3_free(context, build);
}

uint32_t cm3_hnsw_build_total(const cm3_hnsw_build *build) {
    return build->total;
}

uint32_t cm3_hnsw_build_entry(const cm3_hnsw_build *build) {
    return build->graph.entry;
}

/* --- linking -------------------------------------------------------------------------------------------------------
 */

static void lock(cm3_hnsw_build *build, uint32_t node) {
    for (int tries = 1; __atomic_test_and_set(&build->locks[node], __ATOMIC_ACQUIRE); tries++) {
        if (tries % 64 == 0) sched_yield(); /* who has it may have been put off its core */
    }
}

static void unlock(cm3_hnsw_build *build, uint32_t node) {
    __atomic_clear(&build->locks[node], __ATOMIC_RELEASE);
}

static const int8_t *row_of(const cm3_hnsw_build *build, uint32_t node) {
    return build->graph.rows + node * build->graph.width;
}

/** A node's list of a level, and the scores of its neighbours where they are kept. */
static uint32_t *list_of(const cm3_hnsw_build *build, uint32_t node, uint32_t level, float **scores) {
    *scores = level ? NULL : build->scores + node * build->line;
    if (!level) return build->parts.ground + node * build->line;
    return build->parts.upper + build->parts.places[node] + 1 + (level - 1) * (uint64_t)build->graph.m;
}

/** Whether a candidate is farther from each of those that are taken than from the node itself: it lies in another
 * direction. */
static bool is_apart(const cm3_hnsw_build *build, cm3_hnsw_near candidate, const uint32_t *taken, uint32_t count) {
    const int8_t *row = row_of(build, candidate.node);
    const float scale = build->graph.scales[candidate.node];
    int32_t products[TOGETHER];
    for (uint32_t i = 0; i < count; i += TOGETHER) {
        const uint32_t some = count - i < TOGETHER ? count - i : TOGETHER;
        build->kernels->gathered_i8(products, row, build->graph.rows, build->graph.width, taken + i, some);
        for (uint32_t j = 0; j < some; j++) {
            const float score = (float)products[j] * scale * build->graph.scales[taken[i + j]];
            if (score >= candidate.score) return false;
        }
    }
    return true;
}

/** Of candidates, the nearest first, up to `most`, those that lie in different directions (Malkov's algorithm 4). */
static uint32_t choose(const cm3_hnsw_build *build, const cm3_hnsw_near *candidates, size_t count, uint32_t most,
                       cm3_hnsw_near *chosen) {
    uint32_t taken[MOST_LINKS], number = 0;
    for (size_t i = 0; i < count && number < most; i++) {
        if (!is_apart(build, candidates[i], taken, number)) continue;
        taken[number] = candidates[i].node;
        chosen[number++] = candidates[i];
    }
    return number;
}

/** Writes a list: readers see an old neighbour or a new one in each place. */
static void put_list(const cm3_hnsw_build *build, uint32_t node, uint32_t level, const cm3_hnsw_near *links,
                     uint32_t count) {
    float *scores;
    uint32_t *list = list_of(build, node, level, &scores);
    const uint32_t most = level ? build->graph.m : 2 * build->graph.m;
    for (uint32_t i = 0; i < count; i++) {
        if (scores) scores[i] = links[i].score;
        __atomic_store_n(&list[i], links[i].node, __ATOMIC_RELEASE);
    }
    for (uint32_t i = count; i < most; i++) __atomic_store_n(&list[i], CM3_HNSW_NONE, __ATOMIC_RELAXED);
}

/** Puts `link` into `node`'s list, whose lock is held; where it is full, the list is chosen anew. */
static void add_link(const cm3_hnsw_build *build, linker *own, uint32_t node, uint32_t level, cm3_hnsw_near link) {
    float *scores;
    uint32_t *list = list_of(build, node, level, &scores), count = 0;
    const uint32_t most = level ? build->graph.m : 2 * build->graph.m;
    while (count < most && list[count] != CM3_HNSW_NONE) count++;
    if (count < most) {
        if (scores) scores[count] = link.score;
        __atomic_store_n(&list[count], link.node, __ATOMIC_RELEASE);
        return;
    }
    int32_t products[MOST_LINKS];
    if (!scores) {
        build->kernels->gathered_i8(products, row_of(build, node), build->graph.rows, build->graph.width, list, count);
    }
    for (uint32_t i = 0; i <= count; i++) {
        cm3_hnsw_near one = link;
        if (i < count) {
            one.node = list[i];
            one.score =
                scores ? scores[i] : (float)products[i] * build->graph.scales[node] * build->graph.scales[list[i]];
        }
        uint32_t at = i;
        for (; at && own->listed[at - 1].score < one.score; at--) own->listed[at] = own->listed[at - 1];
        own->listed[at] = one;
    }
    cm3_hnsw_near chosen[MOST_LINKS];
    put_list(build, node, level, chosen, choose(build, own->listed, count + 1, most, chosen));
}

/** What is near a node on all its levels, into own->chosen. */
static void look_around(const cm3_hnsw_build *build, linker *own, uint32_t node, uint32_t levels) {
    const cm3_hnsw *graph = &build->graph;
    const int8_t *row = row_of(build, node);
    cm3_hnsw_near at = {cm3_hnsw_score(graph, build->kernels, row, graph->entry), graph->entry};
    uint32_t level = cm3_hnsw_levels(graph, graph->entry);
    for (; level > levels; level--) cm3_hnsw_descend(graph, build->kernels, &own->walker, row, level, &at);
    for (;; level--) {
        cm3_hnsw_walk(graph, build->kernels, &own->walker, row, level, at, build->ef);
        cm3_hnsw_near *best = own->walker.best;
        at = best[0];
        /* Scores of a walk lack the scale of what was looked for. */
        for (size_t i = 0; i < own->walker.best_count; i++) best[i].score *= graph->scales[node];
        own->chosen_count[level] =
            choose(build, best, own->walker.best_count, level ? graph->m : 2 * graph->m, own->chosen[level]);
        if (!level) return;
    }
}

static void link_node(cm3_hnsw_build *build, linker *own, uint32_t node) {
    const uint32_t levels = cm3_hnsw_levels(&build->graph, node);
    if (node == build->graph.entry) return;
    look_around(build, own, node, levels);
    /* All lists of the node are there before anything leads to it, from the ground up: who comes to it goes on. */
    for (uint32_t level = 0; level <= levels; level++) {
        put_list(build, node, level, own->chosen[level], own->chosen_count[level]);
    }
    for (uint32_t level = 0; level <= levels; level++) {
        for (uint32_t i = 0; i < own->chosen_count[level]; i++) {
            const cm3_hnsw_near other = own->chosen[level][i];
            lock(build, other.node);
            add_link(build, own, other.node, level, (cm3_hnsw_near){other.score, node});
            unlock(build, other.node);
        }
    }
}

typedef struct link_call {
    cm3_hnsw_build *build;
    uint32_t begin;
} link_call;

static void link_range(void *arg, int64_t begin, int64_t end, int member) {
    const link_call *call = arg;
    for (int64_t i = begin; i < end; i++) {
        link_node(call->build, &call->build->linkers[member], call->build->order[call->begin + (uint32_t)i]);
    }
}

void cm3_hnsw_build_link(cm3_hnsw_build *build, uint32_t begin, uint32_t end) {
    link_call call = {build, begin};
    cm3_team *team = begin < ALONE ? NULL : cm3_context_team(build->context);
    if (begin < ALONE && end > ALONE) {
        link_range(&call, 0, ALONE - begin, 0);
        cm3_hnsw_build_link(build, ALONE, end);
        return;
    }
    cm3_parallel_guided(team, end - begin, GRAIN, link_range, &call);
}
