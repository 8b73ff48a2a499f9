/* YAML as JSON, for the configurations that lie beside checkpoints. */
#ifndef CM3_FILES_YAML_H
#define CM3_FILES_YAML_H

#include "files/json.h"

/**
 * One document of mappings, sequences and scalars; plain scalars become null, booleans and numbers as YAML 1.2's core
 * schema has them, all else text. Anchors, aliases, tags, further documents, duplicate keys and nesting above 64 are
 * refused. `name` (the file) goes into messages. Errors: FORMAT with line and column, NO_MEMORY. The value is released
 * by json_decref().
 */
cm3_status cm3_yaml_parse(cm3_context *context, const char *name, const void *data, size_t size, json_t **value);

#endif
