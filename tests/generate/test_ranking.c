/* The best of several candidates, and beam search against one written plainly over whole forward passes. */
#include <math.h>

#include "suites.h"
#include "support.h"

enum { CANDIDATES = 6, BEST = 3, MOST = 40 };

static gen_case c;
static recorder r;

static cm3_segment segment_at(const cm3_document *document, size_t index) {
    cm3_segment segment = {.struct_size = sizeof segment};
    ck_assert_int_eq(cm3_document_get(document, index, &segment), CM3_OK);
    return segment;
}

static cm3_generate_options several(void) {
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.candidates = CANDIDATES;
    o.best = BEST;
    o.seed = 5;
    o.temperature = 2;
    o.top_p = 1;
    o.compute = CM3_COMPUTE_F32;
    return o;
}

/** Runs to the end; the request is the caller's, the recorder `r` has what was told. */
static cm3_request *run(const cm3_generate_options *options, const char *text) {
    cm3_request *request;
    cm3_document *prompt = gen_prompt(&c, text);
    recorder_init(&r);
    GEN_OK(&c, cm3_request_start(c.model, prompt, options, &request));
    cm3_document_destroy(prompt);
    GEN_OK(&c, cm3_request_wait(request, recorder_take, &r));
    return request;
}

/** The places of `score`, the highest first. */
static void sort_places(const double *score, int count, int *places) {
    for (int i = 0; i < count; i++) {
        int at = i;
        for (; at > 0 && score[places[at - 1]] < score[i]; at--) places[at] = places[at - 1];
        places[at] = i;
    }
}

/** The result has the candidates in the order of their scores, and says so. */
static void expect_order(cm3_request *request, const double score[CANDIDATES], double tolerance) {
    int places[CANDIDATES];
    sort_places(score, CANDIDATES, places);
    cm3_document *result;
    size_t count;
    GEN_OK(&c, cm3_request_result(request, &result));
    GEN_OK(&c, cm3_document_count(result, &count));
    ck_assert_uint_eq(count, 2 * BEST - 1);
    for (int i = 0; i < BEST; i++) {
        int32_t candidate, tokens[RECORDED];
        double told;
        GEN_OK(&c, cm3_request_score(request, i, &candidate, &told));
        ck_assert_int_eq(candidate, places[i]);
        ck_assert_msg(fabs(told - score[candidate]) < tolerance, "%g, %g", told, score[candidate]);
        ck_assert_int_eq(recorder_tokens(&r, candidate, tokens), TINY_TOKENS);
        cm3_segment segment = segment_at(result, (size_t)(2 * i));
        for (int k = 0; k < TINY_TOKENS; k++) ck_assert_int_eq(segment.codes[k], tokens[k] - IMAGE);
    }
    ck_assert_int_eq(cm3_request_score(request, BEST, NULL, NULL), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(cm3_request_score(request, -1, NULL, NULL), CM3_ERROR_NOT_FOUND);
    cm3_document_destroy(result);
}

START_TEST(likeliest) {
    gen_up(&c, _i, 128);
    cm3_generate_options o = several();
    cm3_request *request = run(&o, "a red ball");
    double score[CANDIDATES];
    for (int i = 0; i < CANDIDATES; i++) score[i] = recorder_end(&r, i)->log_probability / TINY_TOKENS;
    expect_order(request, score, 1e-9);
    cm3_request_destroy(request);
    recorder_clear(&r);
    gen_down(&c);
}
END_TEST

static cm3_image *kept[CANDIDATES];

static int keep_pictures(void *user, const cm3_event *event) {
    if (event->kind == CM3_EVENT_IMAGE) {
        ck_assert_int_eq(cm3_image_retain(event->image), CM3_OK);
        kept[event->candidate] = event->image;
    }
    return recorder_take(user, event);
}

/** By an encoder's score, which is what the public functions make of the text and the pictures. */
START_TEST(by_encoder) {
    gen_up(&c, _i, 128);
    cm3_model *encoder;
    GEN_OK(&c, cm3_model_load(c.context, CM3_TEST_DATA "/parity/clip", NULL, &encoder));
    cm3_model_info info = {.struct_size = sizeof info};
    GEN_OK(&c, cm3_model_get_info(encoder, &info));
    cm3_generate_options o = several();
    cm3_document *prompt = gen_prompt(&c, "a red ball");
    cm3_request *request;
    GEN_OK(&c, cm3_document_add_text(prompt, "and a cube", SIZE_MAX));
    o.encoder = encoder;
    recorder_init(&r);
    GEN_OK(&c, cm3_request_start(c.model, prompt, &o, &request));
    cm3_document_destroy(prompt);
    GEN_OK(&c, cm3_request_wait(request, keep_pictures, &r));
    const char *text = "a red ball and a cube";
    enum { WIDTH = 4096 };
    size_t width = (size_t)info.embedding_size;
    static float words[WIDTH], pictures[CANDIDATES * WIDTH];
    ck_assert_uint_le(width, WIDTH);
    GEN_OK(&c, cm3_model_embed_texts(encoder, &text, 1, 1, words));
    GEN_OK(&c, cm3_model_embed_images(encoder, kept, CANDIDATES, 1, pictures));
    double score[CANDIDATES] = {0};
    for (int i = 0; i < CANDIDATES; i++) {
        for (size_t d = 0; d < width; d++) score[i] += (double)words[d] * (double)pictures[(size_t)i * width + d];
        cm3_image_destroy(kept[i]);
    }
    cm3_model_destroy(encoder);
    expect_order(request, score, 1e-6);
    cm3_request_destroy(request);
    recorder_clear(&r);
    gen_down(&c);
}
END_TEST

/* --- beams ---------------------------------------------------------------------------------------------------------
 */

typedef struct path {
    int32_t ids[MOST];
    int count; /**< prompt included */
    double score;
    bool ended;
} path;

static void keep_path(path *best, int *count, int width, const path *candidate) {
    int at = *count < width ? (*count)++ : width;
    for (; at > 0 && best[at - 1].score < candidate->score; at--) {
        if (at < width) best[at] = best[at - 1];
    }
    if (at < width) best[at] = *candidate;
}

/** What may follow a path. */
static void extend(const path *from, int prompt, int most, int vocab, path *best, int *count, int width) {
    static float logits[MOST * 4096];
    ck_assert_int_le(vocab, 4096);
    GEN_OK(&c, cm3_model_logits(c.model, from->ids, (size_t)from->count, CM3_COMPUTE_F32, logits));
    const float *row = logits + (from->count - 1) * vocab;
    double sum = 0;
    for (int i = 0; i < vocab; i++) {
        if (i == EOD || i == EOSS || i >= TINY_SPECIALS) sum += exp((double)row[i]);
    }
    for (int i = 0; i < vocab; i++) {
        if (i != EOD && i != EOSS && i < TINY_SPECIALS) continue;
        path next = *from;
        next.ids[next.count++] = i;
        next.score += (double)row[i] - log(sum);
        next.ended = i == EOD || i == EOSS || next.count - prompt == most;
        keep_path(best, count, width, &next);
    }
}

static int search(path *beams, int width, int most) {
    cm3_tokenizer *tokenizer;
    cm3_model_info info = {.struct_size = sizeof info};
    size_t size;
    int count = 1, prompt;
    memset(beams, 0, (size_t)width * sizeof *beams);
    GEN_OK(&c, cm3_model_get_info(c.model, &info));
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    beams[0].ids[0] = EOD;
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a red", SIZE_MAX, CM3_ENCODE_PLAIN, beams[0].ids + 1, 16, &size));
    cm3_tokenizer_destroy(tokenizer);
    prompt = beams[0].count = (int)size + 1;
    for (bool through = false; !through;) {
        path best[8];
        int kept_count = 0;
        through = true;
        for (int i = 0; i < count; i++) {
            if (beams[i].ended) {
                keep_path(best, &kept_count, width, &beams[i]);
            } else {
                extend(&beams[i], prompt, most, (int)info.vocab_size, best, &kept_count, width);
            }
        }
        count = kept_count;
        memcpy(beams, best, (size_t)count * sizeof *beams);
        for (int i = 0; i < count; i++) through = through && beams[i].ended;
    }
    return prompt;
}

START_TEST(beams) {
    enum { MOST_TOKENS = 7 };
    gen_up(&c, _i % 3, 64);
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.modality = CM3_MODALITY_TEXT;
    o.compute = CM3_COMPUTE_F32;
    o.max_tokens = MOST_TOKENS;
    o.beams = 2 + 2 * _i; /* 2 to 6 */
    o.candidates = _i == 1 ? 1 : 2;
    path found[8];
    int prompt = search(found, o.beams, MOST_TOKENS);
    cm3_request *request = run(&o, "a red");
    for (int i = 0; i < o.candidates; i++) {
        int32_t tokens[RECORDED], candidate;
        double score;
        ck_assert_int_eq(recorder_tokens(&r, i, tokens), found[i].count - prompt);
        ck_assert_mem_eq(tokens, found[i].ids + prompt, (size_t)(found[i].count - prompt) * sizeof *tokens);
        GEN_OK(&c, cm3_request_score(request, i, &candidate, &score));
        ck_assert_int_eq(candidate, i);
        ck_assert_msg(fabs(score - found[i].score) < 1e-3, "%g, %g", score, found[i].score);
        bool finished = tokens[found[i].count - prompt - 1] == EOD || tokens[found[i].count - prompt - 1] == EOSS;
        ck_assert_int_eq(recorder_end(&r, i)->reason, finished ? CM3_END_FINISHED : CM3_END_MAX_TOKENS);
    }
    ck_assert_int_eq(recorder_number(&r, CM3_EVENT_END, -1), o.candidates);
    cm3_document *result;
    size_t count;
    GEN_OK(&c, cm3_request_result(request, &result));
    GEN_OK(&c, cm3_document_count(result, &count));
    if (r.text_size[0]) ck_assert_str_eq(segment_at(result, 0).text, r.text[0]);
    cm3_document_destroy(result);
    cm3_request_destroy(request);
    recorder_clear(&r);
    gen_down(&c);
}
END_TEST

/** A search that is broken off tells no more ends than were asked for, and leaves nothing behind. */
START_TEST(beams_cancelled) {
    gen_up(&c, 0, 64); /* computes in poll alone, a step each time */
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.modality = CM3_MODALITY_TEXT;
    o.beams = 5;
    o.candidates = 2;
    o.ignore_stops = 1;
    cm3_request *request;
    cm3_document *prompt = gen_prompt(&c, "a red");
    recorder_init(&r);
    GEN_OK(&c, cm3_request_start(c.model, prompt, &o, &request));
    cm3_document_destroy(prompt);
    for (int i = 0; i <= 4 * _i; i++) GEN_OK(&c, cm3_request_poll(request, 0, recorder_take, &r, NULL));
    cm3_request_cancel(request);
    ck_assert_int_eq(cm3_request_wait(request, recorder_take, &r), CM3_ERROR_CANCELLED);
    for (int i = 0; i < 2; i++) ck_assert_int_eq(recorder_end(&r, i)->reason, CM3_END_CANCELLED);
    ck_assert_int_eq(recorder_number(&r, CM3_EVENT_END, -1), 2);
    cm3_request_destroy(request);
    recorder_clear(&r);
    gen_down(&c);
}
END_TEST

START_TEST(wrong_options) {
    gen_up(&c, 1, 64);
    cm3_context *other;
    cm3_model *stranger, *blind;
    ck_assert_int_eq(cm3_context_create(NULL, &other), CM3_OK);
    ck_assert_int_eq(cm3_model_load(other, CM3_TEST_DATA "/parity/clip", NULL, &stranger), CM3_OK);
    GEN_OK(&c, cm3_model_load(c.context, test_path(&c.fixture, "tiny.cm3"), NULL, &blind));
    const struct {
        int32_t candidates, best, beams;
        cm3_modality modality;
        cm3_model *encoder;
    } wrong[] = {
        {2, 3, 0, CM3_MODALITY_IMAGE, NULL},     {2, -1, 0, CM3_MODALITY_IMAGE, NULL},
        {2, 1, 0, CM3_MODALITY_IMAGE, stranger}, {2, 1, 0, CM3_MODALITY_IMAGE, blind},
        {2, 0, 0, CM3_MODALITY_IMAGE, blind},    {2, 1, 0, CM3_MODALITY_TEXT, blind},
        {2, 0, 3, CM3_MODALITY_IMAGE, NULL},     {4, 0, 3, CM3_MODALITY_TEXT, NULL},
        {1, 1, 3, CM3_MODALITY_TEXT, NULL},      {1, 0, 65, CM3_MODALITY_TEXT, NULL},
        {1, 0, -1, CM3_MODALITY_TEXT, NULL},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cm3_generate_options o = several();
        cm3_memory_estimate estimate = {.struct_size = sizeof estimate};
        o.candidates = wrong[i].candidates;
        o.best = wrong[i].best;
        o.beams = wrong[i].beams;
        o.modality = wrong[i].modality;
        o.encoder = wrong[i].encoder;
        ck_assert_int_eq(cm3_estimate(c.model, &o, 3, &estimate), CM3_ERROR_INVALID_ARGUMENT);
    }
    cm3_model_destroy(blind);
    cm3_model_destroy(stranger);
    cm3_context_destroy(other);
    gen_down(&c);
}
END_TEST

Suite *ranking_suite(void) {
    Suite *suite = suite_create("generate/ranking");
    TCase *tcase = tcase_create("ranking");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, likeliest, 0, 3);
    tcase_add_loop_test(tcase, by_encoder, 0, 2);
    tcase_add_loop_test(tcase, beams, 0, 3);
    tcase_add_loop_test(tcase, beams_cancelled, 0, 3);
    tcase_add_test(tcase, wrong_options);
    suite_add_tcase(suite, tcase);
    return suite;
}
