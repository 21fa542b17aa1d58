/* The C kernels on random and garbled input, for a build under sanitizers:

       cc -std=c99 -g -O1 -DRFV_DEBUG -fsanitize=address,undefined -fno-sanitize-recover=all
          -Irefcodec/kernels/src fuzz/kernels.c (all of refcodec/kernels/src but module.c and wasm.c) -o kernels
       ./kernels SEED ROUNDS

   Every buffer has exactly the size that is declared, so that the first byte beyond is noticed. What was encoded must
   decode to the same, whatever the budget between two returns; what was garbled must end with some outcome. */
#include "rfv.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t seed;

static uint64_t next(void)
{
    seed += 0x9e3779b97f4a7c15u;
    uint64_t z = seed;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static int32_t from(int32_t low, int32_t high) { return (int32_t)(low + (int64_t)(next() % (uint64_t)((int64_t)high - low + 1))); }
static int one_in(int n) { return next() % (uint64_t)n == 0; }

static void *bytes(size_t size)
{
    void *p = calloc(size ? size : 1, 1);
    if (p == NULL) abort();
    return size ? p : realloc(p, 1);
}

static void must(int condition, const char *what)
{
    if (!condition) {
        fprintf(stderr, "kernels: %s\n", what);
        abort();
    }
}

typedef struct {
    int32_t words[1 << 16];
    size_t count;
} model_words;

static void put(model_words *m, int32_t v) { m->words[m->count++] = v; }

static int32_t random_context(model_words *m, int32_t channels, int32_t family)
{
    const int joint = one_in(2);
    const int32_t c = joint ? channels : 1, k = family == RFV_MIXTURE ? 3 : 2;
    int32_t neighbours = one_in(8) ? 0 : from(1, one_in(4) ? 40 : 8), hidden = neighbours ? from(1, one_in(4) ? 64 : 9) : 0;
    int32_t i, inputs = 0, big = one_in(4);
    m->count = 0;
    put(m, 1), put(m, family), put(m, joint), put(m, c);
    put(m, joint ? 0 : from(0, 3));
    for (i = 0; i < 3; i++) put(m, from(0, 3));
    put(m, neighbours), put(m, hidden), put(m, hidden ? from(0, 15) : 0);
    for (i = 0; i < 3; i++) put(m, from(0, big ? 23 : 10));
    for (i = 0; i < neighbours; i++) {
        static const int32_t sources[12] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13};
        int32_t source = sources[from(0, 11)], a, far = one_in(6) ? 127 : 2;
        put(m, source), put(m, from(-far, far));
        for (a = 0; a < 3; a++) put(m, from(-far, far));
        inputs += joint && (source & 6) != 2 ? c : 1;
    }
    if (inputs > 512) return 0;
    for (i = 0; i < hidden * inputs; i++) put(m, big ? from(-128, 127) : from(-20, 20));
    for (i = 0; i < hidden; i++) put(m, big ? from(-32768, 32767) : from(-200, 200));
    for (i = 0; i < k * c * hidden; i++) put(m, big ? from(-128, 127) : from(-9, 9));
    for (i = 0; i < k * c; i++) put(m, big ? from(1 - (1 << 22), (1 << 22) - 1) : from(-4000, 40000));
    return 1;
}

static void random_static(model_words *m, int32_t channels, int32_t bands)
{
    int32_t assignment = from(0, 3), k, i, n, tables;
    tables = assignment == 0 ? 1 : assignment == 1 ? channels : assignment == 2 ? bands : bands * channels;
    m->count = 0;
    put(m, 2), put(m, assignment), put(m, tables);
    for (k = 0; k < tables; k++) {
        n = from(2, one_in(9) ? 700 : 9);
        put(m, from(-9, 3)), put(m, n);
        for (i = 0; i < n; i++) put(m, one_in(3) ? 0 : from(0, 9));
        m->words[m->count - 1] = 1;
    }
}

static void *tables_of(const model_words *m, int32_t family)
{
    size_t size = rfv_tables_size(family, m->words, m->count);
    void *memory;
    must(size > 0, "no tables for a good model");
    memory = bytes(size);
    must(rfv_tables_build(family, m->words, m->count, memory, size) == RFV_DONE, "tables are not built");
    return memory;
}

static int run_symbols(const rfv_job *job, size_t *used, int64_t *bits)
{
    size_t size = rfv_symbols_size(job);
    rfv_coder *coder = NULL;
    void *scratch;
    int32_t detail;
    int outcome;
    if (size == 0) return RFV_ARGUMENT;
    scratch = bytes(size);
    outcome = rfv_symbols_begin(job, scratch, size, &coder);
    if (outcome == RFV_DONE) {
        int64_t budget = one_in(2) ? 1 : 1 << 20;
        while ((outcome = rfv_symbols_run(coder, budget, &detail)) == RFV_MORE) {}
        if (outcome == RFV_DONE) outcome = rfv_symbols_finish(coder, used, bits);
    }
    free(scratch);
    return outcome;
}

static void garble(uint8_t *data, size_t size)
{
    int32_t i, n = from(1, 4);
    for (i = 0; i < n && size > 0; i++) data[next() % size] = (uint8_t)next();
}

static void symbols(void)
{
    static model_words m;
    rfv_job job;
    int32_t i, family, bands = from(1, 3);
    int64_t cells, coded, k, bits;
    uint8_t *mask, *selected = NULL, *band = NULL, *out;
    int8_t *previous;
    int32_t *values, *found;
    void *tables;
    size_t used = 0, room;
    int outcome;
    memset(&job, 0, sizeof job);
    job.shape[0] = from(1, 6);
    for (i = 1; i < 4; i++) job.shape[i] = one_in(3) ? 1 : from(1, one_in(9) ? 40 : 9);
    for (i = 0; i < 3; i++) job.blocks[i] = one_in(2) ? 1 : from(1, 4);
    if (one_in(3)) {
        random_static(&m, job.shape[0], bands);
        family = RFV_STATIC;
    } else {
        family = from(0, 2);
        if (!random_context(&m, job.shape[0], family)) return;
    }
    tables = tables_of(&m, family);
    cells = (int64_t)job.shape[1] * job.shape[2] * job.shape[3];
    mask = bytes((size_t)cells), previous = bytes((size_t)(cells * job.shape[0]));
    for (coded = k = 0; k < cells; k++) coded += mask[k] = !one_in(3);
    for (k = 0; k < cells * job.shape[0]; k++) previous[k] = (int8_t)(one_in(4) ? from(-127, 127) : 0);
    job.model = m.words, job.model_words = m.count, job.tables = tables;
    if (one_in(2))
        job.mask = mask, job.mask_size = (size_t)cells;
    else
        coded = cells;
    if (one_in(2)) job.previous = previous, job.previous_size = (size_t)(cells * job.shape[0]);
    values = bytes(4 * (size_t)(coded * job.shape[0]));
    found = bytes(4 * (size_t)(coded * job.shape[0]));
    if (one_in(3)) {
        selected = bytes((size_t)(coded * job.shape[0]));
        for (k = 0; k < coded * job.shape[0]; k++) selected[k] = one_in(2);
        job.selected = selected, job.selected_size = (size_t)(coded * job.shape[0]);
    }
    band = bytes((size_t)coded);
    for (k = 0; k < coded; k++) band[k] = (uint8_t)from(0, bands - 1);
    if (family == RFV_STATIC && one_in(2)) job.band = band, job.band_size = (size_t)coded;
    {
        int32_t large = one_in(9) ? (1 << 20) - 1 : one_in(2) ? 3 : 200, sparse = from(1, 12);
        for (k = 0; k < coded * job.shape[0]; k++)
            if (one_in(sparse) && (selected == NULL || selected[k])) values[k] = from(-large, large);
    }
    job.values = values, job.values_size = (size_t)(coded * job.shape[0]);
    job.encode = 1;
    room = 12 * (job.values_size + 2);
    if (one_in(5)) room = 4;
    job.out = out = bytes(room), job.out_size = room;
    outcome = run_symbols(&job, &used, &bits);
    if (outcome == RFV_SPACE) {
        free(out);
        room = (used + 3) / 4 * 4;
        job.out = out = bytes(room), job.out_size = room;
        outcome = run_symbols(&job, &used, &bits);
    }
    must(outcome == RFV_DONE, "values are not encoded");
    must(used == 0 || out[used - 1] != 0, "data end with a zero");
    {
        uint8_t *data = bytes(used);
        memcpy(data, out, used);
        job.encode = 0, job.out = NULL, job.out_size = 0;
        job.data = data, job.data_size = used, job.values = found;
        must(run_symbols(&job, &used, &bits) == RFV_DONE, "what was encoded does not decode");
        must(memcmp(values, found, 4 * job.values_size) == 0, "other values are decoded");
        for (i = 0; i < 3; i++) {
            memset(found, 0, 4 * job.values_size);
            garble(data, job.data_size);
            outcome = run_symbols(&job, &used, &bits);
            must(outcome >= 0 && outcome <= RFV_ENT_04, "garbled data end with no requirement");
        }
        /* Sizes and numbers that are not right: refused, or harmless. */
        memset(found, 0, 4 * job.values_size);
        switch (from(0, 5)) {
        case 0: job.shape[from(0, 3)] = from(-2, 5000); break;
        case 1: job.values_size += (size_t)from(1, 3); break;
        case 2: m.words[next() % m.count] = (int32_t)next(); break;
        case 3: job.model_words = (size_t)from(0, (int32_t)m.count); break;
        case 4: job.blocks[from(0, 2)] = from(-3, 5000); break;
        default: job.previous = previous, job.previous_size = (size_t)from(0, 9); break;
        }
        if (job.values_size <= (size_t)(coded * job.shape[0])) (void)run_symbols(&job, &used, &bits);
        free(data);
    }
    free(out), free(values), free(found), free(mask), free(previous), free(selected), free(band), free(tables);
}

static void occupancy(void)
{
    static model_words m;
    rfv_job job;
    int64_t cells, k, bits;
    int32_t i, detail, *values;
    uint8_t *out, *found;
    int8_t *previous;
    void *tables, *scratch;
    rfv_coder *coder;
    size_t used, room, size;
    int outcome, attempt;
    memset(&job, 0, sizeof job);
    job.shape[0] = 1;
    for (i = 0; i < 3; i++) job.shape[1 + i] = from(1, 12), job.blocks[i] = 1;
    if (!random_context(&m, 1, RFV_BERNOULLI)) return;
    tables = tables_of(&m, RFV_BERNOULLI);
    cells = (int64_t)job.shape[1] * job.shape[2] * job.shape[3];
    job.model = m.words, job.model_words = m.count, job.tables = tables;
    previous = bytes((size_t)cells), values = bytes(4 * (size_t)cells), found = bytes((size_t)cells);
    for (k = 0; k < cells; k++) previous[k] = one_in(4), values[k] = one_in(3);
    if (one_in(2)) job.previous = previous, job.previous_size = (size_t)cells;
    job.values = values, job.values_size = (size_t)cells, job.encode = 1;
    room = 12 * ((size_t)cells + 2);
    job.out = out = bytes(room), job.out_size = room;
    must(run_symbols(&job, &used, &bits) == RFV_DONE, "an occupancy is not encoded");
    job.encode = 0, job.data = bytes(used), job.data_size = used;
    memcpy((uint8_t *)job.data, out, used);
    size = rfv_occupancy_size(&job);
    for (attempt = 0; size > 0 && attempt < 3; attempt++) {
        scratch = bytes(size);
        memset(found, 0, (size_t)cells);
        must(rfv_occupancy_begin(&job, found, (size_t)cells, scratch, size, &coder) == RFV_DONE, "occupancy: begin");
        while ((outcome = rfv_occupancy_run(coder, one_in(2) ? 1 : 1 << 20, &detail)) == RFV_MORE) {}
        if (outcome == RFV_DONE) outcome = rfv_occupancy_finish(coder);
        if (attempt == 0) {
            must(outcome == RFV_DONE, "an occupancy does not decode");
            for (k = 0; k < cells; k++) must(values[k] == found[k], "another occupancy is decoded");
        }
        must(outcome == RFV_NO_BIT || (outcome >= 0 && outcome <= RFV_ENT_04), "occupancy: outcome");
        free(scratch);
        garble((uint8_t *)job.data, used);
    }
    free((void *)job.data), free(out), free(values), free(previous), free(found), free(tables);
}

static void reconstruction(void)
{
    rfv_reconstruction r;
    int64_t cells = 1, coefficients = 1, coded, k;
    int32_t i, *values, *source, *tensor, largest = one_in(3) ? (1 << 20) - 1 : 40;
    uint8_t *mask;
    int8_t *context;
    void *scratch;
    size_t size;
    memset(&r, 0, sizeof r);
    r.transform = from(0, 2), r.levels = r.transform == 2 ? from(1, 6) : 0;
    r.bands = r.transform == 0 ? 1 : r.transform == 1 ? 4 : r.levels + 1;
    r.shape[0] = from(1, 4);
    for (i = 1; i < 4; i++) {
        r.shape[i] = one_in(3) ? 1 : from(1, 20);
        cells *= r.shape[i];
        coefficients *= r.transform == 1 && r.shape[i] > 1 ? (r.shape[i] + 7) / 8 * 8 : r.shape[i];
    }
    for (i = 0; i < r.bands; i++) r.steps[i] = from(0, 255);
    mask = bytes((size_t)coefficients);
    for (coded = k = 0; k < coefficients; k++) coded += mask[k] = one_in(2);
    if (one_in(2))
        r.mask = mask, r.mask_size = (size_t)coefficients;
    else
        coded = coefficients;
    values = bytes(4 * (size_t)(coded * r.shape[0]));
    for (k = 0; k < coded * r.shape[0]; k++) values[k] = one_in(3) ? 0 : from(-largest, largest);
    source = bytes(4 * (size_t)(cells * r.shape[0])), tensor = bytes(4 * (size_t)(cells * r.shape[0]));
    for (k = 0; k < cells * r.shape[0]; k++) source[k] = (int32_t)next();
    context = bytes((size_t)(coefficients * r.shape[0]));
    r.values = values, r.values_size = (size_t)(coded * r.shape[0]);
    if (one_in(2)) r.source = source, r.source_size = (size_t)(cells * r.shape[0]), r.based = one_in(2);
    r.base_mantissa = from(-32768, 32767), r.base_exponent = from(-16, 15), r.offset = (int32_t)next();
    r.tensor = tensor, r.tensor_size = (size_t)(cells * r.shape[0]);
    r.context = context, r.context_size = (size_t)(coefficients * r.shape[0]);
    size = rfv_reconstruct_size(&r);
    must(size > 0, "a reconstruction is refused");
    scratch = bytes(size);
    must(rfv_reconstruct(&r, scratch, size) == RFV_DONE, "a reconstruction fails");
    if (r.values_size > 0) {
        values[0] = 1 << 20;
        must(rfv_reconstruct(&r, scratch, size) == RFV_ARGUMENT, "a value is too large");
    }
    free(scratch), free(mask), free(values), free(source), free(tensor), free(context);
}

static void significance(void)
{
    int32_t dims[3], cells[3], i, *ranges[3], transform = from(0, 2), levels = transform == 2 ? from(1, 6) : 0;
    int64_t voxels = 1, count = 1, support = 1, k;
    uint8_t *occupied, *mask, *out;
    void *scratch;
    size_t size;
    for (i = 0; i < 3; i++) {
        int64_t numerator = one_in(2) ? 1 : (int64_t)(next() % ((uint64_t)1 << 46));
        dims[i] = from(1, 20), cells[i] = one_in(3) ? 1 : from(1, 40);
        voxels *= dims[i], count *= cells[i];
        support *= transform == 1 && cells[i] > 1 ? (cells[i] + 7) / 8 * 8 : cells[i];
        ranges[i] = bytes(16 * (size_t)dims[i]);
        must(rfv_touched(dims[i], cells[i], numerator,
                         numerator == 1 ? dims[i] : (int64_t)(next() % (((uint64_t)1 << 49) - 1)) + 1, numerator == 1,
                         from(0, 1), ranges[i], 4 * (size_t)dims[i]) == RFV_DONE, "touched cells are refused");
    }
    occupied = bytes((size_t)voxels), mask = bytes((size_t)count), out = bytes((size_t)support);
    for (k = 0; k < voxels; k++) occupied[k] = one_in(20);
    size = rfv_coded_size(dims, cells);
    scratch = bytes(size);
    must(rfv_coded(occupied, (size_t)voxels, dims, cells, (const int32_t *const *)ranges, mask, (size_t)count, scratch,
                   size) == RFV_DONE, "coded cells are refused");
    must(rfv_support(transform, levels, cells, mask, (size_t)count, out, (size_t)support) == RFV_DONE,
         "a support is refused");
    for (k = 0; k < support; k++) must(out[k] <= 1, "a mark is no bit");
    for (i = 0; i < 3; i++) free(ranges[i]);
    free(occupied), free(mask), free(out), free(scratch);
}

static void lookups(void)
{
    size_t rows = (size_t)from(1, 30), channels = (size_t)from(1, 9), count = (size_t)from(1, 8), points = (size_t)from(0, 20), i;
    float *table = bytes(4 * rows * channels), *weights = bytes(4 * count * points), *out = bytes(4 * points * channels);
    int64_t *corners = bytes(8 * count * points);
    for (i = 0; i < count * points; i++) corners[i] = (int64_t)(next() % rows), weights[i] = (float)from(-9, 9);
    must(rfv_interpolate(table, rows, channels, corners, weights, count, points, out) == RFV_DONE, "a lookup fails");
    if (points > 0) {
        corners[next() % (count * points)] = one_in(2) ? (int64_t)rows : -1;
        must(rfv_interpolate(table, rows, channels, corners, weights, count, points, out) == RFV_ARGUMENT,
             "a lookup outside is done");
    }
    free(table), free(weights), free(out), free(corners);
}

static void digests(void)
{
    static const uint8_t abc[32] = {0xba, 0x78, 0x16, 0xbf, 0x8f, 0x01, 0xcf, 0xea, 0x41, 0x41, 0x40, 0xde, 0x5d, 0xae, 0x22, 0x23,
                                    0xb0, 0x03, 0x61, 0xa3, 0x96, 0x17, 0x7a, 0x9c, 0xb4, 0x10, 0xff, 0x61, 0xf2, 0x00, 0x15, 0xad};
    rfv_sha256 whole, parts;
    uint8_t a[32], b[32], *data;
    size_t size = (size_t)from(0, 300), cut = (size_t)from(0, (int32_t)size), i;
    rfv_sha256_begin(&whole);
    rfv_sha256_add(&whole, (const uint8_t *)"abc", 3);
    rfv_sha256_end(&whole, a);
    must(memcmp(a, abc, 32) == 0, "SHA-256 of abc");
    data = bytes(size);
    for (i = 0; i < size; i++) data[i] = (uint8_t)next();
    rfv_sha256_begin(&whole), rfv_sha256_begin(&parts);
    rfv_sha256_add(&whole, data, size);
    rfv_sha256_add(&parts, data, cut), rfv_sha256_add(&parts, data + cut, size - cut);
    rfv_sha256_end(&whole, a), rfv_sha256_end(&parts, b);
    must(memcmp(a, b, 32) == 0, "SHA-256 in parts");
    free(data);
}

int main(int argc, char **argv)
{
    long rounds, i;
    if (argc != 3) return fprintf(stderr, "usage: kernels SEED ROUNDS\n"), 1;
    rounds = atol(argv[2]);
    for (i = 0; i < rounds; i++) {
        seed = strtoull(argv[1], NULL, 10) + (uint64_t)i * 1000003u; /* each round by itself */
        symbols();
        occupancy();
        reconstruction();
        significance();
        lookups();
        digests();
    }
    printf("%ld rounds\n", rounds);
    return 0;
}
