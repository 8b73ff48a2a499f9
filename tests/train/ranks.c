/* A run of several ranks in one process. */
#include "ranks.h"

#include <math.h>

/** What the ranks have brought becomes what all have: by the last that arrives. */
typedef void (*combine_fn)(test_world *world);

static void combine_one(const test_world *world, size_t i, cm3_comm_type type, cm3_comm_op op) {
    if (type == CM3_COMM_F32) {
        float sum = ((float *)world->values[0])[i];
        for (int r = 1; r < world->size; r++) sum += ((float *)world->values[r])[i];
        for (int r = 0; r < world->size; r++) ((float *)world->values[r])[i] = sum;
    } else if (type == CM3_COMM_F64) {
        double sum = ((double *)world->values[0])[i];
        for (int r = 1; r < world->size; r++) sum += ((double *)world->values[r])[i];
        for (int r = 0; r < world->size; r++) ((double *)world->values[r])[i] = sum;
    } else {
        uint64_t all = ((uint64_t *)world->values[0])[i];
        for (int r = 1; r < world->size; r++) {
            const uint64_t other = ((uint64_t *)world->values[r])[i];
            if (op == CM3_COMM_SUM) all += other;
            if (op == CM3_COMM_MIN && other < all) all = other;
            if (op == CM3_COMM_MAX && other > all) all = other;
        }
        for (int r = 0; r < world->size; r++) ((uint64_t *)world->values[r])[i] = all;
    }
}

static void combine_reduce(test_world *world) {
    if (world->call[2] != CM3_COMM_U64 && world->call[3] != CM3_COMM_SUM) world->mismatch = true; /* not made by us */
    for (size_t i = 0; i < world->call[1]; i++)
        combine_one(world, i, (cm3_comm_type)world->call[2], (cm3_comm_op)world->call[3]);
}

static void combine_gather(test_world *world) {
    const size_t slice = world->call[1];
    for (int r = 0; r < world->size; r++) {
        const char *own = (char *)world->values[r] + (size_t)r * slice;
        for (int to = 0; to < world->size; to++) {
            if (to != r) memcpy((char *)world->values[to] + (size_t)r * slice, own, slice);
        }
    }
}

static void combine_broadcast(test_world *world) {
    const uint64_t root = world->call[2];
    for (int r = 0; r < world->size; r++) {
        if ((uint64_t)r != root) memcpy(world->values[r], world->values[root], world->call[1]);
    }
}

static void combine_nothing(test_world *world) {
    (void)world;
}

/** Waits for the others, all of which must have come for the same. */
static cm3_status meet(test_rank *rank, void *values, const uint64_t call[4], combine_fn combine) {
    test_world *world = rank->world;
    const int own = (int)(rank - world->ranks);
    if (world->delay_us && own == world->size - 1) usleep((useconds_t)world->delay_us);
    pthread_mutex_lock(&world->lock);
    if (rank->calls++ == rank->die_at) world->dead = true;
    if (world->arrived == 0) memcpy(world->call, call, sizeof world->call);
    if (memcmp(world->call, call, sizeof world->call) != 0) world->mismatch = world->dead = true;
    world->values[own] = values;
    const uint64_t round = world->round;
    if (!world->dead && ++world->arrived == world->size) {
        combine(world);
        world->arrived = 0;
        world->round++;
    }
    pthread_cond_broadcast(&world->changed);
    while (!world->dead && world->round == round) pthread_cond_wait(&world->changed, &world->lock);
    const bool whole = world->round != round;
    pthread_mutex_unlock(&world->lock);
    return whole ? CM3_OK : CM3_ERROR_IO;
}

static cm3_status all_reduce(void *user, void *values, size_t count, cm3_comm_type type, cm3_comm_op op) {
    const test_rank *rank = user;
    const bool poisoned = rank->step >= rank->poison_from && rank->step < rank->poison_to;
    if (poisoned && type == CM3_COMM_F32) *(float *)values = NAN;
    return meet(user, values, (const uint64_t[]){1, count, type, op}, combine_reduce);
}

static cm3_status all_gather(void *user, void *data, size_t slice_bytes) {
    return meet(user, data, (const uint64_t[]){2, slice_bytes, 0, 0}, combine_gather);
}

static cm3_status broadcast(void *user, void *data, size_t bytes, int32_t root) {
    return meet(user, data, (const uint64_t[]){3, bytes, (uint64_t)root, 0}, combine_broadcast);
}

static cm3_status barrier(void *user) {
    return meet(user, NULL, (const uint64_t[]){4, 0, 0, 0}, combine_nothing);
}

static void abort_all(void *user, const char *why) {
    test_rank *rank = user;
    test_world *world = rank->world;
    (void)why;
    pthread_mutex_lock(&world->lock);
    rank->aborted++;
    world->dead = true;
    pthread_cond_broadcast(&world->changed);
    pthread_mutex_unlock(&world->lock);
}

/* --- ranks ---------------------------------------------------------------------------------------------------------
 */

void test_world_init(test_world *world, int size) {
    memset(world, 0, sizeof *world);
    world->size = size;
    pthread_mutex_init(&world->lock, NULL);
    pthread_cond_init(&world->changed, NULL);
    for (int i = 0; i < size; i++) {
        test_rank *rank = &world->ranks[i];
        rank->world = world;
        rank->die_at = -1;
        rank->comm = (cm3_comm){.struct_size = sizeof rank->comm,
                                .user = rank,
                                .rank = i,
                                .size = size,
                                .all_reduce = all_reduce,
                                .all_gather = all_gather,
                                .broadcast = broadcast,
                                .barrier = barrier,
                                .abort = abort_all};
    }
}

static void *run_rank(void *pointer) {
    test_rank *rank = pointer;
    rank->status = rank->world->body(rank, rank->world->arg);
    snprintf(rank->message, sizeof rank->message, "%s", cm3_context_message(rank->context));
    return NULL;
}

static void make_context(test_rank *rank) {
    test_allocator_init(&rank->memory);
    cm3_allocator allocator = test_allocator_of(&rank->memory);
    cm3_context_options options;
    cm3_context_options_init(&options);
    options.threads = 0;
    options.allocator = &allocator;
    ck_assert_int_eq(cm3_context_create(&options, &rank->context), CM3_OK);
}

void test_world_run(test_world *world, cm3_status (*body)(test_rank *rank, void *arg), void *arg) {
    world->body = body;
    world->arg = arg;
    for (int i = 0; i < world->size; i++) make_context(&world->ranks[i]);
    for (int i = 0; i < world->size; i++)
        ck_assert_int_eq(pthread_create(&world->ranks[i].thread, NULL, run_rank, &world->ranks[i]), 0);
    for (int i = 0; i < world->size; i++) pthread_join(world->ranks[i].thread, NULL);
    ck_assert_msg(!world->mismatch, "the ranks made different calls: %s", world->ranks[0].message);
    for (int i = 0; i < world->size; i++) {
        cm3_context_destroy(world->ranks[i].context);
        ck_assert_int_eq(atomic_load(&world->ranks[i].memory.blocks), 0);
    }
    pthread_mutex_destroy(&world->lock);
    pthread_cond_destroy(&world->changed);
}

void test_world_ended(const test_world *world, cm3_status status, const char *words) {
    for (int i = 0; i < world->size; i++) {
        const test_rank *rank = &world->ranks[i];
        ck_assert_msg(rank->status == status, "rank %d: %d instead of %d: %s", i, (int)rank->status, (int)status,
                      rank->message);
        if (words) ck_assert_msg(strstr(rank->message, words) != NULL, "rank %d: %s", i, rank->message);
    }
}

/* --- plans ---------------------------------------------------------------------------------------------------------
 */

void test_plan_make(test_fixture *fixture, test_kind kind, test_plan *plan) {
    memset(plan, 0, sizeof *plan);
    plan->kind = kind;
    test_run *run = &plan->run;
    if (kind == TEST_LM || kind == TEST_TASKS) test_lm_run(fixture, run);
    if (kind == TEST_VQ || kind == TEST_ADVERSARIAL || kind == TEST_LEARNED_CODEBOOK) test_vq_run(fixture, run);
    if (kind == TEST_ENCODER) test_encoder_run(fixture, run);
    run->options.accumulation = 4;
    run->options.batch_size = 1;
    run->options.lr = 2e-3f;
    plan->until = 20;
    if (kind == TEST_LM) {
        run->lm.masking = CM3_MASKING_CODE;
        run->options.weight_average = 0.9f;
    } else if (kind == TEST_TASKS) {
        test_task_shard(fixture, run->shard);
        run->lm.mixture = "{}";
        run->lm.answers_only = 1;
        run->lm.block_size = 64;
    } else if (kind == TEST_ENCODER) {
        run->options.accumulation = 2;
        run->options.batch_size = 15;
        run->encoder.chunk = 4;
        run->encoder.query_documents = 1;
    }
    if (kind == TEST_ADVERSARIAL) {
        run->vq.adversarial_weight = 0.1f;
        run->vq.adversarial_from = 4;
    }
    run->vq.learned_codebook = kind == TEST_LEARNED_CODEBOOK;
    run->vq.revival_threshold = 0.3f;
}

cm3_status test_plan_create(cm3_context *context, const test_plan *plan, cm3_trainer **trainer) {
    const test_run *run = &plan->run;
    if (plan->kind == TEST_ENCODER) {
        return cm3_trainer_create_encoder(context, &run->options, &run->encoder, trainer);
    }
    if (plan->kind == TEST_LM || plan->kind == TEST_TASKS) {
        return cm3_trainer_create_lm(context, &run->options, &run->lm, trainer);
    }
    return cm3_trainer_create_vq(context, &run->options, &run->vq, trainer);
}

static cm3_status follow(test_rank *rank, const test_plan *plan, cm3_trainer *trainer) {
    int64_t step;
    cm3_status status = cm3_trainer_progress(trainer, &step, NULL);
    while (status == CM3_OK && step < plan->until) {
        cm3_train_report report = {.struct_size = sizeof report};
        rank->step = step + 1;
        if (plan->before_step) plan->before_step(rank, trainer);
        status = cm3_trainer_step(trainer, &report);
        if (status != CM3_OK) return status;
        step = report.step;
        rank->losses[step - 1] = report.loss;
        rank->steps = step;
        rank->report = report;
        if (plan->save_every && step % plan->save_every == 0) status = cm3_trainer_checkpoint(trainer);
    }
    rank->step = 0;
    cm3_train_report report = {.struct_size = sizeof report};
    if (status == CM3_OK && plan->validates) status = cm3_trainer_validate(trainer, &report);
    rank->losses[63] = report.loss;
    char path[256];
    snprintf(path, sizeof path, "%s/model-%d.cm3", plan->run.options.run_dir, rank->world->size);
    if (status == CM3_OK && plan->exports) status = cm3_trainer_export(trainer, path, CM3_COMPUTE_F32);
    return status;
}

cm3_status test_plan_body(test_rank *rank, void *arg) {
    test_plan own = *(const test_plan *)arg;
    cm3_trainer *trainer;
    own.run.options.comm = &rank->comm;
    if (own.vary) own.vary(rank, &own);
    cm3_status status = test_plan_create(rank->context, &own, &trainer);
    if (status == CM3_OK) status = follow(rank, &own, trainer);
    if (trainer) rank->held = cm3_optimizer_bytes(&trainer->optimizer);
    cm3_trainer_destroy(trainer);
    return status;
}
