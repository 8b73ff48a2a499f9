/* The inside of a request: what the host asked for, and where each of its candidates stands. */
#ifndef CM3_GENERATE_REQUEST_H
#define CM3_GENERATE_REQUEST_H

#include "document/encoding.h"
#include "generate/cache.h"
#include "generate/events.h"
#include "generate/sampler.h"
#include "model/model.h"

/** One row of the batch that goes on by a token a step: the prompt's own, or guidance's unconditional one. */
typedef struct cm3_stream {
    cm3_kv_cache *cache; /**< NULL: the stream is not in use */
    cm3_ids pending;     /**< tokens to be fed in the next step */
    float *logits;       /**< [vocab_size], of the last token fed; in the graph's arena, valid within a step */
} cm3_stream;

/** A picture or a text that a candidate made. */
typedef struct cm3_piece {
    char *text; /**< owned; NULL for a picture */
    size_t text_size;
    cm3_image *image; /**< NULL where it was cut off by a cancel */
    int32_t *codes;
    size_t code_count;
} cm3_piece;

typedef struct cm3_candidate {
    int32_t number;
    cm3_stream conditional, unconditional;
    cm3_ids history; /**< prompt and new tokens */
    size_t prompt_count;
    bool in_image; /**< the next token must be an image code */
    bool closing;  /**< the image is whole: the next token is forced, its end or a break */
    cm3_ids codes; /**< of the picture being made */
    int32_t image_index;
    char *bytes; /**< of text, not yet whole code points */
    size_t byte_count, byte_capacity;
    char *text; /**< of the text piece being made */
    size_t text_count, text_capacity;
    cm3_piece *pieces;
    size_t piece_count, piece_capacity;
    bool ended;
} cm3_candidate;

struct cm3_request {
    cm3_context *context;
    cm3_model *model;
    struct cm3_engine *engine;
    cm3_request *next; /**< in the engine's lists */
    cm3_generate_options options;
    cm3_sampler *sampler;
    cm3_document *prompt; /**< until it is tokenised on the compute thread */
    cm3_ids prompt_ids, unconditional_ids;
    int64_t capacity; /**< positions of each cache */
    bool started;
    cm3_candidate *candidates;
    int32_t active; /**< candidates that have not ended */
    cm3_event_queue events;
    atomic_int cancelled, finished;
    cm3_status status;  /**< valid once finished */
    char message[1024]; /**< likewise */
    cm3_timings timings;
    uint64_t started_at; /**< cm3_clock_ns() */
    uint64_t total_tokens;
};

/** The tokens a request's text and image modes may produce are marked once a model: see vocabulary.c. */
typedef struct cm3_vocabulary {
    uint8_t *kind; /**< [vocab_size]: 0 never, 1 text, 2 image code, 3 ends a text, 4 opens an image */
    int32_t size, image_tokens, opener, closer;
} cm3_vocabulary;

cm3_status cm3_vocabulary_create(cm3_model *model, cm3_vocabulary *vocabulary);

/* candidate.c: what one token does to a candidate */

/** Excludes from `logits` all that the candidate may not say next. `room`: positions left in its cache. */
void cm3_candidate_mask(const cm3_request *request, const cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                        int64_t room, float *logits);
/** A token that needs no sampling (the end of an image), or -1. */
int32_t cm3_candidate_forced(const cm3_candidate *candidate, const cm3_vocabulary *vocabulary);
/** Takes the token: history, events, mode, pictures, end; queues it for the streams. */
cm3_status cm3_candidate_take(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                              int32_t token);
/** Ends it: flushes text, keeps half a picture's codes, tells END. */
cm3_status cm3_candidate_end(cm3_request *request, cm3_candidate *candidate, cm3_end_reason reason, cm3_status why);
void cm3_candidate_clear(cm3_request *request, cm3_candidate *candidate);

#endif
