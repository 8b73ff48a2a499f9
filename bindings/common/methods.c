/* See methods.h. */
#include "methods.h"
#include <stdio.h>

static cm3_value of_bool(int value) {
    return (cm3_value){.kind = CM3_VALUE_BOOL, .integer = value != 0};
}

static cm3_value of_int(int64_t value) {
    return (cm3_value){.kind = CM3_VALUE_INT, .integer = value};
}

static cm3_value of_float(double value) {
    return (cm3_value){.kind = CM3_VALUE_FLOAT, .number = value};
}

static cm3_value of_text(const char *text) {
    size_t size = 0;
    while (text[size]) size++;
    return (cm3_value){.kind = CM3_VALUE_TEXT, .text = text, .size = size};
}

static const char *reason_name(cm3_end_reason reason) {
    switch (reason) {
    case CM3_END_MAX_TOKENS:
        return "max_tokens";
    case CM3_END_CANCELLED:
        return "cancelled";
    case CM3_END_FAILED:
        return "failed";
    default:
        return "finished";
    }
}

static void put(cm3_answer *answer, const char *key, cm3_value value) {
    answer->entries[answer->value.count++] = (cm3_entry){.key = key, .value = value};
}

static void put_image(cm3_answer *answer, const cm3_image *image) {
    cm3_image_view view;
    if (cm3_image_get_view(image, &view) != CM3_OK) return;
    put(answer, "width", of_int(view.width));
    put(answer, "height", of_int(view.height));
    // The library's pictures have no gaps between rows, which the engines could not take.
    put(answer, "data",
        (cm3_value){.kind = CM3_VALUE_BYTES, .bytes = view.pixels, .size = view.stride * (size_t)view.height});
}

static void next(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments;
    const cm3_player_event *event = cm3_player_next(player);
    if (!event) return;
    answer->value = (cm3_value){.kind = CM3_VALUE_DICTIONARY, .entries = answer->entries};
    switch (event->kind) {
    case CM3_PLAYER_LOADED:
        put(answer, "event", of_text("loaded"));
        break;
    case CM3_PLAYER_PROGRESS:
        put(answer, "event", of_text("progress"));
        put(answer, "done", of_int((int64_t)event->done));
        put(answer, "total", of_int((int64_t)event->total));
        put(answer, "seconds", of_float(event->seconds));
        break;
    case CM3_PLAYER_TEXT:
        put(answer, "event", of_text("text"));
        put(answer, "candidate", of_int(event->candidate));
        put(answer, "text", of_text(event->text));
        break;
    case CM3_PLAYER_PREVIEW:
    case CM3_PLAYER_IMAGE:
        put(answer, "event", of_text(event->kind == CM3_PLAYER_IMAGE ? "image" : "preview"));
        put(answer, "candidate", of_int(event->candidate));
        put_image(answer, event->image);
        if (event->kind == CM3_PLAYER_IMAGE) break;
        put(answer, "row", of_int(event->row));
        put(answer, "rows", of_int(event->rows));
        break;
    case CM3_PLAYER_FAILED:
        put(answer, "event", of_text("failed"));
        put(answer, "message", of_text(event->message));
        put(answer, "status", of_text(cm3_status_name(event->status)));
        break;
    case CM3_PLAYER_FINISHED:
        put(answer, "event", of_text("finished"));
        put(answer, "reason", of_text(reason_name(event->reason)));
        put(answer, "seed", of_int((int64_t)event->seed));
        break;
    }
}

static void load_model(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    answer->value = of_bool(cm3_player_load(player, arguments[0].text, &arguments[1]) == CM3_OK);
}

static void generate(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    answer->value = of_bool(cm3_player_generate(player, arguments[0].text, &arguments[1]) == CM3_OK);
}

static void poll(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)answer;
    cm3_player_poll(player, arguments[0].integer > 0 ? (uint64_t)arguments[0].integer : 0);
}

static void cancel(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments, (void)answer;
    cm3_player_cancel(player);
}

static void unload(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments, (void)answer;
    cm3_player_unload(player);
}

static void is_loading(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments;
    answer->value = of_bool(cm3_player_is_loading(player));
}

static void is_loaded(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments;
    answer->value = of_bool(cm3_player_is_loaded(player));
}

static void is_running(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments;
    answer->value = of_bool(cm3_player_is_running(player));
}

static void get_message(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)arguments;
    answer->value = of_text(cm3_player_message(player));
}

static void version(cm3_player *player, const cm3_value *arguments, cm3_answer *answer) {
    (void)player, (void)arguments;
    answer->value = of_text(cm3_version());
}

const cm3_method cm3_methods[CM3_METHOD_COUNT] = {
    {"load_model", 2, {"path", "options"}, load_model},
    {"generate", 2, {"prompt", "options"}, generate},
    {"poll", 1, {"budget_usec"}, poll},
    {"next", 0, {NULL}, next},
    {"cancel", 0, {NULL}, cancel},
    {"unload", 0, {NULL}, unload},
    {"is_loading", 0, {NULL}, is_loading},
    {"is_loaded", 0, {NULL}, is_loaded},
    {"is_running", 0, {NULL}, is_running},
    {"get_message", 0, {NULL}, get_message},
    {"version", 0, {NULL}, version},
};
