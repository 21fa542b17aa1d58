#include "range.h"

enum { ESCAPED = 100 };

RFV_INLINE uint32_t word_at(const uint8_t *data, size_t size, size_t word)
{
    size_t at = 4 * word;
    uint32_t v = 0;
    int i;
    if (RFV_LIKELY(at + 4 <= size)) {
        const uint8_t *p = data + at;
        return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
    }
    for (i = 0; i < 4; i++) v = v << 8 | (at + (size_t)i < size ? data[at + (size_t)i] : 0);
    return v;
}

void rfv_range_begin_decoding(rfv_range *r, const uint8_t *data, size_t size)
{
    memset(r, 0, sizeof *r);
    r->data = data, r->size = size, r->words = 2;
    r->ahead = (uint64_t)word_at(data, size, 0) << 32 | word_at(data, size, 1);
    r->span = UINT64_MAX;
}

void rfv_range_begin_encoding(rfv_range *r, uint8_t *out, size_t size, uint32_t *histogram)
{
    memset(r, 0, sizeof *r);
    r->out = out, r->room = size / 4, r->span = UINT64_MAX, r->histogram = histogram;
}

int rfv_range_finished(const rfv_range *r)
{
    uint64_t unit, unread;
    uint8_t last;
    if (r->size == 0) return 1;
    last = r->data[r->size - 1];
    if (4 * (uint64_t)r->words < r->size || last == 0) return 0;
    unread = 4 * (uint64_t)r->words - r->size;
    if (unread >= 8) return 1;
    unit = (uint64_t)1 << 8 * unread;
    return r->ahead < unit && r->ahead + (uint64_t)(256 - last) * unit >= r->span;
}

/* Stable, by table, without those of the `common` one. starts: where those of each table begin in `order`. */
static void sort(const rfv_wavefront *s, int64_t count, int common)
{
    const uint8_t *table = s->table;
    int32_t *order = s->order;
    int64_t *starts = s->starts, i;
    int k, tables = s->tables->count;
    memset(starts, 0, (size_t)(tables + 1) * sizeof *starts);
    for (i = 0; i < count; i++)
        if (table[i] != common && table[i] != RFV_ABSENT) {
            RFV_ASSERT(table[i] < tables);
            starts[table[i] + 1]++;
        }
    for (k = 1; k <= tables; k++) starts[k] += starts[k - 1];
    if (starts[tables] == 0) return;
    for (i = 0; i < count; i++)
        if (table[i] != common && table[i] != RFV_ABSENT) order[starts[table[i]]++] = (int32_t)i;
    for (k = tables; k > 0; k--) starts[k] = starts[k - 1];
    starts[0] = 0;
}

/* Decodes the symbols of table k: those at order[begin .. end), or all of the wavefront that have it. */
RFV_INLINE int decode_table(rfv_range *r, const rfv_wavefront *s, int k, int64_t begin, int64_t end, const int scan,
                            const int located)
{
    const rfv_table *t = s->tables->table + k;
    const uint32_t *below = t->below;
    const uint16_t *bucket = t->bucket;
    const uint8_t *table = s->table, *data = r->data;
    const int8_t *location = s->location;
    const int32_t *order = s->order;
    int32_t *values = s->values;
    const int32_t base = t->low, likely = t->likely, escape = t->size;
    uint64_t ahead = r->ahead, span = r->span, likely_below = 0, likely_count = 0;
    size_t size = r->size, words = r->words;
    int outcome = RFV_DONE;
    int64_t j;
    if (likely >= 0) likely_below = below[likely], likely_count = below[likely + 1] - below[likely];
    for (j = begin; j < end; j++) {
        int64_t i = j;
        uint64_t scale, beyond, width;
        int32_t entry;
        if (scan) {
            if (table[i] != k) continue;
        } else {
            i = order[j];
        }
        scale = span >> 24;
        beyond = ahead - scale * likely_below;
        width = scale * likely_count;
        if (beyond < width) { /* the same decision as by the quotient, without the division */
            entry = likely, ahead = beyond, span = width;
        } else {
            uint64_t quotient = ahead / scale, from;
            uint32_t quantile;
            int32_t last;
            if (RFV_UNLIKELY(quotient >= RFV_TOTAL)) return RFV_ENT_01;
            quantile = (uint32_t)quotient;
            entry = bucket[quantile >> 16], last = bucket[(quantile >> 16) + 1];
            while (entry < last) {
                int32_t middle = (entry + last + 1) >> 1;
                if (below[middle] <= quantile)
                    entry = middle;
                else
                    last = middle - 1;
            }
            RFV_ASSERT(entry <= escape && below[entry] <= quantile && quantile < below[entry + 1]);
            if (RFV_UNLIKELY(entry == escape)) outcome = ESCAPED;
            from = below[entry];
            ahead -= scale * from;
            span = scale * (below[entry + 1] - from);
        }
        if (span < RFV_SMALL) {
            ahead = ahead << 32 | word_at(data, size, words++);
            span <<= 32;
        }
        values[i] = entry + base + (located ? location[i] : 0);
    }
    r->ahead = ahead, r->span = span, r->words = words;
    return outcome;
}

/* One equiprobable bit, or -1 where there is none. */
static int bit(rfv_range *r)
{
    uint64_t scale = r->span >> 24, quotient = r->ahead / scale;
    int one;
    if (quotient >= RFV_TOTAL) return -1;
    one = quotient >= RFV_TOTAL / 2;
    if (one) r->ahead -= scale * (RFV_TOTAL / 2);
    r->span = scale * (RFV_TOTAL / 2);
    if (r->span < RFV_SMALL) {
        r->ahead = r->ahead << 32 | word_at(r->data, r->size, r->words++);
        r->span <<= 32;
    }
    return one;
}

static int escape_value(rfv_range *r, int32_t low, int32_t size, int32_t *value)
{
    int sign = bit(r), one, prefix = 0, i;
    int32_t distance = 1, v;
    if (sign < 0) return RFV_ENT_01;
    while ((one = bit(r)) > 0)
        if (++prefix > RFV_MAX_PREFIX) return RFV_ENT_03;
    if (one < 0) return RFV_ENT_01;
    for (i = 0; i < prefix; i++) {
        if ((one = bit(r)) < 0) return RFV_ENT_01;
        distance = distance << 1 | one;
    }
    v = sign ? low - distance : low + size - 1 + distance;
    *value = v;
    if (v > RFV_MAX_SYMBOL || v < -RFV_MAX_SYMBOL) {
        r->detail = v;
        return RFV_ENT_04;
    }
    return RFV_DONE;
}

/* Positions of table k in a wavefront, `order` or a scan of all: begin and end, and whether to look at the table. */
RFV_INLINE void range_of(const rfv_wavefront *s, int k, int common, int64_t count, int64_t *begin, int64_t *end)
{
    *begin = k == common ? 0 : s->starts[k];
    *end = k == common ? count : s->starts[k + 1];
}

int rfv_decode_wavefront(rfv_range *r, const rfv_wavefront *s, int64_t count, int common)
{
    int k, tables = s->tables->count, escaped = 0, outcome;
    int64_t begin, end, j;
    sort(s, count, common);
    for (k = 0; k < tables; k++) {
        range_of(s, k, common, count, &begin, &end);
        if (begin >= end) continue;
        if (s->location != NULL)
            outcome = k == common ? decode_table(r, s, k, begin, end, 1, 1) : decode_table(r, s, k, begin, end, 0, 1);
        else
            outcome = k == common ? decode_table(r, s, k, begin, end, 1, 0) : decode_table(r, s, k, begin, end, 0, 0);
        if (outcome == RFV_ENT_01) return outcome;
        escaped |= outcome == ESCAPED;
    }
    if (!escaped) return RFV_DONE;
    for (k = 0; k < tables; k++) {
        const rfv_table *t = s->tables->table + k;
        range_of(s, k, common, count, &begin, &end);
        for (j = begin; j < end; j++) {
            int64_t i = k == common ? j : s->order[j];
            int32_t low;
            if (k == common && s->table[i] != k) continue;
            low = t->low + (s->location != NULL ? s->location[i] : 0);
            if (s->values[i] != low + t->size) continue;
            outcome = escape_value(r, low, t->size, &s->values[i]);
            if (outcome != RFV_DONE) return outcome;
        }
    }
    return RFV_DONE;
}

/* Encoding. */

RFV_INLINE void put(rfv_range *r, uint64_t below, uint64_t frequency)
{
    uint64_t scale = r->span >> 24, low = r->ahead + scale * below;
    if (low < r->ahead) { /* carry into the words that were written */
        size_t at = r->words < r->room ? r->words : r->room;
        while (at > 0) {
            uint8_t *p = r->out + 4 * --at;
            if (++p[3] || ++p[2] || ++p[1] || ++p[0]) break;
        }
    }
    r->ahead = low;
    r->span = scale * frequency;
    if (r->span < RFV_SMALL) {
        if (r->words < r->room) {
            uint8_t *p = r->out + 4 * r->words;
            p[0] = (uint8_t)(low >> 56), p[1] = (uint8_t)(low >> 48), p[2] = (uint8_t)(low >> 40),
            p[3] = (uint8_t)(low >> 32);
        }
        r->words++;
        r->ahead <<= 32;
        r->span <<= 32;
    }
}

static void put_bit(rfv_range *r, int one)
{
    put(r, one ? RFV_TOTAL / 2 : 0, RFV_TOTAL / 2);
    r->escape_bits++;
}

static void put_escape(rfv_range *r, int32_t value, int32_t low, int32_t size)
{
    int under = value < low, prefix = 0, i;
    int64_t distance = under ? (int64_t)low - value : (int64_t)value - (low + size - 1);
    while (distance >> (prefix + 1)) prefix++;
    put_bit(r, under);
    for (i = 0; i < prefix; i++) put_bit(r, 1);
    put_bit(r, 0);
    for (i = prefix - 1; i >= 0; i--) put_bit(r, (int)(distance >> i & 1));
}

int rfv_encode_wavefront(rfv_range *r, const rfv_wavefront *s, int64_t count, int common)
{
    int k, tables = s->tables->count, escaped = 0;
    int64_t begin, end, j;
    sort(s, count, common);
    for (k = 0; k < tables; k++) {
        const rfv_table *t = s->tables->table + k;
        range_of(s, k, common, count, &begin, &end);
        for (j = begin; j < end; j++) {
            int64_t i = k == common ? j : s->order[j];
            int64_t entry;
            if (k == common && s->table[i] != k) continue;
            entry = (int64_t)s->values[i] - t->low - (s->location != NULL ? s->location[i] : 0);
            if (entry < 0 || entry >= t->size) entry = t->size, escaped = 1;
            put(r, t->below[entry], t->below[entry + 1] - t->below[entry]);
            if (r->histogram != NULL) r->histogram[t->start + entry]++;
        }
    }
    if (!escaped) return RFV_DONE;
    for (k = 0; k < tables; k++) {
        const rfv_table *t = s->tables->table + k;
        range_of(s, k, common, count, &begin, &end);
        for (j = begin; j < end; j++) {
            int64_t i = k == common ? j : s->order[j];
            int32_t low;
            if (k == common && s->table[i] != k) continue;
            low = t->low + (s->location != NULL ? s->location[i] : 0);
            if (s->values[i] < low || s->values[i] - low >= t->size) put_escape(r, s->values[i], low, t->size);
        }
    }
    return RFV_DONE;
}

size_t rfv_range_terminate(rfv_range *r)
{
    /* The smallest number of the range with the most zero bytes at its end, which is then left without them. */
    uint64_t low = r->ahead, top = low;
    size_t at, size;
    int dropped, carry = 0;
    if (r->words + 2 > r->room) return 4 * (r->words + 2);
    for (dropped = 8; dropped >= 0; dropped--) {
        uint64_t unit, up;
        if (dropped == 8) {
            /* The next multiple of 2^64: low itself, or 2^64, which lies inside where low + range goes beyond it. */
            if (low == 0 || low + r->span < low) {
                top = 0, carry = low != 0 && low + r->span != 0;
                if (low == 0 || carry) break;
            }
            continue;
        }
        unit = (uint64_t)1 << 8 * dropped;
        up = (unit - (low & (unit - 1))) & (unit - 1); /* to the next multiple */
        if (low + up < low) continue;                  /* beyond 2^64: dealt with above */
        if (up < r->span) {
            top = low + up;
            break;
        }
    }
    if (carry)
        for (at = r->words; at > 0;) {
            uint8_t *p = r->out + 4 * --at;
            if (++p[3] || ++p[2] || ++p[1] || ++p[0]) break;
        }
    for (at = 0; at < 8; at++) r->out[4 * r->words + at] = (uint8_t)(top >> (56 - 8 * at));
    size = 4 * (r->words + 2);
    while (size > 0 && r->out[size - 1] == 0) size--;
    return size;
}
