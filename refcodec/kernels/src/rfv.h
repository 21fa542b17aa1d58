/* Kernels of an RFV decoder and encoder: spec chapters 6 to 8 in C99, without dependencies.

   There is no global state and no allocation: callers pass every buffer with its size, and scratch memory of a size
   that the kernels tell. All sizes are checked on entry, whatever the caller has checked. Nothing here trusts the
   coded data; what they may be wrong in is reported as the number of the requirement. */
#ifndef RFV_H
#define RFV_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    RFV_DONE = 0,
    RFV_ENT_01 = 1, /* requirements of chapter 6: R-ENT-0n is n */
    RFV_ENT_02 = 2,
    RFV_ENT_03 = 3,
    RFV_ENT_04 = 4,
    RFV_ENT_05 = 5,
    RFV_MORE = 16,      /* not at the end yet: call again */
    RFV_NO_BIT = 17,    /* an occupancy holds a value that is no bit: R-ENT-05, or R-ENT-02 where that is broken */
    RFV_SPACE = 18,     /* the output has no room; `out_used` says how much is needed */
    RFV_ARGUMENT = -1,  /* sizes that do not fit each other, or numbers out of range */
    RFV_INTERNAL = -2   /* a bound that the kernels rely on does not hold */
};

/* Tables. ------------------------------------------------------------------------------------------------------ */

#define RFV_LAPLACE 0 /* `family` (spec 6.4) */
#define RFV_BERNOULLI 1
#define RFV_MIXTURE 2
#define RFV_STATIC 3 /* not a family: the tables come with the model */

typedef struct {
    const uint32_t *below;  /* size + 2: frequencies below each entry, and 2^24 */
    const uint16_t *bucket; /* 257: the entry that holds the first quantile of each bucket */
    int32_t low, size;      /* values low .. low + size - 1; entry `size` is the escape */
    int32_t likely;         /* an entry worth trying first, or -1 */
    int32_t start;          /* of this table's entries in a histogram */
} rfv_table;

typedef struct {
    const rfv_table *table;
    int32_t count, entries; /* entries: of all tables, escapes included */
} rfv_tables;

/* Bytes, a multiple of 16, for the tables of a family, or of a static model: words as in rfv_job. 0: bad model. */
size_t rfv_tables_size(int32_t family, const int32_t *words, size_t count);
/* Builds them in `memory`, aligned to 16, where the rfv_tables come first. Memory must stay where it is. */
int rfv_tables_build(int32_t family, const int32_t *words, size_t count, void *memory, size_t size);
/* Frequency of every entry, uint32 (entries). */
int rfv_tables_frequencies(const rfv_tables *tables, uint32_t *out, size_t count);

/* Symbols. ------------------------------------------------------------------------------------------------------ */

/* A model as int32 words:
   context  1, family, joint, channels, scan[4], neighbours M, hidden H, hidden_shift, location_shift, scale_shift,
            shape_shift, M * (source, dc, dz, dy, dx), H * N weights, H biases, K * C * H weights, K * C biases
   static   2, assignment, tables T, T * (first_value, n, n counts) */
typedef struct {
    const int32_t *model;
    size_t model_words;
    const rfv_tables *tables; /* of the model's family, or of the static model */
    int32_t shape[4];         /* C, z, y, x of the coefficient array */
    int32_t blocks[3];        /* cells from one frequency to the next (spec 6.4) */
    const uint8_t *mask;      /* (cells) 0 or 1, coded cells; NULL: all */
    size_t mask_size;
    const int8_t *previous; /* (cells, C) of the previous frame, -127 .. 127; NULL: all 0 */
    size_t previous_size;
    const uint8_t *selected; /* (coded cells, C), the symbols that there are; NULL: all */
    size_t selected_size;
    const uint8_t *band; /* (coded cells); NULL: all of band 0 */
    size_t band_size;
    int32_t *values; /* (coded cells, C); decoding: all 0 before; encoding: only read */
    size_t values_size;
    const uint8_t *data; /* decoding; NULL with `encode` */
    size_t data_size;
    int32_t encode;
    uint8_t *out; /* encoding: a multiple of 4 bytes */
    size_t out_size;
    uint32_t *histogram; /* encoding: (tables->entries), all 0 before, or NULL */
    size_t histogram_size;
} rfv_job;

typedef struct rfv_coder rfv_coder;

/* Bytes of scratch that a job needs, 0 where its sizes do not fit each other. */
size_t rfv_symbols_size(const rfv_job *job);
/* Begins a job. scratch: aligned to 16, in use until the end; returned in *coder. */
int rfv_symbols_begin(const rfv_job *job, void *scratch, size_t size, rfv_coder **coder);
/* Codes some wavefronts, about `budget` operations. RFV_MORE until all are done. *detail: the value of R-ENT-04. */
int rfv_symbols_run(rfv_coder *coder, int64_t budget, int32_t *detail);
/* Decoding: R-ENT-02. Encoding: the data's size in *used (RFV_SPACE: what is needed), bits of escapes in *bits. */
int rfv_symbols_finish(rfv_coder *coder, size_t *used, int64_t *bits);

/* Occupancy under a context model of at most 16 neighbours whose scan goes along x (spec 6.1.2): shape[0] is 1, and
   mask, selected, band and values are not used. previous: (voxels) 0 or 1. occupancy: (voxels), all 0 before. */
size_t rfv_occupancy_size(const rfv_job *job);
int rfv_occupancy_begin(const rfv_job *job, uint8_t *occupancy, size_t occupancy_size, void *scratch, size_t size,
                        rfv_coder **coder);
int rfv_occupancy_run(rfv_coder *coder, int64_t budget, int32_t *detail);
int rfv_occupancy_finish(rfv_coder *coder);

/* Significance (spec 7.1, 7.5.1). ------------------------------------------------------------------------------- */

/* Along one axis the cells that each voxel touches, two ranges [from, to) a voxel: int32 (voxels, 4). The arguments
   are those of the rule in spec 7.1: linear is 1 for mapping 1; alignment 0 or 1. */
int rfv_touched(int32_t voxels, int32_t cells, int64_t numerator, int64_t denominator, int32_t linear,
                int32_t alignment, int32_t *ranges, size_t count);
/* Touched cells, uint8 (z, y, x). occupancy: uint8 (voxels) 0 or 1; dims, cells: (z, y, x); ranges: for z, y, x. */
size_t rfv_coded_size(const int32_t dims[3], const int32_t cells[3]);
int rfv_coded(const uint8_t *occupancy, size_t occupancy_size, const int32_t dims[3], const int32_t cells[3],
              const int32_t *const ranges[3], uint8_t *out, size_t out_size, void *scratch, size_t size);
/* Coefficients whose support holds a marked cell. cells: uint8 (z, y, x). out: of the coefficient array. */
int rfv_support(int32_t transform, int32_t levels, const int32_t spatial[3], const uint8_t *cells, size_t cells_size,
                uint8_t *out, size_t out_size);

/* Reconstruction (spec 7.2, 7.3, 7.5). -------------------------------------------------------------------------- */

typedef struct {
    int32_t shape[4]; /* C, z, y, x of the tensor */
    int32_t transform, levels;
    const int32_t *values; /* (coded cells, C) */
    size_t values_size;
    const uint8_t *mask; /* of the coefficient array; NULL: all */
    size_t mask_size;
    int32_t steps[8]; /* step_index of each band */
    int32_t bands;
    const int32_t *source; /* (C, z, y, x): what is predicted from; NULL: nothing */
    size_t source_size;
    int32_t based; /* the source is multiplied by the base */
    int32_t base_mantissa, base_exponent, offset;
    int32_t *tensor; /* (C, z, y, x) */
    size_t tensor_size;
    int8_t *context; /* (coefficient array, C): the values, clamped; all 0 before */
    size_t context_size;
} rfv_reconstruction;

size_t rfv_reconstruct_size(const rfv_reconstruction *r);
int rfv_reconstruct(const rfv_reconstruction *r, void *scratch, size_t size);

/* Fields (spec 8.3). -------------------------------------------------------------------------------------------- */

/* out[n] = sum over k of weights[k, n] * table[corners[k, n]], rounded after each product and each sum.
   table: float32 (rows, channels). corners: int64 (count, points), below `rows`. out: float32 (points, channels). */
int rfv_interpolate(const float *table, size_t rows, size_t channels, const int64_t *corners, const float *weights,
                    size_t count, size_t points, float *out);

/* Digests (spec 7.4). ------------------------------------------------------------------------------------------- */

typedef struct {
    uint32_t state[8];
    uint64_t length;
    uint8_t block[64];
} rfv_sha256;

void rfv_sha256_begin(rfv_sha256 *sha);
void rfv_sha256_add(rfv_sha256 *sha, const uint8_t *data, size_t size);
void rfv_sha256_end(rfv_sha256 *sha, uint8_t digest[32]);

#ifdef __cplusplus
}
#endif
#endif
