/*
 * Weights of convolutions into the blocks that oneDNN's kernels read. Its own reorder takes as long for them as a
 * seventh of the convolutions of a small picture; and bf16 would have to be widened before.
 */
#include "nn/onednn/pack.h"

#include <string.h>

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

typedef float cm3_four __attribute__((vector_size(16)));
typedef uint32_t cm3_four_bits __attribute__((vector_size(16)));
typedef uint16_t cm3_four_halves __attribute__((vector_size(8)));

static inline cm3_four load(const void *from, int64_t at, bool halves) {
    cm3_four four;
    if (halves) {
        cm3_four_halves narrow;
        memcpy(&narrow, (const uint16_t *)from + at, sizeof narrow);
        const cm3_four_bits bits = __builtin_convertvector(narrow, cm3_four_bits) << 16;
        memcpy(&four, &bits, sizeof four);
    } else {
        memcpy(&four, (const float *)from + at, sizeof four);
    }
    return four;
}

/** Columns of four rows: [4][4] turned round. */
static inline void turn(cm3_four rows[4]) {
    const cm3_four a = __builtin_shufflevector(rows[0], rows[1], 0, 4, 1, 5);
    const cm3_four b = __builtin_shufflevector(rows[0], rows[1], 2, 6, 3, 7);
    const cm3_four c = __builtin_shufflevector(rows[2], rows[3], 0, 4, 1, 5);
    const cm3_four d = __builtin_shufflevector(rows[2], rows[3], 2, 6, 3, 7);
    rows[0] = __builtin_shufflevector(a, c, 0, 1, 4, 5);
    rows[1] = __builtin_shufflevector(a, c, 2, 3, 6, 7);
    rows[2] = __builtin_shufflevector(b, d, 0, 1, 4, 5);
    rows[3] = __builtin_shufflevector(b, d, 2, 3, 6, 7);
}

/** One block of either channel, [out][in][window] from `at` on, `row` values between outs, as [window][in][out]. */
static inline void pack_block(float *to, const void *from, int64_t at, int64_t row, int64_t window, int64_t block,
                              bool halves) {
    for (int64_t out = 0; out < block; out += 4, at += 4 * row) {
        int64_t in = 0, place = 0; /* of the column: block * window is divisible by four, window is not */
        for (int64_t column = 0; column < block * window; column += 4) {
            cm3_four four[4];
            for (int i = 0; i < 4; i++) four[i] = load(from, at + i * row + column, halves);
            turn(four);
            for (int i = 0; i < 4; i++) {
                memcpy(to + (place * block + in) * block + out, &four[i], sizeof four[i]);
                if (++place == window) place = 0, in++;
            }
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
        pack_block(p->to + item * area, p->from, at, row, p->window, block, p->dtype == CM3_BF16);
    }
}

void cm3_dnn_pack(cm3_team *team, const cm3_conv_shape *s, const void *weights, cm3_dtype dtype, int32_t block,
                  float *packed) {
    cm3_packing p = {
        .from = weights, .dtype = dtype, .to = packed, .cin = s->cin, .window = s->kh * s->kw, .block = block};
    cm3_parallel_for(team, s->cout / block, 1, pack_rows, &p);
}
