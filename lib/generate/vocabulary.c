/* Which tokens may be said in which mode: the modality state machine of Chameleon's inference code. */
#include "base/status.h"
#include "generate/request.h"

cm3_status cm3_vocabulary_create(cm3_model *model, cm3_vocabulary *vocabulary) {
    const cm3_tokenizer *tokenizer = model->tokenizer;
    const cm3_special_tokens *special = &tokenizer->special;
    int32_t size = model->lm->config.vocab_size;
    *vocabulary =
        (cm3_vocabulary){.size = size, .image_tokens = tokenizer->vq ? (int32_t)cm3_vq_tokens(tokenizer->vq) : 0};
    vocabulary->opener = special->begin_image >= 0 ? special->begin_image : special->break_;
    vocabulary->closer = special->end_image >= 0 ? special->end_image : special->break_;
    vocabulary->kind = cm3_calloc(model->context, (size_t)size, 1);
    if (!vocabulary->kind) return cm3_fail_memory(model->context, (size_t)size, "vocabulary");
    for (int32_t id = 0; id < size; id++) {
        const char *token = id < cm3_bpe_vocab_size(tokenizer->bpe) ? cm3_bpe_token(tokenizer->bpe, id) : NULL;
        bool text = token && !cm3_bpe_is_special(tokenizer->bpe, id);
        /* Chameleon's own code tells special tokens from text by their first character. */
        if (text && special->bos >= 0 && token[0] == '<' && token[1]) text = false;
        vocabulary->kind[id] = text ? 1 : 0;
    }
    int32_t lowest = size, highest = -1;
    for (int32_t i = 0; i < special->image_count; i++) {
        int32_t id = special->image[i];
        vocabulary->kind[id] = 2;
        if (id < lowest) lowest = id;
        if (id > highest) highest = id;
    }
    if (highest >= lowest && highest - lowest < 2 * special->image_count) {
        vocabulary->image_first = lowest;
        vocabulary->image_count = highest - lowest + 1;
    }
    const int32_t silent[] = {special->pad, special->break_, special->begin_image, special->end_image};
    for (size_t i = 0; i < sizeof silent / sizeof *silent; i++) {
        if (silent[i] >= 0 && silent[i] < size) vocabulary->kind[silent[i]] = 0;
    }
    if (special->eod >= 0) vocabulary->kind[special->eod] = 3;
    if (special->end_span >= 0 && special->end_span != special->end_image) vocabulary->kind[special->end_span] = 3;
    if (vocabulary->opener >= 0) vocabulary->kind[vocabulary->opener] = 4;
    return CM3_OK;
}
