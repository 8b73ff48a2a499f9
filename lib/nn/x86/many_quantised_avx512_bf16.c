/*
 * Many rows times a matrix of integers for AVX-512 with VNNI. Weight rows are taken 32 at a time and rearranged so that
 * a vector holds four columns of 16 of them; six rows of activations, four of their columns spread over a vector, meet
 * two such vectors at a time. A block's products are summed as integers, whose sums the scales of the block multiply.
 */
#include "nn/x86/vector_avx512.h"
#include "nn/x86/x86.h"

#define GROUP CM3_MANY_COLUMNS
#define VECTORS (GROUP / VEC_WIDTH)
#define ROWS 6

/** Weight rows as the products want them: per block, block / 4 steps of VECTORS vectors of bytes without a sign. */
typedef struct many_panel {
    uint8_t *bytes;
    float *scales, *offsets; /**< [blocks, GROUP] */
} many_panel;

/** Lane by lane, sum += w x over four bytes. Not the intrinsic: gcc 12 copies each sum there and back around it. */
VEC_INLINE void add_products(__m512i *sum, __m512i w, __m512i x) {
    __asm__("vpdpbusd %2, %1, %0" : "+v"(*sum) : "v"(w), "v"(x));
}

/** 16 vectors of 16 lanes, turned round. */
VEC_INLINE void turn(__m512i v[16]) {
    __m512i t[16];
    VEC_UNROLL
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_epi32(v[i], v[i + 1]);
        t[i + 1] = _mm512_unpackhi_epi32(v[i], v[i + 1]);
    }
    VEC_UNROLL
    for (int i = 0; i < 16; i += 4) {
        v[i] = _mm512_unpacklo_epi64(t[i], t[i + 2]);
        v[i + 1] = _mm512_unpackhi_epi64(t[i], t[i + 2]);
        v[i + 2] = _mm512_unpacklo_epi64(t[i + 1], t[i + 3]);
        v[i + 3] = _mm512_unpackhi_epi64(t[i + 1], t[i + 3]);
    }
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        t[i] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(v[i], v[i + 4], 0xdd);
        t[i + 8] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0x88);
        t[i + 12] = _mm512_shuffle_i32x4(v[i + 8], v[i + 12], 0xdd);
    }
    VEC_UNROLL
    for (int i = 0; i < 4; i++) {
        v[i] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0x88);
        v[i + 4] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0x88);
        v[i + 8] = _mm512_shuffle_i32x4(t[i], t[i + 8], 0xdd);
        v[i + 12] = _mm512_shuffle_i32x4(t[i + 4], t[i + 12], 0xdd);
    }
}

/** The f16 numbers of 16 rows' blocks, `stride` from row to row, as f32 and turned round; rows that are not there: 0.
 */
static void spread_numbers(float *to, const uint16_t *from, int64_t stride, int64_t rows, float times) {
    for (int64_t first = 0; first < stride; first += VEC_WIDTH) {
        int64_t count = stride - first < VEC_WIDTH ? stride - first : VEC_WIDTH;
        __mmask16 part = (__mmask16)((1u << count) - 1);
        __m512i v[16];
        VEC_UNROLL
        for (int i = 0; i < 16; i++) {
            __m256i halves = _mm256_maskz_loadu_epi16(i < rows ? part : 0, from + i * stride + first);
            v[i] = _mm512_castps_si512(_mm512_mul_ps(_mm512_cvtph_ps(halves), _mm512_set1_ps(times)));
        }
        turn(v);
        for (int64_t i = 0; i < count; i++) _mm512_storeu_si512(to + (first + i) * GROUP, v[i]);
    }
}

/** The bytes of 16 rows: 64 of each at a time are 16 steps of products, or 16 low and 16 high ones. */
static void spread_bytes(uint8_t *to, const uint8_t *from, int64_t line, int64_t width, bool nibbles, int64_t rows) {
    const int64_t steps = width / 4, vectors = 64 * VECTORS; /* bytes of a step, of all vectors */
    const __m512i low = _mm512_set1_epi8(15), sign = _mm512_set1_epi8((char)0x80);
    for (int64_t first = 0; first < line; first += 64) {
        int64_t count = line - first < 64 ? line - first : 64;
        __mmask64 part = count < 64 ? (1ull << count) - 1 : ~0ull;
        __m512i v[16];
        VEC_UNROLL
        for (int i = 0; i < 16; i++) v[i] = _mm512_maskz_loadu_epi8(i < rows ? part : 0, from + i * line + first);
        turn(v);
        VEC_UNROLL
        for (int i = 0; i < 16; i++) {
            int64_t step = first / 4 + i;
            if (step * 4 >= line) break;
            if (nibbles) {
                uint8_t *at = to + (step / steps * 2 * steps + step % steps) * vectors;
                _mm512_storeu_si512(at, _mm512_and_si512(v[i], low));
                _mm512_storeu_si512(at + steps * vectors, _mm512_and_si512(_mm512_srli_epi16(v[i], 4), low));
            } else {
                _mm512_storeu_si512(to + step * vectors, _mm512_xor_si512(v[i], sign));
            }
        }
    }
}

/** Rows n..n + count - 1 of the matrix. */
static void fill_panel(const many_panel *panel, const cm3_quantised *w, int64_t n, int64_t count) {
    const bool nibbles = w->dtype == CM3_U4;
    const int64_t line = nibbles ? w->k / 2 : w->k, width = nibbles ? w->block / 2 : w->block, blocks = w->k / w->block;
    for (int64_t v = 0; v < VECTORS; v++) {
        const int64_t row = n + v * VEC_WIDTH, rows = count - v * VEC_WIDTH;
        spread_bytes(panel->bytes + v * 64, w->values + row * line, line, width, nibbles, rows);
        spread_numbers(panel->scales + v * VEC_WIDTH, w->scales + row * blocks, blocks, rows, 1.0f);
        /* bytes with a sign have got 128 added */
        spread_numbers(panel->offsets + v * VEC_WIDTH, (nibbles ? w->mins : w->scales) + row * blocks, blocks, rows,
                       nibbles ? 1.0f : -128.0f);
    }
}

VEC_INLINE void store_row(const cm3_many_rows *args, int64_t row, int64_t n, int64_t count, vec sum) {
    float *y = args->y + row * args->ldy + n;
    if (count >= VEC_WIDTH) {
        if (args->bias) sum = vec_add(sum, vec_load(args->bias + n));
        vec_store(y, args->accumulate ? vec_add(sum, vec_load(y)) : sum);
    } else if (count > 0) {
        if (args->bias) sum = vec_add(sum, vec_load_part(args->bias + n, count));
        vec_store_part(y, args->accumulate ? vec_add(sum, vec_load_part(y, count)) : sum, count);
    }
}

/** Rows row.. by one panel; nibbles and rows are constants where it is called. */
VEC_INLINE void many_tile(const cm3_many_rows *args, const many_panel *panel, int64_t row, int64_t n, int64_t count,
                          bool nibbles, int rows) {
    const cm3_quantised_rows *x = args->x;
    const int64_t k = x->k, blocks = k / x->block, width = nibbles ? x->block / 2 : x->block;
    const uint8_t *w = panel->bytes;
    vec sums[ROWS][VECTORS];
    VEC_UNROLL
    for (int r = 0; r < rows; r++) {
        VEC_UNROLL
        for (int v = 0; v < VECTORS; v++) sums[r][v] = vec_zero();
    }
    for (int64_t block = 0; block < blocks; block++) {
        __m512i whole[ROWS][VECTORS];
        VEC_UNROLL
        for (int r = 0; r < rows; r++) {
            VEC_UNROLL
            for (int v = 0; v < VECTORS; v++) whole[r][v] = _mm512_setzero_si512();
        }
        for (int half = 0; half < (nibbles ? 2 : 1); half++) {
            const int8_t *values = x->values + row * k + half * (k / 2) + block * width;
            for (int64_t i = 0; i < width; i += 4, w += 64 * VECTORS) {
                __m512i own[VECTORS];
                VEC_UNROLL
                for (int v = 0; v < VECTORS; v++) own[v] = _mm512_loadu_si512(w + 64 * v);
                VEC_UNROLL
                for (int r = 0; r < rows; r++) {
                    int32_t four;
                    memcpy(&four, values + r * k + i, sizeof four);
                    __m512i all = _mm512_set1_epi32(four);
                    VEC_UNROLL
                    for (int v = 0; v < VECTORS; v++) add_products(&whole[r][v], own[v], all);
                }
            }
        }
        vec scales[VECTORS], offsets[VECTORS];
        VEC_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            scales[v] = vec_load(panel->scales + block * GROUP + v * VEC_WIDTH);
            offsets[v] = vec_load(panel->offsets + block * GROUP + v * VEC_WIDTH);
        }
        VEC_UNROLL
        for (int r = 0; r < rows; r++) {
            vec scale = vec_all(x->scales[(row + r) * blocks + block]),
                sum = vec_all(x->sums[(row + r) * blocks + block]);
            VEC_UNROLL
            for (int v = 0; v < VECTORS; v++) {
                sums[r][v] = vec_fma(vec_mul(_mm512_cvtepi32_ps(whole[r][v]), scale), scales[v], sums[r][v]);
                sums[r][v] = vec_fma(offsets[v], sum, sums[r][v]);
            }
        }
    }
    VEC_UNROLL
    for (int r = 0; r < rows; r++) {
        VEC_UNROLL
        for (int v = 0; v < VECTORS; v++) {
            store_row(args, row + r, n + v * VEC_WIDTH, count - v * VEC_WIDTH, sums[r][v]);
        }
    }
}

VEC_INLINE void many_panel_rows(const cm3_many_rows *args, const many_panel *panel, int64_t n, int64_t count,
                                bool nibbles) {
    int64_t row = 0;
    for (; row + ROWS <= args->rows; row += ROWS) many_tile(args, panel, row, n, count, nibbles, ROWS);
    if (row + 4 <= args->rows) many_tile(args, panel, row, n, count, nibbles, 4), row += 4;
    if (row + 2 <= args->rows) many_tile(args, panel, row, n, count, nibbles, 2), row += 2;
    if (row < args->rows) many_tile(args, panel, row, n, count, nibbles, 1);
}

static void many_rows_quantised(const cm3_many_rows *args, int64_t n_begin, int64_t n_end, void *scratch) {
    const int64_t k = args->w->k, blocks = k / args->w->block;
    many_panel panel = {.bytes = scratch};
    panel.scales = (float *)(panel.bytes + k * GROUP);
    panel.offsets = panel.scales + blocks * GROUP;
    for (int64_t n = n_begin; n < n_end; n += GROUP) {
        int64_t count = n_end - n < GROUP ? n_end - n : GROUP;
        fill_panel(&panel, args->w, n, count);
        if (args->w->dtype == CM3_U4) {
            many_panel_rows(args, &panel, n, count, true);
        } else {
            many_panel_rows(args, &panel, n, count, false);
        }
    }
}

void cm3_avx512_bf16_many_quantised(cm3_kernels *kernels) {
    kernels->many_rows_quantised = many_rows_quantised;
}
