/**
 * @file
 * Tasks: what a model can be asked for, as templates of documents (CM3Leon, Yu et al. 2023, table 5).
 */
#ifndef CM3LEON_TASK_H
#define CM3LEON_TASK_H

#include "cm3leon/document.h"

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Templates by name. A template is a list of elements: breaks, texts in which {name} stands for a value, images by the
 * names of theirs; one of them is what is asked for. Training, the command and programs read the same ones. Immutable.
 */
typedef struct cm3_tasks cm3_tasks;

/**
 * Reads a JSON file, {"tasks": {NAME: [element, ...], ...}}; NULL: the library's own, which are lib/document/tasks.json
 * in its sources. An element is "break"; {"text": pattern or list of patterns}; {"image": name}; with "answer": true it
 * is what is asked for ("box": a rectangle of the image; several elements: a document that goes on, the last of them at
 * its end); an image with "hidden": true has its boxes hidden. *tasks is the caller's. Errors: INVALID_ARGUMENT,
 * NOT_FOUND, IO, FORMAT with task and element, NO_MEMORY.
 */
CM3_API cm3_status cm3_tasks_load(cm3_context *context, const char *path, cm3_tasks **tasks);

/** NULL is allowed. */
CM3_API void cm3_tasks_destroy(cm3_tasks *tasks);

/** The name of task number `index`, valid as long as the tasks. NOT_FOUND behind the last. */
CM3_API cm3_status cm3_tasks_name(const cm3_tasks *tasks, size_t index, const char **name);

/** A value of a task: a text (UTF-8), or an image as pixels or as codes. */
typedef struct cm3_task_value {
    const char *name;     /**< "caption", "image" ... */
    const char *text;     /**< UTF-8; NULL where it is an image */
    cm3_image *image;     /**< pixels; NULL: codes, or a text */
    const int32_t *codes; /**< the image as codes; NULL: none */
    size_t code_count;    /**< how many codes; 0 without */
    const cm3_box *boxes; /**< of an image that is hidden in part, or of which boxes are asked for; NULL: it is whole */
    size_t box_count;     /**< how many */
} cm3_task_value;

/** What a task's document asks for. */
typedef struct cm3_task_form {
    size_t struct_size;      /**< set by the caller */
    cm3_segment_kind answer; /**< CM3_SEGMENT_TEXT or CM3_SEGMENT_IMAGE */
    int infill;              /**< not 0: mask 0 stands where the answer belongs */
    int box;                 /**< not 0: a rectangle of the image `image_name` is asked for */
    const char *image_name;  /**< of an answer that is an image; valid as long as the tasks */
    const char *text_name;   /**< of an answer that is a text: the value that it is all of, valid as long as the tasks;
                                NULL: none */
} cm3_task_form;

/**
 * Builds the prompt of a task: all elements but the answer, which is left out at the end, or is mask 0 in its place and
 * once more at the end, so that a text that is generated is the span; an image that is hidden in part, or of which
 * a box is asked for, has its value's boxes for holes (CM3_MODALITY_IMAGE, CM3_MODALITY_INFILL). Of several answers the
 * first whose value is not among `values` is asked for, those before it being part of the prompt: a model that is to
 * say what it will draw is asked twice, the second time with what it said. Of several patterns the first is taken.
 * *document is the caller's; `form` may be NULL. Errors: NOT_FOUND (no such task; a value that the task names is not
 * given), INVALID_ARGUMENT, NO_MEMORY.
 */
CM3_API cm3_status cm3_task_document(const cm3_tasks *tasks, const char *task, const cm3_task_value *values,
                                     size_t value_count, cm3_document **document, cm3_task_form *form);

/**
 * The prompt of a picture as guidance's third stream knows it: each text with values, given or said, is mask 0, as in
 * training where texts are left out; for cm3_generate_options.picture_prompt. Errors as cm3_task_document();
 * UNSUPPORTED for tasks whose answer is no image at the end.
 */
CM3_API cm3_status cm3_task_picture_prompt(const cm3_tasks *tasks, const char *task, const cm3_task_value *values,
                                           size_t value_count, cm3_document **document);

#ifdef __cplusplus
}
#endif

#endif
