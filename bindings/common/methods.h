/* The script's side of a player: its methods by name, on plain values. An engine's part turns values into its own. */
#ifndef CM3_BINDINGS_METHODS_H
#define CM3_BINDINGS_METHODS_H

#include "player.h"

/** Room for the result of a method: a dictionary's entries. */
typedef struct cm3_answer {
    cm3_value value; /**< valid until the next call with the same player */
    cm3_entry entries[8];
} cm3_answer;

typedef struct cm3_method {
    const char *name;
    int arguments;
    const char *argument_names[2];
    /** Takes that many values, of which those that were not given are nil; `answer` is nil at first. */
    void (*call)(cm3_player *player, const cm3_value *arguments, cm3_answer *answer);
} cm3_method;

/** The class that scripts see. */
#define CM3_CLASS_NAME "Cm3leonPlayer"

#define CM3_METHOD_COUNT 11
extern const cm3_method cm3_methods[CM3_METHOD_COUNT];

#endif
