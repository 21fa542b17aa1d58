/* The training step as a Python extension for the stable ABI; `refcodec.encoder.fused` describes fields to it. */
#define PY_SSIZE_T_CLEAN
#ifndef Py_LIMITED_API
#define Py_LIMITED_API 0x030B0000
#endif
#include <Python.h>

#include "training.h"

#include <stdlib.h>
#include <string.h>

#define BUFFERS (2 * RFV_MAX_SLOTS + 6 * RFV_MAX_LAYERS + 16)

typedef struct {
    rfv_field field;
    rfv_batch batch;
    Py_buffer views[BUFFERS];
    int count;
} held;

static void drop(PyObject *capsule)
{
    held *h = PyCapsule_GetPointer(capsule, PyCapsule_GetName(capsule));
    while (h->count > 0) PyBuffer_Release(&h->views[--h->count]);
    free(h);
}

/* The items of an array of exactly `size` items, NULL with an exception. */
static void *items(held *h, PyObject *object, size_t item, int writable, size_t size)
{
    Py_buffer *view = &h->views[h->count];
    if (object == NULL) { /* behind the end of a list */
        PyErr_Clear();
        PyErr_SetString(PyExc_ValueError, "there are fewer arrays than the description says");
        return NULL;
    }
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return NULL;
    h->count++;
    if ((size_t)view->itemsize != item || (size_t)view->len != item * size) {
        PyErr_Format(PyExc_ValueError, "an array has %zd bytes instead of %zu", view->len, item * size);
        return NULL;
    }
    return view->buf;
}

typedef struct {
    const int32_t *word, *end;
    int failed;
} reader;

static int32_t next(reader *r, int32_t low, int32_t high)
{
    int32_t v = r->word < r->end ? *r->word++ : low - 1;
    if (v < low || v > high) r->failed = 1, v = low;
    return v;
}

static void read_set(reader *r, rfv_set *set, const rfv_field *field)
{
    int32_t t, f, width = 0;
    set->first_slot = next(r, 0, field->slots);
    set->slots = next(r, 0, field->slots - set->first_slot);
    set->terms = next(r, 0, RFV_MAX_TERMS);
    set->sum = next(r, 0, 1);
    for (t = 0; t < set->terms; t++) {
        rfv_term *term = &set->term[t];
        term->factors = next(r, 1, RFV_MAX_FACTORS);
        term->width = next(r, 1, RFV_MAX_WIDTH);
        for (f = 0; f < term->factors; f++) term->offsets[f] = next(r, 0, field->row - term->width);
        width += term->width;
    }
    set->width = set->sum ? 1 : width;
    if (width > RFV_MAX_WIDTH) r->failed = 1;
}

static int read_net(reader *r, held *h, PyObject *arrays, Py_ssize_t *at, rfv_net *net, int32_t inputs,
                    int32_t outputs, size_t *gradient)
{
    int32_t l;
    net->layers = next(r, 0, RFV_MAX_LAYERS);
    for (l = 0; l < net->layers && !r->failed; l++) {
        rfv_layer *layer = &net->layer[l];
        layer->inputs = next(r, 1, RFV_MAX_WIDTH);
        layer->outputs = next(r, 1, RFV_MAX_WIDTH);
        if (layer->inputs != inputs) r->failed = 1;
        layer->gradient = *gradient;
        layer->weight = items(h, PyList_GetItem(arrays, (*at)++), 4, 0, (size_t)layer->inputs * (size_t)layer->outputs);
        if (layer->weight == NULL) return 0;
        *gradient += (size_t)layer->inputs * (size_t)layer->outputs;
        if (next(r, 0, 1)) {
            layer->bias = items(h, PyList_GetItem(arrays, (*at)++), 4, 0, (size_t)layer->outputs);
            if (layer->bias == NULL) return 0;
            *gradient += (size_t)layer->outputs;
        }
        inputs = layer->outputs;
    }
    if (inputs != outputs) r->failed = 1;
    return 1;
}

/* field(words, reals, tables, gradients, layers): tables, gradients (arrays or None) and layers are lists. */
static PyObject *new_field(PyObject *self, PyObject *args)
{
    PyObject *words, *reals, *tables, *gradients, *layers, *capsule;
    held *h = calloc(1, sizeof *h);
    rfv_field *field;
    Py_buffer view;
    reader r = {0};
    const float *real;
    Py_ssize_t at = 0, s;
    int32_t set_outputs;
    (void)self;
    if (h == NULL) return PyErr_NoMemory();
    field = &h->field;
    if ((capsule = PyCapsule_New(h, "field", drop)) == NULL) {
        free(h);
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOO!O!O!", &words, &reals, &PyList_Type, &tables, &PyList_Type, &gradients, &PyList_Type,
                          &layers))
        goto failed;
    if (PyObject_GetBuffer(words, &view, PyBUF_C_CONTIGUOUS) < 0) goto failed;
    r.word = view.buf, r.end = r.word + view.len / 4;
    field->slots = next(&r, 1, RFV_MAX_SLOTS);
    field->row = next(&r, 1, RFV_MAX_WIDTH);
    field->density_from_features = next(&r, 0, 1);
    field->feature_count = next(&r, 1, RFV_MAX_WIDTH);
    field->feature_frequencies = next(&r, 0, 16);
    field->direction_frequencies = next(&r, 0, 16);
    if (r.failed || PyList_Size(tables) != field->slots || PyList_Size(gradients) != field->slots) goto bad;
    real = items(h, reals, 4, 0, (size_t)(14 + field->slots));
    if (real == NULL) goto released;
    memcpy(field->low, real, sizeof field->low);
    memcpy(field->inverse_extent, real + 3, sizeof field->inverse_extent);
    field->shift = real[6], field->scale = real[7], field->step = real[8], field->least_weight = real[9];
    memcpy(field->background, real + 10, sizeof field->background);
    field->opacity_weight = real[13];
    for (s = 0; s < field->slots; s++) {
        rfv_slot *slot = &field->slot[s];
        PyObject *gradient = PyList_GetItem(gradients, s);
        size_t size;
        slot->channels = next(&r, 1, RFV_MAX_WIDTH);
        slot->z = next(&r, 1, 1 << 16), slot->y = next(&r, 1, 1 << 16), slot->x = next(&r, 1, 1 << 16);
        slot->mapping = next(&r, 1, 2), slot->centres = next(&r, 0, 1);
        slot->offset = next(&r, 0, field->row - slot->channels);
        slot->periods = real[14 + s];
        if (r.failed) goto bad;
        size = (size_t)slot->z * (size_t)slot->y * (size_t)slot->x * (size_t)slot->channels;
        if ((slot->values = items(h, PyList_GetItem(tables, s), 4, 0, size)) == NULL) goto released;
        if (gradient != Py_None && (slot->gradient = items(h, gradient, 4, 1, size)) == NULL) goto released;
    }
    read_set(&r, &field->density, field);
    read_set(&r, &field->features, field);
    set_outputs = field->feature_count + field->density_from_features;
    if (r.failed || (field->density_from_features && field->density.terms)) goto bad;
    {
        const int32_t inputs = field->feature_count * (1 + 2 * field->feature_frequencies) + 3 +
                               6 * field->direction_frequencies;
        if (!read_net(&r, h, layers, &at, &field->density_net, field->density.width,
                      field->density_from_features ? field->density.width : 1, &field->network_values) ||
            !read_net(&r, h, layers, &at, &field->features_net, field->features.width, set_outputs,
                      &field->network_values) ||
            !read_net(&r, h, layers, &at, &field->colour_net, inputs, 3, &field->network_values))
            goto released;
    }
    if (r.failed || r.word != r.end || at != PyList_Size(layers) || field->colour_net.layers < 1) goto bad;
    PyBuffer_Release(&view);
    return capsule;
bad:
    PyErr_SetString(PyExc_ValueError, "the description of the field does not hold together");
released:
    PyBuffer_Release(&view);
failed:
    Py_DECREF(capsule);
    return NULL;
}

/* batch(field, position, direction, target, weight, ends, error, rows, seen) */
static PyObject *new_batch(PyObject *self, PyObject *args)
{
    PyObject *of, *position, *direction, *target, *weight, *ends, *error, *rows, *seen, *capsule;
    held *h = calloc(1, sizeof *h), *owner;
    rfv_batch *batch;
    Py_ssize_t rays, samples;
    int32_t r, before = 0;
    (void)self;
    if (h == NULL) return PyErr_NoMemory();
    batch = &h->batch;
    if ((capsule = PyCapsule_New(h, "batch", drop)) == NULL) {
        free(h);
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOOOOOOOO", &of, &position, &direction, &target, &weight, &ends, &error, &rows, &seen) ||
        (owner = PyCapsule_GetPointer(of, "field")) == NULL || (rays = PyObject_Size(ends)) < 0 ||
        (samples = PyObject_Size(seen)) < 0)
        goto failed;
    if (rays > 1 << 24 || samples > 1 << 28) goto bad;
    batch->rays = (int32_t)rays, batch->samples = (int32_t)samples;
    h->field.row = owner->field.row;
    if ((batch->position = items(h, position, 4, 0, 3 * (size_t)samples)) == NULL ||
        (batch->direction = items(h, direction, 4, 0, 3 * (size_t)rays)) == NULL ||
        (batch->target = items(h, target, 4, 0, 4 * (size_t)rays)) == NULL ||
        (batch->weight = items(h, weight, 4, 0, (size_t)rays)) == NULL ||
        (batch->ends = items(h, ends, 4, 0, (size_t)rays)) == NULL ||
        (batch->error = items(h, error, 4, 1, 2 * (size_t)rays)) == NULL ||
        (batch->rows = items(h, rows, 4, 1, (size_t)owner->field.row * (size_t)samples)) == NULL ||
        (batch->seen = items(h, seen, 1, 1, (size_t)samples)) == NULL)
        goto failed;
    for (r = 0; r < batch->rays; before = batch->ends[r++])
        if (batch->ends[r] < before || batch->ends[r] > samples) goto bad;
    if (before != samples) goto bad;
    return capsule;
bad:
    PyErr_SetString(PyExc_ValueError, "the rays of a batch do not end where its samples do");
failed:
    Py_DECREF(capsule);
    return NULL;
}

/* shade(field, batch, first, last, gradients): gradients (network_values,) float32, or None for errors alone. */
static PyObject *shade(PyObject *self, PyObject *args)
{
    PyObject *of, *in, *gradients;
    held *field, *batch;
    Py_buffer view = {0};
    int first, last, outcome;
    float *out = NULL, *scratch;
    int32_t samples;
    size_t size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOiiO", &of, &in, &first, &last, &gradients) ||
        (field = PyCapsule_GetPointer(of, "field")) == NULL || (batch = PyCapsule_GetPointer(in, "batch")) == NULL)
        return NULL;
    if (first < 0 || last <= first || last > batch->batch.rays || field->field.row != batch->field.row) {
        PyErr_SetString(PyExc_ValueError, "the batch has no such rays, or is of another field");
        return NULL;
    }
    if (gradients != Py_None) {
        if (PyObject_GetBuffer(gradients, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) return NULL;
        if ((size_t)view.len != 4 * field->field.network_values) {
            PyBuffer_Release(&view);
            PyErr_SetString(PyExc_ValueError, "the gradients are not as many as the networks have values");
            return NULL;
        }
        out = view.buf;
    }
    samples = batch->batch.ends[last - 1] - (first > 0 ? batch->batch.ends[first - 1] : 0);
    size = rfv_shade_scratch(&field->field, samples, last - first);
    scratch = malloc(size * sizeof *scratch);
    if (scratch == NULL) {
        PyBuffer_Release(&view);
        return PyErr_NoMemory();
    }
    Py_BEGIN_ALLOW_THREADS
    outcome = rfv_shade(&field->field, &batch->batch, first, last, out, scratch, size);
    Py_END_ALLOW_THREADS
    free(scratch);
    PyBuffer_Release(&view);
    if (outcome != RFV_OK) {
        PyErr_SetString(PyExc_ValueError, "sizes that the kernel does not take");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* scatter(field, batch, slot, first, last): see rfv_scatter. */
static PyObject *scatter(PyObject *self, PyObject *args)
{
    PyObject *of, *in;
    held *field, *batch;
    int slot, first, last, outcome = RFV_BAD;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOiii", &of, &in, &slot, &first, &last) ||
        (field = PyCapsule_GetPointer(of, "field")) == NULL || (batch = PyCapsule_GetPointer(in, "batch")) == NULL)
        return NULL;
    Py_BEGIN_ALLOW_THREADS
    if (slot >= 0 && slot < field->field.slots && field->field.row == batch->field.row) outcome = rfv_scatter(&field->field, &batch->batch, slot, first, last);
    Py_END_ALLOW_THREADS
    if (outcome != RFV_OK) {
        PyErr_SetString(PyExc_ValueError, "there are no such channels, or no gradient is wanted of them");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* blocks(matrix, rows, columns, rows_by_frequency, in, out, outer, inner): see rfv_blocks. */
static PyObject *blocks(PyObject *self, PyObject *args)
{
    PyObject *matrix, *in, *out;
    int rows, columns, by_frequency, outcome = RFV_BAD;
    Py_ssize_t outer, inner;
    const float *m, *from;
    float *to;
    held *h;
    (void)self;
    if (!PyArg_ParseTuple(args, "OiiiOOnn", &matrix, &rows, &columns, &by_frequency, &in, &out, &outer, &inner)) return NULL;
    if (rows < 1 || columns < 1 || rows > 1 << 16 || columns > 1 << 16 || outer < 1 || inner < 1 ||
        outer > (Py_ssize_t)1 << 31 || inner > (Py_ssize_t)1 << 31) {
        PyErr_SetString(PyExc_ValueError, "sizes that the kernel does not take");
        return NULL;
    }
    if ((h = calloc(1, sizeof *h)) == NULL) return PyErr_NoMemory();
    if ((m = items(h, matrix, 4, 0, (size_t)rows * (size_t)columns)) != NULL &&
        (from = items(h, in, 4, 0, (size_t)outer * (size_t)columns * (size_t)inner)) != NULL &&
        (to = items(h, out, 4, 1, (size_t)outer * (size_t)rows * (size_t)inner)) != NULL) {
        Py_BEGIN_ALLOW_THREADS
        outcome = rfv_blocks(m, rows, columns, by_frequency, from, to, (size_t)outer, (size_t)inner);
        Py_END_ALLOW_THREADS
        if (outcome != RFV_OK) PyErr_SetString(PyExc_ValueError, "rows and columns are no cells and coefficients");
    }
    while (h->count > 0) PyBuffer_Release(&h->views[--h->count]);
    free(h);
    if (PyErr_Occurred()) return NULL;
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"field", new_field, METH_VARARGS, "field(words, reals, tables, gradients, layers)"},
    {"batch", new_batch, METH_VARARGS, "batch(field, position, direction, target, weight, ends, error, rows, seen)"},
    {"shade", shade, METH_VARARGS, "shade(field, batch, first, last, gradients)"},
    {"scatter", scatter, METH_VARARGS, "scatter(field, batch, slot, first, last)"},
    {"blocks", blocks, METH_VARARGS, "blocks(matrix, rows, columns, rows_by_frequency, in, out, outer, inner)"},
    {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_training", "The training step (refcodec/kernels/training).", 0, methods, slots, NULL, NULL,
    NULL};

PyMODINIT_FUNC PyInit__training(void) { return PyModuleDef_Init(&definition); }
