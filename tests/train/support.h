/* Small data and small runs. */
#ifndef CM3_TESTS_TRAIN_SUPPORT_H
#define CM3_TESTS_TRAIN_SUPPORT_H

#include "cm3leon/train.h"
#include "files/safetensors.h"
#include "files/shard.h"
#include "nn/graph.h"
#include "suites.h"
#include "support/fixture.h"

#define TEST_SIDE 16       /**< of the pictures of test_picture_shard() */
#define TEST_IMAGE_CODES 8 /**< named by the tokenizer of test_tokenizer() */

/** CM3_OK, or the test ends with the context's message. */
#define test_ok(fixture, call) ck_assert_msg((call) == CM3_OK, "%s: %s", #call, cm3_context_message((fixture)->context))
/** That status, and a message that holds `words`. */
#define test_fails(fixture, call, expected, words)                                                                     \
    do {                                                                                                               \
        cm3_status test_status = (call);                                                                               \
        ck_assert_msg(test_status == (expected), "%s: %d, %s", #call, (int)test_status,                                \
                      cm3_context_message((fixture)->context));                                                        \
        ck_assert_msg(test_says(fixture, words), "%s", cm3_context_message((fixture)->context));                       \
    } while (0)

/** The committed numbers (tests/data/train/make_fixture.py). */
cm3_safetensors *test_numbers(test_fixture *fixture);
/** An entry's values; the test ends where there is none. */
const cm3_entry *test_entry(const cm3_safetensors *numbers, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
const float *test_floats(const cm3_safetensors *numbers, const char *format, ...) __attribute__((format(printf, 2, 3)));
const int32_t *test_ints(const cm3_safetensors *numbers, const char *format, ...) __attribute__((format(printf, 2, 3)));

/** A picture of two colours in PNG, another one for each number. Freed by cm3_buffer_free(). */
uint8_t *test_png(test_fixture *fixture, int number, size_t *size);
/** A shard NAME of `count` pictures with captions. Returns its path, which belongs to the caller's array. */
void test_picture_shard(test_fixture *fixture, const char *path, int count);
/** A shard of `count` documents: two captions and 4 codes each. */
void test_code_shard(test_fixture *fixture, const char *path, int count);
/** Records: 8 with a question, 24 with an edit and a question, 4 with a caption alone. */
void test_task_shard(test_fixture *fixture, const char *path);
/** Pictures of test_png(): where the square is, its colour and the ground's are in the text; every third has a query.
 */
void test_pair_shard(test_fixture *fixture, const char *path, int count);
/** A shard of one record of one member. */
void test_single_shard(test_fixture *fixture, const char *path, const char *member, const char *text);
/** A tokenizer.json learnt from the captions of test_code_shard(). */
void test_tokenizer(test_fixture *fixture, const char *path);

/** Options of a short run in f32 on one shard. The structs point at the run's own strings. */
typedef struct test_run {
    char directory[160], shard[160], tokenizer[160];
    const char *data[1];
    cm3_train_options options;
    cm3_train_vq_options vq;
    cm3_train_lm_options lm;
    cm3_train_encoder_options encoder;
} test_run;

/** Makes the data as well. */
void test_vq_run(test_fixture *fixture, test_run *run);
void test_lm_run(test_fixture *fixture, test_run *run);
void test_encoder_run(test_fixture *fixture, test_run *run);
cm3_trainer *test_vq_trainer(test_fixture *fixture, const test_run *run);
cm3_trainer *test_lm_trainer(test_fixture *fixture, const test_run *run);
/** `count` steps; losses (may be NULL) gets them. */
void test_steps(test_fixture *fixture, cm3_trainer *trainer, int count, double *losses);

/** Runs `body(arg, graph)` with a recording f32 graph on the compute thread. */
void test_on_graph(test_fixture *fixture, void (*body)(cm3_graph *graph, void *arg), void *arg);

#endif
