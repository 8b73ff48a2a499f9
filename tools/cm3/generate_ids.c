/* cm3 generate --ids: token ids in, token ids out, for comparing with other programs. */
#include <stdio.h>
#include <stdlib.h>

#include "generate.h"

typedef struct cm3_collected {
    int32_t *ids;
    size_t count, capacity, wanted; /**< wanted 0: all */
    bool failed;
} cm3_collected;

/** Keeps tokens until there are enough. */
static int on_event(void *user, const cm3_event *event) {
    cm3_collected *all = user;
    if (event->kind != CM3_EVENT_TOKEN) return cm3_interrupted();
    if (all->wanted && all->count == all->wanted) return 1;
    if (all->count == all->capacity) {
        size_t capacity = 2 * all->capacity + 64;
        int32_t *ids = realloc(all->ids, capacity * sizeof *ids);
        all->failed = !ids;
        if (!ids) return 1;
        all->ids = ids;
        all->capacity = capacity;
    }
    all->ids[all->count++] = event->token;
    return cm3_interrupted() || (all->wanted && all->count == all->wanted);
}

static void print(const cm3_collected *all, bool json) {
    if (json) printf("{\"tokens\": ");
    for (size_t i = 0; i < all->count; i++) printf("%s%d", i ? ", " : "[", all->ids[i]);
    printf("%s]%s\n", all->count ? "" : "[", json ? "}" : "");
}

/** A picture stands for image_tokens ids: no more can be asked for than the mode says. */
static bool enough(const cm3_generate_arguments *a, const cm3_collected *all) {
    if (!a->n_tokens || all->count == (size_t)a->n_tokens) return true;
    cm3_say("%zu tokens were made, --n-tokens asks for %lld: a picture has no more, or the model's context is full",
            all->count, (long long)a->n_tokens);
    return false;
}

int cm3_generate_from_ids(cm3_context *context, cm3_model *model, const cm3_generate_arguments *a,
                          const cm3_generate_options *options) {
    cm3_generate_options o = *options;
    cm3_collected all = {.wanted = (size_t)a->n_tokens};
    size_t count = 0;
    int32_t *ids = cm3_ids_read(a->ids, &count);
    if (!ids) return CM3_EXIT_FAILED;
    o.codes_only = 1;
    o.ignore_stops = a->n_tokens > 0;
    cm3_document *prompt = NULL;
    cm3_status status = cm3_document_create(context, &prompt);
    if (status == CM3_OK) status = cm3_document_add_ids(prompt, ids, count);
    if (status == CM3_OK) status = cm3_generate(model, prompt, &o, on_event, &all, NULL);
    bool whole = all.wanted && all.count == all.wanted;
    int code = CM3_EXIT_DONE;
    if (all.failed) {
        cm3_say("out of memory");
        code = CM3_EXIT_FAILED;
    } else if (status == CM3_ERROR_CANCELLED && !whole) {
        code = cm3_ended_early();
    } else if (status != CM3_OK && status != CM3_ERROR_CANCELLED) {
        code = cm3_failed(context, status);
    } else if (!enough(a, &all)) {
        code = CM3_EXIT_FAILED;
    }
    if (code == CM3_EXIT_DONE) print(&all, a->json);
    cm3_document_destroy(prompt);
    free(all.ids);
    free(ids);
    return code;
}
