/* How much memory requests will take: measured by passes that compute nothing, before the requests begin. */
#ifndef CM3_GENERATE_DEMAND_H
#define CM3_GENERATE_DEMAND_H

#include "generate/batch.h"

/* Tokens of prompts in one step: longer prompts are read in pieces, so that scratch stays small and the requests beside
 * go on. */
#define CM3_STEP_ROWS 512

/** What one request asks for. */
typedef struct cm3_demand {
    int64_t prompt, unconditional; /**< tokens; unconditional 0: no guidance */
    int64_t pictures;              /**< tokens that guidance by pictures begins with; 0: there is none */
    int64_t capacity;              /**< positions of a candidate */
    int32_t candidates;
    cm3_modality modality;
    bool started; /**< the prompt has been read */
} cm3_demand;

/** Bytes that one computing type needs for all of its requests together. */
typedef struct cm3_scratch {
    size_t arena, onednn;
    size_t streams, rows; /**< of the largest batch */
} cm3_scratch;

/** The scratch for `count` requests in one batch, their pictures included. Runs on the compute thread. */
cm3_status cm3_demand_measure(cm3_model *model, const cm3_vocabulary *vocabulary, cm3_graph *measuring,
                              const cm3_demand *demands, size_t count, cm3_scratch *scratch);

/** Whether a request has guidance's streams. */
static inline bool cm3_is_guided(const cm3_generate_options *options) {
    bool draws = options->modality == CM3_MODALITY_IMAGE || options->modality == CM3_MODALITY_INTERLEAVED ||
                 options->modality == CM3_MODALITY_INFILL;
    return draws && (options->guidance_scale != 1 || options->contrast_alpha > 0);
}
/** Whether a request shows previews. */
static inline bool cm3_has_previews(const cm3_generate_options *options) {
    bool draws = options->modality == CM3_MODALITY_IMAGE || options->modality == CM3_MODALITY_INTERLEAVED;
    return draws && options->preview_rows > 0 && !options->codes_only;
}
/** Tokens of the prompt that guidance by pictures knows; 0: there is no such guidance, as no pictures come before. */
int64_t cm3_demand_pictures(const cm3_special_tokens *special, const cm3_generate_options *options,
                            const cm3_ids *prompt);

/** Bytes of the caches of one request. False where that is more than memory can be. */
bool cm3_demand_caches(const cm3_lm_config *config, cm3_dtype kv, int64_t image_tokens, const cm3_demand *demand,
                       size_t *bytes);

/** Positions that a candidate needs: its prompt and what may follow. `image_tokens`: of an image; of INFILL those of
 * all holes of pictures. `speaks`: text of any length may be said, as far as max_tokens and the context allow. Errors:
 * TOO_LONG. */
cm3_status cm3_demand_capacity(const cm3_model *model, const cm3_generate_options *options, int64_t image_tokens,
                               bool speaks, int64_t prompt, int64_t *capacity);

#endif
