/* What a model is made of, whichever format it came in: the readers fill it, cm3_model_load() builds the model. */
#ifndef CM3_MODEL_SOURCE_H
#define CM3_MODEL_SOURCE_H

#include "files/weights.h"
#include "image/preprocess.h"
#include "image/vq.h"
#include "model/clip.h"
#include "model/lm_config.h"
#include "text/bpe.h"
#include "text/special.h"

/** Memory that reading and making would take if it were not only looked at. */
typedef struct cm3_load_sizes {
    uint64_t copied; /**< of files, with CM3_LOAD_HUGE */
    uint64_t made;   /**< of tensors that are put together from pieces */
} cm3_load_sizes;

typedef struct cm3_source {
    cm3_context *context;
    const cm3_load_options *options;
    cm3_load_sizes *sizes; /**< NULL: files are copied where the options say so; else that is only counted */
    /* What a reader leaves here is let go by cm3_source_clear(), also where the reader failed. */
    cm3_weights *weights; /**< sealed; names begin with "lm." or "vq." */
    bool has_lm, has_vq, has_clip, has_special;
    cm3_lm_config lm;
    cm3_vq_config vq;
    cm3_clip_config clip;
    cm3_bpe *bpe;                       /**< NULL: no text tokenizer */
    cm3_special_tokens special;         /**< roles -1 and empty lists without has_special */
    char *config_json;                  /**< in the spelling of `.cm3` files */
    cm3_hf_preprocessing preprocessing; /**< of the image tokenizer; shortest_edge 0: Meta's way */
    bool exact;                         /**< a tensor that the configuration does not name is an error */
} cm3_source;

/** Reads a `.cm3` file. Holds the file itself. */
cm3_status cm3_source_read_file(cm3_source *source, cm3_file *file);
/** Reads a folder in Hugging Face's layout: config.json, safetensors, tokenizer.json. */
cm3_status cm3_source_read_folder(cm3_source *source, const char *folder);
/** Reads whatever is at `path` into a source with nothing in it. To be cleared also where this fails. */
cm3_status cm3_source_read(cm3_source *source, const char *path);
/** A source with nothing in it yet. */
cm3_source cm3_source_of(cm3_context *context, const cm3_load_options *options);
void cm3_source_clear(cm3_source *source);

/** The file as the options say: itself, or a copy in huge pages. Takes it over, also on failure. */
cm3_status cm3_source_place(const cm3_source *source, cm3_file *file, cm3_file **placed);
/** Opens a safetensors file as the options say (mapped, or copied into huge pages); takes the file over. */
cm3_status cm3_source_open(const cm3_source *source, cm3_file *file, cm3_safetensors **tensors);

/** The configuration of these parts (any may be NULL) as JSON text of cm3_alloc(). `preprocessing` is the image
 * tokenizer's. */
cm3_status cm3_config_format(cm3_context *context, const cm3_lm_config *lm, const cm3_vq_config *vq,
                             const cm3_hf_preprocessing *preprocessing, const cm3_clip_config *clip,
                             const cm3_special_tokens *special, char **text);

#endif
