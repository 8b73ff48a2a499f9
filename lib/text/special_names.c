/* Special tokens found by their names. */
#include "text/special_names.h"

#include <stdio.h>

#include "base/status.h"

void cm3_image_token_name(int32_t code, char *name) {
    char digits[16];
    int length = snprintf(digits, sizeof digits, "%d", code);
    for (int i = 0; i < length; i++) digits[i] = (char)('A' + (digits[i] - '0'));
    snprintf(name, 32, "IMGIMG%sZ", digits);
}

cm3_status cm3_special_from_names(cm3_context *context, const cm3_bpe *bpe, int32_t vocab_size,
                                  cm3_special_tokens *special) {
    *special = (cm3_special_tokens){
        .eod = cm3_bpe_id(bpe, "</s>"),
        .pad = cm3_bpe_id(bpe, "<pad>"),
        .break_ = cm3_bpe_id(bpe, "<racm3:break>"),
        .begin_image = cm3_bpe_id(bpe, "<racm3:break>"),
        .end_image = -1,
        .end_span = cm3_bpe_id(bpe, "<eoss>"),
        .bos = -1,
        .end_turn = -1,
        .vocab_size = vocab_size,
    };
    char name[32];
    for (int32_t i = 0; i < CM3_MAX_SENTINELS; i++) {
        snprintf(name, sizeof name, "<sentinel:%d>", i);
        int32_t id = cm3_bpe_id(bpe, name);
        if (id < 0) break;
        special->sentinels[special->sentinel_count++] = id;
    }
    do cm3_image_token_name(special->image_count, name);
    while (cm3_bpe_id(bpe, name) >= 0 && ++special->image_count);
    special->image = cm3_calloc(context, (size_t)special->image_count, sizeof *special->image);
    special->image_code = cm3_calloc(context, (size_t)special->vocab_size, sizeof *special->image_code);
    if (!special->image || !special->image_code)
        return cm3_fail_memory(context, (size_t)special->vocab_size * 4, "special tokens");
    for (int32_t i = 0; i < special->vocab_size; i++) special->image_code[i] = -1;
    for (int32_t i = 0; i < special->image_count; i++) {
        cm3_image_token_name(i, name);
        special->image[i] = cm3_bpe_id(bpe, name);
        special->image_code[special->image[i]] = i;
    }
    return CM3_OK;
}

void cm3_special_as_chameleon(const cm3_bpe *bpe, cm3_special_tokens *special) {
    special->bos = cm3_bpe_id(bpe, "<s>");
    special->end_turn = cm3_bpe_id(bpe, "<reserved08706>");
    special->end_image = special->end_span;
    special->end_span = -1;
    special->break_ = -1;
}
