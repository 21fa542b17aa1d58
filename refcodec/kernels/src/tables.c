/* Frequency tables (spec 6.6 to 6.9), laid out for coding. */
#include "model.h"

#define SCALES 44
#define BITS 64
#define SHAPES 5
#define FURTHER 8

static const uint32_t DECAY[SCALES] = {
    258095, 971839, 2963433, 7567594, 16647136, 32303313, 56408881, 90142345, 133696396, 186240217, 246106835,
    311110280, 378887070, 447184425, 514057586, 577972421, 637829831, 692936231, 742943558, 787777355, 827565445,
    862574410, 893157081, 919711637, 942651383, 962383614, 979295723, 993746874, 1006063724, 1016538999, 1025431995,
    1032970271, 1039352057, 1044748984, 1049308925, 1053158765, 1056407011, 1059146203, 1061455076, 1063400495,
    1065039150, 1066419043, 1067580774, 1068558649};
static const int32_t REACH[SCALES] = {4,  4,  4,  4,  4,  4,  4,  4,  4,  4,   5,   5,   6,   7,   9,
                                      10, 12, 14, 17, 20, 24, 28, 33, 39, 47,  55,  66,  78,  93,  110,
                                      131, 155, 185, 220, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255};
static const uint32_t ONE[BITS] = {
    4095, 5310, 6886, 8929, 11577, 15011, 19461, 25230, 32704, 42387, 54929, 71164, 92173, 119339, 154437, 199734,
    258111, 333207, 429583, 552898, 710074, 909427, 1160704, 1474957, 1864135, 2340296, 2914316, 3594078, 4382274,
    5274170, 6255970, 7304479, 8388608, 9472737, 10521246, 11503046, 12394942, 13183138, 13862900, 14436920,
    14913081, 15302259, 15616512, 15867789, 16067142, 16224318, 16347633, 16444009, 16519105, 16577482, 16622779,
    16657877, 16685043, 16706052, 16722287, 16734829, 16744512, 16751986, 16757755, 16762205, 16765639, 16768287,
    16770330, 16771906};
static const int32_t WIDE[SHAPES] = {1, 4, 10, 20, 36};

static int32_t farther(int32_t k) { return k + FURTHER < SCALES ? k + FURTHER : SCALES - 1; }

/* (entries, tables) of a family or static model; 0 tables: a bad one. */
static void count_entries(int32_t family, const rfv_model *m, int32_t *tables, int32_t *entries)
{
    int32_t k, n = 0;
    *tables = *entries = 0;
    switch (family) {
    case RFV_LAPLACE:
        for (k = 0; k < SCALES; k++) n += 2 * REACH[k] + 2;
        *tables = SCALES;
        break;
    case RFV_BERNOULLI:
        n = 3 * BITS, *tables = BITS;
        break;
    case RFV_MIXTURE:
        for (k = 0; k < SCALES; k++) n += SHAPES * (2 * REACH[farther(k)] + 2);
        *tables = SCALES * SHAPES;
        break;
    case RFV_STATIC: {
        size_t at = 0;
        for (k = 0; k < m->tables; k++) n += m->counts[at + 1], at += 2 + (size_t)m->counts[at + 1];
        *tables = m->tables;
        break;
    }
    default:
        return;
    }
    *entries = n;
}

typedef struct {
    rfv_tables *tables;
    rfv_table *table;
    uint32_t *below;
    uint16_t *bucket;
} layout;

static int lay_out(int32_t family, const int32_t *words, size_t count, rfv_arena *arena, layout *l, rfv_model *m)
{
    int32_t tables, entries;
    memset(m, 0, sizeof *m);
    if (family == RFV_STATIC && (rfv_model_read(m, words, count) != RFV_DONE || m->type != 2)) return RFV_ARGUMENT;
    count_entries(family, m, &tables, &entries);
    if (tables == 0) return RFV_ARGUMENT;
    l->tables = rfv_take(arena, 1, sizeof(rfv_tables));
    l->table = rfv_take(arena, (uint64_t)tables, sizeof(rfv_table));
    l->below = rfv_take(arena, (uint64_t)(entries + tables), sizeof(uint32_t));
    l->bucket = rfv_take(arena, (uint64_t)tables * (RFV_BUCKETS + 1), sizeof(uint16_t));
    if (arena->failed) return RFV_ARGUMENT;
    if (l->tables != NULL) l->tables->table = l->table, l->tables->count = tables, l->tables->entries = entries;
    return RFV_DONE;
}

size_t rfv_tables_size(int32_t family, const int32_t *words, size_t count)
{
    rfv_arena arena = rfv_counting();
    layout l;
    rfv_model m;
    return lay_out(family, words, count, &arena, &l, &m) == RFV_DONE ? (size_t)arena.used : 0;
}

static void laplace(int32_t k, uint32_t *frequency)
{
    uint64_t square = ((uint64_t)DECAY[k] * DECAY[k]) >> 30, tail = DECAY[k], following;
    uint32_t rest = RFV_TOTAL, v;
    int32_t reach = REACH[k], n;
    for (n = 1; n <= reach; n++, tail = following) {
        following = (tail * square) >> 30;
        v = (uint32_t)((tail - following) >> 7);
        if (v < 1) v = 1;
        frequency[reach - n] = frequency[reach + n] = v;
        rest -= 2 * v;
    }
    v = (uint32_t)(tail >> 6);
    if (v < 1) v = 1;
    frequency[2 * reach + 1] = v;
    frequency[reach] = rest - v;
}

static void mixture(int32_t k, uint32_t wide, uint32_t *frequency)
{
    uint32_t narrow[2 * 255 + 2], other[2 * 255 + 2], a, v, sum = 0;
    int32_t j = farther(k), reach = REACH[j], within = REACH[k], i;
    laplace(k, narrow);
    laplace(j, other);
    for (i = 0; i < 2 * reach + 2; i++) {
        int32_t n = i - reach;
        a = i == 2 * reach + 1 ? narrow[2 * within + 1] : n >= -within && n <= within ? narrow[within + n] : 0;
        v = ((64 - wide) * a + wide * other[i]) >> 6;
        frequency[i] = v < 1 ? 1 : v;
        sum += frequency[i];
    }
    frequency[reach] += RFV_TOTAL - sum; /* modulo 2^32 */
}

static void fixed(const int32_t *counts, int32_t n, uint32_t *frequency)
{
    int64_t total = 0;
    uint32_t sum = 0;
    int32_t i, best = 0;
    for (i = 0; i < n; i++) {
        total += counts[i];
        if (counts[i] > counts[best]) best = i;
    }
    for (i = 0; i < n; i++) {
        frequency[i] = (uint32_t)(1 + counts[i] * (int64_t)(RFV_TOTAL - (uint32_t)n) / total);
        sum += frequency[i];
    }
    frequency[best] += RFV_TOTAL - sum;
}

int rfv_tables_build(int32_t family, const int32_t *words, size_t count, void *memory, size_t size)
{
    rfv_arena arena = {memory, 0, size, 0};
    layout l;
    rfv_model m;
    uint32_t frequency[RFV_MAX_ENTRIES];
    size_t at = 0;
    int32_t k, i, n, low, start = 0;
    uint32_t *below;
    if (memory == NULL || lay_out(family, words, count, &arena, &l, &m) != RFV_DONE) return RFV_ARGUMENT;
    below = l.below;
    for (k = 0; k < l.tables->count; k++) {
        uint16_t *bucket = l.bucket + (size_t)k * (RFV_BUCKETS + 1);
        uint32_t sum = 0, best = 0;
        switch (family) {
        case RFV_LAPLACE:
            laplace(k, frequency), low = -REACH[k], n = 2 * REACH[k] + 2;
            break;
        case RFV_BERNOULLI:
            frequency[0] = RFV_TOTAL - ONE[k] - 1, frequency[1] = ONE[k], frequency[2] = 1, low = 0, n = 3;
            break;
        case RFV_MIXTURE:
            mixture(k % SCALES, (uint32_t)WIDE[k / SCALES], frequency);
            low = -REACH[farther(k % SCALES)], n = -2 * low + 2;
            break;
        default:
            low = m.counts[at], n = m.counts[at + 1];
            fixed(m.counts + at + 2, n, frequency);
            at += 2 + (size_t)n;
        }
        for (i = 0; i < n; i++) {
            below[i] = sum;
            sum += frequency[i];
            if (frequency[i] > frequency[best]) best = (uint32_t)i;
        }
        below[n] = sum;
        if (sum != RFV_TOTAL) return RFV_INTERNAL;
        for (i = 0, n--; i <= RFV_BUCKETS; i++) {
            int32_t e = i > 0 ? bucket[i - 1] : 0;
            while (e < n && below[e + 1] <= (uint32_t)i << 16) e++;
            bucket[i] = (uint16_t)e;
        }
        l.table[k].below = below, l.table[k].bucket = bucket, l.table[k].low = low, l.table[k].size = n;
        l.table[k].likely = best < (uint32_t)n && frequency[best] > RFV_TOTAL / 3 ? (int32_t)best : -1;
        l.table[k].start = start;
        start += n + 1;
        below += n + 2;
    }
    return RFV_DONE;
}

int rfv_tables_frequencies(const rfv_tables *tables, uint32_t *out, size_t count)
{
    int32_t k, i;
    if (count != (size_t)tables->entries) return RFV_ARGUMENT;
    for (k = 0; k < tables->count; k++)
        for (i = 0; i <= tables->table[k].size; i++)
            *out++ = tables->table[k].below[i + 1] - tables->table[k].below[i];
    return RFV_DONE;
}
