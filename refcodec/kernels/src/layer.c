#include "layer.h"

#if defined(__GNUC__)

#if defined(__x86_64__)
#include <immintrin.h>

#define LANES 4
#define LAYER(name) name##_sse2
#define TARGET
#define MADD(x, w) ((LAYER(vector))_mm_madd_epi16((__m128i)(x), (__m128i)(w)))
#include "layer.inc"
#undef LANES
#undef LAYER
#undef TARGET
#undef MADD

#define LANES 8
#define LAYER(name) name##_avx2
#define TARGET __attribute__((target("avx2")))
#define MADD(x, w) ((LAYER(vector))_mm256_madd_epi16((__m256i)(x), (__m256i)(w)))
#include "layer.inc"

void rfv_choose_layers(rfv_hidden **hidden, rfv_output **output)
{
    if (__builtin_cpu_supports("avx2"))
        *hidden = hidden_avx2, *output = output_avx2;
    else
        *hidden = hidden_sse2, *output = output_sse2;
}

#else

#define LANES 4
#define LAYER(name) name##_vector
#define TARGET
#if defined(__wasm_simd128__)
#include <wasm_simd128.h>
#define MADD(x, w) ((LAYER(vector))wasm_i32x4_dot_i16x8((v128_t)(x), (v128_t)(w)))
#elif defined(__aarch64__)
#include <arm_neon.h>
static inline int32x4_t madd(int32x4_t x, int32x4_t w)
{
    int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(w);
    return vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b));
}
#define MADD(x, w) ((LAYER(vector))madd((int32x4_t)(x), (int32x4_t)(w)))
#else
#define MADD(x, w) (((x) << 16 >> 16) * ((w) << 16 >> 16) + ((x) >> 16) * ((w) >> 16))
#endif
#include "layer.inc"

void rfv_choose_layers(rfv_hidden **hidden, rfv_output **output)
{
    *hidden = hidden_vector, *output = output_vector;
}

#endif

#else /* plain C */

static int32_t low_half(int32_t v) { return (int16_t)(uint16_t)((uint32_t)v & 0xffff); }

static void sums(const int32_t *weight, int32_t bias, int pairs, const int32_t *x, int columns, int32_t *sum)
{
    int b, p;
    for (b = 0; b < columns; b++) sum[b] = bias;
    for (p = 0; p < pairs; p++) {
        int32_t even = low_half(weight[p]), odd = weight[p] >> 16;
        const int32_t *row = x + (size_t)p * RFV_BATCH;
        for (b = 0; b < columns; b++) sum[b] += even * low_half(row[b]) + odd * (row[b] >> 16);
    }
}

static void hidden_plain(const int32_t *weight, const int32_t *bias, int pairs, int rows, int shift, const int32_t *x,
                         int columns, int32_t *out)
{
    int32_t a[RFV_BATCH], c[RFV_BATCH];
    int row, b;
    for (row = 0; row < rows; row += 2) {
        sums(weight + (size_t)row * (size_t)pairs, bias[row], pairs, x, columns, a);
        sums(weight + (size_t)(row + 1) * (size_t)pairs, bias[row + 1], pairs, x, columns, c);
        for (b = 0; b < columns; b++)
            out[(size_t)(row / 2) * RFV_BATCH + (size_t)b] =
                (int32_t)(rfv_clamp(a[b] >> shift, 0, RFV_MAX_HIDDEN) |
                          rfv_clamp(c[b] >> shift, 0, RFV_MAX_HIDDEN) << 16);
    }
}

static void output_plain(const int32_t *weight, const int32_t *bias, int pairs, int row, const int32_t shift[3],
                         const int32_t limit[3], const int32_t *x, int columns, int32_t *location, int32_t *table)
{
    int32_t a[RFV_BATCH], c[RFV_BATCH], d[RFV_BATCH];
    const int32_t *w = weight + (size_t)row * (size_t)pairs;
    int b;
    sums(w, bias[row], pairs, x, columns, a);
    sums(w + pairs, bias[row + 1], pairs, x, columns, c);
    sums(w + 2 * pairs, bias[row + 2], pairs, x, columns, d);
    for (b = 0; b < columns; b++) {
        location[b] = (int32_t)rfv_clamp(a[b] >> shift[0], -limit[0], limit[0]);
        table[b] = (int32_t)(rfv_clamp(c[b] >> shift[1], 0, limit[1]) +
                             rfv_clamp(d[b] >> shift[2], 0, limit[2]) * (limit[1] + 1));
    }
}

void rfv_choose_layers(rfv_hidden **hidden, rfv_output **output)
{
    *hidden = hidden_plain, *output = output_plain;
}

#endif
