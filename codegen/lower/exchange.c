/* Collectives: a kernel that hands one buffer to the runtime, and gets another. Only those whose pieces lie one after the other
 * in memory; shard-localize brings the others into that form. Test: tests/cli/shard.test, tests/suites/shard_values.py */
#include "codegen/lower/lower.h"
#include "ir/link_clock.h"
#include "ir/sharding.h"
#include "runtime/abi.h"

#include <assert.h>
#include <string.h>

static_assert((int)SINTER_EXCHANGES_UNDER_WAY == (int)SINTER_ABI_EXCHANGES_UNDER_WAY,
              "passes put as many under way as may be");

static const char not_local[] = "the program is not that of one rank: --shard-localize makes it";

/* What the op table calls it; -1: no exchange of the contract. */
static int32_t kind_of(const sinter_op_info *op) {
    static const char *const names[] = SINTER_ABI_EXCHANGE_NAMES;
    for (int32_t i = 0; i < (int32_t)(sizeof names / sizeof *names); i++)
        if (!strcmp(op->body, names[i])) return i;
    return -1;
}

static int64_t dim_size(sinter_lower *lower, sinter_value value, uint32_t axis) {
    const sinter_type *type = sinter_value_type(lower->module, value);
    int64_t size = -1;
    if (axis < type->rank) sinter_dim_is_const(lower->dims, type->dims[axis], &size);
    return size;
}

/* Whether its words say that pieces lie one after the other. */
static bool is_packed(sinter_lower *lower, sinter_node node, int32_t kind, int64_t ranks) {
    sinter_value x = sinter_node_operand(lower->module, node, 0),
                 y = sinter_node_result(lower->module, node, 0);
    int64_t given = dim_size(lower, x, 0), got = dim_size(lower, y, 0);
    switch (kind) {
    case SINTER_ABI_ALL_GATHER:
        return sinter_node_get_int(lower->module, node, "axis", -1) == 0 && given >= 0 &&
               got == given * ranks;
    case SINTER_ABI_REDUCE_SCATTER:
        return sinter_node_get_int(lower->module, node, "axis", -1) == 0 && got >= 0 &&
               given == got * ranks;
    case SINTER_ABI_ALL_TO_ALL:
        return sinter_node_get_int(lower->module, node, "split_axis", -1) == 0 &&
               sinter_node_get_int(lower->module, node, "concat_axis", -1) == 1 && given == ranks &&
               dim_size(lower, x, 1) == 1 && dim_size(lower, y, 1) == ranks;
    default:
        return true;
    }
}

static int32_t reduction_of(sinter_lower *lower, sinter_node node) {
    static const char *const words[] = {"sum", "prod", "max", "min"};
    sinter_string word = sinter_node_get_string(lower->module, node, "reduction");
    for (int32_t i = 0; i < 4; i++)
        if (sinter_string_is(word, words[i])) return i;
    return SINTER_ABI_SUM; /* of ops that reduce nothing */
}

/* From whom this rank gets, and to whom it gives. */
static void find_pair(sinter_lower *lower, sinter_node node, int64_t rank,
                      sinter_loop_exchange *words) {
    const int64_t *pairs = NULL;
    size_t count = sinter_node_get_ints(lower->module, node, "pairs", &pairs);
    for (size_t i = 0; i + 1 < count; i += 2) {
        if (pairs[i] == rank) words->to = (int32_t)pairs[i + 1];
        if (pairs[i + 1] == rank) words->from = (int32_t)pairs[i];
    }
}

/* A byte an axis, its number + 1. */
static uint64_t pack_axes(const sinter_mesh_axes *axes) {
    uint64_t packed = 0;
    for (uint32_t i = 0; i < axes->count; i++) packed |= (uint64_t)(axes->items[i] + 1) << (8 * i);
    return packed;
}

/* Whether pieces of elements below a byte begin and end with bytes: they are exchanged as these. */
static bool is_of_bytes(sinter_lower *lower, sinter_node node, int32_t kind, uint32_t bits) {
    const sinter_type *type =
        sinter_value_type(lower->module, sinter_node_operand(lower->module, node, 0));
    sinter_dim piece = sinter_dim_const(lower->dims, 1);
    for (uint32_t i = kind == SINTER_ABI_ALL_TO_ALL; i < type->rank; i++)
        piece = sinter_dim_mul(lower->dims, piece, type->dims[i]);
    return !sinter_op_adds(sinter_node_op(lower->module, node)) &&
           sinter_dim_known_multiple(lower->dims, piece) % (8 / bits) == 0;
}

/* False after an error. */
static bool find_words(sinter_lower *lower, sinter_node node, sinter_loop_exchange *out_words) {
    const sinter_mesh *mesh = sinter_module_mesh(lower->module);
    const sinter_op_info *op = sinter_op_get_info(sinter_node_op(lower->module, node));
    const sinter_type *type =
        sinter_value_type(lower->module, sinter_node_operand(lower->module, node, 0));
    sinter_mesh_axes over = {0};
    *out_words = (sinter_loop_exchange){.kind = kind_of(op),
                                        .reduction = reduction_of(lower, node),
                                        .dtype = sinter_dtype_infos[type->dtype].onnx_code,
                                        .index = lower->exchange_count++,
                                        .from = -1,
                                        .to = -1};
    bool pairs = out_words->kind == SINTER_ABI_PERMUTE;
    if (!pairs && !sinter_node_get_mesh_axes(lower->module, node, &over))
        return sinter_lower_error(lower, node, "its ranks are not known");
    if (mesh->rank < 0 || out_words->kind < 0 ||
        !is_packed(lower, node, out_words->kind, sinter_mesh_axes_product(mesh, &over)))
        return sinter_lower_error(lower, node, not_local);
    if (!sinter_sharding_check_send(lower->module, node, lower->diag)) {
        lower->failed = true;
        return false;
    }
    const uint32_t bits = sinter_dtype_infos[type->dtype].bits;
    if (bits < 8) {
        if (!is_of_bytes(lower, node, out_words->kind, bits))
            return sinter_lower_error(lower, node, not_local);
        out_words->dtype = sinter_dtype_infos[SINTER_DTYPE_u8].onnx_code;
    }
    out_words->over = pack_axes(&over);
    if (pairs) find_pair(lower, node, mesh->rank, out_words);
    return true;
}

bool sinter_lower_gather_words(sinter_lower *lower, sinter_node node, sinter_dtype dtype,
                               sinter_loop_exchange *out_words) {
    sinter_mesh_axes over = {0};
    *out_words = (sinter_loop_exchange){.kind = SINTER_ABI_ALL_GATHER,
                                        .reduction = SINTER_ABI_SUM,
                                        .dtype = sinter_dtype_infos[dtype].onnx_code,
                                        .index = lower->exchange_count++,
                                        .from = -1,
                                        .to = -1};
    if (sinter_module_mesh(lower->module)->rank < 0)
        return sinter_lower_error(lower, node, not_local);
    if (!sinter_node_get_mesh_axes(lower->module, node, &over))
        return sinter_lower_error(lower, node, "its ranks are not known");
    out_words->over = pack_axes(&over);
    return true;
}

static bool add_kernel(sinter_lower *lower, sinter_node node, sinter_value x, sinter_value y,
                       const sinter_loop_exchange *words) {
    sinter_kernel kernel;
    const bool ends = words->phase == SINTER_ABI_EXCHANGE_ENDS;
    sinter_loop_buffer source = sinter_lower_host_buffer(lower, x);
    sinter_loop_buffer target = sinter_lower_host_buffer(lower, y);
    sinter_kernel_begin_named(&kernel, lower,
                              sinter_op_get_info(sinter_node_op(lower->module, node))->name);
    sinter_loop_buffer from = sinter_kernel_bind_buffer(&kernel, source, SINTER_SCOPE_INPUT, "x");
    sinter_loop_buffer to = sinter_kernel_bind_buffer(
        &kernel, target, ends ? SINTER_SCOPE_INOUT : SINTER_SCOPE_OUTPUT, "y");
    sinter_loop_exchange_with(&kernel.build, to, from, words);
    return sinter_kernel_end(&kernel, 0);
}

bool sinter_lower_exchange(sinter_lower *lower, sinter_node node) {
    sinter_lower_begun begun = {.wait = sinter_node_find_wait(lower->module, node)};
    if (!find_words(lower, node, &begun.words)) return false;
    if (begun.wait) {
        begun.words.phase = SINTER_ABI_EXCHANGE_BEGINS;
        sinter_vector_push(&lower->scratch, &lower->begun, begun);
    }
    return add_kernel(lower, node, sinter_node_operand(lower->module, node, 0),
                      sinter_node_result(lower->module, node, 0), &begun.words);
}

/* The result is the memory that the exchange was given when it began. */
bool sinter_lower_exchange_end(sinter_lower *lower, sinter_node node) {
    sinter_value y = sinter_node_operand(lower->module, node, 0);
    for (size_t i = 0; i < lower->begun.count; i++) {
        sinter_loop_exchange words = lower->begun.items[i].words;
        if (lower->begun.items[i].wait != node) continue;
        words.phase = SINTER_ABI_EXCHANGE_ENDS;
        sinter_lower_host_alias(lower, sinter_node_result(lower->module, node, 0), y);
        return add_kernel(lower, node, sinter_node_operand(lower->module, node, 1), y, &words);
    }
    return sinter_lower_error(lower, node, "no exchange has begun that would end here");
}
