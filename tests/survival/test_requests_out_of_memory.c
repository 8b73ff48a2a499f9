/* Memory runs out, at every allocation in turn, while requests run: their model and context survive it. */
#include "base/status.h"
#include "suites.h"
#include "sweep.h"

static gen_case c;
static const int team_sizes[] = {0, 2};

typedef struct generating {
    cm3_generate_options options;
    cm3_document *prompt;
    const char *path;
    cm3_model *model; /**< of the sweep's own, so that its engine goes with it */
    uint64_t told, shown;
} generating;

/* PROGRESS events that nobody fetched are joined, so how many come is a matter of time; so is between which tokens a
 * preview comes. */
static int take(void *user, const cm3_event *event) {
    generating *g = user;
    if (event->kind == CM3_EVENT_PROGRESS) return 0;
    if (event->kind == CM3_EVENT_IMAGE_ROWS) {
        g->shown += sweep_sum_image((uint64_t)event->candidate, event->image);
        return 0;
    }
    g->told = sweep_sum(g->told, &event->kind, sizeof event->kind);
    g->told = sweep_sum(g->told, &event->token, sizeof event->token);
    if (event->image) g->told = sweep_sum_image(g->told, event->image);
    if (event->text) g->told = sweep_sum(g->told, event->text, event->text_size);
    return 0;
}

static void load(sweep *s) {
    generating *g = s->user;
    GEN_OK(&c, cm3_model_load(c.context, g->path, NULL, &g->model));
}

static void unload(sweep *s) {
    cm3_model_destroy(((generating *)s->user)->model);
}

/* The blocking call. */
static cm3_status generate(sweep *s, uint64_t *sum) {
    generating *g = s->user;
    cm3_document *result = NULL;
    g->told = g->shown = 0;
    cm3_status status = cm3_generate(g->model, g->prompt, &g->options, take, g, &result);
    ck_assert((result != NULL) == (status == CM3_OK));
    if (status != CM3_OK) return status;
    *sum = sweep_sum_document(g->told + g->shown, result);
    cm3_document_destroy(result);
    return CM3_OK;
}

/* Two requests in one batch: each fails by itself, or both do, and each says why. */
static cm3_status two_at_once(sweep *s, uint64_t *sum) {
    generating *g = s->user;
    cm3_request *requests[2] = {NULL, NULL};
    cm3_status first = CM3_OK;
    uint64_t sums[2] = {0, 0};
    for (int i = 0; i < 2; i++) {
        cm3_status status = cm3_request_start(g->model, g->prompt, &g->options, &requests[i]);
        ck_assert((requests[i] != NULL) == (status == CM3_OK));
        if (first == CM3_OK) first = status;
    }
    for (int i = 0; i < 2; i++) {
        if (!requests[i]) continue;
        cm3_document *result = NULL;
        cm3_status status = cm3_request_wait(requests[i], NULL, NULL);
        ck_assert_int_eq(cm3_request_message(requests[i])[0] != 0, status != CM3_OK);
        ck_assert(cm3_request_done(requests[i]));
        if (status == CM3_OK) status = cm3_request_result(requests[i], &result);
        if (status == CM3_OK) sums[i] = sweep_sum_document(0, result);
        cm3_document_destroy(result);
        cm3_request_destroy(requests[i]);
        if (first == CM3_OK) first = status;
    }
    if (first == CM3_OK) *sum = sweep_sum(0, sums, sizeof sums);
    return first;
}

static void run_as(const char *name, cm3_status (*operation)(sweep *s, uint64_t *sum), generating *g, bool costly) {
    sweep s = {
        .c = &c, .name = name, .prepare = load, .run = operation, .release = unload, .costly = costly, .user = g};
    sweep_run(&s);
}

static void run(const char *name, cm3_status (*operation)(sweep *s, uint64_t *sum), generating *g) {
    run_as(name, operation, g, false);
}

static generating of(cm3_modality modality) {
    generating g = {.path = test_path(&c.fixture, "tiny.cm3"), .prompt = gen_prompt(&c, "a red ball")};
    cm3_generate_options_init(&g.options);
    g.options.modality = modality;
    g.options.seed = 12;
    g.options.max_tokens = 24;
    g.options.compute = CM3_COMPUTE_F32;
    g.options.candidates = 2;
    g.options.preview_rows = 4;
    g.options.guidance_scale = 2;
    return g;
}

START_TEST(generation) {
    static const char *const names[] = {"image", "text", "interleaved"};
    gen_up(&c, team_sizes[_i / 3], 128);
    generating g = of((cm3_modality)(CM3_MODALITY_IMAGE + _i % 3));
    if (_i % 3 == 2) g.options.temperature = 1; /* colder, it hardly opens a picture */
    run(names[_i % 3], generate, &g);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

/* A picture in the prompt is encoded on the compute thread; bf16 has a graph and caches of its own. */
START_TEST(picture_in_the_prompt) {
    gen_up(&c, team_sizes[_i], 256);
    generating g = of(CM3_MODALITY_TEXT);
    g.options.compute = CM3_COMPUTE_BF16;
    cm3_image *image;
    GEN_OK(&c, cm3_image_create(c.context, 20, 18, &image));
    GEN_OK(&c, cm3_document_add_image(g.prompt, image));
    cm3_image_destroy(image);
    run("picture in the prompt", generate, &g);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

START_TEST(batches) {
    gen_up(&c, team_sizes[_i], 128);
    generating g = of(CM3_MODALITY_TEXT);
    run("two at once", two_at_once, &g);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

/* A sampler of the host's own, made and used. */
static cm3_status with_sampler(sweep *s, uint64_t *sum) {
    generating *g = s->user;
    cm3_sampler *sampler;
    CM3_TRY(cm3_sampler_create(c.context, &sampler));
    cm3_status status = cm3_sampler_add_temperature(sampler, 0.7f);
    if (status == CM3_OK) status = cm3_sampler_add_top_k(sampler, 9);
    g->options.sampler = sampler;
    if (status == CM3_OK) status = generate(s, sum);
    cm3_sampler_destroy(sampler);
    return status;
}

START_TEST(samplers) {
    gen_up(&c, team_sizes[_i], 128);
    generating g = of(CM3_MODALITY_TEXT);
    g.options.max_tokens = 3;
    run("sampler", with_sampler, &g);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

/** A file of the folder's, converted. */
static const char *converted(const char *from, cm3_weight_type weights) {
    cm3_convert_options options;
    cm3_convert_options_init(&options);
    options.weights = weights;
    const char *path = test_path(&c.fixture, "converted.cm3");
    GEN_OK(&c, cm3_model_convert(c.context, from, path, &options));
    return path;
}

/* Matrices, keys and values of integers, in floats and in integers; a prompt of more rows than few. */
START_TEST(quantised) {
    gen_up(&c, team_sizes[_i / 2], 256);
    generating g = of(_i % 2 ? CM3_MODALITY_IMAGE : CM3_MODALITY_TEXT);
    for (int i = 0; i < 12; i++) GEN_OK(&c, cm3_document_add_text(g.prompt, " and a blue cube", SIZE_MAX));
    g.path = converted(g.path, _i % 2 ? CM3_WEIGHTS_Q4 : CM3_WEIGHTS_Q8);
    g.options.compute = _i % 2 ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    g.options.kv = CM3_KV_INT8;
    g.options.max_tokens = 4;
    run_as("quantised", generate, &g, true);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

/* Chameleon's three streams, behind a picture. */
START_TEST(three_streams) {
    gen_up(&c, team_sizes[_i], 128);
    generating g = of(CM3_MODALITY_INTERLEAVED);
    g.path = converted(CM3_TEST_DATA "/parity/meta-swin", CM3_WEIGHTS_KEEP);
    g.options.image_guidance_scale = 1.2f;
    g.options.max_tokens = 3;
    g.options.candidates = 1;
    g.options.preview_rows = 0;
    int32_t codes[64];
    for (int32_t i = 0; i < 64; i++) codes[i] = i;
    GEN_OK(&c, cm3_document_add_codes(g.prompt, codes, 64));
    run_as("three streams", generate, &g, true);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

/* A text and part of a picture, filled in. */
START_TEST(filling_in) {
    gen_up(&c, team_sizes[_i % 2], 320);
    generating g = of(_i == 2 ? CM3_MODALITY_IMAGE : CM3_MODALITY_INFILL);
    cm3_image *image;
    const cm3_box box = {0.3f, 0.3f, 0.3f, 0.2f};
    GEN_OK(&c, cm3_image_create(c.context, 20, 18, &image));
    if (_i == 1) GEN_OK(&c, cm3_document_add_mask(g.prompt, 0));
    GEN_OK(&c, cm3_document_add_image_holes(g.prompt, image, &box, 1));
    cm3_image_destroy(image);
    run_as("filling in", generate, &g, true);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

/* Beams, and candidates that an encoder ranks. */
START_TEST(the_best) {
    gen_up(&c, team_sizes[_i], 128);
    generating g = of(CM3_MODALITY_TEXT);
    g.options.beams = 3;
    g.options.max_tokens = 6;
    run_as("beams", generate, &g, true);
    g.options.beams = 0;
    g.options.modality = CM3_MODALITY_IMAGE;
    g.options.best = 1;
    GEN_OK(&c, cm3_model_load(c.context, CM3_TEST_DATA "/parity/clip", NULL, &g.options.encoder));
    run_as("ranking", generate, &g, true);
    cm3_model_destroy(g.options.encoder);
    cm3_document_destroy(g.prompt);
    gen_down(&c);
}
END_TEST

Suite *requests_out_of_memory_suite(void) {
    Suite *suite = suite_create("survival/requests out of memory");
    TCase *tcase = tcase_create("requests out of memory");
    tcase_set_timeout(tcase, getenv("CM3_TEST_LONG") ? 7200 : 900);
    tcase_add_loop_test(tcase, generation, 0, 6);
    tcase_add_loop_test(tcase, picture_in_the_prompt, 0, 2);
    tcase_add_loop_test(tcase, batches, 0, 2);
    tcase_add_loop_test(tcase, samplers, 0, 2);
    tcase_add_loop_test(tcase, quantised, 0, 4);
    tcase_add_loop_test(tcase, three_streams, 0, 2);
    tcase_add_loop_test(tcase, filling_in, 0, 3);
    tcase_add_loop_test(tcase, the_best, 0, 2);
    suite_add_tcase(suite, tcase);
    return suite;
}
