/* Axes of what computes: elementwise ops, products, windows, reductions, normalisations. Views are in axes_view.c.
 * Test: tests/unit/axes_test.c */
#include "ir/axes_internal.h"

#include <ctype.h>
#include <string.h>

/* ---- building blocks ---- */

static const sinter_type *type_of(const sinter_axes *axes, sinter_value value) {
    const sinter_type *type = value ? sinter_value_type(axes->module, value) : NULL;
    return type && type->kind == SINTER_TYPE_TENSOR ? type : NULL;
}

const sinter_type *sinter_axes_operand(const sinter_axes *axes, uint32_t index) {
    return index < axes->info.operand_count ? type_of(axes, axes->info.operands[index]) : NULL;
}

const sinter_type *sinter_axes_result(const sinter_axes *axes, uint32_t index) {
    return index < axes->info.result_count ? type_of(axes, axes->info.results[index]) : NULL;
}

uint32_t sinter_axes_factor(sinter_axes *axes, sinter_axis_kind kind, sinter_dim size) {
    sinter_axis_factor factor = {.kind = kind, .size = size};
    if (kind == SINTER_AXIS_SUMMED) factor.combine = SINTER_AXIS_COMBINE_SUM;
    sinter_vector_push(axes->arena, &axes->map->factors, factor);
    return (uint32_t)axes->map->factors.count - 1;
}

void sinter_axes_link_part(sinter_axes *axes, sinter_axis_link link) {
    sinter_vector_push(axes->arena, &axes->map->links, link);
}

void sinter_axes_link(sinter_axes *axes, uint32_t factor, bool is_result, uint32_t index,
                      uint32_t axis) {
    sinter_axis_link link = {.factor = factor,
                             .is_result = is_result,
                             .index = index,
                             .axis = axis,
                             .run = 1,
                             .blocks = 1};
    sinter_axes_link_part(axes, link);
}

void sinter_axes_along(sinter_axes *axes, uint32_t operand_axis, uint32_t result_axis) {
    sinter_dim size = sinter_axes_result(axes, 0)->dims[result_axis];
    uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, size);
    sinter_axes_link(axes, factor, false, 0, operand_axis);
    sinter_axes_link(axes, factor, true, 0, result_axis);
}

bool sinter_axes_number(const sinter_axes *axes, sinter_dim dim, int64_t *out_value) {
    return sinter_dim_is_const(axes->dims, dim, out_value);
}

bool sinter_axes_marks(const sinter_axes *axes, uint32_t operand, uint32_t rank, bool *out_marks) {
    int64_t items[SINTER_MAX_RANK];
    size_t count = 0;
    sinter_value value = sinter_node_operand(axes->module, axes->node, operand);
    for (uint32_t i = 0; i < rank; i++) out_marks[i] = !value;
    if (!value) return true;
    if (!sinter_value_known_ints(axes->module, value, items, SINTER_MAX_RANK, &count)) return false;
    for (size_t i = 0; i < count; i++) {
        int64_t axis = items[i] < 0 ? items[i] + rank : items[i];
        if (axis < 0 || axis >= rank) return false;
        out_marks[axis] = true;
    }
    return true;
}

/* Joins an operand's axes to the factors of the result's axes, from the right; what differs in size is repeated or, where
 * that is not known, left out with its factor. */
static void join_broadcast(sinter_axes *axes, uint32_t operand, uint32_t operand_end,
                           const uint32_t *factors, uint32_t rank) {
    const sinter_type *type = sinter_axes_operand(axes, operand);
    for (uint32_t i = 0; type && i < operand_end && i < rank; i++) {
        uint32_t axis = operand_end - 1 - i, factor = factors[rank - 1 - i];
        if (factor != UINT32_MAX && type->dims[axis] == axes->map->factors.items[factor].size)
            sinter_axes_link(axes, factor, false, operand, axis);
    }
}

/* Whether an operand's axis is as long as the result's, or 1. */
static bool agrees(const sinter_axes *axes, uint32_t operand, uint32_t operand_end, uint32_t place,
                   sinter_dim size) {
    const sinter_type *type = sinter_axes_operand(axes, operand);
    if (!type || place >= operand_end) return true;
    sinter_dim dim = type->dims[operand_end - 1 - place];
    return dim == size || sinter_dim_is(axes->dims, dim, 1);
}

/* Factors of the first `rank` axes of result 0, whose operands end, as far as they broadcast, at ends[i]. */
static void broadcast_part(sinter_axes *axes, uint32_t operands, const uint32_t *ends,
                           uint32_t rank, const bool *without) {
    const sinter_type *result = sinter_axes_result(axes, 0);
    uint32_t factors[SINTER_MAX_RANK];
    for (uint32_t axis = 0; axis < rank; axis++) {
        sinter_dim size = result->dims[axis];
        bool good = !(without && without[axis]);
        for (uint32_t i = 0; i < operands; i++)
            good = good && agrees(axes, i, ends[i], rank - 1 - axis, size);
        factors[axis] = good ? sinter_axes_factor(axes, SINTER_AXIS_ALONG, size) : UINT32_MAX;
        for (uint32_t i = 0; good && i < axes->info.result_count; i++) {
            const sinter_type *other = sinter_axes_result(axes, i);
            if (other && (i == 0 || other->rank == rank))
                sinter_axes_link(axes, factors[axis], true, i, axis);
        }
    }
    for (uint32_t i = 0; i < operands; i++) join_broadcast(axes, i, ends[i], factors, rank);
}

void sinter_axes_broadcast(sinter_axes *axes, const bool *without) {
    const sinter_type *result = sinter_axes_result(axes, 0);
    uint32_t *ends = SINTER_NEW_ARRAY(axes->arena, uint32_t, axes->info.operand_count + 1);
    for (uint32_t i = 0; i < axes->info.operand_count; i++) {
        const sinter_type *type = sinter_axes_operand(axes, i);
        ends[i] = type ? type->rank : 0;
    }
    if (result) broadcast_part(axes, axes->info.operand_count, ends, result->rank, without);
}

/* Operand and result 0 have the same axes; those that are not marked go along. */
static void keep_axes(sinter_axes *axes, const bool *without) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    for (uint32_t axis = 0; x && axis < x->rank; axis++) {
        if (without[axis]) continue;
        uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, x->dims[axis]);
        sinter_axes_link(axes, factor, false, 0, axis);
        for (uint32_t i = 0; i < axes->info.result_count; i++) {
            const sinter_type *y = sinter_axes_result(axes, i);
            if (y && y->rank == x->rank && y->dims[axis] == x->dims[axis])
                sinter_axes_link(axes, factor, true, i, axis);
        }
    }
}

/* All axes of x and of the results but the one that the attribute names. */
static void all_but_axis(sinter_axes *axes, int64_t otherwise) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    bool without[SINTER_MAX_RANK] = {false};
    if (!x || !x->rank) return;
    without[sinter_node_get_axis(axes->module, axes->node, otherwise, x->rank)] = true;
    keep_axes(axes, without);
}

/* ---- quantization ---- */

/* x goes along with the result; scale and zero point with it along `axis` where they have one number an index. */
static void describe_quantize(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    uint32_t axis = x && x->rank ? sinter_node_get_axis(axes->module, axes->node, 1, x->rank) : 0;
    bool without[SINTER_MAX_RANK] = {false};
    if (!x) return;
    if (sinter_node_get_int(axes->module, axes->node, "block_size", 0)) return;
    keep_axes(axes, without);
    for (uint32_t i = 1; i < 3; i++) {
        const sinter_type *scale = sinter_axes_operand(axes, i);
        if (scale && scale->rank == 1 && x->rank && scale->dims[0] == x->dims[axis])
            sinter_axes_link(axes, axis, false, i, 0);
    }
}

/* ---- products ---- */

/* Zero points by row or column are not followed. */
static bool has_vectors(const sinter_axes *axes, uint32_t first) {
    for (uint32_t i = first; i < axes->info.operand_count; i++)
        if (sinter_axes_operand(axes, i) && sinter_axes_operand(axes, i)->rank) return true;
    return false;
}

/* "...mk,...kn->...mn": letters of an axis are one factor; the dots broadcast. */
static void describe_signature(sinter_axes *axes, const char *signature) {
    uint32_t factors[26], ends[2] = {0}, count = 0;
    for (size_t i = 0; i < 26; i++) factors[i] = UINT32_MAX;
    const sinter_type *result = sinter_axes_result(axes, 0);
    const sinter_type *a = sinter_axes_operand(axes, 0), *b = sinter_axes_operand(axes, 1);
    if (!result || !a || !b || a->rank < 2 || b->rank < 2 || has_vectors(axes, 2)) return;
    const char *arrow = strstr(signature, "->");
    const sinter_type *types[3] = {a, b, result};
    bool in_result[26] = {false};
    for (const char *c = arrow; *c; c++)
        if (islower((unsigned char)*c)) in_result[*c - 'a'] = true;
    const char *text = signature;
    for (int part = 0; part < 3; part++, text += part == 2 ? 2 : 1) {
        text += 3;
        uint32_t letters = (uint32_t)strspn(text, "abcdefghijklmnopqrstuvwxyz");
        if (part < 2) ends[part] = types[part]->rank - letters;
        for (uint32_t i = 0; i < letters; i++, text++) {
            uint32_t *factor = &factors[*text - 'a'], axis = types[part]->rank - letters + i;
            if (*factor == UINT32_MAX)
                *factor = sinter_axes_factor(
                    axes, in_result[*text - 'a'] ? SINTER_AXIS_ALONG : SINTER_AXIS_SUMMED,
                    types[part]->dims[axis]);
            sinter_axes_link(axes, *factor, part == 2, part == 2 ? 0 : (uint32_t)part, axis);
        }
        if (part == 2) count = types[part]->rank - letters;
    }
    broadcast_part(axes, 2, ends, count, NULL);
}

static void describe_gemm(sinter_axes *axes) {
    const sinter_type *y = sinter_axes_result(axes, 0), *a = sinter_axes_operand(axes, 0);
    if (!y || !a) return;
    uint32_t a_turned = sinter_node_get_int(axes->module, axes->node, "transA", 0) != 0;
    uint32_t b_turned = sinter_node_get_int(axes->module, axes->node, "transB", 0) != 0;
    uint32_t m = sinter_axes_factor(axes, SINTER_AXIS_ALONG, y->dims[0]);
    uint32_t n = sinter_axes_factor(axes, SINTER_AXIS_ALONG, y->dims[1]);
    uint32_t k = sinter_axes_factor(axes, SINTER_AXIS_SUMMED, a->dims[!a_turned]);
    sinter_axes_link(axes, m, false, 0, a_turned);
    sinter_axes_link(axes, k, false, 0, !a_turned);
    sinter_axes_link(axes, k, false, 1, b_turned);
    sinter_axes_link(axes, n, false, 1, !b_turned);
    sinter_axes_link(axes, m, true, 0, 0);
    sinter_axes_link(axes, n, true, 0, 1);
    const sinter_type *c = sinter_axes_operand(axes, 2);
    uint32_t factors[2] = {m, n};
    if (c) join_broadcast(axes, 2, c->rank, factors, 2);
    axes->map->addend = 2;
}

/* Letters without an ellipsis; a letter twice in one operand is a diagonal: whole. */
static void describe_einsum(sinter_axes *axes) {
    sinter_string equation = sinter_node_get_string(axes->module, axes->node, "equation");
    uint32_t factors[128], place = 0, axis = 0;
    int seen[128] = {0};
    const char *end = equation.data + equation.size, *arrow = NULL;
    for (const char *c = equation.data; c < end; c++) {
        if (*c == '.') return;
        if (*c == '-') arrow = c;
        if (isalpha((unsigned char)*c)) seen[(unsigned char)*c] |= arrow ? 2 : 1;
    }
    if (!arrow) return;
    for (size_t i = 0; i < 128; i++) factors[i] = UINT32_MAX;
    for (const char *c = equation.data; c < end; c++) {
        bool is_result = c > arrow;
        if (*c == ',' || *c == '>') {
            place = *c == ',' ? place + 1 : 0;
            axis = 0;
        }
        if (!isalpha((unsigned char)*c)) continue;
        const sinter_type *type =
            is_result ? sinter_axes_result(axes, 0) : sinter_axes_operand(axes, place);
        if (!type || axis >= type->rank) return;
        uint32_t *factor = &factors[(unsigned char)*c];
        bool along = (seen[(unsigned char)*c] & 2) != 0;
        if (*factor == UINT32_MAX)
            *factor = sinter_axes_factor(axes, along ? SINTER_AXIS_ALONG : SINTER_AXIS_SUMMED,
                                         type->dims[axis]);
        sinter_axes_link(axes, *factor, is_result, place, axis++);
    }
}

/* ---- windows ---- */

/* x[N, C, ...], w[O, C / group, ...] or, transposed, w[C, O / group, ...]. Channels are groups times channels of a group. */
static void describe_convolution(sinter_axes *axes, uint32_t w, uint32_t bias, bool transposed) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *weights = sinter_axes_operand(axes, w),
                      *y = sinter_axes_result(axes, 0);
    int64_t group = sinter_node_get_int(axes->module, axes->node, "group", 1), inputs, outputs;
    if (!x || !weights || !y || x->rank < 3) return;
    bool last = sinter_node_get_int(axes->module, axes->node, "channels_last", 0) != 0;
    uint32_t channel = last ? x->rank - 1 : 1;
    sinter_axes_along(axes, 0, 0);
    if (!sinter_axes_number(axes, x->dims[channel], &inputs) ||
        !sinter_axes_number(axes, y->dims[channel], &outputs) || group < 1)
        return;
    uint32_t input_axis = transposed ? 0 : 1, output_axis = transposed ? 1 : 0;
    int64_t in = inputs / group, out = outputs / group;
    uint32_t ci = sinter_axes_factor(axes, SINTER_AXIS_SUMMED, sinter_dim_const(axes->dims, in));
    uint32_t co = sinter_axes_factor(axes, SINTER_AXIS_ALONG, sinter_dim_const(axes->dims, out));
    uint32_t g = sinter_axes_factor(axes, SINTER_AXIS_ALONG, sinter_dim_const(axes->dims, group));
    const sinter_axis_link sites[] = {
        {.factor = ci, .index = 0, .axis = channel},
        {.factor = co, .is_result = true, .axis = channel},
        {.factor = transposed ? ci : co, .index = w},
        {.factor = co, .index = bias},
    };
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        sinter_axis_link link = sites[i];
        if (i == 3 && (!bias || !sinter_axes_operand(axes, bias))) continue;
        int64_t size = link.factor == ci ? in : out;
        link.run = 1;
        link.blocks = group;
        link.period = size;
        sinter_axes_link_part(axes, link);
        link.factor = g;
        link.run = size;
        link.blocks = 1;
        link.period = 0;
        if (group > 1) sinter_axes_link_part(axes, link);
    }
    sinter_axes_link(axes, transposed ? co : ci, false, w, transposed ? output_axis : input_axis);
    axes->map->addend = bias;
}

static void describe_pool(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    if (!x || x->rank < 3) return;
    bool last = sinter_node_get_int(axes->module, axes->node, "channels_last", 0) != 0;
    bool without[SINTER_MAX_RANK];
    for (uint32_t axis = 0; axis < x->rank; axis++)
        without[axis] = axis != 0 && axis != (last ? x->rank - 1 : 1);
    /* indices of max_pool count through all channels: nobody may use them */
    if (!sinter_axes_result(axes, 1)) keep_axes(axes, without);
}

/* ---- reductions and normalisations ---- */

/* By the row of the op: "init; combine; finish", where nothing is left to finish. */
static sinter_axis_combine combine_of(const char *body) {
    static const struct {
        const char *begins;
        sinter_axis_combine combine;
    } known[] = {{"acc + ", SINTER_AXIS_COMBINE_SUM},
                 {"acc * ", SINTER_AXIS_COMBINE_PROD},
                 {"max(acc", SINTER_AXIS_COMBINE_MAX},
                 {"min(acc", SINTER_AXIS_COMBINE_MIN}};
    const char *combine = strstr(body, "; "), *finish = combine ? strstr(combine + 2, "; ") : NULL;
    if (!finish || strcmp(finish, "; acc") != 0) return SINTER_AXIS_COMBINE_NONE;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (!strncmp(combine + 2, known[i].begins, strlen(known[i].begins)))
            return known[i].combine;
    return SINTER_AXIS_COMBINE_NONE;
}

static void describe_reduce(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    bool marks[SINTER_MAX_RANK] = {false}, any = false;
    if (!x || !sinter_axes_marks(axes, 1, x->rank, marks)) return;
    for (uint32_t i = 0; i < x->rank; i++) any = any || marks[i];
    bool none = sinter_node_get_int(axes->module, axes->node, "noop_with_empty_axes", 0) != 0;
    bool keeps = sinter_node_get_int(axes->module, axes->node, "keepdims", 1) != 0;
    bool stated = sinter_node_operand(axes->module, axes->node, 1) != 0;
    for (uint32_t i = 0; (!stated || !any) && i < x->rank; i++) marks[i] = !none;
    for (uint32_t axis = 0, place = 0; axis < x->rank; axis++) {
        sinter_axis_kind kind = !marks[axis]                            ? SINTER_AXIS_ALONG
                                : axes->info.op == SINTER_OP_reduce_sum ? SINTER_AXIS_SUMMED
                                                                        : SINTER_AXIS_REDUCED;
        uint32_t factor = sinter_axes_factor(axes, kind, x->dims[axis]);
        if (marks[axis])
            axes->map->factors.items[factor].combine =
                combine_of(sinter_op_get_info(axes->info.op)->body);
        sinter_axes_link(axes, factor, false, 0, axis);
        if (!marks[axis]) sinter_axes_link(axes, factor, true, 0, place);
        if (!marks[axis] || keeps) place++;
    }
}

/* Each channel by itself, with one number a channel in the operands from 1 on; `samples`: axis 0 goes along, too; `space`: and
 * so do the other axes. */
static void describe_channels(sinter_axes *axes, bool samples, bool space) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    if (!x || x->rank < 2) return;
    bool without[SINTER_MAX_RANK];
    for (uint32_t i = 0; i < x->rank; i++) without[i] = i == 0 ? !samples : i > 1 && !space;
    uint32_t channel = samples ? 1 : 0;
    keep_axes(axes, without);
    for (uint32_t i = 1; i < axes->info.operand_count; i++) {
        const sinter_type *type = sinter_axes_operand(axes, i);
        if (type && type->rank == 1 && type->dims[0] == x->dims[1])
            sinter_axes_link(axes, channel, false, i, 0);
    }
}

/* Normalised over the axes from `axis` on, which are whole. */
static void describe_layer_normalization(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0);
    bool without[SINTER_MAX_RANK] = {false};
    if (!x || !x->rank) return;
    for (uint32_t i = sinter_node_get_axis(axes->module, axes->node, -1, x->rank); i < x->rank; i++)
        without[i] = true;
    keep_axes(axes, without);
}

/* One axis more than the others is looked up: data[..., axis, ...] at indices. */
static void describe_gather(sinter_axes *axes) {
    const sinter_type *data = sinter_axes_operand(axes, 0), *at = sinter_axes_operand(axes, 1);
    if (!data || !at || !data->rank) return;
    uint32_t axis = sinter_node_get_axis(axes->module, axes->node, 0, data->rank);
    for (uint32_t i = 0; i < data->rank; i++)
        if (i != axis) sinter_axes_along(axes, i, i < axis ? i : i + at->rank - 1);
    for (uint32_t i = 0; i < at->rank; i++) {
        uint32_t factor = sinter_axes_factor(axes, SINTER_AXIS_ALONG, at->dims[i]);
        sinter_axes_link(axes, factor, false, 1, i);
        sinter_axes_link(axes, factor, true, 0, axis + i);
    }
}

/* Axes that keep their size are not resampled, unless a region of them is cut out. */
static void describe_resize(sinter_axes *axes) {
    const sinter_type *x = sinter_axes_operand(axes, 0), *y = sinter_axes_result(axes, 0);
    sinter_string how =
        sinter_node_get_string(axes->module, axes->node, "coordinate_transformation_mode");
    if (!x || !y || sinter_string_is(how, "tf_crop_and_resize")) return;
    sinter_value scales = sinter_node_operand(axes->module, axes->node, 2);
    const sinter_tensor *known = scales ? sinter_value_constant(axes->module, scales) : NULL;
    if (scales && !known) return;
    sinter_string keeps =
        sinter_node_get_string(axes->module, axes->node, "keep_aspect_ratio_policy");
    int64_t sizes[SINTER_MAX_RANK];
    size_t size_count = 0;
    sinter_value asked = sinter_node_operand(axes->module, axes->node, 3);
    bool listed = sinter_node_find_attr(axes->module, axes->node, "axes") != NULL;
    bool partly = listed || !sinter_string_is(keeps, "stretch");
    if (asked && partly && /* they can't be stated anew */
        !sinter_value_known_ints(axes->module, asked, sizes, SINTER_MAX_RANK, &size_count))
        return;
    for (uint32_t axis = 0; axis < x->rank; axis++) {
        if (x->dims[axis] != y->dims[axis] || (known && listed)) continue;
        if (known && (known->rank != 1 || known->dims[0] != x->rank ||
                      sinter_tensor_get_double(known, axis) != 1.0))
            continue;
        sinter_axes_along(axes, axis, axis);
    }
}

static void describe_elementwise(sinter_axes *axes) {
    if (axes->info.op == SINTER_OP_quantize_linear || axes->info.op == SINTER_OP_dequantize_linear)
        describe_quantize(axes);
    else if (axes->info.op == SINTER_OP_lookup)
        keep_axes(axes, (const bool[SINTER_MAX_RANK]){false});
    else
        sinter_axes_broadcast(axes, NULL);
}

/* ---- the ops ---- */

static void describe_op(sinter_axes *axes) {
    switch (axes->info.op) {
    case SINTER_OP_gemm:
        describe_gemm(axes);
        return;
    case SINTER_OP_einsum:
        describe_einsum(axes);
        return;
    case SINTER_OP_conv:
        describe_convolution(axes, 1, 2, false);
        return;
    case SINTER_OP_conv_integer:
        if (!has_vectors(axes, 2)) describe_convolution(axes, 1, 0, false);
        return;
    case SINTER_OP_conv_transpose:
        describe_convolution(axes, 1, 2, true);
        return;
    case SINTER_OP_average_pool:
    case SINTER_OP_max_pool:
    case SINTER_OP_lp_pool:
    case SINTER_OP_global_average_pool:
    case SINTER_OP_global_max_pool:
    case SINTER_OP_global_lp_pool:
        describe_pool(axes);
        return;
    case SINTER_OP_batch_normalization: {
        bool trains = sinter_node_get_int(axes->module, axes->node, "training_mode", 0) != 0;
        if (!trains) describe_channels(axes, true, true);
        return;
    }
    case SINTER_OP_instance_normalization:
        describe_channels(axes, true, false);
        return;
    case SINTER_OP_layer_normalization:
    case SINTER_OP_rms_normalization:
        describe_layer_normalization(axes);
        return;
    case SINTER_OP_softmax:
    case SINTER_OP_log_softmax:
    case SINTER_OP_hardmax:
    case SINTER_OP_lp_normalization:
        all_but_axis(axes, -1);
        return;
    case SINTER_OP_gather:
        describe_gather(axes);
        return;
    case SINTER_OP_resize:
        describe_resize(axes);
        return;
    case SINTER_OP_top_k:
        all_but_axis(axes, -1);
        return;
    case SINTER_OP_attention:
        sinter_axes_describe_attention(axes);
        return;
    default:
        sinter_axes_describe_view(axes);
        return;
    }
}

void sinter_axes_describe(sinter_module *module, sinter_node node, sinter_arena *arena,
                          sinter_axis_map *out_map) {
    *out_map = (sinter_axis_map){0};
    sinter_axes axes = {.module = module,
                        .dims = sinter_module_dims(module),
                        .node = node,
                        .info = *sinter_node_get(module, node),
                        .arena = arena,
                        .map = out_map};
    const sinter_op_info *op = sinter_op_get_info(axes.info.op);
    bool by_words = op->body[0] && op->pattern == SINTER_PATTERN_OPAQUE;
    if ((!sinter_axes_result(&axes, 0) && !by_words) || axes.info.region_count) return;
    if (op->pattern == SINTER_PATTERN_ELEMENTWISE)
        describe_elementwise(&axes);
    else if (op->pattern == SINTER_PATTERN_REDUCE)
        describe_reduce(&axes);
    else if (op->pattern == SINTER_PATTERN_CONTRACT && op->body[0])
        describe_signature(&axes, op->body);
    else if (op->body[0])
        sinter_axes_describe_parts(&axes, op->body);
    else
        describe_op(&axes);
    if (op->pattern == SINTER_PATTERN_WINDOW) sinter_axes_describe_windows(&axes);
}
