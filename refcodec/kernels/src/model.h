/* Probability models as the kernels take them (spec 6.4, 6.6). */
#ifndef RFV_MODEL_H
#define RFV_MODEL_H

#include "common.h"

#define RFV_MAX_NEIGHBOURS 255
#define RFV_MAX_INPUTS 512
#define RFV_MAX_UNITS 64
#define RFV_MAX_CHANNELS 256
#define RFV_MAX_TABLES 255
#define RFV_MAX_ENTRIES 4096
#define RFV_NEIGHBOUR 5 /* words: source, dc, dz, dy, dx */

typedef struct {
    int32_t type, family, joint, channels, scan[4];
    int32_t neighbours, hidden, inputs, outputs; /* outputs: K, of a channel */
    int32_t hidden_shift, shift[3];
    const int32_t *neighbour, *hidden_weight, *hidden_bias, *output_weight, *output_bias;
    int32_t assignment, tables;
    const int32_t *counts; /* static: the words of the tables */
    size_t counts_words;
} rfv_model;

/* Every number is in its range afterwards (spec 4.9, 4.10). */
int rfv_model_read(rfv_model *m, const int32_t *words, size_t count);

RFV_INLINE int rfv_is_activity(int32_t source) { return (source & 6) == 2; }
RFV_INLINE int rfv_is_previous(int32_t source) { return source & 1; }
RFV_INLINE int rfv_is_magnitude(int32_t source) { return (source & 4) != 0; }

#endif
