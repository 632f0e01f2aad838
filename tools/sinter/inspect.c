/* Collects what `sinter inspect` shows: nodes with their costs, parameters. Test: tests/cli/inspect.test */
#include "tools/sinter/inspect.h"
#include <math.h>

/* once: the region runs once in a run of the model; how often branches and loops run is not known. */
static void visit(inspection *all, sinter_region region, unsigned depth, bool once) {
    SINTER_FOR_NODES (all->module, region, node) {
        const sinter_node_info *info = sinter_node_get(all->module, node);
        if (info->op == SINTER_OP_constant) {
            const sinter_tensor *tensor = sinter_value_constant(all->module, info->results[0]);
            all->parameters += tensor ? (uint64_t)sinter_tensor_count(tensor) : 0;
            all->parameter_bytes += tensor ? sinter_tensor_bytes(tensor) : 0;
            continue;
        }
        if (sinter_op_has_trait(info->op, SINTER_TRAIT_TERMINATOR)) continue;
        inspected_node one = {.node = node,
                              .depth = depth,
                              .cost = sinter_cost_node(all->module, node),
                              .seconds = -1,
                              .flops = -1,
                              .bytes = -1,
                              .share = -1};
        sinter_vector_push(&all->arena, &all->nodes, one);
        if (once && one.cost.multiply_adds)
            all->multiply_adds = sinter_dim_add(sinter_module_dims(all->module), all->multiply_adds,
                                                one.cost.multiply_adds);
        else
            all->unknown++;
        info = sinter_node_get(all->module, node);
        for (uint32_t i = 0; i < info->region_count; ++i)
            visit(all, info->regions[i], depth + 1, once && info->op == SINTER_OP_group);
    }
}

void inspection_init(inspection *all, sinter_module *module) {
    *all = (inspection){.module = module,
                        .multiply_adds = sinter_dim_const(sinter_module_dims(module), 0)};
    sinter_arena_init(&all->arena);
    sinter_trace_init(&all->sharing.run);
}

void inspection_collect(inspection *all) {
    visit(all, sinter_module_main(all->module), 0, true);
}

void inspection_deinit(inspection *all) {
    sinter_trace_deinit(&all->sharing.run);
    sinter_arena_deinit(&all->arena);
}

void inspect_print_count(double count, sinter_text *text) {
    static const char prefixes[] = " kMGTPE";
    size_t at = 0;
    while (count >= 999.5 && at + 2 < sizeof prefixes) {
        count /= 1000;
        at++;
    }
    if (at == 0)
        sinter_text_format(text, "%.0f", count);
    else
        sinter_text_format(text, "%.*f %c",
                           count < 9.995   ? 2
                           : count < 99.95 ? 1
                                           : 0,
                           count, prefixes[at]);
}

void inspect_print_bytes(double bytes, sinter_text *text) {
    inspect_print_count(bytes, text);
    sinter_text_append_string(text, bytes < 999.5 ? " B" : "B");
}

void inspect_print_dim(sinter_module *module, sinter_dim dim, sinter_text *text) {
    int64_t value;
    if (dim && sinter_dim_is_const(sinter_module_dims(module), dim, &value))
        inspect_print_count((double)value, text);
    else
        sinter_dim_print(sinter_module_dims(module), dim, text);
}

void inspect_summary(const inspection *all, sinter_text *text) {
    sinter_text_format(text, "%zu nodes, ", all->nodes.count);
    inspect_print_count((double)all->parameters, text);
    sinter_text_append_string(text, " parameters (");
    inspect_print_bytes((double)all->parameter_bytes, text);
    sinter_text_append_string(text, "), ");
    inspect_print_dim(all->module, all->multiply_adds, text);
    sinter_text_append_string(text, " multiply-adds");
    if (all->unknown)
        sinter_text_format(text, " and those of %zu nodes that only a run can tell", all->unknown);
}
