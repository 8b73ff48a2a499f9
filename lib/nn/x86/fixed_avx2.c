/*
 * Products in fixed point for AVX2: a multiplication of 16-bit integers does twice as many products as one of f32.
 * Eight rows lie interleaved, [width / 2][8][2], so that their sums grow beside each other; rows of the matrix are
 * packed sixteen at a time, which stay in the first cache for all rows of x, and while these are computed what is
 * packed next is fetched.
 */
#include <stdbool.h>

#include "nn/x86/vector_avx2.h"
#include "nn/x86/x86.h"

#define FIXED_GROUPS 2 /* of eight rows of the matrix, and */
#define FIXED_TILE 4   /* rows of x whose sums the registers hold */
#define FIXED_BLOCK ((int64_t)FIXED_GROUPS * CM3_FIXED_ROWS)
_Static_assert(FIXED_BLOCK == CM3_FIXED_BLOCK, "the scratch is as large as a block");
#define FIXED_LINE 64
/* Unrolled, the compiler would put the additions of many steps in another order, which the registers do not hold. */
#ifdef __clang__
#define FIXED_ROLLED _Pragma("clang loop unroll(disable)")
#else
#define FIXED_ROLLED _Pragma("GCC unroll 1")
#endif

/** 16 numbers of bf16, times 2^15. A power of two is added to their exponents: what it wraps was far too large. */
VEC_INLINE __m256i fixed_from_bf16(__m256i values) {
    const __m256i zero = _mm256_setzero_si256(), up = _mm256_add_epi16(values, _mm256_set1_epi16(15 << 7));
    const __m256i low = _mm256_cvtps_epi32(_mm256_castsi256_ps(_mm256_unpacklo_epi16(zero, up)));
    const __m256i high = _mm256_cvtps_epi32(_mm256_castsi256_ps(_mm256_unpackhi_epi16(zero, up)));
    return _mm256_packs_epi32(low, high);
}

/** Eight numbers of f32 of two rows. */
VEC_INLINE __m256i fixed_from_f32(const float *first, const float *second) {
    const __m256 scale = _mm256_set1_ps(32768.0f);
    const __m256i a = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(first), scale));
    const __m256i b = _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_loadu_ps(second), scale));
    /* The halves of both rows go where those of one belong. */
    return _mm256_packs_epi32(_mm256_permute2x128_si256(a, b, 0x20), _mm256_permute2x128_si256(a, b, 0x31));
}

/** Four pairs each of rows 0..3 (and 4..7, the upper halves) become four vectors of eight rows. */
VEC_INLINE void fixed_store(int16_t *to, const __m256i rows[4]) {
    const __m256i a = _mm256_unpacklo_epi32(rows[0], rows[1]), b = _mm256_unpackhi_epi32(rows[0], rows[1]);
    const __m256i c = _mm256_unpacklo_epi32(rows[2], rows[3]), d = _mm256_unpackhi_epi32(rows[2], rows[3]);
    _mm256_storeu_si256((void *)to, _mm256_unpacklo_epi64(a, c));
    _mm256_storeu_si256((void *)(to + 16), _mm256_unpackhi_epi64(a, c));
    _mm256_storeu_si256((void *)(to + 32), _mm256_unpacklo_epi64(b, d));
    _mm256_storeu_si256((void *)(to + 48), _mm256_unpackhi_epi64(b, d));
}

/** Eight numbers from column i on of eight rows. */
VEC_INLINE void fixed_eight_bf16(int16_t *to, const uint16_t *const from[CM3_FIXED_ROWS], int64_t i) {
    __m256i rows[4];
    VEC_UNROLL
    for (int r = 0; r < 4; r++) {
        const __m128i low = _mm_loadu_si128((const void *)(from[r] + i));
        const __m128i high = _mm_loadu_si128((const void *)(from[r + 4] + i));
        rows[r] = fixed_from_bf16(_mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1));
    }
    fixed_store(to, rows);
}

VEC_INLINE void fixed_eight_f32(int16_t *to, const float *const from[CM3_FIXED_ROWS], int64_t i) {
    __m256i rows[4];
    VEC_UNROLL
    for (int r = 0; r < 4; r++) rows[r] = fixed_from_f32(from[r] + i, from[r + 4] + i);
    fixed_store(to, rows);
}

/** Up to eight rows; where there are fewer the last one is there again. */
VEC_INLINE void fix_group(int16_t *to, const void *from, bool bf16, int64_t rows, int64_t k) {
    const int64_t size = bf16 ? 2 : 4, width = cm3_fixed_width(k), whole = k / 8 * 8;
    uint8_t rest[CM3_FIXED_ROWS][32] = {{0}};
    const void *at[CM3_FIXED_ROWS], *ends[CM3_FIXED_ROWS];
    for (int64_t r = 0; r < CM3_FIXED_ROWS; r++) {
        at[r] = (const char *)from + (r < rows ? r : rows - 1) * k * size;
        memcpy(rest[r], (const char *)at[r] + whole * size, (size_t)((k - whole) * size));
        ends[r] = rest[r];
    }
    for (int64_t i = 0; i < width; i += 8) {
        const void *const *values = i < whole ? at : ends;
        const int64_t column = i < whole ? i : 0;
        if (i > whole) memset(rest, 0, sizeof rest); /* the end of the last sixteen */
        if (bf16)
            fixed_eight_bf16(to + i * CM3_FIXED_ROWS, (const uint16_t *const *)values, column);
        else
            fixed_eight_f32(to + i * CM3_FIXED_ROWS, (const float *const *)values, column);
    }
}

static void fix_rows(int16_t *to, const float *from, int64_t rows, int64_t k) {
    for (int64_t r = 0; r < rows; r += CM3_FIXED_ROWS) {
        fix_group(to + r * cm3_fixed_width(k), from + r * k, false, rows - r < CM3_FIXED_ROWS ? rows - r : 8, k);
    }
}

/** What is fetched meanwhile: so many lines for every eight pairs. */
typedef struct fixed_ahead {
    const char *at;
    int64_t lines;
} fixed_ahead;

/** Four rows of x by `groups` times eight rows of the matrix, a constant where it is called. */
VEC_INLINE void fixed_tile(float *y, int64_t ldy, const int16_t *x, int64_t rows, const int16_t *w, int64_t width,
                           int64_t n, fixed_ahead *ahead, int groups) {
    __m256i sums[FIXED_TILE][FIXED_GROUPS];
    VEC_UNROLL
    for (int r = 0; r < FIXED_TILE; r++) {
        VEC_UNROLL
        for (int g = 0; g < groups; g++) sums[r][g] = _mm256_setzero_si256();
    }
    for (int64_t i = 0; i < width; i += 16) {
        for (int64_t line = 0; line < ahead->lines; line++, ahead->at += FIXED_LINE) {
            _mm_prefetch(ahead->at, _MM_HINT_T1);
        }
        FIXED_ROLLED
        for (int p = 0; p < 8; p++) {
            const int16_t *pairs = x + i * CM3_FIXED_ROWS + p * 16, *values = w + i * CM3_FIXED_ROWS + p * 16;
            VEC_UNROLL
            for (int r = 0; r < FIXED_TILE; r++) {
                int32_t pair;
                memcpy(&pair, pairs + 2 * r, sizeof pair);
                const __m256i all = _mm256_set1_epi32(pair);
                VEC_UNROLL
                for (int g = 0; g < groups; g++) {
                    const __m256i row = _mm256_load_si256((const void *)(values + g * width * CM3_FIXED_ROWS));
                    sums[r][g] = _mm256_add_epi32(sums[r][g], _mm256_madd_epi16(all, row));
                }
            }
        }
    }
    VEC_UNROLL
    for (int r = 0; r < FIXED_TILE; r++) {
        if (r >= rows) break;
        VEC_UNROLL
        for (int g = 0; g < groups; g++) {
            const vec result = vec_mul(_mm256_cvtepi32_ps(sums[r][g]), vec_all(0x1p-30f));
            const int64_t at = g * CM3_FIXED_ROWS, left = n - at;
            if (left >= CM3_FIXED_ROWS)
                vec_store(y + r * ldy + at, result);
            else
                vec_store_part(y + r * ldy + at, result, left);
        }
    }
}

/** All rows of x by up to 16 packed rows of the matrix. */
VEC_INLINE void fixed_block(float *y, int64_t ldy, const int16_t *x, int64_t rows, const int16_t *w, int64_t width,
                            int64_t n, fixed_ahead ahead, int groups) {
    for (int64_t r = 0; r < rows; r += FIXED_TILE) {
        const int16_t *own = x + r / CM3_FIXED_ROWS * CM3_FIXED_ROWS * width + r % CM3_FIXED_ROWS * 2;
        fixed_tile(y + r * ldy, ldy, own, rows - r, w, width, n, &ahead, groups);
    }
}

static void fixed_products(float *y, int64_t ldy, const int16_t *x, int64_t rows, const uint16_t *w, int64_t k,
                           int64_t n, int16_t *scratch) {
    const int64_t width = cm3_fixed_width(k), tiles = (rows + FIXED_TILE - 1) / FIXED_TILE;
    /* Of the next block, over all tiles of this one. */
    const int64_t lines = FIXED_BLOCK * k * 2 / FIXED_LINE, steps = tiles * (width / 16);
    for (int64_t column = 0; column < n; column += FIXED_BLOCK) {
        const int64_t left = n - column, some = left < FIXED_BLOCK ? left : FIXED_BLOCK;
        for (int64_t j = 0; j < some; j += CM3_FIXED_ROWS) {
            fix_group(scratch + j * width, w + (column + j) * k, true, some - j < 8 ? some - j : 8, k);
        }
        const fixed_ahead ahead = {(const char *)(w + (column + some) * k), (lines + steps - 1) / steps};
        if (some > CM3_FIXED_ROWS)
            fixed_block(y + column, ldy, x, rows, scratch, width, some, ahead, 2);
        else
            fixed_block(y + column, ldy, x, rows, scratch, width, some, ahead, 1);
    }
}

void cm3_avx2_fixed(cm3_kernels *kernels) {
    kernels->fix_rows = fix_rows;
    kernels->fixed_products = fixed_products;
}
