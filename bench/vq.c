/* The image tokenizer: encoding and decoding of one picture, at the sizes of the published models. */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/status.h"
#include "image/vq_layers.h"
#include "models.h"

typedef struct vq_size {
    const char *name;
    cm3_vq_config config;
} vq_size;

static const vq_size sizes[] = {
    {"chameleon-512",
     {.resolution = 512,
      .in_channels = 3,
      .out_channels = 3,
      .base_channels = 128,
      .levels = 5,
      .channel_multiplier = {1, 1, 2, 2, 4},
      .num_res_blocks = 2,
      .mid_attention = true,
      .latent_channels = 256,
      .embed_dim = 256,
      .num_embeddings = 8192,
      .norm_groups = 32,
      .patch_size = 1}},
    {"f8-256",
     {.resolution = 256,
      .in_channels = 3,
      .out_channels = 3,
      .base_channels = 128,
      .levels = 4,
      .channel_multiplier = {1, 2, 2, 4},
      .num_res_blocks = 2,
      .mid_attention = true,
      .latent_channels = 256,
      .embed_dim = 256,
      .num_embeddings = 8192,
      .norm_groups = 32,
      .patch_size = 1}},
};

typedef struct coding {
    const cm3_vq *vq;
    cm3_graph *graph;
    const float *pixels; /**< of the picture to be encoded */
    int32_t *codes;
    cm3_tensor *picture; /**< what was decoded last, in the graph */
} coding;

/** Positions that a convolution is computed at: of its level, and of the next where it is behind a resampling. */
static double positions(const cm3_vq_config *config, const char *name, bool decoder) {
    int level = 0, last = config->levels - 1;
    const char *place = strstr(name, decoder ? ".up." : ".down.");
    bool resampled = strstr(name, ".upsample.") || strstr(name, ".downsample.");
    if (place) {
        sscanf(place + (decoder ? 4 : 6), "%d", &level);
        level += resampled ? (decoder ? -1 : 1) : 0;
    } else if (strcmp(name, decoder ? "decoder.conv_out.weight" : "encoder.conv_in.weight") != 0) {
        level = last;
    }
    double side = (double)config->resolution / config->patch_size / (1 << level);
    return side * side;
}

/** Multiplications and additions of all convolutions, of attention in the middle, and of the search for codes. */
static double picture_flops(const cm3_vq *vq, bool decoder) {
    const cm3_vq_config *c = &vq->config;
    const char *half = decoder ? "decoder." : "encoder.", *quant = decoder ? "post_quant_conv." : "quant_conv.";
    double flops = 0, tokens = cm3_vq_tokens(vq);
    for (size_t i = 0; i < vq->parameter_count; i++) {
        const cm3_vq_parameter *p = &vq->parameters[i];
        bool ours = !strncmp(p->name, half, strlen(half)) || !strncmp(p->name, quant, strlen(quant));
        if (ours && p->tensor.rank == 4) flops += 2.0 * (double)p->tensor.count * positions(c, p->name, decoder);
    }
    double width = (double)c->base_channels * c->channel_multiplier[c->levels - 1];
    if (c->mid_attention) flops += 4 * tokens * tokens * width;
    return decoder ? flops : flops + 2 * tokens * c->embed_dim * c->num_embeddings;
}

static cm3_status encode(void *arg) {
    coding *c = arg;
    int64_t side = c->vq->config.resolution;
    cm3_graph_reset(c->graph);
    cm3_tensor *x = cm3_graph_tensor(c->graph, CM3_F32, 4, (const int64_t[]){1, side, side, 3});
    if (x) memcpy(x->data, c->pixels, (size_t)x->count * sizeof(float));
    cm3_tensor *z = cm3_vq_encode(c->graph, c->vq, x);
    if (!z) return cm3_graph_status(c->graph);
    return cm3_vq_quantise(c->graph, c->vq, cm3_f32(z), z->shape[1] * z->shape[2], CM3_VQ_NEAREST, c->codes, NULL);
}

static cm3_status decode(void *arg) {
    coding *c = arg;
    int64_t grid = cm3_vq_grid(c->vq);
    cm3_graph_reset(c->graph);
    cm3_tensor *rows = cm3_nn_embedding(c->graph, c->vq->layers->codebook, c->codes, grid * grid);
    if (!rows) return cm3_graph_status(c->graph);
    rows = cm3_nn_reshape(c->graph, rows, 4, (const int64_t[]){1, grid, grid, c->vq->config.embed_dim});
    c->picture = cm3_vq_decode(c->graph, c->vq, rows);
    return cm3_graph_status(c->graph);
}

/** The public way, whose graph lives for one picture. */
static cm3_status decode_call(void *arg) {
    coding *c = arg;
    cm3_image *image;
    cm3_status status = cm3_vq_decode_image(c->vq, c->codes, c->graph->compute, &image);
    cm3_image_destroy(image);
    return status;
}

static cm3_status measure(bench_run *run, const char *name, const char *what, bench_fn fn, double flops, coding *c) {
    bench_samples seconds;
    CM3_TRY(bench_rounds(&run->options, fn, c, &seconds));
    bench_report_begin(run->report, "vq", what);
    bench_report_text(run->report, "preset", name);
    bench_report_text(run->report, "compute", bench_compute_name(c->graph->compute));
    bench_report_integer(run->report, "threads", run->threads);
    bench_report_samples(run->report, "seconds", "s/image", &seconds);
    bench_report_number(run->report, "gflops", "GFLOP/s", flops / bench_median(&seconds) / 1e9);
    return bench_done(run);
}

/** Of two pictures in -1..1, in dB. */
static double signal_to_noise(const float *a, const float *b, size_t count) {
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        double x = fmin(fmax((double)a[i], -1), 1), y = fmin(fmax((double)b[i], -1), 1);
        sum += (x - y) * (x - y);
    }
    return 10 * log10(4 * (double)count / sum);
}

/** All of one model in one type. The f32 picture is kept in `first` and the bf16 one set against it. */
static cm3_status measure_compute(bench_run *run, const vq_size *size, cm3_compute compute, float *pixels,
                                  float *first) {
    cm3_context *context = run->context;
    bool bf16 = compute == CM3_COMPUTE_BF16;
    char path[PATH_MAX];
    CM3_TRY(bench_vq_file(run, size->name, &size->config, bf16 ? CM3_BF16 : CM3_F32, path, sizeof path));
    cm3_model *model;
    coding c = {.pixels = pixels};
    CM3_TRY(cm3_model_load(context, path, NULL, &model));
    c.vq = model->tokenizer->vq;
    int32_t tokens = cm3_vq_tokens(c.vq);
    c.codes = cm3_alloc(context, (size_t)tokens * sizeof *c.codes);
    cm3_status status = c.codes ? CM3_OK : cm3_fail_memory(context, 0, "benchmark");
    if (status == CM3_OK) status = cm3_graph_create(context, &(cm3_graph_options){.compute = compute}, &c.graph);
    if (status == CM3_OK) status = measure(run, size->name, "encode", encode, picture_flops(c.vq, false), &c);
    for (int32_t i = 0; status == CM3_OK && i < tokens; i++) c.codes[i] = i * 31 % c.vq->config.num_embeddings;
    double flops = picture_flops(c.vq, true);
    if (status == CM3_OK) status = measure(run, size->name, "decode", decode, flops, &c);
    if (status == CM3_OK && !bf16) memcpy(first, c.picture->data, (size_t)c.picture->count * sizeof(float));
    if (status == CM3_OK && bf16) {
        bench_report_begin(run->report, "vq", "bf16_against_f32");
        bench_report_text(run->report, "preset", size->name);
        bench_report_number(run->report, "psnr", "dB",
                            signal_to_noise(first, cm3_f32(c.picture), (size_t)c.picture->count));
        status = bench_done(run);
    }
    if (status == CM3_OK) status = measure(run, size->name, "decode_call", decode_call, flops, &c);
    cm3_graph_destroy(c.graph);
    cm3_free(context, c.codes);
    cm3_model_destroy(model);
    return status;
}

cm3_status bench_vq(bench_run *run) {
    size_t count = run->options.quick ? 1 : sizeof sizes / sizeof *sizes;
    for (size_t i = 0; i < count; i++) {
        const vq_size *size = &sizes[sizeof sizes / sizeof *sizes - 1 - i]; /* the small one first */
        size_t numbers = (size_t)size->config.resolution * (size_t)size->config.resolution * 3;
        float *pixels = cm3_alloc(run->context, 2 * numbers * sizeof *pixels);
        if (!pixels) return cm3_fail_memory(run->context, 2 * numbers * sizeof *pixels, "benchmark");
        uint32_t seed = 1;
        bench_fill(pixels, CM3_F32, numbers, 1, &seed);
        cm3_status status = measure_compute(run, size, CM3_COMPUTE_F32, pixels, pixels + numbers);
        if (status == CM3_OK) status = measure_compute(run, size, CM3_COMPUTE_BF16, pixels, pixels + numbers);
        cm3_free(run->context, pixels);
        CM3_TRY(status);
    }
    return CM3_OK;
}
