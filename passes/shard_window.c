/* What windows of one rank read: the own part of an axis and, by permutes, what others have of it. Two ranks whose places are the
 * same number apart exchange in one permute; the pieces of one permute have one size, the largest that any rank needs.
 * Test: tests/passes/shard_localize/window.sir, tests/suites/shard_values.py */
#include "passes/shard_build.h"
#include "passes/shard_pack.h"

typedef struct range {
    int64_t first, end;
} range;

typedef struct windower {
    sinter_builder *build;
    const sinter_mesh *mesh;
    const sinter_mesh_axes *over;
    sinter_value x;
    uint32_t axis;
    int64_t ranks, place; /* of the group; the own one */
    int64_t size, windows, stride, reach, before;
} windower;

static sinter_mesh_part part_at(const windower *w, int64_t size, int64_t place) {
    return sinter_mesh_part_of(w->mesh, w->over, size,
                               sinter_mesh_rank_at(w->mesh, w->over, w->mesh->rank, place));
}

/* Indices of the whole axis that the windows of a place read; beyond its ends, too. */
static range read_by(const windower *w, int64_t place) {
    sinter_mesh_part part = part_at(w, w->windows, place);
    int64_t first = part.offset * w->stride - w->before;
    return (range){first, first + (part.chunk ? (part.chunk - 1) * w->stride + w->reach : 0)};
}

/* What of it the place `from` has; empty: first = end. */
static range given(const windower *w, int64_t to, int64_t from) {
    range r = read_by(w, to);
    sinter_mesh_part part = part_at(w, w->size, from);
    if (r.first < part.offset) r.first = part.offset;
    if (r.end > part.offset + part.valid) r.end = part.offset + part.valid;
    if (r.end < r.first) r.end = r.first;
    return r;
}

static bool is_place(const windower *w, int64_t place) {
    return place >= 0 && place < w->ranks;
}

/* The most that a place is given by the one `distance` further on. */
static int64_t most_given(const windower *w, int64_t distance) {
    int64_t most = 0;
    for (int64_t to = 0; to < w->ranks; to++) {
        if (!is_place(w, to + distance)) continue;
        range r = given(w, to, to + distance);
        if (r.end - r.first > most) most = r.end - r.first;
    }
    return most;
}

/* Where in the part of `from` the `most` indices begin that it sends to `to`: they lie in the part's room. */
static int64_t sent_from(const windower *w, int64_t to, int64_t from, int64_t most) {
    sinter_mesh_part part = part_at(w, w->size, from);
    int64_t first = given(w, to, from).first - part.offset, last = part.chunk - most;
    return first < 0 ? 0 : first < last ? first : last;
}

static sinter_value slice(const windower *w, sinter_value x, int64_t first, int64_t end) {
    int64_t axis = w->axis;
    sinter_value operands[] = {x, sinter_build_ints(w->build, &first, 1),
                               sinter_build_ints(w->build, &end, 1),
                               sinter_build_ints(w->build, &axis, 1)};
    return sinter_build(w->build, SINTER_OP_slice, operands, 4, NULL, 0);
}

/* Ranks of all groups, which do the same at once. */
static sinter_value permute(const windower *w, sinter_value x, int64_t distance) {
    int64_t ranks = sinter_mesh_rank_count(w->mesh);
    int64_t *pairs = SINTER_NEW_ARRAY(sinter_module_arena(w->build->module), int64_t, 2 * ranks);
    size_t count = 0;
    for (int64_t rank = 0; rank < ranks; rank++) {
        int64_t to = sinter_mesh_place(w->mesh, w->over, rank);
        if (!is_place(w, to + distance)) continue;
        range r = given(w, to, to + distance);
        if (r.end == r.first) continue;
        pairs[count++] = sinter_mesh_rank_at(w->mesh, w->over, rank, to + distance);
        pairs[count++] = rank;
    }
    sinter_attr attr = sinter_attr_ints("pairs", pairs, count);
    return sinter_build(w->build, SINTER_OP_collective_permute, &x, 1, &attr, 1);
}

/* What the place `distance` further on has for this one; 0: nothing. Others may need the permute. */
static sinter_value get_piece(const windower *w, int64_t distance) {
    int64_t most = most_given(w, distance), from = w->place + distance, to = w->place - distance;
    if (!most) return 0;
    int64_t first = is_place(w, to) ? sent_from(w, to, w->place, most) : 0;
    sinter_value sent = slice(w, w->x, first, first + most);
    sinter_value got = permute(w, sent, distance);
    if (!is_place(w, from)) return 0;
    range r = given(w, w->place, from);
    if (r.end == r.first) return 0;
    first = r.first - part_at(w, w->size, from).offset - sent_from(w, w->place, from, most);
    return slice(w, got, first, first + r.end - r.first);
}

/* Fills an axis up on both sides. */
static sinter_value pad(const windower *w, sinter_value x, int64_t before, int64_t after,
                        sinter_value fill) {
    int64_t pads[2 * SINTER_MAX_RANK] = {0};
    uint32_t rank = sinter_value_type(w->build->module, x)->rank;
    if (!before && !after) return x;
    pads[w->axis] = before;
    pads[rank + w->axis] = after;
    sinter_value operands[] = {x, sinter_build_ints(w->build, pads, 2 * (size_t)rank), fill};
    return sinter_build(w->build, SINTER_OP_pad, operands, 3, NULL, 0);
}

/* An axis of `length` of nothing else. */
static sinter_value filled(const windower *w, int64_t length, sinter_value fill) {
    sinter_module *module = w->build->module;
    const sinter_type *type = sinter_value_type(module, w->x);
    sinter_dim dims[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < type->rank; i++) dims[i] = type->dims[i];
    dims[w->axis] = sinter_dim_const(sinter_module_dims(module), length);
    sinter_value operands[] = {fill, sinter_build_dims(w->build, dims, type->rank)};
    return sinter_build(w->build, SINTER_OP_expand, operands, 2, NULL, 0);
}

/* Pieces by the place that has them, in their order along the axis. */
static sinter_value collect(const windower *w, sinter_value fill) {
    sinter_module *module = w->build->module;
    sinter_value *pieces = SINTER_NEW_ARRAY(sinter_module_arena(module), sinter_value, w->ranks);
    range all = read_by(w, w->place), own = given(w, w->place, w->place);
    int64_t mine = part_at(w, w->size, w->place).offset;
    for (int64_t distance = 1; distance < w->ranks; distance++)
        for (int side = -1; side <= 1; side += 2) {
            sinter_value piece = get_piece(w, side * distance);
            if (piece) pieces[w->place + side * distance] = piece;
        }
    if (own.end > own.first) pieces[w->place] = slice(w, w->x, own.first - mine, own.end - mine);
    uint32_t count = 0;
    for (int64_t i = 0; i < w->ranks; i++)
        if (pieces[i]) pieces[count++] = pieces[i];
    if (!count) return filled(w, all.end - all.first, fill);
    sinter_attr attr = sinter_attr_int("axis", w->axis);
    sinter_value joined =
        count == 1 ? pieces[0] : sinter_build(w->build, SINTER_OP_concat, pieces, count, &attr, 1);
    return pad(w, joined, all.first < 0 ? -all.first : 0, all.end > w->size ? all.end - w->size : 0,
               fill);
}

sinter_value sinter_shard_pack_window(sinter_builder *builder, sinter_node node,
                                      const sinter_mesh_axes *over, sinter_value fill) {
    sinter_module *module = builder->module;
    const sinter_mesh *mesh = sinter_module_mesh(module);
    sinter_value x = sinter_node_operand(module, node, 0);
    windower w = {.build = builder,
                  .mesh = mesh,
                  .over = over,
                  .x = x,
                  .axis = sinter_node_get_axis(module, node, 0, sinter_value_type(module, x)->rank),
                  .ranks = sinter_mesh_axes_product(mesh, over),
                  .place = sinter_mesh_place(mesh, over, mesh->rank),
                  .size = sinter_node_get_int(module, node, "size", 0),
                  .windows = sinter_node_get_int(module, node, "windows", 0),
                  .stride = sinter_node_get_int(module, node, "stride", 1),
                  .reach = sinter_node_get_int(module, node, "reach", 1),
                  .before = sinter_node_get_int(module, node, "before", 0)};
    return collect(&w, fill);
}
