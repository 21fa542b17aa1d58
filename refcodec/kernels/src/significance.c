/* Which cells occupied voxels touch, and the coefficients that have them in their support (spec 7.1, 7.5.1). */
#include "common.h"

static int32_t cell_at(int64_t remainder, int64_t denominator, int32_t cells, int32_t alignment)
{
    int64_t doubled;
    if (alignment == 0) return (int32_t)(remainder * (cells - 1) / denominator);
    doubled = 2 * remainder * cells - denominator;
    return doubled < 0 ? 0 : (int32_t)rfv_clamp(doubled / (2 * denominator), 0, cells - 1);
}

int rfv_touched(int32_t voxels, int32_t cells, int64_t numerator, int64_t denominator, int32_t linear,
                int32_t alignment, int32_t *ranges, size_t count)
{
    int32_t v;
    /* All products below stay under 2^63. */
    if (voxels < 1 || voxels > 512 || cells < 1 || cells > RFV_MAX_AXIS || numerator < 0 ||
        numerator >= (int64_t)1 << 46 || denominator < 1 || denominator >= (int64_t)1 << 49 ||
        count != 4 * (size_t)voxels)
        return RFV_ARGUMENT;
    for (v = 0; v < voxels; v++, ranges += 4) {
        int64_t first = v * numerator, last = (v + 1) * numerator;
        int64_t first_period = first / denominator, last_period = last / denominator;
        int32_t low, high;
        first %= denominator, last %= denominator;
        if (linear && last_period) last_period = 0, last = denominator; /* the far end belongs to the only period */
        low = cell_at(first, denominator, cells, alignment);
        high = (int32_t)rfv_clamp(cell_at(last, denominator, cells, alignment) + 1, 0, cells - 1);
        ranges[0] = low, ranges[1] = high + 1, ranges[2] = ranges[3] = 0;
        if (first_period + 1 == last_period)
            ranges[1] = cells, ranges[3] = high + 1;
        else if (first_period != last_period)
            ranges[0] = 0, ranges[1] = cells;
    }
    return RFV_DONE;
}

size_t rfv_coded_size(const int32_t dims[3], const int32_t cells[3])
{
    rfv_arena a = rfv_counting();
    if (rfv_volume(dims) == 0 || rfv_volume(cells) == 0 || dims[0] > 512 || dims[1] > 512 || dims[2] > 512) return 0;
    rfv_take(&a, (uint64_t)dims[1] * (uint64_t)dims[2], 1);
    rfv_take(&a, (uint64_t)cells[1] * (uint64_t)dims[2], 1);
    return (size_t)a.used;
}

/* to |= from, of `count` flags; returns whether there is any. */
static int join(uint8_t *to, const uint8_t *from, size_t count)
{
    size_t i;
    uint8_t any = 0;
    for (i = 0; i < count; i++) any |= from[i], to[i] |= from[i];
    return any;
}

static int good_ranges(const int32_t *ranges, int32_t voxels, int32_t cells)
{
    int32_t i;
    for (i = 0; i < 2 * voxels; i++)
        if (ranges[2 * i] < 0 || ranges[2 * i] > ranges[2 * i + 1] || ranges[2 * i + 1] > cells) return 0;
    return 1;
}

/* For every cell along an axis: the voxels that touch it lie in at most a few ranges; here they are found the other
   way round, voxel by voxel. */
RFV_INLINE int touches(const int32_t *range, int32_t cell)
{
    return (cell >= range[0] && cell < range[1]) || (cell >= range[2] && cell < range[3]);
}

int rfv_coded(const uint8_t *occupancy, size_t occupancy_size, const int32_t dims[3], const int32_t cells[3],
              const int32_t *const ranges[3], uint8_t *out, size_t out_size, void *scratch, size_t size)
{
    const size_t plane = (size_t)dims[1] * (size_t)dims[2], needed = rfv_coded_size(dims, cells);
    uint8_t *layer = scratch, *lines;
    int32_t z, y, x, v, axis, part;
    if (needed == 0 || size < needed || occupancy_size != (size_t)rfv_volume(dims) ||
        out_size != (size_t)rfv_volume(cells))
        return RFV_ARGUMENT;
    for (axis = 0; axis < 3; axis++)
        if (!good_ranges(ranges[axis], dims[axis], cells[axis])) return RFV_ARGUMENT;
    lines = layer + ((plane + 15) & ~(size_t)15);
    for (z = 0; z < cells[0]; z++) {
        uint8_t *row = out + (size_t)z * (size_t)cells[1] * (size_t)cells[2];
        int any = 0;
        memset(row, 0, (size_t)cells[1] * (size_t)cells[2]);
        memset(layer, 0, plane);
        for (v = 0; v < dims[0]; v++)
            if (touches(ranges[0] + 4 * v, z)) any |= join(layer, occupancy + (size_t)v * plane, plane);
        if (!any) continue;
        memset(lines, 0, (size_t)cells[1] * (size_t)dims[2]);
        for (v = 0; v < dims[1]; v++)
            for (part = 0; part < 4; part += 2)
                for (y = ranges[1][4 * v + part]; y < ranges[1][4 * v + part + 1]; y++)
                    join(lines + (size_t)y * (size_t)dims[2], layer + (size_t)v * (size_t)dims[2], (size_t)dims[2]);
        for (y = 0; y < cells[1]; y++, row += cells[2])
            for (v = 0; v < dims[2]; v++)
                if (lines[(size_t)y * (size_t)dims[2] + (size_t)v])
                    for (part = 0; part < 4; part += 2)
                        for (x = ranges[2][4 * v + part]; x < ranges[2][4 * v + part + 1]; x++) row[x] = 1;
    }
    return RFV_DONE;
}

static int support_dct(const int32_t spatial[3], const uint8_t *cells, uint8_t *out)
{
    int32_t blocks[3], sides[3], z, y, x, axis, u, w, t;
    for (axis = 0; axis < 3; axis++) {
        sides[axis] = spatial[axis] > 1 ? 8 : 1;
        blocks[axis] = spatial[axis] > 1 ? (spatial[axis] + 7) / 8 : 1;
    }
    {
        const int64_t width = (int64_t)blocks[2] * sides[2], height = (int64_t)blocks[1] * sides[1];
        for (z = 0; z < spatial[0]; z++)
            for (y = 0; y < spatial[1]; y++)
                for (x = 0; x < spatial[2]; x++) {
                    int64_t bz = z / sides[0], by = y / sides[1], bx = x / sides[2];
                    if (!*cells++) continue;
                    if (out[(bz * height + by) * width + bx]) continue; /* that of frequency 0 is marked first */
                    for (u = 0; u < sides[0]; u++)
                        for (w = 0; w < sides[1]; w++)
                            for (t = 0; t < sides[2]; t++)
                                out[((u * blocks[0] + bz) * height + w * blocks[1] + by) * width + t * blocks[2] +
                                    bx] = 1;
                }
    }
    return RFV_DONE;
}

/* One axis of a level: a low or high position is marked where one of its two samples is. */
static void split(uint8_t *line, int64_t stride, int32_t n)
{
    uint8_t low[RFV_MAX_AXIS / 2 + 1];
    int32_t half = (n + 1) / 2, k;
    for (k = 0; k < half; k++)
        low[k] = (uint8_t)(line[2 * k * stride] | (2 * k + 1 < n ? line[(2 * k + 1) * stride] : 0));
    for (k = 0; k < n; k++) line[k * stride] = low[k < half ? k : k - half];
}

static int support_wavelet(int32_t levels, const int32_t spatial[3], uint8_t *out)
{
    const int64_t stride[3] = {(int64_t)spatial[1] * spatial[2], spatial[2], 1};
    int32_t size[3] = {spatial[0], spatial[1], spatial[2]}, level, axis;
    for (level = 0; level < levels; level++) {
        for (axis = 2; axis >= 0; axis--) {
            const int a = axis == 0 ? 1 : 0, b = axis == 2 ? 1 : 2;
            int32_t i, j;
            if (size[axis] > 1)
                for (i = 0; i < size[a]; i++)
                    for (j = 0; j < size[b]; j++) split(out + i * stride[a] + j * stride[b], stride[axis], size[axis]);
        }
        for (axis = 0; axis < 3; axis++) size[axis] = (size[axis] + 1) / 2;
    }
    return RFV_DONE;
}

int rfv_support(int32_t transform, int32_t levels, const int32_t spatial[3], const uint8_t *cells, size_t cells_size,
                uint8_t *out, size_t out_size)
{
    int64_t expected = 1, volume = rfv_volume(spatial);
    int axis;
    if (volume == 0 || cells_size != (size_t)volume || levels < 0 || levels > RFV_MAX_LEVELS) return RFV_ARGUMENT;
    for (axis = 0; axis < 3; axis++)
        expected *= transform == 1 && spatial[axis] > 1 ? (spatial[axis] + 7) / 8 * 8 : spatial[axis];
    if (out_size != (size_t)expected) return RFV_ARGUMENT;
    if (transform == 1) {
        memset(out, 0, out_size);
        return support_dct(spatial, cells, out);
    }
    memcpy(out, cells, out_size);
    if (transform == 2) return support_wavelet(levels, spatial, out);
    return transform == 0 ? RFV_DONE : RFV_ARGUMENT;
}
