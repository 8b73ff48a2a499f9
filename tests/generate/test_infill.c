/* Filling in: rectangles of pictures and masks in texts, what stays as it was, and what is refused. */
#include <math.h>

#include "suites.h"
#include "support.h"

enum { GRID = 8, CELL = TINY_SIDE / GRID };

typedef struct filled {
    int32_t tokens[4][512];
    int count[4];
} filled;

static int take(void *user, const cm3_event *event) {
    filled *f = user;
    if (event->kind == CM3_EVENT_TOKEN) f->tokens[event->candidate][f->count[event->candidate]++] = event->token;
    return 0;
}

static cm3_image *noise(gen_case *c, int32_t width, int32_t height) {
    cm3_image *image;
    cm3_image_view view;
    GEN_OK(c, cm3_image_create(c->context, width, height, &image));
    ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
    uint32_t state = 7;
    for (int32_t y = 0; y < height; y++) {
        for (int32_t x = 0; x < width * 3; x++) {
            state = state * 1664525u + 1013904223u;
            view.pixels[(size_t)y * view.stride + (size_t)x] = (uint8_t)(state >> 24);
        }
    }
    return image;
}

static cm3_generate_options greedy(void) {
    cm3_generate_options o;
    cm3_generate_options_init(&o);
    o.modality = CM3_MODALITY_INFILL;
    o.temperature = 0;
    o.guidance_scale = 1;
    o.seed = 3;
    o.compute = CM3_COMPUTE_F32;
    return o;
}

/** A caption, a break and a picture with holes. */
static cm3_document *document_of(gen_case *c, const char *text, cm3_image *image, const cm3_box *boxes, size_t count) {
    cm3_document *document = gen_prompt(c, text);
    GEN_OK(c, cm3_document_add_break(document));
    GEN_OK(c, cm3_document_add_image_holes(document, image, boxes, count));
    return document;
}

/** The picture with what a box of it hides as a straight line from left to right. */
static cm3_image *painted(gen_case *c, const cm3_image *image, const cm3_box *box) {
    cm3_image_view from, to;
    cm3_image *copy;
    ck_assert_int_eq(cm3_image_get_view(image, &from), CM3_OK);
    GEN_OK(c, cm3_image_from_pixels(c->context, from.pixels, from.width, from.height, from.stride, &copy));
    ck_assert_int_eq(cm3_image_get_view(copy, &to), CM3_OK);
    double w = from.width, h = from.height;
    int x0 = (int)floor((double)box->x * w + 1e-6), x1 = (int)ceil((double)(box->x + box->width) * w - 1e-4);
    int y0 = (int)floor((double)box->y * h + 1e-6), y1 = (int)ceil((double)(box->y + box->height) * h - 1e-4);
    ck_assert(x0 > 0 && x1 < from.width && y0 >= 0 && y1 <= from.height);
    for (int y = y0; y < y1; y++) {
        const uint8_t *row = from.pixels + (size_t)y * from.stride;
        for (int x = x0; x < x1; x++) {
            for (int k = 0; k < 3; k++) {
                double left = row[3 * (x0 - 1) + k], right = row[3 * x1 + k], t = (x - x0 + 1.0) / (x1 - x0 + 1.0);
                to.pixels[(size_t)y * to.stride + (size_t)(3 * x + k)] = (uint8_t)(left + t * (right - left) + 0.5);
            }
        }
    }
    return copy;
}

/** The most probable image code after ids. */
static int32_t best_code(gen_case *c, const int32_t *ids, size_t count, const int32_t *plain, size_t plain_count,
                         double scale) {
    cm3_model_info info = {.struct_size = sizeof info};
    GEN_OK(c, cm3_model_get_info(c->model, &info));
    size_t vocab = (size_t)info.vocab_size;
    float *a = malloc(count * vocab * sizeof *a), *b = malloc(plain_count * vocab * sizeof *b);
    GEN_OK(c, cm3_model_logits(c->model, ids, count, CM3_COMPUTE_F32, a));
    GEN_OK(c, cm3_model_logits(c->model, plain, plain_count, CM3_COMPUTE_F32, b));
    int32_t best = 0;
    double most = -INFINITY;
    for (int32_t i = 0; i < TINY_CODES; i++) {
        double u = (double)b[(plain_count - 1) * vocab + IMAGE + (size_t)i];
        double mixed = u + scale * ((double)a[(count - 1) * vocab + IMAGE + (size_t)i] - u);
        if (mixed > most) most = mixed, best = i;
    }
    free(a);
    free(b);
    return IMAGE + best;
}

/** The result is the original but for columns 2 to 4 of rows 1 and 2, which are the decoder's. */
static void expect_overlaid(gen_case *c, cm3_tokenizer *tokenizer, const cm3_document *result,
                            const int32_t known[TINY_TOKENS], const cm3_image *image) {
    cm3_segment segment = {.struct_size = sizeof segment};
    GEN_OK(c, cm3_document_get(result, 0, &segment));
    ck_assert(segment.kind == CM3_SEGMENT_IMAGE && segment.code_count == TINY_TOKENS);
    ck_assert_mem_eq(segment.codes, known, TINY_TOKENS * sizeof *known);
    cm3_image *decoded;
    GEN_OK(c, cm3_tokenizer_decode_image(tokenizer, known, TINY_TOKENS, &decoded));
    cm3_image_view made, was, drawn;
    cm3_image_get_view(segment.image, &made);
    cm3_image_get_view(image, &was);
    cm3_image_get_view(decoded, &drawn);
    for (int y = 0; y < TINY_SIDE; y++) {
        for (int x = 0; x < TINY_SIDE; x++) {
            int column = x / CELL, row = y / CELL;
            bool hidden = column >= 2 && column < 5 && row >= 1 && row < 3;
            const cm3_image_view *from = hidden ? &drawn : &was;
            ck_assert_mem_eq(made.pixels + (size_t)y * made.stride + (size_t)x * 3,
                             from->pixels + (size_t)y * from->stride + (size_t)x * 3, 3);
        }
    }
    cm3_image_destroy(decoded);
}

/** A rectangle: each of its rows behind its sentinel, by the model's own choice, with and without guidance. */
START_TEST(a_rectangle) {
    gen_case c;
    filled f = {0};
    gen_up(&c, _i % 2 ? 2 : 0, 320);
    double scale = _i / 2 ? 2.5 : 1;
    cm3_generate_options o = greedy();
    o.guidance_scale = (float)scale;
    /* columns 2 to 4, rows 1 and 2 */
    const cm3_box box = {2.0f / GRID, 1.2f / GRID, 2.9f / GRID, 1.5f / GRID};
    cm3_image *image = noise(&c, TINY_SIDE, TINY_SIDE);
    cm3_document *document = document_of(&c, "a red ball", image, &box, 1), *result;
    GEN_OK(&c, cm3_generate(c.model, document, &o, take, &f, &result));
    int32_t known[TINY_TOKENS], ids[2][512] = {{EOD}, {EOD}};
    size_t counts[2] = {1, 1}, count;
    cm3_tokenizer *tokenizer;
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    cm3_image *known_image = painted(&c, image, &box);
    GEN_OK(&c, cm3_tokenizer_encode_image(tokenizer, known_image, known, TINY_TOKENS, &count));
    cm3_image_destroy(known_image);
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a red ball", SIZE_MAX, CM3_ENCODE_PLAIN, ids[0] + 1, 32, &count));
    counts[0] += count;
    for (int s = 0; s < 2; s++) {
        ids[s][counts[s]++] = BREAK;
        for (int i = 0; i < TINY_TOKENS; i++) {
            int x = i % GRID, y = i / GRID;
            bool hidden = x >= 2 && x < 5 && y >= 1 && y < 3;
            if (hidden && x == 2) ids[s][counts[s]++] = SENTINEL + y - 1;
            if (!hidden) ids[s][counts[s]++] = IMAGE + known[i];
        }
        ids[s][counts[s]++] = SENTINEL;
    }
    ck_assert_int_eq(f.count[0], 3 + 1 + 1 + 3 + 1);
    int equal = 0;
    for (int t = 0; t < f.count[0]; t++) {
        int32_t token = f.tokens[0][t];
        if (t == 3 || t == 8) ck_assert_int_eq(token, EOSS);
        if (t == 4) ck_assert_int_eq(token, SENTINEL + 1);
        if (t < 3 || (t > 4 && t < 8)) {
            equal += token == best_code(&c, ids[0], counts[0], ids[1], counts[1], scale);
            int column = t < 3 ? t : t - 5;
            known[(t < 3 ? 1 : 2) * GRID + 2 + column] = token - IMAGE;
        }
        for (int s = 0; s < 2; s++) ids[s][counts[s]++] = token;
    }
    ck_assert_int_ge(equal, 5); /* one might be a tie but for rounding */
    expect_overlaid(&c, tokenizer, result, known, image);
    cm3_tokenizer_destroy(tokenizer);
    cm3_document_destroy(result);
    cm3_document_destroy(document);
    cm3_image_destroy(image);
    gen_down(&c);
}
END_TEST

/** The last logits' likeliest image code, guided: u + t (p - u) + s (c - p). */
static int32_t best_of_three(gen_case *c, int32_t ids[3][512], const size_t counts[3], double s, double t) {
    cm3_model_info info = {.struct_size = sizeof info};
    GEN_OK(c, cm3_model_get_info(c->model, &info));
    size_t vocab = (size_t)info.vocab_size;
    float own[3][TINY_CODES];
    for (int k = 0; k < 3; k++) {
        float *logits = malloc(counts[k] * vocab * sizeof *logits);
        GEN_OK(c, cm3_model_logits(c->model, ids[k], counts[k], CM3_COMPUTE_F32, logits));
        memcpy(own[k], logits + (counts[k] - 1) * vocab + IMAGE, sizeof own[k]);
        free(logits);
    }
    int32_t best = 0;
    double most = -INFINITY;
    for (int32_t i = 0; i < TINY_CODES; i++) {
        double u = (double)own[1][i], p = (double)own[2][i], mixed = u + t * (p - u) + s * ((double)own[0][i] - p);
        if (mixed > most) most = mixed, best = i;
    }
    return IMAGE + best;
}

/** The prompt of a picture that is drawn once more: eod, break, the picture with sentinels, break, the text, break. */
static size_t redrawn_prompt(int32_t *ids, const int32_t *known, const int32_t *text, size_t text_count) {
    size_t count = 0;
    ids[count++] = EOD;
    ids[count++] = BREAK;
    for (int i = 0; i < TINY_TOKENS; i++) {
        bool hidden = i % GRID >= 2 && i % GRID < 5 && i / GRID >= 1 && i / GRID < 3;
        ids[count++] = hidden ? SENTINEL : IMAGE + known[i];
    }
    ids[count++] = BREAK;
    memcpy(ids + count, text, text_count * sizeof *ids);
    count += text_count;
    ids[count++] = BREAK;
    return count;
}

/** A picture is drawn once more: what its boxes hide by the model, all else as it is. */
START_TEST(redrawn) {
    gen_case c;
    filled f = {0};
    gen_up(&c, _i % 2 ? 2 : 0, 320);
    double scale = _i / 2 ? 2.5 : 1, image_scale = 1.3;
    const cm3_box box = {2.0f / GRID, 1.2f / GRID, 2.9f / GRID, 1.5f / GRID};
    cm3_image *image = noise(&c, TINY_SIDE, TINY_SIDE), *known_image = painted(&c, image, &box);
    const cm3_task_value values[] = {{.name = "image", .image = image, .boxes = &box, .box_count = 1},
                                     {.name = "caption", .text = "a red ball"}};
    cm3_tasks *tasks;
    cm3_document *document, *pictures, *result;
    GEN_OK(&c, cm3_tasks_load(c.context, NULL, &tasks));
    GEN_OK(&c, cm3_task_document(tasks, "infill-image", values, 2, &document, NULL));
    GEN_OK(&c, cm3_task_picture_prompt(tasks, "infill-image", values, 2, &pictures));
    cm3_generate_options o = greedy();
    o.modality = CM3_MODALITY_IMAGE;
    o.guidance_scale = (float)scale;
    o.image_guidance_scale = (float)image_scale;
    o.picture_prompt = pictures;
    o.candidates = 1 + _i % 2;
    GEN_OK(&c, cm3_generate(c.model, document, &o, take, &f, &result));
    int32_t known[TINY_TOKENS], text[32], ids[3][512] = {{0}, {EOD, SENTINEL, BREAK}, {0}};
    const int32_t sentinel = SENTINEL;
    size_t count, counts[3] = {0, 3, 0};
    cm3_tokenizer *tokenizer;
    GEN_OK(&c, cm3_model_tokenizer(c.model, &tokenizer));
    GEN_OK(&c, cm3_tokenizer_encode_image(tokenizer, known_image, known, TINY_TOKENS, &count));
    GEN_OK(&c, cm3_tokenizer_encode(tokenizer, "a red ball", SIZE_MAX, CM3_ENCODE_PLAIN, text, 32, &count));
    counts[0] = redrawn_prompt(ids[0], known, text, count);
    counts[2] = redrawn_prompt(ids[2], known, &sentinel, 1);
    int at = 0, equal = 0;
    for (int i = 0; i < TINY_TOKENS; i++) {
        bool hidden = i % GRID >= 2 && i % GRID < 5 && i / GRID >= 1 && i / GRID < 3;
        int32_t token = IMAGE + known[i];
        if (i >= GRID + 2 && i < 2 * GRID + 5) { /* from the first hidden one to the last */
            if (hidden) equal += f.tokens[0][at] == best_of_three(&c, ids, counts, scale, scale == 1 ? 1 : image_scale);
            if (!hidden) ck_assert_int_eq(f.tokens[0][at], token);
            token = f.tokens[0][at++];
            known[i] = token - IMAGE;
        }
        for (int k = 0; k < 3; k++) ids[k][counts[k]++] = token;
    }
    ck_assert_int_eq(f.count[0], at);
    ck_assert_int_ge(equal, 5); /* one might be a tie but for rounding */
    if (o.candidates == 2) ck_assert_mem_eq(f.tokens[0], f.tokens[1], sizeof f.tokens[0]);
    expect_overlaid(&c, tokenizer, result, known, image);
    cm3_tokenizer_destroy(tokenizer);
    cm3_document_destroy(result);
    cm3_document_destroy(document);
    cm3_document_destroy(pictures);
    cm3_tasks_destroy(tasks);
    cm3_image_destroy(known_image);
    cm3_image_destroy(image);
    gen_down(&c);
}
END_TEST

/** Larger pictures that are no squares keep their size, and every pixel that no hidden token covers. */
START_TEST(other_sizes) {
    static const int32_t sizes[][2] = {{61, 40}, {33, 90}, {5, 5}};
    gen_case c;
    filled f = {0};
    gen_up(&c, 1, 320);
    cm3_generate_options o = greedy();
    int32_t width = sizes[_i][0], height = sizes[_i][1], side = width < height ? width : height;
    /* The middle of the picture, so much that its cells' borders do not matter. */
    const cm3_box boxes[] = {{0.4f, 0.4f, 0.2f, 0.2f}, {0.45f, 0.35f, 0.1f, 0.1f}};
    cm3_image *image = noise(&c, width, height);
    cm3_document *document = document_of(&c, "", image, boxes, 2), *result;
    GEN_OK(&c, cm3_generate(c.model, document, &o, take, &f, &result));
    cm3_segment segment = {.struct_size = sizeof segment};
    GEN_OK(&c, cm3_document_get(result, 0, &segment));
    cm3_image_view made, was;
    cm3_image_get_view(segment.image, &made);
    cm3_image_get_view(image, &was);
    ck_assert(made.width == width && made.height == height);
    int changed = 0;
    double reach = 0.2 * (width > height ? width : height) + (double)side / GRID;
    for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
            bool same = !memcmp(made.pixels + (size_t)y * made.stride + (size_t)x * 3,
                                was.pixels + (size_t)y * was.stride + (size_t)x * 3, 3);
            bool near = fabs(x + 0.5 - width / 2.0) < reach && fabs(y + 0.5 - height / 2.0) < reach;
            ck_assert(same || near);
            changed += !same;
        }
    }
    ck_assert_int_gt(changed, 0);
    cm3_document_destroy(result);
    cm3_document_destroy(document);
    cm3_image_destroy(image);
    gen_down(&c);
}
END_TEST

/** Whatever a box hides, all that is made is the same. */
START_TEST(hidden_is_unknown) {
    gen_case c;
    filled f[2];
    memset(f, 0, sizeof f);
    gen_up(&c, 1, 320);
    cm3_generate_options o = greedy();
    if (_i / 2) o.modality = CM3_MODALITY_IMAGE;
    const cm3_box box = _i % 2 ? (cm3_box){0, 0.25f, 1, 0.4f} : (cm3_box){0.3f, 0.25f, 0.5f, 0.4f};
    for (int k = 0; k < 2; k++) {
        cm3_image_view view;
        cm3_image *image = noise(&c, TINY_SIDE, TINY_SIDE);
        ck_assert_int_eq(cm3_image_get_view(image, &view), CM3_OK);
        for (int y = (int)ceilf(0.25f * TINY_SIDE); k && y < (int)(0.65f * TINY_SIDE); y++) {
            int x0 = (int)ceilf(box.x * TINY_SIDE), x1 = (int)((box.x + box.width) * TINY_SIDE);
            memset(view.pixels + (size_t)y * view.stride + 3 * (size_t)x0, 255, 3 * (size_t)(x1 - x0));
        }
        cm3_document *document = document_of(&c, "a red ball", image, &box, 1);
        GEN_OK(&c, cm3_generate(c.model, document, &o, take, &f[k], NULL));
        cm3_document_destroy(document);
        cm3_image_destroy(image);
    }
    ck_assert_int_gt(f[0].count[0], 8);
    ck_assert_mem_eq(&f[0].tokens, &f[1].tokens, sizeof f[0].tokens);
    gen_down(&c);
}
END_TEST

/** Masks in a text: each is told, in order; and one beside a hole of a picture. */
START_TEST(masks) {
    gen_case c;
    filled f = {0};
    gen_up(&c, 2, 320);
    cm3_generate_options o = greedy();
    o.max_tokens = 60;
    o.temperature = 1.5f;
    cm3_document *document = gen_prompt(&c, "a "), *result;
    GEN_OK(&c, cm3_document_add_mask(document, 0));
    GEN_OK(&c, cm3_document_add_text(document, " ball and ", SIZE_MAX));
    GEN_OK(&c, cm3_document_add_mask(document, 1));
    bool picture = _i;
    cm3_image *image = noise(&c, TINY_SIDE, TINY_SIDE);
    const cm3_box box = {0, 0, 0.2f, 0.1f};
    if (picture) {
        GEN_OK(&c, cm3_document_add_break(document));
        GEN_OK(&c, cm3_document_add_image_holes(document, image, &box, 1));
    }
    int whole = 0;
    for (uint64_t seed = 1; seed < 60; seed++) {
        size_t count, texts = 0, images = 0;
        memset(&f, 0, sizeof f);
        o.seed = seed;
        GEN_OK(&c, cm3_generate(c.model, document, &o, take, &f, &result));
        GEN_OK(&c, cm3_document_count(result, &count));
        for (size_t i = 0; i < count; i++) {
            cm3_segment segment = {.struct_size = sizeof segment};
            GEN_OK(&c, cm3_document_get(result, i, &segment));
            texts += segment.kind == CM3_SEGMENT_TEXT;
            images += segment.kind == CM3_SEGMENT_IMAGE;
            if (segment.kind == CM3_SEGMENT_IMAGE) ck_assert_uint_eq(i, count - 1);
        }
        ck_assert_uint_le(texts, 2);
        cm3_document_destroy(result);
        if (texts < 2 || (picture && !images)) continue; /* cut off by max_tokens */
        whole++;
        int sentinels = 0;
        for (int t = 0; t < f.count[0]; t++) {
            bool sentinel = f.tokens[0][t] >= SENTINEL && f.tokens[0][t] < IMAGE;
            if (sentinel) ck_assert_int_eq(f.tokens[0][t], SENTINEL + ++sentinels);
        }
        ck_assert_int_eq(sentinels, picture ? 2 : 1);
        if (whole > 3) break;
    }
    ck_assert_int_gt(whole, 0);
    cm3_document_destroy(document);
    cm3_image_destroy(image);
    gen_down(&c);
}
END_TEST

/** Several candidates, drawn, beside a request of another kind; all of a picture hidden. */
START_TEST(candidates) {
    gen_case c;
    filled f = {0};
    gen_up(&c, _i ? 0 : 2, 320);
    cm3_generate_options o = greedy();
    o.temperature = 1;
    o.candidates = 3;
    o.guidance_scale = 2;
    o.compute = _i ? CM3_COMPUTE_F32 : CM3_COMPUTE_AUTO;
    const cm3_box box = {-1, -1, 3, 3};
    cm3_image *image = noise(&c, TINY_SIDE, TINY_SIDE);
    cm3_document *document = document_of(&c, "a red ball", image, &box, 1), *plain = gen_prompt(&c, "a cube"), *result;
    cm3_generate_options other = greedy();
    other.modality = CM3_MODALITY_IMAGE;
    other.compute = o.compute;
    cm3_request *requests[2];
    GEN_OK(&c, cm3_request_start(c.model, document, &o, &requests[0]));
    GEN_OK(&c, cm3_request_start(c.model, plain, &other, &requests[1]));
    ck_assert_int_eq(cm3_request_wait(requests[0], take, &f), CM3_OK);
    ck_assert_int_eq(cm3_request_wait(requests[1], NULL, NULL), CM3_OK);
    GEN_OK(&c, cm3_request_result(requests[0], &result));
    size_t count;
    GEN_OK(&c, cm3_document_count(result, &count));
    ck_assert_uint_eq(count, 5); /* three pictures and what parts them */
    for (int i = 0; i < 3; i++) ck_assert_int_eq(f.count[i], TINY_TOKENS + GRID + GRID - 1);
    ck_assert_mem_ne(f.tokens[0], f.tokens[1], sizeof f.tokens[0]);
    for (int i = 0; i < 2; i++) cm3_request_destroy(requests[i]);
    cm3_document_destroy(result);
    cm3_document_destroy(document);
    cm3_document_destroy(plain);
    cm3_image_destroy(image);
    gen_down(&c);
}
END_TEST

static void refuse(gen_case *c, const cm3_document *document, const cm3_generate_options *o, cm3_status expected,
                   const char *says) {
    cm3_document *result;
    cm3_status status = cm3_generate(c->model, document, o, NULL, NULL, &result);
    ck_assert_msg(status == expected && strstr(cm3_context_message(c->context), says), "%d: %s", (int)status,
                  cm3_context_message(c->context));
    ck_assert_ptr_null(result);
}

START_TEST(refused) {
    gen_case c;
    gen_up(&c, 1, 96);
    cm3_generate_options o = greedy(), picture = o;
    picture.modality = CM3_MODALITY_IMAGE;
    const cm3_box inside = {0.1f, 0.1f, 0.2f, 0.2f}, outside = {1.5f, 0, 0.5f, 0.5f}, empty = {0.5f, 0.5f, 0, 0.1f},
                  all = {0, 0, 1, 1}, wrong[] = {{NAN, 0, 1, 1}, {0, 0, -1, 1}, {0, INFINITY, 1, 1}};
    cm3_image *image = noise(&c, TINY_SIDE, TINY_SIDE);
    cm3_document *plain = gen_prompt(&c, "a red ball"), *holes = document_of(&c, "a", image, &inside, 1),
                 *none = document_of(&c, "a", image, &outside, 1), *thin = document_of(&c, "a", image, &empty, 1),
                 *full = document_of(&c, "a", image, &all, 1);
    refuse(&c, plain, &o, CM3_ERROR_INVALID_ARGUMENT, "nothing to fill in");
    refuse(&c, none, &o, CM3_ERROR_INVALID_ARGUMENT, "nothing to fill in");
    refuse(&c, thin, &o, CM3_ERROR_INVALID_ARGUMENT, "nothing to fill in");
    refuse(&c, holes, &picture, CM3_ERROR_TOO_LONG, "96");
    refuse(&c, none, &picture, CM3_ERROR_INVALID_ARGUMENT, "nothing to fill in");
    picture.modality = CM3_MODALITY_TEXT;
    refuse(&c, holes, &picture, CM3_ERROR_INVALID_ARGUMENT, "CM3_MODALITY_INFILL");
    GEN_OK(&c, cm3_document_add_text(full, " a blue cube and a green cone and a red ball", SIZE_MAX));
    refuse(&c, full, &o, CM3_ERROR_TOO_LONG, "96");
    GEN_OK(&c, cm3_document_add_mask(plain, 1));
    refuse(&c, plain, &o, CM3_ERROR_INVALID_ARGUMENT, "mask 1 is where mask 0");
    GEN_OK(&c, cm3_document_add_image_holes(holes, image, &inside, 1));
    cm3_image *second = noise(&c, 9, 9);
    GEN_OK(&c, cm3_document_add_image_holes(none, second, &inside, 1));
    GEN_OK(&c, cm3_document_add_image_holes(none, image, &inside, 1));
    refuse(&c, none, &o, CM3_ERROR_UNSUPPORTED, "two pictures with holes");
    for (int i = 0; i < 3; i++) {
        ck_assert_int_eq(cm3_document_add_image_holes(plain, image, &wrong[i], 1), CM3_ERROR_INVALID_ARGUMENT);
    }
    ck_assert_int_eq(cm3_document_add_image_holes(plain, image, NULL, 1), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_document_add_image_holes(plain, NULL, &inside, 1), CM3_ERROR_INVALID_ARGUMENT);
    cm3_image_destroy(second);
    cm3_image_destroy(image);
    cm3_document *const documents[] = {plain, holes, none, thin, full};
    for (int i = 0; i < 5; i++) cm3_document_destroy(documents[i]);
    gen_down(&c);
}
END_TEST

Suite *infill_suite(void) {
    Suite *suite = suite_create("generate/infill");
    TCase *tcase = tcase_create("infill");
    tcase_set_timeout(tcase, 240);
    tcase_add_loop_test(tcase, a_rectangle, 0, 4);
    tcase_add_loop_test(tcase, other_sizes, 0, 3);
    tcase_add_loop_test(tcase, redrawn, 0, 4);
    tcase_add_loop_test(tcase, hidden_is_unknown, 0, 4);
    tcase_add_loop_test(tcase, masks, 0, 2);
    tcase_add_loop_test(tcase, candidates, 0, 2);
    tcase_add_test(tcase, refused);
    suite_add_tcase(suite, tcase);
    return suite;
}
