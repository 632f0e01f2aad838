/* Which convolutions Winograd's kernel takes (see winograd.h). Test: tests/passes/winograd/, tests/codegen/lower/winograd.sir */
#include "ir/winograd.h"

/* Every item lies within the bounds; so do items that are not there. */
static bool items_within(const sinter_module *module, sinter_node node, const char *name,
                         int64_t low, int64_t high) {
    const int64_t *items = NULL;
    size_t count = sinter_node_get_ints(module, node, name, &items);
    for (size_t i = 0; i < count; i++)
        if (items[i] < low || items[i] > high) return false;
    return true;
}

bool sinter_winograd_takes(const sinter_module *module, sinter_node node,
                           const sinter_tensor *weight) {
    const sinter_value result = sinter_node_get(module, node)->results[0];
    return sinter_node_get_int(module, node, "group", 1) == 1 &&
           sinter_node_get_int(module, node, "channels_last", 0) != 0 && weight->rank == 4 &&
           weight->dtype == SINTER_DTYPE_f32 &&
           sinter_value_type(module, result)->dtype == SINTER_DTYPE_f32 && weight->dims[0] > 0 &&
           weight->dims[1] > 0 && weight->dims[2] == SINTER_WINOGRAD_TAPS &&
           weight->dims[3] == SINTER_WINOGRAD_TAPS && items_within(module, node, "strides", 1, 1) &&
           items_within(module, node, "dilations", 1, 1) &&
           items_within(module, node, "pads", 0, 1);
}
