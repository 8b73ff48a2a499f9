/* YAML by libyaml's events, made JSON. */
#include "files/yaml.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

#include "base/status.h"

#define DEEPEST 64

typedef struct reader {
    cm3_context *context;
    const char *name;
    yaml_parser_t parser;
    int depth;
} reader;

static cm3_status fail_at(const reader *r, yaml_mark_t mark, const char *what) {
    return cm3_fail(r->context, CM3_ERROR_FORMAT, "%s: line %zu, column %zu: %s", r->name, mark.line + 1,
                    mark.column + 1, what);
}

static cm3_status next(reader *r, yaml_event_t *event) {
    if (yaml_parser_parse(&r->parser, event)) return CM3_OK;
    if (r->parser.error == YAML_MEMORY_ERROR) return cm3_fail_memory(r->context, 0, r->name);
    return fail_at(r, r->parser.problem_mark, r->parser.problem ? r->parser.problem : "this is no YAML");
}

/** A plain scalar by the core schema, or text. */
static json_t *scalar(const yaml_event_t *event) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL"}, *const trues[] = {"true", "True", "TRUE"},
                             *const falses[] = {"false", "False", "FALSE"};
    const char *text = (const char *)event->data.scalar.value;
    size_t length = event->data.scalar.length;
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE || strlen(text) != length) {
        return json_stringn(text, length);
    }
    for (int i = 0; i < 5; i++) {
        if (!strcmp(text, nulls[i])) return json_null();
    }
    for (int i = 0; i < 3; i++) {
        if (!strcmp(text, trues[i])) return json_true();
        if (!strcmp(text, falses[i])) return json_false();
    }
    if (text[strspn(text, "+-0123456789.eE")] != 0) return json_stringn(text, length);
    char *end;
    errno = 0;
    long long integer = strtoll(text, &end, 10);
    if (!*end && !errno) return json_integer(integer);
    double number = strtod(text, &end);
    return *end ? json_stringn(text, length) : json_real(number);
}

static cm3_status read_value(reader *r, const yaml_event_t *event, json_t **value);

static cm3_status read_sequence(reader *r, json_t *list) {
    for (;;) {
        yaml_event_t event;
        json_t *item = NULL;
        CM3_TRY(next(r, &event));
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        cm3_status status = end ? CM3_OK : read_value(r, &event, &item);
        yaml_event_delete(&event);
        if (end || status != CM3_OK) return status;
        if (json_array_append_new(list, item)) return cm3_fail_memory(r->context, 0, r->name);
    }
}

/** One pair; *end where there is none. */
static cm3_status read_pair(reader *r, json_t *object, bool *end) {
    yaml_event_t key, event;
    json_t *value = NULL;
    CM3_TRY(next(r, &key));
    *end = key.type == YAML_MAPPING_END_EVENT;
    cm3_status status = CM3_OK;
    const char *name = key.type == YAML_SCALAR_EVENT ? (const char *)key.data.scalar.value : NULL;
    if (!*end && !name) status = fail_at(r, key.start_mark, "a key is no text");
    if (name && strlen(name) != key.data.scalar.length) status = fail_at(r, key.start_mark, "a key has a NUL in it");
    if (name && status == CM3_OK && json_object_get(object, name)) {
        status = fail_at(r, key.start_mark, "a key is there twice");
    }
    if (name && status == CM3_OK) {
        status = next(r, &event);
        if (status == CM3_OK) {
            status = read_value(r, &event, &value);
            yaml_event_delete(&event);
        }
        if (status == CM3_OK && json_object_set_new(object, name, value)) {
            status = cm3_fail_memory(r->context, 0, r->name);
        }
    }
    yaml_event_delete(&key);
    return status;
}

static bool is_marked(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return true; /* an alias, or nothing that begins a value */
    }
}

static cm3_status read_value(reader *r, const yaml_event_t *event, json_t **value) {
    if (is_marked(event)) return fail_at(r, event->start_mark, "anchors, aliases and tags are not read");
    bool mapping = event->type == YAML_MAPPING_START_EVENT, plain = event->type == YAML_SCALAR_EVENT;
    *value = plain ? scalar(event) : mapping ? json_object() : json_array();
    if (!*value) return cm3_fail_memory(r->context, 0, r->name);
    if (plain) return CM3_OK;
    if (++r->depth > DEEPEST) {
        json_decref(*value);
        return fail_at(r, event->start_mark, "nesting is too deep");
    }
    cm3_status status = CM3_OK;
    bool end = false;
    if (!mapping) status = read_sequence(r, *value);
    while (mapping && !end && status == CM3_OK) status = read_pair(r, *value, &end);
    r->depth--;
    if (status != CM3_OK) {
        json_decref(*value);
        *value = NULL;
    }
    return status;
}

/** The next event must be of that type. */
static cm3_status expect(reader *r, yaml_event_type_t type, const char *what) {
    yaml_event_t event;
    CM3_TRY(next(r, &event));
    cm3_status status = event.type == type ? CM3_OK : fail_at(r, event.start_mark, what);
    yaml_event_delete(&event);
    return status;
}

static cm3_status read_document(reader *r, json_t **value) {
    yaml_event_t event;
    CM3_TRY(expect(r, YAML_STREAM_START_EVENT, "this is no YAML"));
    CM3_TRY(expect(r, YAML_DOCUMENT_START_EVENT, "there is no document"));
    CM3_TRY(next(r, &event));
    cm3_status status = read_value(r, &event, value);
    yaml_event_delete(&event);
    if (status == CM3_OK) status = expect(r, YAML_DOCUMENT_END_EVENT, "the document does not end");
    if (status == CM3_OK) status = expect(r, YAML_STREAM_END_EVENT, "there is a second document");
    return status;
}

cm3_status cm3_yaml_parse(cm3_context *context, const char *name, const void *data, size_t size, json_t **value) {
    reader r = {.context = context, .name = name};
    *value = NULL;
    if (!yaml_parser_initialize(&r.parser)) return cm3_fail_memory(context, 0, name);
    yaml_parser_set_input_string(&r.parser, data, size);
    cm3_status status = read_document(&r, value);
    yaml_parser_delete(&r.parser);
    if (status == CM3_OK) return CM3_OK;
    json_decref(*value);
    *value = NULL;
    return status;
}
