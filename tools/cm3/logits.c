/* cm3 logits: the plain forward pass over given ids, as an array for NumPy. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 logits -m MODEL --ids ids.json -o out.npy [OPTION]...\n"
    "\n"
    "Runs the model over a JSON list of token ids (\"-\": standard input) and writes the logits of every position,\n"
    "float32 [T, vocab], as a .npy file. For comparing with other implementations.\n"
    "\n"
    "  -m, --model MODEL        a .cm3 file or a folder\n"
    "      --ids FILE           the ids\n"
    "  -o, --output FILE        the .npy file\n"
    "      --hidden             hidden states instead, [layers + 2, T, d]: embeddings, after each layer, after the\n"
    "                           final norm\n"
    "      --mask-image-tokens  logits of image tokens become the least float32, as Hugging Face's Chameleon has them\n"
    "      --compute f32|bf16   of matrix products (f32)\n"
    "      --vqgan FILE         an image decoder for a folder that holds none\n"
    "      --head-rows FILE     rows of the output head (.safetensors), laid over the model's\n"
    "      --threads N          (one a core)\n";

typedef struct cm3_logits_arguments {
    const char *model, *ids, *output, *compute, *vqgan, *head_rows;
    bool hidden, mask;
    int64_t threads;
} cm3_logits_arguments;

/** The whole array is written, or nothing said to be. */
bool cm3_write_npy(const char *path, const float *values, int rank, const size_t *shape) {
    char header[256], sizes[96] = "";
    size_t count = 1, used = 0;
    for (int i = 0; i < rank; i++) {
        count *= shape[i];
        used += (size_t)snprintf(sizes + used, sizeof sizes - used, i ? ", %zu" : "%zu", shape[i]);
    }
    /* Format 1.0: magic, version, length of what follows, and a header that ends at a multiple of 64 bytes. */
    int length = snprintf(header, sizeof header, "{'descr': '<f4', 'fortran_order': False, 'shape': (%s), }", sizes);
    size_t total = ((size_t)length + 11 + 63) / 64 * 64, text = total - 10;
    FILE *file = fopen(path, "wb");
    bool good = file && fwrite("\x93NUMPY\x01\x00", 1, 8, file) == 8 && fputc((int)(text & 255), file) != EOF &&
                fputc((int)(text >> 8), file) != EOF &&
                fprintf(file, "%s%*s\n", header, (int)(text - 1 - (size_t)length), "") > 0 &&
                fwrite(values, sizeof *values, count, file) == count;
    if (file && fclose(file) != 0) good = false;
    if (!good) cm3_say("%s: the file could not be written", path);
    return good;
}

static cm3_status mask_images(const cm3_model *model, float *logits, size_t rows, size_t vocab) {
    cm3_tokenizer *tokenizer = NULL;
    cm3_status status = cm3_model_tokenizer(model, &tokenizer);
    int32_t id;
    for (int32_t code = 0; status == CM3_OK && cm3_tokenizer_special(tokenizer, CM3_TOKEN_IMAGE, code, &id) == CM3_OK;
         code++) {
        for (size_t row = 0; row < rows; row++) logits[row * vocab + (size_t)id] = -3.4028234663852886e38f;
    }
    cm3_tokenizer_destroy(tokenizer);
    return status;
}

static int run(cm3_context *context, const cm3_logits_arguments *a, const int32_t *ids, size_t count) {
    cm3_model *model = NULL;
    cm3_model_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_open_model_with(context, a->model, a->vqgan, a->head_rows, &model);
    if (status == CM3_OK) status = cm3_model_get_info(model, &info);
    size_t states = (size_t)info.layers + 2, width = (size_t)(a->hidden ? info.hidden_size : info.vocab_size);
    float *values = status == CM3_OK ? calloc(count * (a->hidden ? states : 1) + 1, width * sizeof *values) : NULL;
    cm3_compute compute = a->compute && !strcmp(a->compute, "bf16") ? CM3_COMPUTE_BF16 : CM3_COMPUTE_F32;
    if (status == CM3_OK && !values) status = CM3_ERROR_NO_MEMORY;
    if (status == CM3_OK) {
        status = a->hidden ? cm3_model_hidden(model, ids, count, compute, values)
                           : cm3_model_logits(model, ids, count, compute, values);
    }
    if (status == CM3_OK && a->mask) status = mask_images(model, values, count, width);
    int code = status == CM3_OK ? CM3_EXIT_DONE : cm3_failed(context, status);
    const size_t shape[] = {states, count, width};
    if (code == CM3_EXIT_DONE && !cm3_write_npy(a->output, values, a->hidden ? 3 : 2, a->hidden ? shape : shape + 1)) {
        code = CM3_EXIT_FAILED;
    }
    free(values);
    cm3_model_destroy(model);
    return code;
}

int cm3_command_logits(int argc, char **argv) {
    cm3_logits_arguments a = {.threads = -1};
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &a.model, 0, 0},
        {"--ids", NULL, CM3_OPTION_TEXT, &a.ids, 0, 0},
        {"--output", "-o", CM3_OPTION_TEXT, &a.output, 0, 0},
        {"--hidden", NULL, CM3_OPTION_FLAG, &a.hidden, 0, 0},
        {"--mask-image-tokens", NULL, CM3_OPTION_FLAG, &a.mask, 0, 0},
        {"--compute", NULL, CM3_OPTION_TEXT, &a.compute, 0, 0},
        {"--vqgan", NULL, CM3_OPTION_TEXT, &a.vqgan, 0, 0},
        {"--head-rows", NULL, CM3_OPTION_TEXT, &a.head_rows, 0, 0},
        {"--threads", NULL, CM3_OPTION_INT, &a.threads, 1, 64},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    if (cm3_wants_help(argc, argv, options)) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    if (!cm3_options_parse(argc, argv, options, NULL)) return CM3_EXIT_USAGE;
    const char *wrong = !a.model || !a.ids || !a.output ? "-m MODEL, --ids FILE and -o FILE are wanted"
                        : a.hidden && a.mask            ? "--hidden has no logits to mask"
                        : a.compute && strcmp(a.compute, "f32") && strcmp(a.compute, "bf16")
                            ? "--compute is f32 or bf16"
                            : NULL;
    if (wrong) {
        cm3_say("%s; 'cm3 logits --help' tells more", wrong);
        return CM3_EXIT_USAGE;
    }
    size_t count = 0;
    int32_t *ids = cm3_ids_read(a.ids, &count);
    cm3_context *context = ids ? cm3_open_context(a.threads) : NULL;
    int code = context ? run(context, &a, ids, count) : CM3_EXIT_FAILED;
    cm3_context_destroy(context);
    free(ids);
    return code;
}
