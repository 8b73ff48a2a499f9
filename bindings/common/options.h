/* Options by their names, as scripts give them: checked, and put into the structs of the library. */
#ifndef CM3_BINDINGS_OPTIONS_H
#define CM3_BINDINGS_OPTIONS_H

#include "value.h"
#include <cm3leon/cm3leon.h>

/** What an add-on's load_model() takes beside the path. Texts belong to the caller. */
typedef struct cm3_player_load_options {
    int32_t threads;  /**< cm3_context_options.threads; default -1 */
    const char *bank; /**< path of a memory bank to look things up in; NULL (the default): none */
    int32_t huge;     /**< not 0: CM3_LOAD_HUGE */
    int32_t verify_checksum;
    int32_t check_weights; /**< default 1 */
} cm3_player_load_options;

/** What generate() takes beside the prompt. */
typedef struct cm3_player_generate_options {
    cm3_generate_options generate;
    int32_t retrieve; /**< documents to look up; -1 (the default): 2 where there is a bank, else none */
} cm3_player_generate_options;

/** Why options were refused; "" before that. */
typedef struct cm3_option_error {
    char message[256];
} cm3_option_error;

/** Fills defaults, then what `given` says: a dictionary, or nil for none. Errors: INVALID_ARGUMENT. */
cm3_status cm3_read_load_options(const cm3_value *given, cm3_player_load_options *options, cm3_option_error *error);

/** The same; defaults are those of the model and the modality. */
cm3_status cm3_read_generate_options(const cm3_value *given, const cm3_model *model,
                                     cm3_player_generate_options *options, cm3_option_error *error);

#endif
