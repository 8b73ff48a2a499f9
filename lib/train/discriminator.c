/* The patch discriminator. */
#include "train/discriminator.h"

#include <math.h>
#include <stdio.h>

#include "base/status.h"
#include "image/vq_layers.h"

#define CM3_DISCRIMINATOR_GROUPS 8
#define CM3_DISCRIMINATOR_EPSILON 1e-5f
#define CM3_DISCRIMINATOR_STREAM 0x4449534300000000u

static int32_t base_channels(int32_t resolution) {
    int32_t channels = resolution / 32 * 8;
    return channels < 16 ? 16 : channels > 64 ? 64 : channels;
}

static int32_t level_count(int32_t resolution) {
    int32_t levels = 1;
    while (levels < CM3_DISCRIMINATOR_LEVELS && resolution >> (levels + 1) >= 4) levels++;
    return levels;
}

/* --- parameters -----------------------------------------------------------------------------------------------------
 */

/** The shapes of all layers; data are laid later. */
static int64_t shape_layers(cm3_discriminator *d, int32_t resolution, int32_t channels) {
    int64_t in = channels, out = base_channels(resolution), total = 0;
    for (int32_t i = 0; i <= d->levels; i++, in = out, out *= 2) {
        cm3_discriminator_layer *layer = &d->layers[i];
        int64_t made = i == d->levels ? 1 : out;
        layer->weight = cm3_tensor_over(NULL, CM3_F32, 4, (const int64_t[]){made, in, 4, 4});
        bool normed = i > 0 && i < d->levels;
        cm3_tensor vector = cm3_tensor_over(NULL, CM3_F32, 1, (const int64_t[]){made});
        total += layer->weight.count + (normed ? 2 : 1) * made;
        *(normed ? &layer->gamma : &layer->bias) = vector;
        if (normed) layer->beta = vector;
    }
    return total;
}

/** Gives a parameter its place and its optimiser. */
static cm3_status add(cm3_discriminator *d, float **place, int32_t layer, int32_t which, cm3_tensor *tensor) {
    static const char *const words[] = {"weight", "bias", "norm.weight", "norm.bias"};
    if (!tensor->count) return CM3_OK;
    tensor->data = *place;
    *place += tensor->count;
    char *name = d->names[4 * layer + which];
    snprintf(name, sizeof d->names[0], "discriminator.%d.%s", (int)layer, words[which]);
    return cm3_optimizer_add(&d->optimizer, name, tensor, which == 0, which == 0 ? CM3_READ_BF16 : CM3_READ_F32);
}

static cm3_status add_layers(cm3_discriminator *d, uint64_t seed) {
    float *place = d->storage;
    for (int32_t i = 0; i <= d->levels; i++) {
        cm3_discriminator_layer *layer = &d->layers[i];
        cm3_tensor *parameters[] = {&layer->weight, &layer->bias, &layer->gamma, &layer->beta};
        for (int32_t k = 0; k < 4; k++) CM3_TRY(add(d, &place, i, k, parameters[k]));
        cm3_random random = cm3_random_make(seed, CM3_DISCRIMINATOR_STREAM + (uint64_t)i);
        for (int64_t k = 0; k < layer->weight.count; k++) {
            cm3_f32(&layer->weight)[k] = 0.02f * (float)cm3_random_normal(&random);
        }
        for (int64_t k = 0; k < layer->gamma.count; k++) cm3_f32(&layer->gamma)[k] = 1;
    }
    return CM3_OK;
}

static cm3_status make_graph(void *arg) {
    cm3_discriminator *d = arg;
    return cm3_graph_create(d->context, &(cm3_graph_options){.record = true, .compute = d->options.compute}, &d->graph);
}

cm3_status cm3_discriminator_create(cm3_context *context, const cm3_train_options *options, cm3_ranks *ranks,
                                    int64_t from, int32_t resolution, int32_t channels,
                                    cm3_discriminator **discriminator) {
    *discriminator = NULL;
    if (resolution < 4) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT,
                        "the discriminator needs pictures of 4 x 4 or more, not of %d", (int)resolution);
    }
    cm3_discriminator *d = cm3_calloc(context, 1, sizeof *d);
    if (!d) return cm3_fail_memory(context, sizeof *d, "discriminator");
    d->context = context;
    d->options = *options;
    d->options.weight_average = 0;
    d->options.steps = options->steps > from ? options->steps - from : 1;
    cm3_optimizer_init(context, &d->options, &d->optimizer);
    d->levels = level_count(resolution);
    size_t bytes = (size_t)shape_layers(d, resolution, channels) * sizeof(float);
    d->storage = cm3_calloc(context, 1, bytes);
    cm3_status status = d->storage ? add_layers(d, options->seed) : cm3_fail_memory(context, bytes, "discriminator");
    if (status == CM3_OK) status = cm3_optimizer_lay(&d->optimizer, ranks);
    if (status == CM3_OK) status = cm3_context_run(context, make_graph, d);
    if (status != CM3_OK) {
        cm3_discriminator_destroy(d);
        return status;
    }
    *discriminator = d;
    return CM3_OK;
}

static cm3_status drop_graph(void *arg) {
    cm3_graph_destroy(((cm3_discriminator *)arg)->graph);
    return CM3_OK;
}

void cm3_discriminator_destroy(cm3_discriminator *discriminator) {
    if (!discriminator) return;
    cm3_context *context = discriminator->context;
    cm3_optimizer_clear(&discriminator->optimizer);
    if (cm3_context_run(context, drop_graph, discriminator) != CM3_OK) drop_graph(discriminator);
    cm3_free(context, discriminator->storage);
    cm3_free(context, discriminator);
}

void cm3_discriminator_forget_storage(cm3_discriminator *discriminator) {
    cm3_free(discriminator->context, discriminator->storage);
    discriminator->storage = NULL;
}

/* --- forward --------------------------------------------------------------------------------------------------------
 */

cm3_tensor *cm3_discriminator_scores(cm3_graph *graph, cm3_discriminator *discriminator, cm3_tensor *x) {
    cm3_conv_options options = {.stride = 2, .pad_top = 1, .pad_left = 1, .pad_bottom = 1, .pad_right = 1};
    for (int32_t i = 0; i <= discriminator->levels; i++) {
        cm3_discriminator_layer *layer = &discriminator->layers[i];
        if (i == discriminator->levels) options.stride = 1;
        x = cm3_nn_conv2d(graph, x, &layer->weight, layer->bias.data ? &layer->bias : NULL, &options);
        if (i == discriminator->levels) return x;
        if (layer->gamma.data) {
            x = cm3_nn_group_norm(graph, x, &layer->gamma, &layer->beta, CM3_DISCRIMINATOR_GROUPS,
                                  CM3_DISCRIMINATOR_EPSILON, false);
        }
        x = cm3_nn_activation(graph, x, CM3_ACT_LEAKY_RELU);
    }
    return x;
}

/** Whether the discriminator's own parameters gather gradients. */
static void set_learning(cm3_discriminator *d, bool learning) {
    for (size_t i = 0; i < d->optimizer.count; i++) d->optimizer.parameters[i].tensor->wants_grad = learning;
}

/* --- the generator's side -------------------------------------------------------------------------------------------
 */

/** The decoder's last layer once more, on the own tape: of its parameters only the convolution's weight gathers a
 * gradient. */
typedef struct cm3_last_layer {
    cm3_tensor *weight, *others[3]; /**< `others` are the norm's and the bias */
    bool wanted[3];
    float *grad; /**< the trainer's, put aside */
} cm3_last_layer;

static void hold_last_layer(const cm3_vq *vq, cm3_last_layer *last) {
    const cm3_vq_half *decoder = &vq->layers->decoder;
    *last = (cm3_last_layer){.weight = decoder->conv_out.weight,
                             .others = {decoder->norm_out.weight, decoder->norm_out.bias, decoder->conv_out.bias},
                             .grad = decoder->conv_out.weight->grad};
    for (int i = 0; i < 3; i++) {
        last->wanted[i] = last->others[i]->wants_grad;
        last->others[i]->wants_grad = false;
    }
}

static void release_last_layer(cm3_last_layer *last) {
    last->weight->grad = last->grad;
    last->weight->has_grad = true;
    for (int i = 0; i < 3; i++) last->others[i]->wants_grad = last->wanted[i];
}

/** The pictures of `features`, and a gradient of the last weight's own for this pass. */
static cm3_tensor *decode_again(cm3_discriminator *d, const cm3_discriminator_input *input, cm3_last_layer *last) {
    cm3_graph_reset(d->graph);
    d->graph->cancel = input->cancel;
    cm3_tensor *leaf = cm3_graph_scratch(d->graph, sizeof *leaf);
    if (!leaf) return NULL;
    *leaf = cm3_tensor_over(input->features->data, CM3_F32, input->features->rank, input->features->shape);
    last->weight->grad = NULL; /* the tape makes one in its arena */
    last->weight->has_grad = false;
    return cm3_vq_decode_pixels(d->graph, input->vq, leaf);
}

static double norm_at(const cm3_discriminator *d, const cm3_tensor *tensor) {
    return tensor->grad ? sqrt(d->graph->kernels->sum_squares(tensor->grad, tensor->count)) : 0;
}

static cm3_status reconstruction_norm(cm3_discriminator *d, const cm3_discriminator_input *input, cm3_last_layer *last,
                                      double *norm) {
    cm3_graph *graph = d->graph;
    cm3_tensor *y = decode_again(d, input, last);
    cm3_tensor *l1 = cm3_nn_scale(graph, cm3_nn_mean_absolute_error(graph, y, cm3_f32(input->x)), input->l1_weight);
    cm3_tensor *l2 = cm3_nn_scale(graph, cm3_nn_mean_squared_error(graph, y, cm3_f32(input->x)), input->l2_weight);
    cm3_tensor *loss = cm3_nn_add(graph, l1, l2);
    if (!loss) return cm3_graph_status(graph);
    CM3_TRY(cm3_graph_backward(graph, loss, 1));
    *norm = norm_at(d, last->weight);
    return CM3_OK;
}

static cm3_status adversarial_norm(cm3_discriminator *d, const cm3_discriminator_input *input, cm3_last_layer *last,
                                   double *loss, double *norm, float *dy) {
    cm3_graph *graph = d->graph;
    cm3_tensor *y = decode_again(d, input, last);
    cm3_tensor *mean = cm3_nn_mean(graph, cm3_discriminator_scores(graph, d, y));
    if (!mean) return cm3_graph_status(graph);
    CM3_TRY(cm3_graph_backward(graph, mean, -1));
    *loss = -(double)*cm3_f32(mean);
    *norm = norm_at(d, last->weight);
    memcpy(dy, y->grad, (size_t)y->count * sizeof(float));
    return CM3_OK;
}

cm3_status cm3_discriminator_judge(cm3_discriminator *discriminator, const cm3_discriminator_input *input, double *loss,
                                   double *weight, float *dy) {
    cm3_last_layer last;
    double reconstruction = 0, adversarial = 0;
    hold_last_layer(input->vq, &last);
    set_learning(discriminator, false);
    cm3_status status = reconstruction_norm(discriminator, input, &last, &reconstruction);
    if (status == CM3_OK) status = adversarial_norm(discriminator, input, &last, loss, &adversarial, dy);
    set_learning(discriminator, true);
    release_last_layer(&last);
    double ratio = reconstruction / (adversarial + 1e-4);
    *weight = ratio < 1e4 ? ratio : 1e4; /* not a number is caught where the loss is looked at */
    if (isnan(ratio)) *weight = ratio;
    return status;
}

/* --- its own side ---------------------------------------------------------------------------------------------------
 */

/** Scores of pictures as they are: no gradient reaches them. */
static cm3_tensor *scores_of(cm3_discriminator *d, const cm3_tensor *pictures) {
    cm3_tensor *leaf = cm3_graph_scratch(d->graph, sizeof *leaf);
    if (!leaf) return NULL;
    *leaf = cm3_tensor_over(pictures->data, CM3_F32, pictures->rank, pictures->shape);
    return cm3_discriminator_scores(d->graph, d, leaf);
}

cm3_status cm3_discriminator_learn(cm3_discriminator *discriminator, const cm3_discriminator_input *input,
                                   double *loss) {
    cm3_graph *graph = discriminator->graph;
    cm3_graph_reset(graph);
    graph->cancel = input->cancel;
    cm3_tensor *real = cm3_nn_mean_hinge(graph, scores_of(discriminator, input->x), -1);
    cm3_tensor *made = cm3_nn_mean_hinge(graph, scores_of(discriminator, input->y), 1);
    cm3_tensor *sum = cm3_nn_scale(graph, cm3_nn_add(graph, real, made), 0.5f);
    if (!sum) return cm3_graph_status(graph);
    *loss = (double)*cm3_f32(sum);
    return cm3_graph_backward(graph, sum, 1);
}
