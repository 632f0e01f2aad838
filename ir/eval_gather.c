/* Evaluator rules that read or write at indices found in a tensor: gather, gather_elements, gather_nd, one_hot,
 * scatter_elements, scatter_nd, tensor_scatter. Negative indices count from the end; others out of range are errors,
 * but in one_hot, where they yield the off value. Test: tests/suites/onnx_suite.py */
#include "ir/eval_rules.h"
#include <inttypes.h>
#include <math.h>
#include <string.h>

/* An operand of integers; NULL after an error. */
static int64_t *read_indices(sinter_eval *eval, uint32_t operand) {
    const sinter_tensor *tensor = sinter_eval_operand(eval, operand);
    if (tensor && sinter_dtype_is_integer(tensor->dtype)) return sinter_eval_integers(eval, tensor);
    sinter_eval_error(eval, "operand %u: expected integers, found %s", operand,
                      tensor ? sinter_eval_describe(eval, tensor) : "nothing");
    return NULL;
}

/* ---- gather ---- */

bool eval_gather(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0), *where = sinter_eval_operand(eval, 1);
    const int64_t *indices = read_indices(eval, 1);
    int64_t dims[2 * SINTER_MAX_RANK];
    uint32_t axis, rank = 0;
    if (!indices || !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), data->rank, &axis))
        return false;
    for (uint32_t i = 0; i < axis; i++) dims[rank++] = data->dims[i];
    for (uint32_t i = 0; i < where->rank; i++) dims[rank++] = where->dims[i];
    for (uint32_t i = axis + 1; i < data->rank; i++) dims[rank++] = data->dims[i];
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, rank, dims);
    if (!result) return false;
    int64_t outer = sinter_eval_extent(data->dims, 0, axis),
            inner = sinter_eval_extent(data->dims, axis + 1, data->rank);
    int64_t size = data->dims[axis], count = sinter_tensor_count(where);
    for (int64_t o = 0; o < outer; o++)
        for (int64_t i = 0; i < count; i++) {
            int64_t index;
            if (!sinter_eval_index(eval, indices[i], size, &index)) return false;
            sinter_eval_copy_elements(result, (o * count + i) * inner, data,
                                      (o * size + index) * inner, inner);
        }
    return true;
}

bool eval_lookup(sinter_eval *eval) {
    const sinter_tensor *x = sinter_eval_operand(eval, 0), *table = sinter_eval_operand(eval, 1);
    const int64_t *indices = read_indices(eval, 0);
    if (!indices) return false;
    if (table->rank != 1 || table->dims[0] != UINT8_MAX + 1)
        return sinter_eval_error(eval, "expected a table of 256 entries, found %s",
                                 sinter_eval_describe(eval, table));
    sinter_tensor *result = sinter_eval_create(eval, 0, table->dtype, x->rank, x->dims);
    if (!result) return false;
    int64_t count = sinter_tensor_count(x);
    for (int64_t i = 0; i < count; i++)
        sinter_eval_copy_element(result, i, table, indices[i] & UINT8_MAX);
    return true;
}

/* Whether `part` fits into `whole` on all axes but one. */
static bool fits_but_axis(const sinter_tensor *part, const sinter_tensor *whole, uint32_t axis) {
    if (part->rank != whole->rank) return false;
    for (uint32_t i = 0; i < whole->rank; i++)
        if (i != axis && part->dims[i] > whole->dims[i]) return false;
    return true;
}

bool eval_gather_elements(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0), *where = sinter_eval_operand(eval, 1);
    const int64_t *indices = read_indices(eval, 1);
    int64_t at[SINTER_MAX_RANK] = {0}, strides[SINTER_MAX_RANK];
    uint32_t axis;
    if (!indices || !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), data->rank, &axis))
        return false;
    if (!fits_but_axis(where, data, axis))
        return sinter_eval_error(eval, "indices are %s for %s", sinter_eval_describe(eval, where),
                                 sinter_eval_describe(eval, data));
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, where->rank, where->dims);
    if (!result) return false;
    sinter_eval_strides(data->rank, data->dims, strides);
    int64_t count = sinter_tensor_count(where);
    for (int64_t n = 0; n < count; n++) {
        int64_t index;
        if (!sinter_eval_index(eval, indices[n], data->dims[axis], &index)) return false;
        int64_t offset =
            sinter_eval_offset(data->rank, at, strides) + (index - at[axis]) * strides[axis];
        sinter_eval_copy_element(result, n, data, offset);
        sinter_eval_next(where->rank, where->dims, at);
    }
    return true;
}

/* Offset of the slice that an index tuple of `count` numbers names, in a tensor whose axes start at `first`. */
static bool tuple_offset(sinter_eval *eval, const int64_t *tuple, int64_t count,
                         const sinter_tensor *data, uint32_t first, const int64_t *strides,
                         int64_t *out_offset) {
    *out_offset = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t index;
        if (!sinter_eval_index(eval, tuple[i], data->dims[first + i], &index)) return false;
        *out_offset += index * strides[first + i];
    }
    return true;
}

bool eval_gather_nd(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0), *where = sinter_eval_operand(eval, 1);
    const int64_t *indices = read_indices(eval, 1);
    int64_t batch = sinter_eval_int(eval, "batch_dims"), dims[2 * SINTER_MAX_RANK],
            strides[SINTER_MAX_RANK];
    if (!indices) return false;
    int64_t tuple = where->rank ? where->dims[where->rank - 1] : 0;
    bool fits = batch >= 0 && batch < data->rank && batch < where->rank && tuple >= 0 &&
                tuple <= data->rank - batch;
    for (int64_t i = 0; fits && i < batch; i++) fits = data->dims[i] == where->dims[i];
    if (!fits)
        return sinter_eval_error(eval, "indices are %s for %s with %" PRId64 " batch dims",
                                 sinter_eval_describe(eval, where),
                                 sinter_eval_describe(eval, data), batch);
    uint32_t rank = 0, first = (uint32_t)batch, rest = (uint32_t)(batch + tuple);
    for (uint32_t i = 0; i + 1 < where->rank; i++) dims[rank++] = where->dims[i];
    for (uint32_t i = rest; i < data->rank; i++) dims[rank++] = data->dims[i];
    sinter_tensor *result = sinter_eval_create(eval, 0, data->dtype, rank, dims);
    if (!result) return false;
    sinter_eval_strides(data->rank, data->dims, strides);
    int64_t slice = sinter_eval_extent(data->dims, rest, data->rank),
            per_batch = sinter_eval_extent(data->dims, first, data->rank);
    int64_t tuples = sinter_eval_extent(where->dims, 0, where->rank - 1),
            batches = sinter_eval_extent(where->dims, 0, first);
    for (int64_t n = 0; n < tuples; n++) {
        int64_t offset;
        if (!tuple_offset(eval, indices + n * tuple, tuple, data, first, strides, &offset))
            return false;
        offset += n / (tuples / batches) * per_batch;
        sinter_eval_copy_elements(result, n * slice, data, offset, slice);
    }
    return true;
}

bool eval_one_hot(sinter_eval *eval) {
    const sinter_tensor *where = sinter_eval_operand(eval, 0),
                        *values = sinter_eval_operand(eval, 2);
    int64_t dims[SINTER_MAX_RANK];
    double depth;
    uint32_t axis;
    if (!sinter_eval_float_scalar(eval, 1, &depth) ||
        !sinter_eval_expect_rank(eval, 0, 0, SINTER_MAX_RANK - 1) ||
        !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), where->rank + 1, &axis))
        return false;
    if (!(depth >= 0 && depth < 0x1p40)) return sinter_eval_error(eval, "depth is %g", depth);
    if (sinter_tensor_count(values) != 2)
        return sinter_eval_error(eval, "values are %s, expected two",
                                 sinter_eval_describe(eval, values));
    if (where->dtype == SINTER_DTYPE_string) return sinter_eval_error(eval, "indices are strings");
    for (uint32_t i = 0; i <= where->rank; i++)
        dims[i] = i < axis ? where->dims[i] : i == axis ? (int64_t)depth : where->dims[i - 1];
    sinter_tensor *result = sinter_eval_create(eval, 0, values->dtype, where->rank + 1, dims);
    if (!result) return false;
    const double *indices = sinter_eval_doubles(eval, where);
    int64_t inner = sinter_eval_extent(dims, axis + 1, where->rank + 1),
            count = sinter_tensor_count(result);
    for (int64_t n = 0; n < count; n++) {
        int64_t position = n / inner % dims[axis], outer = n / inner / dims[axis];
        double index = trunc(indices[outer * inner + n % inner]);
        if (index < 0) index += (double)dims[axis];
        sinter_eval_copy_element(result, n, values, index == (double)position);
    }
    return true;
}

/* ---- scatter ---- */

typedef struct scatter {
    sinter_tensor *result;
    const sinter_tensor *updates;
    sinter_scalar_function function; /* NONE: the update replaces what is there */
} scatter;

/* The result starts as a copy of data. */
static bool scatter_init(sinter_eval *eval, scatter *s) {
    static const struct {
        const char *name;
        sinter_scalar_function function;
    } reductions[] = {{"none", SINTER_SCALAR_NONE},
                      {"add", SINTER_SCALAR_add},
                      {"mul", SINTER_SCALAR_mul},
                      {"max", SINTER_SCALAR_max},
                      {"min", SINTER_SCALAR_min}};
    const sinter_tensor *data = sinter_eval_operand(eval, 0);
    s->updates = sinter_eval_operand(eval, 2);
    size_t i = 0, count = sizeof reductions / sizeof *reductions;
    while (i < count && !sinter_eval_string_is(eval, "reduction", reductions[i].name)) i++;
    if (i == count)
        return sinter_eval_error(eval, "unknown reduction '%.*s'",
                                 SINTER_STRING_ARGS(sinter_eval_string(eval, "reduction")));
    s->function = reductions[i].function;
    sinter_dtype_class class = sinter_dtype_infos[data->dtype].class;
    if (s->updates->dtype != data->dtype ||
        (s->function && (class == SINTER_CLASS_STRING || class == SINTER_CLASS_COMPLEX)))
        return sinter_eval_error(eval, "updates are %s for %s",
                                 sinter_eval_describe(eval, s->updates),
                                 sinter_eval_describe(eval, data));
    s->result = sinter_eval_create_like(eval, 0, data);
    if (s->result) sinter_eval_copy_elements(s->result, 0, data, 0, sinter_tensor_count(data));
    return s->result != NULL;
}

static void scatter_element(const scatter *s, int64_t target, int64_t source) {
    if (!s->function) {
        sinter_eval_copy_element(s->result, target, s->updates, source);
        return;
    }
    sinter_scalar pair[2] = {sinter_eval_load(s->result, target),
                             sinter_eval_load(s->updates, source)};
    sinter_eval_store(s->result, target, sinter_scalar_apply(s->function, pair));
}

bool eval_scatter_elements(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0), *where = sinter_eval_operand(eval, 1);
    const int64_t *indices = read_indices(eval, 1);
    int64_t at[SINTER_MAX_RANK] = {0}, strides[SINTER_MAX_RANK];
    scatter s;
    uint32_t axis;
    if (!indices || !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), data->rank, &axis) ||
        !scatter_init(eval, &s))
        return false;
    bool same = where->rank == s.updates->rank &&
                memcmp(where->dims, s.updates->dims, where->rank * sizeof *at) == 0;
    if (!fits_but_axis(where, data, axis) || !same)
        return sinter_eval_error(
            eval, "indices are %s and updates %s for %s", sinter_eval_describe(eval, where),
            sinter_eval_describe(eval, s.updates), sinter_eval_describe(eval, data));
    sinter_eval_strides(data->rank, data->dims, strides);
    int64_t count = sinter_tensor_count(where);
    for (int64_t n = 0; n < count; n++) {
        int64_t index;
        if (!sinter_eval_index(eval, indices[n], data->dims[axis], &index)) return false;
        scatter_element(
            &s, sinter_eval_offset(data->rank, at, strides) + (index - at[axis]) * strides[axis],
            n);
        sinter_eval_next(where->rank, where->dims, at);
    }
    return true;
}

bool eval_scatter_nd(sinter_eval *eval) {
    const sinter_tensor *data = sinter_eval_operand(eval, 0), *where = sinter_eval_operand(eval, 1);
    const int64_t *indices = read_indices(eval, 1);
    int64_t strides[SINTER_MAX_RANK];
    scatter s;
    if (!indices || !scatter_init(eval, &s)) return false;
    int64_t tuple = where->rank ? where->dims[where->rank - 1] : -1;
    bool fits = tuple >= 0 && tuple <= data->rank &&
                s.updates->rank == where->rank - 1 + data->rank - tuple;
    for (uint32_t i = 0; fits && i < s.updates->rank; i++)
        fits = s.updates->dims[i] ==
               (i + 1 < where->rank ? where->dims[i] : data->dims[i + 1 + tuple - where->rank]);
    if (!fits)
        return sinter_eval_error(
            eval, "indices are %s and updates %s for %s", sinter_eval_describe(eval, where),
            sinter_eval_describe(eval, s.updates), sinter_eval_describe(eval, data));
    sinter_eval_strides(data->rank, data->dims, strides);
    int64_t slice = sinter_eval_extent(data->dims, (uint32_t)tuple, data->rank);
    int64_t tuples = sinter_eval_extent(where->dims, 0, where->rank - 1);
    for (int64_t n = 0; n < tuples; n++) {
        int64_t offset;
        if (!tuple_offset(eval, indices + n * tuple, tuple, data, 0, strides, &offset))
            return false;
        for (int64_t i = 0; i < slice; i++) scatter_element(&s, offset + i, n * slice + i);
    }
    return true;
}

bool eval_tensor_scatter(sinter_eval *eval) {
    const sinter_tensor *cache = sinter_eval_operand(eval, 0),
                        *update = sinter_eval_operand(eval, 1);
    const sinter_tensor *starts = sinter_eval_operand(eval, 2);
    const int64_t *write_indices = starts ? read_indices(eval, 2) : NULL;
    bool circular = sinter_eval_string_is(eval, "mode", "circular");
    uint32_t axis;
    if ((starts && !write_indices) ||
        !sinter_eval_axis(eval, sinter_eval_int(eval, "axis"), cache->rank, &axis))
        return false;
    bool fits = axis > 0 && update->rank == cache->rank && update->dtype == cache->dtype &&
                (!starts || (starts->rank == 1 && starts->dims[0] == cache->dims[0]));
    for (uint32_t i = 0; fits && i < cache->rank; i++)
        fits = i == axis ? update->dims[i] <= cache->dims[i] : update->dims[i] == cache->dims[i];
    if (!fits)
        return sinter_eval_error(eval, "update is %s for a cache of %s",
                                 sinter_eval_describe(eval, update),
                                 sinter_eval_describe(eval, cache));
    sinter_tensor *result = sinter_eval_create_like(eval, 0, cache);
    if (!result) return false;
    sinter_eval_copy_elements(result, 0, cache, 0, sinter_tensor_count(cache));
    int64_t rows = sinter_eval_extent(cache->dims, 0, axis),
            inner = sinter_eval_extent(cache->dims, axis + 1, cache->rank);
    int64_t size = cache->dims[axis], length = update->dims[axis];
    if (!sinter_tensor_count(update)) return true;
    for (int64_t row = 0; row < rows; row++) {
        int64_t start = write_indices ? write_indices[row / (rows / cache->dims[0])] : 0;
        if (circular) start = (start % size + size) % size;
        if (start < 0 || (!circular && start > size - length))
            return sinter_eval_error(eval, "%" PRId64 " entries at %" PRId64 " do not fit %" PRId64,
                                     length, start, size);
        for (int64_t i = 0; i < length; i++)
            sinter_eval_copy_elements(result, (row * size + (start + i) % size) * inner, update,
                                      (row * length + i) * inner, inner);
    }
    return true;
}
