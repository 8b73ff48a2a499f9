/* CLIP's forward passes. */
#include "model/clip.h"

#include "base/status.h"

static cm3_tensor *layer(cm3_graph *graph, const cm3_clip_tower_config *c, cm3_clip_layer *l, cm3_tensor *x,
                         const cm3_attention_plan *plan) {
    const cm3_linear_weights qkv[] = {{&l->q, &l->q_bias}, {&l->k, &l->k_bias}, {&l->v, &l->v_bias}};
    const cm3_linear_weights o = {&l->o, &l->o_bias}, fc1 = {&l->fc1, &l->fc1_bias}, fc2 = {&l->fc2, &l->fc2_bias};
    cm3_tensor *parts[3];
    cm3_arena_mark mark = cm3_graph_mark(graph);
    cm3_tensor *y = cm3_nn_layer_norm(graph, x, &l->norm1, &l->norm1_bias, c->norm_epsilon);
    cm3_nn_linear_each(graph, y, qkv, 3, parts);
    y = cm3_nn_attention(graph, parts[0], parts[1], parts[2], c->heads, c->heads, plan, 0);
    x = cm3_nn_linear_add(graph, y, &o, x);
    y = cm3_nn_layer_norm(graph, x, &l->norm2, &l->norm2_bias, c->norm_epsilon);
    x = cm3_nn_linear_add(graph, cm3_nn_linear_activation(graph, y, &fc1, c->activation), &fc2, x);
    cm3_graph_rewind(graph, mark);
    return x;
}

/** The layers, and the vectors of the rows that stand for their sequences. */
static cm3_tensor *run(cm3_graph *graph, const cm3_clip_tower_config *c, cm3_clip_tower *tower, cm3_tensor *x,
                       const cm3_attention_plan *plan, const int32_t *rows, int64_t count) {
    for (int32_t i = 0; i < c->layers && x; i++) x = layer(graph, c, &tower->layers[i], x, plan);
    x = x ? cm3_nn_embedding(graph, x, rows, count) : NULL; /* rows by number: the same operation */
    x = cm3_nn_layer_norm(graph, x, &tower->final_norm, &tower->final_norm_bias, c->norm_epsilon);
    return cm3_nn_linear(graph, x, &tower->projection, NULL);
}

/** The row that stands for a text: its first eos, or, by the rule of old files, its first largest id. */
static int32_t pooled_row(const cm3_clip_config *c, const int32_t *ids, int32_t count) {
    int32_t best = 0;
    for (int32_t i = 0; i < count; i++) {
        if (c->eos != CM3_CLIP_EOS_IS_LARGEST && ids[i] == c->eos) return i;
        if (c->eos == CM3_CLIP_EOS_IS_LARGEST && ids[i] > ids[best]) best = i;
    }
    return best;
}

cm3_tensor *cm3_clip_texts(cm3_graph *graph, cm3_clip *clip, const int32_t *ids, const int32_t *starts, int64_t count) {
    const int64_t rows = starts[count];
    int32_t *positions = cm3_graph_scratch(graph, (size_t)rows * sizeof *positions);
    int32_t *first = cm3_graph_scratch(graph, (size_t)rows * sizeof *first);
    int32_t *pooled = cm3_graph_scratch(graph, (size_t)count * sizeof *pooled);
    if (!positions || !first || !pooled) return NULL;
    for (int64_t t = 0; t < count; t++) {
        for (int32_t i = starts[t]; i < starts[t + 1]; i++) {
            positions[i] = i - starts[t];
            first[i] = starts[t];
        }
        pooled[t] = starts[t] + pooled_row(&clip->config, ids + starts[t], starts[t + 1] - starts[t]);
    }
    cm3_tensor *x = cm3_nn_embedding(graph, &clip->text.tokens, ids, rows);
    x = cm3_nn_add_to(graph, x, cm3_nn_embedding(graph, &clip->text.positions, positions, rows));
    const cm3_attention_plan plan = {.first = first};
    return run(graph, &clip->config.text, &clip->text, x, &plan, pooled, count);
}

cm3_tensor *cm3_clip_images(cm3_graph *graph, cm3_clip *clip, cm3_tensor *pixels) {
    const cm3_clip_config *c = &clip->config;
    cm3_clip_tower *tower = &clip->vision;
    const int64_t count = pixels->shape[0], side = c->image_size / c->patch_size, each = side * side;
    const int64_t length = each + 1, rows = count * length;
    int32_t *positions = cm3_graph_scratch(graph, (size_t)rows * sizeof *positions);
    int32_t *first = cm3_graph_scratch(graph, (size_t)rows * sizeof *first);
    int32_t *last = cm3_graph_scratch(graph, (size_t)rows * sizeof *last);
    int32_t *pooled = cm3_graph_scratch(graph, (size_t)count * sizeof *pooled);
    if (!positions || !first || !last || !pooled) return NULL;
    for (int64_t i = 0; i < rows; i++) {
        positions[i] = (int32_t)(i % length);
        first[i] = (int32_t)(i - i % length);
        last[i] = first[i] + (int32_t)each;
        if (i % length == 0) pooled[i / length] = (int32_t)i;
    }
    const cm3_conv_options conv = {.stride = c->patch_size};
    cm3_tensor *x = cm3_nn_conv2d(graph, pixels, &tower->patches, NULL, &conv);
    x = cm3_nn_prepend(graph, &tower->class_token, x, each);
    x = cm3_nn_add_to(graph, x, cm3_nn_embedding(graph, &tower->positions, positions, rows));
    x = cm3_nn_layer_norm(graph, x, &tower->first_norm, &tower->first_norm_bias, c->vision.norm_epsilon);
    const cm3_attention_plan plan = {.first = first, .last = last};
    return run(graph, &c->vision, tower, x, &plan, pooled, count);
}
