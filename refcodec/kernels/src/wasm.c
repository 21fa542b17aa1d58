/* The kernels as WebAssembly: what a program in JavaScript calls. Memory above __heap_base is the caller's; structures
   are laid out as words of 32 bits, in the order of rfv.h. */
#include "common.h"

#define EXPORT(name) __attribute__((export_name(name)))
#define BUDGET ((int64_t)1 << 40)

_Static_assert(sizeof(rfv_job) == 27 * 4 && sizeof(rfv_reconstruction) == 29 * 4 && sizeof(rfv_tables) == 12,
               "the layouts that wasm.js writes");

extern unsigned char __heap_base;

EXPORT("heap") size_t wasm_heap(void) { return (size_t)&__heap_base; }

EXPORT("tables_size") size_t wasm_tables_size(int32_t family, const int32_t *words, size_t count)
{
    return rfv_tables_size(family, words, count);
}

EXPORT("tables_build") int wasm_tables_build(int32_t family, const int32_t *words, size_t count, void *memory, size_t size)
{
    return rfv_tables_build(family, words, count, memory, size);
}

EXPORT("symbols_size") size_t wasm_symbols_size(const rfv_job *job) { return rfv_symbols_size(job); }

EXPORT("symbols") int wasm_symbols(const rfv_job *job, void *scratch, size_t size, int32_t *detail)
{
    rfv_coder *coder;
    size_t used;
    int64_t bits;
    int outcome = rfv_symbols_begin(job, scratch, size, &coder);
    if (outcome == RFV_DONE) outcome = rfv_symbols_run(coder, BUDGET, detail);
    return outcome == RFV_DONE ? rfv_symbols_finish(coder, &used, &bits) : outcome;
}

EXPORT("occupancy_size") size_t wasm_occupancy_size(const rfv_job *job) { return rfv_occupancy_size(job); }

EXPORT("occupancy") int wasm_occupancy(const rfv_job *job, uint8_t *out, size_t out_size, void *scratch, size_t size,
                                       int32_t *detail)
{
    rfv_coder *coder;
    int outcome = rfv_occupancy_begin(job, out, out_size, scratch, size, &coder);
    if (outcome == RFV_DONE) outcome = rfv_occupancy_run(coder, BUDGET, detail);
    return outcome == RFV_DONE ? rfv_occupancy_finish(coder) : outcome;
}

EXPORT("touched") int wasm_touched(int32_t voxels, int32_t cells, int64_t numerator, int64_t denominator, int32_t linear,
                                   int32_t alignment, int32_t *ranges, size_t count)
{
    return rfv_touched(voxels, cells, numerator, denominator, linear, alignment, ranges, count);
}

EXPORT("coded_size") size_t wasm_coded_size(const int32_t *dims, const int32_t *cells)
{
    return rfv_coded_size(dims, cells);
}

/* ranges: of z, y and x, one after the other. Returns the number of coded cells, or an error. */
EXPORT("coded") int wasm_coded(const uint8_t *occupancy, const int32_t *dims, const int32_t *cells,
                               const int32_t *ranges, uint8_t *out, void *scratch, size_t size)
{
    const int32_t *along[3] = {ranges, ranges + 4 * dims[0], ranges + 4 * (dims[0] + dims[1])};
    return rfv_coded(occupancy, (size_t)rfv_volume(dims), dims, cells, along, out, (size_t)rfv_volume(cells), scratch,
                     size);
}

EXPORT("support") int wasm_support(int32_t transform, int32_t levels, const int32_t *spatial, const uint8_t *cells,
                                   uint8_t *out, size_t out_size)
{
    return rfv_support(transform, levels, spatial, cells, (size_t)rfv_volume(spatial), out, out_size);
}

/* Set flags among `size`. */
EXPORT("count") size_t wasm_count(const uint8_t *flags, size_t size)
{
    size_t i, n = 0;
    for (i = 0; i < size; i++) n += flags[i] != 0;
    return n;
}

/* Values 0 or 1 as flags; returns whether all are. */
EXPORT("bits") int wasm_bits(const int32_t *values, size_t size, uint8_t *flags)
{
    size_t i;
    int32_t other = 0;
    for (i = 0; i < size; i++) other |= values[i] & ~1, flags[i] = (uint8_t)values[i];
    return other == 0;
}

/* Bits, the lowest first, as flags. */
EXPORT("unpack") void wasm_unpack(const uint8_t *packed, size_t count, uint8_t *flags)
{
    size_t i;
    for (i = 0; i < count; i++) flags[i] = packed[i / 8] >> i % 8 & 1;
}

EXPORT("pack") void wasm_pack(const uint8_t *flags, size_t count, uint8_t *packed)
{
    size_t i;
    memset(packed, 0, (count + 7) / 8);
    for (i = 0; i < count; i++) packed[i / 8] |= (uint8_t)(flags[i] << i % 8);
}

/* Of the coded elements those of `band`: of the cells in `mask`, if there is one. */
EXPORT("bands") void wasm_bands(const uint8_t *band, const uint8_t *mask, size_t cells, uint8_t *out)
{
    size_t i;
    for (i = 0; i < cells; i++)
        if (mask == NULL || mask[i]) *out++ = band[i];
}

EXPORT("reconstruct_size") size_t wasm_reconstruct_size(const rfv_reconstruction *r) { return rfv_reconstruct_size(r); }

EXPORT("reconstruct") int wasm_reconstruct(const rfv_reconstruction *r, void *scratch, size_t size)
{
    return rfv_reconstruct(r, scratch, size);
}

EXPORT("sha256_begin") void wasm_sha256_begin(rfv_sha256 *sha) { rfv_sha256_begin(sha); }

EXPORT("sha256_add") void wasm_sha256_add(rfv_sha256 *sha, const uint8_t *data, size_t size)
{
    rfv_sha256_add(sha, data, size);
}

EXPORT("sha256_end") void wasm_sha256_end(rfv_sha256 *sha, uint8_t *digest) { rfv_sha256_end(sha, digest); }

/* What compilers call where there is no library. */
void *memset(void *to, int value, size_t size)
{
    __builtin_memset(to, value, size);
    return to;
}

void *memcpy(void *to, const void *from, size_t size)
{
    __builtin_memcpy(to, from, size);
    return to;
}
