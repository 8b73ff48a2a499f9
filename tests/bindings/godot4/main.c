/*
 * The add-on for Godot 4 in a host of our own: made, called, polled frame by frame, and taken down.
 *   test_godot4, with CM3_GODOT4_LIBRARY and CM3_MODEL
 */
#include "host.h"
#include <check.h>
#include <cm3leon/cm3leon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CLASS "Cm3leonPlayer"
#define ENTRY "cm3_godot4_init"
#define PROMPT "a large red circle and a small blue star on a sand background"

static const char *library, *model;
static host_object *player;

/** What the signals of a script would tell of one generation, or one loading. */
static struct {
    int frames, loaded, progress, previews, images, texts, failed, finished;
    int64_t done, seed, width, height;
    char message[512], reason[32];
    uint8_t *pixels;
    size_t size;
} seen;

static void forget(void) {
    free(seen.pixels);
    memset(&seen, 0, sizeof seen);
}

/** A method that takes at most one text and options, by the dynamic way, and its result as a truth. */
static int ask(const char *method, const char *text, host_variant options) {
    host_variant arguments[2] = {text ? host_text(text) : host_nil(), options};
    gde_call_error error;
    host_variant result = host_call(player, method, arguments, text ? 2 : 0, &error);
    ck_assert_int_eq(error.error, GDE_CALL_OK);
    int truth = result.type == GDE_BOOL && result.as.integer;
    host_drop(&result);
    host_drop(&arguments[0]);
    host_drop(&arguments[1]);
    return truth;
}

static int is(const char *method) {
    return ask(method, NULL, host_nil());
}

/** Whether the player's message holds some words. */
static int says(const char *words) {
    host_variant result = host_call(player, "get_message", NULL, 0, NULL);
    int found = strstr(host_text_of(&result), words) != NULL;
    if (!found) fprintf(stderr, "it says '%s', not '%s'\n", host_text_of(&result), words);
    host_drop(&result);
    return found;
}

static int64_t number(const host_variant *event, const char *key) {
    const host_variant *value = host_get(event, key);
    ck_assert_msg(value && value->type == GDE_INT, "no number '%s'", key);
    return value->as.integer;
}

static void see_picture(const host_variant *event) {
    size_t size = 0;
    const uint8_t *bytes = host_bytes_of(host_get(event, "data"), &size);
    ck_assert_ptr_nonnull(bytes);
    ck_assert_int_eq(number(event, "candidate"), 0);
    seen.width = number(event, "width");
    seen.height = number(event, "height");
    ck_assert_uint_eq(size, (size_t)(3 * seen.width * seen.height));
    free(seen.pixels);
    seen.pixels = malloc(size);
    memcpy(seen.pixels, bytes, size);
    seen.size = size;
}

static void see(const host_variant *event) {
    const char *kind = host_text_of(host_get(event, "event"));
    if (!strcmp(kind, "loaded")) {
        seen.loaded++;
    } else if (!strcmp(kind, "progress")) {
        seen.progress++;
        ck_assert_int_ge(number(event, "done"), seen.done);
        seen.done = number(event, "done");
        ck_assert_int_le(seen.done, number(event, "total"));
        ck_assert_int_eq(host_get(event, "seconds")->type, GDE_FLOAT);
    } else if (!strcmp(kind, "preview") || !strcmp(kind, "image")) {
        see_picture(event);
        ++*(kind[0] == 'p' ? &seen.previews : &seen.images);
        if (kind[0] == 'p') ck_assert_int_gt(number(event, "rows"), 0);
    } else if (!strcmp(kind, "text")) {
        seen.texts++;
    } else if (!strcmp(kind, "failed")) {
        seen.failed++;
        snprintf(seen.message, sizeof seen.message, "%s", host_text_of(host_get(event, "message")));
    } else if (!strcmp(kind, "finished")) {
        seen.finished++;
        seen.seed = number(event, "seed");
        snprintf(seen.reason, sizeof seen.reason, "%s", host_text_of(host_get(event, "reason")));
    } else {
        ck_abort_msg("an unknown event '%s'", kind);
    }
}

/** One frame: polls, and takes all events, by the typed way. */
static void frame(int64_t budget) {
    host_variant argument = host_int(budget), result = host_ptrcall(player, "poll", &argument);
    ck_assert_int_eq(result.type, GDE_NIL);
    host_drop(&argument);
    seen.frames++;
    for (;;) {
        host_variant event = host_ptrcall(player, "next", NULL);
        int more = event.type == GDE_DICTIONARY;
        if (more) see(&event);
        host_drop(&event);
        if (!more) return;
    }
}

/** Frames of 1/120 s until a count is not 0, at most three minutes. */
static void until(const int *count) {
    for (int i = 0; i < 180 * 120 && !*count; i++) {
        frame(0);
        nanosleep(&(struct timespec){.tv_nsec = 8333333}, NULL);
    }
    ck_assert_msg(*count, "waited in vain; the last message: %s", seen.message);
}

static host_variant options(const char *key, host_variant value) {
    host_variant made = host_dictionary_new();
    host_put(&made, key, value);
    return made;
}

static void load(int64_t threads) {
    ck_assert(ask("load_model", model, options("threads", host_int(threads))));
    forget();
    until(&seen.loaded);
    ck_assert(is("is_loaded"));
    forget();
}

static void setup(void) {
    ck_assert_msg(host_load(library, ENTRY, NULL), "%s", host_error());
    host_initialize();
    player = host_new(CLASS);
    ck_assert_ptr_nonnull(player);
}

static void teardown(void) {
    forget();
    host_delete(player);
    host_deinitialize();
    ck_assert_msg(host_live() == 0, "%zu values or objects were not given back", host_live());
}

START_TEST(the_class_is_registered) {
    ck_assert_uint_eq(host_method_count(CLASS), 11);
    host_variant version = host_call(player, "version", NULL, 0, NULL);
    ck_assert_str_eq(host_text_of(&version), cm3_version());
    host_drop(&version);
    gde_call_error error;
    host_variant arguments[2] = {host_int(0), host_int(1)};
    host_variant result = host_call(player, "poll", arguments, 2, &error);
    ck_assert_int_eq(error.error, GDE_CALL_TOO_MANY_ARGUMENTS);
    ck_assert_int_eq(error.expected, 1);
    host_drop(&result);
    result = host_call(player, "poll", NULL, 0, &error); // defaults are this side's
    ck_assert_int_eq(error.error, GDE_CALL_OK);
    host_drop(&result);
    host_deinitialize();
    ck_assert_uint_eq(host_method_count(CLASS), 0);
    host_initialize();
}
END_TEST

START_TEST(an_engine_that_lacks_something_is_refused) {
    ck_assert(!host_load(library, ENTRY, "variant_get_keyed"));
    ck_assert_ptr_nonnull(strstr(host_error(), "variant_get_keyed"));
    ck_assert(!host_load(library, ENTRY, "print_error_with_message"));
    ck_assert(host_load(library, ENTRY, NULL));
}
END_TEST

START_TEST(what_is_wrong_is_refused_with_a_message) {
    ck_assert(!ask("generate", PROMPT, host_nil()) && says("no model was loaded"));
    ck_assert(!ask("load_model", model, options("threds", host_int(1))) && says("'threds'"));
    ck_assert(!ask("load_model", model, options("threads", host_text("one"))) && says("'threads'"));
    ck_assert(!ask("load_model", model, options("threads", host_float(1.5))) && says("'threads'"));
    ck_assert(!ask("load_model", model, options("threads", host_int(5000000000))) && says("'threads'"));
    ck_assert(!ask("load_model", model, options("huge", host_int(1))) && says("'huge'"));
    ck_assert(!ask("load_model", model, options("bank", host_dictionary_new())) && says("'bank'"));
    ck_assert(!ask("load_model", model, host_text("none")) && says("dictionary"));
    host_variant odd = host_dictionary_new();
    for (int i = 0; i < 100; i++) {
        char key[16];
        snprintf(key, sizeof key, "key%d", i);
        host_put(&odd, key, host_int(i));
    }
    ck_assert(!ask("load_model", model, odd) && says("'key0'"));
    gde_call_error error;
    host_variant path = host_int(7), result = host_call(player, "load_model", &path, 1, &error);
    ck_assert(result.type == GDE_BOOL && !result.as.integer && says("path"));
    ck_assert(!is("is_loading") && !is("is_loaded") && !is("is_running"));
    load(1);
    ck_assert(!ask("generate", PROMPT, options("temperature", host_bool(1))) && says("'temperature'"));
    ck_assert(!ask("generate", PROMPT, options("modality", host_text("film"))) && says("interleaved"));
    ck_assert(!ask("generate", PROMPT, options("candidates", host_int(1000))) && says("candidates"));
    ck_assert(!ask("generate", PROMPT, options("retrieve", host_int(2))) && says("bank"));
    ck_assert(!ask("generate", "\xff", host_nil()) && says("UTF-8"));
    ck_assert(!is("is_running"));
}
END_TEST

START_TEST(a_bad_file_gives_a_message) {
    ck_assert(ask("load_model", "/nowhere/at all.cm3", host_nil()));
    ck_assert(is("is_loading") && !ask("load_model", model, host_nil()) && says("already"));
    until(&seen.failed);
    ck_assert_ptr_nonnull(strstr(seen.message, "at all.cm3"));
    ck_assert(says(seen.message) && !is("is_loaded") && !is("is_loading"));
    load(1);
    ck_assert(ask("load_model", library, host_nil())); // no model either; the one that is there stays
    forget();
    until(&seen.failed);
    ck_assert(is("is_loaded") && seen.message[0]);
}
END_TEST

/** The library's own picture, by its C interface. */
static void draw(cm3_image_view *view, cm3_document **result) {
    cm3_context *context;
    cm3_model *loaded;
    cm3_document *prompt;
    cm3_segment picture = {.struct_size = sizeof picture};
    cm3_context_options how = {.struct_size = sizeof how};
    cm3_generate_options generate = {.struct_size = sizeof generate};
    cm3_context_options_init(&how);
    how.threads = 1;
    ck_assert_int_eq(cm3_context_create(&how, &context), CM3_OK);
    ck_assert_int_eq(cm3_model_load(context, model, NULL, &loaded), CM3_OK);
    ck_assert_int_eq(cm3_document_create(context, &prompt), CM3_OK);
    ck_assert_int_eq(cm3_document_add_text(prompt, PROMPT, SIZE_MAX), CM3_OK);
    ck_assert_int_eq(cm3_generate_options_for(loaded, CM3_MODALITY_IMAGE, &generate), CM3_OK);
    generate.seed = 7;
    ck_assert_int_eq(cm3_generate(loaded, prompt, &generate, NULL, NULL, result), CM3_OK);
    ck_assert_int_eq(cm3_document_get(*result, 0, &picture), CM3_OK);
    ck_assert_int_eq(cm3_image_get_view(picture.image, view), CM3_OK);
    cm3_document_destroy(prompt);
    cm3_model_destroy(loaded);
    cm3_context_destroy(context);
}

START_TEST(a_picture_is_the_librarys_own) {
    cm3_image_view view;
    cm3_document *result = NULL;
    draw(&view, &result);
    load(1);
    host_variant how = options("seed", host_int(7));
    host_put_name(&how, "preview_rows", host_int(2)); // &"preview_rows"
    host_put_name(&how, "modality", host_name("image"));
    ck_assert(ask("generate", PROMPT, how));
    ck_assert(is("is_running") && !ask("generate", PROMPT, host_nil()) && says("being generated"));
    until(&seen.finished);
    ck_assert_str_eq(seen.reason, "finished");
    ck_assert_int_eq(seen.images, 1);
    ck_assert_int_eq(seen.seed, 7);
    ck_assert_int_ge(seen.progress, 3);
    ck_assert_int_ge(seen.previews, 1);
    ck_assert_int_eq(seen.failed, 0);
    ck_assert(seen.width == view.width && seen.height == view.height);
    ck_assert_mem_eq(seen.pixels, view.pixels, seen.size);
    ck_assert(!is("is_running"));
    cm3_document_destroy(result);
}
END_TEST

START_TEST(cancel_stops_it_and_another_may_follow) {
    load(1);
    ck_assert(ask("generate", PROMPT, options("candidates", host_int(16))));
    until(&seen.progress);
    is("cancel");
    until(&seen.finished);
    ck_assert_str_eq(seen.reason, "cancelled");
    ck_assert(!seen.images && !seen.failed);
    forget();
    host_variant how = options("modality", host_text("text"));
    host_put(&how, "max_tokens", host_int(5));
    host_put(&how, "min_tokens", host_float(5)); // whole all the same
    ck_assert(ask("generate", "a", how));
    until(&seen.finished);
    ck_assert_str_eq(seen.reason, "max_tokens");
    ck_assert_int_gt(seen.texts, 0);
    forget();
    ck_assert(ask("generate", PROMPT, host_nil()));
    until(&seen.progress);
    is("unload");
    ck_assert(!is("is_loaded") && !is("is_running"));
    frame(0);
    ck_assert_int_eq(seen.finished, 0);
}
END_TEST

START_TEST(without_threads_polling_computes) {
    load(0);
    ck_assert(ask("generate", PROMPT, options("seed", host_int(-5)))); // a seed of 64 bits
    while (!seen.finished && seen.frames < 100000) frame(4000);
    ck_assert_str_eq(seen.reason, "finished");
    ck_assert_int_eq(seen.images, 1);
    ck_assert_int_eq(seen.seed, -5);
    ck_assert_int_gt(seen.frames, 3);
}
END_TEST

START_TEST(it_may_be_freed_at_any_time) {
    load(1);
    ck_assert(ask("generate", PROMPT, options("candidates", host_int(16))));
    until(&seen.progress);
    host_delete(player);
    player = host_new(CLASS);
    ck_assert(ask("load_model", model, host_nil()));
    host_object *other = player;
    player = host_new(CLASS);
    host_delete(other);
    load(1);
    ck_assert(ask("generate", PROMPT, host_nil()));
}
END_TEST

int main(void) {
    library = getenv("CM3_GODOT4_LIBRARY");
    model = getenv("CM3_MODEL");
    if (!library || !model) {
        fprintf(stderr, "CM3_GODOT4_LIBRARY and CM3_MODEL are not set\n");
        return 2;
    }
    Suite *suite = suite_create("bindings/godot4");
    TCase *tests = tcase_create("player");
    tcase_add_checked_fixture(tests, setup, teardown);
    tcase_set_timeout(tests, 240);
    tcase_add_test(tests, the_class_is_registered);
    tcase_add_test(tests, an_engine_that_lacks_something_is_refused);
    tcase_add_test(tests, what_is_wrong_is_refused_with_a_message);
    tcase_add_test(tests, a_bad_file_gives_a_message);
    tcase_add_test(tests, a_picture_is_the_librarys_own);
    tcase_add_test(tests, cancel_stops_it_and_another_may_follow);
    tcase_add_test(tests, without_threads_polling_computes);
    tcase_add_test(tests, it_may_be_freed_at_any_time);
    suite_add_tcase(suite, tests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed != 0;
}
