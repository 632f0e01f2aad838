/* Sums over ranks of several servers in steps: summed and cut within a server, then each part over the servers, then put together within
 * the server. So a link between servers carries a part of it only. Where the links of the described hardware are of one kind, or
 * a step has more latency than it saves, sums stay what they are.
 *
 * The runtime halves large groups with the nearest partner first, which is the same; here is the rest: small groups, which exchange all with
 * all, and those that can't be halved (runtime/job_exchange.c). The idea is that of hierarchical collectives in NCCL and in
 * MPI libraries (Karonis et al., Exploiting hierarchy in parallel computer networks, 2000).
 * Needs: a partitioned program, hardware. Guarantees: values stay what they are on every rank, but for the order of sums.
 * Test: tests/passes/shard_hierarchy/ */
#include "ir/cost.h"
#include "ir/hardware.h"
#include "passes/pass.h"
#include "passes/shard_build.h"

/* How a sum is made: at once, or cut along an axis of the value within groups over `inner`. */
typedef struct way {
    sinter_mesh_axes inner, outer; /* inner: none where it is made at once */
    uint32_t axis;
    int64_t size; /* of the axis */
    double seconds;
} way;

typedef struct hierarchy {
    sinter_module *module;
    sinter_rewrite *rewrite;
    const sinter_hardware *hardware;
} hierarchy;

/* The outermost axis whose indices go up in so many parts; false: none. */
static bool find_axis(const hierarchy *h, const sinter_type *type, int64_t parts, way *out_way) {
    for (uint32_t d = 0; d < type->rank; d++) {
        int64_t size = 0;
        if (!sinter_dim_is_const(sinter_module_dims(h->module), type->dims[d], &size) || !size ||
            size % parts)
            continue;
        out_way->axis = d;
        out_way->size = size;
        return true;
    }
    return false;
}

/* Pieces of an inner axis are brought together in memory before they are sent, and apart afterwards, each of which reads and writes all. */
static double packing_seconds(const hierarchy *h, const sinter_type *type, uint32_t axis,
                              double bytes) {
    for (uint32_t d = 0; d < axis; d++)
        if (!sinter_dim_is(sinter_module_dims(h->module), type->dims[d], 1))
            return 4 * bytes / sinter_hardware_bandwidth(h->hardware, bytes);
    return 0;
}

static double seconds_of(const hierarchy *h, const sinter_mesh_axes *over, sinter_op op,
                         double bytes) {
    return sinter_hardware_exchange(h->hardware, sinter_module_mesh(h->module), over, op, bytes);
}

/* Every way to split the axes, in their order. */
static way find_way(const hierarchy *h, const sinter_type *type, const sinter_mesh_axes *over) {
    const sinter_mesh *mesh = sinter_module_mesh(h->module);
    double bytes = sinter_cost_type_bytes(h->module, type);
    way best = {.outer = *over, .seconds = seconds_of(h, over, SINTER_OP_all_reduce, bytes)};
    for (uint32_t some = 1; some + 1 < 1u << over->count; some++) {
        way w = {.axis = 0};
        for (uint32_t i = 0; i < over->count; i++)
            sinter_mesh_axes_add(some >> i & 1 ? &w.inner : &w.outer, over->items[i]);
        int64_t parts = sinter_mesh_axes_product(mesh, &w.inner);
        if (!find_axis(h, type, parts, &w)) continue;
        w.seconds = seconds_of(h, &w.inner, SINTER_OP_reduce_scatter, bytes) +
                    seconds_of(h, &w.outer, SINTER_OP_all_reduce, bytes / (double)parts) +
                    seconds_of(h, &w.inner, SINTER_OP_all_gather, bytes) +
                    packing_seconds(h, type, w.axis, bytes);
        if (w.seconds < best.seconds) best = w;
    }
    return best;
}

static sinter_value build(const hierarchy *h, sinter_node node, const way *w) {
    sinter_builder *build = &h->rewrite->build;
    sinter_value x = sinter_node_operand(h->module, node, 0);
    const sinter_attr attributes[] = {
        sinter_attr_string("reduction", sinter_node_get_string(h->module, node, "reduction")),
        sinter_attr_int("axis", w->axis), sinter_attr_int("size", w->size)};
    x = sinter_shard_build(build, SINTER_OP_reduce_scatter, x, &w->inner, attributes, 2);
    x = sinter_shard_build(build, SINTER_OP_all_reduce, x, &w->outer, attributes, 1);
    return sinter_shard_build(build, SINTER_OP_all_gather, x, &w->inner, attributes + 1, 2);
}

static void visit(void *user, sinter_node node) {
    const hierarchy *h = user;
    sinter_mesh_axes over;
    if (sinter_node_op(h->module, node) != SINTER_OP_all_reduce ||
        !sinter_node_get_mesh_axes(h->module, node, &over) || over.count < 2)
        return;
    const sinter_type *type = sinter_value_type(h->module, sinter_node_operand(h->module, node, 0));
    if (type->rank > SINTER_SHARD_MAX_RANK || !sinter_sharding_can_send(type->dtype)) return;
    way w = find_way(h, type, &over);
    if (!w.inner.count) return;
    sinter_rewrite_at(h->rewrite, node);
    sinter_value value = build(h, node, &w);
    if (value) sinter_rewrite_replace_node(h->rewrite, node, &value);
}

void sinter_pass_shard_hierarchy(sinter_pass_context *context) {
    hierarchy h = {context->module, &context->rewrite, context->hardware};
    if (h.hardware && h.hardware->link_count > 1)
        sinter_pass_visit_nodes(context->module, visit, &h);
}
