/* A training step on the processor: density, colour and compositing of a batch of rays, and the gradients of its error
   (spec chapters 8 and 9), in binary32. A field is a rule of interpolated tables, products, sums and small networks,
   as in refcodec.fields.rule. Nothing here takes part in decoding. */
#ifndef RFV_TRAINING_H
#define RFV_TRAINING_H

#include <stddef.h>
#include <stdint.h>

enum { RFV_OK = 0, RFV_BAD = -1 };

#define RFV_MAX_SLOTS 256
#define RFV_MAX_FACTORS 8
#define RFV_MAX_TERMS 64
#define RFV_MAX_LAYERS 16
#define RFV_MAX_WIDTH 4096

/* A table (z * y * x, channels) that is interpolated, mapping 1 (linear) or 2 (sawtooth). gradient: NULL where it is not
   wanted. offset: of its values in a sample's row. */
typedef struct {
    int32_t channels, z, y, x, mapping, centres, offset;
    float periods; /* of the sawtooth, a scene unit */
    const float *values;
    float *gradient;
} rfv_slot;

/* The product of factors of `width` channels, which lie at offsets[] of a sample's row. */
typedef struct {
    int32_t factors, width, offsets[RFV_MAX_FACTORS];
} rfv_term;

/* sum: one value, over all channels of all terms; else the terms lie side by side. */
typedef struct {
    int32_t first_slot, slots, terms, sum, width;
    rfv_term term[RFV_MAX_TERMS];
} rfv_set;

/* weight (outputs, inputs), bias (outputs,) or NULL. gradient: place of the layer's in the gradients of all networks:
   of weights, then of biases. */
typedef struct {
    int32_t inputs, outputs;
    const float *weight, *bias;
    size_t gradient;
} rfv_layer;

typedef struct {
    int32_t layers;
    rfv_layer layer[RFV_MAX_LAYERS];
} rfv_net;

/* density_from_features: the density input is the first output of the feature branch, and the others are the features;
   else it is the output of the branch `density`. */
typedef struct {
    rfv_slot slot[RFV_MAX_SLOTS];
    int32_t slots, row; /* floats of a sample's row */
    rfv_set density, features;
    rfv_net density_net, features_net, colour_net;
    int32_t density_from_features, feature_count, feature_frequencies, direction_frequencies;
    size_t network_values;
    float low[3], inverse_extent[3], shift, scale, step, least_weight, background[3], opacity_weight;
} rfv_field;

/* Samples in the order of their rays and along each ray. ends[r]: samples up to ray r, with it. */
typedef struct {
    int32_t rays, samples;
    const float *position, *direction, *target, *weight; /* (samples, 3), (rays, 3), (rays, 4), (rays,) */
    const int32_t *ends;
    float *error;  /* (rays, 2): mean squared error of the colour, weighted squared error of the opacity */
    float *rows;   /* (samples, row): interpolated values; behind rfv_shade their derivatives */
    uint8_t *seen; /* (samples,): whether the sample's features were evaluated */
} rfv_batch;

/* Floats of scratch memory that so many samples and rays need. */
size_t rfv_shade_scratch(const rfv_field *field, int32_t samples, int32_t rays);
/* Rays first .. last - 1. gradients: (network_values,), added to; NULL: errors alone. */
int rfv_shade(const rfv_field *field, const rfv_batch *batch, int32_t first, int32_t last, float *gradients,
              float *scratch, size_t scratch_size);
/* Adds the derivatives of channels first .. last - 1 of a slot's interpolated values to its table's gradient. */
int rfv_scatter(const rfv_field *field, const rfv_batch *batch, int32_t slot, int32_t first, int32_t last);
/* A matrix (rows, columns) of the block DCT times every line: in (outer, columns, inner), out (outer, rows, inner). It
   relates the 8 cells of a block to the 8 coefficients of the block, which lie (number of blocks) apart (spec 7.5.2):
   its rows or its columns. */
int rfv_blocks(const float *matrix, int32_t rows, int32_t columns, int rows_by_frequency, const float *in, float *out,
               size_t outer, size_t inner);

#endif
