/* The inside of a retriever. */
#ifndef CM3_RETRIEVE_RETRIEVER_H
#define CM3_RETRIEVE_RETRIEVER_H

#include "cm3leon/retriever.h"
#include "model/model.h"

struct cm3_retriever {
    cm3_context *context;
    cm3_model *model;
    cm3_retrieval_engine engine;
    cm3_bank *bank; /**< the engine's, where it is one; else NULL */
    float near_duplicate;
    int32_t dimension;
};

/** The engine over a memory bank; takes a hold of it. */
cm3_status cm3_bank_engine(cm3_bank *bank, cm3_retrieval_engine *engine);
/** Adds to the engine, or to the bank with the retriever's own options. */
cm3_status cm3_retriever_keep(cm3_retriever *retriever, const cm3_bank_record *records, size_t count, uint64_t *ids);

/** A status of the engine's, with its words where it failed. */
cm3_status cm3_retriever_told(const cm3_retriever *retriever, cm3_status status, const char *doing);

#endif
