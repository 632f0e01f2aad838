/* What is multiplied by weights of few bits whose scales are in blocks along the sum: with --precision=i8 it is rounded to
 * bytes, in blocks as long, each with the scale that its largest magnitude needs:
 *   matmul(x, w)  ->  matmul(dequantize_linear(quantize_linear(x, s), s), w)    s = max |x| / 127, block by block
 * once for all that read it. Sums of a block are then sums of integers. A product in which x is so already, because its file says it,
 * stays as it is. Either way every product has a dequantization of its own, which the pass fuse puts into its kernel.
 * Needs: constants folded, equal nodes merged. Test: tests/passes/lower_precision/blocks.sir */
#include "ir/base/map.h"
#include "passes/lower_precision.h"
#include "passes/packed_weight.h"

typedef struct rounded {
    sinter_value items, scales;
} rounded;

typedef struct rounding {
    sinter_module *module;
    sinter_rewrite *rewrite;
    bool asked;
    sinter_map known; /* value and block -> index of `made` */
    sinter_arena *scratch;
    SINTER_VECTOR(rounded) made;
} rounding;

static void dequantize_for(rounding *r, sinter_node product, rounded x, int64_t block) {
    sinter_rewrite_at(r->rewrite, product);
    sinter_value wide =
        sinter_build_dequantize_blocks(&r->rewrite->build, x.items, x.scales, block);
    if (wide) sinter_rewrite_set_operand(r->rewrite, product, 0, wide);
}

/* The value in blocks, made right behind it; of a region's argument, in front of the reader. */
static bool round_value(rounding *r, sinter_value value, sinter_node reader, int64_t block,
                        rounded *out) {
    uint64_t key = (uint64_t)block << 32 | value, known;
    if (sinter_map_find(&r->known, key, &known)) {
        *out = r->made.items[known];
        return true;
    }
    sinter_node node = sinter_value_definition(r->module, value);
    sinter_node place = node ? sinter_node_get(r->module, node)->next : reader;
    sinter_rewrite_at(r->rewrite, place);
    r->rewrite->build.location = sinter_node_get(r->module, node ? node : reader)->location;
    if (!sinter_build_quantize_blocks(&r->rewrite->build, value, block, &out->items, &out->scales))
        return false;
    if (!node) return true;
    sinter_map_put(&r->known, key, r->made.count);
    sinter_vector_push(r->scratch, &r->made, *out);
    return true;
}

/* The file rounds it already, for several readers. */
static bool is_shared(const rounding *r, sinter_value value) {
    sinter_node node = sinter_value_definition(r->module, value);
    return sinter_node_op(r->module, node) == SINTER_OP_dequantize_linear &&
           sinter_node_get_int(r->module, node, "block_size", 0) > 0 &&
           sinter_node_get(r->module, node)->operand_count == 2 &&
           !sinter_value_has_one_use(r->module, value);
}

static void visit(void *user, sinter_node node) {
    rounding *r = user;
    sinter_packed_weight weight;
    if (sinter_node_get(r->module, node)->op != SINTER_OP_matmul ||
        !sinter_find_packed_weight(r->module, node, &weight) || !weight.block)
        return;
    sinter_value x = sinter_node_operand(r->module, node, 0);
    const sinter_type *type = sinter_value_type(r->module, x);
    sinter_node made = sinter_value_definition(r->module, x);
    if (is_shared(r, x)) {
        const rounded parts = {sinter_node_operand(r->module, made, 0),
                               sinter_node_operand(r->module, made, 1)};
        dequantize_for(r, node, parts, sinter_node_get_int(r->module, made, "block_size", 0));
        return;
    }
    bool is_rounded = sinter_node_op(r->module, made) == SINTER_OP_dequantize_linear;
    rounded parts;
    if (r->asked && !is_rounded && type->dtype == SINTER_DTYPE_f32 &&
        round_value(r, x, node, weight.block, &parts))
        dequantize_for(r, node, parts, weight.block);
}

void sinter_round_blocks(sinter_pass_context *context) {
    rounding r = {.module = context->module,
                  .rewrite = &context->rewrite,
                  .asked = context->options->precision == SINTER_PRECISION_i8,
                  .scratch = &context->scratch};
    sinter_map_init(&r.known, &context->scratch);
    sinter_pass_visit_nodes(context->module, visit, &r);
}
