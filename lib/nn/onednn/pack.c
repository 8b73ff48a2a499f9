/*
 * Weights of convolutions into the blocks that oneDNN's kernels read. Its own reorder takes as long for them as a
 * seventh of the convolutions of a small picture; and bf16 would have to be widened before.
 */
#include "nn/onednn/pack.h"

#include "base/parallel.h"

int32_t cm3_dnn_block(cm3_md_ref wanted, const cm3_conv_shape *s) {
    static const struct {
        int32_t side;
        dnnl_format_tag_t tag;
    } known[] = {{8, dnnl_ABcd8b8a}, {16, dnnl_ABcd16b16a}};
    dnnl_dims_t dims = {s->cout, s->cin, s->kh, s->kw};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        cm3_md md;
        if (s->cin % known[i].side || s->cout % known[i].side) continue;
        if (cm3_md_make_tag(&md, 4, dims, dnnl_f32, known[i].tag) != dnnl_success) continue;
        bool same = dnnl_memory_desc_equal(cm3_md_get(&md), wanted);
        cm3_md_clear(&md);
        if (same) return known[i].side;
    }
    return 0;
}

typedef struct cm3_packing {
    const void *from;
    cm3_dtype dtype;
    float *to;
    int64_t cin, window;
    int32_t block;
} cm3_packing;

/** One block of either channel, [block out][..][window] with `row` values between outs, as [window][in][out]. */
static inline void pack_floats(float *to, const float *from, int64_t row, int64_t window, const int64_t block) {
    for (int64_t o = 0; o < block; o++) {
        for (int64_t i = 0; i < block; i++) {
            for (int64_t k = 0; k < window; k++) to[(k * block + i) * block + o] = from[o * row + i * window + k];
        }
    }
}

static inline void pack_halves(float *to, const uint16_t *from, int64_t row, int64_t window, const int64_t block) {
    for (int64_t o = 0; o < block; o++) {
        for (int64_t i = 0; i < block; i++) {
            for (int64_t k = 0; k < window; k++)
                to[(k * block + i) * block + o] = cm3_bf16_to_f32(from[o * row + i * window + k]);
        }
    }
}

/** Rows of blocks of output channels. */
static void pack_rows(void *arg, int64_t begin, int64_t end, int member) {
    (void)member;
    const cm3_packing *p = arg;
    const int64_t block = p->block, row = p->cin * p->window, area = block * block * p->window;
    for (int64_t item = begin * (p->cin / block); item < end * (p->cin / block); item++) {
        const int64_t out = item / (p->cin / block), in = item % (p->cin / block);
        const int64_t at = out * block * row + in * block * p->window;
        float *to = p->to + item * area;
        if (p->dtype == CM3_F32 && block == 8) pack_floats(to, (const float *)p->from + at, row, p->window, 8);
        if (p->dtype == CM3_F32 && block == 16) pack_floats(to, (const float *)p->from + at, row, p->window, 16);
        if (p->dtype == CM3_BF16 && block == 8) pack_halves(to, (const uint16_t *)p->from + at, row, p->window, 8);
        if (p->dtype == CM3_BF16 && block == 16) pack_halves(to, (const uint16_t *)p->from + at, row, p->window, 16);
    }
}

void cm3_dnn_pack(cm3_team *team, const cm3_conv_shape *s, const void *weights, cm3_dtype dtype, int32_t block,
                  float *packed) {
    cm3_packing p = {
        .from = weights, .dtype = dtype, .to = packed, .cin = s->cin, .window = s->kh * s->kw, .block = block};
    cm3_parallel_for(team, s->cout / block, 1, pack_rows, &p);
}
