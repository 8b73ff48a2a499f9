/*
 * The graph: where operations run, take their memory, and, when training, write the tape that the backward pass reads.
 * A model's forward is written once as calls of operations; nothing but the graph knows whether it is being trained.
 *
 * Errors are sticky: the first failing operation records its status, and it and all later ones return NULL; every
 * operation accepts NULL tensors then. So a model's forward needs one check, at its end: cm3_graph_status().
 */
#ifndef CM3_NN_GRAPH_H
#define CM3_NN_GRAPH_H

#include <stdatomic.h>

#include "base/context.h"
#include "cm3leon/model.h" /* cm3_compute */
#include "nn/kernels.h"
#include "nn/tensor.h"

struct cm3_dnn;

typedef struct cm3_graph_options {
    bool record;         /**< write the tape */
    bool measure;        /**< compute nothing, only count memory: see cm3_graph_measured() */
    bool alone;          /**< on the calling thread, without the team: see base/aside.h */
    cm3_compute compute; /**< F32 or BF16, of matrix products and convolutions; AUTO is F32 */
    size_t arena_block;  /**< bytes of the first block; 0: 1 MiB */
} cm3_graph_options;

typedef struct cm3_graph {
    cm3_context *context;
    cm3_team *team; /**< NULL: one thread */
    const cm3_kernels *kernels;
    struct cm3_dnn *dnn; /**< NULL without oneDNN */
    cm3_arena *arena;
    cm3_compute compute;
    bool record, measure;
    bool idle; /**< computes nothing: it measures, or goes over what was computed before (see cm3_graph_begin()) */
    /** f32 convolutions of large maps may go by Winograd's algorithm where nothing is recorded: off unless a model says
     * that it bears the error (see cm3_dnn_conv_winograd()). */
    bool winograd;
    cm3_status status;
    const atomic_int *cancel; /**< NULL, or looked at by each operation: not 0 gives CANCELLED */
    struct cm3_tape *tape;
    /**
     * NULL, or told on the way back, in between two of its steps, that the gradient of a parameter is what the whole
     * pass makes of it. Of passes that are recorded while it is set; their parameters begin with `pending` 0.
     */
    void (*on_final)(void *arg, cm3_tensor *parameter);
    void *final_arg;
    uint64_t deadline;        /**< cm3_clock_ns() at which passes stop halfway; 0: they do not */
    uint32_t step, resume_at; /**< operations begun in this pass; the one that a pass was stopped at, or 0 */
    bool progressed;          /**< an operation has begun since cm3_graph_begin() */
} cm3_graph;

/** Made and used on the compute thread (see cm3_context_run()); one that is `alone`, on one thread at a time. */
cm3_status cm3_graph_create(cm3_context *context, const cm3_graph_options *options, cm3_graph **graph);
void cm3_graph_destroy(cm3_graph *graph);

/** Forgets tensors, tape and status; keeps the memory. */
void cm3_graph_reset(cm3_graph *graph);

/**
 * Resets before a pass, or, where the last one was stopped halfway, makes the graph ready to go on: the caller runs the
 * same pass on the same inputs again. Operations before the place where it stopped take their memory anew, find it
 * where it was, and compute nothing; the rest is computed. Each slice begins at least one operation.
 */
void cm3_graph_begin(cm3_graph *graph);
/** Whether the deadline stopped the last pass; its status is BUSY then. cm3_graph_reset() forgets it. */
static inline bool cm3_graph_halfway(const cm3_graph *graph) {
    return graph->status == CM3_ERROR_BUSY && graph->resume_at;
}

/** CM3_OK or what first went wrong. */
static inline cm3_status cm3_graph_status(const cm3_graph *graph) {
    return graph->status;
}

/** Runs the tape backwards from `loss` (one element; its gradient is `scale`). Gradients of parameters are added to
 * their `grad`. */
cm3_status cm3_graph_backward(cm3_graph *graph, cm3_tensor *loss, float scale);
/** The same from gradients that lie on the pass's results already: see cm3_graph_grad_add(). */
cm3_status cm3_graph_backward_laid(cm3_graph *graph);

/**
 * A place to come back to, for forward passes that need not keep what a layer computed: what was made since the mark is
 * forgotten, and its memory serves the next layer. Where the graph records, all is kept.
 */
static inline cm3_arena_mark cm3_graph_mark(const cm3_graph *graph) {
    return cm3_arena_here(graph->arena);
}
static inline void cm3_graph_rewind(cm3_graph *graph, cm3_arena_mark mark) {
    if (!graph->record) cm3_arena_rewind(graph->arena, mark);
}

/**
 * A measuring graph runs a pass without computing: operations check their shapes and count what they would take, and
 * touch no data, neither tensors' nor ids or positions, which may be NULL. The most that the passes since the last
 * reset would have held at once: bytes of the arena, and of oneDNN's working memory.
 */
void cm3_graph_measured(const cm3_graph *graph, size_t *arena, size_t *onednn);

/** Resets, and makes sure of so much memory: a pass that was measured so takes nothing more. */
cm3_status cm3_graph_reserve(cm3_graph *graph, size_t arena, size_t onednn);

/** Resets, and gives back memory where more than `most` bytes are held. */
void cm3_graph_trim(cm3_graph *graph, size_t most);

/* --- for operations ---------------------------------------------------------------------------------------------- */

/** Records a failure with its message; returns NULL. */
cm3_tensor *cm3_graph_fail(cm3_graph *graph, cm3_status status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/** Whether somebody cancelled, which the graph's status then says: asked within operations that take long. */
bool cm3_graph_cancelled(cm3_graph *graph);

/** Whether somebody wants the pass stopped, without the graph knowing yet: for ranges of an operation that takes long,
 * which then asks cm3_graph_cancelled(). */
static inline bool cm3_graph_is_unwanted(const cm3_graph *graph) {
    return graph->cancel && atomic_load_explicit(graph->cancel, memory_order_relaxed);
}

/** To be asked by each operation when it begins: true while nothing has failed, nobody cancelled, and there is time. */
bool cm3_graph_alive(cm3_graph *graph);

/** A new tensor in the arena, not zeroed; NULL with the status set where memory is out. */
cm3_tensor *cm3_graph_tensor(cm3_graph *graph, cm3_dtype dtype, int rank, const int64_t *shape);
static inline cm3_tensor *cm3_graph_matrix(cm3_graph *graph, int64_t rows, int64_t columns) {
    return cm3_graph_tensor(graph, CM3_F32, 2, (const int64_t[]){rows, columns});
}
/** The same shape as another tensor's, f32. */
cm3_tensor *cm3_graph_like(cm3_graph *graph, const cm3_tensor *tensor);

/** Raw memory until the next reset; in a measuring graph an address that must not be used. */
void *cm3_graph_scratch(cm3_graph *graph, size_t size);
/** The same for small things that an operation itself writes and reads: also in a measuring graph. Not rewound. */
void *cm3_graph_notes(cm3_graph *graph, size_t size);

/** A bias' data; NULL where there is none. In a measuring graph never NULL where there is one. */
const float *cm3_graph_bias(const cm3_graph *graph, const cm3_tensor *bias);

/** cm3_parallel_for() on the graph's team; nothing where it is idle. All that touches data goes through here, or asks
 * graph->idle. */
void cm3_graph_for(const cm3_graph *graph, int64_t count, int64_t grain, cm3_range_fn fn, void *arg);

/** What an operation leaves for the way back: run in reverse order of recording. */
typedef void (*cm3_backward_fn)(cm3_graph *graph, void *saved);

/**
 * Room for what the backward needs, put on the tape; NULL where the graph does not record, where `output` need not be
 * differentiated (none of the inputs wants a gradient), or where memory is out. Sets output->wants_grad.
 * `inputs`: NULL-terminated by count; NULL entries are skipped.
 */
void *cm3_graph_record(cm3_graph *graph, cm3_tensor *output, const cm3_tensor *const *inputs, size_t count,
                       cm3_backward_fn backward, size_t saved_size);

/**
 * The place for a tensor's gradient in a backward function: NULL where it wants none. *accumulate tells whether it
 * holds something to be added to (else it must be overwritten whole; it is not zeroed). The call marks it as holding
 * something.
 */
float *cm3_graph_grad(cm3_graph *graph, cm3_tensor *tensor, bool *accumulate);

/** A gradient that can be added to: zeroed if it was fresh. */
float *cm3_graph_grad_add(cm3_graph *graph, cm3_tensor *tensor);

#endif
