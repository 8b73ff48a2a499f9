/*
 * A host that knows the library only by its path: loads it, generates, ends all, unloads it, and leaves by exit(), so
 * that handlers run of libraries that are there no more.
 *   unload_host LIBRARY MODEL THREADS
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cm3leon/cm3leon.h"

/* A function of the library by its name, of the type that the header gives it. */
#define GET(name)                                                                                                      \
    __typeof__(&name) get_##name = NULL;                                                                               \
    *(void **)&get_##name = dlsym(library, #name);                                                                     \
    if (!get_##name) return fail(#name)

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, dlerror());
    return EXIT_FAILURE;
}

static int use(void *library, const char *path, int threads) {
    GET(cm3_context_options_init);
    GET(cm3_context_create);
    GET(cm3_context_message);
    GET(cm3_context_destroy);
    GET(cm3_model_load);
    GET(cm3_model_destroy);
    GET(cm3_document_create);
    GET(cm3_document_add_text);
    GET(cm3_document_destroy);
    GET(cm3_generate_options_init);
    GET(cm3_generate);
    cm3_context_options context_options;
    cm3_generate_options options;
    cm3_context *context = NULL;
    cm3_model *model = NULL;
    cm3_document *prompt = NULL, *result = NULL;
    get_cm3_context_options_init(&context_options);
    context_options.threads = threads;
    get_cm3_generate_options_init(&options);
    options.modality = CM3_MODALITY_TEXT;
    options.max_tokens = options.min_tokens = 3;
    options.ignore_stops = 1;
    int ok = get_cm3_context_create(&context_options, &context) == CM3_OK &&
             get_cm3_model_load(context, path, NULL, &model) == CM3_OK &&
             get_cm3_document_create(context, &prompt) == CM3_OK &&
             get_cm3_document_add_text(prompt, "a red circle", SIZE_MAX) == CM3_OK &&
             get_cm3_generate(model, prompt, &options, NULL, NULL, &result) == CM3_OK;
    if (!ok) fprintf(stderr, "%s\n", get_cm3_context_message(context));
    get_cm3_document_destroy(result);
    get_cm3_document_destroy(prompt);
    get_cm3_model_destroy(model);
    get_cm3_context_destroy(context);
    return ok ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv) {
    if (argc != 4) return EXIT_FAILURE;
    void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
    if (!library) return fail(argv[1]);
    int code = use(library, argv[2], atoi(argv[3]));
    if (dlclose(library) != 0) return fail("dlclose");
    exit(code);
}
