/* A host in small: a context with a counting allocator, the shipped model, a prompt. */
#ifndef EMBEDDING_HOST_H
#define EMBEDDING_HOST_H

#include <check.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cm3leon/cm3leon.h"
#include "support/allocator.h"

#define HOST_MODEL CM3_SOURCE_DIR "/models/toybox.cm3"
#define HOST_PROMPT "a red circle at the top left and a blue star at the bottom"

#define HOST_OK(h, call)                                                                                               \
    do {                                                                                                               \
        cm3_status host_status = (call);                                                                               \
        ck_assert_msg(host_status == CM3_OK, "%s: %s: %s", #call, cm3_status_name(host_status),                        \
                      cm3_context_message((h)->context));                                                              \
    } while (0)

typedef struct host {
    test_allocator memory;
    cm3_context *context;
    cm3_model *model;
    cm3_document *prompt;
} host;

static inline void host_context(host *h, int threads) {
    memset(h, 0, sizeof *h);
    test_allocator_init(&h->memory);
    cm3_allocator allocator = test_allocator_of(&h->memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = threads;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &h->context), CM3_OK);
}

static inline void host_up(host *h, int threads) {
    host_context(h, threads);
    HOST_OK(h, cm3_model_load(h->context, HOST_MODEL, NULL, &h->model));
    HOST_OK(h, cm3_document_create(h->context, &h->prompt));
    HOST_OK(h, cm3_document_add_text(h->prompt, HOST_PROMPT, SIZE_MAX));
}

/* Gives up all; nothing of the allocator's memory is left. */
static inline void host_down(host *h) {
    cm3_document_destroy(h->prompt);
    cm3_model_destroy(h->model);
    cm3_context_destroy(h->context);
    ck_assert_int_eq(atomic_load(&h->memory.live), 0);
    ck_assert_int_eq(atomic_load(&h->memory.blocks), 0);
}

/* A few tokens of text: all of the way, and short. */
static inline cm3_generate_options host_words(int32_t count) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = CM3_MODALITY_TEXT;
    options.max_tokens = options.min_tokens = count;
    options.ignore_stops = 1;
    options.seed = 7;
    return options;
}

/* A whole picture. */
static inline cm3_generate_options host_picture(void) {
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.seed = 7;
    return options;
}

static inline cm3_request *host_start(host *h, const cm3_generate_options *options) {
    cm3_request *request;
    HOST_OK(h, cm3_request_start(h->model, h->prompt, options, &request));
    return request;
}

/* FNV-1a over what a document holds: texts, codes and pixels. */
static inline uint64_t host_sum(const cm3_document *document) {
    uint64_t sum = 14695981039346656037u;
    size_t count = 0;
    ck_assert_int_eq(cm3_document_count(document, &count), CM3_OK);
    for (size_t i = 0; i < count; i++) {
        cm3_segment segment = {.struct_size = sizeof segment};
        ck_assert_int_eq(cm3_document_get(document, i, &segment), CM3_OK);
        for (size_t j = 0; j < segment.text_size; j++) sum = (sum ^ (uint8_t)segment.text[j]) * 1099511628211u;
        for (size_t j = 0; j < segment.code_count; j++) sum = (sum ^ (uint32_t)segment.codes[j]) * 1099511628211u;
        cm3_image_view view;
        if (!segment.image) continue;
        ck_assert_int_eq(cm3_image_get_view(segment.image, &view), CM3_OK);
        for (int32_t y = 0; y < view.height; y++) {
            const uint8_t *row = view.pixels + (size_t)y * view.stride;
            for (int32_t x = 0; x < 3 * view.width; x++) sum = (sum ^ row[x]) * 1099511628211u;
        }
    }
    return sum;
}

/* What a call of cm3_generate() makes, as one number. */
static inline uint64_t host_generate(host *h, const cm3_generate_options *options) {
    cm3_document *result = NULL;
    HOST_OK(h, cm3_generate(h->model, h->prompt, options, NULL, NULL, &result));
    uint64_t sum = host_sum(result);
    cm3_document_destroy(result);
    return sum;
}

static inline double host_seconds(clockid_t clock) {
    struct timespec now;
    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif
