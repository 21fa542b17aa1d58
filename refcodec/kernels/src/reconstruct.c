/* From quantised values to tensors: steps, inverse transforms, prediction (spec 7.2, 7.3, 7.5). */
#include "common.h"

#define PIECE (1 << 16) /* coefficients of the block DCT worked on at a time */
#define SPAN (1 << 12)  /* cells worked on at a time where there is no transform */

static const int64_t STEP[8] = {32768, 35734, 38968, 42495, 46341, 50535, 55109, 60097};

typedef struct {
    int64_t mantissa;
    int32_t exponent;
} factor;

typedef struct {
    int32_t spatial[3], size[3]; /* of the tensor, of its coefficients */
    int32_t sides[3], blocks[3]; /* of the block DCT */
    int64_t cells, coefficients, coded;
    int32_t channels, together; /* channels worked on at a time */
    factor step[8], base;
    int32_t *buffer;
    uint8_t *busy;
    uint32_t *place;
} plan;

RFV_INLINE int64_t times(int64_t q, factor f)
{
    int64_t product = q * f.mantissa;
    if (f.exponent >= 0) return product * ((int64_t)1 << f.exponent);
    return (product + ((int64_t)1 << (-f.exponent - 1))) >> -f.exponent;
}

RFV_INLINE int64_t predicted(const rfv_reconstruction *r, const plan *p, int64_t at)
{
    if (r->source == NULL) return r->offset;
    return r->based ? times(r->source[at], p->base) + r->offset : r->source[at];
}

/* Cells [begin, end) of the tensor as they are where nothing is added. */
static void predict(const rfv_reconstruction *r, const plan *p, int64_t begin, int64_t end)
{
    int64_t i;
    if (r->source == NULL)
        for (i = begin; i < end; i++) r->tensor[i] = r->offset;
    else if (!r->based)
        memcpy(r->tensor + begin, r->source + begin, (size_t)(end - begin) * sizeof(int32_t));
    else
        for (i = begin; i < end; i++) r->tensor[i] = rfv_clamp32(predicted(r, p, i));
}

RFV_INLINE int8_t context_of(int32_t q) { return (int8_t)rfv_clamp(q, -RFV_MAX_INPUT, RFV_MAX_INPUT); }

static int prepare(const rfv_reconstruction *r, plan *p, rfv_arena *a, int check_values)
{
    int64_t i;
    int axis, bands[3] = {1, 4, r->levels + 1};
    memset(p, 0, sizeof *p);
    p->channels = r->shape[0];
    p->cells = rfv_volume(r->shape + 1);
    if (p->channels < 1 || p->channels > 256 || p->cells == 0 || p->cells * p->channels > INT32_MAX ||
        r->transform < 0 || r->transform > 2 || r->levels < 0 || r->levels > RFV_MAX_LEVELS ||
        r->bands != bands[r->transform] || r->base_exponent < -16 || r->base_exponent > 15 ||
        r->base_mantissa < -32768 || r->base_mantissa > 32767)
        return RFV_ARGUMENT;
    for (p->coefficients = 1, axis = 0; axis < 3; axis++) {
        const int split = r->transform == 1 && r->shape[1 + axis] > 1;
        p->spatial[axis] = r->shape[1 + axis];
        p->sides[axis] = split ? 8 : 1;
        p->blocks[axis] = split ? (p->spatial[axis] + 7) / 8 : r->transform == 1 ? 1 : p->spatial[axis];
        p->size[axis] = p->sides[axis] * p->blocks[axis];
        p->coefficients *= p->size[axis];
    }
    p->coded = p->coefficients;
    if (r->mask != NULL) {
        if (r->mask_size != (size_t)p->coefficients) return RFV_ARGUMENT;
        for (p->coded = i = 0; i < p->coefficients; i++) {
            if (r->mask[i] > 1) return RFV_ARGUMENT;
            p->coded += r->mask[i];
        }
    }
    if (r->values_size != (size_t)(p->coded * p->channels) ||
        r->context_size != (size_t)(p->coefficients * p->channels) ||
        r->tensor_size != (size_t)(p->cells * p->channels) ||
        (r->source != NULL && r->source_size != r->tensor_size) || r->tensor == NULL || r->context == NULL ||
        (r->values == NULL && r->values_size > 0) || (r->based && r->source == NULL))
        return RFV_ARGUMENT;
    if (check_values) {
        uint32_t outside = 0; /* values from 2^20 on, whose products would not fit */
        for (i = 0; i < (int64_t)r->values_size; i++) outside |= ((uint32_t)r->values[i] + (1u << 20)) & ~0x1fffffu;
        if (outside) return RFV_ARGUMENT;
    }
    for (i = 0; i < r->bands; i++) {
        if (r->steps[i] < 0 || r->steps[i] > 255) return RFV_ARGUMENT;
        p->step[i].mantissa = STEP[r->steps[i] % 8], p->step[i].exponent = r->steps[i] / 8 - 15;
    }
    p->base.mantissa = r->base_mantissa, p->base.exponent = r->base_exponent;
    if (r->transform == 0) {
        p->place = rfv_take(a, SPAN, sizeof(uint32_t));
    } else {
        p->together = r->transform == 2 ? 1 : (int32_t)rfv_clamp(PIECE / p->coefficients, 1, p->channels);
        p->buffer = rfv_take(a, (uint64_t)p->together * (uint64_t)p->coefficients, sizeof(int32_t));
        p->busy = rfv_take(a, (uint64_t)p->together * (uint64_t)(p->coefficients / p->sides[0] / p->sides[1] /
                                                                 p->sides[2]), 1);
    }
    return a->failed ? RFV_ARGUMENT : RFV_DONE;
}

static void without_transform(const rfv_reconstruction *r, const plan *p)
{
    int64_t begin, end, cell, done = 0;
    int32_t c, j, count;
    const int32_t channels = p->channels;
    for (begin = 0; begin < p->cells; begin = end) {
        end = p->cells - begin < SPAN ? p->cells : begin + SPAN;
        for (count = 0, cell = begin; cell < end; cell++) {
            p->place[count] = (uint32_t)cell;
            count += r->mask == NULL || r->mask[cell];
        }
        for (c = 0; c < channels; c++) {
            const int32_t *values = r->values + done * channels + c;
            predict(r, p, c * p->cells + begin, c * p->cells + end);
            for (j = 0; j < count; j++) {
                int32_t q = values[(int64_t)j * channels];
                int64_t at;
                if (q == 0) continue;
                at = c * p->cells + p->place[j];
                r->tensor[at] = rfv_clamp32(predicted(r, p, at) + times(q, p->step[0]));
                r->context[(int64_t)p->place[j] * channels + c] = context_of(q);
            }
        }
        done += count;
    }
}

/* Block DCT. ------------------------------------------------------------------------------------------------------ */

#define T0 5793
#define T1 8035
#define T2 7568
#define T3 6811
#define T5 4551
#define T6 3135
#define T7 1598

RFV_INLINE int64_t scaled(int64_t total) { return rfv_clamp((total + (1 << 13)) >> 14, INT32_MIN, INT32_MAX); }

/* One line, `s` apart, in place. The matrix's rows are even or odd about their middle, so that four sums of the even
   frequencies and four of the odd ones give all eight cells. */
RFV_INLINE void inverse_line(int64_t *v, int s)
{
    int64_t c0 = v[0], c1 = v[s], c2 = v[2 * s], c3 = v[3 * s], c4 = v[4 * s], c5 = v[5 * s], c6 = v[6 * s],
            c7 = v[7 * s], sum04, difference04, outer26, inner26, even0, even1, even2, even3, odd0, odd1, odd2, odd3;
    if ((c0 | c1 | c2 | c3 | c4 | c5 | c6 | c7) == 0) return;
    sum04 = (c0 + c4) * T0, difference04 = (c0 - c4) * T0;
    outer26 = c2 * T2 + c6 * T6, inner26 = c2 * T6 - c6 * T2;
    even0 = sum04 + outer26, even1 = difference04 + inner26;
    even2 = difference04 - inner26, even3 = sum04 - outer26;
    odd0 = c1 * T1 + c3 * T3 + c5 * T5 + c7 * T7;
    odd1 = c1 * T3 - c3 * T7 - c5 * T1 - c7 * T5;
    odd2 = c1 * T5 - c3 * T1 + c5 * T7 + c7 * T3;
    odd3 = c1 * T7 - c3 * T5 + c5 * T3 - c7 * T1;
    v[0] = scaled(even0 + odd0), v[s] = scaled(even1 + odd1), v[2 * s] = scaled(even2 + odd2);
    v[3 * s] = scaled(even3 + odd3), v[4 * s] = scaled(even3 - odd3), v[5 * s] = scaled(even2 - odd2);
    v[6 * s] = scaled(even1 - odd1), v[7 * s] = scaled(even0 - odd0);
}

static void inverse_block(const int32_t *coefficients, const int32_t sides[3], int64_t *v)
{
    int stride = 1, axis, outer, at, size = sides[0] * sides[1] * sides[2];
    for (at = 0; at < size; at++) v[at] = coefficients[at];
    for (axis = 2; axis >= 0; axis--)
        if (sides[axis] > 1) {
            for (outer = 0; outer < size; outer += 8 * stride)
                for (at = outer; at < outer + stride; at++) inverse_line(v + at, stride);
            stride *= 8;
        }
}

/* Adds the cells of a block that are not beyond the channel's end. */
static void add_block(const rfv_reconstruction *r, const plan *p, int32_t c, const int32_t corner[3], const int64_t *v)
{
    int32_t end[3], z, y, x, axis;
    for (axis = 0; axis < 3; axis++) {
        int32_t left = p->spatial[axis] - corner[axis];
        end[axis] = p->sides[axis] < left ? p->sides[axis] : left;
    }
    for (z = 0; z < end[0]; z++)
        for (y = 0; y < end[1]; y++) {
            int64_t at = c * p->cells +
                         (((int64_t)corner[0] + z) * p->spatial[1] + corner[1] + y) * p->spatial[2] + corner[2];
            const int64_t *line = v + (z * p->sides[1] + y) * p->sides[2];
            if (r->based) /* it has been clamped there */
                for (x = 0; x < end[2]; x++) r->tensor[at + x] = rfv_clamp32(predicted(r, p, at + x) + line[x]);
            else
                for (x = 0; x < end[2]; x++) r->tensor[at + x] = rfv_clamp32((int64_t)r->tensor[at + x] + line[x]);
        }
}

static void with_blocks(const rfv_reconstruction *r, const plan *p)
{
    static const uint8_t band_of[8] = {0, 1, 2, 2, 3, 3, 3, 3};
    const int32_t *s = p->sides, *n = p->blocks, channels = p->channels;
    const int64_t blocks = (int64_t)n[0] * n[1] * n[2];
    const int32_t side = s[0] * s[1] * s[2];
    int64_t lines[512];
    int32_t first, count, c, uz, bz, uy, by, ux, bx;
    memset(p->buffer, 0, sizeof(int32_t) * (size_t)p->together * (size_t)p->coefficients);
    memset(p->busy, 0, (size_t)p->together * (size_t)blocks);
    for (first = 0; first < channels; first += count) {
        const int32_t *values = r->values + first;
        int64_t cell = 0, block;
        count = channels - first < p->together ? channels - first : p->together;
        for (uz = 0; uz < s[0]; uz++)
            for (bz = 0; bz < n[0]; bz++)
                for (uy = 0; uy < s[1]; uy++)
                    for (by = 0; by < n[1]; by++)
                        for (ux = 0; ux < s[2]; ux++) {
                            int32_t u = uz > uy ? uz : uy, place = (uz * s[1] + uy) * s[2] + ux;
                            factor step = p->step[band_of[u > ux ? u : ux]];
                            block = ((int64_t)bz * n[1] + by) * n[2];
                            for (bx = 0; bx < n[2]; bx++, block++, cell++) {
                                if (r->mask != NULL && !r->mask[cell]) continue;
                                for (c = 0; c < count; c++) {
                                    int32_t q = values[c];
                                    if (q == 0) continue;
                                    p->buffer[(c * blocks + block) * side + place] = rfv_clamp32(times(q, step));
                                    p->busy[c * blocks + block] = 1;
                                    r->context[cell * channels + first + c] = context_of(q);
                                }
                                values += channels;
                            }
                        }
        for (c = 0; c < count; c++) {
            int32_t corner[3];
            predict(r, p, (first + c) * p->cells, (first + c + 1) * p->cells);
            block = c * blocks;
            for (corner[0] = 0; corner[0] < p->size[0]; corner[0] += s[0])
                for (corner[1] = 0; corner[1] < p->size[1]; corner[1] += s[1])
                    for (corner[2] = 0; corner[2] < p->size[2]; corner[2] += s[2], block++)
                        if (p->busy[block]) {
                            inverse_block(p->buffer + block * side, s, lines);
                            memset(p->buffer + block * side, 0, sizeof(int32_t) * (size_t)side);
                            p->busy[block] = 0;
                            add_block(r, p, first + c, corner, lines);
                        }
        }
    }
}

/* Wavelet. -------------------------------------------------------------------------------------------------------- */

#define LINES 8 /* lines merged side by side */

RFV_INLINE void lift(int64_t (*part)[LINES], int32_t n, int64_t (*other)[LINES], int32_t m, int32_t first,
                     int64_t multiplier)
{
    int32_t k, i;
    for (k = 0; k < n; k++) {
        const int64_t *a = other[k + first > 0 ? k + first : 0], *b = other[k + first + 1 < m ? k + first + 1 : m - 1];
        for (i = 0; i < LINES; i++) part[k][i] -= (multiplier * (a[i] + b[i]) + (1 << 11)) >> 12;
    }
}

/* Merges LINES lines of n samples, `stride` apart; the lines are `across` apart. */
static void merge(int32_t *values, int64_t stride, int32_t n, int64_t across, int32_t lines, int64_t (*low)[LINES])
{
    const int32_t half = (n + 1) / 2, rest = n - half;
    int64_t(*high)[LINES] = low + half;
    int32_t k, i;
    for (k = 0; k < n; k++)
        for (i = 0; i < LINES; i++) low[k][i] = i < lines ? values[k * stride + i * across] : 0;
    lift(low, half, high, rest, -1, 1817);
    lift(high, rest, low, half, 0, 3616);
    lift(low, half, high, rest, -1, -217);
    lift(high, rest, low, half, 0, -6497);
    for (k = 0; k < n; k++) {
        const int64_t *v = k % 2 ? high[k / 2] : low[k / 2];
        for (i = 0; i < lines; i++) values[k * stride + i * across] = rfv_clamp32(v[i]);
    }
}

static void inverse_wavelet(const plan *p, int32_t levels, int32_t *values)
{
    const int64_t stride[3] = {(int64_t)p->spatial[1] * p->spatial[2], p->spatial[2], 1};
    int64_t low[RFV_MAX_AXIS][LINES];
    int32_t size[RFV_MAX_LEVELS + 1][3], level, axis;
    memcpy(size[0], p->spatial, sizeof size[0]);
    for (level = 0; level < levels; level++)
        for (axis = 0; axis < 3; axis++) size[level + 1][axis] = (size[level][axis] + 1) / 2;
    for (level = levels - 1; level >= 0; level--)
        for (axis = 2; axis >= 0; axis--) {
            const int a = axis == 0 ? 1 : 0, b = axis == 2 ? 1 : 2;
            int32_t i, j;
            if (size[level][axis] < 2) continue;
            for (i = 0; i < size[level][a]; i++)
                for (j = 0; j < size[level][b]; j += LINES) {
                    int32_t left = size[level][b] - j;
                    merge(values + i * stride[a] + j * stride[b], stride[axis], size[level][axis], stride[b],
                          left < LINES ? left : LINES, low);
                }
        }
}

static int32_t band_along(int32_t position, const int32_t *boxes, int32_t levels)
{
    int32_t band = 0, level;
    for (level = levels; level >= 1; level--)
        if (position >= boxes[level]) band = levels + 1 - level;
    return band;
}

static void with_wavelet(const rfv_reconstruction *r, const plan *p)
{
    const int32_t channels = p->channels;
    int32_t boxes[3][RFV_MAX_LEVELS + 1], c, axis, level, z, y, x;
    uint8_t along_x[RFV_MAX_AXIS];
    for (axis = 0; axis < 3; axis++)
        for (boxes[axis][0] = p->spatial[axis], level = 1; level <= r->levels; level++)
            boxes[axis][level] = (boxes[axis][level - 1] + 1) / 2;
    for (x = 0; x < p->spatial[2]; x++) along_x[x] = (uint8_t)band_along(x, boxes[2], r->levels);
    for (c = 0; c < channels; c++) {
        const int32_t *values = r->values + c;
        int64_t cell = 0, begin = c * p->cells, i;
        int any = 0;
        for (z = 0; z < p->spatial[0]; z++)
            for (y = 0; y < p->spatial[1]; y++) {
                int32_t bz = band_along(z, boxes[0], r->levels), by = band_along(y, boxes[1], r->levels);
                int32_t outer = bz > by ? bz : by;
                for (x = 0; x < p->spatial[2]; x++, cell++) {
                    int32_t q;
                    p->buffer[cell] = 0;
                    if (r->mask != NULL && !r->mask[cell]) continue;
                    q = *values;
                    values += channels;
                    if (q == 0) continue;
                    any = 1;
                    p->buffer[cell] = rfv_clamp32(times(q, p->step[outer > along_x[x] ? outer : along_x[x]]));
                    r->context[cell * channels + c] = context_of(q);
                }
            }
        if (!any) {
            predict(r, p, begin, begin + p->cells);
            continue;
        }
        inverse_wavelet(p, r->levels, p->buffer);
        for (i = 0; i < p->cells; i++) r->tensor[begin + i] = rfv_clamp32(predicted(r, p, begin + i) + p->buffer[i]);
    }
}

size_t rfv_reconstruct_size(const rfv_reconstruction *r)
{
    rfv_arena a = rfv_counting();
    plan p;
    return prepare(r, &p, &a, 0) == RFV_DONE ? (size_t)a.used : 0;
}

int rfv_reconstruct(const rfv_reconstruction *r, void *scratch, size_t size)
{
    rfv_arena a = {scratch, 0, size, 0};
    plan p;
    if (scratch == NULL || prepare(r, &p, &a, 1) != RFV_DONE) return RFV_ARGUMENT;
    if (r->transform == 0)
        without_transform(r, &p);
    else if (r->transform == 1)
        with_blocks(r, &p);
    else
        with_wavelet(r, &p);
    return RFV_DONE;
}
