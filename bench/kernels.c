/*
 * How fast the kernels are, one thread, every level of this machine beside the portable twin: in GFLOP/s, GB/s or 10^9
 * elements/s, whichever bounds a kernel.
 */
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/status.h"
#include "models.h"
#include "nn/kernels.h"

#define MANY ((size_t)8 << 20)
#define WEIGHTS ((size_t)8192 * 4096)
#define LEVELS 5

static const cm3_cpu_level levels[LEVELS] = {CM3_CPU_C, CM3_CPU_AVX2, CM3_CPU_AVX512, CM3_CPU_AVX512_BF16, CM3_CPU_AMX};

/** Buffers that all cases share. */
typedef struct bench_state {
    const cm3_kernels *kernels;
    float *a, *b, *c, *d, *e, *scratch;
    int32_t *first, *last;
} bench_state;

typedef struct bench_case {
    const char *name, *unit;
    double amount; /**< units a run, in 1e9 */
    void (*run)(bench_state *state);
} bench_case;

/* --- matrix products -----------------------------------------------------------------------------------------------
 */

static void run_gemm(bench_state *s) {
    s->kernels->gemm_f32(s->c, 1024, s->a, 1024, 1, s->b, 1024, 1, 1024, 1024, 1024, false);
}
static void run_gemm_nt(bench_state *s) {
    s->kernels->gemm_f32(s->c, 1024, s->a, 256, 1, s->b, 1, 256, 2048, 1024, 256, false);
}
static void run_gemm_tn(bench_state *s) {
    s->kernels->gemm_f32(s->c, 256, s->a, 1, 1024, s->b, 256, 1, 1024, 256, 2048, true);
}

#define FEW(name, type, rows, k, n)                                                                                    \
    static void run_##name##_##rows##_##k(bench_state *s) {                                                            \
        s->kernels->name(s->c, n, (const void *)s->a, rows, (const void *)s->b, k, 0, n, NULL);                        \
    }
FEW(few_rows_f32, float, 1, 4096, 8192)
FEW(few_rows_f32, float, 1, 256, 1024)
FEW(few_rows_bf16, uint16_t, 2, 4096, 8192)
FEW(few_rows_bf16, uint16_t, 1, 512, 16384)
FEW(few_rows_bf16, uint16_t, 2, 512, 16384)
FEW(few_rows_bf16, uint16_t, 8, 512, 16384)
FEW(few_rows_f32, float, 8, 512, 8192)
FEW(few_rows_f32, float, 8, 256, 1024)
FEW(few_rows_bf16, uint16_t, 1, 4096, 8192)
FEW(few_rows_bf16, uint16_t, 8, 4096, 8192)
FEW(few_rows_bf16, uint16_t, 1, 256, 1024)
FEW(few_rows_bf16, uint16_t, 2, 256, 1024)
FEW(few_rows_bf16, uint16_t, 3, 256, 1024)
FEW(few_rows_bf16, uint16_t, 4, 256, 1024)
FEW(few_rows_bf16, uint16_t, 8, 256, 1024)
FEW(few_rows_mixed, uint16_t, 1, 256, 1024)
FEW(few_rows_mixed, uint16_t, 4, 256, 1024)

/* 32 rows by 4096 of 512. The state's numbers are no vectors of length 1; that changes no time. */
static void run_fixed_products(bench_state *s) {
    int16_t *x = (int16_t *)(void *)s->scratch;
    s->kernels->fixed_products(s->d, 4096, x, 32, (const uint16_t *)s->b, 512, 4096, x + cm3_fixed_size(32, 512));
}
static void run_tile_products(bench_state *s) {
    uint16_t *x = (uint16_t *)(void *)s->scratch;
    s->kernels->tile_products(s->d, 4096, x, 32, (const uint16_t *)s->b, 512, 4096, x + cm3_tiled_size(32, 512));
}
static void run_fix_rows(bench_state *s) {
    s->kernels->fix_rows((int16_t *)(void *)s->d, s->a, 1024, 512);
}

/* Matrices of 8192 x 4096: integers from b on, f16 scales of about 0.004 from c on. */
static void few_quantised(bench_state *s, cm3_dtype dtype, int64_t block, int rows) {
    const cm3_quantised w = {.dtype = dtype,
                             .k = 4096,
                             .block = block,
                             .values = (const uint8_t *)s->b,
                             .scales = (const uint16_t *)s->c,
                             .mins = (const uint16_t *)s->c};
    const cm3_quantised_rows x = {.k = 4096,
                                  .block = block,
                                  .split = dtype == CM3_U4,
                                  .values = (int8_t *)s->a,
                                  .scales = s->e,
                                  .sums = s->e + 8 * 4096 / block};
    s->kernels->few_rows_quantised(s->d, 8192, &x, 0, rows, &w, 0, 8192, NULL);
}
#define QUANTISED(name, dtype, block, rows)                                                                            \
    static void run_##name##_##block##_##rows(bench_state *s) {                                                        \
        few_quantised(s, dtype, block, rows);                                                                          \
    }
QUANTISED(q8, CM3_I8, 64, 1)
QUANTISED(q8, CM3_I8, 64, 2)
QUANTISED(q8, CM3_I8, 64, 4)
QUANTISED(q8, CM3_I8, 64, 8)
QUANTISED(q8, CM3_I8, 32, 1)
QUANTISED(q4, CM3_U4, 64, 1)
QUANTISED(q4, CM3_U4, 64, 2)
QUANTISED(q4, CM3_U4, 64, 4)
QUANTISED(q4, CM3_U4, 64, 8)
QUANTISED(q4, CM3_U4, 32, 1)
QUANTISED(q4, CM3_U4, 32, 2)

/* 512 rows by 1024 of such a matrix. */
static void many_quantised(bench_state *s, cm3_dtype dtype) {
    const cm3_quantised w = {.dtype = dtype,
                             .k = 4096,
                             .block = 64,
                             .values = (const uint8_t *)s->b,
                             .scales = (const uint16_t *)s->c,
                             .mins = (const uint16_t *)s->c};
    const cm3_quantised_rows x = {.k = 4096,
                                  .block = 64,
                                  .split = dtype == CM3_U4,
                                  .values = (int8_t *)s->a,
                                  .scales = s->e,
                                  .sums = s->e + 512 * 64};
    const cm3_many_rows args = {.y = s->d, .ldy = 1024, .rows = 512, .x = &x, .w = &w};
    s->kernels->many_rows_quantised(&args, 0, 1024, s->scratch);
}
static void run_many_q8(bench_state *s) {
    many_quantised(s, CM3_I8);
}
static void run_many_q4(bench_state *s) {
    many_quantised(s, CM3_U4);
}

/* 32 rows of 512 bytes at a time from all over 128 MiB: what a step of a walk through a graph reads. The same as bf16,
 * of twice as many bytes. */
#define GATHERED 32
#define GATHER_CALLS 256
static uint32_t gathered_row(uint32_t *state, uint32_t rows) {
    *state = *state * 1664525u + 1013904223u;
    return (uint32_t)((uint64_t)*state * rows >> 32);
}
static void run_gathered_i8(bench_state *s) {
    static uint32_t state;
    uint32_t rows[GATHERED];
    for (int call = 0; call < GATHER_CALLS; call++) {
        for (int i = 0; i < GATHERED; i++) rows[i] = gathered_row(&state, 1 << 18);
        s->kernels->gathered_i8((int32_t *)s->c, (const int8_t *)s->a, (const int8_t *)s->b, 512, rows, GATHERED);
    }
}
static void run_gathered_bf16(bench_state *s) {
    static uint32_t state;
    for (int call = 0; call < GATHER_CALLS * GATHERED; call++) {
        const int64_t row = gathered_row(&state, 1 << 17);
        s->kernels->few_rows_bf16(s->c, 1, (const uint16_t *)s->a, 1, (const uint16_t *)s->b + row * 512, 512, 0, 1,
                                  NULL);
    }
}

static void run_quantise_rows(bench_state *s) {
    const cm3_quantised_rows to = {
        .k = 4096, .block = 64, .split = true, .values = (int8_t *)s->c, .scales = s->e, .sums = s->e + 8192};
    s->kernels->quantise_rows(&to, s->a, 0, 64 * 64);
}

static void dequantise(bench_state *s, cm3_dtype dtype) {
    const cm3_quantised w = {.dtype = dtype,
                             .k = 4096,
                             .block = 64,
                             .values = (const uint8_t *)s->b,
                             .scales = (const uint16_t *)s->c,
                             .mins = (const uint16_t *)s->c};
    s->kernels->dequantise_bf16((uint16_t *)s->d, &w, 0, 256);
}
static void run_dequantise_q8(bench_state *s) {
    dequantise(s, CM3_I8);
}
static void run_dequantise_q4(bench_state *s) {
    dequantise(s, CM3_U4);
}

/* --- attention -----------------------------------------------------------------------------------------------------
 */

#define ROWS 5120
#define WINDOW 320

/** Packed blocks: row i sees from its document's first row (every 320 rows) to itself. */
static void document_limits(bench_state *s) {
    for (int32_t i = 0; i < ROWS; i++) {
        s->first[i] = i / WINDOW * WINDOW;
        s->last[i] = i;
    }
}
static cm3_attention_args head(bench_state *s, int64_t d) {
    document_limits(s);
    return (cm3_attention_args){.rows = ROWS,
                                .head_dim = d,
                                .scale = 1.0f / sqrtf((float)d),
                                .q = s->a,
                                .q_stride = 4 * d,
                                .out = s->b,
                                .out_stride = 4 * d,
                                .k = s->c,
                                .v = s->c + d,
                                .kv_stride = 4 * d,
                                .kv_dtype = CM3_F32,
                                .first = s->first,
                                .last = s->last,
                                .lse = s->e};
}
#define ATTENTION(size)                                                                                                \
    static void run_attention_##size(bench_state *s) {                                                                 \
        cm3_attention_args args = head(s, size);                                                                       \
        s->kernels->attention(&args, s->scratch);                                                                      \
    }                                                                                                                  \
    static void run_attention_backward_##size(bench_state *s) {                                                        \
        cm3_attention_args args = head(s, size);                                                                       \
        cm3_attention_grads grads = {.out = s->b, .dout = s->b, .dq = s->d, .dk = s->d + size, .dv = s->d + 2 * size}; \
        s->kernels->attention_backward(&args, &grads, s->scratch);                                                     \
    }
ATTENTION(32)
ATTENTION(64)
ATTENTION(128)
#define PAIRS ((double)ROWS * (WINDOW + 1) / 2)

static void decode(bench_state *s, int64_t d, int64_t keys, cm3_dtype dtype) {
    s->first[0] = 0;
    s->last[0] = (int32_t)keys - 1;
    cm3_attention_args args = {.rows = 1,
                               .head_dim = d,
                               .scale = 0.1f,
                               .q = s->a,
                               .q_stride = d,
                               .out = s->b,
                               .out_stride = d,
                               .k = s->c,
                               .v = s->d,
                               .kv_stride = d,
                               .kv_dtype = dtype,
                               .first = s->first,
                               .last = s->last};
    s->kernels->attention(&args, s->scratch);
}
static void run_decode_64_f32(bench_state *s) {
    decode(s, 64, 200, CM3_F32);
}
static void run_decode_64_bf16(bench_state *s) {
    decode(s, 64, 200, CM3_BF16);
}
static void run_decode_128_bf16(bench_state *s) {
    decode(s, 128, 65536, CM3_BF16);
}

/* --- rows ----------------------------------------------------------------------------------------------------------
 */

#define N 256
#define R 1024
#define COUNT (N * R)
#define VOCAB 2048

static void run_rms_norm(bench_state *s) {
    s->kernels->rms_norm(s->c, s->e, s->a, s->b, R, N, 1e-5f);
}
static void run_rms_norm_backward(bench_state *s) {
    s->kernels->rms_norm_backward(s->c, false, s->d, s->b, s->a, s->e, s->b, R, N);
}
static void run_layer_norm(bench_state *s) {
    s->kernels->layer_norm(s->c, s->e, s->e + R, s->a, s->b, s->b, 1, 0, R, N, 1e-5f);
}
static void run_layer_norm_backward(bench_state *s) {
    s->kernels->layer_norm_backward(s->c, false, s->d, s->d + N, s->b, s->a, s->e, s->e + R, s->b, 1, 0, R, N);
}
static void run_softmax(bench_state *s) {
    s->kernels->softmax(s->c, s->a, R, N);
}
static void run_swiglu(bench_state *s) {
    s->kernels->swiglu(s->c, s->a, s->b, COUNT);
}
static void run_swiglu_backward(bench_state *s) {
    s->kernels->swiglu_backward(s->c, false, s->d, false, s->a, s->a, s->b, COUNT);
}
static void run_gelu(bench_state *s) {
    s->kernels->activation(s->c, s->a, COUNT, CM3_ACT_GELU);
}
static void run_gelu_backward(bench_state *s) {
    s->kernels->activation_backward(s->c, false, s->b, s->a, COUNT, CM3_ACT_GELU);
}
static void run_rope(bench_state *s) {
    s->kernels->rope(s->c, s->a, s->b, s->b + COUNT, R, N / 64, 64, false);
}
static void run_cross_entropy(bench_state *s) {
    s->kernels->cross_entropy(s->c, s->e, s->a, s->first, 128, VOCAB);
}
static void run_cross_entropy_backward(bench_state *s) {
    s->kernels->cross_entropy_backward(s->c, false, s->a, s->e, s->first, s->b, 128, VOCAB);
}
static void run_add(bench_state *s) {
    s->kernels->add(s->c, s->a, s->b, COUNT);
}
static void run_sum_squares(bench_state *s) {
    s->scratch[0] = (float)s->kernels->sum_squares(s->a, COUNT);
}
static void run_adamw(bench_state *s) {
    cm3_adamw step = {1e-9f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.1f, 0.05f, 1.0f};
    s->kernels->adamw(s->a, (uint16_t *)s->scratch, s->b + COUNT, s->e, s->d, COUNT, &step);
}
static void run_f32_to_bf16(bench_state *s) {
    s->kernels->f32_to_bf16((uint16_t *)s->c, s->a, COUNT);
}
static void run_bf16_to_f32(bench_state *s) {
    s->kernels->bf16_to_f32(s->c, (const uint16_t *)s->a, COUNT);
}

#define MATRIX(bytes) ((bytes)*8192.0 * 4096 / 1e9)
#define SMALL_FLOPS(rows) (2.0 * (rows)*256 * 1024 / 1e9)
#define ELEMENTS (COUNT / 1e9)

static const bench_case cases[] = {
    {"gemm_f32 1024x1024x1024", "GFLOP/s", 2.147483648, run_gemm},
    {"gemm_f32 2048x1024x256 nt", "GFLOP/s", 1.073741824, run_gemm_nt},
    {"gemm_f32 1024x256x2048 tn", "GFLOP/s", 1.073741824, run_gemm_tn},
    {"few_rows_f32 1 x 8192x4096", "GB/s", MATRIX(4), run_few_rows_f32_1_4096},
    {"few_rows_bf16 1 x 8192x4096", "GB/s", MATRIX(2), run_few_rows_bf16_1_4096},
    {"few_rows_bf16 8 x 8192x4096", "GB/s", MATRIX(2), run_few_rows_bf16_8_4096},
    {"few_rows_bf16 2 x 8192x4096", "GB/s", MATRIX(2), run_few_rows_bf16_2_4096},
    {"few_rows_bf16 1 x 16384x512", "GB/s", MATRIX(0.5), run_few_rows_bf16_1_512},
    {"few_rows_bf16 2 x 16384x512", "GB/s", MATRIX(0.5), run_few_rows_bf16_2_512},
    {"few_rows_bf16 8 x 16384x512", "GFLOP/s", 8 * 2 * MATRIX(0.25), run_few_rows_bf16_8_512},
    {"few_rows_f32 8 x 8192x512", "GFLOP/s", 8 * 2 * MATRIX(0.125), run_few_rows_f32_8_512},
    {"fixed_products 32 x 4096x512", "GFLOP/s", 32 * 4096 * 1024.0 / 1e9, run_fixed_products},
    {"tile_products 32 x 4096x512", "GFLOP/s", 32 * 4096 * 1024.0 / 1e9, run_tile_products},
    {"fix_rows 1024x512", "Gelem/s", 1024 * 512 / 1e9, run_fix_rows},
    {"few_rows_q8 1 x 8192x4096", "GB/s", MATRIX(1 + 2.0 / 64), run_q8_64_1},
    {"few_rows_q8 2 x 8192x4096", "GB/s", MATRIX(1 + 2.0 / 64), run_q8_64_2},
    {"few_rows_q8 4 x 8192x4096", "GB/s", MATRIX(1 + 2.0 / 64), run_q8_64_4},
    {"few_rows_q8 8 x 8192x4096", "GB/s", MATRIX(1 + 2.0 / 64), run_q8_64_8},
    {"few_rows_q8 1 x 8192x4096, blocks of 32", "GB/s", MATRIX(1 + 2.0 / 32), run_q8_32_1},
    {"few_rows_q4 1 x 8192x4096", "GB/s", MATRIX(0.5 + 4.0 / 64), run_q4_64_1},
    {"few_rows_q4 2 x 8192x4096", "GB/s", MATRIX(0.5 + 4.0 / 64), run_q4_64_2},
    {"few_rows_q4 4 x 8192x4096", "GB/s", MATRIX(0.5 + 4.0 / 64), run_q4_64_4},
    {"few_rows_q4 8 x 8192x4096", "GB/s", MATRIX(0.5 + 4.0 / 64), run_q4_64_8},
    {"few_rows_q4 1 x 8192x4096, blocks of 32", "GB/s", MATRIX(0.5 + 4.0 / 32), run_q4_32_1},
    {"few_rows_q4 2 x 8192x4096, blocks of 32", "GB/s", MATRIX(0.5 + 4.0 / 32), run_q4_32_2},
    {"many_rows_q8 512 x 1024x4096", "GFLOP/s", 512.0 * 1024 * 8192 / 1e9, run_many_q8},
    {"many_rows_q4 512 x 1024x4096", "GFLOP/s", 512.0 * 1024 * 8192 / 1e9, run_many_q4},
    {"gathered_i8 32 x 512 of 128 MiB", "10^6 rows/s", GATHER_CALLS *GATHERED / 1e6, run_gathered_i8},
    {"few_rows_bf16 row x 512 of 128 MiB", "10^6 rows/s", GATHER_CALLS *GATHERED / 1e6, run_gathered_bf16},
    {"quantise_rows", "Gelem/s", 64 * 4096 / 1e9, run_quantise_rows},
    {"dequantise_bf16 q8", "Gelem/s", 256 * 4096 / 1e9, run_dequantise_q8},
    {"dequantise_bf16 q4", "Gelem/s", 256 * 4096 / 1e9, run_dequantise_q4},
    {"few_rows_f32 1 x 1024x256", "GFLOP/s", SMALL_FLOPS(1), run_few_rows_f32_1_256},
    {"few_rows_f32 8 x 1024x256", "GFLOP/s", SMALL_FLOPS(8), run_few_rows_f32_8_256},
    {"few_rows_bf16 1 x 1024x256", "GFLOP/s", SMALL_FLOPS(1), run_few_rows_bf16_1_256},
    {"few_rows_bf16 2 x 1024x256", "GFLOP/s", SMALL_FLOPS(2), run_few_rows_bf16_2_256},
    {"few_rows_bf16 3 x 1024x256", "GFLOP/s", SMALL_FLOPS(3), run_few_rows_bf16_3_256},
    {"few_rows_bf16 4 x 1024x256", "GFLOP/s", SMALL_FLOPS(4), run_few_rows_bf16_4_256},
    {"few_rows_bf16 8 x 1024x256", "GFLOP/s", SMALL_FLOPS(8), run_few_rows_bf16_8_256},
    {"few_rows_mixed 1 x 1024x256", "GFLOP/s", SMALL_FLOPS(1), run_few_rows_mixed_1_256},
    {"few_rows_mixed 4 x 1024x256", "GFLOP/s", SMALL_FLOPS(4), run_few_rows_mixed_4_256},
    {"attention d 32", "GFLOP/s", PAIRS * 4 * 32 / 1e9, run_attention_32},
    {"attention d 64", "GFLOP/s", PAIRS * 4 * 64 / 1e9, run_attention_64},
    {"attention d 128", "GFLOP/s", PAIRS * 4 * 128 / 1e9, run_attention_128},
    {"attention_backward d 32", "GFLOP/s", PAIRS * 10 * 32 / 1e9, run_attention_backward_32},
    {"attention_backward d 64", "GFLOP/s", PAIRS * 10 * 64 / 1e9, run_attention_backward_64},
    {"attention_backward d 128", "GFLOP/s", PAIRS * 10 * 128 / 1e9, run_attention_backward_128},
    {"attention row d 64 200 f32", "GB/s", 200 * 64 * 8 / 1e9, run_decode_64_f32},
    {"attention row d 64 200 bf16", "GB/s", 200 * 64 * 4 / 1e9, run_decode_64_bf16},
    {"attention row d 128 64k bf16", "GB/s", 65536.0 * 128 * 4 / 1e9, run_decode_128_bf16},
    {"rms_norm", "Gelem/s", ELEMENTS, run_rms_norm},
    {"rms_norm_backward", "Gelem/s", ELEMENTS, run_rms_norm_backward},
    {"layer_norm", "Gelem/s", ELEMENTS, run_layer_norm},
    {"layer_norm_backward", "Gelem/s", ELEMENTS, run_layer_norm_backward},
    {"softmax", "Gelem/s", ELEMENTS, run_softmax},
    {"swiglu", "Gelem/s", ELEMENTS, run_swiglu},
    {"swiglu_backward", "Gelem/s", ELEMENTS, run_swiglu_backward},
    {"gelu", "Gelem/s", ELEMENTS, run_gelu},
    {"gelu_backward", "Gelem/s", ELEMENTS, run_gelu_backward},
    {"rope", "Gelem/s", ELEMENTS, run_rope},
    {"cross_entropy", "Gelem/s", 128.0 * VOCAB / 1e9, run_cross_entropy},
    {"cross_entropy_backward", "Gelem/s", 128.0 * VOCAB / 1e9, run_cross_entropy_backward},
    {"add", "Gelem/s", ELEMENTS, run_add},
    {"sum_squares", "Gelem/s", ELEMENTS, run_sum_squares},
    {"adamw", "Gelem/s", ELEMENTS, run_adamw},
    {"f32_to_bf16", "Gelem/s", ELEMENTS, run_f32_to_bf16},
    {"bf16_to_f32", "Gelem/s", ELEMENTS, run_bf16_to_f32},
};

/** Seconds that this thread has computed: what else the machine does counts little. */
static double computed(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/** Rounds of at least 4 ms each, in seconds a run. */
static void measure(const bench_options *options, const bench_case *what, bench_state *state, bench_samples *seconds) {
    seconds->count = 0;
    what->run(state);
    while (seconds->count < options->rounds) {
        double start = computed(), passed;
        int runs = 0;
        do {
            what->run(state);
            runs++;
            passed = computed() - start;
        } while (passed < 0.004);
        seconds->values[seconds->count++] = passed / runs;
    }
}

static cm3_status measure_levels(bench_run *run, const bench_case *what, bench_state *state) {
    for (int l = 0; l < LEVELS && levels[l] <= cm3_context_cpu(run->context); l++) {
        bench_samples seconds;
        state->kernels = cm3_kernels_get(levels[l]);
        if (!state->kernels->fixed_products && (what->run == run_fixed_products || what->run == run_fix_rows)) continue;
        if (!state->kernels->tile_products && what->run == run_tile_products) continue;
        if (!state->kernels->many_rows_quantised && (what->run == run_many_q8 || what->run == run_many_q4)) continue;
        measure(&run->options, what, state, &seconds);
        bench_samples rates = bench_rates(&seconds, what->amount);
        bench_report_begin(run->report, "kernels", what->name);
        bench_report_text(run->report, "level", cm3_cpu_name(levels[l]));
        bench_report_integer(run->report, "threads", 1);
        bench_report_samples(run->report, "rate", what->unit, &rates);
        CM3_TRY(bench_done(run));
    }
    return CM3_OK;
}

static cm3_status create_state(cm3_context *context, bench_state *s) {
    const struct {
        float **place;
        size_t count;
    } buffers[] = {{&s->a, MANY}, {&s->b, WEIGHTS}, {&s->c, MANY},
                   {&s->d, MANY}, {&s->e, 1 << 20}, {&s->scratch, 1 << 20}};
    for (size_t i = 0; i < sizeof buffers / sizeof *buffers; i++) {
        uint32_t seed = 1;
        *buffers[i].place = cm3_alloc(context, buffers[i].count * sizeof(float));
        if (!*buffers[i].place) return cm3_fail_memory(context, buffers[i].count * sizeof(float), "kernels");
        bench_fill(*buffers[i].place, CM3_F32, buffers[i].count, 0.5f, &seed);
    }
    for (size_t i = 0; i < 1 << 20; i++) s->e[i] = fabsf(s->e[i]);
    s->first = cm3_calloc(context, ROWS, sizeof *s->first);
    s->last = cm3_calloc(context, ROWS, sizeof *s->last);
    return s->first && s->last ? CM3_OK : cm3_fail_memory(context, ROWS * sizeof *s->first, "kernels");
}

static void destroy_state(cm3_context *context, bench_state *s) {
    void *const blocks[] = {s->a, s->b, s->c, s->d, s->e, s->scratch, s->first, s->last};
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) cm3_free(context, blocks[i]);
}

cm3_status bench_kernels(bench_run *run) {
    bench_state state = {.kernels = NULL};
    const char *part = run->options.kernel ? run->options.kernel : "";
    cm3_status status = create_state(run->context, &state);
    size_t found = 0;
    for (size_t i = 0; i < sizeof cases / sizeof *cases && status == CM3_OK; i++) {
        if (!strstr(cases[i].name, part)) continue;
        found++;
        status = measure_levels(run, &cases[i], &state);
    }
    destroy_state(run->context, &state);
    if (status == CM3_OK && !found) {
        status = cm3_fail(run->context, CM3_ERROR_NOT_FOUND, "no kernel's name has '%s' in it", part);
    }
    return status;
}
