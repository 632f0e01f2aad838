/* Rotates the channels between two layers by a randomised Hadamard matrix where all that stands between them is linear and does the same
 * to each channel: weights become more alike, and so do the channels, so that fewer bits serve them better (Ashkboos et al.,
 * "QuaRot", arXiv 2404.00456). As R R^T = 1 the outputs of one layer and its bias are multiplied by R, what the other layer
 * multiplies them with by R^T, and the rotation folds away: between values and output of attention, head by head, or between
 * two convolutions without anything between them. What is linear, and where channels lie, follows from the op table (ir/axes.h, bodies of
 * elementwise ops). Where a recipe says rotate=hadamard of all layers that take part. Exact up to the rounding of f32. Needs:
 * layers exposed, nothing quantized. Test: tests/passes/rotate_channels/ */
#include "ir/axes.h"
#include "ir/random.h"
#include "ir/scalar.h"
#include "passes/layer.h"
#include "passes/pass.h"

#include <math.h>

/* Index i of an axis has the digit i / run % size: these are rotated, all others go along. */
typedef struct digit {
    int64_t run, size;
} digit;

/* Digits of an axis of a value that are rotated, what reads them yet to be seen; or of a constant, which is to be multiplied. */
typedef struct place {
    sinter_value value;
    sinter_node node;
    uint32_t operand, axis;
    digit digit;
} place;

typedef struct rotator {
    sinter_pass_context *context;
    sinter_module *module;
    sinter_rewrite *rewrite;
    bool *takes_part; /* by node: a layer whose recipe says so */
    digit base;       /* tried: of the channels of the first layer */
    bool reaches;     /* another layer */
    SINTER_VECTOR(place) values, constants;
    SINTER_VECTOR(digit) bases; /* to be tried */
} rotator;

/* ---- where digits lie ---- */

static int64_t factor_size(const rotator *r, const sinter_axis_map *map, uint32_t factor) {
    int64_t size = 0;
    sinter_dim dim = map->factors.items[factor].size;
    return sinter_dim_is_const(sinter_module_dims(r->module), dim, &size) ? size : 0;
}

/* Whether the factor's indices are digits of the axis, again and again without gaps. */
static bool is_plain(const rotator *r, const sinter_axis_map *map, const sinter_axis_link *link) {
    int64_t span = link->run * factor_size(r, map, link->factor);
    return link->offset == 0 && (link->blocks == 1 || link->period == span) && !link->window;
}

/* The factor that the digits of an operand's axis are digits of, too: those of `out_digit` among its indices. Where factors are
 * digits of the digits, these are to be tried. */
static bool find_factor(rotator *r, const sinter_axis_map *map, uint32_t operand, uint32_t axis,
                        digit d, uint32_t *out_factor, digit *out_digit) {
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        int64_t size = factor_size(r, map, link->factor);
        if (link->is_result || link->index != operand || link->axis != axis || size < 2 ||
            !is_plain(r, map, link))
            continue;
        int64_t end = link->run * size, digits_end = d.run * d.size;
        if (d.run % link->run == 0 && end % digits_end == 0) {
            *out_factor = link->factor;
            *out_digit = (digit){d.run / link->run, d.size};
            return true;
        }
        if (link->run % d.run == 0 && digits_end % end == 0) {
            digit part = {r->base.run * (link->run / d.run), size};
            sinter_vector_push(&r->context->scratch, &r->bases, part);
        }
    }
    return false;
}

/* Adds a constant's digits of the factor, as a link says. */
static bool add_constant(rotator *r, sinter_node node, const sinter_axis_map *map,
                         const sinter_axis_link *link, digit d) {
    const sinter_tensor *tensor =
        sinter_value_constant(r->module, sinter_node_operand(r->module, node, link->index));
    if (!tensor || tensor->dtype != SINTER_DTYPE_f32 || !is_plain(r, map, link)) return false;
    place one = {.node = node,
                 .operand = link->index,
                 .axis = link->axis,
                 .digit = {link->run * d.run, d.size}};
    sinter_vector_push(&r->context->scratch, &r->constants, one);
    return true;
}

/* Adds the one result that has the factor, of a node whose other results nobody uses. */
static bool add_result(rotator *r, sinter_node node, const sinter_axis_map *map, uint32_t factor,
                       digit d) {
    const sinter_axis_link *found = NULL;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (!link->is_result || link->factor != factor) continue;
        if (found || !is_plain(r, map, link)) return false;
        found = link;
    }
    if (!found) return false;
    const sinter_node_info *info = sinter_node_get(r->module, node);
    for (uint32_t i = 0; i < info->result_count; i++)
        if (i != found->index && info->results[i] &&
            sinter_value_get(r->module, info->results[i])->uses.count)
            return false;
    place one = {.value = info->results[found->index],
                 .axis = found->axis,
                 .digit = {found->run * d.run, d.size}};
    sinter_vector_push(&r->context->scratch, &r->values, one);
    return true;
}

/* ---- what is linear ---- */

/* Whether the result is a sum of multiples of what the linked operands have at the same index, multiples that don't depend on it. */
static bool is_linear(const rotator *r, sinter_node node, const sinter_axis_map *map,
                      const bool *linked) {
    const sinter_node_info *info = sinter_node_get(r->module, node);
    const sinter_op_info *op = sinter_op_get_info(info->op);
    sinter_scalar_body body;
    uint32_t linked_count = 0;
    for (uint32_t i = 0; i < info->operand_count; i++) linked_count += linked[i];
    switch (op->pattern) {
    case SINTER_PATTERN_CONTRACT: /* sums of products, of which one factor has the index */
        return linked_count == 1 && !map->addend;
    case SINTER_PATTERN_VIEW: /* what fills is an operand, or 0 */
        for (uint32_t i = 0; i < info->operand_count; i++) {
            const sinter_type *type =
                info->operands[i] ? sinter_value_type(r->module, info->operands[i]) : NULL;
            if (type && !linked[i] && sinter_dtype_is_float(type->dtype)) return false;
        }
        return linked_count == 1;
    case SINTER_PATTERN_ELEMENTWISE:
        return sinter_op_parse_body(info->op, &r->context->scratch, &body) &&
               sinter_scalar_is_linear(&body, linked, info->operand_count);
    default:
        return false;
    }
}

/* The node yields rotated digits where it reads them. */
static bool pass_through(rotator *r, sinter_node node, uint32_t operand, const sinter_axis_map *map,
                         uint32_t factor, digit d) {
    const sinter_node_info *info = sinter_node_get(r->module, node);
    bool *linked = SINTER_NEW_ARRAY(&r->context->scratch, bool, info->operand_count + 1);
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (link->is_result || link->factor != factor) continue;
        if (linked[link->index]) return false;
        linked[link->index] = true;
        if (link->index != operand && !add_constant(r, node, map, link, d)) return false;
    }
    return is_linear(r, node, map, linked) && add_result(r, node, map, factor, d);
}

/* The node is a layer that sums over the digits: its weights are rotated, and that is the end. */
static bool end_at(rotator *r, sinter_node node, uint32_t operand, const sinter_axis_map *map,
                   uint32_t factor, digit d) {
    sinter_layer layer;
    if (!r->takes_part[node] || operand != 0 || !sinter_layer_describe(r->module, node, &layer))
        return false;
    size_t before = r->constants.count;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (link->factor != factor || (!link->is_result && link->index == operand)) continue;
        if (link->is_result || link->index != layer.operand || !add_constant(r, node, map, link, d))
            return false;
    }
    r->reaches = true;
    return r->constants.count == before + 1;
}

static bool follow_use(rotator *r, const place *from, sinter_use use) {
    sinter_axis_map map;
    uint32_t factor;
    digit d;
    if (sinter_node_get(r->module, use.node)->parent != sinter_module_main(r->module)) return false;
    sinter_axes_describe(r->module, use.node, &r->context->scratch, &map);
    if (!find_factor(r, &map, use.operand, from->axis, from->digit, &factor, &d)) return false;
    sinter_axis_kind kind = map.factors.items[factor].kind;
    if (kind == SINTER_AXIS_ALONG) return pass_through(r, use.node, use.operand, &map, factor, d);
    return kind == SINTER_AXIS_SUMMED && end_at(r, use.node, use.operand, &map, factor, d);
}

/* ---- one layer ---- */

/* The outputs of the layer, those of a factor that what it reads has not, with its bias. */
static bool start(rotator *r, const sinter_layer *layer, const sinter_axis_map *map,
                  uint32_t factor, digit base) {
    uint32_t constants = 0;
    r->constants.count = r->values.count = 0;
    r->reaches = false;
    r->base = base;
    for (size_t i = 0; i < map->links.count; i++) {
        const sinter_axis_link *link = &map->links.items[i];
        if (link->factor != factor || link->is_result) continue;
        if (link->index == 0 || !add_constant(r, layer->node, map, link, base)) return false;
        constants++;
    }
    uint32_t wanted =
        map->addend && sinter_node_operand(r->module, layer->node, map->addend) ? 2 : 1;
    return constants == wanted && add_result(r, layer->node, map, factor, base);
}

static bool try_base(rotator *r, const sinter_layer *layer, const sinter_axis_map *map,
                     uint32_t factor, digit base) {
    if (!start(r, layer, map, factor, base)) return false;
    for (size_t i = 0; i < r->values.count; i++) {
        const place from = r->values.items[i];
        const sinter_value_info *info = sinter_value_get(r->module, from.value);
        for (size_t u = 0; u < info->uses.count; u++)
            if (!follow_use(r, &from, info->uses.items[u])) return false;
    }
    return r->reaches;
}

enum { LEAST_DIGITS = 4, MOST_TRIES = 64 };

/* The widest digits of the layer's outputs that can be rotated: places are those then. Hadamard matrices are of powers of two. */
static bool find_rotation(rotator *r, const sinter_layer *layer) {
    sinter_axis_map map;
    sinter_axes_describe(r->module, layer->node, &r->context->scratch, &map);
    for (uint32_t factor = 0; factor < map.factors.count; factor++) {
        digit all = {1, factor_size(r, &map, factor)};
        if (map.factors.items[factor].kind != SINTER_AXIS_ALONG) continue;
        r->bases.count = 0;
        sinter_vector_push(&r->context->scratch, &r->bases, all);
        for (size_t i = 0; i < r->bases.count && i < MOST_TRIES; i++) {
            digit base = r->bases.items[i];
            base.size &= -base.size;
            if (base.size >= LEAST_DIGITS && try_base(r, layer, &map, factor, base)) return true;
        }
    }
    return false;
}

/* ---- the rotation ---- */

/* items[size] times diag(signs) H / sqrt(size): butterflies of sums and differences. */
static void rotate(double *items, int64_t size, const double *signs) {
    for (int64_t i = 0; i < size; i++) items[i] *= signs[i];
    for (int64_t half = 1; half < size; half *= 2)
        for (int64_t i = 0; i < size; i++) {
            if (i & half) continue;
            double a = items[i], b = items[i + half];
            items[i] = a + b;
            items[i + half] = a - b;
        }
    for (int64_t i = 0; i < size; i++) items[i] /= sqrt((double)size);
}

static bool rotate_constant(rotator *r, const place *p, const double *signs) {
    const sinter_tensor *old =
        sinter_value_constant(r->module, sinter_node_operand(r->module, p->node, p->operand));
    sinter_tensor tensor;
    if (!sinter_tensor_create(&tensor, old->dtype, old->rank, old->dims, r->rewrite->build.diag))
        return false;
    int64_t step = p->digit.run, size = p->digit.size, count = sinter_tensor_count(old);
    for (uint32_t d = p->axis + 1; d < old->rank; d++) step *= old->dims[d];
    double *items = SINTER_NEW_ARRAY(&r->context->scratch, double, size);
    const float *from = old->data;
    float *to = sinter_tensor_mutable(&tensor);
    for (int64_t first = 0; first < count; first++) {
        if (first / step % size) continue; /* not the first digit */
        for (int64_t i = 0; i < size; i++) items[i] = (double)from[first + i * step];
        rotate(items, size, signs);
        for (int64_t i = 0; i < size; i++) to[first + i * step] = (float)items[i];
    }
    sinter_rewrite_at(r->rewrite, p->node);
    r->rewrite->build.location = NULL;
    sinter_value value = sinter_build_constant(&r->rewrite->build, tensor);
    if (value) sinter_rewrite_set_operand(r->rewrite, p->node, p->operand, value);
    return value != 0;
}

static bool rotate_places(rotator *r, uint64_t key) {
    int64_t size = r->constants.items[0].digit.size;
    double *signs = SINTER_NEW_ARRAY(&r->context->scratch, double, size);
    for (int64_t i = 0; i < size; i++)
        signs[i] = sinter_random_uniform(key, (uint64_t)i, false) < 0.5 ? -1 : 1;
    for (size_t i = 0; i < r->constants.count; i++)
        if (!rotate_constant(r, &r->constants.items[i], signs)) return false;
    return true;
}

static bool find_layers(rotator *r, sinter_layer_list *layers) {
    r->takes_part =
        SINTER_NEW_ARRAY(&r->context->scratch, bool, sinter_module_node_limit(r->module));
    for (size_t i = 0; i < layers->count; i++) {
        sinter_layer_recipe recipe;
        if (!sinter_recipe_find(r->context->options->compression->recipe, layers->items[i].name,
                                &recipe, r->rewrite->build.diag))
            return false;
        r->takes_part[layers->items[i].node] = recipe.rotation != SINTER_ROTATE_NONE;
    }
    return true;
}

void sinter_pass_rotate_channels(sinter_pass_context *context) {
    rotator r = {.context = context, .module = context->module, .rewrite = &context->rewrite};
    if (!context->options->compression || !context->options->compression->recipe) return;
    sinter_layer_list layers = sinter_layer_find_all(context->module, &context->scratch);
    if (!find_layers(&r, &layers)) return;
    for (size_t i = 0; i < layers.count; i++) {
        const sinter_layer *layer = &layers.items[i];
        if (r.takes_part[layer->node] && find_rotation(&r, layer) && !rotate_places(&r, i)) return;
    }
}
