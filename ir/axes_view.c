/* Axes of views. Test: tests/unit/axes_test.c */
#include "ir/axes_internal.h"

#include <string.h>

/* ---- other dims for the same elements ---- */

static void describe_transpose(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    const int64_t *perm = NULL;
    size_t count = sinter_node_get_ints(axes->module, axes->node, "perm", &perm);
    for (uint32_t i = 0; x && i < x->rank; i++)
        sinter_axes_along(axes, count ? (uint32_t)perm[i] : x->rank - 1 - i, i);
}

/* Axes [first, end) of the operand and of the result that hold the same elements. */
typedef struct span {
    uint32_t first[2], end[2];
} span;

static const sinter_type *side_type(const sinter_axes *axes, int side) {
    return side ? sinter_axes_result(axes, 0) : sinter_axes_operand(axes, 0);
}

/* The sizes of a span's axes; false where one is no number. */
static bool read_sizes(const sinter_axes *axes, const span *s, int side, int64_t *out_sizes) {
    const sinter_type *type = side_type(axes, side);
    for (uint32_t i = s->first[side]; i < s->end[side]; i++)
        if (!sinter_axes_number(axes, type->dims[i], &out_sizes[i]) || out_sizes[i] < 1)
            return false;
    return true;
}

/* Elements after the axis within its span. */
static int64_t inner_count(const int64_t *sizes, uint32_t axis, uint32_t end) {
    int64_t count = 1;
    for (uint32_t i = axis + 1; i < end; i++) count *= sizes[i];
    return count;
}

/* The factor of `size` elements with `inner` below it, in the axis that holds it on one side. */
static void link_within(sinter_axes *axes, const span *s, int side, const int64_t *sizes,
                        uint32_t factor, int64_t size, int64_t inner) {
    for (uint32_t axis = s->first[side]; axis < s->end[side]; axis++) {
        int64_t below = inner_count(sizes, axis, s->end[side]);
        if (inner < below || inner * size > below * sizes[axis]) continue;
        int64_t run = inner / below;
        sinter_axis_link link = {.factor = factor,
                                 .is_result = side == 1,
                                 .axis = axis,
                                 .run = run,
                                 .blocks = sizes[axis] / (run * size),
                                 .period = run * size};
        sinter_axes_link_part(axes, link);
        return;
    }
}

/* Factors lie between the products, from the right, that either side has; where these do not divide one another (6 as 2*3 and
 * 3*2) the span is whole. */
static void split_span(sinter_axes *axes, const span *s) {
    int64_t sizes[2][SINTER_MAX_RANK], cuts[2 * SINTER_MAX_RANK + 1], inner = 1;
    size_t count = 0;
    if (!read_sizes(axes, s, 0, sizes[0]) || !read_sizes(axes, s, 1, sizes[1])) return;
    uint32_t at[2] = {s->end[0], s->end[1]};
    int64_t product[2] = {1, 1};
    while (at[0] > s->first[0] || at[1] > s->first[1]) {
        int side = at[0] == s->first[0] ? 1
                   : at[1] == s->first[1]
                       ? 0
                       : product[1] * sizes[1][at[1] - 1] < product[0] * sizes[0][at[0] - 1];
        product[side] *= sizes[side][--at[side]];
        if (product[side] % inner) return;
        if (product[side] != inner) cuts[count++] = inner = product[side];
    }
    inner = 1;
    for (size_t i = count; i-- > 0;) { /* outermost first */
        inner = i ? cuts[i - 1] : 1;
        int64_t size = cuts[i] / inner;
        uint32_t factor =
            sinter_axes_factor(axes, SINTER_AXIS_ALONG, sinter_dim_const(axes->dims, size));
        for (int side = 0; side < 2; side++)
            link_within(axes, s, side, sizes[side], factor, size, inner);
    }
}

static sinter_dim span_product(const sinter_axes *axes, const span *s, int side) {
    return sinter_type_product(axes->dims, side_type(axes, side), s->first[side], s->end[side]);
}

/* The shortest spans from here on whose products are equal; false where none is known to be. */
static bool find_span(const sinter_axes *axes, span *s) {
    uint32_t rank[2] = {side_type(axes, 0)->rank, side_type(axes, 1)->rank};
    uint32_t most = rank[0] - s->first[0] + rank[1] - s->first[1];
    for (uint32_t length = 2; length <= most; length++)
        for (uint32_t a = 1; a < length; a++) {
            s->end[0] = s->first[0] + a;
            s->end[1] = s->first[1] + length - a;
            if (s->end[0] > rank[0] || s->end[1] > rank[1]) continue;
            sinter_dim product = span_product(axes, s, 0);
            if (product && product == span_product(axes, s, 1)) return true;
        }
    return false;
}

static bool is_one(const sinter_axes *axes, int side, uint32_t axis) {
    const sinter_type *type = side_type(axes, side);
    return axis < type->rank && sinter_dim_is(axes->dims, type->dims[axis], 1);
}

/* Whether the shape of the result can be stated anew, without what the operand says when it runs. */
static bool target_is_known(const sinter_axes *axes) {
    const sinter_type *y = sinter_axes_result(axes, 0);
    sinter_value target = sinter_node_operand(axes->module, axes->node, 1);
    for (uint32_t i = 0; target && i < y->rank; i++)
        if (sinter_dim_reads(axes->dims, y->dims[i], target) ||
            sinter_dim_reads(axes->dims, y->dims[i], axes->info.results[0]))
            return false;
    return true;
}

/* Axes of size 1 stand for nothing. */
static void describe_reshape(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *y = sinter_axes_result(axes, 0);
    span s = {{0, 0}, {0, 0}};
    if (!x || !y || !target_is_known(axes)) return;
    for (;;) {
        for (int side = 0; side < 2; side++)
            while (is_one(axes, side, s.first[side])) s.first[side]++;
        if (s.first[0] >= x->rank || s.first[1] >= y->rank || !find_span(axes, &s)) return;
        if (s.end[0] - s.first[0] == 1 && s.end[1] - s.first[1] == 1)
            sinter_axes_along(axes, s.first[0], s.first[1]);
        else
            split_span(axes, &s);
        for (int side = 0; side < 2; side++) s.first[side] = s.end[side];
    }
}

/* ---- parts of an axis ---- */

/* Axes that two values have in common, but for one. */
static void along_but(sinter_axes *axes, uint32_t rank, uint32_t but) {
    for (uint32_t axis = 0; axis < rank; axis++) {
        if (axis == but) continue;
        uint32_t factor =
            sinter_axes_factor(axes, SINTER_AXIS_ALONG, sinter_axes_result(axes, 0)->dims[axis]);
        for (uint32_t i = 0; i < axes->info.operand_count; i++)
            if (sinter_axes_operand(axes, i) && sinter_axes_operand(axes, i)->rank == rank)
                sinter_axes_link(axes, factor, false, i, axis);
        for (uint32_t i = 0; i < axes->info.result_count; i++)
            if (sinter_axes_result(axes, i)) sinter_axes_link(axes, factor, true, i, axis);
    }
}

/* A split into so many pieces of one size: they stay of one size where the same index of each goes. */
static void describe_equal_pieces(sinter_axes *axes, uint32_t axis, uint32_t pieces) {
    sinter_dim each = sinter_axes_result(axes, 0)->dims[axis];
    int64_t size = 0;
    sinter_axes_number(axes, each, &size);
    for (uint32_t i = 1; i < pieces; i++)
        if (sinter_axes_result(axes, i)->dims[axis] != each) return;
    uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, each);
    for (uint32_t i = 0; i < pieces; i++) sinter_axes_link(axes, factor, true, i, axis);
    sinter_axis_link link = {
        .factor = factor, .axis = axis, .run = 1, .blocks = pieces, .period = size};
    sinter_axes_link_part(axes, link);
}

/* Pieces one after the other in the axis of one value: operands of a concat in its result, results of a split in its operand. */
static void describe_pieces(sinter_axes *axes, bool joins) {
    const sinter_type *first = sinter_axes_operand(axes, 0);
    if (!first || !first->rank) return;
    uint32_t axis = sinter_node_get_axis(axes->module, axes->node, 0, first->rank);
    uint32_t pieces = joins ? axes->info.operand_count : axes->info.result_count;
    along_but(axes, first->rank, axis);
    int64_t offset = 0, size = 0;
    for (uint32_t i = 0; i < pieces; i++) { /* all or none */
        const sinter_type *type =
            joins ? sinter_axes_operand(axes, i) : sinter_axes_result(axes, i);
        if (!type || !sinter_axes_number(axes, type->dims[axis], &size)) return;
    }
    if (!joins && !sinter_node_operand(axes->module, axes->node, 1)) {
        describe_equal_pieces(axes, axis, pieces);
        return;
    }
    for (uint32_t i = 0; i < pieces; i++, offset += size) {
        const sinter_type *type =
            joins ? sinter_axes_operand(axes, i) : sinter_axes_result(axes, i);
        sinter_axes_number(axes, type->dims[axis], &size);
        if (!size) continue;
        uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, type->dims[axis]);
        sinter_axes_link(axes, factor, !joins, i, axis);
        sinter_axis_link link = {.factor = factor,
                                 .is_result = joins,
                                 .axis = axis,
                                 .offset = offset,
                                 .run = 1,
                                 .blocks = 1};
        sinter_axes_link_part(axes, link);
    }
}

/* Starts and steps by axis; false where they are not known. */
static bool read_slice(const sinter_axes *axes, uint32_t rank, int64_t *starts, int64_t *steps,
                       bool *sliced) {
    int64_t first[SINTER_MAX_RANK], step[SINTER_MAX_RANK], at[SINTER_MAX_RANK];
    size_t count = 0, other = 0;
    sinter_module *module = axes->module;
    const sinter_value *operands = axes->info.operands;
    sinter_value axes_list = sinter_node_operand(module, axes->node, 3),
                 steps_list = sinter_node_operand(module, axes->node, 4);
    if (!sinter_value_known_ints(module, operands[1], first, SINTER_MAX_RANK, &count)) return false;
    for (size_t i = 0; i < count; i++) {
        at[i] = (int64_t)i;
        step[i] = 1;
    }
    if (axes_list && !sinter_value_known_ints(module, axes_list, at, SINTER_MAX_RANK, &other))
        return false;
    if (steps_list && !sinter_value_known_ints(module, steps_list, step, SINTER_MAX_RANK, &other))
        return false;
    for (uint32_t i = 0; i < rank; i++) sliced[i] = false;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = at[i] < 0 ? at[i] + rank : at[i];
        if (axis < 0 || axis >= rank) return false;
        starts[axis] = first[i];
        steps[axis] = step[i];
        sliced[axis] = true;
    }
    return true;
}

static int64_t first_of_slice(int64_t start, int64_t size) {
    if (start < 0) start += size;
    return start < 0 ? 0 : start > size ? size : start;
}

/* Slices that leave gaps are whole. */
static void describe_slice(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *y = sinter_axes_result(axes, 0);
    int64_t starts[SINTER_MAX_RANK], steps[SINTER_MAX_RANK];
    bool sliced[SINTER_MAX_RANK];
    if (!x || !y || !read_slice(axes, x->rank, starts, steps, sliced)) return;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        int64_t size, count;
        if (!sliced[axis] || (x->dims[axis] == y->dims[axis] && steps[axis] == 1)) {
            sinter_axes_along(axes, axis, axis);
            continue;
        }
        if (steps[axis] != 1) continue;
        if (!sinter_axes_number(axes, x->dims[axis], &size) ||
            !sinter_axes_number(axes, y->dims[axis], &count) || !count)
            continue;
        int64_t start = first_of_slice(starts[axis], size);
        uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, y->dims[axis]);
        sinter_axes_link(axes, factor, true, 0, axis);
        sinter_axis_link link = {
            .factor = factor, .axis = axis, .offset = start, .run = 1, .blocks = 1};
        sinter_axes_link_part(axes, link);
    }
}

/* ---- more than there was ---- */

/* Elements that a pad puts before and after each axis; false where they are not known. */
static bool read_pads(const sinter_axes *axes, uint32_t rank, int64_t *before, int64_t *after) {
    int64_t pads[2 * SINTER_MAX_RANK], at[SINTER_MAX_RANK];
    size_t count = 0, axis_count = rank;
    sinter_value list = sinter_node_operand(axes->module, axes->node, 3);
    for (uint32_t i = 0; i < rank; i++) {
        at[i] = i;
        before[i] = after[i] = 0;
    }
    if (list && !sinter_value_known_ints(axes->module, list, at, SINTER_MAX_RANK, &axis_count))
        return false;
    if (!sinter_value_known_ints(axes->module, axes->info.operands[1], pads, 2 * SINTER_MAX_RANK,
                                 &count) ||
        count != 2 * axis_count)
        return false;
    for (size_t i = 0; i < axis_count; i++) {
        int64_t axis = at[i] < 0 ? at[i] + rank : at[i];
        if (axis < 0 || axis >= rank) return false;
        before[axis] = pads[i];
        after[axis] = pads[axis_count + i];
    }
    return true;
}

/* Only a constant fills indices that may go one by one. */
static void describe_pad(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *y = sinter_axes_result(axes, 0);
    int64_t before[SINTER_MAX_RANK], after[SINTER_MAX_RANK];
    if (!x || !y || !read_pads(axes, x->rank, before, after)) return;
    bool fills =
        sinter_string_is(sinter_node_get_string(axes->module, axes->node, "mode"), "constant");
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        int64_t size;
        if (!before[axis] && !after[axis]) {
            sinter_axes_along(axes, axis, axis);
            continue;
        }
        if (!fills || before[axis] < 0 || after[axis] < 0 ||
            !sinter_axes_number(axes, x->dims[axis], &size))
            continue;
        uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, x->dims[axis]);
        sinter_axes_link(axes, factor, false, 0, axis);
        sinter_axis_link link = {.factor = factor,
                                 .is_result = true,
                                 .axis = axis,
                                 .offset = before[axis],
                                 .run = 1,
                                 .blocks = 1};
        sinter_axes_link_part(axes, link);
    }
}

/* Axes that stay as they are; those that are repeated are whole. */
static void describe_repeat(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *y = sinter_axes_result(axes, 0);
    bool expands = axes->info.op == SINTER_OP_expand;
    if (!x || !y || x->rank > y->rank || (expands && !target_is_known(axes))) return;
    for (uint32_t i = 0; i < x->rank; i++) {
        uint32_t place = y->rank - x->rank + i;
        int64_t size = 0;
        bool number = sinter_axes_number(axes, x->dims[i], &size);
        if (x->dims[i] == y->dims[place] && !(number && size == 1))
            sinter_axes_along(axes, i, place);
    }
}

/* ---- the ops ---- */

bool sinter_axes_describe_view(sinter_axes *axes) {
    switch (axes->info.op) {
    case SINTER_OP_reshape:
    case SINTER_OP_flatten:
    case SINTER_OP_squeeze:
    case SINTER_OP_unsqueeze:
        describe_reshape(axes);
        return true;
    case SINTER_OP_transpose:
        describe_transpose(axes);
        return true;
    case SINTER_OP_concat:
        describe_pieces(axes, true);
        return true;
    case SINTER_OP_split:
        describe_pieces(axes, false);
        return true;
    case SINTER_OP_slice:
        describe_slice(axes);
        return true;
    case SINTER_OP_pad:
        describe_pad(axes);
        return true;
    case SINTER_OP_expand:
    case SINTER_OP_tile:
        describe_repeat(axes);
        return true;
    default:
        return false;
    }
}

/* ---- sizes that nodes state ---- */

typedef struct shrinker {
    sinter_axes axes;
    sinter_rewrite *rewrite;
    const sinter_axes_cut *cut;
} shrinker;

static const bool *kept(const shrinker *s, bool is_result, uint32_t index, uint32_t axis) {
    return s->cut->kept(s->cut->user, is_result, index, axis);
}

/* How many of [first, end) stay. */
static int64_t count_kept(const bool *marks, int64_t first, int64_t end) {
    int64_t count = 0;
    for (int64_t i = first; i < end; i++) count += marks ? marks[i] : 1;
    return count;
}

static sinter_dim kept_dim(const shrinker *s, bool is_result, uint32_t index, uint32_t axis) {
    const sinter_type *type =
        is_result ? sinter_axes_result(&s->axes, index) : sinter_axes_operand(&s->axes, index);
    const bool *marks = kept(s, is_result, index, axis);
    int64_t size = 0;
    if (!marks || !sinter_axes_number(&s->axes, type->dims[axis], &size)) return type->dims[axis];
    return sinter_dim_const(s->axes.dims, count_kept(marks, 0, size));
}

static bool any_cut(const shrinker *s, bool is_result, uint32_t index) {
    const sinter_type *type =
        is_result ? sinter_axes_result(&s->axes, index) : sinter_axes_operand(&s->axes, index);
    for (uint32_t axis = 0; type && axis < type->rank; axis++)
        if (kept(s, is_result, index, axis)) return true;
    return false;
}

static bool set_operand(shrinker *s, uint32_t index, sinter_value value) {
    if (!value) return false;
    sinter_rewrite_set_operand(s->rewrite, s->axes.node, index, value);
    return true;
}

/* Numbers change, and what a 0 or -1 stands for goes on being found when it runs. */
static sinter_value known_target(shrinker *s, uint32_t index, const sinter_dim *dims,
                                 uint32_t rank) {
    int64_t items[SINTER_MAX_RANK], number;
    size_t count = 0;
    sinter_value old = s->axes.info.operands[index];
    if (!sinter_value_known_ints(s->axes.module, old, items, SINTER_MAX_RANK, &count) ||
        count != rank)
        return 0;
    for (uint32_t i = 0; i < rank; i++)
        if (sinter_axes_number(&s->axes, dims[i], &number)) items[i] = number;
    return sinter_build_ints(&s->rewrite->build, items, rank);
}

/* The operand is the shape of the result. */
static bool shrink_target(shrinker *s, uint32_t index) {
    const sinter_type *y = sinter_axes_result(&s->axes, 0);
    sinter_dim dims[SINTER_MAX_RANK];
    bool empty = false;
    for (uint32_t axis = 0; axis < y->rank; axis++) {
        dims[axis] = kept_dim(s, true, 0, axis);
        empty = empty || sinter_dim_is(s->axes.dims, dims[axis], 0);
    }
    if (s->axes.info.op == SINTER_OP_reshape) {
        sinter_attr all = sinter_attr_int("allowzero", empty);
        sinter_rewrite_set_attr(s->rewrite, s->axes.node, &all);
    }
    sinter_value target = known_target(s, index, dims, y->rank);
    if (!target) target = sinter_build_dims(&s->rewrite->build, dims, y->rank);
    return set_operand(s, index, target);
}

/* Sizes of all axes, or of those that are listed; what is asked for is more than what comes out where proportions are kept. */
static bool shrink_sizes(shrinker *s) {
    const int64_t *listed = NULL;
    const sinter_type *y = sinter_axes_result(&s->axes, 0);
    int64_t items[SINTER_MAX_RANK], size = 0;
    size_t listed_count = sinter_node_get_ints(s->axes.module, s->axes.node, "axes", &listed);
    size_t count = 0;
    if (!sinter_value_known_ints(s->axes.module, s->axes.info.operands[3], items, SINTER_MAX_RANK,
                                 &count))
        return shrink_target(s, 3);
    for (size_t i = 0; i < count; i++) {
        int64_t at = i < listed_count ? listed[i] : (int64_t)i;
        uint32_t axis = (uint32_t)(at < 0 ? at + y->rank : at);
        if (kept(s, true, 0, axis) &&
            sinter_axes_number(&s->axes, kept_dim(s, true, 0, axis), &size))
            items[i] = size;
    }
    return set_operand(s, 3, sinter_build_ints(&s->rewrite->build, items, count));
}

static bool shrink_split(shrinker *s) {
    const sinter_type *x = sinter_axes_operand(&s->axes, 0);
    uint32_t axis = sinter_node_get_axis(s->axes.module, s->axes.node, 0, x->rank);
    uint32_t count = s->axes.info.result_count;
    if (!kept(s, false, 0, axis) || !sinter_node_operand(s->axes.module, s->axes.node, 1))
        return true;
    sinter_dim *sizes = SINTER_NEW_ARRAY(s->axes.arena, sinter_dim, count);
    for (uint32_t i = 0; i < count; i++) sizes[i] = kept_dim(s, true, i, axis);
    return set_operand(s, 1, sinter_build_dims(&s->rewrite->build, sizes, count));
}

static bool shrink_pad(shrinker *s) {
    const sinter_type *x = sinter_axes_operand(&s->axes, 0);
    int64_t before[SINTER_MAX_RANK], after[SINTER_MAX_RANK], pads[2 * SINTER_MAX_RANK],
        all[SINTER_MAX_RANK];
    if (!read_pads(&s->axes, x->rank, before, after)) return true;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        const bool *marks = kept(s, true, 0, axis);
        int64_t size = 0;
        pads[axis] = before[axis];
        pads[axis + x->rank] = after[axis];
        all[axis] = axis;
        if (!marks || !sinter_axes_number(&s->axes, x->dims[axis], &size)) continue;
        int64_t end = before[axis] + size;
        pads[axis] = count_kept(marks, 0, before[axis]);
        pads[axis + x->rank] = count_kept(marks, end, end + after[axis]);
    }
    sinter_value list = sinter_build_ints(&s->rewrite->build, pads, 2 * (size_t)x->rank);
    return set_operand(s, 1, list) &&
           (!sinter_node_operand(s->axes.module, s->axes.node, 3) ||
            set_operand(s, 3, sinter_build_ints(&s->rewrite->build, all, x->rank)));
}

/* What a slice takes lies together, also of what is left. Steps other than 1 are along axes that nothing is cut from. */
static bool shrink_slice(shrinker *s) {
    const sinter_type *x = sinter_axes_operand(&s->axes, 0), *y = sinter_axes_result(&s->axes, 0);
    int64_t starts[SINTER_MAX_RANK], steps[SINTER_MAX_RANK], ends[SINTER_MAX_RANK],
        listed[SINTER_MAX_RANK];
    bool sliced[SINTER_MAX_RANK];
    size_t count = 0, listed_count = 0;
    sinter_module *module = s->axes.module;
    sinter_value list = sinter_node_operand(module, s->axes.node, 3);
    if (!read_slice(&s->axes, x->rank, starts, steps, sliced) ||
        !sinter_value_known_ints(module, s->axes.info.operands[2], ends, SINTER_MAX_RANK, &count))
        return true; /* nothing is linked then */
    for (size_t i = 0; i < count; i++) listed[i] = (int64_t)i;
    if (list) sinter_value_known_ints(module, list, listed, SINTER_MAX_RANK, &listed_count);
    for (size_t i = 0; i < count; i++) {
        uint32_t axis = (uint32_t)(listed[i] < 0 ? listed[i] + x->rank : listed[i]);
        const bool *marks = kept(s, false, 0, axis);
        int64_t size = 0, length = 0;
        listed[i] = starts[axis];
        if (!marks || !sinter_axes_number(&s->axes, x->dims[axis], &size) ||
            !sinter_axes_number(&s->axes, y->dims[axis], &length))
            continue;
        int64_t first = first_of_slice(starts[axis], size);
        listed[i] = count_kept(marks, 0, first);
        ends[i] = listed[i] + count_kept(marks, first, first + length);
    }
    return set_operand(s, 1, sinter_build_ints(&s->rewrite->build, listed, count)) &&
           set_operand(s, 2, sinter_build_ints(&s->rewrite->build, ends, count));
}

/* Whole groups go, or the same channels of each. */
static bool shrink_groups(shrinker *s) {
    int64_t group = sinter_node_get_int(s->axes.module, s->axes.node, "group", 1), size = 0;
    const sinter_type *y = sinter_axes_result(&s->axes, 0);
    bool last = sinter_node_get_int(s->axes.module, s->axes.node, "channels_last", 0) != 0;
    uint32_t channel = last ? y->rank - 1 : 1;
    const bool *marks = kept(s, true, 0, channel);
    if (group == 1 || !marks || !sinter_axes_number(&s->axes, y->dims[channel], &size)) return true;
    int64_t each = size / group, left = 0;
    for (int64_t g = 0; g < group; g++) left += count_kept(marks, g * each, (g + 1) * each) > 0;
    sinter_attr attr = sinter_attr_int("group", left);
    sinter_rewrite_set_attr(s->rewrite, s->axes.node, &attr);
    return true;
}

/* Heads that lie in the last axis are counted by attributes. */
static bool shrink_heads(shrinker *s) {
    static const char *const names[] = {"q_num_heads", "kv_num_heads"};
    for (uint32_t i = 0; i < 2; i++) { /* of operand i */
        const sinter_type *type = sinter_axes_operand(&s->axes, i);
        int64_t heads = sinter_node_get_int(s->axes.module, s->axes.node, names[i], 0), size = 0;
        const bool *marks = type && type->rank == 3 ? kept(s, false, i, 2) : NULL;
        if (!marks || heads < 1 || !sinter_axes_number(&s->axes, type->dims[2], &size)) continue;
        sinter_attr attr = sinter_attr_int(names[i], count_kept(marks, 0, size) / (size / heads));
        sinter_rewrite_set_attr(s->rewrite, s->axes.node, &attr);
    }
    return true;
}

/* Units of a recurrence, as its recurrent weights read them. */
static bool shrink_units(shrinker *s) {
    const sinter_type *r = sinter_axes_operand(&s->axes, 2);
    int64_t size = 0;
    const bool *marks = r && r->rank == 3 ? kept(s, false, 2, 2) : NULL;
    if (!marks || !sinter_node_find_attr(s->axes.module, s->axes.node, "hidden_size") ||
        !sinter_axes_number(&s->axes, r->dims[2], &size))
        return true;
    sinter_attr attr = sinter_attr_int("hidden_size", count_kept(marks, 0, size));
    sinter_rewrite_set_attr(s->rewrite, s->axes.node, &attr);
    return true;
}

static bool shrink_node(shrinker *s) {
    switch (s->axes.info.op) {
    case SINTER_OP_reshape:
    case SINTER_OP_expand:
        return !any_cut(s, true, 0) || shrink_target(s, 1);
    case SINTER_OP_split:
        return shrink_split(s);
    case SINTER_OP_slice:
        return !any_cut(s, false, 0) || shrink_slice(s);
    case SINTER_OP_pad:
        return !any_cut(s, true, 0) || shrink_pad(s);
    case SINTER_OP_resize:
        return !any_cut(s, true, 0) || !sinter_node_operand(s->axes.module, s->axes.node, 3) ||
               shrink_sizes(s);
    case SINTER_OP_conv:
    case SINTER_OP_conv_integer:
    case SINTER_OP_conv_transpose:
        return shrink_groups(s);
    case SINTER_OP_attention:
        return shrink_heads(s);
    case SINTER_OP_lstm:
    case SINTER_OP_gru:
    case SINTER_OP_rnn:
        return shrink_units(s);
    default:
        return true;
    }
}

bool sinter_axes_shrink(sinter_rewrite *rewrite, sinter_node node, const sinter_axes_cut *cut) {
    sinter_module *module = rewrite->build.module;
    shrinker s = {.rewrite = rewrite, .cut = cut};
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    sinter_axis_map map = {0};
    s.axes = (sinter_axes){.module = module,
                           .dims = sinter_module_dims(module),
                           .node = node,
                           .info = *sinter_node_get(module, node),
                           .arena = &scratch,
                           .map = &map};
    bool good = shrink_node(&s);
    sinter_arena_deinit(&scratch);
    return good;
}
