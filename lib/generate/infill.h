/* Filling in: a prompt with masks, whose spans a candidate says one after the other. */
#ifndef CM3_GENERATE_INFILL_H
#define CM3_GENERATE_INFILL_H

#include "generate/request.h"

/**
 * The prompt of a request of CM3_MODALITY_INFILL: the document with a sentinel for each hole, and the first sentinel
 * once more; and guidance's, which lacks the texts. Errors: INVALID_ARGUMENT where there is nothing to fill in.
 */
cm3_status cm3_infill_prompt(cm3_request *request, cm3_encoder *encoder);

/** Tokens that the pictures' holes from number `first` on will take, the end of each and the next one's sentinel
 * included; *texts: whether texts are among them, of which nobody knows. */
int64_t cm3_infill_tokens(const cm3_holes *holes, int32_t first, bool *texts);

/** A picture that is drawn once more: how many of its tokens are known before the first that is hidden; 0 where no
 * picture of the prompt has holes. Errors: INVALID_ARGUMENT where no box touches it. */
cm3_status cm3_infill_lead(const cm3_request *request, int32_t *lead);

/** The token that must come `place` tokens into a picture, or -1. */
int32_t cm3_infill_known(const cm3_request *request, int32_t place);

/** The candidate's picture is known from here on: its codes are filled up. */
cm3_status cm3_infill_rest(cm3_request *request, cm3_candidate *candidate);

/** A candidate at its first hole, the codes around the holes in place. */
cm3_status cm3_infill_begin(cm3_request *request, cm3_candidate *candidate);

/** What a token does: it fills, it ends a hole, or it was forced and opens the next one. *text: it is text. *through:
 * nothing is left to be filled in. */
void cm3_infill_take(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary, int32_t token,
                     bool *text, bool *through);

/** The picture that had the holes, what was made of them laid over it token by token. `made` is as large as the model's
 * pictures are. */
cm3_status cm3_infill_compose(const cm3_request *request, const cm3_image *made, cm3_image **image);

#endif
