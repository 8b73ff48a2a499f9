/*
 * Graphs of a bank: built in memory, over all records that have none, and appended as one block. The compute thread is
 * asked for a piece of the work at a time, so that searches have their turn between two of them.
 */
#include <string.h>

#include "base/clock.h"
#include "base/options.h"
#include "retrieve/bank.h"

#define LEAST 1000
#define PIECE_NS 50000000 /* that a piece of the work should take */
#define FIRST_PIECE 256
#define GRAIN 64 /* vectors */

void cm3_index_options_init(cm3_index_options *options) {
    if (!options) return;
    *options =
        (cm3_index_options){.struct_size = sizeof *options, .m = 16, .ef_construction = 100, .least = LEAST, .seed = 1};
}

/** A graph on its way. */
typedef struct indexing {
    cm3_bank *bank;
    const cm3_index_options *options;
    uint64_t first;
    uint32_t count;
    cm3_bank_block *block; /**< all of it, as it is written */
    cm3_hnsw_parts parts;
    uint8_t *levels, *leaves_out;
    float *vectors; /**< [members, dimension] */
    cm3_hnsw_build *build;
    uint32_t begin, end; /**< the piece at hand */
} indexing;

static cm3_status progress(const indexing *x, uint64_t done) {
    const cm3_index_options *o = x->options;
    if (!o->on_progress || !o->on_progress(o->user, done, x->count)) return CM3_OK;
    return cm3_fail(x->bank->context, CM3_ERROR_CANCELLED, "%s: building a graph was stopped", x->bank->path);
}

/** Runs `piece` over all of 0..total - 1 on the compute thread; `shows`: progress is told. */
static cm3_status in_pieces(indexing *x, uint32_t total, bool shows, cm3_status (*piece)(void *arg)) {
    uint32_t size = FIRST_PIECE;
    for (x->begin = 0; x->begin < total; x->begin = x->end) {
        x->end = total - x->begin < size ? total : x->begin + size;
        const uint64_t start = cm3_clock_ns();
        CM3_TRY(cm3_context_run(x->bank->context, piece, x));
        const uint64_t took = cm3_clock_ns() - start;
        if (took < PIECE_NS / 2 && size < 1u << 20) size *= 2;
        if (took > PIECE_NS * 2 && size > FIRST_PIECE) size /= 2;
        CM3_TRY(progress(x, shows ? x->end : 0));
    }
    return CM3_OK;
}

/* --- vectors -------------------------------------------------------------------------------------------------------
 */

/** Records begin..end - 1 of the piece as rows of integers. */
static void quantise_range(void *arg, int64_t begin, int64_t end, int member) {
    const indexing *x = arg;
    const cm3_vectors_form *form = &x->bank->at.form;
    const cm3_kernels *kernels = cm3_kernels_get(cm3_context_cpu(x->bank->context));
    const int64_t d = form->dimension, width = cm3_hnsw_width(d);
    float *vector = x->vectors + member * d;
    for (int64_t i = begin + x->begin; i < end + x->begin; i++) {
        const uint64_t id = x->first + (uint64_t)i;
        const cm3_bank_part *part = cm3_bank_part_of(x->bank, id);
        const cm3_vectors vectors = cm3_bank_part_vectors(x->bank, part);
        int8_t *row = x->parts.rows + i * width;
        cm3_vectors_get(form, kernels, &vectors, (int64_t)(id - part->first), vector);
        kernels->quantise_vector(row, &x->parts.scales[i], vector, d);
        memset(row + d, 0, (size_t)(width - d));
        /* A vector that damage made anything is linked with something and found by nothing. */
        if (!(x->parts.scales[i] >= 0 && x->parts.scales[i] < 2)) {
            x->parts.scales[i] = 0;
            memset(row, 0, (size_t)width);
        }
    }
}

static cm3_status quantise_piece(void *arg) {
    indexing *x = arg;
    cm3_parallel_guided(cm3_context_team(x->bank->context), x->end - x->begin, GRAIN, quantise_range, x);
    return CM3_OK;
}

/* --- the block -----------------------------------------------------------------------------------------------------
 */

/** Where the parts of a block begin. */
static cm3_bank_block layout(const indexing *x, uint64_t upper_count) {
    const uint32_t m = (uint32_t)x->options->m;
    cm3_bank_block block = {.type = CM3_BLOCK_GRAPH,
                            .first = x->first,
                            .count = x->count,
                            .blob_size = upper_count * sizeof(uint32_t),
                            .m = m,
                            .ef_construction = (uint32_t)x->options->ef_construction};
    const uint64_t count = x->count, line = (uint64_t)cm3_hnsw_line(m) * sizeof(uint32_t);
    block.vectors = sizeof block;
    block.scales = cm3_bank_align(block.vectors + count * (uint64_t)cm3_hnsw_width(x->bank->at.form.dimension));
    block.entries = cm3_bank_align(block.scales + count * sizeof(float));
    block.digests = cm3_bank_align(block.entries + count * line);
    block.blob = cm3_bank_align(block.digests + count * sizeof(uint32_t));
    block.size = cm3_bank_align(block.blob + block.blob_size);
    return block;
}

/** Memory of the block, zeros between its parts. */
static cm3_status make_block(indexing *x) {
    cm3_context *context = x->bank->context;
    const int members = cm3_team_size(cm3_context_team(context));
    const uint32_t m = (uint32_t)x->options->m;
    x->levels = cm3_calloc(context, x->count, 1);
    x->leaves_out = cm3_calloc(context, x->count, 1);
    x->vectors = cm3_calloc(context, (size_t)members, (size_t)x->bank->at.form.dimension * sizeof *x->vectors);
    if (!x->levels || !x->leaves_out || !x->vectors) return cm3_fail_memory(context, x->count, x->bank->path);
    for (uint32_t i = 0; i < x->count; i++) x->leaves_out[i] = cm3_bank_is_deleted(x->bank, x->first + i);
    const uint64_t upper_count = cm3_hnsw_draw_levels(x->options->seed, m, x->count, x->levels);
    const cm3_bank_block block = layout(x, upper_count);
    x->block = cm3_alloc(context, (size_t)block.size);
    if (!x->block) return cm3_fail_memory(context, (size_t)block.size, x->bank->path);
    uint8_t *to = (uint8_t *)x->block;
    /* What lies between two parts is less than a line, and before the end of one. */
    const uint64_t ends[] = {block.scales, block.entries, block.digests, block.blob, block.size};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        memset(to + ends[i] - CM3_BANK_ALIGNMENT, 0, CM3_BANK_ALIGNMENT);
    *x->block = block;
    x->parts = (cm3_hnsw_parts){.rows = (int8_t *)(to + block.vectors),
                                .scales = (float *)(void *)(to + block.scales),
                                .ground = (uint32_t *)(void *)(to + block.entries),
                                .places = (uint32_t *)(void *)(to + block.digests),
                                .upper = (uint32_t *)(void *)(to + block.blob)};
    return CM3_OK;
}

static cm3_status link_piece(void *arg) {
    indexing *x = arg;
    cm3_hnsw_build_link(x->build, x->begin, x->end);
    return CM3_OK;
}

static cm3_status build(indexing *x) {
    CM3_TRY(make_block(x));
    CM3_TRY(progress(x, 0));
    CM3_TRY(in_pieces(x, x->count, false, quantise_piece));
    CM3_TRY(cm3_hnsw_build_create(x->bank->context, (uint32_t)x->options->m, (size_t)x->options->ef_construction,
                                  cm3_hnsw_width(x->bank->at.form.dimension), x->count, x->options->seed, x->levels,
                                  x->leaves_out, &x->parts, &x->build));
    const uint32_t total = cm3_hnsw_build_total(x->build);
    CM3_TRY(in_pieces(x, total, true, link_piece));
    /* Where all were taken out, a graph of nothing says so. */
    x->block->entry = total ? cm3_hnsw_build_entry(x->build) : 0;
    return progress(x, x->count);
}

static cm3_status commit(const indexing *x) {
    CM3_TRY(cm3_bank_write_block(x->bank, x->block, (size_t)x->block->size, true));
    pthread_rwlock_wrlock(&x->bank->lock);
    cm3_status status = cm3_bank_take_up(x->bank, x->block);
    pthread_rwlock_unlock(&x->bank->lock);
    return status;
}

cm3_status cm3_bank_index_locked(cm3_bank *bank, const cm3_index_options *options) {
    CM3_TRY(cm3_bank_check_writes(bank));
    const uint64_t count = bank->at.end.records - bank->at.end.indexed;
    if (!count || count < options->least) return CM3_OK;
    if (count > CM3_HNSW_MOST_NODES) {
        return cm3_fail(bank->context, CM3_ERROR_TOO_LONG, "%s: %llu records without a graph, one takes at most %llu",
                        bank->path, (unsigned long long)count, (unsigned long long)CM3_HNSW_MOST_NODES);
    }
    indexing x = {.bank = bank, .options = options, .first = bank->at.end.indexed, .count = (uint32_t)count};
    cm3_status status = build(&x);
    cm3_hnsw_build_destroy(x.build);
    if (status == CM3_OK) status = commit(&x);
    cm3_free(bank->context, x.block);
    cm3_free(bank->context, x.levels);
    cm3_free(bank->context, x.leaves_out);
    cm3_free(bank->context, x.vectors);
    return status;
}

static cm3_status check_range(cm3_context *context, const char *name, int32_t value, int32_t least, int32_t most) {
    if (value >= least && value <= most) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "%s: %d is not in %d..%d", name, value, least, most);
}

cm3_status cm3_bank_index(cm3_bank *bank, const cm3_index_options *given) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_index_options options;
    cm3_index_options_init(&options);
    CM3_TRY(cm3_options_read(bank->context, &options, sizeof options, given, "cm3_index_options"));
    CM3_TRY(check_range(bank->context, "m", options.m, 2, CM3_HNSW_MOST_M));
    CM3_TRY(check_range(bank->context, "ef_construction", options.ef_construction, 4, 4096));
    CM3_TRY(cm3_context_refuse_fork(bank->context));
    pthread_mutex_lock(&bank->writing);
    cm3_status status = cm3_bank_index_locked(bank, &options);
    pthread_mutex_unlock(&bank->writing);
    return status;
}
