/* Computes at compile time what is known then, with the reference evaluator: nodes whose operands are constants,
 * integer vectors whose elements inference knows (they become a constant, or dim_vector where a symbol is in them),
 * and `if` on a known condition. Left alone: random draws; results above a limit; results that are only a
 * longer way to write their operands (a broadcast, a widened weight) or a second copy of a large one (a tied embedding,
 * transposed); dequantize_linear, which tells later passes how a weight is quantized; products too large for the evaluator.
 * Test: tests/passes/fold_constants/ */
#include "passes/fold_constants.h"
#include "ir/eval.h"
#include "passes/pass.h"

#include <assert.h>

enum {
    LIMIT = 64 << 20,
    SMALL = 1 << 14,   /* bytes that may always be written out */
    MAX_GROWTH = 2,    /* of longer ones: result bytes over operand bytes */
    COPY = 1 << 20,    /* bytes that may be there in two orders */
    MAX_WORK_LOG2 = 32 /* products of element counts that the evaluator does in seconds */
};

typedef struct folder {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
} folder;

/* ---- what is worth folding ---- */

typedef struct footprint {
    uint64_t operand_bytes, result_bytes;
    uint64_t largest_operand, results; /* elements */
    bool keeps_count;                  /* a result has the element count of an operand */
} footprint;

static bool tensor_bytes(const folder *state, sinter_value value, uint64_t *out_count,
                         uint64_t *out_bytes) {
    const sinter_type *type = sinter_value_type(state->module, value);
    return type->kind == SINTER_TYPE_TENSOR &&
           sinter_type_static_count(sinter_module_dims(state->module), type, out_count) &&
           sinter_dtype_bytes(type->dtype, *out_count, out_bytes);
}

/* False where an operand is not constant or a result has no known size. */
static bool measure(const folder *state, const sinter_node_info *info, footprint *out) {
    uint64_t count = 0, bytes = 0;
    *out = (footprint){0};
    for (uint32_t i = 0; i < info->operand_count; i++) {
        if (!info->operands[i]) continue;
        if (!sinter_value_constant(state->module, info->operands[i]) ||
            !tensor_bytes(state, info->operands[i], &count, &bytes))
            return false;
        out->operand_bytes += bytes < count ? count : bytes; /* few bits: kernels pack bytes */
        if (count > out->largest_operand) out->largest_operand = count;
    }
    for (uint32_t i = 0; i < info->result_count; i++) {
        if (!info->results[i]) continue;
        if (!tensor_bytes(state, info->results[i], &count, &bytes) || bytes > LIMIT) return false;
        out->result_bytes += bytes;
        out->results += count;
        out->keeps_count |= count == out->largest_operand;
    }
    return out->result_bytes <= LIMIT;
}

/* A large constant in another order, for products alone, which read any order; others want it as it is. */
static bool is_second_copy(const folder *state, const sinter_node_info *info,
                           const footprint *size) {
    if (info->op != SINTER_OP_transpose || size->result_bytes < COPY ||
        sinter_value_has_one_use(state->module, info->operands[0]))
        return false;
    const sinter_value_info *result = sinter_value_get(state->module, info->results[0]);
    for (size_t i = 0; i < result->uses.count; i++) {
        sinter_op op = sinter_node_get(state->module, result->uses.items[i].node)->op;
        if (sinter_op_get_info(op)->pattern != SINTER_PATTERN_CONTRACT) return false;
    }
    return true;
}

static bool is_worth_it(const folder *state, const sinter_node_info *info) {
    footprint size;
    if (info->region_count || info->result_count == 0 || info->op == SINTER_OP_constant ||
        info->op == SINTER_OP_dim_vector || info->op == SINTER_OP_dequantize_linear ||
        sinter_op_has_trait(info->op, SINTER_TRAIT_IMPURE | SINTER_TRAIT_TERMINATOR) ||
        !measure(state, info, &size))
        return false;
    sinter_pattern pattern = sinter_op_get_info(info->op)->pattern;
    bool longer = pattern == SINTER_PATTERN_VIEW ||
                  (pattern == SINTER_PATTERN_ELEMENTWISE && size.keeps_count);
    if (longer && size.result_bytes > SMALL && size.result_bytes / MAX_GROWTH > size.operand_bytes)
        return false;
    if (is_second_copy(state, info, &size)) return false;
    uint64_t work = 0;
    bool cheap = pattern == SINTER_PATTERN_VIEW || pattern == SINTER_PATTERN_ELEMENTWISE ||
                 pattern == SINTER_PATTERN_GATHER || pattern == SINTER_PATTERN_SCATTER;
    return cheap || (!__builtin_mul_overflow(size.largest_operand, size.results, &work) &&
                     work >> MAX_WORK_LOG2 == 0);
}

/* ---- folding ---- */

static bool evaluate(folder *state, sinter_node node, sinter_tensor *out_results) {
    const sinter_node_info *info = sinter_node_get(state->module, node);
    const sinter_tensor **operands =
        SINTER_NEW_ARRAY(state->scratch, const sinter_tensor *, info->operand_count);
    for (uint32_t i = 0; i < info->operand_count; i++)
        operands[i] = sinter_value_constant(state->module, info->operands[i]);
    /* What fails here fails when run, too, and is reported then. */
    sinter_diag quiet = {0};
    bool good = sinter_eval_node(state->module, node, operands, out_results, &quiet);
    for (uint32_t i = 0; i < info->operand_count;
         i++) /* mapped weights come back when read again */
        if (operands[i])
            sinter_storage_drop_pages(operands[i]->storage, operands[i]->data,
                                      sinter_tensor_bytes(operands[i]));
    return good;
}

/* Whether evaluation gave what inference promised. */
static bool has_type(const folder *state, const sinter_tensor *tensor, sinter_value value) {
    const sinter_type *type = sinter_value_type(state->module, value);
    if (tensor->kind != type->kind || tensor->dtype != type->dtype || tensor->rank != type->rank)
        return false;
    for (uint32_t i = 0; i < type->rank; i++)
        if (!sinter_dim_is(sinter_module_dims(state->module), type->dims[i], tensor->dims[i]))
            return false;
    return true;
}

static bool fold_node(folder *state, sinter_node node) {
    sinter_module *module = state->module;
    if (!is_worth_it(state, sinter_node_get(module, node))) return false;
    uint32_t count = sinter_node_get(module, node)->result_count;
    sinter_tensor *results = SINTER_NEW_ARRAY(state->scratch, sinter_tensor, count);
    sinter_value *values = SINTER_NEW_ARRAY(state->scratch, sinter_value, count);
    if (!evaluate(state, node, results)) return false;
    bool ok = true;
    for (uint32_t i = 0; i < count; i++) {
        sinter_value result = sinter_node_result(module, node, i);
        if (result) ok &= has_type(state, &results[i], result);
    }
    for (uint32_t i = 0; i < count; i++) {
        if (ok && sinter_node_result(module, node, i))
            values[i] = sinter_build_constant(&state->rewrite->build, results[i]);
        else
            sinter_tensor_deinit(&results[i]);
    }
    if (ok) sinter_rewrite_replace_node(state->rewrite, node, values);
    return ok;
}

sinter_value sinter_fold_value(sinter_rewrite *rewrite, sinter_value value) {
    sinter_module *module = rewrite->build.module;
    const sinter_tensor *operands[8] = {0};
    sinter_tensor tensor = {0};
    if (!value) return 0;
    sinter_node node = sinter_value_get(module, value)->definition;
    uint32_t count = sinter_node_get(module, node)->operand_count;
    assert(count <= sizeof operands / sizeof *operands);
    for (uint32_t i = 0; i < count; i++) {
        sinter_value operand = sinter_node_operand(module, node, i);
        operands[i] = operand ? sinter_value_constant(module, operand) : NULL;
    }
    sinter_value folded = sinter_eval_node(module, node, operands, &tensor, rewrite->build.diag)
                              ? sinter_build_constant(&rewrite->build, tensor)
                              : 0;
    sinter_rewrite_erase(rewrite, node);
    return folded;
}

/* ---- known contents ---- */

/* The elements as a constant of the value's type; 0 where one is not a number. */
static sinter_value constant_of(folder *state, const sinter_type *type, const sinter_dim *items,
                                size_t count) {
    const sinter_dim_table *table = sinter_module_dims(state->module);
    sinter_tensor tensor;
    int64_t dims[SINTER_MAX_RANK] = {0}, number = 0;
    for (size_t i = 0; i < count; i++)
        if (!sinter_dim_is_const(table, items[i], &number)) return 0;
    for (uint32_t i = 0; i < type->rank; i++)
        if (!sinter_dim_is_const(table, type->dims[i], &dims[i])) return 0;
    if (!sinter_tensor_create(&tensor, type->dtype, type->rank, dims, state->rewrite->build.diag))
        return 0;
    for (size_t i = 0; i < count; i++) {
        sinter_dim_is_const(table, items[i], &number);
        sinter_tensor_set_int(&tensor, (int64_t)i, number);
    }
    return sinter_build_constant(&state->rewrite->build, tensor);
}

/* A node of one result, all of whose elements inference knows. */
static bool fold_content(folder *state, sinter_node node) {
    sinter_module *module = state->module;
    const sinter_node_info *info = sinter_node_get(module, node);
    sinter_value result = info->result_count == 1 ? info->results[0] : 0;
    const sinter_dim *items = NULL;
    size_t count = 0;
    if (!result || info->op == SINTER_OP_constant || info->op == SINTER_OP_dim_vector ||
        info->region_count || !sinter_value_known_dims(module, result, &items, &count))
        return false;
    const sinter_type type = *sinter_value_type(module, result);
    uint64_t elements = 0;
    if (!sinter_type_static_count(sinter_module_dims(module), &type, &elements) ||
        elements != count)
        return false;
    for (size_t i = 0; i < count; i++)
        if (sinter_dim_reads(sinter_module_dims(module), items[i], result)) return false;
    sinter_value value = constant_of(state, &type, items, count);
    if (!value && type.rank == 1 && type.dtype == SINTER_DTYPE_i64)
        value = sinter_build_dims(&state->rewrite->build, items, count);
    if (value) sinter_rewrite_replace_node(state->rewrite, node, &value);
    return value != 0;
}

/* ---- regions ---- */

static bool fold_if(folder *state, sinter_node node) {
    sinter_module *module = state->module;
    const sinter_node_info *info = sinter_node_get(module, node);
    int64_t condition = 0;
    size_t count = 0;
    if (info->op != SINTER_OP_if ||
        !sinter_value_known_ints(module, info->operands[0], &condition, 1, &count) || count != 1)
        return false;
    sinter_region taken = info->regions[condition ? 0 : 1];
    sinter_node yield = sinter_region_get(module, taken)->last;
    for (uint32_t i = 0; i < info->result_count; i++) { /* branches may differ in their dims */
        if (!info->results[i]) continue;
        const sinter_type *type = sinter_value_type(module, info->results[i]);
        const sinter_type *own = sinter_value_type(module, sinter_node_operand(module, yield, i));
        if (type->kind != own->kind || type->dtype != own->dtype || type->rank != own->rank)
            return false;
    }
    sinter_rewrite_inline_region(state->rewrite, node, taken, NULL);
    return true;
}

static void fold_region(folder *state, sinter_region region);

static void visit_node(folder *state, sinter_node node) {
    sinter_module *module = state->module;
    sinter_rewrite_at(state->rewrite, node);
    if (fold_if(state, node) || fold_node(state, node) || fold_content(state, node)) return;
    for (uint32_t i = 0; i < sinter_node_get(module, node)->region_count; i++)
        fold_region(state, sinter_node_get(module, node)->regions[i]);
}

/* What an `if` leaves behind is visited too: it comes before the `if`, after what was visited last. */
static void fold_region(folder *state, sinter_region region) {
    sinter_module *module = state->module;
    sinter_node node = sinter_region_get(module, region)->first;
    while (node) {
        sinter_node previous = sinter_node_get(module, node)->previous;
        sinter_node next = sinter_node_get(module, node)->next;
        bool control = sinter_node_get(module, node)->op == SINTER_OP_if;
        visit_node(state, node);
        if (control && sinter_node_get(module, node)->erased)
            next = previous && !sinter_node_get(module, previous)->erased
                       ? sinter_node_get(module, previous)->next
                       : sinter_region_get(module, region)->first;
        node = next;
    }
}

void sinter_pass_fold_constants(sinter_pass_context *context) {
    sinter_module *module = context->module;
    folder state = {.module = module, .scratch = &context->scratch, .rewrite = &context->rewrite};
    fold_region(&state, sinter_module_main(module));
}
