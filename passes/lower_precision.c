/* Rounds what contractions, convolutions and recurrent layers with constant weights, and on a GPU attention and products of two activations, read to
 * a narrower float, where that was asked for: weights become constants of half the bytes, and for bf16 so do the activations, where they are made. Products and sums stay f32:
 *   matmul(x, w)  ->  matmul(cast(cast(x, bf16), f32), cast(w as bf16, f32))
 * so the graph says itself what is computed, and the evaluator computes it. On a CPU f16 rounds weights alone: it is about bytes,
 * and activations might not fit its range. On a GPU it rounds activations as well, for its units multiply what is f16 on both
 * sides: what is beyond 65504 is infinite then, which `sinter diff` shows. i8 rounds what weights of few bits with scales in
 * blocks are multiplied by, in blocks as long, each with a scale of its own (lower_precision_blocks.c).
 *
 * tf32 has f32's range and 10 bits of mantissa, of weights and activations; its elements are of f32, rounded by the op round_tf32. A GPU's units do
 * that to what they are given, so there it stands right in front of what reads it; elsewhere weights are rounded here, and activations where
 * they are made.
 *
 * Recurrent layers keep their state in f32, because no graph shows it.
 *
 * Needs: layouts settled and constants folded, because nothing may fold the casts of weights afterwards; the pass fuse puts
 * them into the kernels that read them. What is small, depthwise or Winograd's stays as it is: there is nothing to gain.
 * Test: tests/passes/lower_precision/ */
#include "passes/lower_precision.h"
#include "ir/base/map.h"
#include "passes/tile_attention.h"

#include <math.h>

enum {
    LEAST_WEIGHTS = 512, /* elements that are worth it */
    LEAST_STEPS = 3,     /* products of one sum, or of one tap's channels */
    LEAST_ROWS =
        16 /* of a product of activations: fewer read more than rounding saves, and fill no tile of a GPU's units */
};

typedef struct lowering {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_dtype dtype; /* to round to; f32: to tf32, whose elements are of f32 */
    sinter_string name; /* of that */
    bool activations;   /* too */
    bool has_device;    /* it is for a GPU, */
    bool by_units;      /* whose units round what they multiply of the reader */
    sinter_map known;   /* value -> what it is rounded */
    sinter_node reader; /* whose weights are rounded */
} lowering;

/* ---- weights ---- */

/* No finite element becomes infinite. */
static bool fits(const sinter_tensor *tensor, sinter_dtype dtype) {
    const float *items = tensor->data;
    int64_t count = sinter_tensor_count(tensor);
    float largest = 0;
    for (int64_t i = 0; i < count; i++) {
        float magnitude = fabsf(items[i]);
        if (isfinite(magnitude) && magnitude > largest) largest = magnitude;
    }
    return dtype == SINTER_DTYPE_f32
               ? isfinite(sinter_float_round_tf32(largest))
               : isfinite(sinter_float_decode(dtype, sinter_float_encode(dtype, largest, false)));
}

static void round_all(sinter_dtype dtype, const float *items, int64_t count, void *out) {
    float *rounded = out;
    if (dtype != SINTER_DTYPE_f32) {
        sinter_float_encode_all(dtype, items, count, out);
        return;
    }
    for (int64_t i = 0; i < count; i++) rounded[i] = sinter_float_round_tf32(items[i]);
}

/* The value, rounded where the rewrite is. */
static sinter_value round_value(lowering *l, sinter_value value) {
    return l->dtype == SINTER_DTYPE_f32
               ? sinter_build_unary(&l->rewrite->build, SINTER_OP_round_tf32, value)
               : sinter_build_cast(&l->rewrite->build, value, l->dtype);
}

static sinter_value round_constant(lowering *l, sinter_value value) {
    const sinter_tensor *tensor = sinter_value_constant(l->module, value);
    sinter_tensor rounded;
    if (!fits(tensor, l->dtype)) {
        sinter_warning(l->rewrite->build.diag, sinter_node_where(l->module, l->reader),
                       "weights beyond the range of %s stay %s",
                       l->dtype == SINTER_DTYPE_f32 ? "tf32" : sinter_dtype_infos[l->dtype].name,
                       sinter_dtype_infos[tensor->dtype].name);
        return 0;
    }
    if (!sinter_tensor_create(&rounded, l->dtype, tensor->rank, tensor->dims,
                              l->rewrite->build.diag))
        return 0;
    round_all(l->dtype, tensor->data, sinter_tensor_count(tensor), sinter_tensor_mutable(&rounded));
    return sinter_build_constant(&l->rewrite->build, rounded);
}

static void begin_after(lowering *l, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(l->module, node);
    sinter_rewrite_at(l->rewrite, info->next);
    l->rewrite->build.location = info->location;
}

/* The node again, after itself, of another first operand. */
static sinter_value repeat(lowering *l, sinter_node node, sinter_value first) {
    begin_after(l, node);
    const sinter_node_info info = *sinter_node_get(l->module, node);
    sinter_value operands[2] = {first, sinter_node_operand(l->module, node, 1)};
    return sinter_build(&l->rewrite->build, info.op, operands, info.operand_count, info.attributes,
                        info.attribute_count);
}

/* A constant, or one that is transposed; 0 where the value is something else. */
static sinter_value round_weight(lowering *l, sinter_value value) {
    uint64_t known = 0;
    if (sinter_map_find(&l->known, value, &known)) return (sinter_value)known;
    sinter_node node = sinter_value_definition(l->module, value);
    sinter_value rounded = 0;
    const bool is_constant = sinter_value_constant(l->module, value) != NULL;
    if (is_constant) {
        begin_after(l, node);
        rounded = round_constant(l, value);
    } else if (sinter_node_op(l->module, node) == SINTER_OP_transpose) {
        rounded = round_weight(l, sinter_node_operand(l->module, node, 0));
        if (rounded) rounded = repeat(l, node, rounded);
    }
    if (rounded || is_constant)
        sinter_map_put(&l->known, value, rounded); /* else it may be an activation */
    return rounded;
}

/* ---- activations ---- */

/* Moves elements only, and costs no more of the narrow ones. */
static bool is_view(const lowering *l, sinter_node node) {
    sinter_op op = sinter_node_op(l->module, node);
    return op == SINTER_OP_reshape ||
           (op == SINTER_OP_transpose &&
            sinter_value_has_one_use(l->module, sinter_node_result(l->module, node, 0)));
}

/* Rounded right after it is made, whoever reads it: the kernel that makes it can store both. */
static sinter_value round_activation(lowering *l, sinter_value value, sinter_node reader) {
    uint64_t known = 0;
    if (sinter_map_find(&l->known, value, &known)) return (sinter_value)known;
    sinter_node node = sinter_value_definition(l->module, value);
    if (!node) { /* an argument of a region: every reader has one of its own */
        sinter_rewrite_at(l->rewrite, reader);
        return round_value(l, value);
    }
    sinter_value rounded;
    if (is_view(l, node)) {
        rounded = round_activation(l, sinter_node_operand(l->module, node, 0), node);
        rounded = rounded ? repeat(l, node, rounded) : 0;
    } else {
        begin_after(l, node);
        rounded = round_value(l, value);
    }
    sinter_map_put(&l->known, value, rounded);
    return rounded;
}

/* ---- contractions ---- */

static bool is_f32(const lowering *l, sinter_value value) {
    return value && sinter_value_type(l->module, value)->dtype == SINTER_DTYPE_f32;
}

/* The axis of the weights that the sum runs along, or whose channels of one tap it does. */
static uint32_t sum_axis(sinter_op op, uint32_t rank) {
    return op == SINTER_OP_conv ? 1 : sinter_op_is_recurrent(op) ? rank - 1 : rank - 2;
}

/* The length of the sum, or of the part of it that lies together, and how many weights there are, as far as they are known. */
static bool is_large(const lowering *l, sinter_node node, uint32_t operand) {
    const sinter_dim_table *dims = sinter_module_dims(l->module);
    const sinter_type *type =
        sinter_value_type(l->module, sinter_node_operand(l->module, node, operand));
    int64_t count = 1, steps = 0;
    if (type->rank < 2) return false;
    for (uint32_t i = 0; i < type->rank; i++) {
        int64_t size;
        if (!sinter_dim_is_const(dims, type->dims[i], &size)) return false;
        count *= size;
        if (i == sum_axis(sinter_node_op(l->module, node), type->rank)) steps = size;
    }
    return count >= LEAST_WEIGHTS && steps >= LEAST_STEPS;
}

static bool is_candidate(const lowering *l, sinter_node node) {
    sinter_op op = sinter_node_op(l->module, node);
    const int64_t *plan = NULL;
    if (op != SINTER_OP_matmul && op != SINTER_OP_conv && !sinter_op_is_recurrent(op)) return false;
    return is_f32(l, sinter_node_operand(l->module, node, 0)) &&
           !(op == SINTER_OP_conv && sinter_node_get_ints(l->module, node, "winograd", &plan));
}

/* The operand becomes what was rounded, in f32. Units of a GPU are told to round to tf32 by a node right in front of what they multiply: it
 * changes nothing of weights that are rounded already. */
static void widen_operand(lowering *l, sinter_node node, uint32_t index, sinter_value narrow) {
    sinter_rewrite_at(l->rewrite, node);
    sinter_value wide = narrow;
    if (l->dtype != SINTER_DTYPE_f32)
        wide = sinter_build_cast(&l->rewrite->build, narrow, SINTER_DTYPE_f32);
    else if (l->by_units)
        wide = round_value(l, narrow);
    if (wide) sinter_rewrite_set_operand(l->rewrite, node, index, wide);
}

/* Products of attention are of activations alone: rounded where they are made, so that memory has half of the bytes; exponentials, which nobody
 * else sees, by the node itself. There is nothing to gain on a CPU. */
static void round_attention(lowering *l, sinter_node node) {
    const sinter_attr precision = sinter_attr_string("factor_precision", l->name);
    for (uint32_t i = 0; i < 3 && l->dtype != SINTER_DTYPE_f32; i++) {
        sinter_value narrow = round_activation(l, sinter_node_operand(l->module, node, i), node);
        if (narrow) widen_operand(l, node, i, narrow);
    }
    sinter_rewrite_set_attr(l->rewrite, node, &precision);
}

/* Units of a GPU multiply what is rounded several times as fast, whoever made it; a CPU gains by the bytes of weights alone. */
static bool gains_by_units(const lowering *l, sinter_node node) {
    const sinter_dim_table *dims = sinter_module_dims(l->module);
    const sinter_type *type = sinter_value_type(l->module, sinter_node_operand(l->module, node, 0));
    int64_t rows;
    return l->has_device && l->activations && sinter_node_op(l->module, node) == SINTER_OP_matmul &&
           type->rank >= 2 && sinter_dim_is_const(dims, type->dims[type->rank - 2], &rows) &&
           rows >= LEAST_ROWS;
}

static sinter_value round_factor(lowering *l, sinter_value value, sinter_node node) {
    return l->dtype == SINTER_DTYPE_f32 && l->by_units ? value : round_activation(l, value, node);
}

static void visit(void *user, sinter_node node) {
    lowering *l = user;
    if (l->has_device && l->activations && sinter_attention_has_blocks(l->module, node))
        round_attention(l, node);
    if (!is_candidate(l, node)) return;
    bool found = false;
    l->reader = node;
    l->by_units = l->has_device && !sinter_op_is_recurrent(sinter_node_op(l->module, node));
    for (uint32_t i = 1; i < sinter_op_factor_count(sinter_node_op(l->module, node)); i++) {
        sinter_value weight = sinter_node_operand(l->module, node, i);
        if (!is_f32(l, weight) || !is_large(l, node, i)) continue;
        sinter_value given = weight;
        weight = round_weight(l, given);
        if (!weight && i == 1 && gains_by_units(l, node)) weight = round_factor(l, given, node);
        if (weight) widen_operand(l, node, i, weight);
        found |= weight && i == 1;
    }
    if (!found || !l->activations) return;
    sinter_value x = round_factor(l, sinter_node_operand(l->module, node, 0), node);
    if (x) widen_operand(l, node, 0, x);
}

void sinter_pass_lower_precision(sinter_pass_context *context) {
    sinter_round_blocks(context);
    if (context->options->precision == SINTER_PRECISION_f32 ||
        context->options->precision == SINTER_PRECISION_i8)
        return;
    lowering l = {.module = context->module,
                  .rewrite = &context->rewrite,
                  .dtype = sinter_precision_infos[context->options->precision].dtype,
                  .name =
                      sinter_string_of(sinter_precision_infos[context->options->precision].name),
                  .activations = context->options->precision != SINTER_PRECISION_f16 ||
                                 context->options->machine->has_device,
                  .has_device = context->options->machine->has_device};
    sinter_map_init(&l.known, &context->scratch);
    sinter_pass_visit_nodes(context->module, visit, &l);
}
