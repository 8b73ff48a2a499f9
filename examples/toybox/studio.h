/* What the evaluator's commands share: a context, pictures from files, prompts from JSON lines, and complaints. */
#ifndef TOYBOX_STUDIO_H
#define TOYBOX_STUDIO_H

#include "judge.h"

#include <cm3leon/context.h>
#include <cm3leon/image.h>
#include <jansson.h>

typedef struct toy_studio {
    cm3_context *context;
    toy_reader *reader; /* for the side of the last picture */
    int reader_side;
} toy_studio;

/** Prints "toybox-evaluate: ..." to stderr; returns false, so that failing and saying so is one statement. */
__attribute__((format(printf, 1, 2))) bool toy_complain(const char *format, ...);

/** A whole decimal number within low..high. */
bool toy_parse_long(const char *text, long low, long high, long *out);

bool toy_studio_open(toy_studio *studio);
void toy_studio_close(toy_studio *studio);

/** Reads the scene that an image shows; it must be square, of at least 64 pixels. Large ones are scaled down first. */
bool toy_studio_read(toy_studio *studio, const cm3_image *image, const char *name, toy_reading *reading);

/** A line of a list of prompts. */
typedef struct toy_prompt {
    char text[512];
    toy_scene scene;
} toy_prompt;

/** Reads a whole list; to be released by free(). Complains with file and line. */
bool toy_load_prompts(const char *path, toy_prompt **prompts, size_t *count);

/** Opens DIRECTORY/0000.jpg or .png. */
bool toy_load_numbered(toy_studio *studio, const char *directory, size_t number, cm3_image **image);

/** An RGB picture as an image of the library. */
bool toy_to_image(toy_studio *studio, const toy_picture *picture, cm3_image **image);

/** Writes a picture as PNG or JPEG, by the path's ending; `quality` 0: the library's own. */
bool toy_save_picture(toy_studio *studio, const toy_picture *picture, const char *path, int quality);

/** A picture with a frame: red where it is wrong, white where it is right. */
bool toy_frame(toy_studio *studio, const cm3_image *image, bool right, cm3_image **framed);

/* The commands; what they return is the exit code. */
int toy_command_prompts(int argc, char **argv);
int toy_command_score(int argc, char **argv);
int toy_command_read(int argc, char **argv);
int toy_command_quiz(int argc, char **argv);
int toy_command_mark(int argc, char **argv);
int toy_command_sheet(int argc, char **argv);
int toy_command_selftest(int argc, char **argv);

#endif
