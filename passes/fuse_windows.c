/* Windows over what is made for them alone, as one group, whose kernel makes it by rows: a depthwise convolution over a convolution, the
 * convolution that takes its channels together over both, and a convolution of one tap over elementwise nodes. Where what lies between is larger
 * than a core's cache, memory never sees it then. By the ops and shapes alone; how is lowering's (codegen/lower/streamed.c,
 * codegen/lower/staged.c). Test: tests/passes/fuse/streamed.sir, tests/passes/fuse/staged.sir */
#include "ir/ring.h"
#include "passes/fuse.h"

/* Rings of all channels take at most this part of a core's cache; at a sixth they cost what they save. */
enum { RING_SHARE = 8 };

/* A convolution of two spatial axes in f32, or in bytes that have no zero points, so that what is around them is 0; channels last,
 * dims but the first known. */
static bool is_plain_conv(const sinter_fusion *f, sinter_node node) {
    const sinter_dim_table *dims = sinter_module_dims(f->module);
    const sinter_node_info *info = sinter_node_get(f->module, node);
    const int64_t *plan = NULL;
    int64_t size;
    bool integer = info->op == SINTER_OP_conv_integer;
    if (!(integer ? info->operand_count < 3 : info->op == SINTER_OP_conv) ||
        !sinter_node_get_int(f->module, node, "channels_last", 0) ||
        sinter_node_get_ints(f->module, node, "winograd", &plan))
        return false;
    const sinter_value values[] = {info->operands[0], info->results[0]};
    for (int i = 0; i < 2; ++i) {
        const sinter_type *type = sinter_value_type(f->module, values[i]);
        bool fits =
            integer ? sinter_dtype_infos[type->dtype].bits >= 8 : type->dtype == SINTER_DTYPE_f32;
        if (type->rank != 4 || !fits) return false;
        for (uint32_t d = 1; d < type->rank; ++d)
            if (!sinter_dim_is_const(dims, type->dims[d], &size)) return false;
    }
    const sinter_type *weight = sinter_value_type(f->module, info->operands[1]);
    return sinter_dim_is_const(dims, weight->dims[2], &size);
}

static int64_t const_dim(const sinter_fusion *f, sinter_value value, uint32_t axis) {
    int64_t size = -1;
    sinter_dim_is_const(sinter_module_dims(f->module),
                        sinter_value_type(f->module, value)->dims[axis], &size);
    return size;
}

/* Each channel has a window of its own, which leaves out no row. */
static bool is_depthwise(const sinter_fusion *f, sinter_node node) {
    if (!is_plain_conv(f, node)) return false;
    sinter_value x = sinter_node_operand(f->module, node, 0),
                 weight = sinter_node_operand(f->module, node, 1);
    int64_t channels = const_dim(f, x, 3);
    return sinter_node_get_int(f->module, node, "group", 1) == channels &&
           const_dim(f, weight, 0) == channels &&
           sinter_node_get_int_at(f->module, node, "strides", 0, 1) <= const_dim(f, weight, 2);
}

/* One image of the value, for which the cache that a core has to itself is too little. */
static bool is_large(const sinter_fusion *f, sinter_value value) {
    int64_t bytes = sinter_dtype_infos[sinter_value_type(f->module, value)->dtype].bits / 8;
    for (uint32_t axis = 1; axis < 4; ++axis) bytes *= const_dim(f, value, axis);
    return bytes > (int64_t)f->machine->l2_bytes;
}

static int64_t reach_of(const sinter_fusion *f, sinter_node conv, uint32_t axis) {
    int64_t taps = const_dim(f, sinter_node_operand(f->module, conv, 1), 2 + axis);
    return (taps - 1) * sinter_node_get_int_at(f->module, conv, "dilations", axis, 1) + 1;
}

/* Columns that a row of the value has for the convolution that reads it, those of the padding too. */
static int64_t row_width(const sinter_fusion *f, sinter_node node, sinter_value value) {
    int64_t width = const_dim(f, value, 2);
    if (!sinter_string_is(sinter_node_get_string(f->module, node, "auto_pad"), "NOTSET"))
        return width + reach_of(f, node, 1);
    return width + sinter_node_get_int_at(f->module, node, "pads", 1, 0) +
           sinter_node_get_int_at(f->module, node, "pads", 3, 0);
}

/* A few rows of it, as many as the window reaches, fit a thread's stack: of a block of channels at least. */
static bool has_short_rows(const sinter_fusion *f, sinter_node node, sinter_value value) {
    return sinter_ring_channels(const_dim(f, value, 3), sinter_ring_rows(reach_of(f, node, 0)),
                                row_width(f, node, value)) > 0;
}

/* Bytes of all channels of so many rows of what the convolution reads. */
static int64_t ring_bytes(const sinter_fusion *f, sinter_node node, int64_t rows) {
    sinter_value x = sinter_node_operand(f->module, node, 0);
    return sinter_ring_rows(rows) * row_width(f, node, x) * const_dim(f, x, 3) *
           (sinter_dtype_infos[sinter_value_type(f->module, x)->dtype].bits / 8);
}

/* The convolution of the group that stands before the node, which reads what it makes; 0: there is none. */
static sinter_node find_before(const sinter_fusion *f, uint32_t group, sinter_node node) {
    const sinter_fusion_group *members = &f->groups.items[group];
    sinter_node found = 0;
    for (size_t i = 0; i < members->nodes.count; ++i) {
        sinter_node other = members->nodes.items[i];
        if (f->position[other] < f->position[node] && is_plain_conv(f, other) &&
            (!found || f->position[found] < f->position[other]))
            found = other;
    }
    return found;
}

/* A convolution behind the chain of the group can be made by rows with it: the chain is no longer than lowering takes, and the
 * rings of all channels are little. A row of the last is made of as many rows of each as all windows behind it reach together. */
static bool has_little_rings(const sinter_fusion *f, uint32_t group, sinter_node node) {
    int64_t bytes = 0, rows = 1, count = 1;
    for (sinter_node at = node, before; (before = find_before(f, group, at)); at = before) {
        rows = (rows - 1) * sinter_node_get_int_at(f->module, at, "strides", 0, 1) +
               reach_of(f, at, 0);
        bytes += ring_bytes(f, at, rows);
        count++;
    }
    return count <= SINTER_RING_STAGES && bytes <= (int64_t)f->machine->l2_bytes / RING_SHARE;
}

/* The group, with its anchor a convolution, that makes what only this convolution reads; 0: there is none. Otherwise its number
 * and 1. */
static uint32_t find_maker(const sinter_fusion *f, sinter_node node, uint32_t own) {
    sinter_node definition =
        sinter_value_definition(f->module, sinter_node_operand(f->module, node, 0));
    if (!definition || sinter_node_get(f->module, definition)->parent != f->region) return 0;
    uint32_t producer = f->group_of[definition];
    if (!producer) return 0;
    const sinter_fusion_group *group = &f->groups.items[producer - 1];
    bool joins = group->anchor && !group->staged && is_plain_conv(f, group->anchor) &&
                 group->nodes.count + f->groups.items[own].nodes.count <= SINTER_FUSE_LIMIT &&
                 sinter_fuse_first_outside_use(f, producer - 1, own) == UINT32_MAX;
    return joins ? producer : 0;
}

/* The same of a node and what makes its operand. */
static bool comes_by_rows(const sinter_fusion *f, sinter_node node, sinter_node maker, bool model) {
    const sinter_node nodes[] = {node, maker};
    return sinter_fuse_comes_by_rows(f, nodes, 2, model);
}

/* A depthwise convolution takes in the convolution that makes what only it reads, where that is large: it comes by rows then
 * (codegen/lower/streamed.c) and memory never sees it. In blocks of channels, or behind a chain that needs all channels at once. */
static void join_streamed(sinter_fusion *f, sinter_node node, uint32_t own) {
    sinter_value x = sinter_node_operand(f->module, node, 0);
    if (f->machine->has_device || !is_depthwise(f, node) || !has_short_rows(f, node, x)) return;
    uint32_t maker = find_maker(f, node, own);
    if (!maker || is_depthwise(f, f->groups.items[maker - 1].anchor)) return;
    bool has_blocks = !find_before(f, maker - 1, f->groups.items[maker - 1].anchor);
    if (!(has_blocks || has_little_rings(f, maker - 1, node)) ||
        !comes_by_rows(f, node, f->groups.items[maker - 1].anchor, is_large(f, x)))
        return;
    sinter_fuse_merge(f, own, maker - 1);
    f->groups.items[own].anchor = node;
}

/* What takes the channels of a depthwise convolution together takes it in, and what is made by rows for it already, where the
 * rows of all channels are little: blocks of channels would stay nearer to the core. */
static void join_projected(sinter_fusion *f, sinter_node node, uint32_t own) {
    sinter_value x = sinter_node_operand(f->module, node, 0);
    if (f->machine->has_device || !is_plain_conv(f, node) ||
        sinter_node_get_int(f->module, node, "group", 1) != 1 ||
        sinter_node_get_int_at(f->module, node, "strides", 0, 1) > reach_of(f, node, 0))
        return;
    uint32_t maker = find_maker(f, node, own);
    if (!maker || !is_depthwise(f, f->groups.items[maker - 1].anchor)) return;
    sinter_node window = f->groups.items[maker - 1].anchor;
    if (!has_little_rings(f, maker - 1, node) || !comes_by_rows(f, node, window, is_large(f, x)))
        return;
    sinter_fuse_merge(f, own, maker - 1);
    f->groups.items[own].anchor = node;
}

/* A convolution of one tap takes in the elementwise nodes that make what only it reads, where that is large: each element is
 * computed once, in a row that fits a thread's stack (codegen/lower/staged.c), and memory never sees it. What the group widens
 * already is in the row as it was before. */
static void join_staged(sinter_fusion *f, sinter_node node, uint32_t own) {
    sinter_value x = sinter_node_operand(f->module, node, 0),
                 weight = sinter_node_operand(f->module, node, 1),
                 y = sinter_node_result(f->module, node, 0);
    sinter_node definition = sinter_value_definition(f->module, x);
    if (definition && f->group_of[definition] == own + 1) {
        x = sinter_node_operand(f->module, definition, 0);
        definition = sinter_value_definition(f->module, x);
    }
    if (f->machine->has_device || !is_plain_conv(f, node) ||
        sinter_node_get_int(f->module, node, "group", 1) != 1)
        return;
    int64_t row = const_dim(f, x, 2) * const_dim(f, x, 3) *
                  (sinter_dtype_infos[sinter_value_type(f->module, x)->dtype].bits / 8);
    for (uint32_t axis = 0; axis < 2; ++axis)
        if (const_dim(f, weight, 2 + axis) != 1 ||
            sinter_node_get_int_at(f->module, node, "strides", axis, 1) != 1 ||
            const_dim(f, y, 1 + axis) != const_dim(f, x, 1 + axis)) /* pads */
            return;
    if (row > SINTER_STACK_SHARE || !definition || !sinter_fuse_is_elementwise(f, definition) ||
        sinter_node_get(f->module, definition)->parent != f->region || !f->group_of[definition])
        return;
    uint32_t producer = f->group_of[definition] - 1;
    const sinter_fusion_group *group = &f->groups.items[producer];
    if (group->anchor ||
        group->nodes.count + f->groups.items[own].nodes.count > SINTER_FUSE_LIMIT ||
        sinter_fuse_first_outside_use(f, producer, own) != UINT32_MAX ||
        !comes_by_rows(f, node, definition, is_large(f, x)))
        return;
    sinter_fuse_merge(f, own, producer);
    f->groups.items[own].staged = true;
}

void sinter_fuse_windows(sinter_fusion *f, sinter_node node, uint32_t own) {
    join_streamed(f, node, own);
    join_projected(f, node, own);
    join_staged(f, node, own);
}
