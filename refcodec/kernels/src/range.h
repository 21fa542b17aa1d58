/* The range coder (spec 6.2), and the coding of one wavefront's symbols. */
#ifndef RFV_RANGE_H
#define RFV_RANGE_H

#include "common.h"

#define RFV_MAX_SYMBOL ((1 << 20) - 1)
#define RFV_MAX_PREFIX 20
#define RFV_ABSENT 255 /* in place of the table of a symbol that the mask leaves out; table numbers end at 254 */
#define RFV_SMALL ((uint64_t)1 << 32)

typedef struct {
    uint64_t ahead, span; /* decoding: point - low, range. encoding: the lower half of low, range */
    const uint8_t *data;
    size_t size, words; /* bytes of the data; words read or written */
    uint8_t *out;
    size_t room;    /* words that `out` holds: later ones are only counted */
    int64_t escape_bits;
    uint32_t *histogram;
    int32_t detail; /* value that broke R-ENT-04 */
} rfv_range;

/* Symbols of one wavefront in raster order. */
typedef struct {
    uint8_t *table;          /* of each symbol */
    const int8_t *location;  /* of each symbol; NULL: all 0 */
    int32_t *order;          /* scratch: positions, sorted by table */
    int32_t *values;
    int64_t *starts; /* scratch: (tables + 1) */
    const rfv_tables *tables;
} rfv_wavefront;

void rfv_range_begin_decoding(rfv_range *r, const uint8_t *data, size_t size);
void rfv_range_begin_encoding(rfv_range *r, uint8_t *out, size_t size, uint32_t *histogram);
int rfv_range_finished(const rfv_range *r);         /* R-ENT-02 */
size_t rfv_range_terminate(rfv_range *r);           /* size of the data, of which `out` holds no more than has room */

/* Symbols of a wavefront whose table is `common`, if not ABSENT, are found by a scan of all of them: for a table that
   most of them have. Returns RFV_DONE or an error. */
int rfv_decode_wavefront(rfv_range *r, const rfv_wavefront *wavefront, int64_t count, int common);
int rfv_encode_wavefront(rfv_range *r, const rfv_wavefront *wavefront, int64_t count, int common);

#endif
