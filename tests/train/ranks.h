/* A run of several ranks in one process: a thread each, with a context of its own, and a comm between them that checks
 * that all make the same calls, sums in a fixed order, and can be told to fail. */
#ifndef CM3_TESTS_TRAIN_RANKS_H
#define CM3_TESTS_TRAIN_RANKS_H

#include <pthread.h>

#include "support.h"
#include "train/trainer.h"

#define TEST_MOST_RANKS 4

struct test_world;

typedef struct test_rank {
    struct test_world *world;
    test_allocator memory;
    cm3_context *context;
    cm3_comm comm;
    pthread_t thread;
    int64_t calls;                  /**< made so far */
    int64_t die_at;                 /**< the call at which it is gone, as a process that was killed; below 0: none */
    int aborted;                    /**< how often its comm was told to abort */
    int64_t step;                   /**< set by the body: the one under way */
    int64_t poison_from, poison_to; /**< in these steps it brings gradients that are not a number */
    /* how its part ended */
    cm3_status status;
    char message[512];
    double losses[64];
    int64_t steps;
    cm3_train_report report; /**< of the last step */
    cm3_optimizer_memory held;
} test_rank;

typedef struct test_world {
    int size;
    test_rank ranks[TEST_MOST_RANKS];
    int64_t delay_us; /**< the last rank comes to each call so much later */
    void *arg;
    cm3_status (*body)(test_rank *rank, void *arg);
    /* the call under way */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    int arrived;
    uint64_t round;
    bool dead, mismatch;
    void *values[TEST_MOST_RANKS];
    uint64_t call[4];
} test_world;

/** Size ranks, none of which dies. */
void test_world_init(test_world *world, int size);
/** Runs body(rank, arg) on all ranks and waits; afterwards ranks' fields tell how they ended. All memory is back, and
 * all made the same calls. */
void test_world_run(test_world *world, cm3_status (*body)(test_rank *rank, void *arg), void *arg);
/** What the ranks of a run of one kind do. */
typedef struct test_plan {
    int kind; /**< of test_kinds */
    test_run run;
    int64_t until;      /**< steps of the run to come to */
    int64_t save_every; /**< 0: no checkpoint */
    bool validates, exports;
    /** NULL, or what a rank does otherwise than the plan. */
    void (*vary)(test_rank *rank, struct test_plan *own);
    /** NULL, or called before each step. */
    void (*before_step)(test_rank *rank, cm3_trainer *trainer);
} test_plan;

/** Small runs of every trained part that 1, 2 and 4 ranks can share. */
typedef enum test_kind {
    TEST_LM,
    TEST_TASKS,
    TEST_VQ,
    TEST_ADVERSARIAL,
    TEST_LEARNED_CODEBOOK,
    TEST_ENCODER,
    TEST_KINDS
} test_kind;

/** Makes the data as well. */
void test_plan_make(test_fixture *fixture, test_kind kind, test_plan *plan);
cm3_status test_plan_create(cm3_context *context, const test_plan *plan, cm3_trainer **trainer);
/** A body of ranks, its arg a plan: a trainer that goes on from what is there, its steps, and what else is asked for.
 * Losses land in the rank's `losses` at the step's number less one, and the validation's at 63. */
cm3_status test_plan_body(test_rank *rank, void *plan);

/** All ended with this status, and with a message that holds `words` (NULL: none is looked for). */
void test_world_ended(const test_world *world, cm3_status status, const char *words);

#endif
