/* cm3 info: what a model holds. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "command.h"

static const char help_text[] = "Usage: cm3 info [--json] [--verify] MODEL\n"
                                "\n"
                                "Says what a .cm3 file, or a folder that other tools made, holds.\n"
                                "\n"
                                "  --vqgan FILE  an image decoder for a folder that holds none (.ckpt, .safetensors)\n"
                                "  --verify      compares the data with the file's checksum\n"
                                "  --json        as JSON on standard output\n";

/** What a picture from a sentence would take, with the options' defaults. */
#define SENTENCE_TOKENS 32

static bool estimate(cm3_model *model, cm3_memory_estimate *memory) {
    *memory = (cm3_memory_estimate){.struct_size = sizeof *memory};
    return cm3_estimate(model, NULL, SENTENCE_TOKENS, memory) == CM3_OK;
}

static void print_config(const char *text) {
    json_t *json = json_loads(text, 0, NULL), *tokens = json ? json_object_get(json, "tokens") : NULL;
    if (tokens) json_object_del(json, "tokens");
    char *pretty = json ? json_dumps(json, JSON_INDENT(2)) : NULL;
    if (pretty) printf("config            %s\n", pretty);
    free(pretty);
    json_decref(json);
}

static void print_text(cm3_model *model, const cm3_model_info *info) {
    printf("parts             %s%s%s%s\n", info->parts & CM3_PART_ENCODER ? "encoder  " : "",
           info->parts & CM3_PART_LM ? "language model  " : "", info->parts & CM3_PART_VQ ? "image tokenizer  " : "",
           info->parts & CM3_PART_TOKENIZER ? "text tokenizer" : "");
    if (info->parts & CM3_PART_LM) {
        printf("language model    %.2f M parameters: %d layers, width %d, %d heads (%d kv), ffn %d\n",
               (double)info->lm_parameters / 1e6, info->layers, info->hidden_size, info->heads, info->kv_heads,
               info->ffn_size);
        printf("context           %d tokens, vocabulary %d\n", info->context_length, info->vocab_size);
    }
    if (info->parts & CM3_PART_ENCODER) {
        printf("encoder           %.2f M parameters: vectors of %d\n", (double)info->encoder_parameters / 1e6,
               info->embedding_size);
    }
    cm3_tokenizer *tokenizer = NULL;
    cm3_tokenizer_info t = {.struct_size = sizeof t};
    if (info->parts & CM3_PART_VQ && cm3_model_tokenizer(model, &tokenizer) == CM3_OK &&
        cm3_tokenizer_get_info(tokenizer, &t) == CM3_OK) {
        printf("image tokenizer   %.2f M parameters: %d x %d pixels in %d tokens of %d codes\n",
               (double)info->vq_parameters / 1e6, t.image_resolution, t.image_resolution, t.image_tokens,
               t.image_codes);
    }
    cm3_tokenizer_destroy(tokenizer);
    printf("weights           %.2f MB\n", (double)info->weight_bytes / 1e6);
    cm3_memory_estimate memory;
    if (estimate(model, &memory)) {
        printf("one picture       %.1f MB beside the weights: cache %.1f MB, scratch %.1f MB\n",
               (double)(memory.cache + memory.scratch) / 1e6, (double)memory.cache / 1e6, (double)memory.scratch / 1e6);
    }
    const char *config = NULL;
    if (cm3_model_config_json(model, &config) == CM3_OK) print_config(config);
}

static void print_json(cm3_model *model, const cm3_model_info *info) {
    const char *config = NULL;
    cm3_model_config_json(model, &config);
    json_t *json = json_pack("{s:i,s:I,s:I,s:I,s:i,s:o}", "parts", (int)info->parts, "lm_parameters",
                             (json_int_t)info->lm_parameters, "vq_parameters", (json_int_t)info->vq_parameters,
                             "weight_bytes", (json_int_t)info->weight_bytes, "context_length", info->context_length,
                             "config", json_loads(config, 0, NULL));
    cm3_memory_estimate memory;
    if (json && estimate(model, &memory)) {
        json_object_set_new(json, "cache_bytes", json_integer((json_int_t)memory.cache));
        json_object_set_new(json, "scratch_bytes", json_integer((json_int_t)memory.scratch));
    }
    char *text = json ? json_dumps(json, JSON_COMPACT) : NULL;
    if (text) printf("%s\n", text);
    free(text);
    json_decref(json);
}

int cm3_command_info(int argc, char **argv) {
    bool json = false, verify = false;
    const char *vqgan = NULL;
    cm3_list *words = calloc(1, sizeof *words);
    const cm3_option options[] = {
        {"--json", NULL, CM3_OPTION_FLAG, &json, 0, 0},
        {"--verify", NULL, CM3_OPTION_FLAG, &verify, 0, 0},
        {"--vqgan", NULL, CM3_OPTION_TEXT, &vqgan, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    int code = CM3_EXIT_USAGE;
    if (!words || cm3_wants_help(argc, argv, options)) {
        fputs(help_text, stdout);
        free(words);
        return CM3_EXIT_DONE;
    }
    if (cm3_options_parse(argc, argv, options, words)) {
        if (words->count == 1) {
            code = CM3_EXIT_FAILED;
        } else {
            cm3_say("one MODEL is wanted; 'cm3 info --help' tells more");
        }
    }
    cm3_context *context = code == CM3_EXIT_FAILED ? cm3_open_context(1) : NULL;
    if (context) {
        cm3_load_options load;
        cm3_load_options_init(&load);
        load.verify_checksum = verify;
        load.vqgan = vqgan;
        cm3_model *model = NULL;
        cm3_model_info info = {.struct_size = sizeof info};
        cm3_status status = cm3_model_load(context, words->items[0], &load, &model);
        if (status == CM3_OK) status = cm3_model_get_info(model, &info);
        if (status == CM3_OK) (json ? print_json : print_text)(model, &info);
        if (status == CM3_OK && verify && !json) printf("checksum          right\n");
        code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
        cm3_model_destroy(model);
    }
    cm3_context_destroy(context);
    free(words);
    return code;
}
