/* Lookups in a field's tables (spec 8.3), in binary32, rounded after every operation. */
#include "common.h"

#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#endif

int rfv_interpolate(const float *table, size_t rows, size_t channels, const int64_t *corners, const float *weights,
                    size_t count, size_t points, float *out)
{
    size_t n, k, c;
    for (n = 0; n < count * points; n++)
        if (corners[n] < 0 || (uint64_t)corners[n] >= rows) return RFV_ARGUMENT;
    for (n = 0; n < points; n++, out += channels) {
        const float *row;
        float weight;
        if (count == 0) {
            memset(out, 0, channels * sizeof *out);
            continue;
        }
        row = table + (size_t)corners[n] * channels, weight = weights[n];
        for (c = 0; c < channels; c++) out[c] = weight * row[c];
        for (k = 1; k < count; k++) {
            row = table + (size_t)corners[k * points + n] * channels, weight = weights[k * points + n];
            for (c = 0; c < channels; c++) {
                float product = weight * row[c];
                out[c] += product;
            }
        }
    }
    return RFV_DONE;
}
