/* The engine: serves all requests of one model, each step one pass over the weights for all their sequences. */
#ifndef CM3_GENERATE_ENGINE_H
#define CM3_GENERATE_ENGINE_H

#include "generate/request.h"

typedef struct cm3_engine cm3_engine;

/** The model's engine, made on first use. Errors: NO_MEMORY. */
cm3_status cm3_engine_get(cm3_model *model, cm3_engine **engine);

/** Hands a request over; from here on it belongs to the engine until its `finished` is set. */
cm3_status cm3_engine_submit(cm3_engine *engine, cm3_request *request);

/** Makes the running step stop at its next operation, so that a cancel is seen. Async-signal-safe. */
void cm3_engine_interrupt(cm3_engine *engine);

#endif
