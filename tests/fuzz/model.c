/*
 * Any bytes as a `.cm3` file, loaded in all ways: mapped and copied, weights checked and not, the sum compared and not.
 * What loads and is tiny runs: logits, a few tokens of text, a picture and back.
 */
#include "fuzz.h"

#define MEMORY ((size_t)64 << 20)
/* What counts as tiny. */
#define MAX_PARAMETERS 100000
#define MAX_CONTEXT 1024
#define MAX_RESOLUTION 32
#define MAX_TOKENS 64

/* --- a short run -------------------------------------------------------------------------------------------------- */

static void compute_logits(cm3_context *context, const cm3_model *model, const cm3_model_info *info) {
    if (!(info->parts & CM3_PART_LM)) return;
    const int32_t ids[] = {0, info->vocab_size / 2, info->vocab_size - 1};
    float *logits = malloc(3 * sizeof *logits * (size_t)info->vocab_size);
    FUZZ_CHECK(logits != NULL);
    cm3_status status = cm3_model_logits(model, ids, 3, CM3_COMPUTE_F32, logits);
    FUZZ_CHECK(status == CM3_OK || *cm3_context_message(context) != '\0');
    free(logits);
}

static int on_event(void *user, const cm3_event *event) {
    if (event->kind == CM3_EVENT_TEXT) *(size_t *)user += strlen(event->text);
    return 0;
}

static void generate(cm3_context *context, cm3_model *model, cm3_modality modality) {
    cm3_generate_options options;
    cm3_document *prompt, *result;
    size_t said = 0;
    cm3_generate_options_init(&options);
    options.modality = modality;
    options.seed = 1;
    options.candidates = 2;
    options.max_tokens = 4;
    options.preview_rows = modality == CM3_MODALITY_IMAGE;
    options.repetition_penalty = 1.1f;
    options.top_k = 5;
    if (cm3_document_create(context, &prompt) != CM3_OK) return;
    if (cm3_document_add_text(prompt, "a red ball", SIZE_MAX) == CM3_OK) {
        cm3_status status = cm3_generate(model, prompt, &options, on_event, &said, &result);
        fuzz_check_result(context, status, result);
        cm3_document_destroy(result);
    }
    cm3_document_destroy(prompt);
}

static void picture_and_back(cm3_context *context, const cm3_tokenizer *tokenizer, const cm3_tokenizer_info *info) {
    int32_t codes[MAX_TOKENS];
    cm3_image *image, *drawn = NULL;
    size_t count;
    if (cm3_image_create(context, info->image_resolution + 3, info->image_resolution, &image) != CM3_OK) return;
    if (cm3_tokenizer_encode_image(tokenizer, image, codes, MAX_TOKENS, &count) == CM3_OK) {
        FUZZ_CHECK(count == (size_t)info->image_tokens);
        for (size_t i = 0; i < count; ++i) FUZZ_CHECK(codes[i] >= 0 && codes[i] < info->image_codes);
        cm3_status status = cm3_tokenizer_decode_image(tokenizer, codes, count, &drawn);
        fuzz_check_result(context, status, drawn);
    }
    cm3_image_destroy(drawn);
    cm3_image_destroy(image);
}

static void embed_picture(cm3_context *context, const cm3_model *model, const cm3_model_info *info) {
    cm3_image *image;
    float *vector = malloc(sizeof *vector * (size_t)info->embedding_size);
    FUZZ_CHECK(vector != NULL);
    if (cm3_image_create(context, 9, 7, &image) == CM3_OK) {
        cm3_status status = cm3_model_embed_images(model, &image, 1, 1, vector);
        FUZZ_CHECK(status == CM3_OK || *cm3_context_message(context) != '\0');
        cm3_image_destroy(image);
    }
    free(vector);
}

static void use_tokenizer(cm3_context *context, const cm3_tokenizer *tokenizer) {
    static const char text[] = "a <s>red</s> ball IMGIMGAZ";
    int32_t ids[64];
    char back[256];
    size_t count, size;
    if (cm3_tokenizer_encode(tokenizer, text, SIZE_MAX, CM3_ENCODE_SPECIAL, ids, 64, &count) == CM3_OK) {
        if (count > 64) count = 64;
        FUZZ_CHECK(cm3_tokenizer_decode(tokenizer, ids, count, 0, back, sizeof back, &size) == CM3_OK);
    }
    for (int role = CM3_TOKEN_EOD; role <= CM3_TOKEN_IMAGE; ++role) {
        int32_t id;
        cm3_status status = cm3_tokenizer_special(tokenizer, (cm3_token_role)role, 0, &id);
        FUZZ_CHECK((status == CM3_OK) == (id >= 0));
    }
    FUZZ_CHECK(*cm3_context_message(context) != '\0' || count > 0);
}

static void run(cm3_context *context, cm3_model *model) {
    cm3_model_info info = {.struct_size = sizeof info};
    cm3_tokenizer_info tokens = {.struct_size = sizeof tokens};
    cm3_tokenizer *tokenizer;
    FUZZ_CHECK(cm3_model_get_info(model, &info) == CM3_OK);
    bool tiny = info.lm_parameters + info.vq_parameters <= MAX_PARAMETERS && info.context_length <= MAX_CONTEXT;
    if (cm3_model_tokenizer(model, &tokenizer) == CM3_OK) {
        use_tokenizer(context, tokenizer);
        FUZZ_CHECK(cm3_tokenizer_get_info(tokenizer, &tokens) == CM3_OK);
        tiny = tiny && tokens.image_resolution <= MAX_RESOLUTION && tokens.image_tokens <= MAX_TOKENS;
        if (tiny && tokens.image_tokens > 0) picture_and_back(context, tokenizer, &tokens);
        cm3_tokenizer_destroy(tokenizer);
    }
    if ((info.parts & CM3_PART_ENCODER) && info.encoder_parameters <= MAX_PARAMETERS && info.embedding_size <= 4096) {
        embed_picture(context, model, &info);
    }
    if (!tiny) return;
    compute_logits(context, model, &info);
    generate(context, model, CM3_MODALITY_TEXT);
    generate(context, model, CM3_MODALITY_IMAGE);
    generate(context, model, CM3_MODALITY_INTERLEAVED);
}

/* --- loading ------------------------------------------------------------------------------------------------------ */

typedef struct bytes {
    const uint8_t *data;
    size_t size;
} bytes;

static int read_at(void *user, uint64_t offset, void *buffer, size_t size) {
    const bytes *all = user;
    FUZZ_CHECK(offset <= all->size && size <= all->size - offset);
    memcpy(buffer, all->data + offset, size);
    return 0;
}

/* `way` chooses; bit 0: weights are not checked, bit 1: copied, through the vtable, bit 2: the sum is compared. */
static void load(bytes all, uint64_t way) {
    cm3_context *context = fuzz_begin(MEMORY);
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.check_weights = !(way & 1);
    options.mode = way & 2 ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
    options.verify_checksum = way & 4 ? 1 : 0;
    const cm3_io io = {.struct_size = sizeof io, .read_at = read_at, .size = all.size, .user = &all};
    cm3_model *model;
    cm3_status status = way & 2 ? cm3_model_load_io(context, &io, &options, &model)
                                : cm3_model_load_memory(context, all.data, all.size, &options, &model);
    fuzz_check_result(context, status, model);
    if (model != NULL) run(context, model);
    cm3_model_destroy(model);
    fuzz_end(context);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint8_t nothing[1];
    const bytes all = {size > 0 ? data : nothing, size};
    uint64_t way = fuzz_hash(data, size) & 3;
    load(all, way | (way == 0 ? 4 : 0));
    load(all, way ^ 3);
    return 0;
}
