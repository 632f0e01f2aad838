/* Compares two functions of the loop IR by running them (see check.h).
 * Needs: equal signatures. Guarantees: the data depend on the seed and the sizes alone.
 * Test: tests/unit/loop_property_test.c */
#include "codegen/schedule/check.h"
#include "codegen/loops/code.h"
#include "ir/base/splitmix.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

static void fill(sinter_tensor *tensor, uint64_t *state) {
    int64_t count = sinter_tensor_count(tensor);
    bool is_float = sinter_dtype_is_float(tensor->dtype);
    for (int64_t i = 0; i < count; i++) {
        int64_t value = (int64_t)(sinter_splitmix(state) % 17) - 8;
        if (is_float)
            sinter_tensor_set_double(
                tensor, i, (double)value / 4.0 + (double)(sinter_splitmix(state) % 1000) / 4096.0);
        else if (tensor->dtype == SINTER_DTYPE_bool)
            sinter_tensor_set_int(tensor, i, value & 1);
        else
            sinter_tensor_set_int(tensor, i, value < 0 ? -value : value);
    }
}

static void choose_scalars(const sinter_loop_function *function,
                           const sinter_loop_check_options *options, int64_t *scalars) {
    for (size_t i = 0; i < function->scalar_parameters.count; i++) {
        const sinter_loop_var_info *info =
            &function->vars.items[function->scalar_parameters.items[i]];
        int64_t value = options->size;
        for (size_t k = 0; k < options->count; k++)
            if (!strcmp(options->names[k], info->name)) value = options->values[k];
        if (value < info->min) value = info->min;
        if (value > info->max) value = info->max;
        scalars[i] = value;
    }
}

/* The dims of parameter `index` for these scalars. */
static bool evaluate_dims(sinter_arena *arena, const sinter_loop_function *function,
                          sinter_loop_buffer buffer, const int64_t *scalars, int64_t *out_dims) {
    const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    int64_t *values = SINTER_NEW_ARRAY(arena, int64_t, function->vars.count);
    for (size_t i = 0; i < function->scalar_parameters.count; i++)
        values[function->scalar_parameters.items[i]] = scalars[i];
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_code_evaluate(arena, function, info->dims[i], values, &out_dims[i]))
            return false;
    return true;
}

static bool same_bytes(const sinter_tensor *a, const sinter_tensor *b) {
    size_t bytes = sinter_tensor_bytes(a);
    return bytes == sinter_tensor_bytes(b) && memcmp(a->data, b->data, bytes) == 0;
}

/* max |a - b| / max |b|, infinities and NaN apart, which have to be the same. */
static bool is_near(const sinter_tensor *a, const sinter_tensor *b, double bound) {
    double most = 0, largest = 0;
    if (a->dtype != SINTER_DTYPE_f32 && a->dtype != SINTER_DTYPE_f64) return false;
    for (int64_t i = 0; i < sinter_tensor_count(a); i++) {
        double x = sinter_tensor_get_double(a, i), y = sinter_tensor_get_double(b, i);
        if (!isfinite(x) || !isfinite(y)) {
            if (x != y && !(isnan(x) && isnan(y))) return false;
            continue;
        }
        most = fmax(most, fabs(x - y));
        largest = fmax(largest, fabs(y));
    }
    return most <= bound * largest;
}

bool sinter_loop_describe_packing(const sinter_loop_function *function, sinter_loop_buffer buffer,
                                  sinter_loop_check_packing *out_packing) {
    const sinter_loop_buffer_info *info = &function->buffers.items[buffer];
    *out_packing = (sinter_loop_check_packing){.rank = info->rank};
    for (uint32_t i = 0; i < info->rank; i++)
        if (!sinter_loop_is_const_int(info->dims[i], &out_packing->dims[i])) return false;
    uint32_t *at = &out_packing->parameter;
    while (*at < function->buffer_parameters.count &&
           function->buffer_parameters.items[*at] != buffer)
        ++*at;
    return *at < function->buffer_parameters.count;
}

/* The second function's data as it has them. */
static bool pack_inputs(const sinter_loop_check_options *options, sinter_tensor *tensors,
                        sinter_diag *diag) {
    for (size_t i = 0; i < options->packing_count; i++) {
        const sinter_loop_check_packing *p = &options->packings[i];
        sinter_tensor *tensor = &tensors[p->parameter], packed;
        tensor->rank = p->rank;
        memcpy(tensor->dims, p->dims, p->rank * sizeof *p->dims);
        if (!sinter_layout_pack(&p->layout, tensor, &packed, diag)) return false;
        sinter_tensor_deinit(tensor);
        *tensor = packed;
    }
    return true;
}

static bool report(const sinter_loop_function *function, sinter_loop_buffer buffer,
                   const sinter_tensor *before, const sinter_tensor *after, sinter_diag *diag) {
    sinter_text message = {0};
    sinter_tensor_compare(after, before, 0, 0, &message);
    sinter_error(diag, function->name, "%%%s differs: %s", function->buffers.items[buffer].name,
                 message.data ? message.data : "in bits");
    sinter_text_deinit(&message);
    return false;
}

bool sinter_loop_check_equal(const sinter_loop_program *before,
                             const sinter_loop_function *function_before,
                             const sinter_loop_program *after,
                             const sinter_loop_function *function_after,
                             const sinter_loop_check_options *options, bool *out_failed,
                             sinter_diag *diag) {
    sinter_arena arena;
    sinter_arena_init(&arena);
    size_t count = function_before->buffer_parameters.count;
    int64_t *scalars = SINTER_NEW_ARRAY(&arena, int64_t, function_before->scalar_parameters.count);
    choose_scalars(function_before, options, scalars);
    sinter_tensor *tensors[2] = {SINTER_NEW_ARRAY(&arena, sinter_tensor, count),
                                 SINTER_NEW_ARRAY(&arena, sinter_tensor, count)};
    bool ok = true;
    uint64_t state = options->seed;
    for (size_t i = 0; ok && i < count; i++) {
        sinter_loop_buffer buffer = function_before->buffer_parameters.items[i];
        const sinter_loop_buffer_info *info = &function_before->buffers.items[buffer];
        int64_t dims[SINTER_MAX_RANK];
        ok = evaluate_dims(&arena, function_before, buffer, scalars, dims) &&
             sinter_tensor_create(&tensors[0][i], info->dtype, info->rank, dims, diag) &&
             sinter_tensor_create(&tensors[1][i], info->dtype, info->rank, dims, diag);
        if (!ok || info->scope == SINTER_SCOPE_OUTPUT) continue;
        fill(&tensors[0][i], &state);
        memcpy(sinter_tensor_mutable(&tensors[1][i]), tensors[0][i].data,
               sinter_tensor_bytes(&tensors[0][i]));
    }
    ok = ok && pack_inputs(options, tensors[1], diag);
    if (!ok) sinter_error(diag, function_before->name, "its parameters cannot be made");
    sinter_text said = {0};
    sinter_diag quiet = {.handler = sinter_diag_text_handler, .user = &said};
    bool ran_before =
        ok && sinter_loop_interpret(before, function_before, tensors[0], scalars, &quiet);
    bool ran_after =
        ok && sinter_loop_interpret(after, function_after, tensors[1], scalars, &quiet);
    if (out_failed) *out_failed = !ran_before && !ran_after;
    if (ran_before != ran_after)
        ok = sinter_error(diag, function_before->name, "only one of the two runs: %s", said.data);
    for (size_t i = 0; ok && ran_before && i < count; i++) {
        sinter_loop_buffer buffer = function_before->buffer_parameters.items[i];
        if (function_before->buffers.items[buffer].scope != SINTER_SCOPE_INPUT &&
            !same_bytes(&tensors[0][i], &tensors[1][i]) &&
            !(options->rounding > 0 && is_near(&tensors[1][i], &tensors[0][i], options->rounding)))
            ok = report(function_before, function_before->buffer_parameters.items[i],
                        &tensors[0][i], &tensors[1][i], diag);
    }
    for (size_t i = 0; i < count; i++) {
        sinter_tensor_deinit(&tensors[0][i]);
        sinter_tensor_deinit(&tensors[1][i]);
    }
    sinter_text_deinit(&said);
    sinter_arena_deinit(&arena);
    return ok;
}
