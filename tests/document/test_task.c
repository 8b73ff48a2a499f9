/* Templates of tasks: those of the library, what prompts and training documents have in common, what is refused. */
#include "document/task.h"

#include "suites.h"
#include "support/fixture.h"
#include "support/tiny_model.h"

enum { PAD, EOD, BREAK, EOSS, SENTINEL, IMAGE = SENTINEL + TINY_SENTINELS };

static test_fixture fixture;
static tiny_parts parts;
static cm3_encoder encoder;
static cm3_tasks *tasks;
static int32_t codes[3][TINY_TOKENS];

static void up(void) {
    test_fixture_up(&fixture);
    tiny_create(fixture.context, 96, &parts);
    encoder = (cm3_encoder){.context = fixture.context, .bpe = parts.bpe, .special = &parts.special, .vq = parts.vq};
    for (int i = 0; i < 3 * TINY_TOKENS; i++) codes[i / TINY_TOKENS][i % TINY_TOKENS] = (i * 7 + i / 5) % TINY_CODES;
    ck_assert_int_eq(cm3_tasks_load(fixture.context, NULL, &tasks), CM3_OK);
}

static void down(void) {
    cm3_tasks_destroy(tasks);
    tiny_clear(fixture.context, &parts);
    test_fixture_down(&fixture);
}

#define OK(call) ck_assert_msg((call) == CM3_OK, "%s", cm3_context_message(fixture.context))

/* Every name that a template of the library's has. */
static const cm3_task_value values[] = {
    {.name = "caption", .text = "a red ball"},
    {.name = "question", .text = "what is it?"},
    {.name = "answer", .text = "a cube"},
    {.name = "question2", .text = "what is red?"},
    {.name = "answer2", .text = "the ball"},
    {.name = "question3", .text = "how many?"},
    {.name = "answer3", .text = "two"},
    {.name = "question4", .text = "is there a ball?"},
    {.name = "answer4", .text = "yes"},
    {.name = "question5", .text = "where is it?"},
    {.name = "answer5", .text = "at the top"},
    {.name = "question6", .text = "why?"},
    {.name = "answer6", .text = "because"},
    {.name = "instruction", .text = "make it blue"},
    {.name = "before", .text = "a"},
    {.name = "span", .text = " red"},
    {.name = "after", .text = " ball"},
    {.name = "text", .text = "hello"},
    {.name = "boxes", .text = "ball at 1 2"},
    {.name = "context", .text = "there is a ball"},
    {.name = "options", .text = "(A) a ball"},
    {.name = "explanation", .text = "it is round."},
    {.name = "image", .codes = codes[0], .code_count = TINY_TOKENS},
    {.name = "source", .codes = codes[1], .code_count = TINY_TOKENS},
    {.name = "segmentation", .codes = codes[1], .code_count = TINY_TOKENS},
    {.name = "outline", .codes = codes[2], .code_count = TINY_TOKENS},
    {.name = "features", .codes = codes[2], .code_count = TINY_TOKENS},
};
#define VALUES (sizeof values / sizeof *values)

static const cm3_task_value *value_of(const char *name) {
    for (size_t i = 0; i < VALUES; i++) {
        if (strcmp(values[i].name, name) == 0) return &values[i];
    }
    return NULL;
}

static const char *text_of(void *arg, const char *name) {
    (void)arg;
    return value_of(name) ? value_of(name)->text : NULL;
}

static const int32_t *codes_of(void *arg, const char *name, size_t *count) {
    (void)arg;
    if (!value_of(name)) return NULL;
    *count = value_of(name)->code_count;
    return value_of(name)->codes;
}

static const cm3_task_values all = {text_of, codes_of, NULL};

/** A task's prompt is what its training document begins with. */
START_TEST(prompts_begin_documents) {
    const char *name;
    size_t count = 0;
    for (; cm3_tasks_name(tasks, count, &name) == CM3_OK; count++) {
        cm3_ids ids = {0}, prompt = {0};
        cm3_answers answers;
        cm3_document *document;
        cm3_task_form form = {.struct_size = sizeof form};
        OK(cm3_task_tokens(&encoder, cm3_tasks_find(tasks, name), &all, NULL, CM3_DROP_NOTHING, NULL, &ids, &answers));
        ck_assert_int_eq(ids.ids[0], EOD);
        ck_assert_int_eq(ids.ids[ids.count - 1], EOD);
        OK(cm3_task_document(tasks, name, values, VALUES, &document, &form));
        bool image = form.answer == CM3_SEGMENT_IMAGE;
        OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){.image_follows = image && !form.box}, &prompt));
        if (form.infill) {
            OK(cm3_move_spans(fixture.context, CM3_MASKING_CODE, &parts.special, answers.spans, 1, &ids));
        }
        /* All values are given, so that of several answers the last is asked for. */
        size_t shared = form.infill || form.box ? prompt.count : (size_t)answers.spans[answers.count - 1].begin;
        ck_assert_msg(prompt.count == shared && shared < ids.count, "%s: %zu, %zu", name, prompt.count, shared);
        ck_assert_mem_eq(prompt.ids, ids.ids, shared * sizeof *ids.ids);
        if (form.infill) ck_assert_int_eq(ids.ids[shared - 1], SENTINEL);
        ck_assert(!form.image_name == !image);
        cm3_document_destroy(document);
        cm3_ids_clear(fixture.context, &ids);
        cm3_ids_clear(fixture.context, &prompt);
    }
    ck_assert_uint_gt(count, 20);
}
END_TEST

static void expect(const cm3_ids *ids, size_t *at, const int32_t *expected, size_t count) {
    ck_assert_uint_le(*at + count, ids->count);
    ck_assert_mem_eq(ids->ids + *at, expected, count * sizeof *expected);
    *at += count;
}

static void expect_text(const cm3_ids *ids, size_t *at, const char *text) {
    int32_t *own = NULL;
    size_t count = 0, capacity = 0;
    OK(cm3_bpe_encode(parts.bpe, text, strlen(text), 0, &own, &count, &capacity));
    expect(ids, at, own, count);
    cm3_free(fixture.context, own);
}

static void expect_image(const cm3_ids *ids, size_t *at, int number) {
    int32_t own[TINY_TOKENS];
    for (int i = 0; i < TINY_TOKENS; i++) own[i] = IMAGE + codes[number][i];
    expect(ids, at, own, TINY_TOKENS);
}

#define ONE(id) expect(&ids, &at, (const int32_t[]){id}, 1)

/** An edit, written out; with its texts, told and said, and with all, left out. */
START_TEST(drops) {
    const cm3_task *edit = cm3_tasks_find(tasks, "edit");
    cm3_ids ids = {0};
    cm3_answers answers;
    for (int drop = CM3_DROP_NOTHING; drop <= CM3_DROP_ALL; drop++) {
        size_t at = 0;
        OK(cm3_task_tokens(&encoder, edit, &all, NULL, (cm3_task_drop)drop, NULL, &ids, &answers));
        ONE(EOD);
        if (drop == CM3_DROP_ALL) {
            ONE(SENTINEL);
        } else {
            ONE(BREAK);
            expect_image(&ids, &at, 1);
            ONE(BREAK);
            if (drop == CM3_DROP_TEXT) ONE(SENTINEL);
            if (drop == CM3_DROP_NOTHING) expect_text(&ids, &at, "make it blue");
            ONE(BREAK);
            if (drop == CM3_DROP_TEXT) ONE(SENTINEL);
            if (drop == CM3_DROP_NOTHING) {
                ck_assert_int_eq(answers.spans[0].begin, (int64_t)at);
                expect_text(&ids, &at, "a red ball");
                ck_assert_int_eq(answers.spans[0].end, (int64_t)at);
            }
        }
        ONE(BREAK);
        ck_assert_int_eq(answers.count, drop == CM3_DROP_NOTHING ? 2 : 1);
        ck_assert_int_eq(answers.spans[answers.count - 1].begin, (int64_t)at);
        expect_image(&ids, &at, 0);
        ck_assert_int_eq(answers.spans[answers.count - 1].end, (int64_t)at);
        ONE(EOD);
        ck_assert_uint_eq(at, ids.count);
    }
    cm3_ids_clear(fixture.context, &ids);
}
END_TEST

/** An edit is asked for in turns: what will be seen, then, with that, the picture. */
START_TEST(one_answer_after_another) {
    cm3_task_value given[] = {*value_of("source"), *value_of("instruction"), *value_of("caption")};
    cm3_ids first = {0}, second = {0};
    cm3_document *document;
    cm3_task_form form = {.struct_size = sizeof form};
    OK(cm3_task_document(tasks, "edit", given, 2, &document, &form));
    ck_assert_int_eq(form.answer, CM3_SEGMENT_TEXT);
    ck_assert_ptr_null(form.image_name);
    ck_assert_str_eq(form.text_name, "caption");
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){.image_follows = false}, &first));
    cm3_document_destroy(document);
    OK(cm3_task_document(tasks, "edit", given, 3, &document, &form));
    ck_assert_int_eq(form.answer, CM3_SEGMENT_IMAGE);
    ck_assert_str_eq(form.image_name, "image");
    ck_assert_ptr_null(form.text_name);
    OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){.image_follows = true}, &second));
    cm3_document_destroy(document);
    ck_assert_uint_gt(second.count, first.count);
    ck_assert_mem_eq(first.ids, second.ids, first.count * sizeof *first.ids);
    size_t at = first.count;
    cm3_ids ids = second;
    expect_text(&ids, &at, "a red ball");
    ONE(BREAK);
    ck_assert_uint_eq(at, second.count);
    cm3_ids_clear(fixture.context, &first);
    cm3_ids_clear(fixture.context, &second);
}
END_TEST

/** Where the answer is filled in, its spans have the sentinels: a text that is left out leaves none. */
START_TEST(drops_around_holes) {
    static const char own[] = "{\"tasks\": {\"box\": [{\"text\": \"{caption}\"}, \"break\", {\"image\": \"image\", "
                              "\"answer\": \"box\"}]}}";
    cm3_tasks *boxes;
    OK(cm3_tasks_parse(fixture.context, "own", own, strlen(own), &boxes));
    cm3_ids ids = {0};
    cm3_answers answers;
    for (int drop = CM3_DROP_TEXT; drop <= CM3_DROP_ALL; drop++) {
        size_t at = 0;
        OK(cm3_task_tokens(&encoder, cm3_tasks_find(boxes, "box"), &all, NULL, (cm3_task_drop)drop, NULL, &ids,
                           &answers));
        ONE(EOD);
        ONE(BREAK);
        ck_assert_int_eq(answers.spans[0].begin, (int64_t)at);
        expect_image(&ids, &at, 0);
        ONE(EOD);
        ck_assert_uint_eq(at, ids.count);
    }
    cm3_document *none;
    ck_assert_int_eq(cm3_task_picture_prompt(boxes, "box", values, VALUES, &none), CM3_ERROR_UNSUPPORTED);
    cm3_tasks_destroy(boxes);
    cm3_ids_clear(fixture.context, &ids);
}
END_TEST

/** Several answers: where each stands. */
START_TEST(several_answers) {
    cm3_ids ids = {0};
    cm3_answers answers;
    size_t at = 0;
    char question[24] = "question", answer[24] = "answer";
    OK(cm3_task_tokens(&encoder, cm3_tasks_find(tasks, "talk"), &all, NULL, CM3_DROP_NOTHING, NULL, &ids, &answers));
    ck_assert_int_eq(answers.count, 6);
    ONE(EOD);
    ONE(BREAK);
    expect_image(&ids, &at, 0);
    for (int i = 0; i < 6; i++) {
        if (i) snprintf(question + 8, 12, "%d", i + 1), snprintf(answer + 6, 12, "%d", i + 1);
        ONE(BREAK);
        expect_text(&ids, &at, value_of(question)->text);
        ONE(BREAK);
        ck_assert_int_eq(answers.spans[i].begin, (int64_t)at);
        expect_text(&ids, &at, value_of(answer)->text);
        ck_assert_int_eq(answers.spans[i].end, (int64_t)at);
    }
    ONE(EOD);
    ck_assert_uint_eq(at, ids.count);
    cm3_ids_clear(fixture.context, &ids);
}
END_TEST

/** A rectangle of a picture that is hidden where it is given, and drawn in full where it is asked for. */
START_TEST(hidden_pictures) {
    cm3_ids ids = {0};
    cm3_answers answers;
    const cm3_cells cells = {.x = 1, .y = 2, .width = 3, .height = 2, .grid = 8};
    OK(cm3_task_tokens(&encoder, cm3_tasks_find(tasks, "infill-image"), &all, NULL, CM3_DROP_NOTHING, &cells, &ids,
                       &answers));
    size_t at = 0;
    ONE(EOD);
    ONE(BREAK);
    for (int i = 0; i < TINY_TOKENS; i++) {
        bool hidden = i % 8 >= 1 && i % 8 < 4 && i / 8 >= 2 && i / 8 < 4;
        ONE(hidden ? SENTINEL : IMAGE + codes[0][i]);
    }
    ONE(BREAK);
    expect_text(&ids, &at, "a red ball");
    ONE(BREAK);
    ck_assert_int_eq(answers.spans[0].begin, (int64_t)at);
    expect_image(&ids, &at, 0);
    cm3_ids_clear(fixture.context, &ids);
}
END_TEST

/** Guidance's third stream begins as a training document whose texts are left out does. */
START_TEST(picture_prompts) {
    static const char *const names[] = {"edit", "layout", "generate", "infill-image"};
    for (int i = 0; i < 4; i++) {
        cm3_ids ids = {0}, prompt = {0};
        cm3_answers answers;
        cm3_document *document;
        OK(cm3_task_tokens(&encoder, cm3_tasks_find(tasks, names[i]), &all, NULL, CM3_DROP_TEXT, NULL, &ids, &answers));
        OK(cm3_task_picture_prompt(tasks, names[i], values, VALUES, &document));
        OK(cm3_prompt_tokens(&encoder, document, (cm3_prompt_form){.image_follows = true}, &prompt));
        ck_assert_int_eq((int64_t)prompt.count, answers.spans[answers.count - 1].begin);
        ck_assert_mem_eq(prompt.ids, ids.ids, prompt.count * sizeof *ids.ids);
        cm3_document_destroy(document);
        cm3_ids_clear(fixture.context, &ids);
        cm3_ids_clear(fixture.context, &prompt);
    }
    cm3_document *none;
    ck_assert_int_eq(cm3_task_picture_prompt(tasks, "ask", values, VALUES, &none), CM3_ERROR_UNSUPPORTED);
    ck_assert_int_eq(cm3_task_picture_prompt(tasks, "infill-text", values, VALUES, &none), CM3_ERROR_UNSUPPORTED);
    ck_assert_int_eq(cm3_task_picture_prompt(tasks, "dance", values, VALUES, &none), CM3_ERROR_NOT_FOUND);
    ck_assert_ptr_null(none);
}
END_TEST

/** In training any of several wordings is taken. */
START_TEST(wordings) {
    cm3_random random = cm3_random_make(3, 0);
    cm3_ids ids = {0}, before = {0};
    cm3_answers answers;
    int changes = 0;
    for (int i = 0; i < 50; i++) {
        OK(cm3_task_tokens(&encoder, cm3_tasks_find(tasks, "caption"), &all, &random, CM3_DROP_NOTHING, NULL, &ids,
                           &answers));
        changes += ids.count != before.count;
        before.count = ids.count;
    }
    ck_assert(changes > 5 && changes < 50);
    cm3_ids_clear(fixture.context, &ids);
}
END_TEST

static const struct {
    const char *json, *says;
} bad[] = {
    {"[]", "'tasks'"},
    {"{\"tasks\": {}}", "'tasks'"},
    {"{\"tasks\": {\"x\": []}}", "'x' is not a list"},
    {"{\"tasks\": {\"x\": [\"brake\"]}}", "element 0"},
    {"{\"tasks\": {\"x\": [\"break\"]}}", "0 answers"},
    {"{\"tasks\": {\"x\": [{\"text\": \"a\", \"image\": \"b\"}]}}", "element 0"},
    {"{\"tasks\": {\"x\": [\"break\", {\"text\": 5}]}}", "element 1"},
    {"{\"tasks\": {\"x\": [{\"text\": []}]}}", "no text"},
    {"{\"tasks\": {\"x\": [{\"text\": \"a {b\"}]}}", "brace"},
    {"{\"tasks\": {\"x\": [{\"text\": \"a {}\"}]}}", "brace"},
    {"{\"tasks\": {\"x\": [{\"text\": \"a\", \"answer\": \"box\"}]}}", "box"},
    {"{\"tasks\": {\"x\": [{\"text\": \"a\", \"answers\": true}]}}", "not known"},
    {"{\"tasks\": {\"x\": [{\"image\": \"\", \"answer\": true}]}}", "not a name"},
    {"{\"tasks\": {\"x\": [{\"image\": \"a\", \"answer\": true}, {\"text\": \"b\", \"answer\": true}, \"break\"]}}",
     "2 answers"},
    {"{\"tasks\": {\"x\": [{\"image\": \"a\", \"answer\": \"box\"}, {\"text\": \"b\", \"answer\": true}]}}",
     "2 answers"},
    {"{\"tasks\": {\"x\": [{\"text\": \"a\", \"hidden\": true}]}}", "'hidden'"},
    {"{\"tasks\": {\"x\": [{\"image\": \"a\", \"hidden\": 1}]}}", "'hidden'"},
    {"{\"tasks\": {\"x\": [{\"image\": \"a\", \"hidden\": true, \"answer\": true}]}}", "'hidden'"},
    {"{\"tasks\": ", "line 1"},
};

START_TEST(refused_templates) {
    cm3_tasks *none;
    const char *path = test_path(&fixture, "tasks.json");
    test_put(path, bad[_i].json, strlen(bad[_i].json));
    ck_assert_int_eq(cm3_tasks_load(fixture.context, path, &none), CM3_ERROR_FORMAT);
    ck_assert_msg(test_says(&fixture, bad[_i].says) && test_says(&fixture, "tasks.json"), "%s",
                  cm3_context_message(fixture.context));
    ck_assert_ptr_null(none);
}
END_TEST

START_TEST(arguments) {
    cm3_document *document;
    const char *name;
    cm3_tasks *none;
    ck_assert_int_eq(cm3_tasks_load(fixture.context, "/none", &none), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(cm3_tasks_load(fixture.context, NULL, NULL), CM3_ERROR_INVALID_ARGUMENT);
    ck_assert_int_eq(cm3_tasks_name(tasks, 1000, &name), CM3_ERROR_NOT_FOUND);
    ck_assert_int_eq(cm3_task_document(tasks, "dance", values, VALUES, &document, NULL), CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "dance"));
    ck_assert_int_eq(cm3_task_document(tasks, "edit", values, 3, &document, NULL), CM3_ERROR_NOT_FOUND);
    ck_assert(test_says(&fixture, "source"));
    ck_assert_ptr_null(document);
    ck_assert_int_eq(cm3_task_document(tasks, "ask", NULL, 3, &document, NULL), CM3_ERROR_INVALID_ARGUMENT);
    cm3_tasks_destroy(NULL);
}
END_TEST

START_TEST(out_of_memory) {
    cm3_status status = CM3_ERROR_NO_MEMORY;
    int failures = 0;
    for (int64_t n = 0; status != CM3_OK; n++) {
        cm3_tasks *own = NULL;
        cm3_document *document = NULL;
        test_allocator_fail(&fixture.memory, n, INT64_MAX);
        status = cm3_tasks_load(fixture.context, NULL, &own);
        if (status == CM3_OK) status = cm3_task_document(own, "edit", values, VALUES, &document, NULL);
        test_allocator_fail(&fixture.memory, -1, 0);
        ck_assert_msg(status == CM3_OK || status == CM3_ERROR_NO_MEMORY, "%s", cm3_context_message(fixture.context));
        cm3_document_destroy(document);
        cm3_tasks_destroy(own);
        failures += status != CM3_OK;
    }
    ck_assert_int_gt(failures, 5);
}
END_TEST

Suite *task_suite(void) {
    Suite *suite = suite_create("document/task");
    TCase *tcase = tcase_create("task");
    tcase_add_checked_fixture(tcase, up, down);
    tcase_add_test(tcase, prompts_begin_documents);
    tcase_add_test(tcase, drops);
    tcase_add_test(tcase, one_answer_after_another);
    tcase_add_test(tcase, drops_around_holes);
    tcase_add_test(tcase, several_answers);
    tcase_add_test(tcase, hidden_pictures);
    tcase_add_test(tcase, picture_prompts);
    tcase_add_test(tcase, wordings);
    tcase_add_loop_test(tcase, refused_templates, 0, (int)(sizeof bad / sizeof *bad));
    tcase_add_test(tcase, arguments);
    tcase_add_test(tcase, out_of_memory);
    suite_add_tcase(suite, tcase);
    return suite;
}
