/* From one sharding to another. Test: tests/passes/shard_partition/ */
#include "passes/shard_build.h"

sinter_value sinter_shard_build(sinter_builder *builder, sinter_op op, sinter_value x,
                                const sinter_mesh_axes *over, const sinter_attr *others,
                                uint32_t other_count) {
    const sinter_mesh *mesh = sinter_module_mesh(builder->module);
    sinter_string names[SINTER_MESH_MAX_AXES];
    sinter_attr attributes[8];
    for (uint32_t i = 0; i < over->count; i++) names[i] = mesh->axes[over->items[i]].name;
    attributes[0] = sinter_attr_strings("over", names, over->count);
    for (uint32_t i = 0; i < other_count; i++) attributes[i + 1] = others[i];
    return x ? sinter_build(builder, op, &x, 1, attributes, other_count + 1) : 0;
}

sinter_value sinter_shard_slice(sinter_builder *builder, sinter_value x, int64_t axis,
                                int64_t first, int64_t end) {
    sinter_value operands[] = {x, sinter_build_ints(builder, &first, 1),
                               sinter_build_ints(builder, &end, 1),
                               sinter_build_ints(builder, &axis, 1)};
    return sinter_build(builder, SINTER_OP_slice, operands, 4, NULL, 0);
}

/* ---- conversion ---- */

typedef struct conversion {
    sinter_builder *builder;
    const sinter_mesh *mesh;
    const sinter_type *whole;
    const sinter_sharding *to;
    sinter_sharding now; /* of x */
    sinter_value x;
} conversion;

static sinter_mesh_axes sub_axes(const sinter_mesh_axes *axes, uint32_t first, uint32_t end) {
    sinter_mesh_axes part = {0};
    for (uint32_t i = first; i < end; i++) sinter_mesh_axes_add(&part, axes->items[i]);
    return part;
}

/* Room for dim d when it is cut over the first `count` of the axes it is cut over now. */
static int64_t size_at(const conversion *c, uint32_t d, uint32_t count) {
    int64_t size = 0;
    sinter_mesh_axes outer = sub_axes(&c->now.dims[d].axes, 0, count);
    sinter_dim_is_const(sinter_module_dims(c->builder->module), c->whole->dims[d], &size);
    return sinter_mesh_part_of(c->mesh, &outer, size, 0).chunk;
}

/* The dim whose next axis is to be this one; -1: none. */
static int dim_that_wants(const conversion *c, uint32_t axis) {
    for (uint32_t d = 0; d < c->now.rank; d++) {
        const sinter_mesh_axes *now = &c->now.dims[d].axes, *to = &c->to->dims[d].axes;
        if (sinter_mesh_axes_common(now, to) == now->count && to->count > now->count &&
            to->items[now->count] == axis)
            return (int)d;
    }
    return -1;
}

static void reduce(conversion *c) {
    uint32_t rest = 0;
    for (uint32_t axis = 0; axis < c->mesh->axis_count; axis++) {
        if (!((c->now.partial & ~c->to->partial) >> axis & 1)) continue;
        int d = dim_that_wants(c, axis);
        if (d < 0) {
            rest |= 1u << axis;
            continue;
        }
        sinter_mesh_axes over = sinter_mesh_axes_of(1u << axis);
        sinter_attr attr = sinter_attr_int("axis", d);
        c->x = sinter_shard_build(c->builder, SINTER_OP_reduce_scatter, c->x, &over, &attr, 1);
        sinter_mesh_axes_add(&c->now.dims[d].axes, axis);
        c->now.partial &= ~(1u << axis);
    }
    sinter_mesh_axes over = sinter_mesh_axes_of(rest);
    if (rest) c->x = sinter_shard_build(c->builder, SINTER_OP_all_reduce, c->x, &over, NULL, 0);
    c->now.partial &= ~rest;
}

/* Cuts by axes that nothing else is cut over now. */
static void cut(conversion *c) {
    for (uint32_t d = 0; d < c->now.rank; d++) {
        sinter_mesh_axes *now = &c->now.dims[d].axes;
        const sinter_mesh_axes *to = &c->to->dims[d].axes;
        uint32_t used = sinter_sharding_used(&c->now) | c->now.partial, count = now->count;
        if (sinter_mesh_axes_common(now, to) < count) continue;
        while (count < to->count && !(used >> to->items[count] & 1)) count++;
        if (count == now->count) continue;
        sinter_mesh_axes over = sub_axes(to, now->count, count);
        sinter_attr attr = sinter_attr_int("axis", d);
        c->x = sinter_shard_build(c->builder, SINTER_OP_shard_slice, c->x, &over, &attr, 1);
        *now = sub_axes(to, 0, count);
    }
}

/* The innermost axis of a dim goes over to the dim that wants it. */
static bool move(conversion *c) {
    for (uint32_t d = 0; d < c->now.rank; d++) {
        sinter_mesh_axes *now = &c->now.dims[d].axes;
        if (sinter_mesh_axes_common(now, &c->to->dims[d].axes) == now->count) continue;
        uint32_t axis = now->items[now->count - 1];
        int target = dim_that_wants(c, axis);
        if (target < 0) continue;
        sinter_mesh_axes over = sinter_mesh_axes_of(1u << axis);
        sinter_attr attributes[] = {sinter_attr_int("split_axis", target),
                                    sinter_attr_int("concat_axis", d),
                                    sinter_attr_int("size", size_at(c, d, now->count - 1u))};
        c->x = sinter_shard_build(c->builder, SINTER_OP_all_to_all, c->x, &over, attributes, 3);
        now->count--;
        sinter_mesh_axes_add(&c->now.dims[target].axes, axis);
        return true;
    }
    return false;
}

static void gather(conversion *c) {
    for (uint32_t d = 0; d < c->now.rank; d++) {
        sinter_mesh_axes *now = &c->now.dims[d].axes;
        uint32_t kept = sinter_mesh_axes_common(now, &c->to->dims[d].axes);
        if (kept == now->count) continue;
        sinter_mesh_axes over = sub_axes(now, kept, now->count);
        sinter_attr attributes[] = {sinter_attr_int("axis", d),
                                    sinter_attr_int("size", size_at(c, d, kept))};
        c->x = sinter_shard_build(c->builder, SINTER_OP_all_gather, c->x, &over, attributes, 2);
        now->count = (uint8_t)kept;
    }
}

sinter_value sinter_shard_convert(sinter_builder *builder, sinter_value x, const sinter_type *whole,
                                  const sinter_sharding *from, const sinter_sharding *to) {
    sinter_arena scratch;
    sinter_arena_init(&scratch);
    conversion c = {.builder = builder,
                    .mesh = sinter_module_mesh(builder->module),
                    .whole = whole,
                    .to = to,
                    .now = *sinter_sharding_copy(&scratch, from),
                    .x = x};
    reduce(&c);
    cut(&c);
    while (c.x && move(&c)) cut(&c);
    gather(&c);
    cut(&c);
    uint32_t first = to->partial & ~c.now.partial;
    sinter_mesh_axes over = sinter_mesh_axes_of(first);
    if (first) c.x = sinter_shard_build(builder, SINTER_OP_shard_first, c.x, &over, NULL, 0);
    sinter_arena_deinit(&scratch);
    return c.x;
}

bool sinter_shard_convert_is_local(const sinter_sharding *from, const sinter_sharding *to) {
    if (from->partial & ~to->partial) return false;
    for (uint32_t d = 0; d < from->rank; d++)
        if (sinter_mesh_axes_common(&from->dims[d].axes, &to->dims[d].axes) <
            from->dims[d].axes.count)
            return false;
    return true;
}
