/* preprocessor_config.json, or its newer form inside processor_config.json. */
#include "base/status.h"
#include "image/image.h"
#include "model/huggingface_config.h"

/** A number, or the two sides by name. *sides: 2 where they are named. */
static cm3_status read_sides(const cm3_json_object *object, const char *key, int32_t *width, int32_t *height,
                             int *sides) {
    json_t *value = json_object_get(object->value, key);
    cm3_json_object size = {object->context, object->where, value};
    *sides = 0;
    if (!json_is_object(value)) {
        CM3_TRY(cm3_json_int32(object, key, 1, CM3_IMAGE_MAX_SIDE, width));
        *height = *width;
        return CM3_OK;
    }
    *sides = (json_object_get(value, "width") != NULL) + (json_object_get(value, "height") != NULL);
    CM3_TRY(cm3_json_int32(&size, "width", 1, CM3_IMAGE_MAX_SIDE, width));
    return cm3_json_int32(&size, "height", 1, CM3_IMAGE_MAX_SIDE, height);
}

/** The short side, as a number or by name, or both sides. */
static cm3_status read_size(const cm3_json_object *object, cm3_hf_preprocessing *options) {
    json_t *value = json_object_get(object->value, "size");
    int32_t width = options->shortest_edge, height = width;
    int sides;
    CM3_TRY(read_sides(object, "size", &width, &height, &sides));
    if (!json_is_object(value)) {
        options->shortest_edge = width;
    } else if (json_object_get(value, "shortest_edge")) {
        cm3_json_object size = {object->context, object->where, value};
        CM3_TRY(cm3_json_int32(&size, "shortest_edge", 1, CM3_IMAGE_MAX_SIDE, &options->shortest_edge));
    } else if (sides == 2) {
        options->width = width;
        options->height = height;
        return CM3_OK;
    } else {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED,
                        "%s: size: shortest_edge, or height and width, are expected", object->where);
    }
    options->width = options->height = 0;
    return CM3_OK;
}

/** Steps that are left out. Without resizing and cropping a picture would not be of the model's size. */
static cm3_status read_steps(const cm3_json_object *object, cm3_hf_preprocessing *options) {
    static const char *const needed[] = {"do_resize", "do_center_crop"};
    bool rescale = true, normalize = true;
    for (size_t i = 0; i < 2; i++) {
        bool done = true;
        CM3_TRY(cm3_json_bool(object, needed[i], &done));
        if (done) continue;
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED, "%s: %s is false, which is not supported",
                        object->where, needed[i]);
    }
    CM3_TRY(cm3_json_bool(object, "do_rescale", &rescale));
    CM3_TRY(cm3_json_bool(object, "do_normalize", &normalize));
    if (!rescale) options->rescale_factor = 1;
    for (size_t i = 0; i < 3 && !normalize; i++) {
        options->mean[i] = 0;
        options->std[i] = 1;
    }
    return CM3_OK;
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
    int32_t resample = options->filter == CM3_FILTER_LANCZOS ? 1 : 3;
    int sides;
    CM3_TRY(read_size(object, options));
    CM3_TRY(read_sides(object, "crop_size", &options->crop_width, &options->crop_height, &sides));
    CM3_TRY(cm3_json_int32(object, "resample", 0, 5, &resample));
    if (resample != 1 && resample != 3) {
        return cm3_fail(object->context, CM3_ERROR_UNSUPPORTED,
                        "%s: resample is %d; this library has 1 (Lanczos) and 3 (bicubic)", object->where, resample);
    }
    options->filter = resample == 1 ? CM3_FILTER_LANCZOS : CM3_FILTER_BICUBIC;
    const json_t *factor = json_object_get(object->value, "rescale_factor");
    if (json_is_number(factor)) options->rescale_factor = json_number_value(factor);
    CM3_TRY(read_channels(object, "image_mean", options->mean));
    CM3_TRY(read_channels(object, "image_std", options->std));
    return read_steps(object, options);
}

cm3_status cm3_huggingface_preprocessing_format(cm3_context *context, const cm3_hf_preprocessing *p, json_t **value) {
    json_t *size = p->width ? json_pack("{s:i,s:i}", "height", p->height, "width", p->width)
                            : json_pack("{s:i}", "shortest_edge", p->shortest_edge);
    *value =
        size ? json_pack("{s:o,s:{s:i,s:i},s:i,s:f,s:[f,f,f],s:[f,f,f]}", "size", size, "crop_size", "height",
                         p->crop_height, "width", p->crop_width, "resample", p->filter == CM3_FILTER_LANCZOS ? 1 : 3,
                         "rescale_factor", p->rescale_factor, "image_mean", (double)p->mean[0], (double)p->mean[1],
                         (double)p->mean[2], "image_std", (double)p->std[0], (double)p->std[1], (double)p->std[2])
             : NULL;
    return *value ? CM3_OK : cm3_fail_memory(context, 0, "JSON");
}
