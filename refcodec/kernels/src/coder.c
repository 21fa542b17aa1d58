/* Coding the symbols of one tensor: order, contexts, runs, escapes (spec 6.3 to 6.5). */
#include "layer.h"
#include "model.h"
#include "range.h"

#define SPARSE 8        /* symbols to each one with inputs from which on a wavefront is mostly quiet */
#define BIT_INPUTS 16   /* of a model whose contexts are kept as numbers */
#define LAST_BIT_TABLE 63

typedef struct {
    int32_t source, dc, offset[3], column;
} neighbour;

struct rfv_coder {
    rfv_job job;
    rfv_model model;
    rfv_range range;
    rfv_wavefront wavefront;
    int64_t cells, coded; /* of the array; coded ones */
    int64_t volume;       /* of the store, in rows */
    int32_t before[3], padded[3];
    int32_t neighbours, kept_inputs;
    neighbour *neighbour; /* those that are not outside for every cell, offsets in cells */
    /* The walk: items in coding order, a cell or, where the scan separates channels, (cell << bits | channel). */
    int32_t channels, symbols, unit, bits, width, keys; /* symbols: of an item; unit: outputs of the network at once */
    int32_t run;                                        /* cells that follow each other from each of `rows` on */
    uint32_t *order;
    int64_t *ends;
    int32_t *rows;
    int64_t wavefronts, at, longest;
    /* The network. Inputs are values first, then magnitudes, then activities. */
    int32_t values, magnitudes, activities, pairs, hidden_rows, hidden_pairs;
    int64_t *offset;
    int32_t *first, *first_bias, *second, *second_bias;
    int32_t limit[3];
    rfv_hidden *hidden;
    rfv_output *output;
    int8_t *quiet_location;
    uint8_t *quiet_table;
    int32_t quiet_differs;
    int64_t *seen_from, *seen_later;
    int32_t seen_from_count, seen_later_count;
    /* What contexts are read from. */
    int8_t *store, *activity;
    uint8_t *active;
    int16_t *inputs;
    int32_t *between, *location_sum, *table_sum;
    int64_t *place;
    uint8_t *table;
    int8_t *location;
    int32_t *wavefront_values;
    /* Occupancy. */
    uint8_t *occupancy;
    uint16_t *context;
    uint8_t *chosen;
    int64_t *later_bit, *from_bit;
    int64_t key;
};

/* Geometry. ------------------------------------------------------------------------------------------------------ */

/* The neighbours that are inside for some cell, and the store around the cells. */
static void place_neighbours(rfv_coder *c, const int32_t size[3], const int32_t blocks[3], neighbour *list)
{
    int32_t after[3] = {0, 0, 0}, column = 0, i, axis;
    memset(c->before, 0, sizeof c->before);
    c->neighbours = c->kept_inputs = 0;
    for (i = 0; i < c->model.neighbours; i++) {
        const int32_t *n = c->model.neighbour + i * RFV_NEIGHBOUR;
        neighbour found;
        int inside = 1;
        found.source = n[0] & 7, found.dc = n[1], found.column = column;
        column += c->model.joint && !rfv_is_activity(n[0]) ? c->model.channels : 1;
        for (axis = 0; axis < 3; axis++) {
            int64_t offset = (int64_t)n[2 + axis] * (n[0] & 8 ? blocks[axis] : 1);
            if (offset >= size[axis] || -offset >= size[axis]) inside = 0;
            found.offset[axis] = inside ? (int32_t)offset : 0;
        }
        if (!inside) continue;
        c->kept_inputs += column - found.column;
        for (axis = 0; axis < 3; axis++) {
            if (-found.offset[axis] > c->before[axis]) c->before[axis] = -found.offset[axis];
            if (found.offset[axis] > after[axis]) after[axis] = found.offset[axis];
        }
        if (list != NULL) list[c->neighbours] = found;
        c->neighbours++;
    }
    /* As far on both sides of the outermost axis, and one cell more for what the others add: so the rows from which a
       cell is seen are rows of the store, too. */
    for (axis = 0; axis < 2 && !c->before[axis] && !after[axis];) axis++;
    if (after[axis] > c->before[axis]) c->before[axis] = after[axis];
    after[axis] = ++c->before[axis];
    c->volume = 1;
    for (axis = 0; axis < 3; axis++) {
        c->padded[axis] = c->before[axis] + size[axis] + after[axis];
        c->volume *= c->padded[axis];
    }
}

RFV_INLINE int64_t row_offset(const rfv_coder *c, const neighbour *n)
{
    return ((int64_t)n->offset[0] * c->padded[1] + n->offset[1]) * c->padded[2] + n->offset[2];
}

RFV_INLINE int64_t line_row(const rfv_coder *c, int64_t z, int64_t y)
{
    return ((z + c->before[0]) * c->padded[1] + y + c->before[1]) * c->padded[2] + c->before[2];
}

RFV_INLINE int64_t row_of(const rfv_coder *c, int64_t cell)
{
    uint32_t n = (uint32_t)cell, run = (uint32_t)c->run;
    return run == 1 ? c->rows[n] : c->rows[n / run] + (int32_t)(n % run);
}

static int add_distinct(int64_t *list, int32_t *count, int64_t v)
{
    int32_t i;
    for (i = 0; i < *count; i++)
        if (list[i] == v) return 0;
    list[(*count)++] = v;
    return 1;
}

/* Sizes. --------------------------------------------------------------------------------------------------------- */

static int check_job(const rfv_job *j, rfv_coder *c, int occupancy)
{
    int64_t symbols, i;
    int32_t family;
    memset(c, 0, sizeof *c);
    c->job = *j;
    if (rfv_model_read(&c->model, j->model, j->model_words) != RFV_DONE) return RFV_ARGUMENT;
    c->cells = rfv_volume(j->shape + 1);
    c->channels = j->shape[0];
    if (c->cells == 0 || c->cells > INT32_MAX / 2 || c->channels < 1 || c->channels > RFV_MAX_CHANNELS)
        return RFV_ARGUMENT;
    for (i = 0; i < 3; i++)
        if (j->blocks[i] < 1 || j->blocks[i] > RFV_MAX_AXIS) return RFV_ARGUMENT;
    family = c->model.type == 1 ? c->model.family : RFV_STATIC;
    if (j->tables == NULL || j->tables->count < 1) return RFV_ARGUMENT;
    if (family == RFV_STATIC ? j->tables->count != c->model.tables
                             : j->tables->count != (family == RFV_MIXTURE ? 220 : family == RFV_BERNOULLI ? 64 : 44))
        return RFV_ARGUMENT;
    if (c->model.joint && c->model.channels != c->channels) return RFV_ARGUMENT;
    if (j->previous != NULL && j->previous_size != (size_t)(c->cells * c->channels)) return RFV_ARGUMENT;
    if (j->encode ? j->out == NULL : j->data == NULL && j->data_size) return RFV_ARGUMENT;
    if (occupancy) return c->channels == 1 && c->model.type == 1 ? RFV_DONE : RFV_ARGUMENT;
    c->coded = c->cells;
    if (j->mask != NULL) {
        if (j->mask_size != (size_t)c->cells) return RFV_ARGUMENT;
        for (c->coded = i = 0; i < c->cells; i++) {
            if (j->mask[i] > 1) return RFV_ARGUMENT;
            c->coded += j->mask[i];
        }
    }
    symbols = c->coded * c->channels;
    for (c->bits = 0; (1 << c->bits) < c->channels;) c->bits++;
    if (symbols > INT32_MAX || c->coded << c->bits > (int64_t)UINT32_MAX) return RFV_ARGUMENT;
    if (symbols > 0 && (j->values == NULL || j->values_size != (size_t)symbols)) return RFV_ARGUMENT;
    if (j->selected != NULL && j->selected_size != (size_t)symbols) return RFV_ARGUMENT;
    if (j->band != NULL && j->band_size != (size_t)c->coded) return RFV_ARGUMENT;
    if (j->histogram != NULL && j->histogram_size != (size_t)j->tables->entries) return RFV_ARGUMENT;
    if (c->model.type == 2) {
        int64_t bands = 1, k;
        static const int by_channel[4] = {0, 1, 0, 1}, by_band[4] = {0, 0, 1, 1};
        if (j->band != NULL && by_band[c->model.assignment])
            for (k = 0; k < c->coded; k++)
                if (j->band[k] + 1 > bands) bands = j->band[k] + 1;
        if (bands * (by_channel[c->model.assignment] ? c->channels : 1) > c->model.tables) return RFV_ARGUMENT;
    }
    return RFV_DONE;
}

/* What the coder needs, in the order of its use. With a counting arena only the size is found. */
static int lay_out(rfv_coder *c, rfv_arena *a)
{
    const rfv_model *m = &c->model;
    const int context = m->type == 1;
    int32_t i, temporal = 0, with_activity = 0, inputs, reach = 0, channel_outputs;
    int64_t stored, symbols = c->coded * c->channels, items, longest;
    c->symbols = context && m->scan[0] ? 1 : c->channels;
    c->unit = m->joint ? c->channels : 1;
    c->run = c->job.mask == NULL ? c->job.shape[3] : 1;
    c->wavefront.starts = rfv_take(a, (uint64_t)c->job.tables->count + 1, sizeof(int64_t));
    if (!context) {
        c->table = rfv_take(a, (uint64_t)symbols, 1);
        c->wavefront.order = rfv_take(a, c->job.tables->count == 1 ? 0 : (uint64_t)symbols, sizeof(int32_t));
        if (c->job.encode && c->job.selected != NULL)
            c->wavefront_values = rfv_take(a, (uint64_t)symbols, sizeof(int32_t));
        return a->failed ? RFV_ARGUMENT : RFV_DONE;
    }
    c->neighbour = rfv_take(a, (uint64_t)m->neighbours, sizeof(neighbour));
    place_neighbours(c, c->job.shape + 1, c->job.blocks, c->neighbour);
    if (c->volume > INT32_MAX / 4) return RFV_ARGUMENT;
    /* Counted from the model, for the list is not there yet where memory is only counted. */
    for (i = 0; i < m->neighbours; i++) {
        const int32_t *n = m->neighbour + i * RFV_NEIGHBOUR;
        temporal |= rfv_is_previous(n[0]), with_activity |= rfv_is_activity(n[0]);
        if (!m->joint && (n[1] < 0 ? -n[1] : n[1]) > reach) reach = n[1] < 0 ? -n[1] : n[1];
    }
    inputs = c->kept_inputs;
    c->width = c->channels + reach;
    c->keys = m->scan[0] * (c->channels - 1) + 1;
    for (i = 0; i < 3; i++) c->keys += m->scan[1 + i] * (c->job.shape[1 + i] - 1);
    items = c->coded * (c->channels / c->symbols);
    c->order = rfv_take(a, (uint64_t)items, sizeof(uint32_t));
    c->ends = rfv_take(a, (uint64_t)c->keys, sizeof(int64_t));
    c->rows = rfv_take(a, (uint64_t)(c->run == 1 ? c->coded : c->coded / c->run), sizeof(int32_t));
    c->pairs = (inputs + 1) / 2, c->hidden_rows = (m->hidden + 3) / 4 * 4, c->hidden_pairs = c->hidden_rows / 2;
    channel_outputs = 4 * m->channels;
    c->offset = rfv_take(a, (uint64_t)inputs, sizeof(int64_t));
    c->first = rfv_take(a, (uint64_t)c->hidden_rows * (uint64_t)c->pairs, sizeof(int32_t));
    c->first_bias = rfv_take(a, (uint64_t)c->hidden_rows, sizeof(int32_t));
    c->second = rfv_take(a, (uint64_t)channel_outputs * (uint64_t)c->hidden_pairs, sizeof(int32_t));
    c->second_bias = rfv_take(a, (uint64_t)channel_outputs, sizeof(int32_t));
    c->quiet_location = rfv_take(a, (uint64_t)c->channels, 1);
    c->quiet_table = rfv_take(a, (uint64_t)c->channels, 1);
    c->seen_from = rfv_take(a, (uint64_t)m->neighbours, sizeof(int64_t));
    c->seen_later = rfv_take(a, (uint64_t)m->neighbours, sizeof(int64_t));
    c->inputs = rfv_take(a, (uint64_t)c->pairs * RFV_BATCH, sizeof(int32_t));
    c->between = rfv_take(a, (uint64_t)c->hidden_pairs * RFV_BATCH, sizeof(int32_t));
    c->location_sum = rfv_take(a, RFV_BATCH, sizeof(int32_t));
    c->table_sum = rfv_take(a, RFV_BATCH, sizeof(int32_t));
    c->place = rfv_take(a, RFV_BATCH, sizeof(int64_t));
    if (c->neighbours > 0) {
        stored = c->volume * (temporal ? 2 : 1);
        c->store = rfv_take(a, (uint64_t)(stored * c->width), 1);
        c->activity = rfv_take(a, with_activity ? (uint64_t)stored : 0, 1);
        c->active = rfv_take(a, (uint64_t)c->volume, 1);
    }
    /* The longest wavefront: for a scan along some axis the cells of a key lie on a surface; else it is all cells. */
    longest = c->longest > 0 ? c->longest : symbols;
    c->table = rfv_take(a, (uint64_t)longest, 1);
    c->location = rfv_take(a, (uint64_t)longest, 1);
    c->wavefront.order = rfv_take(a, (uint64_t)longest, sizeof(int32_t));
    c->wavefront_values = rfv_take(a, (uint64_t)longest, sizeof(int32_t));
    return a->failed ? RFV_ARGUMENT : RFV_DONE;
}

/* Upper bound of the symbols of a wavefront: all, or those of a layer where one axis of the scan decides the place. */
static int64_t longest_wavefront(const rfv_coder *c)
{
    int64_t best = c->coded * c->channels;
    int axis;
    for (axis = 0; axis < 3; axis++)
        if (c->model.scan[1 + axis] > 0) {
            int64_t layer = c->cells / c->job.shape[1 + axis] * c->channels;
            if (layer < best) best = layer;
        }
    if (c->model.scan[0] > 0 && c->coded < best) best = c->coded;
    return best > 0 ? best : 1;
}

/* The network. --------------------------------------------------------------------------------------------------- */

RFV_INLINE int32_t pair(int32_t even, int32_t odd) { return (int32_t)((uint32_t)(even & 0xffff) | (uint32_t)odd << 16); }

static void set_half(int32_t *words, int32_t index, int32_t value)
{
    int32_t *w = words + index / 2;
    *w = index % 2 ? pair(*w, value) : pair(value, *w >> 16);
}

static int32_t rounding(int32_t shift) { return (1 << shift) >> 1; }

static void quiet_outputs(rfv_coder *c)
{
    const rfv_model *m = &c->model;
    int32_t k, h, o, out[3] = {0, 0, 0};
    for (k = 0; k < m->channels; k++) {
        for (o = 0; o < m->outputs; o++) {
            int32_t row = k * m->outputs + o, total = m->output_bias[row] + rounding(m->shift[o]);
            for (h = 0; h < m->hidden; h++) {
                int32_t unit = (m->hidden_bias[h] + rounding(m->hidden_shift)) >> m->hidden_shift;
                total += m->output_weight[row * m->hidden + h] * (int32_t)rfv_clamp(unit, 0, RFV_MAX_HIDDEN);
            }
            out[o] = total >> m->shift[o];
        }
        c->quiet_location[k] = (int8_t)rfv_clamp(out[0], -c->limit[0], c->limit[0]);
        c->quiet_table[k] = (uint8_t)(rfv_clamp(out[1], 0, c->limit[1]) +
                                      rfv_clamp(out[2], 0, c->limit[2]) * (c->limit[1] + 1));
        if (c->quiet_location[k] != c->quiet_location[0] || c->quiet_table[k] != c->quiet_table[0])
            c->quiet_differs = 1;
    }
    for (; k < c->channels; k++) c->quiet_location[k] = c->quiet_location[0], c->quiet_table[k] = c->quiet_table[0];
}

static void build_network(rfv_coder *c)
{
    const rfv_model *m = &c->model;
    int32_t i, h, k, o, kind, count = 0, ch;
    rfv_choose_layers(&c->hidden, &c->output);
    c->limit[0] = m->family == RFV_BERNOULLI ? 0 : RFV_MAX_INPUT;
    c->limit[1] = m->family == RFV_BERNOULLI ? LAST_BIT_TABLE : 43;
    c->limit[2] = m->family == RFV_MIXTURE ? 4 : 0;
    memset(c->first, 0, sizeof(int32_t) * (size_t)c->hidden_rows * (size_t)c->pairs);
    memset(c->first_bias, 0, sizeof(int32_t) * (size_t)c->hidden_rows);
    memset(c->second, 0, sizeof(int32_t) * 4 * (size_t)m->channels * (size_t)c->hidden_pairs);
    memset(c->second_bias, 0, sizeof(int32_t) * 4 * (size_t)m->channels);
    memset(c->inputs, 0, sizeof(int32_t) * (size_t)c->pairs * RFV_BATCH);
    memset(c->between, 0, sizeof(int32_t) * (size_t)c->hidden_pairs * RFV_BATCH);
    for (kind = 0; kind < 3; kind++) /* values, magnitudes, activities */
        for (i = 0; i < c->neighbours; i++) {
            const neighbour *n = c->neighbour + i;
            const int activity = rfv_is_activity(n->source), found = activity ? 2 : rfv_is_magnitude(n->source) ? 1 : 0;
            int64_t row = row_offset(c, n) + (rfv_is_previous(n->source) ? c->volume : 0);
            if (found != kind) continue;
            for (ch = 0; ch < (m->joint && !activity ? c->channels : 1); ch++) {
                c->offset[count] = activity ? row : row * c->width + (m->joint ? ch : n->dc);
                for (h = 0; h < m->hidden; h++)
                    set_half(c->first + (size_t)h * (size_t)c->pairs, count,
                             m->hidden_weight[h * m->inputs + n->column + ch]);
                count++;
            }
            if (kind == 0)
                c->values = count;
            else if (kind == 1)
                c->magnitudes = count;
            else
                c->activities = count;
        }
    if (c->magnitudes < c->values) c->magnitudes = c->values; /* as ends: values, then magnitudes, then activities */
    if (c->activities < c->magnitudes) c->activities = c->magnitudes;
    for (h = 0; h < m->hidden; h++) c->first_bias[h] = m->hidden_bias[h] + rounding(m->hidden_shift);
    for (k = 0; k < m->channels; k++)
        for (o = 0; o < m->outputs; o++) {
            int32_t row = k * m->outputs + o;
            c->second_bias[4 * k + o] = m->output_bias[row] + rounding(m->shift[o]);
            for (h = 0; h < m->hidden; h++)
                set_half(c->second + (size_t)(4 * k + o) * (size_t)c->hidden_pairs, h,
                         m->output_weight[row * m->hidden + h]);
        }
    for (i = 0; i < c->neighbours; i++) {
        const neighbour *n = c->neighbour + i;
        if (rfv_is_previous(n->source))
            add_distinct(c->seen_later, &c->seen_later_count, row_offset(c, n));
        else
            add_distinct(c->seen_from, &c->seen_from_count, row_offset(c, n));
    }
    quiet_outputs(c);
}

static void evaluate(rfv_coder *c, int32_t count)
{
    const rfv_model *m = &c->model;
    int32_t k, b, columns = (count + 7) & ~7;
    c->hidden(c->first, c->first_bias, c->pairs, c->hidden_rows, m->hidden_shift, (const int32_t *)(void *)c->inputs,
              columns, c->between);
    for (k = 0; k < m->channels; k++) {
        c->output(c->second, c->second_bias, c->hidden_pairs, 4 * k, m->shift, c->limit, c->between, columns,
                  c->location_sum, c->table_sum);
        for (b = 0; b < count; b++) {
            int64_t at = c->place[b] + k;
            RFV_ASSERT(at < c->longest && c->table_sum[b] < c->job.tables->count);
            c->location[at] = (int8_t)c->location_sum[b];
            if (c->table[at] != RFV_ABSENT) c->table[at] = (uint8_t)c->table_sum[b];
        }
    }
}

/* Contexts. ------------------------------------------------------------------------------------------------------ */

static void take_previous(rfv_coder *c)
{
    const int8_t *previous = c->job.previous;
    int64_t n = c->cells * c->channels, i = 0, line, row, marked = -1;
    int32_t k;
    while (i < n) {
        uint64_t eight;
        int64_t stop;
        if (n - i >= 8) { /* most are zero */
            memcpy(&eight, previous + i, 8);
            if (eight == 0) {
                i += 8;
                continue;
            }
        }
        stop = n - i >= 8 ? i + 8 : n;
        for (; i < stop; i++) {
            int32_t v = previous[i];
            int64_t cell = i / c->channels;
            if (v == 0) continue;
            line = cell / c->job.shape[3];
            row = line_row(c, line / c->job.shape[2], line % c->job.shape[2]) + cell % c->job.shape[3];
            RFV_ASSERT(row < c->volume);
            c->store[(c->volume + row) * c->width + i - cell * c->channels] = (int8_t)v;
            if (c->activity != NULL) {
                int32_t e = c->activity[c->volume + row] + (v < 0 ? -v : v);
                c->activity[c->volume + row] = (int8_t)(e < RFV_MAX_INPUT ? e : RFV_MAX_INPUT);
            }
            if (row != marked) {
                marked = row;
                for (k = 0; k < c->seen_later_count; k++) {
                    RFV_ASSERT(row - c->seen_later[k] >= 0 && row - c->seen_later[k] < c->volume);
                    c->active[row - c->seen_later[k]] = 1;
                }
            }
        }
    }
}

/* Order. --------------------------------------------------------------------------------------------------------- */

static void walk(rfv_coder *c)
{
    const int32_t depth = c->job.shape[1], height = c->job.shape[2], width = c->job.shape[3];
    const int32_t *scan = c->model.scan;
    const uint8_t *mask = c->job.mask;
    int64_t *ends = c->ends, total = 0, n, cell, most = 0;
    int32_t z, y, x, ch, key, k, pass, kept = 0;
    memset(ends, 0, sizeof(int64_t) * (size_t)c->keys);
    for (pass = 0; pass < 2; pass++) {
        n = cell = 0;
        for (z = 0; z < depth; z++)
            for (y = 0; y < height; y++) {
                int64_t row = line_row(c, z, y);
                key = scan[1] * z + scan[2] * y;
                if (pass == 0 && mask == NULL) c->rows[c->run == 1 ? cell : cell / c->run] = (int32_t)row;
                for (x = 0; x < width; x++, n++) {
                    if (mask != NULL && !mask[n]) continue;
                    k = key + scan[3] * x;
                    if (pass == 0) {
                        if (mask != NULL) c->rows[cell] = (int32_t)(row + x);
                        if (scan[0])
                            for (ch = 0; ch < c->channels; ch++, k += scan[0]) ends[k]++;
                        else
                            ends[k]++;
                    } else if (scan[0]) {
                        for (ch = 0; ch < c->channels; ch++, k += scan[0])
                            c->order[ends[k]++] = (uint32_t)cell << c->bits | (uint32_t)ch;
                    } else {
                        c->order[ends[k]++] = (uint32_t)cell;
                    }
                    cell++;
                }
            }
        if (pass == 0)
            for (k = 0; k < c->keys; k++) {
                int64_t count = ends[k];
                ends[k] = total;
                total += count;
                if (count > most) most = count;
            }
    }
    /* Steps without symbols are left out. */
    for (k = 0, total = 0; k < c->keys; k++)
        if (ends[k] > total) total = ends[kept++] = ends[k];
    c->wavefronts = kept;
    RFV_ASSERT(most * c->symbols <= c->longest);
}

/* Steps. --------------------------------------------------------------------------------------------------------- */

/* Table and location of the symbols of a wavefront that have an input other than zero. Returns their number. */
static int64_t predict(rfv_coder *c, int64_t begin, int64_t end)
{
    const int32_t symbols = c->symbols, unit = c->unit, together = symbols == c->channels;
    const int32_t values = c->values, magnitudes = c->magnitudes, activities = c->activities;
    const int8_t *store = c->store, *activity = c->activity;
    const uint8_t *active = c->active, *table = c->table;
    const uint32_t *order = c->order;
    const int64_t *offset = c->offset;
    int16_t *inputs = c->inputs;
    int64_t i, busy_units = 0;
    int32_t count = 0, ch, n;
    for (i = begin; i < end; i++) {
        uint32_t item = order[i];
        int64_t cell = together ? item : item >> c->bits, row = row_of(c, cell), first, at;
        if (!active[row]) continue;
        first = row * c->width + (together ? 0 : (int64_t)(item & ((1u << c->bits) - 1)));
        at = (i - begin) * symbols;
        for (ch = 0; ch < symbols; ch += unit) {
            const int8_t *here = store + first + ch;
            int16_t *column = inputs + 2 * count;
            int32_t busy = 0;
            if (unit == 1 && table[at + ch] == RFV_ABSENT) continue;
            for (n = 0; n < values; n++) {
                int32_t v = here[offset[n]];
                column[(n >> 1) * 2 * RFV_BATCH + (n & 1)] = (int16_t)v;
                busy |= v;
            }
            for (; n < magnitudes; n++) {
                int32_t v = here[offset[n]];
                v = v < 0 ? -v : v;
                column[(n >> 1) * 2 * RFV_BATCH + (n & 1)] = (int16_t)v;
                busy |= v;
            }
            for (; n < activities; n++) {
                int32_t v = activity[row + offset[n]];
                column[(n >> 1) * 2 * RFV_BATCH + (n & 1)] = (int16_t)v;
                busy |= v;
            }
            if (busy == 0) continue;
            c->place[count] = at + ch;
            busy_units++;
            if (++count == RFV_BATCH) {
                evaluate(c, count);
                count = 0;
            }
        }
    }
    if (count) evaluate(c, count);
    return busy_units * unit;
}

/* What later wavefronts see of the symbols of a wavefront; decoding: the tensor's values, too. */
static void keep(rfv_coder *c, int64_t begin, int64_t count)
{
    const int32_t *wavefront = c->wavefront_values;
    const int32_t symbols = c->symbols, channels = c->channels;
    int64_t at, i = begin, following = symbols, marked = -1; /* item i has the symbols before `following` */
    int32_t k;
    for (at = 0; at < count; at++) {
        int32_t v = wavefront[at], ch;
        int64_t cell, row;
        if (v == 0) continue;
        if (at >= following) {
            int64_t items = symbols == 1 ? at - following + 1 : (at - following) / symbols + 1;
            i += items, following += items * symbols;
        }
        cell = c->order[i], ch = (int32_t)(at + symbols - following);
        if (symbols != channels) ch = (int32_t)(cell & ((1 << c->bits) - 1)), cell >>= c->bits;
        if (!c->job.encode) c->job.values[cell * channels + ch] = v;
        if (c->active == NULL) continue;
        row = row_of(c, cell);
        v = v > RFV_MAX_INPUT ? RFV_MAX_INPUT : v < -RFV_MAX_INPUT ? -RFV_MAX_INPUT : v;
        c->store[row * c->width + ch] = (int8_t)v;
        if (c->activity != NULL) {
            int32_t e = c->activity[row] + (v < 0 ? -v : v);
            c->activity[row] = (int8_t)(e < RFV_MAX_INPUT ? e : RFV_MAX_INPUT);
        }
        if (i != marked) {
            marked = i;
            for (k = 0; k < c->seen_from_count; k++) {
                RFV_ASSERT(row - c->seen_from[k] >= 0 && row - c->seen_from[k] < c->volume);
                c->active[row - c->seen_from[k]] = 1;
            }
        }
    }
}

/* Table and location of all symbols of a wavefront as if all inputs were zero. */
static void quiet(rfv_coder *c, int64_t begin, int64_t count)
{
    int64_t i;
    if (!c->quiet_differs) {
        memset(c->table, c->quiet_table[0], (size_t)count);
        memset(c->location, (unsigned char)c->quiet_location[0], (size_t)count);
    } else if (c->symbols == c->channels) {
        for (i = 0; i < count; i += c->symbols) {
            memcpy(c->table + i, c->quiet_table, (size_t)c->symbols);
            memcpy(c->location + i, c->quiet_location, (size_t)c->symbols);
        }
    } else {
        for (i = 0; i < count; i++) {
            uint32_t ch = c->order[begin + i] & ((1u << c->bits) - 1);
            c->table[i] = c->quiet_table[ch], c->location[i] = c->quiet_location[ch];
        }
    }
}

/* First symbol of an item among (coded cells, C). */
RFV_INLINE int64_t first_symbol(const rfv_coder *c, uint32_t item)
{
    if (c->symbols == c->channels) return (int64_t)item * c->channels;
    return (int64_t)(item >> c->bits) * c->channels + (item & ((1u << c->bits) - 1));
}

static int context_wavefronts(rfv_coder *c, int64_t budget)
{
    const uint8_t *selected = c->job.selected;
    while (c->at < c->wavefronts && budget > 0) {
        int64_t begin = c->at > 0 ? c->ends[c->at - 1] : 0, end = c->ends[c->at], count = (end - begin) * c->symbols, i;
        int common, outcome;
        int32_t ch;
        if (count > c->longest) return RFV_INTERNAL;
        c->at++;
        budget -= count;
        quiet(c, begin, count);
        common = c->quiet_table[0];
        if (c->job.encode)
            for (i = begin; i < end; i++)
                memcpy(c->wavefront_values + (i - begin) * c->symbols, c->job.values + first_symbol(c, c->order[i]),
                       (size_t)c->symbols * sizeof(int32_t));
        if (selected != NULL) {
            for (i = begin; i < end; i++) {
                int64_t first = first_symbol(c, c->order[i]);
                for (ch = 0; ch < c->symbols; ch++)
                    if (!selected[first + ch]) {
                        c->table[(i - begin) * c->symbols + ch] = RFV_ABSENT;
                        c->wavefront_values[(i - begin) * c->symbols + ch] = 0;
                    }
            }
        }
        /* Where branches on the table would be guesses, all are sorted. */
        if (c->active != NULL && predict(c, begin, end) * SPARSE > count) common = RFV_ABSENT;
        outcome = c->job.encode ? rfv_encode_wavefront(&c->range, &c->wavefront, count, common)
                                : rfv_decode_wavefront(&c->range, &c->wavefront, count, common);
        if (outcome != RFV_DONE) return outcome;
        keep(c, begin, count);
    }
    return c->at < c->wavefronts ? RFV_MORE : RFV_DONE;
}

static int static_wavefront(rfv_coder *c)
{
    const int32_t channels = c->channels, by_channel = c->model.assignment & 1;
    const int32_t by_band = c->model.assignment < 2 ? 0 : c->model.assignment == 2 ? 1 : channels;
    const uint8_t *selected = c->job.selected;
    int64_t cell, at = 0;
    int32_t ch;
    for (cell = 0; cell < c->coded; cell++) {
        int32_t base = c->job.band != NULL ? c->job.band[cell] * by_band : 0;
        for (ch = 0; ch < channels; ch++, at++) {
            c->table[at] = (uint8_t)(base + by_channel * ch);
            if (selected != NULL && !selected[at]) c->table[at] = RFV_ABSENT;
        }
    }
    c->at = c->wavefronts;
    if (!c->job.encode) {
        c->wavefront.values = c->job.values;
        return rfv_decode_wavefront(&c->range, &c->wavefront, at, 0);
    }
    c->wavefront.values = c->job.values; /* only read: what is not selected has no table */
    return rfv_encode_wavefront(&c->range, &c->wavefront, at, 0);
}

/* What callers call. --------------------------------------------------------------------------------------------- */

static int any(const uint8_t *flags, size_t count)
{
    size_t i;
    for (i = 0; i < count; i++)
        if (flags[i]) return 1;
    return 0;
}

static int prepare(const rfv_job *job, rfv_coder *c, rfv_arena *a)
{
    int outcome = check_job(job, c, 0);
    if (outcome != RFV_DONE) return outcome;
    c->longest = longest_wavefront(c);
    return lay_out(c, a);
}

size_t rfv_symbols_size(const rfv_job *job)
{
    rfv_coder c;
    rfv_arena a = rfv_counting();
    rfv_take(&a, 1, sizeof c);
    return prepare(job, &c, &a) == RFV_DONE ? (size_t)a.used : 0;
}

int rfv_symbols_begin(const rfv_job *job, void *scratch, size_t size, rfv_coder **coder)
{
    rfv_arena a = {scratch, 0, size, 0};
    rfv_coder *c = rfv_take(&a, 1, sizeof *c);
    int outcome;
    if (c == NULL) return RFV_ARGUMENT;
    outcome = prepare(job, c, &a);
    if (outcome != RFV_DONE) return outcome;
    if (job->encode)
        rfv_range_begin_encoding(&c->range, job->out, job->out_size, job->histogram);
    else
        rfv_range_begin_decoding(&c->range, job->data, job->data_size);
    c->wavefront.tables = job->tables, c->wavefront.table = c->table;
    c->at = 0, c->wavefronts = c->coded > 0;
    if (!job->encode && job->data_size > 0 &&
        (c->coded == 0 || (job->selected != NULL && !any(job->selected, job->selected_size))))
        return RFV_ENT_02;
    if (c->model.type == 1) {
        if (c->neighbours == 0) c->store = NULL, c->activity = NULL, c->active = NULL;
        build_network(c);
        if (c->neighbours > 0) {
            int64_t stored = c->volume;
            int32_t i, temporal = 0, with_activity = 0;
            for (i = 0; i < c->model.neighbours; i++) {
                temporal |= rfv_is_previous(c->model.neighbour[i * RFV_NEIGHBOUR]);
                with_activity |= rfv_is_activity(c->model.neighbour[i * RFV_NEIGHBOUR]);
            }
            if (temporal) stored *= 2;
            memset(c->store, 0, (size_t)(stored * c->width));
            memset(c->active, 0, (size_t)c->volume);
            if (with_activity)
                memset(c->activity, 0, (size_t)stored);
            else
                c->activity = NULL;
            if (c->seen_later_count > 0 && job->previous != NULL) take_previous(c);
        }
        c->wavefront.location = c->location, c->wavefront.values = c->wavefront_values;
        if (c->coded > 0) walk(c);
    }
    *coder = c;
    return RFV_DONE;
}

int rfv_symbols_run(rfv_coder *c, int64_t budget, int32_t *detail)
{
    int outcome = RFV_DONE;
    if (c->at < c->wavefronts)
        outcome = c->model.type == 1 ? context_wavefronts(c, budget) : static_wavefront(c);
    *detail = c->range.detail;
    return outcome;
}

int rfv_symbols_finish(rfv_coder *c, size_t *used, int64_t *bits)
{
    if (!c->job.encode) return rfv_range_finished(&c->range) ? RFV_DONE : RFV_ENT_02;
    *bits = c->range.escape_bits;
    *used = rfv_range_terminate(&c->range);
    return *used <= c->job.out_size && c->range.words + 2 <= c->range.room ? RFV_DONE : RFV_SPACE;
}

/* Occupancy: the neighbourhood of each voxel as a number, a bit for each input of its model. ---------------------- */

static int lay_out_occupancy(rfv_coder *c, rfv_arena *a)
{
    const rfv_model *m = &c->model;
    uint64_t lines = (uint64_t)c->job.shape[1] * (uint64_t)c->job.shape[2];
    c->neighbour = rfv_take(a, (uint64_t)m->neighbours, sizeof(neighbour));
    place_neighbours(c, c->job.shape + 1, c->job.blocks, c->neighbour);
    if (m->scan[3] == 0 || c->neighbours == 0 || c->neighbours > BIT_INPUTS || m->family != RFV_BERNOULLI ||
        c->volume > INT32_MAX)
        return RFV_ARGUMENT;
    c->seen_from = rfv_take(a, BIT_INPUTS, sizeof(int64_t));
    c->from_bit = rfv_take(a, BIT_INPUTS, sizeof(int64_t));
    c->seen_later = rfv_take(a, BIT_INPUTS, sizeof(int64_t));
    c->later_bit = rfv_take(a, BIT_INPUTS, sizeof(int64_t));
    c->context = rfv_take(a, (uint64_t)c->volume, sizeof(uint16_t));
    c->chosen = rfv_take(a, (uint64_t)1 << c->neighbours, 1);
    c->rows = rfv_take(a, lines, sizeof(int32_t));
    c->table = rfv_take(a, lines, 1);
    c->wavefront.order = rfv_take(a, lines, sizeof(int32_t));
    c->wavefront_values = rfv_take(a, lines, sizeof(int32_t));
    c->wavefront.starts = rfv_take(a, (uint64_t)c->job.tables->count + 1, sizeof(int64_t));
    return a->failed ? RFV_ARGUMENT : RFV_DONE;
}

static int prepare_occupancy(const rfv_job *job, rfv_coder *c, rfv_arena *a)
{
    if (job->encode || check_job(job, c, 1) != RFV_DONE) return RFV_ARGUMENT;
    return lay_out_occupancy(c, a);
}

size_t rfv_occupancy_size(const rfv_job *job)
{
    rfv_coder c;
    rfv_arena a = rfv_counting();
    rfv_take(&a, 1, sizeof c);
    return prepare_occupancy(job, &c, &a) == RFV_DONE ? (size_t)a.used : 0;
}

static void see_previous(rfv_coder *c)
{
    int32_t z, y, x, k;
    int64_t n = 0;
    for (z = 0; z < c->job.shape[1]; z++)
        for (y = 0; y < c->job.shape[2]; y++) {
            int64_t row = line_row(c, z, y);
            for (x = 0; x < c->job.shape[3]; x++, n++)
                if (c->job.previous[n])
                    for (k = 0; k < c->seen_later_count; k++) {
                        RFV_ASSERT(row + x >= c->seen_later[k] && row + x - c->seen_later[k] < c->volume);
                        c->context[row + x - c->seen_later[k]] |= (uint16_t)c->later_bit[k];
                    }
        }
}

int rfv_occupancy_begin(const rfv_job *job, uint8_t *occupancy, size_t occupancy_size, void *scratch, size_t size,
                        rfv_coder **coder)
{
    rfv_arena a = {scratch, 0, size, 0};
    rfv_coder *c = rfv_take(&a, 1, sizeof *c);
    int32_t i;
    if (c == NULL || occupancy == NULL || prepare_occupancy(job, c, &a) != RFV_DONE ||
        occupancy_size != (size_t)c->cells)
        return RFV_ARGUMENT;
    rfv_range_begin_decoding(&c->range, job->data, job->data_size);
    c->occupancy = occupancy;
    c->wavefront.tables = job->tables, c->wavefront.table = c->table, c->wavefront.values = c->wavefront_values;
    memset(c->context, 0, sizeof(uint16_t) * (size_t)c->volume);
    memset(c->chosen, RFV_ABSENT, (size_t)1 << c->neighbours);
    for (i = 0; i < c->neighbours; i++) {
        const neighbour *n = c->neighbour + i;
        if (n->dc != 0 && !c->model.joint && !rfv_is_activity(n->source)) continue; /* there is one channel */
        if (rfv_is_previous(n->source)) {
            c->seen_later[c->seen_later_count] = row_offset(c, n);
            c->later_bit[c->seen_later_count++] = (int64_t)1 << i;
        } else {
            c->seen_from[c->seen_from_count] = row_offset(c, n);
            c->from_bit[c->seen_from_count++] = (int64_t)1 << i;
        }
    }
    if (job->previous != NULL) see_previous(c);
    *coder = c;
    return RFV_DONE;
}

/* The network, for inputs that are bits. */
static int32_t table_of_context(const rfv_coder *c, uint32_t context)
{
    const rfv_model *m = &c->model;
    int32_t out = m->output_bias[1] + rounding(m->shift[1]), h, n;
    for (h = 0; h < m->hidden; h++) {
        int32_t total = m->hidden_bias[h] + rounding(m->hidden_shift);
        for (n = 0; n < c->neighbours; n++)
            if (context >> n & 1) total += m->hidden_weight[h * m->inputs + c->neighbour[n].column];
        out += m->output_weight[m->hidden + h] * (int32_t)rfv_clamp(total >> m->hidden_shift, 0, RFV_MAX_HIDDEN);
    }
    return (int32_t)rfv_clamp(out >> m->shift[1], 0, LAST_BIT_TABLE);
}

int rfv_occupancy_run(rfv_coder *c, int64_t budget, int32_t *detail)
{
    const int32_t depth = c->job.shape[1], height = c->job.shape[2], width = c->job.shape[3];
    const int32_t sz = c->model.scan[1], sy = c->model.scan[2], sx = c->model.scan[3];
    const int64_t last = (int64_t)sz * (depth - 1) + (int64_t)sy * (height - 1) + (int64_t)sx * (width - 1);
    while (c->key <= last && budget > 0) {
        int64_t count = 0, i, key = c->key++;
        int32_t z, k, outcome;
        for (z = 0; z < depth; z++) {
            int64_t rest = key - (int64_t)sz * z, y = 0, excess = rest - (int64_t)sx * (width - 1), row;
            if (rest < 0) break;
            if (excess > 0 && sy > 0) { /* lines that end before */
                y = (excess + sy - 1) / sy;
                rest -= sy * y;
            }
            row = line_row(c, z, y);
            for (; y < height && rest >= 0; y++, rest -= sy, row += c->padded[2]) {
                int64_t x = sx > 1 ? rest / sx : rest, at;
                if (x * sx != rest || x >= width) continue;
                at = row + x;
                RFV_ASSERT(at < c->volume && count < (int64_t)depth * height);
                if (c->chosen[c->context[at]] == RFV_ABSENT)
                    c->chosen[c->context[at]] = (uint8_t)table_of_context(c, c->context[at]);
                c->table[count] = c->chosen[c->context[at]];
                c->rows[count++] = (int32_t)at;
            }
        }
        budget -= count + depth;
        if (count == 0) continue;
        outcome = rfv_decode_wavefront(&c->range, &c->wavefront, count, c->chosen[0]);
        *detail = c->range.detail;
        if (outcome != RFV_DONE) return outcome;
        for (i = 0; i < count; i++) {
            int32_t v = c->wavefront_values[i], row, line;
            if (v == 0) continue;
            if (v != 1) return RFV_NO_BIT;
            row = c->rows[i];
            for (k = 0; k < c->seen_from_count; k++) {
                RFV_ASSERT(row >= c->seen_from[k] && row - c->seen_from[k] < c->volume);
                c->context[row - c->seen_from[k]] |= (uint16_t)c->from_bit[k];
            }
            line = row / c->padded[2];
            c->occupancy[((int64_t)(line / c->padded[1] - c->before[0]) * height + line % c->padded[1] - c->before[1]) *
                             width + row % c->padded[2] - c->before[2]] = 1;
        }
    }
    return c->key <= last ? RFV_MORE : RFV_DONE;
}

int rfv_occupancy_finish(rfv_coder *c) { return rfv_range_finished(&c->range) ? RFV_DONE : RFV_ENT_02; }
