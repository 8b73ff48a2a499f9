/*
 * What a game engine's add-on does with the library: loads a model, generates, hands events over when it is asked. It
 * knows no engine. Nothing here waits but cm3_player_unload() and cm3_player_destroy(), and nothing of the host's is
 * called: loading and looking up run on a thread of the player's own, generation on the context's.
 */
#ifndef CM3_BINDINGS_PLAYER_H
#define CM3_BINDINGS_PLAYER_H

#include "options.h"
#include "queue.h"

/** One model and at most one generation. One thread at a time. */
typedef struct cm3_player cm3_player;

/** NULL without memory. */
cm3_player *cm3_player_create(void);

/** Stops what runs, waits for it, frees all. NULL is allowed. */
void cm3_player_destroy(cm3_player *player);

/**
 * Begins to load; LOADED or FAILED tells the end of it. A model that is there stays until then, and when it fails.
 * `options` is a dictionary or nil (options.h). Errors: BUSY, INVALID_ARGUMENT, NO_MEMORY, THREAD, VERSION (this is not
 * the library that the add-on was made for).
 */
cm3_status cm3_player_load(cm3_player *player, const char *path, const cm3_value *options);

/** Gives model and bank back; what runs is stopped, and a loading waited for. */
void cm3_player_unload(cm3_player *player);

/**
 * Begins to generate; FINISHED is the last event, behind FAILED where it failed. Errors: BUSY (until FINISHED was
 * taken), INVALID_ARGUMENT (no model), those of cm3_request_start(); then no event comes.
 */
cm3_status cm3_player_generate(cm3_player *player, const char *prompt, const cm3_value *options);

/** Asks a generation to stop. FINISHED comes all the same. */
void cm3_player_cancel(cm3_player *player);

/** Gathers events, waiting at most `budget_us` for some; computes for so long where the context has no threads. */
void cm3_player_poll(cm3_player *player, uint64_t budget_us);

/** The next event, valid until the next call with this player; NULL: none. */
const cm3_player_event *cm3_player_next(cm3_player *player);

int cm3_player_is_loading(const cm3_player *player);
int cm3_player_is_loaded(const cm3_player *player);
int cm3_player_is_running(const cm3_player *player);

/** What went wrong last; "" before that. */
const char *cm3_player_message(const cm3_player *player);

#endif
