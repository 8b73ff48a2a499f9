/*
 * The host's own memory and files: all that the library allocates comes from this program, which counts it and refuses
 * more than a limit; the model is read out of a pack, a larger file in which it lies somewhere.
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) && ./a.out PACK OFFSET "a red circle" circle.png [LIMIT_MB]
 */
#define _XOPEN_SOURCE 700
#include <cm3leon/cm3leon.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* --- memory: called from any thread of the library, several at once ----------------------------------------------- */

typedef struct heap {
    atomic_size_t live, peak;
    size_t limit;
} heap;

static void *heap_alloc(void *user, size_t size, size_t alignment) {
    heap *h = user;
    const size_t live = atomic_fetch_add(&h->live, size) + size;
    void *pointer = NULL;
    if (live > h->limit || posix_memalign(&pointer, alignment < sizeof(void *) ? sizeof(void *) : alignment, size)) {
        atomic_fetch_sub(&h->live, size);
        return NULL; /* the call that wanted it fails with CM3_ERROR_NO_MEMORY, and nothing is lost */
    }
    size_t peak = atomic_load(&h->peak);
    while (live > peak && !atomic_compare_exchange_weak(&h->peak, &peak, live)) continue;
    return pointer;
}

static void heap_free(void *user, void *pointer, size_t size) {
    atomic_fetch_sub(&((heap *)user)->live, size);
    free(pointer);
}

/* --- files: called until cm3_model_load_io() is back ----------------------------------------------------------------
 */

typedef struct pack {
    FILE *file;
    off_t start;
} pack;

static int pack_read(void *user, uint64_t offset, void *buffer, size_t size) {
    const pack *p = user;
    char *to = buffer;
    for (off_t at = p->start + (off_t)offset; size;) {
        const ssize_t got = pread(fileno(p->file), to, size, at);
        if (got <= 0) return 1;
        to += got;
        at += got;
        size -= (size_t)got;
    }
    return 0;
}

static cm3_status draw(cm3_context *context, const cm3_io *io, const char *sentence, const char *path) {
    cm3_model *model = NULL;
    cm3_document *prompt = NULL, *result = NULL;
    cm3_segment picture = {.struct_size = sizeof picture};
    cm3_status status = cm3_model_load_io(context, io, NULL, &model);
    if (status == CM3_OK) status = cm3_document_create(context, &prompt);
    if (status == CM3_OK) status = cm3_document_add_text(prompt, sentence, SIZE_MAX);
    if (status == CM3_OK) status = cm3_generate(model, prompt, NULL, NULL, NULL, &result);
    if (status == CM3_OK) status = cm3_document_get(result, 0, &picture);
    if (status == CM3_OK) status = cm3_image_save(picture.image, path, NULL);
    cm3_document_destroy(result);
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 5 || argc > 6) {
        fprintf(stderr, "Usage: own-memory PACK OFFSET SENTENCE OUT.png [LIMIT_MB]\n");
        return 2;
    }
    heap h = {.limit = (size_t)(argc > 5 ? atoi(argv[5]) : 1024) << 20};
    pack p = {.file = fopen(argv[1], "rb"), .start = (off_t)atoll(argv[2])};
    if (!p.file || fseeko(p.file, 0, SEEK_END) || ftello(p.file) < p.start) {
        fprintf(stderr, "%s: there is no such file, or it is shorter than that\n", argv[1]);
        return 1;
    }
    const cm3_io io = {.struct_size = sizeof io,
                       .read_at = pack_read,
                       .size = (uint64_t)(ftello(p.file) - p.start), /* the model ends with the pack */
                       .user = &p};
    const cm3_allocator allocator = {.alloc = heap_alloc, .free = heap_free, .user = &h};
    cm3_context_options settings;
    cm3_context_options_init(&settings);
    settings.allocator = &allocator;
    cm3_context *context = NULL;
    cm3_status status = cm3_context_create(&settings, &context);
    if (status == CM3_OK) status = draw(context, &io, argv[3], argv[4]);
    if (status != CM3_OK) fprintf(stderr, "%s: %s\n", cm3_status_name(status), cm3_context_message(context));
    cm3_context_destroy(context);
    fclose(p.file);
    printf("at most %.1f MB, %zu bytes left\n", (double)h.peak / 1e6, (size_t)h.live);
    return status != CM3_OK || h.live;
}
