/*
 * A game's loop: 60 frames a second, of which each asks once what has become of the picture, and never waits for it.
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) && ./a.out MODEL "a red circle" circle.png [THREADS]
 *
 * THREADS 0: the library starts no thread, and computes inside poll, 4 ms of each frame.
 */
#define _POSIX_C_SOURCE 200809L
#include <cm3leon/cm3leon.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define FRAME_NS 16666667

typedef struct game {
    uint64_t done, total;
    cm3_image *picture;
} game;

/* Runs inside poll, on the game's own thread: it may touch whatever the game has. */
static int on_event(void *user, const cm3_event *event) {
    game *g = user;
    if (event->kind == CM3_EVENT_PROGRESS) {
        g->done = event->done;
        g->total = event->total;
    } else if (event->kind == CM3_EVENT_IMAGE && cm3_image_retain(event->image) == CM3_OK) {
        g->picture = event->image; /* outlives the callback by the hold that was taken */
    }
    return 0;
}

/* What a game draws in a frame; here a line of text. */
static void draw(const game *g, int frame) {
    const int filled = g->total ? (int)(30 * g->done / g->total) : 0;
    fprintf(stderr, "\r%c [%.*s%.*s]", "|/-\\"[frame / 4 % 4], filled, "##############################", 30 - filled,
            "                              ");
}

static void next_frame(struct timespec *at) {
    at->tv_nsec += FRAME_NS;
    if (at->tv_nsec >= 1000000000) {
        at->tv_nsec -= 1000000000;
        at->tv_sec++;
    }
    clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, at, NULL);
}

int main(int argc, char **argv) {
    cm3_context *context = NULL;
    cm3_model *model = NULL;
    cm3_document *prompt = NULL;
    cm3_request *request = NULL;
    game g = {0};
    if (argc < 4 || argc > 5) {
        fprintf(stderr, "Usage: poll-loop MODEL SENTENCE OUT.png [THREADS]\n");
        return 2;
    }
    cm3_context_options settings;
    cm3_context_options_init(&settings);
    settings.threads = argc > 4 ? atoi(argv[4]) : 1;
    if (cm3_context_create(&settings, &context) != CM3_OK) return 1;
    cm3_status status = cm3_model_load(context, argv[1], NULL, &model);
    if (status == CM3_OK) status = cm3_document_create(context, &prompt);
    if (status == CM3_OK) status = cm3_document_add_text(prompt, argv[2], SIZE_MAX);
    if (status == CM3_OK) status = cm3_request_start(model, prompt, NULL, &request);

    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    int done = 0, frame = 0;
    while (status == CM3_OK && !done) {
        /* With an engine thread a budget of 0 only collects what is there. */
        status = cm3_request_poll(request, settings.threads ? 0 : 4000, on_event, &g, &done);
        draw(&g, frame++);
        next_frame(&at);
    }
    fprintf(stderr, "\n%d frames\n", frame);
    if (status == CM3_OK) status = cm3_image_save(g.picture, argv[3], NULL);
    if (status != CM3_OK) fprintf(stderr, "%s\n", cm3_context_message(context));
    cm3_image_destroy(g.picture);
    cm3_request_destroy(request); /* cancels it, were it still running */
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    return status != CM3_OK;
}
