/* Special tokens by role. */
#ifndef CM3_TEXT_SPECIAL_H
#define CM3_TEXT_SPECIAL_H

#include "files/json.h"

#define CM3_MAX_SENTINELS 512

/** Ids; -1 where a role has none. Image ids need not be consecutive (they are looked up by name in some families). */
typedef struct cm3_special_tokens {
    int32_t eod, pad, break_, begin_image, end_image, end_span;
    /** Chameleon's: what begins a prompt (its eod only ends), and what ends a turn of a talk. -1 in the CM3Leon family,
     * where eod begins a document too. */
    int32_t bos, end_turn;
    int32_t sentinel_count;
    int32_t sentinels[CM3_MAX_SENTINELS];
    int32_t image_count;
    int32_t *image; /**< [image_count], owned (cm3_alloc) */
    int32_t vocab_size;
    int32_t *image_code; /**< [vocab_size]: id to code, -1 elsewhere; owned */
} cm3_special_tokens;

/** Reads {"eod": id, "pad":, "break":, "begin_image":, "end_image": id|null, "end_span":, "bos":, "end_turn":,
 * "sentinels": [ids], "image": [ids] or {"first":, "count":}}. */
cm3_status cm3_special_parse(const cm3_json_object *object, int32_t vocab_size, cm3_special_tokens *special);
/** The same as a new JSON object (json_decref by the caller). */
cm3_status cm3_special_format(cm3_context *context, const cm3_special_tokens *special, json_t **value);
void cm3_special_clear(cm3_context *context, cm3_special_tokens *special);

#endif
