/* What the command's parts share. */
#ifndef CM3_TOOL_COMMAND_H
#define CM3_TOOL_COMMAND_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cm3leon/cm3leon.h"

/** Exit codes. */
enum { CM3_EXIT_DONE = 0, CM3_EXIT_FAILED = 1, CM3_EXIT_USAGE = 2, CM3_EXIT_INTERRUPTED = 130 };

/* --- options.c: reading argv ----------------------------------------------------------------------------------------
 */

typedef enum cm3_option_kind {
    CM3_OPTION_FLAG,   /**< bool */
    CM3_OPTION_TEXT,   /**< const char * */
    CM3_OPTION_INT,    /**< int64_t */
    CM3_OPTION_SEED,   /**< uint64_t, all of them */
    CM3_OPTION_NUMBER, /**< double */
    CM3_OPTION_LIST    /**< cm3_list: may be given several times, and takes all words up to the next option */
} cm3_option_kind;

typedef struct cm3_list {
    const char *items[4096];
    size_t count;
} cm3_list;

typedef struct cm3_option {
    const char *name;  /**< "--seed" */
    const char *brief; /**< "-s", or NULL */
    cm3_option_kind kind;
    void *value;
    double minimum, maximum; /**< of INT and NUMBER; both 0: any */
} cm3_option;

/**
 * Reads options and words; an option given twice: the last counts. Returns false after saying what is wrong on stderr.
 * `words` (may be NULL: none are allowed) gets what is no option. Options end with a NULL name.
 */
bool cm3_options_parse(int argc, char **argv, const cm3_option *options, cm3_list *words);

/** What an option is for, words with a space between: a command's parts, or options that it goes with. */
typedef struct cm3_option_use {
    const char *name; /**< as in cm3_option; several lines of one name must all be met */
    const char *parts;
} cm3_option_use;

/**
 * Whether all options among the words have a use in the call, which is for `parts` (words with a space between); says
 * which has none, so that none is ignored. One that `uses` does not name has always. `uses` ends with a NULL name;
 * `call` is what is said to be called: "cm3 bank add".
 */
bool cm3_options_fit(int argc, char **argv, const cm3_option *options, const cm3_option_use *uses, const char *call,
                     const char *parts);
/** True where --help or -h is among the words, and is not what one of `options` (may be NULL) is given: -p -h. */
bool cm3_wants_help(int argc, char **argv, const cm3_option *options);

/* --- terminal.c: progress, messages, signals
 * -------------------------------------------------------------------------- */

/** A line of progress on stderr: redrawn on a terminal, now and then a plain line elsewhere, nothing with `quiet`. */
typedef struct cm3_progress {
    const char *label;
    bool quiet, terminal, drawn, complete;
    double last, started;
    uint64_t first; /**< what was done before it began; 0 unless set: the rest is reckoned from what this call did */
} cm3_progress;

void cm3_progress_begin(cm3_progress *progress, const char *label, bool quiet);
/** `note`: what stands behind the bar; may be NULL. */
void cm3_progress_show(cm3_progress *progress, uint64_t done, uint64_t total, const char *note);
void cm3_progress_end(cm3_progress *progress);
/** For the library's progress callbacks; `user` is a cm3_progress. Stops after SIGINT. */
int cm3_progress_callback(void *user, uint64_t done, uint64_t total);

/** "cm3: message" on stderr. */
void cm3_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
/** What stands before messages in place of "cm3"; `name` is not copied. */
void cm3_speak_as(const char *name);
/** Says why a library call failed and returns the exit code. */
int cm3_failed(const cm3_context *context, cm3_status status);
/** Lets SIGINT and SIGTERM set a flag; a second one ends the process. */
void cm3_catch_signals(void);
/** The same for what mpirun and the like start: SIGUSR1 as well, which they hand on, and a signal that comes by two
 * ways ends nothing. */
void cm3_catch_signals_of_starters(void);
bool cm3_interrupted(void);
/** The exit code of a call that ended early: INTERRUPTED, saying so, after a signal; else FAILED. */
int cm3_ended_early(void);
double cm3_now(void);

/** A context with `threads` threads (-1: all), warnings on stderr. NULL after saying why. */
cm3_context *cm3_open_context(int64_t threads);
/** The model that is asked for: `given`, or where that is NULL what the variable CM3_MODEL names; NULL: none. */
const char *cm3_model_asked_for(const char *given);
/** The last part of a path. */
const char *cm3_base_name(const char *path);
/** Loads a `.cm3` file or a folder, the image decoder from `vqgan` where that is not NULL. */
cm3_status cm3_open_model(cm3_context *context, const char *path, const char *vqgan, cm3_model **model);
/** The same, rows of the head from a file where that is not NULL. */
cm3_status cm3_open_model_with(cm3_context *context, const char *path, const char *vqgan, const char *head_rows,
                               cm3_model **model);

/* --- lines.c: JSON lines of texts
 * -------------------------------------------------------------------------------------- */

/** Texts of a file (or "-"): a line is a JSON string or an object with "text"; blank lines count and say nothing. NULL
 * after saying why (also when interrupted); freed by cm3_lines_free(). `others` (may be NULL) gets as many paths, those
 * under `key`, relative to the file's; NULL where a line has none; freed likewise. */
char **cm3_lines_read(const char *path, const char *key, char ***others, size_t *count);
/** Whether a picture can be written to a file of that name: found out before it is drawn, not after. */
bool cm3_is_picture(const char *path);
/** Makes a directory where there is none. False after saying why. */
bool cm3_make_dir(const char *path);
/** `name` beside the file `beside`, unless it is absolute; freed by free(). NULL: out of memory. */
char *cm3_path_beside(const char *beside, const char *name);
void cm3_lines_free(char **lines, size_t count);
/** Of a JSON list of ids or codes, not empty; freed by free(). NULL where it is none. */
int32_t *cm3_ids_of(const json_t *list, size_t *count);
/** A JSON list of ids or codes in a file (or "-"); not empty. NULL after saying why; freed by free(). */
int32_t *cm3_ids_read(const char *path, size_t *count);
/** float32 values as a NumPy file. False after saying why. */
bool cm3_write_npy(const char *path, const float *values, int rank, const size_t *shape);
/** A text, such as a path, as a JSON string on standard output; its bytes stay as they are. */
void cm3_print_json(const char *text);

/* --- database.c: banks that are databases
 * ------------------------------------------------------------------------------ */

struct cm3_pgvector;

/** How a store is made. */
typedef struct cm3_database_making {
    bool halfvec;
    int32_t dimension; /**< 0: the model's */
} cm3_database_making;

/** Whether a bank is named by a URI and not as a file. */
bool cm3_is_database(const char *bank);
/** Opens it, for a model's vectors where that is not NULL; makes it where `making` is not NULL. What goes wrong is told
 * by cm3_failed(). *store is NULL on failure. */
cm3_status cm3_database_open(const char *bank, const cm3_model *model, const char *model_name,
                             const cm3_database_making *making, struct cm3_pgvector **store);
/** A retriever over it, which closes the store, and whose searches warn where some shard did not answer. */
cm3_status cm3_database_retriever(const char *bank, cm3_model *model, const char *model_name,
                                  struct cm3_pgvector **store, cm3_retriever **retriever);
cm3_status cm3_database_index(struct cm3_pgvector *store);
cm3_status cm3_database_print_info(struct cm3_pgvector *store, bool json);
void cm3_database_close(struct cm3_pgvector *store);
/** What went wrong outside of any context; "" where nothing did. */
const char *cm3_database_failure(void);

/* --- lookup.c: documents that are looked up for prompts
 * ---------------------------------------------------------------- */

typedef struct cm3_lookup_arguments {
    const char *bank; /**< NULL: nothing is looked up */
    int64_t retrieve; /**< documents of a prompt */
    bool show;        /**< what was found, on standard error */
} cm3_lookup_arguments;

typedef struct cm3_lookup cm3_lookup;

/** Opens the bank for a model that has an encoder; `model_name` is for messages. *lookup is NULL where there is no
 * bank, or on failure. `arguments` must outlive it. */
cm3_status cm3_lookup_open(cm3_context *context, cm3_model *model, const char *model_name,
                           const cm3_lookup_arguments *arguments, cm3_lookup **lookup);
void cm3_lookup_close(cm3_lookup *lookup);
/** Puts what is found for a text or a picture (one of them) into an empty document; `seconds` (may be NULL) is how long
 * encoding it and searching took. `lookup` NULL: nothing. */
cm3_status cm3_lookup_add(const cm3_lookup *lookup, const char *text, cm3_image *image, cm3_document *document,
                          double *seconds);

/* --- layout.c: pictures that say where things are
 * ---------------------------------------------------------------------- */

/**
 * Which of the demo's tasks a picture is a layout for, "outline" or "layout" (a segmentation): outlines are thin lines
 * without colour. *value is the name of the picture in it.
 */
const char *cm3_layout_task(const cm3_image *image, const char **value);

/* --- the commands
 * ------------------------------------------------------------------------------------------------------ */

int cm3_command_generate(int argc, char **argv);
int cm3_command_caption(int argc, char **argv);
int cm3_command_ask(int argc, char **argv);
int cm3_command_edit(int argc, char **argv);
int cm3_command_segment(int argc, char **argv);
int cm3_command_infill(int argc, char **argv);
int cm3_command_infill_text(int argc, char **argv);
int cm3_command_train(int argc, char **argv);
int cm3_command_info(int argc, char **argv);
int cm3_command_tokenize(int argc, char **argv);
int cm3_command_reconstruct(int argc, char **argv);
int cm3_command_convert(int argc, char **argv);
int cm3_command_embed(int argc, char **argv);
int cm3_command_bank(int argc, char **argv);
int cm3_command_logits(int argc, char **argv);
int cm3_command_encode_image(int argc, char **argv);
int cm3_command_decode_image(int argc, char **argv);

#endif
