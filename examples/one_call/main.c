/*
 * A sentence goes in, a picture comes out: one blocking call.
 *
 *   cc main.c $(pkg-config --cflags --libs cm3leon) && ./a.out MODEL "a red circle" circle.jpg
 */
#include <cm3leon/cm3leon.h>
#include <stdint.h>
#include <stdio.h>

int main(int argc, char **argv) {
    cm3_context *context = NULL;
    cm3_model *model = NULL;
    cm3_document *prompt = NULL, *result = NULL;
    cm3_segment picture = {.struct_size = sizeof picture};
    cm3_generate_options options;
    if (argc != 4) {
        fprintf(stderr, "Usage: one-call MODEL SENTENCE OUT.jpg|.png\n");
        return 2;
    }
    if (cm3_context_create(NULL, &context) != CM3_OK) return 1;
    int ok = cm3_model_load(context, argv[1], NULL, &model) == CM3_OK &&
             cm3_document_create(context, &prompt) == CM3_OK &&
             cm3_document_add_text(prompt, argv[2], SIZE_MAX) == CM3_OK &&
             cm3_generate_options_for(model, CM3_MODALITY_IMAGE, &options) == CM3_OK;
    if (ok) {
        options.seed = 7; /* the same seed draws the same picture; 0 picks one */
        ok = cm3_generate(model, prompt, &options, NULL, NULL, &result) == CM3_OK &&
             cm3_document_get(result, 0, &picture) == CM3_OK && /* the first segment is the picture */
             cm3_image_save(picture.image, argv[3], NULL) == CM3_OK;
    }
    if (!ok) fprintf(stderr, "%s\n", cm3_context_message(context));
    cm3_document_destroy(result); /* and the picture with it */
    cm3_document_destroy(prompt);
    cm3_model_destroy(model);
    cm3_context_destroy(context);
    return !ok;
}
