/* Symbolic contents of small integer tensors: what shape, gather, concat, arithmetic and reshaping of shapes hold, as
 * dims, so that a reshape to them keeps its dims. Contents are exact where given and absent where not expressible;
 * integers are taken not to overflow. Test: tests/ir/infer_content.sir */
#include "ir/infer_rules.h"

#include <string.h>

typedef struct content_rule {
    void (*compute)(sinter_infer *infer); /* may set contents[r] of each result */
    uint32_t operands;                    /* bits: whose contents it reads */
} content_rule;

/* ---- helpers ---- */

static bool result_count(const sinter_infer *infer, uint32_t result, size_t *out_count) {
    const sinter_type *type = &infer->results[result];
    uint64_t count;
    if (type->kind != SINTER_TYPE_TENSOR || !sinter_type_static_count(infer->dims, type, &count) ||
        count > SINTER_INFER_CONTENT_LIMIT)
        return false;
    *out_count = (size_t)count;
    return true;
}

/* An array for the contents of a result, NULL where it is too large. */
static sinter_dim *new_content(sinter_infer *infer, uint32_t result) {
    size_t count;
    if (!result_count(infer, result, &count)) return NULL;
    sinter_dim *items = SINTER_NEW_ARRAY(infer->arena, sinter_dim, count);
    infer->contents[result] = items;
    infer->content_counts[result] = (uint32_t)count;
    return items;
}

static size_t static_dim(const sinter_infer *infer, const sinter_type *type, uint32_t axis) {
    int64_t value = 0;
    sinter_dim_is_const(infer->dims, type->dims[axis], &value);
    return (size_t)value;
}

/* Row-major strides in elements of a type of static dims. */
static void strides_of(const sinter_infer *infer, const sinter_type *type, size_t *out) {
    size_t stride = 1;
    for (uint32_t i = type->rank; i-- > 0;) {
        out[i] = stride;
        stride *= static_dim(infer, type, i);
    }
}

/* Index along each axis of linear element `index`. */
static void unravel(const sinter_infer *infer, const sinter_type *type, size_t index, size_t *out) {
    for (uint32_t i = type->rank; i-- > 0;) {
        size_t size = static_dim(infer, type, i);
        out[i] = index % size;
        index /= size;
    }
}

static bool same_count(sinter_infer *infer, uint32_t operand, uint32_t result,
                       const sinter_dim **out_items, size_t *out_count) {
    size_t count;
    return sinter_infer_find_content(infer, operand, out_items, out_count) &&
           result_count(infer, result, &count) && count == *out_count;
}

/* ---- moving elements ---- */

static void content_copy(sinter_infer *infer) {
    const sinter_dim *items;
    size_t count;
    if (!same_count(infer, 0, 0, &items, &count)) return;
    infer->contents[0] = items;
    infer->content_counts[0] = (uint32_t)count;
}

static void content_transpose(sinter_infer *infer) {
    const sinter_type *from = sinter_infer_operand(infer, 0), *to = &infer->results[0];
    const sinter_dim *items;
    const int64_t *perm;
    size_t count, strides[SINTER_MAX_RANK], place[SINTER_MAX_RANK];
    if (!same_count(infer, 0, 0, &items, &count)) return;
    sinter_dim *out = new_content(infer, 0);
    bool stated =
        sinter_node_get_ints(infer->module, infer->node, "perm", &perm) == from->rank && from->rank;
    strides_of(infer, from, strides);
    for (size_t i = 0; i < count; i++) {
        size_t source = 0;
        unravel(infer, to, i, place);
        for (uint32_t d = 0; d < to->rank; d++) {
            int64_t axis = stated ? perm[d] + (perm[d] < 0 ? from->rank : 0) : from->rank - 1 - d;
            source += place[d] * strides[axis];
        }
        out[i] = items[source];
    }
}

/* Element of the broadcast operand that meets the result's element at `place`. */
static size_t broadcast_index(const sinter_infer *infer, const sinter_type *from,
                              const sinter_type *to, const size_t *place) {
    size_t index = 0;
    for (uint32_t i = 0; i < from->rank; i++) {
        size_t size = static_dim(infer, from, i);
        index = index * size + (size == 1 ? 0 : place[to->rank - from->rank + i]);
    }
    return index;
}

static void content_expand(sinter_infer *infer) {
    const sinter_type *from = sinter_infer_operand(infer, 0), *to = &infer->results[0];
    const sinter_dim *items;
    size_t count, size, place[SINTER_MAX_RANK];
    if (!sinter_infer_find_content(infer, 0, &items, &count) || !result_count(infer, 0, &size))
        return;
    sinter_dim *out = new_content(infer, 0);
    for (size_t i = 0; i < size; i++) {
        unravel(infer, to, i, place);
        out[i] = items[broadcast_index(infer, from, to, place)];
    }
}

static void content_tile(sinter_infer *infer) {
    const sinter_type *from = sinter_infer_operand(infer, 0), *to = &infer->results[0];
    const sinter_dim *items;
    size_t count, size, place[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    if (!sinter_infer_find_content(infer, 0, &items, &count) || !result_count(infer, 0, &size))
        return;
    sinter_dim *out = new_content(infer, 0);
    strides_of(infer, from, strides);
    for (size_t i = 0; i < size; i++) {
        size_t source = 0;
        unravel(infer, to, i, place);
        for (uint32_t d = 0; d < from->rank; d++)
            source += place[d] % static_dim(infer, from, d) * strides[d];
        out[i] = items[source];
    }
}

static void content_concat(sinter_infer *infer) {
    const sinter_type *to = &infer->results[0];
    size_t place[SINTER_MAX_RANK], strides[SINTER_MAX_RANK], size, start = 0;
    uint32_t axis;
    if (!result_count(infer, 0, &size)) return;
    int64_t stated = sinter_node_get_int(infer->module, infer->node, "axis", 0);
    axis = (uint32_t)(stated < 0 ? stated + to->rank : stated);
    sinter_dim *out = new_content(infer, 0);
    strides_of(infer, to, strides);
    for (uint32_t k = 0; k < infer->info->operand_count; k++) {
        const sinter_type *from = sinter_infer_operand(infer, k);
        const sinter_dim *items;
        size_t count;
        bool known = sinter_infer_find_content(infer, k, &items, &count);
        for (size_t i = 0; known && i < count; i++) {
            size_t target = 0;
            unravel(infer, from, i, place);
            place[axis] += start;
            for (uint32_t d = 0; d < to->rank; d++) target += place[d] * strides[d];
            if (target < size) out[target] = items[i];
        }
        start += static_dim(infer, from, axis);
    }
}

static void content_gather(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0),
                      *indices = sinter_infer_operand(infer, 1), *to = &infer->results[0];
    const sinter_dim *items;
    const int64_t *picks;
    size_t count, pick_count, size, place[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    if (!sinter_infer_find_content(infer, 0, &items, &count) ||
        !sinter_infer_find_ints(infer, 1, &picks, &pick_count) || !result_count(infer, 0, &size))
        return;
    int64_t stated = sinter_node_get_int(infer->module, infer->node, "axis", 0);
    uint32_t axis = (uint32_t)(stated < 0 ? stated + data->rank : stated);
    sinter_dim *out = new_content(infer, 0);
    strides_of(infer, data, strides);
    for (size_t i = 0; i < size; i++) {
        size_t pick = 0, source = 0;
        unravel(infer, to, i, place);
        for (uint32_t d = 0; d < indices->rank; d++)
            pick = pick * static_dim(infer, indices, d) + place[axis + d];
        int64_t index = picks[pick], limit = (int64_t)static_dim(infer, data, axis);
        index += index < 0 ? limit : 0;
        if (index < 0 || index >= limit) continue; /* an error at run time, not ours to report */
        for (uint32_t d = 0; d < data->rank; d++)
            source += (d < axis    ? place[d]
                       : d == axis ? (size_t)index
                                   : place[d + indices->rank - 1]) *
                      strides[d];
        out[i] = items[source];
    }
}

/* Start and step along each axis of a slice by constants; false where one is not known. */
static bool slice_steps(sinter_infer *infer, int64_t *out_starts, int64_t *out_steps) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const int64_t *starts, *axes = NULL, *steps = NULL;
    size_t count, found;
    for (uint32_t i = 0; i < data->rank; i++) out_starts[i] = 0, out_steps[i] = 1;
    if (!sinter_infer_find_ints(infer, 1, &starts, &count)) return false;
    if (sinter_infer_has(infer, 3) &&
        (!sinter_infer_find_ints(infer, 3, &axes, &found) || found != count))
        return false;
    if (sinter_infer_has(infer, 4) &&
        (!sinter_infer_find_ints(infer, 4, &steps, &found) || found != count))
        return false;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = axes ? axes[i] + (axes[i] < 0 ? data->rank : 0) : (int64_t)i;
        if (axis < 0 || axis >= data->rank) return false;
        int64_t size = (int64_t)static_dim(infer, data, (uint32_t)axis),
                step = steps ? steps[i] : 1;
        int64_t start = starts[i] < 0 ? starts[i] + size : starts[i],
                last = step < 0 ? size - 1 : size;
        out_starts[axis] = start < 0 ? 0 : start > last ? last : start;
        out_steps[axis] = step;
    }
    return true;
}

static void content_slice(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0), *to = &infer->results[0];
    const sinter_dim *items;
    int64_t starts[SINTER_MAX_RANK], steps[SINTER_MAX_RANK];
    size_t count, size, place[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    if (!sinter_infer_find_content(infer, 0, &items, &count) || !result_count(infer, 0, &size) ||
        !slice_steps(infer, starts, steps))
        return;
    sinter_dim *out = new_content(infer, 0);
    strides_of(infer, data, strides);
    for (size_t i = 0; i < size; i++) {
        size_t source = 0;
        unravel(infer, to, i, place);
        for (uint32_t d = 0; d < data->rank; d++)
            source += (size_t)(starts[d] + (int64_t)place[d] * steps[d]) * strides[d];
        if (source < count) out[i] = items[source];
    }
}

static void content_split(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    const sinter_dim *items;
    size_t count, size, start = 0, place[SINTER_MAX_RANK], strides[SINTER_MAX_RANK];
    if (!sinter_infer_find_content(infer, 0, &items, &count)) return;
    int64_t stated = sinter_node_get_int(infer->module, infer->node, "axis", 0);
    uint32_t axis = (uint32_t)(stated < 0 ? stated + data->rank : stated);
    strides_of(infer, data, strides);
    for (uint32_t r = 0; r < infer->info->result_count; r++) {
        const sinter_type *to = &infer->results[r];
        if (!result_count(infer, r, &size)) return;
        sinter_dim *out = new_content(infer, r);
        for (size_t i = 0; i < size; i++) {
            size_t source = 0;
            unravel(infer, to, i, place);
            place[axis] += start;
            for (uint32_t d = 0; d < data->rank; d++) source += place[d] * strides[d];
            if (source < count) out[i] = items[source];
        }
        start += static_dim(infer, to, axis);
    }
}

/* ---- sources ---- */

static void content_shape(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    sinter_dim *out = new_content(infer, 0);
    int64_t start = sinter_node_get_int(infer->module, infer->node, "start", 0);
    start = start < 0 ? start + data->rank : start;
    start = start < 0 ? 0 : start;
    for (uint32_t i = 0; out && i < infer->content_counts[0]; i++) out[i] = data->dims[start + i];
}

static void content_size(sinter_infer *infer) {
    const sinter_type *data = sinter_infer_operand(infer, 0);
    sinter_dim *out = new_content(infer, 0);
    *out = sinter_type_product(infer->dims, data, 0, data->rank);
}

static void content_dim_vector(sinter_infer *infer) {
    const int64_t *ids;
    size_t count = sinter_node_get_ints(infer->module, infer->node, "dims", &ids);
    sinter_dim *out = new_content(infer, 0);
    for (size_t i = 0; out && i < count; i++) out[i] = (sinter_dim)ids[i];
}

static void content_constant_of_shape(sinter_infer *infer) {
    const sinter_attr *value = sinter_node_find_attr(infer->module, infer->node, "value");
    if (!value || sinter_tensor_count(value->tensor) != 1) return;
    sinter_dim *out = new_content(infer, 0),
               item = sinter_infer_number(infer, sinter_tensor_get_int(value->tensor, 0));
    for (uint32_t i = 0; out && i < infer->content_counts[0]; i++) out[i] = item;
}

static void content_range(sinter_infer *infer) {
    const sinter_dim *start, *delta;
    size_t count;
    if (!sinter_infer_find_content(infer, 0, &start, &count) || count != 1 ||
        !sinter_infer_find_content(infer, 2, &delta, &count) || count != 1 || !start[0] ||
        !delta[0])
        return;
    sinter_dim *out = new_content(infer, 0);
    for (uint32_t i = 0; out && i < infer->content_counts[0]; i++)
        out[i] = sinter_dim_add(infer->dims, start[0], sinter_infer_times(infer, delta[0], i));
}

/* ---- arithmetic ---- */

/* c > 0 ? a : b, and the like, over integers; select asks for c >= 0. */
static sinter_dim if_positive(sinter_infer *infer, sinter_dim c, sinter_dim a, sinter_dim b) {
    return sinter_dim_select(infer->dims, sinter_infer_plus(infer, c, -1), a, b);
}

static sinter_dim negated(sinter_infer *infer, sinter_dim a) {
    return sinter_infer_times(infer, a, -1);
}

/* Toward zero; division by what may be zero is left alone. */
static sinter_dim divide(sinter_infer *infer, sinter_dim a, sinter_dim b) {
    int64_t divisor, min, max;
    if (!sinter_dim_is_const(infer->dims, b, &divisor)) {
        int64_t low, high;
        sinter_dim_range(infer->dims, a, &min, &max);
        sinter_dim_range(infer->dims, b, &low, &high);
        sinter_dim exact = sinter_dim_divide_exact(infer->dims, a, b);
        return exact ? exact : min >= 0 && low > 0 ? sinter_dim_floordiv(infer->dims, a, b) : 0;
    }
    if (divisor == 0 || divisor == INT64_MIN) return 0;
    if (divisor < 0) return negated(infer, divide(infer, a, sinter_infer_number(infer, -divisor)));
    return sinter_dim_select(
        infer->dims, a, sinter_dim_floordiv(infer->dims, a, b),
        negated(infer, sinter_dim_floordiv(infer->dims, negated(infer, a), b)));
}

static sinter_dim modulo(sinter_infer *infer, sinter_dim a, sinter_dim b) {
    int64_t min, max;
    sinter_dim_range(infer->dims, b, &min, &max);
    return min > 0 || max < 0 ? sinter_dim_mod(infer->dims, a, b) : 0;
}

static sinter_dim is_equal(sinter_infer *infer, sinter_dim a, sinter_dim b) {
    sinter_dim zero = sinter_infer_number(infer, 0), one = sinter_infer_number(infer, 1);
    sinter_dim off = sinter_dim_sub(infer->dims, a, b);
    return sinter_dim_select(infer->dims, sinter_dim_min(infer->dims, off, negated(infer, off)),
                             one, zero);
}

static sinter_dim at_least(sinter_infer *infer, sinter_dim a, sinter_dim b) {
    return sinter_dim_select(infer->dims, sinter_dim_sub(infer->dims, a, b),
                             sinter_infer_number(infer, 1), sinter_infer_number(infer, 0));
}

static sinter_dim inverted(sinter_infer *infer, sinter_dim truth) {
    return sinter_dim_sub(infer->dims, sinter_infer_number(infer, 1), truth);
}

/* The scalar meaning of an elementwise op on known operands; 0 where it has none here. */
static sinter_dim apply(sinter_infer *infer, const sinter_dim *x) {
    sinter_dim_table *table = infer->dims;
    sinter_dim zero = sinter_infer_number(infer, 0);
    switch (infer->info->op) {
    case SINTER_OP_add:
        return sinter_dim_add(table, x[0], x[1]);
    case SINTER_OP_sub:
        return sinter_dim_sub(table, x[0], x[1]);
    case SINTER_OP_mul:
        return sinter_dim_mul(table, x[0], x[1]);
    case SINTER_OP_div:
        return divide(infer, x[0], x[1]);
    case SINTER_OP_mod:
        return modulo(infer, x[0], x[1]);
    case SINTER_OP_min:
        return sinter_dim_min(table, x[0], x[1]);
    case SINTER_OP_max:
        return sinter_dim_max(table, x[0], x[1]);
    case SINTER_OP_neg:
        return negated(infer, x[0]);
    case SINTER_OP_abs:
        return sinter_dim_max(table, x[0], negated(infer, x[0]));
    case SINTER_OP_relu:
        return sinter_dim_max(table, x[0], zero);
    case SINTER_OP_sign:
        return if_positive(infer, x[0], sinter_infer_number(infer, 1),
                           sinter_dim_select(table, x[0], zero, sinter_infer_number(infer, -1)));
    case SINTER_OP_clip:
        return sinter_dim_min(table, sinter_dim_max(table, x[0], x[1]), x[2]);
    case SINTER_OP_where:
        return if_positive(infer, x[0], x[1], x[2]);
    case SINTER_OP_equal:
        return is_equal(infer, x[0], x[1]);
    case SINTER_OP_greater_or_equal:
        return at_least(infer, x[0], x[1]);
    case SINTER_OP_less_or_equal:
        return at_least(infer, x[1], x[0]);
    case SINTER_OP_less:
        return inverted(infer, at_least(infer, x[0], x[1]));
    case SINTER_OP_greater:
        return inverted(infer, at_least(infer, x[1], x[0]));
    case SINTER_OP_not:
        return inverted(infer, x[0]);
    case SINTER_OP_and:
        return sinter_dim_min(table, x[0], x[1]);
    case SINTER_OP_or:
        return sinter_dim_max(table, x[0], x[1]);
    case SINTER_OP_xor:
        return inverted(infer, is_equal(infer, x[0], x[1]));
    default:
        return 0;
    }
}

/* A choice between branches needs only the one taken. */
static sinter_dim apply_where_known(sinter_infer *infer, const sinter_dim *x, uint32_t count) {
    int64_t condition;
    if (infer->info->op == SINTER_OP_where && x[0] &&
        sinter_dim_is_const(infer->dims, x[0], &condition))
        return x[condition ? 1 : 2];
    for (uint32_t k = 0; k < count; k++)
        if (!x[k]) return 0;
    return apply(infer, x);
}

static void content_elementwise(sinter_infer *infer) {
    enum { MOST = 3 };
    const sinter_type *to = &infer->results[0];
    const sinter_dim *items[MOST];
    size_t counts[MOST], size, place[SINTER_MAX_RANK];
    uint32_t operands = infer->info->operand_count;
    if (operands > MOST || !result_count(infer, 0, &size)) return;
    for (uint32_t k = 0; k < operands; k++)
        if (!sinter_infer_find_content(infer, k, &items[k], &counts[k])) return;
    sinter_dim *out = new_content(infer, 0);
    for (size_t i = 0; i < size; i++) {
        sinter_dim x[MOST] = {0};
        unravel(infer, to, i, place);
        for (uint32_t k = 0; k < operands; k++)
            x[k] = items[k][broadcast_index(infer, sinter_infer_operand(infer, k), to, place)];
        out[i] = apply_where_known(infer, x, operands);
    }
}

static void content_cast(sinter_infer *infer) {
    const sinter_dim *items;
    size_t count;
    sinter_dtype from = sinter_infer_operand(infer, 0)->dtype, to = infer->results[0].dtype;
    if (!same_count(infer, 0, 0, &items, &count)) return;
    bool narrows =
        to != SINTER_DTYPE_bool && from != SINTER_DTYPE_bool && sinter_dtype_infos[to].bits < 32;
    sinter_dim *out = new_content(infer, 0);
    for (size_t i = 0; i < count; i++) {
        bool truth = to == SINTER_DTYPE_bool && items[i];
        int64_t value;
        if (truth)
            out[i] = inverted(infer, is_equal(infer, items[i], sinter_infer_number(infer, 0)));
        else if (!narrows || (items[i] && sinter_dim_is_const(infer->dims, items[i], &value) &&
                              value >= 0 && value <= 1))
            out[i] = items[i];
    }
}

/* ---- reductions ---- */

static sinter_dim reduce_two(sinter_infer *infer, sinter_dim a, sinter_dim b) {
    switch (infer->info->op) {
    case SINTER_OP_reduce_sum:
        return sinter_dim_add(infer->dims, a, b);
    case SINTER_OP_reduce_prod:
        return sinter_dim_mul(infer->dims, a, b);
    case SINTER_OP_reduce_max:
        return sinter_dim_max(infer->dims, a, b);
    case SINTER_OP_reduce_min:
        return sinter_dim_min(infer->dims, a, b);
    default:
        return 0;
    }
}

/* Of a whole tensor to one element. */
static void content_reduce(sinter_infer *infer) {
    const sinter_dim *items;
    size_t count, size;
    if (!sinter_infer_find_content(infer, 0, &items, &count) || count == 0 ||
        !result_count(infer, 0, &size) || size != 1)
        return;
    sinter_dim *out = new_content(infer, 0);
    *out = items[0];
    for (size_t i = 1; i < count && *out; i++)
        *out = items[i] ? reduce_two(infer, *out, items[i]) : 0;
}

/* ---- the table ---- */

#define ELEMENTWISE(op, operands) [SINTER_OP_##op] = {content_elementwise, operands}
static const content_rule rules[SINTER_OP_COUNT] = {
    ELEMENTWISE(add, 3),
    ELEMENTWISE(sub, 3),
    ELEMENTWISE(mul, 3),
    ELEMENTWISE(div, 3),
    ELEMENTWISE(mod, 3),
    ELEMENTWISE(min, 3),
    ELEMENTWISE(max, 3),
    ELEMENTWISE(neg, 1),
    ELEMENTWISE(abs, 1),
    ELEMENTWISE(relu, 1),
    ELEMENTWISE(sign, 1),
    ELEMENTWISE(clip, 7),
    ELEMENTWISE(where, 7),
    ELEMENTWISE(equal, 3),
    ELEMENTWISE(greater, 3),
    ELEMENTWISE(greater_or_equal, 3),
    ELEMENTWISE(less, 3),
    ELEMENTWISE(less_or_equal, 3),
    ELEMENTWISE(not, 1),
    ELEMENTWISE(and, 3),
    ELEMENTWISE(or, 3),
    ELEMENTWISE(xor, 3),
    [SINTER_OP_cast] = {content_cast, 1},
    [SINTER_OP_identity] = {content_copy, 1},
    [SINTER_OP_reshape] = {content_copy, 1},
    [SINTER_OP_squeeze] = {content_copy, 1},
    [SINTER_OP_unsqueeze] = {content_copy, 1},
    [SINTER_OP_flatten] = {content_copy, 1},
    [SINTER_OP_transpose] = {content_transpose, 1},
    [SINTER_OP_expand] = {content_expand, 1},
    [SINTER_OP_tile] = {content_tile, 1},
    [SINTER_OP_concat] = {content_concat, UINT32_MAX},
    [SINTER_OP_gather] = {content_gather, 1},
    [SINTER_OP_slice] = {content_slice, 1},
    [SINTER_OP_split] = {content_split, 1},
    [SINTER_OP_shape] = {content_shape, 0},
    [SINTER_OP_size] = {content_size, 0},
    [SINTER_OP_dim_vector] = {content_dim_vector, 0},
    [SINTER_OP_constant_of_shape] = {content_constant_of_shape, 0},
    [SINTER_OP_range] = {content_range, 5},
    [SINTER_OP_reduce_sum] = {content_reduce, 1},
    [SINTER_OP_reduce_prod] = {content_reduce, 1},
    [SINTER_OP_reduce_max] = {content_reduce, 1},
    [SINTER_OP_reduce_min] = {content_reduce, 1},
};
#undef ELEMENTWISE

void sinter_infer_compute_content(sinter_infer *infer) {
    const content_rule *rule = &rules[infer->info->op];
    if (!rule->compute || infer->info->result_count == 0) return;
    const sinter_type *type = &infer->results[0];
    if (type->kind != SINTER_TYPE_TENSOR ||
        !(sinter_dtype_is_integer(type->dtype) || type->dtype == SINTER_DTYPE_bool))
        return;
    rule->compute(infer);
}

uint32_t sinter_infer_content_operands(const sinter_module *module, sinter_node node) {
    return rules[sinter_node_get(module, node)->op].operands;
}
