/* Lowering, host level: walks a region and turns every node into host statements and kernels. Dims become host
 * variables as soon as they can be known: symbols of inputs are parameters of the host function, contents of
 * tensors are loaded after the kernel that makes them, node dims are bound by the rule of their node.
 * Needs a verified module without composite ops. Test: tests/codegen/lower/ */
#include "codegen/lower/lower.h"
#include "runtime/abi.h"
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

bool sinter_lower_error(sinter_lower *lower, sinter_node node, const char *format, ...) {
    sinter_text text = {0};
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    sinter_text_format(&text, "%s: ", sinter_op_get_info(info->op)->name);
    va_list arguments;
    va_start(arguments, format);
    sinter_text_format_list(&text, format, arguments);
    va_end(arguments);
    for (uint32_t i = 0; i < info->operand_count; ++i) {
        sinter_text_append_string(&text, i ? ", " : "; operands ");
        if (info->operands[i])
            sinter_type_describe(lower->dims, sinter_value_type(lower->module, info->operands[i]),
                                 &text);
        else
            sinter_text_append_string(&text, "_");
    }
    lower->failed = true;
    sinter_error(lower->diag, info->location, "%s", text.data);
    sinter_text_deinit(&text);
    return false;
}

/* ---- dims ---- */

static sinter_expr host_dim(void *user, sinter_dim symbol) {
    sinter_lower *lower = user;
    uint64_t var = 0;
    if (!sinter_map_find(&lower->symbols, symbol, &var)) {
        lower->failed = true;
        sinter_error(lower->diag, sinter_module_name(lower->module),
                     "dimension '%s' is not known where it is needed",
                     sinter_dim_get_symbol(lower->dims, symbol)->name);
        return sinter_loop_int(&lower->host, 1);
    }
    return sinter_loop_var_read(&lower->host, (sinter_loop_var)var);
}

/* Dim expression -> loop expression; symbols through the callback. */
static sinter_expr lower_dim(sinter_lower *lower, sinter_loop_builder *build, sinter_dim dim,
                             sinter_expr (*symbol)(void *, sinter_dim), void *user) {
    int64_t number = 0;
    if (sinter_dim_is_const(lower->dims, dim, &number)) return sinter_loop_int(build, number);
    sinter_dim_kind kind = sinter_dim_get_kind(lower->dims, dim);
    if (kind == SINTER_DIM_SYMBOL) return symbol(user, dim);
    const sinter_dim *operands = NULL;
    size_t count = sinter_dim_operands(lower->dims, dim, &operands);
    sinter_expr result = lower_dim(lower, build, operands[0], symbol, user);
    if (kind == SINTER_DIM_SELECT) {
        sinter_expr arguments[3] = {
            sinter_loop_compare(build, SINTER_SCALAR_le, sinter_loop_int(build, 0), result),
            lower_dim(lower, build, operands[1], symbol, user),
            lower_dim(lower, build, operands[2], symbol, user)};
        return sinter_loop_call(build, SINTER_SCALAR_select, arguments);
    }
    static const sinter_scalar_function functions[] = {
        [SINTER_DIM_ADD] = SINTER_SCALAR_add,           [SINTER_DIM_MUL] = SINTER_SCALAR_mul,
        [SINTER_DIM_FLOORDIV] = SINTER_SCALAR_floordiv, [SINTER_DIM_MOD] = SINTER_SCALAR_floormod,
        [SINTER_DIM_MIN] = SINTER_SCALAR_min,           [SINTER_DIM_MAX] = SINTER_SCALAR_max};
    for (size_t i = 1; i < count; ++i) {
        sinter_expr arguments[2] = {result, lower_dim(lower, build, operands[i], symbol, user)};
        result = sinter_loop_call(build, functions[kind], arguments);
    }
    return result;
}

sinter_expr sinter_lower_host_dim(sinter_lower *lower, sinter_dim dim) {
    return lower_dim(lower, &lower->host, dim, host_dim, lower);
}

/* What schedules may rely on. A dim beyond the limit belongs to a tensor without elements, for which no loop runs; contents of
 * tensors are whatever they are. */
static void set_symbol_range(sinter_kernel *kernel, sinter_loop_var var, sinter_dim symbol) {
    const sinter_dim_symbol *info = sinter_dim_get_symbol(kernel->lower->dims, symbol);
    bool content = info->origin == SINTER_DIM_ORIGIN_CONTENT;
    int64_t min = info->min, max = info->max;
    if (!content && min < 0) min = 0;
    if (!content && max > SINTER_LOOP_OPEN_SIZE) max = SINTER_LOOP_OPEN_SIZE;
    if (min <= max) sinter_loop_set_range(&kernel->build, var, min, max);
}

static sinter_expr kernel_symbol(void *user, sinter_dim symbol) {
    sinter_kernel *kernel = user;
    uint64_t var = 0;
    if (!sinter_map_find(&kernel->symbols, symbol, &var)) {
        var = sinter_loop_add_parameter(
            &kernel->build,
            sinter_arena_format(kernel->build.arena, "n%zu", kernel->host_scalars.count),
            SINTER_DTYPE_i64);
        set_symbol_range(kernel, (sinter_loop_var)var, symbol);
        sinter_map_put(&kernel->symbols, symbol, var);
        sinter_vector_push(&kernel->lower->scratch, &kernel->host_scalars,
                           host_dim(kernel->lower, symbol));
    }
    return sinter_loop_var_read(&kernel->build, (sinter_loop_var)var);
}

sinter_expr sinter_kernel_dim(sinter_kernel *kernel, sinter_dim dim) {
    return lower_dim(kernel->lower, &kernel->build, dim, kernel_symbol, kernel);
}

void sinter_lower_bind_symbol(sinter_lower *lower, sinter_dim symbol, sinter_expr value) {
    const sinter_dim_symbol *info = sinter_dim_get_symbol(lower->dims, symbol);
    const char *name = sinter_arena_format(&lower->program->arena, "%s", info->name);
    sinter_map_put(&lower->symbols, symbol, sinter_loop_declare(&lower->host, name, false, value));
}

void sinter_lower_bind_content(sinter_lower *lower, sinter_value value) {
    const sinter_value_info *info = sinter_value_get(lower->module, value);
    for (uint32_t i = 0; i < info->content_count; ++i) {
        sinter_dim dim = info->content[i];
        if (!dim || sinter_dim_get_kind(lower->dims, dim) != SINTER_DIM_SYMBOL) continue;
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(lower->dims, dim);
        uint64_t var = 0;
        if (symbol->origin != SINTER_DIM_ORIGIN_CONTENT || symbol->value != value ||
            symbol->index != i)
            continue;
        if (sinter_map_find(&lower->symbols, dim, &var)) continue;
        sinter_expr index[SINTER_MAX_RANK];
        int64_t rest = i;
        for (uint32_t d = info->type.rank; d-- > 0;) {
            int64_t size = 1;
            sinter_dim_is_const(lower->dims, info->type.dims[d], &size);
            index[d] = sinter_loop_int(&lower->host, rest % size);
            rest /= size;
        }
        sinter_expr element =
            sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, value), index);
        sinter_lower_bind_symbol(lower, dim,
                                 sinter_loop_cast(&lower->host, element, SINTER_DTYPE_i64));
        info = sinter_value_get(lower->module, value);
    }
}

const char *sinter_lower_location(const sinter_lower *lower) {
    return lower->node ? sinter_node_get(lower->module, lower->node)->location : NULL;
}

void sinter_lower_host_check(sinter_lower *lower, sinter_expr condition, int32_t code,
                             const char *message, const sinter_expr *arguments, uint32_t count) {
    if (condition->kind == SINTER_LOOP_CONST && condition->int_value) return;
    sinter_expr fails = sinter_loop_call(&lower->host, SINTER_SCALAR_not, &condition);
    sinter_arena *arena = &lower->program->arena;
    const char *location = sinter_lower_location(lower);
    const char *place = sinter_loop_fail_text(arena, sinter_loop_failure_place(arena, location));
    sinter_loop_begin_if(&lower->host, fails);
    sinter_loop_fail(&lower->host, code, sinter_arena_format(arena, "%s%s", message, place),
                     arguments, count);
    sinter_loop_end(&lower->host);
}

/* ---- buffers ---- */

static void type_dims(sinter_lower *lower, const sinter_type *type, sinter_expr *out_dims) {
    for (uint32_t i = 0; i < type->rank; ++i)
        out_dims[i] = sinter_lower_host_dim(lower, type->dims[i]);
}

void sinter_lower_set_buffer(sinter_lower *lower, sinter_value value, sinter_loop_buffer buffer) {
    sinter_map_put(&lower->buffers, value, buffer);
}

static const char *value_name(sinter_lower *lower, sinter_value value) {
    const char *name = sinter_value_get(lower->module, value)->name;
    if (name) return sinter_arena_format(&lower->program->arena, "%s", name);
    return sinter_arena_format(&lower->program->arena, "%s",
                               sinter_value_label(lower->module, value) + 1);
}

sinter_loop_buffer sinter_lower_host_constant(sinter_lower *lower, const char *name,
                                              const sinter_tensor *tensor) {
    uint64_t index = 0; /* equal data is stored once, whoever reads it */
    uint64_t key = (uint64_t)(uintptr_t)tensor->data;
    if (!sinter_map_find(&lower->constants, key, &index) ||
        sinter_tensor_bytes(&lower->program->constants.items[index].tensor) !=
            sinter_tensor_bytes(tensor)) {
        sinter_loop_constant constant = {{0}};
        sinter_tensor_copy(&constant.tensor, tensor);
        sinter_vector_push(&lower->program->arena, &lower->program->constants, constant);
        index = lower->program->constants.count - 1;
        if (tensor->data) sinter_map_put(&lower->constants, key, index);
    }
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < tensor->rank; ++i)
        dims[i] = sinter_loop_int(&lower->host, tensor->dims[i]);
    sinter_loop_buffer buffer = sinter_loop_add_buffer(&lower->host, name, tensor->dtype,
                                                       tensor->rank, dims, SINTER_SCOPE_CONSTANT);
    lower->host.function->buffers.items[buffer].constant = (uint32_t)index;
    return buffer;
}

static sinter_loop_buffer output_buffer(sinter_lower *lower, sinter_value value, uint32_t index) {
    const sinter_type *type = sinter_value_type(lower->module, value);
    sinter_expr dims[SINTER_MAX_RANK];
    type_dims(lower, type, dims);
    sinter_loop_buffer buffer = sinter_loop_add_buffer(
        &lower->host, value_name(lower, value), type->dtype, type->rank, dims, SINTER_SCOPE_OUTPUT);
    lower->host.function->buffers.items[buffer].io_index = (int32_t)index;
    sinter_loop_alloc(&lower->host, buffer);
    return buffer;
}

/* A value whose elements follow each other inside of another's. */
static sinter_loop_buffer run_buffer(sinter_lower *lower, sinter_value value,
                                     const sinter_lower_place *place) {
    sinter_type type = *sinter_value_type(lower->module, value),
                whole = *sinter_value_type(lower->module, place->whole);
    assert(place->is_run);
    sinter_expr dims[SINTER_MAX_RANK], offset = sinter_loop_int(&lower->host, 0);
    for (uint32_t d = 0; d < whole.rank; ++d)
        offset = sinter_loop_add(
            &lower->host,
            sinter_loop_mul(&lower->host, offset, sinter_lower_host_dim(lower, whole.dims[d])),
            sinter_lower_host_dim(lower, place->first[d]));
    sinter_loop_buffer source = sinter_lower_host_buffer(lower, place->whole);
    type_dims(lower, &type, dims);
    sinter_loop_buffer buffer = sinter_loop_add_buffer(
        &lower->host, value_name(lower, value), type.dtype, type.rank, dims, SINTER_SCOPE_ALIAS);
    sinter_loop_bind(&lower->host, buffer, source, offset);
    return buffer;
}

sinter_loop_buffer sinter_lower_host_buffer(sinter_lower *lower, sinter_value value) {
    uint64_t found = 0;
    if (sinter_map_find(&lower->buffers, value, &found)) return (sinter_loop_buffer)found;
    sinter_loop_buffer buffer;
    const sinter_tensor *tensor = sinter_value_constant(lower->module, value);
    const sinter_lower_place *place = sinter_lower_find_place(lower, value);
    if (place) {
        buffer = run_buffer(lower, value, place);
    } else if (tensor) {
        buffer = sinter_lower_host_constant(lower, value_name(lower, value), tensor);
    } else if (sinter_map_find(&lower->output_of, value, &found)) {
        buffer = output_buffer(lower, value, (uint32_t)found - 1);
    } else {
        sinter_type type = *sinter_value_type(lower->module, value);
        sinter_expr dims[SINTER_MAX_RANK];
        type_dims(lower, &type, dims);
        buffer = sinter_loop_add_buffer(&lower->host, value_name(lower, value), type.dtype,
                                        type.rank, dims, SINTER_SCOPE_HEAP);
        sinter_loop_alloc(&lower->host, buffer);
    }
    sinter_map_put(&lower->buffers, value, buffer);
    return buffer;
}

sinter_loop_buffer sinter_lower_host_scratch(sinter_lower *lower, const char *name,
                                             sinter_dtype dtype, uint32_t rank,
                                             const sinter_expr *dims) {
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&lower->host, name, dtype, rank, dims, SINTER_SCOPE_HEAP);
    sinter_loop_alloc(&lower->host, buffer);
    return buffer;
}

void sinter_lower_host_alias(sinter_lower *lower, sinter_value value, sinter_value source) {
    const sinter_type *type = sinter_value_type(lower->module, value);
    sinter_expr dims[SINTER_MAX_RANK];
    type_dims(lower, type, dims);
    sinter_loop_buffer from = sinter_lower_host_buffer(lower, source);
    sinter_loop_buffer alias = sinter_loop_add_buffer(
        &lower->host, value_name(lower, value), type->dtype, type->rank, dims, SINTER_SCOPE_ALIAS);
    sinter_loop_bind(&lower->host, alias, from, sinter_loop_int(&lower->host, 0));
    sinter_map_put(&lower->buffers, value, alias);
}

void sinter_lower_host_copy(sinter_lower *lower, sinter_loop_buffer target,
                            sinter_loop_buffer source) {
    sinter_kernel kernel;
    sinter_kernel_begin_named(&kernel, lower, "copy");
    sinter_loop_buffer from = sinter_kernel_bind_buffer(&kernel, source, SINTER_SCOPE_INPUT, "in");
    sinter_loop_buffer to = sinter_kernel_bind_buffer(&kernel, target, SINTER_SCOPE_OUTPUT, "out");
    sinter_loop_buffer_info info = lower->host.function->buffers.items[target];
    sinter_expr index[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < info.rank; ++i)
        index[i] =
            sinter_kernel_begin_for(&kernel, sinter_arena_format(kernel.build.arena, "i%u", i),
                                    kernel.build.function->buffers.items[to].dims[i]);
    sinter_loop_store(&kernel.build, to, index, sinter_loop_load(&kernel.build, from, index));
    sinter_kernel_end_loops(&kernel, info.rank);
    sinter_kernel_end(&kernel, 0);
}

/* ---- nodes ---- */

static bool check_types(sinter_lower *lower, sinter_node node, const sinter_value *values,
                        uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) {
        if (!values[i]) continue;
        const sinter_type *type = sinter_value_type(lower->module, values[i]);
        if (type->kind != SINTER_TYPE_TENSOR)
            return sinter_lower_error(lower, node, "only tensors can be compiled");
        sinter_dtype_class class = sinter_dtype_infos[type->dtype].class;
        if (class == SINTER_CLASS_STRING || class == SINTER_CLASS_COMPLEX)
            return sinter_lower_error(lower, node, "element type %s can't be compiled",
                                      sinter_dtype_infos[type->dtype].name);
    }
    return true;
}

static void bind_contents(sinter_lower *lower, sinter_node node) {
    for (uint32_t i = 0; i < sinter_node_get(lower->module, node)->result_count; ++i) {
        sinter_value result = sinter_node_result(lower->module, node, i);
        if (result) sinter_lower_bind_content(lower, result);
    }
}

bool sinter_lower_is_late_dim(const sinter_lower *lower, sinter_dim dim, sinter_value value) {
    uint64_t bound = 0;
    if (sinter_dim_get_kind(lower->dims, dim) != SINTER_DIM_SYMBOL ||
        sinter_map_find(&lower->symbols, dim, &bound))
        return false;
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(lower->dims, dim);
    return symbol->origin == SINTER_DIM_ORIGIN_NODE && symbol->value == value;
}

/* Dims that the node decides are bound before its results get their buffers. */
static bool bind_late_dims(sinter_lower *lower, sinter_node node) {
    sinter_lower_host_rule rule =
        sinter_lower_find_dims_rule(sinter_node_get(lower->module, node)->op);
    for (uint32_t i = 0; rule && i < sinter_node_get(lower->module, node)->result_count; ++i) {
        sinter_value result = sinter_node_result(lower->module, node, i);
        const sinter_type *type = result ? sinter_value_type(lower->module, result) : NULL;
        for (uint32_t d = 0; type && d < type->rank; ++d)
            if (sinter_lower_is_late_dim(lower, type->dims[d], result)) return rule(lower, node);
    }
    return true;
}

static bool lower_to_kernel(sinter_lower *lower, sinter_node node, sinter_lower_kernel_rule rule) {
    sinter_kernel kernel;
    sinter_kernel_begin(&kernel, lower, node);
    bool good = true;
    if (rule) {
        good = rule(&kernel, node);
    } else {
        /* Element rules: one nest over the result's shape that pulls every element. */
        sinter_value result = kernel.outputs.items[0];
        sinter_expr index[SINTER_MAX_RANK];
        for (size_t i = 0; i < kernel.outputs.count && good; ++i) {
            if (i > 0 && i % SINTER_KERNEL_NESTS == 0)
                good = sinter_kernel_begin_next(&kernel, node);
            if (!good) return false;
            result = kernel.outputs.items[i];
            sinter_kernel_begin_loops(&kernel, result, index);
            sinter_expr element = sinter_lower_element(&kernel, result, index);
            sinter_kernel_store(&kernel, sinter_kernel_buffer(&kernel, result), index, element);
            sinter_kernel_end_loops(&kernel, sinter_value_type(lower->module, result)->rank);
        }
    }
    return sinter_kernel_end(&kernel, node) && good;
}

/* The node has nothing to do: its results lie in its operand, or its operands were written into its result. Aliases begin
 * here. */
static bool is_in_place(sinter_lower *lower, sinter_node node) {
    sinter_node_info info = *sinter_node_get(lower->module, node);
    if (info.op == SINTER_OP_concat) {
        for (uint32_t i = 0; i < info.operand_count; ++i)
            if (!sinter_lower_is_joined(lower, node, i)) return false;
        return info.operand_count > 0;
    }
    for (uint32_t i = 0; i < info.result_count; ++i)
        if (info.results[i] && !sinter_lower_is_cut(lower, info.results[i])) return false;
    for (uint32_t i = 0; i < info.result_count; ++i)
        if (info.results[i] && sinter_lower_find_place(lower, info.results[i])->is_run)
            sinter_lower_host_buffer(lower, info.results[i]);
    return true;
}

static bool lower_node(sinter_lower *lower, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    sinter_lower_element_rule element = NULL;
    sinter_lower_kernel_rule kernel = NULL;
    sinter_lower_host_rule host = NULL;
    sinter_lower_kind kind = sinter_lower_find_rule(info->op, &element, &kernel, &host);
    if (kind == SINTER_LOWER_NONE)
        return sinter_lower_error(lower, node, "this operator can't be compiled");
    if (kind == SINTER_LOWER_HOST) {
        sinter_lower_host_rule check = sinter_lower_find_check_rule(info->op);
        if ((check && !check(lower, node)) || !bind_late_dims(lower, node) ||
            !sinter_lower_check_trusted(lower, node) || !host(lower, node))
            return false;
    } else {
        if (!check_types(lower, node, info->operands, info->operand_count) ||
            !check_types(lower, node, info->results, info->result_count))
            return false;
        if (!bind_late_dims(lower, node) || !sinter_lower_check_node(lower, node)) return false;
        if (!is_in_place(lower, node) && !lower_to_kernel(lower, node, kernel)) return false;
    }
    bind_contents(lower, node);
    return true;
}

bool sinter_lower_region(sinter_lower *lower, sinter_region region) {
    bool good = true;
    const sinter_node around = lower->node;
    sinter_lower_place_values(lower, region);
    SINTER_FOR_NODES (lower->module, region, node) {
        lower->node = node;
        if (sinter_op_has_trait(sinter_node_get(lower->module, node)->op, SINTER_TRAIT_TERMINATOR))
            break;
        if (!lower_node(lower, node)) good = false;
    }
    lower->node = around;
    return good && !lower->failed;
}

/* ---- the program's face: symbols, inputs, outputs ---- */

static const char *const *dim_names(sinter_lower *lower, const sinter_type *type) {
    const char **names = SINTER_NEW_ARRAY(&lower->program->arena, const char *, type->rank + 1);
    for (uint32_t i = 0; i < type->rank; ++i) {
        sinter_text text = {0};
        sinter_dim_print(lower->dims, type->dims[i], &text);
        names[i] = sinter_arena_format(&lower->program->arena, "%s", text.data);
        sinter_text_deinit(&text);
    }
    return names;
}

static sinter_loop_io make_io(sinter_lower *lower, sinter_value value, const char *name) {
    sinter_type type = *sinter_value_type(lower->module, value);
    int64_t *dims = SINTER_NEW_ARRAY(&lower->program->arena, int64_t, type.rank + 1);
    for (uint32_t i = 0; i < type.rank; ++i)
        if (!sinter_dim_is_const(lower->dims, type.dims[i], &dims[i])) dims[i] = -1;
    return (sinter_loop_io){.name = name,
                            .dtype = type.dtype,
                            .rank = type.rank,
                            .dims = dims,
                            .dim_names = dim_names(lower, &type)};
}

static void add_entry_symbol(sinter_lower *lower, sinter_dim dim, uint32_t input, uint32_t index,
                             bool content) {
    uint64_t found = 0;
    if (sinter_map_find(&lower->symbols, dim, &found)) return;
    const sinter_dim_symbol *symbol = sinter_dim_get_symbol(lower->dims, dim);
    const char *name = sinter_arena_format(&lower->program->arena, "%s", symbol->name);
    sinter_map_put(&lower->symbols, dim,
                   sinter_loop_add_parameter(&lower->host, name, SINTER_DTYPE_i64));
    sinter_loop_symbol entry = {.name = name,
                                .min = symbol->min,
                                .max = symbol->max,
                                .multiple = symbol->multiple,
                                .input = input,
                                .index = index,
                                .content = content};
    sinter_vector_push(&lower->program->arena, &lower->program->symbols, entry);
}

static bool lower_inputs(sinter_lower *lower, sinter_region region) {
    const sinter_region_info *info = sinter_region_get(lower->module, region);
    uint32_t count = info->argument_count;
    for (uint32_t i = 0; i < count; ++i) {
        sinter_value value = sinter_region_get(lower->module, region)->arguments[i];
        const sinter_value_info *argument = sinter_value_get(lower->module, value);
        if (argument->type.kind != SINTER_TYPE_TENSOR ||
            sinter_dtype_infos[argument->type.dtype].class == SINTER_CLASS_STRING ||
            sinter_dtype_infos[argument->type.dtype].class == SINTER_CLASS_COMPLEX) {
            sinter_text text = {0};
            sinter_type_describe(lower->dims, &argument->type, &text);
            sinter_error(
                lower->diag, sinter_module_name(lower->module),
                "input %s of type %s can't be compiled; --target=eval interprets the model",
                sinter_value_label(lower->module, value), text.data);
            sinter_text_deinit(&text);
            return false;
        }
        for (uint32_t d = 0; d < argument->type.rank; ++d) {
            sinter_dim dim = argument->type.dims[d];
            if (sinter_dim_get_kind(lower->dims, dim) == SINTER_DIM_SYMBOL)
                add_entry_symbol(lower, dim, i, d, false);
        }
        for (uint32_t d = 0; d < argument->content_count; ++d) {
            sinter_dim dim = argument->content[d];
            if (dim && sinter_dim_get_kind(lower->dims, dim) == SINTER_DIM_SYMBOL &&
                sinter_dim_get_symbol(lower->dims, dim)->origin == SINTER_DIM_ORIGIN_CONTENT)
                add_entry_symbol(lower, dim, i, d, true);
        }
    }
    for (uint32_t i = 0; i < count; ++i) {
        sinter_value value = sinter_region_get(lower->module, region)->arguments[i];
        sinter_type type = *sinter_value_type(lower->module, value);
        sinter_expr dims[SINTER_MAX_RANK];
        type_dims(lower, &type, dims);
        for (uint32_t d = 0; d < type.rank; ++d) {
            sinter_loop_check check = {.input = i, .axis = d, .expected = dims[d]};
            sinter_vector_push(&lower->program->arena, &lower->program->checks, check);
        }
        const char *name = sinter_arena_format(&lower->program->arena, "%s",
                                               sinter_module_input_name(lower->module, i));
        sinter_loop_buffer buffer = sinter_loop_add_buffer(&lower->host, name, type.dtype,
                                                           type.rank, dims, SINTER_SCOPE_INPUT);
        lower->host.function->buffers.items[buffer].io_index = (int32_t)i;
        sinter_map_put(&lower->buffers, value, buffer);
        sinter_vector_push(&lower->program->arena, &lower->program->inputs,
                           make_io(lower, value, name));
    }
    return !lower->failed;
}

static bool only_entry_symbols(sinter_lower *lower, sinter_expr expr, size_t parameters) {
    if (expr->kind == SINTER_LOOP_VAR) {
        for (size_t i = 0; i < parameters; ++i)
            if (lower->host.function->scalar_parameters.items[i] == expr->var) return true;
        return false;
    }
    for (uint32_t i = 0; i < expr->argument_count; ++i)
        if (!only_entry_symbols(lower, expr->arguments[i], parameters)) return false;
    return true;
}

/* Whether a value's own buffer can be the model's output: made by a node of the main region into fresh memory, and
 * yielded once. */
static bool owns_output(sinter_lower *lower, sinter_node yield, uint32_t index,
                        sinter_region region) {
    const sinter_node_info *info = sinter_node_get(lower->module, yield);
    sinter_value value = info->operands[index];
    for (uint32_t i = 0; i < index; ++i)
        if (info->operands[i] == value) return false;
    sinter_node definition = sinter_value_get(lower->module, value)->definition;
    if (!definition || sinter_node_get(lower->module, definition)->parent != region) return false;
    sinter_lower_element_rule element;
    sinter_lower_kernel_rule kernel;
    sinter_lower_host_rule host;
    return sinter_lower_find_rule(sinter_node_get(lower->module, definition)->op, &element, &kernel,
                                  &host) != SINTER_LOWER_HOST;
}

/* Outputs get their buffers when their node runs; others are copied at the end. */
static void prepare_outputs(sinter_lower *lower, sinter_region region, sinter_node yield) {
    uint32_t count = sinter_node_get(lower->module, yield)->operand_count;
    lower->output_count = count;
    for (uint32_t i = 0; i < count; ++i)
        if (owns_output(lower, yield, i, region))
            sinter_map_put(&lower->output_of, sinter_node_operand(lower->module, yield, i), i + 1);
}

static bool finish_outputs(sinter_lower *lower, sinter_node yield) {
    size_t parameters = lower->program->symbols.count;
    for (uint32_t i = 0; i < lower->output_count; ++i) {
        sinter_value value = sinter_node_operand(lower->module, yield, i);
        const sinter_type *type = sinter_value_type(lower->module, value);
        if (type->kind != SINTER_TYPE_TENSOR)
            return sinter_lower_error(lower, yield, "output %u is not a tensor", i);
        uint64_t slot = 0;
        if (!sinter_map_find(&lower->output_of, value, &slot) || slot != i + 1)
            sinter_lower_host_copy(lower, output_buffer(lower, value, i),
                                   sinter_lower_host_buffer(lower, value));
        sinter_loop_io io = make_io(lower, value, sinter_module_output_name(lower->module, i));
        sinter_expr *exprs = SINTER_NEW_ARRAY(&lower->program->arena, sinter_expr, type->rank + 1);
        for (uint32_t d = 0; d < type->rank; ++d) {
            sinter_expr dim = sinter_lower_host_dim(lower, type->dims[d]);
            exprs[d] = only_entry_symbols(lower, dim, parameters) ? dim : NULL;
        }
        io.dim_exprs = exprs;
        sinter_vector_push(&lower->program->arena, &lower->program->outputs, io);
    }
    return true;
}

static void set_comments(sinter_lower *lower) {
    for (size_t i = 0; i < lower->locations.count; ++i) {
        sinter_text *text = &lower->locations.items[i];
        lower->program->kernels.items[i]->comment =
            sinter_arena_copy_string(&lower->program->arena, text->data, text->size);
        sinter_text_deinit(text);
    }
}

sinter_loop_program *sinter_lower_module(sinter_module *module, sinter_diag *diag) {
    sinter_lower lower = {.module = module, .dims = sinter_module_dims(module), .diag = diag};
    sinter_arena_init(&lower.scratch);
    lower.program = sinter_loop_program_create(sinter_module_name(module));
    lower.program->host = sinter_loop_function_create(lower.program, "host");
    sinter_loop_builder_init(&lower.host, lower.program, lower.program->host);
    sinter_map_init(&lower.buffers, &lower.scratch);
    sinter_map_init(&lower.symbols, &lower.scratch);
    sinter_map_init(&lower.kernel_texts, &lower.scratch);
    sinter_map_init(&lower.output_of, &lower.scratch);
    sinter_map_init(&lower.place_of, &lower.scratch);
    sinter_map_init(&lower.constants, &lower.scratch);
    sinter_map_init(&lower.transformed, &lower.scratch);

    sinter_region region = sinter_module_main(module);
    sinter_node yield = sinter_region_get(module, region)->last;
    bool good = lower_inputs(&lower, region);
    if (good) {
        prepare_outputs(&lower, region, yield);
        good = sinter_lower_region(&lower, region) && finish_outputs(&lower, yield) &&
               sinter_lower_check_sizes(&lower) && !lower.failed;
    }
    set_comments(&lower);
    sinter_arena_deinit(&lower.scratch);
    if (good) return lower.program;
    sinter_loop_program_destroy(lower.program);
    return NULL;
}
