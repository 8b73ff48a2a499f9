/**
 * @file
 * Generation: options, events, the blocking call, and the request that a game loop polls.
 */
#ifndef CM3LEON_REQUEST_H
#define CM3LEON_REQUEST_H

#include "cm3leon/document.h"
#include "cm3leon/model.h"
#include "cm3leon/sampler.h"

#ifdef __cplusplus
extern "C" {
#endif

/** What is generated. */
typedef enum cm3_modality {
    /**
     * Exactly one image, then the end. Where a picture of the prompt has holes (cm3_document_add_image_holes()) it is
     * that picture once more: the prompt has mask 0 for each token that is hidden, what is not hidden is taken as it
     * is, and the result is the original, to the byte, but for the squares of the tokens that were hidden.
     */
    CM3_MODALITY_IMAGE = 1,
    CM3_MODALITY_TEXT = 2,        /**< text until its end or max_tokens */
    CM3_MODALITY_INTERLEAVED = 3, /**< text; a begin-image token opens an image of exactly N tokens; text again */
    CM3_MODALITY_FREE = 4,        /**< any token but image codes, as Hugging Face's Chameleon masks them */
    /**
     * The prompt's holes are filled in, in their order, each a span behind its mask (CM3): masks by text until
     * `<eoss>`, boxes of a picture (cm3_document_add_image_holes()) by just as many tokens as they hide. The result has
     * the texts, then the picture: the original, to the byte, but for the squares of the tokens that were hidden.
     */
    CM3_MODALITY_INFILL = 5
} cm3_modality;

/** Types of cached keys and values. */
typedef enum cm3_kv_type {
    CM3_KV_AUTO = 0, /**< bf16 with bf16 products, else f32 */
    CM3_KV_F32 = 1,
    CM3_KV_BF16 = 2,
    CM3_KV_INT8 = 3 /**< 8 bits, and an f32 scale for each key and value of a head */
} cm3_kv_type;

/** What is generated, and how it is drawn. */
typedef struct cm3_generate_options {
    size_t struct_size;         /**< sizeof of this struct */
    cm3_modality modality;      /**< default CM3_MODALITY_IMAGE */
    uint64_t seed;              /**< 0 (default): one is picked and told by cm3_request_seed() */
    int32_t candidates;         /**< 1..64; default 1 */
    float guidance_scale;       /**< u + s (c - u) (paper eq. 2), of images; 1 is none. 0..100; default 1.5 */
    const cm3_sampler *sampler; /**< NULL (default): the chain made of the four values below. A hold is taken */
    float temperature;          /**< 0..100; default 0.3; 0 is greedy */
    int32_t top_k;              /**< 0 (default): off */
    float top_p;                /**< 0 < p <= 1; default 0.9 */
    float repetition_penalty;   /**< > 0; default 1 (none) */
    int32_t max_tokens;         /**< 0 (default): what the context leaves. Bounds text; images are always whole */
    /** 0 (default): none; n: an IMAGE_ROWS event each n finished rows of tokens. They are decoded while the next tokens
     * are drawn, where there is a core for it: by one of a team of two, or, where the team leaves cores, by a further
     * thread. Their events then come some tokens later, in order and before the picture's. */
    int32_t preview_rows;
    cm3_compute compute;   /**< default AUTO: bf16 where the CPU has it */
    uint32_t encode_flags; /**< cm3_encode_flags for prompt texts; default CM3_ENCODE_PLAIN */
    /** Where there is a third stream p, which knows only the pictures of the prompt, and guidance_scale is not 1: how
     * closely these are followed; u + t (p - u) + s (c - p). 0..100; default 1.2. Chameleon has it where pictures came
     * before the one being drawn; other models where `picture_prompt` is given. */
    float image_guidance_scale;
    int32_t min_tokens;      /**< 0 (default): none; the end and stop_ids are barred before so many tokens */
    const int32_t *stop_ids; /**< text ends at any of these too; copied. Default NULL */
    size_t stop_count;       /**< how many stop_ids */
    int32_t ignore_stops;    /**< not 0: text goes on over its end and stop_ids until max_tokens. Default 0 */
    int32_t end_turn;        /**< not 0: the prompt is closed by the token that ends a turn (Chameleon). Default 0 */
    int32_t codes_only;      /**< not 0: pictures stay codes, and a decoder is not needed. Default 0 */
    cm3_kv_type kv;          /**< of cached keys and values; default CM3_KV_AUTO */
    /**
     * Above 0: pictures are drawn by contrastive decoding in place of guidance (CM3Leon eq. 3): of the tokens whose
     * probability is at least contrast_alpha times the contrast_k-th largest, by log p(token | prompt) - log p(token);
     * contrast_k 1 is plain CD (Li et al. 2022). 0 (default) to 1.
     */
    float contrast_alpha;
    int32_t contrast_k; /**< 1..; default 1 */
    /** The last so many of the candidates are drawn so, the others by guidance; 0 (default): all. */
    int32_t contrast_candidates;
    int32_t scores; /**< not 0: END events tell each candidate's log-probability. Default 0 */
    /** With CM3_MODALITY_IMAGE: the third stream's prompt, such as cm3_task_picture_prompt() makes it; copied. NULL
     * (default): none of its own */
    const cm3_document *picture_prompt;
    /**
     * Above 0: of the candidates the result has the `best` highest in score, the highest first. The score is
     * `encoder`'s cosine of the prompt's texts and the picture (CM3Leon section 3.2 re-ranks so), or, without one, the
     * log-probability a token. 0 (default): all, in their order.
     */
    int32_t best;
    /** With CM3_MODALITY_IMAGE and `best`: a model of the same context with both towers (CLIP). A hold is taken. It
     * works when the pictures are made, on the engine thread; its memory is in no estimate. */
    cm3_model *encoder;
    /**
     * Above 1: with CM3_MODALITY_TEXT, beam search of that width in place of sampling: the result has the `candidates`
     * (at most `beams`) texts of highest log-probability that were found. Nothing is told before the end. 0 (default).
     */
    int32_t beams;
} cm3_generate_options;

/** Fills the defaults. Call it before setting fields. NULL is allowed and does nothing. */
CM3_API void cm3_generate_options_init(cm3_generate_options *options);

/**
 * The same with what the model's authors published for it: Chameleon's guidance 3.0 and 1.2, temperature 0.7, top_p
 * 0.9, and for text a repetition penalty of 1.2 (Meta's inference code); other models keep the defaults.
 * Errors: INVALID_ARGUMENT.
 */
CM3_API cm3_status cm3_generate_options_for(const cm3_model *model, cm3_modality modality,
                                            cm3_generate_options *options);

/** What an event tells. */
typedef enum cm3_event_kind {
    CM3_EVENT_NONE = 0,       /**< of cm3_request_next_event(): none is waiting */
    CM3_EVENT_TEXT = 1,       /**< text: whole code points */
    CM3_EVENT_TOKEN = 2,      /**< token, modality, index */
    CM3_EVENT_IMAGE_ROWS = 3, /**< image: a preview whose rows of pixels from `row` on, `rows` of them, are new; those
                                 above are as they were in the one before, those below are black */
    CM3_EVENT_IMAGE = 4,      /**< image: a finished picture; NULL with codes_only */
    CM3_EVENT_PROGRESS = 5,   /**< done, total, seconds */
    CM3_EVENT_END = 6         /**< the candidate ended: reason */
} cm3_event_kind;

/** Why a candidate ended. */
typedef enum cm3_end_reason {
    CM3_END_FINISHED = 1,
    CM3_END_MAX_TOKENS = 2,
    CM3_END_CANCELLED = 3,
    CM3_END_FAILED = 4
} cm3_end_reason;

/** One event. Pointers are valid inside the callback only (cm3_request_next_event() says how long its are); take a hold
 * on the image (cm3_image_retain()) to keep it. */
typedef struct cm3_event {
    size_t struct_size;     /**< sizeof of this struct */
    cm3_event_kind kind;    /**< which of the fields below are set */
    int32_t candidate;      /**< 0..candidates-1; PROGRESS: 0 */
    int32_t token;          /**< TOKEN: id */
    int32_t modality;       /**< TOKEN: cm3_modality IMAGE or TEXT */
    int32_t index;          /**< TOKEN: 0.. from the first new one; IMAGE, IMAGE_ROWS: number of the image */
    const char *text;       /**< TEXT: UTF-8, NUL-terminated */
    size_t text_size;       /**< bytes without the NUL */
    cm3_image *image;       /**< IMAGE, IMAGE_ROWS: the picture */
    int32_t row;            /**< IMAGE_ROWS: the first row of pixels that is new */
    int32_t rows;           /**< IMAGE_ROWS: how many are */
    uint64_t done;          /**< PROGRESS: tokens until now, all candidates together */
    uint64_t total;         /**< PROGRESS: of so many at most */
    double seconds;         /**< since the start */
    cm3_end_reason reason;  /**< END: why */
    cm3_status status;      /**< END: what went wrong when reason is FAILED */
    double log_probability; /**< END, with `scores`: of all that was said, by the conditional stream, the tokens that
                               were barred left out; natural logarithm */
} cm3_event;

/**
 * Receives events, always inside the host's own call of generate, poll or wait, never on a thread of the library's.
 * Anything but 0 stops the request, which then ends as CANCELLED, also where the last token was computed before its
 * event was delivered. Must not throw or jump out. May call cm3_request_cancel(), nothing else on the request.
 */
typedef int (*cm3_event_fn)(void *user, const cm3_event *event);

/**
 * The simple way: generates, blocks, streams events to `on_event` (may be NULL), and hands over what was made as a
 * document: for each candidate its texts and images, candidates parted by breaks. *result is NULL on failure and
 * (if `result` is not NULL) the caller's to destroy on success. A callback that stopped it gives CANCELLED and still
 * the partial document. Errors: INVALID_ARGUMENT, UTF8, TOO_LONG, UNSUPPORTED, NO_MEMORY, CANCELLED.
 */
CM3_API cm3_status cm3_generate(cm3_model *model, const cm3_document *prompt, const cm3_generate_options *options,
                                cm3_event_fn on_event, void *user, cm3_document **result);

/**
 * One generation. Used by one thread at a time, except cm3_request_cancel() and cm3_request_done(), which any thread
 * may call at any time before destroy.
 */
typedef struct cm3_request cm3_request;

/**
 * Starts; returns at once. The prompt and the options are copied; pictures in the prompt are held, and read until the
 * first event: leave them as they are so long. Errors as cm3_generate().
 */
CM3_API cm3_status cm3_request_start(cm3_model *model, const cm3_document *prompt, const cm3_generate_options *options,
                                     cm3_request **request);

/**
 * Delivers queued events to `on_event` (may be NULL), waiting at most `budget_us` microseconds for some (0: not at
 * all). With a context of threads = 0 this is where computing happens, for about `budget_us`: it stops between two
 * operations, within a layer if need be, and goes on there at the next poll; 0 is one whole step. *done
 * becomes 1 when the request has ended and all its events were delivered. Returns CM3_OK while it runs and when it
 * ended well; else what went wrong (CANCELLED after a cancel). `done` may be NULL.
 */
CM3_API cm3_status cm3_request_poll(cm3_request *request, uint64_t budget_us, cm3_event_fn on_event, void *user,
                                    int *done);

/**
 * The next waiting event, for hosts that cannot lend a callback: languages with a garbage collector, engines' scripts.
 * Set event->struct_size first; its pointers are valid until the next call of this function, of poll, wait or destroy
 * on the request. Where none is waiting it waits at most `budget_us` microseconds for one, or, with a context of
 * threads = 0, computes about so long as cm3_request_poll() does; 0 does neither. event->kind is CM3_EVENT_NONE where
 * there is none still. *done (may be NULL) becomes 1, and what went wrong is returned, when the request has ended and
 * all its events were handed over: never together with an event. A frame of a game:
 *
 *     uint64_t budget = 2000;
 *     while (cm3_request_next_event(request, budget, &event, &done) == CM3_OK && event.kind) {
 *         budget = 0;
 *         ...
 *     }
 *
 * Errors: INVALID_ARGUMENT (NULL, or no struct_size; no event is lost), and as of cm3_request_poll().
 */
CM3_API cm3_status cm3_request_next_event(cm3_request *request, uint64_t budget_us, cm3_event *event, int *done);

/** Delivers events until the request ends. Returns as poll does at the end. */
CM3_API cm3_status cm3_request_wait(cm3_request *request, cm3_event_fn on_event, void *user);

/** Asks it to stop, from any thread, signal handlers included; takes effect within one layer; what was made is kept.
 * NULL is allowed. */
CM3_API void cm3_request_cancel(cm3_request *request);

/** Not 0 once computing has ended (events may still be waiting for a poll). */
CM3_API int cm3_request_done(const cm3_request *request);

/** The seed in use, never 0. */
CM3_API cm3_status cm3_request_seed(const cm3_request *request, uint64_t *seed);

/** What was made so far (all of it after the end): a document of the caller's. BUSY while it is computing. */
CM3_API cm3_status cm3_request_result(const cm3_request *request, cm3_document **result);

/**
 * Of a request with `best` or `beams` that ended well: which candidate stands at a place of the result, 0 the first,
 * and its score. Either may be NULL. Errors: BUSY; NOT_FOUND behind the last.
 */
CM3_API cm3_status cm3_request_score(const cm3_request *request, int32_t place, int32_t *candidate, double *score);

/** The message of its failure; "" without one. Valid as long as the request. */
CM3_API const char *cm3_request_message(const cm3_request *request);

/** Where a request's time went. */
typedef struct cm3_timings {
    size_t struct_size;  /**< set by the caller */
    double queued;       /**< seconds until it began */
    double prefill;      /**< seconds of reading the prompt */
    double decode;       /**< seconds of making tokens */
    double image_decode; /**< seconds of making pictures of codes; of previews beside the model, of waiting for them */
    double total;        /**< seconds in all */
    uint64_t prompt_tokens; /**< of the prompt, all candidates together */
    uint64_t new_tokens;    /**< that were made, all candidates together */
    double tokenize;        /**< seconds: the prompt's texts and pictures to tokens */
    double sampling;        /**< seconds: drawing tokens */
} cm3_timings;

/** Where the time went until now. Set timings->struct_size first. Errors: INVALID_ARGUMENT, BUSY while it is computing.
 */
CM3_API cm3_status cm3_request_timings(const cm3_request *request, cm3_timings *timings);

/** Memory that one request will take, in bytes. */
typedef struct cm3_memory_estimate {
    size_t struct_size; /**< set by the caller */
    uint64_t weights;   /**< the model's tensors as stored: in the mapped file, or held since loading */
    uint64_t cache;     /**< keys and values of all candidates, and of guidance */
    uint64_t scratch;   /**< activations, oneDNN's working memory, sampling, waiting events, the pictures made */
    uint64_t load;      /**< what the model itself holds of the context's memory, or would hold once loaded: vectors,
                           tokenizer, what is copied or put together; mapped files are not in it */
} cm3_memory_estimate;

/**
 * What a request with such options and a prompt of `prompt_tokens` tokens would take through the context's allocator
 * beyond what the model holds: cache + scratch, within 10 % of the peak of the first request of a model (later ones
 * find the scratch in place). `options` may be NULL for the defaults. Several requests at once take the sum of their
 * caches and share the scratch, which then is larger than one's and smaller than the sum. Pictures in a prompt are
 * encoded before, one by one, which is not in the figure. Takes some milliseconds; runs on the engine thread. Any
 * thread. Errors: INVALID_ARGUMENT, TOO_LONG, UNSUPPORTED, NO_MEMORY.
 */
CM3_API cm3_status cm3_estimate(cm3_model *model, const cm3_generate_options *options, uint64_t prompt_tokens,
                                cm3_memory_estimate *estimate);

/**
 * The same of a model that is not loaded: what cm3_model_load() with these options (`load` may be NULL), and then a
 * first request, would take through the context's allocator is load + cache + scratch, within 10 %. Reads what says how
 * large things are, and the tokenizer; what is neither copied nor made of the weights for loading is not read.
 * Errors: as of cm3_model_load() and cm3_estimate().
 */
CM3_API cm3_status cm3_estimate_file(cm3_context *context, const char *path, const cm3_load_options *load,
                                     const cm3_generate_options *options, uint64_t prompt_tokens,
                                     cm3_memory_estimate *estimate);

/** Cancels it if it runs, waits until it has let go, and frees it. NULL is allowed. Not inside its own callback. */
CM3_API void cm3_request_destroy(cm3_request *request);

#ifdef __cplusplus
}
#endif

#endif
