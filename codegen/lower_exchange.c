/* Collectives: a kernel that hands one buffer to the runtime, and gets another. Only those whose pieces lie one after the other
 * in memory; shard-localize brings the others into that form. Test: tests/cli/shard.test */
#include "codegen/lower.h"
#include "ir/mesh.h"
#include "runtime/abi.h"

/* Of one collective: what it is called in the contract, and whether its words say that pieces lie one after the other. */
typedef struct row {
    const char *name;
    int32_t kind;
} row;
static const row rows[] = {{"all_reduce", SINTER_ABI_ALL_REDUCE},
                           {"all_gather", SINTER_ABI_ALL_GATHER},
                           {"reduce_scatter", SINTER_ABI_REDUCE_SCATTER},
                           {"all_to_all", SINTER_ABI_ALL_TO_ALL}};

static const row *find_row(const char *name) {
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (sinter_string_is(sinter_string_of(name), rows[i].name)) return &rows[i];
    return NULL;
}

static bool dim_is(sinter_lower *lower, sinter_value value, uint32_t axis, int64_t size) {
    const sinter_type *type = sinter_value_type(lower->module, value);
    return axis < type->rank && sinter_dim_is(lower->dims, type->dims[axis], size);
}

static int64_t dim_size(sinter_lower *lower, sinter_value value, uint32_t axis) {
    const sinter_type *type = sinter_value_type(lower->module, value);
    int64_t size = -1;
    if (axis < type->rank) sinter_dim_is_const(lower->dims, type->dims[axis], &size);
    return size;
}

static bool is_packed(sinter_lower *lower, sinter_node node, int32_t kind, int64_t ranks) {
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 y = sinter_node_result(lower->module, node, 0);
    if (kind == SINTER_ABI_ALL_REDUCE) return true;
    if (kind == SINTER_ABI_ALL_TO_ALL)
        return sinter_node_get_int(lower->module, node, "split_axis", -1) == 0 &&
               sinter_node_get_int(lower->module, node, "concat_axis", -1) == 1 &&
               dim_is(lower, x, 0, ranks) && dim_is(lower, x, 1, 1) && dim_is(lower, y, 1, ranks);
    bool gathers = kind == SINTER_ABI_ALL_GATHER;
    int64_t part = dim_size(lower, gathers ? x : y, 0), whole = dim_size(lower, gathers ? y : x, 0);
    return sinter_node_get_int(lower->module, node, "axis", -1) == 0 && part >= 0 &&
           whole == part * ranks;
}

static int32_t reduction_of(sinter_lower *lower, sinter_node node) {
    static const char *const words[] = {"sum", "prod", "max", "min"};
    if (!sinter_node_find_attr(lower->module, node, "reduction")) return SINTER_ABI_SUM;
    sinter_string word = sinter_node_get_string(lower->module, node, "reduction");
    for (int32_t i = 0; i < 4; i++)
        if (sinter_string_is(word, words[i])) return i;
    return SINTER_ABI_SUM;
}

/* Collectives before this one. */
static uint32_t count_before(sinter_lower *lower, sinter_node node) {
    uint32_t count = 0;
    for (sinter_node n = sinter_node_get(lower->module, node)->previous; n;
         n = sinter_node_get(lower->module, n)->previous)
        count += sinter_op_get_info(sinter_node_op(lower->module, n))->pattern ==
                 SINTER_PATTERN_COLLECTIVE;
    return count;
}

bool sinter_lower_exchange(sinter_lower *lower, sinter_node node) {
    sinter_mesh_axes over;
    const char *name = sinter_op_get_info(sinter_node_op(lower->module, node))->name;
    const row *r = find_row(name);
    const sinter_mesh *mesh = sinter_module_mesh(lower->module);
    if (!r || !sinter_node_get_mesh_axes(lower->module, node, &over))
        return sinter_lower_error(lower, node, "its ranks are not known");
    int64_t ranks = sinter_mesh_axes_product(mesh, &over);
    if (mesh->rank < 0 || !is_packed(lower, node, r->kind, ranks))
        return sinter_lower_error(lower, node,
                                  "the program is not that of one rank: --shard-localize makes it");
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 y = sinter_node_result(lower->module, node, 0);
    const sinter_type *type = sinter_value_type(lower->module, x);
    sinter_loop_exchange words = {.kind = r->kind,
                                  .reduction = reduction_of(lower, node),
                                  .dtype = sinter_dtype_infos[type->dtype].onnx_code,
                                  .index = count_before(lower, node)};
    if (sinter_dtype_infos[type->dtype].bits % 8)
        return sinter_lower_error(lower, node, "elements smaller than a byte can't be exchanged");
    for (uint32_t i = 0; i < over.count; i++)
        words.over |= (uint64_t)(over.items[i] + 1) << (8 * i);
    sinter_loop_buffer source = sinter_lower_host_buffer(lower, x),
                       target = sinter_lower_host_buffer(lower, y);
    sinter_kernel kernel;
    sinter_kernel_begin_named(&kernel, lower, name);
    sinter_loop_buffer from = sinter_kernel_bind_buffer(&kernel, source, SINTER_SCOPE_INPUT, "x");
    sinter_loop_buffer to = sinter_kernel_bind_buffer(&kernel, target, SINTER_SCOPE_OUTPUT, "y");
    sinter_loop_exchange_with(&kernel.build, to, from, &words);
    return sinter_kernel_end(&kernel, 0);
}
