/*
 * Writes the small models that make_seeds.py commits as seeds.
 *   fuzz_make_models FOLDER
 */
#include "small_model.h"

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "Usage: fuzz_make_models FOLDER\n");
        return 2;
    }
    size_t count;
    const fuzz_model_kind *kinds = fuzz_model_kinds(&count);
    for (size_t i = 0; i < count; ++i) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s.cm3", argv[1], kinds[i].name);
        cm3_context *context = fuzz_begin((size_t)64 << 20);
        fuzz_model_write(context, &kinds[i], path);
        if (kinds[i].weights) {
            cm3_convert_options options;
            cm3_convert_options_init(&options);
            options.weights = kinds[i].weights;
            FUZZ_CHECK(cm3_model_convert(context, path, path, &options) == CM3_OK);
        }
        fuzz_end(context);
    }
    return 0;
}
