/* Stacked tensors cut into runs. Test: tests/unit/samples_test.c */
#include "passes/samples.h"

#include <math.h>

/* How an input's tensor is cut. */
typedef enum cut {
    CUT_BATCH, /* rows of the model's first axis */
    CUT_STACK, /* an axis more than the model's: an item a run */
    CUT_NONE   /* the same for all runs */
} cut;

typedef struct input {
    sinter_tensor tensor;
    cut how;
} input;

struct sinter_samples {
    input *inputs;
    size_t input_count;
    size_t first, count; /* of the samples in the tensors */
    size_t step, batch;  /* runs have multiples of step, at most batch, which is one, too */
    size_t mask;         /* the input that is one, counted from 1; 0: none */
};

static const char *where_of(sinter_module *module, uint32_t index) {
    return sinter_arena_format(sinter_module_arena(module), "samples of input '%s'",
                               sinter_module_input_name(module, index));
}

/* ---- shapes ---- */

static void describe(const sinter_tensor *tensor, sinter_text *text) {
    sinter_text_format(text, "%s[", sinter_dtype_infos[tensor->dtype].name);
    for (uint32_t i = 0; i < tensor->rank; i++)
        sinter_text_format(text, "%s%lld", i ? "," : "", (long long)tensor->dims[i]);
    sinter_text_append_string(text, "]");
}

/* Whether the dims of the tensor from `skip_tensor` on may be those of the type from `skip_type` on. */
static bool may_be(const sinter_dim_table *dims, const sinter_tensor *tensor, uint32_t skip_tensor,
                   const sinter_type *type, uint32_t skip_type) {
    if (tensor->rank - skip_tensor != type->rank - skip_type) return false;
    for (uint32_t i = skip_type; i < type->rank; i++) {
        int64_t low = 0, high = 0, dim = tensor->dims[i - skip_type + skip_tensor];
        sinter_dim_range(dims, type->dims[i], &low, &high);
        if (dim < low || dim > high) return false;
    }
    return true;
}

static bool is_symbol(const sinter_dim_table *dims, sinter_dim dim) {
    return sinter_dim_get_kind(dims, dim) == SINTER_DIM_SYMBOL;
}

/* What a model calls its batch: the first axis of the first input that has one. */
typedef struct batch_axis {
    sinter_dim dim; /* 0: it has none */
    int64_t
        step; /* the least number of samples that it takes; multiples of that up to `most` are good as well */
    int64_t most;
} batch_axis;

static sinter_dim find_batch(sinter_module *module) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    sinter_dim found = 0;
    for (uint32_t i = 0; i < sinter_module_input_count(module); i++) {
        const sinter_type *type = sinter_value_type(module, sinter_module_input(module, i));
        if (!type->rank) continue;
        if (is_symbol(dims, type->dims[0])) return type->dims[0];
        if (!found) found = type->dims[0];
    }
    return found;
}

static batch_axis describe_batch(sinter_module *module) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    batch_axis batch = {.dim = find_batch(module), .step = 1, .most = INT64_MAX};
    if (!batch.dim) return batch;
    int64_t least = 0, multiple = sinter_dim_known_multiple(dims, batch.dim);
    sinter_dim_range(dims, batch.dim, &least, &batch.most);
    if (multiple < 1) multiple = 1;
    if (least < 1) least = 1;
    batch.step = (least - 1) / multiple * multiple + multiple;
    if (batch.most < batch.step) batch.most = batch.step;
    return batch;
}

/* How many of so many samples whole runs have; false after an error. */
static bool take_whole_runs(sinter_module *module, uint32_t index, const batch_axis *batch,
                            int64_t count, int64_t *out_samples, sinter_diag *diag) {
    int64_t step = batch->step, left_out = count % step;
    const char *how = batch->most < 2 * step ? "" : " or a multiple of that";
    *out_samples = count - left_out;
    if (left_out && left_out == count)
        return sinter_error(diag, where_of(module, index),
                            "the model takes %lld at once%s, found %lld", (long long)step, how,
                            (long long)count);
    if (left_out)
        sinter_warning(diag, where_of(module, index),
                       "the model takes %lld at once%s: the last %lld of %lld are left out",
                       (long long)step, how, (long long)left_out, (long long)count);
    return true;
}

/* What the tensor is to the input, and how many samples it has. */
static bool classify(sinter_module *module, uint32_t index, const sinter_tensor *tensor,
                     const batch_axis *batch, input *out, int64_t *out_samples, sinter_diag *diag) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    const sinter_type *type = sinter_value_type(module, sinter_module_input(module, index));
    *out_samples = -1;
    out->how = CUT_NONE;
    bool right = tensor->kind == SINTER_TYPE_TENSOR && type->kind == SINTER_TYPE_TENSOR &&
                 tensor->dtype == type->dtype && tensor->dtype != SINTER_DTYPE_string;
    bool batched = type->rank && type->dims[0] == batch->dim;
    if (right && batched && may_be(dims, tensor, 1, type, 1)) {
        out->how = CUT_BATCH;
        return take_whole_runs(module, index, batch, tensor->dims[0], out_samples, diag);
    }
    if (right && tensor->rank == type->rank + 1 && may_be(dims, tensor, 1, type, 0)) {
        out->how = CUT_STACK;
        *out_samples = tensor->dims[0];
        return true;
    }
    if (right && !batched && may_be(dims, tensor, 0, type, 0)) return true;
    sinter_text found = {0};
    if (tensor->kind == SINTER_TYPE_TENSOR)
        describe(tensor, &found);
    else
        sinter_text_append_string(&found, "no tensor");
    sinter_error(diag, where_of(module, index),
                 "expected tensors %s stacked along the first axis, found %s",
                 sinter_type_text(dims, type, sinter_module_arena(module)), found.data);
    sinter_text_deinit(&found);
    return false;
}

/* ---- values ---- */

static bool check_finite(sinter_module *module, uint32_t index, const sinter_tensor *tensor,
                         sinter_diag *diag) {
    if (!sinter_dtype_is_float(tensor->dtype)) return true;
    int64_t count = sinter_tensor_count(tensor);
    const float *floats = tensor->dtype == SINTER_DTYPE_f32 ? tensor->data : NULL;
    for (int64_t i = 0; i < count; i++) {
        double value = floats ? (double)floats[i] : sinter_tensor_get_double(tensor, i);
        if (isfinite(value)) continue;
        int64_t inner = tensor->rank && tensor->dims[0] ? count / tensor->dims[0] : 1;
        return sinter_error(diag, where_of(module, index),
                            "sample %lld has a value that is not finite (%g)",
                            (long long)(i / (inner ? inner : 1)), value);
    }
    return true;
}

/* ---- life ---- */

/* Whether all runs are of the same number of items, by inputs that are stacked. */
static bool settle(sinter_samples *s, sinter_module *module, const sinter_tensor *tensors,
                   size_t batch, sinter_diag *diag) {
    const batch_axis axis = describe_batch(module);
    int64_t total = -1;
    bool stacked = false, batched = false;
    for (uint32_t i = 0; i < s->input_count; i++) {
        int64_t samples = -1;
        if (!classify(module, i, &tensors[i], &axis, &s->inputs[i], &samples, diag) ||
            !check_finite(module, i, &tensors[i], diag))
            return false;
        sinter_tensor_copy(&s->inputs[i].tensor, &tensors[i]);
        if (samples < 0) continue;
        stacked |= s->inputs[i].how == CUT_STACK;
        batched |= s->inputs[i].how == CUT_BATCH;
        if (total >= 0 && samples != total)
            return sinter_error(diag, where_of(module, i), "%lld samples, another input has %lld",
                                (long long)samples, (long long)total);
        total = samples;
    }
    if (stacked && batched && axis.step > 1)
        return sinter_error(diag, "samples",
                            "some are stacked along an axis of their own, others along the "
                            "model's first, which is %lld",
                            (long long)axis.step);
    if (total == 0) return sinter_error(diag, "samples", "there are none");
    s->step = total < 0 || stacked ? 1 : (size_t)axis.step;
    if ((uint64_t)axis.most < batch) batch = (size_t)axis.most;
    s->batch = total < 0 || stacked || batch < s->step ? s->step : batch / s->step * s->step;
    s->count = total < 0 ? 1 : (size_t)total;
    return true;
}

sinter_samples *sinter_samples_create(sinter_module *module, const sinter_tensor *inputs,
                                      size_t batch, sinter_diag *diag) {
    sinter_samples *s = sinter_heap_alloc(sizeof *s);
    *s = (sinter_samples){.input_count = sinter_module_input_count(module)};
    s->inputs = sinter_heap_alloc((s->input_count + 1) * sizeof *s->inputs);
    for (size_t i = 0; i <= s->input_count; i++) s->inputs[i] = (input){0};
    if (settle(s, module, inputs, batch, diag)) return s;
    sinter_samples_destroy(s);
    return NULL;
}

sinter_samples *sinter_samples_slice(const sinter_samples *samples, size_t first, size_t count) {
    sinter_samples *s = sinter_heap_alloc(sizeof *s);
    *s = *samples;
    s->inputs = sinter_heap_alloc((s->input_count + 1) * sizeof *s->inputs);
    for (size_t i = 0; i < s->input_count; i++) {
        s->inputs[i].how = samples->inputs[i].how;
        sinter_tensor_copy(&s->inputs[i].tensor, &samples->inputs[i].tensor);
    }
    s->first = samples->first + first;
    s->count = count;
    return s;
}

void sinter_samples_destroy(sinter_samples *samples) {
    if (!samples) return;
    for (size_t i = 0; i < samples->input_count; i++)
        if (samples->inputs[i].tensor.kind) sinter_tensor_deinit(&samples->inputs[i].tensor);
    sinter_heap_free(samples->inputs);
    sinter_heap_free(samples);
}

/* ---- runs ---- */

size_t sinter_samples_count(const sinter_samples *samples) {
    return samples->count;
}

size_t sinter_samples_input_count(const sinter_samples *samples) {
    return samples->input_count;
}

size_t sinter_samples_step(const sinter_samples *samples) {
    return samples->step;
}

size_t sinter_samples_run_count(const sinter_samples *samples) {
    return (samples->count + samples->batch - 1) / samples->batch;
}

size_t sinter_samples_run_size(const sinter_samples *samples, size_t index) {
    size_t left = samples->count - index * samples->batch;
    return left < samples->batch ? left : samples->batch;
}

static void view_input(const sinter_samples *samples, size_t index, const input *from,
                       sinter_tensor *to) {
    size_t first = samples->first + index * samples->batch;
    sinter_tensor_copy(to, &from->tensor);
    if (from->how == CUT_NONE) return;
    size_t bytes = sinter_tensor_bytes(to) / (size_t)to->dims[0];
    to->data = (const char *)to->data + first * bytes;
    if (from->how == CUT_BATCH) {
        to->dims[0] = (int64_t)sinter_samples_run_size(samples, index);
        return;
    }
    to->rank--;
    for (uint32_t axis = 0; axis < to->rank; axis++) to->dims[axis] = to->dims[axis + 1];
}

void sinter_samples_run_inputs(const sinter_samples *samples, size_t index,
                               sinter_tensor *out_inputs) {
    for (size_t i = 0; i < samples->input_count; i++)
        view_input(samples, index, &samples->inputs[i], &out_inputs[i]);
}

void sinter_samples_set_mask(sinter_samples *samples, size_t index) {
    samples->mask = index + 1;
}

bool sinter_samples_run_mask(const sinter_samples *samples, size_t index, sinter_tensor *out_mask) {
    if (samples->mask) view_input(samples, index, &samples->inputs[samples->mask - 1], out_mask);
    return samples->mask > 0;
}
