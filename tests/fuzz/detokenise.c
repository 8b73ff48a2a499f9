/*
 * Any ids to text, as a generation streams it: a sampling rule says them one by one, and the events' texts together
 * must be what the ids decode to at once. Also any bytes as text that is not quite UTF-8.
 *
 * An input: a byte of choices, then ids, two bytes each.
 */
#include <math.h>

#include "small_model.h"

#define MEMORY ((size_t)32 << 20)
#define MAX_IDS 100

typedef struct spoken {
    cm3_context *context;
    const uint8_t *data; /**< what is still to be said */
    size_t size;
    bool stop;             /**< at the input's end: by an end of text, not by the rule */
    int32_t said[MAX_IDS]; /**< without what ended it */
    size_t count;
    char text[64 * MAX_IDS]; /**< of the events */
    size_t text_size;
} spoken;

/* --- streaming ---------------------------------------------------------------------------------------------------- */

/* The id that the input names, or the next one that may be said. */
static int32_t choose(const cm3_sampler_step *step, uint32_t wanted) {
    for (int32_t i = 0; i < step->vocab_size; ++i) {
        int32_t id = (int32_t)((wanted + (uint32_t)i) % (uint32_t)step->vocab_size);
        if (step->logits[id] != -INFINITY) return id;
    }
    fuzz_abort(__FILE__, __LINE__, "an id may be said");
}

static int apply(void *user, const cm3_sampler_step *step) {
    spoken *speech = user;
    uint32_t wanted = 1; /* the end of the document */
    if (speech->size >= 2 && speech->count < MAX_IDS) {
        wanted = speech->data[0] | (uint32_t)speech->data[1] << 8;
        speech->data += 2;
        speech->size -= 2;
    } else if (!speech->stop) {
        return 1;
    }
    int32_t id = choose(step, wanted);
    for (int32_t i = 0; i < step->vocab_size; ++i) {
        if (i != id) step->logits[i] = -INFINITY;
    }
    return 0;
}

static int on_event(void *user, const cm3_event *event) {
    spoken *speech = user;
    if (event->kind == CM3_EVENT_TOKEN && speech->count < MAX_IDS) speech->said[speech->count++] = event->token;
    if (event->kind != CM3_EVENT_TEXT) return 0;
    FUZZ_CHECK(event->text_size > 0 && strlen(event->text) <= event->text_size);
    FUZZ_CHECK(cm3_utf8_check(speech->context, "event", event->text, event->text_size) == CM3_OK);
    FUZZ_CHECK(event->text_size <= sizeof speech->text - speech->text_size);
    memcpy(speech->text + speech->text_size, event->text, event->text_size);
    speech->text_size += event->text_size;
    return 0;
}

static void check_text(const cm3_model *model, const spoken *speech) {
    cm3_tokenizer *tokenizer;
    char *whole = malloc(sizeof speech->text);
    size_t size;
    FUZZ_CHECK(whole != NULL && cm3_model_tokenizer(model, &tokenizer) == CM3_OK);
    FUZZ_CHECK(cm3_tokenizer_decode(tokenizer, speech->said, speech->count, 1, whole, sizeof speech->text, &size) ==
               CM3_OK);
    FUZZ_CHECK(size == speech->text_size && memcmp(whole, speech->text, size) == 0);
    cm3_tokenizer_destroy(tokenizer);
    free(whole);
}

static void check_result(const cm3_document *result, const spoken *speech) {
    size_t count;
    FUZZ_CHECK(cm3_document_count(result, &count) == CM3_OK && count == (speech->text_size > 0));
    if (count == 0) return;
    cm3_segment segment = {.struct_size = sizeof segment};
    FUZZ_CHECK(cm3_document_get(result, 0, &segment) == CM3_OK && segment.kind == CM3_SEGMENT_TEXT);
    FUZZ_CHECK(segment.text_size == speech->text_size);
    FUZZ_CHECK(memcmp(segment.text, speech->text, segment.text_size) == 0);
}

static void say(cm3_model *model, spoken *speech) {
    const cm3_sampler_rule rule = {.struct_size = sizeof rule, .apply = apply, .user = speech};
    cm3_sampler *sampler;
    cm3_document *prompt, *result;
    cm3_generate_options options;
    FUZZ_CHECK(cm3_sampler_create(speech->context, &sampler) == CM3_OK);
    FUZZ_CHECK(cm3_sampler_add_rule(sampler, &rule) == CM3_OK);
    FUZZ_CHECK(cm3_document_create(speech->context, &prompt) == CM3_OK);
    cm3_generate_options_init(&options);
    options.modality = CM3_MODALITY_TEXT;
    options.seed = 1;
    options.sampler = sampler;
    options.compute = CM3_COMPUTE_F32;
    cm3_status status = cm3_generate(model, prompt, &options, on_event, speech, &result);
    FUZZ_CHECK(status == CM3_OK || (status == CM3_ERROR_CANCELLED && !speech->stop));
    check_text(model, speech);
    check_result(result, speech);
    cm3_document_destroy(result);
    cm3_document_destroy(prompt);
    cm3_sampler_destroy(sampler);
}

/* --- at once ------------------------------------------------------------------------------------------------------ */

/* Ids that may be none at all: refused or decoded, never read beyond the table. */
static void decode_any(const cm3_model *model, const uint8_t *data, size_t size) {
    cm3_tokenizer *tokenizer;
    int32_t ids[16];
    size_t count = size / sizeof *ids < 16 ? size / sizeof *ids : 16, length;
    if (count > 0) memcpy(ids, data, count * sizeof *ids);
    FUZZ_CHECK(cm3_model_tokenizer(model, &tokenizer) == CM3_OK);
    cm3_status status = cm3_tokenizer_decode(tokenizer, ids, count, 0, NULL, 0, &length);
    FUZZ_CHECK(status == CM3_OK || (status == CM3_ERROR_INVALID_ARGUMENT && length == 0));
    cm3_tokenizer_destroy(tokenizer);
}

/* What comes of any bytes is UTF-8, and stays as it is when that is done again. */
static void clean_any(cm3_context *context, const char *bytes, size_t size) {
    char *clean = NULL, *again = NULL;
    size_t count = 0, capacity = 0, again_count = 0, again_capacity = 0;
    FUZZ_CHECK(cm3_utf8_lossy(context, bytes, size, &clean, &count, &capacity) == CM3_OK);
    FUZZ_CHECK(cm3_utf8_check(context, "clean", clean, count) == CM3_OK);
    FUZZ_CHECK(cm3_utf8_lossy(context, clean, count, &again, &again_count, &again_capacity) == CM3_OK);
    FUZZ_CHECK(count == again_count && (count == 0 || memcmp(clean, again, count) == 0));
    if (cm3_utf8_check(context, "bytes", bytes, size) == CM3_OK) {
        FUZZ_CHECK(count == size && (size == 0 || memcmp(clean, bytes, size) == 0));
    }
    cm3_free(context, clean);
    cm3_free(context, again);
}

/* --- one input ---------------------------------------------------------------------------------------------------- */

/* Both kinds of tokenizers, made once. */
static const uint8_t *model_file(bool fallback, size_t *size) {
    static struct {
        uint8_t *bytes;
        size_t size;
    } files[2];
    if (files[fallback].bytes == NULL) {
        const fuzz_model_kind kind = {.name = "stream", .chameleon = true, .text = true, .fallback = fallback};
        files[fallback].bytes = fuzz_model_bytes(&kind, &files[fallback].size);
    }
    *size = files[fallback].size;
    return files[fallback].bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    size_t file_size;
    const uint8_t *file = model_file(data[0] & 1, &file_size);
    cm3_context *context = fuzz_begin(MEMORY);
    cm3_model *model;
    FUZZ_CHECK(cm3_model_load_memory(context, file, file_size, NULL, &model) == CM3_OK);
    spoken speech = {.context = context, .data = data + 1, .size = size - 1, .stop = data[0] & 2};
    say(model, &speech);
    decode_any(model, data + 1, size - 1);
    clean_any(context, (const char *)data + 1, size - 1);
    cm3_model_destroy(model);
    fuzz_end(context);
    return 0;
}
