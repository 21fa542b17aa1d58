#include "training.h"

#include <math.h>
#include <string.h>

#if defined(__GNUC__)

#define RFV_INLINE static inline __attribute__((always_inline))
#define PADDED(n) (((size_t)(n) + 15) & ~(size_t)15)

typedef float quad __attribute__((vector_size(16), aligned(4), may_alias));

static float *take(float **scratch, size_t count)
{
    float *taken = *scratch;
    *scratch += PADDED(count);
    return taken;
}

/* e^x to 2 units in the last place, for x <= 0; 0 below -87. */
RFV_INLINE float exponential(float x)
{
    union { int32_t bits; float value; } power;
    const float at = x < -87 ? -87 : x;
    const int32_t k = (int32_t)(at * 1.44269504f - 0.5f);
    const float r = (at - (float)k * 0.693359375f) + (float)k * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    power.bits = (k + 127) << 23;
    return x < -87 ? 0 : (p * r * r + r + 1) * power.value;
}

/* Sine and cosine, for moderate arguments (section 9.5). */
RFV_INLINE void sine_cosine(float x, float *sine, float *cosine)
{
    const float turns = x * 0.636619772f;
    const int32_t k = (int32_t)(turns + (turns < 0 ? -0.5f : 0.5f));
    const float n = (float)k, r = ((x - n * 1.5703125f) - n * 4.83751297e-4f) - n * 7.54978942e-8f, q = r * r;
    const float s = r + r * q * (-1.6666654611e-1f + q * (8.3321608736e-3f - q * 1.9515295891e-4f));
    const float c = 1 - 0.5f * q + q * q * (4.166664568298827e-2f + q * (-1.388731625493765e-3f + q * 2.443315711809948e-5f));
    const float a = k & 1 ? c : s, b = k & 1 ? s : c;
    *sine = k & 2 ? -a : a;
    *cosine = (k + 1) & 2 ? -b : b;
}

static size_t layers_width(const rfv_net *net)
{
    size_t sum = 0;
    int32_t l;
    for (l = 0; l < net->layers; l++) sum += PADDED(net->layer[l].outputs);
    return sum;
}

static size_t larger(size_t a, size_t b) { return a > b ? a : b; }

static size_t widest_layer(const rfv_field *field)
{
    const rfv_net *nets[3] = {&field->density_net, &field->features_net, &field->colour_net};
    size_t widest = larger(PADDED(field->features.width), PADDED(field->density.width));
    int32_t i, l;
    for (i = 0; i < 3; i++)
        for (l = 0; l < nets[i]->layers; l++)
            widest = larger(widest, larger(PADDED(nets[i]->layer[l].inputs), PADDED(nets[i]->layer[l].outputs)));
    return widest;
}

size_t rfv_shade_scratch(const rfv_field *field, int32_t samples, int32_t rays)
{
    const size_t n = PADDED(samples), r = PADDED(rays), widest = widest_layer(field);
    const size_t inputs = PADDED(field->feature_count * (1 + 2 * field->feature_frequencies));
    const size_t along = PADDED(3 + 6 * field->direction_frequencies);
    const size_t entry = PADDED(field->colour_net.layer[0].outputs);
    return n * (9 + PADDED(1) + PADDED(field->density.width) + layers_width(&field->density_net) +
                PADDED(field->features.width) + layers_width(&field->features_net) + inputs + entry +
                layers_width(&field->colour_net) + 2 * widest) +
           r * (along + entry + 8) + widest * widest + 64 * 16;
}

#if defined(__x86_64__)
#define LANES 4
#define NAME(function) function##_sse2
#define TARGET
#include "training.inc"
#define LANES 8
#define NAME(function) function##_avx2
#define TARGET __attribute__((target("avx2,fma")))
#include "training.inc"
#define LANES 16
#define NAME(function) function##_avx512
#define TARGET __attribute__((target("avx512f,avx512dq,avx512vl,avx512bw,avx2,fma")))
#include "training.inc"
#else
#define LANES 4
#define NAME(function) function##_vector
#define TARGET
#include "training.inc"
#endif

int rfv_shade(const rfv_field *field, const rfv_batch *batch, int32_t first, int32_t last, float *gradients,
              float *scratch, size_t scratch_size)
{
    int32_t samples;
    if (first < 0 || last <= first || last > batch->rays) return RFV_BAD;
    samples = batch->ends[last - 1] - (first > 0 ? batch->ends[first - 1] : 0);
    if (samples < 0 || scratch_size < rfv_shade_scratch(field, samples, last - first)) return RFV_BAD;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        return shade_avx512(field, batch, first, last, gradients, scratch);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return shade_avx2(field, batch, first, last, gradients, scratch);
    return shade_sse2(field, batch, first, last, gradients, scratch);
#else
    return shade_vector(field, batch, first, last, gradients, scratch);
#endif
}

int rfv_scatter(const rfv_field *field, const rfv_batch *batch, int32_t number, int32_t first, int32_t last)
{
    const rfv_slot *slot = &field->slot[number];
    const int all = field->density_from_features || number < field->features.first_slot;
    if (first < 0 || last > slot->channels || slot->gradient == NULL) return RFV_BAD;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        scatter_avx2(field, batch, slot, all, first, last);
    else
        scatter_sse2(field, batch, slot, all, first, last);
#else
    scatter_vector(field, batch, slot, all, first, last);
#endif
    return RFV_OK;
}

int rfv_blocks(const float *matrix, int32_t rows, int32_t columns, int rows_by_frequency, const float *in, float *out,
               size_t outer, size_t inner)
{
    const int32_t cells = rows_by_frequency ? columns : rows, coefficients = rows_by_frequency ? rows : columns;
    if (cells < 1 || coefficients != (cells + 7) / 8 * 8) return RFV_BAD;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw"))
        blocks_avx512(matrix, rows, columns, rows_by_frequency, in, out, outer, inner);
    else if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        blocks_avx2(matrix, rows, columns, rows_by_frequency, in, out, outer, inner);
    else
        blocks_sse2(matrix, rows, columns, rows_by_frequency, in, out, outer, inner);
#else
    blocks_vector(matrix, rows, columns, rows_by_frequency, in, out, outer, inner);
#endif
    return RFV_OK;
}

#else
#error "the training kernel needs GNU vector extensions (GCC, Clang)"
#endif
