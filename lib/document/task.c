/* Templates of tasks: read from JSON, written as documents and as tokens. */
#include "document/task.h"

#include <stdio.h>
#include <string.h>

#include "base/options.h"
#include "document/segments.h"
#include "document/tasks_json.h"
#include "files/file.h"
#include "files/json.h"

/* --- reading -------------------------------------------------------------------------------------------------------
 */

typedef struct task_reader {
    cm3_tasks *tasks;
    const char *name; /**< of the file */
    const char *task;
    size_t element;
} task_reader;

static cm3_status wrong(const task_reader *r, const char *what) {
    return cm3_fail(r->tasks->context, CM3_ERROR_FORMAT, "%s: task '%.100s', element %zu: %s", r->name, r->task,
                    r->element, what);
}

static void *take(const task_reader *r, size_t size) {
    return cm3_arena_alloc(r->tasks->memory, size ? size : 1);
}

static const char *keep(const task_reader *r, const char *text) {
    size_t size = strlen(text) + 1;
    char *own = take(r, size);
    return own ? memcpy(own, text, size) : NULL;
}

/** Each { has its }, and a name between them. */
static bool is_pattern(const char *text) {
    for (const char *c = text; *c; c++) {
        if (*c == '}') return false;
        if (*c != '{') continue;
        size_t length = strcspn(c + 1, "{}");
        if (!length || c[1 + length] != '}') return false;
        c += 1 + length;
    }
    return true;
}

static cm3_status read_patterns(const task_reader *r, const json_t *value, cm3_task_piece *piece) {
    size_t count = json_is_array(value) ? json_array_size(value) : 1;
    const char **patterns = take(r, count * sizeof *patterns);
    if (!patterns) return cm3_fail_memory(r->tasks->context, count * sizeof *patterns, r->name);
    if (!count) return wrong(r, "there is no text");
    for (size_t i = 0; i < count; i++) {
        const char *text = json_string_value(json_is_array(value) ? json_array_get(value, i) : value);
        if (!text) return wrong(r, "'text' is neither a string nor a list of strings");
        if (!is_pattern(text)) return wrong(r, "'text' has a brace without its other, or no name between two");
        patterns[i] = keep(r, text);
        if (!patterns[i]) return cm3_fail_memory(r->tasks->context, strlen(text), r->name);
    }
    piece->kind = CM3_SEGMENT_TEXT;
    piece->patterns = patterns;
    piece->pattern_count = count;
    const size_t size = strlen(patterns[0]);
    if (patterns[0][0] != '{' || strcspn(patterns[0], "}") + 1 != size) return CM3_OK;
    char *own = take(r, size - 1);
    if (!own) return cm3_fail_memory(r->tasks->context, size, r->name);
    memcpy(own, patterns[0] + 1, size - 2);
    own[size - 2] = '\0';
    piece->value = own;
    return CM3_OK;
}

static cm3_status read_piece(const task_reader *r, const json_t *value, cm3_task_piece *piece) {
    const char *word = json_string_value(value);
    *piece = (cm3_task_piece){.kind = CM3_SEGMENT_BREAK};
    if (word) return strcmp(word, "break") == 0 ? CM3_OK : wrong(r, "the only word is \"break\"");
    const json_t *text = json_object_get(value, "text"), *image = json_object_get(value, "image"),
                 *answer = json_object_get(value, "answer"), *hidden = json_object_get(value, "hidden");
    if (!json_is_object(value) || !text == !image) return wrong(r, "\"break\", or an object with 'text' or 'image'");
    if (json_object_size(value) != 1u + (answer != NULL) + (hidden != NULL))
        return wrong(r, "there is a key that is not known");
    const char *part = json_string_value(answer);
    piece->box = part && image && strcmp(part, "box") == 0;
    piece->answer = piece->box || json_is_true(answer);
    if (answer && !piece->answer && !json_is_false(answer)) {
        return wrong(r, "'answer' is true, false or, of an image, \"box\"");
    }
    piece->hidden = json_is_true(hidden);
    if (hidden && (!json_is_boolean(hidden) || !image || piece->answer)) {
        return wrong(r, "'hidden' is true or false, of an image that is not the answer");
    }
    if (text) return read_patterns(r, text, piece);
    if (!json_string_length(image)) return wrong(r, "'image' is not a name");
    piece->kind = CM3_SEGMENT_IMAGE;
    piece->image = keep(r, json_string_value(image));
    return piece->image ? CM3_OK : cm3_fail_memory(r->tasks->context, json_string_length(image), r->name);
}

static cm3_status read_task(task_reader *r, const json_t *list, cm3_task *task) {
    cm3_context *context = r->tasks->context;
    if (!json_array_size(list)) {
        return cm3_fail(context, CM3_ERROR_FORMAT, "%s: task '%.100s' is not a list of elements", r->name, r->task);
    }
    size_t count = json_array_size(list), answers = 0, boxes = 0;
    cm3_task_piece *pieces = take(r, count * sizeof *pieces);
    *task = (cm3_task){.name = keep(r, r->task), .pieces = pieces, .count = count};
    if (!pieces || !task->name) return cm3_fail_memory(context, count * sizeof *pieces, r->name);
    for (r->element = 0; r->element < count; r->element++) {
        CM3_TRY(read_piece(r, json_array_get(list, r->element), &pieces[r->element]));
        task->hides = task->hides || pieces[r->element].hidden;
        if (!pieces[r->element].answer) continue;
        if (!answers++) task->answer = r->element;
        boxes += pieces[r->element].box;
    }
    if (answers == 1) return CM3_OK;
    if (answers > 1 && answers <= CM3_MAX_ANSWERS && !boxes && pieces[count - 1].answer) return CM3_OK;
    return cm3_fail(context, CM3_ERROR_FORMAT,
                    "%s: task '%.100s' has %zu answers; one is expected, or several of which one is the last element",
                    r->name, r->task, answers);
}

static cm3_status read_tasks(cm3_tasks *tasks, const char *name, json_t *root) {
    json_t *all = json_object_get(root, "tasks"), *list;
    const char *key;
    size_t count = json_object_size(all), i = 0;
    if (!count) {
        return cm3_fail(tasks->context, CM3_ERROR_FORMAT, "%s: there is no object 'tasks', or nothing in it", name);
    }
    task_reader reader = {.tasks = tasks, .name = name};
    cm3_task *own = take(&reader, count * sizeof *own);
    if (!own) return cm3_fail_memory(tasks->context, count * sizeof *own, name);
    json_object_foreach(all, key, list) {
        reader.task = key;
        CM3_TRY(read_task(&reader, list, &own[i++]));
    }
    tasks->tasks = own;
    tasks->count = count;
    return CM3_OK;
}

cm3_status cm3_tasks_parse(cm3_context *context, const char *name, const char *json, size_t size, cm3_tasks **out) {
    json_t *root = NULL;
    *out = NULL;
    CM3_TRY(cm3_json_parse(context, name, json, size, &root));
    cm3_tasks *tasks = cm3_calloc(context, 1, sizeof *tasks);
    cm3_status status = tasks ? CM3_OK : cm3_fail_memory(context, sizeof *tasks, name);
    if (tasks) {
        tasks->context = context;
        cm3_context_retain(context);
        status = cm3_arena_create(context, 4096, &tasks->memory);
    }
    if (status == CM3_OK) status = read_tasks(tasks, name, root);
    json_decref(root);
    if (status != CM3_OK) {
        cm3_tasks_destroy(tasks);
        return status;
    }
    *out = tasks;
    return CM3_OK;
}

cm3_status cm3_tasks_load(cm3_context *context, const char *path, cm3_tasks **tasks) {
    if (tasks) *tasks = NULL;
    if (!context || !tasks) {
        return cm3_fail(context, CM3_ERROR_INVALID_ARGUMENT, "cm3_tasks_load: an argument is NULL");
    }
    if (!path) return cm3_tasks_parse(context, "tasks.json", cm3_tasks_json, strlen(cm3_tasks_json), tasks);
    cm3_file *file;
    CM3_TRY(cm3_file_open(context, path, &file));
    cm3_status status = cm3_tasks_parse(context, path, (const char *)file->data, file->size, tasks);
    cm3_file_release(file);
    return status;
}

void cm3_tasks_destroy(cm3_tasks *tasks) {
    if (!tasks) return;
    cm3_context *context = tasks->context;
    cm3_arena_destroy(tasks->memory);
    cm3_free(context, tasks);
    cm3_context_release(context);
}

const cm3_task *cm3_tasks_find(const cm3_tasks *tasks, const char *name) {
    for (size_t i = 0; i < tasks->count; i++) {
        if (strcmp(tasks->tasks[i].name, name) == 0) return &tasks->tasks[i];
    }
    return NULL;
}

cm3_status cm3_tasks_name(const cm3_tasks *tasks, size_t index, const char **name) {
    if (name) *name = NULL;
    if (!tasks || !name) return CM3_ERROR_INVALID_ARGUMENT;
    if (index >= tasks->count) {
        return cm3_fail(tasks->context, CM3_ERROR_NOT_FOUND, "cm3_tasks_name: task %zu of %zu", index, tasks->count);
    }
    *name = tasks->tasks[index].name;
    return CM3_OK;
}

/* --- texts ---------------------------------------------------------------------------------------------------------
 */

static cm3_status no_value(cm3_context *context, const cm3_task *task, const char *name, size_t length) {
    return cm3_fail(context, CM3_ERROR_NOT_FOUND, "task '%s' needs '%.*s', which is not given", task->name,
                    (int)(length < 100 ? length : 100), name);
}

/** A pattern with its values in place; *text is freed by the caller. */
static cm3_status fill(cm3_context *context, const cm3_task *task, const char *pattern, const cm3_task_values *values,
                       char **text, size_t *size) {
    size_t capacity = 0;
    *text = NULL;
    *size = 0;
    for (const char *c = pattern; *c;) {
        size_t length = strcspn(c, "{");
        const char *from = c;
        c += length;
        if (!length) {
            char name[128];
            length = strcspn(++c, "}");
            snprintf(name, sizeof name, "%.*s", (int)length, c);
            from = values->text(values->arg, name);
            if (!from) return no_value(context, task, c, length);
            c += length + 1;
            length = strlen(from);
        }
        CM3_TRY(cm3_grow(context, text, &capacity, *size + length, 1, "text of a task"));
        if (length) memcpy(*text + *size, from, length);
        *size += length;
    }
    return CM3_OK;
}

static bool pattern_lacks(const char *pattern, const cm3_task_values *values, char name[128]) {
    for (const char *c = strchr(pattern, '{'); c; c = strchr(c, '{')) {
        size_t length = strcspn(++c, "}");
        snprintf(name, 128, "%.*s", (int)length, c);
        if (!values->text(values->arg, name)) return true;
    }
    return false;
}

bool cm3_task_lacks(const cm3_task *task, const cm3_task_values *values, char name[128]) {
    for (size_t i = 0; i < task->count; i++) {
        const cm3_task_piece *piece = &task->pieces[i];
        for (size_t k = 0; k < piece->pattern_count; k++) {
            if (pattern_lacks(piece->patterns[k], values, name)) return true;
        }
        size_t count;
        if (piece->kind != CM3_SEGMENT_IMAGE || values->codes(values->arg, piece->image, &count)) continue;
        snprintf(name, 128, "%s", piece->image);
        return true;
    }
    return false;
}

static bool has_values(const cm3_task_piece *piece) {
    return piece->kind == CM3_SEGMENT_TEXT && strchr(piece->patterns[0], '{');
}

/** A text that a stream of guidance does without: one with values before what is drawn, be it given or thought up. */
static bool is_dropped(const cm3_task *task, size_t element) {
    const cm3_task_piece *piece = &task->pieces[element];
    return has_values(piece) && (!piece->answer || element < cm3_task_guided(task));
}

/* --- tokens --------------------------------------------------------------------------------------------------------
 */

static cm3_status push_text(const cm3_encoder *encoder, const cm3_task *task, const char *pattern,
                            const cm3_task_values *values, cm3_ids *ids) {
    char *text = NULL;
    size_t size = 0;
    cm3_status status = fill(encoder->context, task, pattern, values, &text, &size);
    if (status == CM3_OK && size) {
        status =
            cm3_bpe_encode(encoder->bpe, text, size, encoder->encode_flags, &ids->ids, &ids->count, &ids->capacity);
    }
    cm3_free(encoder->context, text);
    return status;
}

/** The last `count` ids are a picture's: those in the rectangle become sentinel 0. */
static void hide(const cm3_encoder *encoder, const cm3_cells *hidden, size_t count, cm3_ids *ids) {
    int32_t *codes = ids->ids + ids->count - count;
    for (int32_t y = hidden->y; y < hidden->y + hidden->height; y++) {
        for (int32_t x = hidden->x; x < hidden->x + hidden->width; x++) {
            codes[y * hidden->grid + x] = encoder->special->sentinels[0];
        }
    }
}

static cm3_status push_piece(const cm3_encoder *encoder, const cm3_task *task, const cm3_task_piece *piece,
                             const cm3_task_values *values, cm3_random *random, const cm3_cells *hidden, cm3_ids *ids) {
    if (piece->kind == CM3_SEGMENT_BREAK) return cm3_push_break(encoder, ids);
    if (piece->kind == CM3_SEGMENT_TEXT) {
        uint64_t which = random && piece->pattern_count > 1 ? cm3_random_below(random, piece->pattern_count) : 0;
        return push_text(encoder, task, piece->patterns[which], values, ids);
    }
    size_t count = 0;
    const int32_t *codes = values->codes(values->arg, piece->image, &count);
    if (!codes) return no_value(encoder->context, task, piece->image, strlen(piece->image));
    CM3_TRY(cm3_push_codes(encoder, codes, count, ids));
    if (piece->hidden && hidden) hide(encoder, hidden, count, ids);
    return CM3_OK;
}

cm3_status cm3_task_tokens(const cm3_encoder *encoder, const cm3_task *task, const cm3_task_values *values,
                           cm3_random *random, cm3_task_drop drop, const cm3_cells *hidden, cm3_ids *ids,
                           cm3_answers *answers) {
    const cm3_special_tokens *special = encoder->special;
    const bool follows = cm3_task_follows(task);
    if (!follows && drop == CM3_DROP_ALL) drop = CM3_DROP_TEXT; /* what is filled in needs what is around it */
    ids->count = 0;
    answers->count = 0;
    CM3_TRY(cm3_ids_push(encoder->context, ids, special->eod));
    for (size_t i = 0; i < task->count; i++) {
        const cm3_task_piece *piece = &task->pieces[i];
        if (drop == CM3_DROP_ALL && i < cm3_task_guided(task)) continue;
        if (drop == CM3_DROP_ALL && i == cm3_task_guided(task)) {
            CM3_TRY(cm3_ids_push(encoder->context, ids, special->sentinels[0]));
            CM3_TRY(cm3_push_break(encoder, ids));
        }
        int64_t begin = (int64_t)ids->count;
        if (drop == CM3_DROP_TEXT && is_dropped(task, i)) {
            /* Sentinels of a document to be filled in are its spans': there a text is just not there. */
            if (follows) CM3_TRY(cm3_ids_push(encoder->context, ids, special->sentinels[0]));
            continue;
        }
        CM3_TRY(push_piece(encoder, task, piece, values, random, hidden, ids));
        if (piece->answer) answers->spans[answers->count++] = (cm3_span){begin, (int64_t)ids->count};
    }
    return cm3_ids_push(encoder->context, ids, special->eod);
}

/* --- documents -----------------------------------------------------------------------------------------------------
 */

typedef struct given_values {
    const cm3_task_value *values;
    size_t count;
} given_values;

static const cm3_task_value *find_value(const given_values *given, const char *name) {
    for (size_t i = 0; i < given->count; i++) {
        if (given->values[i].name && strcmp(given->values[i].name, name) == 0) return &given->values[i];
    }
    return NULL;
}

static const char *given_text(void *arg, const char *name) {
    const cm3_task_value *value = find_value(arg, name);
    return value ? value->text : NULL;
}

static cm3_status add_text(cm3_document *document, const cm3_task *task, const char *pattern, given_values *given) {
    const cm3_task_values values = {.text = given_text, .arg = given};
    char *text = NULL;
    size_t size = 0;
    cm3_status status = fill(document->context, task, pattern, &values, &text, &size);
    if (status == CM3_OK && size) status = cm3_document_add_text(document, text, size);
    cm3_free(document->context, text);
    return status;
}

/** What is asked for: of several answers the first whose value is not given, else the last. */
static size_t asked_for(const cm3_task *task, given_values *given) {
    const cm3_task_values values = {.text = given_text, .arg = given};
    const size_t last = cm3_task_follows(task) ? task->count - 1 : task->answer;
    for (size_t i = task->answer; i < last; i++) {
        const cm3_task_piece *piece = &task->pieces[i];
        char name[128];
        if (!piece->answer) continue;
        if (piece->kind == CM3_SEGMENT_IMAGE ? !find_value(given, piece->image)
                                             : pattern_lacks(piece->patterns[0], &values, name)) {
            return i;
        }
    }
    return last;
}

static cm3_status add_piece(cm3_document *document, const cm3_task *task, size_t element, given_values *given,
                            bool pictures_only) {
    const cm3_task_piece *piece = &task->pieces[element];
    if (pictures_only && is_dropped(task, element)) return cm3_document_add_mask(document, 0);
    if (piece->answer && !piece->box && !cm3_task_follows(task)) return cm3_document_add_mask(document, 0);
    if (piece->kind == CM3_SEGMENT_BREAK) return cm3_document_add_break(document);
    if (piece->kind == CM3_SEGMENT_TEXT) return add_text(document, task, piece->patterns[0], given);
    const cm3_task_value *value = find_value(given, piece->image);
    if (!value || (!value->image && !value->codes)) {
        return no_value(document->context, task, piece->image, strlen(piece->image));
    }
    if ((piece->box || piece->hidden) && value->boxes) {
        return cm3_document_add_image_holes(document, value->image, value->boxes, value->box_count);
    }
    return cm3_document_add_picture(document, value->image, value->codes, value->code_count);
}

/** Element number `asked` is left out where the document ends with it. */
static cm3_status build(const cm3_tasks *tasks, const cm3_task *task, size_t asked, given_values *given,
                        bool pictures_only, cm3_document **document) {
    CM3_TRY(cm3_document_create(tasks->context, document));
    cm3_status status = CM3_OK;
    size_t count = cm3_task_follows(task) ? asked : task->count;
    for (size_t i = 0; i < count && status == CM3_OK; i++) {
        status = add_piece(*document, task, i, given, pictures_only);
    }
    bool infill = !cm3_task_follows(task) && !task->pieces[task->answer].box;
    if (status == CM3_OK && infill) status = cm3_document_add_mask(*document, 0); /* what follows is the span */
    if (status != CM3_OK) {
        cm3_document_destroy(*document);
        *document = NULL;
    }
    return status;
}

cm3_status cm3_task_document(const cm3_tasks *tasks, const char *name, const cm3_task_value *values, size_t value_count,
                             cm3_document **document, cm3_task_form *form) {
    if (document) *document = NULL;
    if (!tasks) return CM3_ERROR_INVALID_ARGUMENT;
    if (!name || !document || (!values && value_count)) {
        return cm3_fail(tasks->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_task_document: an argument is NULL");
    }
    const cm3_task *task = cm3_tasks_find(tasks, name);
    if (!task) return cm3_fail(tasks->context, CM3_ERROR_NOT_FOUND, "there is no task '%.100s'", name);
    given_values given = {values, value_count};
    const size_t asked = asked_for(task, &given);
    const cm3_task_piece *answer = &task->pieces[asked];
    const cm3_task_form full = {.answer = answer->kind,
                                .infill = !cm3_task_follows(task) && !answer->box,
                                .box = answer->box,
                                .image_name = answer->image,
                                .text_name = answer->value};
    if (form) CM3_TRY(cm3_options_write(tasks->context, form, &full, sizeof full, "cm3_task_form"));
    return build(tasks, task, asked, &given, false, document);
}

cm3_status cm3_task_picture_prompt(const cm3_tasks *tasks, const char *name, const cm3_task_value *values,
                                   size_t value_count, cm3_document **document) {
    if (document) *document = NULL;
    if (!tasks) return CM3_ERROR_INVALID_ARGUMENT;
    if (!name || !document || (!values && value_count)) {
        return cm3_fail(tasks->context, CM3_ERROR_INVALID_ARGUMENT, "cm3_task_picture_prompt: an argument is NULL");
    }
    const cm3_task *task = cm3_tasks_find(tasks, name);
    if (!task) return cm3_fail(tasks->context, CM3_ERROR_NOT_FOUND, "there is no task '%.100s'", name);
    const size_t drawn = cm3_task_guided(task);
    if (!cm3_task_follows(task) || task->pieces[drawn].kind != CM3_SEGMENT_IMAGE) {
        return cm3_fail(tasks->context, CM3_ERROR_UNSUPPORTED, "the task '%s' does not end with an image", name);
    }
    given_values given = {values, value_count};
    return build(tasks, task, drawn, &given, true, document);
}
