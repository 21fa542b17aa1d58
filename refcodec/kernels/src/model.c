#include "model.h"

static int within(const int32_t *words, int64_t count, int32_t low, int32_t high)
{
    int64_t i;
    for (i = 0; i < count; i++)
        if (words[i] < low || words[i] > high) return 0;
    return 1;
}

static int read_context(rfv_model *m, const int32_t *w, size_t count)
{
    int64_t rest, inputs = 0, outputs;
    int i;
    if (count < 14) return RFV_ARGUMENT;
    m->family = w[1], m->joint = w[2], m->channels = w[3];
    for (i = 0; i < 4; i++) m->scan[i] = w[4 + i];
    m->neighbours = w[8], m->hidden = w[9], m->hidden_shift = w[10];
    for (i = 0; i < 3; i++) m->shift[i] = w[11 + i];
    if (m->family < 0 || m->family > 2 || m->joint < 0 || m->joint > 1 || m->channels < 1 ||
        m->channels > RFV_MAX_CHANNELS || (m->joint == 0 && m->channels != 1) || !within(m->scan, 4, 0, 3) ||
        (m->joint == 1 && m->scan[0] != 0) || m->neighbours < 0 || m->neighbours > RFV_MAX_NEIGHBOURS ||
        m->hidden < 0 || m->hidden > RFV_MAX_UNITS || m->hidden_shift < 0 || m->hidden_shift > 15 ||
        !within(m->shift, 3, 0, 23))
        return RFV_ARGUMENT;
    m->outputs = m->family == RFV_MIXTURE ? 3 : 2;
    if (count - 14 < (size_t)m->neighbours * RFV_NEIGHBOUR) return RFV_ARGUMENT;
    m->neighbour = w + 14;
    for (i = 0; i < m->neighbours; i++) {
        const int32_t *n = m->neighbour + i * RFV_NEIGHBOUR;
        if (n[0] < 0 || n[0] > 13 || (n[0] & 7) > 5 || !within(n + 1, 4, -128, 127)) return RFV_ARGUMENT;
        inputs += m->joint && !rfv_is_activity(n[0]) ? m->channels : 1;
    }
    outputs = (int64_t)m->outputs * m->channels;
    rest = (int64_t)count - 14 - (int64_t)m->neighbours * RFV_NEIGHBOUR;
    if (inputs > RFV_MAX_INPUTS || rest != m->hidden * inputs + m->hidden + outputs * m->hidden + outputs)
        return RFV_ARGUMENT;
    m->inputs = (int32_t)inputs;
    m->hidden_weight = m->neighbour + (int64_t)m->neighbours * RFV_NEIGHBOUR;
    m->hidden_bias = m->hidden_weight + m->hidden * inputs;
    m->output_weight = m->hidden_bias + m->hidden;
    m->output_bias = m->output_weight + outputs * m->hidden;
    if (!within(m->hidden_weight, m->hidden * inputs, -128, 127) ||
        !within(m->hidden_bias, m->hidden, -32768, 32767) ||
        !within(m->output_weight, outputs * m->hidden, -128, 127) ||
        !within(m->output_bias, outputs, 1 - (1 << 22), (1 << 22) - 1))
        return RFV_ARGUMENT;
    return RFV_DONE;
}

static int read_static(rfv_model *m, const int32_t *w, size_t count)
{
    size_t at = 3;
    int32_t k;
    if (count < 3) return RFV_ARGUMENT;
    m->assignment = w[1], m->tables = w[2], m->counts = w + 3, m->counts_words = count - 3;
    if (m->assignment < 0 || m->assignment > 3 || m->tables < 1 || m->tables > RFV_MAX_TABLES) return RFV_ARGUMENT;
    for (k = 0; k < m->tables; k++) {
        int64_t total = 0;
        int32_t i, n;
        if (count - at < 2) return RFV_ARGUMENT;
        n = w[at + 1];
        if (w[at] < -(1 << 16) || w[at] > 1 << 16 || n < 2 || n > RFV_MAX_ENTRIES) return RFV_ARGUMENT;
        at += 2;
        if (count - at < (size_t)n || !within(w + at, n, 0, RFV_TOTAL)) return RFV_ARGUMENT;
        for (i = 0; i < n; i++) total += w[at + (size_t)i];
        if (total < 1 || total > RFV_TOTAL) return RFV_ARGUMENT;
        at += (size_t)n;
    }
    return at == count ? RFV_DONE : RFV_ARGUMENT;
}

int rfv_model_read(rfv_model *m, const int32_t *words, size_t count)
{
    memset(m, 0, sizeof *m);
    if (words == NULL || count < 1) return RFV_ARGUMENT;
    m->type = words[0];
    if (m->type == 1) return read_context(m, words, count);
    if (m->type == 2) return read_static(m, words, count);
    return RFV_ARGUMENT;
}
