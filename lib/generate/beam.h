/* Beam search: the candidates of a request are its beams, and go on from one another. */
#ifndef CM3_GENERATE_BEAM_H
#define CM3_GENERATE_BEAM_H

#include "generate/request.h"

typedef struct cm3_beam cm3_beam;

/** request->beam, for a request whose options ask for one. */
cm3_status cm3_beam_open(cm3_request *request);

/** Begins a step. */
void cm3_beam_begin(cm3_request *request);

/** Whether the candidate's continuations are wanted: it is not through, and, in the first step, it is the first. */
bool cm3_beam_wants(const cm3_request *request, const cm3_candidate *candidate);

/** The candidate's likeliest continuations, by its logits; -infinity bars. */
void cm3_beam_offer(cm3_request *request, const cm3_candidate *candidate, const float *logits, int32_t n);

/**
 * Ends a step: of all that was offered, and of what is through, the likeliest so many are what the candidates are from
 * here on. With all of them through, the best are told and the request has no active candidates left.
 */
cm3_status cm3_beam_choose(cm3_request *request, const cm3_vocabulary *vocabulary);

#endif
