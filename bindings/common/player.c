/* See player.h. */
#include "player.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/** A model with all that belongs to it. */
typedef struct player_model {
    cm3_context *context;
    cm3_model *model;
    cm3_bank *bank;
    cm3_retriever *retriever;
} player_model;

/** What may take longer than a frame: loading, or looking up what stands before a prompt. */
typedef struct player_job {
    pthread_t thread;
    atomic_int done;
    int loads;  /**< else it prepares a request */
    char *text; /**< path or prompt */
    char *bank;
    cm3_player_load_options load;
    cm3_player_generate_options generate;
    player_model model; /**< made, or (preparing) used */
    cm3_request *request;
    cm3_status status;
    char message[1024];
} player_job;

struct cm3_player {
    player_model model;
    player_job *job; /**< NULL: none */
    cm3_request *request;
    int cancelled;
    int no_memory; /**< an event was lost */
    cm3_queue queue;
    cm3_player_event current;
    // What is said when the queue is empty: kept here, so that it needs no memory to say that there is none.
    int loaded, failed, finished;
    cm3_status status;
    cm3_end_reason reason;
    uint64_t seed;
    char message[1024];
};

static void drop(player_model *model) {
    cm3_retriever_destroy(model->retriever);
    cm3_bank_destroy(model->bank);
    cm3_model_destroy(model->model);
    cm3_context_destroy(model->context);
    memset(model, 0, sizeof *model);
}

static cm3_status fail(cm3_player *player, cm3_status status, const char *message) {
    snprintf(player->message, sizeof player->message, "%s", *message ? message : cm3_status_name(status));
    return status;
}

cm3_player *cm3_player_create(void) {
    return calloc(1, sizeof(cm3_player));
}

/* --- jobs ------------------------------------------------------------------------------------------------------ */

static cm3_status load(player_job *job) {
    player_model *made = &job->model;
    cm3_context_options options;
    options.struct_size = sizeof options;
    cm3_context_options_init(&options);
    options.threads = job->load.threads;
    cm3_status status = cm3_context_create(&options, &made->context);
    if (status != CM3_OK) return status;
    cm3_load_options how;
    how.struct_size = sizeof how;
    cm3_load_options_init(&how);
    how.mode = job->load.huge ? CM3_LOAD_HUGE : CM3_LOAD_MAP;
    how.verify_checksum = job->load.verify_checksum;
    how.check_weights = job->load.check_weights;
    status = cm3_model_load(made->context, job->text, &how, &made->model);
    if (status != CM3_OK || !job->bank) return status;
    status = cm3_bank_open(made->context, job->bank, CM3_BANK_READ, &made->bank);
    return status == CM3_OK ? cm3_retriever_create(made->model, made->bank, &made->retriever) : status;
}

/** The prompt behind what was looked up for it. */
static cm3_status compose(player_job *job, cm3_document *document) {
    if (job->generate.retrieve > 0) {
        cm3_retrieve_options options;
        options.struct_size = sizeof options;
        cm3_retrieve_options_init(&options);
        options.k = job->generate.retrieve;
        cm3_retrieval_item query = {.struct_size = sizeof query, .text = job->text};
        cm3_status status = cm3_retriever_retrieve(job->model.retriever, &query, &options, 0, document, NULL, NULL);
        if (status != CM3_OK) return status;
    }
    return cm3_document_add_text(document, job->text, SIZE_MAX);
}

static cm3_status prepare(player_job *job) {
    cm3_document *document = NULL;
    cm3_status status = cm3_document_create(job->model.context, &document);
    if (status == CM3_OK) status = compose(job, document);
    if (status == CM3_OK)
        status = cm3_request_start(job->model.model, document, &job->generate.generate, &job->request);
    cm3_document_destroy(document);
    return status;
}

static void *work(void *user) {
    player_job *job = user;
    job->status = job->loads ? load(job) : prepare(job);
    if (job->status != CM3_OK) {
        const char *message = job->model.context ? cm3_context_message(job->model.context) : "";
        snprintf(job->message, sizeof job->message, "%s", *message ? message : cm3_status_name(job->status));
        if (job->loads) drop(&job->model);
    }
    atomic_store(&job->done, 1);
    return NULL;
}

static void free_job(player_job *job) {
    if (!job) return;
    free(job->text);
    free(job->bank);
    free(job);
}

static player_job *make_job(const char *text, const char *bank) {
    player_job *made = calloc(1, sizeof *made);
    if (!made) return NULL;
    atomic_init(&made->done, 0);
    made->text = strdup(text);
    if (bank) made->bank = strdup(bank);
    if (made->text && (made->bank || !bank)) return made;
    free_job(made);
    return NULL;
}

/** The player has the job then, or it is freed. */
static cm3_status begin(cm3_player *player, player_job *job) {
    if (pthread_create(&job->thread, NULL, work, job)) {
        free_job(job);
        return fail(player, CM3_ERROR_THREAD, "a thread could not be started");
    }
    player->job = job;
    return CM3_OK;
}

/** Of a request that came to be, on whichever thread. */
static void attach(cm3_player *player, cm3_request *request) {
    player->request = request;
    cm3_request_seed(request, &player->seed);
    if (player->cancelled) cm3_request_cancel(request);
}

static void end(cm3_player *player, cm3_status status, cm3_end_reason reason, const char *message) {
    if (status != CM3_OK && status != CM3_ERROR_CANCELLED) {
        player->failed = 1;
        player->status = fail(player, status, message);
        reason = CM3_END_FAILED;
    }
    player->finished = 1;
    player->reason = reason;
}

/** Waits for the job and takes what it made. */
static void finish_job(cm3_player *player) {
    player_job *job = player->job;
    pthread_join(job->thread, NULL);
    player->job = NULL;
    if (!job->loads) {
        if (job->status == CM3_OK) {
            attach(player, job->request);
        } else {
            end(player, job->status, CM3_END_FAILED, job->message);
        }
    } else if (job->status == CM3_OK) {
        drop(&player->model);
        player->model = job->model;
        player->loaded = 1;
    } else {
        player->failed = 1;
        player->status = fail(player, job->status, job->message);
    }
    free_job(job);
}

/* --- loading --------------------------------------------------------------------------------------------------- */

cm3_status cm3_player_load(cm3_player *player, const char *path, const cm3_value *options) {
    cm3_player_load_options load_options;
    cm3_option_error error;
    if (cm3_player_is_loading(player)) return fail(player, CM3_ERROR_BUSY, "a model is being loaded already");
    if (cm3_player_is_running(player))
        return fail(player, CM3_ERROR_BUSY, "something is being generated; wait for its end, or cancel it first");
    if (cm3_api_version() / 1000 != CM3_API_VERSION_MAJOR) {
        char message[128];
        snprintf(message, sizeof message, "the library's interface is version %u.%u, the add-on was made for %d.%d",
                 cm3_api_version() / 1000, cm3_api_version() % 1000, CM3_API_VERSION_MAJOR, CM3_API_VERSION_MINOR);
        return fail(player, CM3_ERROR_VERSION, message);
    }
    if (!path) return fail(player, CM3_ERROR_INVALID_ARGUMENT, "the path must be a text");
    cm3_status status = cm3_read_load_options(options, &load_options, &error);
    if (status != CM3_OK) return fail(player, status, error.message);
    player_job *job = make_job(path, load_options.bank);
    if (!job) return fail(player, CM3_ERROR_NO_MEMORY, "");
    job->loads = 1;
    job->load = load_options;
    return begin(player, job);
}

void cm3_player_unload(cm3_player *player) {
    cm3_player_cancel(player);
    if (player->job) finish_job(player);
    cm3_request_destroy(player->request);
    player->request = NULL;
    cm3_player_event_clear(&player->current);
    cm3_queue_clear(&player->queue);
    player->loaded = player->failed = player->finished = 0;
    drop(&player->model);
}

void cm3_player_destroy(cm3_player *player) {
    if (!player) return;
    cm3_player_unload(player);
    free(player);
}

/* --- generating ------------------------------------------------------------------------------------------------ */

cm3_status cm3_player_generate(cm3_player *player, const char *prompt, const cm3_value *options) {
    cm3_player_generate_options generate;
    cm3_option_error error;
    if (cm3_player_is_running(player))
        return fail(player, CM3_ERROR_BUSY, "something is being generated; wait for its end, or cancel it first");
    if (cm3_player_is_loading(player)) return fail(player, CM3_ERROR_BUSY, "the model is still being loaded");
    if (!player->model.model) return fail(player, CM3_ERROR_INVALID_ARGUMENT, "no model was loaded");
    if (!prompt) return fail(player, CM3_ERROR_INVALID_ARGUMENT, "the prompt must be a text");
    cm3_status status = cm3_read_generate_options(options, player->model.model, &generate, &error);
    if (status != CM3_OK) return fail(player, status, error.message);
    if (generate.retrieve < 0) generate.retrieve = player->model.retriever ? 2 : 0;
    if (generate.retrieve > 0 && !player->model.retriever)
        return fail(player, CM3_ERROR_INVALID_ARGUMENT, "option 'retrieve' needs a bank, which loading names");
    player_job *job = make_job(prompt, NULL);
    if (!job) return fail(player, CM3_ERROR_NO_MEMORY, "");
    job->generate = generate;
    job->model = player->model;
    player->cancelled = player->no_memory = 0;
    player->reason = CM3_END_FINISHED;
    player->seed = 0;
    if (generate.retrieve > 0) return begin(player, job);
    work(job); // at once: nothing of it takes long
    status = job->status;
    if (status == CM3_OK) {
        attach(player, job->request);
    } else {
        fail(player, status, job->message);
    }
    free_job(job);
    return status;
}

void cm3_player_cancel(cm3_player *player) {
    player->cancelled = 1;
    cm3_request_cancel(player->request);
}

/** cm3_event_fn. */
static int take(void *user, const cm3_event *event) {
    cm3_player *player = user;
    if (event->kind == CM3_EVENT_END && event->reason == CM3_END_MAX_TOKENS) player->reason = event->reason;
    if (cm3_queue_take(&player->queue, event) == CM3_OK) return 0;
    player->no_memory = 1;
    return 1;
}

void cm3_player_poll(cm3_player *player, uint64_t budget_us) {
    if (player->job) {
        if (!atomic_load(&player->job->done)) return;
        finish_job(player);
    }
    if (!player->request) return;
    int done = 0;
    cm3_status status = cm3_request_poll(player->request, budget_us, take, player, &done);
    if (!done) return;
    if (player->no_memory) {
        end(player, CM3_ERROR_NO_MEMORY, CM3_END_FAILED, "out of memory");
    } else {
        end(player, status, status == CM3_ERROR_CANCELLED ? CM3_END_CANCELLED : player->reason,
            cm3_request_message(player->request));
    }
    cm3_request_destroy(player->request);
    player->request = NULL;
}

const cm3_player_event *cm3_player_next(cm3_player *player) {
    cm3_player_event *event = &player->current;
    cm3_player_event_clear(event);
    if (cm3_queue_pop(&player->queue, event)) return event;
    if (player->loaded) {
        player->loaded = 0;
        event->kind = CM3_PLAYER_LOADED;
    } else if (player->failed) {
        player->failed = 0;
        event->kind = CM3_PLAYER_FAILED;
        event->status = player->status;
        event->message = player->message;
    } else if (player->finished) {
        player->finished = 0;
        event->kind = CM3_PLAYER_FINISHED;
        event->reason = player->reason;
        event->seed = player->seed;
    } else {
        return NULL;
    }
    return event;
}

int cm3_player_is_loading(const cm3_player *player) {
    return player->job && player->job->loads;
}

int cm3_player_is_loaded(const cm3_player *player) {
    return player->model.model != NULL;
}

int cm3_player_is_running(const cm3_player *player) {
    return player->request || (player->job && !player->job->loads) || player->queue.first || player->finished;
}

const char *cm3_player_message(const cm3_player *player) {
    return player->message;
}
