/* The kernels as a Python extension for the stable ABI. Arrays come as buffers; `refcodec.kernels.native` makes them.

   Wrong sizes raise ValueError; coded data that break a requirement give its number. The interpreter is free while a
   kernel runs, and hears signals now and then. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "rfv.h"

#include <stdlib.h>
#include <string.h>

#define BUDGET ((int64_t)1 << 24) /* operations, about, between two looks at signals */
#define BUFFERS 8
#define TABLES "refcodec.kernels.tables"

/* Buffers and memory of one call. */
typedef struct {
    Py_buffer views[BUFFERS];
    int count;
    void *memory;
} held;

static void release(held *h)
{
    while (h->count > 0) PyBuffer_Release(&h->views[--h->count]);
    free(h->memory);
    h->memory = NULL;
}

/* The bytes of an object, NULL for None; *size counts items. Returns 0 with an exception. */
static int buffer(held *h, PyObject *object, Py_ssize_t item, int writable, const void **data, size_t *size)
{
    Py_buffer *view = &h->views[h->count];
    *data = NULL, *size = 0;
    if (object == Py_None) return 1;
    if (PyObject_GetBuffer(object, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | (writable ? PyBUF_WRITABLE : 0)) < 0)
        return 0;
    h->count++;
    if (view->itemsize != item || ((uintptr_t)view->buf % (uintptr_t)item && view->len > 0)) {
        PyErr_Format(PyExc_ValueError, "an array has items of %zd bytes instead of %zd, or is not aligned",
                     view->itemsize, item);
        return 0;
    }
    *data = view->buf, *size = (size_t)(view->len / item);
    return 1;
}

static void *aligned(held *h, size_t size)
{
    h->memory = malloc(size + 16);
    if (h->memory == NULL) {
        PyErr_NoMemory();
        return NULL;
    }
    return (void *)(((uintptr_t)h->memory + 15) & ~(uintptr_t)15);
}

static PyObject *bad_sizes(void)
{
    PyErr_SetString(PyExc_ValueError, "sizes or numbers that a kernel does not take");
    return NULL;
}

static void free_tables(PyObject *capsule)
{
    free(PyCapsule_GetContext(capsule));
}

static PyObject *tables(PyObject *self, PyObject *args)
{
    held h = {0};
    int family;
    PyObject *words, *capsule;
    const void *data;
    size_t count, size;
    void *memory;
    (void)self;
    if (!PyArg_ParseTuple(args, "iO", &family, &words)) return NULL;
    if (!buffer(&h, words, 4, 0, &data, &count)) {
        release(&h);
        return NULL;
    }
    size = rfv_tables_size(family, data, count);
    memory = size > 0 ? aligned(&h, size) : bad_sizes();
    if (memory == NULL || rfv_tables_build(family, data, count, memory, size) != RFV_DONE) {
        release(&h);
        return PyErr_Occurred() ? NULL : bad_sizes();
    }
    capsule = PyCapsule_New(memory, TABLES, free_tables);
    if (capsule != NULL) {
        PyCapsule_SetContext(capsule, h.memory);
        h.memory = NULL;
    }
    release(&h);
    return capsule;
}

static PyObject *entries(PyObject *self, PyObject *capsule)
{
    const rfv_tables *t = PyCapsule_GetPointer(capsule, TABLES);
    (void)self;
    return t != NULL ? PyLong_FromLong(t->entries) : NULL;
}

static PyObject *frequencies(PyObject *self, PyObject *args)
{
    held h = {0};
    PyObject *capsule, *out;
    const rfv_tables *t;
    const void *data;
    size_t count;
    int outcome = RFV_ARGUMENT;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO", &capsule, &out)) return NULL;
    t = PyCapsule_GetPointer(capsule, TABLES);
    if (t != NULL && buffer(&h, out, 4, 1, &data, &count)) outcome = rfv_tables_frequencies(t, (uint32_t *)data, count);
    release(&h);
    if (PyErr_Occurred()) return NULL;
    if (outcome != RFV_DONE) return bad_sizes();
    Py_RETURN_NONE;
}

static int model(held *h, rfv_job *job, PyObject *capsule, PyObject *words)
{
    job->tables = PyCapsule_GetPointer(capsule, TABLES);
    return job->tables != NULL && buffer(h, words, 4, 0, (const void **)&job->model, &job->model_words);
}

/* Runs a coder to its end with the interpreter free. Returns its outcome, or 1 << 16 with an exception. */
static int run(int (*step)(rfv_coder *, int64_t, int32_t *), rfv_coder *coder, int32_t *detail)
{
    int outcome;
    do {
        Py_BEGIN_ALLOW_THREADS
        outcome = step(coder, BUDGET, detail);
        Py_END_ALLOW_THREADS
        if (outcome == RFV_MORE && PyErr_CheckSignals() < 0) return 1 << 16;
    } while (outcome == RFV_MORE);
    return outcome;
}

static PyObject *decode_symbols(PyObject *self, PyObject *args)
{
    held h = {0};
    rfv_job job = {0};
    PyObject *capsule, *words, *mask, *previous, *selected, *band, *data, *values;
    rfv_coder *coder = NULL;
    int outcome = RFV_ARGUMENT;
    int32_t detail = 0;
    int64_t bits;
    size_t size, used;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO(iiii)(iii)OOOOOO", &capsule, &words, &job.shape[0], &job.shape[1], &job.shape[2],
                          &job.shape[3], &job.blocks[0], &job.blocks[1], &job.blocks[2], &mask, &previous, &selected,
                          &band, &data, &values))
        return NULL;
    if (model(&h, &job, capsule, words) && buffer(&h, mask, 1, 0, (const void **)&job.mask, &job.mask_size) &&
        buffer(&h, previous, 1, 0, (const void **)&job.previous, &job.previous_size) &&
        buffer(&h, selected, 1, 0, (const void **)&job.selected, &job.selected_size) &&
        buffer(&h, band, 1, 0, (const void **)&job.band, &job.band_size) &&
        buffer(&h, data, 1, 0, (const void **)&job.data, &job.data_size) &&
        buffer(&h, values, 4, 1, (const void **)&job.values, &job.values_size)) {
        void *scratch;
        size = rfv_symbols_size(&job);
        scratch = size > 0 ? aligned(&h, size) : bad_sizes();
        if (scratch != NULL) {
            outcome = rfv_symbols_begin(&job, scratch, size, &coder);
            if (outcome == RFV_DONE) outcome = run(rfv_symbols_run, coder, &detail);
            if (outcome == RFV_DONE) outcome = rfv_symbols_finish(coder, &used, &bits);
        }
    }
    release(&h);
    if (PyErr_Occurred()) return NULL;
    return outcome < 0 ? bad_sizes() : Py_BuildValue("ii", outcome, (int)detail);
}

static PyObject *encode_symbols(PyObject *self, PyObject *args)
{
    held h = {0};
    rfv_job job = {0};
    PyObject *capsule, *words, *mask, *previous, *selected, *band, *values, *histogram, *result = NULL;
    rfv_coder *coder = NULL;
    unsigned char *memory = NULL;
    int outcome = RFV_ARGUMENT, attempt;
    int32_t detail = 0;
    int64_t bits = 0;
    size_t size, used = 0, room;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO(iiii)(iii)OOOOOO", &capsule, &words, &job.shape[0], &job.shape[1], &job.shape[2],
                          &job.shape[3], &job.blocks[0], &job.blocks[1], &job.blocks[2], &mask, &previous, &selected,
                          &band, &values, &histogram))
        return NULL;
    job.encode = 1;
    if (!(model(&h, &job, capsule, words) && buffer(&h, mask, 1, 0, (const void **)&job.mask, &job.mask_size) &&
          buffer(&h, previous, 1, 0, (const void **)&job.previous, &job.previous_size) &&
          buffer(&h, selected, 1, 0, (const void **)&job.selected, &job.selected_size) &&
          buffer(&h, band, 1, 0, (const void **)&job.band, &job.band_size) &&
          buffer(&h, values, 4, 0, (const void **)&job.values, &job.values_size) &&
          buffer(&h, histogram, 4, 1, (const void **)&job.histogram, &job.histogram_size)))
        goto done;
    room = 64 + job.values_size / 16 * 4;
    for (attempt = 0; attempt < 2; attempt++, room = (used + 3) & ~(size_t)3) {
        void *scratch;
        job.out_size = room;
        job.out = memory = malloc(room);
        if (memory == NULL) {
            PyErr_NoMemory();
            goto done;
        }
        size = rfv_symbols_size(&job);
        scratch = size > 0 ? aligned(&h, size) : bad_sizes();
        if (scratch == NULL) goto done;
        if (job.histogram != NULL) memset(job.histogram, 0, 4 * job.histogram_size);
        outcome = rfv_symbols_begin(&job, scratch, size, &coder);
        if (outcome == RFV_DONE) outcome = run(rfv_symbols_run, coder, &detail);
        if (outcome == RFV_DONE) outcome = rfv_symbols_finish(coder, &used, &bits);
        if (outcome != RFV_SPACE) break;
        free(memory);
        free(h.memory);
        memory = NULL, h.memory = NULL;
    }
    if (outcome == RFV_DONE) result = Py_BuildValue("y#L", memory, (Py_ssize_t)used, (long long)bits);
done:
    free(memory);
    release(&h);
    if (result == NULL && !PyErr_Occurred()) return bad_sizes();
    return result;
}

static PyObject *decode_occupancy(PyObject *self, PyObject *args)
{
    held h = {0};
    rfv_job job = {.shape = {1, 0, 0, 0}, .blocks = {1, 1, 1}};
    PyObject *capsule, *words, *previous, *data, *occupancy;
    const void *out;
    rfv_coder *coder = NULL;
    int outcome = RFV_ARGUMENT;
    int32_t detail = 0;
    size_t size, out_size;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO(iii)OOO", &capsule, &words, &job.shape[1], &job.shape[2], &job.shape[3], &previous,
                          &data, &occupancy))
        return NULL;
    if (model(&h, &job, capsule, words) &&
        buffer(&h, previous, 1, 0, (const void **)&job.previous, &job.previous_size) &&
        buffer(&h, data, 1, 0, (const void **)&job.data, &job.data_size) &&
        buffer(&h, occupancy, 1, 1, &out, &out_size) && (size = rfv_occupancy_size(&job)) > 0) {
        void *scratch = aligned(&h, size);
        if (scratch != NULL) {
            outcome = rfv_occupancy_begin(&job, (uint8_t *)out, out_size, scratch, size, &coder);
            if (outcome == RFV_DONE) outcome = run(rfv_occupancy_run, coder, &detail);
            if (outcome == RFV_DONE) outcome = rfv_occupancy_finish(coder);
        }
    }
    release(&h);
    return PyErr_Occurred() ? NULL : Py_BuildValue("ii", outcome, (int)detail);
}

static PyObject *touched(PyObject *self, PyObject *args)
{
    held h = {0};
    int voxels, cells, linear, alignment, outcome = RFV_ARGUMENT;
    long long numerator, denominator;
    PyObject *ranges;
    const void *out;
    size_t count;
    (void)self;
    if (!PyArg_ParseTuple(args, "iiLLiiO", &voxels, &cells, &numerator, &denominator, &linear, &alignment, &ranges))
        return NULL;
    if (buffer(&h, ranges, 4, 1, &out, &count))
        outcome = rfv_touched(voxels, cells, numerator, denominator, linear, alignment, (int32_t *)out, count);
    release(&h);
    if (PyErr_Occurred()) return NULL;
    if (outcome != RFV_DONE) return bad_sizes();
    Py_RETURN_NONE;
}

static PyObject *coded(PyObject *self, PyObject *args)
{
    held h = {0};
    int32_t dims[3], cells[3];
    PyObject *occupancy, *z, *y, *x, *mask;
    const void *voxels, *out;
    const int32_t *ranges[3];
    size_t voxels_size, out_size, counts[3], size;
    int outcome = RFV_ARGUMENT;
    (void)self;
    if (!PyArg_ParseTuple(args, "O(iii)(iii)(OOO)O", &occupancy, &dims[0], &dims[1], &dims[2], &cells[0], &cells[1],
                          &cells[2], &z, &y, &x, &mask))
        return NULL;
    if (buffer(&h, occupancy, 1, 0, &voxels, &voxels_size) && buffer(&h, z, 4, 0, (const void **)&ranges[0], &counts[0]) &&
        buffer(&h, y, 4, 0, (const void **)&ranges[1], &counts[1]) &&
        buffer(&h, x, 4, 0, (const void **)&ranges[2], &counts[2]) && buffer(&h, mask, 1, 1, &out, &out_size) &&
        (size = rfv_coded_size(dims, cells)) > 0 && counts[0] == 4 * (size_t)dims[0] &&
        counts[1] == 4 * (size_t)dims[1] && counts[2] == 4 * (size_t)dims[2]) {
        void *scratch = aligned(&h, size);
        if (scratch != NULL) {
            Py_BEGIN_ALLOW_THREADS
            outcome = rfv_coded(voxels, voxels_size, dims, cells, ranges, (uint8_t *)out, out_size, scratch, size);
            Py_END_ALLOW_THREADS
        }
    }
    release(&h);
    if (PyErr_Occurred()) return NULL;
    if (outcome != RFV_DONE) return bad_sizes();
    Py_RETURN_NONE;
}

static PyObject *support(PyObject *self, PyObject *args)
{
    held h = {0};
    int transform, levels, outcome = RFV_ARGUMENT;
    int32_t spatial[3];
    PyObject *cells, *mask;
    const void *in, *out;
    size_t in_size, out_size;
    (void)self;
    if (!PyArg_ParseTuple(args, "ii(iii)OO", &transform, &levels, &spatial[0], &spatial[1], &spatial[2], &cells, &mask))
        return NULL;
    if (buffer(&h, cells, 1, 0, &in, &in_size) && buffer(&h, mask, 1, 1, &out, &out_size)) {
        Py_BEGIN_ALLOW_THREADS
        outcome = rfv_support(transform, levels, spatial, in, in_size, (uint8_t *)out, out_size);
        Py_END_ALLOW_THREADS
    }
    release(&h);
    if (PyErr_Occurred()) return NULL;
    if (outcome != RFV_DONE) return bad_sizes();
    Py_RETURN_NONE;
}

static PyObject *reconstruct(PyObject *self, PyObject *args)
{
    held h = {0};
    rfv_reconstruction r = {0};
    PyObject *values, *mask, *steps, *source, *tensor, *context;
    const void *step = NULL;
    size_t bands, size;
    int outcome = RFV_ARGUMENT;
    (void)self;
    if (!PyArg_ParseTuple(args, "(iiii)iiOOOO(iiii)OO", &r.shape[0], &r.shape[1], &r.shape[2], &r.shape[3],
                          &r.transform, &r.levels, &values, &mask, &steps, &source, &r.based, &r.base_mantissa,
                          &r.base_exponent, &r.offset, &tensor, &context))
        return NULL;
    if (buffer(&h, values, 4, 0, (const void **)&r.values, &r.values_size) &&
        buffer(&h, mask, 1, 0, (const void **)&r.mask, &r.mask_size) && buffer(&h, steps, 4, 0, &step, &bands) &&
        buffer(&h, source, 4, 0, (const void **)&r.source, &r.source_size) &&
        buffer(&h, tensor, 4, 1, (const void **)&r.tensor, &r.tensor_size) &&
        buffer(&h, context, 1, 1, (const void **)&r.context, &r.context_size) && bands >= 1 && bands <= 8) {
        void *scratch;
        r.bands = (int32_t)bands;
        memcpy(r.steps, step, 4 * bands);
        size = rfv_reconstruct_size(&r);
        scratch = size > 0 ? aligned(&h, size) : NULL;
        if (scratch != NULL) {
            Py_BEGIN_ALLOW_THREADS
            outcome = rfv_reconstruct(&r, scratch, size);
            Py_END_ALLOW_THREADS
        }
    }
    release(&h);
    if (PyErr_Occurred()) return NULL;
    if (outcome != RFV_DONE) return bad_sizes();
    Py_RETURN_NONE;
}

static PyObject *interpolate(PyObject *self, PyObject *args)
{
    held h = {0};
    PyObject *table, *corners, *weights, *out;
    const void *t, *w, *o, *c;
    size_t table_size, corners_size, weights_size, out_size;
    Py_ssize_t channels, count;
    int outcome = RFV_ARGUMENT;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOnnO", &table, &corners, &weights, &channels, &count, &out)) return NULL;
    if (buffer(&h, table, 4, 0, &t, &table_size) && buffer(&h, corners, 8, 0, &c, &corners_size) &&
        buffer(&h, weights, 4, 0, &w, &weights_size) && buffer(&h, out, 4, 1, &o, &out_size) && channels > 0 &&
        count > 0 && table_size % (size_t)channels == 0 && corners_size == weights_size &&
        corners_size % (size_t)count == 0 && out_size == corners_size / (size_t)count * (size_t)channels) {
        Py_BEGIN_ALLOW_THREADS
        outcome = rfv_interpolate(t, table_size / (size_t)channels, (size_t)channels, c, w, (size_t)count,
                                  corners_size / (size_t)count, (float *)o);
        Py_END_ALLOW_THREADS
    }
    release(&h);
    if (PyErr_Occurred()) return NULL;
    if (outcome != RFV_DONE) return bad_sizes();
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {
    {"tables", tables, METH_VARARGS, "tables(family, words) -> tables of a family, or of a static model's words"},
    {"entries", entries, METH_O, "entries(tables) -> number of entries of all tables"},
    {"frequencies", frequencies, METH_VARARGS, "frequencies(tables, out): of every entry, uint32"},
    {"decode_symbols", decode_symbols, METH_VARARGS, "-> (outcome, detail); see refcodec.kernels.native"},
    {"encode_symbols", encode_symbols, METH_VARARGS, "-> (data, bits of escapes); see refcodec.kernels.native"},
    {"decode_occupancy", decode_occupancy, METH_VARARGS, "-> (outcome, detail); see refcodec.kernels.native"},
    {"touched", touched, METH_VARARGS, "touched(voxels, cells, numerator, denominator, linear, alignment, ranges)"},
    {"coded", coded, METH_VARARGS, "coded(occupancy, dims, cells, ranges, mask)"},
    {"support", support, METH_VARARGS, "support(transform, levels, spatial, cells, mask)"},
    {"reconstruct", reconstruct, METH_VARARGS, "see refcodec.kernels.native"},
    {"interpolate", interpolate, METH_VARARGS, "interpolate(table, corners, weights, channels, count, out)"},
    {NULL, NULL, 0, NULL}};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "Compiled kernels (refcodec/kernels/src).", 0, methods, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) { return PyModuleDef_Init(&definition); }
