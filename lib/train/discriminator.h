/* The patch discriminator of the image tokenizer's training (Isola et al. 2017; Esser et al. 2021). */
#ifndef CM3_TRAIN_DISCRIMINATOR_H
#define CM3_TRAIN_DISCRIMINATOR_H

#include "image/vq.h"
#include "train/optimizer.h"

#define CM3_DISCRIMINATOR_LEVELS 3

/** A convolution, and the group norm behind it where there is one. */
typedef struct cm3_discriminator_layer {
    cm3_tensor weight, bias, gamma, beta; /**< no bias before a norm; data NULL: there is none */
} cm3_discriminator_layer;

/**
 * 4 x 4 convolutions of stride 2 with leaky ReLU, group norm from the second on, and one of stride 1 to a score a
 * patch. Channels are c, 2c, 4c with c = 64 from 256 pixels a side on and proportionally fewer below (16 at least); the
 * third, and then the second, is left out where a map would become smaller than 4 x 4.
 */
typedef struct cm3_discriminator {
    cm3_context *context;
    cm3_train_options options; /**< its optimiser's: the schedule begins when it does, and nothing is averaged */
    cm3_optimizer optimizer;
    int32_t levels;
    cm3_discriminator_layer layers[CM3_DISCRIMINATOR_LEVELS + 1]; /**< the last gives the scores */
    char names[4 * (CM3_DISCRIMINATOR_LEVELS + 1)][40];
    float *storage;
    cm3_graph *graph; /**< its own tape beside the trainer's */
} cm3_discriminator;

/** Fresh weights (normal of 0.02, as in pix2pix). `ranks`: NULL, or of the run. `from`: its step at which the
 * discriminator begins. Errors: INVALID_ARGUMENT, NO_MEMORY. */
cm3_status cm3_discriminator_create(cm3_context *context, const cm3_train_options *options, cm3_ranks *ranks,
                                    int64_t from, int32_t resolution, int32_t channels,
                                    cm3_discriminator **discriminator);
/** NULL is allowed. Any thread. */
void cm3_discriminator_destroy(cm3_discriminator *discriminator);
/** All parameters lie elsewhere now: gives back the memory where they lay. */
void cm3_discriminator_forget_storage(cm3_discriminator *discriminator);

/** Scores of x [n, h, w, channels]: [n, h', w', 1]. */
cm3_tensor *cm3_discriminator_scores(cm3_graph *graph, cm3_discriminator *discriminator, cm3_tensor *x);

/** What a micro-step's pictures are, and how far off reconstruction counts. */
typedef struct cm3_discriminator_input {
    const cm3_vq *vq;
    const cm3_tensor *features; /**< what the decoder's last layer got */
    const cm3_tensor *x, *y;    /**< the pictures, and what the decoder made of them */
    float l1_weight, l2_weight;
    const atomic_int *cancel;
} cm3_discriminator_input;

/**
 * The generator's side: *loss is -mean(scores of y), *weight the adaptive weight |d rec / d w| / (|d gan / d w| +
 * 1e-4), in 0..1e4, w the weight of the decoder's last convolution (Esser et al. 2021, eq. 7), and dy [y->count] gets
 * the gradient of *loss at y.
 */
cm3_status cm3_discriminator_judge(cm3_discriminator *discriminator, const cm3_discriminator_input *input, double *loss,
                                   double *weight, float *dy);
/** Its own side: the hinge loss of x against y; adds to the gradients of its parameters. */
cm3_status cm3_discriminator_learn(cm3_discriminator *discriminator, const cm3_discriminator_input *input,
                                   double *loss);

#endif
