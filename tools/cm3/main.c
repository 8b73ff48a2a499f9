/* The command cm3: picks the part that does the work. */
#include <stdio.h>
#include <string.h>

#include "command.h"

static const struct {
    const char *name, *brief;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"generate", "draw a picture of a sentence", cm3_command_generate},
    {"caption", "say what a picture shows", cm3_command_caption},
    {"ask", "answer a question about a picture", cm3_command_ask},
    {"edit", "change a picture as it is told", cm3_command_edit},
    {"segment", "draw each object of a picture in the colour of its class", cm3_command_segment},
    {"infill", "draw anew what a box of a picture hides", cm3_command_infill},
    {"infill-text", "find the words that are missing in a caption", cm3_command_infill_text},
#ifdef CM3_WITH_TRAIN
    {"train", "train a text tokenizer, an image tokenizer or a language model", cm3_command_train},
#endif
    {"info", "say what a model holds", cm3_command_info},
    {"tokenize", "texts to token ids and back", cm3_command_tokenize},
    {"reconstruct", "send pictures through the image tokenizer and back", cm3_command_reconstruct},
    {"encode-image", "a picture to its codes", cm3_command_encode_image},
    {"decode-image", "codes to a picture", cm3_command_decode_image},
    {"convert", "make a .cm3 file of a folder, or another of a .cm3 file", cm3_command_convert},
    {"bank", "keep texts and pictures, and find them again", cm3_command_bank},
    {"embed", "texts or pictures to vectors", cm3_command_embed},
    {"logits", "write what the model says of given ids, for NumPy", cm3_command_logits},
};

static void help(FILE *to) {
    fprintf(to, "cm3: text and pictures from one model (libcm3leon %s)\n\nUsage: cm3 COMMAND [OPTION]...\n\n",
            cm3_version());
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        fprintf(to, "  cm3 %-12s %s\n", commands[i].name, commands[i].brief);
    }
    fprintf(to, "\n'cm3 COMMAND --help' tells more of each. To begin with:\n\n"
                "  cm3 generate -m models/toybox.cm3 -p \"a large red circle at the top left on a sand background\" -o "
                "circle.jpg\n\n"
                "Exit codes: 0 done, 1 failed, 2 wrong usage, 130 interrupted.\n");
}

static int run(int argc, char **argv) {
    if (argc < 2) {
        help(stderr);
        return CM3_EXIT_USAGE;
    }
    if (!strcmp(argv[1], "--version")) {
        printf("cm3 %s\n", cm3_version());
        return CM3_EXIT_DONE;
    }
    if (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-h") || !strcmp(argv[1], "help")) {
        help(stdout);
        return CM3_EXIT_DONE;
    }
    cm3_catch_signals();
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++) {
        if (!strcmp(argv[1], commands[i].name)) return commands[i].run(argc - 2, argv + 2);
    }
    cm3_say("there is no command '%s'; 'cm3 --help' lists them", argv[1]);
    return CM3_EXIT_USAGE;
}

int main(int argc, char **argv) {
    int code = run(argc, argv);
    if (fflush(stdout) == 0 && !ferror(stdout)) return code;
    cm3_say("standard output could not be written");
    return code == CM3_EXIT_DONE ? CM3_EXIT_FAILED : code;
}
