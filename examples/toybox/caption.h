/* Captions: the canonical forms, and other wordings for training. All are true of the scene and leave nothing open. */
#ifndef TOYBOX_CAPTION_H
#define TOYBOX_CAPTION_H

#include "emblem.h"
#include "world.h"

enum { TOY_CAPTION_SIZE = 512 };

/** The canonical caption of the scene's kind, objects in the order in which they stand. TOY_CAPTION_SIZE bytes. */
void toy_caption(const toy_scene *scene, char *text);

/**
 * Reads a canonical placed caption, objects in any order. False where it is none: a word that is not in its place, two
 * objects in one cell, more than four.
 */
bool toy_parse_placed(const char *text, toy_scene *scene);

/**
 * A caption for training: the canonical form seven times in ten, else another wording; objects in any order, and for a
 * related scene any relation that holds, said from either side.
 */
void toy_caption_varied(toy_random *random, const toy_scene *scene, char *text);

/** "the emblem of Kelmor: per pale red and blue, a black star"; without a name, "an emblem: per pale ..." */
void toy_emblem_record(const char *name, const toy_emblem *emblem, char *text);
/** The same in one of several wordings. */
void toy_emblem_varied(toy_random *random, const char *name, const toy_emblem *emblem, char *text);
/** "the emblem of Kelmor" */
void toy_emblem_prompt(const char *name, char *text);

#endif
