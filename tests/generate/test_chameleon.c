/* Generation as published for Chameleon: the reference's tokens, modes, stops, and pictures in prompts. */
#include "../model/reference.h"
#include "cm3leon/request.h"
#include "suites.h"

static test_fixture fixture;

static void up(void) {
    test_fixture_up(&fixture);
}

static void down(void) {
    test_fixture_down(&fixture);
}

typedef struct taken {
    int32_t ids[512];
    size_t count, wanted;
} taken;

static int take(void *user, const cm3_event *event) {
    taken *t = user;
    if (t->wanted && t->count == t->wanted) return 1; /* events that waited already */
    if (event->kind != CM3_EVENT_TOKEN || t->count == 512) return 0;
    t->ids[t->count++] = event->token;
    return t->wanted && t->count == t->wanted;
}

static cm3_generate_options greedy(cm3_modality modality) {
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.modality = modality;
    o.temperature = 0;
    o.guidance_scale = 1;
    o.compute = CM3_COMPUTE_F32;
    o.codes_only = 1;
    o.ignore_stops = 1;
    return o;
}

static void run(cm3_model *model, const int32_t *prompt, size_t count, const cm3_generate_options *o, taken *t) {
    cm3_document *document;
    ck_assert_int_eq(cm3_document_create(fixture.context, &document), CM3_OK);
    ck_assert_int_eq(cm3_document_add_ids(document, prompt, count), CM3_OK);
    cm3_status status = cm3_generate(model, document, o, take, t, NULL);
    bool whole = t->wanted && t->count == t->wanted;
    ck_assert_msg(status == CM3_OK || (status == CM3_ERROR_CANCELLED && whole), "%d: %s", (int)status,
                  cm3_context_message(fixture.context));
    cm3_document_destroy(document);
}

static void expect(const taken *t, const int32_t *ids, size_t count) {
    ck_assert_uint_eq(t->count, count);
    for (size_t i = 0; i < count; i++)
        ck_assert_msg(t->ids[i] == ids[i], "token %zu: %d, expected %d", i, t->ids[i], ids[i]);
}

static const struct {
    const char *folder, *reference;
} models[] = {
    {PARITY "chameleon", PARITY "ref/chameleon.safetensors"},
    {PARITY "chameleon-swin", PARITY "ref/chameleon-swin.safetensors"},
    {PARITY "meta-swin", PARITY "ref/chameleon-swin.safetensors"},
};

/** Text and mixed prompts: only image codes are barred. */
START_TEST(tokens_as_hugging_face) {
    static const char *const names[][2] = {{"text.input_ids", "greedy.text"}, {"mixed.input_ids", "greedy.mixed"}};
    cm3_model *model = reference_load(&fixture, models[_i].folder);
    cm3_safetensors *reference = reference_open(&fixture, models[_i].reference);
    for (int k = 0; k < 2; k++) {
        size_t count, all;
        int32_t *prompt = reference_ids(reference, names[k][0], &count);
        int32_t *ids = reference_ids(reference, names[k][1], &all);
        taken t = {.wanted = all - count};
        const cm3_generate_options o = greedy(CM3_MODALITY_FREE);
        run(model, prompt, count, &o, &t);
        expect(&t, ids + count, all - count);
        free(prompt), free(ids);
    }
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

/** Pictures: plain, and with three streams of guidance. */
START_TEST(tokens_of_pictures) {
    if (_i == 1) return; /* the folder has no image tokenizer: it draws nothing */
    cm3_model *model = reference_load(&fixture, models[_i].folder);
    cm3_safetensors *reference = reference_open(&fixture, models[_i].reference);
    size_t all, count, wanted;
    int32_t *ids = reference_ids(reference, "greedy.image", &all);
    int32_t *prompt = reference_ids(reference, "greedy.image_cfg.prompt", &count);
    int32_t *tokens = reference_ids(reference, "greedy.image_cfg.tokens", &wanted);
    taken t = {.wanted = wanted};
    cm3_generate_options o = greedy(CM3_MODALITY_IMAGE);
    run(model, ids, all - wanted, &o, &t);
    expect(&t, ids + all - wanted, wanted);
    taken guided = {.wanted = wanted};
    o.guidance_scale = 3.0f;
    o.image_guidance_scale = 1.2f;
    run(model, prompt, count, &o, &guided);
    expect(&guided, tokens, wanted);
    free(ids), free(prompt), free(tokens);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

/** Prompts of different lengths, and guided ones, in one batch: each gets what it gets alone. */
START_TEST(batches_of_different_lengths) {
    enum { REQUESTS = 4, TOKENS = 12 };
    cm3_model *model = reference_load(&fixture, models[0].folder);
    cm3_safetensors *reference = reference_open(&fixture, models[0].reference);
    size_t counts[REQUESTS];
    int32_t *prompts[REQUESTS] = {reference_ids(reference, "text.input_ids", &counts[0]),
                                  reference_ids(reference, "mixed.input_ids", &counts[1]),
                                  reference_ids(reference, "greedy.image_cfg.prompt", &counts[2]),
                                  reference_ids(reference, "text.input_ids", &counts[3])};
    counts[3] = 3;
    taken alone[REQUESTS], together[REQUESTS];
    cm3_request *requests[REQUESTS];
    cm3_generate_options options[REQUESTS];
    for (int i = 0; i < REQUESTS; i++) {
        alone[i] = together[i] = (taken){.wanted = TOKENS};
        options[i] = greedy(i == 2 ? CM3_MODALITY_IMAGE : CM3_MODALITY_FREE);
        if (i == 2) options[i].guidance_scale = 3;
        run(model, prompts[i], counts[i], &options[i], &alone[i]);
        cm3_document *document;
        ck_assert_int_eq(cm3_document_create(fixture.context, &document), CM3_OK);
        ck_assert_int_eq(cm3_document_add_ids(document, prompts[i], counts[i]), CM3_OK);
        ck_assert_int_eq(cm3_request_start(model, document, &options[i], &requests[i]), CM3_OK);
        cm3_document_destroy(document);
    }
    for (int open = REQUESTS; open;) {
        for (int i = 0; i < REQUESTS; i++) {
            int done = 0;
            if (!requests[i]) continue;
            cm3_request_poll(requests[i], 0, take, &together[i], &done);
            if (!done) continue;
            cm3_request_destroy(requests[i]);
            requests[i] = NULL;
            open--;
        }
    }
    for (int i = 0; i < REQUESTS; i++) {
        expect(&together[i], alone[i].ids, TOKENS);
        free(prompts[i]);
    }
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

/** Kinds of a run of tokens, by the tokenizer: t text, i image code, ( begin, ) end of an image, . end. */
static char kind_of(const cm3_model *model, int32_t token) {
    const cm3_special_tokens *s = &model->tokenizer->special;
    if (s->image_code[token] >= 0) return 'i';
    return token == s->begin_image ? '(' : token == s->end_image ? ')' : token == s->eod ? '.' : 't';
}

/** Interleaved: pictures of exactly so many codes between brackets, text that Meta's code calls text. */
START_TEST(interleaved_by_the_state_machine) {
    cm3_model *model = reference_load(&fixture, models[0].folder);
    const cm3_special_tokens *s = &model->tokenizer->special;
    int pictures = 0;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        cm3_generate_options o;
        cm3_generate_options_init(&o);
        o.modality = CM3_MODALITY_INTERLEAVED;
        o.temperature = 3; /* so that the model begins pictures */
        o.top_p = 1;
        o.seed = seed;
        o.compute = CM3_COMPUTE_F32;
        o.codes_only = 1;
        o.ignore_stops = 1;
        o.max_tokens = 150;
        o.guidance_scale = seed % 2 ? 3.0f : 1.0f;
        const int32_t prompt[] = {s->bos, 100, 200};
        taken t = {.wanted = 0};
        run(model, prompt, 3, &o, &t);
        for (size_t i = 0; i < t.count; i++) {
            char kind = kind_of(model, t.ids[i]);
            if (kind == '(') {
                for (size_t k = 1; k <= 64; k++) ck_assert_int_eq(kind_of(model, t.ids[i + k]), 'i');
                if (i + 65 == t.count) break; /* max_tokens came within the picture: it is whole, and the last */
                ck_assert_int_eq(kind_of(model, t.ids[i + 65]), ')');
                i += 65;
                pictures++;
                continue;
            }
            ck_assert(kind == 't' || kind == '.');
            const char *text = cm3_bpe_token(model->tokenizer->bpe, t.ids[i]);
            ck_assert_msg(kind == '.' || text[0] != '<' || !text[1], "%s", text);
        }
    }
    ck_assert_int_ge(pictures, 2);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(stops_and_lengths) {
    cm3_model *model = reference_load(&fixture, models[0].folder);
    cm3_safetensors *reference = reference_open(&fixture, models[0].reference);
    size_t count, all;
    int32_t *prompt = reference_ids(reference, "text.input_ids", &count);
    int32_t *ids = reference_ids(reference, "greedy.text", &all);
    cm3_generate_options o = greedy(CM3_MODALITY_FREE);
    o.ignore_stops = 0;
    o.stop_ids = &ids[count + 4]; /* the fifth new token, or an equal one before it */
    o.stop_count = 1;
    o.max_tokens = 16;
    taken t = {.wanted = 0};
    run(model, prompt, count, &o, &t);
    ck_assert_uint_le(t.count, 5);
    ck_assert_int_eq(t.ids[t.count - 1], ids[count + 4]);
    o.min_tokens = 9; /* barred until then */
    t = (taken){.wanted = 0};
    run(model, prompt, count, &o, &t);
    ck_assert_uint_ge(t.count, 9);
    for (size_t i = 0; i < 9; i++) ck_assert_int_ne(t.ids[i], ids[count + 4]);
    free(prompt), free(ids);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

/** A prompt of text and pictures is what Hugging Face's processor makes of it. */
START_TEST(placeholders) {
    cm3_model *model = reference_load(&fixture, models[0].folder);
    cm3_safetensors *reference = reference_open(&fixture, models[0].reference);
    size_t count;
    int32_t *expected = reference_ids(reference, "mixed.input_ids", &count);
    cm3_image *image, *both[2];
    cm3_document *document;
    ck_assert_int_eq(cm3_image_load(fixture.context, PARITY "ref/images/wide.png", &image), CM3_OK);
    both[0] = both[1] = image;
    ck_assert_int_eq(cm3_document_create(fixture.context, &document), CM3_OK);
    ck_assert_int_eq(cm3_document_add_prompt(document, "a<image>b", both, 2), CM3_ERROR_INVALID_ARGUMENT);
    size_t segments;
    ck_assert_int_eq(cm3_document_count(document, &segments), CM3_OK);
    ck_assert_uint_eq(segments, 0);
    ck_assert_int_eq(cm3_document_add_prompt(document, "What is this?<image>Tell me.", both, 1), CM3_OK);
    ck_assert_int_eq(cm3_document_count(document, &segments), CM3_OK);
    ck_assert_uint_eq(segments, 3);
    /* What follows is the same as after the ids, the end of the turn included. */
    cm3_generate_options o = greedy(CM3_MODALITY_FREE);
    o.end_turn = 1;
    taken t = {.wanted = 10}, ids = {.wanted = 10};
    cm3_timings timings = {.struct_size = sizeof timings};
    cm3_request *request;
    ck_assert_int_eq(cm3_request_start(model, document, &o, &request), CM3_OK);
    cm3_request_wait(request, take, &t);
    ck_assert_int_eq(cm3_request_timings(request, &timings), CM3_OK);
    ck_assert_uint_eq(timings.prompt_tokens, count);
    cm3_request_destroy(request);
    run(model, expected, count, &o, &ids);
    expect(&t, ids.ids, 10);
    cm3_document_destroy(document);
    cm3_image_destroy(image);
    free(expected);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

START_TEST(options_of_the_model) {
    cm3_model *model = reference_load(&fixture, models[0].folder);
    cm3_generate_options o;
    ck_assert_int_eq(cm3_generate_options_for(model, CM3_MODALITY_TEXT, &o), CM3_OK);
    ck_assert(o.repetition_penalty == 1.2f && o.temperature == 0.7f && o.top_p == 0.9f);
    ck_assert_int_eq(cm3_generate_options_for(model, CM3_MODALITY_IMAGE, &o), CM3_OK);
    ck_assert(o.repetition_penalty == 1 && o.guidance_scale == 3 && o.image_guidance_scale == 1.2f);
    ck_assert_int_eq(cm3_generate_options_for(NULL, CM3_MODALITY_IMAGE, &o), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_generate_options_for(model, CM3_MODALITY_IMAGE, NULL), CM3_ERROR_INVALID_ARGUMENT);
    /* A decoder is wanted for pixels, not for codes. */
    cm3_document *document;
    cm3_request *request;
    ck_assert_int_eq(cm3_document_create(fixture.context, &document), CM3_OK);
    ck_assert_int_eq(cm3_document_add_text(document, "a cat", SIZE_MAX), CM3_OK);
    ck_assert_int_eq(cm3_request_start(model, document, &o, &request), CM3_ERROR_UNSUPPORTED);
    o.codes_only = 1;
    ck_assert_int_eq(cm3_request_start(model, document, &o, &request), CM3_OK);
    cm3_request_destroy(request);
    const int32_t outside = 600;
    cm3_document *ids;
    ck_assert_int_eq(cm3_document_create(fixture.context, &ids), CM3_OK);
    ck_assert_int_eq(cm3_document_add_ids(ids, &outside, 1), CM3_OK);
    ck_assert_int_eq(cm3_generate(model, ids, &o, NULL, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert(test_says(&fixture, "600, not in 0..599"));
    cm3_document_destroy(ids);
    cm3_document_destroy(document);
    cm3_model_destroy(model);
}
END_TEST

/** Quantised, with integers in the cache: near enough to say much the same. */
START_TEST(quantised) {
    cm3_convert_options convert;
    cm3_convert_options_init(&convert);
    convert.weights = CM3_WEIGHTS_Q8;
    const char *path = test_path(&fixture, "q8.cm3");
    ck_assert_int_eq(cm3_model_convert(fixture.context, models[0].folder, path, &convert), CM3_OK);
    cm3_model *model = reference_load(&fixture, path);
    cm3_safetensors *reference = reference_open(&fixture, models[0].reference);
    size_t count;
    int32_t *prompt = reference_ids(reference, "text.input_ids", &count);
    for (int kv = CM3_KV_F32; kv <= CM3_KV_INT8; kv++) {
        for (int compute = CM3_COMPUTE_F32; compute <= CM3_COMPUTE_BF16; compute++) {
            cm3_generate_options o = greedy(CM3_MODALITY_FREE);
            o.kv = (cm3_kv_type)kv;
            o.compute = (cm3_compute)compute;
            taken t = {.wanted = 8};
            run(model, prompt, count, &o, &t);
            ck_assert_uint_eq(t.count, 8);
            for (size_t i = 0; i < 8; i++) ck_assert_int_ne(kind_of(model, t.ids[i]), 'i');
        }
    }
    free(prompt);
    cm3_safetensors_close(reference);
    cm3_model_destroy(model);
}
END_TEST

Suite *chameleon_suite(void) {
    Suite *suite = suite_create("generate/chameleon");
    TCase *tcase = tcase_create("chameleon");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, tokens_as_hugging_face, 0, 3);
    tcase_add_loop_test(tcase, tokens_of_pictures, 0, 3);
    tcase_add_test(tcase, batches_of_different_lengths);
    tcase_add_test(tcase, interleaved_by_the_state_machine);
    tcase_add_test(tcase, stops_and_lengths);
    tcase_add_test(tcase, placeholders);
    tcase_add_test(tcase, options_of_the_model);
    tcase_add_test(tcase, quantised);
    suite_add_tcase(suite, tcase);
    return suite;
}
