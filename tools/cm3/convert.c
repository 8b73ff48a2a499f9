/* cm3 convert: any model becomes a .cm3 file. */
#include <stdio.h>
#include <string.h>

#include "command.h"

static const char help_text[] =
    "Usage: cm3 convert [OPTION]... IN OUT.cm3\n"
    "\n"
    "Makes a .cm3 file of a folder that other tools made, or of another .cm3 file. Memory stays small whatever the\n"
    "model's size, and what was written is compared with its checksum.\n"
    "\n"
    "  --weights TYPE     of the language model's and the encoder's matrices: keep, f32, bf16, q8 or q4 (keep)\n"
    "  --embeddings TYPE  of the tables of tokens and positions (q8 with q4, else as --weights)\n"
    "  --head TYPE        of the output head, where it is not the table of tokens (q8 with q4, else as --weights)\n"
    "  --block N          of q8 and q4: 32 or 64 weights share a scale (64)\n"
    "  --vqgan FILE       an image decoder for a folder that holds none\n"
    "  --head-rows FILE   rows of the output head (.safetensors), laid over the model's\n"
    "  --encoder MODEL    puts in this one's encoder (of texts and pictures), made for the same tokenizer\n"
    "  --threads N        (all)\n"
    "  --quiet            no progress\n"
    "\n"
    "q8 takes a little more than 8 bits a weight and loses next to nothing; q4 takes 4.5 bits (5, and loses less, with "
    "--block 32).\n";

static bool read_type(const char *option, const char *text, cm3_weight_type *type) {
    static const char *const names[] = {"keep", "f32", "bf16", "q8", "q4"};
    for (int i = 0; i < 5; i++) {
        *type = (cm3_weight_type)(CM3_WEIGHTS_KEEP + i);
        if (!strcmp(text, names[i])) return true;
    }
    cm3_say("%s must be keep, f32, bf16, q8 or q4", option);
    return false;
}

/** Loads what was written, its checksum compared. */
static cm3_status verify(cm3_context *context, const char *path) {
    cm3_load_options options;
    cm3_load_options_init(&options);
    options.verify_checksum = 1;
    options.check_weights = 0; /* it was, on the way */
    cm3_model *model = NULL;
    cm3_status status = cm3_model_load(context, path, &options, &model);
    cm3_model_destroy(model);
    return status;
}

static int convert(const char *from, const char *to, cm3_convert_options *options, int64_t threads, bool quiet) {
    cm3_context *context = cm3_open_context(threads);
    if (!context) return CM3_EXIT_FAILED;
    cm3_progress progress;
    cm3_progress_begin(&progress, "weights", quiet);
    options->on_progress = cm3_progress_callback;
    options->user = &progress;
    cm3_status status = cm3_model_convert(context, from, to, options);
    cm3_progress_end(&progress);
    if (status == CM3_OK) status = verify(context, to);
    int code = status == CM3_OK                ? CM3_EXIT_DONE
               : status == CM3_ERROR_CANCELLED ? cm3_ended_early()
                                               : cm3_failed(context, status);
    cm3_context_destroy(context);
    return code;
}

int cm3_command_convert(int argc, char **argv) {
    const char *weights = "keep", *embeddings = NULL, *head = NULL, *vqgan = NULL, *head_rows = NULL, *encoder = NULL;
    int64_t block = 64, threads = -1;
    bool quiet = false;
    static cm3_list words;
    const cm3_option options[] = {{"--weights", NULL, CM3_OPTION_TEXT, &weights, 0, 0},
                                  {"--embeddings", NULL, CM3_OPTION_TEXT, &embeddings, 0, 0},
                                  {"--head", NULL, CM3_OPTION_TEXT, &head, 0, 0},
                                  {"--block", NULL, CM3_OPTION_INT, &block, 32, 64},
                                  {"--vqgan", NULL, CM3_OPTION_TEXT, &vqgan, 0, 0},
                                  {"--head-rows", NULL, CM3_OPTION_TEXT, &head_rows, 0, 0},
                                  {"--encoder", NULL, CM3_OPTION_TEXT, &encoder, 0, 0},
                                  {"--threads", NULL, CM3_OPTION_INT, &threads, 0, 1024},
                                  {"--quiet", NULL, CM3_OPTION_FLAG, &quiet, 0, 0},
                                  {NULL, NULL, CM3_OPTION_FLAG, NULL, 0, 0}};
    if (cm3_wants_help(argc, argv, options)) {
        fputs(help_text, stdout);
        return CM3_EXIT_DONE;
    }
    if (!cm3_options_parse(argc, argv, options, &words)) return CM3_EXIT_USAGE;
    if (words.count != 2) {
        cm3_say("convert wants a model and the file to be made of it; --help tells more");
        return CM3_EXIT_USAGE;
    }
    cm3_convert_options o;
    cm3_convert_options_init(&o);
    o.block = (int32_t)block;
    o.vqgan = vqgan;
    o.head_rows = head_rows;
    o.encoder = encoder;
    if (block != 32 && block != 64) {
        cm3_say("--block must be 32 or 64");
        return CM3_EXIT_USAGE;
    }
    if (!read_type("--weights", weights, &o.weights)) return CM3_EXIT_USAGE;
    if (embeddings && !read_type("--embeddings", embeddings, &o.embeddings)) return CM3_EXIT_USAGE;
    if (head && !read_type("--head", head, &o.head)) return CM3_EXIT_USAGE;
    return convert(words.items[0], words.items[1], &o, threads, quiet);
}
