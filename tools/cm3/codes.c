/* cm3 encode-image and decode-image: a picture to its codes, and codes to a picture. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const char encode_help[] =
    "Usage: cm3 encode-image -m MODEL IN -o codes.json [OPTION]...\n"
    "\n"
    "Writes the codes of a picture as a JSON list, row by row.\n"
    "\n"
    "  -m, --model MODEL          a .cm3 file or a folder\n"
    "  -o, --output FILE          (standard output)\n"
    "      --preprocess hf|meta   how pixels become numbers: as Hugging Face or as Meta does (hf for a folder of "
    "Hugging\n"
    "                             Face's, else meta)\n"
    "      --vqgan FILE           an image tokenizer for a folder that holds none (.ckpt, .safetensors)\n"
    "      --threads N            (one a core)\n";

static const char decode_help[] =
    "Usage: cm3 decode-image -m MODEL codes.json -o OUT.png [OPTION]...\n"
    "\n"
    "Draws the picture of a JSON list of codes (\"-\": standard input).\n"
    "\n"
    "  -m, --model MODEL   a .cm3 file or a folder\n"
    "  -o, --output FILE   .png or .jpg\n"
    "      --vqgan FILE    an image decoder for a folder that holds none (.ckpt, .safetensors)\n"
    "      --threads N     (one a core)\n";

typedef struct cm3_codes_arguments {
    const char *model, *input, *output, *preprocess, *vqgan;
    int64_t threads;
} cm3_codes_arguments;

static cm3_status load(cm3_context *context, const cm3_codes_arguments *a, cm3_tokenizer **tokenizer) {
    cm3_model *model = NULL;
    cm3_status status = cm3_open_model(context, a->model, a->vqgan, &model);
    if (status == CM3_OK) status = cm3_model_tokenizer(model, tokenizer);
    cm3_model_destroy(model);
    return status;
}

/** `count` codes as a line of JSON; to standard output without a path. */
static int write_codes(const char *path, const int32_t *codes, size_t count) {
    FILE *file = path ? fopen(path, "w") : stdout;
    bool good = file != NULL;
    for (size_t i = 0; good && i < count; i++) good = fprintf(file, "%s%d", i ? ", " : "[", codes[i]) > 0;
    if (good) good = fputs("]\n", file) >= 0;
    if (file && path && fclose(file) != 0) good = false;
    if (!good && path) cm3_say("%s: the file could not be written", path);
    return good ? CM3_EXIT_DONE : CM3_EXIT_FAILED;
}

static int encode(cm3_context *context, const cm3_codes_arguments *a) {
    cm3_tokenizer *tokenizer = NULL;
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    cm3_image *image = NULL;
    size_t count = 0;
    cm3_status status = load(context, a, &tokenizer);
    if (status == CM3_OK) status = cm3_tokenizer_get_info(tokenizer, &info);
    if (status == CM3_OK) status = cm3_image_load(context, a->input, &image);
    int32_t *codes = calloc((size_t)info.image_tokens + 1, sizeof *codes);
    if (!codes && status == CM3_OK) status = CM3_ERROR_NO_MEMORY;
    cm3_preprocessing way = !a->preprocess                 ? CM3_PREPROCESSING_AUTO
                            : !strcmp(a->preprocess, "hf") ? CM3_PREPROCESSING_HF
                                                           : CM3_PREPROCESSING_META;
    if (status == CM3_OK) {
        status = cm3_tokenizer_encode_image_as(tokenizer, image, way, codes, (size_t)info.image_tokens, &count);
    }
    int code = status == CM3_OK ? write_codes(a->output, codes, count) : cm3_failed(context, status);
    free(codes);
    cm3_image_destroy(image);
    cm3_tokenizer_destroy(tokenizer);
    return code;
}

static int decode(cm3_context *context, const cm3_codes_arguments *a) {
    cm3_tokenizer *tokenizer = NULL;
    cm3_image *image = NULL;
    size_t count = 0;
    int32_t *codes = cm3_ids_read(a->input, &count);
    if (!codes) return CM3_EXIT_FAILED;
    cm3_status status = load(context, a, &tokenizer);
    if (status == CM3_OK) status = cm3_tokenizer_decode_image(tokenizer, codes, count, &image);
    if (status == CM3_OK) status = cm3_image_save(image, a->output, NULL);
    int code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    free(codes);
    cm3_image_destroy(image);
    cm3_tokenizer_destroy(tokenizer);
    return code;
}

static const char *complaint(const cm3_codes_arguments *a, const cm3_list *words, bool encoding) {
    if (!a->model || words->count != 1)
        return encoding ? "-m MODEL and a picture are wanted" : "-m MODEL and a file of codes are wanted";
    if (!encoding && !a->output) return "-o FILE is wanted";
    if (a->preprocess && strcmp(a->preprocess, "hf") && strcmp(a->preprocess, "meta")) {
        return "--preprocess is hf or meta";
    }
    return NULL;
}

static int run(int argc, char **argv, bool encoding) {
    cm3_codes_arguments a = {.threads = -1};
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},
        {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
        {"--vqgan", NULL, CM3_OPTION_TEXT, &a.vqgan, 0, 0},
        {"--threads", NULL, CM3_OPTION_INT, &a.threads, 1, 64},
        {encoding ? "--preprocess" : NULL, NULL, CM3_OPTION_TEXT, &a.preprocess, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    if (cm3_wants_help(argc, argv, options)) {
        fputs(encoding ? encode_help : decode_help, stdout);
        return CM3_EXIT_DONE;
    }
    cm3_list *words = calloc(1, sizeof *words);
    int code = CM3_EXIT_USAGE;
    if (words && cm3_options_parse(argc, argv, options, words)) {
        const char *wrong = complaint(&a, words, encoding);
        if (wrong) cm3_say("%s; 'cm3 %s --help' tells more", wrong, encoding ? "encode-image" : "decode-image");
        a.input = words->items[0];
        cm3_context *context = wrong ? NULL : cm3_open_context(a.threads);
        if (context) code = encoding ? encode(context, &a) : decode(context, &a);
        if (!wrong && !context) code = CM3_EXIT_FAILED;
        cm3_context_destroy(context);
    }
    free(words);
    return code;
}

int cm3_command_encode_image(int argc, char **argv) {
    return run(argc, argv, true);
}

int cm3_command_decode_image(int argc, char **argv) {
    return run(argc, argv, false);
}
