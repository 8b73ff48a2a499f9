/*
 * A program as it was when API 1.0 was new. It is compiled against the headers beside it, linked with a stub that has
 * the symbols recorded beside it, and run with the library as it is now. It must keep running as long as the SONAME
 * stays; nothing of it is to be changed.
 *
 *   program MODEL
 *
 * Each struct that the library fills or reads stands before a canary: a library that knows a longer one must not write
 * beyond what this program told of its size.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm3leon/cm3leon.h"

#define CANARY UINT64_C(0xc0ffee0dd5eed5ed)
#define GUARDED(type)                                                                                                  \
    struct {                                                                                                           \
        type it;                                                                                                       \
        uint64_t canary;                                                                                               \
    }
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "line %d: %s: %s\n", __LINE__, #condition, cm3_context_message(context));                  \
            exit(1);                                                                                                   \
        }                                                                                                              \
    } while (0)
#define OK(call) CHECK((call) == CM3_OK)
/* What an init function fills in a struct of this program's size, and not a byte behind it. */
#define INIT(name)                                                                                                     \
    do {                                                                                                               \
        GUARDED(cm3_##name) own;                                                                                       \
        memset(&own, 0xa5, sizeof own);                                                                                \
        own.canary = CANARY;                                                                                           \
        cm3_##name##_init(&own.it);                                                                                    \
        CHECK(own.canary == CANARY && own.it.struct_size <= sizeof own.it);                                            \
        CHECK(own.it.struct_size >= sizeof(size_t));                                                                   \
    } while (0)

static cm3_context *context;
static int64_t live;

static void *take(void *user, size_t size, size_t alignment) {
    void *pointer = NULL;
    if (posix_memalign(&pointer, alignment, size)) return NULL;
    __atomic_add_fetch((int64_t *)user, (int64_t)size, __ATOMIC_SEQ_CST);
    return pointer;
}

static void give(void *user, void *pointer, size_t size) {
    __atomic_sub_fetch((int64_t *)user, (int64_t)size, __ATOMIC_SEQ_CST);
    free(pointer);
}

static void hear_log(void *user, cm3_log_level level, const char *line) {
    (void)level;
    (void)line;
    ++*(int *)user;
}

/* --- options and versions ------------------------------------------------------------------------------------------
 */

static void check_inits(void) {
    INIT(context_options);
    INIT(load_options);
    INIT(generate_options);
    INIT(image_save_options);
    INIT(convert_options);
    INIT(bank_options);
    INIT(bank_add_options);
    INIT(bank_work_options);
    INIT(search_options);
    INIT(index_options);
    INIT(retrieve_options);
    GUARDED(cm3_generate_options) own = {.canary = CANARY};
    cm3_generate_options_init(&own.it);
    CHECK(own.it.modality == CM3_MODALITY_IMAGE && own.it.candidates == 1 && own.it.guidance_scale == 1.5f);
    CHECK(own.it.temperature == 0.3f && own.it.top_p == 0.9f && own.it.seed == 0 && own.it.beams == 0);
    CHECK(own.canary == CANARY);
}

/* --- loading -------------------------------------------------------------------------------------------------------
 */

typedef struct pack {
    uint8_t *data;
    size_t size;
} pack;

static pack read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    pack p = {NULL, 0};
    CHECK(file && !fseek(file, 0, SEEK_END));
    p.size = (size_t)ftell(file);
    rewind(file);
    p.data = malloc(p.size);
    CHECK(fread(p.data, 1, p.size, file) == p.size);
    fclose(file);
    return p;
}

static int read_at(void *user, uint64_t offset, void *buffer, size_t size) {
    const pack *p = user;
    if (offset > p->size || size > p->size - offset) return 1;
    memcpy(buffer, p->data + offset, size);
    return 0;
}

static cm3_model *load_all_ways(const char *path) {
    cm3_model *model, *other;
    GUARDED(cm3_load_options) load = {.canary = CANARY};
    cm3_load_options_init(&load.it);
    load.it.struct_size = sizeof load.it;
    OK(cm3_model_load(context, path, &load.it, &model));
    pack p = read_file(path);
    OK(cm3_model_load_memory(context, p.data, p.size, NULL, &other));
    cm3_model_destroy(other);
    struct {
        cm3_io it;
        uint64_t canary;
    } io = {{.struct_size = sizeof io.it, .read_at = read_at, .size = p.size, .user = &p}, CANARY};
    OK(cm3_model_load_io(context, &io.it, &load.it, &other));
    cm3_model_destroy(other);
    free(p.data);
    CHECK(cm3_model_load(context, "/nowhere", NULL, &other) == CM3_ERROR_NOT_FOUND && !other);
    CHECK(strstr(cm3_context_message(context), "/nowhere"));
    GUARDED(cm3_model_info) info = {.it.struct_size = sizeof info.it, .canary = CANARY};
    OK(cm3_model_get_info(model, &info.it));
    CHECK(info.it.vocab_size > 0 && (info.it.parts & CM3_PART_LM) && info.canary == CANARY);
    const char *json;
    OK(cm3_model_config_json(model, &json));
    CHECK(json[0] == '{');
    return model;
}

/* --- generating ----------------------------------------------------------------------------------------------------
 */

typedef struct heard {
    int kinds[8];
    int asked; /**< of the rule */
} heard;

static int listen(void *user, const cm3_event *event) {
    heard *h = user;
    CHECK(event->struct_size >= sizeof *event);
    CHECK(event->kind >= CM3_EVENT_TEXT);
    if ((int)event->kind < 8) h->kinds[event->kind]++; /* kinds that came later are not looked at */
    return 0;
}

static int rule(void *user, const cm3_sampler_step *step) {
    heard *h = user;
    h->asked++;
    return step->struct_size < sizeof *step || step->vocab_size <= 0 || step->history_count < step->prompt_count;
}

static void generate(cm3_model *model, const cm3_document *prompt) {
    heard h = {{0}, 0};
    GUARDED(cm3_generate_options) options = {.canary = CANARY};
    cm3_generate_options_init(&options.it);
    options.it.struct_size = sizeof options.it; /* all that this program knows */
    options.it.seed = 3;
    options.it.preview_rows = 4;
    cm3_document *result;
    OK(cm3_generate(model, prompt, &options.it, listen, &h, &result));
    CHECK(h.kinds[CM3_EVENT_TOKEN] && h.kinds[CM3_EVENT_IMAGE_ROWS] && h.kinds[CM3_EVENT_IMAGE] == 1);
    CHECK(h.kinds[CM3_EVENT_PROGRESS] && h.kinds[CM3_EVENT_END] == 1);
    GUARDED(cm3_segment) segment = {.it.struct_size = sizeof segment.it, .canary = CANARY};
    OK(cm3_document_get(result, 0, &segment.it));
    CHECK(segment.it.kind == CM3_SEGMENT_IMAGE && segment.it.image && segment.it.code_count &&
          segment.canary == CANARY);
    cm3_image_view view;
    OK(cm3_image_get_view(segment.it.image, &view));
    CHECK(view.width > 0 && view.height > 0 && view.pixels);
    uint8_t *bytes;
    size_t size;
    GUARDED(cm3_image_save_options) save = {.canary = CANARY};
    cm3_image_save_options_init(&save.it);
    OK(cm3_image_encode(segment.it.image, CM3_IMAGE_JPEG, &save.it, &bytes, &size));
    CHECK(size > 3 && bytes[0] == 0xff && bytes[1] == 0xd8);
    cm3_buffer_free(context, bytes, size);
    cm3_document_destroy(result);
}

/* Options of which only the beginning is told: the rest takes its defaults. */
static void generate_with_less(cm3_model *model, const cm3_document *prompt) {
    GUARDED(cm3_generate_options) options;
    memset(&options, 0xff, sizeof options);
    options.it.struct_size = offsetof(cm3_generate_options, guidance_scale);
    options.it.modality = CM3_MODALITY_TEXT;
    options.it.seed = 11;
    options.it.candidates = 2;
    cm3_request *request;
    OK(cm3_request_start(model, prompt, &options.it, &request));
    int done = 0;
    while (!done) OK(cm3_request_poll(request, 1000, NULL, NULL, &done));
    uint64_t seed;
    OK(cm3_request_seed(request, &seed));
    CHECK(seed == 11);
    GUARDED(cm3_timings) timings = {.it.struct_size = sizeof timings.it, .canary = CANARY};
    OK(cm3_request_timings(request, &timings.it));
    CHECK(timings.it.new_tokens && timings.canary == CANARY);
    cm3_request_destroy(request);
}

static void generate_with_a_rule(cm3_model *model, const cm3_document *prompt) {
    heard h = {{0}, 0};
    cm3_sampler *sampler;
    cm3_sampler_rule own = {.struct_size = sizeof own, .apply = rule, .user = &h};
    OK(cm3_sampler_create(context, &sampler));
    OK(cm3_sampler_add_rule(sampler, &own));
    OK(cm3_sampler_add_temperature(sampler, 0));
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.modality = CM3_MODALITY_TEXT;
    options.max_tokens = 4;
    options.sampler = sampler;
    cm3_request *request;
    OK(cm3_request_start(model, prompt, &options, &request));
    cm3_request_cancel(request);
    cm3_status status = cm3_request_wait(request, listen, &h);
    CHECK(status == CM3_OK || status == CM3_ERROR_CANCELLED);
    cm3_request_destroy(request);
    OK(cm3_generate(model, prompt, &options, listen, &h, NULL));
    CHECK(h.asked > 0);
    cm3_sampler_destroy(sampler);
}

static void estimate(cm3_model *model, const char *path) {
    GUARDED(cm3_memory_estimate) own = {.it.struct_size = sizeof own.it, .canary = CANARY};
    OK(cm3_estimate(model, NULL, 10, &own.it));
    CHECK(own.it.weights && own.it.cache && own.it.scratch && own.canary == CANARY);
    OK(cm3_estimate_file(context, path, NULL, NULL, 10, &own.it));
    CHECK(own.it.load && own.canary == CANARY);
    own.it.struct_size = offsetof(cm3_memory_estimate, cache);
    own.it.cache = 77;
    OK(cm3_estimate(model, NULL, 10, &own.it));
    CHECK(own.it.cache == 77);
}

static void tokenise(cm3_model *model) {
    cm3_tokenizer *tokenizer;
    GUARDED(cm3_tokenizer_info) info = {.it.struct_size = sizeof info.it, .canary = CANARY};
    int32_t ids[64];
    char text[256];
    size_t count, size;
    OK(cm3_model_tokenizer(model, &tokenizer));
    OK(cm3_tokenizer_get_info(tokenizer, &info.it));
    CHECK(info.it.image_tokens > 0 && info.canary == CANARY);
    OK(cm3_tokenizer_encode(tokenizer, "a red circle", SIZE_MAX, CM3_ENCODE_PLAIN, ids, 64, &count));
    OK(cm3_tokenizer_decode(tokenizer, ids, count, 1, text, sizeof text, &size));
    CHECK(strcmp(text, "a red circle") == 0);
    int32_t eod;
    OK(cm3_tokenizer_special(tokenizer, CM3_TOKEN_EOD, 0, &eod));
    cm3_tokenizer_destroy(tokenizer);
}

/* --- a memory bank: arrays of structs, whose stride is their struct_size ------------------------------------------
 */

static void use_bank(void) {
    char path[64];
    snprintf(path, sizeof path, "/tmp/cm3-abi-%ld.bank", (long)(uintptr_t)&path);
    remove(path);
    cm3_bank_options options;
    cm3_bank_options_init(&options);
    options.dimension = 4;
    options.vectors = CM3_VECTORS_F32;
    cm3_bank *bank;
    OK(cm3_bank_create(context, path, &options, &bank));
    const float vectors[2][4] = {{1, 0, 0, 0}, {0, 1, 0, 0}};
    cm3_bank_record records[2] = {
        {.struct_size = sizeof *records, .key = "a", .text = "first", .vector = vectors[0]},
        {.struct_size = sizeof *records, .key = "b", .text = "second", .vector = vectors[1]},
    };
    uint64_t ids[2];
    OK(cm3_bank_add(bank, records, 2, NULL, ids));
    CHECK(ids[0] == 0 && ids[1] == 1);
    cm3_bank_record *record;
    OK(cm3_bank_get(bank, ids[1], &record));
    CHECK(record->struct_size >= sizeof *record && strcmp(record->text, "second") == 0);
    cm3_bank_record_destroy(bank, record);
    GUARDED(cm3_bank_info) info = {.it.struct_size = sizeof info.it, .canary = CANARY};
    OK(cm3_bank_get_info(bank, &info.it));
    CHECK(info.it.records == 2 && info.it.dimension == 4 && info.canary == CANARY);
    cm3_bank_destroy(bank);
    remove(path);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    CHECK(cm3_api_version() >= CM3_API_VERSION_MAJOR * 1000 + CM3_API_VERSION_MINOR);
    CHECK(cm3_api_version() / 1000 == CM3_API_VERSION_MAJOR);
    CHECK(strcmp(cm3_status_name(CM3_ERROR_NO_MEMORY), "out of memory") == 0);
    check_inits();
    int lines = 0;
    const cm3_allocator allocator = {take, give, &live};
    GUARDED(cm3_context_options) options = {.canary = CANARY};
    cm3_context_options_init(&options.it);
    options.it.allocator = &allocator;
    options.it.log = hear_log;
    options.it.log_user = &lines;
    options.it.threads = 1;
    OK(cm3_context_create(&options.it, &context));
    cm3_model *model = load_all_ways(argv[1]);
    CHECK(lines > 0);
    cm3_document *prompt;
    OK(cm3_document_create(context, &prompt));
    OK(cm3_document_add_text(prompt, "a red circle at the top left", SIZE_MAX));
    generate(model, prompt);
    generate_with_less(model, prompt);
    generate_with_a_rule(model, prompt);
    estimate(model, argv[1]);
    tokenise(model);
    use_bank();
    GUARDED(cm3_memory_stats) stats = {.it.struct_size = sizeof stats.it, .canary = CANARY};
    OK(cm3_context_memory(context, &stats.it));
    CHECK(stats.it.live_bytes && stats.canary == CANARY);
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    if (live != 0) {
        fprintf(stderr, "%lld bytes are left\n", (long long)live);
        return 1;
    }
    return 0;
}
