/* Identities of encoders and image tokenizers. */
#include "retrieve/identity.h"

#include <string.h>

#include "base/options.h"
#include "cm3leon/retriever.h"
#include "model/model.h"
#include "retrieve/bank.h"

/* What the codes of a picture that is kept depend on: the nearest ones, whatever they cost. */
static const char *const image_prefixes[] = {"vq.encoder.", "vq.quant_conv.", "vq.quantize.embedding.", NULL};
static const char *const encoder_prefixes[] = {"encoder.", NULL};

static bool has_prefix(const char *name, const char *const *prefixes) {
    while (*prefixes && strncmp(name, *prefixes, strlen(*prefixes)) != 0) prefixes++;
    return *prefixes != NULL;
}

/** Adds a tensor: the sum over all of them does not depend on their order in the file. */
static cm3_status add(cm3_context *context, const cm3_weight *weight, cm3_digest *sum) {
    const size_t size = weight->entry.size;
    const void *data = weight->entry.data;
    void *made = NULL;
    if (weight->make) {
        made = cm3_alloc(context, size);
        if (!made) return cm3_fail_memory(context, size, weight->name);
        weight->make(weight->recipe, made);
        data = made;
    }
    const cm3_digest digest = cm3_digest_of(data, size, cm3_hash(weight->name, strlen(weight->name)));
    sum->low += digest.low;
    sum->high += digest.high;
    cm3_free(context, made);
    return CM3_OK;
}

cm3_status cm3_model_identity(const cm3_model *model, cm3_digest *encoder, cm3_digest *image) {
    *encoder = *image = (cm3_digest){0};
    if (!model->clip) {
        return cm3_fail(model->context, CM3_ERROR_INVALID_ARGUMENT, "%s: there is no encoder in this model",
                        cm3_weights_name(model->weights));
    }
    for (size_t i = 0; i < cm3_weights_count(model->weights); i++) {
        const cm3_weight *weight = cm3_weights_at(model->weights, i);
        if (has_prefix(weight->name, encoder_prefixes)) CM3_TRY(add(model->context, weight, encoder));
        if (has_prefix(weight->name, image_prefixes)) CM3_TRY(add(model->context, weight, image));
    }
    return CM3_OK;
}

cm3_status cm3_model_encoder_identity(const cm3_model *model, cm3_encoder_identity *identity) {
    if (!model) return CM3_ERROR_INVALID_ARGUMENT;
    cm3_digest encoder, image;
    CM3_TRY(cm3_model_identity(model, &encoder, &image));
    const cm3_encoder_identity ours = {.dimension = model->clip->config.projection_dim,
                                       .encoder_hash = {encoder.low, encoder.high},
                                       .image_hash = {image.low, image.high}};
    return cm3_options_write(model->context, identity, &ours, sizeof ours, "cm3_encoder_identity");
}

static bool goes_with(cm3_digest ours, cm3_digest theirs) {
    const bool unnamed = !(ours.low | ours.high) || !(theirs.low | theirs.high);
    return unnamed || cm3_digest_equal(ours, theirs);
}

cm3_status cm3_bank_check_model(const cm3_bank *bank, const cm3_model *model, const char *model_name) {
    if (!bank) return CM3_ERROR_INVALID_ARGUMENT;
    if (!model) return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_bank_check_model: model is NULL");
    const char *name = model_name ? model_name : cm3_weights_name(model->weights);
    const char *own = *bank->at.head.encoder_name ? bank->at.head.encoder_name : "an encoder without a name";
    cm3_digest encoder, image;
    CM3_TRY(cm3_model_identity(model, &encoder, &image));
    if (model->clip->config.projection_dim != bank->at.form.dimension) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT,
                        "%s: its vectors have %lld numbers, by %s; those of the encoder of %s have %d", bank->path,
                        (long long)bank->at.form.dimension, own, name, model->clip->config.projection_dim);
    }
    if (!goes_with(bank->at.head.encoder, encoder)) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT,
                        "%s: made by the encoder %016llx of %s, not by the encoder %016llx of %s", bank->path,
                        (unsigned long long)bank->at.head.encoder.low, own, (unsigned long long)encoder.low, name);
    }
    if (!goes_with(bank->at.head.image, image)) {
        return cm3_fail(bank->context, CM3_ERROR_INVALID_ARGUMENT,
                        "%s: its pictures are codes of the image tokenizer %016llx of %s, not of %016llx of %s",
                        bank->path, (unsigned long long)bank->at.head.image.low, own, (unsigned long long)image.low,
                        name);
    }
    return CM3_OK;
}
