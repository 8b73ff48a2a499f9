/* Decoders: ids back to bytes. */
#ifndef CM3_TEXT_DECODER_H
#define CM3_TEXT_DECODER_H

#include "text/added.h"
#include "text/normalizer.h"
#include "text/vocab.h"

typedef enum cm3_decoder_kind {
    CM3_DECODER_BYTE_LEVEL,    /**< characters back to bytes; joins */
    CM3_DECODER_BYTE_FALLBACK, /**< "<0x41>" is one byte */
    CM3_DECODER_REPLACE,       /**< a string by another */
    CM3_DECODER_STRIP,         /**< a character at the ends */
    CM3_DECODER_FUSE           /**< joins */
} cm3_decoder_kind;

typedef struct cm3_decoder_step {
    cm3_decoder_kind kind;
    char *pattern, *content; /**< owned */
    size_t pattern_size, content_size;
    int32_t start, stop; /**< STRIP: how many at most */
} cm3_decoder_step;

/** Steps up to the join work on one token each and are done beforehand; those behind it on the whole text. */
typedef struct cm3_decoder {
    cm3_decoder_step *steps;
    size_t count, capacity;
    size_t joined;  /**< the first step that works on the whole */
    bool spaces;    /**< no decoder: names with a space between them */
    char *bytes;    /**< all ids, one behind another */
    size_t *begins; /**< [vocabulary + 1] */
} cm3_decoder;

/** Reads `root`'s "decoder", which may be absent. Errors: FORMAT, UNSUPPORTED naming the component, NO_MEMORY. */
cm3_status cm3_decoder_parse(const cm3_json_object *root, const char *where, cm3_decoder *decoder);
/** Works out the bytes of each id. Tokens of `normalized` are written as they are there, since so they are read. */
cm3_status cm3_decoder_prepare(cm3_context *context, const cm3_vocab *vocab, const cm3_added_set *normalized,
                               cm3_decoder *decoder);
void cm3_decoder_clear(cm3_context *context, cm3_decoder *decoder);

/** Runs the steps behind the join on a text. */
cm3_status cm3_decoder_finish(cm3_context *context, const cm3_decoder *decoder, cm3_text *text);

#endif
