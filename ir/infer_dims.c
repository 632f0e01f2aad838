/* Arithmetic and agreement of dims for inference rules. A number is checked against a number exactly; a symbol is
 * taken at its word where its range allows: the word is kept for lowering, which has the host check it.
 * Test: tests/ir/infer_*.sir */
#include "ir/infer_rules.h"

#include <inttypes.h>

sinter_dim sinter_infer_number(sinter_infer *infer, int64_t value) {
    return sinter_dim_const(infer->dims, value);
}

sinter_dim sinter_infer_plus(sinter_infer *infer, sinter_dim dim, int64_t value) {
    return sinter_dim_add(infer->dims, dim, sinter_dim_const(infer->dims, value));
}

sinter_dim sinter_infer_times(sinter_infer *infer, sinter_dim dim, int64_t value) {
    return sinter_dim_mul(infer->dims, dim, sinter_dim_const(infer->dims, value));
}

sinter_dim sinter_infer_not_negative(sinter_infer *infer, sinter_dim dim) {
    return sinter_dim_max(infer->dims, dim, sinter_dim_const(infer->dims, 0));
}

static bool range_holds(const sinter_dim_table *table, sinter_dim dim, int64_t value) {
    int64_t min, max;
    sinter_dim_range(table, dim, &min, &max);
    return value >= min && value <= max;
}

static bool trust(sinter_infer *infer, sinter_infer_relation relation, sinter_dim a, sinter_dim b) {
    sinter_infer_trust one = {relation, a, b};
    if (infer->trusted) sinter_vector_push(infer->arena, infer->trusted, one);
    return true;
}

/* Both may be one number. */
static bool may_be_equal(const sinter_dim_table *table, sinter_dim a, sinter_dim b) {
    int64_t x, y;
    bool a_known = sinter_dim_is_const(table, a, &x), b_known = sinter_dim_is_const(table, b, &y);
    if (a_known && b_known) return x == y;
    return a_known ? range_holds(table, b, x) : !b_known || range_holds(table, a, y);
}

bool sinter_infer_unify_dim(sinter_infer *infer, sinter_dim a, sinter_dim b, sinter_dim *out_dim) {
    int64_t number;
    bool a_known = sinter_dim_is_const(infer->dims, a, &number),
         b_known = sinter_dim_is_const(infer->dims, b, &number);
    *out_dim = b_known && !a_known ? b : a;
    if (a == b) return true;
    return may_be_equal(infer->dims, a, b) && trust(infer, SINTER_INFER_EQUAL, a, b);
}

/* A dim that can only be above one is the result of broadcasting it with anything. */
static bool surely_above_one(const sinter_dim_table *table, sinter_dim dim) {
    int64_t min, max;
    sinter_dim_range(table, dim, &min, &max);
    return min > 1;
}

bool sinter_infer_broadcast_dim(sinter_infer *infer, sinter_dim a, sinter_dim b,
                                sinter_dim *out_dim) {
    sinter_dim_table *table = infer->dims;
    int64_t x, y;
    *out_dim = a;
    if (a == b || sinter_dim_is(table, b, 1)) return true;
    *out_dim = b;
    if (sinter_dim_is(table, a, 1)) return true;
    bool a_known = sinter_dim_is_const(table, a, &x), b_known = sinter_dim_is_const(table, b, &y);
    if (a_known && b_known) return false;
    if (a_known || b_known) {
        sinter_dim symbol = a_known ? b : a;
        *out_dim = a_known ? a : b;
        return (range_holds(table, symbol, 1) || range_holds(table, symbol, a_known ? x : y)) &&
               trust(infer, SINTER_INFER_BROADCASTS_TO, symbol, *out_dim);
    }
    if (surely_above_one(table, a))
        *out_dim = a;
    else if (!surely_above_one(table, b))
        *out_dim = sinter_dim_max(table, a, b);
    return trust(infer, SINTER_INFER_BROADCASTS, a, b);
}

bool sinter_infer_broadcast_dim_to(sinter_infer *infer, sinter_dim from, sinter_dim to) {
    if (from == to || sinter_dim_is(infer->dims, from, 1)) return true;
    return (may_be_equal(infer->dims, from, to) || range_holds(infer->dims, from, 1)) &&
           trust(infer, SINTER_INFER_BROADCASTS_TO, from, to);
}

static bool at_most(sinter_infer *infer, sinter_infer_relation relation, sinter_dim a,
                    sinter_dim b) {
    int64_t least, most, low, high;
    sinter_dim_range(infer->dims, a, &least, &most);
    sinter_dim_range(infer->dims, b, &low, &high);
    if (a == b || most <= low) return true;
    return least <= high && trust(infer, relation, a, b);
}

bool sinter_infer_dim_at_most(sinter_infer *infer, sinter_dim a, sinter_dim b) {
    return at_most(infer, SINTER_INFER_AT_MOST, a, b);
}

bool sinter_infer_window_fits(sinter_infer *infer, sinter_dim extent, sinter_dim room) {
    return at_most(infer, SINTER_INFER_WINDOW, extent, room);
}

bool sinter_infer_broadcast_into(sinter_infer *infer, sinter_dim *dims, uint32_t *rank,
                                 const sinter_dim *other, uint32_t other_rank) {
    uint32_t joined = *rank > other_rank ? *rank : other_rank;
    sinter_dim result[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < joined; i++) { /* i counts from the right */
        sinter_dim a = i < *rank ? dims[*rank - 1 - i] : 0,
                   b = i < other_rank ? other[other_rank - 1 - i] : 0;
        sinter_dim *place = &result[joined - 1 - i];
        if (!a || !b)
            *place = a ? a : b;
        else if (!sinter_infer_broadcast_dim(infer, a, b, place))
            return false;
    }
    for (uint32_t i = 0; i < joined; i++) dims[i] = result[i];
    *rank = joined;
    return true;
}

/* "f32[2,3], f32[4] and f32[1]" */
static const char *list_types(sinter_infer *infer, uint32_t first, uint32_t last) {
    const char *list = "";
    for (uint32_t i = first; i <= last; i++) {
        if (!sinter_infer_has(infer, i)) continue;
        const char *separator = !*list ? "" : i == last ? " and " : ", ";
        list = sinter_arena_format(infer->arena, "%s%s%s", list, separator,
                                   sinter_infer_text(infer, i));
    }
    return list;
}

bool sinter_infer_broadcast(sinter_infer *infer, uint32_t first, uint32_t last,
                            sinter_dim *out_dims, uint32_t *out_rank) {
    *out_rank = 0;
    for (uint32_t i = first; i <= last; i++) {
        const sinter_type *type = sinter_infer_operand(infer, i);
        if (!sinter_infer_check_tensor(infer, i)) return false;
        if (!sinter_infer_broadcast_into(infer, out_dims, out_rank, type->dims, type->rank))
            return sinter_infer_error(infer, "shapes do not broadcast: %s [broadcast_c1]",
                                      list_types(infer, first, last));
    }
    return true;
}

bool sinter_infer_check_broadcast_to(sinter_infer *infer, uint32_t a, uint32_t b) {
    const sinter_type *from = sinter_infer_operand(infer, a), *to = sinter_infer_operand(infer, b);
    if (!from->kind) return true;
    bool ok = sinter_infer_check_tensor(infer, a) && from->rank <= to->rank;
    for (uint32_t i = 0; ok && i < from->rank; i++)
        ok = sinter_infer_broadcast_dim_to(infer, from->dims[from->rank - 1 - i],
                                           to->dims[to->rank - 1 - i]);
    return ok || sinter_infer_error(infer, "%s does not broadcast to %s [broadcast_c2]",
                                    sinter_infer_text(infer, a), sinter_infer_text(infer, b));
}

bool sinter_infer_check_dims_equal(sinter_infer *infer, uint32_t a, uint32_t a_axis, uint32_t b,
                                   uint32_t b_axis) {
    const sinter_type *left = sinter_infer_operand(infer, a),
                      *right = sinter_infer_operand(infer, b);
    sinter_dim unified;
    if (!left->kind || !right->kind) return true;
    bool both = a_axis < left->rank && b_axis < right->rank;
    if (both && sinter_infer_unify_dim(infer, left->dims[a_axis], right->dims[b_axis], &unified))
        return true;
    return sinter_infer_error(
        infer, "dim %" PRIu32 " of %s and dim %" PRIu32 " of %s differ [dims_c1]", a_axis,
        sinter_infer_text(infer, a), b_axis, sinter_infer_text(infer, b));
}

bool sinter_infer_check_dim(sinter_infer *infer, uint32_t operand, uint32_t axis, sinter_dim dim,
                            const char *what) {
    const sinter_type *type = sinter_infer_operand(infer, operand);
    sinter_dim unified;
    if (!type->kind) return true;
    if (axis < type->rank && sinter_infer_unify_dim(infer, type->dims[axis], dim, &unified))
        return true;
    return sinter_infer_error(infer, "%s: dim %" PRIu32 " of %s must be %s [dims_c2]", what, axis,
                              sinter_infer_text(infer, operand), sinter_infer_dim_text(infer, dim));
}

bool sinter_infer_axis(sinter_infer *infer, int64_t axis, uint32_t rank, uint32_t *out_axis) {
    if (axis < -(int64_t)rank || axis >= (int64_t)rank)
        return sinter_infer_error(infer, "axis %" PRId64 " is outside rank %" PRIu32 " [axis_c1]",
                                  axis, rank);
    *out_axis = (uint32_t)(axis < 0 ? axis + rank : axis);
    return true;
}

bool sinter_infer_axis_attr(sinter_infer *infer, const char *name, int64_t otherwise, uint32_t rank,
                            uint32_t *out_axis) {
    return sinter_infer_axis(
        infer, sinter_node_get_int(infer->module, infer->node, name, otherwise), rank, out_axis);
}

bool sinter_infer_axes(sinter_infer *infer, const int64_t *axes, size_t count, uint32_t rank,
                       uint32_t *out_axes) {
    uint32_t seen = 0;
    if (count > rank)
        return sinter_infer_error(infer, "%zu axes for rank %" PRIu32 " [axis_c2]", count, rank);
    for (size_t i = 0; i < count; i++) {
        if (!sinter_infer_axis(infer, axes[i], rank, &out_axes[i])) return false;
        if (seen >> out_axes[i] & 1)
            return sinter_infer_error(infer, "axis %" PRIu32 " is named twice [axis_c2]",
                                      out_axes[i]);
        seen |= 1u << out_axes[i];
    }
    return true;
}

bool sinter_infer_divide(sinter_infer *infer, sinter_dim a, int64_t b, const char *what,
                         sinter_dim *out_dim) {
    int64_t value;
    if (b <= 0)
        return sinter_infer_error(infer, "%s is %" PRId64 ": must be positive [divide_c1]", what,
                                  b);
    if (sinter_dim_is_const(infer->dims, a, &value) && value % b != 0)
        return sinter_infer_error(
            infer, "%" PRId64 " is not a multiple of %s = %" PRId64 " [divide_c2]", value, what, b);
    sinter_dim divisor = sinter_dim_const(infer->dims, b);
    *out_dim = sinter_dim_divide_exact(infer->dims, a, divisor);
    if (*out_dim) return true;
    *out_dim = sinter_dim_floordiv(infer->dims, a, divisor);
    return trust(infer, SINTER_INFER_EQUAL, sinter_dim_mod(infer->dims, a, divisor),
                 sinter_infer_number(infer, 0));
}

static bool region_inside(const sinter_module *module, sinter_region inner, sinter_region outer) {
    while (inner && inner != outer) {
        sinter_node owner = sinter_region_get(module, inner)->owner;
        inner = owner ? sinter_node_get(module, owner)->parent : 0;
    }
    return inner == outer;
}

bool sinter_infer_dim_mentions_region(sinter_module *module, sinter_dim dim, sinter_region region) {
    sinter_dim_table *table = sinter_module_dims(module);
    if (!dim) return false;
    if (sinter_dim_get_kind(table, dim) == SINTER_DIM_SYMBOL) {
        const sinter_dim_symbol *symbol = sinter_dim_get_symbol(table, dim);
        if (symbol->origin == SINTER_DIM_ORIGIN_INPUT || !symbol->value) return false;
        const sinter_value_info *info = sinter_value_get(module, symbol->value);
        sinter_region home =
            info->definition ? sinter_node_get(module, info->definition)->parent : info->region;
        return region_inside(module, home, region);
    }
    const sinter_dim *operands;
    size_t count = sinter_dim_operands(table, dim, &operands);
    for (size_t i = 0; i < count; i++)
        if (sinter_infer_dim_mentions_region(module, operands[i], region)) return true;
    return false;
}
