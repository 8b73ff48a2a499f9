/* Tiny models of both families, and the discriminator: gradients and losses against PyTorch's. */
#include <math.h>

#include "image/vq_layers.h"
#include "model/lm.h"
#include "support.h"
#include "train/discriminator.h"
#include "train/optimizer.h"

enum { STEPS = 5, ROWS = 32 };

typedef struct family {
    const char *name;
    cm3_lm_config config;
} family;

static const family families[] = {
    {"chameleon",
     {.vocab_size = 24,
      .hidden_size = 32,
      .layers = 2,
      .heads = 4,
      .kv_heads = 2,
      .head_dim = 8,
      .ffn_size = 40,
      .max_positions = 16,
      .norm = CM3_NORM_RMS,
      .norm_place = CM3_NORM_PRE,
      .norm_epsilon = 1e-5f,
      .position = CM3_POSITION_ROPE,
      .rope_theta = 10000,
      .ffn = CM3_FFN_SWIGLU,
      .qk_norm = true,
      .init_std = 0.02f}},
    {"cm3leon",
     {.vocab_size = 24,
      .hidden_size = 32,
      .layers = 2,
      .heads = 4,
      .kv_heads = 4,
      .head_dim = 8,
      .ffn_size = 40,
      .max_positions = 16,
      .norm = CM3_NORM_LAYER_PLAIN,
      .norm_place = CM3_NORM_PRE,
      .norm_epsilon = 1e-5f,
      .position = CM3_POSITION_LEARNED,
      .position_offset = 2,
      .rope_theta = 10000,
      .ffn = CM3_FFN_GELU,
      .tied = true,
      .init_std = 0.006f}},
};

static test_fixture fixture;
static cm3_safetensors *numbers;

static void up(void) {
    test_fixture_up(&fixture);
    numbers = test_numbers(&fixture);
}

static void down(void) {
    cm3_safetensors_close(numbers);
    test_fixture_down(&fixture);
}

/** The first values and the norm of a gradient, to a share of the norm. */
static void check_gradient(const cm3_graph *graph, const char *name, const float *grad, int64_t count,
                           const cm3_entry *expected, double norm) {
    const float *values = expected->data;
    double scale = 1e-4 * norm + 1e-7;
    for (int64_t i = 0; i < expected->count && i < count; i++) {
        ck_assert_msg(fabs((double)grad[i] - (double)values[i]) <= scale, "%s[%lld]: %g, %g", name, (long long)i,
                      (double)grad[i], (double)values[i]);
    }
    ck_assert_msg(fabs(sqrt(graph->kernels->sum_squares(grad, count)) - norm) <= scale, "%s", name);
}

static double forward(cm3_graph *graph, const cm3_lm *lm, int step) {
    cm3_lm_batch batch = {.rows = ROWS,
                          .ids = test_ints(numbers, "batch.%d.ids", step),
                          .positions = test_ints(numbers, "batch.%d.positions", step),
                          .plan = {.first = test_ints(numbers, "batch.%d.first", step)}};
    cm3_graph_reset(graph);
    cm3_tensor *loss = cm3_nn_cross_entropy(graph, cm3_lm_forward(graph, lm, &batch),
                                            test_ints(numbers, "batch.%d.targets", step), NULL, NULL);
    ck_assert_msg(loss != NULL, "%s", cm3_context_message(fixture.context));
    test_ok(&fixture, cm3_graph_backward(graph, loss, 1));
    return (double)*cm3_f32(loss);
}

static void follow_model(cm3_graph *graph, void *arg) {
    const family *f = arg;
    char prefix[32];
    snprintf(prefix, sizeof prefix, "%s.", f->name);
    cm3_lm *lm;
    cm3_weights *weights;
    test_ok(&fixture, cm3_weights_of(fixture.context, test_numbers(&fixture), &weights));
    test_ok(&fixture, cm3_lm_load(fixture.context, &f->config, weights, prefix, true, true, &lm));
    cm3_weights_release(weights);
    cm3_train_options options;
    cm3_train_options_init(&options);
    options.lr = 1e-2f;
    options.min_lr_ratio = 0.1f;
    options.warmup = 2;
    options.steps = STEPS;
    options.clip_norm = 0.5f;
    cm3_optimizer optimizer;
    cm3_optimizer_init(fixture.context, &options, &optimizer);
    for (size_t i = 0; i < lm->parameter_count; i++) {
        const cm3_lm_parameter *p = &lm->parameters[i];
        test_ok(&fixture, cm3_optimizer_add(&optimizer, p->name, p->tensor, p->decay,
                                            p->tensor->rank == 2 ? CM3_READ_BOTH : CM3_READ_F32));
    }
    test_ok(&fixture, cm3_optimizer_lay(&optimizer, NULL));
    test_ok(&fixture, cm3_optimizer_refresh(&optimizer, graph->kernels));
    for (int step = 0; step < STEPS; step++) {
        double loss = forward(graph, lm, step), norm;
        ck_assert_double_eq_tol(loss, (double)test_floats(numbers, "%s-losses", f->name)[step], 5e-5 * loss);
        for (size_t i = 0; step == 0 && i < lm->parameter_count; i++) {
            const cm3_lm_parameter *p = &lm->parameters[i];
            check_gradient(graph, p->name, p->tensor->grad, p->tensor->count,
                           test_entry(numbers, "%s-grad.%s", f->name, p->name),
                           (double)*test_floats(numbers, "%s-gradnorm.%s", f->name, p->name));
        }
        test_ok(&fixture, cm3_optimizer_step(&optimizer, graph, &norm));
        ck_assert_double_eq_tol(norm, (double)test_floats(numbers, "%s-norms", f->name)[step], 5e-4 * norm);
    }
    cm3_optimizer_clear(&optimizer);
    cm3_lm_destroy(lm);
}

START_TEST(language_models) {
    test_on_graph(&fixture, follow_model, (void *)(uintptr_t)&families[_i]);
}
END_TEST

/* --- the discriminator ----------------------------------------------------------------------------------------------
 */

/** An image tokenizer that is nothing but the decoder's last layer. */
typedef struct last_layer {
    cm3_vq vq;
    cm3_vq_layers layers;
    cm3_tensor gamma, beta, weight, bias;
    float ones[4], zeros[4], weight_grad[108], gamma_grad[4];
} last_layer;

static void make_last_layer(last_layer *last) {
    *last = (last_layer){.ones = {1, 1, 1, 1}, .vq = {.context = fixture.context, .has_decoder = true}};
    last->vq.config.norm_groups = 2;
    last->vq.config.patch_size = 1;
    last->vq.layers = &last->layers;
    last->gamma = cm3_tensor_over(last->ones, CM3_F32, 1, (const int64_t[]){4});
    last->beta = cm3_tensor_over(last->zeros, CM3_F32, 1, (const int64_t[]){4});
    last->bias = cm3_tensor_over(last->zeros, CM3_F32, 1, (const int64_t[]){3});
    last->weight =
        cm3_tensor_over((void *)(uintptr_t)test_floats(numbers, "gan.last"), CM3_F32, 4, (const int64_t[]){3, 4, 3, 3});
    last->gamma.wants_grad = last->weight.wants_grad = last->gamma.has_grad = last->weight.has_grad = true;
    last->weight.grad = last->weight_grad;
    last->gamma.grad = last->gamma_grad;
    last->layers.decoder.norm_out = (cm3_vq_pair){&last->gamma, &last->beta};
    last->layers.decoder.conv_out = (cm3_vq_pair){&last->weight, &last->bias};
}

static cm3_tensor map_of(const char *name, int64_t channels) {
    const int64_t shape[] = {2, 16, 16, channels};
    return cm3_tensor_over((void *)(uintptr_t)test_floats(numbers, "%s", name), CM3_F32, 4, shape);
}

static void check_map(const float *values, const cm3_entry *expected) {
    for (int64_t i = 0; i < expected->count; i++)
        ck_assert_float_eq_tol(values[i], ((const float *)expected->data)[i], 2e-5f);
}

static void follow_discriminator(cm3_graph *graph, void *arg) {
    cm3_discriminator *d = arg;
    for (size_t i = 0; i < d->optimizer.count; i++) {
        const cm3_optimized *p = &d->optimizer.parameters[i];
        const cm3_entry *entry = test_entry(numbers, "%s", p->name);
        ck_assert_int_eq(entry->count, p->tensor->count);
        memcpy(p->tensor->data, entry->data, entry->size);
    }
    cm3_tensor features = map_of("gan.features", 4), x = map_of("gan.x", 3), y = map_of("gan.y", 3);
    cm3_tensor *scores = cm3_discriminator_scores(graph, d, &y);
    ck_assert_ptr_nonnull(scores);
    ck_assert(scores->shape[0] == 2 && scores->shape[1] == 3 && scores->shape[2] == 3 && scores->shape[3] == 1);
    check_map(cm3_f32(scores), test_entry(numbers, "gan.scores"));

    last_layer last;
    make_last_layer(&last);
    const cm3_discriminator_input input = {
        .vq = &last.vq, .features = &features, .x = &x, .y = &y, .l1_weight = 1, .l2_weight = 1};
    const float *expected = test_floats(numbers, "gan.numbers");
    double loss, weight;
    float *dy = malloc((size_t)y.count * sizeof *dy);
    test_ok(&fixture, cm3_discriminator_judge(d, &input, &loss, &weight, dy));
    ck_assert_double_eq_tol(loss, (double)expected[0], 1e-5);
    ck_assert_double_eq_tol(weight, (double)expected[1], 1e-4 * (double)expected[1]);
    const float *slopes = test_floats(numbers, "gan.dy");
    for (int64_t i = 0; i < y.count; i++) ck_assert_float_eq_tol(dy[i], slopes[i], 1e-6f);
    free(dy);
    /* Nothing but dy came out of it: the trainer's gradients and the discriminator's are as they were. */
    for (int i = 0; i < 108; i++) ck_assert(last.weight_grad[i] == 0);
    for (int i = 0; i < 4; i++) ck_assert(last.gamma_grad[i] == 0);
    ck_assert(last.weight.grad == last.weight_grad && last.gamma.wants_grad && !last.beta.wants_grad);
    for (size_t i = 0; i < d->optimizer.count; i++) {
        const cm3_tensor *tensor = d->optimizer.parameters[i].tensor;
        ck_assert(tensor->wants_grad && graph->kernels->sum_squares(tensor->grad, tensor->count) == 0);
    }
    test_ok(&fixture, cm3_discriminator_learn(d, &input, &loss));
    ck_assert_double_eq_tol(loss, (double)expected[2], 1e-5);
    for (size_t i = 0; i < d->optimizer.count; i++) {
        const cm3_optimized *p = &d->optimizer.parameters[i];
        const cm3_entry *grad = test_entry(numbers, "gan-grad.%s", p->name + strlen("discriminator."));
        for (int64_t k = 0; k < grad->count; k++) {
            ck_assert_msg(fabsf(p->tensor->grad[k] - ((const float *)grad->data)[k]) < 2e-5f, "%s %lld", p->name,
                          (long long)k);
        }
    }
}

START_TEST(discriminator) {
    cm3_train_options options;
    cm3_train_options_init(&options);
    options.compute = CM3_COMPUTE_F32;
    cm3_discriminator *d;
    test_ok(&fixture, cm3_discriminator_create(fixture.context, &options, NULL, 0, 16, 3, &d));
    ck_assert_int_eq(d->levels, 2);
    test_on_graph(&fixture, follow_discriminator, d);
    cm3_discriminator_destroy(d);
    test_fails(&fixture, cm3_discriminator_create(fixture.context, &options, NULL, 0, 3, 3, &d),
               CM3_ERROR_INVALID_ARGUMENT, "4 x 4");
    static const int64_t sizes[][3] = {{4, 1, 16}, {8, 1, 16}, {32, 3, 16}, {96, 3, 24}, {256, 3, 64}, {512, 3, 64}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        test_ok(&fixture, cm3_discriminator_create(fixture.context, &options, NULL, 0, (int32_t)sizes[i][0], 3, &d));
        ck_assert_int_eq(d->levels, sizes[i][1]);
        ck_assert_int_eq(d->layers[0].weight.shape[0], sizes[i][2]);
        cm3_discriminator_destroy(d);
    }
}
END_TEST

Suite *reference_suite(void) {
    Suite *suite = suite_create("reference");
    TCase *tcase = tcase_create("reference");
    tcase_set_timeout(tcase, 60);
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_loop_test(tcase, language_models, 0, 2);
    tcase_add_test(tcase, discriminator);
    suite_add_tcase(suite, tcase);
    return suite;
}
