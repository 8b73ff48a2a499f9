/*
 * Watching a picture being drawn: events come while the call blocks, previews are written as rows are finished. Ctrl-C
 * stops it, and what was drawn until then is there.
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) && ./a.out MODEL "a red circle" FOLDER
 */
#include <cm3leon/cm3leon.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int number) {
    (void)number;
    interrupted = 1;
}

typedef struct watcher {
    const char *folder;
    int previews, pictures;
    cm3_status status; /* of what could not be written */
} watcher;

static void save(watcher *w, const cm3_image *image, const char *name, int number) {
    char path[4096];
    snprintf(path, sizeof path, "%s/%s-%02d.png", w->folder, name, number);
    if (w->status == CM3_OK) w->status = cm3_image_save(image, path, NULL);
}

/* Runs on this program's own thread, inside cm3_generate(). Anything but 0 stops it. */
static int on_event(void *user, const cm3_event *event) {
    watcher *w = user;
    switch (event->kind) {
    case CM3_EVENT_PROGRESS:
        fprintf(stderr, "\r%3d %%  %.1f s ", (int)(100 * event->done / event->total), event->seconds);
        break;
    case CM3_EVENT_IMAGE_ROWS: /* the picture so far; rows of pixels from event->row on are new */
        save(w, event->image, "preview", w->previews++);
        break;
    case CM3_EVENT_IMAGE:
        save(w, event->image, "picture", w->pictures++);
        break;
    case CM3_EVENT_TEXT:
        fputs(event->text, stdout);
        break;
    case CM3_EVENT_END:
        fprintf(stderr, "\n%s\n", event->reason == CM3_END_FINISHED ? "finished" : "ended early");
        break;
    default: /* each token; and what later versions may tell */
        break;
    }
    return interrupted || w->status != CM3_OK;
}

int main(int argc, char **argv) {
    cm3_context *context = NULL;
    cm3_model *model = NULL;
    cm3_document *prompt = NULL, *result = NULL;
    watcher w = {.folder = argc == 4 ? argv[3] : NULL};
    cm3_status status;
    if (!w.folder) {
        fprintf(stderr, "Usage: streaming MODEL SENTENCE FOLDER\n");
        return 2;
    }
    signal(SIGINT, on_signal);
    if (cm3_context_create(NULL, &context) != CM3_OK) return 1;
    cm3_generate_options options;
    cm3_generate_options_init(&options);
    options.preview_rows = 4; /* a preview each four rows of tokens */
    status = cm3_model_load(context, argv[1], NULL, &model);
    if (status == CM3_OK) status = cm3_document_create(context, &prompt);
    if (status == CM3_OK) status = cm3_document_add_text(prompt, argv[2], SIZE_MAX);
    if (status == CM3_OK) status = cm3_generate(model, prompt, &options, on_event, &w, &result);
    if (status == CM3_ERROR_CANCELLED && w.status == CM3_OK) {
        fprintf(stderr, "stopped after %d previews\n", w.previews);
    } else if (status != CM3_OK) {
        fprintf(stderr, "%s\n", cm3_context_message(context));
    }
    cm3_document_destroy(result);
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    return status != CM3_OK;
}
