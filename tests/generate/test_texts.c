/* Requests for text and for text with pictures in it. */
#include <math.h>

#include "suites.h"
#include "support.h"

static gen_case c;
static recorder r;

static cm3_generate_options text_options(cm3_modality modality, uint64_t seed) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = modality;
    options.seed = seed;
    options.compute = CM3_COMPUTE_F32;
    return options;
}

static cm3_segment segment_at(const cm3_document *document, size_t index) {
    cm3_segment segment = {.struct_size = sizeof segment};
    ck_assert_int_eq(cm3_document_get(document, index, &segment), CM3_OK);
    return segment;
}

/* --- text ------------------------------------------------------------------------------------------------------------
 */

START_TEST(text) {
    gen_up(&c, _i, 128);
    for (uint64_t seed = 1; seed < 12; seed++) {
        recorder_init(&r);
        cm3_generate_options options = text_options(CM3_MODALITY_TEXT, seed);
        options.max_tokens = 12;
        options.top_p = 1;
        cm3_document *result = gen_run(&c, "a red", &options, &r);
        int32_t tokens[RECORDED];
        int n = recorder_tokens(&r, 0, tokens);
        cm3_end_reason reason = recorder_end(&r, 0)->reason;
        ck_assert(n >= 1 && n <= 12);
        bool ended = tokens[n - 1] == EOD || tokens[n - 1] == EOSS;
        ck_assert_int_eq(reason, ended ? CM3_END_FINISHED : CM3_END_MAX_TOKENS);
        ck_assert(ended || n == 12);
        for (int i = 0; i < n - ended; i++) ck_assert_int_ge(tokens[i], TINY_SPECIALS);
        /* The events' texts together are the result, and what the tokens decode to. */
        size_t count, size;
        ck_assert_int_eq(cm3_document_count(result, &count), CM3_OK);
        ck_assert_uint_eq(count, r.text[0][0] ? 1 : 0);
        cm3_tokenizer *tokenizer;
        char decoded[512];
        GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
        GEN_OK(&c, cm3_tokenizer_decode(tokenizer, tokens, (size_t)n, 1, decoded, sizeof decoded, &size));
        ck_assert_str_eq(r.text[0], decoded);
        if (count) ck_assert_str_eq(segment_at(result, 0).text, decoded);
        cm3_tokenizer_destroy(tokenizer);
        cm3_document_destroy(result);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

/** Excludes what ends a text, so that it goes on. */
static int never_end(void *user, const cm3_sampler_step *step) {
    (void)user;
    step->logits[EOD] = step->logits[EOSS] = -INFINITY;
    return 0;
}

static cm3_sampler *one_rule(int (*apply)(void *user, const cm3_sampler_step *step), void *user) {
    cm3_sampler *sampler;
    const cm3_sampler_rule rule = {.struct_size = sizeof rule, .apply = apply, .user = user};
    GEN_OK(&c, cm3_sampler_create(c.context, &sampler));
    GEN_OK(&c, cm3_sampler_add_rule(sampler, &rule));
    return sampler;
}

/* Without max_tokens the text goes on until the context is full, to the last position. */
START_TEST(full_context) {
    gen_up(&c, _i, 40);
    cm3_sampler *sampler = one_rule(never_end, NULL);
    cm3_generate_options options = text_options(CM3_MODALITY_TEXT, 3);
    options.sampler = sampler;
    options.candidates = 2;
    recorder_init(&r);
    cm3_document_destroy(gen_run(&c, "a red ball", &options, &r));
    cm3_sampler_destroy(sampler);
    cm3_tokenizer *tokenizer;
    size_t prompt;
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a red ball", SIZE_MAX, 0, NULL, 0, &prompt));
    cm3_tokenizer_destroy(tokenizer);
    for (int i = 0; i < 2; i++) {
        int32_t tokens[RECORDED];
        ck_assert_int_eq(recorder_tokens(&r, i, tokens), 40 - (int)prompt - 1);
        ck_assert_int_eq(recorder_end(&r, i)->reason, CM3_END_MAX_TOKENS);
    }
    recorder_clear(&r);
    gen_down(&c);
}
END_TEST

/* --- whole code points -----------------------------------------------------------------------------------------------
 */

typedef struct speech {
    const int32_t *ids;
    int count, said;
} speech;

static int say(void *user, const cm3_sampler_step *step) {
    speech *s = user;
    int32_t id = s->said < s->count ? s->ids[s->said++] : EOD;
    for (int32_t i = 0; i < step->vocab_size; i++) step->logits[i] = i == id ? 0.0f : -INFINITY;
    return 0;
}

/* Bytes come one a token; a code point is told when it is whole, a broken one as U+FFFD. */
START_TEST(code_points) {
    static const char *const texts[][2] = {
        {"\xc3\xa9\xf0\x9f\x8c\xb3x", "\xc3\xa9\xf0\x9f\x8c\xb3x"},
        {"\xf0\x9f\x8cx", "\xef\xbf\xbdx"},
        {"x\xe2\x82", "x\xef\xbf\xbd"},
        {"\xff\x80x", "\xef\xbf\xbd\xef\xbf\xbdx"},
    };
    gen_up(&c, 0, 64);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int32_t ids[16];
        speech s = {.ids = ids};
        for (const char *byte = texts[i][0]; *byte; byte++) {
            /* the 256 bytes follow the special tokens, in the order of their stand-ins; find each by decoding */
            for (int32_t id = TINY_SPECIALS; id < TINY_SPECIALS + 256; id++) {
                char *raw = NULL;
                size_t count = 0, capacity = 0;
                GEN_OK(&c, cm3_bpe_decode_raw(c.model->tokenizer->bpe, &id, 1, true, &raw, &count, &capacity));
                if (count == 1 && raw[0] == *byte) ids[s.count++] = id;
                cm3_free(c.context, raw);
            }
        }
        ck_assert_int_eq(s.count, (int)strlen(texts[i][0]));
        cm3_sampler *sampler = one_rule(say, &s);
        cm3_generate_options options = text_options(CM3_MODALITY_TEXT, 3);
        options.sampler = sampler;
        recorder_init(&r);
        cm3_document *result = gen_run(&c, "", &options, &r);
        ck_assert_str_eq(r.text[0], texts[i][1]);
        ck_assert_str_eq(segment_at(result, 0).text, texts[i][1]);
        cm3_document_destroy(result);
        cm3_sampler_destroy(sampler);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

/* --- interleaved -----------------------------------------------------------------------------------------------------
 */

/** Opens a picture whenever that is allowed and three texts were said since the last; keeps logits of its steps. */
typedef struct opener {
    int said, pictures, refused;
    int32_t history[300];
    size_t history_count, prompt_count, opened;
    float logits[512];
    bool kept;
} opener;

static int open_pictures(void *user, const cm3_sampler_step *step) {
    opener *o = user;
    if (step->modality == CM3_MODALITY_IMAGE) {
        for (int32_t i = 0; i < step->vocab_size; i++) {
            bool code = i >= IMAGE && i < IMAGE + TINY_CODES;
            ck_assert(code == (step->logits[i] != -INFINITY));
        }
        if (o->said) o->opened = step->history_count;
        o->said = 0;
        if (step->history_count == o->opened + 7 && o->pictures == 2) { /* of the second picture */
            o->kept = true;
            o->history_count = step->history_count;
            o->prompt_count = step->prompt_count;
            memcpy(o->history, step->history, step->history_count * sizeof *step->history);
            memcpy(o->logits, step->logits, (size_t)step->vocab_size * sizeof *step->logits);
        }
        return 0;
    }
    for (int32_t i = IMAGE; i < IMAGE + TINY_CODES; i++) ck_assert(step->logits[i] == -INFINITY);
    step->logits[EOD] = step->logits[EOSS] = -INFINITY;
    if (o->said++ < 3) {
        step->logits[BREAK] = -INFINITY;
    } else if (step->logits[BREAK] == -INFINITY) {
        o->refused++;
    } else {
        for (int32_t i = 0; i < step->vocab_size; i++) step->logits[i] = i == BREAK ? 0.0f : -INFINITY;
        o->pictures++;
    }
    return 0;
}

/* Text, break, a whole picture, break, text again, until the context is full; a picture opens only where it fits. */
START_TEST(interleaved) {
    gen_up(&c, _i, 200);
    opener o = {0};
    cm3_sampler *sampler = one_rule(open_pictures, &o);
    cm3_generate_options options = text_options(CM3_MODALITY_INTERLEAVED, 3);
    options.sampler = sampler;
    options.preview_rows = 4;
    recorder_init(&r);
    cm3_document *result = gen_run(&c, "a", &options, &r);
    cm3_sampler_destroy(sampler);
    ck_assert_int_eq(o.pictures, 2); /* two fit into 200 */
    ck_assert_int_gt(o.refused, 0);
    ck_assert_int_eq(r.images, 2);
    ck_assert_int_eq(r.previews, 2); /* the last four rows come with the picture */
    ck_assert_int_eq(recorder_end(&r, 0)->reason, CM3_END_MAX_TOKENS);
    int32_t tokens[RECORDED];
    int n = recorder_tokens(&r, 0, tokens), in_picture = 0;
    cm3_tokenizer *tokenizer;
    size_t prompt;
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a", SIZE_MAX, 0, NULL, 0, &prompt));
    cm3_tokenizer_destroy(tokenizer);
    ck_assert_int_eq(n, 200 - 1 - (int)prompt);
    for (int at = 0, i = 0; i < r.count; i++) { /* 3 texts, break, 64 codes, break, 3 texts, break, ... */
        if (r.events[i].kind == CM3_EVENT_IMAGE) ck_assert_int_eq(r.events[i].index, in_picture++);
        if (r.events[i].kind != CM3_EVENT_TOKEN) continue;
        int place = at < 2 * 69 ? at % 69 : 0;
        bool code = place >= 4 && place < 68;
        ck_assert_int_eq(r.events[i].modality, code ? CM3_MODALITY_IMAGE : CM3_MODALITY_TEXT);
        if (place == 3 || place == 68) ck_assert_int_eq(tokens[at], BREAK);
        at++;
    }
    size_t count;
    ck_assert_int_eq(cm3_document_count(result, &count), CM3_OK);
    ck_assert_uint_eq(count, 5);
    for (size_t i = 0; i < 5; i++) {
        cm3_segment segment = segment_at(result, i);
        ck_assert_int_eq(segment.kind, i % 2 ? CM3_SEGMENT_IMAGE : CM3_SEGMENT_TEXT);
        if (i % 2) ck_assert(segment.image != NULL && segment.code_count == TINY_TOKENS);
    }
    cm3_document_destroy(result);
    recorder_clear(&r);
    /* Guidance begins anew with each picture. */
    static float conditional[200 * 512], unconditional[200 * 512];
    ck_assert(o.kept);
    int32_t bare[16] = {EOD, SENTINEL, BREAK}, vocab = c.model->lm->config.vocab_size;
    memcpy(bare + 3, o.history + o.history_count - 7, 7 * sizeof *bare);
    ck_assert_int_eq(o.history[o.history_count - 8], BREAK);
    GEN_OK(&c, cm3_model_logits(c.model, o.history, o.history_count, CM3_COMPUTE_F32, conditional));
    GEN_OK(&c, cm3_model_logits(c.model, bare, 10, CM3_COMPUTE_F32, unconditional));
    for (int32_t id = IMAGE; id < IMAGE + TINY_CODES; id++) {
        double said = (double)conditional[((int64_t)o.history_count - 1) * vocab + id];
        double unsaid = (double)unconditional[9 * vocab + id];
        ck_assert(fabs((double)o.logits[id] - (unsaid + (double)options.guidance_scale * (said - unsaid))) < 2e-3);
    }
    gen_down(&c);
}
END_TEST

/* max_tokens bounds the text, and a picture that has begun is finished. */
START_TEST(bounded) {
    gen_up(&c, _i, 200);
    static const int bounds[][2] = {{1, 1}, {3, 3}, {4, 4 + 64}, {20, 4 + 64}, {68, 68}, {69, 69}, {70, 70}};
    for (size_t i = 0; i < sizeof bounds / sizeof *bounds; i++) {
        opener o = {0};
        cm3_sampler *sampler = one_rule(open_pictures, &o);
        cm3_generate_options options = text_options(CM3_MODALITY_INTERLEAVED, 3);
        options.sampler = sampler;
        options.max_tokens = bounds[i][0];
        recorder_init(&r);
        cm3_document_destroy(gen_run(&c, "a", &options, &r));
        int32_t tokens[RECORDED];
        ck_assert_int_eq(recorder_tokens(&r, 0, tokens), bounds[i][1]);
        ck_assert_int_eq(recorder_end(&r, 0)->reason, CM3_END_MAX_TOKENS);
        ck_assert_int_eq(r.images, bounds[i][0] >= 4);
        cm3_sampler_destroy(sampler);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

/* Guided and unguided, one and several candidates, in every modality: nothing but whole results. */
START_TEST(many_ways) {
    gen_up(&c, _i, 160);
    for (int way = 0; way < 12; way++) {
        cm3_generate_options options = text_options((cm3_modality)(1 + way % 3), (uint64_t)way + 1);
        options.candidates = way % 2 ? 3 : 1;
        options.guidance_scale = way < 6 ? 3 : 1;
        options.max_tokens = way % 4 == 0 ? 0 : 25;
        options.repetition_penalty = way % 5 ? 1 : 1.3f;
        options.top_k = way % 3 ? 0 : 5;
        recorder_init(&r);
        cm3_document_destroy(gen_run(&c, way % 2 ? "a red cube" : "", &options, &r));
        for (int i = 0; i < options.candidates; i++) recorder_end(&r, i);
        recorder_clear(&r);
    }
    gen_down(&c);
}
END_TEST

Suite *texts_suite(void) {
    Suite *suite = suite_create("generate/texts");
    TCase *tcase = tcase_create("texts");
    tcase_set_timeout(tcase, 120);
    tcase_add_loop_test(tcase, text, 0, 3);
    tcase_add_loop_test(tcase, full_context, 0, 2);
    tcase_add_test(tcase, code_points);
    tcase_add_loop_test(tcase, interleaved, 0, 2);
    tcase_add_loop_test(tcase, bounded, 0, 2);
    tcase_add_loop_test(tcase, many_ways, 0, 3);
    suite_add_tcase(suite, tcase);
    return suite;
}
