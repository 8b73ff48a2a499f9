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
    float *logits;       /**< of the last token fed; in the graph's arena, valid within a step */
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
    /** The text itself; guidance's, which knows nothing but the picture being drawn; and its third, which knows the
     * pictures before as well. */
    cm3_stream conditional, unconditional, pictures;
    cm3_ids history; /**< prompt and new tokens */
    size_t prompt_count;
    bool in_image;    /**< the next token must be an image code */
    bool closing;     /**< the image is whole: the next token is forced, its end or a break */
    int32_t due_rows; /**< of a picture to be decoded at the end of the step: its last so many rows are new; 0: none */
    cm3_ids codes;    /**< of the picture being made */
    cm3_image *preview;                  /**< its last one; NULL: none yet */
    struct cm3_preview_job *preview_job; /**< the next one, under way beside the model; NULL: none */
    int32_t image_index;
    char *bytes; /**< of text, not yet whole code points */
    size_t byte_count, byte_capacity;
    char *text; /**< of the text piece being made */
    size_t text_count, text_capacity;
    cm3_piece *pieces;
    size_t piece_count, piece_capacity;
    int32_t hole, left, forced; /**< INFILL: where it stands, codes still due there, and a token that must come; -1 */
    double log_probability;
    bool through; /**< of a beam: it has said its last token, which is told when all have */
    bool full;    /**< max_tokens or the context is used up */
    bool ended;
} cm3_candidate;

/** A candidate's place in the result. */
typedef struct cm3_rank {
    int32_t candidate;
    double score;
} cm3_rank;

struct cm3_request {
    cm3_context *context;
    cm3_model *model;
    struct cm3_engine *engine;
    struct cm3_previews *previews;        /**< NULL: they are decoded between two steps */
    size_t preview_arena, preview_onednn; /**< bytes that one takes beside the model */
    cm3_request *next;                    /**< in the engine's lists */
    cm3_generate_options options;
    cm3_sampler *sampler;
    cm3_document *prompt;         /**< until it is tokenised on the compute thread */
    cm3_document *picture_prompt; /**< likewise; NULL where the third stream, if any, is the prompt's pictures */
    cm3_ids prompt_ids, unconditional_ids, picture_prompt_ids, stops;
    cm3_holes holes;          /**< of CM3_MODALITY_INFILL */
    int64_t picture_ids;      /**< tokens of the prompt that guidance by pictures knows; 0: there is none */
    int64_t capacity;         /**< positions of a candidate, its prompt included */
    cm3_stream prompt_stream; /**< of several candidates: their prompt, which is read once and kept once */
    bool in_step;             /**< its streams go on in this step */
    bool started;             /**< the prompt has been read */
    cm3_candidate *candidates;
    struct cm3_beam *beam; /**< of beam search; else NULL */
    cm3_rank *ranks;       /**< [candidates], the best first, once all are made; NULL: they stand as they are */
    char *caption;         /**< the prompt's texts, for an encoder's score */
    int32_t active;        /**< candidates that have not ended */
    cm3_event_queue events;
    bool refused;         /**< a callback stopped it; the host's thread alone looks at this */
    cm3_event_node *told; /**< handed over by cm3_request_next_event(), its pointers still in use; else NULL */
    atomic_int cancelled, finished;
    cm3_status status;  /**< valid once finished */
    char message[1024]; /**< likewise */
    cm3_timings timings;
    uint64_t started_at; /**< cm3_clock_ns() */
    uint64_t total_tokens;
};

/** The type of a request's caches. */
static inline cm3_dtype cm3_request_kv(const cm3_generate_options *options) {
    return options->kv == CM3_KV_F32 ? CM3_F32 : options->kv == CM3_KV_BF16 ? CM3_BF16 : CM3_I8;
}

/** The tokens a request's text and image modes may produce are marked once a model: see vocabulary.c. */
typedef struct cm3_vocabulary {
    uint8_t *kind; /**< [vocab_size]: 0 only in free text, 1 text, 2 image code, 3 ends a text, 4 opens an image */
    int32_t size, image_tokens, opener, closer;
    int32_t image_first, image_count; /**< ids among which all image codes are; count 0: they lie too far apart */
} cm3_vocabulary;

cm3_status cm3_vocabulary_create(cm3_model *model, cm3_vocabulary *vocabulary);

/* request.c */

/** The caller's options over the defaults, checked against the model. Errors: INVALID_ARGUMENT, UNSUPPORTED. */
cm3_status cm3_request_options(cm3_model *model, const cm3_generate_options *options, cm3_generate_options *own);

/* opening.c */

/** Tokens of the prompt, caches and lists of the candidates, as long as they can become. Runs on the compute thread:
 * pictures in the prompt are encoded here. */
cm3_status cm3_request_open(cm3_request *request, const cm3_vocabulary *vocabulary);
/** Events that such a request reserves. */
size_t cm3_request_events(uint64_t total_tokens);

/* ending.c */

/** Ends all candidates; what cannot be told any more (memory) is let go. */
void cm3_request_end_all(cm3_request *request, cm3_status why);
/** The last thing the engine does with a request: after this it may be freed at any moment. */
void cm3_request_finish(cm3_request *request, cm3_status status);

/* candidate.c: what one token does to a candidate */

/** Whether the candidate may say `kind` (see cm3_vocabulary) next. `room`: positions left to it. */
bool cm3_candidate_may_say(const cm3_request *request, const cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                           int64_t room, uint8_t kind);
/** A token that needs no sampling (the end of an image), or -1. */
int32_t cm3_candidate_forced(const cm3_candidate *candidate, const cm3_vocabulary *vocabulary);
/** Guidance's streams begin anew, with a picture: they know nothing of the text, or what of it is pictures. */
cm3_status cm3_candidate_guide(cm3_request *request, cm3_candidate *candidate);
/** Takes the token: history, events, mode, pictures, end; queues it for the streams. */
cm3_status cm3_candidate_take(cm3_request *request, cm3_candidate *candidate, const cm3_vocabulary *vocabulary,
                              int32_t token);
/** Whether a picture is due that is there as a whole. */
bool cm3_candidate_is_whole(const cm3_request *request, const cm3_candidate *candidate);
/** Decodes the picture that is due: what is there of it, or all, upon which a request for an image ends. */
cm3_status cm3_candidate_show(cm3_request *request, cm3_candidate *candidate, cm3_graph *graph);
/** Ends it: flushes text, keeps half a picture's codes, tells END. */
cm3_status cm3_candidate_end(cm3_request *request, cm3_candidate *candidate, cm3_end_reason reason, cm3_status why);
void cm3_candidate_clear(cm3_request *request, cm3_candidate *candidate);

#endif
