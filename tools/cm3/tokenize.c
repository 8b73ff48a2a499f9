/* cm3 tokenize: lines of texts to lines of ids, and back. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 tokenize -m MODEL|tokenizer.json [--plain] [--no-special] < lines > lines\n"
    "       cm3 tokenize -m MODEL|tokenizer.json --decode [--skip-special] < lines > lines\n"
    "\n"
    "Reads a JSON string (or an object with \"text\") a line and writes a JSON list of token ids a line; --decode the "
    "other way round.\n"
    "\n"
    "  -m, --model FILE     a tokenizer.json, or a model whose tokenizer is taken: a .cm3 file or a folder\n"
    "      --vqgan FILE     is loaded with a folder, as elsewhere\n"
    "      --plain          text that spells a special token stays text\n"
    "      --no-special     leave out what the tokenizer's post-processor adds\n"
    "      --decode         ids to texts\n"
    "      --skip-special   leave special tokens out of decoded text\n";

static cm3_status load(cm3_context *context, const char *path, const char *vqgan, cm3_tokenizer **tokenizer) {
    size_t length = strlen(path);
    if (length > 5 && !strcmp(path + length - 5, ".json")) return cm3_tokenizer_load(context, path, tokenizer);
    cm3_model *model = NULL;
    cm3_status status = cm3_open_model(context, path, vqgan, &model);
    if (status == CM3_OK) status = cm3_model_tokenizer(model, tokenizer);
    cm3_model_destroy(model);
    return status;
}

static int encode_line(cm3_context *context, const cm3_tokenizer *tokenizer, const json_t *json, uint32_t flags) {
    const json_t *text = json_is_object(json) ? json_object_get(json, "text") : json;
    if (!json_is_string(text)) {
        cm3_say("a line is neither a JSON string nor an object with \"text\"");
        return CM3_EXIT_FAILED;
    }
    size_t count = 0;
    const char *string = json_string_value(text);
    cm3_status status = cm3_tokenizer_encode(tokenizer, string, json_string_length(text), flags, NULL, 0, &count);
    int32_t *ids = status == CM3_OK ? calloc(count + 1, sizeof *ids) : NULL;
    if (ids) status = cm3_tokenizer_encode(tokenizer, string, json_string_length(text), flags, ids, count, &count);
    if (status != CM3_OK || !ids) {
        free(ids);
        return cm3_failed(context, status);
    }
    putchar('[');
    for (size_t i = 0; i < count; i++) printf("%s%d", i ? ", " : "", ids[i]);
    puts("]");
    free(ids);
    return CM3_EXIT_DONE;
}

/** Writes a line of JSON, its line breaks of Unicode escaped: readers of lines may take them for the line's end. */
static void put_line(const char *json) {
    static const char *const breaks[][2] = {
        {"\xc2\x85", "\\u0085"}, {"\xe2\x80\xa8", "\\u2028"}, {"\xe2\x80\xa9", "\\u2029"}};
    while (*json) {
        size_t i = 0;
        while (i < 3 && strncmp(json, breaks[i][0], strlen(breaks[i][0]))) i++;
        if (i < 3) {
            fputs(breaks[i][1], stdout);
            json += strlen(breaks[i][0]);
        } else {
            putchar((unsigned char)*json++);
        }
    }
    putchar('\n');
}

static int decode_line(cm3_context *context, const cm3_tokenizer *tokenizer, const json_t *json, bool skip_special) {
    size_t count = json_array_size(json), size = 0;
    int32_t *ids = calloc(count + 1, sizeof *ids);
    bool good = ids && json_is_array(json);
    for (size_t i = 0; i < count && good; i++) {
        json_int_t id = json_integer_value(json_array_get(json, i));
        good = json_is_integer(json_array_get(json, i)) && id >= 0 && id <= INT32_MAX;
        ids[i] = good ? (int32_t)id : 0;
    }
    int code = CM3_EXIT_FAILED;
    if (!good) cm3_say("a line is not a JSON list of ids");
    cm3_status status = good ? cm3_tokenizer_decode(tokenizer, ids, count, skip_special, NULL, 0, &size) : CM3_OK;
    char *text = good && status == CM3_OK ? malloc(size + 1) : NULL;
    if (text) status = cm3_tokenizer_decode(tokenizer, ids, count, skip_special, text, size + 1, &size);
    if (good && status != CM3_OK) code = cm3_failed(context, status);
    if (text && status == CM3_OK) {
        json_t *string = json_stringn(text, size);
        char *line = string ? json_dumps(string, JSON_ENCODE_ANY) : NULL;
        if (line) put_line(line);
        code = line ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
        free(line);
        json_decref(string);
    }
    free(text);
    free(ids);
    return code;
}

int cm3_command_tokenize(int argc, char **argv) {
    const char *model = NULL, *vqgan = NULL;
    bool plain = false, no_special = false, decode = false, skip_special = false;
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &model, 0, 0},
        {"--vqgan", NULL, CM3_OPTION_TEXT, &vqgan, 0, 0},
        {"--plain", NULL, CM3_OPTION_FLAG, &plain, 0, 0},
        {"--no-special", NULL, CM3_OPTION_FLAG, &no_special, 0, 0},
        {"--decode", NULL, CM3_OPTION_FLAG, &decode, 0, 0},
        {"--skip-special", NULL, CM3_OPTION_FLAG, &skip_special, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    if (cm3_wants_help(argc, argv, options)) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    if (!cm3_options_parse(argc, argv, options, NULL)) return CM3_EXIT_USAGE;
    if (!model) {
        cm3_say("-m is missing; 'cm3 tokenize --help' tells more");
        return CM3_EXIT_USAGE;
    }
    cm3_context *context = cm3_open_context(1);
    if (!context) return CM3_EXIT_FAILED;
    cm3_tokenizer *tokenizer = NULL;
    cm3_status status = load(context, model, vqgan, &tokenizer);
    int code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    uint32_t flags = CM3_ENCODE_LENGTH | (plain ? 0u : CM3_ENCODE_SPECIAL) | (no_special ? 0u : CM3_ENCODE_TEMPLATE);
    char *line = NULL;
    size_t capacity = 0, number = 0;
    ssize_t size;
    while (code == CM3_EXIT_DONE && !cm3_interrupted() && (size = getline(&line, &capacity, stdin)) >= 0) {
        json_error_t error;
        if (strspn(line, " \t\r\n") == (size_t)size) {
            number++;
            continue;
        }
        json_t *json = json_loadb(line, (size_t)size, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);
        number++;
        if (!json) {
            cm3_say("standard input:%zu:%d: %s", number, error.column, error.text);
            code = CM3_EXIT_FAILED;
        } else {
            code = decode ? decode_line(context, tokenizer, json, skip_special)
                          : encode_line(context, tokenizer, json, flags);
        }
        json_decref(json);
    }
    if (code == CM3_EXIT_DONE && cm3_interrupted()) code = cm3_ended_early();
    free(line);
    cm3_tokenizer_destroy(tokenizer);
    cm3_context_destroy(context);
    return code;
}
