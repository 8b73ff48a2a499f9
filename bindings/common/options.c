/* See options.h. */
#include "options.h"
#include <stdio.h>
#include <string.h>

typedef enum option_kind {
    OPTION_FLAG,
    OPTION_INT,
    OPTION_SEED,
    OPTION_FLOAT,
    OPTION_TEXT,
    OPTION_MODALITY
} option_kind;

typedef struct named_option {
    const char *name;
    option_kind kind;
    size_t offset;
} named_option;

#define OF_LOAD(name, kind)                                                                                            \
    { #name, kind, offsetof(cm3_player_load_options, name) }
#define OF_GENERATE(name, kind)                                                                                        \
    { #name, kind, offsetof(cm3_player_generate_options, generate.name) }

static const named_option load_options[] = {
    OF_LOAD(threads, OPTION_INT),          OF_LOAD(bank, OPTION_TEXT),          OF_LOAD(huge, OPTION_FLAG),
    OF_LOAD(verify_checksum, OPTION_FLAG), OF_LOAD(check_weights, OPTION_FLAG),
};

static const named_option generate_options[] = {
    OF_GENERATE(modality, OPTION_MODALITY),
    OF_GENERATE(seed, OPTION_SEED),
    OF_GENERATE(candidates, OPTION_INT),
    OF_GENERATE(best, OPTION_INT),
    OF_GENERATE(guidance_scale, OPTION_FLOAT),
    OF_GENERATE(image_guidance_scale, OPTION_FLOAT),
    OF_GENERATE(temperature, OPTION_FLOAT),
    OF_GENERATE(top_k, OPTION_INT),
    OF_GENERATE(top_p, OPTION_FLOAT),
    OF_GENERATE(repetition_penalty, OPTION_FLOAT),
    OF_GENERATE(contrast_alpha, OPTION_FLOAT),
    OF_GENERATE(contrast_k, OPTION_INT),
    OF_GENERATE(min_tokens, OPTION_INT),
    OF_GENERATE(max_tokens, OPTION_INT),
    OF_GENERATE(preview_rows, OPTION_INT),
    OF_GENERATE(end_turn, OPTION_FLAG),
    {"retrieve", OPTION_INT, offsetof(cm3_player_generate_options, retrieve)},
};

static const struct {
    const char *name;
    cm3_modality modality;
} modalities[] = {
    {"image", CM3_MODALITY_IMAGE},
    {"text", CM3_MODALITY_TEXT},
    {"interleaved", CM3_MODALITY_INTERLEAVED},
};

static cm3_status refuse(cm3_option_error *error, const char *name, const char *wants) {
    snprintf(error->message, sizeof error->message, "option '%.64s' must be %s", name, wants);
    return CM3_ERROR_INVALID_ARGUMENT;
}

static cm3_status put_int(const char *name, const cm3_value *value, int32_t *to, cm3_option_error *error) {
    // Scripts of Godot 3 and JSON write whole numbers as floats at times.
    int64_t whole = value->integer;
    if (value->kind == CM3_VALUE_FLOAT && value->number >= INT32_MIN && value->number <= INT32_MAX) {
        whole = (int64_t)value->number;
        if ((double)whole != value->number) return refuse(error, name, "a whole number");
    } else if (value->kind != CM3_VALUE_INT || whole < INT32_MIN || whole > INT32_MAX) {
        return refuse(error, name, "a whole number of 32 bits");
    }
    *to = (int32_t)whole;
    return CM3_OK;
}

static cm3_status put_modality(const cm3_value *value, cm3_modality *to, cm3_option_error *error) {
    for (size_t i = 0; i < sizeof modalities / sizeof *modalities; i++) {
        if (value->kind == CM3_VALUE_TEXT && !strcmp(value->text, modalities[i].name)) {
            *to = modalities[i].modality;
            return CM3_OK;
        }
    }
    return refuse(error, "modality", "\"image\", \"text\" or \"interleaved\"");
}

static cm3_status put(const named_option *option, const cm3_value *value, void *options, cm3_option_error *error) {
    void *to = (char *)options + option->offset;
    switch (option->kind) {
    case OPTION_INT:
        return put_int(option->name, value, to, error);
    case OPTION_MODALITY:
        return put_modality(value, to, error);
    case OPTION_FLAG:
        if (value->kind != CM3_VALUE_BOOL) return refuse(error, option->name, "true or false");
        *(int32_t *)to = value->integer != 0;
        return CM3_OK;
    case OPTION_SEED: // all 64 bits: negative ones are seeds as well, and are told as such
        if (value->kind != CM3_VALUE_INT) return refuse(error, option->name, "a whole number");
        *(uint64_t *)to = (uint64_t)value->integer;
        return CM3_OK;
    case OPTION_FLOAT:
        if (value->kind != CM3_VALUE_FLOAT && value->kind != CM3_VALUE_INT)
            return refuse(error, option->name, "a number");
        *(float *)to = value->kind == CM3_VALUE_INT ? (float)value->integer : (float)value->number;
        return CM3_OK;
    case OPTION_TEXT:
        if (value->kind != CM3_VALUE_TEXT) return refuse(error, option->name, "a text");
        *(const char **)to = value->text;
        return CM3_OK;
    }
    return CM3_ERROR_INTERNAL;
}

static cm3_status read(const named_option *table, size_t size, const cm3_value *given, void *options,
                       cm3_option_error *error) {
    if (given->kind == CM3_VALUE_NIL) return CM3_OK;
    if (given->kind != CM3_VALUE_DICTIONARY) {
        snprintf(error->message, sizeof error->message, "options must be a dictionary");
        return CM3_ERROR_INVALID_ARGUMENT;
    }
    for (size_t i = 0; i < given->count; i++) {
        const cm3_entry *entry = &given->entries[i];
        const named_option *found = NULL;
        for (size_t j = 0; j < size && !found; j++) {
            if (!strcmp(table[j].name, entry->key)) found = &table[j];
        }
        if (!found) {
            snprintf(error->message, sizeof error->message, "there is no option '%.64s' here", entry->key);
            return CM3_ERROR_INVALID_ARGUMENT;
        }
        cm3_status status = put(found, &entry->value, options, error);
        if (status != CM3_OK) return status;
    }
    return CM3_OK;
}

cm3_status cm3_read_load_options(const cm3_value *given, cm3_player_load_options *options, cm3_option_error *error) {
    *error = (cm3_option_error){{0}};
    *options = (cm3_player_load_options){.threads = -1, .check_weights = 1};
    return read(load_options, sizeof load_options / sizeof *load_options, given, options, error);
}

cm3_status cm3_read_generate_options(const cm3_value *given, const cm3_model *model,
                                     cm3_player_generate_options *options, cm3_option_error *error) {
    *error = (cm3_option_error){{0}};
    cm3_modality modality = CM3_MODALITY_IMAGE;
    for (size_t i = 0; given->kind == CM3_VALUE_DICTIONARY && i < given->count; i++) {
        if (strcmp(given->entries[i].key, "modality")) continue;
        cm3_status status = put_modality(&given->entries[i].value, &modality, error);
        if (status != CM3_OK) return status;
    }
    options->generate.struct_size = sizeof options->generate;
    cm3_status status = cm3_generate_options_for(model, modality, &options->generate);
    if (status != CM3_OK) {
        snprintf(error->message, sizeof error->message, "the model has no such modality: %s", cm3_status_name(status));
        return status;
    }
    options->retrieve = -1;
    return read(generate_options, sizeof generate_options / sizeof *generate_options, given, options, error);
}
