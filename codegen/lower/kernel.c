/* Lowering, kernel level: parameters, dims, pulled elements, stores with fused consumers, loops, sharing of equal
 * kernels. Test: tests/codegen/lower/ */
#include "codegen/lower/lower.h"
#include "runtime/abi.h"
#include <math.h>
#include <string.h>

/* ---- life of a kernel ---- */

static void init_kernel(sinter_kernel *kernel, sinter_lower *lower, const char *comment) {
    memset(kernel, 0, sizeof *kernel);
    kernel->lower = lower;
    sinter_map_init(&kernel->inside, &lower->scratch);
    sinter_map_init(&kernel->parameters, &lower->scratch);
    sinter_map_init(&kernel->windows, &lower->scratch);
    sinter_map_init(&kernel->symbols, &lower->scratch);
    sinter_map_init(&kernel->checked, &lower->scratch);
    sinter_loop_function *function = sinter_loop_function_create(lower->program, "kernel");
    function->comment = sinter_arena_format(&lower->program->arena, "%s", comment);
    sinter_loop_builder_init(&kernel->build, lower->program, function);
}

static void add_inside(sinter_kernel *kernel, sinter_node node) {
    sinter_op op = sinter_node_get(kernel->lower->module, node)->op;
    kernel->is_quantized |= op == SINTER_OP_quantize_linear || op == SINTER_OP_dequantize_linear;
    sinter_map_put(&kernel->inside, node, 1);
}

bool sinter_kernel_is_inside(const sinter_kernel *kernel, sinter_node node) {
    uint64_t found;
    return node && sinter_map_find(&kernel->inside, node, &found);
}

void sinter_kernel_begin(sinter_kernel *kernel, sinter_lower *lower, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    const char *location = info->location ? info->location : sinter_op_get_info(info->op)->name;
    init_kernel(kernel, lower, location);
    add_inside(kernel, node);
    if (info->op == SINTER_OP_group) {
        SINTER_FOR_NODES (lower->module, info->regions[0], inner) add_inside(kernel, inner);
        sinter_node yield = sinter_region_get(lower->module, info->regions[0])->last;
        for (uint32_t i = 0; i < sinter_node_get(lower->module, yield)->operand_count; ++i)
            sinter_vector_push(&lower->scratch, &kernel->outputs,
                               sinter_node_operand(lower->module, yield, i));
        return;
    }
    for (uint32_t i = 0; i < info->result_count; ++i)
        if (info->results[i] && !sinter_lower_is_cut(lower, info->results[i]))
            sinter_vector_push(&lower->scratch, &kernel->outputs, info->results[i]);
}

bool sinter_kernel_begin_next(sinter_kernel *kernel, sinter_node node) {
    sinter_lower *lower = kernel->lower;
    sinter_node owner =
        sinter_region_get(lower->module, sinter_node_get(lower->module, node)->parent)->owner;
    if (owner && sinter_node_get(lower->module, owner)->op == SINTER_OP_group) return true;
    if (!sinter_kernel_end(kernel, node)) return false;
    sinter_kernel_begin(kernel, lower, node);
    return true;
}

void sinter_kernel_begin_named(sinter_kernel *kernel, sinter_lower *lower, const char *name) {
    init_kernel(kernel, lower, name);
}

/* Kernels of equal text are one kernel: the text has canonical names, so equal layers share code. */
static uint32_t share_kernel(sinter_kernel *kernel, const char *op_name) {
    sinter_lower *lower = kernel->lower;
    sinter_loop_function *function = kernel->build.function;
    const char *comment = function->comment;
    function->comment = NULL;
    function->name = "";
    sinter_text text = {0};
    sinter_loop_print_function(lower->program, function, &text);
    uint64_t index = 0;
    sinter_string key = {text.data, text.size};
    if (!sinter_map_find_string(&lower->kernel_texts, key, &index)) {
        index = lower->program->kernels.count;
        function->name =
            sinter_arena_format(&lower->program->arena, "%s_%u", op_name, (unsigned)index);
        sinter_vector_push(&lower->program->arena, &lower->program->kernels, function);
        sinter_vector_push(&lower->scratch, &lower->locations, (sinter_text){0});
        sinter_map_put_string(&lower->kernel_texts, key, index);
    }
    sinter_text_deinit(&text);
    sinter_text *locations = &lower->locations.items[index];
    if (locations->size) sinter_text_append_string(locations, ", ");
    sinter_text_append_string(locations, comment);
    return (uint32_t)index;
}

static const char *kernel_base_name(sinter_kernel *kernel, sinter_node node) {
    if (!node) return kernel->build.function->comment;
    const sinter_module *module = kernel->lower->module;
    const sinter_node_info *info = sinter_node_get(module, node);
    if (info->op != SINTER_OP_group) return sinter_op_get_info(info->op)->name;
    sinter_text text = {0};
    SINTER_FOR_NODES (module, info->regions[0], inner) {
        sinter_op op = sinter_node_get(module, inner)->op;
        if (op == SINTER_OP_yield || op == SINTER_OP_constant || text.size > 48) continue;
        sinter_text_format(&text, "%s%s", text.size ? "_" : "", sinter_op_get_info(op)->name);
    }
    const char *name =
        sinter_arena_format(&kernel->lower->program->arena, "%s", text.data ? text.data : "group");
    sinter_text_deinit(&text);
    return name;
}

bool sinter_kernel_end(sinter_kernel *kernel, sinter_node node) {
    sinter_lower *lower = kernel->lower;
    if (lower->failed) return false;
    const char *nodes = kernel->may_fail ? kernel->build.function->comment : NULL;
    const char *around = sinter_lower_location(lower);
    if (nodes && !node && around) nodes = sinter_arena_format(&lower->program->arena, "%s", around);
    uint32_t index = share_kernel(kernel, kernel_base_name(kernel, node));
    if (kernel->calls.number)
        sinter_loop_begin_for_var(&lower->host, kernel->calls.number,
                                  sinter_loop_int(&lower->host, 0), kernel->calls.count, 1,
                                  SINTER_AXIS_SERIAL);
    sinter_loop_call_kernel(&lower->host, index, kernel->host_buffers.items,
                            (uint32_t)kernel->host_buffers.count, kernel->host_scalars.items,
                            (uint32_t)kernel->host_scalars.count);
    lower->host.last->text = nodes;
    if (kernel->calls.number) sinter_loop_end(&lower->host);
    return true;
}

sinter_expr sinter_kernel_call_often(sinter_kernel *kernel, sinter_expr count) {
    sinter_loop_builder *host = &kernel->lower->host;
    kernel->calls.number = sinter_loop_add_var(host, "call", SINTER_DTYPE_i64, false);
    kernel->calls.count = count;
    return sinter_loop_var_read(host, kernel->calls.number);
}

/* ---- parameters ---- */

sinter_expr sinter_kernel_bind_scalar(sinter_kernel *kernel, sinter_expr host_value,
                                      const char *name) {
    int64_t number = 0;
    if (sinter_loop_is_const_int(host_value, &number))
        return sinter_loop_int(&kernel->build, number);
    for (size_t i = 0; i < kernel->host_scalars.count; ++i)
        if (sinter_loop_expr_equal(kernel->host_scalars.items[i], host_value))
            return sinter_loop_var_read(&kernel->build,
                                        kernel->build.function->scalar_parameters.items[i]);
    if (!name)
        name =
            sinter_arena_format(&kernel->lower->program->arena, "n%zu", kernel->host_scalars.count);
    sinter_loop_var var = sinter_loop_add_parameter(&kernel->build, name, SINTER_DTYPE_i64);
    sinter_vector_push(&kernel->lower->scratch, &kernel->host_scalars, host_value);
    return sinter_loop_var_read(&kernel->build, var);
}

sinter_loop_buffer sinter_kernel_bind_buffer(sinter_kernel *kernel, sinter_loop_buffer host_buffer,
                                             sinter_loop_scope scope, const char *name) {
    sinter_loop_buffer_info info = kernel->lower->host.function->buffers.items[host_buffer];
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < info.rank; ++i)
        dims[i] = sinter_kernel_bind_scalar(kernel, info.dims[i], NULL);
    const char *text = sinter_arena_format(&kernel->lower->program->arena, "%s%zu", name,
                                           kernel->host_buffers.count);
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&kernel->build, text, info.dtype, info.rank, dims, scope);
    sinter_vector_push(&kernel->lower->scratch, &kernel->host_buffers, host_buffer);
    return buffer;
}

/* Values inside a group that stand for values outside: arguments for operands, yielded values for results. */
static sinter_value outer_value(sinter_kernel *kernel, sinter_value value, bool *out_is_output) {
    sinter_module *module = kernel->lower->module;
    *out_is_output = false;
    const sinter_value_info *info = sinter_value_get(module, value);
    if (!info->definition) {
        sinter_node owner = sinter_region_get(module, info->region)->owner;
        if (owner && sinter_node_get(module, owner)->op == SINTER_OP_group)
            return sinter_node_operand(module, owner, info->index);
        return value;
    }
    for (size_t i = 0; i < kernel->outputs.count; ++i) {
        if (kernel->outputs.items[i] != value) continue;
        *out_is_output = true;
        sinter_node parent =
            sinter_region_get(module, sinter_node_get(module, info->definition)->parent)->owner;
        if (parent && sinter_node_get(module, parent)->op == SINTER_OP_group)
            return sinter_node_result(module, parent, (uint32_t)i);
        return value;
    }
    return value;
}

/* A value that lies in another without being a run is that one as a whole, read and written at shifted indices. */
static sinter_loop_buffer add_parameter(sinter_kernel *kernel, sinter_value value,
                                        sinter_value outer, sinter_loop_scope scope) {
    const sinter_lower_place *place = sinter_lower_find_place(kernel->lower, outer);
    sinter_value part = place && !place->is_run ? outer : 0;
    if (part) outer = place->whole;
    sinter_loop_buffer host = sinter_lower_host_buffer(kernel->lower, outer);
    /* Dims come from the value's own type, so that kernels share symbols instead of opaque scalars. */
    sinter_type type = *sinter_value_type(kernel->lower->module, outer);
    sinter_expr dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i) dims[i] = sinter_kernel_dim(kernel, type.dims[i]);
    const char *name =
        sinter_arena_format(&kernel->lower->program->arena, "%s%zu",
                            scope == SINTER_SCOPE_INPUT ? "in" : "out", kernel->host_buffers.count);
    sinter_loop_buffer buffer =
        sinter_loop_add_buffer(&kernel->build, name, type.dtype, type.rank, dims, scope);
    sinter_vector_push(&kernel->lower->scratch, &kernel->host_buffers, host);
    sinter_map_put(&kernel->parameters, value, buffer);
    if (part) sinter_map_put(&kernel->windows, buffer, part);
    return buffer;
}

sinter_loop_buffer sinter_kernel_buffer(sinter_kernel *kernel, sinter_value value) {
    uint64_t found = 0;
    if (sinter_map_find(&kernel->parameters, value, &found)) return (sinter_loop_buffer)found;
    bool is_output = false;
    sinter_value outer = outer_value(kernel, value, &is_output);
    return add_parameter(kernel, value, outer,
                         is_output ? SINTER_SCOPE_OUTPUT : SINTER_SCOPE_INPUT);
}

sinter_loop_buffer sinter_kernel_scratch(sinter_kernel *kernel, const char *name,
                                         sinter_dtype dtype, uint32_t rank,
                                         const sinter_expr *host_dims) {
    sinter_loop_buffer host =
        sinter_lower_host_scratch(kernel->lower, name, dtype, rank, host_dims);
    return sinter_kernel_bind_buffer(kernel, host, SINTER_SCOPE_INOUT, "scratch");
}

sinter_expr sinter_kernel_dim_of(sinter_kernel *kernel, sinter_value value, int i) {
    const sinter_type *type = sinter_value_type(kernel->lower->module, value);
    return sinter_kernel_dim(kernel, type->dims[i < 0 ? (int)type->rank + i : i]);
}

sinter_expr sinter_kernel_axis_count(sinter_kernel *kernel, sinter_value axes) {
    bool scalar = sinter_value_type(kernel->lower->module, axes)->rank == 0;
    return scalar ? sinter_loop_int(&kernel->build, 1) : sinter_kernel_dim_of(kernel, axes, 0);
}

/* ---- elements ---- */

/* The index in the buffer of what has this index in the value that is meant. */
static const sinter_expr *shift_index(sinter_kernel *kernel, sinter_loop_buffer buffer,
                                      const sinter_expr *index, sinter_expr *own) {
    uint64_t part = 0;
    if (!sinter_map_find(&kernel->windows, buffer, &part)) return index;
    const sinter_lower_place *place = sinter_lower_find_place(kernel->lower, (sinter_value)part);
    uint32_t rank = kernel->build.function->buffers.items[buffer].rank;
    for (uint32_t d = 0; d < rank; ++d)
        own[d] =
            sinter_loop_add(&kernel->build, index[d], sinter_kernel_dim(kernel, place->first[d]));
    return own;
}

sinter_expr sinter_kernel_load(sinter_kernel *kernel, sinter_loop_buffer buffer,
                               const sinter_expr *index) {
    sinter_expr own[SINTER_MAX_RANK];
    index = shift_index(kernel, buffer, index, own);
    sinter_expr element = sinter_loop_load(&kernel->build, buffer, index);
    return sinter_loop_cast(&kernel->build, element, sinter_dtype_compute(element->dtype));
}

void sinter_kernel_store(sinter_kernel *kernel, sinter_loop_buffer buffer, const sinter_expr *index,
                         sinter_expr element) {
    sinter_dtype dtype = kernel->build.function->buffers.items[buffer].dtype;
    sinter_expr own[SINTER_MAX_RANK];
    index = shift_index(kernel, buffer, index, own);
    /* Narrow floats are rounded already: the limits of the cast that made them stay as they are. */
    sinter_loop_store(&kernel->build, buffer, index,
                      sinter_loop_cast_saturating(&kernel->build, element, dtype, false));
}

static sinter_expr constant_element(sinter_kernel *kernel, const sinter_tensor *tensor) {
    sinter_dtype dtype = sinter_dtype_compute(tensor->dtype);
    if (sinter_dtype_is_float(tensor->dtype))
        return sinter_loop_const(&kernel->build, dtype, sinter_tensor_get_double(tensor, 0));
    return sinter_loop_const_int(&kernel->build, dtype, sinter_tensor_get_int(tensor, 0));
}

/* Scales and zero points are numbers of one layer: read from memory, they leave layers of one shape one kernel. Plain
 * numbers are worth more as constants. */
static bool belongs_to_layer(const sinter_kernel *kernel, const sinter_tensor *tensor) {
    if (sinter_dtype_is_float(tensor->dtype)) {
        double value = sinter_tensor_get_double(tensor, 0);
        return kernel->is_quantized && tensor->dtype == SINTER_DTYPE_f32 &&
               value != rint(value * 64) / 64;
    }
    int64_t value = sinter_tensor_get_int(tensor, 0);
    bool usual = (value >= -1 && value <= 2) || value == 128 || value == -128;
    bool fits = tensor->dtype == SINTER_DTYPE_i32 || tensor->dtype == SINTER_DTYPE_u8 ||
                tensor->dtype == SINTER_DTYPE_i8;
    return fits && !usual;
}

const sinter_tensor *sinter_kernel_constant(sinter_kernel *kernel, sinter_value value) {
    bool is_output;
    return sinter_value_constant(kernel->lower->module, outer_value(kernel, value, &is_output));
}

/* A constant of one element. */
static const sinter_tensor *scalar_constant(sinter_kernel *kernel, sinter_value value) {
    const sinter_tensor *tensor = sinter_kernel_constant(kernel, value);
    bool inlined = tensor && sinter_tensor_count(tensor) == 1 && !belongs_to_layer(kernel, tensor);
    return inlined ? tensor : NULL;
}

static bool same_index(const sinter_expr *a, const sinter_expr *b, uint32_t rank) {
    for (uint32_t i = 0; i < rank; ++i)
        if (!sinter_loop_expr_equal(a[i], b[i])) return false;
    return true;
}

static bool is_open(const sinter_kernel *kernel, const struct sinter_loop_open *block) {
    if (!block) return true; /* the body of the function */
    for (const struct sinter_loop_open *open = kernel->build.open; open; open = open->outer)
        if (open == block) return true;
    return false;
}

static sinter_expr find_element(const sinter_kernel *kernel, sinter_value value,
                                const sinter_expr *index, uint32_t rank) {
    for (size_t i = kernel->elements.count; i-- > 0;) {
        const sinter_kernel_element *known = &kernel->elements.items[i];
        if (known->value == value && is_open(kernel, known->block) &&
            same_index(index, known->index, rank))
            return known->element;
    }
    return NULL;
}

void sinter_lower_set_element(sinter_kernel *kernel, sinter_value value, const sinter_expr *index,
                              sinter_expr element) {
    uint32_t rank = sinter_value_type(kernel->lower->module, value)->rank;
    sinter_kernel_element known = {
        .value = value,
        .index = sinter_arena_copy(&kernel->lower->scratch, index, sizeof *index * rank),
        .block = kernel->build.open,
        .element = element};
    sinter_vector_push(&kernel->lower->scratch, &kernel->elements, known);
}

/* An element with several users gets a name, so that a graph of elementwise ops stays a graph. */
static sinter_expr name_element(sinter_kernel *kernel, sinter_value value, const sinter_expr *index,
                                sinter_expr element) {
    if (element->kind == SINTER_LOOP_CONST || element->kind == SINTER_LOOP_VAR) return element;
    sinter_dtype dtype = element->dtype;
    /* Half floats under the name, so that a store does not round once more. */
    bool is_half = element->kind == SINTER_LOOP_CAST && sinter_dtype_is_float(dtype) &&
                   sinter_dtype_is_float(element->arguments[0]->dtype) &&
                   sinter_dtype_infos[element->arguments[0]->dtype].bits == 16;
    if (is_half) element = element->arguments[0];
    element = sinter_loop_var_read(&kernel->build,
                                   sinter_loop_declare(&kernel->build, "t", false, element));
    element = sinter_loop_cast(&kernel->build, element, dtype);
    sinter_lower_set_element(kernel, value, index, element);
    return element;
}

static bool is_window(const sinter_kernel *kernel, sinter_value outer) {
    const sinter_lower_place *place = sinter_lower_find_place(kernel->lower, outer);
    return place && !place->is_run;
}

bool sinter_kernel_start_as_copy(sinter_kernel *kernel, sinter_value y, sinter_value data) {
    sinter_lower *lower = kernel->lower;
    sinter_node node = sinter_value_definition(lower->module, data);
    bool is_output, data_is_output;
    uint64_t found;
    sinter_value outer = outer_value(kernel, y, &is_output),
                 source = outer_value(kernel, data, &data_is_output);
    if (!is_output || data_is_output || scalar_constant(kernel, data) || is_window(kernel, outer) ||
        is_window(kernel, source) || sinter_map_find(&kernel->parameters, y, &found) ||
        sinter_kernel_is_inside(kernel, node))
        return false;
    sinter_kernel copy;
    sinter_expr index[SINTER_MAX_RANK];
    sinter_kernel_begin_named(&copy, lower, "copy");
    sinter_loop_buffer from = add_parameter(&copy, source, source, SINTER_SCOPE_INPUT),
                       to = add_parameter(&copy, outer, outer, SINTER_SCOPE_OUTPUT);
    const sinter_loop_buffer_info info = copy.build.function->buffers.items[to];
    for (uint32_t i = 0; i < info.rank; i++)
        index[i] = sinter_kernel_begin_for(&copy, sinter_arena_format(copy.build.arena, "i%u", i),
                                           info.dims[i]);
    sinter_loop_store(&copy.build, to, index, sinter_loop_load(&copy.build, from, index));
    sinter_kernel_end_loops(&copy, info.rank);
    if (!sinter_kernel_end(&copy, 0)) return true; /* it is over anyhow */
    lower->host.last->copies = true;
    add_parameter(kernel, y, outer, SINTER_SCOPE_INOUT);
    return true;
}

const sinter_kernel_between *sinter_kernel_find_between(const sinter_kernel *kernel,
                                                        sinter_value value) {
    for (uint32_t i = 0; i < kernel->between_count; ++i)
        if (kernel->between[i].value == value) return &kernel->between[i];
    return NULL;
}

/* Where in its scratch an element of the value is. */
static void find_in_between(sinter_kernel *kernel, const sinter_kernel_between *between,
                            const sinter_expr *index, sinter_expr *out_index) {
    sinter_loop_builder *build = &kernel->build;
    if (between->first_row) {
        uint32_t rank = sinter_value_type(kernel->lower->module, between->value)->rank;
        out_index[0] = sinter_loop_sub(build, index[rank - 2], between->first_row);
        out_index[1] = index[rank - 1];
        return;
    }
    out_index[0] = between->row
                       ? sinter_loop_int(build, 0)
                       : sinter_loop_add(build, index[1], sinter_loop_int(build, between->top));
    out_index[1] = sinter_loop_add(build, index[2], sinter_loop_int(build, between->left));
    out_index[2] = index[3];
}

void sinter_kernel_store_output(sinter_kernel *kernel, sinter_value output,
                                const sinter_expr *index, sinter_expr element) {
    sinter_expr at[3];
    const sinter_kernel_between *between = sinter_kernel_find_between(kernel, output);
    if (between) find_in_between(kernel, between, index, at);
    sinter_kernel_store(kernel, between ? between->buffer : sinter_kernel_buffer(kernel, output),
                        between ? at : index, element);
}

static bool is_output(const sinter_kernel *kernel, sinter_value value) {
    for (size_t i = 0; i < kernel->outputs.count; ++i)
        if (kernel->outputs.items[i] == value) return true;
    return false;
}

/* By the element rule of the node that makes the value; NULL where there is none. */
static sinter_expr compute_element(sinter_kernel *kernel, sinter_value value,
                                   const sinter_expr *index) {
    sinter_module *module = kernel->lower->module;
    const sinter_value_info *info = sinter_value_get(module, value);
    sinter_lower_element_rule element = NULL;
    sinter_lower_kernel_rule statements = NULL;
    sinter_lower_host_rule host = NULL;
    sinter_lower_find_rule(sinter_node_get(module, info->definition)->op, &element, &statements,
                           &host);
    if (!element) return NULL;
    sinter_dtype dtype = info->type.dtype, compute = sinter_dtype_compute(dtype);
    sinter_expr result = element(kernel, info->definition, info->index, index);
    /* A narrow float is rounded where the evaluator rounds it. */
    if (!sinter_dtype_is_float(dtype) || dtype == compute) return result;
    return sinter_loop_cast(
        &kernel->build, sinter_loop_cast_saturating(&kernel->build, result, dtype, false), compute);
}

sinter_expr sinter_lower_element(sinter_kernel *kernel, sinter_value value,
                                 const sinter_expr *index) {
    sinter_module *module = kernel->lower->module;
    const sinter_value_info *info = sinter_value_get(module, value);
    uint32_t rank = info->type.rank;
    if (value == kernel->bound_value && same_index(index, kernel->bound_index, rank))
        return kernel->bound_element;
    const sinter_tensor *tensor = scalar_constant(kernel, value);
    if (tensor) return constant_element(kernel, tensor);
    const sinter_kernel_between *between = sinter_kernel_find_between(kernel, value);
    if (between && between->is_made) {
        sinter_expr at[3];
        find_in_between(kernel, between, index, at);
        return sinter_kernel_load(kernel, between->buffer, at);
    }
    if (sinter_kernel_is_inside(kernel, info->definition)) {
        sinter_expr known = find_element(kernel, value, index, rank);
        if (known) return known;
        bool shared = info->uses.count > 1 || is_output(kernel, value);
        sinter_expr result = compute_element(kernel, value, index);
        if (result) return shared ? name_element(kernel, value, index, result) : result;
    }
    return sinter_kernel_load(kernel, sinter_kernel_buffer(kernel, value), index);
}

sinter_expr sinter_lower_element_broadcast(sinter_kernel *kernel, sinter_value value,
                                           const sinter_expr *index, uint32_t rank) {
    sinter_type type = *sinter_value_type(kernel->lower->module, value);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i) {
        sinter_expr outer = index[rank - type.rank + i];
        sinter_expr dim = sinter_kernel_dim(kernel, type.dims[i]);
        int64_t number = 0, low = 0, high = 0;
        sinter_dim_range(kernel->lower->dims, type.dims[i], &low, &high);
        if (sinter_loop_is_const_int(dim, &number)) {
            own[i] = number == 1 ? sinter_loop_int(&kernel->build, 0) : outer;
        } else if (kernel->broadcast_dims &&
                   kernel->broadcast_dims[rank - type.rank + i] == type.dims[i]) {
            own[i] = outer;
        } else {
            sinter_expr one = sinter_loop_compare(&kernel->build, SINTER_SCALAR_eq, dim,
                                                  sinter_loop_int(&kernel->build, 1));
            own[i] =
                sinter_loop_select(&kernel->build, one, sinter_loop_int(&kernel->build, 0), outer);
        }
    }
    return sinter_lower_element(kernel, value, own);
}

sinter_expr sinter_lower_scalar(sinter_kernel *kernel, sinter_value value) {
    sinter_expr index[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < SINTER_MAX_RANK; ++i) index[i] = sinter_loop_int(&kernel->build, 0);
    return sinter_lower_element(kernel, value, index);
}

static bool depends_on(sinter_kernel *kernel, sinter_value value, sinter_value source) {
    if (value == source) return true;
    sinter_node definition = sinter_value_get(kernel->lower->module, value)->definition;
    if (!sinter_kernel_is_inside(kernel, definition)) return false;
    for (uint32_t i = 0; i < sinter_node_get(kernel->lower->module, definition)->operand_count;
         ++i) {
        sinter_value operand = sinter_node_operand(kernel->lower->module, definition, i);
        if (operand && depends_on(kernel, operand, source)) return true;
    }
    return false;
}

void sinter_lower_store(sinter_kernel *kernel, sinter_value value, const sinter_expr *index,
                        sinter_expr element) {
    /* Bound to a name, so that several users of the element do not repeat its computation. */
    if (element->kind != SINTER_LOOP_CONST && element->kind != SINTER_LOOP_VAR) {
        sinter_loop_var var = sinter_loop_declare(&kernel->build, "element", false, element);
        element = sinter_loop_var_read(&kernel->build, var);
    }
    sinter_dtype dtype = sinter_value_type(kernel->lower->module, value)->dtype;
    sinter_dtype compute = sinter_dtype_compute(dtype);
    if (dtype != compute && sinter_dtype_is_float(dtype))
        element = sinter_loop_cast(
            &kernel->build, sinter_loop_cast_saturating(&kernel->build, element, dtype, false),
            compute);
    kernel->bound_value = value;
    kernel->bound_index = index;
    kernel->bound_element = element;
    for (size_t i = 0; i < kernel->outputs.count; ++i) {
        sinter_value output = kernel->outputs.items[i];
        if (!depends_on(kernel, output, value)) continue;
        sinter_kernel_store_output(kernel, output, index,
                                   sinter_lower_element(kernel, output, index));
    }
    kernel->bound_value = 0;
}

/* ---- loops and checks ---- */

sinter_expr sinter_kernel_begin_for(sinter_kernel *kernel, const char *name, sinter_expr upper) {
    sinter_loop_var var = sinter_loop_begin_for(
        &kernel->build, name, sinter_loop_int(&kernel->build, 0), upper, 1, SINTER_AXIS_SERIAL);
    return sinter_loop_var_read(&kernel->build, var);
}

void sinter_kernel_begin_loops(sinter_kernel *kernel, sinter_value shape_of,
                               sinter_expr *out_index) {
    sinter_type type = *sinter_value_type(kernel->lower->module, shape_of);
    const sinter_kernel_part *part = kernel->part.value == shape_of ? &kernel->part : NULL;
    for (uint32_t i = 0; i < type.rank; ++i) {
        out_index[i] = sinter_kernel_begin_for(
            kernel, sinter_arena_format(kernel->build.arena, "i%u", i),
            part ? part->count[i] : sinter_kernel_dim(kernel, type.dims[i]));
        if (part) out_index[i] = sinter_loop_add(&kernel->build, part->first[i], out_index[i]);
    }
}

void sinter_kernel_end_loops(sinter_kernel *kernel, uint32_t count) {
    for (uint32_t i = 0; i < count; ++i) sinter_loop_end(&kernel->build);
}

sinter_expr sinter_kernel_wrap_index(sinter_kernel *kernel, sinter_expr element, sinter_expr size) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr value = sinter_loop_cast(build, element, SINTER_DTYPE_i64);
    int64_t number = 0;
    if (sinter_loop_is_const_int(value, &number) && number >= 0) return value;
    sinter_expr negative =
        sinter_loop_compare(build, SINTER_SCALAR_lt, value, sinter_loop_int(build, 0));
    return sinter_loop_select(build, negative, sinter_loop_add(build, value, size), value);
}

void sinter_kernel_check_range(sinter_kernel *kernel, sinter_node node, const char *what,
                               sinter_expr index, sinter_expr size) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr low =
        sinter_loop_compare(build, SINTER_SCALAR_lt, index, sinter_loop_int(build, 0));
    sinter_expr high = sinter_loop_compare(build, SINTER_SCALAR_le, size, index);
    sinter_expr both[2] = {low, high};
    sinter_expr outside = sinter_loop_call(build, SINTER_SCALAR_or, both);
    if (outside->kind == SINTER_LOOP_CONST && !outside->int_value) return;
    /* No location in the text: kernels of equal code stay equal; the call has its nodes. */
    sinter_expr arguments[2] = {index, size};
    const char *op = sinter_op_get_info(sinter_node_get(kernel->lower->module, node)->op)->name;
    kernel->may_fail = true;
    sinter_loop_begin_if(build, outside);
    sinter_loop_fail(build, SINTER_ABI_OUT_OF_RANGE,
                     sinter_arena_format(&kernel->lower->program->arena,
                                         "%s: %s %%0 is outside [0, %%1)", op, what),
                     arguments, 2);
    sinter_loop_end(build);
}

void sinter_kernel_check_index(sinter_kernel *kernel, sinter_node node, sinter_expr index,
                               sinter_expr size) {
    sinter_kernel_check_range(kernel, node, "index", index, size);
}
