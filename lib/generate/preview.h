/* Previews that are decoded beside the model: the next tokens do not wait for them. */
#ifndef CM3_GENERATE_PREVIEW_H
#define CM3_GENERATE_PREVIEW_H

#include "generate/request.h"

/** An engine's thread for them, and what it decodes with. */
typedef struct cm3_previews cm3_previews;

/** NULL and CM3_OK where previews are decoded between two steps: see cm3_aside_create(). Errors: NO_MEMORY, THREAD. */
cm3_status cm3_previews_create(cm3_model *model, cm3_previews **previews);
/** Once no request is left. NULL is allowed. */
void cm3_previews_destroy(cm3_previews *previews);

/** A request's: from now on its previews go this way. Makes sure of the memory that they take; where others' previews
 * are under way, before its first one. Errors: NO_MEMORY. */
cm3_status cm3_previews_join(cm3_previews *previews, cm3_request *request);
/** Bytes that such a request's previews take beside the model; 0 where they do not go this way. */
cm3_status cm3_previews_measure(cm3_model *model, const cm3_generate_options *options, size_t *bytes);
/** See cm3_aside_serve(). NULL is allowed. */
void cm3_previews_serve(cm3_previews *previews, bool (*beside)(void *arg), void *arg);
/** Gives memory back where more than `most` bytes are held and nothing is being decoded. NULL is allowed. */
void cm3_previews_trim(cm3_previews *previews, size_t most);

/** Begins with `rows` rows of tokens of the candidate's picture, of which the preview before showed `known`; none is
 * under way. Its event is told as soon as it is through. Errors: NO_MEMORY. */
cm3_status cm3_preview_begin(cm3_request *request, cm3_candidate *candidate, int32_t rows, int32_t known);
/** Waits for the one that is under way, if any, and keeps it for the next. Errors: those of decoding; CANCELLED where
 * the request was. */
cm3_status cm3_preview_end(cm3_request *request, cm3_candidate *candidate);
/** Lets go of the one that is under way, if any, without waiting: the request is not touched any more. */
void cm3_preview_forget(cm3_request *request, cm3_candidate *candidate);

/** Tells a preview's event. */
cm3_status cm3_preview_tell(cm3_request *request, const cm3_candidate *candidate, int32_t rows, int32_t known,
                            cm3_image *image);

#endif
