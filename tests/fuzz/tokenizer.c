/*
 * A tokenizer.json and a text: an input is the one, a NUL and the other. The text goes through the tokenizer in all
 * ways that there are, and what comes out goes back.
 */
#include "fuzz.h"
#include "model/model.h"
#include "text/special_names.h"

#define MAX_IDS 65536

static const char some_text[] = "The <s>caf\xc3\xa9's 3 dogs,  don't\xe2\x80\x8b e\xcc\x81 IMGIMGAZ</s>\n";

static void encode_and_decode(const cm3_tokenizer *tokenizer, const char *text, size_t size, uint32_t flags) {
    const cm3_context *context = tokenizer->context;
    size_t count, written;
    cm3_status status = cm3_tokenizer_encode(tokenizer, text, size, flags, NULL, 0, &count);
    FUZZ_CHECK(status == CM3_OK || *cm3_context_message(context) != '\0');
    FUZZ_CHECK(status != CM3_ERROR_NO_MEMORY); /* there is enough of it for what may be made of such a text */
    if (status != CM3_OK || count > MAX_IDS) return;
    int32_t *ids = malloc(count * sizeof *ids + 1);
    FUZZ_CHECK(ids != NULL);
    FUZZ_CHECK(cm3_tokenizer_encode(tokenizer, text, size, flags, ids, count, &written) == CM3_OK);
    FUZZ_CHECK(written == count);
    size_t length;
    status = cm3_tokenizer_decode(tokenizer, ids, count, flags & 1, NULL, 0, &length);
    if (status == CM3_ERROR_UNSUPPORTED) { /* components that multiply */
        free(ids);
        return;
    }
    FUZZ_CHECK(status == CM3_OK);
    char *back = malloc(length + 1);
    FUZZ_CHECK(back != NULL);
    FUZZ_CHECK(cm3_tokenizer_decode(tokenizer, ids, count, flags & 1, back, length + 1, &written) == CM3_OK);
    FUZZ_CHECK(written == length && back[length] == '\0');
    FUZZ_CHECK(cm3_utf8_check(tokenizer->context, "decoded", back, length) == CM3_OK);
    free(back);
    free(ids);
}

/* Each id has a name by which it is found again; what is no id has none. */
static void look_up(const cm3_bpe *bpe) {
    int32_t count = cm3_bpe_vocab_size(bpe);
    for (int32_t id = -1; id <= count && id < 2000; ++id) {
        const char *name = cm3_bpe_token(bpe, id);
        FUZZ_CHECK(name == NULL || (id >= 0 && id < count));
        if (name != NULL) FUZZ_CHECK(cm3_bpe_id(bpe, name) >= 0);
        FUZZ_CHECK(!cm3_bpe_is_special(bpe, id) || name != NULL);
    }
}

/* As cm3_tokenizer_load() does it, without a file. */
static cm3_tokenizer *load(cm3_context *context, const char *json, size_t size) {
    cm3_bpe *bpe;
    cm3_status status = cm3_bpe_parse(context, "fuzz", json, size, &bpe);
    fuzz_check_result(context, status, bpe);
    if (bpe == NULL) return NULL;
    look_up(bpe);
    cm3_tokenizer *tokenizer;
    if (cm3_tokenizer_create(context, bpe, &tokenizer) != CM3_OK) return NULL;
    if (cm3_special_from_names(context, bpe, cm3_bpe_vocab_size(bpe), &tokenizer->special) == CM3_OK) return tokenizer;
    cm3_tokenizer_destroy(tokenizer);
    return NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    cm3_context *context = fuzz_begin((size_t)256 << 20);
    const uint8_t *nul = size > 0 ? memchr(data, 0, size) : NULL;
    size_t json_size = nul != NULL ? (size_t)(nul - data) : size;
    const char *text = nul != NULL ? (const char *)nul + 1 : some_text;
    size_t text_size = nul != NULL ? size - json_size - 1 : sizeof some_text - 1;
    cm3_tokenizer *tokenizer = load(context, (const char *)data, json_size);
    for (uint32_t flags = 0; flags < 8 && tokenizer != NULL; ++flags) {
        encode_and_decode(tokenizer, text, text_size, flags);
    }
    cm3_tokenizer_destroy(tokenizer);
    fuzz_end(context);
    return 0;
}
