/* The integer network of a context model (spec 6.4): exact in 32 bits, whatever the order of summation. */
#ifndef RFV_LAYER_H
#define RFV_LAYER_H

#include "common.h"

#define RFV_BATCH 64 /* columns: units of the network evaluated side by side */

/* Weights: (rows, pairs) of two int16 in one int32, the first in its lower half; rows a multiple of 4. Inputs and
   hidden units: (pairs, BATCH) in the same way. Columns are worked on up to a multiple of 16. */
typedef void rfv_hidden(const int32_t *weight, const int32_t *bias, int pairs, int rows, int shift, const int32_t *x,
                        int columns, int32_t *out);
typedef void rfv_output(const int32_t *weight, const int32_t *bias, int pairs, int row, const int32_t shift[3],
                        const int32_t limit[3], const int32_t *x, int columns, int32_t *location, int32_t *table);

/* The fastest that the processor has. */
void rfv_choose_layers(rfv_hidden **hidden, rfv_output **output);

#endif
