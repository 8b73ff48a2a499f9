/* The graph: arena, sticky status, and the tape of backward steps. */
#include "nn/graph.h"

#include <stdarg.h>
#include <stdio.h>

#include "base/clock.h"
#include "base/status.h"
#ifdef CM3_WITH_ONEDNN
#include "nn/onednn/onednn.h"
#endif

/* Measuring graphs hand out addresses from here on for data: aligned, told apart, and nobody's, however much is
 * measured. With 64 bits no processor has them; programs may lie from a few MiB on. */
#if UINTPTR_MAX > UINT32_MAX
#define NOWHERE ((uintptr_t)0x40f0 << 48)
#else
#define NOWHERE ((uintptr_t)4096)
#endif

/** One recorded step; a list from the newest to the oldest, in the arena. */
typedef struct cm3_tape_node {
    struct cm3_tape_node *previous;
    cm3_backward_fn backward;
    cm3_tensor **parameters; /**< that it adds gradients to, where somebody waits for these */
    uint32_t parameter_count;
    _Alignas(16) char saved[];
} cm3_tape_node;

struct cm3_tape {
    cm3_tape_node *last;
};

cm3_status cm3_graph_create(cm3_context *context, const cm3_graph_options *options, cm3_graph **graph) {
    *graph = NULL;
    cm3_graph *g = cm3_calloc(context, 1, sizeof *g + sizeof(struct cm3_tape));
    if (!g) return cm3_fail_memory(context, sizeof *g, "graph");
    g->context = context;
    g->team = options->alone ? NULL : cm3_context_team(context);
    g->kernels = cm3_kernels_get(cm3_context_cpu(context));
    g->compute = options->compute == CM3_COMPUTE_BF16 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    g->record = options->record && !options->measure;
    g->measure = g->idle = options->measure;
    g->tape = (struct cm3_tape *)(g + 1);
    cm3_context_retain(context);
    cm3_status status =
        cm3_arena_create(context, options->arena_block ? options->arena_block : (size_t)1 << 20, &g->arena);
#ifdef CM3_WITH_ONEDNN
    if (status == CM3_OK) status = cm3_dnn_create(context, g->team, options->measure, &g->dnn);
#endif
    if (status != CM3_OK) {
        cm3_graph_destroy(g);
        return status;
    }
    *graph = g;
    return CM3_OK;
}

void cm3_graph_destroy(cm3_graph *graph) {
    if (!graph) return;
#ifdef CM3_WITH_ONEDNN
    cm3_dnn_destroy(graph->dnn);
#endif
    cm3_arena_destroy(graph->arena);
    cm3_context *context = graph->context;
    cm3_free(context, graph);
    cm3_context_release(context);
}

static void set_idle(cm3_graph *graph, bool idle) {
    graph->idle = idle || graph->measure;
#ifdef CM3_WITH_ONEDNN
    if (graph->dnn) cm3_dnn_idle(graph->dnn, idle);
#endif
}

void cm3_graph_begin(cm3_graph *graph) {
    graph->progressed = false;
    if (!cm3_graph_halfway(graph)) {
        cm3_graph_reset(graph);
        return;
    }
    cm3_arena_restart(graph->arena);
    graph->status = CM3_OK;
    graph->step = 0;
    set_idle(graph, true);
}

void cm3_graph_reset(cm3_graph *graph) {
    graph->step = graph->resume_at = 0;
    set_idle(graph, false);
#ifdef CM3_WITH_ONEDNN
    if (graph->dnn) cm3_dnn_measure_anew(graph->dnn);
#endif
    cm3_arena_reset(graph->arena);
    graph->tape->last = NULL;
    graph->status = CM3_OK;
}

cm3_tensor *cm3_graph_fail(cm3_graph *graph, cm3_status status, const char *format, ...) {
    if (graph->status != CM3_OK) return NULL;
    graph->status = status;
    char message[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    cm3_fail(graph->context, status, "%s", message);
    return NULL;
}

/** Counts an operation that begins; false where the pass stops before it. */
static bool in_time(cm3_graph *graph) {
    if (++graph->step < graph->resume_at) return true; /* it was computed before */
    if (graph->step == graph->resume_at) set_idle(graph, false);
    /* In several blocks what was computed would not be found again. */
    if (graph->deadline && graph->progressed && cm3_clock_ns() >= graph->deadline && cm3_arena_in_one(graph->arena)) {
        graph->resume_at = graph->step;
        graph->status = CM3_ERROR_BUSY;
        return false;
    }
    graph->progressed = true;
    return true;
}

bool cm3_graph_cancelled(cm3_graph *graph) {
    if (graph->status != CM3_OK) return graph->status == CM3_ERROR_CANCELLED;
    if (!cm3_graph_is_unwanted(graph)) return false;
    graph->status = CM3_ERROR_CANCELLED;
    return true;
}

bool cm3_graph_alive(cm3_graph *graph) {
    return graph->status == CM3_OK && !cm3_graph_cancelled(graph) && in_time(graph);
}

void *cm3_graph_notes(cm3_graph *graph, size_t size) {
    if (graph->status != CM3_OK) return NULL;
    void *memory = cm3_arena_keep(graph->arena, size);
    if (!memory) cm3_graph_fail(graph, CM3_ERROR_NO_MEMORY, "out of memory: %zu bytes of a computation", size);
    return memory;
}

void *cm3_graph_scratch(cm3_graph *graph, size_t size) {
    if (graph->status != CM3_OK) return NULL;
    if (!graph->measure) {
        void *memory = cm3_arena_alloc(graph->arena, size);
        if (!memory) cm3_graph_fail(graph, CM3_ERROR_NO_MEMORY, "out of memory: %zu bytes of a computation", size);
        return memory;
    }
    uintptr_t place = NOWHERE + cm3_arena_used(graph->arena);
    if (cm3_arena_count(graph->arena, size)) return (void *)place;
    return cm3_graph_fail(graph, CM3_ERROR_NO_MEMORY, "out of memory: %zu bytes of a computation", size);
}

const float *cm3_graph_bias(const cm3_graph *graph, const cm3_tensor *bias) {
    if (!bias) return NULL;
    return graph->measure && !bias->data ? (const float *)NOWHERE : cm3_f32(bias);
}

void cm3_graph_for(const cm3_graph *graph, int64_t count, int64_t grain, cm3_range_fn fn, void *arg) {
    if (!graph->idle) cm3_parallel_for(graph->team, count, grain, fn, arg);
}

void cm3_graph_measured(const cm3_graph *graph, size_t *arena, size_t *onednn) {
    *arena = cm3_arena_peak(graph->arena);
    *onednn = 0;
#ifdef CM3_WITH_ONEDNN
    if (graph->dnn) *onednn = cm3_dnn_measured(graph->dnn);
#endif
}

cm3_status cm3_graph_reserve(cm3_graph *graph, size_t arena, size_t onednn) {
    cm3_graph_reset(graph);
    if (!cm3_arena_reserve(graph->arena, arena)) return cm3_fail_memory(graph->context, arena, "a computation");
#ifdef CM3_WITH_ONEDNN
    if (graph->dnn) return cm3_dnn_reserve(graph->dnn, onednn);
#endif
    (void)onednn;
    return CM3_OK;
}

void cm3_graph_trim(cm3_graph *graph, size_t most) {
    cm3_graph_reset(graph);
    if (cm3_arena_held(graph->arena) > most) cm3_arena_clear(graph->arena);
#ifdef CM3_WITH_ONEDNN
    if (graph->dnn) cm3_dnn_trim(graph->dnn, most);
#endif
}

cm3_tensor *cm3_graph_tensor(cm3_graph *graph, cm3_dtype dtype, int rank, const int64_t *shape) {
    size_t bytes = cm3_dtype_size(dtype);
    for (int i = 0; i < rank; i++) {
        if (shape[i] < 0 || !cm3_mul_size(bytes, (size_t)shape[i], &bytes)) {
            return cm3_graph_fail(graph, CM3_ERROR_NO_MEMORY, "a tensor of dimension %lld is too large",
                                  (long long)shape[i]);
        }
    }
    cm3_tensor *tensor = cm3_graph_notes(graph, sizeof *tensor);
    void *data = tensor ? cm3_graph_scratch(graph, bytes) : NULL;
    if (!data) return NULL;
    *tensor = cm3_tensor_over(data, dtype, rank, shape);
    return tensor;
}

cm3_tensor *cm3_graph_like(cm3_graph *graph, const cm3_tensor *tensor) {
    return cm3_graph_tensor(graph, CM3_F32, tensor->rank, tensor->shape);
}

/** Parameters have their gradient before the pass; an activation gets one on the way back. */
static bool is_parameter(const cm3_tensor *tensor) {
    return tensor && tensor->wants_grad && tensor->grad;
}

/** Keeps which parameters a step of the tape adds to. False where memory is out. */
static bool count_parameters(cm3_graph *graph, cm3_tape_node *node, const cm3_tensor *const *inputs, size_t count) {
    node->parameter_count = 0;
    node->parameters = NULL;
    if (!graph->on_final) return true;
    for (size_t i = 0; i < count; i++) node->parameter_count += is_parameter(inputs[i]);
    if (!node->parameter_count) return true;
    node->parameters = cm3_graph_scratch(graph, node->parameter_count * sizeof *node->parameters);
    if (!node->parameters) return false;
    cm3_tensor **next = node->parameters;
    for (size_t i = 0; i < count; i++) {
        if (!is_parameter(inputs[i])) continue;
        *next = (cm3_tensor *)(uintptr_t)inputs[i];
        (*next++)->pending++;
    }
    return true;
}

/** After a step back: tells of the parameters that it was the last to add to. */
static void tell_final(const cm3_graph *graph, const cm3_tape_node *node) {
    if (graph->status != CM3_OK) return;
    for (uint32_t i = 0; i < node->parameter_count; i++) {
        cm3_tensor *parameter = node->parameters[i];
        if (--parameter->pending == 0 && graph->on_final) graph->on_final(graph->final_arg, parameter);
    }
}

void *cm3_graph_record(cm3_graph *graph, cm3_tensor *output, const cm3_tensor *const *inputs, size_t count,
                       cm3_backward_fn backward, size_t saved_size) {
    if (!graph->record || graph->status != CM3_OK) return NULL;
    bool wanted = false;
    for (size_t i = 0; i < count; i++) wanted = wanted || (inputs[i] && inputs[i]->wants_grad);
    if (!wanted) return NULL;
    cm3_tape_node *node = cm3_graph_scratch(graph, sizeof *node + saved_size);
    if (!node || !count_parameters(graph, node, inputs, count)) return NULL;
    node->previous = graph->tape->last;
    node->backward = backward;
    graph->tape->last = node;
    output->wants_grad = true;
    return node->saved;
}

/** Whether the gradient lives in the arena (an activation) or belongs to the trainer (a parameter, always added to). */
float *cm3_graph_grad(cm3_graph *graph, cm3_tensor *tensor, bool *accumulate) {
    *accumulate = true;
    if (!tensor || !tensor->wants_grad || graph->status != CM3_OK) return NULL;
    if (!tensor->grad) {
        tensor->grad = cm3_graph_scratch(graph, (size_t)tensor->count * sizeof(float));
        if (!tensor->grad) return NULL;
        tensor->has_grad = false;
    }
    *accumulate = tensor->has_grad;
    tensor->has_grad = true;
    return tensor->grad;
}

float *cm3_graph_grad_add(cm3_graph *graph, cm3_tensor *tensor) {
    bool accumulate;
    float *grad = cm3_graph_grad(graph, tensor, &accumulate);
    if (grad && !accumulate) memset(grad, 0, (size_t)tensor->count * sizeof(float));
    return grad;
}

cm3_status cm3_graph_backward(cm3_graph *graph, cm3_tensor *loss, float scale) {
    if (graph->status != CM3_OK) return graph->status;
    bool accumulate;
    float *grad = cm3_graph_grad(graph, loss, &accumulate);
    if (grad) *grad = accumulate ? *grad + scale : scale;
    return cm3_graph_backward_laid(graph);
}

cm3_status cm3_graph_backward_laid(cm3_graph *graph) {
    for (cm3_tape_node *node = graph->tape->last; node && cm3_graph_alive(graph); node = node->previous) {
        node->backward(graph, node->saved);
        tell_final(graph, node);
    }
    graph->tape->last = NULL;
    return graph->status;
}
