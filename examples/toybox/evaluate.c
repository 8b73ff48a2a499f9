/* toybox-evaluate: makes held-out prompts and tells which of the pictures made from them are right. */
#include "studio.h"

#include <stdio.h>
#include <string.h>

static const char usage[] =
    "Usage: toybox-evaluate COMMAND ...\n"
    "\n"
    "  prompts --kind placed|related|counted [--count N] [--seed S] [--objects N] [--compositional]\n"
    "          [--pictures DIR [--side PIXELS]]\n"
    "      prints held-out captions as JSON lines: text, kind, and the scene that the text demands.\n"
    "      --objects: each with so many, 1 to 4 (placed).\n"
    "      --compositional: each with a (size, colour, shape) that training never sees (placed and counted).\n"
    "      --pictures: also draws the scenes that the captions were made from, as DIR/0000.png ...\n"
    "  score PROMPTS.jsonl DIR [--json] [--failures FILE.jsonl]\n"
    "      reads DIR/0000.jpg or .png ... in the order of the lines and prints, for each kind, the share of scenes "
    "that\n"
    "      are entirely right and the accuracy of each attribute.\n"
    "  read PICTURE...\n"
    "      prints the scene found in each picture as JSON.\n"
    "  quiz --task TASK [--count N] [--seed S] [--side PIXELS] [--jpeg QUALITY] DIR\n"
    "      writes requests of a task on held-out scenes, DIR/requests.jsonl, as the command's --batch takes them,\n"
    "      with pictures in DIR/given; the right answers go to DIR/wanted or DIR/wanted.jsonl. TASK: caption, ask,\n"
    "      edit, segment, layout, outline, boxes, infill, infill-text, emblem, emblem-seen, emblem-new, recall. Of\n"
    "      the last four DIR/records.jsonl is what a bank holds ('cm3 bank add').\n"
    "      --jpeg: what is given is JPEG of that quality, 1 to 100.\n"
    "  mark REQUESTS.jsonl ANSWERS [--json] [--shuffled] [--failures FILE.jsonl] [--sheet FILE.png]\n"
    "      marks answers to a quiz: a folder of pictures, or JSON lines of texts or of what was found. --shuffled "
    "gives each request the "
    "next\n"
    "      one's answer. --sheet: the first pictures, what was given beside what was made.\n"
    "  sheet PROMPTS.jsonl DIR OUT.png|.jpg [--columns C]\n"
    "      lays the pictures out, those that are wrong in a red frame.\n"
    "  selftest [--fixtures DIR] [--count N]\n"
    "      draws N scenes of each kind (400; at least 80), reads them back, and compares the drawing with masks made\n"
    "      by another program.\n";

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
} commands[] = {
    {"prompts", toy_command_prompts},   {"score", toy_command_score}, {"read", toy_command_read},
    {"quiz", toy_command_quiz},         {"mark", toy_command_mark},   {"sheet", toy_command_sheet},
    {"selftest", toy_command_selftest},
};

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
    }
    if (argc < 2) {
        fputs(usage, stderr);
        return 2;
    }
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    }
    toy_complain("there is no command %s; see --help", argv[1]);
    return 2;
}
