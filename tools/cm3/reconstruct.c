/* cm3 reconstruct: pictures through the image tokenizer and back. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 reconstruct -m MODEL IN -o OUT.png\n"
    "       cm3 reconstruct -m MODEL IN... --out-dir DIR\n"
    "\n"
    "Encodes pictures to codes and decodes them again; says how near they come (PSNR in "
    "dB, against the picture at the\n"
    "tokenizer's size). With --out-dir: 0000.png, 0001.png ... in the order given.\n"
    "\n"
    "  -m, --model MODEL    a .cm3 file or a folder\n"
    "      --vqgan FILE     an image decoder for a folder that holds none (.ckpt, .safetensors)\n"
    "  -o, --output FILE    .png or .jpg\n"
    "      --out-dir DIR    for several pictures\n"
    "  --json               {\"file\", \"psnr\"} a line\n"
    "  --threads N          (one a core)\n";

/** Peak signal to noise ratio of two pictures of one size. */
static double psnr(const cm3_image *a, const cm3_image *b) {
    cm3_image_view x, y;
    cm3_image_get_view(a, &x);
    cm3_image_get_view(b, &y);
    double sum = 0;
    for (int32_t row = 0; row < x.height; row++) {
        for (int32_t i = 0; i < 3 * x.width; i++) {
            double difference =
                (double)x.pixels[(size_t)row * x.stride + (size_t)i] - y.pixels[(size_t)row * y.stride + (size_t)i];
            sum += difference * difference;
        }
    }
    double mean = sum / (3.0 * x.width * x.height);
    return mean > 0 ? 10 * log10(255.0 * 255.0 / mean) : INFINITY;
}

/** The picture as the tokenizer sees it: short side to `side`, the middle cut out. */
static cm3_status fit(const cm3_image *image, int32_t side, cm3_image **fitted) {
    cm3_image_view view;
    cm3_image *scaled = NULL;
    cm3_image_get_view(image, &view);
    double scale = (double)side / (view.width < view.height ? view.width : view.height);
    int32_t width = (int32_t)nearbyint(view.width * scale), height = (int32_t)nearbyint(view.height * scale);
    cm3_status status = cm3_image_resize(image, width, height, CM3_FILTER_LANCZOS, &scaled);
    if (status == CM3_OK) status = cm3_image_crop(scaled, (width - side) / 2, (height - side) / 2, side, side, fitted);
    cm3_image_destroy(scaled);
    return status;
}

static cm3_status reconstruct(const cm3_tokenizer *tokenizer, const cm3_tokenizer_info *info, const cm3_image *image,
                              const char *path, double *quality) {
    cm3_image *fitted = NULL, *back = NULL;
    size_t count = 0;
    int32_t *codes = calloc((size_t)info->image_tokens, sizeof *codes);
    if (!codes) return CM3_ERROR_NO_MEMORY;
    cm3_status status = cm3_tokenizer_encode_image(tokenizer, image, codes, (size_t)info->image_tokens, &count);
    if (status == CM3_OK) status = cm3_tokenizer_decode_image(tokenizer, codes, count, &back);
    if (status == CM3_OK) status = fit(image, info->image_resolution, &fitted);
    if (status == CM3_OK) *quality = psnr(fitted, back);
    if (status == CM3_OK && path) status = cm3_image_save(back, path, NULL);
    cm3_image_destroy(fitted);
    cm3_image_destroy(back);
    free(codes);
    return status;
}

typedef struct cm3_reconstruct_arguments {
    const char *model, *vqgan, *output, *out_dir;
    bool json;
    int64_t threads;
    cm3_list words;
} cm3_reconstruct_arguments;

static cm3_status run_all(cm3_context *context, const cm3_reconstruct_arguments *a) {
    cm3_model *model = NULL;
    cm3_tokenizer *tokenizer = NULL;
    cm3_tokenizer_info info = {.struct_size = sizeof info};
    cm3_status status = cm3_open_model(context, a->model, a->vqgan, &model);
    if (status == CM3_OK) status = cm3_model_tokenizer(model, &tokenizer);
    if (status == CM3_OK) status = cm3_tokenizer_get_info(tokenizer, &info);
    double sum = 0;
    size_t done = 0;
    for (; status == CM3_OK && done < a->words.count && !cm3_interrupted(); done++) {
        cm3_image *image = NULL;
        char path[4096];
        double quality = 0;
        snprintf(path, sizeof path, "%s/%04zu.png", a->out_dir ? a->out_dir : "", done);
        const char *to = a->out_dir ? path : a->output;
        status = cm3_image_load(context, a->words.items[done], &image);
        if (status == CM3_OK) status = reconstruct(tokenizer, &info, image, to, &quality);
        cm3_image_destroy(image);
        if (status != CM3_OK) break;
        sum += quality;
        if (a->json) {
            printf("{\"file\": ");
            cm3_print_json(to ? to : "");
            printf(", \"psnr\": %.3f}\n", quality);
        } else if (a->words.count == 1) {
            printf("PSNR %.2f dB\n", quality);
        }
    }
    if (status == CM3_OK && !a->json && done > 1)
        printf("mean PSNR of %zu pictures %.2f dB\n", done, sum / (double)done);
    cm3_tokenizer_destroy(tokenizer);
    cm3_model_destroy(model);
    return status;
}

int cm3_command_reconstruct(int argc, char **argv) {
    if (cm3_wants_help(argc, argv, NULL)) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    cm3_reconstruct_arguments *a = calloc(1, sizeof *a);
    if (!a) return CM3_EXIT_FAILED;
    a->threads = -1;
    const cm3_option options[] = {
        {"--model", "-m", CM3_OPTION_TEXT, &a->model, 0, 0},
        {"--vqgan", NULL, CM3_OPTION_TEXT, &a->vqgan, 0, 0},
        {"--output", "-o", CM3_OPTION_TEXT, &a->output, 0, 0},
        {"--out-dir", NULL, CM3_OPTION_TEXT, &a->out_dir, 0, 0},
        {"--threads", NULL, CM3_OPTION_INT, &a->threads, 1, 64},
        {"--json", NULL, CM3_OPTION_FLAG, &a->json, 0, 0},
        {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0},
    };
    int code = CM3_EXIT_USAGE;
    if (cm3_options_parse(argc, argv, options, &a->words)) {
        if (!a->model || !a->words.count || (a->words.count > 1 && !a->out_dir)) {
            cm3_say(
                "-m MODEL and a picture are wanted, and --out-dir for several; 'cm3 reconstruct --help' tells more");
        } else if (a->out_dir && !cm3_make_dir(a->out_dir)) {
            code = CM3_EXIT_FAILED;
        } else {
            cm3_context *context = cm3_open_context(a->threads);
            cm3_status status = context ? run_all(context, a) : CM3_ERROR_NO_MEMORY;
            code = status == CM3_OK ? (cm3_interrupted() ? CM3_EXIT_INTERRUPTED : CM3_EXIT_DONE)
                   : context        ? cm3_failed(context, status)
                                    : CM3_EXIT_FAILED;
            cm3_context_destroy(context);
        }
    }
    free(a);
    return code;
}
