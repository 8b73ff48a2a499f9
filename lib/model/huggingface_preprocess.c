/* preprocessor_config.json, or its newer form inside processor_config.json. */
#include "image/image.h"
#include "model/huggingface_config.h"

/** A size is a number, or an object with the two keys. */
static cm3_status read_size(const cm3_json_object *object, const char *key, const char *first, const char *second,
                            int32_t *a, int32_t *b) {
    json_t *value = json_object_get(object->value, key);
    if (!json_is_object(value)) {
        CM3_TRY(cm3_json_int32(object, key, 1, CM3_IMAGE_MAX_SIDE, a));
        *b = *a;
        return CM3_OK;
    }
    cm3_json_object size = {object->context, object->where, value};
    CM3_TRY(cm3_json_int32(&size, first, 1, CM3_IMAGE_MAX_SIDE, a));
    return cm3_json_int32(&size, second, 1, CM3_IMAGE_MAX_SIDE, b);
}

/** Three numbers. */
static cm3_status read_channels(const cm3_json_object *object, const char *key, float *values) {
    const json_t *list = json_object_get(object->value, key);
    if (!list || json_is_null(list)) return CM3_OK;
    bool good = json_array_size(list) == 3;
    for (size_t i = 0; i < 3 && good; i++) {
        const json_t *item = json_array_get(list, i);
        good = json_is_number(item);
        values[i] = (float)json_number_value(item);
    }
    if (good) return CM3_OK;
    return cm3_fail(object->context, CM3_ERROR_FORMAT, "%s: %s: three numbers are expected", object->where, key);
}

cm3_status cm3_huggingface_preprocessing(const cm3_json_object *object, cm3_hf_preprocessing *options) {
    int32_t resample = options->filter == CM3_FILTER_LANCZOS ? 1 : 3, edge = options->shortest_edge;
    CM3_TRY(read_size(object, "size", "shortest_edge", "shortest_edge", &options->shortest_edge, &edge));
    CM3_TRY(read_size(object, "crop_size", "height", "width", &options->crop_height, &options->crop_width));
    CM3_TRY(cm3_json_int32(object, "resample", 0, 5, &resample));
    if (resample != 1 && resample != 3) {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED,
                        "%s: resample is %d; this library has 1 (Lanczos) and 3 (bicubic)", object->where, resample);
    }
    options->filter = resample == 1 ? CM3_FILTER_LANCZOS : CM3_FILTER_BICUBIC;
    const json_t *factor = json_object_get(object->value, "rescale_factor");
    if (json_is_number(factor)) options->rescale_factor = json_number_value(factor);
    CM3_TRY(read_channels(object, "image_mean", options->mean));
    return read_channels(object, "image_std", options->std);
}
