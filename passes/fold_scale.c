/* Folds multiplications and additions by constants per channel into the constant weights and the bias of the convolution or
 * matrix product next to them; what is left of an inference batch normalisation goes this way. Also merges such
 * multiplications and additions in a row.
 *
 * Needs inferred types, composites decomposed and constants folded.
 * Lossy: each weight is rounded once more and sums are taken in another order, so that results differ by float rounding
 * (relative error of a tensor below 1e-6 a fold in f32). Only f32 and f64. Weights that would overflow or vanish stay.
 * Test: tests/passes/fold_scale/ */
#include "passes/fold_constants.h"
#include "passes/pass.h"

#include <math.h>
#include <string.h>

enum { COPY_LIMIT = 1 << 16 /* bytes of a weight that others use too */, MAX_CHAIN = 16 };

/* A multiplication by constants: one number, or one for each index of `axis` of the tensor scaled. */
typedef struct factor {
    const sinter_tensor *tensor; /* broadcasts to the tensor scaled */
    int axis;                    /* -1: uniform */
} factor;

/* A contraction or window whose weight is constant, seen as weight[batch, row, column, cell]. */
typedef struct anchor {
    sinter_node node;
    uint32_t weight; /* operand */
    bool has_bias;   /* operand 2, one element a result channel */
    bool
        rows_result; /* rows are channels of the result, columns of the data, or the other way round */
    int64_t rows, columns, cells, groups;
    uint32_t result_axis, data_axis;
} anchor;

typedef struct folder {
    sinter_module *module;
    sinter_rewrite *rewrite;
    sinter_arena *scratch;
} folder;

/* ---- factors ---- */

static const sinter_tensor *constant_float(const folder *f, sinter_value value) {
    const sinter_tensor *tensor = value ? sinter_value_constant(f->module, value) : NULL;
    bool fits = tensor && tensor->kind == SINTER_TYPE_TENSOR &&
                (tensor->dtype == SINTER_DTYPE_f32 || tensor->dtype == SINTER_DTYPE_f64) &&
                sinter_tensor_count(tensor) > 0;
    return fits ? tensor : NULL;
}

/* Weights have millions of elements. */
static inline double element(const sinter_tensor *tensor, int64_t i) {
    float narrow;
    double wide;
    if (tensor->dtype == SINTER_DTYPE_f32) {
        memcpy(&narrow, (const char *)tensor->data + 4 * i, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&wide, (const char *)tensor->data + 8 * i, sizeof wide);
    return wide;
}

static inline void set_element(sinter_tensor *tensor, int64_t i, double value) {
    float narrow = (float)value;
    char *data = sinter_tensor_mutable(tensor);
    if (tensor->dtype == SINTER_DTYPE_f32)
        memcpy(data + 4 * i, &narrow, sizeof narrow);
    else
        memcpy(data + 8 * i, &value, sizeof value);
}

/* Finite, and its largest element neither huge nor tiny (all zeros are fine). */
static bool is_moderate(const sinter_tensor *tensor) {
    double largest = 0;
    for (int64_t i = 0; i < sinter_tensor_count(tensor); i++) {
        double magnitude = fabs(element(tensor, i));
        if (!isfinite(magnitude)) return false;
        if (magnitude > largest) largest = magnitude;
    }
    return largest == 0 || (largest > 1e-30 && largest < 1e30);
}

/* The axis of a tensor of that type along which the constant varies: -1 for one element, -2 for several axes. */
static int channel_axis(const sinter_tensor *tensor, const sinter_type *type) {
    int axis = -1;
    for (uint32_t i = 0; i < tensor->rank; i++) {
        if (tensor->dims[i] == 1) continue;
        if (axis != -1) return -2;
        axis = (int)(type->rank - tensor->rank + i);
    }
    return axis;
}

/* Which operand of a two-operand node is the constant; -1 where none, or where it changes the shape. */
static int constant_operand(const folder *f, sinter_node node) {
    const sinter_node_info *info = sinter_node_get(f->module, node);
    const sinter_type *result = sinter_value_type(f->module, info->results[0]);
    for (int i = 1; i >= 0; i--) {
        const sinter_type *other = sinter_value_type(f->module, info->operands[1 - i]);
        if (constant_float(f, info->operands[i]) && sinter_type_equal(other, result) &&
            sinter_value_type(f->module, info->operands[i])->rank <= result->rank)
            return i;
    }
    return -1;
}

/* The constant of x * c, c * x or x / c as a factor on x; builds the reciprocal before the rewrite's root. */
static bool read_factor(folder *f, sinter_node node, factor *out_factor, sinter_value *out_scaled) {
    bool divides = sinter_node_op(f->module, node) == SINTER_OP_div;
    if (!divides && sinter_node_op(f->module, node) != SINTER_OP_mul) return false;
    int index = constant_operand(f, node);
    if (index < 0 || (divides && index == 0)) return false;
    sinter_value value = sinter_node_operand(f->module, node, (uint32_t)index);
    const sinter_tensor *tensor = constant_float(f, value);
    *out_scaled = sinter_node_operand(f->module, node, 1 - (uint32_t)index);
    if (divides) {
        sinter_tensor inverse;
        if (!sinter_tensor_create(&inverse, tensor->dtype, tensor->rank, tensor->dims,
                                  f->rewrite->build.diag))
            return false;
        for (int64_t i = 0; i < sinter_tensor_count(tensor); i++)
            set_element(&inverse, i, 1 / element(tensor, i));
        if (!is_moderate(&inverse)) {
            sinter_tensor_deinit(&inverse);
            return false;
        }
        tensor = sinter_module_keep_tensor(f->module, inverse);
    }
    *out_factor = (factor){
        tensor,
        channel_axis(tensor, sinter_value_type(f->module, sinter_node_result(f->module, node, 0)))};
    return out_factor->axis != -2 && is_moderate(tensor);
}

/* ---- anchors ---- */

static bool describe_matmul(const folder *f, anchor *a) {
    for (uint32_t i = 2; i-- > 0;) {
        const sinter_tensor *weight = constant_float(f, sinter_node_operand(f->module, a->node, i));
        const sinter_type *data =
            sinter_value_type(f->module, sinter_node_operand(f->module, a->node, 1 - i));
        const sinter_type *result =
            sinter_value_type(f->module, sinter_node_result(f->module, a->node, 0));
        if (!weight || weight->rank < 2 || data->rank < 2) continue;
        a->weight = i;
        a->rows = weight->dims[weight->rank - 2];
        a->columns = weight->dims[weight->rank - 1];
        a->cells = a->groups = 1;
        a->rows_result = i == 0;
        a->result_axis = result->rank - (i == 0 ? 2 : 1);
        a->data_axis = data->rank - (i == 0 ? 2 : 1);
        return true;
    }
    return false;
}

/* Whether the node is one that takes factors, and how. */
static bool describe_anchor(const folder *f, sinter_node node, anchor *out) {
    bool transposed = sinter_node_op(f->module, node) == SINTER_OP_conv_transpose;
    *out = (anchor){.node = node, .weight = 1, .rows_result = !transposed};
    if (sinter_node_op(f->module, node) == SINTER_OP_matmul) return describe_matmul(f, out);
    if (!transposed && sinter_node_op(f->module, node) != SINTER_OP_conv) return false;
    const sinter_tensor *weight = constant_float(f, sinter_node_operand(f->module, node, 1));
    sinter_value bias = sinter_node_operand(f->module, node, 2);
    if (!weight || (bias && !constant_float(f, bias))) return false;
    out->has_bias = bias != 0;
    out->rows = weight->dims[0];
    out->columns = weight->dims[1];
    out->cells = sinter_tensor_count(weight) / (out->rows * out->columns);
    out->groups = sinter_node_get_int(f->module, node, "group", 1);
    bool last = sinter_node_get_int(f->module, node, "channels_last", 0) != 0;
    out->result_axis = out->data_axis = last ? weight->rank - 1 : 1;
    return true;
}

static int64_t result_channels(const anchor *a) {
    return a->rows_result ? a->rows : a->columns * a->groups;
}

/* The result's (else the data's) channel that element i of the weight belongs to. */
static int64_t channel_of(const anchor *a, bool of_result, int64_t i) {
    int64_t column = i / a->cells % a->columns, row = i / (a->cells * a->columns) % a->rows;
    return of_result == a->rows_result ? row : row / (a->rows / a->groups) * a->columns + column;
}

/* Whether the weight may be replaced: nobody else's, or small. */
static bool may_replace_weight(const folder *f, const anchor *a) {
    sinter_value weight = sinter_node_operand(f->module, a->node, a->weight);
    return sinter_value_has_one_use(f->module, weight) ||
           sinter_tensor_bytes(sinter_value_constant(f->module, weight)) <= COPY_LIMIT;
}

/* The weight times the factor along the channels of the result or the data. */
static bool scaled_weight(const folder *f, const anchor *a, const factor *scale, bool of_result,
                          sinter_tensor *out) {
    const sinter_tensor *weight =
        constant_float(f, sinter_node_operand(f->module, a->node, a->weight));
    if (!may_replace_weight(f, a) || !sinter_tensor_create(out, weight->dtype, weight->rank,
                                                           weight->dims, f->rewrite->build.diag))
        return false;
    for (int64_t i = 0; i < sinter_tensor_count(weight); i++) {
        int64_t channel = scale->axis < 0 ? 0 : channel_of(a, of_result, i);
        set_element(out, i, element(weight, i) * element(scale->tensor, channel));
    }
    if (is_moderate(out)) return true;
    sinter_tensor_deinit(out);
    return false;
}

/* a op b of two constants, as a constant before the rewrite's root; 0 after an error. */
static sinter_value constant_binary(folder *f, sinter_op op, sinter_value a, sinter_value b) {
    return a && b ? sinter_fold_value(f->rewrite, sinter_build_binary(&f->rewrite->build, op, a, b))
                  : 0;
}

/* A constant of the module again, before the rewrite's root: the first may stand later. */
static sinter_value again(folder *f, const sinter_tensor *tensor) {
    sinter_tensor copy;
    sinter_tensor_copy(&copy, tensor);
    return sinter_build_constant(&f->rewrite->build, copy);
}

/* The factor as [channels], or [] where uniform. */
static sinter_value flat_constant(folder *f, const sinter_tensor *tensor) {
    sinter_tensor copy;
    sinter_tensor_copy(&copy, tensor);
    copy.dims[0] = sinter_tensor_count(tensor);
    copy.rank = copy.dims[0] > 1;
    return sinter_build_constant(&f->rewrite->build, copy);
}

static void replace_weight(folder *f, const anchor *a, sinter_tensor tensor) {
    sinter_module *module = f->rewrite->build.module;
    sinter_rewrite_at(f->rewrite, a->node);
    sinter_value weight = sinter_build_constant(&f->rewrite->build, tensor);
    if (weight)
        sinter_rewrite_keep_sharding(module, sinter_node_operand(module, a->node, a->weight),
                                     weight);
    sinter_rewrite_set_operand(f->rewrite, a->node, a->weight, weight);
}

/* ---- a factor after: into what made the tensor ---- */

/* Where the factor goes: sums of constants on the way, which it multiplies too, then an anchor or another factor. */
typedef struct route {
    sinter_node sums[MAX_CHAIN];
    size_t sum_count;
    sinter_node product; /* multiplication by a constant; 0: the anchor */
    anchor anchor;
    sinter_tensor weight; /* the anchor's new one */
} route;

static bool find_route(folder *f, sinter_value value, const factor *scale, route *out) {
    *out = (route){0};
    sinter_node first = sinter_value_definition(f->module, value);
    for (int step = 0; step < MAX_CHAIN; step++) {
        sinter_node node = sinter_value_definition(f->module, value);
        sinter_op op = sinter_node_op(f->module, node);
        if (!node || !sinter_value_has_one_use(f->module, value) ||
            sinter_node_get(f->module, node)->parent != sinter_node_get(f->module, first)->parent)
            return false;
        if (op == SINTER_OP_add || op == SINTER_OP_sub) {
            int index = constant_operand(f, node);
            if (index < 0) return false;
            out->sums[out->sum_count++] = node;
            value = sinter_node_operand(f->module, node, 1 - (uint32_t)index);
        } else if (op == SINTER_OP_mul) {
            int index = constant_operand(f, node);
            out->product = node;
            /* The product of the two constants must not have more elements than either. */
            if (index < 0) return false;
            const sinter_tensor *other =
                constant_float(f, sinter_node_operand(f->module, node, (uint32_t)index));
            int axis = channel_axis(other, sinter_value_type(f->module, value));
            return is_moderate(other) && (scale->axis < 0 || axis == -1 || axis == scale->axis);
        } else if (describe_anchor(f, node, &out->anchor)) {
            return (scale->axis < 0 || scale->axis == (int)out->anchor.result_axis) &&
                   scaled_weight(f, &out->anchor, scale, true, &out->weight);
        } else if (scale->axis < 0 && (op == SINTER_OP_reshape || op == SINTER_OP_transpose ||
                                       op == SINTER_OP_matmul)) {
            value = sinter_node_operand(f->module, node, 0); /* linear in it */
        } else {
            return false;
        }
    }
    return false;
}

/* Without axes where uniform: a view on the way may have changed the rank. */
static sinter_value factor_again(folder *f, const factor *scale) {
    return scale->axis < 0 ? flat_constant(f, scale->tensor) : again(f, scale->tensor);
}

/* Multiplies the constant operand of the node. */
static void scale_constant(folder *f, sinter_node node, const factor *scale) {
    uint32_t index = (uint32_t)constant_operand(f, node);
    sinter_rewrite_at(f->rewrite, node);
    sinter_value product = constant_binary(
        f, SINTER_OP_mul, sinter_node_operand(f->module, node, index), factor_again(f, scale));
    if (product) sinter_rewrite_set_operand(f->rewrite, node, index, product);
}

static bool fold_factor_after(folder *f, sinter_node node) {
    factor scale;
    sinter_value scaled;
    route way;
    if (!read_factor(f, node, &scale, &scaled) || !find_route(f, scaled, &scale, &way))
        return false;
    for (size_t i = 0; i < way.sum_count; i++) scale_constant(f, way.sums[i], &scale);
    if (way.product) {
        scale_constant(f, way.product, &scale);
    } else {
        const anchor *a = &way.anchor;
        replace_weight(f, a, way.weight);
        if (a->has_bias) {
            sinter_value bias =
                constant_binary(f, SINTER_OP_mul, sinter_node_operand(f->module, a->node, 2),
                                flat_constant(f, scale.tensor));
            if (bias) sinter_rewrite_set_operand(f->rewrite, a->node, 2, bias);
        }
    }
    sinter_rewrite_at(f->rewrite, node);
    sinter_rewrite_take_over(f->rewrite, way.product ? way.product : way.anchor.node, node);
    sinter_rewrite_replace(f->rewrite, sinter_node_result(f->module, node, 0), scaled);
    sinter_rewrite_erase(f->rewrite, node);
    return true;
}

/* ---- a sum after: into the bias, or into another sum ---- */

/* The bias plus tensor (sign 1 or -1), which has one element or one a channel; without a bias just that. */
static bool add_to_bias(folder *f, const anchor *a, const sinter_tensor *tensor, double sign) {
    const sinter_tensor *bias =
        a->has_bias ? constant_float(f, sinter_node_operand(f->module, a->node, 2)) : NULL;
    int64_t channels = result_channels(a), count = sinter_tensor_count(tensor);
    sinter_tensor sum;
    if (count != 1 && count != channels) return false;
    if (!sinter_tensor_create(&sum, tensor->dtype, 1, &channels, f->rewrite->build.diag))
        return false;
    for (int64_t i = 0; i < channels; i++)
        set_element(&sum, i,
                    (bias ? element(bias, i) : 0) + sign * element(tensor, count == 1 ? 0 : i));
    sinter_rewrite_at(f->rewrite, a->node);
    sinter_value value = sinter_build_constant(&f->rewrite->build, sum);
    if (value) sinter_rewrite_set_operand(f->rewrite, a->node, 2, value);
    return value != 0;
}

static bool is_window(const folder *f, sinter_node node) {
    return sinter_op_get_info(sinter_node_get(f->module, node)->op)->pattern ==
           SINTER_PATTERN_WINDOW;
}

static bool fold_sum_after(folder *f, sinter_node node) {
    bool subtracts = sinter_node_op(f->module, node) == SINTER_OP_sub;
    if (!subtracts && sinter_node_op(f->module, node) != SINTER_OP_add) return false;
    int index = constant_operand(f, node);
    if (index < 0 || (subtracts && index == 0)) return false;
    sinter_value own = sinter_node_operand(f->module, node, (uint32_t)index);
    sinter_value x = sinter_node_operand(f->module, node, 1 - (uint32_t)index);
    const sinter_tensor *tensor = constant_float(f, own);
    sinter_node before = sinter_value_definition(f->module, x);
    int axis = channel_axis(tensor, sinter_value_type(f->module, x));
    anchor a;
    if (!before || !sinter_value_has_one_use(f->module, x) || !is_moderate(tensor)) return false;
    if (describe_anchor(f, before, &a)) {
        if (!is_window(f, before) || (axis != -1 && axis != (int)a.result_axis) ||
            !add_to_bias(f, &a, tensor, subtracts ? -1 : 1))
            return false;
    } else if (!subtracts && sinter_node_op(f->module, before) == SINTER_OP_add) {
        int other = constant_operand(f, before);
        if (other < 0) return false;
        sinter_value first = sinter_node_operand(f->module, before, (uint32_t)other);
        const sinter_tensor *addend = constant_float(f, first);
        int other_axis = channel_axis(addend, sinter_value_type(f->module, x));
        if (axis == -2 || other_axis == -2 || (axis >= 0 && other_axis >= 0 && axis != other_axis))
            return false;
        sinter_rewrite_at(f->rewrite, before);
        sinter_value sum = constant_binary(f, SINTER_OP_add, first, again(f, tensor));
        if (!sum) return false;
        sinter_rewrite_set_operand(f->rewrite, before, (uint32_t)other, sum);
    } else {
        return false;
    }
    sinter_rewrite_at(f->rewrite, node);
    sinter_rewrite_take_over(f->rewrite, before, node);
    sinter_rewrite_replace(f->rewrite, sinter_node_result(f->module, node, 0), x);
    sinter_rewrite_erase(f->rewrite, node);
    return true;
}

/* ---- before: what is done to the data of an anchor ---- */

static bool is_unpadded(const folder *f, sinter_node node) {
    sinter_string mode = sinter_node_get_string(f->module, node, "auto_pad");
    const int64_t *pads = NULL;
    size_t count = sinter_node_get_ints(f->module, node, "pads", &pads);
    if (sinter_string_is(mode, "VALID")) return true;
    if (mode.size && !sinter_string_is(mode, "NOTSET")) return false;
    for (size_t i = 0; i < count; i++)
        if (pads[i] != 0) return false;
    return true;
}

static bool fold_factor_before(folder *f, const anchor *a, sinter_node before) {
    factor scale;
    sinter_value source;
    sinter_tensor weight;
    sinter_rewrite_at(f->rewrite, a->node);
    if (!read_factor(f, before, &scale, &source) ||
        (scale.axis >= 0 && scale.axis != (int)a->data_axis) ||
        !scaled_weight(f, a, &scale, false, &weight))
        return false;
    replace_weight(f, a, weight);
    sinter_rewrite_set_operand(f->rewrite, a->node, 1 - a->weight, source);
    sinter_rewrite_take_over(f->rewrite, a->node, before);
    sinter_rewrite_erase(f->rewrite, before);
    return true;
}

/* w (x + c) = w x + w c, where every output sees all cells of the kernel. */
static bool fold_sum_before(folder *f, const anchor *a, sinter_node before) {
    if (sinter_node_op(f->module, before) != SINTER_OP_add ||
        sinter_node_op(f->module, a->node) != SINTER_OP_conv || !is_unpadded(f, a->node))
        return false;
    int index = constant_operand(f, before);
    if (index < 0) return false;
    const sinter_tensor *tensor =
        constant_float(f, sinter_node_operand(f->module, before, (uint32_t)index));
    const sinter_tensor *weight = constant_float(f, sinter_node_operand(f->module, a->node, 1));
    int axis = channel_axis(
        tensor, sinter_value_type(f->module, sinter_node_operand(f->module, a->node, 0)));
    if (axis == -2 || (axis >= 0 && axis != (int)a->data_axis) || !is_moderate(tensor))
        return false;
    int64_t channels = result_channels(a);
    double *sums = SINTER_NEW_ARRAY(f->scratch, double, channels);
    for (int64_t i = 0; i < sinter_tensor_count(weight); i++)
        sums[channel_of(a, true, i)] +=
            element(weight, i) * element(tensor, axis < 0 ? 0 : channel_of(a, false, i));
    sinter_tensor shift;
    if (!sinter_tensor_create(&shift, weight->dtype, 1, &channels, f->rewrite->build.diag))
        return false;
    for (int64_t i = 0; i < channels; i++) set_element(&shift, i, sums[i]);
    bool ok = is_moderate(&shift) && add_to_bias(f, a, &shift, 1);
    sinter_tensor_deinit(&shift);
    if (!ok) return false;
    sinter_rewrite_set_operand(f->rewrite, a->node, 0,
                               sinter_node_operand(f->module, before, 1 - (uint32_t)index));
    sinter_rewrite_take_over(f->rewrite, a->node, before);
    sinter_rewrite_erase(f->rewrite, before);
    return true;
}

static bool fold_before(folder *f, sinter_node node) {
    anchor a;
    if (!describe_anchor(f, node, &a)) return false;
    sinter_value x = sinter_node_operand(f->module, node, 1 - a.weight);
    sinter_node before = sinter_value_definition(f->module, x);
    return before && sinter_value_has_one_use(f->module, x) &&
           sinter_node_get(f->module, before)->parent == sinter_node_get(f->module, node)->parent &&
           (fold_factor_before(f, &a, before) || fold_sum_before(f, &a, before));
}

static void visit(void *user, sinter_node node) {
    folder *f = user;
    while (fold_before(f, node)) {
    }
    sinter_rewrite_at(f->rewrite, node);
    if (!fold_factor_after(f, node)) fold_sum_after(f, node);
}

void sinter_pass_fold_scale(sinter_pass_context *context) {
    sinter_module *module = context->module;
    folder f = {.module = module, .scratch = &context->scratch, .rewrite = &context->rewrite};
    sinter_pass_visit_nodes(module, visit, &f);
}
