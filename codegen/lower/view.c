/* Lowering of views: an output element is an input element at a computed index, or a fill. Alone, a reshape is an
 * alias of its operand's memory. Test: tests/ops/ */
#include "codegen/lower/write.h"
#include "runtime/abi.h"

/* ---- host: same memory, other shape ---- */

bool sinter_lower_alias(sinter_lower *lower, sinter_node node) {
    sinter_lower_host_alias(lower, sinter_node_result(lower->module, node, 0),
                            sinter_node_operand(lower->module, node, 0));
    return true;
}

static sinter_expr host_count(sinter_lower *lower, sinter_value value) {
    sinter_type type = *sinter_value_type(lower->module, value);
    sinter_expr count = sinter_loop_int(&lower->host, 1);
    for (uint32_t i = 0; i < type.rank; ++i)
        count = sinter_loop_mul(&lower->host, count, sinter_lower_host_dim(lower, type.dims[i]));
    return count;
}

bool sinter_lower_reshape(sinter_lower *lower, sinter_node node) {
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 y = sinter_node_result(lower->module, node, 0);
    sinter_type from = *sinter_value_type(lower->module, x),
                to = *sinter_value_type(lower->module, y);
    if (sinter_type_product(lower->dims, &from, 0, from.rank) !=
        sinter_type_product(lower->dims, &to, 0, to.rank)) {
        sinter_expr counts[2] = {host_count(lower, x), host_count(lower, y)};
        for (uint32_t i = 0; i < to.rank; ++i) {
            sinter_expr dim = sinter_lower_host_dim(lower, to.dims[i]);
            sinter_lower_host_check(lower,
                                    sinter_loop_compare(&lower->host, SINTER_SCALAR_le,
                                                        sinter_loop_int(&lower->host, 0), dim),
                                    SINTER_ABI_BAD_INPUT, "reshape: dim %0 is negative", &dim, 1);
        }
        sinter_lower_host_check(
            lower, sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, counts[0], counts[1]),
            SINTER_ABI_BAD_INPUT, "reshape: %0 elements do not fit a shape of %1", counts, 2);
    }
    sinter_lower_host_alias(lower, y, x);
    return true;
}

bool sinter_lower_constant(sinter_lower *lower, sinter_node node) {
    const sinter_type *type =
        sinter_value_type(lower->module, sinter_node_result(lower->module, node, 0));
    sinter_dtype_class class = sinter_dtype_infos[type->dtype].class;
    if (class == SINTER_CLASS_STRING || class == SINTER_CLASS_COMPLEX)
        return sinter_lower_error(lower, node, "element type %s can't be compiled",
                                  sinter_dtype_infos[type->dtype].name);
    return true; /* its buffer is made when somebody reads it */
}

/* ---- element rules ---- */

static sinter_value operand(sinter_kernel *kernel, sinter_node node, uint32_t i) {
    return sinter_node_operand(kernel->lower->module, node, i);
}

static sinter_type type_of(sinter_kernel *kernel, sinter_value value) {
    return *sinter_value_type(kernel->lower->module, value);
}

/* Row-major position of an index, and back. */
static sinter_expr flatten_index(sinter_kernel *kernel, const sinter_type *type,
                                 const sinter_expr *index) {
    sinter_expr position = sinter_loop_int(&kernel->build, 0);
    for (uint32_t i = 0; i < type->rank; ++i)
        position = sinter_loop_add(
            &kernel->build,
            sinter_loop_mul(&kernel->build, position, sinter_kernel_dim(kernel, type->dims[i])),
            index[i]);
    return position;
}

static void unflatten_index(sinter_kernel *kernel, const sinter_type *type, sinter_expr position,
                            sinter_expr *index) {
    for (uint32_t i = type->rank; i-- > 0;) {
        sinter_expr dim = sinter_kernel_dim(kernel, type->dims[i]);
        index[i] = i == 0 ? position : sinter_loop_rem(&kernel->build, position, dim);
        if (i > 0) position = sinter_loop_div(&kernel->build, position, dim);
    }
}

sinter_expr sinter_lower_reshaped(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                  const sinter_expr *index) {
    sinter_value x = operand(kernel, node, 0);
    sinter_type from = type_of(kernel, x),
                to = type_of(kernel, sinter_node_result(kernel->lower->module, node, result));
    sinter_expr own[SINTER_MAX_RANK];
    /* Axes that only gained or lost ones keep their index, so that fused loops stay affine. */
    uint32_t i = 0, j = 0;
    sinter_dim_table *dims = kernel->lower->dims;
    while (i < from.rank || j < to.rank) {
        if (i < from.rank && j < to.rank && from.dims[i] == to.dims[j])
            own[i++] = index[j++];
        else if (i < from.rank && sinter_dim_is(dims, from.dims[i], 1))
            own[i++] = sinter_loop_int(&kernel->build, 0);
        else if (j < to.rank && sinter_dim_is(dims, to.dims[j], 1))
            ++j;
        else
            break;
    }
    if (i < from.rank || j < to.rank)
        unflatten_index(kernel, &from, flatten_index(kernel, &to, index), own);
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_transpose(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                   const sinter_expr *index) {
    (void)result;
    const int64_t *perm = NULL;
    size_t count = sinter_node_get_ints(kernel->lower->module, node, "perm", &perm);
    sinter_value x = operand(kernel, node, 0);
    uint32_t rank = type_of(kernel, x).rank;
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i) own[count ? (uint32_t)perm[i] : rank - 1 - i] = index[i];
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_expand(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                const sinter_expr *index) {
    sinter_type type = type_of(kernel, sinter_node_result(kernel->lower->module, node, result));
    return sinter_lower_operand(kernel, node, 0, index, &type);
}

sinter_expr sinter_lower_slice(sinter_kernel *kernel, sinter_node node, uint32_t result,
                               const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = operand(kernel, node, 0), axes = operand(kernel, node, 3),
                 steps = operand(kernel, node, 4);
    sinter_type type = type_of(kernel, x);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i) own[i] = index[i];
    uint32_t count = sinter_write_static_count(kernel, node, operand(kernel, node, 1));
    int64_t known_axes[SINTER_MAX_RANK];
    size_t known = 0;
    bool fixed = !axes || sinter_value_known_ints(kernel->lower->module, axes, known_axes,
                                                  SINTER_MAX_RANK, &known);
    for (uint32_t i = 0; i < count; ++i) {
        for (uint32_t d = 0; d < type.rank; ++d) {
            int64_t axis = axes && fixed ? known_axes[i] : i;
            if (fixed && (axis < 0 ? axis + type.rank : axis) != d) continue;
            sinter_expr dim = sinter_kernel_dim(kernel, type.dims[d]),
                        zero = sinter_loop_int(build, 0);
            sinter_expr step =
                steps ? sinter_write_int_operand(kernel, steps, i) : sinter_loop_int(build, 1);
            sinter_expr start = sinter_kernel_wrap_index(
                kernel, sinter_write_int_operand(kernel, operand(kernel, node, 1), i), dim);
            /* Clamped as ONNX says: to [0, dim] going up, to [0, dim - 1] going down. */
            sinter_expr down = sinter_loop_compare(build, SINTER_SCALAR_lt, step, zero);
            sinter_expr top = sinter_loop_select(
                build, down, sinter_loop_sub(build, dim, sinter_loop_int(build, 1)), dim);
            start = sinter_loop_max(build, sinter_loop_min(build, start, top), zero);
            sinter_expr at = sinter_loop_add(build, start, sinter_loop_mul(build, index[d], step));
            if (fixed) {
                own[d] = at;
            } else {
                sinter_expr axis_value =
                    sinter_kernel_wrap_index(kernel, sinter_write_int_operand(kernel, axes, i),
                                             sinter_loop_int(build, type.rank));
                sinter_expr here = sinter_loop_compare(build, SINTER_SCALAR_eq, axis_value,
                                                       sinter_loop_int(build, d));
                own[d] = sinter_loop_select(build, here, at, own[d]);
            }
        }
    }
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_split(sinter_kernel *kernel, sinter_node node, uint32_t result,
                               const sinter_expr *index) {
    sinter_loop_builder *build = &kernel->build;
    sinter_module *module = kernel->lower->module;
    sinter_value x = operand(kernel, node, 0);
    sinter_type type = type_of(kernel, x);
    uint32_t axis = sinter_node_get_axis(module, node, 0, type.rank);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i) own[i] = index[i];
    sinter_dim start = sinter_lower_piece_start(kernel->lower, node, result);
    if (start) own[axis] = sinter_loop_add(build, own[axis], sinter_kernel_dim(kernel, start));
    for (uint32_t i = 0; i < result && !start; ++i) {
        sinter_value before = sinter_node_result(module, node, i);
        sinter_expr extent = before ? sinter_kernel_dim_of(kernel, before, (int)axis)
                                    : sinter_write_int_operand(kernel, operand(kernel, node, 1), i);
        own[axis] = sinter_loop_add(build, own[axis], extent);
    }
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_tile(sinter_kernel *kernel, sinter_node node, uint32_t result,
                              const sinter_expr *index) {
    sinter_module *module = kernel->lower->module;
    sinter_value x = operand(kernel, node, 0);
    sinter_type type = type_of(kernel, x),
                out = type_of(kernel, sinter_node_result(module, node, result));
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type.rank; ++i)
        own[i] = type.dims[i] == out.dims[i]
                     ? index[i]
                     : sinter_loop_rem(&kernel->build, index[i],
                                       sinter_kernel_dim(kernel, type.dims[i]));
    return sinter_lower_element(kernel, x, own);
}

/* Pads before axis d, or after it: the axes operand may choose and order them. */
static sinter_expr pad_of(sinter_kernel *kernel, sinter_node node, uint32_t rank, uint32_t d,
                          bool after) {
    sinter_loop_builder *build = &kernel->build;
    sinter_value pads = operand(kernel, node, 1), axes = operand(kernel, node, 3);
    if (!axes) return sinter_write_int_operand(kernel, pads, after ? rank + d : d);
    uint32_t count = sinter_write_static_count(kernel, node, axes);
    sinter_expr before = sinter_loop_int(build, 0);
    for (uint32_t i = 0; i < count; ++i) {
        sinter_expr axis = sinter_kernel_wrap_index(
            kernel, sinter_write_int_operand(kernel, axes, i), sinter_loop_int(build, rank));
        sinter_expr here =
            sinter_loop_compare(build, SINTER_SCALAR_eq, axis, sinter_loop_int(build, d));
        before = sinter_loop_select(
            build, here, sinter_write_int_operand(kernel, pads, after ? count + i : i), before);
    }
    return before;
}

/* Index mirrored into [0, size): period 2 * (size - 1), so pads wider than the data bounce on. */
static sinter_expr reflect_index(sinter_kernel *kernel, sinter_expr at, sinter_expr size) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr one = sinter_loop_int(build, 1);
    sinter_expr last = sinter_loop_sub(build, size, one);
    sinter_expr period =
        sinter_loop_max(build, sinter_loop_mul(build, last, sinter_loop_int(build, 2)), one);
    sinter_expr pair[2] = {at, period};
    sinter_expr phase = sinter_loop_call(build, SINTER_SCALAR_floormod, pair);
    return sinter_loop_min(build, phase, sinter_loop_sub(build, period, phase));
}

/* Index moved into [0, size), to its end or mirrored there, by a pad that reaches no further than the data: one of three sums, which loops are
 * cut by. */
static sinter_expr border_index(sinter_kernel *kernel, sinter_expr at, sinter_expr size,
                                bool mirrored) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr zero = sinter_loop_int(build, 0),
                last = sinter_loop_sub(build, size, sinter_loop_int(build, 1)), before = zero,
                behind = last;
    if (mirrored) {
        before = sinter_loop_sub(build, zero, at);
        behind =
            sinter_loop_sub(build, sinter_loop_mul(build, last, sinter_loop_int(build, 2)), at);
    }
    sinter_expr is_before = sinter_loop_compare(build, SINTER_SCALAR_lt, at, zero),
                is_behind = sinter_loop_compare(build, SINTER_SCALAR_lt, last, at);
    return sinter_loop_select(build, is_before, before,
                              sinter_loop_select(build, is_behind, behind, at));
}

/* Neither pad of the axis is negative, there are elements, and where a pad mirrors, as many others as it has at least. */
static bool pads_once(sinter_kernel *kernel, sinter_node node, uint32_t rank, uint32_t d,
                      bool mirrored) {
    int64_t pad, low, high;
    sinter_dim_range(kernel->lower->dims, type_of(kernel, operand(kernel, node, 0)).dims[d], &low,
                     &high);
    for (int i = 0; i < 2; ++i)
        if (!sinter_loop_is_const_int(pad_of(kernel, node, rank, d, i != 0), &pad) || pad < 0 ||
            low < 1 || (mirrored && pad >= low))
            return false;
    return true;
}

/* Negative pads cut, and what is left is repeated: the index of the padded axis as one of the whole. */
static sinter_expr repeat_index(sinter_kernel *kernel, sinter_node node, uint32_t rank, uint32_t d,
                                sinter_expr own, sinter_expr size, bool mirrored) {
    sinter_loop_builder *build = &kernel->build;
    sinter_expr zero = sinter_loop_int(build, 0), pads[2];
    for (int i = 0; i < 2; ++i) /* what is cut: 0 where it is not negative */
        pads[i] = sinter_loop_max(
            build, sinter_loop_sub(build, zero, pad_of(kernel, node, rank, d, i != 0)), zero);
    size = sinter_loop_sub(build, sinter_loop_sub(build, size, pads[0]), pads[1]);
    own = sinter_loop_sub(build, own, pads[0]);
    sinter_expr pair[2] = {own, size};
    own = mirrored ? reflect_index(kernel, own, size)
                   : sinter_loop_call(build, SINTER_SCALAR_floormod, pair);
    return sinter_loop_add(build, own, pads[0]);
}

sinter_expr sinter_lower_pad(sinter_kernel *kernel, sinter_node node, uint32_t result,
                             const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = operand(kernel, node, 0), fill = operand(kernel, node, 2);
    sinter_type type = type_of(kernel, x),
                padded = type_of(kernel, sinter_node_result(kernel->lower->module, node, 0));
    sinter_string mode = sinter_node_get_string(kernel->lower->module, node, "mode");
    sinter_dtype compute = sinter_dtype_compute(type.dtype);
    sinter_expr own[SINTER_MAX_RANK], inside = sinter_loop_const_int(build, SINTER_DTYPE_bool, 1);
    sinter_expr zero = sinter_loop_int(build, 0);
    for (uint32_t d = 0; d < type.rank; ++d) {
        sinter_expr size = sinter_kernel_dim(kernel, type.dims[d]);
        own[d] = sinter_loop_sub(build, index[d], pad_of(kernel, node, type.rank, d, false));
        sinter_expr last = sinter_loop_sub(build, size, sinter_loop_int(build, 1));
        bool is_edge = sinter_string_is(mode, "edge"), mirrored = sinter_string_is(mode, "reflect");
        if ((is_edge || mirrored) && pads_once(kernel, node, type.rank, d, mirrored)) {
            if (own[d] != index[d] || padded.dims[d] != type.dims[d])
                own[d] = border_index(kernel, own[d], size, mirrored);
            continue; /* always inside */
        }
        if (is_edge) {
            own[d] = sinter_loop_min(build, sinter_loop_max(build, own[d], zero), last);
        } else if (mirrored) {
            own[d] = repeat_index(kernel, node, type.rank, d, own[d], size, true);
        } else if (sinter_string_is(mode, "wrap")) {
            own[d] = repeat_index(kernel, node, type.rank, d, own[d], size, false);
        }
        if (own[d] == index[d] && padded.dims[d] == type.dims[d]) continue;
        sinter_expr low = sinter_loop_compare(build, SINTER_SCALAR_le, zero, own[d]);
        sinter_expr high = sinter_loop_compare(build, SINTER_SCALAR_lt, own[d], size);
        inside = sinter_loop_and(build, inside, sinter_loop_and(build, low, high));
    }
    int64_t always = 0;
    if (sinter_loop_is_const_int(inside, &always) && always)
        return sinter_lower_element(kernel, x, own);
    /* A statement, not a select: outside there is nothing to load. */
    sinter_expr start =
        fill ? sinter_lower_scalar(kernel, fill) : sinter_loop_const_int(build, compute, 0);
    if (sinter_dtype_is_float(compute) && !fill) start = sinter_loop_const(build, compute, 0);
    sinter_loop_var element = sinter_loop_declare(build, "padded", true, start);
    sinter_loop_begin_if(build, inside);
    sinter_loop_assign(build, element, sinter_lower_element(kernel, x, own));
    sinter_loop_end(build);
    return sinter_loop_var_read(build, element);
}

sinter_expr sinter_lower_trilu(sinter_kernel *kernel, sinter_node node, uint32_t result,
                               const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = operand(kernel, node, 0), k = operand(kernel, node, 1);
    uint32_t rank = type_of(kernel, x).rank;
    sinter_expr offset =
        k ? sinter_loop_cast(build, sinter_lower_scalar(kernel, k), SINTER_DTYPE_i64)
          : sinter_loop_int(build, 0);
    /* The offset may be any number: nothing is added to it. */
    sinter_expr diagonal = sinter_loop_sub(build, index[rank - 1], index[rank - 2]);
    bool upper = sinter_node_get_int(kernel->lower->module, node, "upper", 1) != 0;
    sinter_expr keep = upper ? sinter_loop_compare(build, SINTER_SCALAR_le, offset, diagonal)
                             : sinter_loop_compare(build, SINTER_SCALAR_le, diagonal, offset);
    sinter_expr element = sinter_lower_element(kernel, x, index);
    return sinter_loop_select(build, keep, element,
                              sinter_loop_cast(build, sinter_loop_int(build, 0), element->dtype));
}

sinter_expr sinter_lower_eye_like(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                  const sinter_expr *index) {
    sinter_loop_builder *build = &kernel->build;
    sinter_dtype dtype =
        type_of(kernel, sinter_node_result(kernel->lower->module, node, result)).dtype;
    sinter_expr k =
        sinter_loop_int(build, sinter_node_get_int(kernel->lower->module, node, "k", 0));
    sinter_expr on =
        sinter_loop_compare(build, SINTER_SCALAR_eq, sinter_loop_sub(build, index[1], index[0]), k);
    return sinter_loop_cast(build, on, sinter_dtype_compute(dtype));
}

sinter_expr sinter_lower_depth_to_space(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                        const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = operand(kernel, node, 0);
    sinter_expr block =
        sinter_loop_int(build, sinter_node_get_int(kernel->lower->module, node, "blocksize", 1));
    sinter_expr depth = sinter_loop_div(build, sinter_kernel_dim_of(kernel, x, 1),
                                        sinter_loop_mul(build, block, block));
    sinter_expr by = sinter_loop_rem(build, index[2], block),
                bx = sinter_loop_rem(build, index[3], block);
    sinter_expr within = sinter_loop_add(build, sinter_loop_mul(build, by, block), bx);
    bool columns =
        sinter_string_is(sinter_node_get_string(kernel->lower->module, node, "mode"), "CRD");
    sinter_expr channel =
        columns ? sinter_loop_add(
                      build, sinter_loop_mul(build, index[1], sinter_loop_mul(build, block, block)),
                      within)
                : sinter_loop_add(build, sinter_loop_mul(build, within, depth), index[1]);
    sinter_expr own[4] = {index[0], channel, sinter_loop_div(build, index[2], block),
                          sinter_loop_div(build, index[3], block)};
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_space_to_depth(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                        const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_value x = operand(kernel, node, 0);
    sinter_expr block =
        sinter_loop_int(build, sinter_node_get_int(kernel->lower->module, node, "blocksize", 1));
    sinter_expr channels = sinter_kernel_dim_of(kernel, x, 1);
    sinter_expr within = sinter_loop_div(build, index[1], channels);
    sinter_expr own[4] = {index[0], sinter_loop_rem(build, index[1], channels),
                          sinter_loop_add(build, sinter_loop_mul(build, index[2], block),
                                          sinter_loop_div(build, within, block)),
                          sinter_loop_add(build, sinter_loop_mul(build, index[3], block),
                                          sinter_loop_rem(build, within, block))};
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_reverse_sequence(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                          const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_module *module = kernel->lower->module;
    sinter_value x = operand(kernel, node, 0);
    uint32_t rank = type_of(kernel, x).rank;
    int64_t time = sinter_node_get_int(module, node, "time_axis", 0),
            batch = sinter_node_get_int(module, node, "batch_axis", 1);
    sinter_expr own[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < rank; ++i) own[i] = index[i];
    sinter_expr length = sinter_loop_cast(
        build, sinter_lower_element(kernel, operand(kernel, node, 1), &index[batch]),
        SINTER_DTYPE_i64);
    sinter_kernel_check_index(kernel, node, length,
                              sinter_loop_add(build, sinter_kernel_dim_of(kernel, x, (int)time),
                                              sinter_loop_int(build, 1)));
    sinter_expr mirrored = sinter_loop_sub(
        build, sinter_loop_sub(build, length, sinter_loop_int(build, 1)), index[time]);
    own[time] =
        sinter_loop_select(build, sinter_loop_compare(build, SINTER_SCALAR_lt, index[time], length),
                           mirrored, index[time]);
    return sinter_lower_element(kernel, x, own);
}

sinter_expr sinter_lower_constant_of_shape(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                           const sinter_expr *index) {
    (void)index;
    const sinter_attr *value = sinter_node_find_attr(kernel->lower->module, node, "value");
    sinter_dtype dtype =
        type_of(kernel, sinter_node_result(kernel->lower->module, node, result)).dtype;
    sinter_dtype compute = sinter_dtype_compute(dtype);
    if (!value) return sinter_loop_const(&kernel->build, compute, 0);
    if (sinter_dtype_is_float(dtype))
        return sinter_loop_const(&kernel->build, compute,
                                 sinter_tensor_get_double(value->tensor, 0));
    return sinter_loop_const_int(&kernel->build, compute, sinter_tensor_get_int(value->tensor, 0));
}

sinter_expr sinter_lower_range(sinter_kernel *kernel, sinter_node node, uint32_t result,
                               const sinter_expr *index) {
    (void)result;
    sinter_loop_builder *build = &kernel->build;
    sinter_expr start = sinter_lower_scalar(kernel, operand(kernel, node, 0));
    sinter_expr delta = sinter_lower_scalar(kernel, operand(kernel, node, 2));
    return sinter_loop_add(
        build, start,
        sinter_loop_mul(build, sinter_loop_cast(build, index[0], start->dtype), delta));
}

/* shape, size, dim_vector: the contents that inference found, chosen by the index. */
sinter_expr sinter_lower_dims_of(sinter_kernel *kernel, sinter_node node, uint32_t result,
                                 const sinter_expr *index) {
    sinter_loop_builder *build = &kernel->build;
    sinter_value value = sinter_node_result(kernel->lower->module, node, result);
    uint32_t count = sinter_value_get(kernel->lower->module, value)->content_count;
    bool scalar = type_of(kernel, value).rank == 0;
    sinter_expr element = sinter_loop_int(build, 0);
    for (uint32_t i = count; i-- > 0;) {
        sinter_expr dim =
            sinter_kernel_dim(kernel, sinter_value_get(kernel->lower->module, value)->content[i]);
        element = scalar || i + 1 == count
                      ? dim
                      : sinter_loop_select(build,
                                           sinter_loop_compare(build, SINTER_SCALAR_eq, index[0],
                                                               sinter_loop_int(build, i)),
                                           dim, element);
    }
    return element;
}

/* ---- concat: one nest an operand, so that each is a straight copy ---- */

bool sinter_lower_concat(sinter_kernel *kernel, sinter_node node) {
    sinter_loop_builder *build = &kernel->build;
    sinter_module *module = kernel->lower->module;
    sinter_value y = sinter_node_result(module, node, 0);
    uint32_t rank = type_of(kernel, y).rank;
    uint32_t axis = sinter_node_get_axis(module, node, 0, rank);
    sinter_expr offset = sinter_loop_int(build, 0);
    sinter_dim before = sinter_dim_const(kernel->lower->dims, 0);
    for (uint32_t i = 0; i < sinter_node_get(module, node)->operand_count; ++i) {
        if (i > 0 && i % SINTER_KERNEL_NESTS == 0) {
            if (!sinter_kernel_begin_next(kernel, node)) return false;
            offset = sinter_kernel_dim(kernel, before);
        }
        sinter_value x = operand(kernel, node, i);
        sinter_type from = type_of(kernel, x), to = type_of(kernel, y);
        for (uint32_t d = 0; d < rank; ++d) {
            if (d == (uint32_t)axis || from.dims[d] == to.dims[d]) continue;
            sinter_expr pair[2] = {sinter_lower_host_dim(kernel->lower, from.dims[d]),
                                   sinter_lower_host_dim(kernel->lower, to.dims[d])};
            sinter_lower_host_check(
                kernel->lower,
                sinter_loop_compare(&kernel->lower->host, SINTER_SCALAR_eq, pair[0], pair[1]),
                SINTER_ABI_BAD_INPUT, "concat: dims %0 and %1 differ outside the axis", pair, 2);
        }
        if (!sinter_lower_is_joined(kernel->lower, node, i)) {
            sinter_expr index[SINTER_MAX_RANK];
            sinter_kernel_begin_loops(kernel, x, index);
            sinter_expr element = sinter_lower_element(kernel, x, index);
            index[axis] = sinter_loop_add(build, index[axis], offset);
            sinter_lower_store(kernel, y, index, element);
            sinter_kernel_end_loops(kernel, rank);
        }
        offset = sinter_loop_add(build, offset, sinter_kernel_dim(kernel, from.dims[axis]));
        before = sinter_dim_add(kernel->lower->dims, before, from.dims[axis]);
    }
    return true;
}
