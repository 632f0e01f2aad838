/* See window_borders.h. */
#include "passes/window_borders.h"

/* What SAME adds along spatial axis i: as many as the windows of the result reach beyond the input. */
static bool count_same(const sinter_module *module, sinter_node node, uint32_t axis, uint32_t i,
                       int64_t *out_total) {
    const sinter_dim_table *dims = sinter_module_dims(module);
    const sinter_type *x = sinter_value_type(module, sinter_node_operand(module, node, 0)),
                      *w = sinter_value_type(module, sinter_node_operand(module, node, 1)),
                      *y = sinter_value_type(module, sinter_node_result(module, node, 0));
    int64_t input, kernel, result;
    if (!sinter_dim_is_const(dims, x->dims[axis], &input) ||
        !sinter_dim_is_const(dims, w->dims[i + 2], &kernel) ||
        !sinter_dim_is_const(dims, y->dims[axis], &result))
        return false;
    int64_t total = (result - 1) * sinter_node_get_int_at(module, node, "strides", i, 1) +
                    (kernel - 1) * sinter_node_get_int_at(module, node, "dilations", i, 1) + 1 -
                    input;
    *out_total = total > 0 ? total : 0;
    return true;
}

bool sinter_window_read_borders(const sinter_module *module, sinter_node node,
                                sinter_window_borders *out) {
    sinter_string mode = sinter_node_get_string(module, node, "auto_pad");
    bool upper = sinter_string_is(mode, "SAME_UPPER"), lower = sinter_string_is(mode, "SAME_LOWER");
    *out = (sinter_window_borders){
        .first = sinter_node_get_int(module, node, "channels_last", 0) != 0 ? 1 : 2,
        .spatial = sinter_value_type(module, sinter_node_operand(module, node, 0))->rank - 2};
    for (uint32_t i = 0; i < out->spatial; i++) {
        if (upper || lower) {
            int64_t total;
            if (!count_same(module, node, out->first + i, i, &total)) return false;
            out->before[i] = upper ? total / 2 : total - total / 2;
            out->after[i] = total - out->before[i];
        } else if (!sinter_string_is(mode, "VALID")) {
            out->before[i] = sinter_node_get_int_at(module, node, "pads", i, 0);
            out->after[i] = sinter_node_get_int_at(module, node, "pads", i + out->spatial, 0);
        }
        out->any |= out->before[i] != 0 || out->after[i] != 0;
    }
    return true;
}

sinter_value sinter_window_pad(sinter_rewrite *rewrite, sinter_value x,
                               const sinter_window_borders *borders, sinter_value fill) {
    int64_t pads[2 * SINTER_MAX_RANK] = {0};
    const uint32_t rank = borders->spatial + 2;
    for (uint32_t i = 0; i < borders->spatial; i++) {
        pads[borders->first + i] = borders->before[i];
        pads[borders->first + i + rank] = borders->after[i];
    }
    sinter_value operands[3] = {x, sinter_build_ints(&rewrite->build, pads, 2 * (size_t)rank),
                                fill};
    return sinter_build(&rewrite->build, SINTER_OP_pad, operands, fill ? 3 : 2, NULL, 0);
}
