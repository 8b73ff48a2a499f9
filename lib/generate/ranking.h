/* Which of a request's candidates are the best. */
#ifndef CM3_GENERATE_RANKING_H
#define CM3_GENERATE_RANKING_H

#include "generate/request.h"

/** Keeps the prompt's texts, parted by spaces, for the encoder. */
cm3_status cm3_rank_caption(cm3_request *request, const cm3_document *prompt);

/** Fills request->ranks, where `best` asks for it and they are not known yet. On the compute thread. */
cm3_status cm3_rank_candidates(cm3_request *request);

/** Puts ranks in order: the highest score first, of equals the earlier. */
void cm3_rank_sort(cm3_rank *ranks, int32_t count);

#endif
