/* What an add-on's picture is held against: the library's own, by its C interface. Writes the raw RGB bytes and prints
 * their size.
 *   reference MODEL PROMPT SEED OUT.rgb */
#include <cm3leon/cm3leon.h>
#include <stdio.h>
#include <stdlib.h>

static int draw(cm3_context *context, char **words, cm3_image_view *view, cm3_document **result) {
    cm3_model *model = NULL;
    cm3_document *prompt = NULL;
    cm3_generate_options options = {.struct_size = sizeof options};
    cm3_segment picture = {.struct_size = sizeof picture};
    int ok = cm3_model_load(context, words[1], NULL, &model) == CM3_OK &&
             cm3_document_create(context, &prompt) == CM3_OK &&
             cm3_document_add_text(prompt, words[2], SIZE_MAX) == CM3_OK &&
             cm3_generate_options_for(model, CM3_MODALITY_IMAGE, &options) == CM3_OK;
    options.seed = strtoull(words[3], NULL, 10);
    ok = ok && cm3_generate(model, prompt, &options, NULL, NULL, result) == CM3_OK &&
         cm3_document_get(*result, 0, &picture) == CM3_OK && cm3_image_get_view(picture.image, view) == CM3_OK;
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    return ok;
}

int main(int count, char **words) {
    cm3_context_options options = {.struct_size = sizeof options};
    cm3_context *context = NULL;
    cm3_document *result = NULL;
    cm3_image_view view;
    cm3_context_options_init(&options);
    options.threads = 1;
    if (count != 5 || cm3_context_create(&options, &context) != CM3_OK) return 2;
    int ok = draw(context, words, &view, &result);
    if (!ok) fprintf(stderr, "%s\n", cm3_context_message(context));
    FILE *file = ok ? fopen(words[4], "wb") : NULL;
    ok = file && fwrite(view.pixels, view.stride, (size_t)view.height, file) == (size_t)view.height;
    if (file && fclose(file)) ok = 0;
    if (ok) printf("%dx%d\n", view.width, view.height);
    cm3_document_destroy(result);
    cm3_context_destroy(context);
    return !ok;
}
