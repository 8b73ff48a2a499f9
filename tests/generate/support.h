/* A tiny model in a context of so many threads, and a callback that keeps what it is told. */
#ifndef GENERATE_SUPPORT_H
#define GENERATE_SUPPORT_H

#include <pthread.h>

#include "cm3leon/cm3leon.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

/* Ids of the tiny model's special tokens, in the order of tiny_bpe(). */
enum { EOD = 1, BREAK = 2, EOSS = 3, SENTINEL = 4, IMAGE = SENTINEL + TINY_SENTINELS };

typedef struct gen_case {
    test_fixture fixture; /**< its context is this one */
    cm3_context *context;
    cm3_model *model;
} gen_case;

#define GEN_OK(c, call)                                                                                                \
    do {                                                                                                               \
        cm3_status gen_status = (call);                                                                                \
        ck_assert_msg(gen_status == CM3_OK, "%s: %s", #call, cm3_context_message((c)->context));                       \
    } while (0)

/* threads 0: it computes inside poll. The model is also in the file tiny.cm3 of the fixture's folder. */
static inline void gen_up(gen_case *c, int32_t threads, int32_t max_positions) {
    test_fixture_up(&c->fixture);
    cm3_context_destroy(c->fixture.context);
    cm3_allocator allocator = test_allocator_of(&c->fixture.memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &c->context), CM3_OK);
    c->fixture.context = c->context;
    c->model = tiny_model(c->context, max_positions, test_path(&c->fixture, "tiny.cm3"));
}

static inline void gen_down(gen_case *c) {
    cm3_model_destroy(c->model);
    test_fixture_down(&c->fixture);
}

static inline cm3_document *gen_prompt(gen_case *c, const char *text) {
    cm3_document *document;
    GEN_OK(c, cm3_document_create(c->context, &document));
    if (text[0]) GEN_OK(c, cm3_document_add_text(document, text, SIZE_MAX));
    return document;
}

/* --- what was told --- */

#define RECORDED 4096
#define RECORDED_CANDIDATES 8

typedef struct recorder {
    cm3_event *events; /**< [RECORDED]; pointers in them are gone */
    int count, images, previews;
    int stop_at;                          /**< the callback answers "stop" from this event on; below 0: never */
    char text[RECORDED_CANDIDATES][2048]; /**< may hold NUL: a model may say it */
    size_t text_size[RECORDED_CANDIDATES];
} recorder;

static inline void recorder_init(recorder *r) {
    memset(r, 0, sizeof *r);
    r->stop_at = -1;
    r->events = calloc(RECORDED, sizeof *r->events);
}

static inline void recorder_clear(recorder *r) {
    free(r->events);
    r->events = NULL;
}

static inline int recorder_take(void *user, const cm3_event *event) {
    recorder *r = user;
    ck_assert_int_lt(r->count, RECORDED);
    ck_assert(event->candidate >= 0 && event->candidate < RECORDED_CANDIDATES);
    if (event->kind == CM3_EVENT_IMAGE) r->images++;
    if (event->kind == CM3_EVENT_IMAGE_ROWS) r->previews++;
    if (event->kind == CM3_EVENT_TEXT) {
        size_t *used = &r->text_size[event->candidate];
        ck_assert_uint_lt(*used + event->text_size, sizeof r->text[0]);
        memcpy(r->text[event->candidate] + *used, event->text, event->text_size + 1);
        *used += event->text_size;
        ck_assert_int_eq(r->text[event->candidate][*used], '\0');
    }
    r->events[r->count++] = *event;
    return r->stop_at >= 0 && r->count > r->stop_at;
}

/* How many events of a kind a candidate had; candidate -1: all of them. */
static inline int recorder_number(const recorder *r, cm3_event_kind kind, int candidate) {
    int number = 0;
    for (int i = 0; i < r->count; i++) {
        number += r->events[i].kind == kind && (candidate < 0 || r->events[i].candidate == candidate);
    }
    return number;
}

/* A candidate's tokens, whose indices count from 0; how many. */
static inline int recorder_tokens(const recorder *r, int candidate, int32_t tokens[RECORDED]) {
    int number = 0;
    for (int i = 0; i < r->count; i++) {
        if (r->events[i].kind != CM3_EVENT_TOKEN || r->events[i].candidate != candidate) continue;
        ck_assert_int_eq(r->events[i].index, number);
        tokens[number++] = r->events[i].token;
    }
    return number;
}

/* A candidate's one end, behind all else that was told of it. */
static inline const cm3_event *recorder_end(const recorder *r, int candidate) {
    const cm3_event *end = NULL;
    for (int i = 0; i < r->count; i++) {
        if (r->events[i].candidate != candidate || r->events[i].kind == CM3_EVENT_PROGRESS) continue;
        ck_assert_msg(end == NULL, "event %d of candidate %d comes after its end", i, candidate);
        if (r->events[i].kind == CM3_EVENT_END) end = &r->events[i];
    }
    ck_assert_msg(end != NULL, "candidate %d has no end", candidate);
    return end;
}

/* Generates to the end, without error. */
static inline cm3_document *gen_run(gen_case *c, const char *text, const cm3_generate_options *options, recorder *r) {
    cm3_document *prompt = gen_prompt(c, text), *result;
    GEN_OK(c, cm3_generate(c->model, prompt, options, r ? recorder_take : NULL, r, &result));
    cm3_document_destroy(prompt);
    return result;
}

#endif
