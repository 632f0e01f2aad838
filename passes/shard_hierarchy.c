/* Sums over ranks of several servers in steps: summed and cut within a server, then each part over the servers, then put together within
 * the server. So a link between servers carries a part of it only. Which way is faster passes/shard_sums.h says.
 *
 * The runtime halves large groups with the nearest partner first, which is the same; here is the rest: small groups, which exchange all with
 * all, and those that can't be halved (runtime/job_exchange.c). The idea is that of hierarchical collectives in NCCL and in
 * MPI libraries (Karonis et al., Exploiting hierarchy in parallel computer networks, 2000).
 * Needs: a partitioned program, hardware. Guarantees: values stay what they are on every rank, but for the order of sums.
 * Test: tests/passes/shard_hierarchy/ */
#include "ir/cost.h"
#include "passes/pass.h"
#include "passes/shard_build.h"
#include "passes/shard_sums.h"

typedef struct hierarchy {
    sinter_module *module;
    sinter_rewrite *rewrite;
    const sinter_hardware *hardware;
} hierarchy;

static sinter_shard_sum find_sum(const hierarchy *h, const sinter_type *type,
                                 const sinter_mesh_axes *over) {
    int64_t sizes[SINTER_MAX_RANK] = {0};
    for (uint32_t d = 0; d < type->rank; d++)
        sinter_dim_is_const(sinter_module_dims(h->module), type->dims[d], &sizes[d]);
    return sinter_shard_sum_find(h->hardware, sinter_module_mesh(h->module), over, sizes,
                                 type->rank, sinter_cost_type_bytes(h->module, type));
}

static sinter_value build(const hierarchy *h, sinter_node node, const sinter_shard_sum *s) {
    sinter_builder *build = &h->rewrite->build;
    sinter_value x = sinter_node_operand(h->module, node, 0);
    const sinter_attr attributes[] = {
        sinter_attr_string("reduction", sinter_node_get_string(h->module, node, "reduction")),
        sinter_attr_int("axis", s->axis), sinter_attr_int("size", s->size)};
    x = sinter_shard_build(build, SINTER_OP_reduce_scatter, x, &s->inner, attributes, 2);
    x = sinter_shard_build(build, SINTER_OP_all_reduce, x, &s->outer, attributes, 1);
    return sinter_shard_build(build, SINTER_OP_all_gather, x, &s->inner, attributes + 1, 2);
}

static void visit(void *user, sinter_node node) {
    const hierarchy *h = user;
    sinter_mesh_axes over;
    if (sinter_node_op(h->module, node) != SINTER_OP_all_reduce ||
        !sinter_node_get_mesh_axes(h->module, node, &over))
        return;
    const sinter_type *type = sinter_value_type(h->module, sinter_node_operand(h->module, node, 0));
    if (!sinter_sharding_can_send(type->dtype)) return;
    sinter_shard_sum sum = find_sum(h, type, &over);
    if (!sum.inner.count) return;
    sinter_rewrite_at(h->rewrite, node);
    sinter_value value = build(h, node, &sum);
    if (value) sinter_rewrite_replace_node(h->rewrite, node, &value);
}

void sinter_pass_shard_hierarchy(sinter_pass_context *context) {
    hierarchy h = {context->module, &context->rewrite, context->options->hardware};
    if (h.hardware) sinter_pass_visit_nodes(context->module, visit, &h);
}
