/* What a node's operands must say for its result to exist: checked on the host before the node's kernel runs, where
 * inference could not prove it because the numbers are data. Every dim of a result is checked against being negative; ops
 * whose operands have to fit each other beyond that have a LOWER_CHECK row. Test: tests/codegen/lower/bad_data.sir */
#include "codegen/lower/lower.h"
#include "ir/infer.h"
#include "runtime/abi.h"

#include <string.h>

static const sinter_type *type_of(sinter_lower *lower, sinter_value value) {
    return sinter_value_type(lower->module, value);
}

static sinter_expr at_least(sinter_lower *lower, sinter_expr value, int64_t least) {
    return sinter_loop_compare(&lower->host, SINTER_SCALAR_le, sinter_loop_int(&lower->host, least),
                               value);
}

static sinter_expr equal(sinter_lower *lower, sinter_expr a, sinter_expr b) {
    return sinter_loop_compare(&lower->host, SINTER_SCALAR_eq, a, b);
}

/* Elements of an integer vector as dims, 0 where only its data tells; false where it is not a vector of static length. */
static bool vector_length(sinter_lower *lower, sinter_value value, int64_t *out_length) {
    const sinter_type *type = value ? type_of(lower, value) : NULL;
    return type && type->rank == 1 && sinter_dim_is_const(lower->dims, type->dims[0], out_length);
}

/* The element as a dim, where inference knows it. */
static sinter_dim known_element(sinter_lower *lower, sinter_value value, int64_t index) {
    const sinter_dim *items = NULL;
    size_t count = 0;
    if (!sinter_value_known_dims(lower->module, value, &items, &count)) return 0;
    return (size_t)index < count ? items[index] : 0;
}

static sinter_expr element(sinter_lower *lower, sinter_value value, int64_t index) {
    sinter_dim known = known_element(lower, value, index);
    if (known) return sinter_lower_host_dim(lower, known);
    sinter_expr at = sinter_loop_int(&lower->host, index);
    return sinter_loop_cast(
        &lower->host, sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, value), &at),
        SINTER_DTYPE_i64);
}

/* The shape that is asked for broadcasts with the data. */
bool sinter_lower_check_expand(sinter_lower *lower, sinter_node node) {
    sinter_value shape = sinter_node_operand(lower->module, node, 1);
    sinter_type x = *type_of(lower, sinter_node_operand(lower->module, node, 0));
    int64_t length = 0;
    if (!vector_length(lower, shape, &length)) return true;
    for (int64_t i = 0; i < length; ++i) {
        int64_t axis = i - length + x.rank;
        if (axis >= 0 && sinter_dim_is(lower->dims, x.dims[axis], 1)) axis = -1;
        sinter_dim known = known_element(lower, shape, i);
        if (axis >= 0 && known && (known == x.dims[axis] || sinter_dim_is(lower->dims, known, 1)))
            continue;
        sinter_expr asked = element(lower, shape, i);
        if (axis < 0) {
            sinter_lower_host_check(lower, at_least(lower, asked, 0), SINTER_ABI_BAD_INPUT,
                                    "expand: dim %0 is negative", &asked, 1);
            continue;
        }
        sinter_expr own = sinter_lower_host_dim(lower, x.dims[axis]);
        sinter_expr one = sinter_loop_int(&lower->host, 1), pair[2] = {own, asked};
        sinter_expr fits = sinter_loop_or(
            &lower->host, equal(lower, asked, own),
            sinter_loop_or(&lower->host, equal(lower, asked, one), equal(lower, own, one)));
        sinter_lower_host_check(lower, fits, SINTER_ABI_BAD_INPUT,
                                "expand: dim %0 does not broadcast to %1", pair, 2);
    }
    return true;
}

/* At most one -1, nothing below it. */
bool sinter_lower_check_reshape(sinter_lower *lower, sinter_node node) {
    sinter_value shape = sinter_node_operand(lower->module, node, 1);
    int64_t length = 0;
    if (!vector_length(lower, shape, &length)) return true;
    sinter_expr inferred = sinter_loop_int(&lower->host, 0);
    for (int64_t i = 0; i < length; ++i) {
        sinter_dim known = known_element(lower, shape, i);
        int64_t low = INT64_MIN, high;
        if (known) sinter_dim_range(lower->dims, known, &low, &high);
        if (low >= 0) continue;
        sinter_expr asked = element(lower, shape, i);
        sinter_lower_host_check(lower, at_least(lower, asked, -1), SINTER_ABI_BAD_INPUT,
                                "reshape: dim %0 is below -1", &asked, 1);
        sinter_expr is_inferred = equal(lower, asked, sinter_loop_int(&lower->host, -1));
        inferred = sinter_loop_add(&lower->host, inferred,
                                   sinter_loop_cast(&lower->host, is_inferred, SINTER_DTYPE_i64));
    }
    sinter_expr most = sinter_loop_compare(&lower->host, SINTER_SCALAR_le, inferred,
                                           sinter_loop_int(&lower->host, 1));
    sinter_lower_host_check(lower, most, SINTER_ABI_BAD_INPUT,
                            "reshape: %0 dims are -1; at most one can be inferred", &inferred, 1);
    return true;
}

/* Elements of the result come from those of the same axis: there is one, or the result has none. */
bool sinter_lower_check_extended(sinter_lower *lower, sinter_node node) {
    const sinter_module *module = lower->module;
    const sinter_type x = *type_of(lower, sinter_node_operand(module, node, 0)),
                      y = *type_of(lower, sinter_node_result(module, node, 0));
    if (sinter_string_is(sinter_node_get_string(module, node, "mode"), "constant")) return true;
    for (uint32_t i = 0; i < x.rank; ++i) {
        int64_t least, most;
        sinter_dim_range(lower->dims, x.dims[i], &least, &most);
        if (least > 0 || x.dims[i] == y.dims[i]) continue;
        sinter_expr pair[2] = {sinter_loop_int(&lower->host, i),
                               sinter_lower_host_dim(lower, y.dims[i])};
        sinter_expr none = sinter_loop_compare(&lower->host, SINTER_SCALAR_le, pair[1],
                                               sinter_loop_int(&lower->host, 0));
        sinter_expr some = at_least(lower, sinter_lower_host_dim(lower, x.dims[i]), 1);
        sinter_lower_host_check(lower, sinter_loop_or(&lower->host, some, none),
                                SINTER_ABI_BAD_INPUT,
                                "axis %0 has no elements and cannot become %1", pair, 2);
    }
    return true;
}

/* The pieces are the whole axis. */
bool sinter_lower_check_split(sinter_lower *lower, sinter_node node) {
    sinter_module *module = lower->module;
    sinter_value sizes = sinter_node_operand(module, node, 1);
    sinter_type x = *type_of(lower, sinter_node_operand(module, node, 0));
    uint32_t axis = sinter_node_get_axis(module, node, 0, x.rank);
    sinter_dim total = sinter_dim_const(lower->dims, 0);
    sinter_expr sum = sinter_loop_int(&lower->host, 0);
    uint32_t count = sinter_node_get(module, node)->result_count;
    for (uint32_t i = 0; i < count; ++i) {
        sinter_value result = sinter_node_result(module, node, i);
        sinter_dim piece = result  ? type_of(lower, result)->dims[axis]
                           : sizes ? known_element(lower, sizes, i)
                                   : 0;
        if (!piece && !sizes) return true; /* equal pieces: inference has divided */
        total = sinter_dim_add(lower->dims, total, piece);
        sinter_expr extent = piece ? sinter_lower_host_dim(lower, piece) : element(lower, sizes, i);
        sinter_lower_host_check(lower, at_least(lower, extent, 0), SINTER_ABI_BAD_INPUT,
                                "split: a piece of %0 elements", &extent, 1);
        sum = sinter_loop_add(&lower->host, sum, extent);
    }
    if (total == x.dims[axis]) return true;
    sinter_expr pair[2] = {sum, sinter_lower_host_dim(lower, x.dims[axis])};
    sinter_lower_host_check(lower, equal(lower, pair[0], pair[1]), SINTER_ABI_BAD_INPUT,
                            "split: the pieces have %0 elements, the axis has %1", pair, 2);
    return true;
}

/* A step of zero never arrives. */
bool sinter_lower_check_range(sinter_lower *lower, sinter_node node) {
    sinter_value step = sinter_node_operand(lower->module, node, 2);
    if (sinter_value_constant(lower->module, step)) return true;
    sinter_expr origin = sinter_loop_int(&lower->host, 0); /* a vector of one is a scalar too */
    sinter_expr value =
        sinter_loop_load(&lower->host, sinter_lower_host_buffer(lower, step), &origin);
    sinter_expr zero = sinter_dtype_is_float(value->dtype)
                           ? sinter_loop_const(&lower->host, value->dtype, 0)
                           : sinter_loop_const_int(&lower->host, value->dtype, 0);
    sinter_expr stands = equal(lower, value, zero);
    sinter_lower_host_check(lower, sinter_loop_call(&lower->host, SINTER_SCALAR_not, &stands),
                            SINTER_ABI_BAD_INPUT, "range: the step is 0", NULL, 0);
    return true;
}

/* ---- every node ---- */

bool sinter_lower_is_bound(const sinter_lower *lower, sinter_dim dim) {
    uint64_t var;
    if (sinter_dim_get_kind(lower->dims, dim) == SINTER_DIM_SYMBOL)
        return sinter_map_find(&lower->symbols, dim, &var);
    const sinter_dim *operands;
    size_t count = sinter_dim_operands(lower->dims, dim, &operands);
    for (size_t i = 0; i < count; i++)
        if (!sinter_lower_is_bound(lower, operands[i])) return false;
    return true;
}

static void check_relation(sinter_lower *lower, const sinter_node_info *info,
                           const sinter_infer_trust *trust) {
    static const char *const messages[] = {
        [SINTER_INFER_EQUAL] = "%s: sizes %%0 and %%1 should agree",
        [SINTER_INFER_BROADCASTS] = "%s: sizes %%0 and %%1 do not broadcast",
        [SINTER_INFER_BROADCASTS_TO] = "%s: size %%0 does not broadcast to %%1",
        [SINTER_INFER_AT_MOST] = "%s: size %%0 reaches beyond %%1",
        [SINTER_INFER_WINDOW] =
            "%s: a window of %%0 does not fit a spatial dim of %%1, pads counted"};
    bool is_window = trust->relation == SINTER_INFER_WINDOW;
    const char *name = sinter_op_get_info(info->op)->name;
    sinter_expr pair[2] = {sinter_lower_host_dim(lower, trust->a),
                           sinter_lower_host_dim(lower, trust->b)};
    sinter_expr one = sinter_loop_int(&lower->host, 1);
    sinter_expr fits = trust->relation == SINTER_INFER_AT_MOST || is_window
                           ? sinter_loop_compare(&lower->host, SINTER_SCALAR_le, pair[0], pair[1])
                           : equal(lower, pair[0], pair[1]);
    if (trust->relation == SINTER_INFER_BROADCASTS || trust->relation == SINTER_INFER_BROADCASTS_TO)
        fits = sinter_loop_or(&lower->host, fits, equal(lower, pair[0], one));
    if (trust->relation == SINTER_INFER_BROADCASTS)
        fits = sinter_loop_or(&lower->host, fits, equal(lower, pair[1], one));
    sinter_lower_host_check(
        lower, fits, SINTER_ABI_BAD_INPUT,
        sinter_arena_format(&lower->program->arena, messages[trust->relation], name), pair, 2);
}

bool sinter_lower_check_trusted(sinter_lower *lower, sinter_node node) {
    sinter_infer_trusts trusted = {0};
    const sinter_node_info *info = sinter_node_get(lower->module, node);
    if (info->region_count) return true;
    if (!sinter_infer_list_trusted(lower->module, node, &lower->scratch, &trusted, lower->diag))
        return false;
    for (size_t i = 0; i < trusted.count; i++)
        if (sinter_lower_is_bound(lower, trusted.items[i].a) &&
            sinter_lower_is_bound(lower, trusted.items[i].b))
            check_relation(lower, info, &trusted.items[i]);
    return true;
}

static void check_dims(sinter_lower *lower, sinter_node node, sinter_value result) {
    sinter_type type = *type_of(lower, result);
    for (uint32_t d = 0; type.kind == SINTER_TYPE_TENSOR && d < type.rank; ++d) {
        int64_t low, high;
        sinter_dim_range(lower->dims, type.dims[d], &low, &high);
        if (low >= 0) continue;
        sinter_expr dim = sinter_lower_host_dim(lower, type.dims[d]);
        const char *message = sinter_arena_format(
            &lower->program->arena, "%s: dim %u of the result is %%0",
            sinter_op_get_info(sinter_node_get(lower->module, node)->op)->name, d);
        sinter_lower_host_check(lower, at_least(lower, dim, 0), SINTER_ABI_BAD_INPUT, message, &dim,
                                1);
    }
}

bool sinter_lower_check_node(sinter_lower *lower, sinter_node node) {
    sinter_node_info info = *sinter_node_get(lower->module, node);
    sinter_lower_host_rule rule = sinter_lower_find_check_rule(info.op);
    if ((rule && !rule(lower, node)) || !sinter_lower_check_trusted(lower, node)) return false;
    for (uint32_t i = 0; i < info.result_count; ++i)
        if (info.results[i]) check_dims(lower, node, info.results[i]);
    /* What a group does not store it still computes; a failure names the node in it. */
    const sinter_node around = lower->node;
    bool good = true;
    for (uint32_t r = 0; r < info.region_count; ++r)
        SINTER_FOR_NODES (lower->module, info.regions[r], inner) {
            lower->node = inner;
            good = good && sinter_lower_check_node(lower, inner);
        }
    lower->node = around;
    return good;
}

/* ---- sizes that no machine has ---- */

/* Where dims are numbers already there is no run to say so. */
bool sinter_lower_check_sizes(sinter_lower *lower) {
    const uint64_t most = (uint64_t)1 << 47; /* bytes that a process can address */
    const sinter_loop_function *host = lower->program->host;
    for (sinter_loop_buffer i = 1; i < host->buffers.count; ++i) {
        const sinter_loop_buffer_info *info = &host->buffers.items[i];
        uint64_t count = 1, bytes;
        int64_t dim;
        bool known = true, empty = false, huge = false;
        for (uint32_t d = 0; d < info->rank && known; ++d) {
            known = sinter_loop_is_const_int(info->dims[d], &dim);
            if (!known) break;
            empty |= dim == 0;
            huge |= __builtin_mul_overflow(count, (uint64_t)dim, &count);
        }
        huge |= !sinter_dtype_bytes(info->dtype, count, &bytes) || bytes > most;
        if (known && huge && !empty)
            return sinter_error(lower->diag, sinter_module_name(lower->module),
                                "'%s' has more elements than a machine has memory for: smaller "
                                "dims, or symbolic ones, can be compiled [lower_s1]",
                                info->name);
    }
    return true;
}
