/* Instruction tuning: mixtures of tasks, their documents, and that a model learns them. */
#include <math.h>

#include "model/model.h"
#include "support.h"
#include "train/lm_run.h"

static test_fixture fixture;
static test_run run;

static void up(void) {
    test_fixture_up(&fixture);
    test_lm_run(&fixture, &run);
    test_task_shard(&fixture, run.shard);
    run.lm.mixture = "{}";
}

static void down(void) {
    test_fixture_down(&fixture);
}

static cm3_dataset *load_data(void) {
    cm3_dataset *dataset;
    test_ok(&fixture, cm3_dataset_load(fixture.context, run.data, 1, 5, false, 0, &dataset));
    return dataset;
}

static cm3_tasks *load_tasks(void) {
    cm3_tasks *tasks;
    test_ok(&fixture, cm3_tasks_load(fixture.context, NULL, &tasks));
    return tasks;
}

/** How often each example comes in a pass: [task][sample]. */
static void count_pass(cm3_mixture *mixture, uint64_t pass, int counts[3][36]) {
    static const char *const names[] = {"ask", "edit", "generate"};
    memset(counts, 0, 3 * sizeof *counts);
    for (uint64_t i = 0; i < mixture->size; i++) {
        cm3_item item = cm3_mixture_at(mixture, pass * mixture->size + i);
        for (int t = 0; t < 3; t++) {
            if (strcmp(item.task->name, names[t]) == 0) counts[t][item.sample - mixture->dataset->samples]++;
        }
        if (item.example) ck_assert_str_eq(item.example->task, item.task->name);
    }
}

static int sum_of(const int counts[36]) {
    int sum = 0;
    for (int i = 0; i < 36; i++) sum += counts[i];
    return sum;
}

/* 32 questions, 24 edits, 4 captions: 60 items. */
START_TEST(shares) {
    static const struct {
        const char *weights;
        bool once;
        int expected[3];
    } cases[] = {
        /* 20 of each: 0.625, 0.83 and, for 5, at most 3 times */
        {NULL, false, {20, 20, 12}},
        {"{}", false, {20, 20, 12}},
        {"{\"ask\": 3, \"edit\": 1}", false, {42, 14, 0}},
        {"{\"ask\": 100, \"edit\": 1}", false, {56, 8, 0}}, /* not below 0.3 of 24 */
        {"{\"generate\": 1}", false, {0, 0, 4}},
        {NULL, true, {32, 24, 4}},
    };
    cm3_dataset *dataset = load_data();
    cm3_tasks *tasks = load_tasks();
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        cm3_mixture *mixture, *again;
        int counts[2][3][36], other[3][36];
        test_ok(&fixture, cm3_mixture_create(dataset, tasks, cases[i].weights, cases[i].once, &mixture));
        test_ok(&fixture, cm3_mixture_create(dataset, tasks, cases[i].weights, cases[i].once, &again));
        for (int pass = 0; pass < 2; pass++) {
            count_pass(mixture, (uint64_t)pass, counts[pass]);
            count_pass(again, (uint64_t)pass, other);
            ck_assert_mem_eq(other, counts[pass], sizeof other);
            for (int t = 0; t < 3; t++) {
                ck_assert_msg(sum_of(counts[pass][t]) == cases[i].expected[t], "%zu, task %d: %d", i, t,
                              sum_of(counts[pass][t]));
                int least = 1000, most = 0;
                for (int s = 0; s < 36; s++) {
                    bool has = t == 0 ? s < 32 : t == 1 ? s >= 8 && s < 32 : s >= 32;
                    ck_assert(has || !counts[pass][t][s]);
                    if (!has) continue;
                    least = counts[pass][t][s] < least ? counts[pass][t][s] : least;
                    most = counts[pass][t][s] > most ? counts[pass][t][s] : most;
                }
                ck_assert_int_le(most - least, 1); /* evenly */
            }
        }
        if (i == 0) ck_assert_mem_ne(counts[0], counts[1], sizeof counts[0]); /* others in the next pass */
        cm3_mixture_destroy(mixture);
        cm3_mixture_destroy(again);
    }
    cm3_tasks_destroy(tasks);
    cm3_dataset_destroy(dataset);
}
END_TEST

START_TEST(refused) {
    cm3_dataset *dataset = load_data();
    cm3_tasks *tasks = load_tasks();
    cm3_mixture *mixture;
    test_fails(&fixture, cm3_mixture_create(dataset, tasks, "{\"dance\": 1}", false, &mixture), CM3_ERROR_FORMAT,
               "dance");
    test_fails(&fixture, cm3_mixture_create(dataset, tasks, "{\"ask\": 0}", false, &mixture), CM3_ERROR_FORMAT, "ask");
    test_fails(&fixture, cm3_mixture_create(dataset, tasks, "{\"segment\": 1}", false, &mixture), CM3_ERROR_NOT_FOUND,
               "segment");
    test_fails(&fixture, cm3_mixture_create(dataset, tasks, "[1]", false, &mixture), CM3_ERROR_FORMAT, "object");
    cm3_tasks_destroy(tasks);
    cm3_dataset_destroy(dataset);
}
END_TEST

/** Steps of tuning, the losses kept; resumed in the middle where asked for. */
static void tune(double *losses, int count, bool interrupted) {
    run.options.resume = 0;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    int first = interrupted ? count / 2 : count;
    test_steps(&fixture, trainer, first, losses);
    if (interrupted) {
        test_ok(&fixture, cm3_trainer_checkpoint(trainer));
        cm3_trainer_destroy(trainer);
        run.options.resume = 1;
        trainer = test_lm_trainer(&fixture, &run);
        test_steps(&fixture, trainer, count - first, losses + first);
    }
    cm3_trainer_destroy(trainer);
}

START_TEST(learns_tasks) {
    enum { STEPS = 60 };
    double losses[STEPS], again[STEPS];
    run.lm.answers_only = _i % 2;
    run.lm.attend = _i / 2 ? CM3_ATTEND_BLOCK : CM3_ATTEND_DOCUMENT;
    tune(losses, STEPS, false);
    tune(again, STEPS, true);
    ck_assert_mem_eq(losses, again, sizeof losses);
    ck_assert_msg(losses[STEPS - 1] < 0.6 * losses[0], "%g, %g", losses[0], losses[STEPS - 1]);
}
END_TEST

/** The rows that are learned of a batch: all targets but sentinels, or answers alone. */
START_TEST(what_is_learned) {
    run.lm.answers_only = _i;
    run.lm.mixture = "{\"ask\": 1}";
    /* Validation: the loader's thread reads ahead in the other data. */
    const char *validation[] = {test_path(&fixture, "questions.tar")};
    test_single_shard(&fixture, validation[0], "1.json",
                      "{\"codes\": [1, 2, 3, 4], \"examples\": [{\"task\": \"ask\", \"question\": \"what colour\", "
                      "\"answer\": \"red\"}, {\"task\": \"ask\", \"question\": \"how\", \"answer\": \"white ball\"}]}");
    run.options.validation = validation;
    run.options.validation_count = 1;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    cm3_lm_run *own = cm3_lm_run_of(trainer);
    const cm3_special_tokens *special = &own->tokenizer->special;
    for (uint64_t position = 0; position < 20; position++) {
        const float *weights;
        uint64_t documents;
        test_ok(&fixture,
                cm3_lm_make_unit(trainer, trainer->validation, position, &own->scratch[1], &weights, &documents));
        const cm3_ids *unit = &own->scratch[1].unit;
        ck_assert_uint_eq(documents, 1);
        size_t breaks = 0;
        for (size_t i = 0; i < unit->count; i++) {
            /* eod, break, picture, break, question, break, answer, eod */
            float expected = _i ? breaks == 3 : 1;
            ck_assert_msg(weights[i] == expected, "%zu of %zu", i, unit->count);
            breaks += unit->ids[i] == special->break_;
        }
        ck_assert_uint_eq(breaks, 3);
    }
    cm3_trainer_destroy(trainer);
}
END_TEST

/** Of a picture that is given with a hole and asked for in full, what the hole hid; of several answers, each, and what
 * ends it; texts with their weight. */
START_TEST(what_is_learned_of_several) {
    enum { GIVEN = 2, TOKENS = 4 };
    run.lm.answers_only = 1;
    run.lm.text_weight = 2.5f;
    static const char record[] =
        "{\"text\": \"a ball\", \"codes\": [1, 2, 3, 4], \"examples\": [{\"task\": \"infill-image\"}, "
        "{\"task\": \"talk\", \"question\": \"what colour\", \"answer\": \"red\", \"question2\": "
        "\"how\", \"answer2\": \"white ball\", \"question3\": \"a\", \"answer3\": \"b\", "
        "\"question4\": \"a\", \"answer4\": \"b\", \"question5\": \"a\", \"answer5\": \"b\", "
        "\"question6\": \"a\", \"answer6\": \"b\"}]}";
    const char *validation[] = {test_path(&fixture, "several.tar")};
    test_single_shard(&fixture, validation[0], "1.json", record);
    test_single_shard(&fixture, run.shard, "1.json", record);
    run.options.validation = validation;
    run.options.validation_count = 1;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    cm3_lm_run *own = cm3_lm_run_of(trainer);
    const cm3_special_tokens *special = &own->tokenizer->special;
    int hidden = 0, talks = 0;
    for (uint64_t position = 0; position < 20; position++) {
        const float *weights;
        uint64_t documents;
        test_ok(&fixture,
                cm3_lm_make_unit(trainer, trainer->validation, position, &own->scratch[1], &weights, &documents));
        const cm3_ids *unit = &own->scratch[1].unit;
        size_t breaks = 0, all = 0, answer = unit->count - 1 - TOKENS;
        for (size_t i = 0; i < unit->count; i++) all += unit->ids[i] == special->break_;
        bool drawn = all == 3;
        ck_assert(drawn || all == 13);
        talks += !drawn;
        for (size_t i = 0; i < unit->count; i++) {
            /* eod, break, picture, break, question, break, answer, break, question, break, answer ..., eod */
            bool said = breaks > 2 && breaks % 2 == 1;
            float expected = said ? 2.5f : 0;
            if (drawn)
                expected = i >= answer && i < answer + TOKENS && unit->ids[GIVEN + i - answer] == special->sentinels[0];
            ck_assert_msg(weights[i] == expected, "%zu of %zu: %g, %g", i, unit->count, (double)weights[i],
                          (double)expected);
            if (drawn) hidden += weights[i] > 0;
            breaks += unit->ids[i] == special->break_;
        }
    }
    ck_assert_int_eq(talks, 10);
    ck_assert(hidden > 12 && hidden < 38);
    cm3_trainer_destroy(trainer);
}
END_TEST

/** From a model alone: its tokenizers and its configuration serve. */
START_TEST(from_a_model) {
    const char *path = test_path(&fixture, "base.cm3");
    run.lm.mixture = NULL;
    cm3_trainer *trainer = test_lm_trainer(&fixture, &run);
    test_ok(&fixture, cm3_trainer_export(trainer, path, CM3_COMPUTE_F32));
    cm3_trainer_destroy(trainer);
    cm3_train_lm_options_init(&run.lm);
    run.lm.init = path;
    run.lm.block_size = 64;
    run.lm.mixture = "{\"ask\": 1}";
    run.options.resume = 0;
    trainer = test_lm_trainer(&fixture, &run);
    test_steps(&fixture, trainer, 2, NULL);
    ck_assert_int_eq(cm3_lm_run_of(trainer)->lm->config.ffn_size, 48);
    cm3_trainer_destroy(trainer);
    run.lm.init = NULL;
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer),
               CM3_ERROR_INVALID_ARGUMENT, "init");
}
END_TEST

static const struct {
    const char *json, *says;
} bad[] = {
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"examples\": {}}", "'examples' is not a list"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"examples\": [{\"question\": \"a\"}]}", "'task'"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"examples\": [{\"task\": \"ask\", \"question\": 5}]}", "'question'"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"images\": []}", "'images'"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"examples\": [{\"task\": \"edit\"}]}", "'source'"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"examples\": [{\"task\": \"ask\"}]}", "'question'"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"images\": {\"source\": 5}}", "not a list"},
    {"{\"text\": \"a\", \"codes\": [1, 2, 3, 4], \"images\": {\"source\": [900]}}", "900"},
};

START_TEST(bad_records) {
    cm3_trainer *trainer;
    test_single_shard(&fixture, run.shard, "1.json", bad[_i].json);
    test_fails(&fixture, cm3_trainer_create_lm(fixture.context, &run.options, &run.lm, &trainer), CM3_ERROR_FORMAT,
               bad[_i].says);
}
END_TEST

Suite *mixture_suite(void) {
    Suite *suite = suite_create("mixture");
    TCase *tcase = tcase_create("mixture");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_set_timeout(tcase, 240);
    tcase_add_test(tcase, shares);
    tcase_add_test(tcase, refused);
    tcase_add_loop_test(tcase, learns_tasks, 0, 4);
    tcase_add_loop_test(tcase, what_is_learned, 0, 2);
    tcase_add_test(tcase, what_is_learned_of_several);
    tcase_add_test(tcase, from_a_model);
    tcase_add_loop_test(tcase, bad_records, 0, (int)(sizeof bad / sizeof *bad));
    suite_add_tcase(suite, tcase);
    return suite;
}
