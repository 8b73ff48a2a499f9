/* Which encoder made a bank's vectors, and which image tokenizer its codes. */
#ifndef CM3_RETRIEVE_IDENTITY_H
#define CM3_RETRIEVE_IDENTITY_H

#include "cm3leon/model.h"
#include "files/hash.h"

/** XXH3-128 over names and bytes of the weights; image is zero where the model has no image tokenizer. Errors:
 * INVALID_ARGUMENT (no encoder), NO_MEMORY. */
cm3_status cm3_model_identity(const cm3_model *model, cm3_digest *encoder, cm3_digest *image);

#endif
