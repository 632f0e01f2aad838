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
    const sinter_mesh *mesh;
    const sinter_sharding *to;
    sinter_sharding now;
    sinter_shard_dim dims[SINTER_MAX_RANK]; /* of it */
    sinter_shard_step *steps;
    uint32_t count;
} conversion;

static sinter_mesh_axes sub_axes(const sinter_mesh_axes *axes, uint32_t first, uint32_t end) {
    sinter_mesh_axes part = {0};
    for (uint32_t i = first; i < end; i++) sinter_mesh_axes_add(&part, axes->items[i]);
    return part;
}

static sinter_shard_step *add_step(conversion *c, sinter_op op, const sinter_mesh_axes *over) {
    sinter_shard_step *step = &c->steps[c->count++];
    *step = (sinter_shard_step){.op = op, .over = *over};
    return step;
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
        add_step(c, SINTER_OP_reduce_scatter, &over)->axis = (uint32_t)d;
        sinter_mesh_axes_add(&c->now.dims[d].axes, axis);
        c->now.partial &= ~(1u << axis);
    }
    sinter_mesh_axes over = sinter_mesh_axes_of(rest);
    if (rest) add_step(c, SINTER_OP_all_reduce, &over);
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
        add_step(c, SINTER_OP_shard_slice, &over)->axis = d;
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
        sinter_shard_step *step = add_step(c, SINTER_OP_all_to_all, &over);
        step->axis = d;
        step->target = (uint32_t)target;
        step->outer = sub_axes(now, 0, now->count - 1u);
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
        sinter_shard_step *step = add_step(c, SINTER_OP_all_gather, &over);
        step->axis = d;
        step->outer = sub_axes(now, 0, kept);
        now->count = (uint8_t)kept;
    }
}

uint32_t sinter_shard_list_steps(const sinter_mesh *mesh, const sinter_sharding *from,
                                 const sinter_sharding *to,
                                 sinter_shard_step out_steps[SINTER_SHARD_MAX_STEPS]) {
    conversion c = {.mesh = mesh, .to = to, .now = *from, .steps = out_steps};
    for (uint32_t i = 0; i < from->rank; i++) c.dims[i] = from->dims[i];
    c.now.dims = c.dims;
    reduce(&c);
    cut(&c);
    while (move(&c)) cut(&c);
    gather(&c);
    cut(&c);
    uint32_t first = to->partial & ~c.now.partial;
    sinter_mesh_axes over = sinter_mesh_axes_of(first);
    if (first) add_step(&c, SINTER_OP_shard_first, &over);
    return c.count;
}

/* Room for the axis of a step when it is cut over its outer axes only. */
static int64_t outer_size(const sinter_module *module, const sinter_type *whole,
                          const sinter_shard_step *step) {
    int64_t size = 0;
    sinter_dim_is_const(sinter_module_dims(module), whole->dims[step->axis], &size);
    return sinter_mesh_part_of(sinter_module_mesh(module), &step->outer, size, 0).chunk;
}

static sinter_value build_step(sinter_builder *builder, sinter_value x, const sinter_type *whole,
                               const sinter_shard_step *step) {
    sinter_attr attributes[3];
    uint32_t count = 0;
    if (step->op == SINTER_OP_all_to_all) {
        attributes[count++] = sinter_attr_int("split_axis", step->target);
        attributes[count++] = sinter_attr_int("concat_axis", step->axis);
    } else if (step->op != SINTER_OP_all_reduce && step->op != SINTER_OP_shard_first) {
        attributes[count++] = sinter_attr_int("axis", step->axis);
    }
    if (step->op == SINTER_OP_all_to_all || step->op == SINTER_OP_all_gather)
        attributes[count++] = sinter_attr_int("size", outer_size(builder->module, whole, step));
    return sinter_shard_build(builder, step->op, x, &step->over, attributes, count);
}

sinter_value sinter_shard_convert(sinter_builder *builder, sinter_value x, const sinter_type *whole,
                                  const sinter_sharding *from, const sinter_sharding *to) {
    sinter_shard_step steps[SINTER_SHARD_MAX_STEPS];
    uint32_t count = sinter_shard_list_steps(sinter_module_mesh(builder->module), from, to, steps);
    for (uint32_t i = 0; i < count && x; i++) x = build_step(builder, x, whole, &steps[i]);
    return x;
}

bool sinter_shard_convert_is_local(const sinter_sharding *from, const sinter_sharding *to) {
    if (from->partial & ~to->partial) return false;
    for (uint32_t d = 0; d < from->rank; d++)
        if (sinter_mesh_axes_common(&from->dims[d].axes, &to->dims[d].axes) <
            from->dims[d].axes.count)
            return false;
    return true;
}
