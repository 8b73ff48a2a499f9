/*
 * The image tokenizer: a VQGAN encoder, quantiser and decoder by configuration (Esser et al. 2021; the names and the
 * order of operations are those of taming-transformers, as in Chameleon's checkpoints).
 */
#ifndef CM3_IMAGE_VQ_H
#define CM3_IMAGE_VQ_H

#include "base/random.h"
#include "cm3leon/image.h"
#include "files/weights.h"
#include "image/preprocess.h"
#include "nn/ops.h"

#define CM3_VQ_MAX_LEVELS 8

typedef struct cm3_vq_config {
    int32_t resolution, in_channels, out_channels;
    int32_t base_channels, levels;
    int32_t channel_multiplier[CM3_VQ_MAX_LEVELS];
    int32_t num_res_blocks;
    int32_t attn_resolutions[CM3_VQ_MAX_LEVELS], attn_count; /**< levels of this resolution attend after each block */
    bool mid_attention;                                      /**< attn_type "vanilla"; "none" leaves mid.attn_1 out */
    int32_t latent_channels;                                 /**< z_channels */
    int32_t embed_dim, num_embeddings;
    int32_t norm_groups; /**< 32 in the published models */
    /** Squares of this side become channels before the encoder, and pixels again behind the decoder; 1 in the published
     * models. */
    int32_t patch_size;
    /**
     * The encoder's blocks see one position each: 1 x 1 convolutions, norms over its channels, no attention;
     * surroundings come from conv_in and the downsampling alone. A flat area then has one code in every picture, which
     * leaves a language model nothing to guess. false in the published models.
     */
    bool local_encoder;
} cm3_vq_config;

/** Reads HF's vq_config spelling; absent fields take the published defaults. Errors: FORMAT, UNSUPPORTED
 * (double_latent). */
cm3_status cm3_vq_config_parse(const cm3_json_object *object, cm3_vq_config *config);
cm3_status cm3_vq_config_format(cm3_context *context, const cm3_vq_config *config, json_t **value);
/** INVALID_ARGUMENT with the field where one does not fit the others. */
cm3_status cm3_vq_config_check(cm3_context *context, const cm3_vq_config *config);

/** A parameter and its name in taming's spelling, without a prefix: "encoder.conv_in.weight",
 * "quantize.embedding.weight". */
typedef struct cm3_vq_parameter {
    char *name;
    cm3_tensor tensor; /**< convolutions OIHW */
    bool present;      /**< false: a tensor of the decoder, or costs of codes, that the file does not hold */
} cm3_vq_parameter;

/**
 * The tensor of what codes cost, [num_embeddings] f32: -weight log p of a code's share p in training data, added to
 * squared distances (entropy-constrained quantisation, Chou, Lookabaugh and Gray 1989). Of two codes for all but the
 * same patch the usual one is taken, so that a picture that was compressed or drawn has the codes of a clean one.
 * Published tokenizers have none.
 */
#define CM3_VQ_COST "quantize.cost"

/** Which code a patch gets. */
typedef enum cm3_vq_choice {
    CM3_VQ_USUAL,  /**< by distance and cost: of pictures that a model is asked about or trained on */
    CM3_VQ_NEAREST /**< by distance alone: of pictures that are kept to be copied, whose rare patches matter */
} cm3_vq_choice;

typedef struct cm3_vq {
    cm3_context *context;
    cm3_vq_config config;
    cm3_vq_parameter *parameters; /**< in file order */
    size_t parameter_count;
    struct cm3_vq_layers *layers; /**< which parameter is what; see vq.c */
    bool has_decoder;
    void *storage;         /**< data it owns, beside what lies in a mapped file */
    float *codebook_norms; /**< [num_embeddings] |e|^2; NULL while training */
    float *cost_norms;     /**< behind it: the same and what the code costs; NULL without costs */
} cm3_vq;

/** Fresh f32 weights: convolutions as PyTorch draws them (kaiming uniform, a = sqrt 5), norms 1 and 0, codebook uniform
 * in +-1/K. */
cm3_status cm3_vq_create_random(cm3_context *context, const cm3_vq_config *config, uint64_t seed, cm3_vq **vq);
/**
 * From tensors named prefix + name. Convolutions stay where they lie (f32, bf16); vectors and the codebook become f32
 * copies. `copy`: everything f32 of its own. Decoder tensors may be missing together. Errors: FORMAT naming the tensor,
 * NO_MEMORY.
 */
cm3_status cm3_vq_load(cm3_context *context, const cm3_vq_config *config, const cm3_weights *weights,
                       const char *prefix, bool copy, bool check_weights, cm3_vq **vq);
void cm3_vq_destroy(cm3_vq *vq);
/** All tensors' data lie elsewhere now: gives back the memory where they lay. */
void cm3_vq_forget_storage(cm3_vq *vq);
/** NULL where there is none of that name. */
cm3_tensor *cm3_vq_find(const cm3_vq *vq, const char *name);

/** Downsampling factor (pixels a token's side covers), tokens a side at the configured resolution, tokens a picture. */
int32_t cm3_vq_cell(const cm3_vq *vq);
int32_t cm3_vq_grid(const cm3_vq *vq);
int32_t cm3_vq_tokens(const cm3_vq *vq);
/** XXH3-64 of the codebook's f32 values: tells codes of one tokenizer from those of another. */
uint64_t cm3_vq_fingerprint(const cm3_vq *vq);

/* --- on a graph (compute thread) ---------------------------------------------------------------------------------- */

/** x [n, h, w, 3] in -1..1 to latents before quantisation [n, h/f, w/f, embed_dim], quant_conv included. */
cm3_tensor *cm3_vq_encode(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *x);
/** Latents [n, h, w, embed_dim] (rows of the codebook, or with a gradient) to pixels [n, h*f, w*f, out_channels]. */
cm3_tensor *cm3_vq_decode(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *z);
/** The same in its two parts: what the decoder's last norm and convolution get, and these. */
cm3_tensor *cm3_vq_decode_features(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *z);
cm3_tensor *cm3_vq_decode_pixels(cm3_graph *graph, const cm3_vq *vq, cm3_tensor *features);
/**
 * The nearest row of the codebook for each of `count` latents [count, embed_dim]: |z|^2 + |e|^2 - 2 z e in f32, and
 * what the code costs where `choice` and the tokenizer (CM3_VQ_COST) say so, the first on ties. `rows` (may be NULL,
 * [count, embed_dim]) gets the rows.
 */
cm3_status cm3_vq_quantise(cm3_graph *graph, const cm3_vq *vq, const float *z, int64_t count, cm3_vq_choice choice,
                           int32_t *codes, float *rows);

/** Rows of tokens above a part of a picture that are decoded with it, so that its edge fits. The demo model's previews
 * of three rows each are 26.9 dB from the finished picture without any, 31.0, 31.6, 31.7 with 1, 2, 3; 31.7 where all
 * rows so far are decoded anew. */
#define CM3_VQ_MARGIN 1

/* --- whole pictures (any thread: the work is handed to the compute thread) ---------------------------------------- */

/** Any picture, resized and cropped as cm3_tokenizer_encode_image() says, or, with `preprocessing`, as Hugging Face
 * does: codes [tokens], in f32. */
cm3_status cm3_vq_encode_image(const cm3_vq *vq, const cm3_image *image, const cm3_hf_preprocessing *preprocessing,
                               cm3_vq_choice choice, int32_t *codes);
/** Codes [tokens] to a picture. UNSUPPORTED without a decoder. compute AUTO is F32. */
cm3_status cm3_vq_decode_image(const cm3_vq *vq, const int32_t *codes, cm3_compute compute, cm3_image **image);
/** The first `rows` rows of tokens only; what is missing is black. */
cm3_status cm3_vq_decode_rows(const cm3_vq *vq, const int32_t *codes, int32_t rows, cm3_compute compute,
                              cm3_image **image);
/**
 * The same on the compute thread, in a graph of the caller's, which is reset first and keeps its primitives. Where
 * `before` (may be NULL), a picture of this tokenizer, shows the first `known` rows already, theirs stay as they are
 * there and only the others are decoded, with CM3_VQ_MARGIN rows above them.
 */
cm3_status cm3_vq_decode_rows_in(cm3_graph *graph, const cm3_vq *vq, const int32_t *codes, int32_t rows, int32_t known,
                                 const cm3_image *before, cm3_image **image);
/** Runs what a decode (of so many rows of tokens) or an encode of a whole picture does in a measuring graph. */
cm3_status cm3_vq_measure_rows(const cm3_vq *vq, int32_t rows, cm3_graph *measuring);
cm3_status cm3_vq_measure_decode(const cm3_vq *vq, cm3_graph *measuring);
cm3_status cm3_vq_measure_encode(const cm3_vq *vq, cm3_graph *measuring);

#endif
