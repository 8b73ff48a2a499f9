/*
 * Memory and time of requests: what is estimated before is what is taken, nothing is taken for a token, prompts are
 * kept once, long ones are read in pieces, and the timings add up.
 */
#include "support.h"

#include <math.h>

#include "suites.h"

/** A text of so many words that the tokenizer knows well. */
static void long_text(char *text, size_t size, int words) {
    static const char *const word[] = {"a ", "red ", "ball ", "and ", "blue ", "cube "};
    size_t used = 0;
    for (int i = 0; i < words; i++) {
        size_t length = strlen(word[i * 7 % 6]);
        ck_assert_uint_lt(used + length + 1, size);
        memcpy(text + used, word[i * 7 % 6], length + 1);
        used += length;
    }
}

static cm3_request *start(gen_case *c, const char *text, const cm3_generate_options *options) {
    cm3_document *prompt = gen_prompt(c, text);
    cm3_request *request;
    GEN_OK(c, cm3_request_start(c->model, prompt, options, &request));
    cm3_document_destroy(prompt);
    return request;
}

static cm3_timings timings_of(const cm3_request *request) {
    cm3_timings timings = {.struct_size = sizeof timings};
    ck_assert_int_eq(cm3_request_timings(request, &timings), CM3_OK);
    return timings;
}

/** eod, the text's tokens, and where a picture follows a break; how many. */
static size_t prompt_tokens(gen_case *c, const char *text, bool image, int32_t ids[2048]) {
    cm3_tokenizer *tokenizer;
    size_t count;
    GEN_OK(c, cm3_model_tokenizer(c->model, &tokenizer));
    GEN_OK(c, cm3_tokenizer_encode(tokenizer, text, SIZE_MAX, CM3_ENCODE_PLAIN, ids + 1, 2046, &count));
    ck_assert_uint_lt(count, 2046);
    cm3_tokenizer_destroy(tokenizer);
    ids[0] = EOD;
    if (image) ids[++count] = BREAK;
    return count + 1;
}

typedef struct shape {
    cm3_modality modality;
    int candidates, words, max_tokens;
    float guidance;
    cm3_compute compute;
    cm3_weight_type weights; /**< 0: as they are */
    cm3_kv_type kv;
    int32_t previews;
} shape;

static const shape shapes[] = {
    {CM3_MODALITY_IMAGE, 1, 3, 0, 1.5f, CM3_COMPUTE_F32, 0, 0, 0},
    {CM3_MODALITY_IMAGE, 4, 60, 0, 1.5f, CM3_COMPUTE_BF16, 0, 0, 0},
    {CM3_MODALITY_IMAGE, 3, 600, 0, 1, CM3_COMPUTE_F32, 0, 0, 0},
    {CM3_MODALITY_TEXT, 1, 3, 20, 1, CM3_COMPUTE_BF16, 0, 0, 0},
    {CM3_MODALITY_TEXT, 8, 600, 30, 1, CM3_COMPUTE_F32, 0, 0, 0},
    {CM3_MODALITY_INTERLEAVED, 2, 5, 0, 3, CM3_COMPUTE_F32, 0, 0, 0},
    {CM3_MODALITY_IMAGE, 16, 300, 0, 2, CM3_COMPUTE_BF16, 0, 0, 0},
    {CM3_MODALITY_TEXT, 2, 600, 30, 1, CM3_COMPUTE_BF16, CM3_WEIGHTS_Q4, CM3_KV_INT8, 0},
    {CM3_MODALITY_IMAGE, 4, 300, 0, 2, CM3_COMPUTE_F32, CM3_WEIGHTS_Q8, CM3_KV_INT8, 0},
    {CM3_MODALITY_IMAGE, 8, 60, 0, 2, CM3_COMPUTE_BF16, CM3_WEIGHTS_Q8, CM3_KV_BF16, 0},
    {CM3_MODALITY_IMAGE, 2, 3, 0, 1.5f, CM3_COMPUTE_F32, 0, 0, 2},
    {CM3_MODALITY_IMAGE, 1, 3, 0, 1.5f, CM3_COMPUTE_BF16, 0, 0, 7},
};
#define SHAPES ((int)(sizeof shapes / sizeof *shapes))

static cm3_generate_options options_of(const shape *s) {
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.modality = s->modality;
    o.candidates = s->candidates;
    o.guidance_scale = s->guidance;
    o.max_tokens = s->max_tokens;
    o.compute = s->compute;
    o.kv = s->kv;
    o.preview_rows = s->previews;
    o.seed = 7;
    return o;
}

/** The model in a shape's weights, instead of the one that gen_up() made; returns its file. */
static const char *change_weights(gen_case *c, const shape *s) {
    const char *path = test_path(&c->fixture, "tiny.cm3"), *to = test_path(&c->fixture, "converted.cm3");
    if (!s->weights) return path;
    cm3_convert_options options;
    cm3_convert_options_init(&options);
    options.weights = s->weights;
    options.block = 32;
    GEN_OK(c, cm3_model_convert(c->context, path, to, &options));
    cm3_model_destroy(c->model);
    GEN_OK(c, cm3_model_load(c->context, to, NULL, &c->model));
    return to;
}

/* The estimate and the peak of the first request differ by less than a tenth. */
START_TEST(estimate_is_taken) {
    gen_case c;
    static char text[1 << 14];
    const shape *s = &shapes[_i % SHAPES];
    gen_up(&c, _i < SHAPES ? 2 : 0, 2048);
    const char *path = change_weights(&c, s);
    cm3_generate_options options = options_of(s);
    long_text(text, sizeof text, s->words);
    cm3_memory_estimate estimate = {.struct_size = sizeof estimate};
    int32_t ids[2048];
    size_t count = prompt_tokens(&c, text, s->modality == CM3_MODALITY_IMAGE, ids);
    GEN_OK(&c, cm3_estimate(c.model, &options, count, &estimate));
    gen_case fresh = c; /* its peak is nothing but loading and the request */
    cm3_context_options context_options;
    cm3_context_options_init(&context_options);
    context_options.threads = _i < SHAPES ? 2 : 0;
    ck_assert_int_eq(cm3_context_create(&context_options, &fresh.context), CM3_OK);
    GEN_OK(&fresh, cm3_model_load(fresh.context, path, NULL, &fresh.model));
    cm3_memory_stats before = {.struct_size = sizeof before}, after = before;
    GEN_OK(&fresh, cm3_context_memory(fresh.context, &before));
    cm3_request *request = start(&fresh, text, &options);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_OK);
    ck_assert_uint_eq(timings_of(request).prompt_tokens, count);
    GEN_OK(&fresh, cm3_context_memory(fresh.context, &after));
    double taken = (double)(after.peak_bytes - before.live_bytes), said = (double)(estimate.cache + estimate.scratch);
    /* Tiny models: what one fixed kilobyte more or less makes is not what this is about. */
    ck_assert_msg(fabs(taken - said) <= 0.1 * taken + 40000, "taken %.0f, estimated %.0f (cache %llu, scratch %llu)",
                  taken, said, (unsigned long long)estimate.cache, (unsigned long long)estimate.scratch);
    ck_assert_uint_gt(estimate.weights, 0);
    cm3_request_destroy(request);
    cm3_model_destroy(fresh.model);
    cm3_context_destroy(fresh.context);
    gen_down(&c);
}
END_TEST

START_TEST(estimates_are_refused) {
    gen_case c;
    gen_up(&c, 1, 256);
    cm3_memory_estimate estimate = {.struct_size = sizeof estimate};
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    ck_assert_int_eq(cm3_estimate(NULL, &options, 3, &estimate), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_estimate(c.model, &options, 3, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_estimate(c.model, NULL, 193, &estimate), CM3_ERROR_TOO_LONG);
    ck_assert_int_eq(cm3_estimate(c.model, NULL, UINT64_MAX, &estimate), CM3_ERROR_TOO_LONG);
    options.candidates = 65;
    ck_assert_int_eq(cm3_estimate(c.model, &options, 3, &estimate), CM3_ERROR_INVALID_ARGUMENT);
    options.candidates = 64;
    GEN_OK(&c, cm3_estimate(c.model, &options, 192, &estimate));
    uint64_t many = estimate.cache;
    options.candidates = 1;
    GEN_OK(&c, cm3_estimate(c.model, &options, 192, &estimate));
    /* The prompt is kept once: 64 candidates of 256 positions take far less than 64 times one. */
    ck_assert_uint_lt(many, 64 * estimate.cache * 3 / 4);
    gen_down(&c);
}
END_TEST

/** What loading with these options and a first request take of a fresh context's memory; *loading: at most until the
 * model was there. */
static double taken_by(const char *path, const cm3_load_options *load, const cm3_generate_options *options,
                       uint64_t *loading) {
    gen_case fresh;
    cm3_context_options context_options;
    cm3_context_options_init(&context_options);
    context_options.threads = 2;
    ck_assert_int_eq(cm3_context_create(&context_options, &fresh.context), CM3_OK);
    cm3_memory_stats before = {.struct_size = sizeof before}, loaded = before, after = before;
    GEN_OK(&fresh, cm3_context_memory(fresh.context, &before));
    GEN_OK(&fresh, cm3_model_load(fresh.context, path, load, &fresh.model));
    GEN_OK(&fresh, cm3_context_memory(fresh.context, &loaded));
    cm3_request *request = start(&fresh, "a red ball and a blue cube", options);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_OK);
    GEN_OK(&fresh, cm3_context_memory(fresh.context, &after));
    cm3_request_destroy(request);
    cm3_model_destroy(fresh.model);
    cm3_context_destroy(fresh.context);
    *loading = loaded.peak_bytes - before.live_bytes;
    return (double)(after.peak_bytes - before.live_bytes);
}

/* The same before the model is loaded, mapped and copied, a tiny one and the one that is shipped. And a bound on
 * loading: what the estimate says is just enough, less is refused before anything is copied. */
START_TEST(estimate_of_a_file) {
    gen_case c;
    gen_up(&c, 2, 256);
    const char *tiny = test_path(&c.fixture, "tiny.cm3"), *path = _i < 2 ? tiny : CM3_SOURCE_DIR "/models/toybox.cm3";
    if (access(path, R_OK) != 0) { /* a checkout without it */
        gen_down(&c);
        return;
    }
    cm3_load_options load;
    cm3_load_options_init(&load);
    load.mode = _i % 2 ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
    cm3_generate_options options = options_of(&shapes[0]);
    options.candidates = 2;
    options.preview_rows = _i / 2 ? 3 : 0;
    cm3_memory_estimate estimate = {.struct_size = sizeof estimate}, of_loaded = estimate;
    int64_t live = atomic_load(&c.fixture.memory.live);
    GEN_OK(&c, cm3_estimate_file(c.context, path, &load, &options, 12, &estimate));
    ck_assert_int_eq(atomic_load(&c.fixture.memory.live), live);
    cm3_model *model;
    GEN_OK(&c, cm3_model_load(c.context, path, &load, &model));
    GEN_OK(&c, cm3_estimate(model, &options, 12, &of_loaded));
    cm3_model_destroy(model);
    ck_assert_uint_eq(estimate.weights, of_loaded.weights);
    ck_assert_uint_eq(estimate.cache, of_loaded.cache);
    ck_assert_uint_eq(estimate.scratch, of_loaded.scratch);
    double held = (double)of_loaded.load, said = (double)(estimate.load + estimate.cache + estimate.scratch);
    ck_assert_msg(fabs((double)estimate.load - held) <= 0.02 * held, "held %.0f, estimated %llu", held,
                  (unsigned long long)estimate.load);
    if (load.mode == CM3_LOAD_HUGE) ck_assert_uint_gt(estimate.load, estimate.weights);
    uint64_t loading;
    double taken = taken_by(path, &load, &options, &loading);
    ck_assert_msg(fabs(taken - said) <= 0.1 * taken, "taken %.0f, estimated %.0f (load %llu, cache %llu, scratch %llu)",
                  taken, said, (unsigned long long)estimate.load, (unsigned long long)estimate.cache,
                  (unsigned long long)estimate.scratch);
    load.max_bytes = loading + loading / 50;
    GEN_OK(&c, cm3_model_load(c.context, path, &load, &model));
    cm3_model_destroy(model);
    load.max_bytes = loading / 2;
    int64_t before = atomic_load(&c.fixture.memory.live);
    cm3_memory_stats stats = {.struct_size = sizeof stats};
    ck_assert_int_eq(cm3_model_load(c.context, path, &load, &model), CM3_ERROR_NO_MEMORY);
    ck_assert_ptr_null(model);
    ck_assert_msg(test_says(&c.fixture, "max_bytes") && test_says(&c.fixture, path), "%s",
                  cm3_context_message(c.context));
    ck_assert_int_eq(atomic_load(&c.fixture.memory.live), before);
    GEN_OK(&c, cm3_context_memory(c.context, &stats));
    gen_down(&c);
}
END_TEST

/* A bound on loading from memory and through I/O: it is never passed, and what there was is given back. */
START_TEST(bounded_loading) {
    gen_case c;
    gen_up(&c, 0, 256);
    size_t size;
    char *data = test_get(test_path(&c.fixture, "tiny.cm3"), &size);
    for (int huge = 0; huge < 2; huge++) {
        cm3_load_options load;
        cm3_load_options_init(&load);
        load.mode = huge ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
        int enough = 0;
        for (uint64_t bound = 1000; !enough; bound += bound / 3) {
            cm3_context *context;
            test_allocator memory;
            test_allocator_init(&memory);
            cm3_allocator allocator = test_allocator_of(&memory);
            cm3_context_options context_options;
            cm3_context_options_init(&context_options);
            context_options.allocator = &allocator;
            context_options.threads = 0;
            ck_assert_int_eq(cm3_context_create(&context_options, &context), CM3_OK);
            cm3_memory_stats before = {.struct_size = sizeof before}, after = before;
            ck_assert_int_eq(cm3_context_memory(context, &before), CM3_OK);
            load.max_bytes = bound;
            cm3_model *model;
            cm3_status status = cm3_model_load_memory(context, data, size, &load, &model);
            ck_assert_int_eq(cm3_context_memory(context, &after), CM3_OK);
            ck_assert_uint_le(after.peak_bytes - before.live_bytes, bound);
            ck_assert(status == CM3_OK || status == CM3_ERROR_NO_MEMORY);
            enough = status == CM3_OK;
            cm3_model_destroy(model);
            cm3_context_destroy(context);
            ck_assert_int_eq(atomic_load(&memory.live), 0);
            ck_assert_uint_lt(bound, 100u << 20);
        }
    }
    free(data);
    gen_down(&c);
}
END_TEST

typedef struct watcher {
    test_allocator *memory;
    int64_t calls_at_first, calls;
    int tokens;
} watcher;

static int watch(void *user, const cm3_event *event) {
    watcher *w = user;
    if (event->kind != CM3_EVENT_TOKEN) return 0;
    if (w->tokens++ == 0) w->calls_at_first = atomic_load(&w->memory->calls);
    w->calls = atomic_load(&w->memory->calls);
    return 0;
}

/* From the first token of a picture to the last but those of the last step, the allocator is not asked. */
START_TEST(nothing_is_taken_for_a_token) {
    gen_case c;
    gen_up(&c, 0, 1024);
    for (int round = 0; round < 2; round++) {
        cm3_generate_options options = options_of(&shapes[round ? 1 : 0]);
        cm3_request *request = start(&c, "a red ball and a blue cube", &options);
        watcher w = {.memory = &c.fixture.memory};
        int done = 0, all = TINY_TOKENS * options.candidates;
        while (!done && w.tokens < all - options.candidates) {
            ck_assert_int_eq(cm3_request_poll(request, 0, watch, &w, &done), CM3_OK);
        }
        ck_assert_int_ge(w.tokens, all - options.candidates);
        ck_assert_int_eq(w.calls, w.calls_at_first);
        ck_assert_int_eq(cm3_request_wait(request, watch, &w), CM3_OK);
        ck_assert_int_eq(w.tokens, all);
        cm3_request_destroy(request);
    }
    gen_down(&c);
}
END_TEST

/** The most likely token after the prompt, by one plain pass. */
static int32_t plain_best(gen_case *c, const char *text) {
    int32_t ids[2048], best = 0;
    size_t count = prompt_tokens(c, text, true, ids);
    cm3_model_info info = {.struct_size = sizeof info};
    GEN_OK(c, cm3_model_get_info(c->model, &info));
    size_t vocab = (size_t)info.vocab_size;
    float *logits = malloc(count * vocab * sizeof *logits);
    GEN_OK(c, cm3_model_logits(c->model, ids, count, CM3_COMPUTE_F32, logits));
    const float *last = logits + (count - 1) * vocab;
    for (int32_t i = 1; i < TINY_CODES; i++) {
        if (last[IMAGE + i] > last[IMAGE + best]) best = i;
    }
    free(logits);
    return IMAGE + best;
}

/* Prompts longer than one step takes are read in pieces; all candidates go on from what was read once. */
START_TEST(long_prompts) {
    gen_case c;
    static char text[1 << 14];
    static const int words[] = {80, 202, 203, 204, 205, 400}; /* 2.5 tokens a word */
    gen_up(&c, _i, 1100);
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        recorder r[2];
        int32_t tokens[RECORDED], one[RECORDED];
        long_text(text, sizeof text, words[i]);
        cm3_generate_options options = options_of(&shapes[0]);
        options.temperature = 0;
        options.guidance_scale = 1;
        for (int several = 0; several < 2; several++) {
            recorder_init(&r[several]);
            options.candidates = several ? 3 : 1;
            cm3_document_destroy(gen_run(&c, text, &options, &r[several]));
        }
        ck_assert_int_eq(recorder_tokens(&r[0], 0, one), TINY_TOKENS);
        ck_assert_int_eq(one[0], plain_best(&c, text));
        for (int candidate = 0; candidate < 3; candidate++) { /* greedy: all the same */
            ck_assert_int_eq(recorder_tokens(&r[1], candidate, tokens), TINY_TOKENS);
            ck_assert_mem_eq(tokens, one, TINY_TOKENS * sizeof *one);
        }
        recorder_clear(&r[0]);
        recorder_clear(&r[1]);
    }
    gen_down(&c);
}
END_TEST

/* A request that is being drawn goes on while a long prompt is read beside it, and neither changes the other's. */
START_TEST(a_long_prompt_beside) {
    gen_case c;
    static char text[1 << 14];
    gen_up(&c, 0, 1100);
    long_text(text, sizeof text, 360);
    cm3_generate_options options = options_of(&shapes[0]);
    options.temperature = 0;
    recorder r[4];
    int32_t tokens[4][RECORDED];
    for (int i = 0; i < 4; i++) recorder_init(&r[i]);
    cm3_document_destroy(gen_run(&c, "a red ball", &options, &r[0]));
    cm3_document_destroy(gen_run(&c, text, &options, &r[1]));
    cm3_request *first = start(&c, "a red ball", &options);
    int done = 0;
    for (int i = 0; i < 5; i++) ck_assert_int_eq(cm3_request_poll(first, 0, recorder_take, &r[2], &done), CM3_OK);
    cm3_request *second = start(&c, text, &options);
    int before = r[2].count;
    ck_assert_int_eq(cm3_request_poll(second, 0, recorder_take, &r[3], &done), CM3_OK);
    ck_assert_int_eq(cm3_request_poll(first, 0, recorder_take, &r[2], &done), CM3_OK);
    ck_assert_int_gt(r[2].count, before);
    ck_assert_int_eq(cm3_request_wait(second, recorder_take, &r[3]), CM3_OK);
    ck_assert_int_eq(cm3_request_wait(first, recorder_take, &r[2]), CM3_OK);
    for (int i = 0; i < 4; i++) ck_assert_int_eq(recorder_tokens(&r[i], 0, tokens[i]), TINY_TOKENS);
    ck_assert_mem_eq(tokens[0], tokens[2], TINY_TOKENS * sizeof **tokens);
    ck_assert_mem_eq(tokens[1], tokens[3], TINY_TOKENS * sizeof **tokens);
    cm3_request_destroy(first);
    cm3_request_destroy(second);
    for (int i = 0; i < 4; i++) recorder_clear(&r[i]);
    gen_down(&c);
}
END_TEST

START_TEST(timings_add_up) {
    gen_case c;
    gen_up(&c, 1, 512);
    cm3_generate_options options = options_of(&shapes[1]);
    cm3_request *request = start(&c, "a red ball and a blue cube", &options);
    ck_assert_int_eq(cm3_request_wait(request, NULL, NULL), CM3_OK);
    cm3_timings t = timings_of(request);
    const double stages[] = {t.queued, t.tokenize, t.prefill, t.decode, t.sampling, t.image_decode};
    double sum = 0;
    for (size_t i = 0; i < sizeof stages / sizeof *stages; i++) {
        ck_assert(stages[i] >= 0);
        if (i) ck_assert(stages[i] > 0);
        sum += stages[i];
    }
    ck_assert(sum <= t.total);
    ck_assert_uint_eq(t.new_tokens, 4 * TINY_TOKENS);
    cm3_request_destroy(request);
    gen_down(&c);
}
END_TEST

Suite *memory_suite(void) {
    Suite *suite = suite_create("generate/memory");
    TCase *tcase = tcase_create("memory");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, estimate_is_taken, 0, 2 * SHAPES);
    tcase_add_test(tcase, estimates_are_refused);
    tcase_add_loop_test(tcase, estimate_of_a_file, 0, 4);
    tcase_add_test(tcase, bounded_loading);
    tcase_add_test(tcase, nothing_is_taken_for_a_token);
    tcase_add_loop_test(tcase, long_prompts, 0, 3);
    tcase_add_test(tcase, a_long_prompt_beside);
    tcase_add_test(tcase, timings_add_up);
    suite_add_tcase(suite, tcase);
    return suite;
}
