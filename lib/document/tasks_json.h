/* tasks.json, as a string that the build makes of it. */
#ifndef CM3_DOCUMENT_TASKS_JSON_H
#define CM3_DOCUMENT_TASKS_JSON_H

extern const char cm3_tasks_json[];

#endif
