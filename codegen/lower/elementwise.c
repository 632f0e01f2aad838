/* Lowering of elementwise ops from their scalar bodies in ops.def: constants take the dtype of the expression that
 * they meet, operands broadcast. Test: tests/ops/ */
#include "codegen/lower/write.h"
#include "runtime/abi.h"
#include <stdio.h>

enum { LARGE_OPERAND = 16 }; /* nodes of an expression */

/* ---- scalar text -> loop expressions ---- */

typedef struct scalar_translation {
    sinter_kernel *kernel;
    const sinter_scalar_body *body;
    const sinter_expr *values; /* by name index; NULL entry: a number in `numbers` */
    const double *numbers;
    sinter_dtype fallback;
    sinter_expr *done;
} scalar_translation;

static sinter_expr translate(scalar_translation *t, uint32_t index, sinter_dtype wanted);

/* The dtype a node has on its own account, NONE for constants. */
static sinter_dtype own_dtype(const scalar_translation *t, uint32_t index) {
    const sinter_scalar_node *node = &t->body->nodes[index];
    switch (node->kind) {
    case SINTER_SCALAR_NODE_OPERAND:
        return t->values[node->index] ? t->values[node->index]->dtype : SINTER_DTYPE_NONE;
    case SINTER_SCALAR_NODE_CONST:
        return SINTER_DTYPE_NONE;
    case SINTER_SCALAR_NODE_CAST:
        return node->dtype;
    case SINTER_SCALAR_NODE_CALL:
        break;
    }
    const sinter_scalar_info *info = sinter_scalar_get_info(node->function);
    if (info->result == SINTER_RESULT_BOOL) return SINTER_DTYPE_bool;
    for (uint32_t i = node->function == SINTER_SCALAR_select; i < info->arity; ++i) {
        sinter_dtype dtype = own_dtype(t, node->arguments[i]);
        if (dtype == SINTER_DTYPE_NONE) continue;
        if (node->function == SINTER_SCALAR_bits)
            return dtype == SINTER_DTYPE_f64 ? SINTER_DTYPE_i64 : SINTER_DTYPE_i32;
        if (node->function == SINTER_SCALAR_from_bits)
            return dtype == SINTER_DTYPE_i64 ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
        return dtype;
    }
    return SINTER_DTYPE_NONE;
}

static sinter_expr make_number(scalar_translation *t, double number, sinter_dtype dtype) {
    sinter_scalar value = sinter_scalar_number(dtype, number);
    if (sinter_dtype_is_float(dtype)) return sinter_loop_const(&t->kernel->build, dtype, value.f);
    return sinter_loop_const_int(&t->kernel->build, dtype, value.i);
}

static sinter_expr translate_call(scalar_translation *t, const sinter_scalar_node *node,
                                  sinter_dtype wanted) {
    const sinter_scalar_info *info = sinter_scalar_get_info(node->function);
    sinter_dtype operands = SINTER_DTYPE_NONE; /* what the arguments that are numbers become */
    uint32_t first = node->function == SINTER_SCALAR_select;
    for (uint32_t i = first; i < info->arity && !operands; ++i)
        operands = own_dtype(t, node->arguments[i]);
    if (!operands) operands = info->result == SINTER_RESULT_BOOL ? t->fallback : wanted;
    sinter_expr arguments[3] = {0};
    for (uint32_t i = 0; i < info->arity; ++i)
        arguments[i] = translate(t, node->arguments[i], i < first ? SINTER_DTYPE_bool : operands);
    if (node->function == SINTER_SCALAR_pow && arguments[0]->dtype != arguments[1]->dtype) {
        /* Mixed power: in double where either is a float, back to the type of the base. */
        sinter_dtype base = arguments[0]->dtype;
        bool floats = sinter_dtype_is_float(base) || sinter_dtype_is_float(arguments[1]->dtype);
        sinter_dtype common = !floats ? SINTER_DTYPE_i64
                              : base == SINTER_DTYPE_f32 && arguments[1]->dtype != SINTER_DTYPE_f64
                                  ? SINTER_DTYPE_f32
                                  : SINTER_DTYPE_f64;
        for (int i = 0; i < 2; ++i)
            arguments[i] = sinter_loop_cast(&t->kernel->build, arguments[i], common);
        return sinter_loop_cast(&t->kernel->build,
                                sinter_loop_call(&t->kernel->build, node->function, arguments),
                                base);
    }
    return sinter_loop_call(&t->kernel->build, node->function, arguments);
}

static sinter_expr translate(scalar_translation *t, uint32_t index, sinter_dtype wanted) {
    const sinter_scalar_node *node = &t->body->nodes[index];
    if (t->done[index]) return t->done[index];
    sinter_dtype number_dtype = wanted ? wanted : t->fallback;
    switch (node->kind) {
    case SINTER_SCALAR_NODE_OPERAND:
        if (t->values[node->index]) return t->done[index] = t->values[node->index];
        return make_number(t, t->numbers[node->index], number_dtype);
    case SINTER_SCALAR_NODE_CONST:
        return make_number(t, node->constant, number_dtype);
    case SINTER_SCALAR_NODE_CAST:
        return t->done[index] = sinter_loop_cast(
                   &t->kernel->build, translate(t, node->arguments[0], t->fallback), node->dtype);
    case SINTER_SCALAR_NODE_CALL:
        break;
    }
    sinter_expr result = translate_call(t, node, number_dtype);
    if (own_dtype(t, index) != SINTER_DTYPE_NONE) t->done[index] = result;
    return result;
}

static sinter_expr translate_body(sinter_kernel *kernel, const sinter_scalar_body *body,
                                  const sinter_expr *values, const double *numbers,
                                  sinter_dtype fallback) {
    scalar_translation t = {
        .kernel = kernel, .body = body, .values = values, .numbers = numbers, .fallback = fallback};
    t.done = SINTER_NEW_ARRAY(&kernel->lower->scratch, sinter_expr, body->count);
    return translate(&t, body->count - 1, fallback);
}

sinter_expr sinter_lower_scalar_text(sinter_kernel *kernel, const char *text,
                                     const sinter_string *names, const sinter_expr *values,
                                     size_t count, sinter_dtype fallback) {
    sinter_scalar_body body;
    double numbers[8] = {0};
    if (!sinter_scalar_parse(&kernel->lower->scratch, text, names, count, &body,
                             kernel->lower->diag)) {
        kernel->lower->failed = true;
        return sinter_loop_const(&kernel->build, fallback, 0);
    }
    return translate_body(kernel, &body, values, numbers, fallback);
}

/* ---- elementwise nodes ---- */

/* Broadcast relations that inference could not prove are checked once on the host. */
static void check_broadcast(sinter_kernel *kernel, sinter_node node, sinter_value operand,
                            const sinter_type *result) {
    sinter_lower *lower = kernel->lower;
    uint64_t seen = 0;
    if (sinter_map_find(&kernel->checked, ((uint64_t)node << 32) | operand, &seen)) return;
    sinter_map_put(&kernel->checked, ((uint64_t)node << 32) | operand, 1);
    sinter_type type = *sinter_value_type(lower->module, operand);
    for (uint32_t i = 0; i < type.rank; ++i) {
        sinter_dim own = type.dims[i], full = result->dims[result->rank - type.rank + i];
        if (own == full || sinter_dim_is(lower->dims, own, 1)) continue;
        sinter_expr a = sinter_lower_host_dim(lower, own), b = sinter_lower_host_dim(lower, full);
        sinter_expr either[2] = {sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, a, b),
                                 sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, a,
                                                     sinter_loop_int(&lower->host, 1))};
        sinter_expr arguments[2] = {a, b};
        const char *op = sinter_op_get_info(sinter_node_get(lower->module, node)->op)->name;
        sinter_lower_host_check(lower, sinter_loop_call(&lower->host, SINTER_SCALAR_or, either),
                                SINTER_ABI_BAD_INPUT,
                                sinter_arena_format(&lower->program->arena,
                                                    "%s: dims %%0 and %%1 do not broadcast", op),
                                arguments, 2);
    }
}

sinter_expr sinter_lower_operand(sinter_kernel *kernel, sinter_node node, uint32_t operand,
                                 const sinter_expr *index, const sinter_type *result) {
    sinter_value value = sinter_node_operand(kernel->lower->module, node, operand);
    check_broadcast(kernel, node, value, result);
    const sinter_dim *outer = kernel->broadcast_dims;
    kernel->broadcast_dims = result->dims;
    sinter_expr element = sinter_lower_element_broadcast(kernel, value, index, result->rank);
    kernel->broadcast_dims = outer;
    return element;
}

static sinter_dtype attribute_dtype(const sinter_kernel *kernel, sinter_node node,
                                    sinter_string name) {
    char text[64];
    snprintf(text, sizeof text, "%.*s", SINTER_STRING_ARGS(name));
    return sinter_node_get_dtype(kernel->lower->module, node, text);
}

static double attribute_number(const sinter_kernel *kernel, sinter_node node,
                               const sinter_attr_info *info) {
    char name[64];
    snprintf(name, sizeof name, "%.*s", SINTER_STRING_ARGS(info->name));
    if (info->kind == SINTER_ATTR_INT)
        return (double)sinter_node_get_int(kernel->lower->module, node, name, 0);
    if (info->kind == SINTER_ATTR_FLOAT)
        return sinter_node_get_float(kernel->lower->module, node, name, 0);
    return 0;
}

/* How often the body reads one of its names. */
static uint32_t count_reads(const sinter_scalar_body *body, uint32_t name) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < body->count; ++i) {
        const sinter_scalar_node *node = &body->nodes[i];
        uint32_t arity = node->kind == SINTER_SCALAR_NODE_CALL
                             ? sinter_scalar_get_info(node->function)->arity
                             : node->kind == SINTER_SCALAR_NODE_CAST;
        for (uint32_t a = 0; a < arity; ++a) {
            const sinter_scalar_node *argument = &body->nodes[node->arguments[a]];
            count += argument->kind == SINTER_SCALAR_NODE_OPERAND && argument->index == name;
        }
    }
    return count;
}

/* Takes the nodes of the expression out of the budget while it lasts. */
static bool has_more_nodes(sinter_expr expr, uint32_t *budget) {
    if (!*budget) return true;
    --*budget;
    for (uint32_t i = 0; i < expr->argument_count; ++i)
        if (has_more_nodes(expr->arguments[i], budget)) return true;
    return false;
}

/* Expressions are printed, rewritten and emitted as trees. An operand that is large and read more than once gets a name,
 * so that a chain of such ops grows by their number, not by a power of it. */
static sinter_expr name_large(sinter_kernel *kernel, sinter_expr operand) {
    uint32_t budget = LARGE_OPERAND;
    return has_more_nodes(operand, &budget) ? sinter_write_let(kernel, "x", operand) : operand;
}

sinter_expr sinter_lower_elementwise(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                     const sinter_expr *index) {
    sinter_lower *lower = kernel->lower;
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    const sinter_op_info *op = sinter_op_get_info(info->op);
    sinter_string names[32];
    sinter_expr values[32] = {0};
    double numbers[32] = {0};
    uint32_t count = 0;
    sinter_type type = *sinter_value_type(lower->module, info->results[result]);
    for (uint32_t i = 0; i < op->operand_count; ++i, ++count) {
        names[count] = op->operands[i].name;
        values[count] = sinter_lower_operand(kernel, node, i, index, &type);
    }
    for (uint32_t i = 0; i < op->attribute_count; ++i, ++count) {
        names[count] = op->attributes[i].name;
        numbers[count] = attribute_number(kernel, node, &op->attributes[i]);
    }
    sinter_scalar_body body;
    if (!sinter_scalar_parse(&lower->scratch, op->body, names, count, &body, lower->diag)) {
        lower->failed = true;
        return sinter_loop_const(&kernel->build, sinter_dtype_compute(type.dtype), 0);
    }
    for (uint32_t i = 0; i < op->operand_count; ++i)
        if (count_reads(&body, i) > 1) values[i] = name_large(kernel, values[i]);
    sinter_dtype compute = sinter_dtype_compute(type.dtype);
    return sinter_loop_cast(&kernel->build, translate_body(kernel, &body, values, numbers, compute),
                            compute);
}

/* x (f32) as the power of two that f8e8m0 takes for it under round_mode up, down or nearest; NaN past the last one. */
static sinter_expr power_of_two(sinter_kernel *kernel, sinter_string round_mode, bool saturate,
                                sinter_expr x) {
    const char *up =
        sinter_string_is(round_mode, "up") ? "select((a & 0x7fffff) != 0, 1, 0)"
        : sinter_string_is(round_mode, "nearest")
            ? "select((a & 0x7fffff) > select((a >> 23 & 255) == 0, 0x400000, 0x3fffff), 1, 0)"
            : "a - a";
    sinter_expr bits = sinter_write_let(kernel, "bits", FORMULA(kernel, "bits(a)", x));
    sinter_expr exponent =
        sinter_write_let(kernel, "exponent", FORMULA(kernel, "a >> 23 & 255", bits));
    sinter_expr last =
        sinter_loop_const_int(&kernel->build, SINTER_DTYPE_i32, saturate ? 254 : 255);
    sinter_expr code = sinter_write_let(
        kernel, "code",
        FORMULA(kernel, "min(a + b, c)", exponent, FORMULA(kernel, up, bits), last));
    return FORMULA(kernel,
                   "select(a == 255 || b == 255, from_bits(0x7fc00000 + (b - b)), "
                   "from_bits(select(b == 0, 0x400000, b << 23)))",
                   exponent, code);
}

sinter_expr sinter_lower_cast(sinter_kernel *kernel, sinter_node node, uint32_t result,
                              const sinter_expr *index) {
    (void)result;
    sinter_lower *lower = kernel->lower;
    sinter_dtype to = attribute_dtype(kernel, node, SINTER_STRING("to"));
    sinter_expr x =
        sinter_lower_element(kernel, sinter_node_operand(lower->module, node, 0), index);
    bool saturate = sinter_node_get_int(lower->module, node, "saturate", 1) != 0;
    if (to == SINTER_DTYPE_f8e8m0)
        return power_of_two(kernel, sinter_node_get_string(lower->module, node, "round_mode"),
                            saturate, sinter_loop_cast(&kernel->build, x, SINTER_DTYPE_f32));
    return sinter_loop_cast(&kernel->build,
                            sinter_loop_cast_saturating(&kernel->build, x, to, saturate),
                            sinter_dtype_compute(to));
}

sinter_expr sinter_lower_identity(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                  const sinter_expr *index) {
    (void)result;
    return sinter_lower_element(kernel, sinter_node_operand(kernel->lower->module, node, 0), index);
}

/* ---- quantize and dequantize ---- */

/* Scale or zero point at the element: one for all, one an axis position, or one a block. */
static sinter_expr quantization_parameter(sinter_kernel *kernel, sinter_node node, uint32_t operand,
                                          const sinter_expr *index) {
    sinter_lower *lower = kernel->lower;
    sinter_value value = sinter_node_operand(lower->module, node, operand);
    sinter_type type = *sinter_value_type(lower->module, value);
    sinter_type x = *sinter_value_type(lower->module, sinter_node_operand(lower->module, node, 0));
    uint32_t axis = sinter_node_get_axis(lower->module, node, 1, x.rank);
    int64_t block = sinter_node_get_int(lower->module, node, "block_size", 0);
    if (type.rank == 0 || (type.rank == 1 && sinter_dim_is(lower->dims, type.dims[0], 1)))
        return sinter_lower_scalar(kernel, value);
    if (type.rank == 1 && block == 0) { /* a symbol may be 1, and be meant for all */
        bool inside = axis < (int64_t)x.rank;
        sinter_dim full = inside ? x.dims[axis] : sinter_dim_const(lower->dims, 1);
        sinter_expr first = sinter_loop_int(&kernel->build, 0);
        const sinter_type vector = {
            .kind = SINTER_TYPE_TENSOR, .dtype = type.dtype, .rank = 1, .dims = &full};
        return sinter_lower_operand(kernel, node, operand, inside ? &index[axis] : &first, &vector);
    }
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i) own[i] = index[i];
    own[axis] =
        sinter_loop_div(&kernel->build, index[axis], sinter_loop_int(&kernel->build, block));
    return sinter_lower_element(kernel, value, own);
}

static sinter_expr add_zero_point(sinter_kernel *kernel, sinter_node node, const sinter_expr *index,
                                  sinter_expr value) {
    if (!sinter_node_operand(kernel->lower->module, node, 2)) return value;
    sinter_expr zero = quantization_parameter(kernel, node, 2, index);
    return sinter_loop_add(&kernel->build, value,
                           sinter_loop_cast(&kernel->build, zero, value->dtype));
}

/* x / scale as sinter_dtype_of_quotient says. By way of f32 the quotient of two numbers of 16 bits is still rounded right. */
static sinter_expr scaled_by(sinter_kernel *kernel, sinter_node node, sinter_expr x,
                             sinter_expr scale) {
    const sinter_module *module = kernel->lower->module;
    sinter_loop_builder *build = &kernel->build;
    sinter_dtype precision = sinter_dtype_of_quotient(
        sinter_node_get_int(module, node, "precision", 0),
        sinter_value_type(module, sinter_node_operand(module, node, 1))->dtype);
    bool is_wide = x->dtype == SINTER_DTYPE_f64 || precision == SINTER_DTYPE_f64;
    sinter_dtype compute = is_wide ? SINTER_DTYPE_f64 : SINTER_DTYPE_f32;
    sinter_expr ratio[2] = {sinter_loop_cast(build, x, compute),
                            sinter_loop_cast(build, scale, compute)};
    bool unit = ratio[1]->kind == SINTER_LOOP_CONST && ratio[1]->float_value == 1;
    sinter_expr scaled = unit ? ratio[0] : sinter_loop_call(build, SINTER_SCALAR_div, ratio);
    return sinter_loop_cast(build, sinter_loop_cast(build, scaled, precision), compute);
}

sinter_expr sinter_lower_quantize(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                  const sinter_expr *index) {
    sinter_lower *lower = kernel->lower;
    sinter_loop_builder *build = &kernel->build;
    sinter_dtype to =
        sinter_value_type(lower->module, sinter_node_result(lower->module, node, result))->dtype;
    sinter_expr x =
        sinter_lower_element(kernel, sinter_node_operand(lower->module, node, 0), index);
    sinter_expr scale = quantization_parameter(kernel, node, 1, index);
    sinter_expr scaled = scaled_by(kernel, node, x, scale);
    sinter_dtype compute = scaled->dtype;
    bool saturate = sinter_node_get_int(lower->module, node, "saturate", 1) != 0;
    if (sinter_dtype_is_float(to)) {
        scaled = add_zero_point(kernel, node, index, scaled);
        return sinter_loop_cast(build, sinter_loop_cast_saturating(build, scaled, to, saturate),
                                sinter_dtype_compute(to));
    }
    const sinter_dtype_info *info = &sinter_dtype_infos[to];
    bool is_signed = info->class == SINTER_CLASS_INT;
    double low = is_signed ? -(double)(1ll << (info->bits - 1)) : 0;
    double high = (double)((1ll << (info->bits - (is_signed ? 1 : 0))) - 1);
    sinter_expr value = sinter_loop_call(build, SINTER_SCALAR_round_even, &scaled);
    value = add_zero_point(kernel, node, index, value);
    value = sinter_loop_max(build, value, sinter_loop_const(build, compute, low));
    value = sinter_loop_min(build, value, sinter_loop_const(build, compute, high));
    /* Through i32 where that is a single conversion; u32 and wider go straight. */
    if (info->bits <= 16) value = sinter_loop_cast(build, value, SINTER_DTYPE_i32);
    return sinter_loop_cast(build, value, sinter_dtype_compute(to));
}

sinter_expr sinter_lower_dequantize(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                    const sinter_expr *index) {
    sinter_lower *lower = kernel->lower;
    sinter_loop_builder *build = &kernel->build;
    sinter_dtype to =
        sinter_value_type(lower->module, sinter_node_result(lower->module, node, result))->dtype;
    sinter_expr x =
        sinter_lower_element(kernel, sinter_node_operand(lower->module, node, 0), index);
    sinter_dtype compute = sinter_dtype_compute(to);
    sinter_expr scale =
        sinter_loop_cast(build, quantization_parameter(kernel, node, 1, index), compute);
    if (sinter_node_operand(lower->module, node, 2)) {
        sinter_expr zero = quantization_parameter(kernel, node, 2, index);
        if (sinter_dtype_is_float(x->dtype)) {
            x = sinter_loop_sub(build, x, zero);
        } else {
            x = sinter_loop_sub(build, sinter_loop_cast(build, x, SINTER_DTYPE_i32),
                                sinter_loop_cast(build, zero, SINTER_DTYPE_i32));
        }
    }
    return sinter_loop_mul(build, sinter_loop_cast(build, x, compute), scale);
}
